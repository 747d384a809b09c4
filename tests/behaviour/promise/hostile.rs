//! Promises in the hands of odd users, most of all those of an event loop: destructors and wakers
//! that panic, promises that end in themselves, recursion without end, waits on a full pool.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use sidestep::{EventLoop, LocalPromise, Pool, Promise, TaskError, event_loop::Handle};

use crate::support::{Drops, Gate, PanicOnDrop, Wakes, check_sound, occupy, poll, pool, quiet_panic, soon};

type Local<T> = LocalPromise<T, TaskError>;
/// Where a promise lies that its own steps can get at.
type Place<T> = Rc<RefCell<Option<Local<T>>>>;

/// A loop that needs no pool.
fn a_loop() -> EventLoop {
    EventLoop::on(&pool(1, 1))
}

#[test]
fn dropping_a_settled_local_promise_drops_a_bomb_without_harm() {
    let ev = a_loop();
    let drops = Drops::new();
    drop(Local::resolve(&ev, PanicOnDrop(drops.clone())));
    drop(LocalPromise::<(), _>::reject(&ev, PanicOnDrop(drops.clone())));
    assert_eq!(drops.count(), 2);
}

#[test]
fn a_step_that_drops_its_promise_may_give_a_bomb_or_have_added_some() {
    let mut ev = a_loop();
    let drops = Drops::new();
    let place: Place<PanicOnDrop> = Place::default();
    let (own, bomb) = (Rc::clone(&place), PanicOnDrop(drops.clone()));
    let promise = Local::resolve(&ev, ()).map(move |()| {
        drop(own.take());
        bomb
    });
    place.replace(Some(promise));
    ev.run();
    assert_eq!(drops.count(), 1, "the value that nobody sees");

    let place: Place<()> = Place::default();
    let own = Rc::clone(&place);
    let bombs = [(); 2].map(|()| PanicOnDrop(drops.clone()));
    let promise = Local::resolve(&ev, ()).map(move |()| {
        let mut promise = own.take().unwrap();
        for bomb in bombs {
            promise = promise.map(move |()| drop(bomb));
        }
        drop(promise);
    });
    place.replace(Some(promise));
    ev.run();
    assert_eq!(drops.count(), 3, "the steps that nobody calls");
}

#[test]
fn a_step_added_to_a_lost_promise_is_dropped_without_harm() {
    let ev = a_loop();
    let promise = Local::resolve(&ev, ()).map(|()| ());
    drop(ev);
    let drops = Drops::new();
    let bomb = PanicOnDrop(drops.clone());
    promise.map(move |()| drop(bomb)).detach();
    assert_eq!(drops.count(), 1);
}

/// A waker that panics.
struct Spiteful;

impl Wake for Spiteful {
    fn wake(self: Arc<Self>) {
        quiet_panic("a waker")
    }
}

#[test]
fn a_waker_that_panics_does_not_come_out_of_the_loop() {
    let mut ev = a_loop();
    let mut promise = Local::resolve(&ev, 1).map(|n| n + 1);
    assert!(poll(&mut promise, &Waker::from(Arc::new(Spiteful))).is_pending());
    ev.run();
    assert!(matches!(poll(&mut promise, Waker::noop()), Poll::Ready(Ok(2))));
}

/// An error that cannot be made of a task's.
#[derive(Debug)]
struct Strict;

impl From<TaskError> for Strict {
    fn from(_: TaskError) -> Self {
        quiet_panic("no conversion")
    }
}

#[test]
fn whoever_awaits_a_promise_that_a_panic_has_ended_is_woken_and_told_so() {
    let mut ev = a_loop();
    let drops = Drops::new();
    let place: Rc<RefCell<Option<LocalPromise<(), Strict>>>> = Rc::default();
    let (own, bomb) = (Rc::clone(&place), PanicOnDrop(drops.clone()));
    let promise = LocalPromise::<(), Strict>::resolve(&ev, ()).map(move |()| -> () {
        let promise = own.take().unwrap().map(move |()| drop(bomb));
        own.replace(Some(promise));
        quiet_panic("a step")
    });
    place.replace(Some(promise));
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(poll(place.borrow_mut().as_mut().unwrap(), &waker).is_pending());
    let ran = catch_unwind(AssertUnwindSafe(|| ev.run()));
    assert_eq!(*ran.unwrap_err().downcast::<&str>().unwrap(), "no conversion");
    assert_eq!((wakes.count(), drops.count()), (1, 1));
    let mut promise = place.take().unwrap();
    let polled = catch_unwind(AssertUnwindSafe(|| poll(&mut promise, &waker)));
    let message = polled.unwrap_err().downcast::<&str>().unwrap();
    assert!(message.contains("panic"), "the loop is alive: {message}");
}

/// Promises/A+ 2.3.1.
#[test]
fn a_local_promise_that_a_step_resolves_with_itself_is_rejected() {
    let mut ev = a_loop();
    let place: Place<u8> = Place::default();
    let own = Rc::clone(&place);
    let seen = Rc::new(Cell::new(false));
    let noted = Rc::clone(&seen);
    let promise = Local::resolve(&ev, 1).then(move |_| own.take().unwrap()).catch(move |error| {
        noted.set(error.is_deadlock());
        Err::<u8, TaskError>(error)
    });
    place.replace(Some(promise));
    ev.run();
    assert!(seen.get());

    let own = Rc::clone(&place);
    let drops = Drops::new();
    let bomb = PanicOnDrop(drops.clone());
    let promise = Local::resolve(&ev, 1).then(move |_| own.take().unwrap().map(move |_| (drop(bomb), 1).1));
    place.replace(Some(promise));
    ev.run();
    assert_eq!(drops.count(), 1, "also with steps that it has added");
}

#[test]
fn a_promise_of_another_loop_is_awaited_though_that_is_polling_it() {
    let (mut outer, inner) = (a_loop(), RefCell::new(a_loop()));
    let place: Place<u8> = Place::default();
    let own = Rc::clone(&place);
    let waits: Rc<RefCell<Option<Local<u8>>>> = Rc::default();
    let kept = Rc::clone(&waits);
    let inner = Rc::new(inner);
    let nested = Rc::clone(&inner);
    let promise = Local::resolve(&outer, 1).map(move |n| {
        let mut inner = nested.borrow_mut();
        let of_inner = Local::resolve(&inner, ()).then(move |()| own.take().unwrap());
        let _ = inner.turn(Duration::ZERO);
        kept.replace(Some(of_inner));
        n + 1
    });
    place.replace(Some(promise));
    outer.run();
    let promise = waits.take().unwrap();
    assert_eq!(inner.borrow_mut().run_until(promise).unwrap(), 2);
}

/// A recursion whose steps are all settled, until `over` or `left` is spent.
fn recurse(ev: &Handle, over: Rc<Cell<bool>>, left: u32) -> Local<u32> {
    let again = ev.clone();
    LocalPromise::resolve(ev, left).then(move |left| match left {
        0 => Local::resolve(&again, 0),
        left if over.get() => Local::resolve(&again, left),
        left => recurse(&again, over, left - 1),
    })
}

#[test]
fn recursion_without_end_lets_the_other_callbacks_run() {
    let mut ev = a_loop();
    let over = Rc::new(Cell::new(false));
    let promise = recurse(&ev, Rc::clone(&over), 100_000);
    ev.post(move |_| over.set(true));
    assert!(ev.run_until(promise).unwrap() > 0);
}

#[test]
fn a_promise_that_extends_itself_without_end_lets_the_other_callbacks_run() {
    fn extend(place: &Place<u32>, over: Rc<Cell<bool>>) {
        let Some(promise) = place.take() else { return };
        let again = Rc::clone(place);
        let longer = promise.map(move |n| {
            if n < 100_000 && !over.get() {
                extend(&again, over);
            }
            n + 1
        });
        place.replace(Some(longer));
    }
    let mut ev = a_loop();
    let (place, over) = (Place::default(), Rc::new(Cell::new(false)));
    place.replace(Some(Local::resolve(&ev, 0)));
    extend(&place, Rc::clone(&over));
    ev.post(move |_| over.set(true));
    ev.run();
    let promise = place.take().unwrap();
    assert!(ev.run_until(promise).unwrap() < 100_000);
}

#[test]
fn recursion_leaves_nothing_in_the_loop() {
    let mut ev = a_loop();
    let most = Rc::new(Cell::new(0));
    let (handle, seen) = (ev.clone(), Rc::clone(&most));
    let promise = recurse(&ev, Rc::default(), 20_000).map(move |_| {
        let text = format!("{handle:?}");
        let count: String = text.chars().filter(char::is_ascii_digit).collect();
        seen.set(count.parse::<usize>().unwrap());
    });
    ev.run_until(promise).unwrap();
    assert!((1..1000).contains(&most.get()), "{} outstanding", most.get());
}

#[test]
fn promises_in_the_values_of_promises_take_no_stack_when_they_go() {
    struct Nested {
        _inner: Option<Local<Nested>>,
    }
    let small = thread::Builder::new().stack_size(512 << 10).spawn(|| {
        let ev = a_loop();
        let mut promise = Local::resolve(&ev, Nested { _inner: None });
        for _ in 0..20_000 {
            promise = Local::resolve(&ev, Nested { _inner: Some(promise) });
        }
        drop(promise);
    });
    small.unwrap().join().unwrap();
}

#[test]
fn a_local_promise_may_outlive_its_loop_in_a_thread_local() {
    thread_local! { static LAST: RefCell<Option<Local<PanicOnDrop>>> = const { RefCell::new(None) } }
    let drops = Drops::new();
    let bombs = [(); 2].map(|()| PanicOnDrop(drops.clone()));
    let thread = thread::spawn(move || {
        let [value, step] = bombs;
        let ev = a_loop();
        LAST.set(Some(Local::resolve(&ev, value)));
        drop(ev);
        LAST.with_borrow_mut(|last| {
            let promise = last.take().unwrap();
            *last = Some(promise.map(move |value| (drop(step), value).1));
        });
    });
    thread.join().unwrap();
    assert_eq!(drops.count(), 2);
}

#[test]
fn the_only_thread_of_a_pool_may_wait_for_many_promises() {
    let pool = pool(1, 1);
    let inner = pool.clone();
    let task = pool.spawn(move || {
        let promise = |n| inner.promise(move || Ok::<u32, TaskError>(n));
        let again = inner.clone();
        let chained = promise(3).then(move |n| again.promise(move || Ok(n + 1)));
        let all = Promise::all([promise(1), promise(2), chained]).wait().unwrap();
        let first = Promise::race([promise(5), promise(6)]).wait().unwrap();
        let any = Promise::any([promise(7)]).wait().unwrap();
        let nested = Promise::all([Promise::all([promise(8)]), Promise::all([promise(9)])]).wait().unwrap();
        let of_future = Promise::from_future(promise(10).into_future()).map(|n| n + 1).wait().unwrap();
        let settled = Promise::all_settled::<()>([promise(11)]).wait().unwrap().len();
        (all, first, any, nested, of_future, settled)
    });
    assert_eq!(soon(task).unwrap(), (vec![1, 2, 4], 5, 7, vec![vec![8], vec![9]], 11, 1));
    check_sound(&pool);
}

#[test]
fn the_losers_of_a_race_are_not_run_in_place() {
    let pool = pool(1, 1);
    let inner = pool.clone();
    let (ran, drops) = (Gate::new(), Drops::new());
    let (late, token) = (ran.clone(), drops.token());
    let task = pool.spawn(move || {
        let first = inner.promise(|| Ok::<_, TaskError>(1));
        let second = inner.promise(move || {
            late.open();
            drop(token);
            Ok(2)
        });
        Promise::race([first, second]).wait().unwrap()
    });
    assert_eq!(soon(task).unwrap(), 1);
    assert_eq!((ran.is_open(), drops.count()), (false, 1));
}

#[test]
fn waits_for_many_nest_on_a_full_pool() {
    fn tree(pool: &Pool, depth: u32) -> Promise<u32, TaskError> {
        let again = pool.clone();
        pool.promise(move || match depth {
            0 => Ok(1),
            _ => Promise::all((0..2).map(|_| tree(&again, depth - 1))).wait().map(|both| both.iter().sum()),
        })
    }
    for max in [1, 2, 3] {
        let pool = pool(1, max);
        let again = pool.clone();
        let root = pool.spawn(move || Promise::all([tree(&again, 6), tree(&again, 6)]).wait());
        assert_eq!(soon(root).unwrap().unwrap(), [64, 64]);
        check_sound(&pool);
    }
}

#[test]
fn a_wait_for_many_does_not_run_what_others_wait_for() {
    let pool = pool(1, 1);
    let inner = pool.clone();
    let ran = Gate::new();
    let (late, seen) = (ran.clone(), ran.clone());
    let task = pool.spawn(move || {
        let (again, last) = (inner.clone(), inner.clone());
        // It runs in place, inside the poll of the chain below, and polls a chain of its own.
        let other = inner.spawn(move || {
            let mut left = again.promise(move || {
                late.open();
                Ok::<_, TaskError>(())
            });
            assert!(poll(&mut left, Waker::noop()).is_pending());
            left
        });
        let step = Promise::resolve(()).then(move |()| {
            let left = other.wait().unwrap();
            last.promise(move || Ok::<_, TaskError>(left))
        });
        let left = Promise::all([step]).wait().unwrap();
        (left, seen.is_open())
    });
    let (left, early) = soon(task).unwrap();
    assert!(!early);
    left.into_iter().for_each(|left| left.wait().unwrap());
    assert!(ran.is_open());
}

#[test]
fn a_wait_for_many_sees_that_the_pool_has_come_to_its_end_meanwhile() {
    let pool = pool(2, 2);
    let inner = pool.clone();
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let task = pool.spawn(move || {
        let promises = (0..200_u32).map(|n| inner.promise(move || Ok::<_, TaskError>(n)));
        Promise::all(promises).wait().unwrap().len()
    });
    assert_eq!(soon(task).unwrap(), 200, "while the other thread is busy");
    gate.open();
    soon(busy).unwrap();
    check_sound(&pool);
}
