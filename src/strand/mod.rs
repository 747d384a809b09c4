//! A value behind the pool: [`Strand`]. Its turns are a lane of one; `home` has the value,
//! `options` what a call may be given along; `dedicated` is a strand on a thread of its own.

#[forbid(unsafe_code)]
mod dedicated;
mod home;
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

use self::home::{Absence, Home, Visit};
use crate::error::Reason;
use crate::panic::catch_panic;
use crate::pool::{Lane, Pool};
use crate::sync::trampoline;
use crate::task::{OnShutdown, Task};

/// A value that lives behind a pool: calls on it run on the pool's threads, one at a time, in the
/// order in which they were made.
///
/// For a value that blocks and that many share: a database connection, a device, a log file. It
/// takes the place of `Arc<Mutex<T>>` with a spawned closure that locks it, where each call that
/// waits for the lock holds a thread. A strand holds a thread only while a call runs, and none
/// while nothing is queued.
///
/// Clones are handles to the same value. When the last handle is dropped, the calls that are queued
/// still run; then the value is dropped on the pool, or in place where that has been shut down. A
/// strand keeps its pool alive as a [`Pool`] does.
///
/// # Waiting inside a call
///
/// A call that [`wait`](Task::wait)s for another call of its own strand is told so by
/// [`is_deadlock`](crate::TaskError::is_deadlock): directly, or through tasks, scopes and calls of
/// other strands, of whatever pools, that wait for each other in a circle. Then the one whose wait
/// closes the circle is told. A wait through a channel or [`block_on`](crate::block_on) cannot be
/// seen, and hangs.
///
/// # Poisoning
///
/// A call that panics leaves the value as it happens to be, so the strand is *poisoned*, as a
/// [`std::sync::Mutex`] is: later calls do not run and resolve with
/// [`is_poisoned`](crate::TaskError::is_poisoned). They count as panicked in
/// [`Metrics`](crate::Metrics). [`clear_poison`](Strand::clear_poison) says that the value is sound
/// after all.
///
/// # Cancellation
///
/// As for [`Task`]: dropping the handle of a call takes it out of the queue at once; one that runs
/// is told, which [`current::on_cancel`](crate::current::on_cancel) passes on to what blocks, and
/// the next begins when it has ended.
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
pub struct Strand<T: Send + 'static> {
    inner: Arc<Inner<T>>,
}

struct Inner<T: Send + 'static> {
    home: Home<T>,
    lane: Lane,
}

impl<T: Send + 'static> Strand<T> {
    /// Puts `value` behind the global pool.
    #[must_use]
    pub fn new(value: T) -> Self {
        Strand::on(Pool::global(), value)
    }

    /// Puts `value` behind `pool`.
    #[must_use]
    pub fn on(pool: &Pool, value: T) -> Self {
        Strand::in_turn(pool.lane("strand", 1), value)
    }

    /// Puts `value` behind a lane of limit 1, for a name, a [limited
    /// queue](crate::LaneBuilder::queue_limit), or the lane's own [metrics](Lane::metrics). Values
    /// in the same lane take turns.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), naming the lane and its limit, if that is
    /// not 1.
    /// The value is dropped.
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
        if lane.limit() != 1 {
            let message = format!("lane {:?} has limit {}: a strand needs 1", lane.name(), lane.limit());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(Strand::in_turn(lane.clone(), value))
    }

    fn in_turn(lane: Lane, value: T) -> Self {
        Strand { inner: Arc::new(Inner { home: Home::new(value), lane }) }
    }

    /// Queues a call. It never waits; the handle gives what `f` returns.
    ///
    /// # Errors
    ///
    /// None here: the handle resolves with a [`TaskError`](crate::TaskError), as any task, and with
    /// [`is_poisoned`](crate::TaskError::is_poisoned) where an earlier call has panicked, or
    /// [`is_shutdown`](crate::TaskError::is_shutdown) where the value has been taken by
    /// [`into_inner`](Strand::into_inner).
    #[doc(alias = "interact")]
    #[track_caller]
    pub fn call<F, R>(&self, f: F) -> Task<R>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        self.attempt(|value| Ok(f(value)))
    }

    /// [`call`](Strand::call) for one who may end the call with a reason of the crate's own.
    #[track_caller]
    pub(super) fn attempt<F, R>(&self, f: F) -> Task<R>
    where
        F: FnOnce(&mut T) -> Result<R, Reason> + Send + 'static,
        R: Send + 'static,
    {
        self.inner.lane.attempt(self.turn(f))
    }

    /// What a call does when its turn has come.
    pub(super) fn turn<F, R>(&self, f: F) -> impl FnOnce() -> Result<R, Reason> + Send + use<T, F, R>
    where
        F: FnOnce(&mut T) -> Result<R, Reason> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        move || match inner.enter() {
            Ok(visit) => visit.with(f),
            Err(reason) => refuse(f, reason),
        }
    }

    /// Options for calls: a name, a time limit in the queue, what a shutdown does to them.
    pub fn options(&self) -> CallOptions<'_, T> {
        CallOptions::new(self)
    }

    /// Takes the value out, once the calls queued so far have ended. Later calls, from whatever
    /// handle, resolve with [`is_shutdown`](crate::TaskError::is_shutdown).
    ///
    /// # Errors
    ///
    /// [`is_poisoned`](crate::TaskError::is_poisoned), and the value stays for the other handles;
    /// see [`clear_poison`](Strand::clear_poison). [`is_shutdown`](crate::TaskError::is_shutdown)
    /// if another `into_inner` was faster. [`is_full`](crate::TaskError::is_full) if the queue of
    /// the strand's lane is: who wants to try again keeps a clone.
    ///
    /// # Cancellation
    ///
    /// Dropping the task before the value has been taken leaves it to the other handles, or drops
    /// it if there are none.
    #[track_caller]
    pub fn into_inner(self) -> Task<T> {
        self.take_with(Ok)
    }

    /// Takes the value for good, as [`into_inner`](Strand::into_inner), and gives what `f` makes of
    /// it on the pool's thread. `f` holds nothing.
    #[track_caller]
    pub(super) fn take_with<F, R>(self, f: F) -> Task<R>
    where
        F: FnOnce(T) -> Result<R, Reason> + Send + 'static,
        R: Send + 'static,
    {
        let Strand { inner } = self;
        let lane = inner.lane.clone();
        let take = move || {
            let value = inner.enter().map(Visit::take);
            drop(inner);
            value.and_then(f)
        };
        lane.attempt(take)
    }

    /// True if a call has panicked and nobody has [said](Strand::clear_poison) that the value is
    /// sound. Calls that are queued or running may change that at any time.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.inner.home.is_poisoned()
    }

    /// Lets calls run again. Those queued after the one that panicked and before this may run or
    /// not.
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
        self.inner.home.clear_poison();
    }

    /// The lane in which the calls take turns.
    #[must_use]
    pub fn lane(&self) -> &Lane {
        &self.inner.lane
    }
}

impl<T: Send + 'static> Inner<T> {
    /// The value, in a call whose turn it is; or why there is none.
    fn enter(&self) -> Result<Visit<'_, T>, Reason> {
        self.home.enter().map_err(|absence| match absence {
            Absence::Poisoned => Reason::Poisoned,
            Absence::Gone => Reason::Taken,
            Absence::Busy => Reason::LaneDeadlock,
        })
    }
}

/// Drops the closure of a call that will not run. A panic of its destructor is none of the call's.
fn refuse<F, R>(f: F, reason: Reason) -> Result<R, Reason> {
    catch_panic("the destructor of a call that was refused", || drop(f));
    Err(reason)
}

impl<T: Send + 'static> Drop for Inner<T> {
    fn drop(&mut self) {
        if !needs_drop::<T>() {
            return;
        }
        let Some(value) = self.home.take() else { return };
        // A lane of its own: the queue of the other may be full. And a shutdown that discards does
        // not do it for the pool.
        let lane = self.lane.pool().lane("strand", 1);
        match lane.options().on_shutdown(OnShutdown::AlwaysRun).try_spawn(move || drop(value)) {
            Ok(task) => task.detach(),
            // The pool has been shut down. The value may own another strand.
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

// A call that panics poisons the value: nobody sees it half changed unasked.
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
