//! What tokens take on the heap, and that what is dropped leaves nothing there.
#![cfg(not(miri))]
#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use sidestep::{CancelToken, Pool, current};

/// The system's allocator, with an account.
struct Account;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicIsize = AtomicIsize::new(0);

// SAFETY: all requests are passed on to the system's allocator.
unsafe impl GlobalAlloc for Account {
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
static ALLOCATOR: Account = Account;

/// The account is the process's: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

const MANY: usize = 1_000_000;
/// No more than this may be there at any time beside what was before.
const BOUND: isize = 64 << 10;

/// Does `step` many times, and looks at the account now and then.
fn stays_bounded(many: usize, mut step: impl FnMut(usize)) {
    // What lasts is there after some.
    (0..1000).for_each(&mut step);
    let before = BYTES.load(Ordering::SeqCst);
    for number in 0..many {
        step(number);
        if number.is_multiple_of(1000) {
            let more = BYTES.load(Ordering::SeqCst) - before;
            assert!(more <= BOUND, "{more} bytes more after {number}");
        }
    }
}

fn one_thread() -> Pool {
    let pool = Pool::builder().core_threads(1).max_threads(1).build().unwrap();
    (0..1000).for_each(|_| pool.spawn(|| ()).wait().unwrap());
    pool
}

/// A closure's token, while the closure runs, for `during`.
fn with_token<R>(pool: &Pool, during: impl FnOnce(&CancelToken) -> R) -> R {
    let ((send, token), (go, gate)) = (channel(), channel::<()>());
    let task = pool.spawn(move || {
        send.send(current::token()).unwrap();
        _ = gate.recv();
    });
    let result = during(&token.recv().unwrap());
    drop(go);
    task.wait().unwrap();
    result
}

#[test]
fn a_million_children_that_are_dropped_leave_nothing() {
    let _turn = TURN.lock();
    let root = CancelToken::new();
    let kept: Vec<_> = (0..100).map(|_| root.child()).collect();
    stays_bounded(MANY, |_| drop(root.child()));
    stays_bounded(MANY, |number| drop(kept[number % 100].child().child()));
    let pool = one_thread();
    with_token(&pool, |token| {
        stays_bounded(MANY, |_| drop(token.child()));
        stays_bounded(MANY / 10, |_| drop((token.child().child(), token.on_cancel(|| ()))));
    });
}

#[test]
fn a_line_of_descent_of_which_the_last_is_kept_is_short() {
    let _turn = TURN.lock();
    let root = CancelToken::new();
    let mut last = root.child();
    stays_bounded(MANY, |_| last = last.child());
    root.cancel();
    assert!(last.is_cancelled());
}

#[test]
fn parents_that_are_gone_are_forgotten_with_their_children() {
    let _turn = TURN.lock();
    let root = CancelToken::new();
    stays_bounded(MANY / 10, |number| {
        let parent = root.child();
        let children = [parent.child(), parent.child(), parent.child()];
        drop(parent);
        if number % 3 == 0 {
            children[0].cancel();
        }
        if number % 7 == 0 {
            children.iter().for_each(CancelToken::cancel);
        }
    });
}

#[test]
fn futures_that_are_dropped_leave_nothing() {
    let _turn = TURN.lock();
    let token = CancelToken::new();
    stays_bounded(MANY, |_| {
        let mut future = token.cancelled();
        assert!(future.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending());
    });
}

#[test]
fn a_burst_is_forgotten_although_something_stays() {
    let _turn = TURN.lock();
    let root = CancelToken::new();
    let _kept = (root.child(), root.on_cancel(|| ()));
    let before = BYTES.load(Ordering::SeqCst);
    let burst: Vec<_> = (0..MANY / 10)
        .map(|_| {
            let mut future = root.child().cancelled();
            assert!(future.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending());
            let mut of_root = root.cancelled();
            assert!(of_root.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending());
            (future, of_root)
        })
        .collect();
    drop(burst);
    let more = BYTES.load(Ordering::SeqCst) - before;
    assert!(more <= BOUND, "{more} bytes more");
}

#[test]
fn links_to_tasks_that_have_ended_are_swept() {
    let _turn = TURN.lock();
    let pool = one_thread();
    let root = CancelToken::new();
    let kept = root.child();
    stays_bounded(MANY / 10, |number| {
        let task = pool.spawn(|| ());
        task.link(&root);
        task.link(&root.child());
        if number % 2 == 0 {
            task.link(&kept);
        }
        task.wait().unwrap();
    });
    with_token(&Pool::builder().max_threads(1).build().unwrap(), |token| {
        stays_bounded(MANY / 10, |_| {
            let task = pool.spawn(|| ());
            task.link(token);
            task.link(&token.child());
            task.wait().unwrap();
        });
    });
}

#[test]
fn tasks_with_tokens_give_everything_back() {
    let _turn = TURN.lock();
    let pool = one_thread();
    let mut kept = None;
    stays_bounded(MANY / 10, |_| {
        let token = pool.spawn(|| {
            let token = current::token();
            drop(token.on_cancel(|| ()));
            let child = token.child();
            let mut future = child.child().cancelled();
            assert!(future.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending());
            token
        });
        kept = token.wait().ok();
    });
    let begun = Instant::now();
    drop(kept);
    drop(pool);
    assert!(begun.elapsed() < Duration::from_secs(60));
}

/// The cold part of the task; all other tokens are references to it.
#[test]
fn the_first_token_of_a_task_is_one_allocation_and_the_next_are_none() {
    let _turn = TURN.lock();
    let pool = one_thread();
    let counts = pool.spawn(|| {
        let calls = || CALLS.load(Ordering::SeqCst);
        let start = calls();
        let first = current::token();
        let after_first = calls();
        let others = (current::token(), first.clone());
        let after_others = calls();
        current::attach(&first, || assert!(!current::is_cancelled()));
        let after_attach = calls();
        drop((first, others));
        [after_first - start, after_others - after_first, after_attach - after_others]
    });
    assert_eq!(counts.wait().unwrap(), [1, 0, 0]);
}
