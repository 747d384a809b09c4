//! Tests of the estimate, by the numbers.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(mark: &ClockMark, seconds: u32) -> Instant {
    mark.base + seconds * SECOND
}

#[test]
fn the_first_task_after_a_mark_began_there() {
    let mark = ClockMark::new();
    assert_eq!(mark.estimate(at(&mark, 5), 1), Some(mark.base), "the thread was made for it");
    mark.wake(at(&mark, 7), 1);
    assert_eq!(mark.estimate(at(&mark, 9), 2), Some(at(&mark, 7)));
}

#[test]
fn those_that_have_ended_since_are_taken_to_be_as_long_as_before() {
    let mark = ClockMark::new();
    mark.wake(at(&mark, 10), 0);
    mark.pass(at(&mark, 42), 32);
    // Three of a second have ended, and the fourth runs.
    assert_eq!(mark.estimate(at(&mark, 100), 36), Some(at(&mark, 45)));
    // Sleep is no part of a task.
    mark.wake(at(&mark, 200), 36);
    assert_eq!(mark.estimate(at(&mark, 300), 38), Some(at(&mark, 201)));
}

#[test]
fn no_estimate_is_later_than_now_or_of_a_task_that_began_before_the_mark() {
    let mark = ClockMark::new();
    mark.pass(at(&mark, 64), 32);
    assert_eq!(mark.estimate(at(&mark, 65), 36), Some(at(&mark, 65)));
    assert_eq!(mark.estimate(at(&mark, 65), 32), None, "it began before");
    assert_eq!(mark.estimate(at(&mark, 65), 7), None, "the counts are of another time");
    mark.lose();
    assert_eq!(mark.estimate(at(&mark, 65), 33), None, "others have run inside of it");
    mark.pass(at(&mark, 70), 32);
    assert_eq!(mark.estimate(at(&mark, 80), 33), Some(at(&mark, 70)), "no task between two marks");
}
