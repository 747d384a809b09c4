//! Calls on a value behind the pool: turns, order, cancellation, waiting inside.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sidestep::{OnShutdown, Pool, Strand, Task, current};

use crate::support::{
    Crowd, Drops, Gate, all_well, check_sound, eventually, nothing_happens, occupy, pool, soon,
};

/// A call that has started and keeps its turn until `gate` opens.
pub(crate) fn hold<T: Send + 'static>(strand: &Strand<T>, gate: &Gate) -> Task<()> {
    let started = Gate::new();
    let (announce, gate) = (started.clone(), gate.clone());
    let task = strand.call(move |_| {
        announce.open();
        gate.pass();
    });
    started.pass();
    task
}

#[test]
fn calls_run_in_order_and_see_what_the_one_before_left() {
    let pool = pool(4, 8);
    let strand = Strand::on(&pool, Vec::new());
    let calls: Vec<_> = (0..1000).map(|number| strand.call(move |list| list.push(number))).collect();
    all_well(calls);
    assert_eq!(soon(strand.into_inner()).unwrap(), (0..1000).collect::<Vec<_>>());
}

#[test]
fn callers_on_many_threads_never_overlap_and_each_keeps_its_order() {
    let pool = pool(4, 8);
    let strand = Strand::on(&pool, Vec::new());
    let crowd = Arc::new(Crowd::default());
    thread::scope(|scope| {
        for caller in 0..8 {
            let (strand, crowd) = (strand.clone(), Arc::clone(&crowd));
            scope.spawn(move || {
                let call = |number| {
                    let crowd = Arc::clone(&crowd);
                    strand.call(move |list: &mut Vec<(i32, i32)>| {
                        crowd.enter();
                        list.push((caller, number));
                        crowd.leave();
                    })
                };
                all_well((0..200).map(call).collect::<Vec<_>>());
            });
        }
    });
    assert_eq!(crowd.most(), 1);
    let list = soon(strand.into_inner()).unwrap();
    for caller in 0..8 {
        let own: Vec<_> = list.iter().filter(|(by, _)| *by == caller).map(|(_, number)| *number).collect();
        assert_eq!(own, (0..200).collect::<Vec<_>>());
    }
}

#[test]
fn calls_of_two_strands_run_side_by_side() {
    let pool = pool(2, 2);
    let (here, there) = (Strand::on(&pool, ()), Strand::on(&pool, ()));
    let gate = Gate::new();
    let held = hold(&here, &gate);
    soon(there.call(|()| ())).unwrap();
    gate.open();
    soon(held).unwrap();
}

#[test]
fn a_strand_holds_no_thread_while_nothing_is_queued_and_one_however_much_is() {
    let pool = pool(2, 64);
    let strand = Strand::on(&pool, 0);
    soon(strand.call(|count| *count += 1)).unwrap();
    eventually("no thread is held", || pool.metrics().tasks_running() == 0);
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    let queued: Vec<_> = (0..500).map(|_| strand.call(|count| *count += 1)).collect();
    nothing_happens();
    let metrics = pool.metrics();
    assert_eq!((metrics.tasks_running(), metrics.tasks_queued()), (1, 500), "{metrics:?}");
    assert!(metrics.threads() <= 3, "{metrics:?}");
    gate.open();
    soon(held).unwrap();
    all_well(queued);
    assert_eq!(soon(strand.into_inner()).unwrap(), 501);
}

#[test]
fn a_call_cancelled_in_the_queue_never_runs_and_is_dropped_at_once() {
    let pool = pool(2, 2);
    let strand = Strand::on(&pool, 0_u64);
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    let drops = Drops::new();
    let token = drops.token();
    let unwanted = strand.call(move |value| {
        *value = 7;
        drop(token);
    });
    let next = strand.call(|value| *value);
    drop(unwanted);
    assert_eq!(drops.count(), 1, "dropped by the one who gave up");
    gate.open();
    soon(held).unwrap();
    assert_eq!(soon(next).unwrap(), 0);
    check_sound(&pool);
}

#[test]
fn a_running_call_is_told_and_the_next_waits_for_its_end() {
    let pool = pool(2, 2);
    let strand = Strand::on(&pool, Vec::new());
    let (started, interrupted) = (Gate::new(), Gate::new());
    let announce = started.clone();
    let endless = strand.call(move |list| {
        let interrupt = interrupted.clone();
        let _guard = current::on_cancel(move || interrupt.open());
        announce.open();
        interrupted.pass();
        assert!(current::is_cancelled());
        list.push("interrupted");
    });
    started.pass();
    let next = strand.call(|list| {
        list.push("next");
        list.clone()
    });
    drop(endless);
    assert_eq!(soon(next).unwrap(), ["interrupted", "next"]);
}

#[test]
fn a_shutdown_runs_what_is_queued_or_discards_it() {
    let pool = pool(1, 1);
    let strand = Strand::on(&pool, 0);
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    let queued = strand.call(|value| *value += 1);
    let shutdown = pool.shutdown();
    gate.open();
    all_well([held, queued]);
    shutdown.wait();

    let pool = self::pool(1, 1);
    let strand = Strand::on(&pool, 0);
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    let queued = strand.call(|value| *value += 1);
    let shutdown = pool.shutdown().discard_queued();
    assert!(soon(queued).unwrap_err().is_shutdown());
    gate.open();
    soon(held).unwrap();
    shutdown.wait();
}

#[test]
fn a_call_that_waits_for_its_own_strand_is_told() {
    let pool = pool(2, 8);
    let strand = Strand::on(&pool, 0_u64);
    let own = strand.clone();
    let error = soon(strand.call(move |_| own.call(|value| *value).wait())).unwrap().unwrap_err();
    assert!(error.is_deadlock(), "{error}");
    assert!(!strand.is_poisoned());
    assert_eq!(soon(strand.call(|value| *value)).unwrap(), 0);
}

#[test]
fn a_call_that_waits_for_its_own_strand_through_a_task_is_told() {
    let pool = pool(2, 8);
    let strand = Strand::on(&pool, 0_u64);
    let (own, deputy) = (strand.clone(), pool.clone());
    let error = soon(strand.call(move |_| deputy.spawn(move || own.call(|value| *value).wait()).wait()));
    let told = error.unwrap().is_err_and(|error| error.is_deadlock());
    let told = told || soon(strand.call(|_| ())).is_ok();
    assert!(told, "either of the two may be told, and neither hangs");
}

#[test]
fn a_call_may_queue_another_of_its_own_strand() {
    let strand = Strand::on(&pool(1, 1), Vec::new());
    let own = strand.clone();
    let later = soon(strand.call(move |list| {
        let later = own.call(|list: &mut Vec<_>| list.push("later"));
        list.push("first");
        later
    }));
    soon(later.unwrap()).unwrap();
    assert_eq!(soon(strand.into_inner()).unwrap(), ["first", "later"]);
}

/// A task that waits for the shutdown counts as ended, so its turn is over while it still has the
/// value.
#[test]
fn a_call_that_waits_for_the_shutdown_keeps_the_value_to_itself() {
    let pool = pool(2, 2);
    let strand = Strand::on(&pool, 0_u64);
    let queued_up = Gate::new();
    let (all_queued, closing) = (queued_up.clone(), pool.clone());
    let first = strand.call(move |value| {
        all_queued.pass();
        closing.shutdown().wait();
        *value += 1;
    });
    let second = strand.call(|value| *value += 1);
    queued_up.open();
    let error = soon(second).unwrap_err();
    assert!(error.is_deadlock(), "{error}");
    soon(first).unwrap();
    assert!(!strand.is_poisoned());
}

#[test]
fn a_waiting_call_of_a_full_pool_runs_other_work_in_place() {
    let pool = pool(1, 1);
    let strand = Strand::on(&pool, 0_u64);
    let helper = pool.clone();
    let sum = strand.call(move |value| {
        *value += helper.spawn(|| 40).wait().unwrap();
        *value + 2
    });
    assert_eq!(soon(sum).unwrap(), 42);
}

#[test]
fn a_strand_keeps_its_pool_alive() {
    let pool = pool(1, 1);
    let strand = Strand::on(&pool, 1);
    drop(pool);
    assert_eq!(soon(strand.call(|value| *value)).unwrap(), 1);
    assert_eq!(strand.lane().limit(), 1);
}

#[test]
fn a_lane_of_another_limit_is_refused_by_name() {
    let pool = pool(1, 1);
    let drops = Drops::new();
    let error = Strand::in_lane(&pool.lane("wide", 3), drops.token()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("\"wide\" has limit 3"), "{error}");
    assert_eq!(drops.count(), 1);
}

#[test]
fn the_handle_is_send_sync_and_unwind_safe_whatever_the_value() {
    fn check<T: Send + Sync + Unpin + std::panic::UnwindSafe + std::panic::RefUnwindSafe>(_: &T) {}
    let pool = pool(1, 1);
    // A `Cell` is not `Sync`, and need not be.
    let strand = Strand::on(&pool, std::cell::Cell::new(1));
    check(&strand);
    assert!(format!("{strand:?}").contains("strand"));
    assert_eq!(soon(strand.call(|value| value.get())).unwrap(), 1);
}

#[test]
fn a_strand_of_the_global_pool_works_beside_a_busy_one() {
    let other = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&other, &gate);
    let strand = Strand::new(String::new());
    soon(strand.call(|text| text.push_str("ok"))).unwrap();
    assert_eq!(soon(strand.into_inner()).unwrap(), "ok");
    gate.open();
    soon(busy).unwrap();
    assert!(Pool::global().metrics().tasks_completed() >= 2);
}

#[test]
fn a_call_may_expire_in_the_queue_and_has_a_name_in_errors() {
    let pool = pool(2, 2);
    let strand = Strand::on(&pool, 0_u64);
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    let hurried = strand.options().name("hurried").expire_after(Duration::ZERO).call(|value| *value += 1);
    let patient = strand.options().name("patient").expire_after(Duration::MAX).call(|value| *value);
    let error = soon(hurried).unwrap_err();
    assert!(error.is_expired() && error.to_string().contains("\"hurried\""), "{error}");
    assert!(error.to_string().contains(file!()), "{error}");
    gate.open();
    soon(held).unwrap();
    assert_eq!(soon(patient).unwrap(), 0);
}

#[test]
fn a_call_may_have_a_say_in_the_shutdown() {
    let pool = pool(1, 1);
    let strand = Strand::on(&pool, 0_u64);
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    let needed = strand.options().on_shutdown(OnShutdown::AlwaysRun).call(|value| *value += 1);
    let idle = strand.options().on_shutdown(OnShutdown::Discard).call(|value| *value += 1);
    let shutdown = pool.shutdown().discard_queued();
    assert!(soon(idle).unwrap_err().is_shutdown());
    gate.open();
    all_well([held, needed]);
    shutdown.wait();
}
