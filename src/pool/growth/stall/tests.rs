//! Tests of `stall`.

use super::*;

const LIMITS: Limits = Limits { core: 2, max: 4, cpus: 2 };
const LOOK: Duration = Duration::from_millis(400);

fn look(stall: &mut Stall, sample: Sample, warn_after: Option<Duration>) -> Option<Trouble> {
    stall.look(LIMITS, &sample, warn_after, Instant::now())
}

#[test]
fn a_stall_is_reported_once_until_something_moves() {
    let stuck = Sample { elapsed: LOOK, queued: 1, threads: 4, ..Sample::default() };
    let mut stall = Stall::default();
    let reported: Vec<_> = (0..6).map(|_| look(&mut stall, stuck, None)).collect();
    let max = Some(Trouble::Stalls(Obstacle::Max));
    assert_eq!(reported, [None, None, max, None, None, None]);
    assert_eq!(look(&mut stall, Sample { completed: 1, ..stuck }, None), None);
    let reported: Vec<_> = (0..3).map(|_| look(&mut stall, stuck, None)).collect();
    assert_eq!(reported, [None, None, max], "it begins anew");
}

#[test]
fn the_obstacle_is_named() {
    let long = Sample { elapsed: LONG, queued: 1, threads: 2, ..Sample::default() };
    let reported = |sample| look(&mut Stall::default(), sample, None);
    assert_eq!(reported(long), Some(Trouble::Stalls(Obstacle::Policy)));
    assert_eq!(reported(Sample { refused: true, ..long }), Some(Trouble::Stalls(Obstacle::Refused)));
    assert_eq!(reported(Sample { idle: 1, ..long }), None, "the idle thread will take it");
}

#[test]
fn a_wait_is_reported_now_and_then() {
    let waits = |waited| Sample { calls: true, queued: 1, completed: 1, waited, ..Sample::default() };
    let start = Instant::now();
    let mut stall = Stall::default();
    let mut reported = |waited, after| stall.look(LIMITS, &waits(waited), None, start + after);
    let short = LONG.checked_sub(Duration::from_nanos(1)).unwrap();
    assert_eq!(reported(short, Duration::ZERO), None);
    assert_eq!(reported(LONG, Duration::ZERO), Some(Trouble::Waits(LONG)));
    assert_eq!(reported(LONG, PAUSE.checked_sub(LOOK).unwrap()), None);
    assert_eq!(reported(LONG, PAUSE), Some(Trouble::Waits(LONG)));
    let reported = |sample, after| look(&mut Stall::default(), sample, Some(after));
    assert_eq!(reported(waits(LOOK), LOOK), Some(Trouble::Waits(LOOK)), "`warn_after` sets from when on");
    assert_eq!(reported(Sample::default(), Duration::ZERO), None, "nothing waits");
}
