//! A task in memory: the cell that holds a closure until it runs and then what it has returned, and
//! what only code that knows the closure's type can do with it. All other code gets at it by
//! [`TaskRef`](super::reference::TaskRef).
//!
//! A task is one piece of memory, the [`Cell`], from the `slab`. A handle that comes before the end
//! leaves a *bell* in it: the sender of a oneshot, whose receiver the handle polls from then on; or
//! the group of a batch. So a task that no handle has to wait for costs no channel. Rules:
//!
//! - **T1** The closure belongs to the thread that won the claim ([`Word::claim`], or
//!   `CancelAction::End`); that one takes it out of the cell exactly once and marks the task ended
//!   afterwards. The room of the closure is the value's from then on, and the claimer's until the
//!   task has ended. From then on the value is the handle's, which takes it exactly once; unless
//!   the handle has let go of it before: then the claimer drops it and ends the task afterwards.
//!   Which of the two was first is one change of the word ([`Word::finish`], [`Word::let_go`]).
//! - **T2** A cell lives as long as a `TaskRef` to it; the last one frees it. By then it has ended,
//!   so closure, value and bell have been taken and only the cold part is left to free.
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
//!   is cut from. No reference to the room of closure and value exists longer than the step that
//!   uses it, and none covers it and the header.
//! - **T10** The room of the bell is the handle's until [`Word::announce_bell`], and from then on
//!   the claimer's, which takes the bell out exactly once, before it ends the task. A bell that
//!   comes too late stays the handle's. The word says of which kind it is.

use std::alloc::Layout;
use std::mem::{ManuallyDrop, MaybeUninit, needs_drop, offset_of};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::{self, NonNull};

use super::bell::BellRoom;
use super::cancel_hooks::Hooks;
use super::metadata::Metadata;
use super::slab;
use super::state::Word;
use crate::error::{Reason, TaskId};
use crate::panic::report_panic;
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::sync::{Mutex, Tracked, UnsafeCell};
use crate::sys::fork;

/// What a cell tells the pool or lane it was spawned on, from whatever thread.
pub(crate) trait Owner: Sync {
    /// Counts a queued task that has been claimed and will not run.
    ///
    /// # Safety
    ///
    /// `this` is the owner of a task that the caller has claimed and that has not been counted yet
    /// (T4). Afterwards the owner may be gone.
    /// `expired`: its time was up.
    unsafe fn count_cancelled(this: *const Self, expired: bool);
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

/// What can be done only where the types of a cell are known. The functions take the address of a
/// cell of these types (T5).
pub(super) struct Vtable {
    /// Runs the closure and leaves its value in the room that was the closure's; or returns why
    /// there is none. By the claimer, once (T1).
    pub(super) run: unsafe fn(NonNull<Header>) -> Option<Reason>,
    /// Drops the closure unrun. By the claimer, once (T1).
    pub(super) drop_closure: unsafe fn(NonNull<Header>),
    /// Drops the value, once, by the thread that it belongs to (T1). `None` where that does
    /// nothing.
    pub(super) drop_value: Option<unsafe fn(NonNull<Header>)>,
    pub(super) count_cancelled: unsafe fn(*const (), bool),
    /// The layout of the cell.
    pub(super) layout: Layout,
    /// Where in the cell the room of closure and value is.
    pub(super) room: usize,
}

/// The part of a cell whose layout does not depend on the closure.
pub(super) struct Header {
    pub(super) word: Word,
    pub(super) id: TaskId,
    pub(super) vtable: &'static Vtable,
    pub(super) owner: *const (),
    pub(super) cold: AtomicPtr<ColdPart>,
    pub(super) site: &'static Location<'static>,
    /// The bell (T10).
    pub(super) bell: UnsafeCell<MaybeUninit<BellRoom>>,
    /// For the model checker: the room of closure and value (T1).
    pub(super) room: Tracked,
}

#[repr(C)]
union Room<F, T> {
    closure: ManuallyDrop<F>,
    value: ManuallyDrop<T>,
}

#[repr(C)]
struct Cell<F, T> {
    header: Header,
    room: Room<F, T>,
}

/// A cell with `closure`, whose word counts two references.
pub(super) fn allocate<F, T, O>(
    closure: F,
    id: TaskId,
    owner: *const O,
    site: &'static Location<'static>,
    cold: Option<Box<ColdPart>>,
) -> NonNull<Header>
where
    F: Work<T>,
    O: Owner,
{
    let (memory, place) = slab::allocate(Layout::new::<Cell<F, T>>());
    let header = Header {
        word: Word::new(2, fork::ShortGeneration::current(), place, cold.is_some()),
        id,
        vtable: const {
            &Vtable {
                run: run::<F, T>,
                drop_closure: drop_closure::<F>,
                drop_value: if needs_drop::<T>() { Some(drop_value::<T>) } else { None },
                count_cancelled: count_cancelled::<O>,
                layout: Layout::new::<Cell<F, T>>(),
                room: offset_of!(Cell<F, T>, room),
            }
        },
        owner: owner.cast(),
        cold: AtomicPtr::new(cold.map_or(ptr::null_mut(), Box::into_raw)),
        site,
        bell: UnsafeCell::new(MaybeUninit::uninit()),
        room: Tracked::new(),
    };
    // Each part in its place: a whole cell would need room on the stack for the value too.
    // SAFETY: T7: the memory is new, and as large and aligned as the cell wants it.
    unsafe { memory.cast().write(header) };
    // SAFETY: T7: the room is inside the cell.
    let room = unsafe { memory.byte_add(offset_of!(Cell<F, T>, room)) };
    // SAFETY: T7: as above.
    unsafe { room.cast().write(closure) };
    memory.cast()
}

/// The room of a cell's closure or value.
///
/// # Safety
///
/// The cell is alive (T2).
unsafe fn room<V>(header: NonNull<Header>) -> NonNull<V> {
    // SAFETY: T2.
    let cell = unsafe { header.as_ref() };
    cell.room.own();
    // SAFETY: T7: the room is inside the cell.
    unsafe { header.byte_add(cell.vtable.room) }.cast()
}

/// Runs the closure.
///
/// # Safety
///
/// As for [`Vtable::run`].
unsafe fn run<F: Work<T>, T>(header: NonNull<Header>) -> Option<Reason> {
    // SAFETY: T1 and T5: this is the claim, and the closure is there.
    let closure = unsafe { take_closure::<F>(header) };
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let value = closure.work()?;
        // SAFETY: T2: the claimer has a reference.
        let room = unsafe { room::<T>(header) };
        // SAFETY: T1 and T5: the room is the claimer's, and empty.
        unsafe { room.write(value) };
        Ok(())
    }));
    ran.unwrap_or_else(|payload| Err(Reason::panicked(payload))).err()
}

/// Drops the closure.
///
/// # Safety
///
/// As for [`Vtable::drop_closure`].
unsafe fn drop_closure<F>(header: NonNull<Header>) {
    // SAFETY: T2: the claimer has a reference.
    let room = unsafe { room::<F>(header) };
    // SAFETY: T1 and T5: this is the claim, and the closure is there.
    unsafe { room.drop_in_place() };
}

/// Drops the value.
///
/// # Safety
///
/// As for [`Vtable::drop_value`].
unsafe fn drop_value<T>(header: NonNull<Header>) {
    // SAFETY: T2: the caller has a reference.
    let room = unsafe { room::<T>(header) };
    // SAFETY: T1 and T5: the value is there, and this thread's.
    unsafe { room.drop_in_place() };
}

/// Takes the closure out.
///
/// # Safety
///
/// The caller has the claim, and takes the closure once (T1). The cell's closure is an `F` (T5).
pub(super) unsafe fn take_closure<F>(header: NonNull<Header>) -> F {
    // SAFETY: T2: the caller has a reference.
    let room = unsafe { room::<F>(header) };
    // SAFETY: T1 and T5.
    unsafe { room.read() }
}

/// Takes the value out.
///
/// # Safety
///
/// The task has ended with a value, which is this handle's and is taken once (T1). It is a `T`
/// (T5).
pub(super) unsafe fn take_value<T>(header: NonNull<Header>) -> T {
    // SAFETY: T2: the caller has a reference.
    let room = unsafe { room::<T>(header) };
    // SAFETY: T1 and T5.
    unsafe { room.read() }
}

/// Tells the owner of a cancellation.
///
/// # Safety
///
/// `owner` points to a live `O`, and the caller has claimed the task and has not counted it yet
/// (T4).
unsafe fn count_cancelled<O: Owner>(owner: *const (), expired: bool) {
    // SAFETY: T4.
    unsafe { O::count_cancelled(owner.cast(), expired) };
}

/// Frees a cell.
///
/// # Safety
///
/// The last reference is gone (T2).
pub(super) unsafe fn free(header: NonNull<Header>) {
    // SAFETY: T2 and T7: `new_task` wrote it here, and nothing else refers to it. The header has
    // been read for the last time.
    let Header { word, vtable, cold, bell, room, .. } = unsafe { header.read() };
    debug_assert!(word.is_ended(), "T2: only ended tasks are freed");
    // For the model checker: freeing is a write that must come after every use.
    room.own();
    bell.with_mut(|_| ());
    // SAFETY: T2 and T7: `new_task` had the memory allocated with this layout.
    unsafe { slab::free(header.cast(), word.place(), vtable.layout) };
    // ORDERING: Relaxed: the release of the last reference has acquired all there is.
    let cold = cold.load(Ordering::Relaxed);
    if !cold.is_null() {
        // SAFETY: T3: installed from a `Box`, and nothing else can reach it any more.
        unsafe { free_cold_part(cold) };
    }
}

/// # Safety
///
/// `cold` comes from a `Box`, and nothing else can reach it any more.
#[cold]
unsafe fn free_cold_part(cold: *mut ColdPart) {
    // SAFETY: T3: by the contract of this function.
    let ColdPart { reason, metadata, .. } = *unsafe { Box::from_raw(cold) };
    drop(metadata);
    reason.into_inner().into_iter().for_each(report_unread);
}

/// Drops a reason that no handle has asked for, and reports it if it is a panic.
pub(super) fn report_unread(reason: Reason) {
    if let Reason::Panicked(payload) = reason {
        report_panic("a task whose result nobody took", payload.into_inner());
    }
}
