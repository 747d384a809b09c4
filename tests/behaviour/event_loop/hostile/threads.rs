//! Attacks on the event loop with threads: those that end, and many at once.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use sidestep::event_loop::{Handle, Offload, Timer};
use sidestep::{EventLoop, Pool};

use super::{LOOP, NOW, tally};
use crate::support::{Drops, Gate, PATIENCE, check_sound, eventually, occupy, pool, soon};

/// Everything a loop can have, in the destructors of a thread's variables, the handles on either
/// side of the loop.
#[test]
fn a_loop_in_a_variable_of_a_thread_ends_with_it() {
    type Tokens = Vec<(Handle, Timer, Offload)>;
    thread_local! {
        static BEFORE: RefCell<Tokens> = const { RefCell::new(Vec::new()) };
        static AFTER: RefCell<Tokens> = const { RefCell::new(Vec::new()) };
    }
    let pool = pool(1, 1);
    let (gate, drops) = (Gate::new(), Drops::new());
    let running = occupy(&pool, &gate);
    let (inner_pool, inner) = (pool.clone(), drops.clone());
    let life = move || {
        BEFORE.with_borrow_mut(Tokens::clear);
        let ev = EventLoop::on(&inner_pool);
        let give = || {
            let (one, two, three, four) = (inner.token(), inner.token(), inner.token(), inner.token());
            let handle = Handle::clone(&ev);
            ev.spawn_local(async move {
                pending::<()>().await;
                drop((handle, four));
            });
            let timer = ev.after(Duration::MAX, move |_| drop(one));
            (Handle::clone(&ev), timer, ev.offload(move || drop(two), move |_, _| drop(three)))
        };
        let (first, second) = (give(), give());
        BEFORE.with_borrow_mut(|tokens| tokens.push(first));
        LOOP.set(Some(ev));
        AFTER.with_borrow_mut(|tokens| tokens.push(second));
    };
    thread::spawn(life.clone()).join().unwrap();
    assert_eq!(drops.count(), 8);
    gate.open();
    soon(running).unwrap();
    // And on a thread of the pool, which ends for the purpose.
    soon(pool.spawn(move || {
        life();
        sidestep::current::retire_thread();
    }))
    .unwrap();
    eventually("the thread has ended", || drops.count() == 16);
    check_sound(&pool);
}

/// The last thing that a thread does is to run a loop, with all that it can do.
#[test]
fn a_destructor_of_a_variable_of_a_thread_may_run_a_loop() {
    struct LastRun(Pool, std::sync::mpsc::Sender<i32>);
    impl Drop for LastRun {
        fn drop(&mut self) {
            let LastRun(pool, answers) = self;
            let mut ev = EventLoop::on(pool);
            let (remote, answer, local) = (ev.remote(), answers.clone(), answers.clone());
            ev.offload(move || drop(remote.post(move |_| answer.send(1).unwrap())), |_, end| end.unwrap());
            let inner = pool.clone();
            ev.spawn_local(async move { local.send(inner.spawn(|| 10).await.unwrap()).unwrap() });
            let timed = answers.clone();
            ev.after(Duration::from_millis(1), move |_| timed.send(100).unwrap());
            ev.run();
            answers.send(ev.run_until(pool.spawn(|| 1000)).unwrap()).unwrap();
        }
    }
    thread_local!(static LAST: RefCell<Option<LastRun>> = const { RefCell::new(None) });
    let pool = pool(1, 2);
    let ((answers, all), inner) = (channel(), pool.clone());
    let again = answers.clone();
    thread::spawn(move || LAST.set(Some(LastRun(inner, answers)))).join().unwrap();
    assert_eq!(all.try_iter().sum::<i32>(), 1111);
    let inner = pool.clone();
    pool.spawn(move || {
        LAST.set(Some(LastRun(inner, again)));
        sidestep::current::retire_thread();
    })
    .detach();
    assert_eq!(all.iter().sum::<i32>(), 1111);
    check_sound(&pool);
}

/// The pool drains while the loop that waits for one of its queued tasks sleeps on its only worker.
#[test]
fn a_loop_inside_of_a_task_outlives_the_admission_of_its_pool() {
    let pool = pool(1, 2);
    let (inner, offloaded, closing) = (pool.clone(), Gate::new(), Gate::new());
    let (announce, closed) = (offloaded.clone(), closing.clone());
    let task = pool.spawn(move || {
        let (mut ev, (calls, call)) = (EventLoop::on(&inner), tally());
        ev.offload(|| 42, move |_, end| (0..end.unwrap()).for_each(|_| call()));
        announce.open();
        closed.pass();
        let refused = call_refused(&ev);
        ev.run();
        (calls.get(), refused.get())
    });
    offloaded.pass();
    let shutdown = pool.shutdown();
    closing.open();
    assert_eq!(soon(task).unwrap(), (42, true));
    assert_eq!(shutdown.wait().still_running, 0);
}

/// Whether an action has been refused, once its callback has been called.
fn call_refused(ev: &Handle) -> Rc<Cell<bool>> {
    let refused = Rc::<Cell<bool>>::default();
    let seen = Rc::clone(&refused);
    ev.offload(|| (), move |_, end| seen.set(end.is_err_and(|error| error.is_shutdown())));
    refused
}

/// Workers complete and post, every third action is cancelled; the driver turns only when it is
/// told. Nothing is lost, and the driver is told no more often than it turns.
#[test]
fn a_driver_on_its_own_bell_under_fire() {
    const EACH: usize = 200;
    let (pool, rings) = (pool(2, 2), Arc::new(AtomicUsize::new(0)));
    let ((bell, rung), counted) = (channel(), Arc::clone(&rings));
    let mut ev = EventLoop::on(&pool).notify(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let _ = bell.send(());
    });
    let (calls, call) = tally();
    for number in 0..EACH {
        let (done, far, near) = (call.clone(), ev.remote(), ev.remote());
        let action = ev.offload(move || far.post(|_| ()).is_ok(), move |_, _| done());
        if number % 3 == 0 {
            action.cancel();
        }
        pool.spawn(move || near.post(|_| ()).is_ok()).detach();
    }
    let mut turns = 0;
    loop {
        rung.recv_timeout(PATIENCE).unwrap();
        turns += 1;
        if ev.turn(NOW).is_done() && calls.get() == u32::try_from(EACH).unwrap() {
            break;
        }
        assert!(rings.load(Ordering::SeqCst) <= turns + 1, "one ring for each turn");
    }
    check_sound(&pool);
}
