//! Models of the wake-up protocol for the model checker: `idle` and `queue` alone, with the
//! shortest worker there can be. The models of `worker` run the real one.
//!
//! A thread that parks for ever is a deadlock, which the checker reports: so each model ends only
//! if every item finds a taker.

use std::mem::take;
use std::sync::Arc;

use loom::thread;

use super::{Idle, Notified, SEARCHING, Sleeper};
use crate::queue::{Queues, StealCursor};
use crate::sync::Parker;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::stand_in::model::check;

/// Sleepers and a queue.
struct Place {
    idle: Idle,
    queues: Queues<u32>,
}

impl Place {
    fn new() -> Arc<Self> {
        Arc::new(Place { idle: Idle::new(), queues: Queues::new(0) })
    }

    fn submit(&self, item: u32) -> Notified {
        self.queues.push(None, item);
        self.idle.notify(|| self.queues.is_empty())
    }

    /// A thread that has a searching token from the start, takes `count` items and is never seen
    /// again.
    fn worker(self: &Arc<Self>, count: u32) -> thread::JoinHandle<()> {
        self.idle.word.change(SEARCHING, 0);
        let place = Arc::clone(self);
        thread::spawn(move || place.take_items(count, true))
    }

    /// Takes `count` items, sleeping where there is none.
    fn take_items(&self, mut count: u32, mut searching: bool) {
        let sleeper = Sleeper::new();
        let mut cursor = StealCursor::new(1);
        while count > 0 {
            if self.queues.take(None, &mut cursor, 1).is_some() {
                count -= 1;
                if take(&mut searching) {
                    self.release_after_find();
                }
                continue;
            }
            self.idle.enter_stack(&sleeper, take(&mut searching));
            if self.queues.is_empty() {
                while !sleeper.park(None) {}
            } else {
                self.idle.leave_stack(&sleeper);
            }
            searching = true;
        }
        if searching {
            self.release_after_find();
        }
    }

    fn release_after_find(&self) {
        self.idle.release_searching();
        if !self.queues.is_empty() {
            let _ = self.idle.notify(|| self.queues.is_empty());
        }
    }
}

/// One submitter, one worker: the item is taken, however the push falls between the worker's looks
/// and its sleep.
#[test]
fn push_against_park() {
    check(None, || {
        let place = Place::new();
        let worker = place.worker(1);
        let _ = place.submit(1);
        worker.join().unwrap();
    });
}

/// One submitter of two items, one worker that takes both: the second push may find the worker at
/// any point.
#[test]
fn two_pushes_against_park() {
    check(Some(4), || {
        let place = Place::new();
        let worker = place.worker(2);
        let _ = place.submit(1);
        let _ = place.submit(2);
        worker.join().unwrap();
    });
}

/// Two submitters, two workers of which each takes one item and then blocks for ever. A submitter
/// that wakes no thread because a token is out relies on the holder, who must pass the baton on its
/// find (invariant S).
#[test]
fn baton() {
    check(Some(3), || {
        let place = Place::new();
        let workers = [place.worker(1), place.worker(1)];
        let other = Arc::clone(&place);
        let submitter = thread::spawn(move || _ = other.submit(1));
        let _ = place.submit(2);
        submitter.join().unwrap();
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

/// As `baton`, with one submitter, and both workers asleep or about to be.
#[test]
fn baton_from_one_submitter() {
    check(Some(4), || {
        let place = Place::new();
        let workers = [place.worker(1), place.worker(1)];
        let _ = place.submit(1);
        let _ = place.submit(2);
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

/// A thread leaves for good while a submitter comes and another thread sleeps: the item is taken by
/// the one who stays, unless the leaver has been given a token and has to stay.
#[test]
fn leaving_for_good_against_submit() {
    check(Some(3), || {
        let place = Place::new();
        place.idle.word.change(SEARCHING, 0);
        let stays = place.worker(1);
        let leaving = Arc::clone(&place);
        let leaver = thread::spawn(move || {
            let sleeper = Sleeper::new();
            leaving.idle.enter_stack(&sleeper, true);
            if !leaving.queues.is_empty() {
                leaving.idle.leave_stack(&sleeper);
            } else if leaving.idle.leave_for_good(&sleeper) {
                return;
            }
            // With a token it must stay, and would take the item; here it only passes the baton.
            leaving.release_after_find();
        });
        let _ = place.submit(1);
        leaver.join().unwrap();
        stays.join().unwrap();
    });
}

/// A thread delivers while a submitter comes: the submitter wakes no thread and arms the monitor
/// instead; or a token is out. Either way the thread takes the item once it has delivered, whether
/// the monitor acts or not.
#[test]
fn delivering_against_submit() {
    check(None, || {
        let place = Place::new();
        place.idle.begin_delivering();
        let delivering = Arc::clone(&place);
        let worker = thread::spawn(move || {
            delivering.idle.end_delivering();
            delivering.take_items(1, true);
        });
        // The monitor's help, where the answer asks for it, does not come.
        let _ = place.submit(1);
        worker.join().unwrap();
    });
}

/// A waker blocks until the item of a submitter has been taken. The submitter relies on no thread
/// but arms the monitor, which ignores the token and wakes the sleeper.
#[test]
fn a_blocked_waker_does_not_keep_the_sleeper_asleep() {
    check(Some(3), || {
        let place = Place::new();
        place.idle.begin_delivering();
        let sleeps = place.worker(1);
        let monitored = Arc::new(Parker::new());
        let monitor = {
            let (place, armed) = (Arc::clone(&place), Arc::clone(&monitored));
            thread::spawn(move || {
                armed.park(None);
                while !place.queues.is_empty() && place.idle.notify_forced() != Notified::Handled {
                    thread::yield_now();
                }
            })
        };
        let answer = place.submit(1);
        if answer == Notified::Delivering {
            monitored.unpark();
        }
        sleeps.join().unwrap();
        monitored.unpark();
        monitor.join().unwrap();
        place.idle.end_delivering();
    });
}

/// A start fails while a submitter relies on it: the one whose start it was sees the item.
#[test]
fn failed_start_against_submit() {
    check(None, || {
        let place = Place::new();
        assert!(place.idle.begin_starting());
        let starting = Arc::clone(&place);
        let starter = thread::spawn(move || {
            starting.idle.not_started(1);
            !starting.queues.is_empty()
        });
        let answer = place.submit(1);
        let seen = starter.join().unwrap();
        assert!(seen || answer == Notified::NoWorker, "{answer:?}");
    });
}

/// Two submitters find no thread at all: one of them starts one, and the other leaves it to that.
#[test]
fn two_submitters_start_one_thread() {
    check(None, || {
        let place = Place::new();
        let other = Arc::clone(&place);
        let get_help =
            |place: &Place, item| place.submit(item) == Notified::NoWorker && place.idle.begin_starting();
        let submitter = thread::spawn(move || get_help(&other, 1));
        let started = [get_help(&place, 2), submitter.join().unwrap()];
        assert_eq!(started.iter().filter(|&&started| started).count(), 1, "{started:?}");
    });
}

/// A thread goes to sleep unless it sees the pool closed once it is on the stack, while another
/// closes it: it is woken or does not park.
#[test]
fn close_against_park() {
    check(None, || {
        let place = Place::new();
        let closed = Arc::new(AtomicBool::new(false));
        place.idle.word.change(SEARCHING, 0);
        let worker = {
            let (place, closed) = (Arc::clone(&place), Arc::clone(&closed));
            thread::spawn(move || {
                let sleeper = Sleeper::new();
                place.idle.enter_stack(&sleeper, true);
                if !closed.load(Ordering::Relaxed) {
                    while !sleeper.park(None) {}
                    assert!(closed.load(Ordering::Relaxed), "woken by whom?");
                }
            })
        };
        closed.store(true, Ordering::Relaxed);
        place.idle.wake_all();
        worker.join().unwrap();
    });
}
