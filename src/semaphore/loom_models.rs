//! Models of the permits for the model checker. A thread that parks for ever is a deadlock, which
//! the checker reports.

use loom::thread;

use super::*;
use crate::sync::stand_in::model::check;
use crate::sync::{Parker, UnsafeCell};

/// A semaphore with `limit` permits, all of them taken.
fn full(limit: usize) -> Arc<Semaphore> {
    let semaphore = Arc::new(Semaphore::new(limit));
    assert!((0..limit).all(|_| semaphore.try_acquire()));
    semaphore
}

/// Runs `f` on a thread of its own.
fn elsewhere<R: 'static>(
    semaphore: &Arc<Semaphore>,
    f: impl FnOnce(&Semaphore) -> R + 'static,
) -> thread::JoinHandle<R> {
    let semaphore = Arc::clone(semaphore);
    thread::spawn(move || f(&semaphore))
}

/// Waits for an answer, asleep.
fn wait(semaphore: &Semaphore, acquire: &mut Acquire) -> Result<(), SemaphoreClosed> {
    let parker = Arc::new(Parker::new());
    let waker = parker.waker();
    loop {
        match semaphore.poll_acquire(acquire, &waker) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => _ = parker.park(None),
        }
    }
}

/// An acquisition that is in the wait queue.
fn queue_up(semaphore: &Semaphore) -> Acquire {
    let mut acquire = Acquire::new();
    assert!(semaphore.poll_acquire(&mut acquire, Waker::noop()).is_pending());
    acquire
}

/// Uses what only the owner of the one permit may use: the checker sees that no two do at once, and
/// that each sees what the one before did.
fn enter(inside: &UnsafeCell<u32>) {
    // SAFETY: the permit is for one, and the checker makes sure of that.
    inside.with_mut(|count| unsafe { *count += 1 });
}

/// The word says `taken`, and no waiter is in the wait queue.
fn assert_calm(semaphore: &Semaphore, taken: usize) {
    assert_eq!((semaphore.taken(), semaphore.word.load(Ordering::Relaxed) & WAITERS), (taken, 0));
    let queue = semaphore.queue.lock().expect("no fork");
    assert_eq!((queue.live, queue.waiters.len()), (0, 0));
}

/// A permit becomes free while a waiter begins to wait for one.
#[test]
fn free_against_waiting() {
    check(None, || {
        let semaphore = full(1);
        let other = elsewhere(&semaphore, Semaphore::release);
        assert_eq!(wait(&semaphore, &mut Acquire::new()), Ok(()));
        other.join().unwrap();
        assert_calm(&semaphore, 1);
    });
}

/// A permit becomes free while the waiter is made to look again: it gets the permit.
#[test]
fn free_against_looking_again() {
    check(Some(3), || {
        let semaphore = full(1);
        let looks = elsewhere(&semaphore, Semaphore::look_again);
        let free = elsewhere(&semaphore, Semaphore::release);
        assert_eq!(wait(&semaphore, &mut Acquire::new()), Ok(()));
        looks.join().unwrap();
        free.join().unwrap();
        assert_calm(&semaphore, 1);
    });
}

/// A waiter looks for something besides a permit: it sees what has come before it was made to look
/// again.
#[test]
fn looking_again_against_waiting() {
    check(None, || {
        let semaphore = full(1);
        let flag = Arc::new(crate::sync::atomic::AtomicBool::new(false));
        let raised = Arc::clone(&flag);
        let other = elsewhere(&semaphore, move |semaphore| {
            raised.store(true, Ordering::Relaxed);
            semaphore.look_again();
        });
        let (parker, mut acquire) = (Arc::new(Parker::new()), Acquire::new());
        let waker = parker.waker();
        loop {
            assert!(semaphore.poll_acquire(&mut acquire, &waker).is_pending());
            if flag.load(Ordering::Relaxed) {
                break;
            }
            parker.park(None);
        }
        other.join().unwrap();
        semaphore.give_up(&mut acquire);
        assert_calm(&semaphore, 1);
    });
}

/// Two permits become free at once while a waiter begins to wait: one goes to the waiter, and the
/// other is free.
#[test]
fn two_frees_against_waiting() {
    check(None, || {
        let semaphore = full(2);
        let others = [elsewhere(&semaphore, Semaphore::release), elsewhere(&semaphore, Semaphore::release)];
        assert_eq!(wait(&semaphore, &mut Acquire::new()), Ok(()));
        for other in others {
            other.join().unwrap();
        }
        assert_calm(&semaphore, 1);
    });
}

/// A permit becomes free while the first in the wait queue gives up: it reaches the second, be it
/// that the first was granted it and hands it on, or that it was passed over.
#[test]
fn free_against_giving_up_before_another() {
    check(None, || {
        let semaphore = full(1);
        let mut first = queue_up(&semaphore);
        let second = elsewhere(&semaphore, |semaphore| wait(semaphore, &mut Acquire::new()));
        let free = elsewhere(&semaphore, Semaphore::release);
        semaphore.give_up(&mut first);
        assert_eq!(second.join().unwrap(), Ok(()));
        free.join().unwrap();
        assert_calm(&semaphore, 1);
    });
}

/// A permit becomes free while the only waiter gives up and a third thread tries its luck: it goes
/// to that thread or becomes free.
#[test]
fn free_against_the_last_giving_up() {
    check(None, || {
        let semaphore = full(1);
        let mut only = queue_up(&semaphore);
        let inside = Arc::new(UnsafeCell::new(0));
        let cell = Arc::clone(&inside);
        let free = elsewhere(&semaphore, move |semaphore| {
            enter(&cell);
            semaphore.release();
        });
        let lucky = elsewhere(&semaphore, move |semaphore| {
            let taken = semaphore.try_acquire();
            if taken {
                enter(&inside);
            }
            taken
        });
        semaphore.give_up(&mut only);
        free.join().unwrap();
        let taken = lucky.join().unwrap();
        assert_calm(&semaphore, usize::from(taken));
    });
}

/// The semaphore is closed while a waiter begins to wait.
#[test]
fn close_against_waiting() {
    check(None, || {
        let semaphore = full(1);
        let closer = elsewhere(&semaphore, Semaphore::close);
        assert_eq!(wait(&semaphore, &mut Acquire::new()), Err(SemaphoreClosed));
        closer.join().unwrap();
        assert_calm(&semaphore, 1);
    });
}

/// The semaphore is closed while a permit becomes free and a waiter begins to wait: it has the
/// permit or an error, and not both.
#[test]
fn close_against_free_and_waiting() {
    check(None, || {
        let semaphore = full(1);
        let closer = elsewhere(&semaphore, Semaphore::close);
        let free = elsewhere(&semaphore, Semaphore::release);
        let answer = wait(&semaphore, &mut Acquire::new());
        closer.join().unwrap();
        free.join().unwrap();
        assert_calm(&semaphore, usize::from(answer.is_ok()));
    });
}

/// The semaphore is closed while a permit becomes free and the waiter gives up.
#[test]
fn close_against_free_and_giving_up() {
    check(None, || {
        let semaphore = full(1);
        let mut acquire = queue_up(&semaphore);
        let closer = elsewhere(&semaphore, Semaphore::close);
        let free = elsewhere(&semaphore, Semaphore::release);
        semaphore.give_up(&mut acquire);
        closer.join().unwrap();
        free.join().unwrap();
        assert_calm(&semaphore, 0);
    });
}

/// Two take one permit one after the other and a third tries its luck: never are two inside.
#[test]
fn never_two_with_one_permit() {
    check(Some(3), || {
        let semaphore = Arc::new(Semaphore::new(1));
        let inside = Arc::new(UnsafeCell::new(0));
        let taker = |cell: &Arc<UnsafeCell<u32>>| {
            let cell = Arc::clone(cell);
            elsewhere(&semaphore, move |semaphore| {
                wait(semaphore, &mut Acquire::new()).unwrap();
                enter(&cell);
                semaphore.release();
            })
        };
        let takers = [taker(&inside), taker(&inside)];
        if semaphore.try_acquire() {
            enter(&inside);
            semaphore.release();
        }
        for taker in takers {
            taker.join().unwrap();
        }
        assert_calm(&semaphore, 0);
    });
}

/// A permit becomes free while the waiter comes with another waker: that one is called, or the
/// permit is there.
#[test]
fn free_against_another_waker() {
    check(None, || {
        let semaphore = full(1);
        let mut acquire = queue_up(&semaphore);
        let free = elsewhere(&semaphore, Semaphore::release);
        assert_eq!(wait(&semaphore, &mut acquire), Ok(()));
        free.join().unwrap();
        assert_calm(&semaphore, 1);
    });
}

/// What is taken beyond the limit is released beside a permit: the waiter gets the permit, and no
/// more are taken than there are.
#[test]
fn loom_what_is_beyond_the_limit_is_released_beside_a_permit() {
    loom::model(|| {
        let semaphore = full(1);
        semaphore.acquire_beyond();
        let mut acquire = queue_up(&semaphore);
        let other = elsewhere(&semaphore, |semaphore| semaphore.release());
        semaphore.release();
        other.join().unwrap();
        assert_eq!(wait(&semaphore, &mut acquire), Ok(()));
        assert_calm(&semaphore, 1);
    });
}
