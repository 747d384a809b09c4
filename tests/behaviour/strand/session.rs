//! Sessions: a strand's value for one caller, over several calls.

use std::sync::Arc;
use std::time::Duration;

use sidestep::{Pool, Session, Strand, Task};

use super::calls::hold;
use crate::support::{
    Drops, Gate, Wakes, all_well, check_accounts, check_sound, eventually, nothing_happens, occupy, poll,
    pool, quiet_panic, soon,
};

/// A call that notes its name.
fn note(strand: &Strand<Vec<&'static str>>, name: &'static str) -> Task<()> {
    strand.call(move |list| list.push(name))
}

#[test]
fn no_other_call_comes_between_those_of_a_session_and_the_order_is_kept() {
    for (core, max) in [(1, 1), (2, 4)] {
        let pool = pool(core, max);
        let strand = Strand::on(&pool, Vec::new());
        let before = note(&strand, "before");
        let session = soon(strand.session()).unwrap();
        let after = [note(&strand, "first after"), note(&strand, "second after")];
        soon(session.call(|list| list.push("one"))).unwrap();
        nothing_happens();
        assert!(after.iter().all(|task| !task.is_finished()));
        soon(session.call(|list| list.push("two"))).unwrap();
        drop(session);
        all_well(after);
        soon(before).unwrap();
        let list = soon(strand.into_inner()).unwrap();
        assert_eq!(list, ["before", "one", "two", "first after", "second after"]);
        check_sound(&pool);
    }
}

#[test]
fn a_session_waits_for_the_calls_before_it_and_for_the_session_before_it() {
    let pool = pool(2, 2);
    let strand = Strand::on(&pool, Vec::new());
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    let before = note(&strand, "before");
    let first = strand.session();
    let between = note(&strand, "between");
    let second = strand.session();
    nothing_happens();
    assert!(!first.is_finished());
    gate.open();
    all_well([held, before]);
    let first = soon(first).unwrap();
    nothing_happens();
    assert!(!between.is_finished() && !second.is_finished());
    soon(first.call(|list| list.push("first"))).unwrap();
    drop(first);
    soon(between).unwrap();
    let second = soon(second).unwrap();
    soon(second.call(|list| list.push("second"))).unwrap();
    drop(second);
    assert_eq!(soon(strand.into_inner()).unwrap(), ["before", "first", "between", "second"]);
}

#[test]
fn a_session_holds_no_thread_and_asks_for_none() {
    let pool = pool(1, 8);
    let strand = Strand::on(&pool, 0);
    let session = soon(strand.session()).unwrap();
    let waiting: Vec<_> = (0..100).map(|_| strand.call(|count| *count += 1)).collect();
    eventually("its task is over", || pool.metrics().tasks_running() == 0);
    for _ in 0..10 {
        soon(pool.spawn(|| ())).unwrap();
    }
    nothing_happens();
    let metrics = pool.metrics();
    assert_eq!((metrics.tasks_queued(), metrics.threads_peak()), (100, 1), "{metrics:?}");
    check_accounts(&metrics);
    drop(session);
    all_well(waiting);
    assert_eq!(soon(strand.into_inner()).unwrap(), 100);
}

#[test]
fn what_a_session_has_queued_runs_before_the_others_when_it_is_dropped() {
    let pool = pool(1, 1);
    let strand = Strand::on(&pool, Vec::new());
    let session = soon(strand.session()).unwrap();
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let others = note(&strand, "other");
    let own: Vec<_> =
        ["one", "two", "three"].map(|name| session.call(move |list| list.push(name))).into_iter().collect();
    drop(session);
    gate.open();
    soon(busy).unwrap();
    all_well(own);
    soon(others).unwrap();
    assert_eq!(soon(strand.into_inner()).unwrap(), ["one", "two", "three", "other"]);
}

#[test]
fn a_request_that_is_given_up_leaves_the_queue_and_one_that_is_not_fetched_ends() {
    let pool = pool(2, 2);
    let strand = Strand::on(&pool, 0);
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    let unwanted = strand.session();
    let next = strand.call(|value| *value);
    drop(unwanted);
    gate.open();
    soon(held).unwrap();
    assert_eq!(soon(next).unwrap(), 0);
    // It has been opened, and its handle goes without a look.
    let session = strand.session();
    eventually("it is open", || session.is_finished());
    let next = strand.call(|value| *value);
    nothing_happens();
    assert!(!next.is_finished());
    drop(session);
    assert_eq!(soon(next).unwrap(), 0);
    // It is cancelled while it may be opened.
    for _ in 0..200 {
        drop(strand.session());
        soon(strand.call(|_| ())).unwrap();
    }
    check_sound(&pool);
}

#[test]
fn a_session_is_dropped_on_the_pool_and_on_any_thread() {
    let pool = pool(1, 1);
    let strand = Strand::on(&pool, 0);
    for _ in 0..100 {
        let session = soon(strand.session()).unwrap();
        soon(session.call(|value| *value += 1)).unwrap();
        let next = strand.call(|value| *value);
        soon(pool.spawn(move || drop(session))).unwrap();
        soon(next).unwrap();
    }
    let session = soon(strand.session()).unwrap();
    let own = session.call(|value| *value);
    // The only thread waits for a call that waits for the session's end.
    let other = strand.clone();
    let waits = pool.spawn(move || {
        drop(session);
        other.call(|value| *value).wait()
    });
    assert_eq!(soon(own).unwrap(), 100);
    assert_eq!(soon(waits).unwrap().unwrap(), 100);
    check_sound(&pool);
}

/// The thread of the pool waits, and cannot be replaced: the end of the session, elsewhere, has it
/// run what it waits for.
#[test]
fn a_thread_that_waits_runs_the_call_when_the_session_ends() {
    let pool = pool(1, 1);
    let strand = Strand::on(&pool, 0);
    let session = soon(strand.session()).unwrap();
    let started = Gate::new();
    let (announce, other) = (started.clone(), strand.clone());
    let waits = pool.spawn(move || {
        let call = other.call(|value| *value);
        announce.open();
        call.wait()
    });
    started.pass();
    nothing_happens();
    assert!(!waits.is_finished());
    drop(session);
    assert_eq!(soon(waits).unwrap().unwrap(), 0);
    check_sound(&pool);
}

#[test]
fn a_full_queue_does_not_refuse_the_calls_of_a_session() {
    let pool = pool(2, 2);
    let lane = pool.lane_builder("narrow", 1).queue_limit(2).build().unwrap();
    let strand = Strand::in_lane(&lane, 0).unwrap();
    let session = soon(strand.session()).unwrap();
    let queued = [strand.try_call(|_| ()).unwrap(), strand.try_call(|_| ()).unwrap()];
    assert!(strand.try_call(|_| ()).unwrap_err().error().is_full());
    let mut waits = strand.reserve();
    let wakes = Wakes::new();
    assert!(poll(&mut waits, &Arc::clone(&wakes).into()).is_pending());
    for _ in 0..10 {
        soon(session.call(|value| *value += 1)).unwrap();
        soon(session.options().name("more").try_call(|value| *value += 1).unwrap()).unwrap();
    }
    assert!(poll(&mut waits, &Arc::clone(&wakes).into()).is_pending(), "they have made no room");
    drop(session);
    all_well(queued);
    soon(waits.wait().unwrap().call(|value| assert_eq!(*value, 20))).unwrap();
    // All places are there again.
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    let queued = [strand.try_call(|_| ()).unwrap(), strand.try_call(|_| ()).unwrap()];
    assert!(strand.try_call(|_| ()).is_err());
    gate.open();
    soon(held).unwrap();
    all_well(queued);
}

#[test]
fn a_call_of_a_session_that_waits_for_its_strand_or_session_is_told() {
    let pool = pool(2, 8);
    let strand = Strand::on(&pool, 0);
    let session = Arc::new(soon(strand.session()).unwrap());
    let own = strand.clone();
    let error = soon(session.call(move |_| own.call(|value| *value).wait())).unwrap().unwrap_err();
    assert!(error.is_deadlock(), "{error}");
    let own = Arc::clone(&session);
    let error = soon(session.call(move |_| own.call(|value| *value).wait())).unwrap().unwrap_err();
    assert!(error.is_deadlock(), "{error}");
    let own = strand.clone();
    let error = soon(session.call(move |_| own.session().wait().map(drop))).unwrap().unwrap_err();
    assert!(error.is_deadlock(), "{error}");
    drop(session);
    assert_eq!(soon(strand.call(|value| *value)).unwrap(), 0);
    check_sound(&pool);
}

#[test]
fn a_panic_in_a_session_poisons_and_the_session_heals_it() {
    let pool = pool(2, 2);
    let strand = Strand::on(&pool, 1);
    let session = soon(strand.session()).unwrap();
    let broken: Task<()> = session.call(|_| quiet_panic("half done"));
    assert!(soon(broken).unwrap_err().is_panic());
    assert!(soon(session.call(|_| ())).unwrap_err().is_poisoned());
    soon(session.replace(5)).unwrap();
    assert_eq!(soon(session.call(|value| *value)).unwrap(), 5);
    let broken: Task<()> = session.call(|_| quiet_panic("half done"));
    assert!(soon(broken).unwrap_err().is_panic());
    drop(session);
    assert!(soon(strand.session()).unwrap_err().is_poisoned());
    assert!(soon(strand.call(|_| ())).unwrap_err().is_poisoned());
    strand.clear_poison();
    assert_eq!(soon(strand.call(|value| *value)).unwrap(), 5);
}

#[test]
fn calls_of_a_session_are_cancelled_and_expire_as_all() {
    let pool = pool(1, 1);
    let strand = Strand::on(&pool, 0);
    let session = soon(strand.session()).unwrap();
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let drops = Drops::new();
    let token = drops.token();
    drop(session.call(move |_| drop(token)));
    assert_eq!(drops.count(), 1);
    let late = session.options().expire_after(Duration::ZERO).call(|_| ());
    assert!(soon(late).unwrap_err().is_expired());
    // Many, so that the queue is swept.
    let tokens: Vec<_> = (0..500).map(|_| drops.token()).collect();
    let calls: Vec<_> = tokens.into_iter().map(|token| session.call(move |_| drop(token))).collect();
    drop(calls);
    assert_eq!(drops.count(), 501);
    let last = session.call(|value| *value);
    gate.open();
    soon(busy).unwrap();
    assert_eq!(soon(last).unwrap(), 0);
    drop(session);
    check_sound(&pool);
}

/// A shutdown ends the session: what waits for its end runs, in order.
#[test]
fn a_shutdown_ends_a_session_and_runs_what_waits_for_it() {
    for (core, max) in [(1, 1), (2, 4)] {
        let pool = pool(core, max);
        let strand = Strand::on(&pool, Vec::new());
        let session = soon(strand.session()).unwrap();
        let other = note(&strand, "other");
        let gate = Gate::new();
        let busy: Vec<_> = (0..core).map(|_| occupy(&pool, &gate)).collect();
        let own = session.call(|list| list.push("own"));
        let shutdown = pool.shutdown();
        assert!(soon(session.call(|_| ())).unwrap_err().is_shutdown());
        gate.open();
        all_well(busy);
        assert_eq!(shutdown.wait().still_running, 0);
        soon(own).unwrap();
        soon(other).unwrap();
        drop(session);
        check_accounts(&pool.metrics());
    }
}

/// No thread has anything to do when the pool is shut down.
#[test]
fn a_shutdown_finds_a_thread_for_what_waits_for_a_session() {
    for _ in 0..100 {
        let pool = pool(1, 1);
        let strand = Strand::on(&pool, 0);
        let session = soon(strand.session()).unwrap();
        let others: Vec<_> = (0..3).map(|_| strand.call(|value| *value += 1)).collect();
        assert_eq!(pool.shutdown().wait().still_running, 0);
        all_well(others);
        drop(session);
    }
}

#[test]
fn a_shutdown_that_discards_drops_what_waits_for_a_session() {
    let pool = pool(1, 1);
    let strand = Strand::on(&pool, 0);
    let session = soon(strand.session()).unwrap();
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let (own, other) = (session.call(|_| ()), strand.call(|_| ()));
    let shutdown = pool.shutdown().discard_queued();
    assert!(soon(own).unwrap_err().is_shutdown());
    assert!(soon(other).unwrap_err().is_shutdown());
    gate.open();
    soon(busy).unwrap();
    assert_eq!(shutdown.wait().still_running, 0);
    assert!(soon(strand.session()).unwrap_err().is_shutdown());
    drop(session);
}

#[test]
fn a_session_opened_while_the_pool_shuts_down_loses_nothing() {
    for _ in 0..300 {
        let pool = pool(2, 2);
        let strand = Strand::on(&pool, 0);
        let session = strand.session();
        let call = strand.call(|value| *value += 1);
        let shutdown = pool.shutdown();
        let report = shutdown.wait();
        assert_eq!(report.still_running, 0, "{report:?}");
        assert!(call.is_finished());
        match soon(session) {
            Ok(session) => drop(session),
            Err(error) => assert!(error.is_shutdown(), "{error}"),
        }
        soon(call).unwrap();
        check_accounts(&pool.metrics());
    }
}

#[test]
fn the_last_handle_of_a_pool_may_be_a_session() {
    let drops = Drops::new();
    let strand = Strand::on(&pool(1, 1), drops.token());
    let session = soon(strand.session()).unwrap();
    let waiting = strand.call(|_| ());
    drop(strand);
    soon(session.call(|_| ())).unwrap();
    drop(session);
    soon(waiting).unwrap();
    eventually("the value is dropped", || drops.count() == 1);
}

#[test]
fn many_callers_take_sessions_in_turn_and_lose_no_count() {
    const CALLERS: usize = 8;
    const ROUNDS: usize = 50;
    let pool = pool(2, 4);
    let strand = Strand::on(&pool, 0_usize);
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let strand = strand.clone();
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    if (caller + round) % 3 == 0 {
                        soon(strand.call(|count| *count += 1)).unwrap();
                        continue;
                    }
                    let session = soon(strand.session()).unwrap();
                    // Lost, if another call came between.
                    let seen = soon(session.call(|count| *count)).unwrap();
                    soon(session.call(move |count| *count = seen + 1)).unwrap();
                }
            });
        }
    });
    assert_eq!(soon(strand.into_inner()).unwrap(), CALLERS * ROUNDS);
    check_sound(&pool);
}

#[test]
fn a_session_of_a_lane_with_a_reserve_goes_on_while_all_threads_hang() {
    let pool = Pool::builder().core_threads(1).max_threads(1).build().unwrap();
    let lane = pool.lane_builder("health", 1).reserve(1).build().unwrap();
    let strand = Strand::in_lane(&lane, 0).unwrap();
    let gate = Gate::new();
    let hung = occupy(&pool, &gate);
    let session = soon(strand.session()).unwrap();
    let other = strand.call(|value| *value);
    assert_eq!(soon(session.call(|value| *value)).unwrap(), 0);
    drop(session);
    assert_eq!(soon(other).unwrap(), 0);
    gate.open();
    soon(hung).unwrap();
}

#[test]
fn a_session_is_send_sync_and_shown() {
    fn check<T: Send + Sync + Unpin + std::panic::UnwindSafe + std::panic::RefUnwindSafe>(_: &T) {}
    let strand = Strand::on(&pool(1, 1), std::cell::Cell::new(1));
    let session: Session<_> = soon(strand.session()).unwrap();
    check(&session);
    assert!(format!("{session:?}").starts_with("Session { lane: \"strand\""), "{session:?}");
}
