//! Threads that sleep for something outside the process.

use super::*;

/// Tasks complete, while 24 of 32 threads were in one task for the whole tick, asleep.
fn mostly_blocked(outside: bool) -> Sample {
    let usage = Some(Usage { cpus: 0.2, asleep: 0.9 });
    Sample { threads: 32, blocked: 24, completed: 4, outside, usage, ..calm() }
}

/// A state in which completions have been flowing for long enough.
fn flowing(sample: &Sample) -> State {
    let mut state = State::new();
    for _ in 0..STEADY_LOOKS {
        state.observe(LIMITS, &Sample { queued: 0, ..*sample });
    }
    state
}

#[test]
fn they_multiply_at_once_though_tasks_complete() {
    let sample = mostly_blocked(true);
    let (state, verdict) = decide(LIMITS, flowing(&sample), &sample);
    assert_eq!(verdict, Verdict::Grow(25, Cause::Hard), "E8");
    assert!(state.probation.is_none(), "and nothing is to be proven");
    // The next step needs no pay-off of this one.
    let sample = Sample { threads: 57, blocked: 48, fresh: fresh(25, 24), ..sample };
    assert_eq!(decide(LIMITS, state, &sample).1, Verdict::Grow(8 * 24, Cause::Hard));
    let sample = Sample { threads: 200, blocked: 180, fresh: fresh(150, 150), ..sample };
    assert_eq!(decide(LIMITS, state, &sample).1, Verdict::Grow(312, Cause::Hard), "up to the limit");
}

#[test]
fn threads_that_wait_for_each_other_must_pay() {
    let sample = mostly_blocked(false);
    let (state, verdict) = decide(LIMITS, flowing(&sample), &sample);
    let Verdict::Grow(threads, Cause::Soft) = verdict else { panic!("{verdict:?}") };
    assert!(threads <= 32, "E7: {threads}");
    assert!(state.probation.is_some());
    assert_eq!(decide(LIMITS, state, &sample).1, Verdict::Wait, "one step at a time");
}

#[test]
fn a_few_of_them_are_no_reason() {
    let sample = Sample { blocked: 20, usage: None, ..mostly_blocked(true) };
    let grown = decide(LIMITS, flowing(&sample), &sample).1;
    assert!(!matches!(grown, Verdict::Grow(..)), "{grown:?}: twelve are at work, with eight wanted");
}

#[test]
fn they_need_no_cpu_so_a_busy_machine_is_no_reason_against_them() {
    let sample = Sample { starved: true, elapsed: 20 * TICK, ..mostly_blocked(true) };
    assert_eq!(decide(LIMITS, flowing(&sample), &sample).1, Verdict::Grow(25, Cause::Hard), "E8");
    let sample = Sample { outside: false, ..sample };
    assert_eq!(decide(LIMITS, flowing(&sample), &sample).1, Verdict::Wait, "E6");
}
