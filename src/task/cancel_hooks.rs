//! The interrupt hooks of one running task, with the rules of C++'s `std::stop_callback`
//! (C++20):
//!
//! - a hook runs at most once, on the thread that cancels, or at once if the task is cancelled
//!   already;
//! - removing a hook waits for it where it is running on another thread, and not where it is
//!   running on this one;
//! - no lock is held while a hook runs.

use crate::numbers::NumberMap;
use crate::panic::catch_panic;
use crate::sync::thread::{self, ThreadId};
use crate::sync::{Condvar, Mutex, MutexGuard, trampoline};

type Hook = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct List {
    last_id: u64,
    /// By their ids, which ascend: so in the order of registration.
    waiting: NumberMap<Hook>,
    running: Option<(u64, ThreadId)>,
    /// The cancellation has come: later hooks run where they are registered.
    fired: bool,
}

impl List {
    fn runs_elsewhere(&self, id: Option<u64>) -> bool {
        self.running.is_some_and(|(running, thread)| {
            id.is_none_or(|id| id == running) && thread != thread::current().id()
        })
    }
}

/// Registered hooks. Each is added, run and removed in a time that hardly depends on how many there
/// are.
pub(super) struct Hooks {
    list: Mutex<List>,
    finished: Condvar,
}

impl Hooks {
    pub(super) fn new() -> Self {
        Hooks { list: Mutex::new(List::default()), finished: Condvar::new() }
    }

    /// Registers a hook and returns its id; runs it now, and returns `None`, where the cancellation
    /// has come.
    pub(super) fn add(&self, hook: Hook) -> Option<u64> {
        let mut list = self.list.lock();
        if list.fired {
            drop(list);
            catch_panic("a cancel hook", hook);
            return None;
        }
        list.last_id += 1;
        let id = list.last_id;
        list.waiting.insert(id, hook);
        Some(id)
    }

    /// Makes every later `add` run its hook at once, and runs those that wait.
    pub(super) fn fire(&self) {
        let mut list = self.list.lock();
        list.fired = true;
        while let Some((id, hook)) = list.waiting.pop_first() {
            list.running = Some((id, thread::current().id()));
            drop(list);
            catch_panic("a cancel hook", hook);
            list = self.list.lock();
            list.running = None;
            self.finished.notify_all();
        }
    }

    /// Unregisters a hook. On return it has run, or it never will.
    pub(super) fn remove(&self, id: u64) {
        let mut list = self.list.lock();
        if let Some(hook) = list.waiting.remove(id) {
            drop(list);
            catch_panic("the destructor of a cancel hook", || drop(hook));
            return;
        }
        drop(self.await_end(list, Some(id)));
    }

    /// Waits for the hook `id`, or for any, where it is running on another thread.
    fn await_end<'a>(&'a self, mut list: MutexGuard<'a, List>, id: Option<u64>) -> MutexGuard<'a, List> {
        if list.runs_elsewhere(id) {
            drop(list);
            // The hook may itself wait for what this thread has put off.
            trampoline::settle(None);
            list = self.list.lock();
        }
        while list.runs_elsewhere(id) {
            list = self.finished.wait(list);
        }
        list
    }

    /// Unregisters every hook: the task has ended.
    pub(super) fn close(&self) {
        let mut list = self.list.lock();
        let forgotten = list.waiting.take_values();
        drop(self.await_end(list, None));
        for hook in forgotten {
            catch_panic("the destructor of a cancel hook", || drop(hook));
        }
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
