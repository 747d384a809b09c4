//! Models of the mailbox for the model checker. A loop that sleeps for ever is a deadlock, which
//! the checker reports.

use std::collections::VecDeque;
use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use super::super::signal::Signal;
use super::super::slots::Key;
use super::{Baggage, Event, Mailbox, Wake};
use crate::sync::Parker;
use crate::sync::stand_in::model::check;

const NOTHING: Baggage = Baggage { outstanding: true, unfinished: false, untold_timer: false };

/// Pushes as `Mailbox::push` does, and counts whom it wakes.
fn push(mailbox: &Mailbox, wakes: &AtomicUsize) {
    let wake = mailbox.open().map_or(Wake::Nobody, |mut state| state.push(Event::Ready(Key::NONE)));
    if !matches!(wake, Wake::Nobody) {
        wakes.fetch_add(1, Ordering::Relaxed);
    }
    mailbox.act(wake);
}

fn pushers(mailbox: &Arc<Mailbox>, wakes: &Arc<AtomicUsize>, count: usize) -> Vec<thread::JoinHandle<()>> {
    let pusher = |_| {
        let (mailbox, wakes) = (Arc::clone(mailbox), Arc::clone(wakes));
        thread::spawn(move || push(&mailbox, &wakes))
    };
    (0..count).map(pusher).collect()
}

/// Takes what is ready, sleeping in between, until there have been `count`. Gives how many sleeps
/// there were.
fn take_events(mailbox: &Mailbox, count: usize) -> usize {
    let (mut round, mut sleeps, mut got) = (VecDeque::new(), 0, 0);
    loop {
        mailbox.take(&mut round);
        got += round.drain(..).count();
        if got == count {
            return sleeps;
        }
        mailbox.sleep(None);
        sleeps += 1;
        assert!(!mailbox.state.lock().queue.is_empty(), "a sleep ends when something is ready");
    }
}

/// Two push while the loop goes to sleep: it gets both, and is woken no more often than it sleeps.
#[test]
fn loom_a_push_wakes_the_sleeper_once() {
    check(Some(4), || {
        let (mailbox, wakes) = (Mailbox::new(None, true), Arc::new(AtomicUsize::new(0)));
        let threads = pushers(&mailbox, &wakes, 2);
        let sleeps = take_events(&mailbox, 2);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(wakes.load(Ordering::Relaxed) <= sleeps, "nobody is woken who is awake");
    });
}

/// A token that comes too late for an earlier sleep does not end this one.
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

/// A driver that turns only when it is notified misses nothing, and is notified at most once
/// between two turns.
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
            let _ = mailbox.leave(NOTHING);
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(rings.load(Ordering::Relaxed), turns, "one ring for each turn");
    });
}

/// Whatever the others do when the loop goes away, each closure is taken, left, or handed back.
#[test]
fn loom_the_loop_goes_away() {
    check(None, || {
        let mailbox = Mailbox::new(None, true);
        let kept = Arc::new(());
        let posters = [0, 1].map(|_| {
            let (mailbox, token) = (Arc::clone(&mailbox), Arc::clone(&kept));
            thread::spawn(move || mailbox.post(move |_| drop(token)).is_err())
        });
        let mut round = VecDeque::new();
        mailbox.take(&mut round);
        let (left, _) = mailbox.close();
        let refused = posters.into_iter().map(|poster| poster.join().unwrap());
        let refused = refused.filter(|refused| *refused).count();
        assert_eq!(round.len() + left.len() + refused, 2);
        assert_eq!(Arc::strong_count(&kept), 1 + round.len() + left.len(), "refused ones are gone");
        drop((round, left));
        assert_eq!(Arc::strong_count(&kept), 1);
    });
}

/// A wake that finds its entry in the line already is seen by the poll that follows.
#[test]
fn loom_a_wake_before_the_poll_counts() {
    check(None, || {
        let mailbox = Mailbox::new(None, true);
        let signal = Signal::new(Arc::clone(&mailbox), Key::NONE);
        let is_ready = Arc::new(AtomicBool::new(false));
        signal.schedule();
        let (waker, ready) = (signal.waker(), Arc::clone(&is_ready));
        let worker = thread::spawn(move || {
            ready.store(true, Ordering::Relaxed);
            waker.wake();
        });
        let (mut round, mut polls) = (VecDeque::new(), 0);
        loop {
            mailbox.take(&mut round);
            if round.drain(..).count() == 0 {
                mailbox.sleep(None);
                continue;
            }
            signal.begin();
            polls += 1;
            if is_ready.load(Ordering::Relaxed) {
                break;
            }
        }
        assert!(polls <= 2, "one poll for each time in the line");
        worker.join().unwrap();
    });
}
