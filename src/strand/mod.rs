//! A value behind the pool: [`Strand`].
//!
//! | file | owns |
//! |---|---|
//! | `mod` | [`Strand`]: a lane of limit 1 gives its calls their order |
//! | `cell` | the value, and which thread accesses it |
//! | `options` | [`CallOptions`]: options of a call |
//! | `dedicated` | [`Dedicated`]: a strand on a thread of its own |

mod cell;
#[forbid(unsafe_code)]
mod dedicated;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
#[forbid(unsafe_code)]
mod options;

use std::fmt;
use std::io;
use std::mem::needs_drop;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

pub use self::dedicated::Dedicated;
pub use self::options::CallOptions;

use self::cell::{Access, AccessError, ExclusiveCell};
use crate::error::Reason;
use crate::panic::catch_panic;
use crate::pool::{ChosenTarget, Lane, Pool, Spawner};
use crate::sync::trampoline;
use crate::task::{OnShutdown, Task};

/// A value that lives behind a pool: calls on it run on the pool's threads, one at a time, in the
/// order in which they were made.
///
/// Use it for a value that blocks and that many callers share: a database connection, a device, a
/// log file. With an `Arc<Mutex<T>>` and a spawned closure that locks it, each call that waits for
/// the lock holds a thread. A strand holds a thread only while a call runs, and none while nothing
/// is queued.
///
/// Clones are handles to the same value. When the last handle is dropped, the calls that are queued
/// still run; then the value is dropped on the pool, or by the thread that drops the last handle or
/// call if the pool has been shut down. A strand keeps its pool alive as a [`Pool`] does.
///
/// # Waiting inside a call
///
/// A call that [`wait`](Task::wait)s for another call of its own strand would wait for ever, so the
/// wait returns an error for which [`is_deadlock`](crate::TaskError::is_deadlock) is true. The
/// strand finds a direct wait, and a circle of tasks, scopes and calls of strands, of any pools,
/// that wait for each other; the wait that closes the circle returns the error. It cannot find a
/// wait through a channel or [`block_on`](crate::block_on), which hangs.
///
/// # Poisoning
///
/// A call that panics may leave the value half changed, so the strand is *poisoned*, as a
/// [`std::sync::Mutex`] is: later calls do not run and resolve with
/// [`is_poisoned`](crate::TaskError::is_poisoned). They count among the [tasks that did not
/// run](crate::Metrics::tasks_cancelled). [`clear_poison`](Strand::clear_poison) declares the value
/// sound again.
///
/// # Cancellation
///
/// Dropping the handle of a call cancels the call, as dropping a [`Task`] does. A queued call
/// leaves the queue at once. A running call is signalled:
/// [`current::is_cancelled`](crate::current::is_cancelled) is true in it, and the hooks of
/// [`current::on_cancel`](crate::current::on_cancel) run, which can interrupt what blocks. The next
/// call starts when the running one has ended.
///
/// # Cost
///
/// A call costs about what a task of a [`Lane`] costs. `docs/PERFORMANCE.md` has figures.
///
/// ```
/// use sidestep::Strand;
/// use std::io::Write;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # sidestep::block_on(async {
/// let log = Strand::new(Vec::new());
/// let first = log.call(|log| writeln!(log, "first"));
/// let second = log.call(|log| writeln!(log, "second"));
/// second.await??;
/// first.await??;
/// assert_eq!(log.into_inner().await?, b"first\nsecond\n");
/// # Ok(()) })
/// # }
/// ```
#[doc(alias = "SyncWrapper")]
#[must_use = "a strand whose last handle is dropped drops its value"]
pub struct Strand<T: Send + 'static> {
    inner: Arc<StrandInner<T>>,
}

struct StrandInner<T: Send + 'static> {
    cell: ExclusiveCell<T>,
    lane: Lane,
    /// The lane, with the options of all calls.
    target: ChosenTarget,
}

impl<T: Send + 'static> Strand<T> {
    /// Puts `value` behind the global pool.
    pub fn new(value: T) -> Self {
        Strand::on(Pool::global(), value)
    }

    /// Puts `value` behind a pool, or behind a lane of limit 1, as [`in_lane`](Strand::in_lane)
    /// does. The options of a spawner that has any apply to all calls but those with
    /// [options](Strand::options) of their own.
    ///
    /// # Panics
    ///
    /// If the spawner is a lane whose limit is not 1.
    #[track_caller]
    pub fn on(spawner: &impl Spawner, value: T) -> Self {
        let (lane, target) = ChosenTarget::of(spawner).in_lane(|pool| pool.unnamed_lane("strand"));
        match Strand::in_turn(lane, target, value) {
            Ok(strand) => strand,
            Err(error) => panic!("{error}"),
        }
    }

    /// Puts `value` behind a lane of limit 1. Use it for a name, for a [limited
    /// queue](crate::LaneBuilder::queue_limit), or for the lane's own [metrics](Lane::metrics).
    /// Calls on several values in the same lane run one at a time.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), naming the lane and its limit, if the limit
    /// is another one. The value is dropped.
    ///
    /// ```
    /// use sidestep::{Pool, Strand};
    ///
    /// let pool = Pool::new()?;
    /// let lane = pool.lane_builder("settings", 1).queue_limit(100).build()?;
    /// let settings = Strand::in_lane(&lane, String::from("dark"))?;
    /// assert_eq!(settings.call(|settings| settings.len()).wait()?, 4);
    /// assert!(Strand::in_lane(&pool.lane("wide", 2), ()).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn in_lane(lane: &Lane, value: T) -> io::Result<Self> {
        Strand::in_turn(lane.clone(), ChosenTarget::of(lane), value)
    }

    fn in_turn(lane: Lane, target: ChosenTarget, value: T) -> io::Result<Self> {
        if !lane.keep_serial() {
            let (name, limit) = (lane.name(), lane.limit());
            let message = format!("lane {name:?} has limit {limit}: the lane of a strand must have limit 1");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(Strand { inner: Arc::new(StrandInner { cell: ExclusiveCell::new(value), lane, target }) })
    }

    /// Queues a call, without waiting. The returned task resolves with what `f` returns.
    ///
    /// # Errors
    ///
    /// None here: the task resolves with a [`TaskError`](crate::TaskError) as any task does; with
    /// one that [`is_poisoned`](crate::TaskError::is_poisoned) if an earlier call has panicked, and
    /// with one that [`is_shutdown`](crate::TaskError::is_shutdown) if
    /// [`into_inner`](Strand::into_inner) has taken the value.
    #[doc(alias = "interact")]
    #[track_caller]
    pub fn call<F, R>(&self, f: F) -> Task<R>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        self.attempt(|value| Ok(f(value)))
    }

    /// [`call`](Strand::call) for a closure that may end the call without a value, for a reason.
    #[track_caller]
    pub(super) fn attempt<F, R>(&self, f: F) -> Task<R>
    where
        F: FnOnce(&mut T) -> Result<R, Reason> + Send + 'static,
        R: Send + 'static,
    {
        self.inner.target.attempt(self.turn(f))
    }

    /// The closure of the task that makes the call.
    pub(super) fn turn<F, R>(&self, f: F) -> impl FnOnce() -> Result<R, Reason> + Send + use<T, F, R>
    where
        F: FnOnce(&mut T) -> Result<R, Reason> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        move || match inner.access() {
            Ok(access) => access.with(f),
            Err(reason) => refuse(f, reason),
        }
    }

    /// Options for calls: a name, a time limit in the queue, what a shutdown does to them.
    pub fn options(&self) -> CallOptions<'_, T> {
        CallOptions::new(self, self.inner.target.options())
    }

    /// Takes the value out, once the calls queued so far have ended. Later calls, through any
    /// handle, resolve with an error that [`is_shutdown`](crate::TaskError::is_shutdown).
    ///
    /// # Errors
    ///
    /// The task resolves with an error that
    ///
    /// - [`is_poisoned`](crate::TaskError::is_poisoned) if a call has panicked. The value stays for
    ///   the other handles; see [`clear_poison`](Strand::clear_poison).
    /// - [`is_shutdown`](crate::TaskError::is_shutdown) if another `into_inner` has taken the
    ///   value.
    /// - [`is_full`](crate::TaskError::is_full) if the queue of the strand's lane is full. To try
    ///   again, keep a clone.
    ///
    /// # Cancellation
    ///
    /// Dropping the task before it has taken the value leaves the value to the other handles, or
    /// drops the value if there are none.
    #[track_caller]
    pub fn into_inner(self) -> Task<T> {
        self.take_with(Ok)
    }

    /// Takes the value out, as [`into_inner`](Strand::into_inner) does, and resolves with what `f`
    /// makes of it on the pool's thread. No handle or access is held while `f` runs.
    #[track_caller]
    pub(super) fn take_with<F, R>(self, f: F) -> Task<R>
    where
        F: FnOnce(T) -> Result<R, Reason> + Send + 'static,
        R: Send + 'static,
    {
        let Strand { inner } = self;
        let lane = inner.lane.clone();
        let take = move || {
            let value = inner.access().map(Access::take);
            drop(inner);
            value.and_then(f)
        };
        lane.attempt(take)
    }

    /// Whether a call has panicked since the start, or since the last
    /// [`clear_poison`](Strand::clear_poison). Calls that are queued or running may change the
    /// answer at any time.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.inner.cell.is_poisoned()
    }

    /// Declares the value sound, so that calls run again. Calls that were queued after the one that
    /// panicked, and before this, may or may not run.
    ///
    /// ```
    /// let total = sidestep::Strand::new(40);
    /// let broken = total.call(|_| panic!("half done"));
    /// assert!(broken.wait().unwrap_err().is_panic());
    /// assert!(total.call(|total| *total).wait().unwrap_err().is_poisoned());
    /// total.clear_poison();
    /// assert_eq!(total.call(|total| *total + 2).wait()?, 42);
    /// # Ok::<(), sidestep::TaskError>(())
    /// ```
    pub fn clear_poison(&self) {
        self.inner.cell.clear_poison();
    }

    /// The lane in which the calls run.
    #[must_use = "it only returns the lane"]
    pub fn lane(&self) -> &Lane {
        &self.inner.lane
    }
}

impl<T: Send + 'static> StrandInner<T> {
    /// Access to the value for the call that runs, or the reason why the call ends without it.
    fn access(&self) -> Result<Access<'_, T>, Reason> {
        self.cell.access().map_err(|error| match error {
            AccessError::Poisoned => Reason::Poisoned,
            AccessError::Taken => Reason::Taken,
            AccessError::Locked => Reason::LaneDeadlock,
        })
    }
}

/// Drops the closure of a call that will not run. A panic of its destructor is reported, and does
/// not change how the call ends.
fn refuse<F, R>(f: F, reason: Reason) -> Result<R, Reason> {
    catch_panic("the destructor of a call that was refused", || drop(f));
    Err(reason)
}

impl<T: Send + 'static> Drop for StrandInner<T> {
    fn drop(&mut self) {
        if !needs_drop::<T>() {
            return;
        }
        let Some(value) = self.cell.take() else { return };
        // In another lane, since the queue of the strand's lane may be full; and also on a pool
        // whose shutdown discards what is queued.
        let lane = self.lane.pool().unnamed_lane("strand");
        match lane.options().on_shutdown(OnShutdown::AlwaysRun).try_spawn(move || drop(value)) {
            Ok(task) => task.detach(),
            // The pool has been shut down. The value may own another strand, so this may recurse.
            Err(refused) => trampoline::bounce(move || {
                catch_panic("the destructor of a strand's value", || drop(refused));
            }),
        }
    }
}

impl<T: Send + 'static> Clone for Strand<T> {
    fn clone(&self) -> Self {
        Strand { inner: Arc::clone(&self.inner) }
    }
}

// A call that panics poisons the strand, so no later call sees the value half changed by accident.
impl<T: Send + 'static> UnwindSafe for Strand<T> {}
impl<T: Send + 'static> RefUnwindSafe for Strand<T> {}

impl<T: Send + 'static> fmt::Debug for Strand<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strand")
            .field("lane", &self.inner.lane.name())
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}
