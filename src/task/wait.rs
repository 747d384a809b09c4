//! A wait that blocks the thread while something is awaited in it, and what the thread's pool
//! learns of that.
//!
//! A task that awaits the shutdown of its own pool counts as ended while its thread is parked in
//! that wait, and at no other time. So a shutdown that is polled with the waker of such a wait is
//! told its parker, which shows whether the thread is parked; and the thread looks whether the end
//! has come whenever it parks in a wait in which that has happened.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::host::{Blocking, host};
use crate::sync::{Parker, thread_local_const, trampoline};

thread_local_const! { static INNERMOST: Cell<*const BlockingWait> = Cell::new(ptr::null()) }

/// A wait of this thread, from its first poll to its end.
pub(crate) struct BlockingWait {
    /// Of its own: what is polled in it may itself wait on this thread, and must not take its
    /// wake-up.
    parker: Arc<Parker>,
    awaits_end: Cell<bool>,
}

/// Waits as `f` says.
pub(crate) fn blocking_wait<R>(f: impl FnOnce(&BlockingWait) -> R) -> R {
    struct Reset(*const BlockingWait);
    impl Drop for Reset {
        fn drop(&mut self) {
            INNERMOST.with(|slot| slot.set(self.0));
        }
    }
    let wait = BlockingWait { parker: Arc::new(Parker::new()), awaits_end: Cell::new(false) };
    let _reset = Reset(INNERMOST.with(|slot| slot.replace(&raw const wait)));
    f(&wait)
}

/// The parker of this thread's innermost wait, if `waker` is that of the wait itself; then the wait
/// is for the end of the thread's pool, among other things.
pub(crate) fn awaits_end(waker: &Waker) -> Option<Arc<Parker>> {
    // SAFETY: T6: `blocking_wait` borrows the wait for longer than the slot holds it.
    let wait = unsafe { INNERMOST.with(Cell::get).as_ref() }?;
    if !ptr::eq(waker.data(), Arc::as_ptr(&wait.parker).cast()) {
        return None;
    }
    wait.awaits_end.set(true);
    Some(Arc::clone(&wait.parker))
}

impl BlockingWait {
    /// A waker that ends a park of this wait.
    pub(crate) fn waker(&self) -> Waker {
        self.parker.waker()
    }

    /// Parks the thread. Returns false where `deadline` came first, and may return early.
    pub(crate) fn park(&self, deadline: Option<Instant>) -> bool {
        if trampoline::settle(deadline) {
            return true;
        }
        let Some(host) = host().filter(|_| self.awaits_end.get()) else { return self.parker.park(deadline) };
        if !self.parker.show_parked() || !host.begin_parking() {
            return true;
        }
        let in_time = self.parker.park(deadline);
        host.end_parking();
        in_time
    }
}

/// Runs a future to its end on this thread: the bridge in the other direction. Declared as
/// blocking, as by [`will_block`](crate::current::will_block).
///
/// The future is polled here and nowhere else, so it may borrow and need not be `Send`. A future
/// that needs a runtime (tokio's timers and sockets) must be polled inside of it: use that
/// runtime's own handle then.
///
/// Inside a task, wait for another of the same pool by [`Task::wait`](crate::Task::wait), which can
/// run it in place. This function cannot: once the pool has `max_threads`, and all of them wait so
/// for what needs one, **it never returns**.
///
/// ```
/// let sum = sidestep::spawn(|| {
///     sidestep::block_on(async { std::future::ready(40).await + 2 })
/// });
/// assert_eq!(sum.wait()?, 42);
/// # Ok::<(), sidestep::TaskError>(())
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    blocking_wait(|wait| {
        let waker = wait.waker();
        let mut context = Context::from_waker(&waker);
        let mut blocking = None;
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            blocking.get_or_insert_with(Blocking::enter);
            wait.park(None);
        }
    })
}
