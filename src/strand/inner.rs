//! What the handles and calls of one strand share: the value, its lane, and who drops the value.

use std::mem::needs_drop;
use std::sync::Arc;

use super::callee::refuse;
use super::callee::sealed::Server;
use super::cell::{Access, AccessError, ExclusiveCell};
use crate::error::Reason;
use crate::panic::catch_panic;
use crate::pool::{ChosenTarget, Lane, Pool};
use crate::sync::trampoline;
use crate::task::OnShutdown;

/// What the handles of a strand share.
pub(super) struct StrandInner<T: Send + 'static> {
    pub(super) value: Arc<StrandValue<T>>,
    pub(super) lane: Lane,
    /// The lane, with the options of all calls.
    pub(super) target: ChosenTarget,
}

/// A strand's value. The handles hold it, and so does each call that is queued or runs: a call has
/// no handle of the lane, which would keep a pause from ending with the last one (N10).
pub(super) struct StrandValue<T: Send + 'static> {
    pub(super) cell: ExclusiveCell<T>,
    pool: Pool,
}

impl<T: Send + 'static> StrandInner<T> {
    /// A strand of `value` in `lane`, for which `target` stands.
    pub(super) fn new(lane: Lane, target: ChosenTarget, value: T) -> Arc<Self> {
        let value = Arc::new(StrandValue { cell: ExclusiveCell::new(value), pool: lane.pool().clone() });
        Arc::new(StrandInner { value, lane, target })
    }
}

impl<T: Send + 'static> StrandValue<T> {
    /// Access to the value for the call that runs, or the reason why the call ends without it.
    pub(super) fn access(&self) -> Result<Access<'_, T>, Reason> {
        self.cell.access().map_err(reason)
    }

    /// Access to the value, poisoned or not.
    pub(super) fn access_poisoned(&self) -> Result<Access<'_, T>, Reason> {
        self.cell.access_poisoned().map_err(reason)
    }

    /// Puts `value` in the place of the value, and drops the old one here.
    pub(super) fn replace(&self, value: T) -> Result<(), Reason> {
        match self.access_poisoned() {
            Ok(access) => {
                let old = access.replace(value);
                catch_panic("the destructor of a strand's value that was replaced", || drop(old));
                Ok(())
            }
            Err(reason) => refuse(value, reason),
        }
    }
}

fn reason(error: AccessError) -> Reason {
    match error {
        AccessError::Poisoned => Reason::Poisoned,
        AccessError::Taken => Reason::Taken,
        AccessError::Locked => Reason::LaneDeadlock,
    }
}

impl<T: Send + 'static> Drop for StrandValue<T> {
    fn drop(&mut self) {
        if !needs_drop::<T>() {
            return;
        }
        let Some(value) = self.cell.take() else { return };
        // In another lane, since the queue of the strand's lane may be full; and also on a pool
        // whose shutdown discards what is queued.
        let lane = self.pool.private_lane("strand", 1);
        match lane.options().on_shutdown(OnShutdown::AlwaysRun).try_spawn(move || drop(value)) {
            Ok(task) => task.detach(),
            // The pool has been shut down. The value may own another strand, so this may recurse.
            Err(refused) => trampoline::bounce(move || {
                catch_panic("the destructor of a strand's value", || drop(refused));
            }),
        }
    }
}

/// What a call of a strand, or of a session, has with it.
#[expect(unnameable_types, missing_debug_implementations, reason = "part of a sealed trait")]
pub struct StrandCall<T: Send + 'static>(pub(super) Arc<StrandValue<T>>);

impl<T: Send + 'static> Server for StrandCall<T> {
    type Value = T;

    #[expect(private_interfaces, reason = "no other crate can name the trait")]
    fn serve<F, R>(self, f: F) -> Result<R, Reason>
    where
        F: FnOnce(&mut T) -> R,
    {
        match self.0.access() {
            Ok(access) => Ok(access.with(f)),
            Err(reason) => refuse(f, reason),
        }
    }
}
