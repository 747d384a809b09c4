//! `Handle::after`: order, limits, cancellation.

use std::cell::OnceCell;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use sidestep::EventLoop;
use sidestep::event_loop::Timer;

use super::{Log, run};
use crate::support::{Drops, PATIENCE, nothing_happens, pool};

const TICK: Duration = Duration::from_millis(10);

fn a_loop() -> EventLoop {
    EventLoop::on(&pool(1, 1))
}

#[test]
fn timers_run_in_the_order_of_their_deadlines() {
    let (mut ev, log) = (a_loop(), Log::new());
    let begin = Instant::now();
    for ticks in [3, 1, 4, 2, 0] {
        let log = log.clone();
        ev.after(TICK * ticks, move |_| {
            assert!(begin.elapsed() >= TICK * ticks, "never early");
            log.add(ticks);
        });
    }
    run(&mut ev);
    assert_eq!(log.take(), [0, 1, 2, 3, 4]);
}

#[test]
fn overdue_timers_run_in_one_round_and_in_order() {
    let (mut ev, log) = (a_loop(), Log::new());
    for ticks in [2, 1, 3] {
        ev.after(TICK * ticks, log.note(ticks));
    }
    nothing_happens();
    assert_eq!(ev.turn(Duration::ZERO).ran(), 3);
    assert_eq!(log.take(), [1, 2, 3]);
}

/// Some of these have the same deadline, where the clock is coarse: the order of registration
/// decides.
#[test]
fn timers_of_no_delay_run_in_the_order_of_registration() {
    let (mut ev, log) = (a_loop(), Log::new());
    let first = ev.after(Duration::ZERO, log.note(0));
    first.cancel();
    for number in 1..1000 {
        ev.after(Duration::ZERO, log.note(number));
    }
    let turn = ev.turn(Duration::ZERO);
    assert_eq!((turn.ran(), turn.is_done()), (999, true));
    assert_eq!(log.take(), (1..1000).collect::<Vec<_>>());
}

#[test]
fn a_timer_of_no_delay_comes_in_the_next_turn() {
    let (mut ev, log) = (a_loop(), Log::new());
    let note = log.note("later");
    ev.post(|ev| drop(ev.after(Duration::ZERO, note)));
    let turn = ev.turn(Duration::ZERO);
    assert_eq!((turn.ran(), log.take().len(), turn.is_done()), (1, 0, false));
    assert!(turn.next_timer().is_some_and(|next| next <= Instant::now()));
    assert_eq!(ev.turn(Duration::MAX).ran(), 1);
    assert_eq!(log.take(), ["later"]);
}

#[test]
fn the_longest_delay_never_ends_but_is_outstanding() {
    let (mut ev, log, drops) = (a_loop(), Log::new(), Drops::new());
    let token = drops.token();
    let never = ev.after(Duration::MAX, move |_| drop(token));
    let turn = ev.turn(TICK);
    assert_eq!((turn.ran(), turn.next_timer(), turn.is_done()), (0, None, false));
    assert!(format!("{never:?}").contains("is_outstanding: true"));
    let inner = never.clone();
    ev.after(TICK, move |_| inner.cancel());
    ev.after(TICK * 2, log.note(()));
    run(&mut ev);
    assert_eq!((log.take().len(), drops.count()), (1, 1));
    assert!(format!("{never:?}").contains("is_outstanding: false"));
}

#[test]
fn a_turn_sleeps_no_longer_than_to_the_next_timer() {
    let (mut ev, log) = (a_loop(), Log::new());
    ev.after(TICK, log.note("soon"));
    let late = ev.after(Duration::from_secs(3600), log.note("late"));
    let begin = Instant::now();
    let turn = ev.turn(Duration::MAX);
    assert_eq!((turn.ran(), log.take()), (1, vec!["soon"]));
    assert!((TICK..PATIENCE).contains(&begin.elapsed()));
    let next = turn.next_timer().unwrap();
    assert!(next > begin + Duration::from_secs(3599) && !turn.is_ready());
    late.cancel();
    let turn = ev.turn(Duration::ZERO);
    assert_eq!((turn.ran(), turn.next_timer(), turn.is_done()), (0, None, true));
}

#[test]
fn a_cancelled_timer_is_dropped_unrun() {
    let (mut ev, drops) = (a_loop(), Drops::new());
    let token = drops.token();
    let timer = ev.after(Duration::ZERO, move |_| {
        drop(token);
        unreachable!("it was cancelled");
    });
    timer.cancel();
    assert_eq!(drops.count(), 1, "at once");
    timer.cancel();
    run(&mut ev);
    assert_eq!(ev.turn(Duration::ZERO).ran(), 0);
}

#[test]
fn a_timer_may_cancel_itself_and_others_of_its_round() {
    let (mut ev, log) = (a_loop(), Log::new());
    let both = Rc::new(OnceCell::<[Timer; 2]>::new());
    let (known, inner) = (Rc::clone(&both), log.clone());
    let first = ev.after(Duration::ZERO, move |_| {
        known.get().unwrap().iter().for_each(Timer::cancel);
        inner.add("first");
    });
    let second = ev.after(Duration::ZERO, log.note("second"));
    both.set([first, second]).unwrap();
    ev.after(Duration::ZERO, log.note("third"));
    assert_eq!(ev.turn(Duration::ZERO).ran(), 2);
    assert_eq!(log.take(), ["first", "third"]);
}

#[test]
fn dropping_the_token_leaves_the_timer_alone() {
    let (mut ev, log) = (a_loop(), Log::new());
    drop(ev.after(TICK, log.note(())));
    run(&mut ev);
    assert_eq!(log.take(), [()]);
}

/// A timeout for each of many short actions: all cancelled long before their time.
#[test]
fn many_cancelled_timers_are_no_burden() {
    let (mut ev, drops) = (a_loop(), Drops::new());
    let kept = ev.after(Duration::from_secs(1800), |_| ());
    for _ in 0..100_000 {
        let token = drops.token();
        ev.after(Duration::from_secs(3600), move |_| drop(token)).cancel();
    }
    assert_eq!(drops.count(), 100_000);
    assert!(ev.turn(Duration::ZERO).next_timer().is_some());
    kept.cancel();
    run(&mut ev);
}

#[test]
fn a_repeating_timer_leaves_room_for_posts() {
    fn tick(ev: &sidestep::event_loop::Handle, left: u32, log: Log<u32>) {
        ev.after(Duration::ZERO, move |ev| {
            log.add(left);
            if left > 0 {
                tick(ev, left - 1, log);
            }
        });
    }
    let (mut ev, log) = (a_loop(), Log::new());
    tick(&ev, 1000, log.clone());
    ev.post(log.note(5000));
    run(&mut ev);
    let ran = log.take();
    assert_eq!((ran.len(), ran[0]), (1002, 5000));
}

/// Times that the clock can count to but no system call can wait for.
#[test]
fn times_without_end_are_slept_through() {
    let pool = pool(1, 1);
    let mut ev = EventLoop::on(&pool);
    let shifts = [u64::MAX / 2, u64::MAX / 4, u64::from(u32::MAX) * 4];
    let timers: Vec<_> =
        shifts.map(|seconds| ev.after(Duration::from_secs(seconds), |_| unreachable!())).into();
    for seconds in shifts {
        let remote = ev.remote();
        let poster = thread::spawn(move || {
            nothing_happens();
            remote.post(|_| ()).unwrap();
        });
        let start = Instant::now();
        assert_eq!(ev.turn(Duration::from_secs(seconds)).ran(), 1);
        assert!(start.elapsed() < PATIENCE);
        poster.join().unwrap();
    }
    timers.iter().for_each(Timer::cancel);
    ev.run();
}
