//! [`ResourcePoolBuilder`]: the settings of a resource pool, and which are refused.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use super::ResourcePool;
use super::core::{Check, Core, Make};
use super::stock::Shelf;
use crate::pool::{ChosenTarget, Lane, LaneBuilder, Pool};

/// Builds a [`ResourcePool`]. [`ResourcePool::builder`] makes it.
#[must_use = "a builder does nothing until `build`"]
pub struct ResourcePoolBuilder<T: Send + 'static> {
    target: ChosenTarget,
    size: usize,
    make: Make<T>,
    check: Option<Check<T>>,
    max_idle: Option<Duration>,
    max_age: Option<Duration>,
    queue_limit: Option<usize>,
}

impl<T: Send + 'static> ResourcePoolBuilder<T> {
    pub(super) fn new(
        target: ChosenTarget,
        size: usize,
        make: impl Fn() -> Result<T, Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
    ) -> Self {
        let make = Box::new(make);
        ResourcePoolBuilder {
            target,
            size,
            make,
            check: None,
            max_idle: None,
            max_age: None,
            queue_limit: None,
        }
    }

    /// Tests an idle value before a call uses it, as a part of the call, on the pool. A value for
    /// which `check` returns false is dropped there, the next idle one is tested, and where none is
    /// left another is made. By default every value will do. A value that has just been made is not
    /// tested.
    ///
    /// A `check` that panics is the panic of the call; its value is dropped.
    #[doc(alias = "recycle")]
    #[doc(alias = "is_valid")]
    pub fn check(mut self, check: impl Fn(&mut T) -> bool + Send + Sync + 'static) -> Self {
        self.check = Some(Box::new(check));
        self
    }

    /// Drops a value that no call has used for so long. By default an idle value stays. Zero drops
    /// each value when its call has ended; [`Duration::MAX`] is no limit.
    ///
    /// The timer of the pool sees to it, within milliseconds; where the system refuses that thread,
    /// the next call that comes upon the value.
    #[doc(alias = "idle_timeout")]
    pub fn max_idle(mut self, time: Duration) -> Self {
        self.max_idle = Some(time);
        self
    }

    /// Drops a value when it is idle and was made so long ago. By default values grow as old as
    /// they like. Zero drops each value when its call has ended; [`Duration::MAX`] is no limit.
    #[doc(alias = "max_lifetime")]
    pub fn max_age(mut self, time: Duration) -> Self {
        self.max_age = Some(time);
        self
    }

    /// How many calls may wait for a value at one time; see
    /// [`LaneBuilder::queue_limit`](crate::LaneBuilder::queue_limit). Must be at least 1; by
    /// default there is no limit. Where the calls run in a lane of yours the limit is set there.
    pub fn queue_limit(mut self, calls: usize) -> Self {
        self.queue_limit = Some(calls);
        self
    }

    /// Builds the resource pool. No value is made yet.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), naming the field and the value, if the size
    /// or the queue limit is 0; if the spawner is a lane whose limit, or a key whose
    /// [`per_key`](crate::KeyedLane::per_key), is above the size; or if it is one of them and there
    /// is a queue limit here.
    pub fn build(self) -> io::Result<ResourcePool<T>> {
        if self.size == 0 {
            return refuse("the size of a resource pool (0) must be at least 1".to_owned());
        }
        let (lane, target) = self.place()?;
        let shelf = Shelf::new(self.size, self.max_idle, self.max_age);
        let core = Core::new(shelf, self.make, self.check, target.place());
        Ok(ResourcePool::new(lane, target.without_handle(), core))
    }

    /// The lane of the calls, and their target in it.
    fn place(&self) -> io::Result<(Lane, ChosenTarget)> {
        let size = self.size;
        if let (Some(calls), Some(lane)) = (self.queue_limit, self.target.lane()) {
            let name = lane.name();
            return refuse(format!(
                "queue_limit ({calls}) of a resource pool in lane {name:?} must be set where that lane is \
                 built"
            ));
        }
        let own = |pool: &Pool| {
            let lane = pool.lane_builder("resource pool", size);
            self.queue_limit.into_iter().fold(lane, LaneBuilder::queue_limit).build_private()
        };
        let (lane, target) = self.target.clone().in_lane(own)?;
        match target.cap(size) {
            Ok(()) => Ok((lane, target)),
            Err(error) => refuse(format!(
                "{error}: the lane of a resource pool of {size} values must run at most that many calls, or \
                 its key must, or a call would find none"
            )),
        }
    }
}

fn refuse<R>(message: String) -> io::Result<R> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

impl<T: Send + 'static> fmt::Debug for ResourcePoolBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourcePoolBuilder")
            .field("size", &self.size)
            .field("max_idle", &self.max_idle)
            .field("max_age", &self.max_age)
            .field("queue_limit", &self.queue_limit)
            .finish_non_exhaustive()
    }
}
