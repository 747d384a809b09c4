//! What a thread does that finds nothing: it looks on for a while, then sleeps, and in the end
//! leaves.
//!
//! # Lingering
//!
//! To be woken costs a system call of the waker and, where the CPU had gone to sleep as well, tens
//! of microseconds. So a thread goes on looking into the queues for about as long before it sleeps.
//! It keeps a searching token meanwhile, or takes one: submitters find it out and wake nobody. At
//! most one thread of a pool lingers; a second would only compete for the same tasks. For how long,
//! and whether at all, is learnt by [`Patience`](super::spin::Patience).
//!
//! For invariant S lingering is nothing new: the token is released with the find, before the baton
//! is passed, or by going on the stack, before the last look.

use super::spin::Next;
use super::{Policy, Retire, Worker};
use crate::sync::{now, thread};

/// How many looks there are at most between two looks at the clock.
const LOOKS: usize = if cfg!(any(sidestep_loom, sidestep_shuttle)) { 1 } else { 8 };
/// And at how many deques. With more of them there are fewer looks: a thread with much to look at
/// is not held up.
const DEQUES: usize = 512;

impl<P: Policy> Worker<P> {
    /// Lingers, and then sleeps, until there may be something to do. False if it is time to leave;
    /// no token is held then.
    pub(super) fn rest(&self) -> bool {
        if self.linger() {
            return true;
        }
        let idle = &self.engine().idle;
        // Read before the fence in `enter_stack`: a submitter that this thread's look misses sees
        // the pool closed.
        let closed = self.engine().is_closed();
        idle.enter_stack(&self.sleeper, self.searching.take());
        if self.must_look_again(closed) {
            return self.search();
        }
        if closed {
            return self.depart(Retire::Now);
        }
        loop {
            let deadline = self.pool.sleep_deadline();
            if self.sleeper.park(deadline) {
                self.searching.set(true);
                self.equip();
                return true;
            }
            let due = deadline.is_some_and(|deadline| now() >= deadline);
            if due && !self.depart(Retire::IfSurplus) {
                return false;
            } else if self.searching.get() {
                return true;
            }
        }
    }

    /// Back from the stack to work, with a searching token.
    fn search(&self) -> bool {
        self.engine().idle.leave_stack(&self.sleeper);
        self.searching.set(true);
        true
    }

    /// Leaves the stack for good if the pool lets the thread go: false then. True if the thread has
    /// to stay: with a searching token, or on the stack again.
    fn depart(&self, when: Retire) -> bool {
        let idle = &self.engine().idle;
        if !idle.leave_for_good(&self.sleeper) {
            self.searching.set(true);
            return true;
        }
        if self.pool.retire(when) {
            return false;
        }
        idle.enter_stack(&self.sleeper, false);
        // If the pool has been closed, `rest` must begin anew.
        if self.must_look_again(false) {
            return self.search();
        }
        true
    }

    /// Whether a thread that has just gone on the stack must not park: something is queued, or the
    /// pool has been closed or its limit lowered since the thread looked, by someone who may not
    /// have found it on the stack.
    fn must_look_again(&self, closed: bool) -> bool {
        !self.engine().queues.is_empty() || closed != self.engine().is_closed() || self.engine().is_over_max()
    }

    /// Looks on with a searching token. True if something is queued. False if it is time to sleep,
    /// with or without the token.
    fn linger(&self) -> bool {
        if !self.pool.may_spin() || self.engine().is_closed() {
            return false;
        }
        let begun = now();
        if !self.patience.is_willing(begun) || !self.search_alone() {
            return false;
        }
        let looks = (DEQUES / self.engine().queues.deques().max(1)).clamp(1, LOOKS);
        let mut vigil = self.patience.begin(begun);
        loop {
            for _ in 0..looks {
                if !self.engine().queues.is_empty() {
                    vigil.succeed(now());
                    return true;
                }
                std::hint::spin_loop();
            }
            match vigil.go_on(now()) {
                Next::Look => {}
                Next::Yield => thread::yield_now(),
                Next::Sleep => return false,
            }
        }
    }

    /// Takes a searching token if nobody has one. False if somebody else has.
    fn search_alone(&self) -> bool {
        let idle = &self.engine().idle;
        if self.searching.get() {
            return idle.counts().searching == 1;
        }
        let alone = idle.begin_searching();
        self.searching.set(alone);
        alone
    }
}
