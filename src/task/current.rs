//! What a running closure may ask: whether it is cancelled, to be told when it is, and that its
//! thread may block.
//!
//! - **T6** What a slot of the thread (`FRAME`, `HOST`, `INNERMOST` of `wait`, a worker's
//!   `STATION`) points to is borrowed by whoever set it, who sets it back on every way out, a panic
//!   too; and what is read from a slot stays inside what that one runs.

#[cfg(all(test, not(sidestep_loom)))]
mod tests;

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

use super::extras::Inside;
use super::reference::TaskRef;
use crate::error::TaskId;
use crate::sync::atomic::{Ordering, StaticU64};
use crate::sync::{Parker, thread_local_const};

/// A task that this thread is running, and the one it interrupted by running it in place.
struct Frame {
    task: *const TaskRef,
    below: *const Frame,
}

thread_local_const! { static FRAME: Cell<*const Frame> = Cell::new(ptr::null()) }
thread_local_const! { static HOST: Cell<Option<*const dyn Host>> = Cell::new(None) }

/// What a thread of a pool does for the code that runs on it. `worker` implements it.
pub(crate) trait Host {
    /// The thread is about to block for as long as the code likes.
    fn begin_blocking(&self);
    /// The thread has stopped blocking.
    fn end_blocking(&self);
    /// Runs `target` on this thread now, if it waits in a queue of this thread's pool and the pool
    /// cannot be counted on to give it another thread. Called while blocking, and after `watch`.
    fn run_in_place(&self, target: &TaskRef) -> InPlace;
    /// Has `parker` woken when the answer of `run_in_place` for `target` may have changed.
    fn watch(&self, target: &TaskRef, parker: &Arc<Parker>);
    /// What cannot end before this thread goes on.
    fn inside(&self) -> Vec<Inside>;
    /// Undoes `watch`.
    fn unwatch(&self, target: &TaskRef, parker: &Arc<Parker>);
    /// Whether anything is in the queues of this thread's pool.
    fn has_queued(&self) -> bool;
    /// Runs one queue entry of this thread's pool on this thread now. False if there was none.
    fn run_any_in_place(&self) -> bool;
    /// As `run_any_in_place` for `target`, whether or not the pool may grow. False if somebody else
    /// has claimed it.
    fn run_now(&self, target: &TaskRef) -> bool;
    /// The tasks that this thread is inside wait for the shutdown of its pool, and count as ended:
    /// gives their slots away.
    fn forfeit_slots(&self);
    /// Whether another thread can be counted on to be started while this one blocks.
    fn may_grow(&self) -> bool;
    /// Has `parker` woken when `may_grow` turns false, and whenever something is queued that no
    /// thread will look for.
    fn offer_help(&self, parker: &Arc<Parker>);
    /// Undoes `offer_help`.
    fn withdraw_help(&self, parker: &Arc<Parker>);
    /// The thread is about to park in a wait for, among others, the shutdown of its pool, and its
    /// parker shows that. False if it must look again instead: a waker has forked, and this is the
    /// child.
    #[must_use]
    fn begin_parking(&self) -> bool;
    /// The thread goes on.
    fn end_parking(&self);
    /// Ends this thread after its task.
    fn retire(&self);
    /// The address of what owns this thread's pool, for comparison.
    fn owner(&self) -> *const ();
}

/// What came of running a task in place.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InPlace {
    /// It has been run, or something else has been done for it: look again.
    Ran,
    /// Nothing can be done but wait.
    Waits,
    /// It will never run: everybody who could run it waits.
    Deadlock,
}

/// Makes `host` the host of this thread while `f` runs.
pub(crate) fn with_host<R>(host: &(dyn Host + 'static), f: impl FnOnce() -> R) -> R {
    struct Reset(Option<*const dyn Host>);
    impl Drop for Reset {
        fn drop(&mut self) {
            HOST.with(|slot| slot.set(self.0));
        }
    }
    let _reset = Reset(HOST.with(|slot| slot.replace(Some(host))));
    f()
}

/// This thread's host, where it is a pool's thread.
pub(crate) fn host<'a>() -> Option<&'a dyn Host> {
    // SAFETY: T6: `with_host` borrows the host for longer than the slot holds it.
    HOST.with(Cell::get).map(|host| unsafe { &*host })
}

/// Runs `f` as the closure of `task`.
pub(crate) fn as_current<R>(task: &TaskRef, f: impl FnOnce() -> R) -> R {
    in_frame(task, f)
}

/// Runs `f`, a waker or a callback, which belongs to no task though the thread may be inside one.
pub(crate) fn as_nobody<R>(f: impl FnOnce() -> R) -> R {
    in_frame(ptr::null(), f)
}

#[inline]
fn in_frame<R>(task: *const TaskRef, f: impl FnOnce() -> R) -> R {
    struct Reset(*const Frame);
    impl Drop for Reset {
        fn drop(&mut self) {
            FRAME.with(|slot| slot.set(self.0));
        }
    }
    let below = FRAME.with(Cell::get);
    let frame = Frame { task, below };
    FRAME.with(|slot| slot.set(&raw const frame));
    let _reset = Reset(below);
    f()
}

/// The tasks on this thread, innermost first; `None` for code that belongs to none.
fn frames<'a>() -> impl Iterator<Item = Option<&'a TaskRef>> {
    let mut next = FRAME.with(Cell::get);
    std::iter::from_fn(move || {
        // SAFETY: T6: null, or a frame on the stack of this thread, above us, until `in_frame`
        // takes it off the list.
        let frame = unsafe { next.as_ref() }?;
        next = frame.below;
        // SAFETY: T6: null, or a reference that the frame borrows for as long.
        Some(unsafe { frame.task.as_ref() })
    })
}

/// The task that this code belongs to.
fn current<'a>() -> Option<&'a TaskRef> {
    frames().next().flatten()
}

/// Whether this thread is inside `task`.
pub(crate) fn is_inside(task: &TaskRef) -> bool {
    tasks().any(|other| other.is_same(task))
}

/// The tasks that this thread is inside, innermost first.
pub(crate) fn tasks<'a>() -> impl Iterator<Item = &'a TaskRef> {
    frames().flatten()
}

/// The tasks of `owner` that this thread is inside.
pub(crate) fn tasks_of(owner: *const ()) -> Vec<TaskId> {
    tasks().filter(|task| task.is_owned_by(owner)).map(TaskRef::id).collect()
}

/// The next task id. Each thread takes them from a block of its own, so that spawners do not meet.
pub(crate) fn next_id() -> TaskId {
    const BLOCK: u64 = 1024;
    static NEXT_BLOCK: StaticU64 = StaticU64::new(0);
    thread_local_const! { static NEXT: Cell<u64> = Cell::new(0) }

    NEXT.with(|next| {
        let mut id = next.get();
        if id % BLOCK == 0 {
            id = NEXT_BLOCK.fetch_add(1, Ordering::Relaxed) * BLOCK;
        }
        next.set(id + 1);
        TaskId::new(id + 1)
    })
}

/// True if somebody has cancelled the task that this code belongs to: dropped its handle, or called
/// `cancel`.
///
/// Long closures look at it now and then and end early. Outside a task it is false.
///
/// ```
/// use sidestep::current;
///
/// let (started, wait) = std::sync::mpsc::channel();
/// let task = sidestep::spawn(move || {
///     started.send(()).unwrap();
///     let mut rounds = 0_u64;
///     while !current::is_cancelled() {
///         rounds += 1;
///     }
///     rounds
/// });
/// wait.recv()?;
/// assert!(task.cancel().wait().is_ok(), "it ended early, but it ended by itself");
/// # Ok::<(), std::sync::mpsc::RecvError>(())
/// ```
#[must_use]
pub fn is_cancelled() -> bool {
    current().is_some_and(|task| task.header().word.is_cancelled())
}

/// The task that this code belongs to has been cancelled.
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

/// [`is_cancelled`] for use with `?`.
///
/// # Errors
///
/// [`Cancelled`] if the task has been cancelled. Outside a task it is always `Ok`.
///
/// ```
/// use std::io::{self, Read};
///
/// fn count(mut input: impl Read) -> io::Result<u64> {
///     let mut chunk = [0; 4096];
///     let mut total = 0;
///     loop {
///         sidestep::current::check()?;
///         match input.read(&mut chunk)? {
///             0 => return Ok(total),
///             read => total += read as u64,
///         }
///     }
/// }
/// assert_eq!(count(&b"four"[..])?, 4);
/// # Ok::<(), io::Error>(())
/// ```
pub fn check() -> Result<(), Cancelled> {
    if is_cancelled() { Err(Cancelled) } else { Ok(()) }
}

/// Registers `hook` to be run when the task that this code belongs to is cancelled: to interrupt a
/// query, shut a socket down, kill a child process.
///
/// The hook runs at most once, on the thread that cancels, or at once on this one if the task has
/// been cancelled already; a panic in it is caught and traced. It is unregistered when the guard is
/// dropped, which waits for a hook that is running on another thread, or when the task ends. These
/// are the rules of C++'s `std::stop_callback`. No lock of the pool is held while it runs. Outside
/// a task the hook never runs.
///
/// # Cancellation
///
/// The hook is how cancellation reaches a call that does not look at [`is_cancelled`].
///
/// ```
/// use std::io::Read;
/// use std::net::{Shutdown, TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let (connected, wait) = std::sync::mpsc::channel();
/// let task = sidestep::spawn(move || {
///     let mut stream = TcpStream::connect(address)?;
///     let peer = stream.try_clone()?;
///     let _guard = sidestep::current::on_cancel(move || {
///         let _ = peer.shutdown(Shutdown::Both);
///     });
///     connected.send(()).unwrap();
///     stream.read(&mut [0; 16]) // nobody ever writes
/// });
/// wait.recv().unwrap();
/// let read = task.cancel().wait()?;
/// assert_eq!(read?, 0, "the hook has ended the read");
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "dropping the guard unregisters the hook"]
pub fn on_cancel(hook: impl FnOnce() + Send + 'static) -> HookGuard {
    let registered = current().and_then(|task| {
        let id = task.add_hook(Box::new(hook))?;
        Some((task.clone(), id))
    });
    HookGuard { registered, _not_send: PhantomData }
}

/// Keeps a hook of [`on_cancel`] registered. Its drop returns once the hook has run or never will.
#[derive(Debug)]
#[must_use = "dropping the guard unregisters the hook"]
pub struct HookGuard {
    registered: Option<(TaskRef, u64)>,
    _not_send: PhantomData<*const ()>,
}

impl Drop for HookGuard {
    fn drop(&mut self) {
        if let Some((task, id)) = self.registered.take() {
            task.remove_hook(id);
        }
    }
}

/// Declares the thread blocked from `enter` to the drop, so that its pool may have one thread more.
pub(crate) struct Blocking<'a>(Option<&'a dyn Host>);

impl Blocking<'_> {
    pub(crate) fn enter() -> Self {
        let host = host();
        if let Some(host) = host {
            host.begin_blocking();
        }
        Blocking(host)
    }

    /// The host that was told, if this is a pool's thread.
    pub(crate) fn host(&self) -> Option<&dyn Host> {
        self.0
    }
}

impl Drop for Blocking<'_> {
    fn drop(&mut self) {
        if let Some(host) = self.0 {
            host.end_blocking();
        }
    }
}

/// Runs `f` and tells the pool that this part blocks, so that the pool may have one thread more
/// meanwhile. The thread is made at once, but only if work waits for it.
///
/// The pool finds blocked threads by itself within a millisecond or so; this saves that time.
/// Nested calls count once. Outside a pool's thread `f` just runs.
///
/// ```
/// use sidestep::current;
///
/// let line = sidestep::spawn(|| {
///     current::will_block(|| std::fs::read_to_string("Cargo.toml"))
/// });
/// assert!(line.wait()?.is_ok());
/// # Ok::<(), sidestep::TaskError>(())
/// ```
#[doc(alias = "block_in_place")]
pub fn will_block<R>(f: impl FnOnce() -> R) -> R {
    let _blocking = Blocking::enter();
    f()
}

/// Ends this thread once its task has ended, because the task has left it in a state that the next
/// one must not meet: a seccomp filter, another namespace, a changed user id.
///
/// The pool starts another thread when it needs one. Outside a pool's thread nothing happens.
///
/// ```
/// use std::thread;
///
/// let pool = sidestep::Pool::builder().max_threads(1).build()?;
/// let tainted = pool.spawn(|| {
///     sidestep::current::retire_thread();
///     thread::current().id()
/// });
/// let tainted = tainted.wait()?;
/// let next = pool.spawn(|| thread::current().id()).wait()?;
/// assert_ne!(tainted, next);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn retire_thread() {
    if let Some(host) = host() {
        host.retire();
    }
}
