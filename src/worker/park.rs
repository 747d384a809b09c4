//! What a thread does that finds nothing: it spins, then sleeps, and in the end leaves.
//!
//! # Spinning
//!
//! A wake-up costs a system call of the waker and, where the CPU had gone to sleep as well, tens of
//! microseconds. So a thread goes on looking into the queues for about as long before it sleeps.
//! The thread keeps a searching token meanwhile, or takes one: submitters find the token out and
//! wake no thread. At most one thread of a pool spins; a second would only compete for the same
//! tasks. For how long, and whether at all, is the affair of
//! [`SpinPolicy`](super::spin::SpinPolicy).
//!
//! For invariant S spinning is nothing new: the token is released with the find, before the baton
//! is passed, or by going on the stack, before the last look.

use std::time::{Duration, Instant};

use super::spin::SpinNext;
use super::{Policy, Retire, Worker};
use crate::sync::{now, thread};

/// How many looks there are at most between two looks at the clock.
const LOOKS: usize = if cfg!(any(sidestep_loom, sidestep_shuttle)) { 1 } else { 8 };
/// How many deques the thread looks at between two looks at the clock. With more of them there are
/// fewer looks: a thread with much to look at must not seem preempted.
const DEQUES: usize = 512;

/// For how long at least a thread that owns a deque stays longer than others.
const GRACE: Duration = Duration::from_secs(1);

impl<P: Policy> Worker<P> {
    /// Spins, and then sleeps, until there may be something to do. False if the thread is to leave;
    /// then it holds no token.
    pub(super) fn park(&self) -> bool {
        let waits_for_idle = self.engine().lanes.idle();
        let signal = waits_for_idle.signal();
        if signal.is_wanted() {
            // The look calls wakers, which are user code.
            self.pass_baton();
            self.engine().look_for_idle();
        }
        if self.spin() {
            return true;
        }
        let idle = &self.engine().idle;
        // Read before the fence in `enter_stack`: a submitter that this thread's look misses sees
        // the pool closed.
        let closed = self.engine().is_closed();
        idle.enter_stack(&self.sleeper, self.searching.take());
        // The fence in `enter_stack` is I1, too: a wait for the pool to be idle that this thread
        // has not looked for yet finds all that the thread has counted, or is found here.
        if self.must_look_again(closed) || signal.is_before(waits_for_idle.signal()) {
            return self.search();
        }
        if closed {
            return self.exit_if(Retire::Now);
        }
        loop {
            let deadline = self.leave_at();
            if self.sleeper.park(deadline) {
                self.context.record.mark_wake();
                self.searching.set(true);
                self.acquire_deque();
                return true;
            }
            let due = deadline.is_some_and(|deadline| now() >= deadline);
            if due && !self.exit_if(Retire::IfSurplus) {
                return false;
            } else if self.searching.get() {
                return true;
            }
        }
    }

    /// When the thread, which goes to sleep, is to leave. One that owns a deque stays for a second
    /// longer, and twice as long at least: there are as many deques as threads that the pool keeps,
    /// so if the others sleep as well, these leave and it stays. It leaves where one of the others
    /// is never idle.
    fn leave_at(&self) -> Option<Instant> {
        let deadline = self.pool.sleep_deadline()?;
        if self.context.local.get().is_none() {
            return Some(deadline);
        }
        deadline.checked_add(deadline.saturating_duration_since(now()).max(GRACE))
    }

    /// Comes back from the stack to work, with a searching token.
    fn search(&self) -> bool {
        self.engine().idle.leave_stack(&self.sleeper);
        self.searching.set(true);
        true
    }

    /// Leaves the stack for good if the pool lets the thread retire: then false. True if the thread
    /// has to stay: with a searching token, or on the stack again.
    fn exit_if(&self, when: Retire) -> bool {
        let idle = &self.engine().idle;
        if !idle.leave_for_good(&self.sleeper) {
            self.searching.set(true);
            return true;
        }
        if self.pool.retire(when) {
            return false;
        }
        idle.enter_stack(&self.sleeper, false);
        // If the pool has been closed, `park` must begin anew.
        if self.must_look_again(false) {
            return self.search();
        }
        true
    }

    /// Whether a thread that has just gone on the stack must not park: something is queued, or the
    /// pool has been closed or its limit lowered since the thread looked, by a caller that may not
    /// have found the thread on the stack.
    fn must_look_again(&self, closed: bool) -> bool {
        !self.engine().queues.is_empty() || closed != self.engine().is_closed() || self.engine().is_over_max()
    }

    /// Looks into the queues for a while, with a searching token. True if something is queued.
    /// False if the thread is to sleep, with or without the token.
    fn spin(&self) -> bool {
        if !self.pool.may_spin() || self.engine().is_closed() {
            return false;
        }
        let begun = now();
        if !self.spin_policy.is_willing(begun) || !self.begin_searching_alone() {
            return false;
        }
        let looks = (DEQUES / self.engine().queues.deques().max(1)).clamp(1, LOOKS);
        let mut phase = self.spin_policy.begin(begun);
        loop {
            for _ in 0..looks {
                if !self.engine().queues.is_empty() {
                    phase.succeed(self.context.record.mark_wake());
                    return true;
                }
                std::hint::spin_loop();
            }
            match phase.go_on(now()) {
                SpinNext::Look => {}
                SpinNext::Yield => thread::yield_now(),
                SpinNext::Sleep => return false,
            }
        }
    }

    /// Takes a searching token if no thread has one. False if another thread has one.
    fn begin_searching_alone(&self) -> bool {
        let idle = &self.engine().idle;
        if self.searching.get() {
            return idle.counts().searching == 1;
        }
        let alone = idle.begin_searching();
        self.searching.set(alone);
        alone
    }
}
