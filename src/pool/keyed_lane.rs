//! A lane whose tasks have keys: its handle, its settings, and the handle of one key. The protocol
//! is in `lane::keyed`.

use std::any::{TypeId, type_name};
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::io;
use std::marker::PhantomData;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, OnceLock};

use crate::error::{Rejected, TaskError};
use crate::lane::{ErasedKey, GoneKeys, KeyId, KeySettings, LaneCore, LanePlace, Naming, new_key_order};
use crate::panic::catch_panic;
use crate::pool::config::refuse;
use crate::pool::stats::LaneMetrics;
use crate::pool::submit::{Destination, LaneQueueOf, Permit, Reserve, Submitter, TaskOptions};
use crate::pool::until_idle::UntilIdle;
use crate::pool::{Lane, LaneBuilder, Pool};
use crate::task::{Task, Unblocked};

/// A [`Lane`] whose tasks have keys: first-in first-out within a key, keys in turn, and at most so
/// many at a time of each.
///
/// Use it where many customers, files, accounts or connections share a limit: work on one account
/// runs in order and one at a time, and a customer who floods the lane delays nobody but
/// themselves. It takes the place of a map of mutexes or queues, one for each key.
///
/// - **Within a key** tasks start in the order in which they were spawned, and at most
///   [`per_key`](KeyedLaneBuilder::per_key) of them run at a time: 1 by default, so the key is a
///   lock that blocks no thread.
/// - **Between keys** the lane takes one task of each key that has one, in turn. So a key with one
///   task waits for as many tasks as there are keys, at most, however many tasks another key has.
/// - **The limit** of the lane holds for all keys together, as that of a [`Lane`].
/// - **A key costs nothing** once no task of it is queued or runs, and no [`LaneKey`] of it is
///   left: then the lane drops it.
///
/// [`Pool::keyed_lane`] gets or makes it; all handles of one name are handles to one lane.
///
/// # Keys
///
/// Equal keys, by [`Eq`], are one key. The lane keeps the first of them, and drops the others at
/// once. A lane calls `Hash`, `Eq` and the destructor of a key under no lock, on the thread that
/// spawns; the destructor also on a thread that has run a task of the key. If `Hash` or `Eq`
/// panics, the panic is that of the call that was to spawn: its closure is dropped, and nothing has
/// been queued. Panics of a destructor are caught and traced.
///
/// # Waiting inside a key
///
/// A closure that waits for another task of its own key may wait for ever, if it holds the last
/// place of the key: then the wait returns [`is_deadlock`](TaskError::is_deadlock), as in a lane.
/// The pool cannot detect waits through channels, nor one for a permit of the lane's own full
/// queue.
///
/// ```
/// let pool = sidestep::Pool::new()?;
/// let accounts = pool.keyed_lane::<String>("accounts", 8).build()?;
/// let deposit = accounts.spawn("alice".to_owned(), || "deposited");
/// let withdraw = accounts.spawn("alice".to_owned(), || "withdrawn"); // after the deposit
/// let other = accounts.spawn("bob".to_owned(), || "beside both");
/// assert_eq!(withdraw.wait()?, "withdrawn");
/// assert_eq!((deposit.wait()?, other.wait()?), ("deposited", "beside both"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "keyed mutex")]
pub struct KeyedLane<K> {
    lane: Lane,
    keys: PhantomData<fn(K)>,
}

/// Builds a [`KeyedLane`].
///
/// ```
/// let pool = sidestep::Pool::new()?;
/// let hosts = pool.keyed_lane::<&str>("hosts", 100).per_key(2).queue_limit(10_000).build()?;
/// assert_eq!((hosts.limit(), hosts.per_key()), (100, 2));
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct KeyedLaneBuilder<'a, K> {
    lane: LaneBuilder<'a>,
    name: String,
    per_key: Option<usize>,
    keys: PhantomData<fn(K)>,
}

impl<'a, K: Hash + Eq + Send + Sync + 'static> KeyedLaneBuilder<'a, K> {
    pub(super) fn new(pool: &'a Pool, name: String, limit: usize) -> Self {
        let lane = LaneBuilder::new(pool, name.clone(), limit);
        KeyedLaneBuilder { lane, name, per_key: None, keys: PhantomData }
    }

    /// How many tasks of one key run at one time at most: 1 by default, and at least that.
    /// [`usize::MAX`] is as good as no limit.
    pub fn per_key(mut self, tasks: usize) -> Self {
        self.per_key = Some(tasks);
        self
    }

    /// How many tasks may wait in the lane at one time, of all keys together; see
    /// [`LaneBuilder::queue_limit`].
    pub fn queue_limit(mut self, tasks: usize) -> Self {
        self.lane = self.lane.queue_limit(tasks);
        self
    }

    /// Gives the lane threads of its own; see [`LaneBuilder::reserve`].
    pub fn reserve(mut self, threads: usize) -> Self {
        self.lane = self.lane.reserve(threads);
        self
    }

    /// Divides turns with other lanes; see [`LaneBuilder::share`].
    pub fn share(mut self, weight: usize) -> Self {
        self.lane = self.lane.share(weight);
        self
    }

    /// Gets the lane of this name, or builds it.
    ///
    /// # Errors
    ///
    /// The errors of [`LaneBuilder::build`]. Besides
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), naming the lane and the value, if `per_key`
    /// is 0, and [`AlreadyExists`](io::ErrorKind::AlreadyExists) if a living lane of the name has
    /// no keys, keys of another type, or another `per_key`.
    pub fn build(self) -> io::Result<KeyedLane<K>> {
        let per_key = self.per_key.unwrap_or(1);
        if per_key == 0 {
            return refuse(format!("per_key of lane {:?} (0) must be at least 1", self.name));
        }
        let keys = KeySettings {
            key: TypeId::of::<K>(),
            key_name: type_name::<K>(),
            per_key,
            is_set: self.per_key.is_some(),
            order: new_key_order,
        };
        let lane = self.lane.make(Naming::Shared, Some(keys))?;
        Ok(KeyedLane { lane, keys: PhantomData })
    }
}

/// What hashes the keys of all lanes of the process: handles of one lane must agree.
fn hasher() -> &'static RandomState {
    static HASHER: OnceLock<RandomState> = OnceLock::new();
    HASHER.get_or_init(RandomState::new)
}

/// A pin on a key: as long as it is there, so is the key.
struct PinnedKey {
    core: Arc<LaneCore>,
    id: KeyId,
}

impl Drop for PinnedKey {
    fn drop(&mut self) {
        self.core.unpin_key(self.id);
    }
}

impl PinnedKey {
    /// Pins `key`, or the one that is equal to it and known. `None` in a forked child.
    fn new<K: Hash + Eq + Send + Sync + 'static>(core: &Arc<LaneCore>, key: K) -> Option<Self> {
        let hash = hasher().hash_one(&key);
        let mut key = Some(key);
        let mut after = 0;
        loop {
            let mut fresh = || -> ErasedKey {
                match key.take() {
                    Some(key) => Arc::new(key),
                    None => unreachable!("the loop ends with the first new key"),
                }
            };
            let (id, known) = core.pin_key(hash, after, &mut fresh)?;
            // Taken off again if the comparison panics, or finds another key.
            let pin = PinnedKey { core: Arc::clone(core), id };
            let Some(known) = known.map(GoneKeys::one) else { return Some(pin) };
            if known.first().and_then(|known| known.downcast_ref::<K>()) == key.as_ref() {
                catch_panic("the destructor of a lane's key", || drop(key));
                return Some(pin);
            }
            after = id.number();
        }
    }
}

/// Where the tasks of a key wait. In a forked child there are no pins, and no queue.
fn place(pin: Option<&PinnedKey>) -> LanePlace {
    pin.map_or(LanePlace::InOrder, |pin| LanePlace::Key(pin.id))
}

impl<K: Hash + Eq + Send + Sync + 'static> KeyedLane<K> {
    fn submitter(&self, pin: Option<&PinnedKey>) -> Submitter<'_, LaneQueueOf<'_>> {
        let queue = LaneQueueOf { lane: self.lane.shared(), place: place(pin) };
        Submitter { queue, ..self.lane.submitter() }
    }

    /// Queues `f` under `key` and returns at once with a handle to its result; see [`Pool::spawn`].
    ///
    /// # Errors
    ///
    /// This call never fails. Where the lane is full, or the pool is shut down or without a thread,
    /// it drops `f` unrun, and the handle resolves with an error that names the reason.
    ///
    /// # Panics
    ///
    /// If `Hash` or `Eq` of the key panics.
    #[track_caller]
    pub fn spawn<F, T>(&self, key: K, f: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let pin = PinnedKey::new(self.lane.shared(), key);
        let carried = self.pool().inner.carried.metadata();
        self.submitter(pin.as_ref()).spawn(f, Location::caller(), carried)
    }

    /// [`spawn`](KeyedLane::spawn) for when no error is expected: see [`Pool::unblock`].
    ///
    /// # Panics
    ///
    /// As [`spawn`](KeyedLane::spawn); and awaiting the future panics if `f` panicked, or if the
    /// pool could not run it.
    #[track_caller]
    pub fn unblock<F, T>(&self, key: K, f: F) -> Unblocked<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Unblocked::new(self.spawn(key, f))
    }

    /// [`spawn`](KeyedLane::spawn) that returns the closure where the lane refuses it; see
    /// [`Pool::try_spawn`].
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the closure, if the lane's queue is full, the pool is shut down, or this
    /// process is a forked child.
    ///
    /// # Panics
    ///
    /// As [`spawn`](KeyedLane::spawn).
    #[track_caller]
    pub fn try_spawn<F, T>(&self, key: K, f: F) -> Result<Task<T>, Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let pin = PinnedKey::new(self.lane.shared(), key);
        let carried = self.pool().inner.carried.metadata();
        self.submitter(pin.as_ref()).try_spawn(f, Location::caller(), carried)
    }

    /// A handle to one key: for options, for permits, and where a [`Spawner`](crate::Spawner) is
    /// wanted.
    ///
    /// # Panics
    ///
    /// As [`spawn`](KeyedLane::spawn).
    pub fn key(&self, key: K) -> LaneKey {
        let pin = PinnedKey::new(self.lane.shared(), key).map(Arc::new);
        LaneKey { pin, lane: self.lane.clone() }
    }

    /// Waits for a permit of the lane's queue, for a task under `key`: see [`Lane::reserve`].
    ///
    /// # Panics
    ///
    /// As [`spawn`](KeyedLane::spawn).
    #[track_caller]
    pub fn reserve(&self, key: K) -> Reserve {
        Reserve::of(Destination::Key(self.key(key)), Location::caller())
    }
}

impl<K> KeyedLane<K> {
    /// The lane's name; see [`Lane::name`].
    #[must_use]
    pub fn name(&self) -> &str {
        self.lane.name()
    }

    /// How many of the lane's closures run at one time at most, of all keys together; see
    /// [`Lane::limit`].
    #[must_use]
    pub fn limit(&self) -> usize {
        self.lane.limit()
    }

    /// Sets that limit; see [`Lane::set_limit`].
    ///
    /// # Errors
    ///
    /// None: the lane of a strand that is on a key keeps that key to one call at a time whatever
    /// the limit is.
    pub fn set_limit(&self, limit: usize) -> io::Result<()> {
        self.lane.set_limit(limit)
    }

    /// How many closures of one key run at one time at most.
    #[must_use]
    pub fn per_key(&self) -> usize {
        self.lane.core().settings().keys.as_ref().map_or(1, |keys| keys.per_key)
    }

    /// How many keys the lane knows at this moment: those with tasks that are queued or run, and
    /// those with a [`LaneKey`]. If all tasks of a key have been cancelled, the lane may keep the
    /// key until a thread, a later spawn or this call comes across them: this call drops it.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.lane.core().keys()
    }

    /// Waits until nothing of the lane is queued or runs; see [`Lane::idle`].
    pub fn idle(&self) -> UntilIdle {
        self.lane.idle()
    }

    /// The pool whose threads the lane uses.
    #[must_use = "it only returns the pool"]
    pub fn pool(&self) -> &Pool {
        self.lane.pool()
    }

    /// Returns the lane's metrics, of all keys together; see [`Lane::metrics`].
    #[must_use]
    pub fn metrics(&self) -> LaneMetrics {
        self.lane.metrics()
    }
}

/// One key of a [`KeyedLane`], from [`KeyedLane::key`]: what spawns here runs under the key.
///
/// It has what a lane has for spawning, options and permits included, and is a
/// [`Spawner`](crate::Spawner). The lane keeps the key as long as there is such a handle.
///
/// ```
/// use std::time::Duration;
///
/// let pool = sidestep::Pool::new()?;
/// let accounts = pool.keyed_lane::<u32>("accounts", 8).build()?;
/// let account = accounts.key(1207);
/// let statement = account.options().name("statement").expire_after(Duration::from_secs(30));
/// assert_eq!(statement.spawn(|| "printed").wait()?, "printed");
/// assert_eq!(account.reserve().wait()?.spawn(|| "paid").wait()?, "paid");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct LaneKey {
    /// Before the lane, which it refers to. `None` in a forked child.
    pin: Option<Arc<PinnedKey>>,
    lane: Lane,
}

impl LaneKey {
    pub(super) fn submitter(&self) -> Submitter<'_, LaneQueueOf<'_>> {
        let queue = LaneQueueOf { lane: self.lane.shared(), place: place(self.pin.as_deref()) };
        Submitter { queue, ..self.lane.submitter() }
    }

    pub(super) fn lane(&self) -> &Lane {
        &self.lane
    }

    /// The key, for what its tasks keep: see [`Lane::without_handle`].
    pub(super) fn without_handle(&self) -> LaneKey {
        LaneKey { pin: self.pin.clone(), lane: self.lane.without_handle() }
    }

    /// The key with a handle of the lane, which lives.
    pub(super) fn with_handle(&self) -> LaneKey {
        LaneKey { pin: self.pin.clone(), lane: self.lane.handle() }
    }

    /// Queues `f` under this key; see [`KeyedLane::spawn`].
    ///
    /// # Errors
    ///
    /// This call never fails: the handle resolves with an error where the lane refuses `f`.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submitter().spawn(f, Location::caller(), self.lane.pool().inner.carried.metadata())
    }

    /// [`spawn`](LaneKey::spawn) for when no error is expected: see [`Pool::unblock`].
    ///
    /// # Panics
    ///
    /// Not here, but awaiting the future panics if `f` panicked, or if the pool could not run it.
    #[track_caller]
    pub fn unblock<F, T>(&self, f: F) -> Unblocked<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Unblocked::new(self.spawn(f))
    }

    /// [`spawn`](LaneKey::spawn) that returns the closure where the lane refuses it.
    ///
    /// # Errors
    ///
    /// [`Rejected`], as for [`KeyedLane::try_spawn`].
    #[track_caller]
    pub fn try_spawn<F, T>(&self, f: F) -> Result<Task<T>, Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submitter().try_spawn(f, Location::caller(), self.lane.pool().inner.carried.metadata())
    }

    /// Waits for a permit of the lane's queue, for a task of this key: see [`Lane::reserve`].
    #[track_caller]
    pub fn reserve(&self) -> Reserve {
        Reserve::of(Destination::Key(self.clone()), Location::caller())
    }

    /// Returns such a permit if one is free: see [`Lane::try_reserve`].
    ///
    /// # Errors
    ///
    /// Those of [`Lane::try_reserve`].
    #[track_caller]
    pub fn try_reserve(&self) -> Result<Permit, TaskError> {
        Reserve::of(Destination::Key(self.clone()), Location::caller()).try_now()
    }

    /// Sets options for the next tasks of this key; see [`Pool::options`].
    pub fn options(&self) -> TaskOptions<'_> {
        TaskOptions::of_key(self)
    }
}

impl<K> Clone for KeyedLane<K> {
    fn clone(&self) -> Self {
        KeyedLane { lane: self.lane.clone(), keys: PhantomData }
    }
}

// User code runs under no lock of the lane, as for `Lane`.
impl<K> UnwindSafe for KeyedLane<K> {}
impl<K> RefUnwindSafe for KeyedLane<K> {}
impl UnwindSafe for LaneKey {}
impl RefUnwindSafe for LaneKey {}

impl<K> fmt::Debug for KeyedLane<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedLane")
            .field("name", &self.name())
            .field("limit", &self.limit())
            .field("per_key", &self.per_key())
            .finish_non_exhaustive()
    }
}

impl<K> fmt::Debug for KeyedLaneBuilder<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedLaneBuilder")
            .field("lane", &self.lane)
            .field("per_key", &self.per_key)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneKey").field("lane", &self.lane).finish_non_exhaustive()
    }
}
