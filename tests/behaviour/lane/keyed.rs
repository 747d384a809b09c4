//! Keyed lanes: order within a key, turns between keys, and how many of a key run at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sidestep::{KeyedLane, Pool, Strand, Task};

use crate::support::{
    Crowd, Gate, all_well, check_accounts, check_sound, eventually, nothing_happens, occupy, pool,
    quiet_panic, soon,
};

fn keyed<K: std::hash::Hash + Eq + Send + Sync + 'static>(
    pool: &Pool,
    limit: usize,
    per_key: usize,
) -> KeyedLane<K> {
    pool.keyed_lane("keyed", limit).per_key(per_key).build().unwrap()
}

#[test]
fn impossible_settings_are_refused_by_name() {
    let pool = pool(1, 2);
    let error = pool.keyed_lane::<u32>("none", 1).per_key(0).build().unwrap_err();
    assert!(error.to_string().contains("per_key of lane \"none\" (0)"), "{error}");
    assert!(pool.keyed_lane::<u32>("none", 0).build().unwrap_err().to_string().contains("\"none\" (0)"));
    assert!(pool.keyed_lane::<u32>("none", 1).queue_limit(0).build().is_err());
    let error = pool.keyed_lane::<u32>("none", 1).share(usize::MAX).build().unwrap_err();
    assert!(error.to_string().contains("share of lane \"none\""), "{error}");
    let wide = pool.keyed_lane::<u32>("wide", usize::MAX).per_key(usize::MAX).build().unwrap();
    assert_eq!((wide.limit(), wide.per_key()), (usize::MAX, usize::MAX));
    all_well((0..100).map(|number| wide.spawn(number % 3, || ())).collect::<Vec<_>>());
    assert_eq!(wide.keys(), 0);
    check_sound(&pool);
}

#[test]
fn one_name_is_one_keyed_lane_of_one_type_of_keys() {
    let pool = pool(2, 4);
    let one = pool.keyed_lane::<u32>("keys", 4).per_key(2).build().unwrap();
    let same = pool.keyed_lane::<u32>("keys", 4).build().unwrap();
    assert_eq!(same.per_key(), 2);
    let gate = Gate::new();
    let pass = gate.clone();
    let held = one.spawn(7, move || pass.pass());
    assert_eq!(same.keys(), 1);
    for error in [
        pool.keyed_lane::<u32>("keys", 4).per_key(1).build().map(drop).unwrap_err(),
        pool.keyed_lane::<u64>("keys", 4).build().map(drop).unwrap_err(),
        pool.lane_builder("keys", 4).build().map(drop).unwrap_err(),
        pool.keyed_lane::<u32>("keys", 5).build().map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{error}");
    }
    let plain = pool.lane("plain", 1);
    let error = pool.keyed_lane::<u32>("plain", 1).build().unwrap_err();
    assert!(error.to_string().contains("no keys"), "{error}");
    gate.open();
    soon(held).unwrap();
    drop(plain);
    check_sound(&pool);
}

#[test]
fn within_a_key_tasks_run_in_order_and_one_at_a_time() {
    let pool = pool(4, 8);
    let lane = keyed::<usize>(&pool, 4, 1);
    let logs: Arc<Mutex<BTreeMap<usize, Vec<usize>>>> = Arc::default();
    let crowds: Arc<Vec<Crowd>> = Arc::new((0..5).map(|_| Crowd::default()).collect());
    let tasks: Vec<_> = (0..2000)
        .map(|number| {
            let (logs, crowds, key) = (Arc::clone(&logs), Arc::clone(&crowds), number % 5);
            lane.spawn(key, move || {
                crowds[key].enter();
                logs.lock().unwrap().entry(key).or_default().push(number);
                thread::yield_now();
                crowds[key].leave();
            })
        })
        .collect();
    all_well(tasks);
    assert!(crowds.iter().all(|crowd| crowd.most() == 1));
    for (key, log) in logs.lock().unwrap().iter() {
        assert_eq!(*log, (0..400).map(|number| 5 * number + key).collect::<Vec<_>>());
    }
    assert_eq!((lane.keys(), lane.metrics().tasks_completed()), (0, 2000));
    check_sound(&pool);
}

#[test]
fn as_many_of_a_key_run_as_it_may_and_as_many_in_all() {
    let pool = pool(1, 16);
    let lane = keyed::<&str>(&pool, 5, 3);
    let (gate, all) = (Gate::new(), Arc::new(Crowd::default()));
    let mut tasks = Vec::new();
    let mut crowds = Vec::new();
    for key in ["one", "other"] {
        let own = Arc::new(Crowd::default());
        for _ in 0..10 {
            let (crowds, pass) = ([Arc::clone(&all), Arc::clone(&own)], gate.clone());
            tasks.push(lane.spawn(key, move || {
                crowds.iter().for_each(|crowd| crowd.enter());
                sidestep::current::will_block(|| pass.pass());
                crowds.iter().for_each(|crowd| crowd.leave());
            }));
        }
        crowds.push(own);
    }
    eventually("as many run as may", || all.now() == 5);
    nothing_happens();
    assert_eq!(crowds.iter().map(|crowd| crowd.most()).max(), Some(3));
    gate.open();
    all_well(tasks);
    assert!(all.most() <= 5 && crowds.iter().all(|crowd| crowd.most() <= 3));
    check_sound(&pool);
}

/// The places of the others' tasks in the order in which all tasks of a lane run: each of `keys`
/// keys has one, and one more key has `flood` tasks, which came before.
fn places(keys: usize, flood: usize) -> Vec<usize> {
    let pool = pool(1, 1);
    let lane = keyed::<usize>(&pool, 1, 1);
    let gate = Gate::new();
    let held = occupy(&pool, &gate);
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |key: usize| {
        let order = Arc::clone(&order);
        move || order.lock().unwrap().push(key)
    };
    let mut tasks: Vec<_> = (0..flood).map(|_| lane.spawn(keys, note(keys))).collect();
    tasks.extend((0..keys).map(|key| lane.spawn(key, note(key))));
    gate.open();
    all_well(tasks.into_iter().chain([held]));
    let order = order.lock().unwrap();
    let places = order.iter().enumerate().filter(|(_, key)| **key < keys).map(|(place, _)| place + 1);
    places.collect()
}

#[test]
fn a_key_that_floods_keeps_a_thousand_others_waiting_no_longer() {
    const KEYS: usize = 1000;
    let (calm, flooded) = (places(KEYS, 0), places(KEYS, 50_000));
    assert_eq!((calm.len(), flooded.len()), (KEYS, KEYS));
    let mean = |places: &[usize]| places.iter().sum::<usize>() as f64 / KEYS as f64;
    assert!(mean(&flooded) <= 1.5 * mean(&calm), "{} and {}", mean(&flooded), mean(&calm));
    assert!(flooded.last().unwrap() * 2 <= calm.last().unwrap() * 3, "{:?}", flooded.last());
}

#[test]
fn keys_of_a_hundred_thousand_cost_nothing_once_they_are_empty() {
    const KEYS: u32 = 100_000;
    let pool = pool(1, 2);
    let lane = keyed::<u32>(&pool, 8, 1);
    let gate = Gate::new();
    let held = [occupy(&pool, &gate), occupy(&pool, &gate)];
    let tasks: Vec<_> = (0..KEYS).map(|key| lane.spawn(key, move || key)).collect();
    assert_eq!(lane.keys(), KEYS as usize);
    let mut kept = Vec::new();
    for (number, task) in tasks.into_iter().enumerate() {
        if number % 2 == 0 { drop(task) } else { kept.push(task) }
    }
    gate.open();
    for (number, task) in kept.into_iter().enumerate() {
        assert_eq!(soon(task).unwrap() as usize, 2 * number + 1);
    }
    all_well(held);
    lane.idle().wait();
    eventually("no key is left", || lane.keys() == 0);
    check_sound(&pool);
}

#[test]
fn all_ways_to_spawn_keep_to_the_key() {
    let pool = pool(2, 8);
    let lane = pool.keyed_lane::<String>("ways", 8).queue_limit(100).build().unwrap();
    let alice = lane.key("alice".to_owned());
    assert_eq!(lane.keys(), 1, "a handle keeps its key");
    let gate = Gate::new();
    let (pass, started) = (gate.clone(), Gate::new());
    let announce = started.clone();
    let held = alice.spawn(move || {
        announce.open();
        pass.pass();
    });
    started.pass();
    let key = || "alice".to_owned();
    let mut tasks: Vec<Task<()>> = vec![
        lane.spawn(key(), || ()),
        lane.try_spawn(key(), || ()).unwrap(),
        lane.reserve(key()).wait().unwrap().spawn(|| ()),
        alice.try_spawn(|| ()).unwrap(),
        alice.reserve().wait().unwrap().spawn(|| ()),
        alice.try_reserve().unwrap().spawn(|| ()),
        alice.options().name("named").spawn(|| ()),
        alice.options().try_spawn(|| ()).unwrap(),
        alice.reserve().wait().unwrap().spawn_with(&alice.options().name("both"), || ()),
    ];
    let unblocked = [lane.unblock(key(), || ()), alice.unblock(|| ())];
    // None of them runs beside the first; another key does.
    soon(lane.spawn("bob".to_owned(), || ())).unwrap();
    nothing_happens();
    assert!(tasks.iter().all(|task| !task.is_finished()));
    let expired = alice.options().expire_after(Duration::from_millis(1)).spawn(|| ());
    assert!(soon(expired).unwrap_err().is_expired());
    let cancelled = tasks.remove(3);
    drop(cancelled);
    gate.open();
    soon(held).unwrap();
    all_well(tasks);
    unblocked.into_iter().for_each(sidestep::block_on);
    drop(alice);
    eventually("no key is left", || lane.keys() == 0);
    check_sound(&pool);
}

#[cfg(feature = "fs")]
#[test]
fn a_key_is_a_spawner_for_files_and_strands() {
    let pool = pool(2, 4);
    let mounts = keyed::<u32>(&pool, 4, 1);
    let mount = mounts.key(1);
    let bytes = sidestep::block_on(sidestep::fs::on(&mount).read("Cargo.toml")).unwrap();
    assert!(!bytes.is_empty());
    let strand = Strand::on(&mount, 0);
    let calls: Vec<_> = (0..100).map(|_| strand.call(|value| *value += 1)).collect();
    all_well(calls);
    assert_eq!(soon(strand.call(|value| *value)).unwrap(), 100);
    let strand = Strand::on(&mount.options().name("named"), 1);
    assert_eq!(soon(strand.call(|value| *value)).unwrap(), 1);
    check_sound(&pool);
}

#[test]
fn a_panic_a_cancellation_and_an_expiry_give_the_place_of_the_key_back() {
    let pool = pool(2, 4);
    let lane = keyed::<u32>(&pool, 2, 1);
    for number in 0..600 {
        let key = lane.key(number % 3);
        match number % 4 {
            0 => drop(key.spawn(thread::yield_now)),
            1 => assert!(soon(key.spawn(|| quiet_panic("in a key"))).unwrap_err().is_panic()),
            2 => {
                let _ = key.options().expire_after(Duration::ZERO).spawn(|| ()).wait_timeout(Duration::ZERO);
            }
            _ => soon(key.spawn(|| ())).unwrap(),
        }
    }
    lane.idle().wait();
    all_well((0..30).map(|number| lane.spawn(number % 3, || ())).collect::<Vec<_>>());
    eventually("no key is left", || lane.keys() == 0);
    check_sound(&pool);
}

#[test]
fn a_wait_for_the_own_key_is_a_deadlock_and_one_for_another_is_not() {
    let pool = pool(4, 4);
    let lane = keyed::<u32>(&pool, 4, 1);
    let inner = lane.clone();
    let own = lane.spawn(1, move || inner.spawn(1, || ()).wait().unwrap_err().is_deadlock());
    assert!(soon(own).unwrap());
    let inner = lane.clone();
    assert_eq!(soon(lane.spawn(1, move || inner.spawn(2, || 7).wait().unwrap())).unwrap(), 7);
    // A circle of two keys.
    let (first, second) = (Gate::new(), Gate::new());
    let circle = |from: u32, to: u32, mine: Gate, other: Gate| {
        let inner = lane.clone();
        lane.spawn(from, move || {
            mine.open();
            other.pass();
            inner.spawn(to, || ()).wait().err().map(|error| error.is_deadlock())
        })
    };
    let ends = [circle(1, 2, first.clone(), second.clone()), circle(2, 1, second, first)];
    let ends = ends.map(|task| soon(task).unwrap());
    assert!(ends.contains(&Some(true)), "{ends:?}");
    check_sound(&pool);
}

#[test]
fn limits_and_pauses_hold_for_keyed_lanes() {
    let pool = pool(1, 8);
    let lane = keyed::<usize>(&pool, 4, 1);
    lane.set_limit(0).unwrap();
    let crowd = Arc::new(Crowd::default());
    let tasks: Vec<_> = (0..100)
        .map(|key| {
            let crowd = Arc::clone(&crowd);
            lane.spawn(key % 10, move || {
                crowd.enter();
                thread::yield_now();
                crowd.leave();
            })
        })
        .collect();
    nothing_happens();
    assert_eq!((crowd.most(), lane.metrics().tasks_queued()), (0, 100));
    lane.set_limit(2).unwrap();
    all_well(tasks);
    assert!(crowd.most() <= 2);
    lane.set_limit(0).unwrap();
    let rest: Vec<_> = (0..50).map(|key| lane.spawn(key % 3, move || key)).collect();
    let report = pool.shutdown().wait();
    assert_eq!((report.completed, report.still_running), (50, 0));
    all_well(rest);
    assert_eq!(lane.keys(), 0);
}

/// The key was free when the first of them began to wait: the wait that closes the circle is told
/// all the same.
#[test]
fn a_circle_of_keys_is_seen_whichever_task_began_first() {
    let pool = pool(4, 8);
    let lane = pool.keyed_lane::<&str>("circle", 3).build().unwrap();
    let gates = [Gate::new(), Gate::new()];
    let holders: Vec<_> = ["one", "two"]
        .into_iter()
        .zip(&gates)
        .map(|(key, gate)| {
            let (started, pass) = (Gate::new(), gate.clone());
            let announce = started.clone();
            let holder = lane.spawn(key, move || {
                announce.open();
                pass.pass();
            });
            started.pass();
            holder
        })
        .collect();
    let (send, receive) = std::sync::mpsc::channel::<Task<()>>();
    let first = lane.spawn("a", move || receive.recv().unwrap().wait());
    eventually("all slots are taken", || lane.metrics().tasks_running() == 3);
    let behind_first = lane.spawn("a", || ());
    let second = lane.spawn("b", move || behind_first.wait());
    let behind_second = lane.spawn("b", || ());
    send.send(behind_second).unwrap();
    nothing_happens();
    gates[0].open();
    let (first, second) = (soon(first).unwrap(), soon(second).unwrap());
    assert!(second.unwrap_err().is_deadlock());
    first.unwrap();
    gates[1].open();
    all_well(holders);
    eventually("no key is left", || lane.keys() == 0);
    check_sound(&pool);
}

/// The tasks of many keys are cancelled in a paused lane: the keys go with the sweep, whoever comes
/// next.
#[test]
fn keys_whose_tasks_are_swept_out_are_dropped_at_once() {
    let pool = pool(1, 2);
    let lane = pool.keyed_lane::<Arc<usize>>("paused", 4).build().unwrap();
    let last = lane.key(Arc::new(0));
    lane.set_limit(0).unwrap();
    let keys: Vec<_> = (1..200).map(Arc::new).collect();
    let tasks: Vec<_> = keys.iter().map(|key| lane.spawn(Arc::clone(key), || ())).collect();
    drop(tasks);
    let next = last.spawn(|| ());
    assert!(keys.iter().all(|key| Arc::strong_count(key) == 1));
    assert_eq!(lane.keys(), 1);
    lane.set_limit(1).unwrap();
    soon(next).unwrap();
    check_sound(&pool);
}

/// Few tasks are cancelled, and no thread comes by: before the end of the pool and after it.
#[test]
fn a_key_whose_tasks_have_been_cancelled_is_none() {
    let pool = pool(1, 2);
    let lane = pool.keyed_lane::<Arc<usize>>("paused", 4).build().unwrap();
    lane.set_limit(0).unwrap();
    let keys: Vec<_> = (0..3).map(Arc::new).collect();
    let [one, two, last] = [0, 1, 2].map(|index| lane.spawn(Arc::clone(&keys[index]), || ()));
    drop((one, two));
    assert_eq!((lane.keys(), Arc::strong_count(&keys[0]), Arc::strong_count(&keys[2])), (1, 1, 2));
    drop(last);
    pool.shutdown().wait();
    assert_eq!((lane.keys(), Arc::strong_count(&keys[2])), (0, 1));
    check_accounts(&pool.metrics());
}
