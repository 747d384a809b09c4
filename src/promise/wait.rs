//! Blocking a thread until a chain has its value.
//!
//! The chain is polled on this thread. If the chain waits for a task, waiting for the chain is
//! waiting for that task: a thread of the task's own pool may run the task inline, as
//! [`Task::wait`](crate::Task::wait) does, since a pool without another thread would never run it.
//!
//! What the chain waits for may also be behind a future, such as that of `all`. Then the thread
//! runs the queued tasks that its polls have recorded inline, one after another. It runs only tasks
//! of the pool itself, and none of a lane: a thread that waits for several tasks does not close a
//! circle by one of them, so the deadlock detector of the lanes must not see such a wait.

use std::task::{Context, Poll};

use super::awaited::AwaitedTasks;
use super::chain::{Chain, Kind};
use crate::error::Reason;
use crate::task::{BlockingWait, Help, Host, block, host, is_inside};

/// A wait for the value of a chain.
struct ChainWait<K: Kind> {
    chain: Chain<K>,
    /// The tasks that polls have recorded, on a thread of a pool.
    awaited: Option<AwaitedTasks>,
}

#[track_caller]
pub(super) fn wait<K: Kind>(chain: Chain<K>) -> K::Value {
    match block(&mut ChainWait { chain, awaited: host().map(|_| AwaitedTasks::default()) }, None) {
        Some(value) => value,
        None => unreachable!("there is no deadline"),
    }
}

impl<K: Kind> BlockingWait for ChainWait<K> {
    type Output = K::Value;

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<K::Value> {
        match &mut self.awaited {
            Some(awaited) => awaited.during(|| self.chain.poll(context)),
            None => self.chain.poll(context),
        }
    }

    fn help(&mut self, host: Option<&dyn Host>) -> Help {
        match (self.chain.target(), host, &mut self.awaited) {
            (Some(target), ..) if is_inside(target) => Help::Fail(Reason::Deadlock),
            (Some(target), ..) => Help::RunTarget(target.clone()),
            (None, Some(host), Some(awaited)) => Help::RunOneOf(awaited.first_queued(host.owner()).cloned()),
            (None, ..) => Help::Nothing,
        }
    }

    fn fail(&mut self, reason: Reason) -> Poll<K::Value> {
        self.chain.give_up(reason);
        Poll::Pending
    }
}
