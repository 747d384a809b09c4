//! The cases of the Promises/A+ compliance suite for promises of an event loop, as far as it is the
//! loop that keeps the rule. What the steps do with a result is common to both kinds of promise:
//! see `aplus`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot::{Sender, channel};
use sidestep::{EventLoop, LocalPromise, TaskError, event_loop::Handle};

use crate::support::{pool, quiet_panic};

/// An error that tells a reason from a panic.
#[derive(Debug, PartialEq)]
enum Reason {
    Given(&'static str),
    Thrown,
    Circle,
}

impl From<TaskError> for Reason {
    fn from(error: TaskError) -> Self {
        if error.is_deadlock() { Reason::Circle } else { Reason::Thrown }
    }
}

type P<T> = LocalPromise<T, Reason>;

const DUMMY: Reason = Reason::Given("dummy");

/// A promise, and what settles it.
fn deferred<T: 'static>(ev: &Handle) -> (Sender<Result<T, Reason>>, P<T>) {
    let (sender, receiver) = channel();
    (sender, P::from_future(ev, async { receiver.await.unwrap() }))
}

fn settle<T>(sender: Sender<T>, end: T) {
    assert!(sender.send(end).is_ok());
}

fn a_loop() -> EventLoop {
    EventLoop::on(&pool(1, 1))
}

/// Gives everybody who is ready their turns.
fn turn(ev: &mut EventLoop) {
    while ev.turn(Duration::ZERO).is_ready() {}
}

// Origin: Promises/A+ 2.1
#[test]
fn a_promise_is_pending_until_it_is_settled_and_stays_so() {
    for end in [Ok(1), Err(DUMMY)] {
        let mut ev = a_loop();
        let (sender, promise) = deferred(&ev);
        let (fulfilled, rejected) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (good, bad) = (Rc::clone(&fulfilled), Rc::clone(&rejected));
        let promise = promise.map(move |n: i32| good.set(good.get() + n)).map_err(move |error: Reason| {
            bad.set(bad.get() + 1);
            error
        });
        turn(&mut ev);
        assert_eq!((fulfilled.get(), rejected.get()), (0, 0), "2.2.2.2 and 2.2.3.2");
        let is_ok = end.is_ok();
        settle(sender, end);
        assert_eq!((fulfilled.get(), rejected.get()), (0, 0), "2.2.4: not inside the call that settles it");
        turn(&mut ev);
        turn(&mut ev);
        assert_eq!(
            (fulfilled.get(), rejected.get()),
            (i32::from(is_ok), i32::from(!is_ok)),
            "2.2.2.3, 2.2.3.3"
        );
        assert_eq!(ev.run_until(promise).is_ok(), is_ok);
    }
}

// Origin: Promises/A+ 2.2.4
#[test]
fn handlers_run_in_the_turns_of_the_loop_only() {
    let mut ev = a_loop();
    let order = Rc::new(RefCell::new(Vec::new()));
    let note = |name| {
        let order = Rc::clone(&order);
        move || order.borrow_mut().push(name)
    };
    let (first, inner, late, caller) = (note("handler"), note("nested"), note("late"), note("caller"));
    let handle = ev.clone();
    P::resolve(&ev, ())
        .then(move |()| {
            let nested = P::resolve(&handle, ()).map(move |()| inner());
            first();
            nested
        })
        .detach();
    caller();
    turn(&mut ev);
    let settled = P::<()>::reject(&ev, DUMMY).map_err(move |error: Reason| {
        late();
        error
    });
    caller();
    assert_eq!(ev.run_until(settled), Err(DUMMY));
    assert_eq!(*order.borrow(), ["caller", "handler", "nested", "caller", "late"]);
}

// Origin: Promises/A+ 2.2.6
#[test]
fn handlers_are_called_in_the_order_in_which_they_were_added() {
    let mut ev = a_loop();
    let order = Rc::new(RefCell::new(Vec::new()));
    let add = |promise: P<()>, number| {
        let order = Rc::clone(&order);
        promise.map(move |()| order.borrow_mut().push(number))
    };
    let (sender, promise) = deferred(&ev);
    let promise = (0..3).fold(promise, add);
    turn(&mut ev);
    let promise = (3..6).fold(promise, add);
    settle(sender, Ok(()));
    let promise = (6..9).fold(promise, add);
    turn(&mut ev);
    let promise = (9..12).fold(promise, add);
    ev.run_until(promise).unwrap();
    assert_eq!(*order.borrow(), (0..12).collect::<Vec<_>>());
}

// Origin: Promises/A+ 2.2.7; Promises/A+ 2.3.4
#[test]
fn what_a_handler_gives_settles_the_next_promise() {
    let mut ev = a_loop();
    let ends = [
        (P::resolve(&ev, 1).map(|n| n + 1), Ok(2)),
        (P::resolve(&ev, 1).then(|_| Err(DUMMY)), Err(DUMMY)),
        (P::resolve(&ev, 1).map(|_| quiet_panic("thrown")), Err(Reason::Thrown)),
        (P::reject(&ev, DUMMY).catch(|_| Ok(3)), Ok(3)),
        (P::reject(&ev, DUMMY).catch(|_| -> P<i32> { quiet_panic("thrown") }), Err(Reason::Thrown)),
        (P::resolve(&ev, 1).catch(|_| Ok(4)), Ok(1)),
        (P::reject(&ev, DUMMY).map(|n: i32| n + 1), Err(DUMMY)),
    ];
    for (promise, end) in ends {
        assert_eq!(ev.run_until(promise), end);
    }
}

// Origin: Promises/A+ 2.3.1
#[test]
fn a_promise_that_is_resolved_with_itself_is_rejected() {
    let mut ev = a_loop();
    let place: Rc<RefCell<Option<P<i32>>>> = Rc::default();
    let (own, reason) = (Rc::clone(&place), Rc::new(Cell::new(None)));
    let seen = Rc::clone(&reason);
    let promise = P::resolve(&ev, 1).then(move |_| own.take().unwrap()).map_err(move |error: Reason| {
        seen.set(Some(error));
        DUMMY
    });
    place.replace(Some(promise));
    turn(&mut ev);
    assert_eq!(reason.take(), Some(Reason::Circle));
    assert!(ev.turn(Duration::ZERO).is_done());
}

// Origin: Promises/A+ 2.3.2
#[test]
fn a_promise_takes_the_state_of_the_one_that_a_handler_gives() {
    for end in [Ok("sentinel"), Err(DUMMY)] {
        for settled_before in [true, false] {
            let mut ev = a_loop();
            let (is_ok, (sender, inner)) = (end.is_ok(), deferred::<&str>(&ev));
            let other = if is_ok { Ok("sentinel") } else { Err(DUMMY) };
            let (outer, ended) = (P::resolve(&ev, ()).then(|()| inner), Rc::new(Cell::new(false)));
            let seen = Rc::clone(&ended);
            let outer = outer.finally(move || seen.set(true));
            if settled_before {
                settle(sender, other);
            } else {
                turn(&mut ev);
                assert!(!ended.get(), "2.3.2.1: pending as that is");
                settle(sender, other);
            }
            assert_eq!(ev.run_until(outer).is_ok(), is_ok);
        }
    }
}

// Origin: Promises/A+ 2.3.3.3.4
#[test]
fn a_thenable_that_throws_later_rejects() {
    let mut ev = a_loop();
    let handle = ev.clone();
    let (sender, gate) = channel::<()>();
    let thenable = async move {
        let _ = gate.await;
        quiet_panic("late")
    };
    let promise = P::resolve(&ev, ()).then(move |()| P::<()>::from_future(&handle, thenable));
    turn(&mut ev);
    settle(sender, ());
    assert_eq!(ev.run_until(promise), Err(Reason::Thrown));
}
