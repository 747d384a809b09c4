//! E9: short calls behind threads that compute for long.

use super::*;

const WAITED: Duration = Duration::from_millis(1);
const WAITED_LONG: Duration = Duration::from_millis(10);

/// Eight threads compute for long, tasks complete now and then, and a task has waited.
fn computing() -> Sample {
    Sample { occupied: 8, calls: true, waited: WAITED, completed: 1, queued: 9, ..calm() }
}

#[test]
fn what_has_waited_gets_threads_that_are_free() {
    use Cause::{Replace, Waiting};
    use Verdict::{Grow, Wait};
    let short = WAITED.checked_sub(Duration::from_nanos(1)).unwrap();
    let in_lanes = |threads, occupied| Sample { threads, occupied, in_lanes: occupied, ..computing() };
    let long =
        |threads, long| Sample { threads, occupied: threads, long, waited: WAITED_LONG, ..computing() };
    let mixed = Sample { blocked: 4, occupied: 4, ..computing() };
    let table = [
        ("all are occupied", computing(), Grow(8, Waiting)),
        ("not for long enough", Sample { waited: short, ..computing() }, Wait),
        ("two are free", Sample { occupied: 6, ..computing() }, Grow(6, Waiting)),
        ("all are free", Sample { occupied: 0, ..computing() }, Wait),
        ("no more than is queued", Sample { queued: 1, ..computing() }, Grow(1, Waiting)),
        ("a thread is idle", Sample { idle: 1, ..computing() }, Wait),
        ("a thread searches", Sample { searching: 1, ..computing() }, Wait),
        ("at max", Sample { threads: 512, occupied: 512, ..computing() }, Wait),
        ("the system refuses", Sample { refused: true, ..computing() }, Wait),
        ("blocked ones are replaced first", Sample { completed: 0, ..mixed }, Grow(4, Replace)),
        ("a convoy is none of its business", Sample { blocked: 8, occupied: 0, ..computing() }, Wait),
        ("beside a convoy it must pay", Sample { threads: 12, ..mixed }, Wait),
        ("beside a disk or a peer not", Sample { threads: 12, outside: true, ..mixed }, Grow(4, Waiting)),
        ("declared ones do not count", Sample { threads: 16, declared: 8, ..computing() }, Grow(8, Waiting)),
        ("twice core compute", Sample { threads: 16, occupied: 16, ..computing() }, Wait),
        ("almost", Sample { threads: 13, occupied: 13, ..computing() }, Grow(3, Waiting)),
        ("those that start are free", Sample { starting: 2, ..computing() }, Grow(6, Waiting)),
        ("a lane of 100", in_lanes(100, 100), Grow(8, Waiting)),
        ("it and some that are free", in_lanes(108, 100), Wait),
        ("it and others that compute", Sample { occupied: 116, ..in_lanes(116, 100) }, Wait),
        ("behind long ones for long", long(16, 16), Grow(8, Waiting)),
        ("not all of them long yet", long(16, 15), Wait),
        ("up to four times core, and one", long(32, 32), Grow(1, Waiting)),
        ("no further", long(33, 33), Wait),
        ("for long, but they are not", long(24, 0), Wait),
    ];
    for (name, sample, verdict) in table {
        assert_eq!(decide(LIMITS, State::new(), &sample).1, verdict, "{name}");
    }
}

#[test]
fn a_machine_that_is_short_of_cpu_is_no_reason_against_it() {
    let overslept = Sample { elapsed: Duration::from_millis(40), ..computing() };
    let starved = Sample { starved: true, ..overslept };
    for sample in [overslept, starved] {
        assert_eq!(decide(LIMITS, State::new(), &sample).1, Verdict::Grow(8, Cause::Waiting));
    }
    let (state, verdict) = decide(LIMITS, State::new(), &Sample { occupied: 0, ..overslept });
    assert_eq!((verdict, state.tick), (Verdict::Wait, TICK), "E6");
}

#[test]
fn one_who_waits_is_looked_after_soon_and_a_flood_rarely() {
    let tick = |sample| decide(LIMITS, State { tick: LONG_TICK, ..State::new() }, &sample).0.tick;
    let waits = Sample { waited: Duration::ZERO, ..computing() };
    assert_eq!(tick(waits), TICK, "it will have waited for long enough before long");
    assert_eq!(tick(Sample { calls: false, ..waits }), LONG_TICK, "a lane waits behind its own kind");
    assert_eq!(
        tick(Sample { threads: 33, occupied: 33, long: 33, ..waits }),
        LONG_TICK,
        "nothing can be done"
    );
}

#[test]
fn waiting_is_not_judged_by_its_pay_off() {
    let mut state = State::new();
    let busy = |elapsed: Duration| Sample { elapsed, ..calm() };
    let _ = verdicts(&mut state, Duration::from_millis(20), busy);
    let (state, verdict) = decide(LIMITS, state, &computing());
    assert_eq!(verdict, Verdict::Grow(8, Cause::Waiting));
    assert!(state.probation.is_none());
}
