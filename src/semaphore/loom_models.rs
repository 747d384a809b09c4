//! Models of the places for the model checker. A thread that parks for ever is a deadlock, which
//! the checker reports.

use loom::thread;

use super::*;
use crate::sync::stand_in::model::check;
use crate::sync::{Parker, UnsafeCell};

/// So many places, all of them taken.
fn full(limit: usize) -> Arc<Semaphore> {
    let places = Arc::new(Semaphore::new(limit));
    assert!((0..limit).all(|_| places.try_acquire()));
    places
}

/// Runs `f` on a thread of its own.
fn elsewhere<R: 'static>(
    places: &Arc<Semaphore>,
    f: impl FnOnce(&Semaphore) -> R + 'static,
) -> thread::JoinHandle<R> {
    let places = Arc::clone(places);
    thread::spawn(move || f(&places))
}

/// Waits for an answer, asleep.
fn wait(places: &Semaphore, turn: &mut Acquire) -> Result<(), Closed> {
    let parker = Arc::new(Parker::new());
    let waker = parker.waker();
    loop {
        match places.poll_acquire(turn, &waker) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => _ = parker.park(None),
        }
    }
}

/// A turn that is in line.
fn queue_up(places: &Semaphore) -> Acquire {
    let mut turn = Acquire::new();
    assert!(places.poll_acquire(&mut turn, Waker::noop()).is_pending());
    turn
}

/// Uses what only the owner of the one place may use: the checker sees that no two do at once, and
/// that each sees what the one before did.
fn enter(inside: &UnsafeCell<u32>) {
    // SAFETY: the place is for one, and the checker sees to it that it is.
    inside.with_mut(|count| unsafe { *count += 1 });
}

/// The word says `taken`, and nobody is in line.
fn assert_calm(places: &Semaphore, taken: usize) {
    assert_eq!((places.taken(), places.word.load(Ordering::Relaxed) & WAITERS), (taken, 0));
    let line = places.line.lock().expect("no fork");
    assert_eq!((line.live, line.waiters.len()), (0, 0));
}

/// A place becomes free while somebody begins to wait for one.
#[test]
fn free_against_waiting() {
    check(None, || {
        let places = full(1);
        let other = elsewhere(&places, Semaphore::release);
        assert_eq!(wait(&places, &mut Acquire::new()), Ok(()));
        other.join().unwrap();
        assert_calm(&places, 1);
    });
}

/// Two places become free at once while somebody begins to wait: one goes to the waiter, and the
/// other is free.
#[test]
fn two_frees_against_waiting() {
    check(None, || {
        let places = full(2);
        let others = [elsewhere(&places, Semaphore::release), elsewhere(&places, Semaphore::release)];
        assert_eq!(wait(&places, &mut Acquire::new()), Ok(()));
        for other in others {
            other.join().unwrap();
        }
        assert_calm(&places, 1);
    });
}

/// A place becomes free while the first in line gives up: it reaches the second, be it that the
/// first was granted it and hands it on, or that it was passed over.
#[test]
fn free_against_giving_up_before_another() {
    check(None, || {
        let places = full(1);
        let mut first = queue_up(&places);
        let second = elsewhere(&places, |places| wait(places, &mut Acquire::new()));
        let free = elsewhere(&places, Semaphore::release);
        places.give_up(&mut first);
        assert_eq!(second.join().unwrap(), Ok(()));
        free.join().unwrap();
        assert_calm(&places, 1);
    });
}

/// A place becomes free while the only waiter gives up and a third thread tries its luck: it goes
/// to that thread or becomes free.
#[test]
fn free_against_the_last_giving_up() {
    check(None, || {
        let places = full(1);
        let mut only = queue_up(&places);
        let inside = Arc::new(UnsafeCell::new(0));
        let cell = Arc::clone(&inside);
        let free = elsewhere(&places, move |places| {
            enter(&cell);
            places.release();
        });
        let lucky = elsewhere(&places, move |places| {
            let taken = places.try_acquire();
            if taken {
                enter(&inside);
            }
            taken
        });
        places.give_up(&mut only);
        free.join().unwrap();
        let taken = lucky.join().unwrap();
        assert_calm(&places, usize::from(taken));
    });
}

/// The queue is closed while somebody begins to wait.
#[test]
fn close_against_waiting() {
    check(None, || {
        let places = full(1);
        let closer = elsewhere(&places, Semaphore::close);
        assert_eq!(wait(&places, &mut Acquire::new()), Err(Closed));
        closer.join().unwrap();
        assert_calm(&places, 1);
    });
}

/// The queue is closed while a place becomes free and somebody begins to wait: that one has the
/// place or is told, and not both.
#[test]
fn close_against_free_and_waiting() {
    check(None, || {
        let places = full(1);
        let closer = elsewhere(&places, Semaphore::close);
        let free = elsewhere(&places, Semaphore::release);
        let answer = wait(&places, &mut Acquire::new());
        closer.join().unwrap();
        free.join().unwrap();
        assert_calm(&places, usize::from(answer.is_ok()));
    });
}

/// The queue is closed while a place becomes free and the waiter gives up.
#[test]
fn close_against_free_and_giving_up() {
    check(None, || {
        let places = full(1);
        let mut turn = queue_up(&places);
        let closer = elsewhere(&places, Semaphore::close);
        let free = elsewhere(&places, Semaphore::release);
        places.give_up(&mut turn);
        closer.join().unwrap();
        free.join().unwrap();
        assert_calm(&places, 0);
    });
}

/// Two take one place in turn and a third tries its luck: never are two inside.
#[test]
fn never_two_in_one_place() {
    check(Some(3), || {
        let places = Arc::new(Semaphore::new(1));
        let inside = Arc::new(UnsafeCell::new(0));
        let taker = |cell: &Arc<UnsafeCell<u32>>| {
            let cell = Arc::clone(cell);
            elsewhere(&places, move |places| {
                wait(places, &mut Acquire::new()).unwrap();
                enter(&cell);
                places.release();
            })
        };
        let takers = [taker(&inside), taker(&inside)];
        if places.try_acquire() {
            enter(&inside);
            places.release();
        }
        for taker in takers {
            taker.join().unwrap();
        }
        assert_calm(&places, 0);
    });
}

/// A place becomes free while the waiter comes with another waker: that one is called, or the place
/// is there.
#[test]
fn free_against_another_waker() {
    check(None, || {
        let places = full(1);
        let mut turn = queue_up(&places);
        let free = elsewhere(&places, Semaphore::release);
        assert_eq!(wait(&places, &mut turn), Ok(()));
        free.join().unwrap();
        assert_calm(&places, 1);
    });
}
