//! Dropping the loop: everything outstanding is cancelled and dropped, once, on the loop's thread.

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use sidestep::EventLoop;
use sidestep::event_loop::Handle;

use super::{Log, conclude, gated};
use crate::support::{
    Drops, Gate, PanicOnDrop, check_sound, eventually, nothing_happens, occupy, pool, soon,
};

/// Says on which thread it is dropped.
struct Whereabouts(std::sync::Arc<std::sync::Mutex<Vec<ThreadId>>>);

impl Drop for Whereabouts {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(thread::current().id());
    }
}

#[test]
fn all_that_is_outstanding_is_dropped_unrun_on_this_thread() {
    let (pool, gate, task) = gated(());
    let (ev, dropped) = (EventLoop::on(&pool), std::sync::Arc::default());
    let token = || Whereabouts(std::sync::Arc::clone(&dropped));
    let remote = ev.remote();
    let (one, two, three, four, five, six, seven) =
        (token(), token(), token(), token(), token(), token(), token());
    ev.on_complete(task, move |_, _| drop(one));
    ev.offload(move || drop(two), move |_, _| drop(three));
    ev.post(move |_| drop(four));
    ev.after(Duration::MAX, move |_| drop(five));
    ev.spawn_local(async move {
        let _six = six;
        pending::<()>().await;
    });
    thread::spawn(move || remote.post(move |_| drop(seven)).is_ok()).join().unwrap();
    drop(ev);
    let dropped = std::mem::take(&mut *dropped.lock().unwrap());
    assert_eq!(dropped, [thread::current().id(); 7]);
    gate.open();
    conclude(&pool);
    assert_eq!(pool.metrics().tasks_cancelled(), 1, "the queued one");
    check_sound(&pool);
}

#[test]
fn a_running_action_is_told_and_its_late_end_disturbs_nobody() {
    let (pool, started, drops) = (pool(1, 1), Gate::new(), Drops::new());
    let ev = EventLoop::on(&pool);
    let (announce, token) = (started.clone(), drops.token());
    ev.offload(
        move || {
            announce.open();
            eventually("it is told", sidestep::current::is_cancelled);
            token
        },
        |_, _| unreachable!("the loop is gone"),
    );
    started.pass();
    drop(ev);
    conclude(&pool);
    assert_eq!(drops.count(), 1);
    check_sound(&pool);
}

#[test]
fn what_has_been_taken_out_to_be_run_is_dropped_too() {
    let (mut ev, drops) = (EventLoop::on(&pool(1, 1)), Drops::new());
    let remote = ev.remote();
    ev.post(|_| crate::support::quiet_panic("in the middle of a round"));
    let (one, two) = (drops.token(), drops.token());
    ev.post(move |_| drop(one));
    remote.post(move |_| drop(two)).unwrap();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ev.run())).is_err());
    assert_eq!(drops.count(), 0);
    drop(ev);
    assert_eq!(drops.count(), 2);
}

#[test]
fn destructors_that_panic_cost_no_other() {
    let (pool, drops) = (pool(1, 1), Drops::new());
    let ev = EventLoop::on(&pool).notify({
        let bomb = PanicOnDrop(drops.clone());
        move || {
            let _ = &bomb;
        }
    });
    let remote = ev.remote();
    for _ in 0..2 {
        let bombs: Vec<_> = (0..6).map(|_| PanicOnDrop(drops.clone())).collect();
        let [result, callback, post, timer, future, far] = bombs.try_into().ok().unwrap();
        ev.offload(move || result, move |_, _| drop(callback));
        ev.post(move |_| drop(post));
        ev.after(Duration::MAX, move |_| drop(timer));
        ev.spawn_local(async move {
            let _future = future;
            pending::<()>().await;
        });
        remote.post(move |_| drop(far)).unwrap();
    }
    conclude(&pool);
    drop(ev);
    assert_eq!(drops.count(), 13);
    check_sound(&pool);
}

/// Uses the loop when it is dropped, in every way.
struct LastWords(Handle, Drops);

impl Drop for LastWords {
    fn drop(&mut self) {
        let LastWords(handle, drops) = self;
        use_inert(handle, drops);
    }
}

/// Gives an inert handle something of everything.
fn use_inert(handle: &Handle, drops: &Drops) {
    assert!(handle.is_closed());
    let token = || drops.token();
    let (one, two, three, four, five) = (token(), token(), token(), token(), token());
    let before = drops.count();
    handle.post(move |_| drop(one));
    handle.offload(move || drop(two), move |_, _| drop(three)).cancel();
    handle.after(Duration::ZERO, move |_| drop(four)).cancel();
    handle.spawn_local(async move { drop(five) });
    assert_eq!(drops.count(), before + 5, "at once");
}

#[test]
fn a_destructor_finds_the_dying_loop_inert() {
    let (pool, drops) = (pool(1, 1), Drops::new());
    let ev = EventLoop::on(&pool);
    for _ in 0..3 {
        let (words, more) =
            (LastWords(Handle::clone(&ev), drops.clone()), LastWords(Handle::clone(&ev), drops.clone()));
        ev.post(move |_| drop(words));
        ev.spawn_local(async move {
            let _more = more;
            pending::<()>().await;
        });
    }
    drop(ev);
    assert_eq!((drops.count(), pool.metrics().tasks_submitted()), (30, 0), "no action has started");
}

#[test]
fn a_handle_that_outlives_the_loop_is_inert() {
    let (pool, drops, log) = (pool(1, 1), Drops::new(), Log::<()>::new());
    let ev = EventLoop::on(&pool);
    let handle = Handle::clone(&ev);
    let (timer, action) = (ev.after(Duration::MAX, log.note(())), ev.offload(|| (), log.note_end(())));
    assert!(!handle.is_closed() && !ev.is_closed());
    drop(ev);
    use_inert(&handle, &drops);
    timer.cancel();
    action.cancel();
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let token = drops.token();
    drop(handle.on_complete(pool.spawn(move || drop(token)), |_, _| ()));
    assert_eq!(drops.count(), 6, "a task that is given to it is cancelled");
    gate.open();
    soon(running).unwrap();
    assert_eq!(handle.pool().metrics().tasks_queued(), 0);
    nothing_happens();
    assert_eq!(log.take(), []);
}

#[test]
fn a_future_that_holds_a_handle_is_no_leak() {
    let (ev, drops) = (EventLoop::on(&pool(1, 1)), Drops::new());
    let (handle, token) = (Handle::clone(&ev), drops.token());
    ev.spawn_local(async move {
        let _token = token;
        pending::<()>().await;
        handle.post(|_| ());
    });
    let (circle, token) = (Handle::clone(&ev), drops.token());
    ev.after(Duration::MAX, move |_| drop((circle, token)));
    drop(ev);
    assert_eq!(drops.count(), 2);
}

/// A callback that owns the loop, dropped where the loop lets go of it.
#[test]
fn a_callback_may_own_another_loop() {
    let (mut ev, drops) = (EventLoop::on(&pool(1, 1)), Drops::new());
    let (inner, token) = (EventLoop::on(ev.pool()), drops.token());
    inner.after(Duration::MAX, move |_| drop(token));
    let owner = ev.after(Duration::MAX, move |_| drop(inner));
    owner.cancel();
    assert_eq!(drops.count(), 1);
    let (mut nested, ran) = (EventLoop::on(ev.pool()), Rc::new(RefCell::new(0)));
    let count = Rc::clone(&ran);
    ev.post(move |_| {
        nested.post(move |_| *count.borrow_mut() += 1);
        nested.run();
    });
    super::run(&mut ev);
    assert_eq!(*ran.borrow(), 1);
}
