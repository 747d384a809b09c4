//! Has every peer do every case, round after round, each time in a process of its own.

use std::env;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

use crate::baseline::Baseline;
use crate::cli::Cli;
use crate::entrants::{self, ENTRANTS, Entrant, MACHINE};
use crate::host::Host;
use crate::report::{CaseNote, Neighbours, Outcome, Record, Report};
use crate::scenarios::{Case, cases};
use crate::system::{self, Machine};

/// Who runs in a case: an entrant, or one of an older version of the library.
struct Contestant {
    /// What the tables call it.
    name: String,
    /// `None` is the machine itself.
    entrant: Option<&'static Entrant>,
    /// Which of the older versions.
    baseline: Option<usize>,
}

impl Contestant {
    /// Those of an entrant, and of all older versions that can do what it does.
    fn of(case: &Case, entrant: &'static Entrant, baselines: &[Baseline]) -> Vec<Self> {
        let own = Self { name: entrant.name.to_owned(), entrant: Some(entrant), baseline: None };
        let older = baselines.iter().enumerate().filter(|(_, baseline)| baseline.takes_part(case, entrant));
        let older = older.map(|(place, baseline)| Self {
            name: format!("{}@{}", entrant.name, baseline.name),
            entrant: Some(entrant),
            baseline: Some(place),
        });
        [own].into_iter().chain(older).collect()
    }

    fn machine() -> Self {
        Self { name: MACHINE.to_owned(), entrant: None, baseline: None }
    }
}

/// What is to be measured.
struct Plan {
    quick: bool,
    rounds: usize,
    limit: Duration,
    events: Vec<(Case, Vec<Contestant>)>,
    baselines: Vec<Baseline>,
    remarks: Vec<String>,
    /// For the files that all children use.
    files: TempDir,
}

/// Measures what the command line asks for.
pub(crate) fn hold(cli: &Cli) -> Result<Report> {
    let plan = Plan::new(cli)?;
    let host = Host::here();
    let records = plan.run()?;
    let note = |(case, _): &(Case, _)| CaseNote {
        name: case.name.clone(),
        about: case.about.clone().into_owned(),
        amount: case.amount(plan.quick),
        compared_by: case.compared_by.map(str::to_owned),
    };
    let cases = plan.events.iter().map(note).collect();
    let baselines = plan.baselines.iter().map(|baseline| baseline.name.clone()).collect();
    let remarks = plan.remarks;
    Ok(Report { host, quick: plan.quick, rounds: plan.rounds, remarks, baselines, cases, records })
}

impl Plan {
    fn new(cli: &Cli) -> Result<Self> {
        let all = cases();
        if let Some(stranger) = cli.case.iter().find(|name| !all.iter().any(|case| case.answers_to(name))) {
            bail!("there is no case {stranger:?}; --list shows them");
        }
        if let Some(stranger) = cli.peer.iter().find(|name| !entrants::names().contains(&name.as_str())) {
            bail!("there is no peer {stranger:?}; --list shows them");
        }
        let wanted = |case: &Case| {
            (cli.case.is_empty() || cli.case.iter().any(|name| case.answers_to(name)))
                && case.has_words(&cli.only)
        };
        ensure!(all.iter().any(wanted), "no case has all of the words {:?}; --list shows them", cli.only);
        let invited = |entrant: &&Entrant| {
            entrant.absence().is_none()
                && (cli.peer.is_empty() || cli.peer.iter().any(|name| name == entrant.name))
        };
        let baselines = cli.baseline.iter().map(|revision| Baseline::build(revision));
        let baselines: Vec<_> = baselines.collect::<Result<_>>()?;
        let events = all.into_iter().filter(wanted).map(|case| {
            let entrants = case.entrants();
            let contestants = if entrants.is_empty() {
                vec![Contestant::machine()]
            } else {
                let invited = entrants.into_iter().filter(invited);
                invited.flat_map(|entrant| Contestant::of(&case, entrant, &baselines)).collect()
            };
            (case, contestants)
        });
        let files = cli.files.clone().unwrap_or_else(env::temp_dir);
        let files = tempfile::Builder::new().prefix("versus-").tempdir_in(files);
        Ok(Self {
            quick: cli.quick,
            rounds: cli.rounds.map_or(if cli.quick { 1 } else { 7 }, usize::from),
            limit: Duration::from_secs(cli.limit),
            events: events.collect(),
            remarks: remarks(cli).into_iter().chain(baselines.iter().flat_map(Baseline::remarks)).collect(),
            baselines,
            files: files.context("cannot make a folder for files")?,
        })
    }

    fn run(&self) -> Result<Vec<Record>> {
        let runs = |(_, contestants): &(Case, Vec<_>)| contestants.len();
        let total = self.rounds * self.events.iter().map(runs).sum::<usize>();
        // It draws only between two children: a clock of its own would disturb them.
        let bar = ProgressBar::new(u64::try_from(total)?)
            .with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len}, {eta} left: {msg}")?);
        let mut records = Vec::with_capacity(total);
        for round in 0..self.rounds {
            for (case, contestants) in &self.events {
                for contestant in order(contestants.iter().collect(), round) {
                    let peer = contestant.name.as_str();
                    bar.set_message(format!("{} {peer}", case.name));
                    let watch = Watch::start();
                    let outcome = self.run_child(case, contestant)?;
                    let neighbours = watch.stop();
                    if let Outcome::Failure(reason) = &outcome {
                        bar.suspend(|| eprintln!("{} {peer} failed: {reason}", case.name));
                    }
                    let (case, peer) = (case.name.clone(), peer.to_owned());
                    records.push(Record { case, peer, round, outcome, neighbours });
                    bar.inc(1);
                }
            }
        }
        bar.finish_and_clear();
        // As the tables show them: round 0 alone was in that order.
        records.sort_by_key(|record| self.row(record));
        Ok(records)
    }

    /// Where a record stands in the table of its case.
    fn row(&self, record: &Record) -> Option<usize> {
        let (_, contestants) = self.events.iter().find(|(case, _)| case.name == record.case)?;
        contestants.iter().position(|contestant| contestant.name == record.peer)
    }

    fn run_child(&self, case: &Case, contestant: &Contestant) -> Result<Outcome> {
        let (name, entrant) = (&contestant.name, contestant.entrant);
        let mut command = Command::new(match contestant.baseline {
            Some(place) => self.baselines[place].program().to_owned(),
            None => env::current_exe().context("cannot find this program")?,
        });
        let peer = entrant.map_or(MACHINE, |entrant| entrant.name);
        let tasks =
            entrant.map_or(case.tasks(self.quick), |entrant| case.tasks_for(entrant, self.quick)).to_string();
        command.args(["child", "--case", &case.name, "--peer", peer, "--tasks", &tasks]);
        command.arg("--files").arg(self.files.path());
        // What it says before it fails is to fit into a line.
        command.env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(entrant) = entrant {
            command.envs(entrant.environment(case.threads(entrant)));
        }
        let child =
            command.spawn().with_context(|| format!("cannot start a child for {} {name}", case.name))?;
        attend(child, self.limit)
    }
}

/// Sees what others do with the machine while a child runs.
struct Watch {
    start: Instant,
    machine: Option<Machine>,
    ours: Duration,
}

impl Watch {
    fn start() -> Self {
        Self { machine: system::machine(), ours: system::family_cpu(), start: Instant::now() }
    }

    /// When the child has ended and has been waited for, so that its time is known.
    fn stop(self) -> Option<Neighbours> {
        let (wall, ours) = (self.start.elapsed(), system::family_cpu().saturating_sub(self.ours));
        Some(Neighbours::between(self.machine?, system::machine()?, wall, ours))
    }
}

/// Another order in each round: every second is backwards, and each begins further on.
fn order<T>(mut items: Vec<T>, round: usize) -> Vec<T> {
    if round % 2 == 1 {
        items.reverse();
    }
    if !items.is_empty() {
        let shift = round / 2 % items.len();
        items.rotate_left(shift);
    }
    items
}

/// What the tables do not show.
fn remarks(cli: &Cli) -> Vec<String> {
    let absent = |entrant: &Entrant| Some(format!("{} is absent: {}", entrant.name, entrant.absence()?));
    let mut remarks: Vec<_> = ENTRANTS.iter().filter_map(absent).collect();
    if cfg!(debug_assertions) {
        remarks.push("built without optimisation: the figures mean nothing".to_owned());
    }
    if !cli.quick && (cli.peer.is_empty() || cli.peer.iter().any(|name| name == "thread")) {
        remarks.push("thread: where the figure is the time per task, it has a tenth of the tasks".to_owned());
    }
    remarks
}

/// Waits for a child, without looking at it meanwhile, and ends it where it takes too long.
fn attend(mut child: Child, limit: Duration) -> Result<Outcome> {
    let output = drain(child.stdout.take().context("the child has no stdout")?);
    let errors = drain(child.stderr.take().context("the child has no stderr")?);
    let Ok(output) = output.recv_timeout(limit) else {
        child.kill().context("cannot end a child")?;
        child.wait()?;
        return Ok(Outcome::Failure(format!("killed after {} s", limit.as_secs())));
    };
    let status = child.wait()?;
    if status.success() {
        return Ok(serde_json::from_str(&output).map_or_else(
            |error| Outcome::Failure(format!("the child's answer makes no sense: {error}")),
            Outcome::Sample,
        ));
    }
    let errors = errors.recv().unwrap_or_default();
    let words: Vec<_> = errors.split_whitespace().take(40).collect();
    Ok(Outcome::Failure(format!("{status}: {}", words.join(" "))))
}

/// Reads all of it on a thread of its own.
fn drain(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is all there is.
        let _ = pipe.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn failure(script: &str, limit: Duration) -> String {
        match attend(shell(script), limit).unwrap() {
            Outcome::Failure(reason) => reason,
            Outcome::Sample(sample) => panic!("{sample:?}"),
        }
    }

    #[test]
    fn a_child_that_hangs_is_ended() {
        assert_eq!(failure("exec sleep 60", Duration::from_secs(1)), "killed after 1 s");
    }

    #[test]
    fn a_child_that_fails_says_why() {
        let reason = failure("echo no  memory >&2; exit 3", Duration::from_secs(20));
        assert!(reason.contains('3') && reason.ends_with(": no memory"), "{reason}");
        assert!(failure("echo nonsense", Duration::from_secs(20)).contains("makes no sense"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_time_of_a_child_counts_as_ours() {
        let before = system::family_cpu();
        attend(shell("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"), Duration::from_secs(60)).unwrap();
        // So many steps take some tenths of a second.
        assert!(system::family_cpu() - before > Duration::from_millis(20));
        assert!(Watch::start().stop().is_some());
    }

    #[test]
    fn rounds_differ_in_order() {
        let orders: Vec<_> = (0..4).map(|round| order(vec![1, 2, 3], round)).collect();
        assert_eq!(orders, [[1, 2, 3], [3, 2, 1], [2, 3, 1], [2, 1, 3]]);
        assert!(order(Vec::<u8>::new(), 5).is_empty());
    }
}
