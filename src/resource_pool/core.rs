//! What a call of a resource pool does: it gets a value, tests it or makes it, uses it, and gives
//! it back. The rules are those of the module.

use std::error::Error;
use std::mem::{needs_drop, take};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::closing::{CloseSignal, Inside};
use super::stock::{FoundValue, PooledValue, Shelf};
use crate::error::Reason;
use crate::panic::catch_panic;
use crate::pool::{ChosenTarget, TimedCall};
use crate::strand::refuse;
use crate::strand::sealed::Server;
use crate::sync::trampoline;
use crate::task::OnShutdown;
use crate::task::current::is_cancelled;

/// Makes a value.
pub(super) type Make<T> = Box<dyn Fn() -> Result<T, Box<dyn Error + Send + Sync>> + Send + Sync>;
/// Tests a value.
pub(super) type Check<T> = Box<dyn Fn(&mut T) -> bool + Send + Sync>;

/// A resource pool without its handles. Each call that is queued or runs holds it.
pub(super) struct Core<T: Send + 'static> {
    shelf: Arc<Shelf<T>>,
    make: Make<T>,
    check: Option<Check<T>>,
    /// Where the calls run. No handle to the lane, as for a strand.
    place: ChosenTarget,
    signal: Arc<CloseSignal>,
    /// For the alarm.
    me: Weak<Core<T>>,
}

impl<T: Send + 'static> Core<T> {
    pub(super) fn new(
        shelf: Arc<Shelf<T>>,
        make: Make<T>,
        check: Option<Check<T>>,
        place: ChosenTarget,
    ) -> Arc<Self> {
        let signal = CloseSignal::new();
        Arc::new_cyclic(|me| Core { shelf, make, check, place, signal, me: Weak::clone(me) })
    }

    pub(super) fn shelf(&self) -> &Arc<Shelf<T>> {
        &self.shelf
    }

    pub(super) fn signal(&self) -> &Arc<CloseSignal> {
        &self.signal
    }

    /// A value for the call that runs on this thread, or the reason why there is none. The result
    /// also says whether user code has run meanwhile, by which the call may have been cancelled.
    fn lease(&self) -> Result<(Lease<'_, T>, bool), Reason> {
        let mut has_tested = false;
        loop {
            let mut lease = match self.shelf.take() {
                FoundValue::Idle(pooled) => Lease::new(self, Some(pooled)),
                FoundValue::Overdue(pooled) => {
                    drop(Lease::new(self, Some(pooled)));
                    continue;
                }
                FoundValue::Place => {
                    let mut lease = Lease::new(self, None);
                    lease.make()?;
                    return Ok((lease, true));
                }
                // A call that has released its slot waits for the pool's end, with a value.
                FoundValue::Nothing => return Err(Reason::LaneDeadlock),
            };
            if self.check.is_none() {
                return Ok((lease, has_tested));
            }
            has_tested = true;
            if lease.check()? {
                return Ok((lease, true));
            }
        }
    }

    /// Drops what has been idle, or lives, for too long; in a task of the lane (V5).
    fn sweep(&self) {
        loop {
            match self.shelf.take_overdue() {
                Ok(pooled) => drop(Lease::new(self, Some(pooled))),
                Err(next) => return self.set_alarm(next),
            }
        }
    }

    fn set_alarm(&self, at: Option<Instant>) {
        if let Some(at) = at {
            self.place.pool().ring_at(at, Weak::clone(&self.me) as _);
        }
    }
}

impl<T: Send + 'static> TimedCall for Core<T> {
    fn ring(self: Arc<Self>) {
        // While it is queued it keeps nothing: a close does not wait for it.
        let core = Weak::clone(&self.me);
        let sweep = move || core.upgrade().into_iter().for_each(|core| core.sweep());
        match self.place.options().on_shutdown(OnShutdown::Discard).try_spawn(sweep) {
            Ok(task) => task.detach(),
            Err(_) => self.shelf.forget_alarm(),
        }
    }
}

impl<T: Send + 'static> Drop for Core<T> {
    fn drop(&mut self) {
        let (shelf, signal) = (Arc::clone(&self.shelf), Arc::clone(&self.signal));
        let left = Leftovers { values: shelf.take_all(), shelf, signal };
        if !needs_drop::<T>() || left.values.is_empty() {
            return drop(left);
        }
        // In another lane, since the queue of this one may be full; and also on a pool whose
        // shutdown discards what is queued.
        let lane = self.place.pool().private_lane("resource pool", 1);
        match lane.options().on_shutdown(OnShutdown::AlwaysRun).try_spawn(move || drop(left)) {
            Ok(task) => task.detach(),
            // The pool has been shut down. A value may own another resource pool, so this may
            // recurse.
            Err(refused) => trampoline::bounce(move || drop(refused)),
        }
    }
}

/// The values that are left when no call is (V4). The drop of this drops them and says so.
pub(super) struct Leftovers<T> {
    values: Vec<PooledValue<T>>,
    shelf: Arc<Shelf<T>>,
    signal: Arc<CloseSignal>,
}

impl<T> Drop for Leftovers<T> {
    fn drop(&mut self) {
        for pooled in take(&mut self.values) {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(pooled))) {
                self.signal.add_panic(payload);
            }
            self.shelf.free_place(true);
        }
        self.signal.close();
    }
}

/// A place, with a value or for one (V4, V5). The drop of this drops the value, on this thread, and
/// then frees the place (V3).
struct Lease<'a, T: Send + 'static> {
    core: &'a Core<T>,
    pooled: Option<PooledValue<T>>,
    /// The place is that of an idle value by now.
    given_back: bool,
}

impl<'a, T: Send + 'static> Lease<'a, T> {
    fn new(core: &'a Core<T>, pooled: Option<PooledValue<T>>) -> Self {
        Lease { core, pooled, given_back: false }
    }

    /// Makes the value.
    fn make(&mut self) -> Result<(), Reason> {
        let core = self.core;
        let reason = match catch_unwind(AssertUnwindSafe(|| (core.make)())) {
            Ok(Ok(value)) => {
                self.pooled = Some(core.shelf.add(value));
                return Ok(());
            }
            Ok(Err(error)) => Reason::Unavailable(error.into()),
            Err(payload) => Reason::panicked(payload),
        };
        core.shelf.count_make_failure();
        Err(reason)
    }

    /// Tests the value.
    fn check(&mut self) -> Result<bool, Reason> {
        let (Some(check), Some(pooled)) = (&self.core.check, &mut self.pooled) else { return Ok(true) };
        let passed = catch_unwind(AssertUnwindSafe(|| check(&mut pooled.value)));
        if !matches!(passed, Ok(true)) {
            self.core.shelf.count_check_failure();
        }
        passed.map_err(Reason::panicked)
    }

    /// Calls `f` with the value.
    fn with<R>(&mut self, f: impl FnOnce(&mut T) -> R) -> Result<R, Reason> {
        let Some(pooled) = &mut self.pooled else { unreachable!("a lease that is given out has a value") };
        catch_unwind(AssertUnwindSafe(|| f(&mut pooled.value))).map_err(Reason::panicked)
    }

    /// Makes the value idle, unless it must go.
    fn give_back(mut self) {
        let Some(pooled) = self.pooled.take() else { return };
        match self.core.shelf.put(pooled) {
            Ok(alarm) => {
                self.given_back = true;
                self.core.set_alarm(alarm);
            }
            Err(pooled) => self.pooled = Some(pooled),
        }
    }
}

impl<T: Send + 'static> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        if self.given_back {
            return;
        }
        let pooled = self.pooled.take();
        let had_value = pooled.is_some();
        catch_panic("the destructor of a value of a resource pool", || drop(pooled));
        self.core.shelf.free_place(had_value);
    }
}

/// What a call has with it: `None` if the resource pool was closed before.
#[expect(unnameable_types, missing_debug_implementations, reason = "part of a sealed trait")]
pub struct ResourceCall<T: Send + 'static>(Option<Arc<Core<T>>>);

impl<T: Send + 'static> ResourceCall<T> {
    pub(super) fn new(core: Option<Arc<Core<T>>>) -> Self {
        ResourceCall(core)
    }
}

impl<T: Send + 'static> Server for ResourceCall<T> {
    type Value = T;

    #[expect(private_interfaces, reason = "no other crate can name the trait")]
    fn serve<F, R>(self, f: F) -> Result<R, Reason>
    where
        F: FnOnce(&mut T) -> R,
    {
        let Some(core) = self.0 else { return refuse(f, Reason::Taken) };
        let _inside = Inside::enter(&core.signal);
        let (mut lease, ran_user_code) = match core.lease() {
            Ok(lease) => lease,
            Err(reason) => return refuse(f, reason),
        };
        if ran_user_code && is_cancelled() {
            lease.give_back();
            return refuse(f, Reason::Cancelled);
        }
        let result = lease.with(f);
        if result.is_ok() {
            lease.give_back();
        }
        result
    }
}
