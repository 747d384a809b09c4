//! Blocking a thread until a chain has its value.
//!
//! The chain is polled on this thread. Where it waits for a task, waiting for the chain is waiting
//! for that task: on a thread of the task's own pool it may be run in place, as
//! [`Task::wait`](crate::Task::wait) does, or a pool without another thread would never come to it.
//!
//! What it waits for may also be behind a future, such as that of `all`. Then any of the queued
//! tasks that its polls have shown is run in place, one after another. Only tasks of the thread's
//! pool itself are: one that waits for several things does not close a circle by one of them, so
//! the lanes must not hear of it.

use std::task::{Context, Poll};

use super::chain::Chain;
use super::kind::Kind;
use super::seen::Seen;
use crate::error::Reason;
use crate::task::{BlockingWait, Help, Host, block, host, is_inside};

/// A wait for the value of a chain.
struct ChainWait<K: Kind> {
    chain: Chain<K>,
    /// The tasks that the last poll has waited for, on a thread of a pool.
    seen: Option<Seen>,
}

pub(super) fn wait<K: Kind>(chain: Chain<K>) -> K::Value {
    match block(&mut ChainWait { chain, seen: host().map(|_| Seen::default()) }, None) {
        Some(value) => value,
        None => unreachable!("there is no deadline"),
    }
}

impl<K: Kind> BlockingWait for ChainWait<K> {
    type Output = K::Value;

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<K::Value> {
        match &mut self.seen {
            Some(seen) => seen.during(|| self.chain.poll(context)),
            None => self.chain.poll(context),
        }
    }

    fn help(&mut self, host: Option<&dyn Host>) -> Help {
        match (self.chain.target(), host, &mut self.seen) {
            (Some(target), ..) if is_inside(target) => Help::Fail(Reason::Deadlock),
            (Some(target), ..) => Help::RunTarget(target.clone()),
            (None, Some(host), Some(seen)) => Help::RunOneOf(seen.first_queued(host.owner()).cloned()),
            (None, ..) => Help::Nothing,
        }
    }

    fn fail(&mut self, reason: Reason) -> Poll<K::Value> {
        self.chain.give_up(reason);
        Poll::Pending
    }
}
