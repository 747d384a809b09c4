//! [`CancelToken`]: what other code may be given of a task's cancellation.
//!
//! # A token is a reference
//!
//! The token of a task is a counted reference to its cell, as a `CancelHandle` is, and what is
//! registered by it lies in the list of hooks that the cell's cold part has. So a task pays for
//! tokens when its closure asks for the first one, and never otherwise: that call installs the cold
//! part, by the claimer, as T3 wants it, and from then on any thread may use it. A token that
//! belongs to no task has a *source* instead: see `source`.
//!
//! # Who is responsible for what is listed
//!
//! Three kinds of entries may be in the list of a task when other threads have tokens: hooks, the
//! wakers of futures, and dependents (linked tasks, families of children). Each is in one of these
//! states, and each change of the list is made under its lock:
//!
//! ```text
//!   LISTED --- its owner drops the guard, the future --------------------> removed
//!     |------- the canceller's `fire` ------------------------------------> reached: run, woken, cancelled
//!     |------- `close`, when the closure has ended: hooks of its own -----> removed
//!     '------- `seal`, when the task has ended without a cancellation ----> let go of
//! ```
//!
//! The word decides between the last three. `CANCEL` is set once at most, while the task is
//! claimed; `ENDED` is set once, and no `CANCEL` comes after it. The thread that sets `CANCEL`
//! fires the list; if it has not seen the cold part, the thread that installs that does so
//! (`announce_cold_part`). The claimer ends the task and then seals the list.
//!
//! - **`CANCEL` is never set.** `seal` marks the list and takes all that is in it: hooks and
//!   dependents are dropped, futures are woken and find that the task has ended. Who comes later
//!   finds the mark, and lists nothing.
//! - **`CANCEL` is set.** One `fire` marks the list and takes one entry after the other until there
//!   is none. What was listed before the mark is reached; who comes later finds the mark and does
//!   at once what is to be done. The task may end meanwhile, even before `fire` has begun: then
//!   `seal` takes nothing, since the list is the canceller's. It marks the list as fired, so who
//!   comes between the two need not wait for the canceller.
//!
//! Between `CANCEL`, or the flag of a source, and the mark of the list the word alone says that it
//! has come. So a hook is listed only where the word does not say so yet: who has seen that
//! something is cancelled has its hook run at once, in this call.
//!
//! So what another thread has listed is reached exactly if `is_cancelled` is true in the end, and
//! let go of otherwise. The hooks that the closure itself has registered are over with the closure,
//! which may come between a cancellation and its hook: they are what C++ calls callbacks of a stop
//! source that the closure owns, and may refer to what is closed when the closure returns.
//!
//! A future that is polled reads the word before it takes the lock, `ENDED` first: if the task has
//! ended and `CANCEL` is not set, it never will be. A future that is listed is woken by `fire`,
//! which comes after `CANCEL`, or by `seal`, which comes after `ENDED`: so the poll that follows
//! finds one of the two, and none is woken in vain for ever.
//!
//! # What user code may do meanwhile
//!
//! Hooks, wakers, destructors and linked tasks run without a lock, in the order in which they were
//! listed. A panic of one is caught and traced, and the next one comes. One of them may cancel the
//! task again (the word says that this has been done), drop its own guard (which does not wait for
//! its own thread), or register something (which runs at once). Links in a circle end where a word
//! or a source says that the cancellation has been there; a circle keeps no memory, since `seal`
//! and `fire` empty the lists. A chain of links does not nest: each is a step of the trampoline.
//!
//! The owner of the handle plays no part: dropping it is a cancellation like another. Detached, the
//! task goes on, and so do its tokens.
//!
//! # After a fork
//!
//! In the child the threads that may hold these locks are gone. There a token answers from the word
//! alone; hooks never run, a future that waits is never woken, and a blocked wait returns.

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use super::cancel_hooks::{Dependent, DependentsListed, Hook, HookLife, Hooks, run_hook};
use super::reference::TaskRef;
use super::source::SourceRef;
#[cfg(feature = "tracing")]
use super::spans::HeldSpan;
use crate::sync::trampoline;

/// The task that this code belongs to has been cancelled, or what the [`CancelToken`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task has been cancelled")
    }
}

impl Error for Cancelled {}

impl From<Cancelled> for std::io::Error {
    fn from(cancelled: Cancelled) -> Self {
        std::io::Error::other(cancelled)
    }
}

/// What a token stands for.
#[derive(Clone)]
pub(super) enum CancelSubject {
    /// Nothing that could be cancelled.
    Nothing,
    Task(TaskRef),
    Source(Arc<SourceRef>),
}

/// Whether a cancellation has come, or may yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prospect {
    Cancelled,
    /// None will come.
    Never,
    Open,
}

impl CancelSubject {
    pub(super) fn is_cancelled(&self) -> bool {
        match self {
            CancelSubject::Nothing => false,
            CancelSubject::Task(task) => task.is_cancelled(),
            CancelSubject::Source(source) => source.is_cancelled(),
        }
    }

    pub(super) fn prospect(&self) -> Prospect {
        // In this order: nothing is cancelled once it has ended.
        let is_over = match self {
            CancelSubject::Nothing => true,
            CancelSubject::Task(task) => task.is_over(),
            CancelSubject::Source(source) => source.is_forked(),
        };
        match (self.is_cancelled(), is_over) {
            (true, _) => Prospect::Cancelled,
            (false, true) => Prospect::Never,
            (false, false) => Prospect::Open,
        }
    }

    /// What is registered with it; nothing can be in a forked child.
    pub(super) fn hooks(&self) -> Option<&Hooks> {
        match self {
            CancelSubject::Nothing => None,
            CancelSubject::Task(task) => task.hooks(),
            CancelSubject::Source(source) => source.hooks(),
        }
    }

    /// Registers a hook that code beside the closure brings.
    pub(super) fn on_cancel(&self, hook: Hook) -> HookGuard {
        let id = match self.hooks() {
            // Its list may still be waiting for the canceller.
            Some(_) if self.is_cancelled() => {
                run_hook(hook);
                None
            }
            Some(hooks) => hooks.add(hook, HookLife::Task),
            None => None,
        };
        HookGuard::new(id.map(|id| (self.clone(), id)))
    }
}

/// A task that is cancelled with something else.
struct LinkedTask(TaskRef);

impl Dependent for LinkedTask {
    fn cancel(self: Box<Self>) {
        // J1: a task that can be linked borrows nothing.
        trampoline::bounce(move || self.0.cancel());
    }

    fn is_over(&self) -> bool {
        self.0.is_ended()
    }
}

/// Whether something has been cancelled, to be asked, waited for and passed on by any thread: a
/// running task, for which [`current::token`] makes one; or what the program cancels itself, for
/// which [`new`](CancelToken::new) makes one.
///
/// Clones stand for what the token stands for. A token keeps neither a closure nor a pool alive,
/// and a task that is asked for none pays nothing for tokens.
///
/// [`current::attach`] makes a token the answer of all functions of [`current`](crate::current)
/// while other code runs, on whatever thread. [`child`](CancelToken::child) makes a token that is
/// cancelled with this one and can be cancelled alone; [`Task::link`](crate::Task::link) cancels a
/// task with a token.
///
/// # After the end of the task
///
/// A task that has ended without having been cancelled never is: its tokens stay as they are, hooks
/// are dropped unrun, linked tasks go on. A token keeps the memory of the task's closure or result,
/// whichever is larger, but neither of the two themselves.
///
/// ```
/// use sidestep::{CancelToken, Pool};
///
/// let pool = Pool::new()?;
/// let request = CancelToken::new();
/// let task = pool.spawn(|| {
///     let token = sidestep::current::token();
///     // Threads that the pool knows nothing of.
///     std::thread::scope(|scope| {
///         scope.spawn(|| while token.check().is_ok() { /* the next piece of the work */ });
///         scope.spawn(|| token.cancelled().wait()).join().unwrap()
///     })
/// });
/// task.link(&request);
/// request.cancel();
/// # let ended = task.wait();
/// # assert!(ended.is_err() || ended.is_ok_and(|was_cancelled| was_cancelled));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [`current::token`]: crate::current::token
/// [`current::attach`]: crate::current::attach
#[derive(Clone)]
#[must_use = "a token does nothing until it is asked, linked or cancelled"]
pub struct CancelToken {
    subject: CancelSubject,
    /// The span in which the token was made.
    #[cfg(feature = "tracing")]
    spans: Option<Arc<HeldSpan>>,
}

impl CancelToken {
    /// The task, if it is the token of one.
    pub(super) fn task(&self) -> Option<&TaskRef> {
        match &self.subject {
            CancelSubject::Task(task) => Some(task),
            _ => None,
        }
    }

    /// The token of `subject`, made here.
    pub(super) fn of(subject: CancelSubject) -> Self {
        CancelToken {
            subject,
            #[cfg(feature = "tracing")]
            spans: HeldSpan::capture().map(Arc::new),
        }
    }

    /// A token that belongs to no task: it is cancelled by [`cancel`](CancelToken::cancel), through
    /// any clone.
    ///
    /// ```
    /// let token = sidestep::CancelToken::new();
    /// assert!(token.check().is_ok());
    /// token.clone().cancel();
    /// assert!(token.check().is_err());
    /// ```
    pub fn new() -> Self {
        Self::of(CancelSubject::Source(SourceRef::new()))
    }

    /// A token that is never cancelled, for functions that want one.
    pub const fn never() -> Self {
        CancelToken {
            subject: CancelSubject::Nothing,
            #[cfg(feature = "tracing")]
            spans: None,
        }
    }

    pub(super) fn subject(&self) -> &CancelSubject {
        &self.subject
    }

    /// Whether it has been cancelled. Once it has, it stays so.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.subject.is_cancelled()
    }

    /// [`is_cancelled`](CancelToken::is_cancelled) for use with `?`.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if it has been cancelled.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }

    /// Cancels what the token stands for: the task, as a [`CancelHandle`](crate::CancelHandle)
    /// does; or, if it belongs to no task, all of its clones and children, with what is linked to
    /// them. Later calls do nothing.
    ///
    /// Hooks run, futures are woken and linked tasks are cancelled by this call, on this thread, in
    /// the order in which they were registered.
    #[doc(alias = "abort")]
    pub fn cancel(&self) {
        match &self.subject {
            CancelSubject::Nothing => {}
            CancelSubject::Task(task) => task.cancel(),
            CancelSubject::Source(source) => source.cancel(),
        }
    }

    /// Registers `hook` to be run when the token is cancelled, by the rules of
    /// [`current::on_cancel`](crate::current::on_cancel): it runs once at most, on the thread that
    /// cancels, or at once on this one if the token has been cancelled already.
    ///
    /// The hook stays until the guard is dropped, which waits for a hook that is running on another
    /// thread; or until the task of the token ends without having been cancelled. The end of the
    /// task does not wait for it.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use std::sync::Arc;
    ///
    /// let token = sidestep::CancelToken::new();
    /// let stop = Arc::new(AtomicBool::new(false));
    /// let flag = Arc::clone(&stop);
    /// let guard = token.on_cancel(move || flag.store(true, Ordering::Relaxed));
    /// token.cancel();
    /// drop(guard);
    /// assert!(stop.load(Ordering::Relaxed));
    /// ```
    pub fn on_cancel(&self, hook: impl FnOnce() + Send + 'static) -> HookGuard {
        self.subject.on_cancel(Box::new(hook))
    }

    /// A token that is cancelled with this one, and can be cancelled without it.
    ///
    /// A child that is dropped leaves nothing behind, whatever its parent does.
    ///
    /// ```
    /// let request = sidestep::CancelToken::new();
    /// let (query, upload) = (request.child(), request.child());
    /// query.cancel();
    /// assert!(query.is_cancelled() && !upload.is_cancelled() && !request.is_cancelled());
    /// request.cancel();
    /// assert!(upload.is_cancelled());
    /// ```
    pub fn child(&self) -> CancelToken {
        let source = match &self.subject {
            CancelSubject::Nothing => SourceRef::new(),
            CancelSubject::Task(task) => SourceRef::of_task(task),
            CancelSubject::Source(source) => source.child(),
        };
        CancelToken {
            subject: CancelSubject::Source(source),
            #[cfg(feature = "tracing")]
            spans: self.spans.clone(),
        }
    }

    /// Cancels `task` when this token is cancelled, or now if it has been.
    pub(super) fn link(&self, task: &TaskRef) {
        match self.subject.prospect() {
            Prospect::Cancelled => task.cancel(),
            Prospect::Open if !task.is_ended() => {
                let link: Box<dyn Dependent> = Box::new(LinkedTask(task.clone()));
                let listing = self.subject.hooks().map(|hooks| hooks.add_dependents(vec![link]));
                listing.into_iter().for_each(DependentsListed::settle);
            }
            Prospect::Open | Prospect::Never => {}
        }
    }

    /// Runs `f` in the span in which the token was made.
    pub(super) fn surround<R>(&self, f: impl FnOnce() -> R) -> R {
        #[cfg(feature = "tracing")]
        if let Some(spans) = &self.spans {
            return spans.surround(f);
        }
        f()
    }
}

/// As [`new`](CancelToken::new).
impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}

impl UnwindSafe for CancelToken {}
impl RefUnwindSafe for CancelToken {}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut token = f.debug_struct("CancelToken");
        if let CancelSubject::Task(task) = &self.subject {
            token.field("task", &task.id());
        }
        token.field("is_cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

/// Keeps a hook of [`current::on_cancel`](crate::current::on_cancel) or
/// [`CancelToken::on_cancel`] registered. Its drop returns once the hook has run or never will.
#[must_use = "dropping the guard unregisters the hook"]
pub struct HookGuard {
    registered: Option<(CancelSubject, u64)>,
    _not_send: PhantomData<*const ()>,
}

impl HookGuard {
    pub(super) fn new(registered: Option<(CancelSubject, u64)>) -> Self {
        HookGuard { registered, _not_send: PhantomData }
    }
}

impl Drop for HookGuard {
    fn drop(&mut self) {
        if let Some((subject, id)) = self.registered.take() {
            subject.hooks().into_iter().for_each(|hooks| hooks.remove(id));
        }
    }
}

impl fmt::Debug for HookGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookGuard").field("is_registered", &self.registered.is_some()).finish()
    }
}
