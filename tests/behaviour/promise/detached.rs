//! Promises that nobody awaits.

use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::thread;

use sidestep::{Pool, Promise, TaskError};

use crate::promise::send::deferred;
use crate::support::{
    Drops, Gate, PATIENCE, counter, eventually, nothing_happens, occupy, pool, quiet_panic,
};

type Plain<T> = Promise<T, TaskError>;

#[test]
fn runs_to_its_end_on_the_pool_it_is_from() {
    let pool = Pool::builder().name("home").core_threads(1).max_threads(1).build().unwrap();
    let ((sender, receiver), gate) = (channel(), Gate::new());
    let (pass, inner) = (gate.clone(), pool.clone());
    let promise: Plain<i32> = pool.promise(move || {
        pass.pass();
        Ok(1)
    });
    promise
        .then(move |n| inner.promise(move || Ok(n + 1)))
        .map(move |n| sender.send((n, thread::current().name().map(str::to_owned))).unwrap())
        .detach();
    gate.open();
    let (n, name) = receiver.recv_timeout(PATIENCE).unwrap();
    assert_eq!(n, 2);
    assert!(name.unwrap().starts_with("home"));
}

#[test]
fn never_runs_a_step_inside_the_call_that_detaches() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let (sender, receiver) = channel();
    let quick: Plain<i32> =
        Promise::all([Plain::resolve(1), pool.promise(|| Ok(2))]).map(|all| all.len() as i32);
    quick.map(move |n| sender.send((n, thread::current().id())).unwrap()).detach();
    nothing_happens();
    assert!(receiver.try_recv().is_err(), "the pool's only thread is busy");
    gate.open();
    let (n, ran_on) = receiver.recv_timeout(PATIENCE).unwrap();
    assert!(n == 2 && ran_on != thread::current().id());
    busy.wait().unwrap();
}

#[test]
fn one_that_is_from_no_pool_runs_on_the_global_one() {
    let (sender, receiver) = channel();
    Plain::resolve(1).map(move |n| sender.send((n, thread::current().id())).unwrap()).detach();
    let (n, ran_on) = receiver.recv_timeout(PATIENCE).unwrap();
    assert!(n == 1 && ran_on != thread::current().id());
}

/// A future that is settled from outside, as a promise that has the given pool for its home.
fn at_home<T: Send + 'static>(
    pool: &Pool,
) -> (futures_channel::oneshot::Sender<Result<T, TaskError>>, Plain<T>) {
    let (sender, later) = deferred();
    let start: Plain<()> = pool.promise(|| Ok(()));
    (sender, start.then(move |()| later))
}

#[test]
fn holds_no_thread_while_it_waits() {
    let pool = pool(1, 1);
    let (settle, promise) = at_home::<i32>(&pool);
    let (sender, receiver) = channel();
    promise.map(move |n| sender.send(n).unwrap()).detach();
    eventually("it waits", || pool.metrics().tasks_running() + pool.metrics().tasks_queued() == 0);
    pool.spawn(|| ()).wait().unwrap();
    settle.send(Ok(7)).unwrap();
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(7));
}

#[test]
fn each_wake_makes_one_poll() {
    let pool = pool(1, 1);
    let (polls, polled) = counter();
    let polls = move || polls.load(std::sync::atomic::Ordering::SeqCst);
    let (wakers, receiver) = channel::<Waker>();
    let ready = Gate::new();
    let is_ready = ready.clone();
    let future = std::future::poll_fn(move |context| {
        let ends = is_ready.is_open();
        polled();
        wakers.send(context.waker().clone()).unwrap();
        if ends { Poll::Ready(Ok(())) } else { Poll::Pending }
    });
    let start: Plain<()> = pool.promise(|| Ok(()));
    start.then(move |()| Plain::from_future(future)).detach();
    let waker = receiver.recv_timeout(PATIENCE).unwrap();
    eventually("it waits", || pool.metrics().tasks_running() == 0);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    (0..10).for_each(|_| waker.wake_by_ref());
    assert_eq!(pool.metrics().tasks_queued(), 1, "one round for ten wakes");
    gate.open();
    busy.wait().unwrap();
    drop(receiver.recv_timeout(PATIENCE).unwrap());
    assert_eq!(polls(), 2);
    ready.open();
    waker.wake();
    receiver.recv_timeout(PATIENCE).unwrap();
    eventually("it ends", || polls() == 3);
}

#[test]
fn a_promise_that_wakes_itself_lets_others_run() {
    let pool = pool(1, 1);
    let stop = Gate::new();
    let stopped = stop.clone();
    let spinning = std::future::poll_fn(move |context| {
        context.waker().wake_by_ref();
        if stopped.is_open() { Poll::Ready(Ok(())) } else { Poll::Pending }
    });
    let (sender, receiver) = channel();
    let start: Plain<()> = pool.promise(|| Ok(()));
    start.then(move |()| Plain::from_future(spinning)).map(move |()| sender.send(()).unwrap()).detach();
    for _ in 0..10 {
        crate::support::soon(pool.spawn(|| ())).unwrap();
    }
    stop.open();
    receiver.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn keeps_its_pool_until_it_ends() {
    let pool = pool(1, 1);
    let (settle, promise) = at_home::<i32>(&pool);
    let (sender, receiver) = channel();
    promise.map(move |n| sender.send(n).unwrap()).detach();
    drop(pool);
    settle.send(Ok(7)).unwrap();
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(7));
}

#[test]
fn a_pool_that_is_shut_down_drops_it() {
    let pool = pool(1, 1);
    let drops = Drops::new();
    let token = drops.token();
    let (settle, promise) = at_home::<()>(&pool);
    promise.map(move |()| drop(token)).finally(|| unreachable!("nobody polls it")).detach();
    eventually("it waits", || pool.metrics().tasks_running() + pool.metrics().tasks_queued() == 0);
    pool.shutdown().wait();
    assert_eq!(drops.count(), 0);
    settle.send(Ok(())).unwrap();
    assert_eq!(drops.count(), 1, "dropped by the waker, since the pool refuses");
}

#[test]
fn a_discarded_round_drops_it_and_cancels_what_it_waits_for() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let drops = Drops::new();
    let (first, second) = (drops.token(), drops.token());
    let promise: Plain<()> = pool.promise(move || {
        drop(first);
        Ok(())
    });
    promise.map(move |()| drop(second)).detach();
    let end = pool.shutdown().discard_queued();
    assert_eq!(drops.count(), 2);
    gate.open();
    busy.wait().unwrap();
    let _ = end.wait();
}

#[test]
fn what_can_never_be_settled_is_dropped() {
    let pool = pool(1, 1);
    let drops = Drops::new();
    let token = drops.token();
    let start: Plain<()> = pool.promise(|| Ok(()));
    start
        .then(|()| Plain::from_future(std::future::pending::<Result<(), _>>()))
        .map(move |()| drop(token))
        .detach();
    eventually("its last waker has gone", || drops.count() == 1);
}

#[test]
fn a_panic_in_a_detached_promise_harms_nobody() {
    let pool = pool(1, 1);
    let promise: Plain<()> = pool.promise(|| quiet_panic("the action"));
    promise.finally(|| quiet_panic("the end")).detach();
    crate::support::check_sound(&pool);
}

#[test]
fn wakes_from_many_threads_lose_nothing() {
    let pool = pool(2, 2);
    let ((sender, receiver), rounds) = (channel(), 200);
    for _ in 0..rounds {
        let (settle, promises): (Vec<_>, Vec<_>) = (0..4).map(|_| deferred::<u32, TaskError>()).unzip();
        let start: Plain<()> = pool.promise(|| Ok(()));
        let sender = sender.clone();
        start.then(|()| Promise::all(promises)).map(move |all| sender.send(all.len()).unwrap()).detach();
        thread::scope(|scope| {
            for settle in settle {
                scope.spawn(|| settle.send(Ok(1)).unwrap());
            }
        });
    }
    for _ in 0..rounds {
        assert_eq!(receiver.recv_timeout(PATIENCE), Ok(4));
    }
}
