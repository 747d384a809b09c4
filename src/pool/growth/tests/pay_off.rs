//! Steps that are taken while tasks complete: E4, and E7, which judges whether they paid.

use super::*;

#[test]
fn e4_doubles_after_four_looks_and_again_as_long_as_it_pays() {
    let mut state = State::new();
    let mut threads = 8;
    let mut looks = 0;
    let mut steps = Vec::new();
    while threads < 128 {
        looks += 1;
        let sample = underutilized(state.tick, threads, 40 * threads as u64);
        let verdict;
        (state, verdict) = decide(LIMITS, state, &sample);
        if let Verdict::Grow(more, cause) = verdict {
            assert_eq!((more, cause), (threads, Cause::Soft));
            threads += more;
            steps.push(looks);
        }
    }
    assert_eq!(steps, [4, 8, 12, 16]);
}

#[test]
fn e4_needs_sleep_progress_and_idle_cpus() {
    let usage = |cpus, asleep| Some(Usage { cpus, asleep });
    let table = [
        ("the rule itself", underutilized(TICK, 8, 40), 1),
        ("nothing completes: that is E5's", Sample { completed: 0, ..underutilized(TICK, 8, 40) }, 0),
        ("the CPUs are busy", Sample { usage: usage(6.0, 0.9), ..underutilized(TICK, 8, 40) }, 0),
        ("just short of busy", Sample { usage: usage(5.9, 0.9), ..underutilized(TICK, 8, 40) }, 1),
        ("they run or wait for a CPU", Sample { usage: usage(1.0, 0.4), ..underutilized(TICK, 8, 40) }, 0),
        ("the system reports no usage", Sample { usage: None, ..underutilized(TICK, 8, 40) }, 0),
        ("a thread is idle", Sample { idle: 1, ..underutilized(TICK, 8, 40) }, 0),
    ];
    for (name, sample, steps) in table {
        let mut state = State::new();
        let looks = verdicts(&mut state, Duration::from_millis(20), |elapsed| {
            let completed = u64::from(sample.completed > 0) * underutilized(elapsed, 8, 40).completed;
            Sample { completed, ..sample }
        });
        let grown = growth(&looks);
        assert_eq!(grown.len().min(1), steps, "{name}: {grown:?}");
    }
}

#[test]
fn e4_wants_its_looks_in_a_row() {
    let mut state = State::new();
    let mut turn = 0;
    let looks = verdicts(&mut state, Duration::from_millis(100), |elapsed| {
        turn += 1;
        if turn % 4 == 0 { calm() } else { underutilized(elapsed, 8, 40) }
    });
    assert_eq!(growth(&looks), []);
}

#[test]
fn e4_growth_that_does_not_pay_rests_for_longer_each_time() {
    let mut state = State::new();
    let looks = verdicts(&mut state, Duration::from_secs(40), |elapsed| underutilized(elapsed, 8, 40));
    let steps = growth(&looks);
    assert!(steps.iter().all(|step| step.2 == Cause::Soft));
    let gap = |pair: &[(Duration, usize, Cause)]| (pair[1].0 - pair[0].0).as_millis();
    let gaps: Vec<u128> = steps.windows(2).map(gap).collect();
    let cooldowns = [100, 200, 400, 800, 1600, 3200, 6400, 10_000];
    assert_eq!(gaps.len(), cooldowns.len() + 1, "the last one stays: {gaps:?}");
    for (gap, cooldown) in gaps.iter().zip(cooldowns) {
        assert!((cooldown..cooldown + 30).contains(gap), "{gaps:?}");
    }
}

#[test]
fn e4_a_step_that_pays_thaws() {
    let mut state = State::new();
    let mut step = |per_ms| until_step(&mut state, |elapsed| underutilized(elapsed, 8, per_ms));
    let quick = Duration::from_millis(10);
    let steps = [step(40), step(40), step(40)];
    assert!(steps[0].0 < quick);
    assert!(steps[1].0 > FIRST_COOLDOWN, "the first did not pay");
    assert!(steps[2].0 > 2 * FIRST_COOLDOWN, "nor did the second");
    assert_eq!(steps.map(|step| step.1), [8, 2, 1], "doubt makes small steps");
    assert!(step(80).0 < quick, "the third pays");
    let after = step(80).0;
    assert!(after > FIRST_COOLDOWN && after < 4 * FIRST_COOLDOWN, "the fourth does not: {after:?}");
}

#[test]
fn e7_while_tasks_complete_a_step_doubles_at_most_and_must_pay() {
    let mut state = State::new();
    let mut threads = 8;
    let mut steps = Vec::new();
    while threads < 100 {
        let step = until_step(&mut state, |elapsed| convoy(elapsed, threads, 4 * threads as u64));
        threads += step.1;
        steps.push((step.1, step.2));
    }
    assert_eq!(steps, [8, 16, 32, 64].map(|more| (more, Cause::Hard)), "a disk: each step pays");
    let mut state = State::new();
    let lock = |elapsed| convoy(elapsed, 16, 40);
    assert_eq!(until_step(&mut state, lock).1, 16);
    let (time, more, _) = until_step(&mut state, lock);
    assert!(time > FIRST_COOLDOWN && more <= 4, "a lock: {more} after {time:?}");
}

#[test]
fn e7_a_cooldown_ends_with_the_completions() {
    let mut state = State::new();
    let _ = until_step(&mut state, |elapsed| convoy(elapsed, 16, 40));
    let judged = verdicts(&mut state, Duration::from_millis(30), |elapsed| convoy(elapsed, 16, 40));
    assert_eq!(growth(&judged), [], "cooling down");
    let (time, more, cause) = until_step(&mut state, |elapsed| convoy(elapsed, 16, 0));
    assert_eq!((more, cause), (64, Cause::Hard), "now they are blocked in earnest");
    assert!(time < 2 * LONG_LULL, "{time:?}");
}

#[test]
fn e7_below_core_there_is_nothing_to_prove() {
    let mut state = State::new();
    let _ = until_step(&mut state, |elapsed| convoy(elapsed, 16, 40));
    let few = |elapsed| Sample { elapsed, threads: 5, ..calm() };
    let judged = verdicts(&mut state, Duration::from_millis(30), |elapsed| convoy(elapsed, 16, 40));
    assert_eq!(growth(&judged), [], "cooling down");
    assert_eq!(until_step(&mut state, few).1, 3);
}
