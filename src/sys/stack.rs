//! How much of its stack a thread has left.
//!
//! The bounds are those that the system has on record for the thread, asked once per thread. Code
//! that runs on another stack (a coroutine's, a signal's, a segment that `stacker` has made) is
//! outside of them, and then nothing is known; nor is anything known under Miri, under the model
//! checkers, whose threads are coroutines, and on systems that this file has no call for.

use std::cell::Cell;
use std::ops::Range;

/// The stack of a thread, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stack {
    pub(crate) size: usize,
    /// Below the caller's frame, guard pages not counted.
    pub(crate) left: usize,
}

/// What is known of the bounds of a thread's stack.
#[derive(Clone)]
enum Bounds {
    NotAsked,
    Unknown,
    Known(Range<usize>),
}

/// The stack of this thread, if the system knows it and this code runs on it.
pub(crate) fn of_this_thread() -> Option<Stack> {
    thread_local! { static BOUNDS: Cell<Bounds> = const { Cell::new(Bounds::NotAsked) } }

    let bounds = match BOUNDS.replace(Bounds::Unknown) {
        Bounds::NotAsked => ask().map_or(Bounds::Unknown, Bounds::Known),
        asked => asked,
    };
    BOUNDS.set(bounds.clone());
    let Bounds::Known(bounds) = bounds else { return None };
    let here = stack_pointer();
    bounds.contains(&here).then(|| Stack { size: bounds.end - bounds.start, left: here - bounds.start })
}

/// Where the stack of this thread ends at present.
#[inline(always)]
fn stack_pointer() -> usize {
    // A local's address would do, but a sanitizer may put locals elsewhere.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        let pointer: usize;
        // SAFETY: it copies a register.
        unsafe { std::arch::asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
        pointer
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    {
        let pointer: usize;
        // SAFETY: it copies a register.
        unsafe { std::arch::asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
        pointer
    }
    #[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
    {
        let local = 0_u8;
        std::hint::black_box(&raw const local).addr()
    }
}

/// Asks the system for the bounds of this thread's stack.
#[cfg(all(
    any(target_os = "linux", target_os = "android", target_os = "freebsd"),
    not(any(miri, sidestep_loom, sidestep_shuttle))
))]
fn ask() -> Option<Range<usize>> {
    use std::mem::MaybeUninit;
    use std::ptr;

    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: no arguments.
    let this = unsafe { libc::pthread_self() };
    #[cfg(target_os = "freebsd")]
    // SAFETY: there is memory for the attributes.
    if unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    #[cfg(target_os = "freebsd")]
    // SAFETY: the attributes are initialised, and the thread is this one.
    let filled = unsafe { libc::pthread_attr_get_np(this, attributes.as_mut_ptr()) } == 0;
    #[cfg(not(target_os = "freebsd"))]
    // SAFETY: there is memory for the attributes, which this call initialises, and the thread is
    // this one.
    let filled = unsafe { libc::pthread_getattr_np(this, attributes.as_mut_ptr()) } == 0;
    if !filled {
        return None;
    }
    let (mut low, mut size, mut guard) = (ptr::null_mut(), 0, 0);
    // SAFETY: the attributes are initialised.
    let has_stack = unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut size) } == 0;
    // SAFETY: as above.
    let has_guard = unsafe { libc::pthread_attr_getguardsize(attributes.as_ptr(), &mut guard) } == 0;
    // SAFETY: as above, and they are not used again.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    // Some versions of the C libraries count the guard in, others do not.
    let guard = if has_guard { guard } else { 0 };
    let low = low.addr();
    has_stack.then(|| low.saturating_add(guard)..low.saturating_add(size))
}

/// Asks the system for the bounds of this thread's stack.
#[cfg(all(target_vendor = "apple", not(any(miri, sidestep_loom, sidestep_shuttle))))]
fn ask() -> Option<Range<usize>> {
    // SAFETY: no arguments.
    let this = unsafe { libc::pthread_self() };
    // SAFETY: the thread is this one.
    let high = unsafe { libc::pthread_get_stackaddr_np(this) }.addr();
    // SAFETY: as above.
    let size = unsafe { libc::pthread_get_stacksize_np(this) };
    Some(high.saturating_sub(size)..high)
}

/// Asks the system for the bounds of this thread's stack.
#[cfg(all(windows, not(any(miri, sidestep_loom, sidestep_shuttle))))]
fn ask() -> Option<Range<usize>> {
    use windows_sys::Win32::System::Threading::GetCurrentThreadStackLimits;

    let (mut low, mut high) = (0, 0);
    // SAFETY: the call writes two addresses, for which there is memory.
    unsafe { GetCurrentThreadStackLimits(&raw mut low, &raw mut high) };
    Some(low..high)
}

/// This system has no such call.
#[cfg(any(
    miri,
    sidestep_loom,
    sidestep_shuttle,
    not(any(
        target_os = "linux",
        target_os = "android",
        target_os = "freebsd",
        target_vendor = "apple",
        windows
    ))
))]
fn ask() -> Option<Range<usize>> {
    None
}

#[cfg(all(test, not(any(sidestep_loom, sidestep_shuttle, miri))))]
mod tests;
