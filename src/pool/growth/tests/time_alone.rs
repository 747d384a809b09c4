//! E10: what the policy does where the system does not report which threads sleep.

use super::*;

/// All eight threads have been in one task for a tick, while a CPU was idle for so many looks.
fn seemingly_blocked(threads: usize, spare: u32) -> Sample {
    Sample { threads, blocked: threads, completed: 0, certain: false, spare, ..calm() }
}

#[test]
fn with_a_cpu_to_spare_threads_multiply() {
    use Cause::Hard;
    use Verdict::{Grow, Wait};
    let table = [
        ("two looks: up to four times core", seemingly_blocked(8, 2), Grow(24, Hard)),
        ("part of the way", seemingly_blocked(20, 2), Grow(12, Hard)),
        ("they are there", seemingly_blocked(32, 2), Wait),
        ("and start", Sample { starting: 4, ..seemingly_blocked(28, 2) }, Wait),
        ("three looks are not four", seemingly_blocked(32, 3), Wait),
        (
            "four looks: on, and faster",
            Sample { fresh: fresh(24, 24), ..seemingly_blocked(32, 4) },
            Grow(192, Hard),
        ),
        (
            "fewer than the CPUs: they may compute",
            Sample { blocked: 7, completed: 1, ..seemingly_blocked(40, 9) },
            Wait,
        ),
        ("up to the limit", Sample { fresh: fresh(99, 99), ..seemingly_blocked(256, 4) }, Grow(256, Hard)),
        ("no idle CPU: no thread seems blocked", Sample { blocked: 0, ..seemingly_blocked(8, 0) }, Wait),
    ];
    for (name, sample, verdict) in table {
        assert_eq!(decide(LIMITS, State::new(), &sample).1, verdict, "{name}");
    }
}

#[test]
fn without_a_cpu_to_spare_it_is_liveness_that_adds_one_now_and_then() {
    let mut state = State::new();
    let sample = Sample { blocked: 0, ..seemingly_blocked(16, 0) };
    let looks = verdicts(&mut state, Duration::from_millis(1100), |_| sample);
    assert_eq!(growth(&looks).len(), 2, "every 500 ms");
    assert!(growth(&looks).iter().all(|step| (step.1, step.2) == (1, Cause::Liveness)));
}

#[test]
fn computations_get_four_times_core_and_no_more() {
    let occupied = |threads, waited| Sample {
        threads,
        occupied: threads,
        long: threads,
        calls: true,
        waited: Duration::from_millis(waited),
        blocked: 0,
        completed: 1,
        ..seemingly_blocked(threads, 0)
    };
    let step = |sample| match decide(LIMITS, State::new(), &sample).1 {
        Verdict::Grow(threads, Cause::Waiting) => threads,
        Verdict::Wait => 0,
        other => panic!("{other:?}"),
    };
    assert_eq!(step(occupied(8, 5)), 8);
    assert_eq!(step(occupied(16, 5)), 0);
    assert_eq!(step(occupied(16, 50)), 8);
    assert_eq!(step(occupied(31, 50)), 1);
    assert_eq!(step(occupied(32, 5000)), 0);
    let seeming = Sample { blocked: 32, spare: 2, ..occupied(32, 5000) };
    assert_eq!(step(seeming), 0, "nor if they seem to be blocked for a moment");
    assert_eq!(step(Sample { certain: true, ..occupied(32, 5000) }), 1, "and one where it is certain");
}

#[test]
fn e4_goes_by_how_long_a_task_keeps_its_thread() {
    let look =
        |spare, completed| Sample { blocked: 0, completed, elapsed: TICK, ..seemingly_blocked(8, spare) };
    let table = [
        ("a CPU to spare, tasks of 200 us", look(2, 20), true),
        ("of 100 us", look(2, 40), true),
        ("of less: they are short, not asleep", look(2, 41), false),
        ("no CPU to spare", look(1, 20), false),
        ("nothing completes", look(9, 0), false),
    ];
    for (name, sample, answer) in table {
        assert_eq!(sample.is_underutilized(LIMITS), answer, "{name}");
    }
}
