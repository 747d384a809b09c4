//! The permits one call after the other, against a model, and under load.

mod room;

use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::task::Wake;
use std::time::Duration;

use super::*;
use crate::sync::Parker;

const TAKEN: Poll<Result<(), SemaphoreClosed>> = Poll::Ready(Ok(()));
const CLOSED: Poll<Result<(), SemaphoreClosed>> = Poll::Ready(Err(SemaphoreClosed));

/// A waker that counts its calls.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    fn rung(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One who waits, or may.
#[derive(Default)]
struct Guest {
    acquire: Acquire,
    bell: Arc<Bell>,
}

impl Guest {
    fn poll(&mut self, semaphore: &Semaphore) -> Poll<Result<(), SemaphoreClosed>> {
        semaphore.poll_acquire(&mut self.acquire, &Waker::from(Arc::clone(&self.bell)))
    }

    /// In queue.
    fn waiting(semaphore: &Semaphore) -> Self {
        let mut guest = Guest::default();
        assert_eq!(guest.poll(semaphore), Poll::Pending);
        guest
    }
}

/// A semaphore with `limit` permits, all of them taken.
fn full(limit: usize) -> Semaphore {
    let semaphore = Semaphore::new(limit);
    assert!((0..limit).all(|_| semaphore.try_acquire()));
    assert!(!semaphore.try_acquire());
    semaphore
}

#[test]
fn there_are_as_many_permits_as_the_limit_says() {
    let semaphore = full(3);
    assert_eq!(semaphore.taken(), 3);
    semaphore.release();
    assert_eq!(Guest::default().poll(&semaphore), TAKEN);
    assert!(!semaphore.try_acquire());
    (0..3).for_each(|_| semaphore.release());
    assert_eq!(semaphore.taken(), 0);
}

#[test]
fn the_longest_wait_ends_first() {
    let semaphore = full(1);
    let mut guests: Vec<Guest> = (0..3).map(|_| Guest::waiting(&semaphore)).collect();
    for next in 0..3 {
        semaphore.release();
        let rung: Vec<usize> = guests.iter().map(|guest| guest.bell.rung()).collect();
        assert_eq!(rung.iter().sum::<usize>(), next + 1, "one waker for each permit");
        assert_eq!(rung[next], 1);
        guests[next + 1..].iter_mut().for_each(|guest| assert_eq!(guest.poll(&semaphore), Poll::Pending));
        assert_eq!(guests[next].poll(&semaphore), TAKEN);
    }
    assert_eq!(guests[0].poll(&semaphore), Poll::Pending, "the acquisition starts anew");
    semaphore.give_up(&mut guests[0].acquire);
    assert_eq!(semaphore.taken(), 1);
}

#[test]
fn no_acquisition_passes_the_wait_queue() {
    let semaphore = full(2);
    let mut first = Guest::waiting(&semaphore);
    let mut second = Guest::waiting(&semaphore);
    semaphore.release();
    assert!(!semaphore.try_acquire(), "it has been granted, though not fetched");
    let mut third = Guest::waiting(&semaphore);
    assert_eq!(first.poll(&semaphore), TAKEN);
    semaphore.release();
    semaphore.release();
    assert_eq!([second.poll(&semaphore), third.poll(&semaphore)], [TAKEN, TAKEN]);
    semaphore.release();
    assert!(semaphore.try_acquire(), "no waiter waits any more");
}

#[test]
fn a_granted_permit_that_is_given_up_goes_on() {
    let semaphore = full(1);
    let mut guests: Vec<Guest> = (0..3).map(|_| Guest::waiting(&semaphore)).collect();
    semaphore.give_up(&mut guests[1].acquire);
    semaphore.release();
    for _ in 0..2 {
        semaphore.give_up(&mut guests[0].acquire);
    }
    assert_eq!(guests[1].bell.rung(), 0, "it has given up");
    assert_eq!(guests[2].bell.rung(), 1);
    assert_eq!(semaphore.taken(), 1);
    semaphore.give_up(&mut guests[2].acquire);
    assert_eq!(semaphore.taken(), 0, "there is no waiter it could go to");
    semaphore.give_up(&mut Acquire::new());
    assert_eq!(semaphore.taken(), 0);
}

#[test]
fn what_is_taken_beyond_the_limit_is_no_waiter_s() {
    let semaphore = full(2);
    semaphore.acquire_beyond();
    let mut guest = Guest::waiting(&semaphore);
    semaphore.acquire_beyond();
    for taken in [3, 2] {
        semaphore.release();
        assert_eq!((semaphore.taken(), guest.poll(&semaphore)), (taken, Poll::Pending));
    }
    semaphore.release();
    assert_eq!((semaphore.taken(), guest.poll(&semaphore)), (2, TAKEN));
    (0..2).for_each(|_| semaphore.release());
    assert_eq!(semaphore.taken(), 0);
    assert!(semaphore.try_acquire());
}

#[test]
fn when_the_last_waiter_gives_up_the_fast_paths_are_back() {
    let semaphore = full(1);
    let mut guest = Guest::waiting(&semaphore);
    assert_eq!(semaphore.word.load(Ordering::Relaxed), WAITERS | 1);
    semaphore.give_up(&mut guest.acquire);
    assert_eq!(semaphore.word.load(Ordering::Relaxed), 1);
    semaphore.release();
    assert!(semaphore.try_acquire());
    assert_eq!(guest.bell.rung(), 0);
}

#[test]
fn closing_ends_every_wait() {
    let semaphore = full(2);
    let mut guests: Vec<Guest> = (0..4).map(|_| Guest::waiting(&semaphore)).collect();
    semaphore.release();
    for _ in 0..2 {
        semaphore.close();
    }
    assert!(guests.iter().all(|guest| guest.bell.rung() == 1));
    semaphore.give_up(&mut guests[3].acquire);
    let answers: Vec<_> = guests[..3].iter_mut().map(|guest| guest.poll(&semaphore)).collect();
    assert_eq!(answers, [TAKEN, CLOSED, CLOSED], "what has been granted stays so");
    assert_eq!(semaphore.taken(), 2);
    semaphore.release();
    assert_eq!(guests[0].poll(&semaphore), CLOSED, "free permit or not");
    assert!(semaphore.try_acquire());
    assert!(!semaphore.try_acquire());
    semaphore.release();
    semaphore.release();
    assert_eq!(semaphore.taken(), 0);
}

#[test]
fn a_granted_permit_is_given_up_after_closing() {
    let semaphore = full(1);
    let mut guest = Guest::waiting(&semaphore);
    semaphore.release();
    semaphore.close();
    semaphore.give_up(&mut guest.acquire);
    assert_eq!(semaphore.taken(), 0);
}

#[test]
fn giving_up_costs_a_few_looks_however_long_the_wait_queue() {
    const GUESTS: usize = 100_000;
    type Order = fn(usize) -> usize;
    // From the front, from the back, and in strides.
    let orders: [Order; 3] = [|step| step, |step| GUESTS - 1 - step, |step| step * 7919 % GUESTS];
    for order in orders {
        let semaphore = full(1);
        let mut guests: Vec<Guest> = (0..GUESTS).map(|_| Guest::waiting(&semaphore)).collect();
        let mut looks = 0;
        for step in 0..GUESTS {
            let before = semaphore.queue.lock().expect("no fork").waiters.len();
            semaphore.give_up(&mut guests[order(step)].acquire);
            let queue = semaphore.queue.lock().expect("no fork");
            if queue.waiters.len() < before {
                looks += before;
            }
            assert_eq!(queue.live, GUESTS - 1 - step);
            assert!(queue.waiters.len() <= 2 * queue.live);
        }
        assert!(looks <= 2 * GUESTS, "{looks}");
        assert!(semaphore.queue.lock().expect("no fork").waiters.capacity() <= 4 * ROOM);
        assert_eq!(semaphore.word.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn no_limit_is_a_limit_too() {
    let semaphore = full_of(usize::MAX, COUNT - 1);
    assert!(semaphore.try_acquire());
    assert!(!semaphore.try_acquire());
    let mut guest = Guest::waiting(&semaphore);
    semaphore.release();
    assert_eq!(guest.poll(&semaphore), TAKEN);
    assert_eq!(semaphore.taken(), COUNT);
    assert_eq!(Guest::default().poll(&full_of(usize::MAX, 0)), TAKEN);
}

fn full_of(limit: usize, taken: usize) -> Semaphore {
    let semaphore = Semaphore::new(limit);
    semaphore.word.store(taken, Ordering::Relaxed);
    semaphore
}

#[test]
fn without_permits_every_waiter_waits_until_closing() {
    let semaphore = full(0);
    let mut guest = Guest::waiting(&semaphore);
    semaphore.close();
    assert_eq!(guest.poll(&semaphore), CLOSED);
}

#[test]
fn the_last_waker_is_called_and_one_that_is_known_is_not_cloned() {
    let semaphore = full(1);
    let mut guest = Guest::waiting(&semaphore);
    let before = Arc::clone(&guest.bell);
    assert_eq!(Arc::strong_count(&before), 3, "the guest's, this one and one in the wait queue");
    assert_eq!(guest.poll(&semaphore), Poll::Pending);
    assert_eq!(Arc::strong_count(&before), 3);
    guest.bell = Arc::default();
    assert_eq!(guest.poll(&semaphore), Poll::Pending);
    assert_eq!(Arc::strong_count(&before), 1, "the former one has been dropped");
    semaphore.release();
    assert_eq!([before.rung(), guest.bell.rung()], [0, 1]);
    assert_eq!(Arc::strong_count(&guest.bell), 1);
}

/// A waker that notes when it is called or dropped with the lock held, and panics each time.
struct Nosy {
    semaphore: Arc<Semaphore>,
    locked: Arc<AtomicBool>,
    seen: Arc<AtomicUsize>,
}

impl Nosy {
    fn look(&self) {
        let (send, received) = mpsc::channel();
        let semaphore = Arc::clone(&self.semaphore);
        std::thread::spawn(move || {
            drop(semaphore.queue.lock());
            let _ = send.send(());
        });
        // A lock that this very thread holds stays held.
        let locked = received.recv_timeout(Duration::from_secs(20)).is_err();
        self.locked.fetch_or(locked, Ordering::Relaxed);
        self.seen.fetch_add(1, Ordering::Relaxed);
        std::panic::resume_unwind(Box::new("nosy"));
    }
}

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {
        // Its destructor is for those who are not called.
        let (semaphore, locked, seen) =
            (Arc::clone(&self.semaphore), Arc::clone(&self.locked), Arc::clone(&self.seen));
        std::mem::forget(self);
        std::mem::ManuallyDrop::new(Nosy { semaphore, locked, seen }).look();
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        self.look();
    }
}

#[test]
fn wakers_are_called_and_dropped_without_the_lock_and_their_panics_swallowed() {
    let semaphore = Arc::new(full(1));
    let locked = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(AtomicUsize::new(0));
    let wait = |acquire: &mut Acquire| {
        let (semaphore, locked) = (Arc::clone(&semaphore), Arc::clone(&locked));
        let nosy = Nosy { semaphore: Arc::clone(&semaphore), locked, seen: Arc::clone(&seen) };
        let waker = Waker::from(Arc::new(nosy));
        let answer = semaphore.poll_acquire(acquire, &waker);
        // What is left of the waker here is dropped by the caller, who may panic.
        crate::panic::catch_panic("a nosy waker", || drop(waker));
        answer
    };
    let mut turns: [Acquire; 3] = Default::default();
    assert!(turns.iter_mut().all(|turn| wait(turn).is_pending()));
    assert!(wait(&mut turns[0]).is_pending(), "another waker: the former is dropped");
    assert_eq!(seen.load(Ordering::Relaxed), 1);
    semaphore.release();
    assert_eq!(seen.load(Ordering::Relaxed), 2, "called");
    assert_eq!(wait(&mut turns[0]), TAKEN);
    assert_eq!(seen.load(Ordering::Relaxed), 3, "not needed");
    semaphore.give_up(&mut turns[1]);
    assert_eq!(seen.load(Ordering::Relaxed), 4, "given up");
    semaphore.close();
    assert_eq!(seen.load(Ordering::Relaxed), 5, "told");
    assert_eq!(semaphore.taken(), 1);
    assert!(!locked.load(Ordering::Relaxed));
}

/// Random calls, each compared with the shortest program that does the same.
#[test]
fn it_does_what_the_model_does() {
    let mut random = 1_u32;
    let mut below = move |bound: usize| {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random as usize % bound
    };
    for round in 0..200 {
        let limit = 1 + round % 3;
        let semaphore = Semaphore::new(limit);
        let mut guests: Vec<Guest> = (0..6).map(|_| Guest::default()).collect();
        let (mut queue, mut granted) = (VecDeque::new(), Vec::new());
        let mut taken = 0;
        for _ in 0..300 {
            let guest = below(guests.len());
            let mut free = false;
            match below(4) {
                0 => {
                    let may = taken < limit && queue.is_empty();
                    assert_eq!(semaphore.try_acquire(), may);
                    taken += usize::from(may);
                }
                1 if taken > granted.len() => {
                    semaphore.release();
                    free = true;
                }
                1 | 2 => {
                    let granted_before = granted.len();
                    granted.retain(|&other| other != guest);
                    let fetched = granted.len() < granted_before;
                    let takes = taken < limit && queue.is_empty();
                    taken += usize::from(takes && !fetched);
                    let expected = if fetched || takes { TAKEN } else { Poll::Pending };
                    assert_eq!(guests[guest].poll(&semaphore), expected);
                    if expected.is_pending() && !queue.contains(&guest) {
                        queue.push_back(guest);
                    }
                }
                _ => {
                    semaphore.give_up(&mut guests[guest].acquire);
                    let granted_before = granted.len();
                    granted.retain(|&other| other != guest);
                    free = granted.len() < granted_before;
                    queue.retain(|&other| other != guest);
                }
            }
            if free {
                match queue.pop_front() {
                    Some(next) => granted.push(next),
                    None => taken -= 1,
                }
            }
            assert_eq!(semaphore.taken(), taken);
            let waiters = if queue.is_empty() { 0 } else { WAITERS };
            assert_eq!(semaphore.word.load(Ordering::Relaxed), taken | waiters);
        }
    }
}

/// Threads that take, wait, give up and free as they like.
#[test]
fn under_load_no_permit_is_lost_and_no_limit_passed() {
    const LIMIT: usize = 2;
    let semaphore = Semaphore::new(LIMIT);
    let inside = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for seed in 0..6_usize {
            let (semaphore, inside) = (&semaphore, &inside);
            scope.spawn(move || {
                let parker = Arc::new(Parker::new());
                let waker = parker.waker();
                for round in 0..if cfg!(miri) { 20 } else { 2_000 } {
                    let mut acquire = Acquire::new();
                    if (seed + round) % 5 == 0 {
                        let _ = semaphore.poll_acquire(&mut acquire, &waker).map(|_| semaphore.release());
                        semaphore.give_up(&mut acquire);
                        continue;
                    }
                    // Only before it stands in the wait queue: who is in the wait queue may have
                    // been given a permit already.
                    let taken = round % 2 == 1 && semaphore.try_acquire();
                    while !taken && semaphore.poll_acquire(&mut acquire, &waker).is_pending() {
                        assert!(parker.park(None));
                    }
                    assert!(inside.fetch_add(1, Ordering::Relaxed) < LIMIT);
                    inside.fetch_sub(1, Ordering::Relaxed);
                    semaphore.release();
                }
            });
        }
    });
    assert_eq!(semaphore.word.load(Ordering::Relaxed), 0);
    assert_eq!(semaphore.queue.lock().expect("no fork").live, 0);
}
