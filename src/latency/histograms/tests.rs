//! Tests of `histograms`.

use super::*;

fn of(times: impl IntoIterator<Item = Duration>) -> Histogram {
    let mut all = Histogram::new();
    times.into_iter().for_each(|time| all.record(time));
    all
}

#[test]
fn without_times_everything_is_zero() {
    let none = Histogram::new();
    assert!(none.is_empty());
    assert_eq!((none.count(), none.min(), none.max()), (0, Duration::ZERO, Duration::ZERO));
    assert_eq!((none.mean(), none.quantile(0.5)), (Duration::ZERO, Duration::ZERO));
    let text = format!("{none:?}");
    assert!(text.starts_with("Histogram { count: 0, min: 0ns"), "{text}");
}

#[test]
fn what_comes_out_is_right_to_a_percent() {
    for nanos in (0..42).map(|power| 1_u64 << power).flat_map(|power| [power - 1, power, power + power / 3]) {
        let time = Duration::from_nanos(nanos).min(LONGEST);
        let slack = (time / 100).max(Duration::from_nanos(1));
        let times = of([time]);
        for shown in [times.min(), times.max(), times.mean(), times.quantile(0.0), times.quantile(0.7)] {
            assert!(shown.abs_diff(time) <= slack, "{shown:?} for {time:?}");
        }
        assert!(times.max() >= time && times.quantile(0.7) >= time && times.min() <= time);
    }
}

#[test]
fn quantiles_are_those_of_the_whole() {
    let times = of((1..=1000).map(Duration::from_micros));
    for (q, micros) in [(0.0, 1), (0.25, 250), (0.5, 500), (0.99, 990), (1.0, 1000), (7.0, 1000), (-1.0, 1)] {
        let (shown, exact) = (times.quantile(q), Duration::from_micros(micros));
        assert!(shown.abs_diff(exact) <= exact / 100, "{q}: {shown:?}");
    }
    assert_eq!(times.quantile(f64::NAN), times.quantile(1e-9), "no panic");
    assert!(times.mean().abs_diff(Duration::from_nanos(500_500)) < Duration::from_micros(5));
}

#[test]
fn very_long_times_count_as_an_hour() {
    let times = of([Duration::MAX, LONGEST + Duration::from_nanos(1), Duration::ZERO]);
    assert_eq!(times.count(), 3);
    assert!(times.max().abs_diff(LONGEST) <= LONGEST / 100, "{times:?}");
    assert_eq!(times.min(), Duration::ZERO);
    assert!(size_of_val(&*vec![0_u64; times.0.distinct_values()]) <= 36 << 10, "the memory that is promised");
    let short = of([Duration::from_millis(10)]);
    assert!(size_of_val(&*vec![0_u64; short.0.distinct_values()]) <= 18 << 10);
    assert!(size_of_val(&*vec![0_u64; Histogram::new().0.distinct_values()]) <= 2 << 10);
}

#[test]
fn a_reading_is_the_sum_of_the_shards() {
    let recorder = Recorder::new(512);
    assert_eq!(recorder.shards.len(), SHARDS);
    for thread in 0..100 {
        recorder.waited(thread, Duration::from_nanos(thread as u64));
        recorder.ran(thread, Duration::from_secs(thread as u64));
    }
    recorder.waited(3, Duration::from_secs(5));
    let (wait, run) = recorder.read();
    assert_eq!((wait.count(), run.count()), (101, 100));
    assert!(wait.max() >= Duration::from_secs(5));
    assert_eq!(run, of((0..100).map(Duration::from_secs)), "sharing changes nothing");
    assert_ne!(run, wait);
    assert_eq!((wait.clone(), run.clone()), recorder.read(), "reading changes nothing");
}

#[test]
fn a_recorder_has_no_more_shards_than_threads() {
    for (threads, shards) in [(0, 1), (1, 1), (3, 3), (8, 8), (9, 8)] {
        assert_eq!(Recorder::new(threads).shards.len(), shards);
    }
}

#[test]
fn no_time_is_lost_to_other_threads() {
    let recorder = Recorder::new(2);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let recorder = &recorder;
            scope.spawn(move || {
                for nanos in 0..5000 {
                    recorder.waited(thread, Duration::from_nanos(nanos));
                    recorder.ran(thread, Duration::from_nanos(nanos));
                }
            });
        }
        for _ in 0..100 {
            let (wait, run) = recorder.read();
            assert!(run.count() <= wait.count(), "more ends than starts");
        }
    });
    let (wait, run) = recorder.read();
    assert_eq!((wait.count(), run.count()), (20_000, 20_000));
    assert_eq!(wait, run);
}

#[test]
fn a_difference_is_what_came_between() {
    let early: Vec<_> = (1..1000).map(Duration::from_micros).collect();
    let late: Vec<_> = (500..3000).step_by(3).map(Duration::from_micros).collect();
    let before = of(early.clone());
    let after = of(early.iter().chain(&late).copied());
    let between = after.since(&before).unwrap();
    assert_eq!(between, of(late.clone()));
    assert_eq!(between.count(), late.len() as u64);
    assert!(between.min().abs_diff(late[0]) <= late[0] / 100 && between.max() >= late[late.len() - 1]);
    for q in [0.1, 0.5, 0.9, 0.99] {
        assert_eq!(between.quantile(q), of(late.clone()).quantile(q));
    }
    assert_eq!(after.since(&Histogram::new()).unwrap(), after);
    let nothing = after.since(&after).unwrap();
    assert!(nothing.is_empty());
    assert_eq!(
        (nothing.min(), nothing.max(), nothing.quantile(0.5)),
        (Duration::ZERO, Duration::ZERO, Duration::ZERO)
    );
    assert!(Histogram::new().since(&Histogram::new()).unwrap().is_empty());
}

#[test]
fn there_is_no_difference_where_the_order_is_wrong() {
    let (before, after) = (of([Duration::from_micros(5)]), of([5, 6].map(Duration::from_micros)));
    assert!(before.since(&after).is_none(), "fewer times");
    assert!(Histogram::new().since(&before).is_none());
    let (short, long) = (of([Duration::from_nanos(1)]), of([LONGEST]));
    assert!(short.since(&long).is_none() && long.since(&short).is_none(), "other times");
    let many = of((0..100).map(Duration::from_millis));
    assert!(many.since(&of([Duration::from_secs(3000)])).is_none(), "a time that this one has no bucket for");
}
