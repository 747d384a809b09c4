//! The waker of what waits in a slot.

use std::sync::Arc;
use std::task::{Wake, Waker};

use super::mailbox::Mailbox;
use super::slots::Key;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Puts the entry of a slot into the line of its loop, once until it is run.
pub(super) struct Signal {
    mailbox: Arc<Mailbox>,
    key: Key,
    /// The entry is in the line, or never to be put there again.
    scheduled: AtomicBool,
}

impl Signal {
    pub(super) fn new(mailbox: Arc<Mailbox>, key: Key) -> Arc<Self> {
        Arc::new(Signal { mailbox, key, scheduled: AtomicBool::new(false) })
    }

    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// Whether it belongs to a mailbox that a fork has made useless.
    pub(super) fn is_forked(&self) -> bool {
        self.mailbox.is_forked()
    }

    pub(super) fn schedule(&self) {
        // ORDERING: AcqRel pairs with the swap in `begin`: a waker that finds the entry in the line
        // still makes what came before the wake visible to the poll.
        if !self.scheduled.swap(true, Ordering::AcqRel) {
            self.mailbox.push(self.key);
        }
    }

    /// The entry has left the line and is about to be polled: from here on a wake puts it there
    /// again.
    pub(super) fn begin(&self) {
        // ORDERING: AcqRel pairs with the swap in `schedule`.
        self.scheduled.swap(false, Ordering::AcqRel);
    }

    /// The entry is gone: no wake does anything any more. Says whether it has been in the line.
    pub(super) fn retire(&self) -> bool {
        // ORDERING: Relaxed: a wake that comes in between pushes a key that means nothing.
        self.scheduled.swap(true, Ordering::Relaxed)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.schedule();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.schedule();
    }
}
