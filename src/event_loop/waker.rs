//! The waker of an entry that waits in a slot.

use std::sync::Arc;
use std::task::{Wake, Waker};

use super::mailbox::Mailbox;
use super::slots::Key;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Pushes the key of an entry into the mailbox of the loop, once until the entry is run.
pub(super) struct EntryWaker<P> {
    mailbox: Arc<Mailbox<P>>,
    key: Key,
    /// The key is in the queue, or is never to be pushed again.
    scheduled: AtomicBool,
}

impl<P> EntryWaker<P> {
    pub(super) fn new(mailbox: Arc<Mailbox<P>>, key: Key) -> Arc<Self> {
        Arc::new(EntryWaker { mailbox, key, scheduled: AtomicBool::new(false) })
    }

    /// Whether this process is a forked child of the one that made the mailbox.
    pub(super) fn is_forked(&self) -> bool {
        self.mailbox.is_forked()
    }

    pub(super) fn schedule(&self) {
        // ORDERING: AcqRel pairs with the swap in `begin`: a wake that finds the key in the queue
        // still makes what came before the wake visible to the poll.
        if !self.scheduled.swap(true, Ordering::AcqRel) {
            self.mailbox.push(self.key);
        }
    }

    /// The key has left the queue and the entry is about to be polled: from here on a wake pushes
    /// the key again.
    pub(super) fn begin(&self) {
        // ORDERING: AcqRel pairs with the swap in `schedule`.
        self.scheduled.swap(false, Ordering::AcqRel);
    }

    /// The entry has ended: from here on a wake does nothing. Returns whether the key was in the
    /// queue.
    pub(super) fn retire(&self) -> bool {
        // ORDERING: Relaxed: a wake that comes in between pushes a key that names no entry.
        self.scheduled.swap(true, Ordering::Relaxed)
    }
}

impl<P: Send + 'static> EntryWaker<P> {
    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl<P: Send + 'static> Wake for EntryWaker<P> {
    fn wake(self: Arc<Self>) {
        self.schedule();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.schedule();
    }
}
