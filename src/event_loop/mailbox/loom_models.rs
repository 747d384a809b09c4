//! Models of the mailbox for the model checker. A loop that parks for ever is a deadlock, which the
//! checker reports.

use std::collections::VecDeque;
use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use super::super::slots::Key;
use super::super::waker::EntryWaker;
use super::{Event, TurnEnd, WakeTarget};
use crate::sync::Parker;
use crate::sync::stand_in::model::check;

/// What is posted is a token, which counts how many there are.
type Mailbox = super::Mailbox<Arc<()>>;

const OUTSTANDING: TurnEnd = TurnEnd { outstanding: true, unfinished: false, unreported_timer: false };

/// Pushes as `Mailbox::push` does, and counts the wake-ups.
fn push(mailbox: &Mailbox, wakes: &AtomicUsize) {
    let target = mailbox.open().map_or(WakeTarget::None, |mut inbox| inbox.push(Event::Ready(Key::NONE)));
    if !matches!(target, WakeTarget::None) {
        wakes.fetch_add(1, Ordering::Relaxed);
    }
    mailbox.act(target);
}

fn pushers(mailbox: &Arc<Mailbox>, wakes: &Arc<AtomicUsize>, count: usize) -> Vec<thread::JoinHandle<()>> {
    let pusher = |_| {
        let (mailbox, wakes) = (Arc::clone(mailbox), Arc::clone(wakes));
        thread::spawn(move || push(&mailbox, &wakes))
    };
    (0..count).map(pusher).collect()
}

/// Takes what is ready, and parks in between, until there have been `count` events. Returns how
/// many parks there were.
fn take_events(mailbox: &Mailbox, count: usize) -> usize {
    let (mut round, mut parks, mut got) = (VecDeque::new(), 0, 0);
    loop {
        mailbox.take(&mut round);
        got += round.drain(..).count();
        if got == count {
            return parks;
        }
        mailbox.park(None);
        parks += 1;
        let is_ready = mailbox.open().is_some_and(|inbox| !inbox.queue.is_empty());
        assert!(is_ready, "a park ends when something is ready");
    }
}

/// Two threads push while the loop parks: it gets both events, and is woken no more often than it
/// parks.
#[test]
fn loom_a_push_wakes_the_sleeper_once() {
    check(Some(4), || {
        let (mailbox, wakes) = (Mailbox::new(None, true), Arc::new(AtomicUsize::new(0)));
        let threads = pushers(&mailbox, &wakes, 2);
        let parks = take_events(&mailbox, 2);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(wakes.load(Ordering::Relaxed) <= parks, "a loop that is awake is not woken");
    });
}

/// A token that comes too late for an earlier park does not end this one.
#[test]
fn loom_a_late_token_wakes_nobody() {
    check(Some(3), || {
        let (mailbox, wakes) = (Mailbox::new(None, true), Arc::new(AtomicUsize::new(0)));
        let late = Arc::clone(&mailbox);
        let late = thread::spawn(move || late.parker.unpark());
        let threads = pushers(&mailbox, &wakes, 1);
        take_events(&mailbox, 1);
        late.join().unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// A host loop that makes a turn only when it is notified misses no event, and is notified at most
/// once between two turns.
#[test]
fn loom_a_driver_that_is_away_is_notified_once() {
    check(Some(3), || {
        let (bell, rings) = (Arc::new(Parker::new()), Arc::new(AtomicUsize::new(0)));
        let (rung, counted) = (Arc::clone(&bell), Arc::clone(&rings));
        let notify = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            rung.unpark();
        };
        let mailbox = Mailbox::new(Some(Arc::new(notify)), false);
        let threads = pushers(&mailbox, &Arc::new(AtomicUsize::new(0)), 2);
        let (mut round, mut got, mut turns) = (VecDeque::new(), 0, 0);
        while got < 2 {
            bell.park(None);
            mailbox.enter();
            mailbox.take(&mut round);
            got += round.drain(..).count();
            turns += 1;
            let _ = mailbox.leave(OUTSTANDING);
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(rings.load(Ordering::Relaxed), turns, "one ring for each turn");
    });
}

/// Two threads post while the loop is dropped: each closure is taken, left over, or returned.
#[test]
fn loom_the_loop_goes_away() {
    check(None, || {
        let mailbox = Mailbox::new(None, true);
        let kept = Arc::new(());
        let posters = [0, 1].map(|_| {
            let (mailbox, token) = (Arc::clone(&mailbox), Arc::clone(&kept));
            thread::spawn(move || mailbox.post(token, |token| token).is_err())
        });
        let mut round = VecDeque::new();
        mailbox.take(&mut round);
        let (left, _) = mailbox.close();
        let refused = posters.into_iter().map(|poster| poster.join().unwrap());
        let refused = refused.filter(|refused| *refused).count();
        assert_eq!(round.len() + left.len() + refused, 2);
        assert_eq!(
            Arc::strong_count(&kept),
            1 + round.len() + left.len(),
            "the closures that were returned are dropped"
        );
        drop((round, left));
        assert_eq!(Arc::strong_count(&kept), 1);
    });
}

/// A wake that finds its key in the queue already is seen by the poll that follows.
#[test]
fn loom_a_wake_before_the_poll_counts() {
    check(None, || {
        let mailbox = Mailbox::new(None, true);
        let entry_waker = EntryWaker::new(Arc::clone(&mailbox), Key::NONE);
        let is_ready = Arc::new(AtomicBool::new(false));
        entry_waker.schedule();
        let (waker, ready) = (entry_waker.waker(), Arc::clone(&is_ready));
        let worker = thread::spawn(move || {
            ready.store(true, Ordering::Relaxed);
            waker.wake();
        });
        let (mut round, mut polls) = (VecDeque::new(), 0);
        loop {
            mailbox.take(&mut round);
            if round.drain(..).count() == 0 {
                mailbox.park(None);
                continue;
            }
            entry_waker.begin();
            polls += 1;
            if is_ready.load(Ordering::Relaxed) {
                break;
            }
        }
        assert!(polls <= 2, "one poll for each time in the queue");
        worker.join().unwrap();
    });
}
