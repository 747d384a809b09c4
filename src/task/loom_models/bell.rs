//! Models of a handle that comes before the end and leaves a bell: against the thread that ends the
//! task, a second poll with another waker, a cancellation, and letting go; and the same for a
//! group.

use std::future::Future;
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::thread;

use super::{Books, Dropped};
use crate::error::TaskError;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::stand_in::model::check;
use crate::task::{ColdPart, Group, LateMember, Member, Metadata, OnRelease, Task, TaskRef, new_task};

/// A waker that counts how many times it is called, and shows what came before.
#[derive(Debug)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

fn waker() -> (Arc<Calls>, Waker) {
    let calls = Arc::new(Calls(AtomicUsize::new(0)));
    (Arc::clone(&calls), Waker::from(calls))
}

fn poll<T>(task: &mut Task<T>, waker: &Waker) -> Poll<Result<T, TaskError>> {
    pin!(task).poll(&mut Context::from_waker(waker))
}

/// A worker ends the task while the handle is polled, and polled again with another waker: the
/// result is there at once, or the waker of the last poll is called after the end.
#[test]
fn end_against_two_polls_with_different_wakers() {
    check(Some(3), || {
        let books = Books::new();
        let (entry, mut task) = books.task();
        let worker = books.worker(entry);
        let ((old, old_waker), (new, new_waker)) = (waker(), waker());
        let mut result = poll(&mut task, &old_waker);
        let mut waits = None;
        if result.is_pending() {
            result = poll(&mut task, &new_waker);
            waits = result.is_pending().then_some(new);
        }
        if waits.as_ref().is_some_and(|new| new.0.load(Ordering::Acquire) > 0) {
            result = poll(&mut task, &new_waker);
            assert!(result.is_ready(), "the end comes before the ring");
            waits = None;
        }
        worker.join().unwrap();
        if let Some(new) = waits {
            assert_eq!(new.0.load(Ordering::Acquire), 1, "the last waker is called, once");
            result = poll(&mut task, &new_waker);
        }
        assert!(old.0.load(Ordering::Acquire) <= 1);
        assert!(matches!(result, Poll::Ready(Ok(_))));
        assert_eq!(books.ends(), (1, 0), "counted before it shows");
        drop((result, task));
        books.check();
    });
}

/// A worker ends the task while a handle that has left a bell lets go of it in each of the ways:
/// the value is dropped once, and so is the waker.
#[test]
fn end_against_letting_go_with_a_bell() {
    let ways: [fn(Task<Dropped>); 3] = [drop, Task::detach, |task| drop(task.cancel())];
    for let_go in ways {
        check(Some(4), move || {
            let books = Books::new();
            let (entry, mut task) = books.task();
            let (calls, waker) = waker();
            assert!(poll(&mut task, &waker).is_pending(), "it is queued");
            let worker = books.worker(entry);
            let_go(task);
            worker.join().unwrap();
            drop(waker);
            assert_eq!(Arc::strong_count(&calls), 1, "the task has let go of the waker");
            books.check();
        });
    }
}

/// A worker comes while another thread cancels a task whose handle polls: the handle learns of the
/// one end, whichever it is.
#[test]
fn end_against_cancel_against_poll() {
    check(Some(3), || {
        let books = Books::new();
        let (entry, mut task) = books.task();
        let handle = task.cancel_handle();
        let worker = books.worker(entry);
        let canceller = thread::spawn(move || handle.cancel());
        let (calls, waker) = waker();
        let mut result = poll(&mut task, &waker);
        worker.join().unwrap();
        canceller.join().unwrap();
        if result.is_pending() {
            assert_eq!(calls.0.load(Ordering::Acquire), 1);
            result = poll(&mut task, &waker);
        }
        let Poll::Ready(result) = result else { panic!("it has ended") };
        assert_eq!(books.ends(), if result.is_ok() { (1, 0) } else { (0, 1) });
        drop((result, task));
        books.check();
    });
}

/// A worker ends a task without a bell while its handle lets it go on: the value is dropped once,
/// by one of the two, and the cell is freed by the last.
#[test]
fn end_against_detach() {
    check(None, || {
        let books = Books::new();
        let (entry, task) = books.task();
        let worker = books.worker(entry);
        task.detach();
        worker.join().unwrap();
        books.check();
    });
}

/// Two workers end two members of a group: each member is listed once, or had ended before it could
/// be announced, and the waker that was left is called if any is listed after that.
#[test]
fn two_ends_against_a_group() {
    check(Some(3), || {
        let both = [Books::new(), Books::new()];
        let (entries, mut members): (Vec<_>, Vec<_>) =
            both.iter().map(Books::task).map(|(entry, task)| (entry, Member::new(task))).unzip();
        let workers: Vec<_> = both.iter().zip(entries).map(|(books, entry)| books.worker(entry)).collect();
        let (group, (calls, waker)) = (Arc::<Group>::default(), waker());
        let early =
            members.iter_mut().filter_map(|member| (!member.announce_to(&group)).then_some(())).count();
        let seen = std::iter::from_fn(|| group.next(&waker)).count();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        let late = std::iter::from_fn(|| group.next(&waker)).count();
        assert_eq!(early + seen + late, 2, "each is listed once");
        assert_eq!(calls.0.load(Ordering::Acquire), usize::from(late > 0), "the waker is called once");
        for member in &mut members {
            assert!(member.try_take().is_some_and(|result| result.is_ok()));
        }
        both.iter().for_each(|books| books.check());
    });
}

/// A worker ends a member while the batch is dropped: one end, and the group is let go of.
#[test]
fn end_against_the_drop_of_a_member() {
    check(None, || {
        let (books, group) = (Books::new(), Arc::<Group>::default());
        let (entry, task) = books.task();
        let mut member = Member::new(task);
        assert!(member.announce_to(&group), "it is queued");
        let worker = books.worker(entry);
        drop(member);
        worker.join().unwrap();
        assert_eq!(Arc::strong_count(&group), 1);
        books.check();
    });
}

/// A worker ends a task that has been polled while it becomes a member of a group: it is listed, or
/// had ended before; and where the first look has not found it, the waker that this has left is
/// called, once.
#[test]
fn end_against_the_push_of_a_polled_task() {
    check(Some(3), || {
        let books = Books::new();
        let (entry, mut task) = books.task();
        let (old, old_waker) = waker();
        assert!(poll(&mut task, &old_waker).is_pending(), "it is queued");
        let worker = books.worker(entry);
        let (group, (calls, waker)) = (Arc::<Group>::default(), waker());
        let mut late = LateMember::new(task);
        let mut found = usize::from(!late.announce_to(&group));
        found += std::iter::from_fn(|| group.next(&waker)).count();
        worker.join().unwrap();
        let wakes = calls.0.load(Ordering::Acquire);
        assert!(found > 0 || wakes == 1, "neither found nor woken");
        found += std::iter::from_fn(|| group.try_next()).count();
        assert!((1..=2).contains(&found), "listed {found} times");
        assert!(late.member.try_take().is_some_and(|result| result.is_ok()));
        drop((late, old_waker));
        assert_eq!((Arc::strong_count(&group), Arc::strong_count(&old)), (1, 1));
        books.check();
    });
}

/// Counts releases.
struct Releases(AtomicUsize);

impl OnRelease for Releases {
    fn released(&self, task: &TaskRef) {
        assert!(task.is_ended());
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// A worker ends a task of a scope while its handle, with a bell or without one, lets go of it:
/// once the task has been released, neither closure nor value is left (T8).
#[test]
fn release_against_letting_go() {
    for polls in [false, true] {
        let ways: [fn(Task<Dropped>); 3] = [drop, Task::detach, |task| drop(task.cancel())];
        for let_go in ways {
            check(Some(3), move || {
                let (books, releases) = (Books::new(), Arc::new(Releases(AtomicUsize::new(0))));
                let observer: Arc<dyn OnRelease> = Arc::<Releases>::clone(&releases);
                let cold = ColdPart::new(Metadata { on_release: Some(observer), ..Metadata::default() });
                let (closure, owner) = (books.closure(), Arc::as_ptr(&books));
                let (entry, handle) = new_task(closure, owner, Location::caller(), Some(cold));
                let mut task = Task::new(handle);
                let (calls, waker) = waker();
                assert!(!polls || poll(&mut task, &waker).is_pending(), "it is queued");
                let worker = books.worker(entry);
                let_go(task);
                if releases.0.load(Ordering::Acquire) > 0 {
                    books.check();
                }
                worker.join().unwrap();
                drop(waker);
                assert_eq!((releases.0.load(Ordering::Relaxed), Arc::strong_count(&calls)), (1, 1));
                assert_eq!(Arc::strong_count(&releases), 1, "the cell has been freed");
                books.check();
            });
        }
    }
}
