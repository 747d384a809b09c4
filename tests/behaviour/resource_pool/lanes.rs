//! Resource pools on keys of a keyed lane, in lanes whose limit changes, and in paused ones.

use std::io;
use std::time::Duration;

use sidestep::{KeyedLane, Pool, ResourcePool, ResourcePoolBuilder, Spawner};

use super::{Ledger, Value, hold};
use crate::support::{Gate, all_well, check_sound, eventually, nothing_happens, pool, soon};

const SHORT: Duration = Duration::from_millis(5);

fn keyed(pool: &Pool, limit: usize, per_key: usize) -> KeyedLane<u32> {
    pool.keyed_lane("hosts", limit).per_key(per_key).build().unwrap()
}

fn builder(ledger: &Ledger, spawner: &impl Spawner, size: usize) -> ResourcePoolBuilder<Value> {
    let ledger = ledger.clone();
    ResourcePool::builder(spawner, size, move || io::Result::Ok(ledger.value()))
}

#[test]
fn the_calls_on_a_key_take_the_places_of_the_key_and_find_a_value() {
    for per_key in [1, 2] {
        let pool = pool(4, 4);
        let hosts = keyed(&pool, 4, per_key);
        let ledger = Ledger::default();
        let values =
            builder(&ledger, &hosts.key(1), per_key).max_idle(Duration::from_micros(50)).build().unwrap();
        let calls: Vec<_> = (0..200).map(|_| values.call(|value| value.work())).collect();
        all_well(calls);
        assert!(ledger.most() <= per_key, "{} values at a time", ledger.most());
        eventually("the values are swept", || values.metrics().values() == 0);
        // Its calls wait for the tasks of the key, and those of another key go on.
        let gate = Gate::new();
        let held: Vec<_> = (0..per_key).map(|_| hold(&values, &gate)).collect();
        let beside = hosts.spawn(1, || ());
        soon(hosts.spawn(2, || ())).unwrap();
        nothing_happens();
        assert!(!beside.is_finished());
        gate.open();
        all_well(held);
        soon(beside).unwrap();
        values.close().wait().unwrap();
        drop(values);
        eventually("no key is left", || hosts.keys() == 0);
        assert_eq!(ledger.made(), ledger.dropped());
        check_sound(&pool);
    }
}

#[test]
fn a_key_of_which_more_tasks_run_than_there_are_values_is_refused_by_name_and_number() {
    let pool = pool(1, 2);
    let hosts = keyed(&pool, 1, 3);
    let ledger = Ledger::default();
    let message = builder(&ledger, &hosts.key(1), 2).build().unwrap_err().to_string();
    assert!(message.contains("\"hosts\" has per_key 3") && message.contains("2 values"), "{message}");
    let message = builder(&ledger, &hosts.key(1), 3).queue_limit(7).build().unwrap_err().to_string();
    assert!(message.contains("queue_limit (7)") && message.contains("\"hosts\""), "{message}");
    let values = builder(&ledger, &hosts.key(1), 3).build().unwrap();
    let message = builder(&ledger, values.lane(), 3).build().unwrap_err().to_string();
    assert!(message.contains("\"hosts\" is a keyed lane"), "{message}");
}

#[test]
fn a_builder_that_is_refused_leaves_the_lane_as_it_was() {
    let pool = pool(1, 2);
    let lane = pool.lane("mine", 2);
    let ledger = Ledger::default();
    assert!(builder(&ledger, &lane, 2).queue_limit(7).build().is_err());
    assert!(builder(&ledger, &lane, 1).build().is_err());
    assert!(builder(&ledger, &lane, 0).build().is_err());
    lane.set_limit(9).unwrap();
}

#[test]
fn the_limit_of_its_lane_goes_up_to_the_size_and_no_call_ever_finds_no_value() {
    let pool = pool(4, 8);
    let mine = pool.lane("mine", 3);
    let ledger = Ledger::default();
    for values in [ledger.pool(&pool, 3), builder(&ledger, &mine, 3).build().unwrap()] {
        let lane = values.lane().clone();
        let error = lane.set_limit(4).unwrap_err();
        assert!(error.to_string().contains("limit 4") && error.to_string().contains("at most 3"), "{error}");
        for limit in [3, 1, 2, 0, 3, 2, 1, 3] {
            let calls: Vec<_> = (0..20).map(|_| values.call(|value| value.work())).collect();
            lane.set_limit(limit).unwrap();
            if limit > 0 {
                all_well(calls);
            } else {
                lane.set_limit(1).unwrap();
                all_well(calls);
            }
        }
        values.close().wait().unwrap();
    }
    assert!(ledger.most() <= 3);
    check_sound(&pool);
}

/// Calls that wait for the end of a pause must not be what keeps it.
#[test]
fn a_pause_ends_with_the_last_handle_of_the_resource_pool_and_its_calls_run() {
    let pool = pool(2, 2);
    let (named, hosts) = (pool.lane("named", 1), keyed(&pool, 2, 1));
    let ledger = Ledger::default();
    for closes in [false, true] {
        let all = [
            ledger.pool(&pool, 1),
            builder(&ledger, &named, 1).build().unwrap(),
            builder(&ledger, &hosts.key(1), 1).build().unwrap(),
        ];
        let lanes: Vec<_> = all.iter().map(|values| values.lane().clone()).collect();
        lanes.iter().for_each(|lane| lane.set_limit(0).unwrap());
        let calls: Vec<_> = all.iter().map(|values| values.call(|value| value.work())).collect();
        let closings: Vec<_> = all.iter().filter(|_| closes).map(ResourcePool::close).collect();
        drop(all);
        nothing_happens();
        assert!(calls.iter().all(|call| !call.is_finished()), "the lanes still have handles");
        lanes[1].set_limit(1).unwrap();
        lanes[2].set_limit(1).unwrap();
        drop(lanes);
        all_well(calls);
        closings.into_iter().for_each(|closing| closing.wait().unwrap());
        eventually("the values are dropped", || ledger.dropped() == ledger.made());
    }
    assert_eq!(ledger.made(), 6);
    check_sound(&pool);
}

/// The sweep of an idle value has come to wait there, which is no call.
#[test]
fn a_close_in_a_paused_lane_waits_for_calls_alone() {
    let pool = pool(1, 1);
    let ledger = Ledger::default();
    let values = ledger.builder(&pool, 1).max_idle(SHORT).build().unwrap();
    values.lane().set_limit(0).unwrap();
    let call = values.call(|value| value.work());
    values.lane().set_limit(1).unwrap();
    soon(call).unwrap();
    let gate = Gate::new();
    let stays = hold(&values, &gate);
    // Paused while the value is in use, and swept in vain when it is idle.
    values.lane().set_limit(0).unwrap();
    gate.open();
    soon(stays).unwrap();
    eventually("the sweep waits", || values.lane().metrics().tasks_queued() == 1);
    values.close().wait().unwrap();
    assert_eq!(ledger.made(), ledger.dropped());
}
