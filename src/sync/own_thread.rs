//! A thread of the library: how it is made, what it shows of its life, and how it is joined. All
//! threads of the library are made here, but for those that a user's spawn handler makes.
//!
//! A thread that is joined has run the destructors of its thread-local variables, and the system
//! lists it no more: `join` of `std` returns when the thread has nothing left to do, and an instant
//! later the system takes it out of its lists, for which [`OwnThread::join`] waits too.

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::atomic::{AtomicBool, Ordering};
use super::{Parker, now, thread, thread_local_const};
use crate::sys::attributes::{Inherit, SignalsBlocked, begin};
use crate::sys::first_use::Maker;
use crate::sys::thread_stat::{ThreadKey, ThreadStat};

/// How long a thread that has ended may still be listed by the system. It takes microseconds.
const LISTED: Duration = Duration::from_secs(1);
/// The pause between two looks whether a thread has ended.
const STEP: Duration = Duration::from_micros(500);

/// What a thread does. It takes much code to start one, which is compiled once for all of them.
pub(crate) type ThreadMain = Box<dyn FnOnce() + Send>;

/// The size of the block that a thread which leaves has allocated for the one that joins it to
/// free; nothing is written to it. `malloc` of glibc keeps the small blocks that are freed as a
/// thread ends apart, and all memory below them with them, until a block of this size is freed in
/// the same arena. So the thread that joins gives back what the one that has ended held.
const PARTING: usize = if cfg!(all(target_os = "linux", target_env = "gnu")) { 64 << 10 } else { 0 };

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThreadRole {
    /// It runs tasks.
    Worker,
    /// It does something beside them.
    Helper,
}

/// What this thread is, as far as joining goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Here {
    /// No thread of the library, or one that runs tasks.
    Free,
    /// A helper, or a worker that has left its pool: another thread may be joining it.
    Joinable,
}

/// What a thread shows of itself.
#[derive(Debug)]
struct Life {
    /// It runs no task any more, and is about to end.
    left: AtomicBool,
    key: OnceLock<ThreadKey>,
    /// Of [`PARTING`] bytes, once the thread has left.
    parting: OnceLock<Vec<u8>>,
}

thread_local_const! { static LIFE: RefCell<Option<Arc<Life>>> = RefCell::new(None) }
// It has no destructor, so that destructors of other variables may ask for it.
thread_local_const! { static HERE: Cell<Here> = Cell::new(Here::Free) }

/// A thread of the library, to be joined. Its drop lets the thread go on alone.
#[derive(Debug)]
pub(crate) struct OwnThread {
    handle: thread::JoinHandle<()>,
    life: Arc<Life>,
    role: ThreadRole,
}

/// Makes a thread that runs `f`, with the attributes of the process but for those in `inherit`.
///
/// # Errors
///
/// Those of the system.
pub(crate) fn start(
    builder: thread::Builder,
    (role, inherit): (ThreadRole, Inherit),
    f: ThreadMain,
) -> io::Result<OwnThread> {
    let life =
        Arc::new(Life { left: AtomicBool::new(false), key: OnceLock::new(), parting: OnceLock::new() });
    let own = Arc::clone(&life);
    let blocked = SignalsBlocked::new();
    let made = blocked.made();
    let starts = Maker::enter();
    let result = builder.spawn(move || {
        begin(inherit, made);
        drop(starts);
        let _ = own.key.set(ThreadKey::current());
        LIFE.with(|life| life.replace(Some(own)));
        if role == ThreadRole::Helper {
            HERE.with(|here| here.set(Here::Joinable));
        }
        f();
        if role == ThreadRole::Helper {
            leave();
        }
        end();
    });
    blocked.end();
    result.map(|handle| OwnThread { handle, life, role })
}

/// The calling thread is about to end: no fork happens before it has, but for the destructors of
/// its thread-local variables. That of this one comes first, since it is used last.
fn end() {
    std::thread_local! { static ENDS: Cell<Option<Maker>> = const { Cell::new(None) } }
    let maker = Maker::enter();
    // After the destructor there would be no end to wait for.
    let _ = ENDS.try_with(|ends| ends.set(Some(maker)));
}

/// Makes a thread of this name that is for no pool, or that nothing joins.
///
/// # Errors
///
/// Those of the system.
pub(crate) fn start_alone(name: String, f: impl FnOnce() + Send + 'static) -> io::Result<()> {
    start(thread::Builder::new().name(name), (ThreadRole::Helper, Inherit::default()), Box::new(f)).map(drop)
}

/// This thread leaves its pool, and may be joined from now on. A helper does so by its end.
pub(crate) fn leave() {
    let life = LIFE.with(|life| life.borrow_mut().take());
    if let Some(life) = life {
        HERE.with(|here| here.set(Here::Joinable));
        let mut parting = Vec::new();
        // Without memory there is nothing to give back.
        let _ = parting.try_reserve_exact(PARTING);
        let _ = life.parting.set(parting);
        // ORDERING: Release pairs with the Acquire in `has_left`: what the thread did in its pool
        // comes before its end.
        life.left.store(true, Ordering::Release);
    }
}

/// Whether this thread may join others: it is none that others may be joining.
pub(crate) fn may_join() -> bool {
    HERE.with(Cell::get) == Here::Free
}

impl OwnThread {
    pub(crate) fn role(&self) -> ThreadRole {
        self.role
    }

    /// Whether the thread has left its pool.
    pub(crate) fn has_left(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `leave`.
        self.life.left.load(Ordering::Acquire)
    }

    /// Whether joining it takes no time. Where the system does not say so, its thread-local
    /// variables may still be being destroyed.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_known_gone().unwrap_or_else(|| is_finished(&self.handle))
    }

    /// The same, with certainty: then a thread that others may be joining may join it. `None` where
    /// the system does not say so.
    pub(crate) fn is_known_gone(&self) -> Option<bool> {
        self.life.key.get().and_then(ThreadKey::is_gone)
    }

    /// Waits for the end of the thread, until `deadline`. Returns the thread if that came first.
    pub(crate) fn join(self, deadline: Option<Instant>) -> Option<Self> {
        let pause = Parker::new();
        while let Some(deadline) = deadline.filter(|_| !self.is_gone()) {
            if now() >= deadline {
                return Some(self);
            }
            pause.park(Some(deadline.min(now() + STEP)));
        }
        let OwnThread { handle, life, .. } = self;
        // A panic has been reported by the thread itself.
        drop(handle.join());
        if let Some(key) = life.key.get() {
            let latest = now() + LISTED;
            while key.is_gone() == Some(false) && now() < latest {
                thread::yield_now();
            }
        }
        None
    }
}

#[cfg(not(any(sidestep_loom, sidestep_shuttle)))]
fn is_finished(handle: &thread::JoinHandle<()>) -> bool {
    handle.is_finished()
}

/// The handles of model checkers do not know.
#[cfg(any(sidestep_loom, sidestep_shuttle))]
fn is_finished(_: &thread::JoinHandle<()>) -> bool {
    true
}
