//! Strands whose value the pool makes, replaces and closes; calls that are refused or reserved.

use std::io;
use std::sync::Arc;
use std::thread;

use sidestep::{Dedicated, OnShutdown, Pool, Strand, Task};

use super::calls::hold;
use super::value::Witness;
use crate::support::{
    Drops, Gate, HoldOnDrop, PanicOnDrop, Wakes, all_well, check_sound, eventually, nothing_happens, occupy,
    poll, pool, quiet_panic, soon,
};

fn poison<T: Send + 'static>(strand: &Strand<T>) {
    let broken: Task<()> = strand.call(|_| quiet_panic("half done"));
    assert!(soon(broken).unwrap_err().is_panic());
}

#[test]
fn a_value_is_made_on_the_pool_and_its_failure_is_reported() {
    let pool = pool(1, 1);
    let home = soon(pool.spawn(|| thread::current().id())).unwrap();
    let made = Strand::open(&pool, || Ok::<_, io::Error>(thread::current().id()));
    let strand = soon(made).unwrap().unwrap();
    assert_eq!(soon(strand.call(|made_on| *made_on)).unwrap(), home);
    assert_eq!(strand.lane().pool().metrics().threads_peak(), 1);
    let failed = Strand::<()>::open(&pool, || Err(io::Error::other("no device")));
    assert_eq!(soon(failed).unwrap().unwrap_err().to_string(), "no device");
    let panicked = Strand::<()>::open(&pool, || -> Result<(), io::Error> { quiet_panic("no driver") });
    let error = soon(panicked).unwrap_err();
    assert!(error.is_panic() && error.to_string().contains("no driver"), "{error}");
    assert!(error.to_string().contains(file!()), "{error}");
    let global = soon(Strand::try_new(|| Ok::<_, ()>(5))).unwrap().unwrap();
    assert_eq!(soon(global.call(|value| *value)).unwrap(), 5);
    check_sound(&pool);
}

#[test]
fn a_value_made_for_nobody_is_dropped_on_the_pool() {
    let pool = pool(1, 1);
    let home = soon(pool.spawn(|| thread::current().id())).unwrap();
    let seen = Arc::default();
    let (started, gate, value) = (Gate::new(), Gate::new(), Witness(Arc::clone(&seen)));
    let (announce, pass) = (started.clone(), gate.clone());
    let task = Strand::open(&pool, move || {
        announce.open();
        pass.pass();
        Ok::<_, ()>(value)
    });
    started.pass();
    drop(task);
    gate.open();
    eventually("the value is dropped", || !seen.lock().unwrap().is_empty());
    assert_eq!(*seen.lock().unwrap(), [home]);
    // Queued: the maker never runs.
    let (gate, drops) = (Gate::new(), Drops::new());
    let busy = occupy(&pool, &gate);
    let token = drops.token();
    drop(Strand::open(&pool, move || Ok::<_, ()>(token)));
    assert_eq!(drops.count(), 1);
    gate.open();
    soon(busy).unwrap();
    check_sound(&pool);
}

#[test]
fn options_of_the_spawner_hold_for_the_maker_and_for_the_calls() {
    let pool = pool(1, 1);
    let named = pool.options().name("ledger");
    let broken = Strand::<()>::open(&named, || -> Result<(), ()> { quiet_panic("no file") });
    assert!(soon(broken).unwrap_err().to_string().contains("\"ledger\""));
    let strand = soon(Strand::open(&named, || Ok::<_, ()>(0))).unwrap().unwrap();
    let broken: Task<()> = strand.call(|_| quiet_panic("no row"));
    assert!(soon(broken).unwrap_err().to_string().contains("\"ledger\""));
}

#[test]
fn a_new_value_heals_a_poisoned_strand_and_the_old_one_is_dropped_on_the_pool() {
    let pool = pool(1, 1);
    let home = soon(pool.spawn(|| thread::current().id())).unwrap();
    let (old, new) = (Arc::default(), Arc::default());
    let strand = Strand::on(&pool, Witness(Arc::clone(&old)));
    poison(&strand);
    let before = strand.call(|_| "before");
    let replaced = strand.replace(Witness(Arc::clone(&new)));
    let after = strand.call(|_| "after");
    assert!(soon(before).unwrap_err().is_poisoned());
    soon(replaced).unwrap();
    assert_eq!(soon(after).unwrap(), "after", "it was queued behind the new value");
    assert!(!strand.is_poisoned());
    assert_eq!(*old.lock().unwrap(), [home]);
    assert!(new.lock().unwrap().is_empty());
    drop(strand);
    eventually("the new one is dropped with the strand", || new.lock().unwrap().len() == 1);
}

#[test]
fn a_replacement_that_is_cancelled_changes_nothing() {
    let pool = pool(2, 2);
    let (old, new) = (Drops::new(), Drops::new());
    let strand = Strand::on(&pool, old.token());
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    drop(strand.replace(new.token()));
    assert_eq!((old.count(), new.count()), (0, 1), "dropped by the one who gave up");
    gate.open();
    soon(held).unwrap();
    soon(strand.call(|_| ())).unwrap();
    assert_eq!(old.count(), 0);
}

#[test]
fn a_replacement_for_a_value_that_is_gone_is_dropped_on_the_pool() {
    let pool = pool(1, 1);
    let home = soon(pool.spawn(|| thread::current().id())).unwrap();
    let seen = Arc::default();
    let strand = Strand::on(&pool, Witness(Arc::default()));
    drop(soon(strand.clone().into_inner()).unwrap());
    assert!(soon(strand.replace(Witness(Arc::clone(&seen)))).unwrap_err().is_shutdown());
    assert_eq!(*seen.lock().unwrap(), [home]);
}

#[test]
fn an_old_value_whose_destructor_panics_leaves_the_new_one_sound() {
    let pool = pool(1, 1);
    let drops = Drops::new();
    let strand = Strand::on(&pool, Some(PanicOnDrop(drops.clone())));
    poison(&strand);
    soon(strand.replace(None)).unwrap();
    assert_eq!(drops.count(), 1);
    assert!(soon(strand.call(|value| value.is_none())).unwrap());
    check_sound(&pool);
}

#[test]
fn close_drops_the_value_after_what_is_queued_and_refuses_what_comes_later() {
    let pool = pool(2, 2);
    let (value, begun, leave) = HoldOnDrop::new();
    let strand = Strand::on(&pool, value);
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    let other = strand.clone();
    let before = other.call(|_| "before");
    let closed = strand.close();
    let after = other.call(|_| "after");
    nothing_happens();
    assert!(!begun.is_open(), "a call runs");
    gate.open();
    soon(held).unwrap();
    assert_eq!(soon(before).unwrap(), "before");
    begun.pass();
    assert!(!closed.is_finished(), "it is being dropped");
    leave.open();
    soon(closed).unwrap();
    let error = soon(after).unwrap_err();
    assert!(error.is_shutdown() && error.to_string().contains("closed"), "{error}");
    assert!(soon(other.call(|_| ())).unwrap_err().is_shutdown());
    assert!(soon(other.clone().close()).unwrap_err().is_shutdown());
    assert!(soon(other.clone().into_inner()).map(drop).unwrap_err().is_shutdown());
    assert!(soon(other.session()).unwrap_err().is_shutdown());
    check_sound(&pool);
}

#[test]
fn a_poisoned_value_can_be_closed() {
    let pool = pool(1, 1);
    let drops = Drops::new();
    let strand = Strand::on(&pool, drops.token());
    poison(&strand);
    soon(strand.close()).unwrap();
    assert_eq!(drops.count(), 1);
    let token = drops.token();
    let dedicated = Dedicated::new(move || token).unwrap();
    let broken: Task<()> = dedicated.call(|_| quiet_panic("half done"));
    assert!(soon(broken).unwrap_err().is_panic());
    soon(dedicated.close()).unwrap();
    assert_eq!(drops.count(), 2);
}

#[test]
fn close_reports_a_destructor_that_panics() {
    let drops = Drops::new();
    let strand = Strand::on(&pool(1, 1), PanicOnDrop(drops.clone()));
    assert!(soon(strand.close()).unwrap_err().is_panic());
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_close_that_is_given_up_leaves_the_value_to_the_others() {
    let drops = Drops::new();
    let strand = Strand::on(&pool(2, 2), drops.token());
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    drop(strand.clone().close());
    gate.open();
    soon(held).unwrap();
    soon(strand.call(|_| ())).unwrap();
    assert_eq!(drops.count(), 0);
}

/// A strand in a lane with room for one call, which a call holds.
fn full(pool: &Pool, gate: &Gate) -> (Strand<u32>, Task<()>) {
    let lane = pool.lane_builder("narrow", 1).queue_limit(1).build().unwrap();
    let strand = Strand::in_lane(&lane, 1).unwrap();
    let held = hold(&strand, gate);
    (strand, held)
}

#[test]
fn a_refused_call_gives_the_closure_back() {
    let pool = pool(2, 2);
    let gate = Gate::new();
    let (strand, held) = full(&pool, &gate);
    let queued = strand.try_call(|value| *value).unwrap();
    let drops = Drops::new();
    let token = drops.token();
    let refused = strand.options().name("late").try_call(move |value| {
        drop(token);
        *value + 1
    });
    let refused = refused.unwrap_err();
    assert!(refused.error().is_full() && refused.error().to_string().contains("\"late\""), "{refused}");
    assert_eq!(drops.count(), 0);
    assert_eq!(refused.into_inner()(&mut 41), 42);
    assert_eq!(drops.count(), 1);
    gate.open();
    soon(held).unwrap();
    assert_eq!(soon(queued).unwrap(), 1);
    pool.shutdown().wait();
    assert!(strand.try_call(|_| ()).unwrap_err().error().is_shutdown());
}

#[test]
fn a_reserved_call_waits_for_room_and_keeps_it() {
    let pool = pool(2, 2);
    let gate = Gate::new();
    let (strand, held) = full(&pool, &gate);
    let permit = strand.reserve().wait().unwrap();
    assert!(strand.try_call(|_| ()).is_err(), "the room is the permit's");
    let mut waits = strand.options().name("second").reserve();
    let wakes = Wakes::new();
    assert!(poll(&mut waits, &Arc::clone(&wakes).into()).is_pending());
    drop(permit);
    assert_eq!(wakes.count(), 1, "whoever waits longest has it");
    let permit = waits.wait().unwrap();
    let call = permit.call(|value| {
        *value += 1;
        *value
    });
    assert!(strand.try_call(|_| ()).is_err());
    gate.open();
    soon(held).unwrap();
    assert_eq!(soon(call).unwrap(), 2);
    // Its options are those of the reservation.
    let permit = strand.options().name("second").on_shutdown(OnShutdown::Discard).reserve().wait().unwrap();
    let broken: Task<()> = permit.call(|_| quiet_panic("no"));
    assert!(soon(broken).unwrap_err().to_string().contains("\"second\""));
}

#[test]
fn a_call_that_waits_for_room_in_its_own_queue_is_told() {
    let pool = pool(2, 4);
    let lane = pool.lane_builder("narrow", 1).queue_limit(1).build().unwrap();
    let strand = Strand::in_lane(&lane, ()).unwrap();
    let own = strand.clone();
    let call = strand.call(move |()| {
        let queued = own.call(|()| ());
        let error = own.reserve().wait().unwrap_err();
        assert!(error.is_deadlock(), "{error}");
        queued
    });
    soon(soon(call).unwrap()).unwrap();
}

#[test]
fn a_permit_outlives_the_other_handles_and_not_the_pool() {
    let pool = pool(1, 1);
    let drops = Drops::new();
    let strand = Strand::on(&pool, drops.token());
    let (used, kept) = (strand.reserve().wait().unwrap(), strand.reserve().wait().unwrap());
    drop(strand);
    nothing_happens();
    assert_eq!(drops.count(), 0, "a permit is a handle");
    soon(used.call(|_| ())).unwrap();
    pool.shutdown().wait();
    assert!(soon(kept.call(|_| ())).unwrap_err().is_shutdown());
    assert_eq!(drops.count(), 1);
}

#[test]
fn calls_of_a_dedicated_value_have_options_permits_and_refusals() {
    let gate = Gate::new();
    let (started, pass) = (Gate::new(), gate.clone());
    let announce = started.clone();
    let making = move || {
        announce.open();
        pass.pass();
        std::rc::Rc::new(7)
    };
    let dedicated = Dedicated::with(Pool::builder().queue_limit(2), making).unwrap();
    started.pass();
    let late = dedicated.options().name("late").expire_after(std::time::Duration::ZERO).call(|value| **value);
    let error = soon(late).unwrap_err();
    assert!(error.is_expired() && error.to_string().contains("\"late\""), "{error}");
    let permit = dedicated.reserve().wait().unwrap();
    let queued = dedicated.try_call(|value| **value).unwrap();
    let refused = dedicated.try_call(|value| **value).unwrap_err();
    assert!(refused.error().is_full());
    assert_eq!(refused.into_inner()(&mut std::rc::Rc::new(1)), 1);
    let reserved = permit.call(|value| **value + 1);
    gate.open();
    assert_eq!((soon(queued).unwrap(), soon(reserved).unwrap()), (7, 8));
    all_well([dedicated.options().call(|_| ())]);
}
