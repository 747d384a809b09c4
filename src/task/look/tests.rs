//! Tests of `look`.

use super::*;

/// Of so many polls, how many look, if none of them pays.
fn looks_in_vain(policy: &LookPolicy, polls: u32) -> u32 {
    let in_vain = Looked { ended: false, looks: BETWEEN };
    let look = |chosen| !policy.learn(Patience::Poll, chosen, in_vain, Instant::now);
    (0..polls).map(|_| u32::from(policy.choose(Patience::Poll).is_some_and(look))).sum()
}

/// What a look saw whose task ended soon.
const ENDED: Looked = Looked { ended: true, looks: BETWEEN };

/// Waits `times` for a bell, alone.
fn wait_alone(policy: &LookPolicy, times: u32) {
    for task in 1..=times as usize {
        policy.left_bell(task);
        policy.heard_bell(task);
    }
}

fn willing() -> LookPolicy {
    let policy = LookPolicy::new();
    policy.soon.set(true);
    policy
}

#[test]
fn without_a_thread_that_searches_no_poll_looks() {
    let policy = LookPolicy::new();
    assert_eq!(looks_in_vain(&policy, 100), 0);
    policy.soon.set(true);
    assert!(policy.choose(Patience::Poll).is_some());
    policy.soon.set(false);
    assert!(policy.choose(Patience::Poll).is_none());
}

#[test]
fn looks_in_vain_become_rare() {
    let policy = willing();
    assert_eq!(looks_in_vain(&policy, BUDGET), BUDGET);
    assert_eq!(looks_in_vain(&policy, FIRST_PAUSE), 0);
    assert_eq!(looks_in_vain(&policy, 1), 1, "one more");
    assert_eq!(looks_in_vain(&policy, 2 * FIRST_PAUSE), 0, "and a longer pause");
    assert_eq!(looks_in_vain(&policy, 1), 1);
    let settled = willing();
    let _ = looks_in_vain(&settled, 10 * LONGEST_PAUSE);
    assert!(looks_in_vain(&settled, 100 * LONGEST_PAUSE) <= 100, "one in a thousand");
}

#[test]
fn one_success_restores_the_budget_and_the_first_pause() {
    let policy = willing();
    let _ = looks_in_vain(&policy, 10 * LONGEST_PAUSE);
    while policy.choose(Patience::Poll).is_none() {}
    assert!(policy.learn(Patience::Poll, Patience::Poll, ENDED, Instant::now));
    assert_eq!(looks_in_vain(&policy, BUDGET), BUDGET);
    assert_eq!(looks_in_vain(&policy, FIRST_PAUSE), 0);
    assert_eq!(looks_in_vain(&policy, 1), 1);
}

#[test]
fn looks_that_pay_let_the_thread_do_something_else_now_and_then() {
    let begun = Instant::now();
    for each in [1, 20, 300].map(Duration::from_micros) {
        let (policy, mut time) = (willing(), begun);
        for _ in 0..3 {
            let first = time;
            while policy.choose(Patience::Poll).is_some() {
                time += each;
                assert!(policy.learn(Patience::Poll, Patience::Poll, ENDED, || time));
                assert!(time - first <= LONGEST_RUN + (RUN_STEP / BETWEEN + 1) * each);
            }
            assert!(time - first >= LONGEST_RUN, "not before");
            assert!(
                (0..1000).all(|_| policy.choose(Patience::Poll).is_none()),
                "until a poll has had to wait"
            );
            policy.left_bell(1);
        }
    }
}

#[test]
fn long_looks_look_at_the_clock_each_time() {
    let (policy, begun) = (willing(), Instant::now());
    let long = Looked { ended: true, looks: RUN_STEP };
    assert!(policy.learn(Patience::Poll, Patience::Wait, long, || begun));
    assert!(policy.learn(Patience::Poll, Patience::Wait, long, || begun + LONGEST_RUN));
    assert_eq!(policy.choose(Patience::Poll), None);
    assert_eq!(
        policy.choose(Patience::Wait),
        Some(Patience::Wait),
        "a thread that would block has no other task"
    );
}

#[test]
fn a_poll_is_patient_once_its_thread_has_waited_alone() {
    let policy = willing();
    wait_alone(&policy, ALONE - 1);
    assert_eq!(policy.choose(Patience::Poll), Some(Patience::Poll));
    wait_alone(&policy, 1);
    assert_eq!(policy.choose(Patience::Poll), Some(Patience::Wait));
    wait_alone(&policy, 2 * ALONE);
    assert_eq!(policy.choose(Patience::Poll), Some(Patience::Wait));
}

#[test]
fn a_second_caller_ends_the_patience() {
    let policy = willing();
    wait_alone(&policy, ALONE);
    policy.left_bell(1);
    policy.left_bell(1);
    assert_eq!(policy.choose(Patience::Poll), Some(Patience::Wait), "it was the one task, polled again");
    policy.left_bell(2);
    assert_eq!(policy.choose(Patience::Poll), Some(Patience::Poll));
    // Two callers in turn are never alone.
    for task in 3..100 {
        policy.left_bell(task);
        policy.heard_bell(task - 1);
        assert_eq!(policy.choose(Patience::Poll), Some(Patience::Poll));
    }
}

#[test]
fn a_bell_that_is_never_heard_counts_once() {
    let policy = willing();
    wait_alone(&policy, ALONE);
    policy.left_bell(7);
    wait_alone(&policy, ALONE - 1);
    assert_eq!(policy.choose(Patience::Poll), Some(Patience::Poll), "the count has begun anew");
    wait_alone(&policy, 1);
    assert_eq!(policy.choose(Patience::Poll), Some(Patience::Wait));
}

#[test]
fn long_looks_in_vain_leave_the_short_ones() {
    let policy = willing();
    wait_alone(&policy, ALONE);
    let in_vain = Looked { ended: false, looks: BETWEEN };
    for _ in 0..BUDGET {
        assert_eq!(policy.choose(Patience::Poll), Some(Patience::Wait));
        assert!(!policy.learn(Patience::Poll, Patience::Wait, in_vain, Instant::now));
    }
    assert_eq!(policy.choose(Patience::Poll), Some(Patience::Poll));
    assert!(policy.learn(Patience::Poll, Patience::Poll, ENDED, Instant::now));
    assert_eq!(policy.choose(Patience::Wait), None, "a thread that would block has only the long ones");
}
