//! The sampler where the CPU clocks of threads lag.

use super::*;

/// To a clock that lags a thread that gets no CPU looks asleep; one of those that compute has a
/// CPU.
#[test]
fn answers_that_hold_if_all_sleep_are_guesses_where_one_is_awake() {
    let full = Full::new(8);
    for (sleepers, certain) in [(8, true), (7, false)] {
        let answer: Rule = if sleepers == 8 { |_| Some(true) } else { |count| Some(count % 8 != 0) };
        full.forget_samples();
        let sample = full.look_long(vec![Oracle::of_certainty(Certainty::IfAllSleep, answer)]);
        assert_eq!((sample.blocked, sample.certain), (sleepers, certain));
    }
}

/// The CPU may be with a thread that the look does not ask: one that it leaves out and that was
/// awake, or one that goes from task to task.
#[test]
fn answers_that_hold_if_all_sleep_are_guesses_where_another_thread_runs() {
    let full = Full::new(10);
    let mut sampler = Sampler::new(vec![Oracle::of_certainty(Certainty::IfAllSleep, |_| Some(true))], true);
    let records = full.pool.inner.engine.workers.records();
    for _ in 0..LOOKS {
        let _ = full.look(&mut sampler);
    }
    assert!(full.look(&mut sampler).certain, "all sleep");
    // Eight of the ten are asked.
    records.iter().for_each(|record| record.last_sample.lock().asleep = Some(false));
    let sample = full.look(&mut sampler);
    assert_eq!((sample.blocked, sample.certain), (8, false));
    records.iter().for_each(|record| record.last_sample.lock().asleep = Some(true));
    assert!(full.look(&mut sampler).certain);
    records.first().unwrap().last_sample.lock().started = u64::MAX;
    let sample = full.look(&mut sampler);
    assert_eq!((sample.blocked, sample.certain), (9, false), "one has begun a task just now");
    assert!(full.look(&mut sampler).certain);
}

/// Where clocks lag, the states of the threads say how many use a CPU.
#[test]
fn with_clocks_that_lag_each_thread_that_is_awake_counts_as_a_cpu() {
    let full = Full::new(8);
    for (certain, usage) in [(true, Some((6.0, 0.25))), (false, None)] {
        let answer: Rule = |count| Some(count % 4 == 0);
        let mut sampler = Sampler {
            lag: Duration::from_millis(10),
            ..Sampler::new(vec![Oracle::new(certain, answer)], true)
        };
        full.forget_samples();
        let _ = full.look(&mut sampler);
        let sample = full.look(&mut sampler);
        assert_eq!((sample.blocked, sample.starved), (2, false));
        assert_eq!(sample.usage.map(|usage| (usage.cpus, usage.asleep)), usage);
    }
}

/// More threads than a look asks about: the clocks of all are followed, whichever are asked about.
#[test]
fn clocks_that_lag_show_all_sleepers_before_long() {
    let full = Full::new(12);
    if full.key_of_one().cpu_time().is_none() {
        return;
    }
    let lag = ThreadKey::LAG.max(Duration::from_millis(5));
    let detectors: Vec<Box<dyn Detector>> = vec![Box::new(LaggingClock), Box::new(TimeAlone)];
    let mut sampler = Sampler { lag, ..Sampler::new(detectors, true) };
    full.forget_samples();
    let (begun, mut last) = (Instant::now(), Instant::now());
    eventually("all twelve sleep", || {
        let now = Instant::now();
        let sample = sampler.look(view(&full.pool.inner), now - last);
        last = now;
        let is_early = now - begun < 2 * lag;
        assert!(!is_early || !sample.certain || sample.blocked == 0, "two lags have not passed");
        sample.blocked == 12 && sample.certain
    });
}
