//! What the handles with tokio's names say of a task: its [`Id`], and why it has no value.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;

use crate::error::{TaskError, TaskId};

/// Identifies a task within this process: no two tasks share an id. A [`TaskId`] that prints the
/// bare number, as tokio's does.
///
/// ```
/// let handle = sidestep::task::spawn_blocking(|| panic!("no such drive"));
/// let id = handle.id();
/// let error = sidestep::block_on(handle).unwrap_err();
/// assert_eq!(error.id(), id);
/// assert!(error.to_string().starts_with(&format!("task {id} ")));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(TaskId);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_u64().fmt(f)
    }
}

impl From<TaskId> for Id {
    fn from(id: TaskId) -> Self {
        Id(id)
    }
}

impl From<Id> for TaskId {
    fn from(id: Id) -> Self {
        id.0
    }
}

/// Why a task has no value: it panicked, or it did not run.
///
/// It is a [`TaskError`] that answers tokio's two questions: what is no panic is a cancellation.
/// So [`is_cancelled`](JoinError::is_cancelled) is also true of a task that the pool did not run,
/// because it was shut down, say, or its queue was full, as it is of tokio's tasks whose runtime
/// has ended. [`task_error`](JoinError::task_error) tells these apart.
///
/// `Display` writes one sentence: what happened to which task, and where that task was spawned.
///
/// ```
/// use sidestep::task::spawn_blocking;
///
/// let error = sidestep::block_on(spawn_blocking(|| panic!("no such drive"))).unwrap_err();
/// assert!(error.is_panic() && !error.is_cancelled());
/// assert!(error.to_string().contains("no such drive"));
/// ```
pub struct JoinError(TaskError);

impl JoinError {
    /// True if the task did not run, for whatever reason: it was cancelled, or the pool has refused
    /// or discarded it.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        !self.is_panic()
    }

    /// True if the closure panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.0.is_panic()
    }

    /// The payload of the closure's panic, to look at or to pass to [`std::panic::resume_unwind`].
    ///
    /// # Panics
    ///
    /// If the error is not a panic. [`try_into_panic`](JoinError::try_into_panic) returns the
    /// error then.
    ///
    /// ```
    /// use sidestep::task::spawn_blocking;
    ///
    /// let error = sidestep::block_on(spawn_blocking(|| std::panic::panic_any(7))).unwrap_err();
    /// assert_eq!(error.into_panic().downcast_ref(), Some(&7));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        match self.try_into_panic() {
            Ok(payload) => payload,
            Err(error) => panic!("the error of a task is not a panic: {error}"),
        }
    }

    /// The payload of the closure's panic.
    ///
    /// # Errors
    ///
    /// Returns the error itself if it is not a panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        self.0.try_into_panic().map_err(JoinError)
    }

    /// The id of the task that this error is about.
    #[must_use]
    pub fn id(&self) -> Id {
        self.0.id().into()
    }

    /// The error in this library's own terms.
    ///
    /// ```
    /// let pool = sidestep::Pool::new()?;
    /// pool.shutdown().wait();
    /// let error = sidestep::block_on(pool.spawn(|| ()).detach_on_drop()).unwrap_err();
    /// assert!(error.is_cancelled() && error.task_error().is_shutdown());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn task_error(&self) -> &TaskError {
        &self.0
    }
}

impl From<TaskError> for JoinError {
    fn from(error: TaskError) -> Self {
        JoinError(error)
    }
}

impl From<JoinError> for TaskError {
    fn from(error: JoinError) -> Self {
        error.0
    }
}

/// As for a [`TaskError`], which is the inner error.
impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> Self {
        error.0.into()
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

/// `source` is that of the [`TaskError`].
impl Error for JoinError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
