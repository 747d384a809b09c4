//! [`SpawnTarget`]: where an adapter's closures run.
//!
//! It is as small as two words, since each future of `fs` has one. The global pool and its services
//! are looked up when something is spawned, not before: by then the global pool may be another one.

use std::panic::Location;

use super::{HoldOpen, Service};
use crate::pool::submit::{ChosenTarget, Destination, DestinationRef, EntersRuntime, TaskSettings};
use crate::pool::{Pool, Reserve, Spawner, TaskOptions};
use crate::task::Task;

/// Where an adapter's closures run.
#[derive(Clone, Debug)]
pub(crate) struct SpawnTarget(TargetPlace);

#[derive(Clone, Debug)]
enum TargetPlace {
    /// The global pool of the moment.
    Global,
    /// The lane for this, of the global pool of the moment.
    Service(Service),
    Chosen(ChosenTarget),
}

impl From<ChosenTarget> for SpawnTarget {
    fn from(chosen: ChosenTarget) -> Self {
        SpawnTarget(TargetPlace::Chosen(chosen))
    }
}

/// Settings of the global pool as a target.
static NO_SETTINGS: TaskSettings = TaskSettings::new();
/// Settings of the services, whose closures are this crate's and want no runtime.
static OF_SERVICES: TaskSettings = TaskSettings::new().enters_runtime(EntersRuntime::Never);

impl SpawnTarget {
    /// The global pool.
    pub(crate) const GLOBAL: SpawnTarget = SpawnTarget(TargetPlace::Global);
    /// The files of the global pool.
    pub(crate) const FILES: SpawnTarget = SpawnTarget(TargetPlace::Service(Service::Files));
    /// The standard streams of the global pool.
    pub(crate) const STREAMS: SpawnTarget = SpawnTarget(TargetPlace::Service(Service::Streams));
    /// The name lookups of the global pool.
    pub(crate) const LOOKUPS: SpawnTarget = SpawnTarget(TargetPlace::Service(Service::Lookups));

    /// The target that `spawner` stands for.
    pub(crate) fn of(spawner: &impl Spawner) -> Self {
        ChosenTarget::of(spawner).into()
    }

    /// The target, if it is a lane.
    pub(crate) fn lane(&self) -> Option<ChosenTarget> {
        match &self.0 {
            TargetPlace::Chosen(chosen) => chosen.lane().map(|_| chosen.clone()),
            TargetPlace::Global | TargetPlace::Service(_) => None,
        }
    }

    /// This target, for what its own tasks keep: see [`ChosenTarget::without_handle`].
    pub(crate) fn without_handle(&self) -> Self {
        match &self.0 {
            TargetPlace::Chosen(chosen) => SpawnTarget(TargetPlace::Chosen(chosen.without_handle())),
            TargetPlace::Global | TargetPlace::Service(_) => self.clone(),
        }
    }

    /// This target with a handle to its lane, which lives, where it has none.
    pub(crate) fn with_handle(&self) -> Self {
        match &self.0 {
            TargetPlace::Chosen(chosen) => SpawnTarget(TargetPlace::Chosen(chosen.with_handle())),
            TargetPlace::Global | TargetPlace::Service(_) => self.clone(),
        }
    }

    fn resolve(&self) -> (DestinationRef<'_>, &TaskSettings) {
        match &self.0 {
            TargetPlace::Global => (Destination::Pool(Pool::global()), &NO_SETTINGS),
            TargetPlace::Service(service) => (service.destination(), &OF_SERVICES),
            TargetPlace::Chosen(chosen) => chosen.resolve(),
        }
    }

    /// The options with which this target spawns.
    pub(crate) fn options(&self) -> TaskOptions<'_> {
        let (destination, settings) = self.resolve();
        TaskOptions::new(destination, settings)
    }

    /// Spawns for a caller at `site`, perhaps later, from a future.
    pub(crate) fn spawn_at<F, T>(&self, f: F, site: &'static Location<'static>) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (destination, settings) = self.resolve();
        destination.spawn(f, site, settings)
    }

    /// A wait for room in the queue of this target, and what keeps a shutdown from ending
    /// meanwhile; `None` if it may have ended.
    #[track_caller]
    pub(crate) fn reserve(&self) -> (Reserve, Option<HoldOpen>) {
        let (destination, _) = self.resolve();
        let site = Location::caller();
        let hold = HoldOpen::new(destination);
        (Reserve::of(destination.to_owned(), site), hold)
    }

    /// Keeps the shutdown of the pool from ending. `None` if it may have ended, and where the pool
    /// is the global one of the moment: that may be another by now.
    pub(crate) fn hold_open(&self) -> Option<HoldOpen> {
        match &self.0 {
            TargetPlace::Global | TargetPlace::Service(_) => None,
            TargetPlace::Chosen(chosen) => HoldOpen::new(chosen.resolve().0),
        }
    }
}
