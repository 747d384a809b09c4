//! Tests of `waiting`.

use super::*;

const TICK: Duration = Duration::from_millis(1);

fn queued(submitted: u64, begun: u64, cancelled: u64) -> Queued {
    Queued { submitted, begun, cancelled, ..Queued::default() }
}

#[test]
fn a_mark_stays_until_so_many_have_been_taken() {
    let mut waiting = Waiting::default();
    let table = [
        ("nothing waits", 5, 5, None),
        ("three wait: from now on", 8, 5, Some(0)),
        ("one has been taken", 8, 6, Some(1)),
        ("more come", 20, 7, Some(2)),
        ("those of the mark have been taken: a new one", 20, 8, Some(0)),
        ("its tasks wait", 30, 19, Some(1)),
        ("all have been taken", 30, 30, None),
        ("a count that runs ahead", 30, 31, None),
    ];
    for (name, submitted, begun, millis) in table {
        let waited = waiting.look_at_own(&queued(submitted, begun, 0), TICK);
        assert_eq!(waited, millis.map(Duration::from_millis), "{name}");
    }
}

#[test]
fn a_task_that_is_cancelled_does_not_hide_how_long_another_waits() {
    let mut waiting = Waiting::default();
    // One waits; in each look another comes, and is cancelled.
    let mut waited = (0..100).map(|look| waiting.look_at_own(&queued(1 + look, 0, look), TICK));
    assert_eq!(waited.nth(99), Some(Some(99 * TICK)));
    assert_eq!(waiting.look_at_own(&queued(200, 1, 100), TICK), Some(Duration::ZERO), "it has been taken");
    assert_eq!(waiting.look_at_own(&queued(200, 2, 198), TICK), None);
}

#[test]
fn a_lane_waits_while_none_of_its_tasks_begins() {
    let mut waiting = Waiting::default();
    let lane = |id, started| PendingLane { id, started, occupied: false };
    let mut look = |lanes: &[PendingLane]| {
        waiting.look_at_lanes(lanes.iter().copied(), TICK).map(|waited| waited.as_millis())
    };
    assert_eq!(look(&[]), None);
    assert_eq!(look(&[lane(1, 7), lane(2, 0)]), Some(0));
    assert_eq!(look(&[lane(1, 8), lane(2, 0)]), Some(1), "the longest counts");
    assert_eq!(look(&[lane(1, 9), lane(2, 1)]), Some(0), "both get on");
    assert_eq!(look(&[lane(1, 9)]), Some(1));
    assert_eq!(look(&[PendingLane { occupied: true, ..lane(1, 9) }]), None, "it waits behind its own kind");
    assert_eq!(look(&[lane(1, 9)]), Some(0), "and has not waited for others until then");
}
