//! The one door to the primitives of `std`, of the oneshot and of the deque: every other module
//! takes its atomics, locks, cells, channels, threads and the time from here, so that a build with
//! `--cfg sidestep_loom` or `--cfg sidestep_shuttle` runs the same protocols on a model checker's
//! primitives. Loom explores every interleaving of a small model, and every value that C11 lets a
//! load return; shuttle plays random ones of whole programs, in which an atomic has one value at a
//! time.
//!
//! | name | ordinary build | under loom | under shuttle |
//! |---|---|---|---|
//! | [`atomic`] | `std` | `loom` | `shuttle` |
//! | [`UnsafeCell`] | `std` | `loom` | `std` |
//! | [`Mutex`], [`Condvar`] | `std`, poisoning ignored | `loom` | `shuttle` |
//! | [`thread`] | `std` | `loom` | `shuttle` |
//! | [`now`] | the clock | stands still | passes when a thread waits for it, by chance |
//! | [`oneshot`] | `futures_channel::oneshot` | `stand_in::oneshot` | `stand_in::oneshot` |
//! | deque (see `queue`) | `crossbeam_deque` | `stand_in::deque` | `stand_in::deque` |
//!
//! `--cfg sidestep_tsan` is for ThreadSanitizer, which knows of no fences: the ordinary build with
//! the stand-in deque, and with fences that it can see. Under Miri it is the stand-in deque as
//! well: the real one makes pointers of integers, which Miri cannot follow.
//!
//! Beside them stand the [`trampoline`], since a thread has to run what it has put off before it
//! parks; [`nesting`], which says whether its stack has room for that; and [`own_thread`], which
//! makes all threads of the library.
//!
//! Poisoning is ignored because no user code ever runs under one of these locks: a panic cannot
//! leave what they protect half changed.

mod blocking;
mod cell;
mod clock;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
pub(crate) mod nesting;
pub(crate) mod own_thread;
mod parker_set;
mod process_mutex;
#[cfg(any(test, sidestep_loom, sidestep_shuttle, sidestep_tsan, miri))]
pub(crate) mod stand_in;
pub(crate) mod trampoline;

pub(crate) use self::blocking::{Condvar, Mutex, MutexGuard, Parker};
pub(crate) use self::cell::{Tracked, UnsafeCell};
pub(crate) use self::clock::now;
pub(crate) use self::parker_set::ParkerSet;
pub(crate) use self::process_mutex::ProcessMutex;

#[cfg(not(any(sidestep_loom, sidestep_shuttle)))]
pub(crate) use futures_channel::oneshot;
#[cfg(any(sidestep_loom, sidestep_shuttle))]
pub(crate) use stand_in::oneshot;

pub(crate) mod atomic {
    //! Atomic types and fences.
    #[cfg(sidestep_loom)]
    pub(crate) use loom::sync::atomic::{
        AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence,
    };
    #[cfg(sidestep_shuttle)]
    pub(crate) use shuttle::sync::atomic::{
        AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence,
    };
    #[cfg(not(any(sidestep_loom, sidestep_shuttle, sidestep_tsan)))]
    pub(crate) use std::sync::atomic::fence;
    #[cfg(not(any(sidestep_loom, sidestep_shuttle)))]
    pub(crate) use std::sync::atomic::{
        AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering,
    };

    /// A fence as ThreadSanitizer, which knows of none, can see it: all of them are changes of one
    /// atomic, so each is after those before it in one order of all.
    #[cfg(sidestep_tsan)]
    pub(crate) fn fence(order: Ordering) {
        static FENCES: StaticU64 = StaticU64::new(0);
        FENCES.fetch_add(0, order);
    }

    /// An atomic that can be a `static`: no model checker follows it, so no protocol may rest on
    /// it.
    pub(crate) type StaticU64 = std::sync::atomic::AtomicU64;
    /// Atomics for hints, which may be late or lost: no model checker follows them either.
    pub(crate) type HintBool = std::sync::atomic::AtomicBool;
    pub(crate) type HintUsize = std::sync::atomic::AtomicUsize;
    pub(crate) type HintU64 = std::sync::atomic::AtomicU64;
}

pub(crate) mod thread {
    //! Making threads, which thread this is, and letting others go first.
    #[cfg(sidestep_loom)]
    pub(crate) use loom::thread::{Builder, JoinHandle, ThreadId, current, spawn, yield_now};
    #[cfg(sidestep_shuttle)]
    pub(crate) use shuttle::thread::{Builder, JoinHandle, ThreadId, current, yield_now};
    #[cfg(not(any(sidestep_loom, sidestep_shuttle)))]
    pub(crate) use std::thread::{Builder, JoinHandle, ThreadId, current, yield_now};
}

/// `std::thread_local!` with a constant first value, or a model checker's.
#[cfg(not(any(sidestep_loom, sidestep_shuttle)))]
macro_rules! thread_local_const {
    ($(#[$meta:meta])* $vis:vis static $name:ident: $ty:ty = $init:expr) => {
        std::thread_local! { $(#[$meta])* $vis static $name: $ty = const { $init } }
    };
}
/// `std::thread_local!` with a constant first value, or a model checker's.
#[cfg(sidestep_loom)]
macro_rules! thread_local_const {
    ($(#[$meta:meta])* $vis:vis static $name:ident: $ty:ty = $init:expr) => {
        loom::thread_local! { $(#[$meta])* $vis static $name: $ty = $init }
    };
}
/// `std::thread_local!` with a constant first value, or a model checker's.
#[cfg(sidestep_shuttle)]
macro_rules! thread_local_const {
    ($(#[$meta:meta])* $vis:vis static $name:ident: $ty:ty = $init:expr) => {
        shuttle::thread_local! { $(#[$meta])* $vis static $name: $ty = $init }
    };
}
pub(crate) use thread_local_const;
