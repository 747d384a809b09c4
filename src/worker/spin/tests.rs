//! Tests of the spin policy.

use super::*;

const LOOK: Duration = Duration::from_micros(1);

/// Spins in vain to the end of a phase, with a look every microsecond. Returns the length of the
/// phase and how often it yielded.
fn in_vain(policy: &SpinPolicy, begun: Instant) -> (Duration, u32) {
    let mut phase = policy.begin(begun);
    let mut yields = 0;
    for look in 1.. {
        match phase.go_on(begun + LOOK * look) {
            SpinNext::Look => {}
            SpinNext::Yield => yields += 1,
            SpinNext::Sleep => return (LOOK * look, yields),
        }
    }
    unreachable!("a phase ends")
}

#[test]
fn a_phase_ends_and_lets_others_go_first_meanwhile() {
    let (length, yields) = in_vain(&SpinPolicy::new(), Instant::now());
    assert_eq!(length, SPIN_TIME, "L1");
    assert_eq!(yields, SPIN_TIME.as_micros() as u32 / YIELD, "L4");
}

#[test]
fn phases_in_vain_become_rare() {
    let policy = SpinPolicy::new();
    let start = Instant::now();
    let willing = (0..10 * (RETRY + 1) + BUDGET - 1).filter(|_| {
        let willing = policy.is_willing(start);
        if willing {
            in_vain(&policy, start);
        }
        willing
    });
    assert_eq!(willing.count() as u32, BUDGET + 9, "L2: the budget, and then one in so many");
}

#[test]
fn success_restores_the_budget() {
    let policy = SpinPolicy::new();
    let start = Instant::now();
    for _ in 0..BUDGET {
        assert!(policy.is_willing(start));
        in_vain(&policy, start);
    }
    assert!(!policy.is_willing(start));
    while !policy.is_willing(start) {}
    policy.begin(start).succeed(start);
    for _ in 0..BUDGET {
        assert!(policy.is_willing(start), "L2: one success is enough");
        in_vain(&policy, start);
    }
}

/// Preempts the thread once, from `start` on. Returns until when the thread backs off.
fn preempted(policy: &SpinPolicy, start: Instant, gap: Duration) -> Instant {
    let mut phase = policy.begin(start);
    assert_eq!(phase.go_on(start + LOOK), SpinNext::Look);
    assert_eq!(phase.go_on(start + LOOK + gap), SpinNext::Sleep, "L3");
    let end = policy.back_off_until.get().expect("it backs off");
    assert!(!policy.is_willing(end - LOOK) && policy.is_willing(end));
    end
}

#[test]
fn a_preempted_thread_backs_off_in_proportion() {
    let policy = SpinPolicy::new();
    let (start, gap) = (Instant::now(), Duration::from_millis(3));
    assert_eq!(preempted(&policy, start, gap), start + LOOK + gap + gap * BACKOFF);
    assert_eq!(policy.budget.get(), BUDGET, "a preemption says nothing about what comes");
}

#[test]
fn a_thread_preempted_again_backs_off_for_longer_however_short_that_was() {
    let policy = SpinPolicy::new();
    let gap = Duration::from_millis(3);
    let mut now = preempted(&policy, Instant::now(), gap);
    for round in 1..10 {
        let end = preempted(&policy, now, PREEMPTED);
        let expected = (gap * BACKOFF * (1 << round)).min(LONGEST_BACKOFF);
        assert_eq!(end - now, LOOK + PREEMPTED + expected, "L3, round {round}");
        now = end;
    }
    now += LONGEST_BACKOFF * QUIET;
    assert_eq!(
        preempted(&policy, now, gap),
        now + LOOK + gap + gap * BACKOFF,
        "and after a quiet period anew"
    );
}

#[test]
fn what_comes_while_the_thread_is_preempted_is_no_success() {
    let policy = SpinPolicy::new();
    let (start, gap) = (Instant::now(), Duration::from_millis(3));
    in_vain(&policy, start);
    let budget = policy.budget.get();
    policy.begin(start).succeed(start + gap);
    assert_eq!(policy.budget.get(), budget);
    assert!(!policy.is_willing(start + gap * BACKOFF), "L3");
    assert!(policy.is_willing(start + gap * (BACKOFF + 1)));
}

#[test]
fn time_that_goes_backwards_ends_nothing_early() {
    let policy = SpinPolicy::new();
    let start = Instant::now();
    let mut phase = policy.begin(start + SPIN_TIME);
    assert!((1..YIELD).all(|_| phase.go_on(start) == SpinNext::Look));
    assert!(policy.is_willing(start));
}

#[test]
fn a_thread_that_was_stopped_for_days_backs_off_for_a_second() {
    let policy = SpinPolicy::new();
    let (start, gap) = (Instant::now(), Duration::from_secs(1_000_000));
    assert_eq!(preempted(&policy, start, gap), start + LOOK + gap + LONGEST_BACKOFF);
}
