//! Many tasks at once.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures_core::Stream;

use crate::error::TaskError;
use crate::sync::Mutex;
use crate::sys::fork::Generation;
use crate::task::{Task, discard, wake};

/// Tasks that were spawned together: what [`Pool::spawn_batch`](crate::Pool::spawn_batch) returns.
///
/// As a [`Stream`] it yields `(index, result)` in the order in which the tasks end; those that have
/// ended before the first poll come first, in the order of submission. On a thread without a
/// runtime, [`wait`](Batch::wait).
///
/// # Cancellation
///
/// Dropping it cancels the tasks whose results it has not given, as dropping a [`Task`] does;
/// [`detach`](Batch::detach) lets them go on.
///
/// ```
/// use futures_util::StreamExt;
///
/// let pool = sidestep::Pool::new()?;
/// # sidestep::block_on(async {
/// let mut sums = pool.spawn_batch((0..3_u64).map(|n| move || (0..=n).sum::<u64>()));
/// while let Some((index, sum)) = sums.next().await {
///     assert_eq!(sum.unwrap(), [0, 1, 3][index]);
/// }
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "JoinSet")]
#[must_use = "dropping a Batch cancels its tasks; `detach` it to let them run by themselves"]
pub struct Batch<T> {
    /// In the order of submission; `None` once its result has been given.
    tasks: Vec<Option<Task<T>>>,
    left: usize,
    /// The fork generation it was made in.
    generation: Generation,
    /// `None` before the first poll.
    wakers: Option<Wakers>,
}

/// One waker for each task, and the list that they write to.
struct Wakers {
    ready: Arc<Ready>,
    list: Vec<Waker>,
}

/// Which tasks to poll, and whom to wake for it.
#[derive(Default)]
struct Ready {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    indices: VecDeque<usize>,
    waker: Option<Waker>,
}

/// Says that one task has ended.
struct Signal {
    index: usize,
    ready: Arc<Ready>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        let mut state = self.ready.state.lock();
        state.indices.push_back(self.index);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(wake);
    }
}

impl Ready {
    /// The next task to poll; `waker` is woken when there is one.
    fn next(&self, waker: &Waker) -> Option<usize> {
        // Cloned and dropped outside the lock: it is user code.
        let waker = waker.clone();
        let mut state = self.state.lock();
        let index = state.indices.pop_front();
        let old = if index.is_none() { state.waker.replace(waker) } else { None };
        drop(state);
        old.into_iter().for_each(discard);
        index
    }
}

impl<T> Batch<T> {
    pub(in crate::pool) fn new(tasks: Vec<Task<T>>) -> Self {
        let left = tasks.len();
        let tasks = tasks.into_iter().map(Some).collect();
        Batch { tasks, left, generation: Generation::current(), wakers: None }
    }

    /// How many results have not been given yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether all results have been given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Blocks this thread until all tasks have ended. The results are in the order of submission,
    /// without those that the stream has yielded already. Inside a task of the same pool it does
    /// not deadlock: see [`Task::wait`].
    #[track_caller]
    pub fn wait(mut self) -> Vec<Result<T, TaskError>> {
        self.left = 0;
        let mut results = Vec::with_capacity(self.tasks.len());
        for task in self.tasks.drain(..).flatten() {
            results.push(task.wait());
        }
        results
    }

    /// Lets the tasks run to their ends without a handle, as [`Task::detach`].
    pub fn detach(mut self) {
        self.tasks.drain(..).flatten().for_each(Task::detach);
    }

    /// Polls task `index` and takes it out if it has ended.
    fn poll_task(&mut self, index: usize) -> Option<Result<T, TaskError>> {
        let waker = &self.wakers.as_ref()?.list[index];
        let task = self.tasks[index].as_mut()?;
        let Poll::Ready(result) = Pin::new(task).poll(&mut Context::from_waker(waker)) else { return None };
        self.tasks[index] = None;
        self.left -= 1;
        Some(result)
    }

    /// In a forked child: the first task whose result has not been given. No thread will wake this
    /// one, and locks may be held for ever.
    fn forked(&self) -> Option<usize> {
        let forked = self.generation.is_past();
        if forked { self.tasks.iter().position(Option::is_some) } else { None }
    }

    fn lose(&mut self, index: usize) -> Option<(usize, Result<T, TaskError>)> {
        let task = self.tasks[index].take()?;
        self.left -= 1;
        Some((index, task.wait()))
    }

    /// Makes the wakers; each task is to be polled once, in order.
    fn begin(&mut self) {
        let state = State { indices: (0..self.tasks.len()).collect(), waker: None };
        let ready = Arc::new(Ready { state: Mutex::new(state) });
        let signal = |index| Waker::from(Arc::new(Signal { index, ready: Arc::clone(&ready) }));
        self.wakers = Some(Wakers { list: (0..self.tasks.len()).map(signal).collect(), ready });
    }
}

impl<T> Stream for Batch<T> {
    type Item = (usize, Result<T, TaskError>);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(index) = self.forked() {
            return Poll::Ready(self.lose(index));
        }
        if self.wakers.is_none() {
            self.begin();
        }
        while self.left > 0 {
            let next = self.wakers.as_ref().and_then(|wakers| wakers.ready.next(context.waker()));
            let Some(index) = next else { return Poll::Pending };
            if let Some(result) = self.poll_task(index) {
                return Poll::Ready(Some((index, result)));
            }
        }
        Poll::Ready(None)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> Unpin for Batch<T> {}
impl<T> UnwindSafe for Batch<T> {}
impl<T> RefUnwindSafe for Batch<T> {}

impl<T> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("tasks", &self.tasks.len()).field("left", &self.left).finish()
    }
}
