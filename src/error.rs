//! The errors of tasks: [`TaskError`], [`Rejected`], and the [`TaskId`] by which they name a task.

#[cfg(all(test, not(sidestep_loom)))]
mod tests;

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;

use crate::panic::panic_message;
use crate::sync::Mutex;
use crate::sync::nesting::TooDeep;

/// Identifies a task within this process: no two tasks share an id.
///
/// The tasks that one thread spawns have rising ids; between threads the order means nothing.
///
/// ```
/// let task = sidestep::spawn(|| ());
/// println!("{} is on its way", task.id());
/// # task.wait()?;
/// # Ok::<(), sidestep::TaskError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub(crate) u64);

impl TaskId {
    /// The id as a plain number, for logs and maps.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.0)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({})", self.0)
    }
}

/// The task that an error is about: its id, its name, where it was spawned.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) id: TaskId,
    pub(crate) site: &'static Location<'static>,
    pub(crate) name: Option<Cow<'static, str>>,
}

/// Such as: task 7 "resize" (spawned at src/main.rs:8:12)
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)?;
        if let Some(name) = &self.name {
            write!(f, " {name:?}")?;
        }
        write!(f, " (spawned at {})", self.site)
    }
}

/// Why a task has no value.
#[derive(Debug)]
pub(crate) enum Reason {
    Cancelled,
    /// The task had begun when it was cancelled, and its result was discarded.
    Abandoned,
    Panicked(Mutex<Box<dyn Any + Send>>),
    Shutdown,
    Full,
    Expired,
    NoThread(Arc<io::Error>),
    Deadlock,
    /// Every slot of the task's lane waits for the lane.
    LaneDeadlock,
    /// The thread that waits has no stack left to run the task, and no other thread will.
    TooDeep(TooDeep),
    /// An earlier call panicked while it had access to the strand's value.
    Poisoned,
    /// The strand's value has been taken out, or the resource pool is closed.
    Taken,
    /// The value that the call is for could not be had.
    Unavailable(Arc<dyn Error + Send + Sync>),
}

impl Reason {
    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        Reason::Panicked(Mutex::new(payload))
    }

    /// The reason again, for another who waits. Of a panic's payload only a text can be had twice.
    pub(crate) fn copy(&self) -> Self {
        match self {
            Reason::Cancelled => Reason::Cancelled,
            Reason::Abandoned => Reason::Abandoned,
            Reason::Panicked(payload) => Reason::panicked(copy_text(&**payload.lock())),
            Reason::Shutdown => Reason::Shutdown,
            Reason::Full => Reason::Full,
            Reason::Expired => Reason::Expired,
            Reason::NoThread(error) => Reason::NoThread(Arc::clone(error)),
            Reason::Deadlock => Reason::Deadlock,
            Reason::LaneDeadlock => Reason::LaneDeadlock,
            Reason::TooDeep(deep) => Reason::TooDeep(*deep),
            Reason::Poisoned => Reason::Poisoned,
            Reason::Taken => Reason::Taken,
            Reason::Unavailable(error) => Reason::Unavailable(Arc::clone(error)),
        }
    }

    /// A number from 1 to 14 for a reason that a task can end with and that carries no data.
    pub(crate) fn code(&self) -> Option<u8> {
        match self {
            Reason::Cancelled => Some(1),
            Reason::Shutdown => Some(2),
            Reason::Full => Some(3),
            Reason::Expired => Some(4),
            Reason::Poisoned => Some(5),
            Reason::Taken => Some(6),
            _ => None,
        }
    }

    /// The reason with the number `code`.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Reason::Cancelled),
            2 => Some(Reason::Shutdown),
            3 => Some(Reason::Full),
            4 => Some(Reason::Expired),
            5 => Some(Reason::Poisoned),
            6 => Some(Reason::Taken),
            _ => None,
        }
    }
}

/// The text of a panic, as it is; or, of a payload that is no text, a text that says so.
fn copy_text(payload: &(dyn Any + Send)) -> Box<dyn Any + Send> {
    match payload.downcast_ref::<&'static str>() {
        Some(text) => Box::new(*text),
        None => Box::new(panic_message(payload).to_owned()),
    }
}

/// Why a task has no value.
///
/// An opaque type with a predicate for each reason; later versions may add reasons. `Display`
/// writes one sentence: what happened to which task, and where that task was spawned.
///
/// ```
/// let error = sidestep::spawn(|| panic!("no such drive")).wait().unwrap_err();
/// assert!(error.is_panic());
/// assert!(error.to_string().contains("no such drive"));
/// ```
///
/// # Clones
///
/// A clone says what the error says, to a second caller who waits for the task, say. The payload of
/// a panic cannot be cloned, since it may be of any type: it stays with the error. The clone has
/// the text of the panic in its place, of the type that it had (`&'static str` or `String`); for a
/// payload that is no text, a `String` that says so.
///
/// ```
/// let error = sidestep::spawn(|| panic!("no such drive")).wait().unwrap_err();
/// let clone = error.clone();
/// assert_eq!(clone.to_string(), error.to_string());
/// assert_eq!(clone.into_panic().downcast_ref(), Some(&"no such drive"));
///
/// let error = sidestep::spawn(|| std::panic::panic_any(7)).wait().unwrap_err();
/// assert!(error.clone().into_panic().is::<String>());
/// assert_eq!(error.into_panic().downcast_ref(), Some(&7));
/// ```
pub struct TaskError(Box<Repr>);

struct Repr {
    origin: Origin,
    reason: Reason,
}

impl TaskError {
    pub(crate) fn new(origin: Origin, reason: Reason) -> Self {
        TaskError(Box::new(Repr { origin, reason }))
    }

    /// The id of the task that this error is about.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.0.origin.id
    }

    /// True if the task was cancelled before its closure began; or if
    /// [`Offload::cancel`](crate::event_loop::Offload::cancel) made an
    /// [`EventLoop`](crate::EventLoop) discard its result, even if the closure had begun or ended.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.reason, Reason::Cancelled | Reason::Abandoned)
    }

    /// True if the closure panicked. [`try_into_panic`](TaskError::try_into_panic) returns the
    /// payload.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.0.reason, Reason::Panicked(_))
    }

    /// True if the pool had been shut down, or its shutdown discarded the task; or if the value of
    /// the [`Strand`](crate::Strand) or [`Dedicated`](crate::Dedicated) had been taken out or
    /// closed; or if the [`ResourcePool`](crate::ResourcePool) had been closed.
    #[must_use]
    pub fn is_shutdown(&self) -> bool {
        matches!(self.0.reason, Reason::Shutdown | Reason::Taken)
    }

    /// True if an earlier call on this [`Strand`](crate::Strand) or [`Dedicated`](crate::Dedicated)
    /// panicked and so poisoned its value: the closure did not run.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        matches!(self.0.reason, Reason::Poisoned)
    }

    /// True if the call found no value: `make` of the [`ResourcePool`](crate::ResourcePool) has
    /// returned an error, which [`source`] returns. The closure did not run, and the next call
    /// tries again.
    ///
    /// [`source`]: Error::source
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self.0.reason, Reason::Unavailable(_))
    }

    /// True if the task was still queued when its time was up (see
    /// [`TaskOptions::expire_after`](crate::TaskOptions::expire_after)).
    #[must_use]
    pub fn is_expired(&self) -> bool {
        matches!(self.0.reason, Reason::Expired)
    }

    /// True if the queue of the pool or lane was full (see
    /// [`PoolBuilder::queue_limit`](crate::PoolBuilder::queue_limit)).
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.0.reason, Reason::Full)
    }

    /// True if the pool had no thread to run the task: the operating system refused every one
    /// ([`source`] returns its error), or this process is a forked child and the pool's threads
    /// stayed in the parent.
    ///
    /// [`source`]: Error::source
    #[must_use]
    pub fn is_no_thread(&self) -> bool {
        matches!(self.0.reason, Reason::NoThread(_))
    }

    /// True if the wait could never have ended: a task waited for itself, directly or through tasks
    /// that its thread ran inline; a step of a [`LocalPromise`](crate::LocalPromise) returned that
    /// very promise; or every slot of a [`Lane`](crate::Lane) was held by a task that waited,
    /// itself or through others, for the lane's own queue, the waiting task among them; or so many
    /// waits were inside each other on one thread that its stack had no room to run the task there,
    /// and every other thread of the pool waited too (`Display` says how many they were). But for a
    /// task that waits for itself, the wait has then cancelled the task that it was for.
    #[must_use]
    pub fn is_deadlock(&self) -> bool {
        matches!(self.0.reason, Reason::Deadlock | Reason::LaneDeadlock | Reason::TooDeep(_))
    }

    /// True if the task waited for itself: it has not ended.
    pub(crate) fn is_for_itself(&self) -> bool {
        matches!(self.0.reason, Reason::Deadlock)
    }

    /// The payload of the closure's panic, to look at or to pass to [`std::panic::resume_unwind`].
    /// A [clone](TaskError#clones) has the text of the panic instead.
    ///
    /// # Panics
    ///
    /// With the sentence of the error, if the closure did not panic: ask
    /// [`is_panic`](TaskError::is_panic) before, or use
    /// [`try_into_panic`](TaskError::try_into_panic).
    #[must_use]
    #[track_caller]
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        self.try_into_panic().unwrap_or_else(|error| panic!("the closure did not panic: {error}"))
    }

    /// [`into_panic`](TaskError::into_panic), for when it is not known that the closure panicked.
    ///
    /// # Errors
    ///
    /// Returns the error itself if it is not a panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, TaskError> {
        match *self.0 {
            Repr { reason: Reason::Panicked(payload), .. } => Ok(payload.into_inner()),
            other => Err(TaskError(Box::new(other))),
        }
    }
}

/// See [above](TaskError#clones) for what a clone has of a panic.
impl Clone for TaskError {
    fn clone(&self) -> Self {
        TaskError::new(self.0.origin.clone(), self.0.reason.copy())
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.0.origin)?;
        match &self.0.reason {
            Reason::Cancelled => f.write_str("was cancelled before it ran"),
            Reason::Abandoned => f.write_str("was cancelled while it ran, and its result was discarded"),
            Reason::Panicked(payload) => write!(f, "panicked: {}", panic_message(&**payload.lock())),
            Reason::Shutdown => f.write_str("did not run: the pool is shut down"),
            Reason::Full => f.write_str("was refused: the queue is full"),
            Reason::Expired => f.write_str("expired in the queue: its time was up before it ran"),
            Reason::NoThread(error) => write!(f, "did not run: the pool has no thread ({error})"),
            Reason::Deadlock => f.write_str("waits for itself and would do so for ever"),
            Reason::LaneDeadlock => f.write_str(
                "would wait for ever: every slot of a lane is held by a task that waits, in the end, for that lane",
            ),
            Reason::TooDeep(deep) => write!(
                f,
                "cannot be waited for: {deep}, and no other thread of the pool is free to run it; \
                 nest fewer waits, or set a larger `stack_size` or `max_threads`"
            ),
            Reason::Poisoned => {
                f.write_str("did not run: an earlier call panicked and left the value poisoned")
            }
            Reason::Taken => f.write_str("did not run: the value has been taken away, or closed"),
            Reason::Unavailable(error) => write!(f, "did not run: no value is to be had ({error})"),
        }
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskError({self})")
    }
}

impl Error for TaskError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.reason {
            Reason::NoThread(error) => Some(&**error),
            Reason::Unavailable(error) => Some(&**error),
            _ => None,
        }
    }
}

/// Kinds: a missing thread keeps the kind of the system's error, and a missing value that of the
/// `io::Error` of its maker, if it is one; a deadlock is [`io::ErrorKind::Deadlock`], an expired
/// task [`io::ErrorKind::TimedOut`], everything else [`io::ErrorKind::Other`]. The `TaskError` is
/// the inner error.
impl From<TaskError> for io::Error {
    fn from(error: TaskError) -> Self {
        let kind = match &error.0.reason {
            Reason::NoThread(source) => source.kind(),
            Reason::Unavailable(source) => {
                source.downcast_ref::<io::Error>().map_or(io::ErrorKind::Other, io::Error::kind)
            }
            Reason::Deadlock | Reason::LaneDeadlock | Reason::TooDeep(_) => io::ErrorKind::Deadlock,
            Reason::Expired => io::ErrorKind::TimedOut,
            Reason::Cancelled
            | Reason::Abandoned
            | Reason::Panicked(_)
            | Reason::Shutdown
            | Reason::Full
            | Reason::Poisoned
            | Reason::Taken => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// A closure that [`Pool::try_spawn`](crate::Pool::try_spawn) refused, and why.
///
/// ```
/// let pool = sidestep::Pool::new()?;
/// pool.shutdown().wait();
/// let rejected = pool.try_spawn(|| 6 * 7).unwrap_err();
/// assert!(rejected.error().is_shutdown());
/// assert_eq!(rejected.into_inner()(), 42);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "dropping it drops the closure, unrun"]
pub struct Rejected<F> {
    closure: F,
    error: TaskError,
}

impl<F> Rejected<F> {
    pub(crate) fn new(closure: F, error: TaskError) -> Self {
        Rejected { closure, error }
    }

    /// The closure, unrun.
    #[must_use]
    pub fn into_inner(self) -> F {
        self.closure
    }

    /// The refusal of what the closure was made of.
    pub(crate) fn map<G>(self, part: impl FnOnce(F) -> G) -> Rejected<G> {
        Rejected { closure: part(self.closure), error: self.error }
    }

    /// Why the closure was refused: [`is_full`](TaskError::is_full),
    /// [`is_shutdown`](TaskError::is_shutdown) or [`is_no_thread`](TaskError::is_no_thread).
    #[must_use]
    pub fn error(&self) -> &TaskError {
        &self.error
    }
}

impl<F> fmt::Debug for Rejected<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<F> fmt::Display for Rejected<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// `Display` and `source` are those of the [`TaskError`].
impl<F> Error for Rejected<F> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
