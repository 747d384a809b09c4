//! Who is woken, and how often: `EventLoop::notify`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use sidestep::{EventLoop, Pool};

use super::{Log, conclude, gated, run};
use crate::support::{Gate, PATIENCE, counter, nothing_happens, pool, quiet_panic};

const FAR: Duration = Duration::from_secs(3600);

/// A loop, and how often it has called out.
fn counted(pool: &Pool) -> (EventLoop, impl Fn() -> usize + use<>) {
    let (count, notify) = counter();
    (EventLoop::on(pool).notify(notify), move || count.swap(0, Ordering::SeqCst))
}

fn elsewhere<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    thread::spawn(f).join().unwrap()
}

#[test]
fn a_push_into_the_empty_line_notifies_once() {
    let (mut ev, calls) = counted(&pool(1, 1));
    let (remote, log) = (ev.remote(), Log::new());
    assert_eq!(calls(), 0);
    // Also by the loop's own thread.
    ev.post(log.note(1));
    assert_eq!(calls(), 1);
    ev.post(log.note(2));
    let again = remote.clone();
    elsewhere(move || again.post(|_| ()).unwrap());
    ev.spawn_local(async {});
    assert_eq!(calls(), 0, "once");
    assert_eq!(ev.turn(Duration::ZERO).ran(), 4);
    assert_eq!(calls(), 0);
    elsewhere(move || (0..10).for_each(|_| remote.post(|_| ()).unwrap()));
    assert_eq!(calls(), 1);
    assert_eq!(ev.turn(Duration::ZERO).ran(), 10);
    ev.spawn_local(async {});
    assert_eq!(calls(), 1);
}

#[test]
fn two_completions_are_one_change() {
    let (first, second) = (gated(()), gated(()));
    let (mut ev, calls) = counted(&first.0);
    let log = Log::new();
    for (number, task) in [(1, first.2), (2, second.2)] {
        ev.on_complete(task, log.note_end(number));
    }
    assert_eq!(calls(), 0, "nothing is ready");
    for (pool, gate) in [(&first.0, &first.1), (&second.0, &second.1)] {
        gate.open();
        conclude(pool);
    }
    assert_eq!(calls(), 1);
    assert_eq!(ev.turn(Duration::ZERO).ran(), 2);
    assert_eq!((log.take(), calls()), (vec![1, 2], 0));
}

#[test]
fn nobody_is_notified_while_the_loop_is_awake() {
    let pool = pool(2, 2);
    let (mut ev, calls) = counted(&pool);
    let remote = ev.remote();
    ev.post(move |ev| {
        for _ in 0..100 {
            let remote = remote.clone();
            ev.offload(move || remote.post(|ev| ev.post(|_| ())).unwrap(), |ev, _| ev.post(|_| ()));
        }
        ev.after(Duration::from_millis(1), |ev| ev.spawn_local(async {}));
    });
    assert_eq!(calls(), 1);
    run(&mut ev);
    assert_eq!(calls(), 0, "not between the turns of `run` either, nor to end its sleep");
}

#[test]
fn a_loop_that_sleeps_is_woken_without_the_function() {
    let (mut ev, calls) = counted(&pool(1, 1));
    let (inside, remote) = (Gate::new(), ev.remote());
    let gate = inside.clone();
    let waking = thread::spawn(move || {
        gate.pass();
        nothing_happens();
        remote.post(|ev| ev.post(|_| ())).unwrap();
    });
    ev.post(move |_| inside.open());
    assert_eq!(calls(), 1);
    let task = gated(());
    // Keeps `run` from ending before the other thread has posted.
    let (pool, gate) = (task.0, task.1);
    ev.on_complete(task.2, |_, _| ());
    let opening = thread::spawn(move || {
        waking.join().unwrap();
        gate.open();
        conclude(&pool);
    });
    run(&mut ev);
    opening.join().unwrap();
    assert_eq!(calls(), 0);
}

#[test]
fn a_turn_that_leaves_something_ready_notifies_at_its_end() {
    let (mut ev, calls) = counted(&pool(1, 1));
    let (log, remote) = (Log::new(), ev.remote());
    ev.post({
        let log = log.clone();
        move |ev| {
            ev.post(log.note(1));
            ev.post(log.note(2));
            remote.post(|_| ()).unwrap();
        }
    });
    assert_eq!(calls(), 1);
    let turn = ev.turn(Duration::ZERO);
    assert_eq!((turn.ran(), turn.is_ready()), (1, true));
    assert_eq!(calls(), 1, "once, at the end");
    ev.post(log.note(3));
    assert_eq!(calls(), 0, "it has been told");
    assert_eq!(ev.turn(Duration::ZERO).ran(), 4);
    assert_eq!((calls(), log.take()), (0, vec![1, 2, 3]));
}

/// The driver that catches the panic has no `Turn` to look at.
#[test]
fn a_turn_that_panics_notifies_of_what_it_leaves() {
    let (mut ev, calls) = counted(&pool(1, 1));
    ev.post(|_| quiet_panic(1_u8));
    ev.post(|_| ());
    assert_eq!(calls(), 1);
    assert!(catch_unwind(AssertUnwindSafe(|| ev.turn(Duration::ZERO))).is_err());
    assert_eq!(calls(), 1);
    assert_eq!(ev.turn(Duration::ZERO).ran(), 1);
    assert_eq!(calls(), 0);
    // A timer is something to be told of; nothing at all is not.
    for timers in [1, 0] {
        ev.post(|_| quiet_panic(1_u8));
        let timer = ev.after(FAR, |_| ());
        if timers == 0 {
            timer.cancel();
        }
        calls();
        assert!(catch_unwind(AssertUnwindSafe(|| ev.turn(Duration::ZERO))).is_err());
        assert_eq!(calls(), timers);
        timer.cancel();
    }
}

#[test]
fn a_timer_earlier_than_the_one_reported_notifies() {
    let (mut ev, calls) = counted(&pool(1, 1));
    let turn = ev.turn(Duration::ZERO);
    assert_eq!((turn.next_timer(), calls()), (None, 0));
    let hour = ev.after(FAR, |_| ());
    assert_eq!(calls(), 1);
    ev.after(FAR / 2, |_| ());
    assert_eq!(calls(), 0, "it has been told");
    assert!(ev.turn(Duration::ZERO).next_timer().is_some());
    ev.after(FAR, |_| ());
    ev.after(Duration::MAX, |_| ());
    hour.cancel();
    assert_eq!(calls(), 0, "none is earlier");
    ev.after(Duration::ZERO, |_| ());
    assert_eq!(calls(), 1);
    assert_eq!(ev.turn(Duration::ZERO).ran(), 1);
    assert_eq!(calls(), 0);
    // Inside of a turn the report is still to come.
    ev.post(|ev| drop(ev.after(Duration::from_millis(1), |_| ())));
    assert_eq!(calls(), 1);
    assert!(ev.turn(Duration::ZERO).next_timer().is_some());
    assert_eq!(calls(), 0);
}

#[test]
fn run_until_tells_of_the_timers_that_it_leaves() {
    let (mut ev, calls) = counted(&pool(1, 1));
    ev.run_until(async {});
    assert_eq!(calls(), 0);
    let timer = ev.after(FAR, |_| ());
    assert_eq!(calls(), 1);
    ev.run_until(async {});
    assert_eq!(calls(), 1);
    timer.cancel();
}

/// The promise of `notify`: a driver that does nothing else loses nothing.
#[test]
fn a_driver_that_turns_when_notified_misses_nothing() {
    let pool = pool(2, 4);
    let (bell, rings) = channel();
    let (mut ev, log) = (EventLoop::on(&pool).notify(move || bell.send(()).unwrap()), Log::new());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let remote = ev.remote();
            thread::spawn(move || (0..500).for_each(|_| remote.post(|ev| ev.post(|_| ())).unwrap()))
        })
        .collect();
    for number in 0..500 {
        let inner = log.clone();
        ev.offload(move || number, move |ev, result| ev.post(inner.note(result.unwrap())));
    }
    let mut ran = 0;
    while ran < 5000 {
        rings.recv_timeout(PATIENCE).unwrap();
        ran += ev.turn(Duration::ZERO).ran();
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(ev.turn(Duration::ZERO).is_done());
    assert_eq!((ran, log.take().len(), rings.try_recv().is_err()), (5000, 500, true));
}

#[test]
fn a_function_that_panics_or_posts_does_no_harm() {
    let pool = pool(1, 1);
    let (calls, notify) = counter();
    let remote = Arc::new(std::sync::OnceLock::<sidestep::event_loop::Remote>::new());
    let known = Arc::clone(&remote);
    let mut ev = EventLoop::on(&pool).notify(move || {
        notify();
        // No lock is held.
        known.get().unwrap().post(|_| ()).unwrap();
        quiet_panic("in a notify function")
    });
    remote.set(ev.remote()).unwrap();
    ev.post(|_| ());
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(ev.turn(Duration::ZERO).ran(), 2);
    let task = ev.offload(|| (), |_, _| ());
    conclude(&pool);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    drop(task);
    run(&mut ev);
}

#[test]
fn a_function_that_comes_late_hears_of_what_is_ready() {
    let ev = EventLoop::on(&pool(1, 1));
    ev.post(|_| ());
    let (count, notify) = counter();
    let mut ev = ev.notify(notify);
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(ev.turn(Duration::ZERO).ran(), 1);
}

#[test]
fn the_function_is_dropped_with_the_loop() {
    let drops = crate::support::Drops::new();
    let token = drops.token();
    let ev = EventLoop::on(&pool(1, 1)).notify(move || {
        let _ = &token;
    });
    let (handle, remote) = (sidestep::event_loop::Handle::clone(&ev), ev.remote());
    assert_eq!(drops.count(), 0);
    drop(ev);
    assert_eq!(drops.count(), 1, "whoever still knows the loop");
    drop((handle, remote));
}

const NOW: Duration = Duration::ZERO;

/// What the first driver was told and has not acted upon is news to the second.
#[test]
fn a_second_notify_function_hears_of_what_is_ready() {
    let ((first, ring_first), (second, ring_second)) = (counter(), counter());
    let mut ev = EventLoop::on(&pool(1, 1)).notify(ring_first);
    ev.post(|_| ());
    assert_eq!(first.load(Ordering::SeqCst), 1);
    ev = ev.notify(ring_second);
    assert_eq!(second.load(Ordering::SeqCst), 1, "the post has not been run");
    ev.post(|_| ());
    assert_eq!(ev.turn(NOW).ran(), 2);
    ev.post(|_| ());
    assert_eq!((first.load(Ordering::SeqCst), second.load(Ordering::SeqCst)), (1, 2));
}
