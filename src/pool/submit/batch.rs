//! Many tasks at once.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::error::{Reason, TaskError, TaskId};
use crate::sync::Parker;
use crate::sync::nesting::TooDeep;
use crate::sys::fork::Generation;
use crate::task::{
    BlockingWait, Group, Help, Host, Member, Task, block, fail_too_deep, is_inside, shared_parker,
};

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
    /// `None` before the first wait. Dropped before the members, whose ends wake none then.
    announced: Option<Announced>,
    /// In the order of submission, so in that of their ids.
    members: Vec<Member<T>>,
    left: usize,
    /// The fork generation it was made in.
    generation: Generation,
}

/// Where the ends of a batch's tasks are announced.
struct Announced {
    group: Arc<Group>,
    /// The ids, in the order of the members; empty where there is no stream to find them for.
    ids: Vec<TaskId>,
    /// For so many members the end is announced, or had come before.
    count: usize,
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.group.forget_waker();
    }
}

impl<T> Batch<T> {
    pub(in crate::pool) fn new(tasks: Vec<Task<T>>) -> Self {
        let left = tasks.len();
        let members = tasks.into_iter().map(Member::new).collect();
        Batch { announced: None, members, left, generation: Generation::current() }
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
        let mut results = Vec::with_capacity(self.left);
        for index in 0..self.members.len() {
            if let Some(result) = self.take(index) {
                results.push(result);
            } else if self.members[index].task().is_some() {
                results.extend(block(&mut MemberWait { batch: &mut self, index }, None));
            }
        }
        results
    }

    /// Lets the tasks run to their ends without a handle, as [`Task::detach`].
    pub fn detach(mut self) {
        self.announced = None;
        self.members.drain(..).for_each(Member::detach);
    }

    /// The result of member `index`, if that has ended and its result has not been given.
    fn take(&mut self, index: usize) -> Option<Result<T, TaskError>> {
        let result = self.members[index].try_take()?;
        self.left -= 1;
        Some(result)
    }

    /// In a forked child: the first task whose result has not been given. No thread will wake this
    /// one, and locks may be held for ever.
    fn forked(&self) -> Option<usize> {
        let forked = self.generation.is_past();
        if forked { self.members.iter().position(|member| member.task().is_some()) } else { None }
    }

    fn announced(&mut self) -> &mut Announced {
        self.announced.get_or_insert_with(|| Announced { group: Arc::default(), ids: Vec::new(), count: 0 })
    }

    /// Has the ends of the members before `end` announced, where that is still to be done. Returns
    /// the first that turns out to have ended.
    fn announce_before(&mut self, end: usize) -> Option<usize> {
        let announced = self.announced();
        let group = Arc::clone(&announced.group);
        while self.announced().count < end {
            let index = self.announced().count;
            self.announced().count += 1;
            if self.members[index].task().is_some() && !self.members[index].announce_to(&group) {
                return Some(index);
            }
        }
        None
    }
}

impl<T> Stream for Batch<T> {
    type Item = (usize, Result<T, TaskError>);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(index) = this.forked() {
            return Poll::Ready(this.take(index).map(|result| (index, result)));
        }
        if this.announced.is_none() {
            let ids = this.members.iter().filter_map(|member| Some(member.task()?.id())).collect();
            this.announced().ids = ids;
        }
        while this.left > 0 {
            let ended = this.announce_before(this.members.len());
            let announced = this.announced();
            let next = ended.or_else(|| {
                let id = announced.group.next(context.waker())?;
                announced.ids.binary_search(&id).ok()
            });
            let Some(index) = next else { return Poll::Pending };
            if let Some(result) = this.take(index) {
                return Poll::Ready(Some((index, result)));
            }
        }
        Poll::Ready(None)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// A wait for the end of one member.
struct MemberWait<'a, T> {
    batch: &'a mut Batch<T>,
    index: usize,
}

impl<T> BlockingWait for MemberWait<'_, T> {
    type Output = Result<T, TaskError>;

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Some(result) = self.batch.take(self.index) {
                return Poll::Ready(result);
            }
            if self.batch.announce_before(self.index + 1).is_some() {
                continue;
            }
            // The last call leaves the waker. What has ended before that is listed.
            let group = &self.batch.announced().group;
            if std::iter::from_fn(|| group.next(context.waker())).count() == 0 {
                return Poll::Pending;
            }
        }
    }

    fn help(&mut self, _host: Option<&dyn Host>) -> Help {
        match self.batch.members[self.index].task() {
            Some(task) if is_inside(task) => Help::Fail(Reason::Deadlock),
            Some(task) => Help::RunTarget(task.clone()),
            None => Help::Nothing,
        }
    }

    fn fail(&mut self, reason: Reason) -> Poll<Self::Output> {
        match self.batch.members[self.index].give_up(reason) {
            Some(error) => Poll::Ready(Err(error)),
            None => unreachable!("only a task makes the wait fail"),
        }
    }

    fn too_deep(&mut self, deep: TooDeep) -> Option<Self::Output> {
        fail_too_deep(self, deep)
    }

    fn parker(&self) -> Arc<Parker> {
        shared_parker()
    }
}

impl<T> Unpin for Batch<T> {}
impl<T> UnwindSafe for Batch<T> {}
impl<T> RefUnwindSafe for Batch<T> {}

impl<T> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("tasks", &self.members.len()).field("left", &self.left).finish()
    }
}
