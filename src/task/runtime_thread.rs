//! A warning for code that blocks a thread on which a tokio runtime drives async code.
//!
//! No public call of tokio's says whether a thread does that: a runtime's context is entered on the
//! threads of `spawn_blocking` and on a pool's threads as well, where blocking is right. But tokio
//! gives a budget to each poll of a task and of the future of `block_on`, and to nothing else:
//! neither to closures of `spawn_blocking` nor inside of `block_in_place`. `consume_budget` is
//! pending once the budget is spent, and without a budget it never is. So the question is asked by
//! spending the budget. That makes the task yield at its next await, after it has blocked its
//! thread anyway; and it happens once per call site, since a site that has been warned of is not
//! asked about again. A future inside of `tokio::task::unconstrained` has no budget, and no
//! warning.

use std::collections::BTreeSet;
use std::future::Future;
use std::panic::Location;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Waker};

use tokio::runtime::Handle;
use tokio::task::consume_budget;

use crate::sync::ProcessMutex;
use crate::sys::first_use::get_or_make;
use crate::trace::event;

/// More than tokio gives to any poll, which is 128.
const MORE_THAN_A_BUDGET: u32 = 256;

/// Warns, once per call site, if the call at `site` is about to block a thread that drives async
/// code.
#[cold]
pub(super) fn warn(site: &'static Location<'static>) {
    static SITES: OnceLock<ProcessMutex<BTreeSet<&'static Location<'static>>>> = OnceLock::new();

    if Handle::try_current().is_err() {
        return;
    }
    let sites = get_or_make(&SITES, ProcessMutex::default);
    let is_known = sites.lock().is_none_or(|sites| sites.contains(site));
    if is_known || !drives_async_code() {
        return;
    }
    if sites.lock().is_some_and(|mut sites| sites.insert(site)) {
        event!(
            WARN,
            site = %site,
            "this call blocks a thread of an async runtime: await the task instead, or call it inside \
             `tokio::task::spawn_blocking` or `block_in_place`"
        );
    }
}

/// Whether this thread is inside the poll of a task, or of a future of `block_on`. If it is, no
/// budget is left.
fn drives_async_code() -> bool {
    let mut context = Context::from_waker(Waker::noop());
    (0..MORE_THAN_A_BUDGET).any(|_| pin!(consume_budget()).poll(&mut context).is_pending())
}
