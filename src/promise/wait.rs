//! Blocking a thread until a chain has its value.
//!
//! The chain is polled on this thread. Where it waits for a task, waiting for the chain is waiting for that task: on a
//! thread of the task's own pool it may be run in place, as [`Task::wait`](crate::Task::wait) does, or a pool without
//! another thread would never come to it.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::chain::Chain;
use super::kind::Kind;
use crate::error::Reason;
use crate::sync::Parker;
use crate::task::current::{Blocking, is_inside};
use crate::task::{Host, InPlace};

pub(super) fn wait<K: Kind>(mut chain: Chain<K>) -> K::Value {
    // A parker of its own: a step may itself wait on this thread, and must not take this wait's wake-up.
    let parker = Arc::new(Parker::new());
    let waker = parker.waker();
    let mut context = Context::from_waker(&waker);
    let mut blocking = None;
    loop {
        if let Poll::Ready(value) = chain.poll(&mut context) {
            return value;
        }
        let host = blocking.get_or_insert_with(Blocking::enter).host();
        if let Some(reason) = await_wake(&chain, host, &parker) {
            chain.give_up(reason);
        }
    }
}

/// Returns when the chain is worth another poll, or says why it never will be.
fn await_wake<K: Kind>(chain: &Chain<K>, host: Option<&dyn Host>, parker: &Arc<Parker>) -> Option<Reason> {
    let target = chain.target();
    if target.is_some_and(is_inside) {
        return Some(Reason::Deadlock);
    }
    let (Some(host), Some(target)) = (host, target) else {
        parker.park(None);
        return None;
    };
    host.watch(target, parker);
    let in_place = host.run_in_place(target);
    if in_place == InPlace::Waits {
        parker.park(None);
    }
    host.unwatch(target, parker);
    (in_place == InPlace::Deadlock).then_some(Reason::LaneDeadlock)
}
