//! Submissions against threads, and a monitor, that are just going to sleep; and one call after
//! another.

use std::sync::Arc;
use std::time::Duration;

use super::{block_for, pool, tiny, wait_all};
use crate::support::{Gate, PATIENCE, also_by_time_alone, builder, eventually};

/// Numbers that look random (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    /// Lets a random short time pass, mostly none.
    fn dally(&mut self) {
        match self.roll(16) {
            0 => std::thread::yield_now(),
            1..8 => (0..self.roll(2000)).for_each(|_| std::hint::spin_loop()),
            _ => {}
        }
    }
}

#[test]
fn a_task_before_a_silence_runs() {
    for core in [1, 2, 4] {
        let pool = builder().core_threads(core).max_threads(core).build().unwrap();
        let mut dice = Dice(0x5EED + core as u64);
        for round in 0..20_000 {
            dice.dally();
            let task = pool.spawn(|| ());
            assert!(task.wait_timeout(PATIENCE).is_ok(), "round {round} with {core} threads");
        }
    }
}

#[test]
fn two_tasks_before_a_silence_run() {
    let pool = builder().core_threads(2).max_threads(2).build().unwrap();
    let mut dice = Dice(7);
    for round in 0..10_000 {
        let first = pool.spawn(|| ());
        dice.dally();
        let second = pool.spawn(|| ());
        assert!(first.wait_timeout(PATIENCE).is_ok(), "round {round}");
        assert!(second.wait_timeout(PATIENCE).is_ok(), "round {round}");
    }
}

#[test]
fn a_task_submitted_while_the_monitor_disarms_gets_a_thread() {
    let pool = builder().core_threads(1).max_threads(4).build().unwrap();
    let mut dice = Dice(3);
    for round in 0..60 {
        let gate = Gate::new();
        let waits = gate.clone();
        // Blocks the one thread there is, without saying so: from now on only the monitor can help.
        let blocked = pool.spawn(move || waits.pass());
        eventually("it is blocked", || pool.metrics().tasks_running() == 1);
        // The monitor disarms a few looks after the queue has become empty.
        block_for(Duration::from_micros(dice.roll(40_000)));
        let task = pool.spawn(move || gate.open());
        assert!(task.wait_timeout(PATIENCE).is_ok(), "round {round}");
        assert!(blocked.wait_timeout(PATIENCE).is_ok());
    }
}

#[test]
fn a_task_submitted_while_surplus_threads_leave_runs() {
    for keep_alive in [Duration::ZERO, Duration::from_micros(100)] {
        let pool = builder().core_threads(1).max_threads(8).keep_alive(keep_alive).build().unwrap();
        let mut dice = Dice(11);
        for _ in 0..300 {
            let gate = Gate::new();
            let waits = || {
                let gate = gate.clone();
                pool.spawn(move || sidestep::current::will_block(|| gate.pass()))
            };
            let blocked: Vec<_> = (0..4).map(|_| waits()).collect();
            dice.dally();
            gate.open();
            wait_all(blocked);
            dice.dally();
            assert!(pool.spawn(tiny).wait_timeout(PATIENCE).is_ok());
        }
    }
}

#[test]
fn a_shutdown_while_the_pool_grows_ends_every_task() {
    let mut dice = Dice(13);
    for round in 0..30 {
        let pool = pool(2);
        let gate = Gate::new();
        let block = |_| {
            let gate = gate.clone();
            pool.spawn(move || gate.pass())
        };
        let tasks: Vec<_> = (0..64).map(block).collect();
        block_for(Duration::from_micros(dice.roll(3000)));
        let end = pool.shutdown();
        let discards = round % 2 == 0;
        let end = if discards { end.discard_queued() } else { end };
        gate.open();
        let report = end.wait();
        let results: Vec<_> = tasks.into_iter().map(sidestep::Task::wait).collect();
        let refused = results.iter().filter(|result| result.is_err()).count();
        assert!(results.iter().flatten().count() + refused == 64);
        assert_eq!(report.discarded, refused as u64);
        assert!(discards || refused == 0);
        assert_eq!((report.still_running, pool.metrics().threads()), (0, 0));
    }
}

/// Checks that pools keep to one thread, given how many one has had at most. A thread that gets no
/// CPU in the middle of a waker may be replaced: not in nearly all of so many attempts.
fn check_one_thread(peak: impl Fn() -> usize) {
    let mut peaks = Vec::new();
    while peaks.iter().filter(|&&peak| peak == 1).count() < 2 {
        assert!(peaks.len() < 20, "{peaks:?} threads");
        peaks.push(peak());
    }
}

#[test]
fn one_call_after_another_stays_on_one_thread() {
    check_one_thread(|| {
        let pool = pool(2);
        for _ in 0..5000 {
            pool.spawn(tiny).wait().unwrap();
        }
        pool.metrics().threads_peak()
    });
}

#[test]
fn one_call_after_another_from_an_event_loop_stays_on_one_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    check_one_thread(|| {
        let pool = pool(2);
        runtime.block_on(async {
            for _ in 0..5000 {
                pool.spawn(tiny).await.unwrap();
            }
        });
        pool.metrics().threads_peak()
    });
}

#[test]
fn a_pool_grows_again_and_again() {
    let pool = builder().core_threads(2).max_threads(16).keep_alive(Duration::ZERO).build().unwrap();
    for round in 0..20 {
        let meeting = crate::support::Rendezvous::new(16);
        let join = |_| {
            let meeting = Arc::clone(&meeting);
            pool.spawn(move || meeting.meet())
        };
        wait_all((0..16).map(join).collect());
        assert!(pool.metrics().threads() <= 16, "round {round}");
    }
}

also_by_time_alone! {
    a_task_before_a_silence_runs,
    two_tasks_before_a_silence_run,
    a_task_submitted_while_the_monitor_disarms_gets_a_thread,
    a_task_submitted_while_surplus_threads_leave_runs,
    a_shutdown_while_the_pool_grows_ends_every_task,
    one_call_after_another_stays_on_one_thread,
    one_call_after_another_from_an_event_loop_stays_on_one_thread,
    a_pool_grows_again_and_again,
}
