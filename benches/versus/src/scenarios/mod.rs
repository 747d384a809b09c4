//! What a scenario is, and which cases there are.
//!
//! A scenario is a load. To add one: implement [`Scenario`], give it a [`Load`], and add its case
//! to [`cases`]. No peer need know. Those whose load is not closures but calls of files are in
//! [`disk`].

mod behind;
mod cpu;
mod disk;
mod files;
mod first;
mod flood;
mod floor;
mod limited;
mod memory;
mod one_by_one;
mod ramp;
mod retained;
mod server;
mod sleep;
mod submit;

use std::time::Duration;

use anyhow::{Result, bail};

use crate::driver::Flavor;
use crate::entrants::{ENTRANTS, Entrant, Part};
use crate::peers::{Family, Peer, Threads, Visit};
use crate::sample::Sample;
use crate::stage::Stage;

pub(crate) use self::disk::DiskLoad;
pub(crate) use self::floor::floor;

/// A load, for any peer.
trait Scenario {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample>;
}

/// The loads there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Burst,
    Window,
    /// From so many plain threads.
    Producers(usize),
    Nested,
    Serial,
    Spaced,
    Sleepers,
    Mixed,
    Cpu,
    Sizes,
    Files,
    Bytes,
    Cancel,
    Idle,
    Submit,
    First,
    /// A few at a time: so that most calls wait, and whether those that run sleep.
    Limited {
        naps: bool,
    },
    /// The same from many async tasks.
    LimitedClients,
    LimitedBytes,
    /// Short calls beside a full lane of computations.
    BehindLane {
        limit: usize,
        cost: Duration,
    },
    /// Short calls beside so many computations for each core.
    BehindFlood {
        per_core: usize,
    },
    HashServer,
    /// On so many fresh peers, calls that sleep so long.
    Ramp {
        nap: Duration,
        fresh: usize,
    },
    /// What stays resident after closures that read files of so many bytes.
    Retained {
        bytes: usize,
    },
    /// For disks.
    Disk(DiskLoad),
    /// No peer takes part.
    Floor,
}

impl Load {
    /// Many closures that do next to nothing.
    fn is_flood(self) -> bool {
        matches!(
            self,
            Self::Burst | Self::Window | Self::Producers(_) | Self::Nested | Self::Files | Self::Submit
        )
    }

    /// Closures that sleep, more than there are threads at first.
    fn makes_pools_grow(self) -> bool {
        matches!(self, Self::Sleepers | Self::Ramp { .. })
    }

    /// Runs it on the stage.
    pub(crate) fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        match self {
            Self::Burst => flood::Burst.run(stage),
            Self::Window => flood::Window.run(stage),
            Self::Producers(threads) => flood::Producers { threads }.run(stage),
            Self::Nested => flood::Nested.run(stage),
            Self::Serial => one_by_one::Serial.run(stage),
            Self::Spaced => one_by_one::Spaced.run(stage),
            Self::Sleepers => sleep::Sleepers.run(stage),
            Self::Mixed => sleep::Mixed.run(stage),
            Self::Cpu => cpu::Even.run(stage),
            Self::Sizes => cpu::Sizes.run(stage),
            Self::Files => files::Files.run(stage),
            Self::Bytes => memory::Bytes.run(stage),
            Self::Cancel => memory::Cancel.run(stage),
            Self::Idle => memory::Idle.run(stage),
            Self::Submit => submit::Submit.run(stage),
            Self::First => first::First.run(stage),
            Self::Limited { naps } => {
                limited::Outstanding { nap: naps.then_some(limited::Outstanding::NAP) }.run(stage)
            }
            Self::LimitedClients => limited::Clients.run(stage),
            Self::LimitedBytes => limited::Bytes.run(stage),
            Self::BehindLane { limit, cost } => behind::Lane { limit, cost }.run(stage),
            Self::BehindFlood { per_core } => behind::Flood { per_core }.run(stage),
            Self::HashServer => server::HashServer.run(stage),
            Self::Ramp { nap, fresh } => ramp::Ramp { nap, fresh }.run(stage),
            Self::Retained { bytes } => retained::Closures { bytes }.run(stage),
            Self::Disk(_) => bail!("a peer uses no files"),
            Self::Floor => floor(stage.tasks),
        }
    }
}

/// How many threads the peers get in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sizing {
    /// As each entrant has it: its own default, or the number of cores.
    ByEntrant,
    /// Each pool once, at its own default.
    Default,
    /// Each peer once, with at most so many.
    AtMost(usize),
    /// Each peer once, with at most as many as there are cores.
    AtMostCores,
    /// Each peer once, with so many started beforehand.
    Keep(usize),
}

/// Who is asked where an async server computes.
const SERVERS: &[Family] = &[Family::Sidestep, Family::Tokio, Family::Blocking, Family::Affinitypool];
/// Pools that grow when calls wait.
const RAMPERS: &[Family] = &[Family::Sidestep, Family::SidestepTime, Family::Tokio, Family::Blocking];

/// A load of a certain size.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// `GROUP` or `GROUP/N`; the cases of one group make a line over N.
    pub(crate) name: String,
    /// What it is selected by besides, together with others.
    pub(crate) group: Option<&'static str>,
    pub(crate) about: &'static str,
    pub(crate) load: Load,
    sizing: Sizing,
    /// Nobody else takes part.
    among: Option<&'static [Family]>,
    /// It is also run from a current_thread runtime.
    both_flavors: bool,
    full: usize,
    quick: usize,
    /// What these count.
    noun: &'static str,
}

impl Case {
    fn new(name: &str, load: Load, [full, quick]: [usize; 2], about: &'static str) -> Self {
        let name = name.to_owned();
        Self {
            name,
            group: None,
            about,
            load,
            sizing: Sizing::ByEntrant,
            among: None,
            both_flavors: false,
            full,
            quick,
            noun: "tasks",
        }
    }

    fn in_group(mut self, group: &'static str) -> Self {
        self.group = Some(group);
        self
    }

    fn among(mut self, families: &'static [Family]) -> Self {
        self.among = Some(families);
        self
    }

    fn sized(mut self, sizing: Sizing) -> Self {
        self.sizing = sizing;
        self
    }

    fn counted_in(mut self, noun: &'static str) -> Self {
        self.noun = noun;
        self
    }

    fn both_flavors(mut self) -> Self {
        self.both_flavors = true;
        self
    }

    /// How many tasks a run measures.
    pub(crate) fn tasks(&self, quick: bool) -> usize {
        if quick { self.quick } else { self.full }
    }

    /// The same in words.
    pub(crate) fn amount(&self, quick: bool) -> String {
        format!("{} {}", self.tasks(quick), self.noun)
    }

    /// How many tasks a run of `entrant` measures: a tenth will do for one that takes long and has
    /// no queue that might fill.
    pub(crate) fn tasks_for(&self, entrant: &Entrant, quick: bool) -> usize {
        let tenth = self.load.is_flood() && !quick && entrant.is_family(Family::Thread);
        if tenth { self.full / 10 } else { self.tasks(quick) }
    }

    /// Whether `filter` means this case: its name, or that of a group.
    pub(crate) fn answers_to(&self, filter: &str) -> bool {
        let line = self.name.split_once('/').map(|(group, _)| group);
        self.name == filter || [line, self.group].contains(&Some(filter))
    }

    /// Who takes part, if anyone.
    pub(crate) fn entrants(&self) -> Vec<&'static Entrant> {
        let once_each = self.sizing != Sizing::ByEntrant;
        let takes_part = |entrant: &&Entrant| {
            (self.both_flavors || entrant.flavor != Flavor::CurrentThread)
                && !(once_each && entrant.capped)
                && match (entrant.part, self.load) {
                    (Part::Disk(brand), Load::Disk(load)) => load.suits(brand),
                    (Part::Disk(_), _) | (_, Load::Disk(_) | Load::Floor) => false,
                    // That one is to show what the oneshot costs, and only there it shows.
                    (Part::Peer(Family::AffinitypoolOneshot), load) if !load.is_flood() => false,
                    // That one differs from ours only in how it grows.
                    (Part::Peer(Family::SidestepTime), load) if !load.makes_pools_grow() => false,
                    (Part::Peer(family), _) => {
                        self.among.is_none_or(|families| families.contains(&family))
                            && family.dispatch(Qualifies(self))
                    }
                }
        };
        ENTRANTS.iter().filter(takes_part).collect()
    }

    /// How many threads `entrant` gets.
    pub(crate) fn threads(&self, entrant: &Entrant) -> Threads {
        match self.sizing {
            Sizing::ByEntrant if entrant.capped => Threads::AtMost(num_cpus::get()),
            Sizing::ByEntrant | Sizing::Default => Threads::Default,
            Sizing::AtMost(threads) => Threads::AtMost(threads),
            Sizing::AtMostCores => Threads::AtMost(num_cpus::get()),
            Sizing::Keep(threads) => Threads::Keep(threads),
        }
    }
}

/// Whether a peer can take part in a case at all.
struct Qualifies<'a>(&'a Case);

impl Visit for Qualifies<'_> {
    type Output = bool;

    fn visit<P: Peer>(self) -> bool {
        let Case { load, sizing, .. } = *self.0;
        let needs_pool = matches!(sizing, Sizing::Default | Sizing::AtMostCores | Sizing::Keep(_));
        (P::IS_POOL || !needs_pool) && (P::CANCELS || load != Load::Cancel)
    }
}

/// All of them, in the order of the report.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new(
            "burst",
            Load::Burst,
            [100_000, 2_000],
            "empty closures from one async task, then all awaited",
        )
        .both_flavors(),
        Case::new(
            "window",
            Load::Window,
            [100_000, 2_000],
            "64 in flight: the oldest is awaited before one more",
        )
        .both_flavors(),
    ];
    cases.extend([1, 2, 4, 8, 16].map(|threads| {
        let about = "N plain threads submit empty closures and wait for them";
        Case::new(&format!("producers/{threads}"), Load::Producers(threads), [100_000, 2_000], about)
    }));
    cases.extend(single_cases());
    cases.extend(limited::cases());
    cases.extend(behind::cases());
    cases.push(server::case());
    cases.extend(ramp::cases());
    cases.extend(retained::cases());
    cases.extend(disk::cases());
    for workers in [1, 2, 8, 64, 512] {
        let case = |group: &str, load, about| {
            Case::new(&format!("{group}/{workers}"), load, [100_000, 2_000], about)
                .sized(Sizing::Keep(workers))
        };
        cases.push(case(
            "burst_workers",
            Load::Burst,
            "the burst, on N threads that run already and are idle",
        ));
        cases.push(case("window_workers", Load::Window, "the window, on N threads that run already"));
    }
    // Those of a group stand together.
    cases.sort_by_key(|case| case.name.starts_with("window_workers"));
    cases.push(
        Case::new("floor", Load::Floor, [100_000, 2_000], "what this machine can do at best, with no pool")
            .counted_in("repeats"),
    );
    cases
}

/// The cases that are no lines.
fn single_cases() -> Vec<Case> {
    vec![
        Case::new(
            "nested",
            Load::Nested,
            [65_535, 1_023],
            "a binary tree of tasks that spawn their children, detached",
        ),
        Case::new("serial", Load::Serial, [20_000, 500], "one at a time, each awaited").both_flavors(),
        Case::new(
            "spaced",
            Load::Spaced,
            [1_000, 50],
            "one at a time, 300 us apart: the latency of the call",
        )
        .both_flavors(),
        Case::new("sleepers", Load::Sleepers, [2_048, 512], "closures that sleep 5 ms, at most 512 threads")
            .sized(Sizing::AtMost(512)),
        Case::new(
            "mixed",
            Load::Mixed,
            [500, 25],
            "latency of an empty closure among 128 that sleep 20 ms; at most 512 threads",
        )
        .both_flavors()
        .sized(Sizing::AtMost(512)),
        Case::new("cpu20", Load::Cpu, [20_000, 500], "closures that use 20 us of CPU"),
        Case::new("sizes", Load::Sizes, [920, 46], "closures that use 1 us to 10 ms of CPU, log-uniformly"),
        Case::new(
            "files",
            Load::Files,
            [40_000, 1_000],
            "open and read a file of 4 KiB, cached, 64 in flight",
        )
        .both_flavors(),
        Case::new("submit", Load::Submit, [100_000, 5_000], "the submitting calls alone, in bursts of 1,000")
            .both_flavors(),
        Case::new("first", Load::First, [50, 5], "from nothing to the first result, the runtime apart")
            .counted_in("starts"),
        Case::new(
            "bytes",
            Load::Bytes,
            [100_000, 5_000],
            "heap for a task that waits; as many threads as cores",
        )
        .sized(Sizing::AtMostCores),
        Case::new(
            "cancel",
            Load::Cancel,
            [1_000_000, 5_000],
            "tasks queued, then cancelled, then passed by; as many threads as cores",
        )
        .sized(Sizing::AtMostCores),
        Case::new(
            "idle",
            Load::Idle,
            [2_000, 100],
            "CPU time that 64 threads use while there is nothing to do",
        )
        .sized(Sizing::Keep(64))
        .counted_in("ms"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entrants(case: &str) -> Vec<&'static str> {
        let case = cases().into_iter().find(|one| one.name == case).unwrap();
        case.entrants().iter().map(|entrant| entrant.name).collect()
    }

    #[test]
    fn names_are_unique_and_groups_stand_together() {
        let names: Vec<_> = cases().into_iter().map(|case| case.name).collect();
        let mut groups: Vec<_> = names.iter().map(|name| name.split('/').next().unwrap()).collect();
        groups.dedup();
        let distinct = groups.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!(groups.len(), distinct, "{groups:?}");
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn filters_mean_a_case_or_its_group() {
        let case = cases().into_iter().find(|case| case.name == "producers/16").unwrap();
        assert!(case.answers_to("producers") && case.answers_to("producers/16"));
        assert!(!case.answers_to("producers/1") && !case.answers_to("prod"));
        let count = |filter| cases().iter().filter(|case| case.answers_to(filter)).count();
        assert_eq!(
            [count("behind_cpu"), count("ramp"), count("ramp_5ms"), count("ramp_5ms/50")],
            [15, 10, 3, 1]
        );
    }

    #[test]
    fn entrants_take_part_where_it_makes_sense() {
        assert!(entrants("floor").is_empty());
        assert!(entrants("burst").contains(&"affinitypool+oneshot"));
        let peers = ENTRANTS.iter().filter(|entrant| matches!(entrant.part, Part::Peer(_)));
        assert_eq!(entrants("serial").len(), peers.count() - 2);
        assert!(entrants("sleepers").contains(&"thread") && !entrants("sleepers").contains(&"tokio-cores"));
        assert_eq!(entrants("cancel"), ["sidestep", "tokio", "tokio-sharded", "blocking", "affinitypool"]);
        assert!(!entrants("idle").contains(&"thread"));
        let limited = entrants("limited");
        assert!(limited.contains(&"tokio@current") && limited.contains(&"affinitypool"));
        assert!(!limited.contains(&"thread") && !limited.contains(&"sidestep-cores"));
        let disks =
            ["std", "sidestep", "tokio", "async-fs", "sidestep@current", "tokio@current", "async-fs@current"];
        assert_eq!(entrants("read_file"), disks);
        assert!(entrants("directory").contains(&"sidestep-each"));
        let servers = ["sidestep", "tokio", "blocking", "affinitypool"];
        assert_eq!([entrants("behind_lane_2_50ms"), entrants("hash_server")], [servers, servers]);
        assert_eq!(entrants("ramp_5ms/50"), ["sidestep", "sidestep-time", "tokio", "blocking"]);
        assert!(
            entrants("sleepers").contains(&"sidestep-time") && !entrants("mixed").contains(&"sidestep-time")
        );
    }
}
