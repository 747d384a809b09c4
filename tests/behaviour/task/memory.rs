//! Sizes and auto traits are promises too. What a queued task costs is measured in
//! `tests/allocations.rs`.

use std::panic::{RefUnwindSafe, UnwindSafe};

use sidestep::current::{Cancelled, HookGuard};
use sidestep::{
    CancelHandle, Cancelling, LaneMetrics, Metrics, NewThread, Pool, PoolBuilder, Rejected, Shutdown,
    ShutdownReport, Task, TaskError, TaskId, Unblocked,
};

/// A value that can be sent and nothing else: not shared, not pinned loosely, not carried over a
/// panic.
struct OnlySend {
    _cell: std::cell::Cell<u8>,
    _pinned: std::marker::PhantomPinned,
    _unwind: std::marker::PhantomData<&'static mut u8>,
}

fn send<T: Send>() {}
fn sync<T: Sync>() {}
fn unpin<T: Unpin>() {}
fn unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
fn is_static<T: 'static>() {}

#[test]
fn handles_are_send_unpin_and_unwind_safe_whatever_the_result() {
    fn check<T: Send + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}
    check::<Task<OnlySend>>();
    check::<Cancelling<OnlySend>>();
    check::<Unblocked<OnlySend>>();
    check::<Task<Box<dyn FnMut() + Send>>>();
    sync::<Task<u8>>();
    sync::<Cancelling<u8>>();
    sync::<Unblocked<u8>>();
    send::<CancelHandle>();
    sync::<CancelHandle>();
    unpin::<CancelHandle>();
    unwind_safe::<CancelHandle>();
}

#[test]
fn errors_are_send_and_sync() {
    fn check<T: std::error::Error + Send + Sync + Unpin + 'static>() {}
    check::<TaskError>();
    check::<Cancelled>();
    check::<Rejected<fn()>>();
    send::<Rejected<Box<dyn FnOnce() + Send>>>();
    is_static::<TaskId>();
}

#[test]
fn pools_and_numbers_can_go_anywhere() {
    fn check<T: Send + Sync + Unpin + 'static>() {}
    check::<Pool>();
    check::<Metrics>();
    check::<ShutdownReport>();
    check::<TaskId>();
    send::<Shutdown>();
    unpin::<Shutdown>();
    send::<PoolBuilder>();
    send::<NewThread>();
    check::<LaneMetrics>();
    unwind_safe::<Metrics>();
    unwind_safe::<LaneMetrics>();
    unwind_safe::<TaskId>();
    unwind_safe::<Cancelled>();
}

/// `check` can be called for a type that is not `Send`; for others two implementations apply and
/// nothing compiles.
trait NotSend<A> {
    fn check() {}
}
impl<T: ?Sized> NotSend<()> for T {}
impl<T: ?Sized + Send> NotSend<u8> for T {}

#[test]
fn a_hook_guard_stays_on_its_thread() {
    <HookGuard as NotSend<_>>::check();
}

#[test]
fn sizes() {
    const WORD: usize = size_of::<usize>();
    assert_eq!(size_of::<Task<u8>>(), 2 * WORD, "the cell and the receiver");
    assert_eq!(size_of::<Task<[u64; 100]>>(), 2 * WORD, "whatever the result");
    assert_eq!(size_of::<Cancelling<u8>>(), 2 * WORD);
    assert_eq!(size_of::<Unblocked<u8>>(), 2 * WORD);
    assert!(size_of::<Option<Task<u8>>>() <= 3 * WORD);
    assert_eq!(size_of::<CancelHandle>(), WORD);
    assert_eq!(size_of::<Option<CancelHandle>>(), WORD);
    assert_eq!(size_of::<Pool>(), WORD);
    assert_eq!(size_of::<TaskId>(), 8);
    assert_eq!(size_of::<TaskError>(), WORD);
    assert_eq!(size_of::<Result<(), TaskError>>(), WORD, "an error costs the good way nothing");
    assert_eq!(size_of::<Cancelled>(), 0);
}
