//! The policy, rule by rule, and against simulated pools.
#![expect(clippy::unwrap_used, reason = "in a test, helpers included, an unwrap is an assertion")]

mod attacks;
mod cases;
mod late;
mod memory;
mod mixes;
mod outside;
mod pay_off;
mod simulation;
mod time_alone;
mod waiting;

use std::time::Duration;

use super::policy::{
    Cause, LIVENESS, LONG_LULL, Limits, QUIET_LOOKS, SHORT_TICK, STEADY_LOOKS, TICK, Verdict, decide,
};
use super::probation::{Flow, Probation};
use super::sample::{Fresh, Sample, Usage};
use super::state::{FIRST_COOLDOWN, LEAST_STEP_FACTOR, LONG_TICK, LULL, OVERSLEPT, State};

const LIMITS: Limits = Limits { core: 8, max: 512, cpus: 8 };

/// All is well: eight threads work on a long queue.
fn calm() -> Sample {
    Sample {
        elapsed: SHORT_TICK,
        queued: 1000,
        completed: 10,
        threads: 8,
        certain: true,
        ..Sample::default()
    }
}

/// `threads` threads have begun their tasks since the last step, and `blocked` of them are blocked.
fn fresh(threads: usize, blocked: usize) -> Option<Fresh> {
    Some(Fresh { threads, blocked })
}

/// The verdict of a monitor that has just been armed.
fn first_verdict(limits: Limits, sample: Sample) -> Verdict {
    decide(limits, State::new(), &sample).1
}

/// Feeds looks of the state's own tick until `end`, and returns the verdicts, with the time of
/// each.
fn verdicts(
    state: &mut State,
    end: Duration,
    mut look: impl FnMut(Duration) -> Sample,
) -> Vec<(Duration, Verdict)> {
    let mut now = Duration::ZERO;
    let mut all = Vec::new();
    while now < end {
        let elapsed = state.tick;
        now += elapsed;
        let (next, verdict) = decide(LIMITS, *state, &Sample { elapsed, ..look(elapsed) });
        *state = next;
        all.push((now, verdict));
    }
    all
}

/// The times at which the policy asked for threads.
fn growth(verdicts: &[(Duration, Verdict)]) -> Vec<(Duration, usize, Cause)> {
    let grown = verdicts.iter().filter_map(|&(now, verdict)| match verdict {
        Verdict::Grow(threads, cause) => Some((now, threads, cause)),
        _ => None,
    });
    grown.collect()
}

#[test]
fn each_rule_decides_its_own_case() {
    use Cause::{Hard, Replace};
    use Verdict::{Grow, Wait, Wake};
    // No task has completed: otherwise E7 applies.
    let blocked = |threads, blocked| Sample { threads, blocked, completed: 0, ..calm() };
    let table = [
        ("no thread is blocked", calm(), Wait),
        ("E1: nothing is queued", Sample { queued: 0, ..blocked(8, 8) }, Wait),
        ("E1: a thread is idle", Sample { idle: 1, ..blocked(8, 7) }, Wait),
        ("E1: tokens that do not move", Sample { idle: 1, stuck: true, ..blocked(8, 7) }, Wake),
        ("E1: no thread to wake", Sample { stuck: true, ..calm() }, Wait),
        ("E2: three quarters, but not for long", blocked(8, 6), Grow(6, Replace)),
        ("E6: one of them waits for a CPU", Sample { starved: true, ..blocked(8, 7) }, Wait),
        ("E2: all", blocked(8, 8), Grow(32, Hard)),
        ("E2: more than there are", blocked(8, 9), Grow(32, Hard)),
        ("E2: no more than is queued", Sample { queued: 5, ..blocked(8, 8) }, Grow(5, Hard)),
        (
            "E2: no more than there is room for",
            Sample { fresh: fresh(200, 200), ..blocked(300, 300) },
            Grow(212, Hard),
        ),
        ("E2: the first step goes by core", blocked(300, 300), Grow(32, Hard)),
        (
            "E2: and by how many are live",
            Sample { completed: 0, outside: true, ..blocked(60, 48) },
            Grow(21, Hard),
        ),
        (
            "E2: four for each of the last ones",
            Sample { fresh: fresh(20, 20), ..blocked(40, 40) },
            Grow(80, Hard),
        ),
        ("E2: three quarters of those", Sample { fresh: fresh(20, 15), ..blocked(40, 40) }, Grow(60, Hard)),
        ("E2: fewer, so it is E3", Sample { fresh: fresh(20, 14), ..blocked(40, 40) }, Grow(8, Replace)),
        ("E2: none of them", Sample { fresh: fresh(9, 0), outside: true, ..blocked(59, 50) }, Wait),
        (
            "E2: starting ones take room",
            Sample { starting: 40, fresh: fresh(100, 100), ..blocked(300, 300) },
            Grow(172, Hard),
        ),
        ("E3: less than three quarters", blocked(8, 5), Grow(5, Replace)),
        ("E3: one", blocked(8, 1), Grow(1, Replace)),
        ("E3: above core", blocked(20, 14), Grow(2, Replace)),
        ("E3: enough are live", blocked(20, 12), Wait),
        ("E3: fewer than core, all busy", blocked(3, 0), Grow(5, Replace)),
        ("E3: no more than is queued", Sample { queued: 2, ..blocked(3, 0) }, Grow(2, Replace)),
        ("declared ones are not live", Sample { declared: 4, ..blocked(8, 0) }, Grow(4, Replace)),
        ("all declared", Sample { declared: 8, ..blocked(8, 0) }, Grow(8, Replace)),
        ("declared, and replaced", Sample { declared: 4, ..blocked(12, 0) }, Wait),
        ("declared, others blocked", Sample { declared: 4, ..blocked(12, 8) }, Grow(32, Hard)),
        ("more declared than threads", Sample { declared: 9, ..blocked(8, 1) }, Grow(8, Replace)),
        ("a thread searches", Sample { searching: 1, ..blocked(8, 7) }, Wait),
        ("slowly, since it has no CPU", Sample { searching: 1, stuck: true, ..blocked(8, 7) }, Wait),
        ("a thread comes from a waker", Sample { delivering: 1, ..blocked(8, 7) }, Wait),
        ("slowly, but not asleep", Sample { delivering: 1, stuck: true, ..blocked(8, 0) }, Wait),
        ("slowly, and too few", Sample { delivering: 1, stuck: true, ..blocked(3, 0) }, Wait),
        ("asleep in a waker", Sample { delivering: 1, stuck: true, ..blocked(8, 8) }, Grow(32, Hard)),
        ("refused", Sample { refused: true, ..blocked(8, 8) }, Wait),
        ("at max", blocked(512, 512), Wait),
        ("at max with those that start", Sample { starting: 100, ..blocked(412, 412) }, Wait),
        ("above max, for an instant", Sample { starting: 9, ..blocked(510, 510) }, Wait),
        ("many are on the way", Sample { starting: 3, ..blocked(8, 8) }, Wait),
        ("a few are on the way", Sample { starting: 2, ..blocked(8, 8) }, Grow(31, Hard)),
    ];
    for (name, sample, verdict) in table {
        assert_eq!(first_verdict(LIMITS, sample), verdict, "{name}");
    }
}

#[test]
fn a_pool_with_one_thread_grows_and_one_that_may_not_does_not() {
    let blocked = Sample { threads: 1, blocked: 1, completed: 0, ..calm() };
    let one = Limits { core: 1, max: 2, cpus: 1 };
    assert_eq!(first_verdict(one, blocked), Verdict::Grow(1, Cause::Hard));
    assert_eq!(first_verdict(Limits { core: 1, max: 1, cpus: 1 }, blocked), Verdict::Wait);
    let lost = Sample { threads: 0, ..calm() };
    assert_eq!(first_verdict(one, lost), Verdict::Grow(1, Cause::Replace));
}

#[test]
fn e6_an_overslept_look_is_no_evidence() {
    let limit = 2 * State::new().tick + OVERSLEPT;
    let all_blocked = Sample { blocked: 8, elapsed: limit, completed: 0, ..calm() };
    assert_eq!(first_verdict(LIMITS, all_blocked), Verdict::Grow(32, Cause::Hard));
    let overslept = Sample { elapsed: limit + Duration::from_nanos(1), ..all_blocked };
    let (state, verdict) = decide(LIMITS, State::new(), &overslept);
    assert_eq!((verdict, state.tick), (Verdict::Wait, TICK));
    let stopped = Sample { elapsed: Duration::from_secs(3600), ..all_blocked };
    assert_eq!(first_verdict(LIMITS, stopped), Verdict::Wait, "a stopped process, or a suspended machine");
}

#[test]
fn e6_time_that_was_overslept_does_not_count_as_since_progress() {
    let stopped = Sample { elapsed: Duration::from_secs(1), completed: 0, ..calm() };
    let (mut state, _) = decide(LIMITS, State::new(), &stopped);
    let looks = verdicts(&mut state, Duration::from_millis(90), |_| Sample { completed: 0, ..calm() });
    assert_eq!(growth(&looks), [], "the machine was away, not the threads");
}

#[test]
fn e5_one_more_per_100_ms_and_later_per_500() {
    let mut state = State::new();
    let mut threads = 8;
    let mut steps = Vec::new();
    let mut last = Duration::ZERO;
    while threads < 20 {
        let looks =
            verdicts(&mut state, Duration::from_millis(10), |_| Sample { completed: 0, threads, ..calm() });
        last += looks.last().unwrap().0;
        for (_, more, cause) in growth(&looks) {
            assert_eq!((more, cause), (1, Cause::Liveness));
            threads += more;
            steps.push(last);
        }
    }
    let gap = |pair: &[Duration]| (pair[1] - pair[0]).as_millis();
    let gaps: Vec<u128> = steps.windows(2).map(gap).collect();
    let (quick, slow) = gaps.split_at(7);
    assert!(quick.iter().all(|&gap| (90..130).contains(&gap)), "up to twice core: {gaps:?}");
    assert!(slow.iter().all(|&gap| (490..530).contains(&gap)), "above: {gaps:?}");
}

#[test]
fn e5_declared_blockers_entitle_to_the_quick_pace() {
    let mut state = State::new();
    let waiting = Sample { completed: 0, threads: 30, declared: 10, ..calm() };
    let looks = verdicts(&mut state, Duration::from_millis(150), |_| waiting);
    assert_eq!(growth(&looks).len(), 1, "30 threads are fewer than twice 8 + 10");
    let mut state = State::new();
    let looks = verdicts(&mut state, Duration::from_millis(150), |_| Sample { declared: 0, ..waiting });
    assert_eq!(growth(&looks), []);
}

#[test]
fn e5_any_completion_starts_the_wait_again() {
    let mut state = State::new();
    let mut now = Duration::ZERO;
    let mut last = Duration::ZERO;
    let looks = verdicts(&mut state, Duration::from_secs(2), |elapsed| {
        now += elapsed;
        let one = now - last > Duration::from_millis(80);
        if one {
            last = now;
        }
        Sample { completed: u64::from(one), ..calm() }
    });
    assert_eq!(growth(&looks), []);
}

#[test]
fn quiet_looks_disarm_and_one_task_starts_the_count_again() {
    let mut state = State::new();
    let mut look = |queued| {
        let (next, verdict) = decide(LIMITS, state, &Sample { queued, elapsed: state.tick, ..calm() });
        state = next;
        verdict
    };
    for _ in 1..QUIET_LOOKS {
        assert_eq!(look(0), Verdict::Wait);
    }
    assert_eq!(look(1), Verdict::Wait);
    for _ in 1..QUIET_LOOKS {
        assert_eq!(look(0), Verdict::Wait);
    }
    assert_eq!(look(0), Verdict::Disarm);
    assert_eq!(look(0), Verdict::Disarm, "again, where the queue was not empty after all");
}

#[test]
fn ticks_get_longer_while_all_is_well_and_short_after_a_step() {
    let mut state = State::new();
    let mut ticks = Vec::new();
    let mut look = |sample: Sample| {
        state = decide(LIMITS, state, &Sample { elapsed: state.tick, ..sample }).0;
        ticks.push(state.tick);
    };
    for _ in 0..6 {
        look(calm());
    }
    look(Sample { blocked: 8, ..calm() });
    look(Sample { blocked: 1, threads: 32, ..calm() });
    look(Sample { starting: 10, ..calm() });
    look(Sample { idle: 1, ..calm() });
    for _ in 0..6 {
        look(Sample { refused: true, ..calm() });
    }
    let micros: Vec<u128> = ticks.iter().map(Duration::as_micros).collect();
    let expected =
        [500, 1000, 2000, 4000, 4000, 4000, 250, 500, 250, 500, 1000, 2000, 4000, 4000, 4000, 4000];
    assert_eq!(micros, expected);
}

/// A look at threads that sleep most of the time, yet complete `per_ms` tasks per millisecond.
fn underutilized(elapsed: Duration, threads: usize, per_ms: u64) -> Sample {
    let completed = u64::try_from(elapsed.as_micros()).unwrap() * per_ms / 1000;
    Sample { elapsed, threads, completed, usage: Some(Usage { cpus: 1.0, asleep: 0.9 }), ..calm() }
}

/// Looks until the policy adds threads. Returns the time that took, how many threads, and why.
fn until_step(state: &mut State, mut look: impl FnMut(Duration) -> Sample) -> (Duration, usize, Cause) {
    let mut now = Duration::ZERO;
    loop {
        now += state.tick;
        assert!(now < Duration::from_secs(60), "no step");
        let (next, verdict) = decide(LIMITS, *state, &look(state.tick));
        *state = next;
        if let Verdict::Grow(threads, cause) = verdict {
            return (now, threads, cause);
        }
    }
}

#[test]
fn e2_three_quarters_count_once_nothing_completes() {
    let mut state = State::new();
    let most = |elapsed| Sample { elapsed, threads: 40, blocked: 30, completed: 0, ..calm() };
    let (time, threads, cause) = until_step(&mut state, most);
    assert_eq!((threads, cause), (23, Cause::Hard), "33 less the ten that are live");
    assert!(time >= LONG_LULL && time < 2 * LONG_LULL, "{time:?}");
}

/// A look at threads that are all blocked, though `per_ms` tasks complete per millisecond: a
/// convoy, or a slow disk.
fn convoy(elapsed: Duration, threads: usize, per_ms: u64) -> Sample {
    let completed = u64::try_from(elapsed.as_micros()).unwrap() * per_ms / 1000;
    Sample { elapsed, threads, completed, blocked: threads, fresh: fresh(threads, threads), ..calm() }
}
