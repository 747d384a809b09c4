//! Values whose drop is counted, panics, or takes as long as a test likes.

use std::any::Any;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::gates::Gate;

/// Counts how many of its kind have been dropped.
#[derive(Clone, Default)]
pub(crate) struct Drops(Arc<AtomicUsize>);

impl Drops {
    pub(crate) fn new() -> Self {
        Drops::default()
    }

    /// Something whose drop is counted.
    pub(crate) fn token(&self) -> DropToken {
        DropToken(Arc::clone(&self.0))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) struct DropToken(Arc<AtomicUsize>);

impl Drop for DropToken {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Ends the current closure with a panic that prints nothing.
pub(crate) fn quiet_panic(payload: impl Any + Send) -> ! {
    resume_unwind(Box::new(payload))
}

/// Panics when it is dropped, and counts that.
pub(crate) struct PanicOnDrop(pub(crate) Drops);

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        drop(self.0.token());
        quiet_panic("a destructor");
    }
}

/// Says that its drop has begun, and returns from it when it is let go.
pub(crate) struct HoldOnDrop {
    begun: Gate,
    leave: Gate,
}

impl HoldOnDrop {
    pub(crate) fn new() -> (Self, Gate, Gate) {
        let (begun, leave) = (Gate::new(), Gate::new());
        (HoldOnDrop { begun: begun.clone(), leave: leave.clone() }, begun, leave)
    }
}

impl Drop for HoldOnDrop {
    fn drop(&mut self) {
        self.begun.open();
        self.leave.pass();
    }
}
