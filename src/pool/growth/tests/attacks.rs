//! Attacks on simulated pools, and on the policy, that are in vain.

use super::mixes::{SECOND, compute, quantile};
use super::simulation::{Simulated, Work, limits};
use super::*;

/// Longer than any simulation.
const FOR_EVER: u64 = 1_000 * SECOND;

#[test]
fn short_calls_pass_a_lane_that_computes_beside_threads_blocked_for_ever() {
    let mut found = Vec::new();
    for (cpus, core) in [(2, 2), (8, 8)] {
        for blocked in [1, 4, 40] {
            for (limit, millis) in [(core, 5), (core, 10), (core, 50), (2 * core, 20), (4 * core, 20)] {
                let mut pool = Simulated::new(limits(core), cpus, 0, compute(0)).coarse().with_calls(20_000);
                pool = pool
                    .with_lane(limit as u64, u64::MAX, compute(millis))
                    .behind(blocked, Work::new(1, FOR_EVER));
                pool.run(true, |pool| pool.now >= 5 * SECOND);
                let (median, most) = (quantile(&mut pool, 50), quantile(&mut pool, 90));
                let threads = pool.threads() - blocked as usize;
                if median > 1_000 || most > 15_000 || threads > limit + 2 * core {
                    found.push(format!(
                        "{cpus} CPUs, {blocked} blocked, a lane of {limit}, {millis} ms: {median} / {most} us, {threads} threads, {:?}",
                        pool.steps
                    ));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn by_time_alone_computations_that_block_now_and_then_do_not_multiply() {
    let mut found = Vec::new();
    for (cpus, core) in [(2, 2), (8, 8), (64, 64)] {
        for (cpu, sleep) in [(50_000, 5_000), (50_000, 20_000), (9_000, 1_000), (20_000, 3_000)] {
            let work = Work { rounds: 10, ..Work::new(cpu, sleep) };
            let mut pool = Simulated::new(limits(core), cpus, 2_000, work).coarse().by_time_alone();
            pool.run(true, |pool| pool.now >= 5 * SECOND || pool.queued() == 0);
            if pool.threads() > 8 * core {
                found.push(format!(
                    "{} threads, {cpus} CPUs, {cpu}/{sleep} us: {:?}",
                    pool.threads(),
                    pool.steps
                ));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// No sample at all makes the policy panic or break its limits.
#[test]
fn any_sample_at_all() {
    let mut seed = 1_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let durations = [0, 1, 999, 250_000, 500_000, 1_000_000, 10_000_000, 4_000_000_000, u64::MAX];
    for _ in 0..300 {
        let core = 1 + random(8) as usize;
        let limits = Limits { core, max: core + random(600) as usize, cpus: 1 + random(9) as usize };
        let mut state = State::new();
        for _ in 0..1_000 {
            let mut some = || random(if core.is_multiple_of(2) { 20 } else { 700 }) as usize;
            let [threads, starting, idle, declared, blocked, occupied, in_lanes, long] =
                std::array::from_fn(|_| some());
            let [searching, delivering] = [some() / 300, some() / 300];
            let mut flag = || random(2) == 0;
            let [outside, calls, starved, certain, stuck, refused] = std::array::from_fn(|_| flag());
            let fresh = flag().then_some(Fresh { threads: occupied, blocked: long });
            let time = |index: u64| Duration::from_nanos(durations[index as usize]);
            let sample = Sample {
                elapsed: time(random(8)),
                queued: [0, 1, 100, u64::MAX][random(4) as usize],
                completed: [0, 0, 1, u64::from(u32::MAX) + 1][random(4) as usize],
                threads,
                starting,
                idle: if random(3) > 0 { 0 } else { idle },
                declared: if random(3) > 0 { 0 } else { declared },
                blocked,
                outside,
                fresh,
                occupied,
                in_lanes,
                long,
                calls,
                waited: time(random(9)),
                starved,
                certain,
                spare: [0, 2, 4, u32::MAX][random(4) as usize],
                searching,
                delivering,
                stuck,
                usage: certain.then_some(Usage { cpus: random(9) as f64, asleep: random(2) as f64 }),
                refused,
            };
            let verdict;
            (state, verdict) = decide(limits, state, &sample);
            if let Verdict::Grow(more, _) = verdict {
                assert!(
                    more > 0 && threads + starting + more <= limits.max,
                    "{limits:?} {sample:?} {verdict:?}"
                );
            }
        }
    }
}
