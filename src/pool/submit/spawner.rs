//! [`Spawner`]: what the adapters take where the caller says where their closures run.
//!
//! A [`ChosenTarget`] is a spawner that an adapter keeps: owned, and one word long, since each
//! future of `fs` has one.

use std::panic::Location;
use std::sync::Arc;

use self::sealed::Target;
use super::TaskOptions;
use super::destination::{Destination, DestinationRef};
use super::options::TaskSettings;
use super::reserve::Reserve;
use crate::pool::{Lane, LaneKey, Pool};

/// Where closures run: a [`Pool`], a [`Lane`], a [key](LaneKey) of a lane, or any of them with
/// [`TaskOptions`].
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
    fn target(&self) -> ChosenTarget {
        ChosenTarget::new(Destination::Pool(self.clone()), TaskSettings::default())
    }

    fn task_options(&self) -> TaskOptions<'_> {
        self.options()
    }
}

impl Spawner for Lane {}
impl Target for Lane {
    fn target(&self) -> ChosenTarget {
        ChosenTarget::new(Destination::Lane(self.clone()), TaskSettings::default())
    }

    fn task_options(&self) -> TaskOptions<'_> {
        self.options()
    }
}

impl Spawner for LaneKey {}
impl Target for LaneKey {
    fn target(&self) -> ChosenTarget {
        ChosenTarget::new(Destination::Key(self.clone()), TaskSettings::default())
    }

    fn task_options(&self) -> TaskOptions<'_> {
        self.options()
    }
}

impl Spawner for TaskOptions<'_> {}
impl Target for TaskOptions<'_> {
    fn target(&self) -> ChosenTarget {
        ChosenTarget::new(self.destination.to_owned(), self.settings.clone())
    }

    fn task_options(&self) -> TaskOptions<'_> {
        self.clone()
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: Spawner + ?Sized> Spawner for $pointer {}
        impl<S: Spawner + ?Sized> Target for $pointer {
            fn target(&self) -> ChosenTarget {
                (**self).target()
            }

            fn task_options(&self) -> TaskOptions<'_> {
                (**self).task_options()
            }
        }
    )*};
}

forward!(&S, Box<S>, Arc<S>);

mod sealed {
    //! The trait that seals [`Spawner`](super::Spawner).
    #![expect(unnameable_types, reason = "the sealed trait of a public trait cannot be private")]

    use std::sync::Arc;

    use super::{Destination, TaskOptions, TaskSettings};

    pub trait Target {
        /// The spawner, to be kept.
        #[doc(hidden)]
        fn target(&self) -> ChosenTarget;

        /// The spawner, for a call now.
        #[doc(hidden)]
        fn task_options(&self) -> TaskOptions<'_>;
    }

    /// A spawner that an adapter keeps.
    #[derive(Clone, Debug)]
    pub struct ChosenTarget(pub(super) Arc<(Destination, TaskSettings)>);
}

pub(crate) use self::sealed::ChosenTarget;

impl ChosenTarget {
    /// The target that `spawner` stands for.
    pub(crate) fn of(spawner: &impl Spawner) -> Self {
        spawner.target()
    }

    fn new(destination: Destination, settings: TaskSettings) -> Self {
        ChosenTarget(Arc::new((destination, settings)))
    }

    pub(in crate::pool) fn resolve(&self) -> (DestinationRef<'_>, &TaskSettings) {
        (self.0.0.as_ref(), &self.0.1)
    }

    /// The options with which this target spawns.
    pub(crate) fn options(&self) -> TaskOptions<'_> {
        let (destination, settings) = self.resolve();
        TaskOptions::new(destination, settings)
    }

    /// The lane of this target, and the target in it: where it has no lane, `make` makes one.
    ///
    /// # Errors
    ///
    /// Those of `make`.
    pub(crate) fn in_lane<E>(
        self,
        make: impl FnOnce(&Pool) -> Result<Lane, E>,
    ) -> Result<(Lane, ChosenTarget), E> {
        let (destination, settings) = self.resolve();
        if let Some(lane) = destination.lane() {
            return Ok((lane.clone(), self));
        }
        let lane = make(destination.pool())?;
        let target = ChosenTarget::new(Destination::Lane(lane.clone()), settings.clone());
        Ok((lane, target))
    }

    /// A target of these options in `lane`.
    pub(crate) fn with_lane(&self, lane: Lane) -> ChosenTarget {
        ChosenTarget::new(Destination::Lane(lane), self.0.1.clone())
    }

    /// This target, for what its own tasks keep: see [`Lane::without_handle`].
    pub(crate) fn without_handle(&self) -> ChosenTarget {
        let (destination, settings) = self.resolve();
        if destination.lane().is_none() {
            return self.clone();
        }
        ChosenTarget::new(destination.without_handle(), settings.clone())
    }

    /// This target with a handle to its lane, which lives, where it has none.
    pub(crate) fn with_handle(&self) -> ChosenTarget {
        let (destination, settings) = self.resolve();
        if destination.lane().is_none_or(Lane::is_handle) {
            return self.clone();
        }
        ChosenTarget::new(destination.with_handle(), settings.clone())
    }

    /// The place of this target without its options, for what its own tasks keep.
    pub(crate) fn place(&self) -> ChosenTarget {
        ChosenTarget::new(self.resolve().0.without_handle(), TaskSettings::default())
    }

    /// The pool that this target spawns on.
    pub(crate) fn pool(&self) -> &Pool {
        self.0.0.pool()
    }

    /// The lane that this target spawns in, if it is one.
    pub(crate) fn lane(&self) -> Option<&Lane> {
        self.0.0.lane()
    }

    /// From now on no more than `most` tasks of this target, which is in a lane, run at a time: of
    /// its lane, or of its key.
    ///
    /// # Errors
    ///
    /// Words about what is above that.
    pub(crate) fn cap(&self, most: usize) -> Result<(), String> {
        let Some(lane) = self.0.0.lane() else { unreachable!("this target is in a lane") };
        let (name, keys) = (lane.name(), lane.core().settings().keys.as_ref());
        match (&self.0.0, keys) {
            (Destination::Key(_), Some(keys)) if keys.per_key <= most => Ok(()),
            (Destination::Key(_), Some(keys)) => Err(format!("lane {name:?} has per_key {}", keys.per_key)),
            (_, Some(_)) => Err(format!("lane {name:?} is a keyed lane, and this is no `LaneKey` of it")),
            (_, None) if lane.cap_limit(most) => Ok(()),
            (_, None) => Err(format!("lane {name:?} has limit {}", lane.limit())),
        }
    }

    pub(in crate::pool) fn reserve_at(&self, site: &'static Location<'static>) -> Reserve {
        // Who waits for a permit, or has one, must find the lane by its name.
        Reserve::of(self.resolve().0.with_handle(), site)
    }
}
