//! Services under the layers of `tower`: limits, load shedding, timeouts, retries, a buffer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Ready, join_all, ready};
use sidestep::{TaskError, current};
use tower::load_shed::error::Overloaded;
use tower::retry::Policy;
use tower::timeout::error::Elapsed;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

use super::full;
use crate::support::{Crowd, Gate, all_well, check_sound, eventually, pool, soon};

fn on_tokio<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn load_shedding_turns_requests_away_while_the_queue_is_full() {
    let pool = pool(2, 2);
    let gate = Gate::new();
    let (lane, busy) = full(&pool, &gate);
    let mut service = ServiceBuilder::new().load_shed().service(lane.service(|number: u32| number + 1));
    on_tokio(async {
        for _ in 0..3 {
            let error = service.ready().await.unwrap().call(1).await.unwrap_err();
            assert!(error.is::<Overloaded>(), "{error}");
        }
        gate.open();
        all_well(busy);
        eventually("there is room", || lane.metrics().tasks_queued() == 0);
        // The wait that the shed requests have left has the permit by now.
        assert_eq!(service.ready().await.unwrap().call(41).await.unwrap(), 42);
        assert_eq!(service.ready().await.unwrap().call(42).await.unwrap(), 43);
    });
    drop(service);
    check_sound(&pool);
    soon(lane.try_spawn(|| ()).unwrap()).unwrap();
}

#[test]
fn a_concurrency_limit_holds_and_all_requests_are_served() {
    let pool = pool(4, 8);
    let crowd = Arc::new(Crowd::default());
    let seen = Arc::clone(&crowd);
    let lane = pool.lane_builder("wide", 8).queue_limit(2).build().unwrap();
    let service = ServiceBuilder::new().concurrency_limit(3).service(lane.service(move |number: usize| {
        seen.enter();
        std::thread::yield_now();
        seen.leave();
        number
    }));
    let calls = (0..200).map(|number| service.clone().oneshot(number));
    let results = on_tokio(join_all(calls));
    for (number, result) in results.into_iter().enumerate() {
        assert_eq!(result.unwrap(), number);
    }
    assert!(crowd.most() <= 3, "{}", crowd.most());
}

#[test]
fn a_timeout_cancels_a_queued_call_and_signals_a_running_one() {
    let pool = pool(1, 1);
    let lane = pool.lane_builder("slow", 1).queue_limit(4).build().unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ran);
    let service = lane.service(move |(): ()| {
        count.fetch_add(1, Ordering::SeqCst);
        let gate = Gate::new();
        let open = gate.clone();
        let _guard = current::on_cancel(move || open.open());
        gate.pass();
    });
    let service = ServiceBuilder::new().timeout(Duration::from_millis(30)).service(service);
    let error = on_tokio(async {
        let (running, queued) = (service.clone().oneshot(()), service.clone().oneshot(()));
        let (first, second) = futures_util::future::join(running, queued).await;
        assert!(second.unwrap_err().is::<Elapsed>());
        first.unwrap_err()
    });
    assert!(error.is::<Elapsed>(), "{error}");
    eventually("the lane is empty", || {
        let metrics = lane.metrics();
        (metrics.tasks_queued(), metrics.tasks_running()) == (0, 0)
    });
    assert!(ran.load(Ordering::SeqCst) <= 2);
    check_sound(&pool);
}

/// Tries so many times more: where the closure has panicked, and where it has returned an error.
#[derive(Clone)]
struct Again(usize);

impl Policy<u32, Result<u32, String>, TaskError> for Again {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut u32,
        result: &mut Result<Result<u32, String>, TaskError>,
    ) -> Option<Ready<()>> {
        let failed = match result {
            Ok(result) => result.is_err(),
            Err(error) => error.is_panic(),
        };
        self.0 = if failed { self.0.checked_sub(1)? } else { return None };
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &u32) -> Option<u32> {
        Some(*request)
    }
}

#[test]
fn a_retry_sees_panics_and_errors_and_each_try_has_a_permit() {
    let pool = pool(1, 1);
    let lane = pool.lane_builder("flaky", 1).queue_limit(1).build().unwrap();
    let tries = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tries);
    let flaky = lane.service(move |number: u32| match count.fetch_add(1, Ordering::SeqCst) {
        0 => crate::support::quiet_panic("once"),
        1 => Err("twice".to_owned()),
        _ => Ok(number),
    });
    let mut service = ServiceBuilder::new().retry(Again(2)).service(flaky);
    let result = on_tokio(async { service.ready().await.unwrap().call(7).await });
    assert_eq!(result.unwrap(), Ok(7));
    assert_eq!(tries.load(Ordering::SeqCst), 3);
    drop(service);
    soon(lane.try_spawn(|| ()).unwrap()).unwrap();
    check_sound(&pool);
}

#[test]
fn a_buffer_keeps_requests_while_the_queue_is_full_and_serves_them_in_order() {
    let pool = pool(2, 2);
    let gate = Gate::new();
    let (lane, busy) = full(&pool, &gate);
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&order);
    let blocking = lane.service(move |number: u32| seen.lock().unwrap().push(number));
    on_tokio(async {
        let service = ServiceBuilder::new().buffer::<u32>(10).service(blocking);
        let mut calls = Vec::new();
        for number in 0..5 {
            let mut service = service.clone();
            calls.push(service.ready().await.unwrap().call(number));
        }
        tokio::task::yield_now().await;
        assert!(order.lock().unwrap().is_empty());
        gate.open();
        for result in join_all(calls).await {
            result.unwrap();
        }
    });
    all_well(busy);
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
    eventually("the buffer has let go of its permit", || lane.try_spawn(|| ()).is_ok());
    check_sound(&pool);
}

#[test]
fn all_layers_together() {
    let pool = pool(2, 4);
    let lane = pool.lane_builder("all", 2).queue_limit(4).build().unwrap();
    let blocking =
        lane.service(|number: u32| if number.is_multiple_of(2) { Ok(number) } else { Err("odd".to_owned()) });
    let results = on_tokio(async {
        let service = ServiceBuilder::new()
            .buffer::<u32>(100)
            .concurrency_limit(8)
            .timeout(Duration::from_secs(60))
            .retry(Again(1))
            .service(blocking);
        let calls = (0..100).map(|number| service.clone().oneshot(number));
        join_all(calls).await
    });
    let mut even = 0;
    for result in results {
        let result: Result<Result<u32, String>, BoxError> = result;
        even += usize::from(result.unwrap().is_ok());
    }
    assert_eq!(even, 50);
    check_sound(&pool);
}
