//! What the handles and calls of one strand share: the value, its lane, and who drops the value.
//!
//! It is no handle to the lane: calls that wait in a paused lane have it, and the pause ends with
//! the last handle.

use std::mem::needs_drop;
use std::sync::Arc;

use super::callee::refuse;
use super::callee::sealed::Server;
use super::cell::{Access, AccessError, ExclusiveCell};
use crate::error::Reason;
use crate::panic::catch_panic;
use crate::pool::{ChosenTarget, Lane};
use crate::sync::trampoline;
use crate::task::OnShutdown;

/// A strand without its handles. Each handle and each call that is queued or runs holds it.
pub(super) struct StrandInner<T: Send + 'static> {
    pub(super) cell: ExclusiveCell<T>,
    pub(super) lane: Lane,
    /// The lane, with the options of all calls.
    pub(super) target: ChosenTarget,
}

impl<T: Send + 'static> StrandInner<T> {
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

impl<T: Send + 'static> Drop for StrandInner<T> {
    fn drop(&mut self) {
        if !needs_drop::<T>() {
            return;
        }
        let Some(value) = self.cell.take() else { return };
        // In another lane, since the queue of the strand's lane may be full; and also on a pool
        // whose shutdown discards what is queued.
        let lane = self.lane.pool().private_lane("strand", 1);
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
pub struct StrandCall<T: Send + 'static>(pub(super) Arc<StrandInner<T>>);

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
