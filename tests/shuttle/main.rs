//! Random programs on the public API, under random schedules: tasks, handles, lanes, strands,
//! batches, scopes, waits inside tasks, threads that cannot be started, and a shutdown somewhere in
//! between. The oracle is in `ledger`: every accepted task has one end, every closure and result is
//! dropped once, no limit is exceeded at any step, and the counts balance.
//!
//! Shuttle runs all threads of a program on one, and says at each access to an atomic or a lock
//! which goes next. Each run draws its own program and its own schedule from one seed: at random,
//! or with a few changes of priority (PCT). A failing run prints its seed. The time passes by
//! chance whenever somebody waits for it; so keep-alives, expiries, the monitor's ticks and time
//! limits come early, late or not at all.
//!
//! `RUSTFLAGS='--cfg sidestep_shuttle' cargo test --release --test shuttle --target-dir
//! target/shuttle` runs them; `SIDESTEP_SCHEDULES` says how many of each kind.
#![cfg(sidestep_shuttle)]
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

mod ledger;
mod play;
mod program;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner};

/// How many schedules of each kind are played: a number that takes about ten seconds.
fn schedules() -> usize {
    match std::env::var("SIDESTEP_SCHEDULES") {
        Ok(number) => number.parse().expect("SIDESTEP_SCHEDULES is a number"),
        Err(_) => 3_000,
    }
}

fn check(scheduler: impl Scheduler + 'static) {
    let mut config = Config::new();
    config.silence_warnings = true;
    config.failure_persistence = FailurePersistence::Print;
    config.stack_size = 256 * 1024;
    Runner::new(scheduler, config).run(play::program);
}

#[test]
fn random_schedules() {
    check(RandomScheduler::new(schedules()));
}

#[test]
fn schedules_with_three_changes_of_priority() {
    check(PctScheduler::new(3, schedules()));
}

#[test]
fn schedules_with_ten_changes_of_priority() {
    check(PctScheduler::new(10, schedules()));
}
