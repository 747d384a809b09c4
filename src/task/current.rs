//! What a running closure may ask: whether it is cancelled, to be told when it is, a token that
//! other threads can ask, and that its thread may block.

#[cfg(all(test, not(sidestep_loom)))]
mod tests;

pub use super::token::{Cancelled, HookGuard};

use super::frame::{Belonging, as_attached, current};
use super::host::{Blocking, host};
use super::token::{CancelSubject, CancelToken};

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
    match current() {
        None => false,
        Some(Belonging::Task(task)) => task.is_cancelled(),
        Some(Belonging::Token(token)) => token.is_cancelled(),
    }
}

/// Whether this code belongs to a task, or to a token that may be cancelled.
pub(crate) fn is_in_task() -> bool {
    match current() {
        None => false,
        Some(Belonging::Task(_)) => true,
        Some(Belonging::Token(token)) => !matches!(token.subject(), CancelSubject::Nothing),
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
pub fn on_cancel(hook: impl FnOnce() + Send + 'static) -> HookGuard {
    match current() {
        None => HookGuard::new(None),
        Some(Belonging::Task(task)) => {
            let id = task.add_hook(Box::new(hook));
            HookGuard::new(id.map(|id| (CancelSubject::Task(task.clone()), id)))
        }
        Some(Belonging::Token(token)) => token.subject().on_cancel(Box::new(hook)),
    }
}

/// A token of the task that this code belongs to: other threads can ask it whether the task is
/// cancelled, wait for that, and be [attached](attach) to the task. Outside of a task it is
/// [`never`](CancelToken::never) cancelled.
///
/// The first token of a task costs one allocation. With the feature `tracing`, and a subscriber,
/// the token remembers the span in which it was made, and keeps it open.
///
/// ```
/// let task = sidestep::spawn(|| {
///     let token = sidestep::current::token();
///     let helper = std::thread::spawn(move || token.check().is_ok());
///     helper.join().unwrap()
/// });
/// assert!(task.wait()?);
/// # Ok::<(), sidestep::TaskError>(())
/// ```
pub fn token() -> CancelToken {
    match current() {
        None => CancelToken::never(),
        Some(Belonging::Task(task)) => {
            task.expect_others();
            CancelToken::of(CancelSubject::Task(task.clone()))
        }
        Some(Belonging::Token(token)) => CancelToken::of(token.subject().clone()),
    }
}

/// Runs `f` on this thread as code that belongs to what `token` stands for: inside of `f`,
/// [`is_cancelled`], [`check`], [`on_cancel`] and [`token`](token()) answer for that, and so does
/// what is spawned in a [scope](crate::Pool::scope) that `f` opens. The `tracing` span in which the
/// token was made surrounds `f`.
///
/// It is for code that runs on threads of others: in rayon, in `std::thread::scope`, in the
/// callback of a C library. What belongs to the thread stays the thread's: [`will_block`] and
/// [`retire_thread`] are about the pool whose thread this is, if any, and a wait for the task
/// itself is no deadlock here. A context of [`propagate`](crate::PoolBuilder::propagate) is for the
/// closure's one run, and is not there.
///
/// The hooks that `f` registers belong to their guards: the end of the task does not wait for them.
/// Calls may be inside each other; the innermost counts. When `f` has returned or panicked, the
/// thread belongs to what it belonged to before.
///
/// ```
/// use sidestep::current;
///
/// let task = sidestep::spawn(|| {
///     let token = current::token();
///     let sum = |numbers: &[u64]| {
///         current::attach(&token, || {
///             numbers.iter().take_while(|_| !current::is_cancelled()).sum::<u64>()
///         })
///     };
///     std::thread::scope(|scope| {
///         let half = scope.spawn(|| sum(&[1, 2, 3]));
///         sum(&[4, 5]) + half.join().unwrap()
///     })
/// });
/// assert_eq!(task.wait()?, 15);
/// # Ok::<(), sidestep::TaskError>(())
/// ```
pub fn attach<R>(token: &CancelToken, f: impl FnOnce() -> R) -> R {
    as_attached(token, || token.surround(f))
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
