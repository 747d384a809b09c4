//! The handles of a task: [`Task`], [`Unblocked`], [`Cancelling`] and [`CancelHandle`].

use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{RefUnwindSafe, UnwindSafe, resume_unwind};
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::future::FusedFuture;

use super::join::RawJoin;
use super::reference::TaskRef;
use super::result::ResultRef;
use super::token::CancelToken;
use crate::error::{TaskError, TaskId};
use crate::sync::now;

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
/// # Waiting for what is about to end
///
/// A closure that takes some microseconds is over before a thread has gone to sleep for it. So a
/// poll may look at such a task for up to 3 microseconds before it returns `Pending`, or for up to
/// 60 where its thread has lately slept beside each task that it waited for; and
/// [`wait`](Task::wait) for up to 60 before it blocks: only where a thread of the pool was looking
/// for work when the task was spawned, and as long as that pays. An executor is not held by calls
/// that follow each other: once such looks have taken 200 microseconds in a row a poll returns
/// `Pending`, and if the thread then has something else to do, its polls look for 3 microseconds
/// again.
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
    join: RawJoin<T>,
}

impl<T> Task<T> {
    pub(crate) fn new(result: ResultRef<T>) -> Self {
        Task { join: RawJoin::new(result) }
    }

    pub(super) fn from_join(join: RawJoin<T>) -> Self {
        Task { join }
    }

    /// A reference to the task, while its result has not been taken.
    pub(crate) fn task_ref(&self) -> Option<&TaskRef> {
        self.join.task()
    }

    /// A reference to the task, which has just been made.
    #[inline]
    pub(crate) fn new_ref(&self) -> &TaskRef {
        match self.task_ref() {
            Some(task) => task,
            None => unreachable!("a new handle has a task, whose result has not been taken"),
        }
    }

    /// Whether it is as it was made: it has not had to wait, and has not given its result.
    pub(crate) fn is_fresh(&self) -> bool {
        self.join.is_fresh()
    }

    pub(super) fn into_join(self) -> RawJoin<T> {
        let this = ManuallyDrop::new(self);
        // SAFETY: T2: the join is not used again: `this` is not dropped.
        unsafe { ptr::read(&raw const this.join) }
    }

    /// The right to the result, of a task that has not been polled.
    pub(super) fn into_result(self) -> Option<ResultRef<T>> {
        self.into_join().into_result()
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
        self.into_join().wait_until(deadline).map_err(|join| Task { join })
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

    /// Cancels the task when `token` is cancelled, or now if it has been. The task may be linked to
    /// any number of tokens, and stays so when the handle is dropped or detached.
    ///
    /// Once the task has ended the link does nothing, and the token forgets it when others are
    /// linked: it keeps the memory of 64 ended tasks at most, or of twice as many as were linked at
    /// one time. A task that is linked to its own token, or tasks that are linked to each other's,
    /// are no trouble.
    ///
    /// ```
    /// use sidestep::CancelToken;
    ///
    /// let request = CancelToken::new();
    /// let task = sidestep::spawn(|| sidestep::current::token().cancelled().wait());
    /// task.link(&request);
    /// request.cancel();
    /// match task.wait() {
    ///     Ok(cancelled) => assert!(cancelled),
    ///     Err(error) => assert!(error.is_cancelled(), "it had not begun"),
    /// }
    /// ```
    pub fn link(&self, token: &CancelToken) {
        self.task_ref().into_iter().for_each(|task| token.link(task));
    }

    /// True once the task has ended: awaiting it or waiting for it then returns the result at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task_ref().is_none_or(TaskRef::is_over)
    }

    /// The task's id.
    ///
    /// # Panics
    ///
    /// If the future has given its result already.
    #[must_use]
    pub fn id(&self) -> TaskId {
        match self.task_ref() {
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
        self.join.poll(context)
    }
}

/// A task is terminated once it has given its result.
impl<T> FusedFuture for Task<T> {
    fn is_terminated(&self) -> bool {
        self.task_ref().is_none()
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.join.cancel();
    }
}

// A task owns no value that a panic could leave half changed: what it refers to is behind atomics
// and locks, and its result is handed over whole.
impl<T> UnwindSafe for Task<T> {}
impl<T> RefUnwindSafe for Task<T> {}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("task", &self.task_ref()).finish()
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

impl<T> FusedFuture for Cancelling<T> {
    fn is_terminated(&self) -> bool {
        self.join.task().is_none()
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
#[must_use = "a cancel handle does nothing until `cancel`"]
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
#[must_use = "dropping an Unblocked cancels it; `detach` it to let it run by itself"]
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

    /// Lets the closure run to its end without a handle, as [`Task::detach`] does.
    ///
    /// ```
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// sidestep::unblock(move || sender.send("still here")).detach();
    /// assert_eq!(receiver.recv()?, "still here");
    /// # Ok::<(), std::sync::mpsc::RecvError>(())
    /// ```
    pub fn detach(self) {
        self.task.detach();
    }

    /// A handle that can only cancel: see [`Task::cancel_handle`]. Awaiting a closure that was
    /// cancelled before it ran panics.
    ///
    /// # Panics
    ///
    /// If the future has given its result already.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.task.cancel_handle()
    }

    /// True once the closure has ended or will not run: awaiting or waiting then takes no time.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// The task, whose result says what went wrong instead of panicking.
    ///
    /// ```
    /// let task = sidestep::unblock(|| panic!("no such drive")).into_task();
    /// assert!(task.wait().unwrap_err().is_panic());
    /// ```
    pub fn into_task(self) -> Task<T> {
        self.task
    }
}

impl<T> Future for Unblocked<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.task).poll(context).map(|result| result.unwrap_or_else(|error| raise(error)))
    }
}

impl<T> FusedFuture for Unblocked<T> {
    fn is_terminated(&self) -> bool {
        self.task.is_terminated()
    }
}

impl<T> fmt::Debug for Unblocked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unblocked").field("task", &self.task).finish()
    }
}

/// Passes a panic of the closure on, or panics with the sentence of the error.
pub(crate) fn raise(error: TaskError) -> ! {
    match error.try_into_panic() {
        Ok(payload) => resume_unwind(payload),
        Err(error) => panic!("{error}"),
    }
}
