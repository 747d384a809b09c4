//! What a running closure may ask: whether it is cancelled, to be told when it is, and that its
//! thread may block.

#[cfg(all(test, not(sidestep_loom)))]
mod tests;

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;

use super::frame::current;
use super::host::{Blocking, host};
use super::reference::TaskRef;

/// True if the task that this code belongs to has been cancelled: its handle was dropped, or called
/// `cancel`. A task of a [`Scope`](crate::Scope) is cancelled with the task that the scope was
/// opened in.
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

/// Whether this code belongs to a task.
pub(crate) fn is_in_task() -> bool {
    current().is_some()
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
///     stream.read(&mut [0; 16]) // the peer never writes
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

/// Runs `f` and declares to the pool that this part blocks, so that the pool may have one thread
/// more meanwhile. The thread is made at once, but only if work waits for it.
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
