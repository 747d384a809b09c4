//! Which threads sleep, and which are woken.
//!
//! # The word
//!
//! Four counts of 16 bits, changed together:
//!
//! | count | threads in it | what it promises |
//! |---|---|---|
//! | idle | sleepers on the stack | nothing; they can be woken |
//! | searching | woken threads, threads that have just delivered, and one that spins, until they find something or sleep | **S** |
//! | starting | threads being created | **S** |
//! | delivering | threads inside a waker or callback that will search when it returns | **S**, if the waker returns |
//!
//! A token is membership in one of the last three. **Invariant S**: a thread that held a token has,
//! after releasing it, either notified following a find, or looked into every queue.
//!
//! # The protocol
//!
//! ```text
//! submit:  push; fence; notify            sleep:  go on the stack, release the token; fence; look into all queues;
//!                                                 empty: park.  not empty: off the stack again, with a token;
//! notify:  a token is out   -> nothing            already off it: the waker has given a token
//!          (a starting one counts only if no thread is idle)
//!          all queues empty -> nothing
//!          a thread is idle -> pop the youngest, give it a token, unpark
//!          else             -> the caller gets a thread or arms the monitor
//!
//! find:    release the token; fence; more queued -> notify
//! ```
//!
//! The stack is last-in first-out, so surplus threads grow cold at its bottom and leave.
//!
//! # Why no wake-up is lost
//!
//! A submitter pushes, fences (F1) and reads the word. If it then finds the queues empty, its task
//! has been taken, or is on its way from queue to queue by the hand of a thread that notifies
//! afterwards. The only other outcome that leaves the task to others is that a token is out. Its
//! holder H releases the token later in the word's modification order than what the submitter read,
//! and afterwards, behind a fence (F2), looks into the queues (on a find: to notify; on sleep: to
//! come back). Either F1 precedes F2 in the total order of `SeqCst` fences: then H's look sees the
//! push (Q4). Or F2 precedes F1: then the submitter's read sees H's release, against the
//! assumption. So H, or a thread that H notifies (and that is in turn a token holder), sees the
//! task; by induction on the finite number of tokens, a thread takes the task, or no thread holds a
//! token and the last to look saw the task taken.
//!
//! The proof holds for `starting`: a thread that starts turns its token into a searching one; a
//! start that fails releases the token and then notifies (see `pool`). `delivering` is counted
//! apart because a waker is user code and may block: the submitter that relies on such a token also
//! arms the monitor, which wakes a sleeper by force where tokens do not move.
//!
//! ORDERING: F1 and F2 are each other's partners, wherever a fence is marked as one of them. Every
//! change of the word is AcqRel and pairs with the next one, and with the load: so a thread that is
//! given a token, or sees that one has been released, sees what its holder did before. What the
//! counts say of the queues rests on the fences of the protocol.

#[cfg(all(test, sidestep_loom))]
mod loom_models;
#[cfg(all(test, not(sidestep_loom)))]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_utils::CachePadded;

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use crate::sync::{Mutex, Parker};

const IDLE: u64 = 1;
const SEARCHING: u64 = 1 << 16;
const STARTING: u64 = 1 << 32;
const DELIVERING: u64 = 1 << 48;
const FIELD: u64 = 0xFFFF;

/// The counts at one instant. See the module's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdleCounts {
    pub(crate) idle: usize,
    pub(crate) searching: usize,
    pub(crate) starting: usize,
    pub(crate) delivering: usize,
}

impl From<u64> for IdleCounts {
    fn from(bits: u64) -> Self {
        let field = |unit: u64| ((bits / unit) & FIELD) as usize;
        IdleCounts {
            idle: field(IDLE),
            searching: field(SEARCHING),
            starting: field(STARTING),
            delivering: field(DELIVERING),
        }
    }
}

/// What the caller of `notify` still has to do.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notified {
    /// A token is out or has just been given, so its holder will look.
    Handled,
    /// A thread is searching, or has found all there was.
    Searching,
    /// Only threads inside wakers will look: the caller arms the monitor, in case they do not
    /// return.
    Delivering,
    /// No thread will look: the caller starts one, or lets the monitor decide.
    NoWorker,
}

/// One thread, as it lies on the stack.
#[derive(Debug)]
pub(crate) struct Sleeper {
    parker: Parker,
    /// Set by the thread that took this sleeper off the stack and gave it a searching token.
    woken: AtomicBool,
}

impl Sleeper {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Sleeper { parker: Parker::new(), woken: AtomicBool::new(false) })
    }

    /// Parks once. True if another thread has given this one a searching token; false after a
    /// deadline or a call of [`Idle::refresh_deadlines`].
    pub(crate) fn park(&self, deadline: Option<Instant>) -> bool {
        self.parker.park(deadline);
        self.take_token()
    }

    /// Waits for the token of the thread that has taken this sleeper off the stack.
    fn await_token(&self) {
        while !self.take_token() {
            self.parker.park(None);
        }
    }

    fn take_token(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `wake`; the unpark orders as well.
        self.woken.swap(false, Ordering::Acquire)
    }

    fn wake(&self) {
        // ORDERING: Release pairs with the Acquire in `take_token`. A store would do, but loom
        // takes a store and a swap that come at the same time to be in either order, even where the
        // swap has not seen the store.
        self.woken.swap(true, Ordering::Release);
        self.parker.unpark();
    }
}

/// The sleepers and the tokens of one pool.
#[derive(Debug)]
pub(crate) struct Idle {
    word: CachePadded<TokenWord>,
    /// The stack. Its length and the word's idle count change together, under the lock.
    stack: Mutex<Vec<Arc<Sleeper>>>,
}

impl Idle {
    pub(crate) fn new() -> Self {
        Idle { word: CachePadded::new(TokenWord::new()), stack: Mutex::new(Vec::new()) }
    }

    /// Makes room for `threads` sleepers, so that none of them has to (A2 of `pool::threads`).
    pub(crate) fn reserve(&self, threads: usize) {
        let mut stack = self.stack.lock();
        let more = threads.saturating_sub(stack.len());
        stack.reserve(more);
    }

    /// The counts, for the monitor and the metrics.
    pub(crate) fn counts(&self) -> IdleCounts {
        self.word.load()
    }

    /// Makes a thread look for what the caller has pushed, unless `all_taken` says that nothing is
    /// queued any more. The caller has not fenced: the fence is in here.
    pub(crate) fn notify(&self, all_taken: impl FnOnce() -> bool) -> Notified {
        fence(Ordering::SeqCst); // F1
        let counts = self.word.load();
        if counts.searching > 0 {
            Notified::Searching
        } else if counts.delivering > 0 {
            Notified::Delivering
        } else if all_taken() {
            // By a thread that spun, and that released its token with the find before the counts
            // were read.
            Notified::Searching
        } else if counts.idle > 0 {
            // A thread that starts may be long about it: a sleeper is there sooner.
            self.wake_youngest(false)
        } else if counts.starting > 0 {
            Notified::Handled
        } else {
            Notified::NoWorker
        }
    }

    /// As `notify`, but relies on no token: for the monitor, when the tokens do not move.
    pub(crate) fn notify_forced(&self) -> Notified {
        fence(Ordering::SeqCst); // F1
        self.wake_youngest(true)
    }

    fn wake_youngest(&self, force: bool) -> Notified {
        let mut stack = self.stack.lock();
        let counts = self.word.load();
        if !force && counts.searching > 0 {
            return Notified::Handled;
        }
        let Some(sleeper) = stack.pop() else {
            return match counts {
                IdleCounts { delivering: 1.., .. } => Notified::Delivering,
                IdleCounts { starting: 1.., .. } => Notified::Handled,
                _ => Notified::NoWorker,
            };
        };
        self.word.change(SEARCHING, IDLE);
        drop(stack);
        sleeper.wake();
        Notified::Handled
    }

    /// Wakes every sleeper, each with a searching token.
    pub(crate) fn wake_all(&self) {
        let mut stack = self.stack.lock();
        // The stack keeps its room.
        let sleepers: Vec<_> = stack.drain(..).collect();
        let count = sleepers.len() as u64;
        self.word.change(count * SEARCHING, count * IDLE);
        drop(stack);
        for sleeper in sleepers {
            sleeper.wake();
        }
    }

    /// Makes the sleepers choose their deadlines again: the number of threads has gone above core.
    /// A thread that goes on the stack later sees the new number.
    pub(crate) fn refresh_deadlines(&self) {
        for sleeper in self.stack.lock().iter() {
            sleeper.parker.unpark();
        }
    }

    /// Goes on the stack and releases the searching token if the caller holds one. The caller must
    /// look into every queue next, and call [`leave_stack`](Idle::leave_stack) if there is
    /// something.
    pub(crate) fn enter_stack(&self, sleeper: &Arc<Sleeper>, searching: bool) {
        let mut stack = self.stack.lock();
        stack.push(Arc::clone(sleeper));
        self.word.change(IDLE, if searching { SEARCHING } else { 0 });
        drop(stack);
        fence(Ordering::SeqCst); // F2
    }

    /// Leaves the stack with a searching token: the thread takes one, or another thread has just
    /// given it one.
    pub(crate) fn leave_stack(&self, sleeper: &Arc<Sleeper>) {
        if !self.remove(sleeper, SEARCHING) {
            sleeper.await_token();
        }
    }

    /// Leaves the stack without a token, to end the thread. False if another thread was faster and
    /// has given this one a token.
    pub(crate) fn leave_for_good(&self, sleeper: &Arc<Sleeper>) -> bool {
        let left = self.remove(sleeper, 0);
        if !left {
            sleeper.await_token();
        }
        left
    }

    fn remove(&self, sleeper: &Arc<Sleeper>, gain: u64) -> bool {
        let mut stack = self.stack.lock();
        let Some(index) = stack.iter().rposition(|other| Arc::ptr_eq(other, sleeper)) else { return false };
        stack.remove(index);
        self.word.change(gain, IDLE);
        true
    }

    /// Takes a searching token, unless a thread has one. The caller must keep invariant S.
    #[must_use]
    pub(crate) fn begin_searching(&self) -> bool {
        self.word.try_begin_searching()
    }

    /// Releases a searching token after a find, or to end the thread. The caller must look into the
    /// queues next and notify if there is something: the fence between is here.
    pub(crate) fn release_searching(&self) {
        self.word.change(0, SEARCHING);
        fence(Ordering::SeqCst); // F2
    }

    /// The thread is about to call a waker, with nothing queued in sight.
    #[inline]
    pub(crate) fn begin_delivering(&self) {
        self.word.change(DELIVERING, 0);
    }

    /// The waker has declared that it is about to block: no submitter may rely on it. The caller
    /// must look into the queues next.
    pub(crate) fn release_delivering(&self) {
        self.word.change(0, DELIVERING);
        fence(Ordering::SeqCst); // F2
    }

    /// The waker has returned: the caller holds a searching token now.
    #[inline]
    pub(crate) fn end_delivering(&self) {
        self.word.change(SEARCHING, DELIVERING);
    }

    /// Takes a starting token, unless a thread is idle or holds a token by now.
    #[must_use]
    pub(crate) fn begin_starting(&self) -> bool {
        self.word.try_begin_starting()
    }

    /// Takes `count` starting tokens, whether or not threads hold others.
    pub(crate) fn add_starting(&self, count: usize) {
        self.word.change(count as u64 * STARTING, 0);
    }

    /// A thread has started and is about to call the user's hook: its token becomes a delivering
    /// one.
    pub(crate) fn started_delivering(&self) {
        self.word.change(DELIVERING, STARTING);
    }

    /// `count` threads will not start. The caller must look into the queues next.
    pub(crate) fn not_started(&self, count: usize) {
        self.word.change(0, count as u64 * STARTING);
        fence(Ordering::SeqCst); // F2
    }
}

/// The four counts in one atomic.
struct TokenWord(AtomicU64);

impl TokenWord {
    fn new() -> Self {
        TokenWord(AtomicU64::new(0))
    }

    #[inline]
    fn load(&self) -> IdleCounts {
        self.0.load(Ordering::Acquire).into()
    }

    /// Adds and takes units in one step. The units taken are there: the caller holds them, or the
    /// lock.
    #[inline]
    fn change(&self, plus: u64, minus: u64) {
        let before = self.0.fetch_add(plus.wrapping_sub(minus), Ordering::AcqRel);
        debug_assert!(
            [IDLE, SEARCHING, STARTING, DELIVERING]
                .iter()
                .all(|unit| (before / unit) & FIELD >= (minus / unit) & FIELD),
            "a count below zero: {:?} less {:?}",
            IdleCounts::from(before),
            IdleCounts::from(minus)
        );
    }

    /// One searching unit more, if there is none.
    fn try_begin_searching(&self) -> bool {
        let one_more = |bits| (IdleCounts::from(bits).searching == 0).then_some(bits + SEARCHING);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more).is_ok()
    }

    /// One starting unit more, if all counts are zero.
    fn try_begin_starting(&self) -> bool {
        self.0.compare_exchange(0, STARTING, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

impl fmt::Debug for TokenWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}
