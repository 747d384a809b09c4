//! `Remote`: closures from other threads.

use std::cell::Cell;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use sidestep::EventLoop;

use super::{Log, run};
use crate::support::{Drops, Gate, PATIENCE, pool};

thread_local! { static SUM: Cell<u64> = const { Cell::new(0) } }

#[test]
fn many_threads_post_exactly_what_they_post() {
    let mut ev = EventLoop::on(&pool(1, 1));
    let threads: Vec<_> = (0..8_u64)
        .map(|thread| {
            let remote = ev.remote();
            thread::spawn(move || {
                for number in 0..2000 {
                    remote.clone().post(move |_| SUM.set(SUM.get() + thread * 10_000 + number)).unwrap();
                }
            })
        })
        .collect();
    let mut ran = 0;
    while ran < 16_000 {
        ran += ev.turn(PATIENCE).ran();
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let each = 1999 * 2000 / 2;
    assert_eq!((ran, SUM.take()), (16_000, (0..8).map(|thread| thread * 10_000 * 2000 + each).sum()));
    assert!(ev.turn(Duration::ZERO).is_done());
}

#[test]
fn each_thread_keeps_its_order() {
    let mut ev = EventLoop::on(&pool(1, 1));
    let (send, seen) = channel();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let (remote, send) = (ev.remote(), send.clone());
            thread::spawn(move || {
                for number in 0..500 {
                    let send = send.clone();
                    remote.post(move |_| send.send((thread, number)).unwrap()).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    drop(send);
    run(&mut ev);
    let seen: Vec<(i32, i32)> = seen.iter().collect();
    for thread in 0..4 {
        let numbers: Vec<i32> =
            seen.iter().filter(|(who, _)| *who == thread).map(|(_, number)| *number).collect();
        assert_eq!(numbers, (0..500).collect::<Vec<_>>());
    }
}

#[test]
fn a_remote_does_not_keep_run_alive_but_what_it_posted_does() {
    let (mut ev, log) = (EventLoop::on(&pool(1, 1)), Log::new());
    let remote = ev.remote();
    run(&mut ev);
    // What is posted between two runs waits for the next.
    remote.post(|_| SUM.set(SUM.get() + 1)).unwrap();
    assert_eq!(SUM.get(), 0);
    run(&mut ev);
    assert_eq!(SUM.get(), 1);
    remote.post(|ev| ev.post(|_| SUM.set(SUM.get() + 1))).unwrap();
    ev.post(log.note(()));
    run(&mut ev);
    assert_eq!((SUM.take(), log.take().len()), (2, 1));
}

#[test]
fn a_posted_closure_may_use_the_loop() {
    let (mut ev, gate) = (EventLoop::on(&pool(1, 1)), Gate::new());
    let (remote, announce) = (ev.remote(), gate.clone());
    let task = thread::spawn(move || {
        let (send, answer) = channel();
        let ask = move |ev: &sidestep::event_loop::Handle| {
            ev.offload(|| 6 * 7, move |_, result| send.send(result.unwrap()).unwrap());
        };
        remote.post(ask).unwrap();
        announce.open();
        answer.recv_timeout(PATIENCE).unwrap()
    });
    gate.pass();
    run(&mut ev);
    assert_eq!(task.join().unwrap(), 42);
}

#[test]
fn the_closure_comes_back_where_the_loop_is_gone() {
    let (ev, drops) = (EventLoop::on(&pool(1, 1)), Drops::new());
    let (remote, early, late) = (ev.remote(), drops.token(), drops.token());
    remote.post(move |_| drop(early)).unwrap();
    let handle = sidestep::event_loop::Handle::clone(&ev);
    drop(ev);
    assert_eq!(drops.count(), 1, "it was in the line");
    let closed = remote.post(move |_| drop(late)).unwrap_err();
    assert_eq!((drops.count(), closed.to_string()), (1, "the event loop is gone".to_owned()));
    closed.into_inner()(&handle);
    assert_eq!(drops.count(), 2);
    assert!(handle.remote().post(|_| ()).is_err(), "that of an inert handle is no better");
}

#[test]
fn posts_against_the_end_of_the_loop_lose_nothing() {
    for _ in 0..200 {
        let (ev, drops, kept) = (EventLoop::on(&pool(1, 1)), Drops::new(), Drops::new());
        let (remote, inner, back) = (ev.remote(), drops.clone(), kept.clone());
        let posting = thread::spawn(move || {
            for _ in 0..50 {
                let token = inner.token();
                if let Err(closed) = remote.post(move |_| drop(token)) {
                    drop((closed, back.token()));
                }
            }
        });
        drop(ev);
        posting.join().unwrap();
        assert_eq!(drops.count(), 50);
        assert!(kept.count() <= 50);
    }
}
