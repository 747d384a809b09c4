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

use std::sync::Arc;
use std::task::{Context, Poll};

use super::awaited::AwaitedTasks;
use super::chain::{Chain, Kind};
use crate::error::Reason;
use crate::sync::{Parker, trampoline};
use crate::task::{Blocking, host, is_inside};
use crate::task::{Host, InPlace};

pub(super) fn wait<K: Kind>(mut chain: Chain<K>) -> K::Value {
    // A parker of its own: a step may itself wait on this thread, and must not take this wait's
    // wake-up.
    let parker = Arc::new(Parker::new());
    let waker = parker.waker();
    let mut context = Context::from_waker(&waker);
    let mut blocking = None;
    let mut seen = host().map(|_| AwaitedTasks::default());
    loop {
        let polled = match &mut seen {
            Some(seen) => seen.during(|| chain.poll(&mut context)),
            None => chain.poll(&mut context),
        };
        if let Poll::Ready(value) = polled {
            return value;
        }
        if trampoline::settle(None) {
            continue;
        }
        let host = blocking.get_or_insert_with(Blocking::enter).host();
        match (host, &mut seen) {
            (Some(host), Some(seen)) if chain.target().is_none() => await_any(seen, host, &parker),
            _ => {
                if let Some(reason) = await_wake(&chain, host, &parker) {
                    chain.give_up(reason);
                }
            }
        }
    }
}

/// Returns when the chain is worth another poll; one of the tasks that it waits for may have been
/// run meanwhile.
fn await_any(seen: &mut AwaitedTasks, host: &dyn Host, parker: &Arc<Parker>) {
    // First, so that no change of `may_grow` is missed.
    host.offer_help(parker);
    let next = if host.may_grow() { None } else { seen.first_queued(host.owner()) };
    // Should somebody else have claimed it meanwhile, there may be another.
    let _ = next.map_or_else(|| parker.park(None), |task| host.run_now(task));
    host.withdraw_help(parker);
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
