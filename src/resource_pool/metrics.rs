//! [`ResourceMetrics`]: how many values a resource pool has, and what has become of the others.

/// The values of a [`ResourcePool`](crate::ResourcePool) in numbers, all of one moment.
///
/// ```
/// use sidestep::{Pool, ResourcePool};
///
/// let pool = Pool::new()?;
/// let buffers = ResourcePool::builder(&pool, 4, || std::io::Result::Ok(Vec::<u8>::new())).build()?;
/// buffers.call(|buffer| buffer.push(1)).wait()?;
/// let metrics = buffers.metrics();
/// assert_eq!((metrics.size(), metrics.values_made()), (4, 1));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceMetrics {
    pub(super) size: usize,
    pub(super) values: usize,
    pub(super) idle: usize,
    pub(super) made: u64,
    pub(super) make_failures: u64,
    pub(super) check_failures: u64,
    pub(super) dropped: u64,
}

impl ResourceMetrics {
    /// How many values there are at most.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// How many values there are, with those that are being made, tested or dropped.
    #[must_use]
    pub fn values(&self) -> usize {
        self.values
    }

    /// How many values wait for a call.
    #[must_use]
    pub fn values_idle(&self) -> usize {
        self.idle
    }

    /// How many values a call has, is waiting for `make` to make, or is dropping.
    #[must_use]
    pub fn values_in_use(&self) -> usize {
        self.values - self.idle
    }

    /// How many values have been made so far.
    #[must_use]
    pub fn values_made(&self) -> u64 {
        self.made
    }

    /// How many values have been dropped so far, for whatever reason.
    #[must_use]
    pub fn values_dropped(&self) -> u64 {
        self.dropped
    }

    /// How often `make` has returned an error or panicked.
    #[must_use]
    pub fn make_failures(&self) -> u64 {
        self.make_failures
    }

    /// How often a check has returned false or panicked.
    #[must_use]
    pub fn check_failures(&self) -> u64 {
        self.check_failures
    }
}
