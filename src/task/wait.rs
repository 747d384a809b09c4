//! A wait that blocks the thread while something is awaited in it, and what the thread's pool is told of that.
//!
//! A task that awaits the shutdown of its own pool counts as ended while its thread is parked in that wait, and at no
//! other time. So a shutdown that is polled on a thread of its pool *names* the wait that it is polled in, and the host is
//! told whenever the thread parks in a wait with a name.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::current::{Blocking, host};
use crate::sync::atomic::{Ordering, StaticU64};
use crate::sync::{Parker, thread_local_const};

/// A name of a wait: no two waits have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitName(u64);

impl WaitName {
    /// The thread is in no wait of this crate: what polls is an executor that nobody sees park.
    pub(crate) const NONE: WaitName = WaitName(0);
    /// The thread is in a wait without a name: nothing is awaited in it that its pool need know.
    const UNNAMED: WaitName = WaitName(1);

    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    fn is_name(self) -> bool {
        self.0 > Self::UNNAMED.0
    }
}

thread_local_const! { static INNERMOST: Cell<WaitName> = Cell::new(WaitName::NONE) }

/// A wait of this thread, from its first poll to its end.
pub(crate) struct BlockingWait {
    outer: WaitName,
}

impl BlockingWait {
    /// From here on this is the innermost wait of the thread.
    pub(crate) fn begin() -> Self {
        BlockingWait { outer: INNERMOST.with(|slot| slot.replace(WaitName::UNNAMED)) }
    }

    /// From here on the thread is in no wait: it does something else in the middle of one.
    pub(crate) fn interrupt() -> Self {
        BlockingWait { outer: INNERMOST.with(|slot| slot.replace(WaitName::NONE)) }
    }

    /// Parks the thread, and says so if the wait has a name. Returns false where `deadline` came first.
    pub(crate) fn park(&self, parker: &Parker, deadline: Option<Instant>) -> bool {
        let name = INNERMOST.with(Cell::get);
        let host = host().filter(|_| name.is_name());
        if let Some(host) = host {
            host.begin_parking(name);
        }
        let in_time = parker.park(deadline);
        if let Some(host) = host {
            host.end_parking();
        }
        in_time
    }
}

impl Drop for BlockingWait {
    fn drop(&mut self) {
        INNERMOST.with(|slot| slot.set(self.outer));
    }
}

/// The name of the wait that this code is polled in, which has one from here on.
pub(crate) fn name_wait() -> WaitName {
    static NEXT: StaticU64 = StaticU64::new(WaitName::UNNAMED.0 + 1);
    let mut name = INNERMOST.with(Cell::get);
    if name == WaitName::UNNAMED {
        name = WaitName(NEXT.fetch_add(1, Ordering::Relaxed));
        INNERMOST.with(|slot| slot.set(name));
    }
    name
}

/// Runs a future to its end on this thread: the bridge in the other direction. Declared as blocking, as by [`will_block`].
///
/// The future is polled here and nowhere else, so it may borrow and need not be `Send`. A future that needs a
/// runtime (tokio's timers and sockets) must be polled inside of it: use that runtime's own handle then.
///
/// Inside a task, wait for another of the same pool by [`Task::wait`](crate::Task::wait), which can run it in place. This
/// function cannot: once the pool has `max_threads`, and all of them wait so for what needs one, **it never returns**.
///
/// ```
/// let sum = sidestep::spawn(|| {
///     sidestep::current::block_on(async { std::future::ready(40).await + 2 })
/// });
/// assert_eq!(sum.wait()?, 42);
/// # Ok::<(), sidestep::TaskError>(())
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    // A parker of its own: the future may itself wait on this thread, and must not take this call's wake-up.
    let parker = Arc::new(Parker::new());
    let waker = parker.waker();
    let mut context = Context::from_waker(&waker);
    let wait = BlockingWait::begin();
    let mut blocking = None;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        blocking.get_or_insert_with(Blocking::enter);
        wait.park(&parker, None);
    }
}
