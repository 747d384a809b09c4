//! A killed child that is to be reaped when it has ended: soon, but a system call that cannot be
//! interrupted may delay that. No thread waits for it where its end can be seen otherwise.

use std::process::Child;
use std::sync::Arc;
use std::task::{Wake, Waker};

use super::child::EndWatch;
use crate::io::ReadyWait;
use crate::pool::SpawnTarget;
use crate::sync::Mutex;
use crate::sys::child_end::ChildFd;
use crate::sys::descriptor::Direction;

/// The child, until it has been reaped. The registry of `io::readiness` keeps it, as a waker.
struct Orphan(Mutex<Option<OrphanState>>);

struct OrphanState {
    child: Child,
    /// Before what it waits for: it is dropped first.
    wait: ReadyWait,
    fd: ChildFd,
}

/// Reaps a child that has been killed, now or later.
pub(super) fn reap(mut child: Child, watch: EndWatch) {
    if has_ended(&mut child) {
        return;
    }
    match watch {
        EndWatch::Descriptor(wait, fd) => {
            let state = OrphanState { child, wait, fd };
            Arc::new(Orphan(Mutex::new(Some(state)))).wake();
        }
        EndWatch::Thread(_) => reap_on_a_thread(child),
    }
}

/// Whether nothing is left to reap.
fn has_ended(child: &mut Child) -> bool {
    !matches!(child.try_wait(), Ok(None))
}

fn reap_on_a_thread(mut child: Child) {
    SpawnTarget::GLOBAL.options().spawn(move || _ = child.wait()).detach();
}

impl Wake for Orphan {
    fn wake(self: Arc<Self>) {
        let mut place = self.0.lock();
        let Some(state) = &mut *place else { return };
        if has_ended(&mut state.child) {
            *place = None;
            return;
        }
        let set = state.wait.set(state.fd.number(), Direction::Read, Waker::from(Arc::clone(&self)));
        let left = if set.is_err() { place.take() } else { None };
        drop(place);
        // Each is a reference to this, which is not the last.
        drop(set);
        if let Some(OrphanState { child, .. }) = left {
            reap_on_a_thread(child);
        }
    }
}
