//! Strands on keys of a keyed lane, and in lanes that are paused.

use std::sync::Arc;
use std::thread;

use sidestep::{KeyedLane, Pool, Strand};

use super::calls::hold;
use crate::support::{
    Crowd, Drops, Gate, all_well, check_sound, eventually, nothing_happens, occupy, pool, quiet_panic, soon,
};

fn keyed(pool: &Pool, limit: usize, per_key: usize) -> KeyedLane<u32> {
    pool.keyed_lane("accounts", limit).per_key(per_key).build().unwrap()
}

#[test]
fn a_strand_on_a_key_has_its_order_and_another_key_goes_on_beside_it() {
    let pool = pool(2, 4);
    let accounts = keyed(&pool, 4, 1);
    let (one, other) = (Strand::on(&accounts.key(1), Vec::new()), Strand::on(&accounts.key(2), 0));
    let gate = Gate::new();
    let held = hold(&one, &gate);
    let calls: Vec<_> = (0..50).map(|number| one.call(move |list| list.push(number))).collect();
    let beside = accounts.spawn(1, || ());
    soon(other.call(|count| *count += 1)).unwrap();
    nothing_happens();
    assert!(!beside.is_finished(), "it shares the key");
    gate.open();
    soon(held).unwrap();
    all_well(calls);
    soon(beside).unwrap();
    soon(one.replace(vec![7])).unwrap();
    let permit = one.reserve().wait().unwrap();
    soon(permit.call(|list| list.push(8))).unwrap();
    let broken = one.call(|_| quiet_panic("half done"));
    assert!(soon::<()>(broken).unwrap_err().is_panic());
    assert!(soon(one.call(|_| ())).unwrap_err().is_poisoned());
    one.clear_poison();
    let late = one.clone();
    assert_eq!(soon(one.into_inner()).unwrap(), [7, 8]);
    assert!(soon(late.call(|_| ())).unwrap_err().is_shutdown());
    drop(late);
    soon(other.close()).unwrap();
    eventually("no key is left", || accounts.keys() == 0);
    check_sound(&pool);
}

#[test]
fn the_last_handle_of_a_strand_on_a_key_drops_the_value_after_its_calls() {
    let pool = pool(1, 2);
    let accounts = keyed(&pool, 2, 1);
    let drops = Drops::new();
    let strand = Strand::on(&accounts.key(1), drops.token());
    let gate = Gate::new();
    let held = hold(&strand, &gate);
    let queued = strand.call(|_| ());
    drop(strand);
    assert_eq!(drops.count(), 0);
    gate.open();
    all_well([held, queued]);
    eventually("the value and the key are gone", || drops.count() == 1 && accounts.keys() == 0);
    check_sound(&pool);
}

#[test]
fn a_strand_on_a_key_has_no_sessions_and_says_why() {
    let pool = pool(1, 2);
    let accounts = keyed(&pool, 2, 1);
    let strand = Strand::on(&accounts.key(1), 0);
    let error = soon(strand.session()).unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("\"accounts\""), "{error}");
    soon(strand.call(|value| *value += 1)).unwrap();
    soon(accounts.spawn(2, || ())).unwrap();
}

#[test]
fn a_key_of_which_more_than_one_task_runs_is_refused_by_name_and_number() {
    let pool = pool(1, 2);
    let accounts = keyed(&pool, 1, 2);
    let key = accounts.key(1);
    let refused = thread::scope(|scope| scope.spawn(|| drop(Strand::on(&key, 0))).join()).unwrap_err();
    let message = refused.downcast_ref::<String>().unwrap();
    assert!(message.contains("\"accounts\" has per_key 2"), "{message}");
}

/// A lane of keys would run calls that have no key beside each other.
#[test]
fn the_lane_of_a_strand_on_a_key_is_no_place_for_another_strand() {
    let pool = pool(2, 4);
    let accounts = keyed(&pool, 4, 1);
    let strand = Strand::on(&accounts.key(1), 0);
    let error = Strand::in_lane(strand.lane(), 1).unwrap_err();
    assert!(error.to_string().contains("\"accounts\" is a keyed lane"), "{error}");
    accounts.set_limit(9).unwrap();
    soon(strand.call(|value| *value += 1)).unwrap();
}

#[test]
fn the_calls_of_many_strands_on_keys_never_overlap_while_the_limit_changes() {
    let pool = pool(2, 4);
    let accounts = keyed(&pool, 3, 1);
    let strands: Vec<_> = (0..4).map(|key| Strand::on(&accounts.key(key), Crowd::default())).collect();
    let calls: Vec<_> = (0..400_usize)
        .map(|number| {
            if number % 50 == 0 {
                accounts.set_limit(number / 50 % 4).unwrap();
            }
            strands[number % 4].call(|crowd| {
                crowd.enter();
                thread::yield_now();
                crowd.leave();
                assert_eq!(crowd.most(), 1);
            })
        })
        .collect();
    accounts.set_limit(2).unwrap();
    all_well(calls);
    check_sound(&pool);
}

/// Calls that wait for the end of a pause must not be what keeps it.
#[test]
fn a_pause_ends_with_the_last_handle_of_the_strand_and_its_calls_run() {
    let pool = pool(1, 2);
    let (named, accounts) = (pool.lane("named", 1), keyed(&pool, 2, 1));
    let drops = Drops::new();
    let strands = [
        Strand::on(&pool, drops.token()),
        Strand::in_lane(&named, drops.token()).unwrap(),
        Strand::on(&accounts.key(1), drops.token()),
        Strand::on(&named.options().name("with options"), drops.token()),
    ];
    let lanes: Vec<_> = strands.iter().map(|strand| strand.lane().clone()).collect();
    for lane in &lanes {
        lane.set_limit(0).unwrap();
    }
    let calls: Vec<_> = strands.iter().map(|strand| strand.call(|_| ())).collect();
    drop(strands);
    drop((named, accounts));
    nothing_happens();
    assert!(calls.iter().all(|call| !call.is_finished()), "the lanes still have handles");
    drop(lanes);
    all_well(calls);
    eventually("the values are dropped", || drops.count() == 4);
    check_sound(&pool);
}

#[test]
fn a_value_that_is_made_in_a_paused_lane_comes_when_no_handle_is_left() {
    let pool = pool(1, 2);
    let lane = pool.lane("paused", 1);
    lane.set_limit(0).unwrap();
    let strand = Strand::open(&lane, || Ok::<_, ()>(41));
    nothing_happens();
    assert!(!strand.is_finished());
    drop(lane);
    let strand = soon(strand).unwrap().unwrap();
    // It is a handle: the lane is found by its name, and the pause goes on.
    let lane = pool.lane("paused", 1);
    assert_eq!((lane.limit(), strand.lane().limit()), (0, 0));
    let call = strand.call(|value| *value + 1);
    nothing_happens();
    assert!(!call.is_finished());
    lane.set_limit(1).unwrap();
    assert_eq!(soon(call).unwrap(), 42);
}

#[test]
fn a_session_that_outlives_the_handles_goes_on_though_the_lane_was_paused() {
    let pool = pool(1, 2);
    let strand = Strand::on(&pool, 0);
    strand.lane().set_limit(0).unwrap();
    let session = strand.session();
    drop(strand);
    let session = soon(session).unwrap();
    soon(session.call(|value| *value += 1)).unwrap();
    assert_eq!(soon(session.call(|value| *value)).unwrap(), 1);
    drop(session);
    check_sound(&pool);
}

#[test]
fn a_paused_session_goes_on_and_a_shutdown_ends_both() {
    let pool = pool(1, 2);
    let strand = Strand::on(&pool, 0);
    let session = soon(strand.session()).unwrap();
    strand.lane().set_limit(0).unwrap();
    let inside = session.call(|value| *value += 1);
    let outside = strand.call(|value| *value);
    nothing_happens();
    assert!(!inside.is_finished() && !outside.is_finished());
    strand.lane().set_limit(1).unwrap();
    soon(inside).unwrap();
    nothing_happens();
    assert!(!outside.is_finished());
    strand.lane().set_limit(0).unwrap();
    let last = session.call(|value| *value += 1);
    pool.shutdown().wait();
    soon(last).unwrap();
    assert_eq!(soon(outside).unwrap(), 2);
    assert!(soon(session.call(|_| ())).unwrap_err().is_shutdown());
}

#[test]
fn a_session_used_and_dropped_in_its_own_call_and_on_another_thread_lets_the_next_call_run() {
    let pool = pool(2, 4);
    let strand = Strand::on(&pool, 0);
    let session = Arc::new(soon(strand.session()).unwrap());
    let later = strand.call(|value| *value);
    let own = Arc::clone(&session);
    let call = session.call(move |value| {
        *value += 1;
        let queued = own.call(|value| *value += 1);
        drop(own);
        queued
    });
    thread::spawn(move || drop(session)).join().unwrap();
    soon(soon(call).unwrap()).unwrap();
    assert_eq!(soon(later).unwrap(), 2, "what the session had queued came first");
    check_sound(&pool);
}

#[test]
fn a_close_in_a_paused_lane_waits_for_the_end_of_the_pause_and_holds_no_thread() {
    let pool = pool(1, 1);
    let strand = Strand::on(&pool, 0);
    let lane = strand.lane().clone();
    lane.set_limit(0).unwrap();
    let close = strand.close();
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    assert!(!close.is_finished());
    gate.open();
    soon(busy).unwrap();
    drop(lane);
    soon(close).unwrap();
}
