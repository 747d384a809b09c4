//! What is to be done when a task, or the source of a token, is cancelled: hooks to run, futures to
//! wake, dependents to cancel. Hooks keep the rules of C++'s `std::stop_callback` (C++20):
//!
//! - a hook runs at most once, on the thread that cancels, or at once if the cancellation has come
//!   already;
//! - removing a hook waits for it where it is running on another thread, and not where it is
//!   running on this one;
//! - no lock is held while a hook runs.
//!
//! All that is listed is reached in the order in which it came. What stands here is the list and
//! who is responsible for an entry at which time; `token` says when a list is fired and sealed, and
//! why no entry is forgotten.

use std::task::Waker;

use crate::numbers::NumberMap;
use crate::panic::catch_panic;
use crate::sync::thread::{self, ThreadId};
use crate::sync::{Condvar, Mutex, MutexGuard, trampoline};

pub(super) type Hook = Box<dyn FnOnce() + Send>;

/// Runs a hook, which is user code.
pub(super) fn run_hook(hook: Hook) {
    catch_panic("a cancel hook", hook);
}

/// A list with fewer dependents than this is not swept.
const FEW: usize = 64;

/// What is cancelled with the owner of a list.
pub(super) trait Dependent: Send + Sync {
    /// Cancels it, which may run user code.
    fn cancel(self: Box<Self>);
    /// Whether a cancellation would change nothing any more. Called under the lock of the list.
    fn is_over(&self) -> bool;
}

/// What a hook ends with at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HookLife {
    /// With the closure of the task, which has registered it.
    Closure,
    /// With the task: code on another thread has registered it.
    Task,
}

enum HookEntry {
    Hook(Hook, HookLife),
    Waker { waker: Waker, wake: fn(Waker) },
    Dependent(Box<dyn Dependent>),
}

impl HookEntry {
    fn is_dependent(&self) -> bool {
        matches!(self, HookEntry::Dependent(_))
    }

    /// Lets go of what will not be reached: the owner has ended.
    fn release(self) {
        match self {
            HookEntry::Hook(hook, _) => _ = catch_panic("the destructor of a cancel hook", || drop(hook)),
            HookEntry::Waker { waker, wake } => wake(waker),
            HookEntry::Dependent(dependent) => drop(dependent),
        }
    }
}

/// A hook that a thread is inside.
struct RunningHook {
    id: u64,
    life: HookLife,
    thread: ThreadId,
}

#[derive(Default)]
struct List {
    last_id: u64,
    /// By their ids, which ascend: so in the order of registration.
    entries: NumberMap<HookEntry>,
    running: Option<RunningHook>,
    /// The cancellation has come: who comes later does at once what is to be done.
    fired: bool,
    /// The task has ended without a cancellation: there will be none.
    sealed: bool,
    /// There has been a token, so that other threads than the task's own may come.
    has_token: bool,
    dependents: usize,
    sweep_at: usize,
}

impl List {
    fn insert(&mut self, entry: HookEntry) -> u64 {
        self.last_id += 1;
        self.dependents += usize::from(entry.is_dependent());
        self.entries.insert(self.last_id, entry);
        self.last_id
    }

    fn remove(&mut self, id: u64) -> Option<HookEntry> {
        let entry = self.entries.remove(id)?;
        self.forget(&entry);
        Some(entry)
    }

    /// An entry has been taken out.
    fn forget(&mut self, entry: &HookEntry) {
        self.dependents -= usize::from(entry.is_dependent());
    }

    fn remove_all(&mut self, is_wanted: impl Fn(&HookEntry) -> bool) -> Vec<HookEntry> {
        let ids: Vec<_> =
            self.entries.iter().filter_map(|(id, entry)| is_wanted(entry).then_some(id)).collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Removes the dependents that are over, if there are twice as many as after the last time.
    fn sweep(&mut self) -> Vec<HookEntry> {
        if self.dependents < self.sweep_at.max(FEW) {
            return Vec::new();
        }
        let swept =
            self.remove_all(|entry| matches!(entry, HookEntry::Dependent(dependent) if dependent.is_over()));
        self.sweep_at = 2 * self.dependents;
        swept
    }

    /// Whether another thread is inside the hook `id`, or inside any of the closure's.
    fn runs_elsewhere(&self, id: Option<u64>) -> bool {
        self.running.as_ref().is_some_and(|running| {
            id.map_or(running.life == HookLife::Closure, |id| id == running.id)
                && running.thread != thread::current().id()
        })
    }
}

/// What came of a waker that was to be left.
#[must_use]
pub(super) enum WakerLeft {
    /// It is listed under this id. The other one is not needed any more.
    Listed(u64, Option<Waker>),
    /// The cancellation has come.
    Fired(Waker),
    /// There will be none.
    Sealed(Waker),
}

/// What came of dependents that were to be listed.
#[must_use]
#[derive(Default)]
pub(super) struct DependentsListed {
    /// The id of the last one that is listed.
    pub(super) id: Option<u64>,
    /// The cancellation has come: these are to be cancelled.
    pub(super) to_cancel: Vec<Box<dyn Dependent>>,
    /// To be dropped without a lock, since user code may run: nothing will cancel them.
    dropped: Vec<Box<dyn Dependent>>,
    /// As `dropped`: these were over.
    swept: Vec<HookEntry>,
}

impl DependentsListed {
    /// Cancels what is to be cancelled. The caller holds no lock.
    pub(super) fn settle(self) {
        let DependentsListed { to_cancel, dropped, swept, .. } = self;
        to_cancel.into_iter().for_each(|dependent| dependent.cancel());
        drop((dropped, swept));
    }
}

/// Registered hooks, wakers and dependents. Each is added, reached and removed in a time that
/// hardly depends on how many there are.
pub(super) struct Hooks {
    list: Mutex<List>,
    finished: Condvar,
}

impl Hooks {
    pub(super) fn new() -> Self {
        Hooks { list: Mutex::new(List::default()), finished: Condvar::new() }
    }

    /// There is a token from now on: `seal` is to follow the end of the task.
    pub(super) fn expect_others(&self) {
        self.list.lock().has_token = true;
    }

    /// Registers a hook and returns its id; runs it now, and returns `None`, where the cancellation
    /// has come; drops it where none will come.
    pub(super) fn add(&self, hook: Hook, life: HookLife) -> Option<u64> {
        let mut list = self.list.lock();
        if list.fired {
            drop(list);
            run_hook(hook);
            return None;
        }
        if list.sealed {
            drop(list);
            catch_panic("the destructor of a cancel hook", || drop(hook));
            return None;
        }
        Some(list.insert(HookEntry::Hook(hook, life)))
    }

    /// Lists what is to be cancelled as well. To be settled by the caller.
    pub(super) fn add_dependents(&self, dependents: Vec<Box<dyn Dependent>>) -> DependentsListed {
        let mut list = self.list.lock();
        if list.fired {
            return DependentsListed { to_cancel: dependents, ..DependentsListed::default() };
        }
        if list.sealed {
            return DependentsListed { dropped: dependents, ..DependentsListed::default() };
        }
        let mut listing = DependentsListed { swept: list.sweep(), ..DependentsListed::default() };
        for dependent in dependents {
            listing.id = Some(list.insert(HookEntry::Dependent(dependent)));
        }
        listing
    }

    /// Leaves a waker to be called, by `wake`, when the cancellation comes or can come no more: in
    /// the place of the one with this id, if there is one.
    pub(super) fn leave_waker(&self, id: Option<u64>, waker: Waker, wake: fn(Waker)) -> WakerLeft {
        let mut list = self.list.lock();
        if list.fired {
            return WakerLeft::Fired(waker);
        }
        if list.sealed {
            return WakerLeft::Sealed(waker);
        }
        let listed = id.and_then(|id| Some((id, list.entries.get_mut(id)?)));
        if let Some((id, HookEntry::Waker { waker: old, .. })) = listed {
            return WakerLeft::Listed(id, Some(std::mem::replace(old, waker)));
        }
        WakerLeft::Listed(list.insert(HookEntry::Waker { waker, wake }), None)
    }

    /// Removes a waker, if it has not been called.
    #[must_use]
    pub(super) fn take_waker(&self, id: u64) -> Option<Waker> {
        match self.list.lock().remove(id)? {
            HookEntry::Waker { waker, .. } => Some(waker),
            HookEntry::Hook(..) | HookEntry::Dependent(_) => unreachable!("the id is that of a waker"),
        }
    }

    /// Removes a dependent, if it has not been reached.
    #[must_use]
    pub(super) fn take_dependent(&self, id: u64) -> Option<Box<dyn Dependent>> {
        match self.list.lock().remove(id)? {
            HookEntry::Dependent(dependent) => Some(dependent),
            HookEntry::Hook(..) | HookEntry::Waker { .. } => unreachable!("the id is that of a dependent"),
        }
    }

    /// Removes all dependents.
    #[must_use]
    pub(super) fn take_dependents(&self) -> Vec<Box<dyn Dependent>> {
        let taken = self.list.lock().remove_all(HookEntry::is_dependent);
        let dependents = taken.into_iter().filter_map(|entry| match entry {
            HookEntry::Dependent(dependent) => Some(dependent),
            HookEntry::Hook(..) | HookEntry::Waker { .. } => None,
        });
        dependents.collect()
    }

    /// Makes who comes later do at once what is to be done, and does it for those that are listed.
    pub(super) fn fire(&self) {
        let mut list = self.list.lock();
        list.fired = true;
        while let Some((id, entry)) = list.entries.pop_first() {
            list.forget(&entry);
            match entry {
                HookEntry::Hook(hook, life) => {
                    list.running = Some(RunningHook { id, life, thread: thread::current().id() });
                    drop(list);
                    run_hook(hook);
                    list = self.list.lock();
                    list.running = None;
                    self.finished.notify_all();
                    continue;
                }
                HookEntry::Waker { waker, wake } => {
                    drop(list);
                    wake(waker);
                }
                HookEntry::Dependent(dependent) => {
                    drop(list);
                    dependent.cancel();
                }
            }
            list = self.list.lock();
        }
    }

    /// Unregisters a hook. On return it has run, or it never will.
    pub(super) fn remove(&self, id: u64) {
        let mut list = self.list.lock();
        if let Some(entry) = list.remove(id) {
            drop(list);
            return entry.release();
        }
        drop(self.await_end(list, Some(id)));
    }

    /// Waits for the hook `id`, or for any of the closure's, where it is running on another thread.
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

    /// The closure has ended: unregisters every hook of its. True if there has been a token: then
    /// `seal` is to follow the end of the task.
    #[must_use]
    pub(super) fn close(&self) -> bool {
        let mut list = self.list.lock();
        let has_token = list.has_token;
        let forgotten = if has_token {
            list.remove_all(|entry| matches!(entry, HookEntry::Hook(_, HookLife::Closure)))
        } else {
            // Without a token nothing else is there.
            list.entries.take_values()
        };
        drop(self.await_end(list, None));
        forgotten.into_iter().for_each(HookEntry::release);
        has_token
    }

    /// The task has ended, cancelled or not. What is left is the canceller's, or is let go of.
    pub(super) fn seal(&self, is_cancelled: bool) {
        let mut list = self.list.lock();
        if is_cancelled {
            // The canceller has come for what is listed, or will; who comes later need not wait
            // for that.
            list.fired = true;
            return;
        }
        list.sealed = true;
        list.dependents = 0;
        let left = list.entries.take_values();
        drop(list);
        left.into_iter().for_each(HookEntry::release);
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
