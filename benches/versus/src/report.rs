//! All that a run gave, as it is saved, and the questions that tables, charts and goals ask of it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::entrants::{self, MACHINE};
use crate::host::Host;
use crate::sample::{Metric, Sample, Unit};
use crate::stats::Spread;
use crate::system::Machine;

/// How one child ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Sample(Sample),
    Failure(String),
}

/// What other programs did while a child ran, from its start to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Neighbours {
    pub(crate) wall_ms: f64,
    /// Their CPU time and the kernel's own; that of programs which the case itself starts is not
    /// among it. Below zero where the clocks are not in step.
    pub(crate) cpu_ms: f64,
    /// What the host kept from the virtual machine.
    pub(crate) stolen_ms: f64,
}

impl Neighbours {
    /// From what the machine did in all, and what the run itself used of that.
    pub(crate) fn between(before: Machine, after: Machine, wall: Duration, ours: Duration) -> Self {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        Self {
            wall_ms: millis(wall),
            // Less than nothing where the two clocks are not in step; over many runs that evens
            // out.
            cpu_ms: millis(after.busy.saturating_sub(before.busy)) - millis(ours),
            stolen_ms: millis(after.stolen.saturating_sub(before.stolen)),
        }
    }

    /// All of them together, one run after the other.
    fn sum(of: impl Iterator<Item = Self>) -> Self {
        of.fold(Self::default(), |sum, one| Self {
            wall_ms: sum.wall_ms + one.wall_ms,
            cpu_ms: sum.cpu_ms + one.cpu_ms,
            stolen_ms: sum.stolen_ms + one.stolen_ms,
        })
    }

    /// How many CPUs they kept busy, and how many the host kept to itself.
    fn cpus(self) -> [f64; 2] {
        [self.cpu_ms, self.stolen_ms].map(|time| (time / self.wall_ms).max(0.0))
    }

    /// The state of the machine, for a reader.
    pub(crate) fn words(self) -> String {
        let [others, host] = self.cpus();
        let state = if others + host < Self::IDLE { "idle machine" } else { "another program awake" };
        format!("{state}: others used {others:.2} CPUs, the host took {host:.2}")
    }

    /// Below this the machine counts as idle: what the kernel itself does shows too.
    const IDLE: f64 = 0.1;
}

/// One child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) case: String,
    pub(crate) peer: String,
    pub(crate) round: usize,
    pub(crate) outcome: Outcome,
    /// Where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) neighbours: Option<Neighbours>,
}

#[cfg(test)]
impl Record {
    pub(crate) fn failed(case: &str, peer: &str, why: &str) -> Self {
        let outcome = Outcome::Failure(why.to_owned());
        Record { case: case.to_owned(), peer: peer.to_owned(), round: 0, outcome, neighbours: None }
    }
}

/// A case as it was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CaseNote {
    pub(crate) name: String,
    pub(crate) about: String,
    /// How much there was to do, with its unit.
    pub(crate) amount: String,
    /// Its metrics stand side by side in one table, in which the peers are compared by this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) compared_by: Option<String>,
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) host: Host,
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    /// What a reader should know besides, such as who is absent.
    pub(crate) remarks: Vec<String>,
    /// Older versions of the library that took part.
    #[serde(default)]
    pub(crate) baselines: Vec<String>,
    pub(crate) cases: Vec<CaseNote>,
    pub(crate) records: Vec<Record>,
}

/// Where a figure stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    pub(crate) case: &'a str,
    pub(crate) metric: &'a str,
    pub(crate) peer: &'a str,
}

/// All about one peer in one section.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) peer: String,
    pub(crate) value: Option<Spread>,
    /// The value over its ideal, where there is one.
    pub(crate) multiple: Option<Spread>,
    /// The value over that of the reference, pair by pair.
    pub(crate) ratio: Option<Spread>,
    pub(crate) threads: Option<f64>,
    pub(crate) cpu_nanos: Option<f64>,
    pub(crate) switches: Option<f64>,
    pub(crate) peak_kib: Option<f64>,
    /// Why rounds failed, one after the other.
    pub(crate) failures: Vec<String>,
}

/// One metric of one case, for all peers that were measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Section {
    pub(crate) case: String,
    pub(crate) metric: String,
    pub(crate) unit: Unit,
    pub(crate) about: String,
    pub(crate) amount: String,
    pub(crate) rows: Vec<Row>,
}

impl Section {
    /// `CASE` or `CASE: METRIC`.
    pub(crate) fn title(&self) -> String {
        format!("{}: {}", self.case, self.metric)
    }
}

impl Report {
    /// Reads a saved one.
    pub(crate) fn load(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no report", file.display()))
    }

    /// Saves it, to be read by [`load`](Report::load) or by others.
    pub(crate) fn save(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// How many runs gave no sample.
    pub(crate) fn failures(&self) -> usize {
        self.records.iter().filter(|record| matches!(record.outcome, Outcome::Failure(_))).count()
    }

    /// What others did meanwhile: during a case, or during all of the run.
    pub(crate) fn neighbours(&self, case: Option<&str>) -> Option<Neighbours> {
        let of_case = |record: &&Record| case.is_none_or(|case| record.case == case);
        let sum = Neighbours::sum(self.records.iter().filter(of_case).filter_map(|record| record.neighbours));
        (sum.wall_ms > 0.0).then_some(sum)
    }

    /// All sections, in the order in which the cases were run.
    pub(crate) fn sections(&self) -> Vec<Section> {
        self.cases.iter().flat_map(|case| self.sections_of(case)).collect()
    }

    fn sections_of(&self, case: &CaseNote) -> Vec<Section> {
        let of_case = |record: &&Record| record.case == case.name;
        let peers = distinct(self.records.iter().filter(of_case).map(|record| record.peer.as_str()));
        let metrics = distinct(self.metrics(&case.name).map(|metric| (metric.name.as_str(), metric.unit)));
        let section = |(metric, unit)| Section {
            case: case.name.clone(),
            metric: String::from(metric),
            unit,
            about: case.about.clone(),
            amount: case.amount.clone(),
            rows: peers
                .iter()
                .map(|peer| self.row(Key { case: &case.name, metric, peer }))
                // Not that of a peer which has nothing to be measured by this.
                .filter(|row| row.value.is_some() || !row.failures.is_empty())
                .collect(),
        };
        if peers == [MACHINE] && !metrics.is_empty() {
            // Its metrics are not those of rivals: they stand below one another.
            let row = |(metric, _): &(&str, Unit)| Row {
                peer: String::from(*metric),
                ..self.row(Key { case: &case.name, metric, peer: MACHINE })
            };
            let rows = metrics.iter().map(row).collect();
            return vec![Section { rows, ..section(("time per step", Unit::Nanoseconds)) }];
        }
        if metrics.is_empty() && !peers.is_empty() {
            // Nobody finished, which is worth a table too.
            return vec![section(("none", Unit::Nanoseconds))];
        }
        metrics.into_iter().map(section).collect()
    }

    fn metrics(&self, case: &str) -> impl Iterator<Item = &Metric> {
        self.records.iter().filter(move |record| record.case == case).flat_map(|record| {
            match &record.outcome {
                Outcome::Sample(sample) => sample.metrics.as_slice(),
                Outcome::Failure(_) => &[],
            }
        })
    }

    fn row(&self, key: Key<'_>) -> Row {
        let reference = Key { peer: entrants::reference(key.peer), ..key };
        let middle = |figures: Vec<Option<f64>>| Some(Spread::of(figures.into_iter().flatten())?.median);
        let of_sample = |pick: fn(&Sample) -> Option<f64>| middle(self.by_round(key, pick));
        Row {
            peer: key.peer.to_owned(),
            value: Spread::of(self.values(key).into_iter().flatten()),
            multiple: Spread::of(self.multiples(key).into_iter().flatten()),
            ratio: Spread::of_ratios(&self.values(key), &self.values(reference)),
            threads: middle(self.threads(key)),
            cpu_nanos: of_sample(|sample| sample.cpu_nanos_per_task),
            switches: of_sample(|sample| sample.switches_per_task),
            peak_kib: of_sample(|sample| Some(sample.peak_kib? as f64)),
            failures: self
                .of(key)
                .filter_map(|record| match &record.outcome {
                    Outcome::Failure(reason) => Some(reason.clone()),
                    Outcome::Sample(_) => None,
                })
                .collect(),
        }
    }

    /// The metric in each round, where there is one.
    pub(crate) fn values(&self, key: Key<'_>) -> Vec<Option<f64>> {
        self.by_round(key, |sample| Some(metric(sample, key)?.value))
    }

    /// The metric over its ideal in each round.
    pub(crate) fn multiples(&self, key: Key<'_>) -> Vec<Option<f64>> {
        self.by_round(key, |sample| {
            let metric = metric(sample, key)?;
            Some(metric.value / metric.ideal?)
        })
    }

    /// The ideal of the metric in each round, where there is one.
    pub(crate) fn ideals(&self, key: Key<'_>) -> Vec<Option<f64>> {
        self.by_round(key, |sample| metric(sample, key)?.ideal)
    }

    /// The threads that ran closures, in each round.
    pub(crate) fn threads(&self, key: Key<'_>) -> Vec<Option<f64>> {
        self.by_round(key, |sample| Some(sample.threads? as f64))
    }

    fn by_round(&self, key: Key<'_>, pick: impl Fn(&Sample) -> Option<f64>) -> Vec<Option<f64>> {
        let mut rounds = vec![None; self.rounds];
        for record in self.of(key) {
            if let (Outcome::Sample(sample), Some(round)) = (&record.outcome, rounds.get_mut(record.round)) {
                *round = pick(sample);
            }
        }
        rounds
    }

    fn of<'a>(&'a self, key: Key<'a>) -> impl Iterator<Item = &'a Record> {
        self.records.iter().filter(move |record| record.case == key.case && record.peer == key.peer)
    }
}

fn metric<'a>(sample: &'a Sample, key: Key<'_>) -> Option<&'a Metric> {
    sample.metrics.iter().find(|metric| metric.name == key.metric)
}

/// Each once, in the order of first appearance.
fn distinct<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.fold(Vec::new(), |mut seen, item| {
        if !seen.contains(&item) {
            seen.push(item);
        }
        seen
    })
}

/// A report of one case for the tests of others: the times of `peers`, one a round.
#[cfg(test)]
pub(crate) fn example(case: &str, metric: &str, peers: &[(&str, &[f64])]) -> Report {
    let record = |peer: &str, round, &value: &f64| Record {
        case: case.to_owned(),
        peer: peer.to_owned(),
        round,
        neighbours: Some(Neighbours { wall_ms: 1_000.0, cpu_ms: 20.0, stolen_ms: 10.0 }),
        outcome: Outcome::Sample(Sample {
            metrics: vec![Metric { ideal: Some(100.0), ..Metric::new(metric, Unit::Nanoseconds, value) }],
            threads: Some(3),
            cpu_nanos_per_task: Some(1_500.0),
            switches_per_task: Some(0.25),
            peak_kib: Some(2_048),
        }),
    };
    Report {
        host: Host::here(),
        quick: false,
        rounds: peers.iter().map(|(_, values)| values.len()).max().unwrap_or(0),
        remarks: vec!["an example".to_owned()],
        baselines: Vec::new(),
        cases: vec![CaseNote {
            name: case.to_owned(),
            about: "a test".to_owned(),
            amount: "10 tasks".to_owned(),
            compared_by: None,
        }],
        records: peers
            .iter()
            .flat_map(|(peer, values)| {
                values.iter().enumerate().map(|(round, value)| record(peer, round, value))
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_report_comes_back() {
        let mut report =
            example("burst", "time per task", &[("sidestep", &[100.0, 130.0]), ("tokio", &[1_000.0])]);
        let outcome = Outcome::Failure("killed after 5 s".to_owned());
        report.records.push(Record {
            case: "burst".to_owned(),
            peer: "tokio".to_owned(),
            round: 1,
            outcome,
            neighbours: None,
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        report.save(file.path()).unwrap();
        assert_eq!(Report::load(file.path()).unwrap(), report);
    }

    #[test]
    fn others_have_what_is_left_of_the_machine() {
        let at = |busy, stolen| Machine {
            busy: Duration::from_millis(busy),
            stolen: Duration::from_millis(stolen),
        };
        let [wall, ours] = [500, 320].map(Duration::from_millis);
        let seen = Neighbours::between(at(1_000, 50), at(1_350, 60), wall, ours);
        assert_eq!(seen, Neighbours { wall_ms: 500.0, cpu_ms: 30.0, stolen_ms: 10.0 });
        let early = Neighbours::between(at(1_000, 50), at(1_310, 50), wall, ours);
        assert_eq!(early.cpu_ms, -10.0);
    }

    #[test]
    fn others_are_seen_over_all_runs_of_a_case() {
        let mut report = example("burst", "time per task", &[("sidestep", &[100.0, 130.0])]);
        assert_eq!(report.neighbours(None), report.neighbours(Some("burst")));
        assert_eq!(report.neighbours(Some("window")), None);
        let words = |report: &Report| report.neighbours(None).unwrap().words();
        assert_eq!(words(&report), "idle machine: others used 0.02 CPUs, the host took 0.01");
        report.records[0].neighbours = Some(Neighbours { wall_ms: 1_000.0, cpu_ms: 990.0, stolen_ms: -1.0 });
        assert!(words(&report).starts_with("another program awake: others used 0.5"), "{}", words(&report));
        // A clock that runs ahead takes nothing from anyone.
        report.records.truncate(1);
        report.records[0].neighbours = Some(Neighbours { wall_ms: 50.0, cpu_ms: -10.0, stolen_ms: 0.0 });
        assert!(words(&report).contains("others used 0.00"), "{}", words(&report));
    }

    #[test]
    fn what_is_no_report_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "{}").unwrap();
        assert!(Report::load(file.path()).unwrap_err().to_string().ends_with("is no report"));
        assert!(Report::load(Path::new("/none/such")).unwrap_err().to_string().contains("/none/such"));
    }

    #[test]
    fn rows_hold_medians_and_ratios_of_pairs() {
        let peers: [(&str, &[f64]); 2] =
            [("sidestep", &[100.0, 130.0, 400.0]), ("tokio", &[1_000.0, 650.0, 2_000.0])];
        let sections = example("burst", "time per task", &peers).sections();
        let [section] = sections.as_slice() else { panic!("{sections:?}") };
        let [ours, theirs] = section.rows.as_slice() else { panic!("{section:?}") };
        assert_eq!(ours.value.unwrap().median, 130.0);
        assert_eq!(ours.ratio.unwrap(), Spread { least: 1.0, median: 1.0, most: 1.0 });
        assert_eq!(theirs.ratio.unwrap(), Spread { least: 5.0, median: 5.0, most: 10.0 });
        assert_eq!(theirs.multiple.unwrap().median, 10.0);
        assert_eq!((theirs.threads, theirs.peak_kib), (Some(3.0), Some(2_048.0)));
    }

    #[test]
    fn what_the_machine_does_has_a_row_for_each_step() {
        let mut report = example("floor", "malloc", &[(MACHINE, &[20.0])]);
        let Outcome::Sample(sample) = &mut report.records[0].outcome else { panic!("{report:?}") };
        sample.metrics.push(Metric::new("steal", Unit::Nanoseconds, 30.0));
        let sections = report.sections();
        let rows: Vec<_> =
            sections[0].rows.iter().map(|row| (row.peer.as_str(), row.value.unwrap().median)).collect();
        assert_eq!((sections.len(), rows), (1, vec![("malloc", 20.0), ("steal", 30.0)]));
    }

    #[test]
    fn a_peer_stands_only_where_it_has_a_figure() {
        let mut report = example("handles", "File", &[("sidestep", &[100.0]), ("tokio", &[200.0])]);
        let Outcome::Sample(sample) = &mut report.records[0].outcome else { panic!("{report:?}") };
        sample.metrics.push(Metric::new("Unblock", Unit::Bytes, 300.0));
        let rows: Vec<_> = report.sections().iter().map(|section| section.rows.len()).collect();
        assert_eq!(rows, [2, 1]);
    }

    #[test]
    fn a_peer_that_always_fails_keeps_its_row() {
        let mut report = example("burst", "time per task", &[("sidestep", &[100.0])]);
        report.records.push(Record::failed("burst", "rayon", "no memory"));
        assert_eq!(report.failures(), 1);
        let row = report.sections().remove(0).rows.remove(1);
        assert_eq!((row.value, row.failures), (None, vec!["no memory".to_owned()]));
    }
}
