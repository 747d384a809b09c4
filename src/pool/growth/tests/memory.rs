//! What the policy carries from look to look, one piece at a time: the flow of completions, the
//! lull, the probation, the tick.

use super::*;

/// A look in which `completed` tasks completed.
fn look(completed: u64) -> Sample {
    Sample { completed, ..calm() }
}

#[test]
fn a_flow_begins_with_a_completion_and_goes_on_without() {
    let mut flow = Flow::default();
    flow.add(&look(0));
    assert_eq!((flow.looks, flow.time, flow.completed), (0, Duration::ZERO, 0));
    flow.add(&look(5));
    flow.add(&look(0));
    assert_eq!((flow.looks, flow.time, flow.completed), (2, 2 * SHORT_TICK, 5));
}

#[test]
fn a_policy_that_has_failed_waits_longer_for_a_lull() {
    let flow = Flow { looks: 9, time: TICK, completed: 9 };
    for (step_factor, lull) in [(1.0, LULL), (0.5, LONG_LULL)] {
        let state = State { step_factor, flow, ..State::new() };
        let short = lull.checked_sub(Duration::from_nanos(1)).unwrap();
        assert!(State { since_progress: short, ..state }.is_flowing());
        assert!(!State { since_progress: lull, ..state }.is_flowing());
    }
}

#[test]
fn a_step_in_a_lull_is_judged_once_tasks_complete_again() {
    let mut state = State::new();
    let busy = |per_ms| move |elapsed| Sample { blocked: 0, ..convoy(elapsed, 16, per_ms) };
    let flowing = verdicts(&mut state, Duration::from_millis(10), busy(40));
    let lull = verdicts(&mut state, Duration::from_millis(10), busy(0));
    assert_eq!((growth(&flowing), growth(&lull)), (vec![], vec![]), "no thread is blocked");
    assert!(
        state.before_lull.is_some_and(|rate| rate > 20_000.0),
        "that of the flow: {:?}",
        state.before_lull
    );
    let (_, more, cause) = until_step(&mut state, |elapsed| convoy(elapsed, 16, 0));
    assert_eq!((more, cause), (64, Cause::Hard), "there is no time to lose");
    let after = verdicts(&mut state, Duration::from_millis(30), |elapsed| convoy(elapsed, 64, 40));
    assert_eq!(growth(&after), [], "it has brought nothing, so there is no other for a while");
}

#[test]
fn a_probation_wants_its_looks_and_its_time() {
    // Twice the eight milliseconds that a task stays with one of eight threads.
    let slow = Probation::new(1000.0, 8, &calm());
    assert_eq!(slow.length, Duration::from_millis(16));
    let mut state = State { probation: Some(slow), ..State::new() };
    for look in 1..16 {
        state.observe(LIMITS, &Sample { elapsed: Duration::from_millis(1), ..calm() });
        assert!(state.probation.is_some(), "after {look} ms");
    }
    state.observe(LIMITS, &Sample { elapsed: Duration::from_millis(1), ..calm() });
    assert!(state.probation.is_none());

    let quick = Probation::new(1e6, 8, &calm());
    assert!(quick.length < SHORT_TICK);
    let mut state = State { probation: Some(quick), ..State::new() };
    for look in 1..STEADY_LOOKS {
        state.observe(LIMITS, &calm());
        assert!(state.probation.is_some(), "after {look} looks");
    }
    state.observe(LIMITS, &calm());
    assert!(state.probation.is_none());
}

#[test]
fn half_of_the_ideal_gain_pays_and_anything_less_does_not() {
    let flow = |completed| Flow { looks: STEADY_LOOKS, time: Duration::from_secs(1), completed };
    let judged = |completed| {
        // Eight threads more than eight should bring 1000 per second more.
        let probation = Probation { after: flow(completed), ..Probation::new(1000.0, 8, &calm()) };
        let mut state = State {
            probation: Some(probation),
            next_cooldown: 4 * FIRST_COOLDOWN,
            step_factor: 0.25,
            ..State::new()
        };
        state.judge();
        (state.cooldown, state.next_cooldown, state.step_factor)
    };
    assert_eq!(judged(1500), (Duration::ZERO, 2 * FIRST_COOLDOWN, 0.5));
    assert_eq!(judged(1499), (4 * FIRST_COOLDOWN, 8 * FIRST_COOLDOWN, LEAST_STEP_FACTOR));
}

#[test]
fn what_waits_outside_ends_a_probation() {
    let probation = Some(Probation::new(1.0, 8, &calm()));
    let outside = Sample { blocked: 8, outside: true, ..calm() };
    let (state, verdict) = decide(LIMITS, State { probation, ..State::new() }, &outside);
    assert_eq!(verdict, Verdict::Grow(33, Cause::Hard), "E8");
    assert!(state.probation.is_none());
    assert_eq!(state.flow.completed, 0, "nor does what completed until now count");
}

#[test]
fn e5_is_slower_while_threads_wait_for_a_cpu() {
    let mut state = State::new();
    let (time, more, cause) = until_step(&mut state, |elapsed| Sample { elapsed, starved: true, ..look(0) });
    assert_eq!((more, cause), (1, Cause::Liveness));
    assert!(time >= 4 * LIVENESS && time < 5 * LIVENESS, "{time:?}");
}

#[test]
fn e5_trusts_a_token_for_so_long_only() {
    for token in [Sample { searching: 1, ..look(0) }, Sample { delivering: 1, ..look(0) }] {
        let before = LIVENESS.checked_sub(token.elapsed).unwrap();
        let verdict = |since_progress| decide(LIMITS, State { since_progress, ..State::new() }, &token).1;
        assert_eq!(verdict(before), Verdict::Grow(1, Cause::Liveness));
        assert_eq!(verdict(before.checked_sub(Duration::from_nanos(1)).unwrap()), Verdict::Wait);
    }
}

#[test]
fn ticks_are_short_while_a_step_may_be_due() {
    let state = State { tick: LONG_TICK, ..State::new() };
    let cooldown = State { cooldown: FIRST_COOLDOWN, ..state };
    let probation = Some(Probation::new(1.0, 8, &calm()));
    let blocked = Sample { threads: 9, blocked: 1, ..calm() };
    let table = [
        ("all is well", state, calm(), LONG_TICK),
        ("a thread is blocked", state, blocked, TICK),
        ("threads sleep a good deal", state, underutilized(SHORT_TICK, 8, 40), TICK),
        ("a step is on probation", State { probation, ..state }, calm(), TICK),
        ("no step is possible for a while", cooldown, blocked, LONG_TICK),
        ("unless the completions cease", cooldown, Sample { completed: 0, ..blocked }, TICK),
    ];
    for (name, state, sample, tick) in table {
        let (state, verdict) = decide(LIMITS, state, &sample);
        assert_eq!((verdict, state.tick), (Verdict::Wait, tick), "{name}");
    }
}
