//! Waiting for room in a full queue: no thread and no caller waits with it.
//!
//! A [`RoomWait`] is the waker of its own wait for a permit. The thread that releases a permit, or
//! closes the semaphore, polls the wait and does what is to be done then.
//!
//! ```text
//!              wake                      ready
//!   PARKED ----------> POLLING ------------------------> OVER   the action runs
//!    | ^                  |  ^                            ^ ^
//!    | +---- pending -----+  +-- pending, but woken       | |
//!    |                       |                            | |
//!    |                    withdrawn: dropped by the poll -+ |
//!    +------- withdrawn: dropped there and then ------------+
//! ```
//!
//! The wait and its action have one owner at a time: the state while it is `PARKED`, otherwise the
//! stack of the thread that polls. All changes are made under one lock, and none of what the owner
//! does with them is: neither the poll, which may release a permit to another waiter, nor the
//! action, nor a drop.
//!
//! # Why no wake-up is lost
//!
//! The semaphore calls the waker that it was left with the last poll, once the wait in it has
//! ended, be it with a permit or because it has been closed (see `semaphore`). If the call finds
//! `PARKED`, this thread polls. If it finds `POLLING`, the poll may have come before the end, so
//! the call leaves `woken`, which the owner finds under the lock under which it would park, and
//! polls again. If it finds `OVER`, the action has run, or the wait has been withdrawn. So from the
//! end of the wait in the semaphore on there is always a thread that will poll. One poll after that
//! end is ready.
//!
//! # Why the action runs once, or is withdrawn
//!
//! Only the owner runs it, and there is one. A withdrawal that finds `PARKED` becomes the owner,
//! and drops the wait, which leaves the semaphore's queue and hands a permit on that has been
//! granted meanwhile. One that finds `POLLING` leaves that to the owner, which looks once more
//! before it runs the action. A withdrawal that comes later than this look changes nothing: the
//! pump starts, and finds nothing to do.

use std::future::Future;
use std::mem::replace;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::error::TaskError;
use crate::pool::{Permit, Reserve};
use crate::sync::ProcessMutex;

/// What is done when there is room, or never will be.
type RoomAction = Box<dyn FnOnce(Result<Permit, TaskError>) + Send>;

/// A wait for room that drives itself. In a forked child it never goes on.
pub(super) struct RoomWait {
    state: ProcessMutex<RoomState>,
}

enum RoomState {
    Parked(Reserve, RoomAction),
    Polling { woken: bool, withdrawn: bool },
    Over,
}

impl RoomWait {
    /// A wait that begins with [`start`](RoomWait::start).
    pub(super) fn new(
        reserve: Reserve,
        action: impl FnOnce(Result<Permit, TaskError>) + Send + 'static,
    ) -> Arc<Self> {
        let state = ProcessMutex::new(RoomState::Parked(reserve, Box::new(action)));
        Arc::new(RoomWait { state })
    }

    /// Looks for room, and waits if there is none.
    pub(super) fn start(self: &Arc<Self>) {
        self.wake_by_ref();
    }

    /// There is nothing to be done any more when there is room.
    pub(super) fn withdraw(&self) {
        let Some(mut state) = self.state.lock() else { return };
        match &mut *state {
            RoomState::Polling { withdrawn, .. } => *withdrawn = true,
            RoomState::Parked(..) | RoomState::Over => {
                let wait = replace(&mut *state, RoomState::Over);
                drop(state);
                drop(wait);
            }
        }
    }

    fn poll(self: &Arc<Self>, mut reserve: Reserve, action: RoomAction) {
        let waker = Waker::from(Arc::clone(self));
        loop {
            let room = Pin::new(&mut reserve).poll(&mut Context::from_waker(&waker));
            let Some(mut state) = self.state.lock() else { return };
            match (room, &mut *state) {
                (_, RoomState::Polling { withdrawn: true, .. }) => {
                    *state = RoomState::Over;
                    // The wait, the action and the permit are dropped behind the lock.
                    return drop(state);
                }
                (Poll::Ready(result), _) => {
                    *state = RoomState::Over;
                    drop(state);
                    return action(result);
                }
                (Poll::Pending, RoomState::Polling { woken, .. }) if *woken => *woken = false,
                (Poll::Pending, _) => {
                    *state = RoomState::Parked(reserve, action);
                    return;
                }
            }
        }
    }
}

impl Wake for RoomWait {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(mut state) = self.state.lock() else { return };
        match &mut *state {
            RoomState::Over => {}
            RoomState::Polling { woken, .. } => *woken = true,
            RoomState::Parked(..) => {
                let polling = RoomState::Polling { woken: false, withdrawn: false };
                if let RoomState::Parked(reserve, action) = replace(&mut *state, polling) {
                    drop(state);
                    self.poll(reserve, action);
                }
            }
        }
    }
}

#[cfg(all(test, sidestep_loom))]
mod loom_models;
