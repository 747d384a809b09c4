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

/// Waits `times` for a bell, asleep and alone.
fn wait_alone(policy: &LookPolicy, times: u32) {
    for task in 1..=times as usize {
        policy.left_bell(task, || Some(7));
        policy.heard_bell(task, || Some(8));
    }
}

/// Waits for a bell while the executor polls something else.
fn wait_awake(policy: &LookPolicy) {
    policy.left_bell(1, || Some(7));
    policy.heard_bell(1, || Some(7));
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
            policy.left_bell(1, || None);
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
    policy.left_bell(1, || Some(7));
    assert_eq!(policy.choose(Patience::Poll), Some(Patience::Wait));
    policy.left_bell(2, || Some(7));
    assert_eq!(policy.choose(Patience::Poll), Some(Patience::Poll));
    // Two callers in turn are never alone.
    for task in 3..100 {
        policy.left_bell(task, || Some(7));
        policy.heard_bell(task - 1, || Some(8));
        assert_eq!(policy.choose(Patience::Poll), Some(Patience::Poll));
    }
}

#[test]
fn where_something_else_was_polled_no_poll_is_patient() {
    let policy = willing();
    for _ in 0..ALONE * (UNOBSERVED + 1) {
        wait_awake(&policy);
        assert_eq!(policy.choose(Patience::Poll), Some(Patience::Poll));
    }
    wait_alone(&policy, UNOBSERVED + ALONE);
    assert_eq!(policy.choose(Patience::Poll), Some(Patience::Wait), "it has come to its end");
}

#[test]
fn the_bell_that_ends_a_run_shows_whether_something_else_is_polled() {
    let (policy, begun) = (willing(), Instant::now());
    wait_alone(&policy, ALONE);
    wait_awake(&policy);
    assert_eq!(policy.choose(Patience::Poll), Some(Patience::Wait), "a bell of its own accord costs nothing");
    let long = Looked { ended: true, looks: RUN_STEP };
    assert!(policy.learn(Patience::Poll, Patience::Wait, long, || begun));
    assert!(policy.learn(Patience::Poll, Patience::Wait, long, || begun + LONGEST_RUN));
    assert_eq!(policy.choose(Patience::Poll), None);
    wait_awake(&policy);
    assert_eq!(policy.choose(Patience::Poll), Some(Patience::Poll));
}

#[test]
fn a_system_that_does_not_say_makes_no_poll_patient() {
    let policy = willing();
    for task in 1..100 {
        policy.left_bell(task, || None);
        policy.heard_bell(task, || None);
        assert_eq!(policy.choose(Patience::Poll), Some(Patience::Poll));
    }
}

#[test]
fn a_bell_that_is_never_heard_counts_once() {
    let policy = willing();
    wait_alone(&policy, ALONE);
    policy.left_bell(7, || Some(7));
    wait_alone(&policy, ALONE);
    assert_eq!(policy.choose(Patience::Poll), Some(Patience::Poll), "the count has begun anew");
    wait_alone(&policy, 1);
    assert_eq!(policy.choose(Patience::Poll), Some(Patience::Wait));
}

#[test]
fn a_look_keeps_to_a_deadline() {
    assert_eq!(Patience::Wait.until(None), Some(Patience::Wait));
    let hour = Duration::from_secs(3600);
    assert_eq!(Patience::Wait.until(Some(Instant::now() + hour)), Some(Patience::Wait));
    assert_eq!(Patience::Wait.until(Some(Instant::now())), None);
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
