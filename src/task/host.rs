//! What a thread of a pool does for the code that runs on it, and the door to it.

#[cfg(all(test, not(sidestep_loom)))]
mod tests;

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;

use super::reference::TaskRef;
use crate::sync::nesting::TooDeep;
use crate::sync::{Parker, thread_local_const};

thread_local_const! { static HOST: Cell<Option<*const dyn Host>> = Cell::new(None) }

/// What a thread of a pool does for the code that runs on it. `worker` implements it.
pub(crate) trait Host {
    /// The thread is about to block for as long as the code likes.
    fn begin_blocking(&self);
    /// The thread has stopped blocking.
    fn end_blocking(&self);
    /// Runs `target` on this thread now, if it waits in a queue of this thread's pool and the pool
    /// cannot be counted on to give it another thread. Called while blocking, and after `watch`.
    fn run_inline(&self, target: &TaskRef) -> Inline;
    /// The thread is about to park in a wait without a deadline. Ended by `end_waiting`.
    fn begin_waiting(&self);
    /// The thread is awake again.
    fn end_waiting(&self);
    /// As `begin_waiting`, for a wait whose target is queued, while the thread has no stack left to
    /// run it and the pool cannot grow. False if every other thread of the pool waits: then this
    /// one must not park. Called after `watch`, and ended by `end_deep_wait`.
    #[must_use]
    fn begin_deep_wait(&self, parker: &Arc<Parker>, target: Option<&TaskRef>) -> bool;
    /// The thread is awake again.
    fn end_deep_wait(&self, parker: &Arc<Parker>);
    /// Runs a task that a thread of a lane's reserve waits for and cannot run itself. False if
    /// there is none. Called after `watch`, where the pool cannot grow.
    fn run_wanted(&self) -> bool;
    /// The thread is about to park until there is room in a queue of its pool: where it may not run
    /// what is queued there, `run_wanted` of others does. Ended by `end_wanting_room`.
    fn want_room(&self);
    /// The wait for room is over.
    fn end_wanting_room(&self);
    /// The task that `run_wanted` would run, for a thread that has no stack left for it.
    fn first_wanted(&self) -> Option<TaskRef>;
    /// Wakes `parker` when the answer of `run_inline` for `target` may have changed; without a
    /// target, when `may_grow` turns false and whenever something is queued that no thread will
    /// look for. Ended by `unwatch`: see [`Watching`].
    fn watch(&self, target: Option<&TaskRef>, parker: &Arc<Parker>);
    /// Undoes `watch`.
    fn unwatch(&self, target: Option<&TaskRef>, parker: &Arc<Parker>);
    /// The thread opens a scope: what it is inside cannot end before all tasks of the scope are
    /// released. `scope` is the address of what observes their release. Ended by `close_scope`.
    fn open_scope(&self, scope: *const ());
    /// All tasks of the scope are released.
    fn close_scope(&self, scope: *const ());
    /// Whether anything is in the queues of this thread's pool.
    fn has_queued(&self) -> bool;
    /// Runs one queue entry of this thread's pool on this thread now. False if there was none.
    fn run_any_inline(&self) -> bool;
    /// As `run_any_inline` for `target`, whether or not the pool may grow. False if another thread
    /// has claimed it.
    fn run_inline_now(&self, target: &TaskRef) -> bool;
    /// The tasks that this thread is inside wait for the shutdown of its pool, and count as ended:
    /// gives their slots away.
    fn release_slots_early(&self);
    /// Whether another thread can be counted on to be started while this one blocks.
    fn may_grow(&self) -> bool;
    /// The thread is about to park in a wait for, among others, the shutdown of its pool, and its
    /// parker shows that. False if it must look again instead: a waker has forked, and this is the
    /// child.
    #[must_use]
    fn begin_parking(&self) -> bool;
    /// The thread goes on.
    fn end_parking(&self);
    /// Ends this thread after its task.
    fn retire(&self);
    /// The address of what owns this thread's pool, for comparison.
    fn owner(&self) -> *const ();
}

/// What came of running a task inline.
#[must_use]
pub(crate) enum Inline {
    /// It has been run, or something else has been done for it: look again.
    Ran,
    /// Nothing can be done but wait.
    Waits,
    /// The thread would have to run this one, the target or another, but has no stack left for
    /// that.
    NoRoom(TooDeep, TaskRef),
    /// It will never run: every thread that could run it waits.
    Deadlock,
}

/// Makes `host` the host of this thread while `f` runs.
pub(crate) fn with_host<R>(host: &(dyn Host + 'static), f: impl FnOnce() -> R) -> R {
    struct Reset(Option<*const dyn Host>);
    impl Drop for Reset {
        fn drop(&mut self) {
            HOST.with(|slot| slot.set(self.0));
        }
    }
    let _reset = Reset(HOST.with(|slot| slot.replace(Some(host))));
    f()
}

/// This thread's host, where it is a pool's thread.
pub(crate) fn host<'a>() -> Option<&'a dyn Host> {
    // SAFETY: T6: `with_host` borrows the host for longer than the slot holds it.
    HOST.with(Cell::get).map(|host| unsafe { &*host })
}

/// This thread's host, where it is a thread of the pool with this owner.
pub(crate) fn host_of<'a>(owner: *const ()) -> Option<&'a dyn Host> {
    host().filter(|host| ptr::eq(host.owner(), owner))
}

/// Keeps a parker registered with a host, until it is dropped.
pub(super) struct Watching<'a> {
    host: &'a dyn Host,
    target: Option<&'a TaskRef>,
    parker: &'a Arc<Parker>,
}

impl<'a> Watching<'a> {
    /// For a wait for `target` alone.
    pub(super) fn target(host: &'a dyn Host, target: &'a TaskRef, parker: &'a Arc<Parker>) -> Self {
        host.watch(Some(target), parker);
        Watching { host, target: Some(target), parker }
    }

    /// For a wait in which the thread may run anything.
    pub(super) fn anything(host: &'a dyn Host, parker: &'a Arc<Parker>) -> Self {
        host.watch(None, parker);
        Watching { host, target: None, parker }
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.host.unwatch(self.target, self.parker);
    }
}

/// Declares the thread blocked from `enter` to the drop, so that its pool may have one thread more.
pub(super) struct Blocking<'a>(Option<&'a dyn Host>);

impl Blocking<'_> {
    pub(super) fn enter() -> Self {
        let host = host();
        if let Some(host) = host {
            host.begin_blocking();
        }
        Blocking(host)
    }
}

impl Drop for Blocking<'_> {
    fn drop(&mut self) {
        if let Some(host) = self.0 {
            host.end_blocking();
        }
    }
}
