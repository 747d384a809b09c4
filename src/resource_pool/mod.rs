//! Values behind a pool, of which any free one serves the next call: [`ResourcePool`].
//!
//! | file | owns |
//! |---|---|
//! | `mod` | [`ResourcePool`], its handle, and how a call gets to the values |
//! | `builder` | [`ResourcePoolBuilder`]: the settings, and which are refused |
//! | `core` | what a call does: it gets a value, tests it or makes it, uses it, gives it back |
//! | `stock` | which values there are: what changes under the lock |
//! | `closing` | [`Closing`]: the wait until all values are dropped |
//! | `metrics` | [`ResourceMetrics`] |
//!
//! A lane gives the calls their order, their cancellation and their number at one time; so all that
//! is left is which value a call gets. The life of one:
//!
//! ```text
//!            make                         the call returns
//!   place ---------> leased ------------------------------------------> idle
//!     ^                ^  |  the call or a check panics,                 |  |
//!     |                |  |  a check fails, it is too old                |  |
//!     |                |  +---------------------------> dropped <--------+  | too old, too long idle, closed
//!     |                +--------------- a call takes it --------------------+
//!     +--- the destructor has returned, or `make` has failed
//! ```
//!
//! A *place* is the right to have a value; there are `size` of them. A place is free, or a lease of
//! a thread has it, or an idle value. All of that changes under one lock:
//!
//! - **V3** A value exists only in a place: from before it is made until after its destructor has
//!   returned. So there are never more than `size`.
//! - **V4** A value is in the list of idle ones, or in one lease, or left over: each of them owns
//!   it, and moves it under the lock or drops it.
//! - **V5** A lease is a local variable of a task of the pool's lane, or of its key there, and each
//!   task has at most one at a time.
//!
//! # Each value is dropped once, on the pool
//!
//! By V4 a value has one owner. A lease drops its value on the thread of its task, which is one of
//! the pool, on every way out, a panic of the call too; unless it gives the value back. The list is
//! emptied by leases, and at the end by the drop of the [`Core`], which moves what is
//! left into a task for which no shutdown is too late but the pool's end. Whether that task runs or
//! is dropped unrun, the `Leftovers` in it drop each value. Where the pool has
//! ended, the thread that drops the last handle drops them, as for a strand. In a forked child the
//! values are the parent's, and are leaked there.
//!
//! # A call finds a value
//!
//! The lane runs no more tasks at a time than its limit allows, which is at most `size`, and can be
//! raised no further (`ChosenTarget::cap`); where the calls are on a key of a keyed lane, that key
//! runs no more. When a task looks for a value the other tasks have at most `size - 1` leases, by
//! V5. So if no value is idle a place is free, by V3: a value is dropped, and its place freed,
//! while the task of the lease still has its slot. There is one exception: a call that waits for
//! the shutdown of its own pool has released its slot early and keeps its lease. Then a call may
//! find none: it ends with an error, at once. It does not wait, since the value may be that of a
//! call that waits for this one.
//!
//! # The end
//!
//! The handles share a reference to the core, which `close` takes away from them, and each call
//! that was made before has one of its own. So the drop of the core is the moment when the last
//! handle is gone or the pool is closed, and no accepted call is left, queued or running: whatever
//! has become of each, since its reference is a part of its closure. Calls that come later find no
//! core and end with an error when they have their turn. A `make` that returns after `close` does
//! so for a call that has a reference: the call is served, and its value dropped with the rest.
//!
//! # Idle for too long
//!
//! Where values may be idle, or live, only for so long, a value that is given back rings an alarm
//! when that is over: the pool's timer queues a *sweep*, a task of the lane, so that its lease is
//! one of those that V5 counts. The stock knows the earliest alarm, and there is another only for
//! what is due earlier. A sweep that is refused, for the queue is full, takes the alarm back: calls
//! are queued then, and the next value that is given back makes another. A call looks at the time
//! as well, so nothing rests on the timer but when a value is dropped that no call comes for.

mod builder;
mod closing;
mod core;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
mod metrics;
mod stock;

use std::error::Error;
use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

pub use self::builder::ResourcePoolBuilder;
pub use self::closing::Closing;
pub use self::metrics::ResourceMetrics;

use self::closing::CloseSignal;
use self::core::{Core, ResourceCall};
use self::stock::Shelf;
use crate::error::Rejected;
use crate::pool::{ChosenTarget, Lane, Spawner, TaskOptions};
use crate::strand::{CallOptions, ReserveCall, plain_call, sealed};
use crate::sync::ProcessMutex;
use crate::task::Task;

/// A number of values that block, behind a pool: any free one serves the next call.
///
/// Use it for connections to a database, sessions with a device, anything that is costly to make
/// and that one call at a time may use. A call waits for its turn in a queue, without a thread, and
/// is a [`Task`] like any other: it can be cancelled, it may expire, it has a name. A call that
/// needs the one value, or a certain one, is for a [`Strand`](crate::Strand).
///
/// Clones are handles to the same values. When the last handle is dropped, the calls that are
/// queued still run; then the values are dropped on the pool, or by the thread that drops the last
/// handle or call if the pool has been shut down. [`close`](ResourcePool::close) does that earlier,
/// and says when it is done. A resource pool keeps its [`Pool`](crate::Pool) alive.
///
/// # Values
///
/// Values are made on the pool, when a call needs one and none is idle: never more than the size
/// that was asked for. The value that was used last serves the next call, so those that are not
/// needed grow old, and leave by [`max_idle`](ResourcePoolBuilder::max_idle).
///
/// - An error of `make` is that of the call: it resolves with
///   [`is_unavailable`](crate::TaskError::is_unavailable). The next call tries again.
/// - A value that a call, or a [`check`](ResourcePoolBuilder::check), has panicked with is dropped
///   there, and the next call makes another. Nothing is ever poisoned.
/// - A `make` that blocks for ever keeps its call, and its place among the values, as a call that
///   does. Let it give up by itself, or register a hook with
///   [`current::on_cancel`](crate::current::on_cancel) in it.
///
/// # Waiting inside a call
///
/// A call that [`wait`](Task::wait)s for another call of its own resource pool gets another value,
/// if there is one. Where each value is in the hands of a call that waits in this way, the wait
/// that closes the circle returns [`is_deadlock`](crate::TaskError::is_deadlock), as in any
/// [`Lane`].
///
/// # Cancellation
///
/// Dropping the handle of a call cancels it. A queued call leaves the queue at once. While a value
/// is made or tested for a call, the call is running: it is signalled, its hooks run, and its
/// closure does not begin: it resolves with [`is_cancelled`](crate::TaskError::is_cancelled), and
/// the value serves the next call. A closure that runs is signalled, and the value serves the next
/// call when it has ended; to drop a value whose call was interrupted, let the closure mark it and
/// the check look for that.
///
/// # Cost
///
/// A call costs about what a task of a [`Lane`] costs, and a lock that is held for a few
/// instructions twice.
///
/// ```
/// use std::io::{Read, Seek};
/// use sidestep::{Pool, ResourcePool};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # sidestep::block_on(async {
/// let pool = Pool::new()?;
/// let files = ResourcePool::builder(&pool, 4, || std::fs::File::open("Cargo.toml")).build()?;
/// let length = files.call(|file| {
///     file.rewind()?;
///     file.read_to_end(&mut Vec::new())
/// });
/// assert!(length.await?? > 0);
/// files.close().await?;
/// # Ok(()) })
/// # }
/// ```
#[doc(alias = "deadpool")]
#[doc(alias = "r2d2")]
#[doc(alias = "connection pool")]
pub struct ResourcePool<T: Send + 'static> {
    handle: Arc<ResourceHandle<T>>,
}

/// What all handles share.
struct ResourceHandle<T: Send + 'static> {
    /// A handle to the lane, which calls have not.
    lane: Lane,
    /// Where the calls run, with the options of all calls.
    target: ChosenTarget,
    shelf: Arc<Shelf<T>>,
    signal: Arc<CloseSignal>,
    /// `None` once the pool is closed.
    core: ProcessMutex<Option<Arc<Core<T>>>>,
}

impl<T: Send + 'static> ResourcePool<T> {
    /// Returns a builder of a resource pool with at most `size` values that `make` makes.
    ///
    /// The calls run on a pool, in a lane of their own of limit `size`; or in the lane that the
    /// spawner is, whose limit must be at most `size`; or on the [key](crate::LaneKey) that it is,
    /// of which at most `size` tasks may run at a time. The options of a spawner that has any apply
    /// to all calls but those with [options](ResourcePool::options) of their own.
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    /// use sidestep::{Pool, ResourcePool};
    ///
    /// let pool = Pool::new()?;
    /// let connections = ResourcePool::builder(&pool, 8, || TcpStream::connect("127.0.0.1:9"))
    ///     .check(|stream| stream.take_error().is_ok_and(|error| error.is_none()))
    ///     .max_idle(Duration::from_secs(60))
    ///     .build()?;
    /// // No server listens there.
    /// let error = connections.call(|stream| stream.peer_addr()).wait().unwrap_err();
    /// assert!(error.is_unavailable(), "{error}");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn builder<F, E>(spawner: &impl Spawner, size: usize, make: F) -> ResourcePoolBuilder<T>
    where
        F: Fn() -> Result<T, E> + Send + Sync + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        ResourcePoolBuilder::new(ChosenTarget::of(spawner), size, move || make().map_err(Into::into))
    }

    fn new(lane: Lane, target: ChosenTarget, core: Arc<Core<T>>) -> Self {
        let (shelf, signal) = (Arc::clone(core.shelf()), Arc::clone(core.signal()));
        let core = ProcessMutex::new(Some(core));
        ResourcePool { handle: Arc::new(ResourceHandle { lane, target, shelf, signal, core }) }
    }

    /// Queues a call, without waiting. The returned task resolves with what `f` returns.
    ///
    /// # Errors
    ///
    /// None here: the task resolves with a [`TaskError`](crate::TaskError) as any task does; with
    /// one that [`is_unavailable`](crate::TaskError::is_unavailable) if no value could be made, and
    /// with one that [`is_shutdown`](crate::TaskError::is_shutdown) if the resource pool has been
    /// [closed](ResourcePool::close).
    #[doc(alias = "get")]
    #[doc(alias = "interact")]
    #[track_caller]
    pub fn call<F, R>(&self, f: F) -> Task<R>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        plain_call(&self.handle.target, self.serves(), f)
    }

    /// [`call`](ResourcePool::call) that returns the closure where the call is refused.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the closure, if the queue is full, the pool is shut down, or this process
    /// is a forked child.
    #[track_caller]
    pub fn try_call<F, R>(&self, f: F) -> Result<Task<R>, Rejected<F>>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        self.options().try_call(f)
    }

    /// Waits for room in the queue: backpressure, as with [`Lane::reserve`]. The permit makes the
    /// call, which may still have to wait for a value.
    #[track_caller]
    pub fn reserve(&self) -> ReserveCall<Self> {
        self.options().reserve()
    }

    /// Options for calls: a name, a time limit in the queue, what a shutdown does to them.
    pub fn options(&self) -> CallOptions<'_, Self> {
        CallOptions::new(self)
    }

    /// The lane in which the calls run. Its limit is how many of them run at one time, and cannot
    /// be set above the [size](ResourcePool::size); what else is spawned in it takes a turn from
    /// them. For a resource pool on a key it is the lane of all keys.
    #[must_use = "it only returns the lane"]
    pub fn lane(&self) -> &Lane {
        &self.handle.lane
    }

    /// How many values there are at most.
    #[must_use]
    pub fn size(&self) -> usize {
        self.handle.shelf.size()
    }

    /// How many values there are, and what has become of the others. The numbers of the calls are
    /// those of the [lane](Lane::metrics), which also counts the sweeps of
    /// [`max_idle`](ResourcePoolBuilder::max_idle).
    #[must_use]
    pub fn metrics(&self) -> ResourceMetrics {
        self.handle.shelf.metrics()
    }

    /// Closes the resource pool, for all handles: calls that come later resolve with an error that
    /// [`is_shutdown`](crate::TaskError::is_shutdown). The calls queued so far still run; then the
    /// values are dropped on the pool, and the future resolves. Where calls wait in a paused lane
    /// that is when the pause has ended: by [`Lane::set_limit`], by the drop of the last handle, or
    /// by a shutdown.
    ///
    /// # Cancellation
    ///
    /// Dropping the future changes nothing: the resource pool is closed all the same.
    #[track_caller]
    pub fn close(&self) -> Closing {
        let handle = &*self.handle;
        let core = handle.core.lock().and_then(|mut core| core.take());
        drop(core);
        Closing::new(Arc::clone(&handle.signal), handle.lane.pool().clone(), Location::caller())
    }

    /// Whether the resource pool has been closed. The calls queued before may still run.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.handle.core.lock().is_none_or(|core| core.is_none())
    }

    fn serves(&self) -> ResourceCall<T> {
        let core = self.handle.core.lock().and_then(|core| core.clone());
        ResourceCall::new(core)
    }
}

impl<T: Send + 'static> sealed::Serve for ResourcePool<T> {
    type Value = T;
    type Server = ResourceCall<T>;

    fn server(&self) -> ResourceCall<T> {
        self.serves()
    }

    fn call_options(&self) -> TaskOptions<'_> {
        self.handle.target.options()
    }
}

impl<T: Send + 'static> Clone for ResourcePool<T> {
    fn clone(&self) -> Self {
        ResourcePool { handle: Arc::clone(&self.handle) }
    }
}

// A value that a call has panicked with is dropped, so no later call sees it.
impl<T: Send + 'static> UnwindSafe for ResourcePool<T> {}
impl<T: Send + 'static> RefUnwindSafe for ResourcePool<T> {}

impl<T: Send + 'static> fmt::Debug for ResourcePool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourcePool")
            .field("lane", &self.handle.lane.name())
            .field("size", &self.size())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
