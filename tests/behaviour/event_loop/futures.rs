//! `spawn_local` and `run_until`: futures on the loop's thread.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use sidestep::EventLoop;
use sidestep::event_loop::Handle;

use super::{Log, gated, run};
use crate::support::{Drops, check_sound, counter, pool};

#[test]
fn a_local_future_awaits_actions() {
    let pool = pool(2, 2);
    let (mut ev, log) = (EventLoop::on(&pool), Log::new());
    for number in 0..100 {
        let (pool, log) = (pool.clone(), log.clone());
        ev.spawn_local(async move {
            let twice = pool.spawn(move || number * 2).await.unwrap();
            log.add(pool.unblock(move || twice / 2).await);
        });
    }
    run(&mut ev);
    let mut ran = log.take();
    ran.sort_unstable();
    assert_eq!(ran, (0..100).collect::<Vec<_>>());
    check_sound(&pool);
}

/// Yields as often as `times` says.
async fn yield_now(times: u32) {
    for _ in 0..times {
        let mut is_first = true;
        poll_fn(|context| {
            if std::mem::take(&mut is_first) {
                // Twice is once.
                context.waker().wake_by_ref();
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }
}

#[test]
fn futures_that_wake_themselves_take_turns() {
    let (mut ev, log) = (EventLoop::on(&pool(1, 1)), Log::new());
    for name in ["a", "b"] {
        let log = log.clone();
        ev.spawn_local(async move {
            for _ in 0..3 {
                log.add(name);
                yield_now(1).await;
            }
        });
    }
    let turn = ev.turn(Duration::ZERO);
    assert_eq!((turn.ran(), turn.is_ready()), (2, true), "one poll each");
    run(&mut ev);
    assert_eq!(log.take(), ["a", "b", "a", "b", "a", "b"]);
    ev.spawn_local(yield_now(100_000));
    run(&mut ev);
}

#[test]
fn a_future_is_polled_on_the_thread_of_the_loop_whoever_wakes_it() {
    let (mut ev, log) = (EventLoop::on(&pool(1, 1)), Log::new());
    let (send, wakers) = channel::<Waker>();
    let inner = log.clone();
    let mut polls = 0;
    ev.spawn_local(poll_fn(move |context| {
        inner.add(thread::current().id());
        polls += 1;
        send.send(context.waker().clone()).unwrap();
        if polls == 20 { Poll::Ready(()) } else { Poll::Pending }
    }));
    let waking = thread::spawn(move || {
        for waker in &wakers {
            waker.wake_by_ref();
            waker.wake();
        }
    });
    run(&mut ev);
    waking.join().unwrap();
    let ran = log.take();
    assert_eq!(ran, vec![thread::current().id(); 20]);
}

#[test]
fn a_future_is_dropped_when_it_ends_and_a_late_wake_does_nothing() {
    let (mut ev, drops) = (EventLoop::on(&pool(1, 1)), Drops::new());
    let (token, (send, wakers)) = (drops.token(), channel::<Waker>());
    ev.spawn_local(poll_fn(move |context| {
        let _ = &token;
        send.send(context.waker().clone()).unwrap();
        Poll::Ready(())
    }));
    run(&mut ev);
    assert_eq!(drops.count(), 1);
    let waker = wakers.recv().unwrap();
    waker.wake_by_ref();
    assert_eq!(ev.turn(Duration::ZERO).ran(), 0);
    drop(ev);
    waker.wake();
}

#[test]
fn run_until_gives_the_output_of_a_future_that_borrows() {
    let pool = pool(1, 1);
    let (mut ev, text, count) = (EventLoop::on(&pool), String::from("text"), Cell::new(0));
    let length = ev.run_until(async {
        for _ in 0..100 {
            count.set(count.get() + pool.unblock(|| 1).await);
            yield_now(1).await;
        }
        text.len()
    });
    assert_eq!((length, count.get()), (4, 100));
    assert_eq!(ev.run_until(async { "at once" }), "at once");
    assert!(ev.turn(Duration::ZERO).is_done());
}

#[test]
fn run_until_leaves_the_rest_outstanding() {
    let ((pool, gate, task), log) = (gated(()), Log::new());
    let mut ev = EventLoop::on(&pool);
    ev.on_complete(task, log.note_end("action"));
    ev.after(Duration::from_millis(1), log.note("timer"));
    ev.post(log.note("post"));
    let inner = log.clone();
    ev.run_until(async {
        yield_now(1).await;
        inner.add("root");
    });
    assert_eq!(log.take(), ["post", "root"]);
    let turn = ev.turn(Duration::ZERO);
    assert!(!turn.is_done());
    gate.open();
    run(&mut ev);
    let mut rest = log.take();
    rest.sort_unstable();
    assert_eq!(rest, ["action", "timer"]);
}

/// The end of the future comes in the middle of a round: what is left of it keeps its place.
#[test]
fn run_until_stops_in_the_middle_of_a_round() {
    let (mut ev, log) = (EventLoop::on(&pool(1, 1)), Log::new());
    let handle = Handle::clone(&ev);
    let (before, after, inner) = (log.note("before"), log.note("after"), log.clone());
    ev.run_until(async move {
        handle.post(before);
        yield_now(1).await;
        inner.add("root");
        handle.post(after);
    });
    ev.post(log.note("last"));
    assert_eq!(log.take(), ["before", "root"]);
    assert_eq!(ev.turn(Duration::ZERO).ran(), 2);
    assert_eq!(log.take(), ["after", "last"]);
}

#[test]
fn run_until_is_woken_by_callbacks_and_by_other_threads() {
    let pool = pool(1, 1);
    let mut ev = EventLoop::on(&pool);
    let waiting = Rc::new(RefCell::new(None::<Waker>));
    let (is_called, wait) = (Rc::new(Cell::new(false)), Rc::clone(&waiting));
    let called = Rc::clone(&is_called);
    ev.offload(
        || (),
        move |_, _| {
            called.set(true);
            wait.borrow_mut().take().unwrap().wake();
        },
    );
    ev.run_until(poll_fn(|context| {
        *waiting.borrow_mut() = Some(context.waker().clone());
        if is_called.get() { Poll::Ready(()) } else { Poll::Pending }
    }));
    assert_eq!(ev.run_until(pool.spawn(|| 42)).unwrap(), 42);
}

const NOW: Duration = Duration::ZERO;

/// A future that wakes itself and is ready at once leaves nothing behind: no reason for a turn, and
/// no memory.
#[test]
fn a_root_that_wakes_itself_and_ends_leaves_nothing_ready() {
    let (rings, ring) = counter();
    let mut ev = EventLoop::on(&pool(1, 1)).notify(ring);
    let (open, gate) = futures_channel::oneshot::channel::<()>();
    ev.spawn_local(async { assert!(gate.await.is_err()) });
    let _ = ev.turn(NOW);
    rings.store(0, Ordering::SeqCst);
    let mut late: Option<Waker> = None;
    for number in 0..100 {
        let output = ev.run_until(poll_fn(|context| {
            context.waker().wake_by_ref();
            late = Some(context.waker().clone());
            Poll::Ready(number)
        }));
        assert_eq!(output, number);
    }
    late.into_iter().for_each(Waker::wake);
    assert_eq!(rings.load(Ordering::SeqCst), 0, "there is nothing to be done");
    assert!(!ev.turn(NOW).is_ready());
    drop(open);
    ev.run();
}
