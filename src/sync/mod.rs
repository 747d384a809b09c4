//! The one door to the primitives of `std`, of the oneshot and of the deque: every other module takes its atomics,
//! locks, cells and channels from here, so that a build with `--cfg sidestep_loom` runs the same protocols on the
//! model checker's primitives.
//!
//! | name | ordinary build | under loom |
//! |---|---|---|
//! | [`atomic`], [`UnsafeCell`] | `std` | `loom` |
//! | [`Mutex`], [`Condvar`] | `std`, poisoning ignored | `loom` |
//! | [`thread`] | `std` | `loom` |
//! | [`oneshot`] | `futures_channel::oneshot` | `stand_in::oneshot` |
//! | deque (see `queue`) | `crossbeam_deque` | `stand_in::deque` |
//!
//! Poisoning is ignored because no user code ever runs under one of these locks: a panic cannot leave what they
//! protect half changed.

mod cell;
pub(crate) mod fork;
mod lock;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
mod parker;
#[cfg(any(test, sidestep_loom))]
pub(crate) mod stand_in;

pub(crate) use self::cell::{Tracked, UnsafeCell};
pub(crate) use self::lock::{Condvar, Mutex, MutexGuard};
pub(crate) use self::parker::Parker;

#[cfg(not(sidestep_loom))]
pub(crate) use futures_channel::oneshot;
#[cfg(sidestep_loom)]
pub(crate) use stand_in::oneshot;

pub(crate) mod atomic {
    //! Atomic types and fences.
    #[cfg(sidestep_loom)]
    pub(crate) use loom::sync::atomic::{
        AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence,
    };
    #[cfg(not(sidestep_loom))]
    pub(crate) use std::sync::atomic::{
        AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence,
    };

    /// An atomic that can be a `static`: the model checker does not follow it, so no protocol may rest on it.
    pub(crate) type StaticU64 = std::sync::atomic::AtomicU64;
}

pub(crate) mod thread {
    //! Which thread this is, and letting others go first.
    #[cfg(sidestep_loom)]
    pub(crate) use loom::thread::{ThreadId, current, spawn, yield_now};
    #[cfg(not(sidestep_loom))]
    pub(crate) use std::thread::{ThreadId, current, yield_now};
}

#[cfg(sidestep_loom)]
pub(crate) use loom::thread::LocalKey;
#[cfg(not(sidestep_loom))]
pub(crate) use std::thread::LocalKey;

/// `std::thread_local!` with a constant first value, or loom's.
#[cfg(not(sidestep_loom))]
macro_rules! thread_local_const {
    ($(#[$meta:meta])* $vis:vis static $name:ident: $ty:ty = $init:expr) => {
        std::thread_local! { $(#[$meta])* $vis static $name: $ty = const { $init } }
    };
}
/// `std::thread_local!` with a constant first value, or loom's.
#[cfg(sidestep_loom)]
macro_rules! thread_local_const {
    ($(#[$meta:meta])* $vis:vis static $name:ident: $ty:ty = $init:expr) => {
        loom::thread_local! { $(#[$meta])* $vis static $name: $ty = $init }
    };
}
pub(crate) use thread_local_const;
