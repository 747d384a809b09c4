//! The time.

use std::time::Instant;

/// The time by the clock.
#[cfg(not(any(sidestep_loom, sidestep_shuttle)))]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// It stands still: a model that depends on it is not explored but run.
#[cfg(sidestep_loom)]
pub(crate) fn now() -> Instant {
    static NOW: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *NOW.get_or_init(Instant::now)
}

/// It passes when a thread waits for it: see [`wait_for`].
#[cfg(sidestep_shuttle)]
pub(crate) fn now() -> Instant {
    NOW.get()
}

#[cfg(sidestep_shuttle)]
std::thread_local! { static NOW: std::cell::Cell<Instant> = std::cell::Cell::new(Instant::now()) }

/// Lets other threads go first. Then it is `deadline`, or still as early as before: by chance.
#[cfg(sidestep_shuttle)]
pub(super) fn wait_for(deadline: Instant) {
    use shuttle::rand::Rng;
    super::thread::yield_now();
    if shuttle::rand::thread_rng().gen_ratio(1, 4) {
        NOW.set(NOW.get().max(deadline));
    }
}
