//! Closures that compute: how much of the machine they get.

use std::hint::black_box;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Result;

use super::Scenario;
use crate::peers::{Call, Peer};
use crate::sample::{Meter, Metric, Sample};
use crate::stage::{Crew, Stage};
use crate::system;

/// What it takes to begin and to end a [`burn`]: two halves of a look at the clock, and on average
/// half a look too many.
static OVERRUN: LazyLock<Duration> = LazyLock::new(|| {
    const LOOKS: u32 = 1_000;
    let start = system::thread_cpu();
    for _ in 1..LOOKS {
        black_box(system::thread_cpu());
    }
    (system::thread_cpu() - start) * 3 / (2 * LOOKS)
});

/// Has [`burn`] know its clock, so that the first call is like the others.
pub(super) fn calibrate() {
    LazyLock::force(&OVERRUN);
}

/// Uses so much CPU time, by the clock of its own thread: the same work whatever else the machine
/// does.
pub(super) fn burn(time: Duration) {
    let start = system::thread_cpu();
    let time = time.saturating_sub(*OVERRUN);
    while system::thread_cpu() - start < time {}
}

/// Uses so much CPU time, but none after `end`; gives how much it has used. For times beside which
/// a look at the clock is nothing.
pub(super) fn burn_until(time: Duration, end: &AtomicBool) -> Duration {
    let start = system::thread_cpu();
    loop {
        let used = system::thread_cpu() - start;
        if used >= time || end.load(Relaxed) {
            return used;
        }
    }
}

/// Submits one closure for each of `costs` and awaits all, the last first: to be woken for each
/// would cost the machine as much as the pool itself does.
pub(super) async fn burn_all<P: Peer>(crew: Crew<P>, costs: Vec<Duration>) {
    let calls: Vec<_> = costs.into_iter().map(|cost| crew.spawn(move || burn(cost))).collect();
    for call in calls.into_iter().rev() {
        call.result().await;
    }
}

/// Measures how long `costs` take, beside what they would if all cores did nothing else.
fn makespan<P: Peer>(stage: &Stage<P>, costs: Vec<Duration>) -> Result<Sample> {
    calibrate();
    let ideal = costs.iter().sum::<Duration>() / u32::try_from(num_cpus::get())?;
    let warm_up = costs.iter().copied().take(stage.warm_up).collect();
    stage.driver.run(burn_all(stage.crew, warm_up));
    let meter = Meter::start();
    stage.driver.run(burn_all(stage.crew, costs));
    let reading = meter.stop();
    Ok(reading.sample(stage.tasks, vec![Metric::time("makespan", reading.wall).with_ideal(ideal)]))
}

/// All of the same size.
pub(super) struct Even;

impl Scenario for Even {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        makespan(stage, vec![Duration::from_micros(20); stage.tasks])
    }
}

/// As many between 1 and 2 us as between 5 and 10 ms.
pub(super) struct Sizes;

impl Sizes {
    /// The same in every run.
    fn costs(tasks: usize) -> Vec<Duration> {
        const MICROS: std::ops::Range<f64> = 1.0..10_000.0;
        let mut state = 0_u64;
        let mut share = || {
            // splitmix64
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = state;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (bits ^ (bits >> 31)) as f64 / 2_f64.powi(64)
        };
        let ratio = MICROS.end / MICROS.start;
        (0..tasks).map(|_| Duration::from_secs_f64(MICROS.start * ratio.powf(share()) * 1e-6)).collect()
    }
}

impl Scenario for Sizes {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        makespan(stage, Self::costs(stage.tasks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burning_takes_the_time_it_is_given() {
        const TIMES: u32 = 1_000;
        calibrate();
        let start = system::thread_cpu();
        (0..TIMES).for_each(|_| burn(Duration::from_micros(20)));
        let each = (system::thread_cpu() - start) / TIMES;
        assert!((18_000..24_000).contains(&each.as_nanos()), "{each:?}");
    }

    #[test]
    fn burning_ends_when_it_is_told_to() {
        let (time, end) = (Duration::from_millis(10), AtomicBool::new(false));
        assert!(burn_until(time, &end) >= time);
        end.store(true, Relaxed);
        assert!(burn_until(Duration::from_secs(3_600), &end) < time);
    }

    #[test]
    fn sizes_spread_over_the_range_and_add_up_to_a_second() {
        let costs = Sizes::costs(920);
        assert!(costs.iter().all(|cost| (1..10_000).contains(&cost.as_micros())));
        assert!(costs.iter().filter(|cost| cost.as_micros() < 100).count().abs_diff(460) < 60);
        let total: Duration = costs.iter().sum();
        assert!((0.8..1.2).contains(&total.as_secs_f64()), "{total:?}");
    }
}
