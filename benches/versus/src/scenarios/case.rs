//! A case: a load of a certain size, and who takes part in it, with how many threads.

use std::borrow::Cow;

use super::Load;
use crate::driver::Flavor;
use crate::entrants::{ENTRANTS, Entrant, Part};
use crate::peers::{Family, Peer, Threads, Visit};
use crate::surroundings::Surroundings;

/// How many threads the peers get in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sizing {
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
    /// The same, and no more.
    Exactly(usize),
}

/// A load of a certain size.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// `GROUP` or `GROUP/N`; the cases of one group make a line over N.
    pub(crate) name: String,
    /// What it is selected by besides, together with others.
    pub(crate) group: Option<&'static str>,
    pub(crate) about: Cow<'static, str>,
    pub(crate) load: Load,
    sizing: Sizing,
    /// Nobody else takes part.
    among: Option<&'static [Family]>,
    /// From where it is run.
    flavors: &'static [Flavor],
    pub(crate) surroundings: Surroundings,
    /// Its metrics stand side by side in one table, in which the peers are compared by this one.
    pub(crate) compared_by: Option<&'static str>,
    full: usize,
    quick: usize,
    /// What these count.
    noun: &'static str,
}

impl Case {
    pub(super) fn new(
        name: &str,
        load: Load,
        [full, quick]: [usize; 2],
        about: impl Into<Cow<'static, str>>,
    ) -> Self {
        let name = name.to_owned();
        Self {
            name,
            group: None,
            about: about.into(),
            load,
            sizing: Sizing::ByEntrant,
            among: None,
            flavors: &[Flavor::MultiThread, Flavor::NoRuntime],
            surroundings: Surroundings::Idle,
            compared_by: None,
            full,
            quick,
            noun: "tasks",
        }
    }

    pub(super) fn in_group(mut self, group: &'static str) -> Self {
        self.group = Some(group);
        self
    }

    pub(super) fn among(mut self, families: &'static [Family]) -> Self {
        self.among = Some(families);
        self
    }

    pub(super) fn sized(mut self, sizing: Sizing) -> Self {
        self.sizing = sizing;
        self
    }

    pub(super) fn counted_in(mut self, noun: &'static str) -> Self {
        self.noun = noun;
        self
    }

    /// It is also run from a current_thread runtime.
    pub(super) fn both_flavors(mut self) -> Self {
        self.flavors = &[Flavor::MultiThread, Flavor::CurrentThread, Flavor::NoRuntime];
        self
    }

    /// From a plain thread too.
    pub(super) fn called_from_everywhere(mut self) -> Self {
        self.flavors = &[Flavor::MultiThread, Flavor::CurrentThread, Flavor::Thread];
        self
    }

    pub(super) fn in_surroundings(mut self, surroundings: Surroundings) -> Self {
        self.surroundings = surroundings;
        self
    }

    pub(super) fn compared_by(mut self, metric: &'static str) -> Self {
        self.compared_by = Some(metric);
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

    /// Whether all of `words` are parts of its name.
    pub(crate) fn has_words(&self, words: &[String]) -> bool {
        let parts: Vec<_> = self.name.split(['_', '/']).collect();
        words.iter().all(|word| parts.contains(&word.as_str()))
    }

    /// Who takes part, if anyone.
    pub(crate) fn entrants(&self) -> Vec<&'static Entrant> {
        let once_each = self.sizing != Sizing::ByEntrant;
        let takes_part = |entrant: &&Entrant| {
            self.flavors.contains(&entrant.flavor)
                && !(once_each && entrant.capped)
                && match (entrant.part, self.load) {
                    (Part::Disk(brand), Load::Disk(load)) => load.suits(brand),
                    (Part::Disk(_), _) | (_, Load::Disk(_) | Load::Floor) => false,
                    // Those two are for calls of a value.
                    (Part::Peer(Family::Strand | Family::OwnerThread), _) if self.among.is_none() => false,
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
            Sizing::Exactly(threads) => Threads::Exactly(threads),
        }
    }
}

/// Whether a peer can take part in a case at all.
struct Qualifies<'a>(&'a Case);

impl Visit for Qualifies<'_> {
    type Output = bool;

    fn visit<P: Peer>(self) -> bool {
        let Case { load, sizing, .. } = *self.0;
        let needs_pool =
            matches!(sizing, Sizing::Default | Sizing::AtMostCores | Sizing::Keep(_) | Sizing::Exactly(_));
        (P::IS_POOL || !needs_pool) && (P::CANCELS || load != Load::Cancel)
    }
}
