//! What threads leave on the heap. One small block that outlives its thread keeps all of the memory
//! below it, as far as the allocator has a heap for each thread.
#![cfg(not(miri))]
#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use sidestep::Pool;

/// The system's allocator, with an account of each thread.
struct ByThread;

/// Before each block there is the number of the thread that has allocated it.
const HEAD: usize = 256;
/// No test has more threads.
const THREADS: usize = 1 << 10;

/// How many blocks of each thread there are, and how many there have been.
static LIVE: [AtomicIsize; THREADS] = [const { AtomicIsize::new(0) }; THREADS];
static MADE: [AtomicUsize; THREADS] = [const { AtomicUsize::new(0) }; THREADS];

/// A number of this thread alone.
fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    thread_local! { static NUMBER: Cell<usize> = const { Cell::new(0) } }
    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(NEXT.fetch_add(1, Ordering::SeqCst));
        }
        number.get()
    })
}

fn padded(layout: Layout) -> Layout {
    Layout::from_size_align(layout.size() + HEAD, layout.align()).unwrap()
}

// SAFETY: all requests are passed on to the system's allocator, for blocks that have room for the
// head besides, which is a multiple of any alignment that is asked for here.
unsafe impl GlobalAlloc for ByThread {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > HEAD {
            std::process::abort();
        }
        // SAFETY: the size is not zero.
        let block = unsafe { System.alloc(padded(layout)) };
        if block.is_null() {
            return block;
        }
        let number = number();
        LIVE[number].fetch_add(1, Ordering::SeqCst);
        MADE[number].fetch_add(1, Ordering::SeqCst);
        // SAFETY: the head has room for it.
        unsafe { block.cast::<usize>().write_unaligned(number) };
        // SAFETY: the block is longer than the head.
        unsafe { block.add(HEAD) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `alloc` has put the head before it.
        let block = unsafe { pointer.sub(HEAD) };
        // SAFETY: as above.
        let number = unsafe { block.cast::<usize>().read_unaligned() };
        LIVE[number].fetch_sub(1, Ordering::SeqCst);
        // SAFETY: it came from there, with this layout.
        unsafe { System.dealloc(block, padded(layout)) };
    }
}

#[global_allocator]
static ALLOCATOR: ByThread = ByThread;

/// The numbers of threads tell the tests apart only one at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Waits until `condition` holds.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never happened: {what}");
        std::thread::yield_now();
    }
}

/// Makes the pool grow to `threads` threads, and returns their numbers.
fn grow(pool: &Pool, threads: usize) -> BTreeSet<usize> {
    let all_inside = Arc::new(Barrier::new(threads));
    let tasks: Vec<_> = (0..threads)
        .map(|_| {
            let all_inside = Arc::clone(&all_inside);
            pool.spawn(move || {
                all_inside.wait();
                number()
            })
        })
        .collect();
    tasks.into_iter().map(|task| task.wait().unwrap()).collect()
}

/// Blocks of surplus threads that pin an arena of glibc's are what keeps the memory of a burst.
#[test]
#[cfg(target_os = "linux")]
fn threads_that_have_left_leave_nothing_on_the_heap() {
    const THREADS: usize = 40;
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pool = Pool::builder().core_threads(2).max_threads(64).keep_alive(Duration::ZERO).build().unwrap();
    let core = grow(&pool, 2);
    for _ in 0..3 {
        let all = grow(&pool, THREADS);
        assert_eq!(all.len(), THREADS);
        eventually("the surplus threads leave", || pool.metrics().threads() == 2);
        for thread in all.difference(&core) {
            eventually("all that a surplus thread has allocated is freed", || {
                LIVE[*thread].load(Ordering::SeqCst) == 0
            });
        }
    }
    pool.shutdown().wait();
}

/// The first threads have their blocks at the low end of the heap, before the burst.
#[test]
fn the_threads_that_stay_are_the_first() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pool = Pool::builder().core_threads(2).max_threads(64).keep_alive(Duration::ZERO).build().unwrap();
    let first = grow(&pool, 2);
    for _ in 0..5 {
        grow(&pool, 20);
        eventually("the surplus threads leave", || pool.metrics().threads() == 2);
        assert_eq!(grow(&pool, 2), first);
    }
    pool.shutdown().wait();
}

/// The threads' own starts, records and handles come from the thread that adds them.
#[test]
fn the_looks_of_the_monitor_allocate_nothing() {
    const BUSY: Duration = Duration::from_millis(300);
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pool = Pool::builder().core_threads(2).max_threads(64).build().unwrap();
    let workers: Arc<Mutex<BTreeSet<usize>>> = Arc::default();
    let before: Vec<_> = MADE.iter().map(|made| made.load(Ordering::SeqCst)).collect();
    // More than may compute at a time: the monitor looks, and asks about them, as long as they do.
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let (workers, start) = (Arc::clone(&workers), Instant::now());
            pool.spawn(move || {
                workers.lock().unwrap().insert(number());
                while start.elapsed() < BUSY {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(|task| task.wait().unwrap());
    let started = pool.metrics().threads_peak();
    let workers = workers.lock().unwrap().clone();
    let this = number();
    let others = (1..THREADS).filter(|thread| *thread != this && !workers.contains(thread));
    let made: usize = others.map(|thread| MADE[thread].load(Ordering::SeqCst) - before[thread]).sum();
    assert!(made <= 20 * started + 20, "{made} blocks, for the start of {started} threads");
    pool.shutdown().wait();
}
