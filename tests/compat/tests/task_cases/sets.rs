//! `JoinSet`, as far as it concerns blocking tasks.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::support::{Drops, Gate, eventually};
use super::{alone_with_one_thread, occupy, runtime, with_one_thread};
use crate::subject::{JoinSet, spawn_blocking};

/// Fills a set with closures that wait for their gates and return their numbers.
fn gated(set: &mut JoinSet<usize>, count: usize) -> Vec<Gate> {
    let gates: Vec<Gate> = (0..count).map(|_| Gate::new()).collect();
    for (number, gate) in gates.iter().cloned().enumerate() {
        set.spawn_blocking(move || {
            gate.pass();
            number
        });
    }
    gates
}

#[test]
fn results_come_in_the_order_in_which_tasks_end() {
    runtime().block_on(async {
        let mut set = JoinSet::new();
        assert!(set.is_empty() && set.join_next().await.is_none() && set.try_join_next().is_none());
        for _ in 0..2 {
            let gates = gated(&mut set, 3);
            assert_eq!(set.len(), 3);
            assert!(set.try_join_next().is_none());
            for number in [2, 0, 1] {
                gates[number].open();
                assert_eq!(set.join_next().await.unwrap().unwrap(), number);
            }
            assert!(set.is_empty() && set.join_next().await.is_none());
        }
    });
}

#[test]
fn a_set_is_filled_while_it_is_emptied() {
    runtime().block_on(async {
        let mut set = JoinSet::new();
        set.spawn_blocking(|| ());
        set.spawn_blocking(|| ());
        for _ in 0..100 {
            set.join_next().await.unwrap().unwrap();
            assert_eq!(set.len(), 1);
            set.spawn_blocking(|| ());
            assert_eq!(set.len(), 2);
        }
    });
}

#[test]
fn ids_say_which_task_it_was() {
    runtime().block_on(async {
        let (mut set, mut numbers) = (JoinSet::new(), HashMap::new());
        for number in 0..100_u32 {
            let abort =
                set.spawn_blocking(
                    move || {
                        if number % 3 == 0 { resume_unwind(Box::new(number)) } else { number }
                    },
                );
            assert!(numbers.insert(abort.id(), number).is_none());
        }
        while let Some(joined) = set.join_next_with_id().await {
            let (id, number) =
                joined.unwrap_or_else(|error| (error.id(), *error.into_panic().downcast().unwrap()));
            assert_eq!(numbers.remove(&id), Some(number));
        }
        assert!(numbers.is_empty());
    });
}

#[test]
fn detached_tasks_run_on_without_the_set() {
    runtime().block_on(async {
        let (mut set, gate, values) = (JoinSet::new(), Gate::new(), Drops::new());
        for _ in 0..4 {
            let (behind, value) = (gate.clone(), values.token());
            set.spawn_blocking(move || {
                behind.pass();
                value
            });
        }
        set.detach_all();
        assert!(set.is_empty() && set.join_next().await.is_none());
        gate.open();
        eventually(|| values.count() == 4);
    });
}

#[test]
fn aborting_all_keeps_the_tasks_in_the_set() {
    alone_with_one_thread("sets::aborting_all_keeps_the_tasks_in_the_set", || {
        with_one_thread().block_on(async {
            let (mut set, gate, began) = (JoinSet::new(), Gate::new(), Gate::new());
            let (behind, begins) = (gate.clone(), began.clone());
            set.spawn_blocking(move || {
                begins.open();
                behind.pass();
                "ran"
            });
            began.pass();
            set.spawn_blocking(|| "never");
            set.abort_all();
            assert_eq!(set.len(), 2);
            gate.open();
            let (mut values, mut cancelled) = (0, 0);
            while let Some(end) = set.join_next().await {
                match end {
                    Ok(value) => values += usize::from(value == "ran"),
                    Err(error) => cancelled += usize::from(error.is_cancelled()),
                }
            }
            assert_eq!((values, cancelled), (1, 1));
        });
    });
}

#[test]
fn dropping_the_set_cancels_what_is_queued() {
    alone_with_one_thread("sets::dropping_the_set_cancels_what_is_queued", || {
        with_one_thread().block_on(async {
            let (gate, ran, closures) = (Gate::new(), Arc::new(AtomicUsize::new(0)), Drops::new());
            let busy = occupy(&gate);
            let mut set = JoinSet::new();
            for _ in 0..4 {
                let (runs, token) = (Arc::clone(&ran), closures.token());
                set.spawn_blocking(move || {
                    drop(token);
                    runs.fetch_add(1, Ordering::SeqCst)
                });
            }
            // It is waited for when it is dropped.
            let mut joining = Box::pin(async move { while set.join_next().await.is_some() {} });
            assert!(joining.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            drop(joining);
            gate.open();
            busy.await.unwrap();
            spawn_blocking(|| ()).await.unwrap();
            eventually(|| closures.count() == 4);
            assert_eq!(ran.load(Ordering::SeqCst), 0);
        });
    });
}

#[test]
fn shutting_down_waits_for_closures_that_run() {
    runtime().block_on(async {
        let (mut set, gate, began, ended) = (JoinSet::new(), Gate::new(), Gate::new(), Gate::new());
        let (behind, begins, ends) = (gate.clone(), began.clone(), ended.clone());
        set.spawn_blocking(move || {
            begins.open();
            behind.pass();
            ends.open();
            resume_unwind(Box::new("a panic, which is not seen"))
        });
        set.spawn_blocking(|| ());
        began.pass();
        let mut ending = Box::pin(set.shutdown());
        assert!(ending.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        gate.open();
        ending.await;
        ended.pass();
        assert!(set.is_empty());
        set.shutdown().await;
    });
}

#[test]
fn all_values_come_or_the_first_panic_does() {
    runtime().block_on(async {
        let mut set = JoinSet::new();
        for number in 0..10 {
            set.spawn_blocking(move || number);
        }
        let mut values = set.join_all().await;
        values.sort_unstable();
        assert_eq!(values, (0..10).collect::<Vec<_>>());

        let panics = tokio::spawn(async {
            let mut set: JoinSet<()> = JoinSet::new();
            set.spawn_blocking(|| resume_unwind(Box::new("the first")));
            set.join_all().await
        });
        assert_eq!(panics.await.unwrap_err().into_panic().downcast_ref(), Some(&"the first"));
    });
}

#[test]
fn asking_without_waiting_leaves_the_waker_of_a_wait_alone() {
    #[derive(Default)]
    struct Calls(AtomicUsize);

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    runtime().block_on(async {
        let mut set = JoinSet::new();
        let gates = gated(&mut set, 1);
        let calls = Arc::new(Calls::default());
        let waker = Waker::from(Arc::clone(&calls));
        assert!(set.poll_join_next(&mut Context::from_waker(&waker)).is_pending());
        assert!(set.try_join_next().is_none());
        gates[0].open();
        eventually(|| calls.0.load(Ordering::SeqCst) > 0);
        assert_eq!(set.try_join_next().unwrap().unwrap(), 0);
        assert!(matches!(set.poll_join_next_with_id(&mut Context::from_waker(&waker)), Poll::Ready(None)));
    });
}

#[test]
fn a_join_that_is_given_up_loses_nothing() {
    runtime().block_on(async {
        let mut set = JoinSet::new();
        let gates = gated(&mut set, 3);
        for _ in 0..3 {
            let mut join = Box::pin(set.join_next());
            assert!(join.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        gates.iter().for_each(Gate::open);
        let mut sum = 0;
        while let Some(number) = set.join_next().await {
            sum += number.unwrap();
        }
        assert_eq!(sum, 3);
    });
}

#[test]
fn a_set_can_go_anywhere() {
    fn free<T: Send + Sync + Unpin + Default + std::fmt::Debug + 'static>() {}
    free::<JoinSet<u8>>();
}
