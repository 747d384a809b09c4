//! Keys whose code misbehaves: it panics, blocks, or uses the lane itself.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sidestep::KeyedLane;

use crate::support::{
    Crowd, DropToken, Drops, Gate, all_well, builder, check_sound, eventually, occupy, pool, quiet_panic,
    soon,
};

thread_local! {
    static HASH_PANICS: Cell<bool> = const { Cell::new(false) };
    static EQ_PANICS: Cell<bool> = const { Cell::new(false) };
}

/// A key all of whose kind have one hash, and whose code panics where its thread wants that.
struct Grumpy {
    name: u32,
    _token: Option<DropToken>,
}

impl Grumpy {
    fn new(name: u32) -> Self {
        Grumpy { name, _token: None }
    }
}

impl Hash for Grumpy {
    fn hash<H: Hasher>(&self, _: &mut H) {
        if HASH_PANICS.get() {
            quiet_panic("in Hash");
        }
    }
}

impl PartialEq for Grumpy {
    fn eq(&self, other: &Self) -> bool {
        if EQ_PANICS.get() {
            quiet_panic("in Eq");
        }
        self.name == other.name
    }
}

impl Eq for Grumpy {}

fn catches(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

#[test]
fn a_panic_of_hash_or_eq_is_the_caller_s_and_loses_nothing() {
    let pool = pool(1, 1);
    let lane: KeyedLane<Grumpy> = pool.keyed_lane("grumpy", 2).build().unwrap();
    let gate = Gate::new();
    let held = occupy(&pool, &gate);
    let queued: Vec<_> = (0..20).map(|name| lane.spawn(Grumpy::new(name % 5), move || name)).collect();
    assert_eq!(lane.keys(), 5);
    let (drops, keys) = (Drops::new(), Drops::new());
    for flag in [&HASH_PANICS, &EQ_PANICS] {
        flag.set(true);
        for way in 0..4 {
            let token = drops.token();
            let f = move || drop(token);
            let key = Grumpy { name: 3, _token: Some(keys.token()) };
            assert!(catches(|| match way {
                0 => lane.spawn(key, f).detach(),
                1 => lane.try_spawn(key, f).unwrap().detach(),
                2 => drop((lane.key(key), f)),
                _ => drop((lane.reserve(key), f)),
            }));
        }
        flag.set(false);
    }
    assert_eq!((drops.count(), keys.count(), lane.keys()), (8, 8, 5), "closures and keys are dropped");
    assert_eq!((lane.metrics().tasks_submitted(), lane.metrics().tasks_queued()), (20, 20));
    gate.open();
    soon(held).unwrap();
    for (name, task) in queued.into_iter().enumerate() {
        assert_eq!(soon(task).unwrap() as usize, name);
    }
    eventually("no key is left", || lane.keys() == 0);
    check_sound(&pool);
}

#[test]
fn keys_of_one_hash_are_different_keys() {
    let pool = pool(1, 8);
    let lane: KeyedLane<Grumpy> = pool.keyed_lane("one hash", 8).build().unwrap();
    let (gate, crowd) = (Gate::new(), Arc::new(Crowd::default()));
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let (pass, crowd) = (gate.clone(), Arc::clone(&crowd));
            lane.spawn(Grumpy::new(number % 6), move || {
                crowd.enter();
                sidestep::current::will_block(|| pass.pass());
                crowd.leave();
            })
        })
        .collect();
    eventually("one of each runs", || crowd.now() == 6);
    gate.open();
    all_well(tasks);
    assert_eq!(crowd.most(), 6);
    check_sound(&pool);
}

#[test]
fn equal_keys_are_kept_once_and_all_are_dropped() {
    let pool = pool(1, 1);
    let lane: KeyedLane<Grumpy> = pool.keyed_lane("equal", 1).build().unwrap();
    let keys = Drops::new();
    let key = |name| Grumpy { name, _token: Some(keys.token()) };
    let gate = Gate::new();
    let held = occupy(&pool, &gate);
    let tasks: Vec<_> = (0..10).map(|_| lane.spawn(key(1), || ())).collect();
    assert_eq!((keys.count(), lane.keys()), (9, 1));
    let (one, same) = (lane.key(key(1)), lane.key(key(2)));
    assert_eq!((keys.count(), lane.keys()), (10, 2));
    drop(same);
    assert_eq!((keys.count(), lane.keys()), (11, 1));
    gate.open();
    all_well(tasks.into_iter().chain([held]));
    assert_eq!((keys.count(), lane.keys()), (11, 1), "the handle keeps it");
    drop(one);
    assert_eq!((keys.count(), lane.keys()), (12, 0));
}

/// A key whose destructor panics, and counts that.
struct Bomb(u32, Arc<AtomicUsize>);

impl Hash for Bomb {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialEq for Bomb {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Bomb {}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
        quiet_panic("in the destructor of a key");
    }
}

#[test]
fn a_destructor_of_a_key_that_panics_harms_no_task() {
    let pool = pool(2, 2);
    let lane: KeyedLane<Bomb> = pool.keyed_lane("bombs", 2).build().unwrap();
    let dropped = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> =
        (0..200).map(|number| lane.spawn(Bomb(number % 7, Arc::clone(&dropped)), move || number)).collect();
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(soon(task).unwrap() as usize, number);
    }
    drop(lane.key(Bomb(1, Arc::clone(&dropped))));
    eventually("all keys are dropped", || dropped.load(Ordering::SeqCst) == 201);
    assert_eq!(lane.keys(), 0);
    check_sound(&pool);
}

/// A key whose destructor does something.
struct Acts(u32, Box<dyn Fn() + Send + Sync>);

impl Hash for Acts {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialEq for Acts {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Acts {}

impl Drop for Acts {
    fn drop(&mut self) {
        (self.1)();
    }
}

/// The thread that finds the tombstone has been woken to search, and holds no other one up when
/// the destructor waits for another thread.
#[test]
fn a_destructor_of_a_key_whose_task_was_cancelled_may_wait_for_the_pool() {
    let pool = pool(2, 4);
    let lane: KeyedLane<Acts> = pool.keyed_lane("waits", 2).build().unwrap();
    for round in 0..20 {
        lane.set_limit(0).unwrap();
        let (other, done) = (pool.clone(), Gate::new());
        let open = done.clone();
        let act = move || {
            soon(other.spawn(|| ())).unwrap();
            open.open();
        };
        drop(lane.spawn(Acts(round, Box::new(act)), || ()));
        eventually("the threads sleep", || pool.metrics().threads_idle() == pool.metrics().threads());
        lane.set_limit(2).unwrap();
        done.pass();
    }
    check_sound(&pool);
}

/// The task has ended for all who count.
#[test]
fn a_destructor_of_a_key_may_wait_until_the_pool_is_idle() {
    for timed in [false, true] {
        let builder = builder().core_threads(1).max_threads(2);
        // With times, a run is recorded in between.
        let builder = if timed { builder.warn_after(Duration::from_secs(3600)) } else { builder };
        let pool = builder.build().unwrap();
        let lane: KeyedLane<Acts> = pool.keyed_lane("waits", 2).build().unwrap();
        let (of_pool, of_lane, done) = (pool.clone(), pool.lane("other", 1), Gate::new());
        let open = done.clone();
        let act = move || {
            of_pool.idle().wait();
            of_lane.idle().wait();
            soon(of_lane.spawn(|| ())).unwrap();
            open.open();
        };
        soon(lane.spawn(Acts(1, Box::new(act)), || ())).unwrap();
        done.pass();
        check_sound(&pool);
    }
}

/// A key whose comparison uses the lane.
struct Nosy(u32, KeyedLane<Nosy>);

impl Hash for Nosy {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

thread_local! { static DEPTH: Cell<u32> = const { Cell::new(0) } }

impl PartialEq for Nosy {
    fn eq(&self, other: &Self) -> bool {
        if DEPTH.replace(1) == 0 {
            assert!(self.1.keys() > 0 && self.1.metrics().tasks_submitted() > 0);
            self.1.set_limit(2).unwrap();
            self.1.spawn(Nosy(100, self.1.clone()), || ()).detach();
            DEPTH.set(0);
        }
        self.0 == other.0
    }
}

impl Eq for Nosy {}

#[test]
fn a_comparison_may_use_the_lane_itself() {
    let pool = pool(2, 4);
    let lane: KeyedLane<Nosy> = pool.keyed_lane("nosy", 2).build().unwrap();
    let gate = Gate::new();
    let pass = gate.clone();
    let first = lane.spawn(Nosy(0, lane.clone()), move || pass.pass());
    let tasks: Vec<_> = (0..20).map(|number| lane.spawn(Nosy(number % 4, lane.clone()), || ())).collect();
    gate.open();
    soon(first).unwrap();
    all_well(tasks);
    lane.idle().wait();
    eventually("no key is left", || lane.keys() == 0);
    check_sound(&pool);
}

#[test]
fn many_threads_may_come_with_one_new_key_at_once() {
    let pool = pool(4, 8);
    let lane = pool.keyed_lane::<String>("race", 8).build().unwrap();
    for round in 0..300 {
        let crowd = Arc::new(Crowd::default());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let crowd = Arc::clone(&crowd);
                    let task = lane.spawn(format!("round {round}"), move || {
                        crowd.enter();
                        thread::yield_now();
                        crowd.leave();
                    });
                    soon(task).unwrap();
                });
            }
        });
        assert_eq!(crowd.most(), 1);
    }
    eventually("no key is left", || lane.keys() == 0);
    check_sound(&pool);
}
