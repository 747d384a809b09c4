//! What tasks cost in memory: how many allocations, how many bytes while they wait, and that all
//! comes back.
#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

mod adapters;
mod ends;
mod lanes;
mod tasks;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sidestep::Pool;

/// The system's allocator, with an account.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicIsize = AtomicIsize::new(0);

// SAFETY: all requests are passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::SeqCst);
        BYTES.fetch_add(layout.size().cast_signed(), Ordering::SeqCst);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size().cast_signed(), Ordering::SeqCst);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The account is the process's: one test at a time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn calls() -> usize {
    CALLS.load(Ordering::SeqCst)
}

fn bytes() -> isize {
    BYTES.load(Ordering::SeqCst)
}

fn one_thread() -> Pool {
    let pool = Pool::builder().core_threads(1).max_threads(1).build().unwrap();
    // The first task of a thread pays for what lasts.
    (0..1000).for_each(|_| pool.spawn(|| ()).wait().unwrap());
    pool
}

/// Waits until `condition` holds.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never happened: {what}");
        std::thread::yield_now();
    }
}

/// Runs `during` while the pool's only thread is inside a task.
fn while_busy<R>(pool: &Pool, during: impl FnOnce() -> R) -> R {
    let ((started, wait), (go, gate)) = (channel(), channel::<()>());
    let running = pool.spawn(move || {
        started.send(()).unwrap();
        let _ = gate.recv();
    });
    wait.recv().unwrap();
    let result = during();
    drop(go);
    running.wait().unwrap();
    result
}
