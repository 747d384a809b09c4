//! A value behind the pool: [`Strand`].
//!
//! | file | owns |
//! |---|---|
//! | `mod` | [`Strand`]: a lane of limit 1 gives its calls their order |
//! | `cell` | the value, and which thread accesses it |
//! | `inner` | what handles and calls share, and who drops the value |
//! | `session` | [`Session`]: the value for one caller, over several calls |
//! | `callee` | [`Callee`]: what takes calls, and the work of a call |
//! | `options` | [`CallOptions`]: options of a call |
//! | `reserve` | [`CallPermit`]: room in the queue first, then the call |
//! | `dedicated` | [`Dedicated`]: a strand on a thread of its own |

#[forbid(unsafe_code)]
mod callee;
mod cell;
#[forbid(unsafe_code)]
mod dedicated;
#[forbid(unsafe_code)]
mod inner;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
#[forbid(unsafe_code)]
mod options;
#[forbid(unsafe_code)]
mod reserve;
#[forbid(unsafe_code)]
mod session;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

pub use self::callee::Callee;
pub use self::dedicated::Dedicated;
pub use self::options::CallOptions;
pub use self::reserve::{CallPermit, ReserveCall};
pub use self::session::Session;

pub(crate) use self::callee::{plain_call, refuse, sealed};

use self::cell::{Access, ExclusiveCell};
use self::inner::{StrandCall, StrandInner};
use crate::error::{Reason, Rejected};
use crate::pool::{ChosenTarget, Lane, Pool, Spawner, TaskOptions};
use crate::task::Task;

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
/// run](crate::Metrics::tasks_cancelled). [`replace`](Strand::replace) puts another value in its
/// place, and [`clear_poison`](Strand::clear_poison) declares the value sound again.
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
    /// A handle to the lane, which calls have not.
    lane: Lane,
}

impl<T: Send + 'static> Strand<T> {
    /// Puts `value` behind the global pool.
    pub fn new(value: T) -> Self {
        Strand::on(Pool::global(), value)
    }

    /// Puts a value behind the global pool that the pool makes: see [`open`](Strand::open).
    ///
    /// # Errors
    ///
    /// The task resolves with the error of `make`, and with those of any task.
    ///
    /// ```
    /// use sidestep::Strand;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let file = Strand::try_new(|| std::fs::File::open("Cargo.toml")).wait()??;
    /// assert!(file.call(|file| file.metadata()).wait()??.len() > 0);
    /// let none = Strand::try_new(|| std::fs::File::open("no such file")).wait()?;
    /// assert!(none.is_err());
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn try_new<E: Send + 'static>(
        make: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Task<Result<Self, E>> {
        Strand::open(Pool::global(), make)
    }

    /// Puts `value` behind a pool, or behind a lane of limit 1, as [`in_lane`](Strand::in_lane)
    /// does. The options of a spawner that has any apply to all calls but those with
    /// [options](Strand::options) of their own.
    ///
    /// # Panics
    ///
    /// If the spawner is a lane whose limit is not 1, or a key of which more than one task may run.
    #[track_caller]
    pub fn on(spawner: &impl Spawner, value: T) -> Self {
        let (lane, target) = lane_of(spawner);
        Strand::in_turn(lane, target, value)
    }

    /// Puts a value behind a pool, or behind a lane of limit 1, that is made there: to open a
    /// connection blocks too. The task resolves with the handle once the value has been made.
    ///
    /// # Errors
    ///
    /// The task resolves with the error of `make`, and with those of any task:
    /// [`is_panic`](crate::TaskError::is_panic) if `make` panics.
    ///
    /// # Cancellation
    ///
    /// Dropping the task takes a `make` that is queued back. One that runs is signalled, as any
    /// closure; the value that it makes all the same is dropped on the pool.
    ///
    /// # Panics
    ///
    /// If the spawner is a lane whose limit is not 1, or a key of which more than one task may run.
    ///
    /// ```
    /// use sidestep::{Pool, Strand};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::new()?;
    /// # sidestep::block_on(async {
    /// let file = Strand::open(&pool, || std::fs::File::open("Cargo.toml")).await??;
    /// assert!(file.call(|file| file.metadata()).await??.len() > 0);
    /// # Ok(()) })
    /// # }
    /// ```
    #[track_caller]
    pub fn open<E: Send + 'static>(
        spawner: &impl Spawner,
        make: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Task<Result<Self, E>> {
        let (lane, target) = lane_of(spawner);
        let own = (lane.without_handle(), target.without_handle());
        let make = move || make().map(|value| Strand::in_turn(own.0.handle(), own.1, value));
        target.start(make)
    }

    /// Puts `value` behind a lane of limit 1. Use it for a name, for a [limited
    /// queue](crate::LaneBuilder::queue_limit), or for the lane's own [metrics](Lane::metrics).
    /// Calls on several values in the same lane run one at a time.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), naming the lane and its limit, if the limit
    /// is another one; or if it is a keyed lane, of which [`on`](Strand::on) takes a key. The value
    /// is dropped.
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
        let target = ChosenTarget::of(lane);
        check_limit(&target)?;
        Ok(Strand::in_turn(lane.clone(), target, value))
    }

    fn in_turn(lane: Lane, target: ChosenTarget, value: T) -> Self {
        let (own_lane, target) = (lane.without_handle(), target.without_handle());
        let inner = StrandInner { cell: ExclusiveCell::new(value), lane: own_lane, target };
        Strand { inner: Arc::new(inner), lane }
    }

    /// Queues a call, without waiting. The returned task resolves with what `f` returns.
    ///
    /// # Errors
    ///
    /// None here: the task resolves with a [`TaskError`](crate::TaskError) as any task does; with
    /// one that [`is_poisoned`](crate::TaskError::is_poisoned) if an earlier call has panicked, and
    /// with one that [`is_shutdown`](crate::TaskError::is_shutdown) if
    /// [`into_inner`](Strand::into_inner) or [`close`](Strand::close) has taken the value.
    #[doc(alias = "interact")]
    #[track_caller]
    pub fn call<F, R>(&self, f: F) -> Task<R>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        plain_call(&self.inner.target, self.serves(), f)
    }

    /// [`call`](Strand::call) that returns the closure where the call is refused.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the closure, if the queue of the strand's lane is full, the pool is shut
    /// down, or this process is a forked child. That the value is poisoned or gone shows only when
    /// the call has its turn, so it is an error of the task.
    ///
    /// ```
    /// use sidestep::{Pool, Strand};
    ///
    /// let pool = Pool::new()?;
    /// let lane = pool.lane_builder("disk", 1).queue_limit(1).build()?;
    /// let disk = Strand::in_lane(&lane, ())?;
    /// # let (started, wait) = std::sync::mpsc::channel();
    /// # let (go, gate) = std::sync::mpsc::channel::<()>();
    /// # let running = disk.call(move |()| (started.send(()), gate.recv()));
    /// # wait.recv().unwrap();
    /// // One call runs.
    /// let queued = disk.call(|()| "in line");
    /// let rejected = disk.try_call(|()| "not this time").unwrap_err();
    /// assert!(rejected.error().is_full());
    /// assert_eq!(rejected.into_inner()(&mut ()), "not this time");
    /// # drop(go);
    /// # let _ = running.wait();
    /// assert_eq!(queued.wait()?, "in line");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn try_call<F, R>(&self, f: F) -> Result<Task<R>, Rejected<F>>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        self.options().try_call(f)
    }

    /// Waits for room in the queue of the strand's lane: backpressure, as with
    /// [`Lane::reserve`]. The permit makes the call.
    #[track_caller]
    pub fn reserve(&self) -> ReserveCall<Self> {
        self.options().reserve()
    }

    /// Options for calls: a name, a time limit in the queue, what a shutdown does to them.
    pub fn options(&self) -> CallOptions<'_, Self> {
        CallOptions::new(self)
    }

    /// The value for this caller alone, over several calls: see [`Session`]. The task resolves when
    /// the calls queued so far have ended; those that come later wait until the session is dropped.
    ///
    /// # Errors
    ///
    /// The task resolves with the errors of [`call`](Strand::call); and with one that
    /// [`is_unavailable`](crate::TaskError::is_unavailable) in a strand on a
    /// [`LaneKey`](crate::LaneKey): its session would hold up the lane's other keys.
    ///
    /// # Cancellation
    ///
    /// Dropping the task takes a request that is queued back, and ends a session that nobody has
    /// got yet.
    #[doc(alias = "lock")]
    #[doc(alias = "transaction")]
    #[track_caller]
    pub fn session(&self) -> Task<Session<T>> {
        let inner = Arc::clone(&self.inner);
        self.inner.target.attempt(move || {
            drop(inner.access()?);
            inner.lane.open_session()?;
            Ok(Session::new(inner))
        })
    }

    /// Puts `value` in the place of the strand's value, once the calls queued so far have ended,
    /// and drops the old one on the pool: so a strand goes on with a new connection after a call
    /// has panicked, or after the old one broke. The value is not poisoned any more.
    ///
    /// # Errors
    ///
    /// The task resolves with an error that [`is_shutdown`](crate::TaskError::is_shutdown) if
    /// [`into_inner`](Strand::into_inner) or [`close`](Strand::close) has taken the value: then
    /// `value` is dropped on the pool. Where the pool or a full queue refuses the task, or the task
    /// expires, `value` is dropped too. A panic of the old value's destructor is traced.
    ///
    /// # Cancellation
    ///
    /// Dropping the task before it has its turn drops `value` here, and changes nothing.
    ///
    /// ```
    /// let total = sidestep::Strand::new(40);
    /// let broken = total.call(|_| panic!("half done"));
    /// assert!(broken.wait().unwrap_err().is_panic());
    /// total.replace(41).wait()?;
    /// assert_eq!(total.call(|total| *total + 1).wait()?, 42);
    /// # Ok::<(), sidestep::TaskError>(())
    /// ```
    #[track_caller]
    pub fn replace(&self, value: T) -> Task<()> {
        let inner = Arc::clone(&self.inner);
        self.inner.target.attempt(move || inner.replace(value))
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
    /// - [`is_shutdown`](crate::TaskError::is_shutdown) if another `into_inner`, or a `close`, has
    ///   taken the value.
    /// - [`is_full`](crate::TaskError::is_full) if the queue of the strand's lane is full. To try
    ///   again, keep a clone.
    ///
    /// # Cancellation
    ///
    /// Dropping the task before it has taken the value leaves the value to the other handles, or
    /// drops the value if there are none.
    #[track_caller]
    pub fn into_inner(self) -> Task<T> {
        self.take_with(|inner| inner.access().map(Access::take), Ok)
    }

    /// Drops the value on the pool, once the calls queued so far have ended; then the task
    /// resolves. Later calls, through any handle, resolve with an error that
    /// [`is_shutdown`](crate::TaskError::is_shutdown).
    ///
    /// Dropping the last handle does the same, but does not say when it is done.
    ///
    /// # Errors
    ///
    /// Those of [`into_inner`](Strand::into_inner), but a poisoned value is dropped as well; and an
    /// error that [`is_panic`](crate::TaskError::is_panic) if the value's destructor panics.
    ///
    /// # Cancellation
    ///
    /// That of [`into_inner`](Strand::into_inner).
    ///
    /// ```
    /// let strand = sidestep::Strand::new(Vec::from("text"));
    /// let other = strand.clone();
    /// strand.close().wait()?;
    /// assert!(other.call(|text| text.len()).wait().unwrap_err().is_shutdown());
    /// # Ok::<(), sidestep::TaskError>(())
    /// ```
    #[track_caller]
    pub fn close(self) -> Task<()> {
        self.take_with(
            |inner| inner.access_poisoned().map(Access::take),
            |value| {
                drop(value);
                Ok(())
            },
        )
    }

    /// Takes the value out by `take`, and resolves with what `f` makes of it on the pool's thread.
    /// No handle or access is held while `f` runs.
    #[track_caller]
    fn take_with<F, V, R>(
        self,
        take: impl FnOnce(&StrandInner<T>) -> Result<V, Reason> + Send + 'static,
        f: F,
    ) -> Task<R>
    where
        F: FnOnce(V) -> Result<R, Reason> + Send + 'static,
        R: Send + 'static,
    {
        let Strand { inner, lane: _handle } = self;
        let target = inner.target.clone();
        target.attempt_plainly(move || {
            let value = take(&inner);
            drop(inner);
            value.and_then(f)
        })
    }

    /// Whether a call has panicked since the start, or since the last
    /// [`clear_poison`](Strand::clear_poison) or [`replace`](Strand::replace). Calls that are
    /// queued or running may change the answer at any time.
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
        &self.lane
    }

    fn serves(&self) -> StrandCall<T> {
        StrandCall(Arc::clone(&self.inner))
    }
}

/// The lane of limit 1 that `spawner` stands for, and the target in it.
///
/// # Panics
///
/// If it is a lane of another limit.
#[track_caller]
fn lane_of(spawner: &impl Spawner) -> (Lane, ChosenTarget) {
    let make = |pool: &Pool| Ok::<_, Infallible>(pool.private_lane("strand", 1));
    let Ok((lane, target)) = ChosenTarget::of(spawner).in_lane(make);
    if let Err(error) = check_limit(&target) {
        panic!("{error}");
    }
    (lane, target)
}

fn check_limit(target: &ChosenTarget) -> io::Result<()> {
    target.cap(1).map_err(|error| {
        let message = format!("{error}: a strand must be in a lane of limit 1, or on a key of per_key 1");
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })
}

impl<T: Send + 'static> sealed::Serve for Strand<T> {
    type Value = T;
    type Server = StrandCall<T>;

    fn server(&self) -> StrandCall<T> {
        self.serves()
    }

    fn call_options(&self) -> TaskOptions<'_> {
        self.inner.target.options()
    }
}

impl<T: Send + 'static> Clone for Strand<T> {
    fn clone(&self) -> Self {
        Strand { inner: Arc::clone(&self.inner), lane: self.lane.clone() }
    }
}

// A call that panics poisons the strand, so no later call sees the value half changed by accident.
impl<T: Send + 'static> UnwindSafe for Strand<T> {}
impl<T: Send + 'static> RefUnwindSafe for Strand<T> {}

impl<T: Send + 'static> fmt::Debug for Strand<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strand")
            .field("lane", &self.lane.name())
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}
