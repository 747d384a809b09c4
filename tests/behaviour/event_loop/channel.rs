//! `Handle::channel`: messages from other threads for one callback.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use sidestep::EventLoop;
use sidestep::event_loop::ChannelSender;

use super::{Log, run};
use crate::support::{Drops, Gate, PATIENCE, pool, quiet_panic};

#[test]
fn a_callback_that_is_not_send_gets_each_message_in_order() {
    let mut ev = EventLoop::on(&pool(1, 1));
    let seen = Rc::new(RefCell::new(vec![Vec::new(); 4]));
    let shared = Rc::clone(&seen);
    let sender =
        ev.channel(move |_, (thread, number): (usize, u32)| shared.borrow_mut()[thread].push(number));
    for thread in 0..4 {
        let sender = sender.clone();
        thread::spawn(move || (0..5000).for_each(|number| sender.clone().send((thread, number)).unwrap()));
    }
    drop(sender);
    run(&mut ev);
    let all: Vec<u32> = (0..5000).collect();
    assert!(seen.borrow().iter().all(|numbers| *numbers == all));
}

#[test]
fn the_channel_is_outstanding_until_its_last_sender_is_gone() {
    let (mut ev, log) = (EventLoop::on(&pool(1, 1)), Log::new());
    let inner = log.clone();
    let sender = ev.channel(move |_, message| inner.add(message));
    let other = sender.clone();
    assert!(!ev.turn(Duration::ZERO).is_done());
    sender.send(1).unwrap();
    drop(sender);
    assert!(!ev.turn(Duration::ZERO).is_done());
    other.send(2).unwrap();
    drop(other);
    run(&mut ev);
    assert_eq!(log.take(), [1, 2]);
    assert!(ev.turn(Duration::ZERO).is_done());
    drop(ev.channel(|_, ()| unreachable!("nothing was sent")));
    run(&mut ev);
}

#[test]
fn progress_comes_while_the_closure_runs() {
    let mut ev = EventLoop::on(&pool(1, 1));
    let (shown, gate) = (Rc::new(Cell::new(0)), Gate::new());
    let (widget, go_on) = (Rc::clone(&shown), gate.clone());
    // The closure ends only once the callback has had what it sent first.
    let progress = ev.channel(move |_, percent: u32| {
        widget.set(percent);
        go_on.open();
    });
    let report = move || {
        progress.send(50).unwrap();
        gate.pass();
        progress.send(100).unwrap();
    };
    ev.offload(report, |_, end| end.unwrap());
    run(&mut ev);
    assert_eq!(shown.get(), 100);
}

#[test]
fn a_callback_may_send_to_itself_and_give_the_loop_more_work() {
    let (mut ev, log) = (EventLoop::on(&pool(1, 1)), Log::new());
    let own: Rc<RefCell<Option<ChannelSender<u32>>>> = Rc::default();
    let (again, inner) = (Rc::clone(&own), log.clone());
    let sender = ev.channel(move |ev, left: u32| {
        inner.add(left);
        ev.post(inner.note(1000 + left));
        match left {
            0 => drop(again.take()),
            _ => again.borrow().as_ref().unwrap().send(left - 1).unwrap(),
        }
    });
    sender.send(3).unwrap();
    own.replace(Some(sender));
    run(&mut ev);
    assert_eq!(log.take(), [3, 2, 1, 0, 1003, 1002, 1001, 1000], "messages come several in a row");
}

#[test]
fn a_flood_lets_other_callbacks_run() {
    let (mut ev, log) = (EventLoop::on(&pool(1, 1)), Log::new());
    let inner = log.clone();
    let sender = ev.channel(move |_, number| inner.add(number));
    (0..1000).for_each(|number| sender.send(number).unwrap());
    ev.post(log.note(u32::MAX));
    drop(sender);
    run(&mut ev);
    let seen = log.take();
    let place = seen.iter().position(|&number| number == u32::MAX).unwrap();
    assert!(seen.len() == 1001 && place < 100, "{place}");
}

#[test]
fn a_panic_costs_one_message() {
    let (mut ev, log) = (EventLoop::on(&pool(1, 1)), Log::new());
    let inner = log.clone();
    let sender = ev.channel(move |_, number: u32| {
        if number % 2 == 1 {
            quiet_panic("odd");
        }
        inner.add(number);
    });
    (0..6).for_each(|number| sender.send(number).unwrap());
    drop(sender);
    let mut panics = 0;
    while std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ev.run())).is_err() {
        panics += 1;
    }
    assert_eq!((panics, log.take()), (3, vec![0, 2, 4]));
}

#[test]
fn without_the_loop_the_message_comes_back() {
    let mut ev = EventLoop::on(&pool(1, 1));
    let (drops, called) = (Drops::new(), Rc::new(Cell::new(0)));
    let calls = Rc::clone(&called);
    let sender = ev.channel(move |_, _| calls.set(calls.get() + 1));
    sender.send(drops.token()).unwrap();
    let _ = ev.turn(PATIENCE);
    sender.send(drops.token()).unwrap();
    assert!(!sender.is_closed());
    let handle = ev.clone();
    drop(ev);
    assert_eq!((called.get(), drops.count()), (1, 2), "one was for the callback, one goes with the loop");
    assert!(sender.is_closed());
    let token = sender.clone().send(drops.token()).unwrap_err().into_inner();
    assert_eq!(drops.count(), 2);
    drop(token);
    let late = handle.channel(|_, ()| unreachable!());
    assert!(late.is_closed() && late.send(()).is_err());
}

#[test]
fn what_the_callback_has_not_had_is_dropped_on_the_thread_of_the_loop() {
    struct Tells(Arc<std::sync::Mutex<Vec<ThreadId>>>);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.lock().unwrap().push(thread::current().id());
        }
    }

    let ev = EventLoop::on(&pool(1, 1));
    let sender = ev.channel(|_, _: Tells| unreachable!());
    let seen = Arc::default();
    let tells = Arc::clone(&seen);
    thread::spawn(move || (0..3).for_each(|_| _ = sender.send(Tells(Arc::clone(&tells))))).join().unwrap();
    drop(ev);
    assert_eq!(*seen.lock().unwrap(), [thread::current().id(); 3]);
}
