//! The places one call after the other, against a model, and under load.

mod room;

use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::task::Wake;
use std::time::Duration;

use super::*;
use crate::sync::Parker;

const TAKEN: Poll<Result<(), Closed>> = Poll::Ready(Ok(()));
const CLOSED: Poll<Result<(), Closed>> = Poll::Ready(Err(Closed));

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
    turn: Acquire,
    bell: Arc<Bell>,
}

impl Guest {
    fn poll(&mut self, places: &Semaphore) -> Poll<Result<(), Closed>> {
        places.poll_acquire(&mut self.turn, &Waker::from(Arc::clone(&self.bell)))
    }

    /// In line.
    fn waiting(places: &Semaphore) -> Self {
        let mut guest = Guest::default();
        assert_eq!(guest.poll(places), Poll::Pending);
        guest
    }
}

/// So many places, all of them taken.
fn full(limit: usize) -> Semaphore {
    let places = Semaphore::new(limit);
    assert!((0..limit).all(|_| places.try_acquire()));
    assert!(!places.try_acquire());
    places
}

#[test]
fn there_are_as_many_places_as_the_limit_says() {
    let places = full(3);
    assert_eq!(places.taken(), 3);
    places.release();
    assert_eq!(Guest::default().poll(&places), TAKEN);
    assert!(!places.try_acquire());
    (0..3).for_each(|_| places.release());
    assert_eq!(places.taken(), 0);
}

#[test]
fn the_longest_wait_ends_first() {
    let places = full(1);
    let mut guests: Vec<Guest> = (0..3).map(|_| Guest::waiting(&places)).collect();
    for next in 0..3 {
        places.release();
        let rung: Vec<usize> = guests.iter().map(|guest| guest.bell.rung()).collect();
        assert_eq!(rung.iter().sum::<usize>(), next + 1, "one waker for each place");
        assert_eq!(rung[next], 1);
        guests[next + 1..].iter_mut().for_each(|guest| assert_eq!(guest.poll(&places), Poll::Pending));
        assert_eq!(guests[next].poll(&places), TAKEN);
    }
    assert_eq!(guests[0].poll(&places), Poll::Pending, "the turn starts anew");
    places.give_up(&mut guests[0].turn);
    assert_eq!(places.taken(), 1);
}

#[test]
fn nobody_takes_a_place_past_the_line() {
    let places = full(2);
    let mut first = Guest::waiting(&places);
    let mut second = Guest::waiting(&places);
    places.release();
    assert!(!places.try_acquire(), "it has been granted, though not fetched");
    let mut third = Guest::waiting(&places);
    assert_eq!(first.poll(&places), TAKEN);
    places.release();
    places.release();
    assert_eq!([second.poll(&places), third.poll(&places)], [TAKEN, TAKEN]);
    places.release();
    assert!(places.try_acquire(), "nobody waits any more");
}

#[test]
fn a_granted_place_that_is_given_up_goes_on() {
    let places = full(1);
    let mut guests: Vec<Guest> = (0..3).map(|_| Guest::waiting(&places)).collect();
    places.give_up(&mut guests[1].turn);
    places.release();
    for _ in 0..2 {
        places.give_up(&mut guests[0].turn);
    }
    assert_eq!(guests[1].bell.rung(), 0, "it has given up");
    assert_eq!(guests[2].bell.rung(), 1);
    assert_eq!(places.taken(), 1);
    places.give_up(&mut guests[2].turn);
    assert_eq!(places.taken(), 0, "there is nobody it could go to");
    places.give_up(&mut Acquire::new());
    assert_eq!(places.taken(), 0);
}

#[test]
fn when_the_last_waiter_gives_up_the_fast_paths_are_back() {
    let places = full(1);
    let mut guest = Guest::waiting(&places);
    assert_eq!(places.word.load(Ordering::Relaxed), WAITERS | 1);
    places.give_up(&mut guest.turn);
    assert_eq!(places.word.load(Ordering::Relaxed), 1);
    places.release();
    assert!(places.try_acquire());
    assert_eq!(guest.bell.rung(), 0);
}

#[test]
fn closing_tells_everybody_who_waits() {
    let places = full(2);
    let mut guests: Vec<Guest> = (0..4).map(|_| Guest::waiting(&places)).collect();
    places.release();
    for _ in 0..2 {
        places.close();
    }
    assert!(guests.iter().all(|guest| guest.bell.rung() == 1));
    places.give_up(&mut guests[3].turn);
    let answers: Vec<_> = guests[..3].iter_mut().map(|guest| guest.poll(&places)).collect();
    assert_eq!(answers, [TAKEN, CLOSED, CLOSED], "what has been granted stays so");
    assert_eq!(places.taken(), 2);
    places.release();
    assert_eq!(guests[0].poll(&places), CLOSED, "free place or not");
    assert!(places.try_acquire());
    assert!(!places.try_acquire());
    places.release();
    places.release();
    assert_eq!(places.taken(), 0);
}

#[test]
fn a_granted_place_is_given_up_after_closing() {
    let places = full(1);
    let mut guest = Guest::waiting(&places);
    places.release();
    places.close();
    places.give_up(&mut guest.turn);
    assert_eq!(places.taken(), 0);
}

#[test]
fn giving_up_costs_a_few_looks_however_long_the_line() {
    const GUESTS: usize = 100_000;
    type Order = fn(usize) -> usize;
    // From the front, from the back, and in strides.
    let orders: [Order; 3] = [|step| step, |step| GUESTS - 1 - step, |step| step * 7919 % GUESTS];
    for order in orders {
        let places = full(1);
        let mut guests: Vec<Guest> = (0..GUESTS).map(|_| Guest::waiting(&places)).collect();
        let mut looks = 0;
        for step in 0..GUESTS {
            let before = places.line.lock().expect("no fork").waiters.len();
            places.give_up(&mut guests[order(step)].turn);
            let line = places.line.lock().expect("no fork");
            if line.waiters.len() < before {
                looks += before;
            }
            assert_eq!(line.live, GUESTS - 1 - step);
            assert!(line.waiters.len() <= 2 * line.live);
        }
        assert!(looks <= 2 * GUESTS, "{looks}");
        assert!(places.line.lock().expect("no fork").waiters.capacity() <= 4 * ROOM);
        assert_eq!(places.word.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn no_limit_is_a_limit_too() {
    let places = full_of(usize::MAX, COUNT - 1);
    assert!(places.try_acquire());
    assert!(!places.try_acquire());
    let mut guest = Guest::waiting(&places);
    places.release();
    assert_eq!(guest.poll(&places), TAKEN);
    assert_eq!(places.taken(), COUNT);
    assert_eq!(Guest::default().poll(&full_of(usize::MAX, 0)), TAKEN);
}

fn full_of(limit: usize, taken: usize) -> Semaphore {
    let places = Semaphore::new(limit);
    places.word.store(taken, Ordering::Relaxed);
    places
}

#[test]
fn without_places_everybody_waits_until_closing() {
    let places = full(0);
    let mut guest = Guest::waiting(&places);
    places.close();
    assert_eq!(guest.poll(&places), CLOSED);
}

#[test]
fn the_last_waker_is_called_and_one_that_is_known_is_not_cloned() {
    let places = full(1);
    let mut guest = Guest::waiting(&places);
    let before = Arc::clone(&guest.bell);
    assert_eq!(Arc::strong_count(&before), 3, "the guest's, this one and one in line");
    assert_eq!(guest.poll(&places), Poll::Pending);
    assert_eq!(Arc::strong_count(&before), 3);
    guest.bell = Arc::default();
    assert_eq!(guest.poll(&places), Poll::Pending);
    assert_eq!(Arc::strong_count(&before), 1, "the former one has been dropped");
    places.release();
    assert_eq!([before.rung(), guest.bell.rung()], [0, 1]);
    assert_eq!(Arc::strong_count(&guest.bell), 1);
}

/// A waker that notes when it is called or dropped with the lock held, and panics each time.
struct Nosy {
    places: Arc<Semaphore>,
    locked: Arc<AtomicBool>,
    seen: Arc<AtomicUsize>,
}

impl Nosy {
    fn look(&self) {
        let (tell, told) = mpsc::channel();
        let places = Arc::clone(&self.places);
        std::thread::spawn(move || {
            drop(places.line.lock());
            let _ = tell.send(());
        });
        // A lock that this very thread holds stays held.
        let locked = told.recv_timeout(Duration::from_secs(20)).is_err();
        self.locked.fetch_or(locked, Ordering::Relaxed);
        self.seen.fetch_add(1, Ordering::Relaxed);
        std::panic::resume_unwind(Box::new("nosy"));
    }
}

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {
        // Its destructor is for those who are not called.
        let (places, locked, seen) =
            (Arc::clone(&self.places), Arc::clone(&self.locked), Arc::clone(&self.seen));
        std::mem::forget(self);
        std::mem::ManuallyDrop::new(Nosy { places, locked, seen }).look();
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        self.look();
    }
}

#[test]
fn wakers_are_called_and_dropped_without_the_lock_and_their_panics_swallowed() {
    let places = Arc::new(full(1));
    let locked = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(AtomicUsize::new(0));
    let wait = |turn: &mut Acquire| {
        let (places, locked) = (Arc::clone(&places), Arc::clone(&locked));
        let nosy = Nosy { places: Arc::clone(&places), locked, seen: Arc::clone(&seen) };
        let waker = Waker::from(Arc::new(nosy));
        let answer = places.poll_acquire(turn, &waker);
        // What is left of the waker here is dropped by the caller, who may panic.
        crate::panic::catch_panic("a nosy waker", || drop(waker));
        answer
    };
    let mut turns: [Acquire; 3] = Default::default();
    assert!(turns.iter_mut().all(|turn| wait(turn).is_pending()));
    assert!(wait(&mut turns[0]).is_pending(), "another waker: the former is dropped");
    assert_eq!(seen.load(Ordering::Relaxed), 1);
    places.release();
    assert_eq!(seen.load(Ordering::Relaxed), 2, "called");
    assert_eq!(wait(&mut turns[0]), TAKEN);
    assert_eq!(seen.load(Ordering::Relaxed), 3, "not needed");
    places.give_up(&mut turns[1]);
    assert_eq!(seen.load(Ordering::Relaxed), 4, "given up");
    places.close();
    assert_eq!(seen.load(Ordering::Relaxed), 5, "told");
    assert_eq!(places.taken(), 1);
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
        let places = Semaphore::new(limit);
        let mut guests: Vec<Guest> = (0..6).map(|_| Guest::default()).collect();
        let (mut line, mut granted) = (VecDeque::new(), Vec::new());
        let mut taken = 0;
        for _ in 0..300 {
            let guest = below(guests.len());
            let mut free = false;
            match below(4) {
                0 => {
                    let may = taken < limit && line.is_empty();
                    assert_eq!(places.try_acquire(), may);
                    taken += usize::from(may);
                }
                1 if taken > granted.len() => {
                    places.release();
                    free = true;
                }
                1 | 2 => {
                    let granted_before = granted.len();
                    granted.retain(|&other| other != guest);
                    let fetched = granted.len() < granted_before;
                    let takes = taken < limit && line.is_empty();
                    taken += usize::from(takes && !fetched);
                    let expected = if fetched || takes { TAKEN } else { Poll::Pending };
                    assert_eq!(guests[guest].poll(&places), expected);
                    if expected.is_pending() && !line.contains(&guest) {
                        line.push_back(guest);
                    }
                }
                _ => {
                    places.give_up(&mut guests[guest].turn);
                    let granted_before = granted.len();
                    granted.retain(|&other| other != guest);
                    free = granted.len() < granted_before;
                    line.retain(|&other| other != guest);
                }
            }
            if free {
                match line.pop_front() {
                    Some(next) => granted.push(next),
                    None => taken -= 1,
                }
            }
            assert_eq!(places.taken(), taken);
            let waiters = if line.is_empty() { 0 } else { WAITERS };
            assert_eq!(places.word.load(Ordering::Relaxed), taken | waiters);
        }
    }
}

/// Threads that take, wait, give up and free as they like.
#[test]
fn under_load_no_place_is_lost_and_no_limit_passed() {
    const LIMIT: usize = 2;
    let places = Semaphore::new(LIMIT);
    let inside = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for seed in 0..6_usize {
            let (places, inside) = (&places, &inside);
            scope.spawn(move || {
                let parker = Arc::new(Parker::new());
                let waker = parker.waker();
                for round in 0..if cfg!(miri) { 20 } else { 2_000 } {
                    let mut turn = Acquire::new();
                    if (seed + round) % 5 == 0 {
                        let _ = places.poll_acquire(&mut turn, &waker).map(|_| places.release());
                        places.give_up(&mut turn);
                        continue;
                    }
                    // Only before it stands in line: who is in line may have been given a place
                    // already.
                    let taken = round % 2 == 1 && places.try_acquire();
                    while !taken && places.poll_acquire(&mut turn, &waker).is_pending() {
                        assert!(parker.park(None));
                    }
                    assert!(inside.fetch_add(1, Ordering::Relaxed) < LIMIT);
                    inside.fetch_sub(1, Ordering::Relaxed);
                    places.release();
                }
            });
        }
    });
    assert_eq!(places.word.load(Ordering::Relaxed), 0);
    assert_eq!(places.line.lock().expect("no fork").live, 0);
}
