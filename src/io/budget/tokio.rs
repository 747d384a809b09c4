//! Yielding to the timers and sockets of a tokio runtime.
//!
//! Whether a waker is one of tokio's tasks no public call says. But all these wakers have one table
//! of functions, which a task of a [`LocalSet`] shows: that runs wherever it is polled, and needs
//! no runtime. Another version of tokio in the program has another table, and its tasks are woken
//! like those of any executor.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::ptr;
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::{Context, Poll, RawWakerVTable, Waker};

use tokio::task::{LocalSet, yield_now};

use crate::sys::first_use::get_or_make;

/// Leaves the waker with the scheduler that is polling its task. False if it is no task of tokio's.
pub(super) fn wake_later(context: &mut Context<'_>) -> bool {
    // A task that is polled outside of its runtime is woken at once by this.
    is_of_task(context.waker()) && pin!(yield_now()).poll(context).is_pending()
}

/// Whether `waker` is that of a task of tokio's.
fn is_of_task(waker: &Waker) -> bool {
    static TABLE: OnceLock<Option<&'static RawWakerVTable>> = OnceLock::new();

    let table = *get_or_make(&TABLE, table_of_tasks);
    table.is_some_and(|table| ptr::eq(table, waker.vtable()))
}

fn table_of_tasks() -> Option<&'static RawWakerVTable> {
    let (tasks, seen) = (LocalSet::new(), Rc::new(Cell::new(None)));
    let seen_by_task = Rc::clone(&seen);
    let task = tasks.spawn_local(poll_fn(move |context| {
        seen_by_task.set(Some(context.waker().vtable()));
        Poll::Ready(())
    }));
    let _ = pin!(tasks).poll(&mut Context::from_waker(Waker::noop()));
    drop(task);
    seen.get()
}

#[cfg(all(test, not(any(sidestep_loom, sidestep_shuttle))))]
mod tests;
