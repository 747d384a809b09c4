//! Who takes part: the rows of the tables.

use crate::disks::Brand;
use crate::driver::Flavor;
use crate::peers::{Family, Peer, Threads, Visit};

/// What an entrant does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It runs closures.
    Peer(Family),
    /// It uses files.
    Disk(Brand),
}

/// A peer or a disk with its settings: one row of a table. One that is both has a row as each, of
/// the same name.
#[derive(Debug)]
pub(crate) struct Entrant {
    /// What the tables call it.
    pub(crate) name: &'static str,
    pub(crate) part: Part,
    pub(crate) flavor: Flavor,
    /// It may use no more threads than there are cores, whatever it would do by itself.
    pub(crate) capped: bool,
}

impl Entrant {
    const fn new(name: &'static str, family: Family) -> Self {
        Self { name, part: Part::Peer(family), flavor: Flavor::MultiThread, capped: false }
    }

    const fn capped(name: &'static str, family: Family) -> Self {
        Self { capped: true, ..Self::new(name, family) }
    }

    const fn on_current_thread(name: &'static str, family: Family) -> Self {
        Self { flavor: Flavor::CurrentThread, ..Self::new(name, family) }
    }

    const fn on_plain_thread(name: &'static str, family: Family) -> Self {
        Self { flavor: Flavor::Thread, ..Self::new(name, family) }
    }

    const fn disk(name: &'static str, brand: Brand, flavor: Flavor) -> Self {
        Self { name, part: Part::Disk(brand), flavor, capped: false }
    }

    /// Whether it runs closures with this.
    pub(crate) fn is_family(&self, family: Family) -> bool {
        self.part == Part::Peer(family)
    }

    /// Why it takes no part in this build, if so.
    pub(crate) fn absence(&self) -> Option<&'static str> {
        match self.part {
            Part::Peer(family) => family.absence(),
            Part::Disk(_) => None,
        }
    }

    /// What it wants in the environment, where it is to have so many threads.
    pub(crate) fn environment(&self, threads: Threads) -> Option<(&'static str, String)> {
        match self.part {
            Part::Peer(family) => family.dispatch(Environment(threads)),
            Part::Disk(_) => None,
        }
    }
}

/// What a peer wants in the environment.
struct Environment(Threads);

impl Visit for Environment {
    type Output = Option<(&'static str, String)>;

    fn visit<P: Peer>(self) -> Self::Output {
        P::environment(self.0)
    }
}

/// All of them, in the order of the tables. Those of fixed size have as many threads as there are
/// cores anyway.
pub(crate) const ENTRANTS: &[Entrant] = &[
    Entrant::new("sidestep", Family::Sidestep),
    Entrant::capped("sidestep-cores", Family::Sidestep),
    Entrant::new("sidestep-time", Family::SidestepTime),
    Entrant::new("tokio", Family::Tokio),
    Entrant::capped("tokio-cores", Family::Tokio),
    Entrant::new("tokio-sharded", Family::TokioSharded),
    Entrant::capped("tokio-sharded-cores", Family::TokioSharded),
    Entrant::new("blocking", Family::Blocking),
    Entrant::capped("blocking-cores", Family::Blocking),
    Entrant::new("affinitypool", Family::Affinitypool),
    Entrant::new("affinitypool+oneshot", Family::AffinitypoolOneshot),
    Entrant::new("rayon", Family::Rayon),
    Entrant::new("threadpool", Family::Threadpool),
    Entrant::new("rusty_pool", Family::RustyPool),
    Entrant::capped("rusty_pool-cores", Family::RustyPool),
    Entrant::new("thread", Family::Thread),
    Entrant::on_current_thread("sidestep@current", Family::Sidestep),
    Entrant::on_current_thread("tokio@current", Family::Tokio),
    Entrant::on_current_thread("blocking@current", Family::Blocking),
    Entrant::on_current_thread("affinitypool@current", Family::Affinitypool),
    Entrant::on_current_thread("rayon@current", Family::Rayon),
    Entrant::on_plain_thread("sidestep@wait", Family::Sidestep),
    Entrant::on_plain_thread("tokio@wait", Family::Tokio),
    Entrant::on_plain_thread("blocking@wait", Family::Blocking),
    Entrant::on_plain_thread("affinitypool@wait", Family::Affinitypool),
    Entrant::on_plain_thread("rayon@wait", Family::Rayon),
    Entrant::new("strand", Family::Strand),
    Entrant::new("owner-thread", Family::OwnerThread),
    Entrant::on_current_thread("strand@current", Family::Strand),
    Entrant::on_current_thread("owner-thread@current", Family::OwnerThread),
    Entrant::disk("std", Brand::Std, Flavor::NoRuntime),
    Entrant::disk("sidestep", Brand::Sidestep, Flavor::MultiThread),
    Entrant::disk("sidestep-each", Brand::SidestepEach, Flavor::MultiThread),
    Entrant::disk("tokio", Brand::Tokio, Flavor::MultiThread),
    Entrant::disk("async-fs", Brand::AsyncFs, Flavor::MultiThread),
    Entrant::disk("sidestep@current", Brand::Sidestep, Flavor::CurrentThread),
    Entrant::disk("tokio@current", Brand::Tokio, Flavor::CurrentThread),
    Entrant::disk("async-fs@current", Brand::AsyncFs, Flavor::CurrentThread),
];

/// Their names, each once.
pub(crate) fn names() -> Vec<&'static str> {
    ENTRANTS.iter().fold(Vec::new(), |mut names, entrant| {
        if !names.contains(&entrant.name) {
            names.push(entrant.name);
        }
        names
    })
}

/// Who stands in a table where no peer takes part.
pub(crate) const MACHINE: &str = "machine";

/// The row that a row is compared with: ours, called in the same way.
pub(crate) fn reference(entrant: &str) -> &'static str {
    let mut parts = entrant.split('@');
    let value = matches!(parts.next(), Some("strand" | "owner-thread"));
    match (value, parts.next()) {
        (false, Some("current")) => "sidestep@current",
        (false, Some("wait")) => "sidestep@wait",
        (false, _) => "sidestep",
        (true, Some("current")) => "strand@current",
        (true, _) => "strand",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_compared_with_ours_that_are_called_in_the_same_way() {
        let pairs = [
            ("tokio-cores", "sidestep"),
            ("rayon@current", "sidestep@current"),
            ("blocking@wait", "sidestep@wait"),
            ("sidestep@1a2b3c4", "sidestep"),
            ("sidestep@wait@1a2b3c4", "sidestep@wait"),
            ("sidestep-time@1a2b3c4", "sidestep"),
            ("owner-thread@current", "strand@current"),
            ("strand@1a2b3c4", "strand"),
        ];
        for (entrant, ours) in pairs {
            assert_eq!(reference(entrant), ours, "{entrant}");
        }
        assert!(ENTRANTS.iter().all(|entrant| names().contains(&reference(entrant.name))));
    }
}
