//! Tests of `look`.

use super::*;

/// Of so many polls, how many look, if none of them pays.
fn looks_in_vain(policy: &LookPolicy, polls: u32) -> u32 {
    (0..polls).map(|_| u32::from(policy.is_willing() && !policy.learn(false, Instant::now))).sum()
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
    assert!(policy.is_willing());
    policy.soon.set(false);
    assert!(!policy.is_willing());
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
    while !policy.is_willing() {}
    assert!(policy.learn(true, Instant::now));
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
            while policy.is_willing() {
                time += each;
                assert!(policy.learn(true, || time));
                assert!(time - first <= LONGEST_RUN + (RUN_STEP + 1) * each);
            }
            assert!(time - first >= LONGEST_RUN, "not before");
            assert!((0..1000).all(|_| !policy.is_willing()), "until a poll has had to wait");
            policy.end_run();
        }
    }
}
