//! Strands and dedicated threads in the hands of odd users: destructors of calls that are refused,
//! values whose thread is gone, circles of waits.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

use sidestep::{Dedicated, Pool, Strand, Task, TaskError, current};

use crate::strand::value::Witness;
use crate::support::{Drops, Gate, PanicOnDrop, check_sound, occupy, pool, quiet_panic, soon};

#[test]
fn a_refused_call_whose_closure_panics_in_its_destructor_harms_nobody() {
    let pool = pool(2, 2);
    let drops = Drops::new();
    let strand = Strand::on(&pool, 0);
    let broken: Task<()> = strand.call(|_| quiet_panic("half done"));
    assert!(soon(broken).unwrap_err().is_panic());
    let bomb = PanicOnDrop(drops.clone());
    assert!(soon(strand.call(move |_| drop(bomb))).unwrap_err().is_poisoned());
    assert_eq!(drops.count(), 1);
    strand.clear_poison();
    let other = strand.clone();
    assert_eq!(soon(strand.into_inner()).unwrap(), 0);
    let bomb = PanicOnDrop(drops.clone());
    assert!(soon(other.call(move |_| drop(bomb))).unwrap_err().is_shutdown());
    assert_eq!(drops.count(), 2);
    check_sound(&pool);
}

#[test]
fn a_refused_call_is_dropped_by_a_thread_that_does_not_panic() {
    /// Says whether its thread was panicking.
    struct Asks(Arc<Mutex<Vec<bool>>>);
    impl Drop for Asks {
        fn drop(&mut self) {
            self.0.lock().unwrap().push(thread::panicking());
        }
    }
    let strand = Strand::on(&pool(1, 1), 0);
    let broken: Task<()> = strand.call(|_| quiet_panic("half done"));
    assert!(soon(broken).unwrap_err().is_panic());
    let seen = Arc::default();
    let asks = Asks(Arc::clone(&seen));
    assert!(soon(strand.call(move |_| drop(asks))).unwrap_err().is_poisoned());
    assert_eq!(*seen.lock().unwrap(), [false], "nothing it has locked is poisoned");
}

#[test]
fn every_call_after_the_thread_was_retired_is_told_the_same() {
    let dedicated = Dedicated::new(|| Rc::new(0)).unwrap();
    soon(dedicated.call(|_| current::retire_thread())).unwrap();
    let drops = Drops::new();
    for _ in 0..3 {
        let bomb = PanicOnDrop(drops.clone());
        let error = soon(dedicated.call(move |_| drop(bomb))).unwrap_err();
        assert!(error.is_shutdown(), "{error}");
    }
    assert_eq!(drops.count(), 3);
    assert!(!dedicated.is_poisoned());
    assert!(soon(dedicated.clone().close()).unwrap_err().is_shutdown());
    assert!(soon(dedicated.close()).unwrap_err().is_shutdown());
}

#[test]
fn a_shutdown_that_discards_what_is_queued_leaves_the_value_to_the_pool() {
    let pool = pool(1, 1);
    let home = soon(pool.spawn(|| thread::current().id())).unwrap();
    let seen = Arc::default();
    let strand = Strand::on(&pool, Witness(Arc::clone(&seen)));
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    drop(strand);
    let shutdown = pool.shutdown().discard_queued();
    assert!(seen.lock().unwrap().is_empty(), "its destructor may block");
    gate.open();
    soon(busy).unwrap();
    shutdown.wait();
    assert_eq!(*seen.lock().unwrap(), [home]);
}

/// A call of `strand` that waits for `next`, once everybody is in place.
fn waits_in<T: Send + 'static>(
    strand: &Strand<T>,
    ready: &Gate,
    next: impl FnOnce() -> Task<()> + Send + 'static,
) -> Task<Result<(), TaskError>> {
    let ready = ready.clone();
    strand.call(move |_| {
        ready.pass();
        next().wait()
    })
}

/// Of `count` strands each waits, in a call, for a call of the next, the last for one of the first.
fn circle(strands: &[Strand<()>]) {
    let ready = Gate::new();
    let turns: Vec<_> = (0..strands.len())
        .map(|place| {
            let next = strands[(place + 1) % strands.len()].clone();
            waits_in(&strands[place], &ready, move || next.call(|()| ()))
        })
        .collect();
    ready.open();
    let ends: Vec<_> = turns.into_iter().map(|turn| soon(turn).unwrap()).collect();
    let told = ends.iter().filter(|end| end.as_ref().is_err_and(TaskError::is_deadlock)).count();
    assert_eq!(told, 1, "one is told, and the others go on: {ends:?}");
    for strand in strands {
        soon(strand.call(|()| ())).unwrap();
    }
}

#[test]
fn a_circle_of_strands_is_told_to_one_of_them() {
    for count in 1..=4 {
        let pool = pool(2, 16);
        let strands: Vec<_> = (0..count).map(|_| Strand::on(&pool, ())).collect();
        circle(&strands);
        check_sound(&pool);
    }
}

#[test]
fn a_circle_of_strands_of_a_pool_that_cannot_grow_is_told() {
    for count in 1..=4 {
        let pool = pool(count, count);
        let strands: Vec<_> = (0..count).map(|_| Strand::on(&pool, ())).collect();
        circle(&strands);
        check_sound(&pool);
    }
}

#[test]
fn a_call_that_waits_for_its_own_strand_through_a_chain_of_tasks_is_told() {
    let pool = pool(2, 16);
    let strand = Strand::on(&pool, ());
    for length in 0..5 {
        fn step(pool: &Pool, strand: &Strand<()>, left: u32) -> Result<(), TaskError> {
            if left == 0 {
                return strand.call(|()| ()).wait();
            }
            let (deputy, own) = (pool.clone(), strand.clone());
            pool.spawn(move || step(&deputy, &own, left - 1)).wait()?
        }
        let (deputy, own) = (pool.clone(), strand.clone());
        let end = soon(strand.call(move |()| step(&deputy, &own, length))).unwrap();
        assert!(end.unwrap_err().is_deadlock(), "length {length}");
    }
    check_sound(&pool);
}

#[test]
fn who_waits_for_a_circle_but_is_not_part_of_it_is_not_told() {
    let pool = pool(4, 16);
    for _ in 0..200 {
        let strand = Strand::on(&pool, ());
        let own = strand.clone();
        let go = Gate::new();
        let pass = go.clone();
        let circle = strand.call(move |()| {
            pass.pass();
            own.call(|()| ()).wait()
        });
        let (own, pass) = (strand.clone(), go.clone());
        let innocent = pool.spawn(move || {
            pass.pass();
            own.call(|()| 7).wait()
        });
        go.open();
        assert!(soon(circle).unwrap().unwrap_err().is_deadlock());
        assert_eq!(soon(innocent).unwrap().unwrap(), 7);
    }
    check_sound(&pool);
}

#[test]
fn a_call_that_waits_for_its_own_strand_through_a_scope_or_a_batch_is_told() {
    let pool = pool(4, 16);
    let strand = Strand::on(&pool, ());
    let (own, deputy) = (strand.clone(), pool.clone());
    let end = strand.call(move |()| {
        let results = deputy.spawn_batch((0..3).map(|_| {
            let own = own.clone();
            move || own.call(|()| ()).wait()
        }));
        results.wait().into_iter().filter(|end| !matches!(end, Ok(Ok(())))).count()
    });
    assert!(soon(end).unwrap() > 0);
    let (own, deputy) = (strand.clone(), pool.clone());
    let end = strand.call(move |()| {
        deputy.scope(|scope| {
            let inner = scope.spawn(|| own.call(|()| ()).wait());
            inner.wait()?
        })
    });
    assert!(soon(end).unwrap().unwrap_err().is_deadlock());
    check_sound(&pool);
}

#[test]
fn a_call_that_waits_for_its_own_strand_through_a_scope_s_end_is_told() {
    let pool = pool(4, 16);
    let strand = Strand::on(&pool, ());
    let (own, deputy) = (strand.clone(), pool.clone());
    let seen = Arc::new(Mutex::new(None));
    let result = Arc::clone(&seen);
    let end = strand.call(move |()| {
        deputy.scope(|scope| {
            let started = Gate::new();
            let announce = started.clone();
            scope.spawn(move || {
                announce.open();
                *result.lock().unwrap() = Some(own.call(|()| ()).wait());
            });
            started.pass();
        });
    });
    soon(end).unwrap();
    assert!(seen.lock().unwrap().take().unwrap().unwrap_err().is_deadlock());
    check_sound(&pool);
}

#[test]
fn a_call_of_a_dedicated_that_waits_for_its_own_through_a_task_of_a_pool_is_told() {
    let pool = pool(4, 16);
    let dedicated = Dedicated::new(|| Rc::new(0)).unwrap();
    let (own, deputy) = (dedicated.clone(), pool.clone());
    let end = dedicated.call(move |_| deputy.spawn(move || own.call(|_| ()).wait()).wait()?);
    assert!(soon(end).unwrap().unwrap_err().is_deadlock());
    soon(dedicated.call(|_| ())).unwrap();
    check_sound(&pool);
}

#[test]
fn a_circle_of_two_dedicated_is_told() {
    let here = Dedicated::new(|| Rc::new(0)).unwrap();
    let there = Dedicated::new(|| Rc::new(0)).unwrap();
    let ready = Gate::new();
    let (pass, next) = (ready.clone(), there.clone());
    let one = here.call(move |_| {
        pass.pass();
        next.call(|_| ()).wait()
    });
    let (pass, next) = (ready.clone(), here.clone());
    let two = there.call(move |_| {
        pass.pass();
        next.call(|_| ()).wait()
    });
    ready.open();
    let ends = [soon(one).unwrap(), soon(two).unwrap()];
    assert!(ends.iter().any(|end| end.as_ref().is_err_and(TaskError::is_deadlock)), "{ends:?}");
}

#[test]
fn a_call_that_waits_for_its_own_strand_through_a_scope_of_another_pool_is_told() {
    let (here, there) = (pool(2, 4), pool(2, 4));
    let strand = Strand::on(&here, ());
    let own = strand.clone();
    let end = strand.call(move |()| there.scope(|scope| scope.spawn(|| own.call(|()| ()).wait()).wait()?));
    assert!(soon(end).unwrap().unwrap_err().is_deadlock());
    check_sound(&here);
}
