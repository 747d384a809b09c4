//! Batches: one decision whom to wake, results in both orders, and nothing lost on the way.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures_core::Stream;
use sidestep::{Batch, OnShutdown, Pool, TaskError};

use crate::support::alone::alone_as;
use crate::support::{
    Drops, Gate, PATIENCE, Wakes, check_accounts, check_sound, eventually, nothing_happens, occupy, pool,
    quiet_panic, soon,
};

type Item<T> = (usize, Result<T, TaskError>);

fn poll_next<T>(batch: &mut Batch<T>, waker: &Waker) -> Poll<Option<Item<T>>> {
    Pin::new(batch).poll_next(&mut Context::from_waker(waker))
}

/// The next of a batch, which must come.
fn next<T>(batch: &mut Batch<T>) -> Option<Item<T>> {
    sidestep::block_on(std::future::poll_fn(|context| Pin::new(&mut *batch).poll_next(context)))
}

#[test]
fn results_come_in_the_order_in_which_tasks_end_and_the_rest_in_that_of_submission() {
    let pool = pool(4, 8);
    let gates: Vec<Gate> = (0..5).map(|_| Gate::new()).collect();
    let mut batch = pool.spawn_batch(gates.clone().into_iter().enumerate().map(|(n, gate)| {
        move || {
            gate.pass();
            n * 10
        }
    }));
    assert_eq!((batch.len(), batch.is_empty(), batch.size_hint()), (5, false, (5, Some(5))));
    for n in [3, 1] {
        gates[n].open();
        let (index, result) = next(&mut batch).unwrap();
        assert_eq!((index, result.unwrap()), (n, n * 10));
    }
    assert_eq!((batch.len(), batch.size_hint()), (3, (3, Some(3))));
    gates.iter().rev().for_each(Gate::open);
    let rest: Vec<_> = batch.wait().into_iter().map(Result::unwrap).collect();
    assert_eq!(rest, [0, 20, 40]);
    check_sound(&pool);
}

#[test]
fn an_empty_batch_is_over() {
    let pool = pool(1, 1);
    let mut batch = pool.spawn_batch(std::iter::empty::<fn()>());
    assert!(batch.is_empty());
    assert!(matches!(poll_next(&mut batch, Waker::noop()), Poll::Ready(None)));
    assert!(matches!(poll_next(&mut batch, Waker::noop()), Poll::Ready(None)), "and stays so");
    assert!(batch.wait().is_empty());
    pool.spawn_batch(Vec::<fn()>::new()).detach();
    assert_eq!(pool.metrics().tasks_submitted(), 0);
}

#[test]
fn panics_are_results_too_and_all_come() {
    let pool = pool(2, 2);
    let ends =
        pool.spawn_batch((0..1000).map(|n| move || if n % 2 == 0 { n } else { quiet_panic(n) })).wait();
    for (n, end) in ends.into_iter().enumerate() {
        assert_eq!((end.is_ok(), end.is_err_and(|error| error.is_panic())), (n % 2 == 0, n % 2 == 1));
    }
    let mut batch = pool.spawn_batch((0..1000).map(|n| move || n));
    let mut seen = Vec::new();
    while let Some((index, end)) = next(&mut batch) {
        assert_eq!(end.unwrap(), index);
        seen.push(index);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    check_sound(&pool);
}

#[test]
fn dropping_cancels_what_has_not_been_given_and_detach_does_not() {
    let pool = pool(1, 1);
    let drops = Drops::new();
    let (ran, gate) = (Arc::new(AtomicUsize::new(0)), Gate::new());
    let closures = || {
        let (drops, ran) = (drops.clone(), Arc::clone(&ran));
        (0..10).map(move |_| {
            let (token, ran) = (drops.token(), Arc::clone(&ran));
            move || {
                ran.fetch_add(1, Ordering::SeqCst);
                drop(token);
            }
        })
    };
    let mut batch = pool.spawn_batch(closures());
    next(&mut batch).unwrap().1.unwrap();
    eventually("all have ended", || pool.metrics().tasks_completed() == 10);
    drop(batch);
    let busy = occupy(&pool, &gate);
    let batch = pool.spawn_batch(closures());
    let mut polled = pool.spawn_batch(closures());
    assert!(poll_next(&mut polled, Waker::noop()).is_pending());
    drop((batch, polled));
    assert_eq!((drops.count(), ran.load(Ordering::SeqCst)), (30, 10), "at once");
    pool.spawn_batch(closures()).detach();
    let mut polled = pool.spawn_batch(closures());
    assert!(poll_next(&mut polled, Waker::noop()).is_pending());
    polled.detach();
    gate.open();
    soon(busy).unwrap();
    check_sound(&pool);
    assert_eq!((drops.count(), ran.load(Ordering::SeqCst)), (50, 30));
}

#[test]
fn a_full_queue_refuses_the_rest_each_by_itself() {
    let pool = Pool::builder().max_threads(1).queue_limit(3).build().unwrap();
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let mut batch = pool.spawn_batch((0..10).map(|n| move || n));
    for n in 3..10 {
        let (index, end) = next(&mut batch).unwrap();
        assert_eq!(index, n);
        assert!(end.unwrap_err().is_full());
    }
    gate.open();
    let ends: Vec<_> = batch.wait().into_iter().map(Result::unwrap).collect();
    assert_eq!(ends, [0, 1, 2]);
    soon(busy).unwrap();
    check_sound(&pool);
}

#[test]
fn a_closed_pool_refuses_all_and_one_that_closes_meanwhile_loses_nothing() {
    let closed = pool(1, 1);
    closed.shutdown().wait();
    assert!(
        closed
            .spawn_batch((0..3).map(|n| move || n))
            .wait()
            .into_iter()
            .all(|end| end.unwrap_err().is_shutdown())
    );
    for round in 0..100 {
        let pool = pool(2, 2);
        let closer = pool.clone();
        let closer = thread::spawn(move || {
            (0..round).for_each(|_| thread::yield_now());
            closer.shutdown().wait()
        });
        let batch = pool.spawn_batch((0..200).map(|n| move || n));
        let mut refused = 0;
        for (n, end) in batch.wait().into_iter().enumerate() {
            match end {
                Ok(value) => assert_eq!(value, n),
                Err(error) => refused += u64::from(error.is_shutdown()),
            }
        }
        closer.join().unwrap();
        let metrics = pool.metrics();
        check_accounts(&metrics);
        assert_eq!(metrics.tasks_completed() + refused, 200);
    }
}

#[test]
fn a_batch_waits_inside_the_only_thread() {
    let pool = pool(1, 1);
    let inner = pool.clone();
    let sums = pool.spawn(move || {
        let waited: u64 =
            inner.spawn_batch((0..100_u64).map(|n| move || n)).wait().into_iter().map(Result::unwrap).sum();
        let deeper = inner.clone();
        let nested = inner.spawn_batch((0..10).map(move |_| {
            let deeper = deeper.clone();
            move || deeper.spawn_batch((0..10).map(|n| move || n)).wait().len()
        }));
        (waited, nested.wait().into_iter().map(Result::unwrap).sum::<usize>())
    });
    assert_eq!(soon(sums).unwrap(), (4950, 100));
    check_sound(&pool);
}

#[test]
fn an_iterator_may_use_the_pool_and_nobody_is_woken_before_it_ends() {
    let pool = pool(1, 1);
    let (inner, ran) = (pool.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&ran);
    let ends = pool.spawn_batch((0..10).map(move |n| {
        assert_eq!(soon(inner.spawn(move || n)).unwrap(), n);
        assert_eq!(counted.load(Ordering::SeqCst), 0, "none of the batch has begun");
        let counted = Arc::clone(&counted);
        move || counted.fetch_add(1, Ordering::SeqCst)
    }));
    assert_eq!(ends.wait().len(), 10);
    assert_eq!(ran.load(Ordering::SeqCst), 10);
    check_sound(&pool);
}

#[test]
fn an_iterator_may_end_the_pool() {
    let pool = pool(2, 2);
    let inner = pool.clone();
    let ends = pool.spawn_batch((0..10).map(move |n| {
        if n == 5 {
            inner.shutdown().wait();
        }
        move || n
    }));
    assert!(ends.wait().into_iter().all(|end| end.unwrap_err().is_shutdown()), "none had been queued");
}

/// In a child, since it may end the process.
#[test]
#[cfg(unix)]
fn an_iterator_that_panics_spawns_nothing_and_frees_what_it_gave() {
    let pool = pool(1, 1);
    let (drops, ran) = (Drops::new(), Arc::new(AtomicUsize::new(0)));
    let status = crate::support::fork::in_child(|list| {
        let (tokens, counted) = (drops.clone(), Arc::clone(&ran));
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.spawn_batch((0..10).map(move |n| {
                if n == 5 {
                    quiet_panic("the iterator");
                }
                let (token, counted) = (tokens.token(), Arc::clone(&counted));
                move || {
                    drop(token);
                    counted.fetch_add(1, Ordering::SeqCst)
                }
            }))
        }));
        list.check(end.is_err());
        list.check(drops.count() == 5);
        list.check(ran.load(Ordering::SeqCst) == 0);
    });
    assert_eq!(status, 0, "-1: the process was ended");
}

/// Its destructor waits for something that another task of its batch does.
struct WaitsInDrop(Receiver<()>, Arc<AtomicUsize>);

impl Drop for WaitsInDrop {
    fn drop(&mut self) {
        let in_time = self.0.recv_timeout(PATIENCE / 2).is_ok();
        self.1.fetch_add(usize::from(in_time), Ordering::SeqCst);
    }
}

/// A subscriber of another test may have a batch submitted one by one.
#[test]
fn what_was_queued_runs_while_the_closure_of_a_refused_one_is_dropped() {
    let path = "pool::batch::what_was_queued_runs_while_the_closure_of_a_refused_one_is_dropped";
    alone_as(path, &[], || {
        let pool = Pool::builder().core_threads(1).max_threads(1).queue_limit(1).build().unwrap();
        soon(pool.spawn(|| ())).unwrap();
        eventually("the thread sleeps", || pool.metrics().threads_idle() == 1);
        nothing_happens();
        let (send, receive) = channel();
        let in_time = Arc::new(AtomicUsize::new(0));
        let refused = WaitsInDrop(receive, Arc::clone(&in_time));
        let closures: [Box<dyn FnOnce() + Send>; 2] =
            [Box::new(move || send.send(()).unwrap()), Box::new(move || drop(refused))];
        let ends = pool.spawn_batch(closures).wait();
        assert!(ends[0].is_ok() && ends[1].as_ref().unwrap_err().is_full());
        assert_eq!(in_time.load(Ordering::SeqCst), 1, "nobody was woken for the first task");
    });
}

#[test]
fn the_last_waker_is_the_one_that_is_woken() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let pass = gate.clone();
    let mut batch = pool.spawn_batch([move || pass.pass()]);
    let (first, second) = (Wakes::new(), Wakes::new());
    for _ in 0..3 {
        assert!(poll_next(&mut batch, &Waker::from(Arc::clone(&first))).is_pending());
        assert!(poll_next(&mut batch, &Waker::from(Arc::clone(&second))).is_pending());
    }
    gate.open();
    eventually("the second is woken", || second.count() == 1);
    assert_eq!(first.count(), 0);
    assert!(matches!(poll_next(&mut batch, Waker::noop()), Poll::Ready(Some((0, Ok(()))))));
}

/// Polls its batch, and spawns, in `wake`.
struct Reenters(Mutex<Option<Batch<usize>>>, Pool, AtomicUsize, Gate);

impl Wake for Reenters {
    fn wake(self: Arc<Self>) {
        let Some(mut batch) = self.0.lock().unwrap().take() else { return };
        self.1.spawn(|| ()).detach();
        while let Poll::Ready(item) = poll_next(&mut batch, &Waker::from(Arc::clone(&self))) {
            let Some((_, end)) = item else {
                self.3.open();
                return;
            };
            assert_eq!(end.unwrap(), 7);
            self.2.fetch_add(1, Ordering::SeqCst);
        }
        *self.0.lock().unwrap() = Some(batch);
        // The waker may have been called since the poll, and have found nothing.
        let again = self.0.lock().unwrap().take();
        if let Some(mut batch) = again {
            match poll_next(&mut batch, &Waker::from(Arc::clone(&self))) {
                Poll::Ready(Some((_, end))) => {
                    assert_eq!(end.unwrap(), 7);
                    self.2.fetch_add(1, Ordering::SeqCst);
                    *self.0.lock().unwrap() = Some(batch);
                    self.wake();
                }
                Poll::Ready(None) => self.3.open(),
                Poll::Pending => *self.0.lock().unwrap() = Some(batch),
            }
        }
    }
}

#[test]
fn a_waker_may_poll_the_batch_and_spawn() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let batch = pool.spawn_batch((0..100).map(|_| || 7));
    let slot = Mutex::new(Some(batch));
    let waker = Arc::new(Reenters(slot, pool.clone(), AtomicUsize::new(0), Gate::new()));
    Arc::clone(&waker).wake();
    gate.open();
    waker.3.pass();
    assert_eq!(waker.2.load(Ordering::SeqCst), 100);
    soon(busy).unwrap();
    check_sound(&pool);
}

#[test]
fn a_batch_may_be_streamed_from_another_task_of_its_only_thread() {
    let pool = pool(1, 1);
    let inner = pool.clone();
    let mut batch = pool.spawn_batch((0..50).map(|n| move || n));
    assert!(poll_next(&mut batch, Waker::noop()).is_pending() || batch.len() < 50);
    let rest = soon(pool.spawn(move || {
        drop(inner);
        batch.wait().len()
    }));
    assert!(rest.unwrap() >= 49);
}

#[test]
#[cfg(unix)]
fn in_a_child_a_batch_says_that_there_is_no_thread() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let batches = || pool.spawn_batch((0..2).map(|n| move || n));
    let (mut polled, mut fresh, waited) = (batches(), batches(), batches());
    assert!(poll_next(&mut polled, Waker::noop()).is_pending());
    let status = crate::support::fork::in_child(|list| {
        waited.wait().into_iter().for_each(|end| list.no_thread(end));
        for batch in [&mut fresh, &mut polled] {
            match poll_next(batch, Waker::noop()) {
                Poll::Ready(Some((_, end))) => list.no_thread(end),
                _ => list.check(false),
            }
        }
        pool.spawn_batch((0..2).map(|n| move || n)).wait().into_iter().for_each(|end| list.no_thread(end));
    });
    assert_eq!(status, 0, "4: the stream that had been polled before the fork is pending for ever");
    gate.open();
    soon(busy).unwrap();
}

#[test]
fn a_batch_of_a_pool_that_discards_ends() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let mut batch = pool.spawn_batch((0..100).map(|n| move || n));
    let wakes = Wakes::new();
    assert!(poll_next(&mut batch, &Waker::from(Arc::clone(&wakes))).is_pending());
    let keep = pool.options().on_shutdown(OnShutdown::AlwaysRun).spawn(|| ());
    let shutdown = pool.shutdown().discard_queued();
    assert_eq!(wakes.count(), 1, "one waker, one wake");
    assert!(batch.wait().into_iter().all(|end| end.unwrap_err().is_shutdown()));
    gate.open();
    assert_eq!(shutdown.wait().discarded, 100);
    soon(busy).unwrap();
    soon(keep).unwrap();
}

#[test]
fn a_batch_can_go_anywhere() {
    fn check<T: Send + Sync + Unpin + std::panic::UnwindSafe + 'static>() {}
    check::<Batch<std::cell::Cell<u8>>>();
    let pool = pool(1, 1);
    let batch = pool.spawn_batch([|| 1]);
    assert!(format!("{batch:?}").contains("Batch"));
    assert_eq!(thread::spawn(move || batch.wait().len()).join().unwrap(), 1);
}
