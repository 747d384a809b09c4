//! How a pool gets one thread more.
//!
//! - **P1** A thread is reserved, by compare-exchange against `max`, before it is made, and given
//!   up after its last hook has run: so the number of threads never exceeds `max`, not even for an
//!   instant.
//! - **P2** Whoever reserves also holds a starting token. Both go with the [`NewThread`]: into the
//!   thread when it runs, or back when it is dropped unrun.
//! - **P3** No lock is held while a thread is made, and the making never makes another on its own
//!   account: failures end in a cool-down, not in a second attempt.

mod backoff;
mod counts;

pub(in crate::pool) use self::backoff::CoolDown;
pub(in crate::pool) use self::counts::Headcount;

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::panic::{catch_panic, panic_message};
use crate::pool::inner::Shared;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::thread;
use crate::worker::work;

/// A thread that the pool wants: what
/// [`PoolBuilder::spawn_handler`](crate::PoolBuilder::spawn_handler) gets.
///
/// The handler makes an OS thread, by whatever means, and has it call [`run`](NewThread::run).
/// Dropping a `NewThread` without running it counts as a failure to start the thread.
pub struct NewThread {
    name: String,
    stack_size: Option<usize>,
    seat: Option<Seat>,
}

/// A reserved thread with its starting token (P2), and those it is to start in turn.
struct Seat {
    shared: Arc<Shared>,
    /// How many threads more were reserved for this one to start first thing.
    credit: usize,
    fate: Arc<AtomicUsize>,
}

/// The handler has returned.
const RETURNED: usize = 1;
/// The seat has been dropped unrun.
const LOST: usize = 2;

impl NewThread {
    /// The name the thread should have: the pool's name and a number.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The stack size in bytes that the thread should have; `None` for the platform's default.
    #[must_use]
    pub fn stack_size(&self) -> Option<usize> {
        self.stack_size
    }

    /// Works for the pool on the calling thread, until the pool lets the thread go.
    pub fn run(mut self) {
        if let Some(seat) = self.seat.take() {
            seat.run();
        }
    }
}

impl NewThread {
    /// Gives the reservation back: no attempt is made.
    fn withdraw(mut self) {
        if let Some(Seat { shared, credit, .. }) = self.seat.take() {
            shared.headcount.release(credit + 1);
            shared.engine.idle.not_started(credit + 1);
            shared.fewer_than_promised();
        }
    }
}

impl fmt::Debug for NewThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewThread").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drop for NewThread {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            seat.give_up();
        }
    }
}

impl Seat {
    fn run(self) {
        let Seat { shared, credit, .. } = self;
        shared.headcount.arrive();
        shared.cool_down.end();
        start_tree(&shared, credit);
        #[cfg(feature = "tokio")]
        let runtime = shared.config.runtime.clone();
        #[cfg(feature = "tokio")]
        let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
        work(shared);
    }

    fn give_up(self) {
        let Seat { shared, credit, fate } = self;
        let lost = credit + 1;
        shared.headcount.release(lost);
        shared.cool_down.count_failure();
        // A handler that has not returned yet has more to say about why; until then no other
        // attempt is made (P3).
        shared.cool_down.hold();
        // ORDERING: AcqRel pairs with the one in `start`: the second of the two sees the first, and
        // what came before it.
        let returned = fate.fetch_or(LOST, Ordering::AcqRel) & RETURNED != 0;
        if returned {
            shared.cool_down.begin(dropped_unrun());
        }
        shared.engine.idle.not_started(lost);
        if returned || shared.headcount.reserved() > 0 {
            shared.fewer_than_promised();
        }
    }
}

fn dropped_unrun() -> io::Error {
    io::Error::other("the spawn handler dropped the thread without running it")
}

/// Starts `count` threads that have been reserved and have their tokens: two at most by this
/// thread, which leave the rest to them.
pub(in crate::pool) fn start_tree(shared: &Arc<Shared>, count: usize) {
    let first = count.div_ceil(2);
    for share in [first, count - first] {
        if share > 0 {
            // A failure has been dealt with: the pool goes on with the threads it has.
            let _ = start(shared, share - 1);
        }
    }
}

/// Starts one reserved thread, which is to start `credit` more.
pub(in crate::pool) fn start(shared: &Arc<Shared>, credit: usize) -> io::Result<()> {
    let fate = Arc::new(AtomicUsize::new(0));
    let config = &shared.config;
    let new = NewThread {
        name: format!("{}-{}", config.name, shared.next_thread.fetch_add(1, Ordering::Relaxed)),
        stack_size: config.stack_size,
        seat: Some(Seat { shared: Arc::clone(shared), credit, fate: Arc::clone(&fate) }),
    };
    if shared.cool_down.is_on() {
        // P3: the last failure is too fresh.
        new.withdraw();
        return Err(copy(&shared.cool_down.error()));
    }
    let result = call_handler(shared, new);
    // ORDERING: AcqRel pairs with the one in `Seat::give_up`.
    let lost = fate.fetch_or(RETURNED, Ordering::AcqRel) & LOST != 0;
    if !lost {
        // The handler has the thread, whatever it says: it runs, or will, or is given up later.
        return Ok(());
    }
    let error = result.err().unwrap_or_else(dropped_unrun);
    shared.cool_down.begin(copy(&error));
    shared.fewer_than_promised();
    Err(error)
}

/// The same error once more: `io::Error` cannot be cloned.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// The error without the foreign one inside, whose code must not run wherever this is copied, shown
/// or dropped.
fn plain(error: io::Error) -> io::Error {
    let kind = error.kind();
    catch_panic("an error of the spawn handler", move || copy(&error)).unwrap_or_else(|| kind.into())
}

/// Calls the user's spawn handler, or the default one.
fn call_handler(shared: &Shared, new: NewThread) -> io::Result<()> {
    let handler = &shared.config.spawn_handler;
    let call = std::panic::AssertUnwindSafe(|| handler(new));
    std::panic::catch_unwind(call).map(|result| result.map_err(plain)).unwrap_or_else(|payload| {
        let error = io::Error::other(format!("the spawn handler panicked: {}", panic_message(&*payload)));
        crate::panic::report_panic("the spawn handler", payload);
        Err(error)
    })
}

/// Makes a thread with `std::thread::Builder`.
pub(in crate::pool) fn default_handler(new: NewThread) -> io::Result<()> {
    let mut builder = thread::Builder::new().name(new.name.clone());
    if let Some(bytes) = new.stack_size {
        builder = builder.stack_size(bytes);
    }
    builder.spawn(move || new.run()).map(drop)
}
