//! How a pool starts one thread more.
//!
//! - **P1** A thread is reserved, by compare-exchange against `max`, before it is made, and given
//!   up after its last hook has run: so the number of threads never exceeds `max`, not even for an
//!   instant. The threads of lanes' reserves count apart (N5).
//! - **P2** The thread that reserves also holds a starting token. Both go with the [`NewThread`]:
//!   into the thread when it runs, or back when it is dropped unrun. A thread of a reserve has no
//!   token.
//! - **P3** No lock is held while a thread is made, and the making never makes another on its own
//!   account: failures end in a pause, not in a second attempt.

use std::io;
use std::sync::Arc;

use super::new_thread::{NewThread, Reserved, make};
use crate::lane::LaneReserve;
use crate::panic::{catch_panic, panic_message};
use crate::pool::inner::Inner;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::worker::{work, work_in_reserve};

/// A thread that is to be made.
struct Reservation {
    pool: Arc<Inner>,
    role: Purpose,
    handshake: Arc<AtomicUsize>,
}

/// What a thread is made for.
enum Purpose {
    /// For whatever is queued: a reserved thread with its starting token (P2).
    General,
    /// For the lane of this reserve, in which the thread is counted.
    Lane(Arc<LaneReserve>),
}

/// The handler has returned.
const RETURNED: usize = 1;
/// The reservation has been dropped unrun.
const LOST: usize = 2;

impl Reserved for Reservation {
    fn run(self: Box<Self>) {
        let Reservation { pool, role, .. } = *self;
        pool.threads.backoff().end();
        if let Purpose::General = role {
            pool.threads.counts().arrive();
        }
        #[cfg(feature = "tokio")]
        let runtime = pool.config.runtime.clone();
        #[cfg(feature = "tokio")]
        let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
        match role {
            Purpose::General => work(pool),
            Purpose::Lane(reserve) => work_in_reserve(pool, reserve),
        }
    }

    fn give_up(self: Box<Self>) {
        let Reservation { pool, role, handshake } = *self;
        let threads = &pool.threads;
        if let Purpose::General = role {
            threads.counts().release(1);
        }
        threads.backoff().count_failure();
        // A handler that has not returned yet may still report why; until then no other attempt is
        // made (P3).
        threads.backoff().hold();
        // ORDERING: AcqRel pairs with the one in `start_as`: the second of the two sees the first,
        // and all that came before it.
        let returned = handshake.fetch_or(LOST, Ordering::AcqRel) & RETURNED != 0;
        if returned {
            threads.backoff().begin(dropped_unrun());
        }
        match role {
            Purpose::General => pool.engine.idle.not_started(1),
            Purpose::Lane(reserve) => pool.release_reserved(&reserve, false),
        }
        if returned || threads.counts().reserved() > 0 {
            pool.on_start_failed();
        }
    }
}

fn dropped_unrun() -> io::Error {
    io::Error::other("the spawn handler dropped the thread without running it")
}

/// Starts `count` threads that have been reserved and have their tokens.
pub(in crate::pool) fn start_many(pool: &Arc<Inner>, count: usize) {
    for started in 0..count {
        if pool.threads.backoff().is_on() {
            return give_back(pool, count - started);
        }
        // `start` has handled a failure: the pool goes on with the threads it has.
        let _ = start(pool);
    }
}

/// Starts one reserved thread.
pub(in crate::pool) fn start(pool: &Arc<Inner>) -> io::Result<()> {
    let threads = &pool.threads;
    if threads.backoff().is_on() {
        give_back(pool, 1);
        return Err(copy(&threads.backoff().error()));
    }
    start_as(pool, threads.next_name(&pool.config.name), Purpose::General)
}

/// P3: the last failure is too recent for an attempt to start `count` threads.
fn give_back(pool: &Inner, count: usize) {
    pool.threads.counts().release(count);
    pool.engine.idle.not_started(count);
    pool.on_start_failed();
}

/// Starts a thread of a lane's `reserve`, in which it is counted.
pub(in crate::pool) fn start_in_reserve(pool: &Arc<Inner>, lane: &str, reserve: &Arc<LaneReserve>) {
    let name = format!("{}-{lane}-r{}", pool.config.name, reserve.next_number());
    // A failure has been dealt with.
    let _ = start_as(pool, name.replace('\0', ""), Purpose::Lane(Arc::clone(reserve)));
}

/// Calls the handler, which makes a thread called `name`.
fn start_as(pool: &Arc<Inner>, name: String, role: Purpose) -> io::Result<()> {
    let threads = &pool.threads;
    let handshake = Arc::new(AtomicUsize::new(0));
    let reservation = Reservation { pool: Arc::clone(pool), role, handshake: Arc::clone(&handshake) };
    let result = call_handler(pool, NewThread::new(name, pool.config.stack(), Box::new(reservation)));
    // ORDERING: AcqRel pairs with the one in `give_up`.
    let lost = handshake.fetch_or(RETURNED, Ordering::AcqRel) & LOST != 0;
    if !lost {
        // The handler has the thread, whatever it returned: the thread runs, or will run, or its
        // drop gives it up later.
        return Ok(());
    }
    let error = result.err().unwrap_or_else(dropped_unrun);
    threads.backoff().begin(copy(&error));
    pool.on_start_failed();
    Err(error)
}

/// A copy of the error: `io::Error` cannot be cloned.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// The error without the user's error inside, whose code must not run where this one is copied,
/// shown or dropped.
fn plain(error: io::Error) -> io::Error {
    let kind = error.kind();
    catch_panic("an error of the spawn handler", move || copy(&error)).unwrap_or_else(|| kind.into())
}

/// Calls the user's spawn handler, or the default one.
fn call_handler(pool: &Inner, new: NewThread) -> io::Result<()> {
    let Some(handler) = &pool.config.spawn_handler else {
        return make(new, pool.threads.joins(), pool.config.inherit);
    };
    let call = std::panic::AssertUnwindSafe(|| handler(new));
    std::panic::catch_unwind(call).map(|result| result.map_err(plain)).unwrap_or_else(|payload| {
        let error = io::Error::other(format!("the spawn handler panicked: {}", panic_message(&*payload)));
        crate::panic::report_panic("the spawn handler", payload);
        Err(error)
    })
}
