//! What the library is meant to reach, and whether a run shows it.

mod list;

use std::collections::BTreeSet;

use crate::entrants::MACHINE;
use crate::report::{Key, Report};
use crate::sample::Unit;
use crate::stats::Spread;

/// Where a figure stands, by names of its own.
#[derive(Clone, Debug)]
struct Place {
    case: String,
    metric: &'static str,
    peer: String,
}

impl Place {
    fn new(case: &str, metric: &'static str, peer: &str) -> Self {
        Self { case: case.to_owned(), metric, peer: peer.to_owned() }
    }

    fn key(&self) -> Key<'_> {
        Key { case: &self.case, metric: self.metric, peer: &self.peer }
    }

    /// The same figure of another.
    fn of(&self, peer: &str) -> Self {
        Self { peer: peer.to_owned(), ..self.clone() }
    }
}

/// How a goal is measured.
#[derive(Debug)]
enum Figure {
    /// Ours over theirs, pair by pair.
    Ratio(Place, Place),
    /// Ours over that of the one among the rivals who has the least median, pair by pair.
    Best(Place, Vec<String>),
    /// The figure itself, in its unit.
    Value(Place, Unit),
    /// The figure over its ideal.
    Multiple(Place),
    /// The figure over its ideal and what comes before that, which `floor` measures in the same
    /// round.
    AfterFloor(Place, &'static str),
    /// How many threads ran closures.
    Threads(Place),
    /// The worst of several.
    Each(Vec<Figure>),
}

/// A figure in all rounds, and what a reader should know besides.
struct Sight {
    spread: Spread,
    note: String,
}

impl Figure {
    /// `None` if the run did not measure it.
    fn look(&self, report: &Report, limit: f64) -> Option<Sight> {
        let flat = |figures: Vec<Option<f64>>| Spread::of(figures.into_iter().flatten());
        let ratio = |ours: &Place, theirs: &Place| {
            Spread::of_ratios(&report.values(ours.key()), &report.values(theirs.key()))
        };
        let mut note = String::new();
        let spread = match self {
            Self::Ratio(ours, theirs) => ratio(ours, theirs)?,
            Self::Best(ours, rivals) => {
                let median = |rival: &String| {
                    let theirs = ours.of(rival);
                    Some((flat(report.values(theirs.key()))?.median, theirs))
                };
                let medians = rivals.iter().filter_map(median);
                let (_, best) = medians.min_by(|(one, _), (other, _)| one.total_cmp(other))?;
                note = format!("the best: {}", best.peer);
                ratio(ours, &best)?
            }
            Self::Value(place, _) => flat(report.values(place.key()))?,
            Self::Multiple(place) => flat(report.multiples(place.key()))?,
            Self::AfterFloor(place, step) => {
                let floor = report.values(Key { case: "floor", metric: step, peer: MACHINE });
                let (values, ideals) = (report.values(place.key()), report.ideals(place.key()));
                let sums: Vec<_> =
                    floor.iter().zip(&ideals).map(|(floor, ideal)| Some((*floor)? + (*ideal)?)).collect();
                Spread::of_ratios(&values, &sums)?
            }
            Self::Threads(place) => flat(report.threads(place.key()))?,
            Self::Each(figures) => return worst(figures, report, limit),
        };
        Some(Sight { spread, note })
    }

    /// Whose figure it is.
    fn place(&self) -> Option<&Place> {
        match self {
            Self::Ratio(place, _)
            | Self::Best(place, _)
            | Self::Value(place, _)
            | Self::Multiple(place)
            | Self::AfterFloor(place, _)
            | Self::Threads(place) => Some(place),
            Self::Each(figures) => figures.first()?.place(),
        }
    }

    /// The unit of the figure, where it has one.
    fn unit(&self) -> Option<Unit> {
        match self {
            Self::Value(_, unit) => Some(*unit),
            Self::Each(figures) => figures.first()?.unit(),
            _ => None,
        }
    }

    /// All cases that it is about.
    fn cases(&self) -> BTreeSet<&str> {
        match self {
            Self::Each(figures) => figures.iter().flat_map(Self::cases).collect(),
            Self::AfterFloor(place, _) => BTreeSet::from([place.case.as_str(), "floor"]),
            one => one.place().into_iter().map(|place| place.case.as_str()).collect(),
        }
    }
}

/// That with the highest median, of those that were measured.
fn worst(figures: &[Figure], report: &Report, limit: f64) -> Option<Sight> {
    let sight = |figure: &Figure| Some((figure.place()?.clone(), figure.look(report, limit)?));
    let sights: Vec<_> = figures.iter().filter_map(sight).collect();
    let (all, met) = (sights.len(), sights.iter().filter(|(_, one)| one.spread.median <= limit).count());
    let by_median = |(_, one): &(Place, Sight), (_, other): &(Place, Sight)| {
        one.spread.median.total_cmp(&other.spread.median)
    };
    let (place, worst) = sights.into_iter().max_by(by_median)?;
    let best = if worst.note.is_empty() { String::new() } else { format!(", {}", worst.note) };
    let note = format!("{met} of {all} rows; the worst: {} {}{best}", place.case, place.peer);
    Some(Sight { note, ..worst })
}

/// One goal: the figure is to be no more than the limit.
#[derive(Debug)]
struct Goal {
    /// The case, or the start of the names of several.
    case: String,
    text: String,
    limit: f64,
    figure: Figure,
}

/// A goal, held against a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) case: String,
    pub(crate) goal: String,
    /// `None` if the run did not measure it.
    pub(crate) figure: Option<Spread>,
    /// That of the figure, where it has one.
    pub(crate) unit: Option<Unit>,
    /// What a reader should know of the figure.
    pub(crate) note: String,
    pub(crate) met: bool,
    /// The run had its cases, or some of them.
    pub(crate) asked: bool,
}

impl Goal {
    fn judge(self, report: &Report) -> Verdict {
        let (sight, unit) = (self.figure.look(report, self.limit), self.figure.unit());
        let met = sight.as_ref().is_some_and(|sight| sight.spread.median <= self.limit);
        let cases = self.figure.cases();
        let asked = report.cases.iter().any(|case| cases.contains(case.name.as_str()));
        let (figure, note) = sight.map_or((None, String::new()), |sight| (Some(sight.spread), sight.note));
        Verdict { case: self.case, goal: self.text, figure, unit, note, met, asked }
    }
}

/// Holds all goals against `report`.
pub(crate) fn judge(report: &Report) -> Vec<Verdict> {
    let goals = list::goals(report.host.cores, &report.baselines);
    goals.into_iter().map(|goal| goal.judge(report)).collect()
}

#[cfg(test)]
mod tests {
    use super::list::{PER_TASK, goals};
    use super::*;
    use crate::report::example;
    use crate::scenarios::Case;

    fn verdict(report: &Report, case: &str, goal: &str) -> Verdict {
        judge(report).into_iter().find(|verdict| verdict.case == case && verdict.goal == goal).unwrap()
    }

    #[test]
    fn a_ratio_is_that_of_the_pairs() {
        let report = example("burst", PER_TASK, &[("sidestep", &[10.0, 50.0]), ("tokio", &[200.0, 1_000.0])]);
        let verdict = verdict(&report, "burst", "<= 1/12 of tokio");
        assert!(verdict.met && verdict.asked);
        assert_eq!(verdict.figure.unwrap().most, 0.05);
    }

    #[test]
    fn a_goal_can_be_missed() {
        let report = example(
            "burst",
            PER_TASK,
            &[("sidestep", &[10.0]), ("tokio", &[100.0]), ("affinitypool", &[12.0])],
        );
        assert!(!verdict(&report, "burst", "<= 1/12 of tokio").met);
        assert!(verdict(&report, "burst", "<= 0.9 x affinitypool").met);
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        let report = example("burst", PER_TASK, &[("tokio", &[100.0])]);
        let of_burst = verdict(&report, "burst", "<= 1/12 of tokio");
        assert_eq!((of_burst.figure, of_burst.met, of_burst.asked), (None, false, true));
        assert!(!verdict(&report, "window", "<= 1/6 of tokio").asked);
    }

    #[test]
    fn multiples_and_threads_are_read_from_the_same_runs() {
        let report = example("cpu20", "makespan", &[("sidestep", &[103.0, 112.0, 104.0])]);
        assert!(verdict(&report, "cpu20", "makespan: <= 1.04 x ideal").met);
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
    fn the_best_is_the_one_with_the_least_median() {
        // By the round, rayon would be best in two of three.
        let peers: [(&str, &[f64]); 3] = [
            ("sidestep", &[10.0, 10.0, 30.0]),
            ("tokio", &[20.0, 20.0, 20.0]),
            ("rayon", &[19.0, 90.0, 90.0]),
        ];
        let report = example("in_order_20us", "makespan", &peers);
        let verdict = verdict(&report, "in_order_20us", "makespan: <= 1.05 x the best");
        assert_eq!((verdict.figure.unwrap().median, verdict.met), (0.5, true));
        assert_eq!(verdict.note, "the best: tokio");
    }

    #[test]
    fn the_worst_row_speaks_for_all() {
        let row = |case, ours: &[f64]| {
            example(case, "mean", &[("sidestep", ours), ("tokio", &[100.0]), ("rayon", &[200.0])])
        };
        let mut report = row("states_hog1_0us", &[50.0]);
        let mut other = row("states_hog1_20us", &[130.0]);
        report.cases.append(&mut other.cases);
        report.records.append(&mut other.records);
        let verdict = verdict(&report, "states_hog1", "mean: first in each row");
        assert_eq!((verdict.figure.unwrap().median, verdict.met), (1.3, false));
        assert_eq!(verdict.note, "1 of 2 rows; the worst: states_hog1_20us sidestep, the best: tokio");
    }

    #[test]
    fn what_a_fresh_pool_needs_is_held_against_the_floor() {
        let mut report = example("sleepers", "fresh", &[("sidestep", &[330.0])]);
        // The ideal of an example is 100.
        let mut floor = example("floor", "start 512 threads", &[(MACHINE, &[200.0])]);
        assert_eq!(verdict(&report, "sleepers", "fresh: <= 1.15 x (start + ideal)").figure, None);
        report.records.append(&mut floor.records);
        let verdict = verdict(&report, "sleepers", "fresh: <= 1.15 x (start + ideal)");
        assert!((verdict.figure.unwrap().median - 1.1).abs() < 1e-9 && verdict.met);
    }

    #[test]
    fn a_baseline_has_goals_of_its_own() {
        let peers: [(&str, &[f64]); 2] = [("sidestep", &[103.0]), ("sidestep@1a2b3c4", &[100.0])];
        let mut report = example("states_hog1_50us", "mean", &peers);
        let count = judge(&report).len();
        report.baselines.push("1a2b3c4".to_owned());
        assert!(judge(&report).len() > count);
        let of = |case, goal| verdict(&report, case, goal).met;
        assert!(!of("states, 50us", "mean: <= 1.02 x 1a2b3c4"));
        assert!(!of("states_hog1", "mean: <= 1.02 x 1a2b3c4"));
    }

    /// All that a figure compares.
    fn places(figure: &Figure) -> Vec<Place> {
        match figure {
            Figure::Ratio(ours, theirs) => vec![ours.clone(), theirs.clone()],
            Figure::Best(ours, rivals) => {
                assert!(!rivals.is_empty(), "{ours:?}");
                rivals.iter().map(|rival| ours.of(rival)).chain([ours.clone()]).collect()
            }
            Figure::Each(figures) => {
                assert!(!figures.is_empty());
                figures.iter().flat_map(places).collect()
            }
            one => one.place().into_iter().cloned().collect(),
        }
    }

    #[test]
    fn every_goal_is_about_cases_and_peers_that_exist() {
        let cases = crate::scenarios::cases();
        for goal in goals(2, &[]) {
            for place in places(&goal.figure) {
                let case = cases.iter().find(|case| case.name == place.case);
                let case = case.unwrap_or_else(|| panic!("{place:?}"));
                assert!(case.entrants().iter().any(|entrant| entrant.name == place.peer), "{place:?}");
            }
        }
    }

    #[test]
    fn the_groups_have_their_goals_for_each_case() {
        let goals = goals(2, &[]);
        let covered: BTreeSet<_> = goals.iter().flat_map(|goal| goal.figure.cases()).collect();
        // How cost grows is to be seen: no limit is set to it.
        let grouped = |case: &&Case| case.group.is_some_and(|group| group != "scaling");
        for case in crate::scenarios::cases().iter().filter(grouped) {
            assert!(covered.contains(case.name.as_str()), "{}", case.name);
        }
    }

    #[test]
    fn no_goal_stands_twice() {
        let goals = goals(2, &["1a2b3c4".to_owned()]);
        let names: BTreeSet<_> = goals.iter().map(|goal| (&goal.case, &goal.text)).collect();
        assert_eq!(names.len(), goals.len());
    }
}
