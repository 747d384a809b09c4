//! Models of a task for the model checker: the thread that runs it against those that cancel it,
//! wait for it and let go of it. `cargo test --release --lib loom` with `--cfg sidestep_loom` runs
//! them.
//!
//! In each of them the checker also sees that every cell is freed, and only after every use of it.

mod bell;
mod token;

use std::cell::RefCell;
use std::panic::{Location, resume_unwind};
use std::sync::Arc;

use loom::thread;

use super::current::{HookGuard, is_cancelled, on_cancel};
use super::{Claimed, Owner, Runner, Task, TaskRef, new_task};
use crate::error::Reason;
use crate::sync::atomic::{AtomicUsize, Ordering, StaticU64};
use crate::sync::stand_in::model::check;
use crate::sync::{UnsafeCell, thread_local_const};

/// What becomes of one task. The plain counters are for the end of a model, when all threads have
/// been joined.
#[derive(Debug)]
struct Books {
    /// The pool's counts, as weak as they come: whoever reads one must be ordered after it by the
    /// task itself.
    ended: AtomicUsize,
    cancelled: AtomicUsize,
    ran: StaticU64,
    closures_dropped: StaticU64,
    results_dropped: StaticU64,
}

impl Books {
    fn new() -> Arc<Self> {
        Arc::new(Books {
            ended: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            ran: StaticU64::new(0),
            closures_dropped: StaticU64::new(0),
            results_dropped: StaticU64::new(0),
        })
    }

    /// A task whose closure and result are counted when they are dropped.
    fn task(self: &Arc<Self>) -> (TaskRef, Task<Dropped>) {
        self.task_of(self.closure())
    }

    fn closure(self: &Arc<Self>) -> impl FnOnce() -> Dropped + Send + 'static {
        let books = Arc::clone(self);
        let guard = Dropped(Arc::clone(self), |books| &books.closures_dropped);
        move || {
            let _guard = guard;
            books.ran.fetch_add(1, Ordering::Relaxed);
            Dropped(books, |books| &books.results_dropped)
        }
    }

    fn task_of<T: Send + 'static>(
        self: &Arc<Self>,
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> (TaskRef, Task<T>) {
        let (entry, handle) = new_task(closure, Arc::as_ptr(self), Location::caller(), None);
        (entry, Task::new(handle))
    }

    /// The thread that finds `entry` in the queue.
    fn worker(self: &Arc<Self>, entry: TaskRef) -> thread::JoinHandle<()> {
        let books = Arc::clone(self);
        thread::spawn(move || {
            if let Some(claimed) = entry.claim() {
                claimed.run(&*books);
            }
        })
    }

    fn ends(&self) -> (usize, usize) {
        (self.ended.load(Ordering::Relaxed), self.cancelled.load(Ordering::Relaxed))
    }

    /// One end, one drop of the closure, and one of the result if there was one.
    fn check(&self) {
        let ran = self.ran.load(Ordering::Relaxed);
        assert!(ran <= 1, "ran {ran} times");
        let (ended, cancelled) = self.ends();
        assert_eq!(ended as u64, ran, "every run is counted");
        assert_eq!(ended + cancelled, 1, "one end");
        assert_eq!(self.closures_dropped.load(Ordering::Relaxed), 1, "the closure is dropped once");
        assert_eq!(self.results_dropped.load(Ordering::Relaxed), ran, "so is the result");
    }
}

impl Owner for Books {
    unsafe fn count_cancelled(this: *const Self, _: bool) {
        // SAFETY: T4: the books outlive their tasks.
        unsafe { &*this }.cancelled.fetch_add(1, Ordering::Relaxed);
    }
}

impl Runner for Books {
    fn ended(&self, _: &TaskRef, _: Option<&Reason>) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts its drop.
#[derive(Debug)]
struct Dropped(Arc<Books>, fn(&Books) -> &StaticU64);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.1(&self.0).fetch_add(1, Ordering::Relaxed);
    }
}

/// A worker runs the task while the handle is dropped: it ends once, and nothing is dropped twice
/// or never.
#[test]
fn run_against_handle_drop() {
    check(None, || {
        let books = Books::new();
        let (entry, task) = books.task();
        let worker = books.worker(entry);
        drop(task);
        worker.join().unwrap();
        books.check();
    });
}

/// A worker runs the task, a second thread cancels it and a third waits: the wait returns, with the
/// value or the cancellation, and finds that end counted.
#[test]
fn run_against_cancel_against_wait() {
    check(Some(3), || {
        let books = Books::new();
        let (entry, task) = books.task();
        let worker = books.worker(entry);
        let handle = task.cancel_handle();
        let canceller = thread::spawn(move || handle.cancel());
        let result = task.wait();
        assert_eq!(books.ends(), if result.is_ok() { (1, 0) } else { (0, 1) }, "counted before it shows");
        assert!(result.is_ok_and(|_| true) || books.ran.load(Ordering::Relaxed) == 0);
        worker.join().unwrap();
        canceller.join().unwrap();
        books.check();
    });
}

/// Two threads cancel and the handle is dropped, while a worker comes: still one end.
#[test]
fn run_against_two_cancels_and_drop() {
    check(Some(3), || {
        let books = Books::new();
        let (entry, task) = books.task();
        let worker = books.worker(entry);
        let handle = task.cancel_handle();
        let canceller = thread::spawn(move || handle.cancel());
        drop(task.cancel());
        worker.join().unwrap();
        canceller.join().unwrap();
        books.check();
    });
}

/// A worker's closure panics while a waiter waits, or lets go: the payload goes to the waiter, or
/// is dropped with the cell; once in either case.
#[test]
fn panic_against_wait_and_drop() {
    for waits in [true, false] {
        check(Some(3), move || {
            let books = Books::new();
            let payload = Dropped(Arc::clone(&books), |books| &books.results_dropped);
            let guard = Dropped(Arc::clone(&books), |books| &books.closures_dropped);
            let ran = Arc::clone(&books);
            let (entry, task) = books.task_of(move || {
                let _guard = guard;
                let payload = payload;
                ran.ran.fetch_add(1, Ordering::Relaxed);
                resume_unwind(Box::new(payload))
            });
            let worker = books.worker(entry);
            if waits {
                let payload = task.wait().unwrap_err().try_into_panic().unwrap();
                assert_eq!(books.ends(), (1, 0), "counted before it shows");
                assert!(payload.is::<Dropped>());
            } else {
                drop(task);
            }
            worker.join().unwrap();
            let ran = books.ran.load(Ordering::Relaxed);
            assert_eq!(books.closures_dropped.load(Ordering::Relaxed), 1);
            assert_eq!(
                books.results_dropped.load(Ordering::Relaxed),
                1,
                "dropped with the closure or as a payload"
            );
            assert_eq!(books.ends(), if ran == 1 { (1, 0) } else { (0, 1) });
        });
    }
}

/// The queue is discarded while a second thread cancels and a third waits: one of the two reasons
/// shows, and it is that of the one who claimed.
#[test]
fn discard_against_cancel_against_wait() {
    check(Some(2), || {
        let books = Books::new();
        let (entry, task) = books.task();
        let queue = Arc::clone(&books);
        let discarder = thread::spawn(move || {
            if let Some(claimed) = entry.claim() {
                queue.cancelled.fetch_add(1, Ordering::Relaxed);
                claimed.discard(Reason::NoThread(Arc::new(std::io::Error::other("none"))));
                return true;
            }
            false
        });
        let handle = task.cancel_handle();
        let canceller = thread::spawn(move || handle.cancel());
        let error = task.wait().unwrap_err();
        assert_eq!(books.ends(), (0, 1), "counted before it shows");
        let discarded = discarder.join().unwrap();
        assert_eq!((error.is_no_thread(), error.is_cancelled()), (discarded, !discarded));
        canceller.join().unwrap();
        books.check();
    });
}

/// A task, and how to take its closure out again. That may be used on a claim of this very task
/// only.
fn revocable_task<F: FnOnce() + Send + 'static>(
    books: &Arc<Books>,
    closure: F,
) -> (TaskRef, Task<()>, fn(Claimed) -> F) {
    let (entry, task) = books.task_of(closure);
    // SAFETY: the task has been made of an `F` that returns nothing.
    (entry, task, |claimed| unsafe { claimed.into_closure::<F>() })
}

/// A worker comes while the submitter takes its closure back: one of them gets it.
#[test]
fn run_against_take_back() {
    check(None, || {
        let books = Books::new();
        let ran = Arc::clone(&books);
        let closure = move || _ = ran.ran.fetch_add(1, Ordering::Relaxed);
        let (entry, task, take_back) = revocable_task(&books, closure);
        let revoked = entry.clone();
        let worker = books.worker(entry);
        if let Some(claimed) = revoked.claim() {
            let call = take_back(claimed);
            worker.join().unwrap();
            assert_eq!(books.ran.load(Ordering::Relaxed), 0);
            call();
            task.detach();
        } else {
            task.wait().unwrap();
            worker.join().unwrap();
        }
        assert_eq!(books.ran.load(Ordering::Relaxed), 1);
    });
}

/// A task's callback is called once, by the worker that ends it or by the thread that registers it,
/// and with the result.
#[test]
fn run_against_callback() {
    check(None, || {
        let books = Books::new();
        let (entry, task) = books.task();
        let worker = books.worker(entry);
        let called = Arc::new(StaticU64::new(0));
        let calls = Arc::clone(&called);
        let seen = Arc::clone(&books);
        task.on_complete(move |result| {
            assert_eq!(seen.ends(), (1, 0), "counted before it shows");
            calls.fetch_add(1 + u64::from(result.is_err()), Ordering::Relaxed);
        });
        worker.join().unwrap();
        assert_eq!(called.load(Ordering::Relaxed), 1);
        books.check();
    });
}

/// What a hook touches: the checker sees that no two threads do so at a time.
#[derive(Debug)]
struct Handle(UnsafeCell<u32>);

// SAFETY: the models show that accesses do not overlap; the checker stops the model where they do.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    fn new() -> Arc<Self> {
        Arc::new(Handle(UnsafeCell::new(0)))
    }

    /// Writes, and returns how many times that has been done.
    fn touch(&self) -> u32 {
        self.0.with_mut(|count| {
            // SAFETY: the checker has seen that this is the only access.
            let count = unsafe { &mut *count };
            *count += 1;
            *count
        })
    }
}

/// A running closure registers a hook and drops the guard while another thread cancels: the hook
/// runs at most once, and not during or after what follows the drop of the guard.
#[test]
fn cancel_against_registration_and_guard_drop() {
    check(Some(5), || {
        let books = Books::new();
        let handle = Handle::new();
        let (entry, task) = books.task_of(move || {
            let interrupted = Arc::clone(&handle);
            let guard =
                on_cancel(move || assert_eq!(interrupted.touch(), 1, "at most once, before the guard"));
            drop(guard);
            handle.touch();
        });
        let cancel = task.cancel_handle();
        let worker = books.worker(entry);
        cancel.cancel();
        let ran = task.wait().is_ok();
        worker.join().unwrap();
        assert_eq!(books.ends(), if ran { (1, 0) } else { (0, 1) });
    });
}

/// A running closure leaves the guard of its hook lying about: once the closure has ended the hook
/// does not run.
#[test]
fn cancel_against_the_end_of_the_task() {
    /// Touches the handle when the task ends, as the pool's own work after the closure would.
    struct Ends(Arc<Handle>);
    impl Runner for Ends {
        fn ended(&self, _: &TaskRef, reason: Option<&Reason>) {
            assert!(reason.is_none());
            self.0.touch();
        }
    }

    thread_local_const! { static FORGOTTEN: RefCell<Option<HookGuard>> = RefCell::new(None) }

    check(None, || {
        let books = Books::new();
        let handle = Handle::new();
        let interrupted = Arc::clone(&handle);
        let (entry, task) = books.task_of(move || {
            let guard = on_cancel(move || assert_eq!(interrupted.touch(), 1, "at most once, before the end"));
            FORGOTTEN.with(|slot| slot.replace(Some(guard)));
        });
        let cancel = task.cancel_handle();
        let worker = thread::spawn(move || {
            if let Some(claimed) = entry.claim() {
                claimed.run(&Ends(handle));
                FORGOTTEN.with(RefCell::take);
            }
        });
        cancel.cancel();
        drop(task);
        worker.join().unwrap();
    });
}

/// Two threads cancel a closure that registers two hooks: each hook runs once at most; at once if
/// the closure knows of the cancellation before it registers the first; and never if the closure
/// does not run.
#[test]
fn two_cancels_against_two_hooks() {
    check(Some(2), || {
        let books = Books::new();
        let runs = Arc::new([StaticU64::new(0), StaticU64::new(0)]);
        let count =
            |runs: &[StaticU64; 2]| [runs[0].load(Ordering::Relaxed), runs[1].load(Ordering::Relaxed)];
        let counted = Arc::clone(&runs);
        let (entry, task) = books.task_of(move || {
            let late = is_cancelled();
            let guards = [0, 1].map(|hook| {
                let runs = Arc::clone(&counted);
                on_cancel(move || _ = runs[hook].fetch_add(1, Ordering::Relaxed))
            });
            assert!(!late || count(&counted) == [1, 1], "at once");
            drop(guards);
        });
        let worker = books.worker(entry);
        let handle = task.cancel_handle();
        let canceller = thread::spawn(move || handle.cancel());
        let ran = task.cancel().wait().is_ok();
        worker.join().unwrap();
        canceller.join().unwrap();
        let runs = count(&runs);
        assert!(runs.iter().all(|&runs| runs <= u64::from(ran)), "{runs:?}");
    });
}
