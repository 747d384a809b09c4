//! A task in memory: the cell that holds a closure until it runs, and what only code that knows the
//! closure's type can do with it. All other code gets at it by [`TaskRef`].
//!
//! Besides the oneshot a task is one piece of memory, the [`Cell`], from the `slab`. Rules:
//!
//! - **T1** Closure and sender belong to the thread that won the claim ([`Word::claim`], or
//!   `CancelAction::End`); that one takes each out exactly once and marks the task ended
//!   afterwards.
//! - **T2** A cell lives as long as a `TaskRef` to it; the last one frees it. By then it has ended,
//!   so closure and sender have been taken and only the cold part is left to free.
//! - **T3** The cold part is installed once, by the spawner before another thread knows the
//!   task or later by the claimer alone, and stays until the cell is freed.
//! - **T4** `owner` points to the account of what spawned the task, an allocation of its own, and
//!   is followed only by a canceller, between its claim and its count of it
//!   ([`Owner::count_cancelled`]). The account is not freed before every task that was accepted has
//!   been counted. The count may be the last thing before that, so no reference to the account that
//!   a function was given is alive then: the compiler may take what such a reference covers to stay
//!   until the function returns.
//! - **T5** The `F` and `T` of a cell are fixed by its vtable; only functions from that table touch
//!   their slots.
//! - **T6** What a slot of the thread (`FRAME`, `HOST` of `host`, `INNERMOST` of `wait`, a worker's
//!   `STATION`) points to is borrowed by the function that set it, which sets it back on every way
//!   out, a panic too; and what is read from a slot stays inside what that function runs.
//! - **T7** A pointer to a cell is the one that its memory was made with, never one made from a
//!   reference to a part of it: so the whole cell can be reached through it, and the chunk that it
//!   is cut from.

#[cfg(all(test, not(sidestep_loom)))]
mod tests;

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::{self, NonNull};

use super::cancel_hooks::Hooks;
use super::metadata::{Metadata, run_within};
use super::reference::{TaskRef, report_unread};
use super::slab;
use super::state::Word;
use crate::error::{Reason, TaskId};
use crate::panic::catch_panic;
use crate::sync::atomic::{AtomicPtr, Ordering, StaticU64};
use crate::sync::oneshot::{Receiver, Sender, channel};
use crate::sync::{Mutex, Tracked, UnsafeCell, thread_local_const};
use crate::sys::fork;

/// What a cell tells the thread that runs it.
pub(crate) trait Runner {
    /// The closure of `task` has ended, and its result or the reason why it has none is about to be
    /// delivered: count it, then return.
    fn ended(&self, task: &TaskRef, reason: Option<&Reason>);
}

/// What a cell tells the pool or lane it was spawned on, from whatever thread.
pub(crate) trait Owner: Sync {
    /// Counts a queued task that has been claimed and will not run.
    ///
    /// # Safety
    ///
    /// `this` is the owner of a task that the caller has claimed and that has not been counted yet
    /// (T4). Afterwards the owner may be gone.
    unsafe fn count_cancelled(this: *const Self);
}

/// What a task does: a closure returns a value, and an [`Attempt`] of this crate may return the
/// reason why there is none.
pub(crate) trait Work<T> {
    fn work(self) -> Result<T, Reason>;
}

impl<T, F: FnOnce() -> T> Work<T> for F {
    #[inline]
    fn work(self) -> Result<T, Reason> {
        Ok(self())
    }
}

/// A closure of this crate that may end its task without a value.
pub(crate) struct Attempt<F>(pub(crate) F);

impl<T, F: FnOnce() -> Result<T, Reason>> Work<T> for Attempt<F> {
    fn work(self) -> Result<T, Reason> {
        (self.0)()
    }
}

/// What only few tasks need.
pub(crate) struct ColdPart {
    pub(super) hooks: Hooks,
    /// Why there is no value, where the word has no number for it. The claimer writes it once, and
    /// it is taken once.
    pub(super) reason: Mutex<Option<Reason>>,
    pub(super) metadata: Metadata,
}

impl ColdPart {
    pub(crate) fn new(metadata: Metadata) -> Box<Self> {
        Box::new(ColdPart { hooks: Hooks::new(), reason: Mutex::new(None), metadata })
    }
}

/// What can be done only where the types of a cell are known.
pub(super) struct Vtable {
    pub(super) run: unsafe fn(&TaskRef, bool, &dyn Runner),
    pub(super) discard: unsafe fn(NonNull<Header>),
    pub(super) count_cancelled: unsafe fn(*const ()),
    pub(super) free: unsafe fn(NonNull<Header>),
}

/// The part of a cell whose layout does not depend on the closure.
pub(super) struct Header {
    pub(super) word: Word,
    pub(super) id: TaskId,
    pub(super) vtable: &'static Vtable,
    pub(super) owner: *const (),
    pub(super) cold: AtomicPtr<ColdPart>,
    pub(super) site: &'static Location<'static>,
    _freed: Tracked,
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
    cold: Option<Box<ColdPart>>,
) -> (TaskRef, TaskRef, Receiver<T>)
where
    F: Work<T> + Send + 'static,
    T: Send + 'static,
    O: Owner,
{
    // SAFETY: T8: `'static`, so nothing is borrowed.
    unsafe { new_scoped_task(closure, owner, site, cold) }
}

/// As [`new_task`], for a closure that may borrow.
///
/// # Safety
///
/// What `F` and `T` borrow stays valid until the task has been released
/// ([`OnRelease`](super::metadata::OnRelease)) and the receiver is gone.
pub(crate) unsafe fn new_scoped_task<F, T, O>(
    closure: F,
    owner: *const O,
    site: &'static Location<'static>,
    cold: Option<Box<ColdPart>>,
) -> (TaskRef, TaskRef, Receiver<T>)
where
    F: Work<T> + Send,
    T: Send,
    O: Owner,
{
    let (sender, receiver) = channel();
    let (memory, place) = slab::allocate(Layout::new::<Cell<F, T>>());
    let cell = Cell {
        header: Header {
            word: Word::new(2, fork::ShortGeneration::current(), place, cold.is_some()),
            id: next_id(),
            vtable: const {
                &Vtable {
                    run: run::<F, T>,
                    discard: discard::<F, T>,
                    count_cancelled: count_cancelled::<O>,
                    free: free::<F, T>,
                }
            },
            owner: owner.cast(),
            cold: AtomicPtr::new(cold.map_or(ptr::null_mut(), Box::into_raw)),
            site,
            _freed: Tracked::new(),
        },
        sender: UnsafeCell::new(MaybeUninit::new(sender)),
        closure: UnsafeCell::new(MaybeUninit::new(closure)),
    };
    // SAFETY: T7: the memory is new, and as large and aligned as the cell wants it.
    unsafe { memory.cast::<Cell<F, T>>().write(cell) };
    let header = memory.cast();
    // SAFETY: T2: the word counts two references, and this is the first.
    let entry = unsafe { TaskRef::from_raw(header) };
    // SAFETY: T2: this is the second.
    let handle = unsafe { TaskRef::from_raw(header) };
    (entry, handle, receiver)
}

/// The next task id. Each thread takes them from a block of its own, so that spawners do not meet.
pub(crate) fn next_id() -> TaskId {
    const BLOCK: u64 = 1024;
    static NEXT_BLOCK: StaticU64 = StaticU64::new(0);
    thread_local_const! { static NEXT: std::cell::Cell<u64> = std::cell::Cell::new(0) }

    NEXT.with(|next| {
        let mut id = next.get();
        if id % BLOCK == 0 {
            id = NEXT_BLOCK.fetch_add(1, Ordering::Relaxed) * BLOCK;
        }
        next.set(id + 1);
        TaskId(id + 1)
    })
}

/// A task that this thread is running, and the one it interrupted by running it inline.
struct Frame {
    task: *const TaskRef,
    below: *const Frame,
}

thread_local_const! { static FRAME: std::cell::Cell<*const Frame> = std::cell::Cell::new(ptr::null()) }
/// Runs `f` as the closure of `task`.
pub(crate) fn as_current<R>(task: &TaskRef, f: impl FnOnce() -> R) -> R {
    in_frame(task, f)
}

/// Runs `f`, a waker or a callback, which belongs to no task though the thread may be inside one.
pub(crate) fn as_no_task<R>(f: impl FnOnce() -> R) -> R {
    in_frame(ptr::null(), f)
}

#[inline]
fn in_frame<R>(task: *const TaskRef, f: impl FnOnce() -> R) -> R {
    struct Reset(*const Frame);
    impl Drop for Reset {
        fn drop(&mut self) {
            FRAME.with(|slot| slot.set(self.0));
        }
    }
    let below = FRAME.with(std::cell::Cell::get);
    let frame = Frame { task, below };
    FRAME.with(|slot| slot.set(&raw const frame));
    let _reset = Reset(below);
    f()
}

/// The tasks on this thread, innermost first; `None` for code that belongs to none.
fn frames<'a>() -> impl Iterator<Item = Option<&'a TaskRef>> {
    let mut next = FRAME.with(std::cell::Cell::get);
    std::iter::from_fn(move || {
        // SAFETY: T6: null, or a frame on the stack of this thread, above us, until `in_frame`
        // takes it off the list.
        let frame = unsafe { next.as_ref() }?;
        next = frame.below;
        // SAFETY: T6: null, or a reference that the frame borrows for as long.
        Some(unsafe { frame.task.as_ref() })
    })
}

/// The task that this code belongs to.
pub(super) fn current<'a>() -> Option<&'a TaskRef> {
    frames().next().flatten()
}

/// Whether this thread is inside `task`.
pub(crate) fn is_inside(task: &TaskRef) -> bool {
    // A queued one is not running, and with many waits inside each other the list is long.
    !task.is_queued() && tasks().any(|other| other.is_same(task))
}

/// The tasks that this thread is inside, innermost first.
pub(crate) fn tasks<'a>() -> impl Iterator<Item = &'a TaskRef> {
    frames().flatten()
}

/// The tasks of `owner` that this thread is inside.
pub(crate) fn tasks_of(owner: *const ()) -> Vec<TaskId> {
    tasks().filter(|task| task.is_owned_by(owner)).map(TaskRef::id).collect()
}

/// Moves the value out of a slot.
///
/// # Safety
///
/// The slot holds a value, the caller alone may use the slot, and takes the value only once (T1).
unsafe fn take<V>(slot: &UnsafeCell<MaybeUninit<V>>) -> V {
    slot.with_mut(|slot| {
        // SAFETY: T1: the slot is valid and no other thread uses it.
        let slot = unsafe { &*slot };
        // SAFETY: T1: it holds a value, which is not used again.
        unsafe { slot.assume_init_read() }
    })
}

/// Runs the closure, in its context if it is `has_metadata` with one, and delivers what came of it.
///
/// # Safety
///
/// The caller has the claim (T1) and the cell is a `Cell<F, T>` (T5).
unsafe fn run<F: Work<T>, T>(task: &TaskRef, has_metadata: bool, runner: &dyn Runner) {
    // SAFETY: T5, and the reference keeps the cell alive (T2).
    let cell = unsafe { task.as_raw().cast::<Cell<F, T>>().as_ref() };
    // SAFETY: T1: initialised by `new_task`, taken only by the claimer.
    let closure = unsafe { take(&cell.closure) };
    // SAFETY: T1, as above.
    let sender = unsafe { take(&cell.sender) };
    let context = if has_metadata { task.metadata().and_then(Metadata::take_context) } else { None };
    let ran = as_current(task, || match context {
        None => catch_unwind(AssertUnwindSafe(|| closure.work())),
        Some(context) => run_within(context, || closure.work()),
    });
    let result = ran.unwrap_or_else(|payload| Err(Reason::panicked(payload)));
    // In a forked child no thread may be left to finish a hook.
    if let Some(cold) = task.cold_part().filter(|_| !task.is_forked()) {
        cold.hooks.close();
    }
    match result {
        Ok(value) => {
            runner.ended(task, None);
            let deliver = || as_no_task(|| drop(sender.send(value)));
            catch_panic("a waker, or the destructor of a result that no handle took", deliver);
        }
        Err(reason) => fail(task, sender, reason, runner),
    }
}

/// Leaves `reason` for the handle, and lets go of the sender. By the claimer.
#[cold]
fn fail<T>(task: &TaskRef, sender: Sender<T>, reason: Reason, runner: &dyn Runner) {
    runner.ended(task, Some(&reason));
    // Only after the count: a handle that is dropped and sees this drops the payload of a panic,
    // whose destructor may look at the counts.
    task.set_reason(reason);
    let is_unwanted = sender.is_canceled();
    catch_panic("a waker", || as_no_task(|| drop(sender)));
    if is_unwanted {
        as_no_task(|| task.report_unwanted());
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
    catch_panic("the destructor of a closure that did not run", || drop(closure));
    // SAFETY: T1, as above.
    let sender = unsafe { take(&cell.sender) };
    catch_panic("a waker", || as_no_task(|| drop(sender)));
}

/// Tells the owner of a cancellation.
///
/// # Safety
///
/// `owner` points to a live `O`, and the caller has claimed the task and has not counted it yet
/// (T4).
unsafe fn count_cancelled<O: Owner>(owner: *const ()) {
    // SAFETY: T4.
    unsafe { O::count_cancelled(owner.cast()) };
}

/// Frees the cell.
///
/// # Safety
///
/// The last reference is gone (T2) and the cell is a `Cell<F, T>` (T5).
unsafe fn free<F, T>(header: NonNull<Header>) {
    // SAFETY: T2 and T5: `new_task` wrote a cell of this type here, and nothing else refers to it.
    let cell = unsafe { header.cast::<Cell<F, T>>().as_mut() };
    debug_assert!(cell.header.word.is_ended(), "T2: only ended tasks are freed");
    // For the model checker: freeing is a write that must come after every use.
    cell.sender.with_mut(|_| ());
    // ORDERING: Relaxed, here and for the place: the release of the last reference has acquired all
    // there is.
    let cold = cell.header.cold.load(Ordering::Relaxed);
    let place = cell.header.word.place();
    // SAFETY: T2: it is not used again.
    unsafe { ptr::drop_in_place(cell) };
    // SAFETY: T2 and T7: `new_task` had the memory allocated for this type.
    unsafe { slab::free(header.cast(), place, Layout::new::<Cell<F, T>>()) };
    if !cold.is_null() {
        // SAFETY: T3: installed from a `Box`, and nothing else can reach it any more.
        free_cold_part(unsafe { Box::from_raw(cold) });
    }
}

#[cold]
fn free_cold_part(cold: Box<ColdPart>) {
    let ColdPart { reason, metadata, .. } = *cold;
    drop(metadata);
    reason.into_inner().into_iter().for_each(report_unread);
}

/// Takes the closure back, unrun, and drops the sender.
///
/// # Safety
///
/// As for `run`.
pub(super) unsafe fn take_closure<F, T>(header: NonNull<Header>) -> F {
    // SAFETY: T5, and the caller holds a reference (T2).
    let cell = unsafe { header.cast::<Cell<F, T>>().as_ref() };
    // SAFETY: T1: initialised by `new_task`, taken only by the claimer.
    let closure = unsafe { take(&cell.closure) };
    // SAFETY: T1, as above.
    drop(unsafe { take(&cell.sender) });
    closure
}
