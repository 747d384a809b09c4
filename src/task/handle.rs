//! The handles of a task: [`Task`], [`Unblocked`], [`Cancelling`] and [`CancelHandle`]; and how
//! they receive its result, by polling, by blocking the thread, by a callback.
//!
//! - **J1** A join lets go of its receiver in its own drop or, in place of that, by `let_go`. (An
//!   `Option` would cost each handle a word.)
//! - **J2** What is put off refers to `'static` things alone: it may be run after the code that has
//!   put it off, and after a scope around that. The result of a task is `'static` unless the task
//!   has an observer of its release (T8); and then its drop nests, as that of its closure does.

use std::fmt;
use std::future::Future;
use std::mem::{ManuallyDrop, needs_drop, replace};
use std::panic::{RefUnwindSafe, UnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::cell::is_inside;
use super::host::Host;
use super::reference::TaskRef;
use super::wait::{BlockingWait, Help, block};
use crate::error::{Reason, TaskError, TaskId};
use crate::panic::catch_panic;
use crate::sync::nesting::TooDeep;
use crate::sync::oneshot::Receiver;
use crate::sync::{Mutex, Parker, now, trampoline};

/// A handle to a closure on its way: a future of its result, and for threads without one,
/// [`wait`](Task::wait).
///
/// # Cancellation
///
/// **Dropping the handle cancels the task.** While the task is queued, the drop takes it out at
/// once: the closure never runs and is dropped on the spot, not when a worker would have come to
/// it. A closure that is running cannot be stopped from outside; it is signalled
/// ([`current::is_cancelled`], [`current::on_cancel`]), runs to its own end, and its result is
/// dropped on the pool's thread. [`detach`](Task::detach) lets the task go on without a handle;
/// [`cancel`](Task::cancel) cancels and waits for the end.
///
/// So the timeout of any runtime works as it should: when it gives up and drops the future, the
/// work is called off.
///
/// The destructors of a chain, where the closure of a queued task owns the handle of the next, nest
/// no deeper than 32. Those behind them run when one of these has returned, or as soon as one of
/// these waits by a method of this crate, inside of that wait. So what runs in a destructor, a
/// waker, a cancel hook or a callback must not wait in another way, by a channel or a lock, for the
/// end of a task that its own thread has cancelled; and must not hold a lock across a wait of this
/// crate that the destructor of another closure takes. Destructors that wait nest as deep as their
/// chain is long, and so do the handles of a [scope](crate::Scope) that own each other.
///
/// # Errors
///
/// The result is a [`TaskError`] if the closure panicked ([`is_panic`]), was cancelled before it
/// ran ([`is_cancelled`]), or was not accepted or not run by the pool ([`is_shutdown`],
/// [`is_full`], [`is_no_thread`]).
///
/// # Panics
///
/// Polling panics once the result has been given.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # sidestep::block_on(async {
/// let text = sidestep::spawn(|| std::fs::read_to_string("Cargo.toml")).await??;
/// assert!(text.contains("sidestep"));
/// # Ok(()) })
/// # }
/// ```
///
/// [`current::is_cancelled`]: crate::current::is_cancelled
/// [`current::on_cancel`]: crate::current::on_cancel
/// [`is_panic`]: TaskError::is_panic
/// [`is_cancelled`]: TaskError::is_cancelled
/// [`is_shutdown`]: TaskError::is_shutdown
/// [`is_full`]: TaskError::is_full
/// [`is_no_thread`]: TaskError::is_no_thread
#[doc(alias = "JoinHandle")]
#[must_use = "dropping a Task cancels it; `detach` it to let it run by itself"]
pub struct Task<T> {
    /// `None` only inside the methods that consume the handle.
    join: Option<RawJoin<T>>,
}

impl<T> Task<T> {
    pub(crate) fn new(task: TaskRef, receiver: Receiver<T>) -> Self {
        Task { join: Some(RawJoin::new(task, receiver)) }
    }

    /// A reference to the task, while its result has not been taken.
    pub(crate) fn task_ref(&self) -> Option<&TaskRef> {
        self.join().task()
    }

    /// A reference to the task, which has just been made.
    #[inline]
    pub(crate) fn new_ref(&self) -> &TaskRef {
        match &self.join {
            Some(RawJoin { task: Some(task), .. }) => task,
            _ => unreachable!("a new handle has a task, whose result has not been taken"),
        }
    }

    fn join(&self) -> &RawJoin<T> {
        match &self.join {
            Some(join) => join,
            None => unreachable!("only methods that consume the handle take the join out"),
        }
    }

    fn into_join(mut self) -> RawJoin<T> {
        match self.join.take() {
            Some(join) => join,
            None => unreachable!("only methods that consume the handle take the join out"),
        }
    }

    /// Blocks this thread until the task has ended and returns its result.
    ///
    /// On a thread of the same pool this never deadlocks: the thread counts as blocked, so the pool
    /// may start another one, and where it cannot (at `max_threads`, while the system refuses
    /// threads, during shutdown) a task that is still queued runs inline, on this thread and to any
    /// depth its stack holds. Below `max_threads` it does not: running a stranger's closure under
    /// locks that the waiter holds could deadlock. Where the stack has no room to run the task
    /// inline (a quarter of it, and 64 KiB, stay free), another thread of the pool does.
    ///
    /// On an event loop's thread it blocks the loop; `await` the task there. With the features
    /// `tokio` and `tracing`, a wait that blocks a thread on which a tokio runtime drives async
    /// code is warned of, once per call site.
    ///
    /// # Errors
    ///
    /// As for the future; besides, [`is_deadlock`](TaskError::is_deadlock) if a task waits for
    /// itself, or if so many waits are inside each other that the stack has no room and every other
    /// thread of the pool waits too.
    ///
    /// # Panics
    ///
    /// If the future has given its result already, as polling it does.
    ///
    /// ```
    /// let task = sidestep::spawn(|| 6 * 7);
    /// assert_eq!(task.wait()?, 42);
    /// # Ok::<(), sidestep::TaskError>(())
    /// ```
    #[track_caller]
    pub fn wait(self) -> Result<T, TaskError> {
        self.into_join().wait()
    }

    /// Blocks this thread until the task has ended, but no longer than `timeout`. Any duration is
    /// legal; [`Duration::MAX`] is no limit. The task is never run inline.
    ///
    /// # Errors
    ///
    /// The handle, if the task has not ended in time. Dropping that cancels.
    ///
    /// # Panics
    ///
    /// If the future has given its result already.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let task = sidestep::spawn(move || gate.recv().is_ok());
    /// let Err(task) = task.wait_timeout(Duration::from_millis(1)) else { panic!("the gate is shut") };
    /// go.send(())?;
    /// assert!(task.wait()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn wait_timeout(self, timeout: Duration) -> Result<Result<T, TaskError>, Task<T>> {
        // Where no thread can be had there is no clock either, but then the task has ended.
        let deadline = if self.is_finished() { None } else { now().checked_add(timeout) };
        self.into_join().wait_until(deadline).map_err(|join| Task { join: Some(join) })
    }

    /// Lets the task run to its end without a handle. Its result is dropped on the pool's thread; a
    /// panic is traced.
    ///
    /// ```
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// sidestep::spawn(move || sender.send("still here")).detach();
    /// assert_eq!(receiver.recv()?, "still here");
    /// # Ok::<(), std::sync::mpsc::RecvError>(())
    /// ```
    pub fn detach(self) {
        self.into_join().detach();
    }

    /// Cancels the task now, and returns a future of its true end: `Err`
    /// ([`TaskError::is_cancelled`]) if it was still queued, and otherwise, once the closure has
    /// ended, what the closure made of it.
    ///
    /// ```
    /// use sidestep::current;
    ///
    /// let (started, wait) = std::sync::mpsc::channel();
    /// let task = sidestep::spawn(move || {
    ///     started.send(()).unwrap();
    ///     while !current::is_cancelled() {}
    ///     "cleaned up"
    /// });
    /// wait.recv().unwrap();
    /// assert_eq!(task.cancel().wait()?, "cleaned up");
    /// # Ok::<(), sidestep::TaskError>(())
    /// ```
    #[doc(alias = "abort")]
    pub fn cancel(self) -> Cancelling<T> {
        let join = self.into_join();
        if let Some(task) = join.task() {
            task.cancel();
        }
        Cancelling { join }
    }

    /// A handle that can only cancel. It can be cloned and sent anywhere.
    ///
    /// # Panics
    ///
    /// If the future has given its result already.
    pub fn cancel_handle(&self) -> CancelHandle {
        match self.task_ref() {
            Some(task) => CancelHandle { task: task.clone() },
            None => panic!("the task has given its result"),
        }
    }

    /// True once the task has ended: awaiting it or waiting for it then returns the result at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.join().task().is_none_or(|task| task.header().word.is_ended() || task.is_forked())
    }

    /// The task's id.
    ///
    /// # Panics
    ///
    /// If the future has given its result already.
    #[must_use]
    pub fn id(&self) -> TaskId {
        match self.join().task() {
            Some(task) => task.origin().id,
            None => panic!("the task has given its result"),
        }
    }

    /// Calls `callback` with the result, once: on the thread that ends the task, or at once on this
    /// one if it has ended already. No dropped handle can cancel the task any more.
    ///
    /// The callback runs between two tasks of a pool's thread (or where a `CancelHandle` is used,
    /// or the queue discarded), so it should be short. A panic in it is caught and traced.
    ///
    /// # Panics
    ///
    /// If the future has given its result already.
    ///
    /// ```
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// sidestep::spawn(|| 6 * 7).on_complete(move |result| sender.send(result).unwrap());
    /// assert_eq!(receiver.recv()??, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_complete<F>(self, callback: F)
    where
        F: FnOnce(Result<T, TaskError>) + Send + 'static,
        T: Send + 'static,
    {
        self.into_join().call_back(callback);
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.join {
            Some(join) => join.poll(context),
            None => unreachable!("only methods that consume the handle take the join out"),
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        // The receiver goes first: no handle waits any more, so cancelling should wake none.
        if let Some(task) = self.join.take().and_then(RawJoin::let_go) {
            task.cancel();
            task.report_unwanted();
        }
    }
}

// A task owns no value that a panic could leave half changed: what it refers to is behind atomics
// and locks, and its result is handed over whole.
impl<T> UnwindSafe for Task<T> {}
impl<T> RefUnwindSafe for Task<T> {}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("task", &self.join().task()).finish()
    }
}

/// The end of a task that [`Task::cancel`] has cancelled. Dropping it changes nothing: the task
/// stays cancelled.
#[must_use = "the task is cancelled; await this, or `wait`, to know its end"]
pub struct Cancelling<T> {
    join: RawJoin<T>,
}

impl<T> Cancelling<T> {
    /// Blocks this thread until the task has truly ended.
    ///
    /// # Errors
    ///
    /// [`TaskError::is_cancelled`] if the closure did not run, [`TaskError::is_panic`] if it
    /// panicked.
    ///
    /// # Panics
    ///
    /// If the future has given its result already.
    #[track_caller]
    pub fn wait(self) -> Result<T, TaskError> {
        self.join.wait()
    }
}

impl<T> Future for Cancelling<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.join.poll(context)
    }
}

impl<T> UnwindSafe for Cancelling<T> {}
impl<T> RefUnwindSafe for Cancelling<T> {}

impl<T> fmt::Debug for Cancelling<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancelling").field("task", &self.join.task()).finish()
    }
}

/// Cancels a task from anywhere. Holding one neither keeps the task from being cancelled nor
/// cancels it when dropped.
///
/// ```
/// let (go, gate) = std::sync::mpsc::channel::<()>();
/// let task = sidestep::spawn(move || gate.recv().is_err());
/// let handle = task.cancel_handle();
/// std::thread::spawn(move || handle.cancel()).join().unwrap();
/// drop(go);
/// let _ = task.wait();
/// ```
#[doc(alias = "AbortHandle")]
#[derive(Clone, Debug)]
pub struct CancelHandle {
    task: TaskRef,
}

impl CancelHandle {
    /// Cancels the task: a queued one ends here and now, a running one is signalled. Later calls do
    /// nothing.
    #[doc(alias = "abort")]
    pub fn cancel(&self) {
        self.task.cancel();
    }
}

impl UnwindSafe for CancelHandle {}
impl RefUnwindSafe for CancelHandle {}

/// A future of a closure's plain result, for when a failure to run it is not expected: what
/// [`unblock`](crate::unblock) returns.
///
/// # Cancellation
///
/// As for [`Task`]: dropping it cancels.
///
/// # Panics
///
/// Awaiting it resumes a panic of the closure. Where the pool has refused the task or could not run
/// it, it panics with the sentence of the [`TaskError`].
///
/// ```
/// # sidestep::block_on(async {
/// assert_eq!(sidestep::unblock(|| 6 * 7).await, 42);
/// # });
/// ```
#[derive(Debug)]
#[must_use = "dropping an Unblocked cancels it"]
pub struct Unblocked<T> {
    task: Task<T>,
}

impl<T> Unblocked<T> {
    pub(crate) fn new(task: Task<T>) -> Self {
        Unblocked { task }
    }

    /// Blocks this thread until the closure has ended and returns its result, as [`Task::wait`].
    ///
    /// # Panics
    ///
    /// As for the future.
    #[track_caller]
    pub fn wait(self) -> T {
        self.task.wait().unwrap_or_else(|error| raise(error))
    }
}

impl<T> Future for Unblocked<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.task).poll(context).map(|result| result.unwrap_or_else(|error| raise(error)))
    }
}

/// Passes a panic of the closure on, or panics with the sentence of the error.
pub(crate) fn raise(error: TaskError) -> ! {
    match error.try_into_panic() {
        Ok(payload) => resume_unwind(payload),
        Err(error) => panic!("{error}"),
    }
}

/// The receiving end of a task. Dropping it neither cancels nor detaches by itself: it lets go.
pub(super) struct RawJoin<T> {
    /// `None` once the result has been taken.
    task: Option<TaskRef>,
    receiver: ManuallyDrop<Receiver<T>>,
}

impl<T> RawJoin<T> {
    pub(super) fn new(task: TaskRef, receiver: Receiver<T>) -> Self {
        RawJoin { task: Some(task), receiver: ManuallyDrop::new(receiver) }
    }

    /// The task, while its result has not been taken.
    pub(super) fn task(&self) -> Option<&TaskRef> {
        self.task.as_ref()
    }

    /// Lets go of the receiver, and returns the task if the result has not been taken.
    pub(super) fn let_go(mut self) -> Option<TaskRef> {
        let task = self.task.take();
        let mut this = ManuallyDrop::new(self);
        // SAFETY: J1: this is in place of the drop, and the join has nothing else to drop.
        let receiver = unsafe { ManuallyDrop::take(&mut this.receiver) };
        drop_receiver(receiver, task.as_ref());
        task
    }

    /// Lets go of a task that goes on. Its drop does that as well, but where there is no value yet
    /// there is nothing that nests.
    pub(super) fn detach(mut self) {
        if let Some(task) = self.task.take_if(|task| !needs_drop::<T>() || !task.is_ended()) {
            drop(self);
            task.report_unwanted();
        }
    }

    /// Polls for the result.
    ///
    /// # Panics
    ///
    /// If the result has been taken.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<T, TaskError>> {
        assert!(self.task.is_some(), "a sidestep task was polled after it had given its result");
        match Pin::new(&mut *self.receiver).poll(context) {
            Poll::Ready(received) => Poll::Ready(self.finish(received.ok())),
            Poll::Pending => match self.task.take_if(|task| task.is_forked()) {
                Some(task) => Poll::Ready(Err(task.forked_error())),
                None => Poll::Pending,
            },
        }
    }

    fn finish(&mut self, value: Option<T>) -> Result<T, TaskError> {
        let task = self.task.take();
        value.ok_or_else(|| match task {
            Some(task) => task.error(),
            None => unreachable!("poll has looked"),
        })
    }

    /// Blocks the thread until the task has ended. On a thread of the task's own pool a queued task
    /// may be run inline.
    #[track_caller]
    pub(super) fn wait(mut self) -> Result<T, TaskError> {
        match block(&mut TaskWait { join: &mut self, runs_inline: true, is_endless: true }, None) {
            Some(result) => result,
            None => unreachable!("there is no deadline"),
        }
    }

    /// Blocks the thread until the task has ended or `deadline` has come, and then returns the join
    /// back.
    #[track_caller]
    pub(super) fn wait_until(mut self, deadline: Option<Instant>) -> Result<Result<T, TaskError>, Self> {
        let is_endless = deadline.is_none();
        let result = block(&mut TaskWait { join: &mut self, runs_inline: false, is_endless }, deadline);
        result.ok_or(self)
    }

    /// Calls `callback` with the result: now if the task has ended, else by the thread that
    /// ends it.
    pub(super) fn call_back<F>(self, callback: F)
    where
        F: FnOnce(Result<T, TaskError>) + Send + 'static,
        T: Send + 'static,
    {
        Arc::new(Callback { stage: Mutex::new(Stage::Waiting(self, callback)) }).wake();
    }
}

impl<T> Drop for RawJoin<T> {
    fn drop(&mut self) {
        // SAFETY: it is not used again: this is the drop (J1).
        let receiver = unsafe { ManuallyDrop::take(&mut self.receiver) };
        drop_receiver(receiver, self.task.as_ref());
        self.task.iter().for_each(TaskRef::report_unwanted);
    }
}

/// Drops a receiver of `task`, unless the result has been taken; and with it the value, if that has
/// arrived, or the waker. Those may own the last handle of another task, with another value or
/// waker, and so on.
#[inline]
fn drop_receiver<T>(receiver: Receiver<T>, task: Option<&TaskRef>) {
    let act = move || _ = catch_panic("the destructor of a result nobody took", || drop(receiver));
    if task.is_some_and(|task| !task.may_borrow()) {
        // SAFETY: J2: nothing observes its release, so by T8 the value is `'static`.
        unsafe { trampoline::bounce_unbounded(act) }
    } else {
        act();
    }
}

/// A wait for the end of a task.
struct TaskWait<'a, T> {
    join: &'a mut RawJoin<T>,
    runs_inline: bool,
    /// There is no deadline.
    is_endless: bool,
}

impl<T> BlockingWait for TaskWait<'_, T> {
    type Output = Result<T, TaskError>;

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.join.poll(context)
    }

    fn help(&mut self, _host: Option<&dyn Host>) -> Help {
        match &self.join.task {
            Some(task) if self.is_endless && is_inside(task) => Help::Fail(Reason::Deadlock),
            Some(task) if self.runs_inline => Help::RunTarget(task.clone()),
            _ => Help::Nothing,
        }
    }

    fn fail(&mut self, reason: Reason) -> Poll<Self::Output> {
        let Some(task) = self.join.task.take() else { unreachable!("only a task makes the wait fail") };
        let is_running = matches!(reason, Reason::Deadlock);
        let error = TaskError::new(task.origin(), reason);
        if !is_running {
            task.cancel();
        }
        Poll::Ready(Err(error))
    }

    fn too_deep(&mut self, deep: TooDeep) -> Option<Self::Output> {
        match self.fail(Reason::TooDeep(deep)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    fn parker(&self) -> Arc<Parker> {
        parker()
    }
}

/// A parker for one wait. Waits on one thread may share it: each polls before it parks.
#[cfg(not(any(sidestep_loom, sidestep_shuttle)))]
fn parker() -> Arc<Parker> {
    std::thread_local! { static PARKER: Arc<Parker> = Arc::new(Parker::new()) }
    PARKER.try_with(Arc::clone).unwrap_or_else(|_| Arc::new(Parker::new()))
}

/// A parker for one wait.
#[cfg(any(sidestep_loom, sidestep_shuttle))]
fn parker() -> Arc<Parker> {
    Arc::new(Parker::new())
}

enum Stage<T, F> {
    Waiting(RawJoin<T>, F),
    Polling,
    /// Woken while polling: the poll must be repeated.
    PollAgain,
    Called,
}

/// A waker that polls the task it waits for and calls back with the result.
struct Callback<T, F> {
    stage: Mutex<Stage<T, F>>,
}

impl<T, F> Wake for Callback<T, F>
where
    F: FnOnce(Result<T, TaskError>) + Send + 'static,
    T: Send + 'static,
{
    fn wake(self: Arc<Self>) {
        let mut stage = self.stage.lock();
        let (mut join, callback) = match replace(&mut *stage, Stage::Polling) {
            Stage::Waiting(join, callback) => (join, callback),
            Stage::Polling | Stage::PollAgain => {
                *stage = Stage::PollAgain;
                return;
            }
            Stage::Called => {
                *stage = Stage::Called;
                return;
            }
        };
        drop(stage);
        let waker = Waker::from(Arc::clone(&self));
        loop {
            let polled = join.poll(&mut Context::from_waker(&waker));
            let mut stage = self.stage.lock();
            match (polled, &*stage) {
                (Poll::Ready(result), _) => {
                    *stage = Stage::Called;
                    drop(stage);
                    catch_panic("a completion callback", || callback(result));
                    return;
                }
                (Poll::Pending, Stage::PollAgain) => *stage = Stage::Polling,
                (Poll::Pending, _) => {
                    *stage = Stage::Waiting(join, callback);
                    return;
                }
            }
        }
    }
}
