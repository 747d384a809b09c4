//! What the library is meant to reach, and whether a run shows it.

use std::time::Duration;

use crate::report::{Key, Report};
use crate::sample::Unit;
use crate::stats::Spread;

/// How a goal is measured.
enum Figure {
    /// Ours over theirs, pair by pair.
    Ratio(Key<'static>, Key<'static>),
    /// The figure itself, in its unit.
    Value(Key<'static>, Unit),
    /// The figure over its ideal.
    Multiple(Key<'static>),
    /// How many threads ran closures.
    Threads(Key<'static>),
}

/// One goal: the figure is to be no more than the limit.
pub(crate) struct Goal {
    case: &'static str,
    text: String,
    limit: f64,
    figure: Figure,
}

/// A goal, held against a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) case: &'static str,
    pub(crate) goal: String,
    /// `None` if the run did not measure it.
    pub(crate) figure: Option<Spread>,
    /// That of the figure, where it has one.
    pub(crate) unit: Option<Unit>,
    pub(crate) met: bool,
}

impl Goal {
    /// Ours over the rival's; `words` say the limit.
    fn ratio(
        case: &'static str,
        metric: &'static str,
        [peer, rival]: [&'static str; 2],
        limit: f64,
        words: &str,
    ) -> Self {
        let key = |peer| Key { case, metric, peer };
        Self { case, text: format!("{words} {rival}"), limit, figure: Figure::Ratio(key(peer), key(rival)) }
    }

    /// The cost on many workers over that on two.
    fn workers(case: &'static str, two: &'static str, limit: f64) -> Self {
        let key = |case| Key { case, metric: PER_TASK, peer: "sidestep" };
        Self {
            case,
            text: format!("<= {limit} x that on 2"),
            limit,
            figure: Figure::Ratio(key(case), key(two)),
        }
    }

    fn multiple(case: &'static str, metric: &'static str, limit: f64) -> Self {
        let figure = Figure::Multiple(Key { case, metric, peer: "sidestep" });
        Self { case, text: format!("{metric}: <= {limit} x ideal"), limit, figure }
    }

    fn threads(case: &'static str, limit: usize) -> Self {
        let figure = Figure::Threads(Key { case, metric: PER_TASK, peer: "sidestep" });
        Self { case, text: format!("<= {limit} threads"), limit: limit as f64, figure }
    }

    /// Ours over that of the standard library alone, which nobody can beat.
    fn limit(case: &'static str, ours: &'static str, limit: f64, words: &str) -> Self {
        let place = if ours == "sidestep@current" { "@current: " } else { "" };
        Self::ratio(case, PER_TASK, [ours, "std"], limit, &format!("{place}{words}"))
    }

    fn bytes(case: &'static str, metric: &'static str, limit: usize, text: &str) -> Self {
        let figure = Figure::Value(Key { case, metric, peer: "sidestep" }, Unit::Bytes);
        Self { case, text: text.to_owned(), limit: limit as f64, figure }
    }

    fn millis(case: &'static str, metric: &'static str, limit: u64) -> Self {
        let figure = Figure::Value(Key { case, metric, peer: "sidestep" }, Unit::Nanoseconds);
        let text = format!("{metric}: <= {limit} ms");
        Self { case, text, limit: Duration::from_millis(limit).as_nanos() as f64, figure }
    }

    fn judge(self, report: &Report) -> Verdict {
        let flat = |figures: Vec<Option<f64>>| Spread::of(figures.into_iter().flatten());
        let figure = match self.figure {
            Figure::Ratio(ours, theirs) => Spread::of_ratios(&report.values(ours), &report.values(theirs)),
            Figure::Value(key, _) => flat(report.values(key)),
            Figure::Multiple(key) => flat(report.multiples(key)),
            Figure::Threads(key) => flat(report.threads(key)),
        };
        let unit = if let Figure::Value(_, unit) = self.figure { Some(unit) } else { None };
        let met = figure.is_some_and(|figure| figure.median <= self.limit);
        Verdict { case: self.case, goal: self.text, figure, unit, met }
    }
}

const PER_TASK: &str = "time per task";

/// All goals, for a machine of so many cores.
fn goals(cores: usize) -> Vec<Goal> {
    let mut goals = closure_goals(cores);
    goals.extend(lane_goals(cores));
    goals.extend(FLOODS.map(|case| Goal::threads(case, 4 * cores + 1)));
    goals.extend(ramp_goals());
    goals.extend(disk_goals());
    goals.extend(RETAINED.map(|case| Goal::ratio(case, "rest", ["sidestep", "tokio"], 1.2, "<= 1.2 x")));
    goals
}

/// Bursts of reads, and what stays resident afterwards.
const RETAINED: [&str; 4] = ["retained_4mib", "retained_fs_4mib", "retained_64kib", "retained_fs_64kib"];

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
            goals.push(Goal::limit(case, ours, 1.0 / 0.85, "<= 1/0.85 x"));
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

/// Those of closures.
fn closure_goals(cores: usize) -> Vec<Goal> {
    let tokio = ["sidestep", "tokio"];
    let current = ["sidestep@current", "tokio@current"];
    let affinitypool = ["sidestep", "affinitypool"];
    vec![
        Goal::ratio("burst", PER_TASK, tokio, 1.0 / 12.0, "<= 1/12 of"),
        Goal::ratio("burst", PER_TASK, affinitypool, 1.0, "<="),
        Goal::threads("burst", cores.max(2) + 1),
        Goal::ratio("window", PER_TASK, tokio, 1.0 / 6.0, "<= 1/6 of"),
        Goal::ratio("window", PER_TASK, affinitypool, 1.0, "<="),
        Goal::ratio("producers/4", PER_TASK, tokio, 1.0 / 15.0, "<= 1/15 of"),
        Goal::ratio("producers/4", PER_TASK, affinitypool, 1.0, "<="),
        Goal::ratio("nested", PER_TASK, tokio, 0.25, "<= 1/4 of"),
        Goal::ratio("nested", PER_TASK, affinitypool, 1.0, "<="),
        Goal::ratio("serial", PER_TASK, tokio, 0.7, "<= 0.7 x"),
        Goal::ratio("serial", PER_TASK, current, 0.7, "<= 0.7 x"),
        Goal::threads("serial", 2),
        Goal::ratio("spaced", "p50", tokio, 0.8, "<= 0.8 x"),
        Goal::ratio("spaced", "p50", current, 0.8, "<= 0.8 x"),
        Goal::multiple("sleepers", "fresh", 1.5),
        Goal::multiple("sleepers", "warm", 1.5),
        Goal::ratio("mixed", "p99", ["sidestep", "tokio-sharded"], 0.5, "p99: <= 0.5 x"),
        Goal::multiple("cpu20", "makespan", 1.08),
        Goal::ratio("files", PER_TASK, tokio, 0.45, "<= 0.45 x"),
        Goal::bytes("bytes", "heap per task", 200, "<= 200 bytes"),
        // The watch itself uses most of what there is to see.
        Goal::ratio("idle", "CPU", tokio, 1.02, "<= 1.02 x"),
        Goal::ratio("submit", "submit", affinitypool, 0.6, "<= 0.6 x"),
        Goal::ratio("limited", PER_TASK, tokio, 1.0, "<="),
        Goal::ratio("limited", PER_TASK, current, 1.0, "<="),
        Goal::ratio("limited_naps", PER_TASK, tokio, 1.0, "<="),
        Goal::threads("limited_naps", 4),
        Goal::ratio("limited_clients", PER_TASK, tokio, 1.0, "<="),
        Goal::ratio("limited_clients", PER_TASK, current, 1.0, "<="),
        Goal::ratio("limited_bytes", "heap per call", tokio, 1.0, "call: <="),
        Goal::ratio("limited_bytes", "heap per client", tokio, 1.0, "client: <="),
        Goal::workers("burst_workers/64", "burst_workers/2", 1.1),
        Goal::workers("burst_workers/512", "burst_workers/2", 1.3),
        Goal::workers("window_workers/64", "window_workers/2", 1.1),
        Goal::workers("window_workers/512", "window_workers/2", 1.3),
    ]
}

/// Holds all goals against `report`.
pub(crate) fn judge(report: &Report) -> Vec<Verdict> {
    goals(report.host.cores).into_iter().map(|goal| goal.judge(report)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    fn verdict(report: &Report, case: &str, goal: &str) -> Verdict {
        judge(report).into_iter().find(|verdict| verdict.case == case && verdict.goal == goal).unwrap()
    }

    #[test]
    fn a_ratio_is_that_of_the_pairs() {
        let report = example("burst", PER_TASK, &[("sidestep", &[10.0, 50.0]), ("tokio", &[200.0, 1_000.0])]);
        let verdict = verdict(&report, "burst", "<= 1/12 of tokio");
        assert!(verdict.met);
        assert_eq!(verdict.figure.unwrap().most, 0.05);
    }

    #[test]
    fn a_goal_can_be_missed() {
        let report = example(
            "burst",
            PER_TASK,
            &[("sidestep", &[10.0]), ("tokio", &[100.0]), ("affinitypool", &[10.0])],
        );
        assert!(!verdict(&report, "burst", "<= 1/12 of tokio").met);
        assert!(verdict(&report, "burst", "<= affinitypool").met);
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        let report = example("burst", PER_TASK, &[("tokio", &[100.0])]);
        let verdict = verdict(&report, "burst", "<= 1/12 of tokio");
        assert_eq!((verdict.figure, verdict.met), (None, false));
    }

    #[test]
    fn multiples_and_threads_are_read_from_the_same_runs() {
        let report = example("cpu20", "makespan", &[("sidestep", &[104.0, 112.0, 106.0])]);
        assert!(verdict(&report, "cpu20", "makespan: <= 1.08 x ideal").met);
        let report = example("serial", PER_TASK, &[("sidestep", &[1.0])]);
        assert!(!verdict(&report, "serial", "<= 2 threads").met);
    }

    #[test]
    fn a_time_is_held_against_milliseconds() {
        let report = example("behind_lane_1_10ms", "p90", &[("sidestep", &[14e6]), ("tokio", &[10e6])]);
        let time = verdict(&report, "behind_lane_1_10ms", "p90: <= 15 ms");
        assert_eq!((time.met, time.unit), (true, Some(Unit::Nanoseconds)));
        let ratio = verdict(&report, "behind_lane_1_10ms", "p90: <= 1.2 x tokio");
        assert_eq!((ratio.met, ratio.unit), (false, None));
    }

    #[test]
    fn every_goal_is_about_a_case_and_peers_that_exist() {
        let cases = crate::scenarios::cases();
        for goal in goals(2) {
            let case = cases.iter().find(|case| case.name == goal.case).unwrap();
            let names: Vec<_> = case.entrants().iter().map(|entrant| entrant.name).collect();
            let keys = match goal.figure {
                Figure::Ratio(ours, theirs) => vec![ours, theirs],
                Figure::Value(key, _) | Figure::Multiple(key) | Figure::Threads(key) => vec![key],
            };
            assert!(keys.iter().all(|key| names.contains(&key.peer)), "{}", goal.text);
        }
    }

    #[test]
    fn the_groups_have_their_goals_for_each_case() {
        let goals = goals(2);
        for case in crate::scenarios::cases().iter().filter(|case| case.group.is_some()) {
            assert!(goals.iter().any(|goal| goal.case == case.name), "{}", case.name);
        }
    }
}
