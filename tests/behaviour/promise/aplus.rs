//! The cases of the Promises/A+ compliance suite that Rust has. `docs/PROMISES.md` has the table of
//! all.

use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use sidestep::promise::IntoPromise;
use sidestep::{Promise, TaskError};

use crate::promise::send::deferred;
use crate::support::{counter, poll, quiet_panic};

/// An error that tells a reason from a panic.
#[derive(Debug, PartialEq)]
enum Reason {
    Given(&'static str),
    Thrown(String),
}

impl From<TaskError> for Reason {
    fn from(error: TaskError) -> Self {
        let payload = error.try_into_panic().expect("nothing here is cancelled");
        Reason::Thrown(payload.downcast_ref::<&str>().map_or("?", |text| text).to_owned())
    }
}

type P<T> = Promise<T, Reason>;

const DUMMY: Reason = Reason::Given("dummy");

fn calls(count: &std::sync::atomic::AtomicUsize) -> usize {
    count.load(std::sync::atomic::Ordering::SeqCst)
}

/// The end of a promise that needs no other poll.
fn end<T: Send + 'static>(mut promise: P<T>) -> Result<T, Reason> {
    match poll(&mut promise, Waker::noop()) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it is not settled"),
    }
}

// Origin: Promises/A+ 2.1.1.1
#[test]
fn a_pending_promise_may_turn_to_either_state() {
    for result in [Ok(1), Err(DUMMY)] {
        let (settle, mut promise) = deferred();
        assert!(poll(&mut promise, Waker::noop()).is_pending());
        let good = result.is_ok();
        settle.send(result).unwrap();
        assert_eq!(end(promise).is_ok(), good);
    }
}

// Origin: Promises/A+ 2.1.2.1
#[test]
fn a_fulfilled_promise_calls_no_rejection_handler() {
    let (count, call) = counter();
    let promise = P::resolve(1).catch(move |error| {
        call();
        Err::<i32, Reason>(error)
    });
    assert_eq!((end(promise), calls(&count)), (Ok(1), 0));
}

// Origin: Promises/A+ 2.1.3.1
#[test]
fn a_rejected_promise_calls_no_fulfilment_handler() {
    let (count, call) = counter();
    let promise = P::<i32>::reject(DUMMY).map(move |_| call());
    assert_eq!((end(promise), calls(&count)), (Err(DUMMY), 0));
}

// Origin: Promises/A+ 2.2.1.1
#[test]
fn without_a_fulfilment_handler_the_rejection_handler_is_called() {
    assert_eq!(end(P::<i32>::reject(DUMMY).catch(|_| Ok::<_, Reason>(2))), Ok(2));
}

// Origin: Promises/A+ 2.2.1.2
#[test]
fn without_a_rejection_handler_the_fulfilment_handler_is_called() {
    assert_eq!(end(P::resolve(1).then(|n| Ok(n + 1))), Ok(2));
}

// Origin: Promises/A+ 2.2.2.1
#[test]
fn the_fulfilment_handler_gets_the_value() {
    let (settle, mut promise) = deferred::<_, Reason>();
    assert!(poll(&mut promise, Waker::noop()).is_pending());
    settle.send(Ok(String::from("sentinel"))).unwrap();
    assert_eq!(end(promise.map(|value| assert_eq!(value, "sentinel"))), Ok(()));
}

// Origin: Promises/A+ 2.2.2.2
#[test]
fn the_fulfilment_handler_waits_for_the_value() {
    let (count, call) = counter();
    let (settle, promise) = deferred::<(), Reason>();
    let mut promise = promise.map(move |()| call());
    assert!(poll(&mut promise, Waker::noop()).is_pending());
    assert_eq!(calls(&count), 0);
    settle.send(Ok(())).unwrap();
    assert_eq!((end(promise), calls(&count)), (Ok(()), 1));
}

// Origin: Promises/A+ 2.2.2.3
#[test]
fn the_fulfilment_handler_is_called_once() {
    let (count, call) = counter();
    let mut promise = P::resolve(()).map(move |()| call());
    assert!(poll(&mut promise, Waker::noop()).is_ready());
    let again = std::panic::catch_unwind(move || poll(&mut promise, Waker::noop()));
    assert!(again.is_err());
    assert_eq!(calls(&count), 1);
}

// Origin: Promises/A+ 2.2.3.1
#[test]
fn the_rejection_handler_gets_the_reason() {
    let promise = P::<()>::reject(Reason::Given("sentinel"));
    assert_eq!(
        end(promise.catch(|error| {
            assert_eq!(error, Reason::Given("sentinel"));
            Ok::<(), Reason>(())
        })),
        Ok(())
    );
}

// Origin: Promises/A+ 2.2.3.2
#[test]
fn the_rejection_handler_waits_for_the_reason() {
    let (count, call) = counter();
    let (settle, promise) = deferred::<(), Reason>();
    let mut promise = promise.catch(move |_| {
        call();
        Ok::<(), Reason>(())
    });
    assert!(poll(&mut promise, Waker::noop()).is_pending());
    assert_eq!(calls(&count), 0);
    settle.send(Err(DUMMY)).unwrap();
    assert_eq!((end(promise), calls(&count)), (Ok(()), 1));
}

// Origin: Promises/A+ 2.2.3.3
#[test]
fn the_rejection_handler_is_called_once() {
    let (count, call) = counter();
    let mut promise = P::<()>::reject(DUMMY).map_err(move |error: Reason| {
        call();
        error
    });
    assert!(poll(&mut promise, Waker::noop()).is_ready());
    let again = std::panic::catch_unwind(move || poll(&mut promise, Waker::noop()));
    assert!(again.is_err());
    assert_eq!(calls(&count), 1);
}

// Origin: Promises/A+ 2.2.4
#[test]
fn no_handler_is_called_inside_the_call_that_adds_it() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let [first, second, third] = [(); 3].map(|()| {
        let order = Arc::clone(&order);
        move |name| order.lock().unwrap().push(name)
    });
    let promise = P::resolve(()).then(move |()| {
        let nested = P::resolve(()).map(move |()| second("nested"));
        first("handler");
        nested
    });
    third("caller");
    assert_eq!(end(promise), Ok(()));
    assert_eq!(*order.lock().unwrap(), ["caller", "handler", "nested"]);
}

// Origin: Promises/A+ 2.2.6
#[test]
fn handlers_are_called_in_the_order_in_which_they_were_added() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let promise = (0..10).fold(P::resolve(()), |promise, number| {
        let order = Arc::clone(&order);
        promise.map(move |()| order.lock().unwrap().push(number))
    });
    assert_eq!(end(promise), Ok(()));
    assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<_>>());
}

// Origin: Promises/A+ 2.2.7.1
#[test]
fn what_a_handler_gives_settles_the_next_promise() {
    assert_eq!(end(P::resolve(1).then(|n| Ok(n + 1))), Ok(2));
    assert_eq!(end(P::resolve(1).then(|_| Err::<i32, _>(DUMMY))), Err(DUMMY));
    assert_eq!(end(P::<i32>::reject(DUMMY).catch(|_| Ok::<_, Reason>(3))), Ok(3));
    let other = Reason::Given("other");
    assert_eq!(end(P::<i32>::reject(DUMMY).catch(|_| Err::<i32, _>(other))), Err(Reason::Given("other")));
}

// Origin: Promises/A+ 2.2.7.2
#[test]
fn a_handler_that_throws_rejects_the_next_promise() {
    let thrown = |text: &str| Err(Reason::Thrown(text.to_owned()));
    assert_eq!(end(P::resolve(1).map(|_| -> i32 { quiet_panic("map") })), thrown("map"));
    assert_eq!(end(P::resolve(1).then(|_| -> P<i32> { quiet_panic("then") })), thrown("then"));
    assert_eq!(end(P::<i32>::reject(DUMMY).catch(|_| -> P<i32> { quiet_panic("catch") })), thrown("catch"));
}

// Origin: Promises/A+ 2.2.7.3
#[test]
fn a_value_passes_by_what_handles_only_errors() {
    assert_eq!(end(P::resolve(1).catch(|_| Ok::<_, Reason>(2)).map_err(|error: Reason| error)), Ok(1));
}

// Origin: Promises/A+ 2.2.7.4
#[test]
fn an_error_passes_by_what_handles_only_values() {
    assert_eq!(end(P::<i32>::reject(DUMMY).map(|n| n + 1).then(Ok)), Err(DUMMY));
}

// Origin: Promises/A+ 2.3.2.1
#[test]
fn a_pending_promise_keeps_the_next_one_pending() {
    let (settle, inner) = deferred::<i32, Reason>();
    let mut promise = P::resolve(()).then(|()| inner);
    assert!(poll(&mut promise, Waker::noop()).is_pending());
    assert!(poll(&mut promise, Waker::noop()).is_pending());
    settle.send(Ok(1)).unwrap();
    assert_eq!(end(promise), Ok(1));
}

// Origin: Promises/A+ 2.3.2.2
#[test]
fn a_promise_that_is_fulfilled_fulfils_the_next() {
    assert_eq!(end(P::resolve(()).then(|()| P::resolve("sentinel"))), Ok("sentinel"));
    let (settle, inner) = deferred();
    let mut promise = P::<&str>::reject(DUMMY).catch(|_| inner);
    assert!(poll(&mut promise, Waker::noop()).is_pending());
    settle.send(Ok("sentinel")).unwrap();
    assert_eq!(end::<&str>(promise), Ok("sentinel"));
}

// Origin: Promises/A+ 2.3.2.3
#[test]
fn a_promise_that_is_rejected_rejects_the_next() {
    assert_eq!(end(P::resolve(()).then(|()| P::<i32>::reject(DUMMY))), Err(DUMMY));
    let (settle, inner) = deferred();
    let mut promise = P::resolve(()).then(|()| inner);
    assert!(poll(&mut promise, Waker::noop()).is_pending());
    settle.send(Err(DUMMY)).unwrap();
    assert_eq!(end::<i32>(promise), Err(DUMMY));
}

/// Rust's thenable: another type that knows how to become a promise.
struct Thenable<F>(F);

impl<F: FnOnce() -> P<i32>> IntoPromise for Thenable<F> {
    type Value = i32;
    type Error = Reason;

    fn into_promise(self) -> P<i32> {
        (self.0)()
    }
}

// Origin: Promises/A+ 2.3.3.1
#[test]
fn a_thenable_is_asked_once() {
    let (count, call) = counter();
    let promise = P::resolve(()).then(move |()| {
        Thenable(move || {
            call();
            P::resolve(1)
        })
    });
    assert_eq!((end(promise), calls(&count)), (Ok(1), 1));
}

// Origin: Promises/A+ 2.3.3.2
#[test]
fn a_thenable_that_throws_rejects() {
    let promise = P::resolve(()).then(|()| Thenable(|| quiet_panic("no then")));
    assert_eq!(end(promise), Err(Reason::Thrown("no then".to_owned())));
}

// Origin: Promises/A+ 2.3.3.3.1
#[test]
fn a_thenable_of_a_thenable_is_resolved_to_its_end() {
    let inner = || P::resolve(()).then(|()| Thenable(|| P::resolve(7)));
    assert_eq!(end(P::resolve(()).then(move |()| Thenable(inner))), Ok(7));
}

// Origin: Promises/A+ 2.3.3.3.2
#[test]
fn the_reason_of_a_thenable_rejects() {
    assert_eq!(end(P::resolve(()).then(|()| Thenable(|| P::reject(DUMMY)))), Err(DUMMY));
}

// Origin: Promises/A+ 2.3.3.3.4
#[test]
fn a_thenable_that_throws_later_rejects() {
    let future = async { quiet_panic("late") };
    let promise = P::resolve(()).then(|()| Thenable(|| P::from_future(future)));
    assert_eq!(end(promise), Err(Reason::Thrown("late".to_owned())));
}

// Origin: Promises/A+ 2.3.4
#[test]
fn any_other_value_fulfils() {
    assert_eq!(end(P::resolve(()).map(|()| None::<i32>)), Ok(None));
    assert!(end(P::resolve(()).map(|()| || 7)).is_ok_and(|f| f() == 7));
}
