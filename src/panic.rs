//! Panics of user code: they are caught, reported and dropped where no caller is left to see them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sync::trampoline;
use crate::trace::event;

/// The message of a panic, where it has one.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "a payload that is not text"
    }
}

/// Runs user code that must not take the thread down. A panic is reported as one in `place` and its
/// payload returned dropped, however its destructor behaves.
#[inline]
pub(crate) fn catch_panic<R>(place: &'static str, f: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => Some(value),
        Err(payload) => {
            report_panic(place, payload);
            None
        }
    }
}

/// Reports a panic that no caller will see and drops its payload, which may own the last handle of
/// a task with another payload, and so on. Should the payload's destructor panic too, what that
/// left is leaked: there is no end to such chains otherwise.
pub(crate) fn report_panic(place: &'static str, payload: Box<dyn Any + Send>) {
    event!(ERROR, place, message = panic_message(&*payload), "swallowed a panic");
    trampoline::bounce(move || {
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            event!(
                ERROR,
                place,
                message = panic_message(&*second),
                "swallowed a panic in the payload of a panic"
            );
            let _ = place;
            std::mem::forget(second);
        }
    });
}
