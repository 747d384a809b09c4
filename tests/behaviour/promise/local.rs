//! Promises of an event loop: driven by it, on its thread, awaited or not.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sidestep::{EventLoop, LocalPromise, Promise, TaskError, event_loop::Handle};

use crate::support::{Drops, Gate, PanicOnDrop, Wakes, eventually, occupy, poll, pool, quiet_panic};

type Outcome<T> = Result<T, TaskError>;

/// A list, and what adds to it.
fn log<T: 'static>() -> (Rc<RefCell<Vec<T>>>, impl Fn(T) + Clone + 'static) {
    let list = Rc::new(RefCell::new(Vec::new()));
    let added = Rc::clone(&list);
    (list, move |item| added.borrow_mut().push(item))
}

#[test]
fn steps_run_on_the_loops_thread_though_nobody_awaits_them() {
    let mut ev = EventLoop::on(&pool(2, 2));
    let home = thread::current().id();
    let (seen, note) = log();
    let promise = ev
        .promise(|| Ok::<_, TaskError>(thread::current().id()))
        .map(move |elsewhere| note((elsewhere, thread::current().id())));
    assert!(seen.borrow().is_empty());
    ev.run();
    assert_eq!(seen.borrow().len(), 1);
    let (elsewhere, here) = seen.borrow()[0];
    assert!(elsewhere != home && here == home);
    assert_eq!(ev.run_until(promise).unwrap(), ());
}

#[test]
fn a_step_never_runs_inside_the_call_that_adds_it() {
    let mut ev = EventLoop::on(&pool(1, 1));
    let (seen, note) = log();
    let promise = LocalPromise::<_, TaskError>::resolve(&ev, 1);
    let late = note.clone();
    let promise = promise.map(move |n| {
        note(n);
        n + 1
    });
    assert!(seen.borrow().is_empty(), "though the value is there");
    ev.run();
    assert_eq!(*seen.borrow(), [1]);
    let promise = promise.map(late);
    assert_eq!(*seen.borrow(), [1], "though the promise is settled");
    ev.run();
    assert_eq!(*seen.borrow(), [1, 2]);
    drop(promise);
}

#[test]
fn it_is_outstanding_until_it_is_settled() {
    let mut ev = EventLoop::on(&pool(1, 1));
    let gate = Gate::new();
    let pass = gate.clone();
    let promise = ev.promise(move || {
        pass.pass();
        Ok::<_, TaskError>(7)
    });
    assert!(!ev.turn(Duration::ZERO).is_done());
    gate.open();
    ev.run();
    assert!(ev.turn(Duration::ZERO).is_done());
    assert_eq!(ev.run_until(promise).unwrap(), 7);
}

#[test]
fn values_and_steps_need_not_be_send() {
    let mut ev = EventLoop::on(&pool(1, 1));
    let shared = Rc::new(Cell::new(1));
    let theirs = Rc::clone(&shared);
    let promise = LocalPromise::<_, Rc<str>>::resolve(&ev, shared)
        .map_err(|text| -> TaskError { panic!("{text}") })
        .map(move |shared| {
            theirs.set(5);
            shared
        });
    assert_eq!(ev.run_until(promise).unwrap().get(), 5);
}

#[test]
fn then_takes_results_and_promises_of_either_kind_and_tasks() {
    let mut ev = EventLoop::on(&pool(2, 2));
    let (handle, pool) = (ev.clone(), ev.pool().clone());
    let again = pool.clone();
    let promise = ev
        .promise(|| Ok::<_, TaskError>(1))
        .then(|n| Ok(n + 1))
        .then(move |n| handle.promise(move || Ok(n * 10)))
        .then(move |n| pool.promise(move || Ok(n + 3)))
        .then(move |n| again.spawn(move || Outcome::Ok(n * 2)));
    assert_eq!(ev.run_until(promise).unwrap(), 46);
}

#[test]
fn catch_and_finally_see_errors_and_panics() {
    let mut ev = EventLoop::on(&pool(1, 1));
    let (seen, note) = log();
    let finally = note.clone();
    let promise = ev
        .promise(|| -> io::Result<u8> { Err(io::Error::other("no disk")) })
        .map(|_| unreachable!("an error passes by"))
        .finally(move || finally("finally".to_owned()))
        .catch(move |error| {
            note(error.to_string());
            Ok::<u8, TaskError>(9)
        });
    assert_eq!(ev.run_until(promise).unwrap(), 9);
    assert_eq!(*seen.borrow(), ["finally", "no disk"]);

    let panicked = ev.promise(|| -> Outcome<()> { quiet_panic("in the action") });
    assert!(ev.run_until(panicked).unwrap_err().is_panic());
    let promise = LocalPromise::<_, TaskError>::resolve(&ev, 1).map(|_| -> u8 { quiet_panic("in a step") });
    let error = ev.run_until(promise).unwrap_err();
    assert!(error.is_panic() && error.to_string().contains(file!()), "{error}");
}

#[test]
fn dropping_it_cancels_the_action_and_drops_the_steps() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let mut ev = EventLoop::on(&pool);
    let drops = Drops::new();
    let (op, step) = (drops.token(), drops.token());
    let promise = ev
        .promise(move || {
            drop(op);
            Ok::<_, TaskError>(())
        })
        .map(move |()| drop(step));
    drop(promise);
    assert_eq!(drops.count(), 2);
    ev.run();
    gate.open();
    busy.wait().unwrap();
}

#[test]
fn detach_leaves_it_to_the_loop() {
    let mut ev = EventLoop::on(&pool(1, 1));
    let (seen, note) = log();
    ev.promise(|| Ok::<_, TaskError>(3)).map(note).detach();
    ev.run();
    assert_eq!(*seen.borrow(), [3]);
    let drops = Drops::new();
    LocalPromise::<_, TaskError>::resolve(&ev, drops.token()).detach();
    LocalPromise::<(), _>::reject(&ev, drops.token()).detach();
    LocalPromise::<_, TaskError>::resolve(&ev, PanicOnDrop(drops.clone())).detach();
    ev.run();
    assert_eq!(drops.count(), 3, "values and errors that nobody sees");
}

#[test]
fn dropping_the_loop_drops_its_promises_and_awaiting_one_panics() {
    let mut ev = EventLoop::on(&pool(1, 1));
    let gate = Gate::new();
    let pass = gate.clone();
    let drops = Drops::new();
    let token = drops.token();
    let mut promise = ev
        .promise(move || {
            pass.pass();
            Ok::<_, TaskError>(())
        })
        .map(move |()| drop(token));
    let wakes = Wakes::new();
    assert!(poll(&mut promise, &Arc::clone(&wakes).into()).is_pending());
    let _ = ev.turn(Duration::ZERO);
    drop(ev);
    assert_eq!((drops.count(), wakes.count()), (1, 1));
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut promise, &wakes.into())));
    let message = polled.unwrap_err().downcast::<&str>().unwrap();
    assert!(message.contains("event loop"), "{message}");
    gate.open();
}

#[test]
fn a_promise_made_on_a_dropped_loop_is_inert() {
    let handle = EventLoop::on(&pool(1, 1)).clone();
    let drops = Drops::new();
    let token = drops.token();
    let promise = handle.promise(move || {
        drop(token);
        Ok::<_, TaskError>(())
    });
    eventually("it is dropped", || drops.count() == 1);
    promise.detach();
}

#[test]
fn a_step_may_drop_or_extend_its_own_promise() {
    let mut ev = EventLoop::on(&pool(1, 1));
    let place: Rc<RefCell<Option<LocalPromise<(), TaskError>>>> = Rc::default();
    let own = Rc::clone(&place);
    let drops = Drops::new();
    let token = drops.token();
    let promise = LocalPromise::resolve(&ev, ()).map(move |()| drop(own.take())).map(move |()| drop(token));
    place.replace(Some(promise));
    ev.run();
    assert_eq!(drops.count(), 1, "the rest went with it");

    let own = Rc::clone(&place);
    let (seen, note) = log();
    let promise = LocalPromise::resolve(&ev, ()).map(move |()| {
        if let Some(promise) = own.take() {
            own.replace(Some(promise.map(move |()| note("added"))));
        }
    });
    place.replace(Some(promise));
    ev.run();
    assert_eq!(*seen.borrow(), ["added"]);
}

#[test]
fn a_hundred_thousand_steps_use_no_stack() {
    let small = thread::Builder::new().stack_size(64 << 10).spawn(|| {
        let mut ev = EventLoop::on(&pool(1, 1));
        let mut promise = LocalPromise::<u32, TaskError>::resolve(&ev, 0);
        for step in 0..100_000 {
            promise = match step % 4 {
                0 => promise.map(|n| n + 1),
                1 => promise.then(|n| Ok(n + 1)),
                2 => promise.catch(Err),
                _ => promise.finally(|| ()),
            };
        }
        assert_eq!(ev.run_until(promise).unwrap(), 50_000);
        let mut dropped = LocalPromise::<u32, TaskError>::resolve(&ev, 0);
        for _ in 0..100_000 {
            dropped = dropped.map(|n| n + 1);
        }
        drop(dropped);
        ev.run();
    });
    small.unwrap().join().unwrap();
}

#[test]
fn recursion_by_then_uses_no_stack() {
    fn down(ev: &Handle, n: u32) -> LocalPromise<u32, TaskError> {
        let again = ev.clone();
        LocalPromise::resolve(ev, n).then(move |n| match n {
            0 => LocalPromise::resolve(&again, 0),
            n => down(&again, n - 1),
        })
    }
    let small = thread::Builder::new().stack_size(64 << 10).spawn(|| {
        let mut ev = EventLoop::on(&pool(1, 1));
        let promise = down(&ev, 200_000);
        assert_eq!(ev.run_until(promise).unwrap(), 0);
    });
    small.unwrap().join().unwrap();
}

#[test]
fn many_as_one() {
    let mut ev = EventLoop::on(&pool(4, 4));
    let numbers: Vec<_> = (0..50).map(|n| ev.promise(move || Outcome::Ok(n))).collect();
    let all = LocalPromise::all(&ev, numbers);
    assert_eq!(ev.run_until(all).unwrap(), (0..50).collect::<Vec<_>>());

    let gate = Gate::new();
    let pass = gate.clone();
    let slow = ev.promise(move || {
        pass.pass();
        Ok::<_, io::Error>(1)
    });
    let all = LocalPromise::all(&ev, [slow, LocalPromise::reject(&ev, io::Error::other("first"))]);
    assert_eq!(ev.run_until(all).unwrap_err().to_string(), "first", "without waiting for the other");
    gate.open();

    let mixed = [LocalPromise::reject(&ev, "a"), LocalPromise::resolve(&ev, 2)];
    let settled = LocalPromise::all_settled::<TaskError>(&ev, mixed);
    assert_eq!(ev.run_until(settled).unwrap(), [Err("a"), Ok(2)]);
    let none = [LocalPromise::<u8, _>::reject(&ev, "a"), LocalPromise::reject(&ev, "b")];
    let any = LocalPromise::any(&ev, none);
    assert_eq!(ev.run_until(any).unwrap_err(), ["a", "b"]);
    let first = [LocalPromise::<_, &str>::resolve(&ev, 1), LocalPromise::resolve(&ev, 2)];
    let race = LocalPromise::race(&ev, first);
    assert_eq!(ev.run_until(race), Ok(1));
}

#[test]
#[should_panic(expected = "a race of no promises would never end")]
fn a_race_of_none_panics() {
    let ev = EventLoop::on(&pool(1, 1));
    LocalPromise::<(), TaskError>::race(&ev, []).detach();
}

#[test]
fn it_can_be_awaited_in_a_local_future_and_in_a_foreign_executor() {
    let mut ev = EventLoop::on(&pool(1, 1));
    let (seen, note) = log();
    let handle = ev.clone();
    ev.spawn_local(async move { note(handle.promise(|| Ok::<_, TaskError>(4)).await.unwrap()) });
    ev.run();
    assert_eq!(*seen.borrow(), [4]);

    let mut promise = ev.promise(|| Ok::<_, TaskError>(5));
    let wakes = Wakes::new();
    assert!(poll(&mut promise, &Arc::clone(&wakes).into()).is_pending());
    ev.run();
    assert_eq!(wakes.count(), 1);
    assert!(poll(&mut promise, &wakes.into()).is_ready());
}

#[test]
fn a_promise_that_is_send_can_be_given_to_a_loop() {
    let mut ev = EventLoop::on(&pool(1, 1));
    let promise = Promise::<_, TaskError>::from_future(async { Ok(20) }).map(|n| n + 1);
    let (seen, note) = log();
    LocalPromise::from_future(&ev, promise).map(note).detach();
    ev.run();
    assert_eq!(*seen.borrow(), [21]);
}

#[test]
fn a_panic_of_the_conversion_comes_out_of_the_loop_and_the_loop_goes_on() {
    struct Strict;
    impl From<TaskError> for Strict {
        fn from(_: TaskError) -> Self {
            quiet_panic("no conversion")
        }
    }
    let mut ev = EventLoop::on(&pool(1, 1));
    let promise = LocalPromise::<(), Strict>::resolve(&ev, ()).map(|()| -> () { quiet_panic("a step") });
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ev.run()));
    assert_eq!(*ran.unwrap_err().downcast::<&str>().unwrap(), "no conversion");
    drop(promise);
    let next = ev.promise(|| Ok::<_, TaskError>(1));
    assert_eq!(ev.run_until(next).unwrap(), 1);
}
