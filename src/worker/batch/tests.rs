//! Tests of `batch`.

use super::*;

/// A thread whose tasks last `each`, after `count` of them: how many it takes then.
fn after(count: u32, each: Duration) -> usize {
    let (policy, start) = (BatchPolicy::new(), Instant::now());
    run(&policy, start, count, each)
}

fn run(policy: &BatchPolicy, start: Instant, count: u32, each: Duration) -> usize {
    (1..=count).map(|done| policy.size(|| start + each * done)).last().unwrap_or(0)
}

#[test]
fn a_new_thread_takes_one_at_a_time_until_it_has_seen_how_long_tasks_are() {
    assert_eq!(after(1, Duration::ZERO), 1);
    assert_eq!(after(MOST, Duration::ZERO), 1, "the first look is only a start");
    assert_eq!(after(2 * MOST, Duration::ZERO), MOST as usize);
}

#[test]
fn a_batch_lasts_no_longer_than_the_share() {
    let micros = Duration::from_micros;
    for (each, size) in [(1, 32), (5, 32), (6, 32), (7, 28), (20, 10), (100, 2), (101, 1), (20_000, 1)] {
        assert_eq!(after(4 * MOST, micros(each)), size, "tasks of {each} us");
    }
    assert_eq!(after(4 * MOST, Duration::from_secs(3600)), 1);
}

#[test]
fn a_thread_that_has_slept_takes_one_at_a_time() {
    let (policy, start) = (BatchPolicy::new(), Instant::now());
    assert_eq!(run(&policy, start, 2 * MOST, Duration::from_nanos(100)), MOST as usize);
    assert_eq!(run(&policy, start + Duration::from_secs(1), MOST, Duration::from_nanos(100)), 1);
    assert_eq!(run(&policy, start + Duration::from_secs(1), MOST, Duration::from_nanos(200)), 32);
}

#[test]
fn a_thread_that_stalls_takes_one_at_a_time() {
    let (policy, start) = (BatchPolicy::new(), Instant::now());
    assert_eq!(run(&policy, start, 2 * MOST, Duration::from_nanos(100)), MOST as usize);
    policy.stalled();
    assert_eq!(policy.size(|| unreachable!("it is not time to look")), 1);
}

#[test]
fn a_clock_that_stands_still_or_goes_back_does_no_harm() {
    let (policy, now) = (BatchPolicy::new(), Instant::now() + Duration::from_secs(10));
    for _ in 0..3 * MOST {
        let _ = policy.size(|| now);
    }
    assert_eq!(policy.size(|| unreachable!("it is not time to look")), MOST as usize);
    for _ in 0..2 * MOST {
        let _ = policy.size(|| now - Duration::from_secs(5));
    }
    assert_eq!(policy.size(|| unreachable!("it is not time to look")), MOST as usize);
}
