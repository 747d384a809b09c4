//! The handles of a task under tokio's names: [`JoinHandle`], which detaches where
//! [`Task`] cancels, and [`AbortHandle`].

use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::future::FusedFuture;

use super::frame::current;
use super::handle::Task;
use super::join::RawJoin;
use super::join_error::{Id, JoinError};
use super::reference::TaskRef;

/// A handle to a closure that runs whether or not the handle is kept: a future of its result.
///
/// **Dropping the handle detaches the task**: the closure still runs, and its result is dropped.
/// That is what tokio's handle of this name does, and the opposite of what a [`Task`] does;
/// [`cancel_on_drop`](JoinHandle::cancel_on_drop) and [`Task::detach_on_drop`] turn one into the
/// other.
///
/// # Errors
///
/// The result is a [`JoinError`] if the closure panicked or did not run.
///
/// # Panics
///
/// Polling panics once the result has been given.
///
/// # Cancellation
///
/// Only [`abort`](JoinHandle::abort) cancels. Polling `&mut handle` and giving up loses nothing.
///
/// ```
/// use sidestep::task::{JoinHandle, spawn_blocking};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # sidestep::block_on(async {
/// let lines: JoinHandle<std::io::Result<usize>> =
///     spawn_blocking(|| Ok(std::fs::read_to_string("Cargo.toml")?.lines().count()));
/// assert!(lines.await?? > 10);
/// # Ok(()) })
/// # }
/// ```
pub struct JoinHandle<T> {
    join: RawJoin<T>,
    id: Id,
}

impl<T> JoinHandle<T> {
    /// Cancels the task: a closure that is queued never runs, and is dropped before this call
    /// returns; one that runs is signalled ([`current::is_cancelled`], [`current::on_cancel`]) and
    /// goes on to its own end. The handle then gives what has become of it: a [`JoinError`] that
    /// [`is_cancelled`](JoinError::is_cancelled), or the closure's value. Later calls, and those
    /// for a task that has ended, do nothing.
    ///
    /// [`current::is_cancelled`]: crate::current::is_cancelled
    /// [`current::on_cancel`]: crate::current::on_cancel
    ///
    /// ```
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let pool = sidestep::Pool::builder().max_threads(1).build()?;
    /// let busy = pool.spawn(move || gate.recv().is_err());
    /// let queued = pool.spawn(|| "never").detach_on_drop();
    /// queued.abort();
    /// assert!(sidestep::block_on(queued).unwrap_err().is_cancelled());
    /// drop(go);
    /// assert!(busy.wait()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "cancel")]
    pub fn abort(&self) {
        if let Some(task) = self.join.task() {
            task.cancel();
        }
    }

    /// A handle that can only abort. It can be cloned and sent anywhere, and keeps neither the
    /// closure nor the result.
    #[must_use = "an abort handle does nothing until `abort`"]
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle { task: self.join.task().cloned(), id: self.id }
    }

    /// True once the task has ended: awaiting it then returns the result at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.join.task().is_none_or(TaskRef::is_over)
    }

    /// The task's id.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// The handle of this task that cancels when it is dropped.
    ///
    /// The [`Task`] of a handle that has given its result has given it too: its methods say what
    /// they do then.
    ///
    /// ```
    /// let handle = sidestep::task::spawn_blocking(|| 6 * 7);
    /// assert_eq!(handle.cancel_on_drop().wait()?, 42);
    /// # Ok::<(), sidestep::TaskError>(())
    /// ```
    #[doc(alias = "AbortOnDropHandle")]
    pub fn cancel_on_drop(self) -> Task<T> {
        Task::from_join(self.join)
    }
}

impl<T> Task<T> {
    /// The handle of this task that detaches when it is dropped, with the names that tokio gives to
    /// its methods.
    ///
    /// # Panics
    ///
    /// If the future has given its result already.
    ///
    /// ```
    /// let pool = sidestep::Pool::new()?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let handle = pool.lane("audit", 1).spawn(move || sender.send("written")).detach_on_drop();
    /// drop(handle);
    /// assert_eq!(receiver.recv()?, "written");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn detach_on_drop(self) -> JoinHandle<T> {
        let id = self.id().into();
        JoinHandle { join: self.into_join(), id }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.join.poll(context).map(|result| result.map_err(JoinError::from))
    }
}

/// A handle is terminated once it has given its result.
impl<T> FusedFuture for JoinHandle<T> {
    fn is_terminated(&self) -> bool {
        self.join.task().is_none()
    }
}

// As for `Task`.
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("id", &self.id).finish()
    }
}

/// Aborts a task from anywhere. Dropping it changes nothing.
///
/// ```
/// use sidestep::current;
/// use sidestep::task::spawn_blocking;
///
/// let (started, running) = std::sync::mpsc::channel();
/// let handle = spawn_blocking(move || {
///     started.send(()).unwrap();
///     while !current::is_cancelled() {}
///     "cleaned up"
/// });
/// running.recv()?;
/// let abort = handle.abort_handle();
/// std::thread::spawn(move || abort.abort()).join().unwrap();
/// assert_eq!(sidestep::block_on(handle)?, "cleaned up");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct AbortHandle {
    /// `None` where the result had been given when this was made.
    task: Option<TaskRef>,
    id: Id,
}

impl AbortHandle {
    /// That of a task which has just been made.
    pub(crate) fn new(task: &TaskRef) -> Self {
        AbortHandle { id: task.id().into(), task: Some(task.clone()) }
    }

    /// As [`JoinHandle::abort`].
    #[doc(alias = "cancel")]
    pub fn abort(&self) {
        if let Some(task) = &self.task {
            task.cancel();
        }
    }

    /// True once the task has ended. After `abort` that may take a moment: until the closure that
    /// runs has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(TaskRef::is_over)
    }

    /// The task's id.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }
}

impl UnwindSafe for AbortHandle {}
impl RefUnwindSafe for AbortHandle {}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle").field("id", &self.id).finish()
    }
}

/// The id of the task that this code belongs to.
///
/// # Panics
///
/// Outside of a task of this library. [`try_id`] does not panic.
///
/// ```
/// use sidestep::task;
///
/// let handle = task::spawn_blocking(task::id);
/// let id = handle.id();
/// assert_eq!(sidestep::block_on(handle)?, id);
/// # Ok::<(), task::JoinError>(())
/// ```
#[must_use]
#[track_caller]
pub fn id() -> Id {
    match try_id() {
        Some(id) => id,
        None => panic!("`task::id` was called outside of a task: call `task::try_id` there"),
    }
}

/// The id of the task that this code belongs to; `None` outside of a task of this library.
///
/// ```
/// assert!(sidestep::task::try_id().is_none());
/// ```
#[must_use]
pub fn try_id() -> Option<Id> {
    Some(current()?.task()?.id().into())
}
