//! [`Spawner`]: what the adapters take where the caller says where their closures run.
//!
//! A [`SpawnTarget`] is a spawner that an adapter keeps: owned, and as small as two words, since
//! each future of `fs` has one. The global pool and its services are looked up when something is
//! spawned, not before: by then the global pool may be another one.

use std::panic::Location;
use std::sync::Arc;

use self::sealed::Target;
use super::TaskOptions;
use super::destination::Destination;
use super::hold::HoldOpen;
use super::options::TaskSettings;
use super::reserve::Reserve;
use crate::pool::services::Service;
use crate::pool::{Lane, Pool};
use crate::task::{Task, Work};

/// Where closures run: a [`Pool`], a [`Lane`], or either with [`TaskOptions`].
///
/// The adapters take a spawner where you choose it: [`Unblock::on`](crate::Unblock::on),
/// [`fs::on`](crate::fs::on), [`net::on`](crate::net::on), [`Strand::on`](crate::Strand::on) and
/// [`io::producer_with`](crate::io::producer_with). Each keeps a handle to the pool or lane, and a
/// copy of the options for all that it spawns.
///
/// This trait is sealed: other crates cannot implement it.
///
/// ```
/// use sidestep::{Pool, Spawner, fs};
///
/// async fn size(place: &impl Spawner, path: &str) -> std::io::Result<u64> {
///     Ok(fs::on(place).metadata(path).await?.len())
/// }
///
/// # sidestep::block_on(async {
/// let pool = Pool::new()?;
/// let archive = pool.lane("archive", 2);
/// assert_eq!(size(&pool, "Cargo.toml").await?, size(&archive, "Cargo.toml").await?);
/// assert!(size(&archive.options().name("size"), "Cargo.toml").await? > 0);
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Spawner: Target {}

impl Spawner for Pool {}
impl Target for Pool {
    fn target(&self) -> SpawnTarget {
        SpawnTarget::chosen(Destination::Pool(self.clone()), TaskSettings::default())
    }
}

impl Spawner for Lane {}
impl Target for Lane {
    fn target(&self) -> SpawnTarget {
        SpawnTarget::chosen(Destination::Lane(self.clone()), TaskSettings::default())
    }
}

impl Spawner for TaskOptions<'_> {}
impl Target for TaskOptions<'_> {
    fn target(&self) -> SpawnTarget {
        SpawnTarget::chosen(self.destination.to_owned(), self.settings.clone())
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: Spawner + ?Sized> Spawner for $pointer {}
        impl<S: Spawner + ?Sized> Target for $pointer {
            fn target(&self) -> SpawnTarget {
                (**self).target()
            }
        }
    )*};
}

forward!(&S, Box<S>, Arc<S>);

mod sealed {
    //! The trait that seals [`Spawner`](super::Spawner).
    #![expect(unnameable_types, reason = "the sealed trait of a public trait cannot be private")]

    use std::sync::Arc;

    use super::{Destination, Service, TaskSettings};

    pub trait Target {
        /// The spawner, to be kept.
        #[doc(hidden)]
        fn target(&self) -> SpawnTarget;
    }

    /// A spawner that an adapter keeps.
    #[derive(Clone, Debug)]
    pub struct SpawnTarget(pub(super) TargetPlace);

    #[derive(Clone, Debug)]
    pub(super) enum TargetPlace {
        /// The global pool of the moment.
        Global,
        /// The lane for this, of the global pool of the moment.
        Service(Service),
        Chosen(Arc<(Destination, TaskSettings)>),
    }
}

pub(crate) use self::sealed::SpawnTarget;
use self::sealed::TargetPlace;

/// Settings of the targets that are not chosen.
static NO_SETTINGS: TaskSettings = TaskSettings::new();

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
        spawner.target()
    }

    fn chosen(destination: Destination, settings: TaskSettings) -> Self {
        SpawnTarget(TargetPlace::Chosen(Arc::new((destination, settings))))
    }

    fn resolve(&self) -> (Destination<&Pool, &Lane>, &TaskSettings) {
        match &self.0 {
            TargetPlace::Global => (Destination::Pool(Pool::global()), &NO_SETTINGS),
            TargetPlace::Service(service) => (service.destination(), &NO_SETTINGS),
            TargetPlace::Chosen(chosen) => (chosen.0.as_ref(), &chosen.1),
        }
    }

    /// The options with which this target spawns.
    pub(crate) fn options(&self) -> TaskOptions<'_> {
        let (destination, settings) = self.resolve();
        TaskOptions { destination, settings: settings.clone() }
    }

    /// Spawns for a caller at `site`, perhaps later, from a future.
    pub(crate) fn spawn_at<F, T>(&self, f: F, site: &'static Location<'static>) -> Task<T>
    where
        F: Work<T> + Send + 'static,
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
        let reserve = match destination {
            Destination::Pool(pool) => Reserve::in_pool(pool.clone(), site),
            Destination::Lane(lane) => Reserve::in_lane(lane.clone(), site),
        };
        (reserve, hold)
    }

    /// Keeps the shutdown of the pool from ending. `None` if it may have ended, and where the pool
    /// is the global one of the moment: that may be another by now.
    pub(crate) fn hold_open(&self) -> Option<HoldOpen> {
        match &self.0 {
            TargetPlace::Global | TargetPlace::Service(_) => None,
            TargetPlace::Chosen(chosen) => HoldOpen::new(chosen.0.as_ref()),
        }
    }

    /// The lane of this target, and the target in it: where it has no lane, `make` makes one.
    pub(crate) fn in_lane(self, make: impl FnOnce(&Pool) -> Lane) -> (Lane, SpawnTarget) {
        let (destination, settings) = self.resolve();
        let lane = match destination {
            Destination::Pool(pool) => make(pool),
            Destination::Lane(lane) => lane.clone(),
        };
        let target = SpawnTarget::chosen(Destination::Lane(lane.clone()), settings.clone());
        (lane, target)
    }
}
