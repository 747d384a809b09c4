//! Everything a promise is given is dropped exactly once, and a destructor that panics neither
//! breaks the chain nor goes unnoticed.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use sidestep::{Promise, TaskError};

use crate::promise::send::deferred;
use crate::support::{DropToken, Drops, PanicOnDrop, poll, pool, soon};

type Plain<T> = Promise<T, TaskError>;

/// A chain of one of each step, each of which has a token; the action gives `end`.
fn tokens_everywhere(drops: &Drops, end: Result<(), ()>) -> Promise<DropToken, TaskError> {
    let [action, map, then, err, catch, last, inner] = [(); 7].map(|()| drops.token());
    let pool = sidestep::Pool::global();
    let promise: Plain<()> = pool.promise(move || {
        drop(action);
        end.map_err(|()| sidestep::spawn(|| crate::support::quiet_panic("")).wait().unwrap_err())
    });
    promise
        .map(move |()| map)
        .then(move |value| pool.promise(move || Ok((value, then))).map(move |(value, _)| (inner, value).1))
        .map_err(move |error| {
            drop(err);
            error
        })
        .catch(move |_| Ok::<_, TaskError>(catch))
        .finally(move || drop(last))
}

#[test]
fn every_closure_and_value_is_dropped_once() {
    for (end, settle) in [(Ok(()), true), (Err(()), true), (Ok(()), false), (Err(()), false)] {
        let drops = Drops::new();
        let promise = tokens_everywhere(&drops, end);
        if settle {
            assert_eq!((drop(promise.wait().unwrap()), drops.count()), ((), 7));
        } else {
            drop(promise);
            crate::support::eventually("the action is dropped", || drops.count() == 7);
        }
    }
}

#[test]
fn the_settled_value_is_dropped_with_the_promise() {
    let drops = Drops::new();
    drop(Promise::<_, TaskError>::resolve(drops.token()));
    drop(Promise::<(), _>::reject(drops.token()));
    drop(Plain::resolve(drops.token()).map(|token| token));
    assert_eq!(drops.count(), 3);
}

#[test]
fn a_panic_in_the_destructor_of_an_uncalled_step_changes_nothing() {
    let drops = Drops::new();
    let [first, second, third] = [(); 3].map(|()| PanicOnDrop(drops.clone()));
    let promise = Plain::resolve(1)
        .catch(move |error| (first, Err(error)).1)
        .map_err(move |error| (second, error).1)
        .map(|n| n + 1);
    assert_eq!(promise.wait().unwrap(), 2);
    let error = pool(1, 1).spawn(|| crate::support::quiet_panic("kept")).wait().unwrap_err();
    let failed = Plain::<()>::reject(error).map(move |()| drop(third));
    assert!(failed.wait().unwrap_err().to_string().contains("kept"));
    assert_eq!(drops.count(), 3);
}

#[test]
fn a_panic_in_the_destructor_of_what_a_step_was_given_is_its_error() {
    let drops = Drops::new();
    let (value, captured) = (PanicOnDrop(drops.clone()), PanicOnDrop(drops.clone()));
    let of_value = Plain::resolve(value).map(drop);
    assert!(of_value.wait().unwrap_err().is_panic());
    let of_capture = Plain::resolve(()).map(move |()| {
        let _bomb = &captured;
    });
    assert!(of_capture.wait().unwrap_err().is_panic());
    assert_eq!(drops.count(), 2);
}

#[test]
fn a_panic_of_finally_takes_the_place_of_the_value_and_of_its_destructor() {
    let drops = Drops::new();
    let promise =
        Plain::resolve(PanicOnDrop(drops.clone())).finally(|| crate::support::quiet_panic("the end"));
    assert!(promise.wait().err().unwrap().to_string().contains("the end"));
    assert_eq!(drops.count(), 1);
}

#[test]
fn dropping_a_promise_full_of_bombs_harms_nobody() {
    let drops = Drops::new();
    let pool = pool(1, 1);
    let bomb = || PanicOnDrop(drops.clone());
    let (first, second, third) = (bomb(), bomb(), bomb());
    let mut promise = Plain::from_future(async move {
        let _first = &first;
        std::future::pending::<Result<(), _>>().await
    });
    promise = promise.map(move |()| drop(second)).finally(move || drop(third));
    assert!(poll(&mut promise, Waker::noop()).is_pending());
    drop(promise);
    drop(Plain::resolve(bomb()));
    assert_eq!(drops.count(), 4);
    let start: Plain<()> = pool.promise(|| Ok(()));
    let last = bomb();
    start.map(move |()| last).detach();
    crate::support::eventually("the value is dropped", || drops.count() == 5);
    crate::support::check_sound(&pool);
}

/// A future that is ready at once and whose destructor panics.
struct ReadyBomb(PanicOnDrop);

impl Future for ReadyBomb {
    type Output = Result<i32, TaskError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let _ = &self.0;
        Poll::Ready(Ok(7))
    }
}

#[test]
fn a_panic_in_the_destructor_of_a_future_leaves_its_result() {
    let drops = Drops::new();
    let promise = Plain::from_future(ReadyBomb(PanicOnDrop(drops.clone()))).map(|n| n + 1);
    assert_eq!(promise.wait().unwrap(), 8);
    assert_eq!(drops.count(), 1);
}

#[test]
fn values_that_come_before_the_error_of_all_may_panic_when_they_are_dropped() {
    let drops = Drops::new();
    let mut promises: Vec<_> = (0..3).map(|_| Plain::resolve(PanicOnDrop(drops.clone()))).collect();
    let (settle, failing) = deferred();
    promises.push(failing);
    let mut all = Promise::all(promises);
    assert!(poll(&mut all, Waker::noop()).is_pending());
    settle
        .send(Err(soon(pool(1, 1).spawn(|| crate::support::quiet_panic("late"))).unwrap_err()))
        .ok()
        .unwrap();
    let Poll::Ready(Err(error)) = poll(&mut all, Waker::noop()) else { panic!("one has failed") };
    assert!(error.to_string().contains("late"));
    assert_eq!(drops.count(), 3);
}
