//! E6 where every tick is long: because of a coarse clock or timer slack, or on a machine that
//! grants a CPU only now and then.

use super::*;

/// What a monitor decides whose every tick takes `elapsed`.
fn with_ticks(elapsed: Duration, looks: usize, look: impl Fn() -> Sample) -> Vec<Verdict> {
    let mut state = State::new();
    let mut one = || {
        let (next, verdict) = decide(LIMITS, state, &Sample { elapsed, ..look() });
        state = next;
        verdict
    };
    (0..looks).map(|_| one()).collect()
}

fn all_blocked() -> Sample {
    Sample { blocked: 8, completed: 0, ..calm() }
}

#[test]
fn threads_that_block_are_seen_though_no_tick_is_good() {
    for elapsed in [10, 100, 10_000].map(Duration::from_millis) {
        let verdicts = with_ticks(elapsed, 16, all_blocked);
        assert!(verdicts[..15].iter().all(|verdict| *verdict == Verdict::Wait), "each may be an accident");
        assert_eq!(verdicts[15], Verdict::Grow(32, Cause::Hard), "ticks of {elapsed:?}");
    }
}

#[test]
fn one_good_tick_makes_long_ones_accidents_again() {
    let mut state = State::new();
    let mut look = |elapsed| {
        let sample = Sample { elapsed, completed: 1, ..calm() };
        state = decide(LIMITS, state, &sample).0;
        state.longest_good_tick()
    };
    let long = Duration::from_millis(10);
    (0..15).for_each(|_| assert!(look(long) < long));
    assert_eq!(look(long), 2 * long + OVERSLEPT);
    assert_eq!(look(3 * long), 2 * long + OVERSLEPT, "the shortest counts");
    assert!(look(TICK) < long);
}

#[test]
fn threads_that_get_no_cpu_are_no_reason_whatever_the_ticks() {
    let starved = || Sample { starved: true, completed: 1, blocked: 7, ..calm() };
    let verdicts = with_ticks(Duration::from_millis(20), 200, starved);
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Wait));
}

#[test]
fn a_wait_that_burns_cpu_is_found_by_e5() {
    let verdicts = with_ticks(Duration::from_millis(20), 200, || Sample { completed: 0, ..calm() });
    let grown = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Grow(1, Cause::Liveness)));
    assert!(grown.count() > 4);
}

#[test]
fn a_stop_of_days_is_one_long_tick() {
    let mut state = State::new();
    for elapsed in [Duration::MAX / 4, SHORT_TICK] {
        let sample = Sample { elapsed, completed: 0, ..calm() };
        let verdict;
        (state, verdict) = decide(LIMITS, state, &sample);
        assert_eq!(verdict, Verdict::Wait);
    }
    assert!(state.since_progress < LIVENESS / 10);
}
