//! Promises: where they begin, where their steps run, how they end. Combinators, Promises/A+,
//! detached promises and destructors have files of their own.

use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use futures_channel::oneshot;
use sidestep::block_on;
use sidestep::promise::IntoPromise;
use sidestep::{Pool, Promise, TaskError};

use crate::support::{Drops, Gate, Wakes, eventually, occupy, poll, pool, quiet_panic};

type Plain<T> = Promise<T, TaskError>;

/// A promise, and what settles it.
pub(crate) fn deferred<T: Send + 'static, E: From<TaskError> + Send + 'static>()
-> (oneshot::Sender<Result<T, E>>, Promise<T, E>) {
    let (sender, receiver) = oneshot::channel();
    (sender, Promise::from_future(async { receiver.await.unwrap_or_else(|_| quiet_panic("never settled")) }))
}

/// Runs `f` on a thread with hardly any stack.
fn on_a_small_stack<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    thread::Builder::new().stack_size(64 * 1024).spawn(f).unwrap().join().unwrap()
}

#[test]
fn begins_with_a_pool_a_lane_or_a_task() {
    let pool = pool(1, 1);
    let of_pool: Plain<_> = pool.promise(|| Ok(1));
    let of_lane: Plain<_> = pool.lane("lane", 1).promise(|| Ok(2));
    let of_task: Plain<_> = pool.spawn(|| Ok(3)).promise();
    assert_eq!(of_pool.wait().unwrap() + of_lane.wait().unwrap() + of_task.wait().unwrap(), 6);
}

#[test]
fn the_action_starts_at_once() {
    let pool = pool(1, 1);
    let started = Gate::new();
    let start = started.clone();
    let promise: Plain<()> = pool.promise(move || {
        start.open();
        Ok(())
    });
    started.pass();
    promise.wait().unwrap();
}

#[test]
fn values_go_through_map_then_and_finally_and_around_catch() {
    let (steps, step) = {
        let steps = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&steps);
        (steps, move |name: &'static str| list.lock().unwrap().push(name))
    };
    let [map, then, last] = [step.clone(), step.clone(), step.clone()];
    let promise = Plain::resolve(1)
        .map(move |n| {
            map("map");
            n + 1
        })
        .map_err(|_| -> TaskError { unreachable!("there is no error") })
        .catch(|_| -> Result<i32, TaskError> { unreachable!("there is no error") })
        .then(move |n| {
            then("then");
            Ok(n.to_string())
        })
        .finally(move || last("finally"));
    assert_eq!(promise.wait().unwrap(), "2");
    assert_eq!(*steps.lock().unwrap(), ["map", "then", "finally"]);
}

#[test]
fn errors_go_through_map_err_catch_and_finally_and_around_map() {
    let ended = Gate::new();
    let end = ended.clone();
    let promise = Promise::<i32, io::Error>::reject(io::ErrorKind::NotFound.into())
        .map(|_| -> i32 { unreachable!("there is no value") })
        .then(|_| -> Result<i32, io::Error> { unreachable!("there is no value") })
        .map_err(|error| io::Error::other(error.kind().to_string()))
        .finally(move || end.open())
        .catch(|error| if error.to_string() == "entity not found" { Ok(7) } else { Err(error) });
    assert_eq!(promise.wait().unwrap(), 7);
    ended.pass();
}

#[test]
fn steps_run_where_the_promise_is_polled_and_nowhere_else() {
    let pool = pool(2, 2);
    let gate = Gate::new();
    let ran_on = Arc::new(Mutex::new(Vec::new()));
    let [first, second, third] = [(); 3].map(|()| {
        let ran_on = Arc::clone(&ran_on);
        move || ran_on.lock().unwrap().push(thread::current().id())
    });
    let pass = gate.clone();
    let mut promise: Plain<()> = pool.promise(move || {
        pass.pass();
        Ok(())
    });
    promise = promise.map(move |()| first()).finally(second).map(move |()| third());
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(poll(&mut promise, &waker).is_pending());
    gate.open();
    eventually("the action ends", || wakes.count() == 1);
    assert!(ran_on.lock().unwrap().is_empty(), "the thread that completed it runs nothing");
    assert!(matches!(poll(&mut promise, &waker), Poll::Ready(Ok(()))));
    assert_eq!(*ran_on.lock().unwrap(), [thread::current().id(); 3]);
}

#[test]
fn panics_arrive_as_errors_with_their_payload_and_place() {
    let pool = pool(1, 1);
    let line = line!() + 1;
    let promise = Plain::resolve(()).map(|()| quiet_panic("a step"));
    let error = promise.wait().unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("send.rs:{line}")) && text.contains("a step"), "{text}");
    assert_eq!(*error.try_into_panic().unwrap().downcast::<&str>().unwrap(), "a step");
    let lost = || pool.spawn(|| quiet_panic("lost")).wait().unwrap_err();
    let all: [Plain<()>; 6] = [
        pool.promise(|| quiet_panic("the action")),
        Promise::from_future(async { quiet_panic("the future") }),
        Promise::resolve(()).then(|()| -> Result<(), TaskError> { quiet_panic("then") }),
        Plain::reject(lost()).catch(|_| -> Result<(), TaskError> { quiet_panic("catch") }),
        Plain::reject(lost()).map_err(|_| -> TaskError { quiet_panic("map_err") }),
        Promise::resolve(()).finally(|| quiet_panic("finally")),
    ];
    let messages = all.map(|promise| {
        let error = promise.wait().unwrap_err();
        *error.try_into_panic().unwrap().downcast::<&str>().unwrap()
    });
    assert_eq!(messages, ["the action", "the future", "then", "catch", "map_err", "finally"]);
}

#[test]
fn a_panic_can_be_caught_like_any_error() {
    let pool = pool(1, 1);
    let promise: Plain<i32> = pool.promise(|| quiet_panic("lost"));
    let rescued = promise.catch(|error| if error.is_panic() { Ok(0) } else { Err(error) }).map(|n| n + 1);
    assert_eq!(rescued.wait().unwrap(), 1);
}

#[test]
fn a_conversion_that_panics_leaves_the_poll() {
    struct Unconvertible;
    impl From<TaskError> for Unconvertible {
        fn from(_: TaskError) -> Self {
            quiet_panic("no such error")
        }
    }
    let mut promise = Promise::<(), Unconvertible>::resolve(()).map(|()| quiet_panic("a step"));
    let mut polled =
        || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut promise, Waker::noop())));
    let payload = polled().err().unwrap();
    assert_eq!(*payload.downcast::<&str>().unwrap(), "no such error");
    let message = polled().err().unwrap();
    assert!(message.downcast::<&str>().unwrap().contains("polled after"));
}

#[test]
fn a_cancellation_arrives_as_an_error() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let task = pool.spawn(|| Ok::<(), io::Error>(()));
    let cancel = task.cancel_handle();
    let promise = task.promise();
    cancel.cancel();
    let error = promise.wait().unwrap_err();
    assert!(error.downcast::<TaskError>().unwrap().is_cancelled());
    gate.open();
    busy.wait().unwrap();
}

#[test]
fn a_refusal_arrives_as_an_error() {
    let pool = pool(1, 1);
    pool.shutdown().wait();
    let promise: Plain<()> = pool.promise(|| Ok(()));
    assert!(promise.wait().unwrap_err().is_shutdown());
}

#[test]
fn dropping_cancels_a_queued_action_at_once_and_drops_the_steps() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let (actions, steps) = (Drops::new(), Drops::new());
    let (action, [first, second]) = (actions.token(), [steps.token(), steps.token()]);
    let promise: Plain<()> = pool.promise(move || {
        drop(action);
        unreachable!("it is cancelled")
    });
    let promise = promise.map(move |()| drop(first)).finally(move || drop(second));
    assert_eq!((actions.count(), steps.count()), (0, 0));
    drop(promise);
    assert_eq!((actions.count(), steps.count()), (1, 2));
    gate.open();
    busy.wait().unwrap();
    assert_eq!(pool.metrics().tasks_cancelled(), 1);
}

#[test]
fn dropping_tells_a_running_action() {
    let pool = pool(1, 1);
    let (started, told) = (Gate::new(), Gate::new());
    let (start, tell) = (started.clone(), told.clone());
    let promise: Plain<()> = pool.promise(move || {
        let _hook = sidestep::current::on_cancel(move || tell.open());
        start.open();
        while !sidestep::current::is_cancelled() {
            thread::yield_now();
        }
        Ok(())
    });
    started.pass();
    drop(promise.map(|()| unreachable!("nobody awaits it")));
    told.pass();
}

#[test]
fn dropping_cancels_the_promise_that_a_step_has_made() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let drops = Drops::new();
    let (token, inner) = (drops.token(), pool.clone());
    let mut promise = Plain::resolve(()).then(move |()| {
        inner.promise(move || {
            drop(token);
            unreachable!("it is cancelled")
        })
    });
    promise = promise.map(|()| ());
    assert!(poll(&mut promise, Waker::noop()).is_pending());
    assert_eq!(drops.count(), 0);
    drop(promise);
    assert_eq!(drops.count(), 1);
    gate.open();
    busy.wait().unwrap();
}

#[test]
fn a_future_becomes_a_promise_and_is_polled_with_it() {
    let (settle, promise) = deferred::<i32, TaskError>();
    let mut promise = promise.map(|n| n * 2);
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(poll(&mut promise, &waker).is_pending());
    settle.send(Ok(21)).unwrap();
    assert_eq!(wakes.count(), 1);
    assert!(matches!(poll(&mut promise, &waker), Poll::Ready(Ok(42))));
}

#[test]
fn an_async_block_awaits_promises_like_futures() {
    let pool = pool(2, 2);
    let sum = block_on(async {
        let first: Plain<_> = pool.promise(|| Ok(40));
        Ok::<_, TaskError>(first.await? + Plain::resolve(2).await?)
    });
    assert_eq!(sum.unwrap(), 42);
}

#[test]
fn polling_after_the_end_panics() {
    let mut promise = Plain::resolve(7);
    assert!(matches!(poll(&mut promise, Waker::noop()), Poll::Ready(Ok(7))));
    let again = std::panic::catch_unwind(move || poll(&mut promise, Waker::noop()));
    let payload = again.err().unwrap();
    assert!(payload.downcast::<&str>().unwrap().contains("polled after it had given its result"));
}

#[test]
fn a_step_may_give_whatever_makes_a_promise() {
    let pool = pool(1, 1);
    let inner = pool.clone();
    let promise = Plain::resolve(1)
        .then(|n| Ok(n + 1))
        .then(|n| Plain::resolve(n * 10))
        .then(move |n| inner.spawn(move || Ok(n + 1)))
        .map(|n| n.to_string());
    assert_eq!(promise.wait().unwrap(), "21");
    assert_eq!(Ok::<_, TaskError>(7).into_promise().wait().unwrap(), 7);
}

#[test]
fn a_long_chain_takes_no_stack() {
    const LONG: usize = 100_000;
    on_a_small_stack(|| {
        let mut promise = Plain::resolve(0);
        let build = |mut promise: Plain<usize>| {
            for step in 0..LONG {
                promise = match step % 4 {
                    0 => promise.map(|n| n + 1),
                    1 => promise.then(|n| Promise::resolve(n + 1)),
                    2 => promise
                        .then(|n| if n < usize::MAX { Ok(n + 1) } else { unreachable!("never so many") }),
                    _ => promise.catch(|_| Ok::<_, TaskError>(0)).map(|n| n + 1),
                };
            }
            promise
        };
        promise = build(promise);
        assert_eq!(promise.wait().unwrap(), LONG);
        drop(build(Plain::resolve(0)));
    });
}

#[test]
fn a_promise_held_by_a_step_of_the_next_and_so_on_takes_no_stack() {
    const LONG: usize = 100_000;
    fn build(drops: &Drops) -> Plain<usize> {
        let mut promise = Plain::resolve(0);
        for _ in 0..LONG {
            let (inner, token) = (promise, drops.token());
            promise = Plain::resolve(()).then(move |()| {
                drop(token);
                inner
            });
        }
        promise
    }
    thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(|| {
            let (run, dropped) = (Drops::new(), Drops::new());
            assert_eq!(build(&run).wait().unwrap(), 0);
            assert_eq!(run.count(), LONG);
            drop(build(&dropped));
            assert_eq!(dropped.count(), LONG);
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn recursion_by_promises_takes_no_stack() {
    fn count(left: u64, total: Arc<AtomicU64>) -> Plain<u64> {
        Promise::resolve(left).then(move |left| {
            let so_far = total.fetch_add(1, Ordering::Relaxed);
            if left == 0 { Promise::resolve(so_far) } else { count(left - 1, total) }
        })
    }
    let last = on_a_small_stack(|| count(1_000_000, Arc::default()).map(|n| n + 1).wait());
    assert_eq!(last.unwrap(), 1_000_001);
}

#[test]
fn promises_can_be_sent_and_are_unpin_and_unwind_safe() {
    fn check<T: Send + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}
    check::<Promise<Box<dyn FnMut() + Send>, io::Error>>();
    let text = format!("{:?}", Plain::resolve(1).map(|n| n));
    assert_eq!(text, r#"Promise { chain: Chain { head: "settled", steps: 1 }, .. }"#);
}

#[test]
fn waiting_inside_the_pools_only_thread_runs_the_action_there() {
    let pool = pool(1, 1);
    let inner = pool.clone();
    let task = pool.spawn(move || {
        let again = inner.clone();
        let promise: Plain<i32> = inner.promise(|| Ok(1));
        promise.then(move |n| again.promise(move || Ok(n + 1))).wait().unwrap()
    });
    assert_eq!(crate::support::soon(task).unwrap(), 2);
}

#[test]
fn a_circle_through_a_lane_is_told() {
    let pool = pool(2, 2);
    let lane = pool.lane("narrow", 1);
    let inner = lane.clone();
    let task = lane.spawn(move || {
        let promise: Plain<()> = inner.promise(|| Ok(()));
        promise.wait().unwrap_err().is_deadlock()
    });
    assert!(crate::support::soon(task).unwrap());
}

#[test]
fn the_global_pool_makes_promises_too() {
    let promise: Promise<_, io::Error> = Pool::global().promise(|| std::fs::read_to_string("Cargo.toml"));
    assert!(promise.wait().unwrap().contains("sidestep"));
}
