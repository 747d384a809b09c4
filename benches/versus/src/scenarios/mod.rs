//! What a scenario is, and which cases there are.
//!
//! A scenario is a load. To add one: implement [`Scenario`], give it a [`Load`], and add its case
//! to [`cases`]. No peer need know. Those whose load is not closures but calls of files are in
//! [`disk`].

mod behind;
mod case;
mod cpu;
mod disk;
mod files;
mod first;
mod flood;
mod floor;
mod in_order;
mod limited;
mod memory;
mod one_by_one;
mod ramp;
mod retained;
mod server;
mod sleep;
mod states;
mod strand;
mod submit;

use std::time::Duration;

use anyhow::{Result, bail};

use crate::peers::{Family, Peer};
use crate::sample::Sample;
use crate::stage::Stage;

pub(crate) use self::case::Case;
use self::case::Sizing;
pub(crate) use self::disk::DiskLoad;
pub(crate) use self::floor::floor;
pub(crate) use self::states::{CALLS, STATES};

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
    /// Calls of such a length, one after the other, so far apart.
    States {
        cost: Duration,
        pause: Duration,
    },
    /// Calls of such a length, all at once.
    InOrder {
        cost: Duration,
    },
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
    /// From many async tasks.
    StrandClients,
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
            Self::States { cost, pause } => states::States { cost, pause }.run(stage),
            Self::InOrder { cost } => in_order::InOrder { cost }.run(stage),
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
            Self::StrandClients => strand::StrandClients.run(stage),
            Self::HashServer => server::HashServer.run(stage),
            Self::Ramp { nap, fresh } => ramp::Ramp { nap, fresh }.run(stage),
            Self::Retained { bytes } => retained::Closures { bytes }.run(stage),
            Self::Disk(_) => bail!("a peer uses no files"),
            Self::Floor => floor(stage.tasks),
        }
    }
}

/// Who is asked where an async server computes.
const SERVERS: &[Family] = &[Family::Sidestep, Family::Tokio, Family::Blocking, Family::Affinitypool];
/// Pools that grow when calls wait.
const RAMPERS: &[Family] = &[Family::Sidestep, Family::SidestepTime, Family::Tokio, Family::Blocking];

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
            .in_group(SCALING)
    }));
    cases.extend(scaling_cases());
    cases.extend(single_cases());
    cases.extend(states::cases());
    cases.extend(in_order::cases());
    cases.extend(limited::cases());
    cases.extend(behind::cases());
    cases.push(server::case());
    cases.extend(strand::cases());
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

/// What shows how cost grows is selected by this.
const SCALING: &str = "scaling";

/// Who is asked how cost grows.
const SCALED: &[Family] = &[
    Family::Sidestep,
    Family::Tokio,
    Family::TokioSharded,
    Family::Blocking,
    Family::Affinitypool,
    Family::Rayon,
];

/// How cost grows with the number of workers; with that of producers it is `producers`.
fn scaling_cases() -> impl Iterator<Item = Case> {
    let about =
        "as many plain threads as CPUs submit empty closures and wait for them; N workers, which run already";
    (0..10).map(|power| 1 << power).map(move |workers: usize| {
        let load = Load::Producers(num_cpus::get());
        Case::new(&format!("workers/{workers}"), load, [50_000, 1_000], about)
            .in_group(SCALING)
            .sized(Sizing::Exactly(workers))
            .among(SCALED)
    })
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
    use crate::entrants::{ENTRANTS, Part};

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
    fn words_select_among_the_cases_of_a_group() {
        let count = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
            cases().iter().filter(|case| case.answers_to("states") && case.has_words(&words)).count()
        };
        assert_eq!([count(&[]), count(&["idle"]), count(&["idle", "0us"]), count(&["0us"])], [30, 6, 1, 5]);
        assert_eq!(count(&["0"]), 0);
    }

    #[test]
    fn entrants_take_part_where_it_makes_sense() {
        assert!(entrants("floor").is_empty());
        assert!(entrants("burst").contains(&"affinitypool+oneshot"));
        let peers = ENTRANTS.iter().filter(|entrant| matches!(entrant.part, Part::Peer(_)));
        assert_eq!(
            entrants("strand_burst"),
            ["strand", "owner-thread", "strand@current", "owner-thread@current"]
        );
        assert_eq!(entrants("workers/64").len(), 6);
        // Not the two that are for other cases, no value, and none that waits on a plain thread.
        assert_eq!(entrants("serial").len(), peers.count() - 11);
        assert!(entrants("sleepers").contains(&"thread") && !entrants("sleepers").contains(&"tokio-cores"));
        assert_eq!(entrants("cancel"), ["sidestep", "tokio", "tokio-sharded", "blocking", "affinitypool"]);
        assert!(!entrants("idle").contains(&"thread"));
        let states = entrants("states_hog1_5us");
        assert_eq!((states.len(), states.contains(&"rayon@wait")), (15, true));
        let in_order = entrants("in_order_20us");
        assert!(in_order.contains(&"tokio-cores") && in_order.contains(&"affinitypool@current"));
        assert!(!in_order.contains(&"sidestep@wait"));
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
