//! What a pool's thread has of its own, its record and its deque, and the way to it from the code
//! that runs there.

use std::cell::{Cell, OnceCell};
use std::ptr;
use std::sync::Arc;

use super::record::ThreadRecord;
use crate::lane::Entry;
use crate::queue::Local;
use crate::sync::thread_local_const;

/// What `Pool::spawn` needs of the thread it is called on, where that is the pool's own.
pub(super) struct WorkerContext {
    pub(super) owner: *const (),
    pub(super) local: OnceCell<Local<Entry>>,
    pub(super) record: Arc<ThreadRecord>,
}

thread_local_const! { static CONTEXT: Cell<*const WorkerContext> = Cell::new(ptr::null()) }

/// Makes a context that of the thread, until this is dropped (T6).
pub(super) struct CurrentGuard {
    outer: *const WorkerContext,
}

impl CurrentGuard {
    pub(super) fn enter(context: &WorkerContext) -> Self {
        CurrentGuard { outer: CONTEXT.with(|slot| slot.replace(context)) }
    }
}

impl Drop for CurrentGuard {
    fn drop(&mut self) {
        CONTEXT.with(|slot| slot.set(self.outer));
    }
}

/// This thread's context, if it is one of `owner`'s threads.
pub(super) fn this_context<'a>(owner: *const ()) -> Option<&'a WorkerContext> {
    // SAFETY: T6: `Worker::main` borrows the context for longer than the slot holds it, and runs
    // the code that uses this.
    let context = unsafe { CONTEXT.with(Cell::get).as_ref() };
    context.filter(|context| ptr::eq(context.owner, owner))
}

/// The record of this thread, if it is one of `owner`'s.
pub(crate) fn this_record(owner: *const ()) -> Option<Arc<ThreadRecord>> {
    this_context(owner).map(|context| Arc::clone(&context.record))
}
