//! Models of tokens: what another thread registers, against the cancellation and the end of the
//! task; and families of sources, against what is dropped.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use loom::thread::{self, JoinHandle};

use super::Books;
use crate::sync::atomic::{AtomicUsize, Ordering, StaticU64};
use crate::sync::stand_in::model::check;
use crate::task::current::token;
use crate::task::token::CancelToken;

/// Runs a task on this thread whose closure hands its token to `others`, which start threads, and
/// returns meanwhile. Returns once the task has ended and those threads too.
fn beside_the_end(others: impl FnOnce(&CancelToken) -> Vec<JoinHandle<()>> + Send + 'static) {
    let books = Books::new();
    let (entry, task) = books.task_of(move || others(&token()));
    let Some(claimed) = entry.claim() else { unreachable!("nothing cancels it before it runs") };
    claimed.run(&*books);
    for other in task.wait().unwrap() {
        other.join().unwrap();
    }
    assert_eq!(books.ends(), (1, 0));
}

fn cancel(token: &CancelToken) -> JoinHandle<()> {
    let token = token.clone();
    thread::spawn(move || token.cancel())
}

/// A thread registers a hook and waits: the wait ends, and the hook has run exactly if the task has
/// been cancelled in time.
#[test]
fn a_hook_and_a_wait_against_the_cancellation_and_the_end() {
    check(Some(2), || {
        beside_the_end(|token| {
            let canceller = cancel(token);
            let token = token.clone();
            let waiter = thread::spawn(move || {
                let ran = Arc::new(StaticU64::new(0));
                let runs = Arc::clone(&ran);
                let guard = token.on_cancel(move || _ = runs.fetch_add(1, Ordering::Relaxed));
                let was_cancelled = token.cancelled().wait();
                assert_eq!(was_cancelled, token.is_cancelled(), "for ever");
                while was_cancelled && ran.load(Ordering::Relaxed) == 0 {
                    // The canceller is on its way to it.
                    thread::yield_now();
                }
                drop(guard);
                assert_eq!(ran.load(Ordering::Relaxed), u64::from(was_cancelled));
            });
            vec![canceller, waiter]
        });
    });
}

/// A waker that counts its calls.
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// A future is polled, and dropped without a second poll: its waker is called if the task is
/// cancelled after the poll, and let go of in any case.
#[test]
fn a_future_against_the_cancellation_and_the_end() {
    check(Some(2), || {
        beside_the_end(|token| {
            let canceller = cancel(token);
            let token = token.clone();
            let waiter = thread::spawn(move || {
                let calls = Arc::new(Calls(AtomicUsize::new(0)));
                let waker = Waker::from(Arc::clone(&calls));
                let mut future = Box::new(token.cancelled());
                let waits = pin!(&mut future).poll(&mut Context::from_waker(&waker)).is_pending();
                if waits && calls.0.load(Ordering::Acquire) > 0 && token.is_cancelled() {
                    assert!(pin!(&mut future).poll(&mut Context::from_waker(&waker)).is_ready());
                }
                drop((future, waker));
                while Arc::strong_count(&calls) > 1 {
                    // The canceller, or the end, is inside the waker.
                    thread::yield_now();
                }
            });
            vec![canceller, waiter]
        });
    });
}

/// A task is linked to the token of one that is cancelled and ends: it is cancelled exactly if that
/// one is.
#[test]
fn a_link_against_the_cancellation_and_the_end() {
    check(Some(1), || {
        beside_the_end(|token| {
            let canceller = cancel(token);
            let token = token.clone();
            let linker = thread::spawn(move || {
                let books = Books::new();
                let (entry, task) = books.task();
                task.link(&token);
                // Until one of the two is sure.
                let was_cancelled = token.cancelled().wait();
                let ended = || books.ends() == (0, 1);
                while was_cancelled && !ended() {
                    // The canceller is on its way to it.
                    thread::yield_now();
                }
                assert_eq!(ended(), was_cancelled);
                drop((entry, task));
                books.check();
            });
            vec![canceller, linker]
        });
    });
}

/// A child of a task's token is made while the task is cancelled and ends.
#[test]
fn a_child_of_a_task_against_its_cancellation_and_its_end() {
    check(Some(1), || {
        beside_the_end(|token| {
            let canceller = cancel(token);
            let token = token.clone();
            let parent = thread::spawn(move || {
                let child = token.child();
                if token.cancelled().wait() {
                    assert!(child.cancelled().wait(), "it comes");
                } else {
                    assert!(!child.is_cancelled());
                }
            });
            vec![canceller, parent]
        });
    });
}

/// A source is cancelled while another thread makes a child and a grandchild and drops what is
/// between: the grandchild is reached.
#[test]
fn the_cancellation_of_a_source_against_children_that_come_and_go() {
    check(Some(5), || {
        let root = CancelToken::new();
        let child = root.child();
        let canceller = cancel(&root);
        drop(root);
        let maker = thread::spawn(move || {
            let grandchild = child.child();
            drop(child);
            assert!(grandchild.cancelled().wait());
        });
        canceller.join().unwrap();
        maker.join().unwrap();
    });
}

/// A task is linked to a child that is dropped while the parent is cancelled: the link goes to the
/// parent, and the task is cancelled.
#[test]
fn the_cancellation_of_a_source_against_a_link_that_is_moved() {
    check(Some(4), || {
        let books = Books::new();
        let (entry, task) = books.task();
        let root = CancelToken::new();
        let (middle, canceller) = (root.child(), cancel(&root));
        let child = middle.child();
        task.link(&child);
        let dropper = thread::spawn(move || drop(middle));
        drop(child);
        drop(root);
        dropper.join().unwrap();
        canceller.join().unwrap();
        assert_eq!(books.ends(), (0, 1));
        drop((entry, task));
        books.check();
    });
}

/// Two sources of one line are cancelled at once: each hook runs once.
#[test]
fn two_cancellations_of_one_line() {
    check(Some(4), || {
        let root = CancelToken::new();
        let child = root.child();
        let ran = Arc::new(StaticU64::new(0));
        let runs = Arc::clone(&ran);
        let guard = child.on_cancel(move || _ = runs.fetch_add(1, Ordering::Relaxed));
        let cancellers = [cancel(&root), cancel(&child)];
        for canceller in cancellers {
            canceller.join().unwrap();
        }
        assert!(root.is_cancelled() && child.is_cancelled());
        drop(guard);
        assert_eq!(ran.load(Ordering::Relaxed), 1);
    });
}
