//! A task in memory: the cell that holds a closure until it runs, and [`TaskRef`], a counted reference to it.
//!
//! Besides the oneshot a task is one allocation, the [`Cell`]. Rules:
//!
//! - **T1** Closure and sender belong to whoever won the claim ([`Word::claim`] or [`CancelAction::End`]); that one
//!   takes each out exactly once and marks the task ended afterwards.
//! - **T2** A cell lives as long as a `TaskRef` to it; the last one frees it. By then it has ended, so closure and
//!   sender have been taken and only the side allocation is left to free.
//! - **T3** The side allocation is installed by the claimer alone, once, and stays until the cell is freed.
//! - **T4** `owner` points to what spawned the task and is followed only by a canceller, between its claim and its
//!   count of it ([`Owner::cancelled`]). The owner is not freed before every task it accepted has been counted.
//! - **T5** The `F` and `T` of a cell are fixed by its vtable; only functions from that table touch their slots.

use std::any::Any;
use std::io;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::current;
use super::hooks::Hooks;
use super::state::{CancelAction, Outcome, ReleaseAction, Word};
use crate::error::{Origin, Reason, TaskError, TaskId};
use crate::report::{shield, swallow};
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::sync::oneshot::{Receiver, Sender, channel};
use crate::sync::{Mutex, UnsafeCell, fork};

/// What a cell tells the thread that runs it.
pub(crate) trait Runner {
    /// The closure has ended and its result is about to be delivered: count it, then return.
    fn ended(&self, panicked: bool);
}

/// What a cell tells the pool it was spawned on.
pub(crate) trait Owner {
    /// A queued task was cancelled by its handle: count it. This is the canceller's last use of the owner (T4).
    fn cancelled(&self);
}

/// What only few tasks need.
struct Side {
    hooks: Hooks,
    payload: Mutex<Option<Box<dyn Any + Send>>>,
    refusal: Option<Arc<io::Error>>,
}

struct Vtable {
    run: unsafe fn(&TaskRef, &dyn Runner),
    discard: unsafe fn(NonNull<Header>),
    count_cancelled: unsafe fn(*const ()),
    free: unsafe fn(NonNull<Header>),
}

/// The part of a cell whose layout does not depend on the closure.
pub(super) struct Header {
    pub(super) word: Word,
    id: TaskId,
    vtable: &'static Vtable,
    owner: *const (),
    side: AtomicPtr<Side>,
    site: &'static Location<'static>,
    /// For the model checker to see that every cell is freed.
    #[cfg(sidestep_loom)]
    _freed: loom::alloc::Track<()>,
}

#[repr(C)]
struct Cell<F, T> {
    header: Header,
    sender: UnsafeCell<MaybeUninit<Sender<T>>>,
    closure: UnsafeCell<MaybeUninit<F>>,
}

/// Makes a task of `closure`: the first reference is for the queue, the second for the handle.
pub(crate) fn new_task<F, T, O>(
    closure: F,
    owner: *const O,
    site: &'static Location<'static>,
) -> (TaskRef, TaskRef, Receiver<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
    O: Owner,
{
    let (sender, receiver) = channel();
    let cell = Box::new(Cell {
        header: Header {
            word: Word::new(2, fork::generation()),
            id: current::next_id(),
            vtable: const {
                &Vtable {
                    run: run::<F, T>,
                    discard: discard::<F, T>,
                    count_cancelled: count_cancelled::<O>,
                    free: free::<F, T>,
                }
            },
            owner: owner.cast(),
            side: AtomicPtr::new(ptr::null_mut()),
            site,
            #[cfg(sidestep_loom)]
            _freed: loom::alloc::Track::new(()),
        },
        sender: UnsafeCell::new(MaybeUninit::new(sender)),
        closure: UnsafeCell::new(MaybeUninit::new(closure)),
    });
    let header = NonNull::from(Box::leak(cell)).cast();
    (TaskRef(header), TaskRef(header), receiver)
}

/// Moves the value out of a slot.
///
/// # Safety
///
/// The slot holds a value, the caller alone may use the slot, and takes the value only once (T1).
unsafe fn take<V>(slot: &UnsafeCell<MaybeUninit<V>>) -> V {
    slot.with_mut(|slot| {
        // SAFETY: the slot is valid and nobody else uses it.
        let slot = unsafe { &*slot };
        // SAFETY: it holds a value, which is not used again.
        unsafe { slot.assume_init_read() }
    })
}

/// Runs the closure and delivers what came of it.
///
/// # Safety
///
/// The caller has the claim (T1) and the cell is a `Cell<F, T>` (T5).
unsafe fn run<F: FnOnce() -> T, T>(task: &TaskRef, runner: &dyn Runner) {
    // SAFETY: T5, and the reference keeps the cell alive (T2).
    let cell = unsafe { task.0.cast::<Cell<F, T>>().as_ref() };
    // SAFETY: T1: initialised by `new_task`, taken only by the claimer.
    let closure = unsafe { take(&cell.closure) };
    // SAFETY: T1, as above.
    let sender = unsafe { take(&cell.sender) };
    let result = current::as_current(task, || catch_unwind(AssertUnwindSafe(closure)));
    if let Some(side) = task.side() {
        side.hooks.close();
    }
    match result {
        Ok(value) => {
            runner.ended(false);
            shield("a waker, or the destructor of a result nobody took", || drop(sender.send(value)));
        }
        Err(payload) => {
            *task.side_or_install(None).payload.lock() = Some(payload);
            task.header().word.set_outcome(Outcome::Panicked);
            runner.ended(true);
            shield("a waker", || drop(sender));
        }
    }
}

/// Drops closure and sender.
///
/// # Safety
///
/// As for `run`.
unsafe fn discard<F, T>(header: NonNull<Header>) {
    // SAFETY: T5, and the caller holds a reference (T2).
    let cell = unsafe { header.cast::<Cell<F, T>>().as_ref() };
    // SAFETY: T1: initialised by `new_task`, taken only by the claimer.
    let closure = unsafe { take(&cell.closure) };
    shield("the destructor of a closure that did not run", || drop(closure));
    // SAFETY: T1, as above.
    let sender = unsafe { take(&cell.sender) };
    shield("a waker", || drop(sender));
}

/// Tells the owner of a cancellation.
///
/// # Safety
///
/// `owner` points to a live `O` (T4).
unsafe fn count_cancelled<O: Owner>(owner: *const ()) {
    // SAFETY: T4.
    let owner = unsafe { &*owner.cast::<O>() };
    owner.cancelled();
}

/// Frees the cell.
///
/// # Safety
///
/// The last reference is gone (T2) and the cell is a `Cell<F, T>` (T5).
unsafe fn free<F, T>(header: NonNull<Header>) {
    // SAFETY: T2 and T5: it came from a `Box` of this type in `new_task`.
    let cell = unsafe { Box::from_raw(header.cast::<Cell<F, T>>().as_ptr()) };
    debug_assert!(cell.header.word.is_ended(), "T2: only ended tasks are freed");
    // For the model checker: freeing is a write that must come after every use.
    #[cfg(sidestep_loom)]
    cell.sender.with_mut(|_| ());
    let side = cell.header.side.load(Ordering::Relaxed);
    if side.is_null() {
        return;
    }
    // SAFETY: T3: installed from a `Box`, and nobody else can reach it any more.
    let side = unsafe { Box::from_raw(side) };
    if let Some(payload) = side.payload.into_inner() {
        swallow("a task whose result nobody took", payload);
    }
}

/// A counted reference to a task.
pub(crate) struct TaskRef(NonNull<Header>);

// SAFETY: the closure is `Send` and only the claimer touches it (T1); everything else in the cell is atomic,
// locked or immutable, and the owner is only told things through `&O`, which is shared between threads anyway.
unsafe impl Send for TaskRef {}
// SAFETY: as above.
unsafe impl Sync for TaskRef {}

impl TaskRef {
    pub(super) fn header(&self) -> &Header {
        // SAFETY: T2: this reference keeps the cell alive.
        unsafe { self.0.as_ref() }
    }

    fn side(&self) -> Option<&Side> {
        if !self.header().word.has_side() {
            return None;
        }
        // ORDERING: Acquire pairs with the Release in `side_or_install`.
        let side = self.header().side.load(Ordering::Acquire);
        // SAFETY: T3: the bit says that it is installed, and it stays as long as the cell.
        unsafe { side.as_ref() }
    }

    /// The side allocation; the claimer alone may call this (T3).
    fn side_or_install(&self, refusal: Option<Arc<io::Error>>) -> &Side {
        let header = self.header();
        if !header.word.has_side() {
            let side = Side { hooks: Hooks::new(), payload: Mutex::new(None), refusal };
            // ORDERING: Release pairs with the Acquire in `side`.
            header.side.store(Box::into_raw(Box::new(side)), Ordering::Release);
            if header.word.announce_side() {
                self.side_installed().hooks.fire();
            }
        }
        self.side_installed()
    }

    fn side_installed(&self) -> &Side {
        // SAFETY: T3: the callers have seen to it that it is installed; it stays as long as the cell.
        unsafe { &*self.header().side.load(Ordering::Acquire) }
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin { id: self.header().id, site: self.header().site }
    }

    /// Whether `owner` spawned this task. The pointer is compared, never followed.
    pub(crate) fn is_owned_by(&self, owner: *const ()) -> bool {
        ptr::eq(self.header().owner, owner)
    }

    pub(crate) fn is_same(&self, other: &TaskRef) -> bool {
        self.0 == other.0
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.header().word.is_queued()
    }

    /// Whether this process is not the one that spawned the task.
    pub(crate) fn is_forked(&self) -> bool {
        self.header().word.generation() != fork::generation()
    }

    /// Takes the right to run or discard the task, if it is still queued.
    pub(crate) fn claim(self) -> Option<Claimed> {
        self.header().word.claim().then(|| Claimed(self))
    }

    /// Cancels: ends the task on this thread where it is queued, signals it where it runs.
    pub(super) fn cancel(&self) {
        match self.header().word.request_cancel() {
            CancelAction::End => {
                let header = self.header();
                // SAFETY: T4: this thread has the claim and has not counted it yet.
                unsafe { (header.vtable.count_cancelled)(header.owner) };
                Claimed(self.clone()).discard(Outcome::Cancelled, None);
            }
            // In a forked child another thread may hold the hooks' lock for ever.
            CancelAction::RunHooks if !self.is_forked() => {
                if let Some(side) = self.side() {
                    side.hooks.fire();
                }
            }
            CancelAction::RunHooks | CancelAction::Nothing => {}
        }
    }

    /// Registers a hook; only the running closure's thread may (it is the claimer, T3).
    pub(super) fn add_hook(&self, hook: Box<dyn FnOnce() + Send>) -> Option<u64> {
        self.side_or_install(None).hooks.add(hook)
    }

    pub(super) fn remove_hook(&self, id: u64) {
        if let Some(side) = self.side().filter(|_| !self.is_forked()) {
            side.hooks.remove(id);
        }
    }

    /// Why the sender was dropped without a value.
    pub(super) fn error(&self) -> TaskError {
        let reason = match self.header().word.outcome() {
            Outcome::Panicked => {
                let payload = self.side().and_then(|side| side.payload.lock().take());
                Reason::Panicked(Mutex::new(payload.unwrap_or_else(|| Box::new("the payload was taken"))))
            }
            Outcome::NoThread => {
                let error = self.side().and_then(|side| side.refusal.clone());
                Reason::NoThread(error.unwrap_or_else(forked_child))
            }
            Outcome::Shutdown => Reason::Shutdown,
            Outcome::Full => Reason::Full,
            Outcome::Cancelled | Outcome::Value => Reason::Cancelled,
        };
        TaskError::new(self.origin(), reason)
    }

    /// The error of a handle in a forked child.
    pub(super) fn forked_error(&self) -> TaskError {
        TaskError::new(self.origin(), Reason::NoThread(forked_child()))
    }
}

/// Why a forked child's tasks do not run.
pub(crate) fn forked_child() -> Arc<io::Error> {
    Arc::new(io::Error::other("the threads of the pool stayed in the parent of this forked process"))
}

impl Clone for TaskRef {
    fn clone(&self) -> Self {
        self.header().word.retain();
        TaskRef(self.0)
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        if self.header().word.release() == ReleaseAction::Free {
            // SAFETY: T2: that was the last reference.
            unsafe { (self.header().vtable.free)(self.0) };
        }
    }
}

impl std::fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskRef").field("id", &self.header().id).field("word", &self.header().word).finish()
    }
}

/// A task whose closure and sender belong to the holder, who must run or discard it.
#[must_use = "a claimed task must be run or discarded, or its handle waits for ever"]
#[derive(Debug)]
pub(crate) struct Claimed(TaskRef);

impl Claimed {
    /// Runs the closure on this thread and delivers its result.
    pub(crate) fn run(self, runner: &dyn Runner) {
        // SAFETY: T1: this is the claim. T5: the function is from the cell's own table.
        unsafe { (self.0.header().vtable.run)(&self.0, runner) };
        self.end();
    }

    /// Drops the closure unrun and tells the handle why.
    pub(crate) fn discard(self, outcome: Outcome, refusal: Option<Arc<io::Error>>) {
        let header = self.0.header();
        if refusal.is_some() {
            self.0.side_or_install(refusal);
        }
        header.word.set_outcome(outcome);
        // SAFETY: T1 and T5, as in `run`.
        unsafe { (header.vtable.discard)(self.0.0) };
        self.end();
    }

    /// Takes the closure back, unrun; the handle must be gone or never read.
    ///
    /// # Safety
    ///
    /// `F` and `T` are those the task was made with.
    pub(crate) unsafe fn into_closure<F, T>(self) -> F {
        // SAFETY: T5 by the caller's promise; the reference keeps the cell alive (T2).
        let cell = unsafe { self.0.0.cast::<Cell<F, T>>().as_ref() };
        // SAFETY: T1: initialised by `new_task`, taken only by the claimer.
        let closure = unsafe { take(&cell.closure) };
        // SAFETY: T1, as above.
        drop(unsafe { take(&cell.sender) });
        self.end();
        closure
    }

    fn end(self) {
        let header = self.0.0;
        // The reference is let go of by `end_and_release`, not by its drop.
        std::mem::forget(self);
        // SAFETY: T2: the forgotten reference still counts.
        let word = unsafe { &header.as_ref().word };
        if word.end_and_release() == ReleaseAction::Free {
            // SAFETY: T2: that was the last reference, so the header is alive until here.
            let vtable = unsafe { header.as_ref().vtable };
            // SAFETY: T2, T5.
            unsafe { (vtable.free)(header) };
        }
    }
}
