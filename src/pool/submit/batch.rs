//! Many tasks at once.
//!
//! A batch has two kinds of members. Those that were spawned together lie in a vector, and whether
//! one has ended is announced only once the batch is polled: a batch that is waited for costs its
//! tasks nothing. Those that are pushed later lie in a map by their ids, from which they go when
//! their results do, so that a batch may live as long as its program; their ends are announced at
//! once. Either kind is found by the id that a task's end lists (`task::group`).

use std::fmt;
use std::mem::take;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use super::{Queue, Submitter};
use crate::error::{Reason, TaskError, TaskId};
use crate::numbers::NumberMap;
use crate::sync::Parker;
use crate::sync::nesting::TooDeep;
use crate::sys::fork::Generation;
use crate::task::{
    BlockingWait, ColdPart, Group, Help, Host, LateMember, Member, Task, TaskRef, block, fail_too_deep,
    is_inside, shared_parker,
};

/// Spawns all of `closures` with one decision whom to wake; `cold` is what each carries.
pub(in crate::pool) fn spawn_batch<Q, I, F, T>(
    submitter: Submitter<'_, Q>,
    closures: I,
    site: &'static Location<'static>,
    cold: impl Fn() -> Option<Box<ColdPart>>,
) -> Batch<T>
where
    Q: Queue,
    I: IntoIterator<Item = F>,
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // The iterator is user code, and may take its time or panic: until it has ended there are no
    // tasks.
    let closures: Vec<F> = closures.into_iter().collect();
    let tasks = closures.into_iter().map(|f| submitter.make(f, site, cold())).collect();
    Batch::of(submitter.submit_all(tasks))
}

/// Many tasks of one type: those that [`Pool::spawn_batch`](crate::Pool::spawn_batch) has spawned
/// together, and any that are [pushed](Batch::push) or collected.
///
/// As a [`Stream`] it yields `(index, result)` in the order in which the tasks end; those that have
/// ended before the first poll come first, in the order of submission. The index says which task
/// it is: they are numbered from 0 as they came into the batch. The stream ends when no task is
/// left, and goes on when one is pushed. On a thread without a runtime, [`wait`](Batch::wait).
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
///
/// Tasks of several pools and lanes, as many at a time as the caller likes:
///
/// ```
/// use sidestep::{Batch, Pool};
///
/// let pool = Pool::new()?;
/// let (disk, network) = (pool.lane("disk", 2), pool.lane("network", 8));
/// # sidestep::block_on(async {
/// let mut batch: Batch<u32> = [disk.spawn(|| 1), network.spawn(|| 2)].into_iter().collect();
/// let mut sum = 0;
/// while let Some((index, result)) = batch.join_next().await {
///     sum += result?;
///     if index == 0 {
///         batch.push(disk.spawn(|| 4));
///     }
/// }
/// assert_eq!(sum, 7);
/// # Ok::<(), sidestep::TaskError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "JoinSet")]
#[doc(alias = "FuturesUnordered")]
#[must_use = "dropping a Batch cancels its tasks; `detach` it to let them run by themselves"]
pub struct Batch<T> {
    /// `None` before the first wait or push. Dropped before the members, whose ends wake none then.
    announced: Option<Announced>,
    /// Those that were spawned together, in the order of submission, so in that of their ids.
    members: Vec<Member<T>>,
    /// Those that were pushed, by their ids.
    pushed: NumberMap<PushedMember<T>>,
    /// The index of the next task that is pushed.
    next_index: usize,
    left: usize,
    /// The fork generation it was made in.
    generation: Generation,
}

struct PushedMember<T> {
    index: usize,
    member: LateMember<T>,
}

/// Where the ends of a batch's tasks are announced.
#[derive(Default)]
struct Announced {
    group: Arc<Group>,
    /// The ids of those that were spawned together, in their order; empty where there is no stream
    /// to find them for.
    ids: Vec<TaskId>,
    /// For so many of these the end is announced, or had come before.
    count: usize,
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.group.forget_waker();
    }
}

/// Which member of a batch.
#[derive(Clone, Copy)]
enum MemberKey {
    /// That of those spawned together which has this index.
    Together(usize),
    /// The pushed one with this id.
    Pushed(TaskId),
}

/// The result of a task that has ended, with its index in the batch and its id.
pub(super) type EndedMember<T> = (usize, TaskId, Result<T, TaskError>);

impl<T> Batch<T> {
    /// Returns a batch without tasks.
    pub fn new() -> Self {
        Batch::of(Vec::new())
    }

    /// A batch of tasks whose ids rise and that have not been polled.
    fn of(tasks: Vec<Task<T>>) -> Self {
        let left = tasks.len();
        let members = tasks.into_iter().map(Member::new).collect();
        Batch {
            announced: None,
            members,
            pushed: NumberMap::new(),
            next_index: left,
            left,
            generation: Generation::current(),
        }
    }

    /// Adds a task, of whatever pool or lane, and returns its index. It may have been polled
    /// before. A task that has ended is the next that the stream yields, behind others that have.
    ///
    /// # Panics
    ///
    /// If the task has given its result already.
    ///
    /// ```
    /// let mut batch = sidestep::Batch::new();
    /// assert_eq!(batch.push(sidestep::spawn(|| "first")), 0);
    /// assert_eq!(batch.push(sidestep::spawn(|| "second")), 1);
    /// let results = batch.wait().into_iter().collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(results, ["first", "second"]);
    /// # Ok::<(), sidestep::TaskError>(())
    /// ```
    #[track_caller]
    pub fn push(&mut self, task: Task<T>) -> usize {
        let Some(id) = task.task_ref().map(TaskRef::id) else {
            panic!("a task that has given its result already cannot be pushed: push it before")
        };
        self.begin_anew_if_forked();
        let group = Arc::clone(&self.announced().group);
        let mut member = LateMember::new(task);
        let is_announced = member.announce_to(&group);
        let index = self.next_index;
        self.next_index += 1;
        self.left += 1;
        self.pushed.insert(id.as_u64(), PushedMember { index, member });
        if !is_announced {
            group.add_ended(id);
        }
        index
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

    /// The next task that ends: its index, and its result. `None` if no task is left. It is the
    /// `next` of the [`Stream`], without a trait to import.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses no result.
    ///
    /// ```
    /// let pool = sidestep::Pool::new()?;
    /// # sidestep::block_on(async {
    /// let mut squares = pool.spawn_batch((0..10).map(|n| move || n * n));
    /// let mut sum = 0;
    /// while let Some((_, square)) = squares.join_next().await {
    ///     sum += square?;
    /// }
    /// assert_eq!(sum, 285);
    /// # Ok::<(), sidestep::TaskError>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn join_next(&mut self) -> Option<(usize, Result<T, TaskError>)> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// Cancels all tasks whose results have not been given, each as [`Task::cancel`] does, and
    /// keeps them: those that were queued yield [`TaskError::is_cancelled`], and those that run
    /// what has become of them.
    ///
    /// ```
    /// use sidestep::{Batch, current};
    ///
    /// let (started, running) = std::sync::mpsc::channel();
    /// let mut batch = Batch::new();
    /// batch.push(sidestep::spawn(move || {
    ///     started.send(()).unwrap();
    ///     while !current::is_cancelled() {}
    ///     "cleaned up"
    /// }));
    /// running.recv()?;
    /// batch.cancel_all();
    /// assert_eq!(batch.wait().pop().unwrap()?, "cleaned up");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "abort_all")]
    pub fn cancel_all(&self) {
        let pushed = self.pushed.values().map(|pushed| &pushed.member.member);
        self.members.iter().chain(pushed).filter_map(Member::task).for_each(TaskRef::cancel);
    }

    /// Blocks this thread until all tasks have ended. The results are in the order of submission,
    /// without those that the stream has yielded already. Inside a task of the same pool it does
    /// not deadlock: see [`Task::wait`].
    #[track_caller]
    pub fn wait(mut self) -> Vec<Result<T, TaskError>> {
        let mut results = Vec::with_capacity(self.left);
        for index in 0..self.members.len() {
            results.extend(self.wait_for(MemberKey::Together(index)));
        }
        let mut pushed: Vec<_> = self.pushed.iter().map(|(id, pushed)| (pushed.index, TaskId(id))).collect();
        pushed.sort_unstable();
        for (_, id) in pushed {
            results.extend(self.wait_for(MemberKey::Pushed(id)));
        }
        results
    }

    /// The result of one member, unless that has been given.
    #[track_caller]
    fn wait_for(&mut self, key: MemberKey) -> Option<Result<T, TaskError>> {
        let ended = self.take(key).map(|(_, _, result)| result);
        if ended.is_none() && self.member(key).is_some_and(|member| member.task().is_some()) {
            return block(&mut MemberWait { batch: self, key }, None);
        }
        ended
    }

    /// Lets the tasks run to their ends without a handle, as [`Task::detach`].
    pub fn detach(mut self) {
        self.announced = None;
        self.members.drain(..).for_each(Member::detach);
        self.pushed.take_values().into_iter().for_each(|pushed| pushed.member.detach());
    }

    fn member(&mut self, key: MemberKey) -> Option<&mut Member<T>> {
        match key {
            MemberKey::Together(index) => self.members.get_mut(index),
            MemberKey::Pushed(id) => Some(&mut self.pushed.get_mut(id.as_u64())?.member.member),
        }
    }

    /// The result of a member, if that has ended and its result has not been given.
    #[inline]
    fn take(&mut self, key: MemberKey) -> Option<EndedMember<T>> {
        let ended = match key {
            MemberKey::Together(index) => {
                let member = self.members.get_mut(index)?;
                (index, member.task()?.id(), member.try_take()?)
            }
            MemberKey::Pushed(id) => {
                let result = self.member(key)?.try_take()?;
                (self.pushed.remove(id.as_u64())?.index, id, result)
            }
        };
        self.left -= 1;
        Some(ended)
    }

    /// In a forked child no thread ends what the parent has spawned, and the lock of the group may
    /// be held for ever. So the batch begins anew with all of its tasks listed: their handles say
    /// that there is no thread.
    #[inline]
    fn begin_anew_if_forked(&mut self) {
        if self.generation.is_past() {
            self.begin_anew();
        }
    }

    #[cold]
    fn begin_anew(&mut self) {
        self.generation = Generation::current();
        self.list_ids();
        let ids = self.announced.as_mut().map(|announced| take(&mut announced.ids)).unwrap_or_default();
        let anew = Announced { group: Arc::default(), ids, count: self.members.len() };
        self.announced = Some(anew);
        let pushed = self.pushed.values().map(|pushed| &pushed.member.member);
        let tasks = self.members.iter().chain(pushed).filter_map(Member::task);
        let left: Vec<TaskId> = tasks.map(TaskRef::id).collect();
        let group = &self.announced().group;
        left.into_iter().for_each(|id| group.add_ended(id));
    }

    #[inline]
    fn announced(&mut self) -> &mut Announced {
        self.announced.get_or_insert_default()
    }

    /// Lists the ids of those that were spawned together, for the stream, before it gives the first
    /// of their results.
    fn list_ids(&mut self) {
        if self.announced().ids.len() < self.members.len() {
            self.announced().ids =
                self.members.iter().filter_map(|member| Some(member.task()?.id())).collect();
        }
    }

    /// Has the ends of the first `end` of those that were spawned together announced, where that is
    /// still to be done. Returns the first that turns out to have ended.
    fn announce_before(&mut self, end: usize) -> Option<usize> {
        let group = Arc::clone(&self.announced().group);
        while self.announced().count < end {
            let index = self.announced().count;
            self.announced().count += 1;
            if self.members[index].task().is_some() && !self.members[index].announce_to(&group) {
                return Some(index);
            }
        }
        None
    }

    /// The next task that has ended, whose result is taken. `None` if no task is left. Where none
    /// has ended, `waker` is called when one does; without a waker, the last one stays.
    #[inline]
    pub(super) fn poll_ended(&mut self, waker: Option<&Waker>) -> Poll<Option<EndedMember<T>>> {
        self.begin_anew_if_forked();
        while self.left > 0 {
            let ended = if self.announced().count < self.members.len() {
                self.list_ids();
                self.announce_before(self.members.len()).map(MemberKey::Together)
            } else {
                None
            };
            let announced = self.announced();
            let listed = || match waker {
                Some(waker) => announced.group.next(waker),
                None => announced.group.try_next(),
            };
            let key = match ended {
                Some(key) => key,
                None => match listed() {
                    Some(id) => {
                        announced.ids.binary_search(&id).map_or(MemberKey::Pushed(id), MemberKey::Together)
                    }
                    None => return Poll::Pending,
                },
            };
            if let Some(ended) = self.take(key) {
                return Poll::Ready(Some(ended));
            }
        }
        Poll::Ready(None)
    }
}

impl<T> Stream for Batch<T> {
    type Item = (usize, Result<T, TaskError>);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_ended(Some(context.waker())).map(|ended| ended.map(|(index, _, result)| (index, result)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// Terminated while no task is left.
impl<T> FusedStream for Batch<T> {
    fn is_terminated(&self) -> bool {
        self.is_empty()
    }
}

impl<T> Extend<Task<T>> for Batch<T> {
    /// [Pushes](Batch::push) each task.
    fn extend<I: IntoIterator<Item = Task<T>>>(&mut self, tasks: I) {
        for task in tasks {
            self.push(task);
        }
    }
}

impl<T> FromIterator<Task<T>> for Batch<T> {
    /// A batch of these tasks, numbered in this order. Tasks that one thread has spawned in this
    /// order and not polled cost no more than those of a [`spawn_batch`](crate::Pool::spawn_batch).
    fn from_iter<I: IntoIterator<Item = Task<T>>>(tasks: I) -> Self {
        let tasks: Vec<Task<T>> = tasks.into_iter().collect();
        let is_in_order = tasks.is_sorted_by_key(|task| task.task_ref().map(TaskRef::id));
        if is_in_order && tasks.iter().all(Task::is_fresh) {
            return Batch::of(tasks);
        }
        let mut batch = Batch::new();
        batch.extend(tasks);
        batch
    }
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Batch::new()
    }
}

/// A wait for the end of one member.
struct MemberWait<'a, T> {
    batch: &'a mut Batch<T>,
    key: MemberKey,
}

impl<T> BlockingWait for MemberWait<'_, T> {
    type Output = Result<T, TaskError>;

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Some((_, _, result)) = self.batch.take(self.key) {
                return Poll::Ready(result);
            }
            if let MemberKey::Together(index) = self.key {
                if self.batch.announce_before(index + 1).is_some() {
                    continue;
                }
            }
            // The last call leaves the waker. What has ended before that is listed.
            let group = &self.batch.announced().group;
            if std::iter::from_fn(|| group.next(context.waker())).count() == 0 {
                return Poll::Pending;
            }
        }
    }

    fn help(&mut self, _host: Option<&dyn Host>) -> Help {
        match self.batch.member(self.key).and_then(|member| member.task()) {
            Some(task) if is_inside(task) => Help::Fail(Reason::Deadlock),
            Some(task) => Help::RunTarget(task.clone()),
            None => Help::Nothing,
        }
    }

    fn fail(&mut self, reason: Reason) -> Poll<Self::Output> {
        match self.batch.member(self.key).and_then(|member| member.give_up(reason)) {
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
        f.debug_struct("Batch").field("tasks", &self.next_index).field("left", &self.left).finish()
    }
}
