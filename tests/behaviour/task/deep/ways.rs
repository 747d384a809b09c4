//! The ways in which waits come to be inside each other: batches, lanes, strands, promises, full
//! queues, scopes, the end of the pool.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sidestep::{Lane, Pool, Strand, Task, TaskError};

use super::{FAR, KIB, Reached, SENTENCE, depth_in, depth_of, is_too_deep, with_stack};
use crate::support::{Drops, Gate, builder, check_sound, eventually, occupy, soon};

/// A panic at the bottom passes through all the waits.
#[test]
fn the_error_can_be_unwrapped_all_the_way_up() {
    fn link(pool: &Pool, length: u32) -> u32 {
        if length == 0 {
            return 0;
        }
        let inner = pool.clone();
        match pool.spawn(move || link(&inner, length - 1)).wait() {
            Ok(below) => below + 1,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.try_into_panic().unwrap()),
            Err(error) => std::panic::resume_unwind(Box::new(error.to_string())),
        }
    }
    let pool = with_stack(1, 512 * KIB);
    let inner = pool.clone();
    let payload = soon(pool.spawn(move || link(&inner, FAR))).unwrap_err().try_into_panic().unwrap();
    assert!(depth_in(payload.downcast_ref::<String>().unwrap()) > 20);
    check_sound(&pool);
}

#[test]
fn the_tasks_of_a_batch_get_an_error_each() {
    fn batches(pool: &Pool, length: u32) -> Vec<TaskError> {
        let one = |inner: Pool| move || if length == 0 { Vec::new() } else { batches(&inner, length - 1) };
        let results = pool.spawn_batch([one(pool.clone())]).wait();
        results.into_iter().flat_map(|result| result.unwrap_or_else(|error| vec![error])).collect()
    }
    let pool = with_stack(1, 256 * KIB);
    let inner = pool.clone();
    let errors = soon(pool.spawn(move || batches(&inner, FAR))).unwrap();
    assert_eq!(errors.len(), 1);
    is_too_deep(&errors[0]);
    check_sound(&pool);
}

#[test]
fn a_chain_through_a_lane_ends_with_an_error() {
    fn in_lane(lane: &Lane, length: u32) -> Reached {
        if length == 0 {
            return Reached { depth: 0, error: None };
        }
        let inner = lane.clone();
        match lane.spawn(move || in_lane(&inner, length - 1)).wait() {
            Ok(reached) => Reached { depth: reached.depth + 1, ..reached },
            Err(error) => Reached { depth: 0, error: Some(error) },
        }
    }
    let pool = with_stack(1, 256 * KIB);
    let lane = pool.lane("deep", 1 << 20);
    let inner = lane.clone();
    let reached = soon(lane.spawn(move || in_lane(&inner, FAR))).unwrap();
    let error = reached.error.unwrap();
    is_too_deep(&error);
    assert_eq!(depth_of(&error), reached.depth + 1);
    // Nor is a slot lost.
    let slots = lane.metrics();
    assert_eq!((slots.tasks_running(), slots.tasks_queued()), (0, 0), "{slots:?}");
    check_sound(&pool);
}

#[test]
fn a_chain_through_strands_ends_with_an_error() {
    fn through(pool: &Pool, length: u32) -> Reached {
        if length == 0 {
            return Reached { depth: 0, error: None };
        }
        let (strand, inner) = (Strand::on(pool, length), pool.clone());
        match strand.call(move |length| through(&inner, *length - 1)).wait() {
            Ok(reached) => Reached { depth: reached.depth + 1, ..reached },
            Err(error) => Reached { depth: 0, error: Some(error) },
        }
    }
    let pool = with_stack(1, 256 * KIB);
    let inner = pool.clone();
    is_too_deep(&soon(pool.spawn(move || through(&inner, FAR))).unwrap().error.unwrap());
    check_sound(&pool);
}

#[cfg(feature = "event-loop")]
#[test]
fn a_chain_of_promises_ends_with_an_error() {
    fn promised(pool: &Pool, length: u32, together: bool) -> std::io::Result<u32> {
        if length == 0 {
            return Ok(0);
        }
        let inner = pool.clone();
        let one = pool.promise(move || promised(&inner, length - 1, together));
        if !together {
            return one.wait().map(|rest| rest + 1);
        }
        sidestep::Promise::all([one]).wait().map(|rest| rest[0] + 1)
    }
    for together in [false, true] {
        let pool = with_stack(1, 256 * KIB);
        let inner = pool.clone();
        let error = soon(pool.spawn(move || promised(&inner, FAR, together))).unwrap();
        let error = error.unwrap_err().to_string();
        assert!(error.contains(SENTENCE), "{error}");
        check_sound(&pool);
    }
}

#[test]
fn a_full_queue_that_no_thread_can_empty_is_an_error() {
    fn fill(pool: &Pool, length: u32, errors: &Arc<Mutex<Vec<String>>>) {
        let next = |pool: &Pool| {
            let (inner, errors) = (pool.clone(), Arc::clone(errors));
            move || fill(&inner, length - 1, &errors)
        };
        if length > 0 && pool.try_spawn(next(pool)).map(Task::detach).is_ok() {
            match pool.reserve().wait() {
                Ok(permit) => drop(permit),
                Err(error) => {
                    is_too_deep(&error);
                    errors.lock().unwrap().push(error.to_string());
                }
            }
        }
    }
    let pool = builder().core_threads(1).max_threads(1).queue_limit(1).stack_size(256 * KIB).build().unwrap();
    let errors = Arc::default();
    let (inner, list) = (pool.clone(), Arc::clone(&errors));
    // The last one is left in the queue, and begins again on an empty stack.
    soon(pool.spawn(move || fill(&inner, 1000, &list))).unwrap();
    eventually("all have run", || pool.metrics().tasks_completed() == 1001);
    let errors = errors.lock().unwrap();
    assert!(!errors.is_empty());
    assert!(errors.iter().all(|error| depth_in(error) > 2), "{errors:?}");
}

/// Each scope is inside a task of the one before.
fn scopes(pool: &Pool, length: u32, drops: &Drops, begun: &AtomicUsize) {
    let local = length;
    pool.scope(|scope| {
        let token = drops.token();
        let local = &local;
        scope.spawn(move || {
            let _token = token;
            begun.fetch_add(1, Ordering::SeqCst);
            if *local > 0 {
                scopes(pool, *local - 1, drops, begun);
            }
        });
    });
}

#[test]
fn a_scope_whose_task_cannot_be_run_panics_and_its_closure_is_gone() {
    for max in [1, 2] {
        let pool = with_stack(max, 256 * KIB);
        let inner = pool.clone();
        let task = pool.spawn(move || {
            let (drops, begun) = (Drops::new(), AtomicUsize::new(0));
            let outcome = catch_unwind(AssertUnwindSafe(|| scopes(&inner, FAR, &drops, &begun))).unwrap_err();
            let text = outcome.downcast_ref::<String>().unwrap().clone();
            (text, drops.count(), begun.load(Ordering::SeqCst))
        });
        let (text, dropped, begun) = soon(task).unwrap();
        assert!(text.contains(SENTENCE), "{text}");
        assert_eq!(dropped, begun + 1, "all closures, and the one that was not run");
        check_sound(&pool);
    }
}

#[test]
fn a_scope_goes_on_if_the_error_has_been_looked_at() {
    fn scopes(pool: &Pool, length: u32) -> Reached {
        let length = &length;
        pool.scope(|scope| {
            let task = scope.spawn(move || match length {
                0 => Reached { depth: 0, error: None },
                _ => scopes(pool, length - 1),
            });
            match task.wait() {
                Ok(reached) => Reached { depth: reached.depth + 1, ..reached },
                Err(error) => Reached { depth: 0, error: Some(error) },
            }
        })
    }
    let pool = with_stack(1, 256 * KIB);
    let inner = pool.clone();
    let reached = soon(pool.spawn(move || scopes(&inner, FAR))).unwrap();
    is_too_deep(&reached.error.unwrap());
    check_sound(&pool);
}

#[test]
fn nested_waits_for_the_end_of_the_pool_report_what_is_left() {
    const TASKS: u64 = 2000;
    let pool = with_stack(1, 256 * KIB);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let reports = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (inner, reports) = (pool.clone(), Arc::clone(&reports));
            pool.spawn(move || {
                let report = inner.shutdown().wait();
                reports.lock().unwrap().push(report);
            })
        })
        .collect();
    gate.open();
    soon(busy).unwrap();
    let last = pool.shutdown().wait();
    assert_eq!(last.still_running, 0, "{last:?}");
    for task in tasks {
        soon(task).unwrap();
    }
    let reports = reports.lock().unwrap();
    assert_eq!(reports.len() as u64, TASKS);
    assert!(reports[0].still_running > 0, "the deepest could not run the others: {:?}", reports[0]);
}
