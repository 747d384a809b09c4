//! In the child of a fork the loop goes on: its actions say that there is no thread, and nothing
//! hangs.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sidestep::EventLoop;

use super::{Log, gated, run};
use crate::support::fork::in_child;
use crate::support::pool;

#[test]
fn in_the_child_every_action_says_that_there_is_no_thread() {
    let (pool, gate, task) = gated(42);
    let (mut ev, log) = (EventLoop::on(&pool), Log::new());
    let inner = log.clone();
    ev.on_complete(task, move |_, end| inner.add(end.err().is_some_and(|error| error.is_no_thread())));
    for _ in 0..3 {
        let inner = log.clone();
        ev.offload(|| 42, move |_, end| inner.add(end.err().is_some_and(|error| error.is_no_thread())));
    }
    let remote = ev.remote();
    let status = in_child(|list| {
        ev.run();
        list.check(log.take() == [true; 4]);
        list.check(remote.post(|_| ()).is_err());
        let inner = log.clone();
        ev.offload(|| 43, move |_, end| inner.add(end.err().is_some_and(|error| error.is_no_thread())));
        let fresh = ev.remote();
        ev.after(Duration::from_millis(1), move |_| drop(fresh.post(|ev| ev.spawn_local(async {}))));
        ev.run();
        list.check(log.take() == [true]);
        list.check(ev.turn(Duration::ZERO).is_done());
        drop(ev);
    });
    assert_eq!(status, 0);
    gate.open();
}

#[test]
fn posts_timers_and_futures_go_on_in_the_child() {
    let pool = pool(1, 1);
    let (mut ev, log) = (EventLoop::on(&pool), Log::new());
    ev.post(log.note(1));
    ev.after(Duration::from_millis(20), log.note(4));
    ev.post(log.note(2));
    let (inner, inner_pool) = (log.clone(), pool.clone());
    ev.spawn_local(async move {
        let end = inner_pool.spawn(|| ()).await;
        inner.add(if end.is_err_and(|error| error.is_no_thread()) { 3 } else { 30 });
    });
    let status = in_child(|list| {
        ev.run();
        list.check(log.take() == [1, 2, 3, 4]);
    });
    assert_eq!(status, 0);
    run(&mut ev);
    let mut ran = log.take();
    ran.sort_unstable();
    assert_eq!(ran, [1, 2, 4, 30], "nothing has changed for the parent");
}

#[test]
fn a_callback_may_fork() {
    let (pool, gate, task) = gated(());
    let (mut ev, log) = (EventLoop::on(&pool), Log::new());
    ev.on_complete(task, log.note_end("action"));
    let (status, is_child, inner) = (Rc::new(Cell::new(-1)), Rc::new(Cell::new(false)), log.clone());
    let (told, known, go) = (Rc::clone(&status), Rc::clone(&is_child), gate.clone());
    ev.post(move |ev| {
        // SAFETY: the child runs this crate's code, and leaves by `_exit` below.
        let pid = unsafe { libc::fork() };
        known.set(pid == 0);
        ev.post(inner.note("posted"));
        if pid != 0 {
            let mut status = 0;
            go.open();
            // SAFETY: the child is this thread's own.
            unsafe { libc::waitpid(pid, &raw mut status, 0) };
            told.set(status);
        }
    });
    ev.post(log.note("round"));
    // The child goes on in the midst of this.
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        ev.run();
        let mut ran = log.take();
        ran.sort_unstable();
        ran == ["action", "posted", "round"]
    }));
    if is_child.get() {
        // SAFETY: it ends the child at once.
        unsafe { libc::_exit(i32::from(!ended.unwrap_or(false))) };
    }
    assert_eq!((ended.unwrap_or(false), status.get()), (true, 0));
}

#[test]
fn a_lock_that_another_thread_held_hangs_nobody() {
    let stop = Arc::new(AtomicBool::new(false));
    let pool = pool(2, 2);
    for _ in 0..30 {
        let (ev, count) = (EventLoop::on(&pool), Rc::new(Cell::new(0)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (remote, stop) = (ev.remote(), Arc::clone(&stop));
                thread::spawn(move || while !stop.load(Ordering::SeqCst) && remote.post(|_| ()).is_ok() {})
            })
            .collect();
        for _ in 0..10 {
            let count = Rc::clone(&count);
            ev.offload(|| (), move |_, _| count.set(count.get() + 1));
        }
        let remote = ev.remote();
        let mut ev = Some(ev);
        let status = in_child(|list| {
            let mut ev = ev.take().unwrap();
            list.check(remote.post(|_| ()).is_err());
            ev.run();
            list.check(count.get() == 10);
            drop(ev);
            list.check(true);
        });
        assert_eq!(status, 0);
        drop(ev);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
    stop.store(true, Ordering::SeqCst);
    run(&mut EventLoop::on(&pool));
}

#[test]
fn a_channel_ends_in_the_child_and_goes_on_in_the_parent() {
    let (mut ev, log) = (EventLoop::on(&pool(1, 1)), Log::new());
    let inner = log.clone();
    let sender = ev.channel(move |_, number| inner.add(number));
    sender.send(1).unwrap();
    let status = in_child(|list| {
        list.check(sender.is_closed() && sender.send(2).is_err());
        drop(sender.clone());
        ev.run();
        list.check(log.take().is_empty());
        let inner = log.clone();
        let fresh = ev.channel(move |_, number| inner.add(number));
        list.check(fresh.send(3).is_ok());
        drop(fresh);
        ev.run();
        list.check(log.take() == [3]);
    });
    assert_eq!(status, 0);
    sender.send(4).unwrap();
    drop(sender);
    run(&mut ev);
    assert_eq!(log.take(), [1, 4]);
}
