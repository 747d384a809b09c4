//! The goals themselves.

use std::time::Duration;

use super::{Figure, Goal, Place};
use crate::sample::Unit;
use crate::scenarios::{CALLS, STATES};

pub(super) const PER_TASK: &str = "time per task";

impl Goal {
    fn new(case: &str, text: impl Into<String>, limit: f64, figure: Figure) -> Self {
        Self { case: case.to_owned(), text: text.into(), limit, figure }
    }

    /// Ours over the rival's; `words` say the limit.
    fn ratio(case: &str, metric: &'static str, [peer, rival]: [&str; 2], limit: f64, words: &str) -> Self {
        let place = |peer| Place::new(case, metric, peer);
        Self::new(case, format!("{words} {rival}"), limit, Figure::Ratio(place(peer), place(rival)))
    }

    /// Ours over that of the best of some rivals.
    fn best(case: &str, metric: &'static str, ours: &str, rivals: &[&str], limit: f64, text: &str) -> Self {
        let rivals = rivals.iter().map(|&rival| rival.to_owned()).collect();
        Self::new(case, text, limit, Figure::Best(Place::new(case, metric, ours), rivals))
    }

    /// The cost on many workers over that on two.
    fn workers(case: &str, two: &str, limit: f64) -> Self {
        let place = |case| Place::new(case, PER_TASK, "sidestep");
        Self::new(case, format!("<= {limit} x that on 2"), limit, Figure::Ratio(place(case), place(two)))
    }

    fn multiple(case: &str, metric: &'static str, limit: f64) -> Self {
        let figure = Figure::Multiple(Place::new(case, metric, "sidestep"));
        Self::new(case, format!("{metric}: <= {limit} x ideal"), limit, figure)
    }

    fn threads(case: &str, limit: usize) -> Self {
        let figure = Figure::Threads(Place::new(case, PER_TASK, "sidestep"));
        Self::new(case, format!("<= {limit} threads"), limit as f64, figure)
    }

    /// Ours over that of the standard library alone, which nobody can beat.
    fn limit(case: &str, ours: &str, limit: f64, words: &str) -> Self {
        let place = if ours == "sidestep@current" { "@current: " } else { "" };
        Self::ratio(case, PER_TASK, [ours, "std"], limit, &format!("{place}{words}"))
    }

    fn bytes(case: &str, metric: &'static str, limit: usize, text: &str) -> Self {
        let figure = Figure::Value(Place::new(case, metric, "sidestep"), Unit::Bytes);
        Self::new(case, text, limit as f64, figure)
    }

    fn millis(case: &str, metric: &'static str, limit: u64) -> Self {
        let figure = Figure::Value(Place::new(case, metric, "sidestep"), Unit::Nanoseconds);
        let nanos = Duration::from_millis(limit).as_nanos() as f64;
        Self::new(case, format!("{metric}: <= {limit} ms"), nanos, figure)
    }
}

/// All goals, for a machine of so many cores, and beside these older versions of the library.
pub(super) fn goals(cores: usize, baselines: &[String]) -> Vec<Goal> {
    let mut goals = closure_goals(cores);
    goals.extend(state_goals());
    goals.extend(baselines.iter().flat_map(|baseline| baseline_goals(baseline)));
    goals.extend(order_goals());
    goals.extend(lane_goals(cores));
    goals.extend(FLOODS.map(|case| Goal::threads(case, 4 * cores + 1)));
    goals.extend(ramp_goals());
    goals.extend(disk_goals());
    goals.extend(strand_goals());
    goals.extend(RETAINED.map(|case| Goal::ratio(case, "rest", ["sidestep", "tokio"], 1.2, "<= 1.2 x")));
    goals
}

/// From where the calls of the states come: what the names of the entrants end in.
const CALLERS: [&str; 3] = ["", "@current", "@wait"];

/// Whose calls those of the states are compared with.
const CALLED: [&str; 4] = ["tokio", "blocking", "affinitypool", "rayon"];

/// A figure for each kind of call in each of these states, and each caller.
fn in_states(
    states: &[&str],
    calls: &[&str],
    metric: &'static str,
    figure: impl Fn(Place, &str) -> Figure,
) -> Figure {
    let mut figures = Vec::new();
    for state in states {
        for call in calls {
            for caller in CALLERS {
                let case = format!("states_{state}_{call}");
                figures.push(figure(Place::new(&case, metric, &format!("sidestep{caller}")), caller));
            }
        }
    }
    Figure::Each(figures)
}

/// Ours over the best, who is called in the same way.
fn against_the_best(ours: Place, caller: &str) -> Figure {
    Figure::Best(ours, CALLED.iter().map(|rival| format!("{rival}{caller}")).collect())
}

/// Those of calls that are awaited one after the other.
fn state_goals() -> Vec<Goal> {
    let calls = CALLS.map(|call| call.0);
    let mut goals = Vec::new();
    for (state, ..) in STATES {
        for (metric, limit, text) in [
            ("mean", 1.0, "mean: first in each row"),
            ("p99", 1.0, "p99: first in each row"),
            ("p50", 1.1, "p50: <= 1.1 x the best in each row"),
        ] {
            let figure = in_states(&[state], &calls, metric, against_the_best);
            goals.push(Goal::new(&format!("states_{state}"), text, limit, figure));
        }
    }
    let idle = |figure: fn(Place, &str) -> Figure| in_states(&["idle"], &["0us"], "mean", figure);
    let value = |ours, _: &str| Figure::Value(ours, Unit::Nanoseconds);
    let threads = |ours, _: &str| Figure::Threads(ours);
    let affinitypool = |ours: Place, caller: &str| {
        let theirs = ours.of(&format!("affinitypool{caller}"));
        Figure::Ratio(ours, theirs)
    };
    goals.extend([
        Goal::new("states_idle_0us", "mean: <= 1.5 us", 1_500.0, idle(value)),
        Goal::new("states_idle_0us", "mean: <= 1/15 of the best", 1.0 / 15.0, idle(against_the_best)),
        Goal::new("states_idle_0us", "1 thread", 1.0, idle(threads)),
        Goal::new(
            "states_hog1_0us",
            "mean: <= 1.05 x affinitypool",
            1.05,
            in_states(&["hog1"], &["0us"], "mean", affinitypool),
        ),
    ]);
    goals
}

/// What no change may cost that is beside an older version of the library.
fn baseline_goals(baseline: &str) -> Vec<Goal> {
    let before = |ours: Place, _: &str| {
        let theirs = ours.of(&format!("{}@{baseline}", ours.peer));
        Figure::Ratio(ours, theirs)
    };
    let text = format!("mean: <= 1.02 x {baseline}");
    let states = STATES.map(|state| state.0);
    let mut goals =
        vec![Goal::new("states, 50us", text.clone(), 1.02, in_states(&states, &["50us"], "mean", before))];
    for busy in ["hog1", "hog2"] {
        let figure = in_states(&[busy], &CALLS.map(|call| call.0), "mean", before);
        goals.push(Goal::new(&format!("states_{busy}"), text.clone(), 1.02, figure));
    }
    goals
}

/// Those of closures that are awaited in the order of their submission.
fn order_goals() -> Vec<Goal> {
    let of = |case| {
        let best = |ours, rivals: &[&str], text| Goal::best(case, "makespan", ours, rivals, 1.05, text);
        [
            best(
                "sidestep",
                &["tokio", "tokio-cores", "blocking", "blocking-cores", "affinitypool", "rayon"],
                "makespan: <= 1.05 x the best",
            ),
            best(
                "sidestep@current",
                &["tokio@current", "blocking@current", "affinitypool@current", "rayon@current"],
                "makespan: <= 1.05 x the best @current",
            ),
        ]
    };
    ["in_order_5us", "in_order_20us", "in_order_100us"].into_iter().flat_map(of).collect()
}

/// Lanes that are full of computations, and how many run in each.
const LANES: [(&str, usize); 6] = [
    ("behind_lane_1_10ms", 1),
    ("behind_lane_2_10ms", 2),
    ("behind_lane_2_50ms", 2),
    ("behind_lane_4_50ms", 4),
    ("behind_lane_4_200ms", 4),
    ("behind_lane_8_1000ms", 8),
];

/// Those of short calls beside a lane that computes.
fn lane_goals(cores: usize) -> Vec<Goal> {
    let of = |(case, limit)| {
        [
            Goal::millis(case, "p50", 1),
            Goal::millis(case, "p90", 15),
            Goal::ratio(case, "p90", ["sidestep", "tokio"], 1.2, "p90: <= 1.2 x"),
            Goal::threads(case, limit + 2 * cores),
        ]
    };
    LANES.into_iter().flat_map(of).collect()
}

/// Computations submitted at once.
const FLOODS: [&str; 9] = [
    "behind_flood_1x_50ms",
    "behind_flood_2x_50ms",
    "behind_flood_4x_50ms",
    "behind_flood_1x_200ms",
    "behind_flood_2x_200ms",
    "behind_flood_4x_200ms",
    "behind_flood_1x_4000ms",
    "behind_flood_2x_4000ms",
    "behind_flood_4x_4000ms",
];

/// Calls that block, for a peer that has just started.
const RAMPS: [&str; 10] = [
    "ramp_5ms/50",
    "ramp_5ms/200",
    "ramp_5ms/500",
    "ramp_20ms/50",
    "ramp_20ms/200",
    "ramp_20ms/500",
    "ramp_200ms/50",
    "ramp_200ms/200",
    "ramp_200ms/500",
    "ramp_1ms/2000",
];

/// Bursts of reads, and what stays resident afterwards.
const RETAINED: [&str; 4] = ["retained_4mib", "retained_fs_4mib", "retained_64kib", "retained_fs_64kib"];

/// Those of pools that have just started.
fn ramp_goals() -> Vec<Goal> {
    let of = |case| {
        [("sidestep", "<= 1.2 x"), ("sidestep-time", "sidestep-time: <= 1.2 x")]
            .map(|(ours, words)| Goal::ratio(case, "fresh", [ours, "tokio"], 1.2, words))
    };
    RAMPS.into_iter().flat_map(of).collect()
}

/// Those of the calls of files.
fn disk_goals() -> Vec<Goal> {
    let mut goals = Vec::new();
    for case in ["read_file", "write_file"] {
        for [ours, tokio, async_fs] in
            [["sidestep", "tokio", "async-fs"], ["sidestep@current", "tokio@current", "async-fs@current"]]
        {
            let limit = if case == "read_file" { 1.18 } else { 1.15 };
            goals.push(Goal::limit(case, ours, limit, &format!("<= {limit} x")));
            goals.push(Goal::ratio(case, PER_TASK, [ours, tokio], 1.0, "<="));
            goals.push(Goal::ratio(case, PER_TASK, [ours, async_fs], 1.0, "<="));
        }
    }
    for tokio in [["sidestep", "tokio"], ["sidestep@current", "tokio@current"]] {
        goals.push(Goal::ratio("small_files", PER_TASK, tokio, 0.5, "<= 0.5 x"));
    }
    goals.extend([
        Goal::limit("directory", "sidestep", 1.3, "<= 1.3 x"),
        Goal::limit("directory", "sidestep@current", 1.3, "<= 1.3 x"),
        Goal::ratio("directory", PER_TASK, ["sidestep", "sidestep-each"], 0.2, "<= 1/5 of"),
        Goal::bytes("handles", "Unblock, new", 1_024, "Unblock, new: <= 1 KiB"),
        Goal::bytes("handles", "Unblock, one piece read", 65 << 10, "Unblock, one piece read: <= 65 KiB"),
    ]);
    goals
}

/// Those of a value that one closure at a time may use.
fn strand_goals() -> Vec<Goal> {
    let of = |case| {
        [["strand", "owner-thread"], ["strand@current", "owner-thread@current"]]
            .map(|pair| Goal::ratio(case, PER_TASK, pair, 0.95, "<= 0.95 x"))
    };
    ["strand_serial", "strand_clients", "strand_burst"].into_iter().flat_map(of).collect()
}

/// Those of closures.
fn closure_goals(cores: usize) -> Vec<Goal> {
    let mut goals = flood_goals(cores);
    goals.extend(latency_goals());
    goals.extend(limited_goals());
    goals
}

/// Pools that never have more threads than there are cores.
const CAPPED: [&str; 5] = ["tokio-cores", "blocking-cores", "affinitypool", "rayon", "threadpool"];

/// Those of many closures at once.
fn flood_goals(cores: usize) -> Vec<Goal> {
    let tokio = ["sidestep", "tokio"];
    let affinitypool = ["sidestep", "affinitypool"];
    vec![
        Goal::ratio("burst", PER_TASK, tokio, 1.0 / 12.0, "<= 1/12 of"),
        Goal::ratio("burst", PER_TASK, affinitypool, 0.9, "<= 0.9 x"),
        Goal::threads("burst", cores.max(2) + 1),
        Goal::ratio("window", PER_TASK, tokio, 1.0 / 6.0, "<= 1/6 of"),
        Goal::ratio("window", PER_TASK, affinitypool, 1.05, "<= 1.05 x"),
        Goal::ratio("producers/4", PER_TASK, tokio, 1.0 / 15.0, "<= 1/15 of"),
        Goal::ratio("producers/4", PER_TASK, affinitypool, 0.8, "<= 0.8 x"),
        Goal::ratio("nested", PER_TASK, tokio, 0.25, "<= 1/4 of"),
        Goal::ratio("nested", PER_TASK, affinitypool, 1.0, "<="),
        Goal::ratio("submit", "submit", affinitypool, 0.5, "<= 0.5 x"),
        Goal::multiple("cpu20", "makespan", 1.04),
        Goal::ratio("files", PER_TASK, tokio, 0.23, "<= 0.23 x"),
        Goal::best(
            "files",
            PER_TASK,
            "sidestep",
            &CAPPED,
            1.0,
            "<= the best pool of as many threads as cores",
        ),
        Goal::bytes("bytes", "heap per task", 112, "<= 112 bytes"),
        Goal::workers("burst_workers/64", "burst_workers/2", 1.1),
        Goal::workers("burst_workers/512", "burst_workers/2", 1.3),
        Goal::workers("window_workers/64", "window_workers/2", 1.1),
        Goal::workers("window_workers/512", "window_workers/2", 1.3),
    ]
}

/// Those of calls that somebody waits for.
fn latency_goals() -> Vec<Goal> {
    let tokio = ["sidestep", "tokio"];
    let current = ["sidestep@current", "tokio@current"];
    let fresh = Place::new("sleepers", "fresh", "sidestep");
    vec![
        Goal::ratio("serial", PER_TASK, tokio, 0.7, "<= 0.7 x"),
        Goal::ratio("serial", PER_TASK, current, 0.7, "<= 0.7 x"),
        Goal::threads("serial", 2),
        Goal::ratio("spaced", "p50", tokio, 0.5, "p50: <= 0.5 x"),
        Goal::ratio("spaced", "p50", current, 0.5, "p50: <= 0.5 x"),
        Goal::new(
            "sleepers",
            "fresh: <= 1.15 x (start + ideal)",
            1.15,
            Figure::AfterFloor(fresh, "start 512 threads"),
        ),
        Goal::multiple("sleepers", "warm", 1.5),
        Goal::ratio("mixed", "p99", ["sidestep", "tokio-sharded"], 0.5, "p99: <= 0.5 x"),
        // The watch itself uses most of what there is to see.
        Goal::ratio("idle", "CPU", tokio, 1.02, "<= 1.02 x"),
    ]
}

/// Those of calls of which only a few may run at a time.
fn limited_goals() -> Vec<Goal> {
    let tokio = ["sidestep", "tokio"];
    let current = ["sidestep@current", "tokio@current"];
    vec![
        Goal::ratio("limited", PER_TASK, tokio, 1.0, "<="),
        Goal::ratio("limited", PER_TASK, current, 1.0, "<="),
        Goal::ratio("limited_naps", PER_TASK, tokio, 1.0, "<="),
        Goal::threads("limited_naps", 4),
        Goal::ratio("limited_clients", PER_TASK, tokio, 1.0, "<="),
        Goal::ratio("limited_clients", PER_TASK, current, 1.0, "<="),
        Goal::ratio("limited_bytes", "heap per call", tokio, 1.0, "call: <="),
        Goal::ratio("limited_bytes", "heap per client", tokio, 1.0, "client: <="),
        Goal::bytes("limited_bytes", "heap per client", 360, "client: <= 360 bytes"),
    ]
}
