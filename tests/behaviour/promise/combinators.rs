//! Many promises as one: `all`, `all_settled`, `any`, `race`.

use std::io;
use std::sync::Arc;
use std::task::{Poll, Waker};

use sidestep::{Promise, TaskError};

use crate::promise::send::deferred;
use crate::support::{Drops, Gate, Wakes, eventually, occupy, poll, pool};

type Settle = futures_channel::oneshot::Sender<io::Result<usize>>;

/// So many promises and what settles them.
fn several<const N: usize>() -> ([Settle; N], Vec<Promise<usize, io::Error>>) {
    let mut promises = Vec::new();
    let senders = [(); N].map(|()| {
        let (sender, promise) = deferred();
        promises.push(promise);
        sender
    });
    (senders, promises)
}

fn failure(text: &str) -> io::Error {
    io::Error::other(text.to_owned())
}

#[test]
fn all_gives_the_values_in_order_whatever_comes_first() {
    let ([first, second, third], promises) = several();
    let mut all = Promise::all(promises);
    assert!(poll(&mut all, Waker::noop()).is_pending());
    for (sender, value) in [(third, 3), (first, 1)] {
        sender.send(Ok(value)).unwrap();
        assert!(poll(&mut all, Waker::noop()).is_pending());
    }
    second.send(Ok(2)).unwrap();
    let Poll::Ready(values) = poll(&mut all, Waker::noop()) else { panic!("all have come") };
    assert_eq!(values.unwrap(), [1, 2, 3]);
}

#[test]
fn all_fails_with_the_first_error_and_cancels_the_others() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let drops = Drops::new();
    let token = drops.token();
    let queued = pool.promise(move || {
        drop(token);
        Ok(0)
    });
    let ([bad], mut promises) = several();
    promises.insert(0, queued);
    promises.push(Promise::resolve(2));
    let mut all = Promise::all(promises);
    assert!(poll(&mut all, Waker::noop()).is_pending());
    bad.send(Err(failure("jam"))).unwrap();
    let Poll::Ready(Err(error)) = poll(&mut all, Waker::noop()) else { panic!("one has failed") };
    assert_eq!(error.to_string(), "jam");
    assert_eq!(drops.count(), 1, "the queued action was dropped by that poll");
    gate.open();
    busy.wait().unwrap();
    assert_eq!(pool.metrics().tasks_cancelled(), 1);
}

#[test]
fn all_settled_gives_every_end_in_order() {
    let pool = pool(1, 1);
    let ([first, second], mut promises) = several();
    promises.push(pool.promise(|| crate::support::quiet_panic("third")));
    let settled: Promise<_, TaskError> = Promise::all_settled(promises);
    second.send(Ok(2)).unwrap();
    first.send(Err(failure("first"))).unwrap();
    let results = settled.wait().unwrap();
    let texts = results.into_iter().map(|result| result.map_err(|error| error.to_string()));
    let [Err(first), Ok(2), Err(third)] = &texts.collect::<Vec<_>>()[..] else { panic!("as they ended") };
    assert!(first == "first" && third.contains("third"), "{first} {third}");
}

#[test]
fn any_gives_the_first_value_and_cancels_the_others() {
    let ([first, second, third], promises) = several();
    let mut any = Promise::any(promises);
    assert!(poll(&mut any, Waker::noop()).is_pending());
    first.send(Err(failure("first"))).unwrap();
    assert!(poll(&mut any, Waker::noop()).is_pending());
    third.send(Ok(3)).unwrap();
    assert!(matches!(poll(&mut any, Waker::noop()), Poll::Ready(Ok(3))));
    assert!(second.is_canceled(), "it was dropped");
}

#[test]
fn any_without_a_value_gives_all_errors_in_order() {
    let ([first, second], promises) = several();
    let any = Promise::any(promises);
    second.send(Err(failure("second"))).unwrap();
    first.send(Err(failure("first"))).unwrap();
    let errors = any.wait().unwrap_err();
    assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), ["first", "second"]);
}

#[test]
fn the_errors_of_any_can_be_caught() {
    let none = Promise::<i32, TaskError>::any([]);
    assert_eq!(none.catch(|errors| Ok::<_, TaskError>(errors.len() as i32)).wait().unwrap(), 0);
}

#[test]
fn race_gives_the_first_end_of_either_kind() {
    for (end, good) in [(Ok(1), true), (Err(failure("jam")), false)] {
        let ([first, second], promises) = several();
        let mut race = Promise::race(promises);
        assert!(poll(&mut race, Waker::noop()).is_pending());
        second.send(end).unwrap();
        let Poll::Ready(result) = poll(&mut race, Waker::noop()) else { panic!("one has ended") };
        assert_eq!(result.is_ok(), good);
        assert!(first.is_canceled());
    }
}

#[test]
fn race_among_the_settled_goes_to_the_first_in_order() {
    let promises = (0..100).map(Promise::<_, TaskError>::resolve);
    assert_eq!(Promise::race(promises).wait().unwrap(), 0);
}

#[test]
#[should_panic(expected = "a race of no promises")]
fn race_of_none_is_refused() {
    drop(Promise::<(), TaskError>::race([]));
}

#[test]
fn none_at_all_are_settled_at_once() {
    assert!(Promise::<(), TaskError>::all([]).wait().unwrap().is_empty());
    assert!(Promise::<(), TaskError>::all_settled::<TaskError>([]).wait().unwrap().is_empty());
    assert!(Promise::<(), TaskError>::any([]).wait().unwrap_err().is_empty());
}

#[test]
fn each_promise_is_polled_only_when_it_is_woken() {
    let ([first, second], promises) = several();
    let (polls, polled) = crate::support::counter();
    let counted = promises.into_iter().map(|mut promise| {
        let polled = polled.clone();
        Promise::from_future(std::future::poll_fn(move |context| {
            polled();
            std::pin::Pin::new(&mut promise).poll(context)
        }))
    });
    let mut all = Promise::all(counted);
    let polls = || polls.load(std::sync::atomic::Ordering::SeqCst);
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(poll(&mut all, &waker).is_pending());
    assert_eq!(polls(), 2);
    let before = wakes.count();
    first.send(Ok(1)).unwrap();
    assert_eq!(wakes.count(), before + 1);
    assert!(poll(&mut all, &waker).is_pending());
    assert_eq!(polls(), 3);
    second.send(Ok(2)).unwrap();
    assert!(poll(&mut all, &waker).is_ready());
    assert_eq!(polls(), 4);
}

#[test]
fn hundreds_of_actions_at_once() {
    let pool = pool(4, 4);
    let promises = (0..500).map(|n| pool.promise(move || Ok::<_, TaskError>(n)));
    assert_eq!(Promise::all(promises).wait().unwrap(), (0..500).collect::<Vec<_>>());
    eventually("the pool is idle", || pool.metrics().tasks_running() == 0);
}
