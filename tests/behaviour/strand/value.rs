//! What becomes of a strand's value: poisoned, taken out, dropped.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use sidestep::{Dedicated, Strand, Task, TaskError};

use super::calls::hold;
use crate::support::{
    Crowd, DropToken, Drops, Gate, HoldOnDrop, PATIENCE, PanicOnDrop, all_well, check_accounts, check_sound,
    eventually, occupy, occupy_lane, pool, quiet_panic, soon,
};

fn poison(strand: &Strand<u64>) {
    let broken: Task<()> = strand.call(|value| {
        *value = 13;
        quiet_panic("half done")
    });
    assert!(soon(broken).unwrap_err().is_panic());
}

#[test]
fn a_panic_poisons_later_calls_until_somebody_clears_it() {
    let pool = pool(2, 2);
    let strand = Strand::on(&pool, 0_u64);
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    let broken: Task<()> = strand.call(|_| quiet_panic("half done"));
    let queued = strand.call(|_| ());
    gate.open();
    soon(held).unwrap();
    assert!(soon(broken).unwrap_err().is_panic());
    let error = soon(queued).unwrap_err();
    assert!(error.is_poisoned() && !error.is_panic(), "{error}");
    assert!(error.to_string().contains("poisoned"), "{error}");
    assert!(error.to_string().contains(file!()), "{error}");
    assert!(strand.is_poisoned());

    strand.clear_poison();
    assert!(!strand.is_poisoned());
    assert_eq!(soon(strand.call(|value| *value)).unwrap(), 0);
    let metrics = pool.metrics();
    check_accounts(&metrics);
    assert_eq!((metrics.tasks_panicked(), metrics.tasks_cancelled()), (1, 1), "{metrics:?}");
}

#[test]
fn an_error_of_poison_is_an_io_error_too() {
    let strand = Strand::on(&pool(1, 1), 0);
    poison(&strand);
    let error = std::io::Error::from(soon(strand.call(|_| ())).unwrap_err());
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TaskError>());
    assert!(inner.is_some_and(TaskError::is_poisoned));
}

#[test]
fn a_poisoned_value_does_not_come_out_but_stays() {
    let strand = Strand::on(&pool(1, 1), 0);
    poison(&strand);
    let other = strand.clone();
    assert!(soon(strand.into_inner()).unwrap_err().is_poisoned());
    other.clear_poison();
    assert_eq!(soon(other.into_inner()).unwrap(), 13, "as the panic has left it");
}

#[test]
fn a_destructor_in_a_call_poisons_as_the_call_itself() {
    let strand = Strand::on(&pool(1, 1), 0);
    let bomb = PanicOnDrop(Drops::new());
    let call = strand.call(move |_| drop(bomb));
    assert!(soon(call).unwrap_err().is_panic());
    assert!(strand.is_poisoned());
}

#[test]
fn into_inner_waits_for_what_is_queued_and_closes_the_other_handles() {
    let strand = Strand::on(&pool(2, 2), Vec::new());
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    let other = strand.clone();
    let before = other.call(|list| list.push("before"));
    let taken = strand.into_inner();
    let after = other.call(|list| list.push("after"));
    assert!(!taken.is_finished());
    gate.open();
    all_well([held, before]);
    assert_eq!(soon(taken).unwrap(), ["before"]);
    let error = soon(after).unwrap_err();
    assert!(error.is_shutdown() && !error.is_panic(), "{error}");
    assert!(error.to_string().contains("taken"), "{error}");
    assert!(soon(other.call(|_| ())).unwrap_err().is_shutdown());
    assert!(soon(other.into_inner()).unwrap_err().is_shutdown());
}

#[test]
fn into_inner_that_is_given_up_leaves_the_value_to_the_others() {
    let strand = Strand::on(&pool(2, 2), 5);
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    let other = strand.clone();
    drop(strand.into_inner());
    gate.open();
    soon(held).unwrap();
    assert_eq!(soon(other.call(|value| *value)).unwrap(), 5);
}

#[test]
fn a_value_taken_for_nobody_is_dropped_once() {
    let drops = Drops::new();
    let strand = Strand::on(&pool(2, 2), drops.token());
    let task = strand.into_inner();
    eventually("it is taken", || task.is_finished());
    assert_eq!(drops.count(), 0);
    drop(task);
    assert_eq!(drops.count(), 1);
}

/// Where it was dropped.
#[derive(Debug)]
pub(crate) struct Witness(pub(crate) Arc<Mutex<Vec<ThreadId>>>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(thread::current().id());
    }
}

#[test]
fn the_value_is_dropped_on_the_pool_after_what_is_queued() {
    let pool = pool(1, 1);
    let on_pool = soon(pool.spawn(|| thread::current().id())).unwrap();
    let seen = Arc::default();
    let strand = Strand::on(&pool, Witness(Arc::clone(&seen)));
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    let ran = Gate::new();
    let announce = ran.clone();
    strand.call(move |_| announce.open()).detach();
    drop(strand);
    assert!(seen.lock().unwrap().is_empty());
    gate.open();
    soon(held).unwrap();
    ran.pass();
    eventually("the value is dropped", || !seen.lock().unwrap().is_empty());
    assert_eq!(*seen.lock().unwrap(), [on_pool]);
}

#[test]
fn dropping_the_last_handle_does_not_wait_for_the_destructor() {
    let pool = pool(1, 1);
    let (value, begun, leave) = HoldOnDrop::new();
    drop(Strand::on(&pool, value));
    begun.pass();
    leave.open();
    check_sound(&pool);
}

#[test]
fn a_strand_in_a_full_lane_still_drops_its_value_on_the_pool() {
    let pool = pool(2, 2);
    let lane = pool.lane_builder("narrow", 1).queue_limit(1).build().unwrap();
    let seen = Arc::default();
    let strand = Strand::in_lane(&lane, Witness(Arc::clone(&seen))).unwrap();
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    let queued = lane.spawn(|| ());
    assert!(soon(strand.call(|_| ())).unwrap_err().is_full());
    gate.open();
    soon(held).unwrap();
    soon(queued).unwrap();
    let gate = Gate::new();
    let held = occupy_lane(&lane, &gate);
    let queued = lane.spawn(|| ());
    drop(strand);
    eventually("the value is dropped", || !seen.lock().unwrap().is_empty());
    assert_ne!(*seen.lock().unwrap(), [thread::current().id()]);
    gate.open();
    all_well([held, queued]);
}

#[test]
fn the_value_is_dropped_in_place_where_the_pool_has_ended() {
    let pool = pool(1, 1);
    let seen = Arc::default();
    let strand = Strand::on(&pool, Witness(Arc::clone(&seen)));
    pool.shutdown().wait();
    assert!(soon(strand.call(|_| ())).unwrap_err().is_shutdown());
    assert!(soon(strand.clone().into_inner()).unwrap_err().is_shutdown());
    drop(strand);
    assert_eq!(*seen.lock().unwrap(), [thread::current().id()]);
}

#[test]
fn a_destructor_that_panics_harms_nobody() {
    let pool = pool(1, 1);
    let drops = Drops::new();
    drop(Strand::on(&pool, PanicOnDrop(drops.clone())));
    eventually("it is dropped", || drops.count() == 1);
    check_sound(&pool);
    let strand = Strand::on(&pool, PanicOnDrop(drops.clone()));
    pool.shutdown().wait();
    drop(strand);
    assert_eq!(drops.count(), 2);
}

#[test]
fn each_closure_and_result_is_dropped_once_whatever_becomes_of_the_call() {
    let pool = pool(2, 4);
    let drops = Drops::new();
    let made = Arc::new(AtomicUsize::new(0));
    let strand = Strand::on(&pool, 0_u64);
    let tasks: Vec<_> = (0..300)
        .map(|number| {
            let (token, made, inner) = (drops.token(), Arc::clone(&made), drops.clone());
            strand.call(move |value| {
                let _token = token;
                *value += 1;
                if number % 50 == 49 {
                    quiet_panic("now and then");
                }
                made.fetch_add(1, Ordering::SeqCst);
                inner.token()
            })
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        match number % 3 {
            0 => drop(task),
            1 => task.detach(),
            _ => drop(task.wait_timeout(PATIENCE)),
        }
        strand.clear_poison();
    }
    eventually("all is dropped", || drops.count() == 300 + made.load(Ordering::SeqCst));
    check_sound(&pool);
}

/// Tells how many used it at once, its destructor among them.
struct Used {
    users: Crowd,
    most: Arc<AtomicUsize>,
    _token: DropToken,
}

impl Used {
    fn work(&self) {
        self.users.enter();
        thread::yield_now();
        self.users.leave();
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        self.work();
        self.most.fetch_max(self.users.most(), Ordering::SeqCst);
    }
}

/// A wrapper is dropped while a call uses what it wraps, and drops that under the call's hands:
/// deadpool.
// Origin: pitfall 18
#[cfg(feature = "fs")]
#[test]
fn a_wrapper_dropped_during_a_call_does_not_drop_the_value_under_it() {
    const ROUNDS: usize = 100;
    let pool = pool(2, 4);
    let (most, drops) = (Arc::new(AtomicUsize::new(0)), Drops::new());
    let value = || Used { users: Crowd::default(), most: Arc::clone(&most), _token: drops.token() };
    for round in 0..ROUNDS {
        let strand = Strand::on(&pool, value());
        let call = strand.call(|value| value.work());
        drop(strand);
        if round % 2 == 0 {
            drop(call)
        } else {
            call.detach()
        }

        let mut unblock = sidestep::Unblock::new(value()).on(&pool);
        let waker = std::task::Waker::noop();
        let mut call = Box::pin(unblock.with_mut(|value| value.work()));
        drop(call.as_mut().poll(&mut std::task::Context::from_waker(waker)));
        drop(call);
        drop(unblock);

        if round % 10 == 0 {
            let value = value();
            let dedicated = Dedicated::new(move || value).unwrap();
            let call = dedicated.call(|value| value.work());
            drop(dedicated);
            if round % 20 == 0 { drop(call) } else { call.detach() }
        }
    }
    let made = 2 * ROUNDS + ROUNDS / 10;
    eventually("each value is dropped", || drops.count() == made);
    check_sound(&pool);
    assert_eq!((drops.count(), most.load(Ordering::SeqCst)), (made, 1), "once, and while nobody used it");
}

#[test]
fn a_call_that_finds_no_value_is_not_completed_in_the_report_of_a_shutdown() {
    let pool = pool(1, 1);
    let strand = Strand::on(&pool, 0_u64);
    poison(&strand);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let denied = strand.call(|value| *value += 1);
    let shutdown = pool.shutdown();
    gate.open();
    assert_eq!(shutdown.wait().completed, 1, "the task that ran");
    soon(busy).unwrap();
    assert!(soon(denied).unwrap_err().is_poisoned());
    assert_eq!(pool.metrics().tasks_cancelled(), 1);
}
