//! What is counted about tasks, by a pool and by a lane, and what a thread that cancels a queued
//! task touches of either.
//!
//! The counts obey
//!
//! ```text
//! submitted = completed + panicked + denied + cancelled + queued + running
//! ```
//!
//! at every reading, because every step is counted before the next can happen and the readers go
//! the other way: ends first, then starts, then submissions. A thread of a pool counts in its own
//! record, any other thread in one of a few shards, so that threads do not fight over a counter.
//!
//! # The account
//!
//! A task knows the account of its pool or lane by the address alone (rule T4 of `task`): what the
//! pool or lane holds besides may be on its way out meanwhile. So the account has an allocation of
//! its own. The drop of the pool's state, and of a lane, has that to itself, by `&mut`, and waits
//! until every task is counted, and each canceller *settled*, before it lets go of the account. A
//! canceller counts twice: the cancellation, and then, as the last thing that it does with the
//! account, that it is settled. In between it looks whether the pool or lane is idle now.
//!
//! ORDERING: each Release in `increment` and `increment_shared` pairs with the Acquire in `get`: a
//! reader that sees the count sees what was counted before. So a reader that sees an end sees the
//! start, and a thread that sees the last canceller settled may free the account. For the monitor
//! the fence in `Idle::notify`, which comes after, orders the submissions. The fence of a canceller
//! is I1 of `idle_waiters`.

mod idle_waiters;

pub(crate) use self::idle_waiters::{IdleSource, IdleTicket, IdleWaiters, Woken};

use std::array;
use std::cell::Cell;
use std::fmt;
use std::ops::AddAssign;
use std::sync::Arc;
use std::task::Waker;

use crossbeam_utils::CachePadded;

use crate::error::Reason;
use crate::semaphore::Semaphore;
use crate::sync::atomic::{AtomicU64, Ordering, StaticU64, fence};
use crate::sync::{Tracked, thread_local_const};
use crate::task::{Owner, wake};

const SHARDS: usize = if cfg!(sidestep_loom) { 1 } else { 16 };

/// What has become of the tasks of a pool or of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskCounts {
    pub(crate) submitted: u64,
    pub(crate) started: u64,
    pub(crate) completed: u64,
    pub(crate) panicked: u64,
    /// Calls that began, but did not get the value that they are for.
    pub(crate) denied: u64,
    pub(crate) cancelled: u64,
    /// Those of the cancelled ones whose time was up.
    pub(crate) expired: u64,
    /// What was to be submitted and was refused: no task.
    pub(crate) rejected: u64,
}

impl TaskCounts {
    pub(crate) fn queued(&self) -> u64 {
        self.submitted - self.started - self.cancelled
    }

    pub(crate) fn running(&self) -> u64 {
        self.started - self.ended()
    }

    /// Tasks that a thread has run to their end.
    pub(crate) fn ended(&self) -> u64 {
        self.completed + self.panicked + self.denied
    }

    /// Tasks whose closure has returned or panicked.
    pub(crate) fn ran(&self) -> u64 {
        self.completed + self.panicked
    }

    /// Tasks whose closure has not run.
    pub(crate) fn unrun(&self) -> u64 {
        self.cancelled + self.denied
    }

    /// Whether every task has ended.
    pub(crate) fn balanced(&self) -> bool {
        self.submitted == self.ended() + self.cancelled
    }
}

impl AddAssign for TaskCounts {
    fn add_assign(&mut self, other: Self) {
        self.submitted += other.submitted;
        self.started += other.started;
        self.completed += other.completed;
        self.panicked += other.panicked;
        self.denied += other.denied;
        self.cancelled += other.cancelled;
        self.expired += other.expired;
        self.rejected += other.rejected;
    }
}

/// A number of events, which only grows.
#[derive(Debug)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn new() -> Self {
        Counter(AtomicU64::new(0))
    }

    /// Adds one. Only one thread at a time may call this, which therefore needs no
    /// read-modify-write.
    #[inline]
    pub(crate) fn increment(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Adds one, perhaps beside other threads.
    #[inline]
    pub(crate) fn increment_shared(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// What was counted a moment ago: orders nothing.
    pub(crate) fn peek(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Default for Counter {
    fn default() -> Self {
        Counter::new()
    }
}

/// What is counted by threads that run tasks.
#[derive(Debug, Default)]
pub(crate) struct RunCounters {
    /// Tasks that have begun to run.
    pub(crate) started: Counter,
    /// Tasks whose closure has returned, counted before the result can be seen.
    pub(crate) completed: Counter,
    /// Tasks whose closure has panicked, counted before the result can be seen.
    pub(crate) panicked: Counter,
    /// Calls that began, but did not get the value that they are for.
    pub(crate) denied: Counter,
}

impl RunCounters {
    /// The counter of tasks that have ended with a value, or for `reason` without.
    #[inline]
    pub(crate) fn ended(&self, reason: Option<&Reason>) -> &Counter {
        match reason {
            None => &self.completed,
            Some(Reason::Panicked(_)) => &self.panicked,
            Some(_) => &self.denied,
        }
    }

    /// Tasks that a thread has run to their end.
    pub(crate) fn all_ended(&self) -> u64 {
        self.completed.get() + self.panicked.get() + self.denied.get()
    }

    /// Adds what has been counted to `counts`: ends first, then starts. The caller reads what has
    /// been submitted next.
    pub(crate) fn add_to(&self, counts: &mut TaskCounts) {
        counts.completed += self.completed.get();
        counts.panicked += self.panicked.get();
        counts.denied += self.denied.get();
        counts.started += self.started.get();
    }
}

/// What is counted of tasks that do not run, by threads of any kind.
#[derive(Debug, Default)]
pub(crate) struct UnrunCounters {
    cancelled: Counter,
    /// Tasks whose time was up, counted before they are counted as cancelled.
    expired: Counter,
    /// What was refused, and is no task.
    rejected: Counter,
    /// Tasks whose canceller has let go of the account.
    settled: Counter,
}

impl UnrunCounters {
    pub(crate) fn cancelled(&self) -> &Counter {
        &self.cancelled
    }

    /// A submission has been refused.
    pub(crate) fn count_rejected(&self) {
        self.rejected.increment_shared();
    }

    /// Adds what has been counted to `counts`: what is a part of the cancelled before those.
    pub(crate) fn add_to(&self, counts: &mut TaskCounts) {
        counts.expired += self.expired.get();
        counts.cancelled += self.cancelled.get();
        counts.rejected += self.rejected.get();
    }

    /// Whether every thread that has counted a cancellation has let go of the account.
    pub(crate) fn is_settled(&self) -> bool {
        let cancelled = self.cancelled.get();
        self.settled.get() >= cancelled
    }
}

/// What an account counts.
pub(crate) trait AccountCounters: Send + Sync {
    /// The counters in which this thread counts tasks that it cancels. In the course of one
    /// cancellation they are the same.
    fn unrun(&self) -> &UnrunCounters;
}

/// The part of a pool, or of a lane, that its tasks refer to.
pub(crate) struct Account<C> {
    pub(crate) counters: C,
    permits: Option<Semaphore>,
    /// Those that wait until nothing of this account is queued or runs,
    idle: IdleWaiters,
    /// and those that wait for the whole pool.
    idle_pool: Arc<IdleWaiters>,
    freed: Tracked,
}

impl<C> Account<C> {
    /// The account of a pool or lane whose queue has these permits, if it is limited; `idle_pool`
    /// are those that wait until the pool is idle.
    pub(crate) fn new(counters: C, permits: Option<Semaphore>, idle_pool: Arc<IdleWaiters>) -> Arc<Self> {
        Arc::new(Account { counters, permits, idle: IdleWaiters::new(), idle_pool, freed: Tracked::new() })
    }

    /// Those that wait until nothing of this account is queued or runs.
    pub(crate) fn idle(&self) -> &IdleWaiters {
        &self.idle
    }

    /// A task has been cancelled: whether that was the last one, if anything waits for that.
    fn look_for_idle(&self) -> [Option<Woken>; 2] {
        fence(Ordering::SeqCst);
        [&self.idle, &*self.idle_pool].map(|idle| idle.is_wanted().then(|| idle.look()))
    }

    /// The permits of the queue, if it is limited.
    #[inline]
    pub(crate) fn permits(&self) -> Option<&Semaphore> {
        self.permits.as_ref()
    }

    /// Releases the permit of a task that will not run, without a call of the waker of the waiter
    /// that gets the permit.
    fn release_deferred(&self) -> Option<Waker> {
        self.permits.as_ref().and_then(Semaphore::release_deferred)
    }
}

impl<C: AccountCounters> Owner for Account<C> {
    unsafe fn count_cancelled(this: *const Self, expired: bool) {
        // SAFETY: T4: the task has not been counted as settled yet. The reference ends before that.
        let waker = unsafe { (*this).release_deferred() };
        // SAFETY: T4: as above. For the model checker.
        unsafe { (*this).freed.share() };
        // SAFETY: T4: as above. No function is given the reference to all counters but `unrun`,
        // which returns before the count; the one that it returns covers atomics alone.
        let unrun = unsafe { (*this).counters.unrun() };
        if expired {
            unrun.expired.increment_shared();
        }
        unrun.cancelled.increment_shared();
        // SAFETY: T4: as above.
        let woken = unsafe { (*this).look_for_idle() };
        unrun.settled.increment_shared();
        // A waker may let go of the last handle of the pool or lane.
        waker.into_iter().for_each(wake);
        woken.into_iter().flatten().for_each(Woken::wake);
    }
}

impl<C> Drop for Account<C> {
    fn drop(&mut self) {
        self.freed.own();
    }
}

impl<C> fmt::Debug for Account<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("permits", &self.permits).finish_non_exhaustive()
    }
}

/// Counters of what is counted by threads that are not the pool's.
#[derive(Debug, Default)]
struct CounterShard {
    submitted: Counter,
    unrun: UnrunCounters,
}

/// The counters in the account of a pool.
#[derive(Debug)]
pub(crate) struct PoolCounters([CachePadded<CounterShard>; SHARDS]);

/// What the tasks of a pool's own queues refer to.
pub(crate) type PoolAccount = Account<PoolCounters>;

impl PoolCounters {
    pub(crate) fn new() -> Self {
        PoolCounters(array::from_fn(|_| CachePadded::default()))
    }

    #[inline]
    fn shard(&self) -> &CounterShard {
        &self.0[thread_number() % SHARDS]
    }

    /// The counter in which this thread counts tasks that it submits.
    #[inline]
    pub(crate) fn submitted(&self) -> &Counter {
        &self.shard().submitted
    }

    /// The sum over all threads.
    pub(crate) fn all_submitted(&self) -> u64 {
        self.0.iter().map(|shard| shard.submitted.get()).sum()
    }

    /// The sum over all threads.
    pub(crate) fn all_cancelled(&self) -> u64 {
        self.0.iter().map(|shard| shard.unrun.cancelled.get()).sum()
    }

    /// What was refused, and whose time was up, of all threads.
    pub(crate) fn rejected_and_expired(&self) -> (u64, u64) {
        let sum = |counter: fn(&UnrunCounters) -> &Counter| {
            self.0.iter().map(|shard| counter(&shard.unrun).get()).sum()
        };
        (sum(|unrun| &unrun.rejected), sum(|unrun| &unrun.expired))
    }

    /// Whether every thread that has counted a cancellation has let go of the account.
    pub(crate) fn is_settled(&self) -> bool {
        self.0.iter().all(|shard| shard.unrun.is_settled())
    }
}

impl AccountCounters for PoolCounters {
    fn unrun(&self) -> &UnrunCounters {
        &self.shard().unrun
    }
}

/// A number for this thread: small, and different for threads that started near each other.
#[inline]
pub(crate) fn thread_number() -> usize {
    static NEXT: StaticU64 = StaticU64::new(1);
    thread_local_const! { static NUMBER: Cell<usize> = Cell::new(0) }
    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed) as usize);
        }
        number.get()
    })
}
