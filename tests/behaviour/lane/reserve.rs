//! Lanes with threads in reserve: they go on while all others hang, and no more threads are there
//! than were promised.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sidestep::{Lane, Pool, Task, current};

use crate::support::{
    Crowd, Gate, all_well, builder, check_accounts, check_sound, eventually, nothing_happens, occupy,
    occupy_lane, pool, quiet_panic, soon,
};

pub(super) fn lane(pool: &Pool, limit: usize, reserve: usize) -> Lane {
    pool.lane_builder("spare", limit).reserve(reserve).build().unwrap()
}

/// Whether this is a thread of the lane's reserve.
pub(super) fn is_reserve() -> bool {
    thread::current().name().is_some_and(|name| name.contains("-spare-r"))
}

/// A way to hang until the gate opens.
type Hang = fn(&Pool, Gate) -> Task<()>;

fn sleeps(pool: &Pool, gate: Gate) -> Task<()> {
    occupy(pool, &gate)
}

fn blocks_as_declared(pool: &Pool, gate: Gate) -> Task<()> {
    let started = Gate::new();
    let announce = started.clone();
    let task = pool.spawn(move || {
        announce.open();
        current::will_block(|| gate.pass());
    });
    started.pass();
    task
}

fn parks(pool: &Pool, gate: Gate) -> Task<()> {
    let started = Gate::new();
    let announce = started.clone();
    let task = pool.spawn(move || {
        announce.open();
        while !gate.is_open() {
            thread::park_timeout(Duration::from_millis(1));
        }
    });
    started.pass();
    task
}

fn computes(pool: &Pool, gate: Gate) -> Task<()> {
    let started = Gate::new();
    let announce = started.clone();
    let task = pool.spawn(move || {
        announce.open();
        while !gate.is_open() {
            std::hint::spin_loop();
        }
    });
    started.pass();
    task
}

fn hangs_in_a_callback(pool: &Pool, gate: Gate) -> Task<()> {
    let started = Gate::new();
    let announce = started.clone();
    // It ends only once it has its callback, which would else be called here.
    let has_callback = Gate::new();
    let pass = has_callback.clone();
    pool.spawn(move || pass.pass()).on_complete(move |_| {
        announce.open();
        gate.pass();
    });
    has_callback.open();
    started.pass();
    pool.spawn(|| ())
}

const HANGS: [(&str, Hang); 5] = [
    ("sleeps", sleeps),
    ("blocks as declared", blocks_as_declared),
    ("parks", parks),
    ("computes", computes),
    ("hangs in a callback", hangs_in_a_callback),
];

#[test]
fn an_impossible_reserve_is_refused_by_name() {
    let pool = pool(1, 1);
    let refused = |limit, reserve| pool.lane_builder("spare", limit).reserve(reserve).build().unwrap_err();
    let error = refused(2, 3);
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("reserve of lane \"spare\" (3)"), "{error}");
    assert!(error.to_string().contains("(2)"), "{error}");
    let error = refused(usize::MAX, usize::MAX);
    assert!(error.to_string().contains(&format!("reserve of lane \"spare\" ({})", usize::MAX)), "{error}");
    assert!(error.to_string().contains("32767"), "{error}");
    for (limit, reserve) in [(1, 0), (1, 1), (usize::MAX, 32_767)] {
        let lane = lane(&pool, limit, reserve);
        assert_eq!((lane.limit(), lane.reserved_threads()), (limit, reserve));
        soon(lane.spawn(|| ())).unwrap();
    }
    // A name that no thread can have.
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let odd = pool.lane_builder("a\0b", 1).reserve(1).build().unwrap();
    soon(odd.spawn(|| ())).unwrap();
    gate.open();
    soon(busy).unwrap();
}

#[test]
fn a_lane_goes_on_while_every_thread_of_the_pool_hangs() {
    for max in [1, 4] {
        for (name, hang) in HANGS {
            let pool = pool(1, max);
            let lane = lane(&pool, 2, 1);
            let gate = Gate::new();
            let hung: Vec<_> = (0..max).map(|_| hang(&pool, gate.clone())).collect();
            let general = pool.spawn(is_reserve);
            for number in 0..20 {
                let (seen, on_reserve) = soon(lane.spawn(move || (number, is_reserve()))).unwrap();
                assert!(seen == number && on_reserve, "{name}");
            }
            let metrics = pool.metrics();
            assert_eq!((metrics.threads(), metrics.reserve_threads()), (max, 1), "{name}");
            assert!(!general.is_finished(), "{name}: general work runs on no thread of a reserve");
            gate.open();
            assert!(!soon(general).unwrap(), "{name}: nor afterwards");
            all_well(hung);
            check_sound(&pool);
            check_accounts(&pool.metrics());
        }
    }
}

#[test]
fn without_a_reserve_a_lane_waits() {
    let pool = pool(1, 1);
    let (plain, spare) = (pool.lane("plain", 1), lane(&pool, 1, 1));
    let gate = Gate::new();
    let hung = occupy(&pool, &gate);
    let waits = plain.spawn(is_reserve);
    soon(spare.spawn(|| ())).unwrap();
    nothing_happens();
    assert!(!waits.is_finished(), "a reserve is its lane's alone");
    gate.open();
    assert!(!soon(waits).unwrap());
    soon(hung).unwrap();
}

#[test]
fn there_are_no_more_threads_than_in_reserve_and_no_more_closures_than_the_limit() {
    let pool = pool(2, 2);
    let lane = lane(&pool, 4, 3);
    let (gate, second) = (Gate::new(), Gate::new());
    let hung: Vec<_> = (0..2).map(|_| occupy(&pool, &gate)).collect();
    let crowd = Arc::new(Crowd::default());
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (crowd, gate) = (Arc::clone(&crowd), second.clone());
            lane.spawn(move || {
                crowd.enter();
                gate.pass();
                crowd.leave();
            })
        })
        .collect();
    eventually("the whole reserve is at work", || crowd.now() == 3);
    nothing_happens();
    assert_eq!((crowd.most(), pool.metrics().threads()), (3, 2));
    assert_eq!((pool.metrics().reserve_threads(), lane.metrics().reserve_threads()), (3, 3));
    gate.open();
    eventually("the pool's threads take what the limit leaves", || crowd.now() == 4);
    nothing_happens();
    assert_eq!(crowd.most(), 4);
    second.open();
    all_well(tasks);
    all_well(hung);
    assert_eq!((crowd.most(), lane.metrics().tasks_completed()), (4, 20));
    check_sound(&pool);
}

#[test]
fn the_limit_holds_at_every_instant_whoever_runs_the_lane() {
    let pool = builder().core_threads(1).max_threads(2).keep_alive(Duration::ZERO).build().unwrap();
    let lane = lane(&pool, 3, 2);
    let (crowd, reserves) = (Arc::new(Crowd::default()), Arc::new(Crowd::default()));
    for round in 0..20 {
        let gate = Gate::new();
        // In every other round the pool's threads are free.
        let hung: Vec<_> = (0..round % 2 * 2).map(|_| occupy(&pool, &gate)).collect();
        let tasks: Vec<_> = (0..200)
            .map(|number| {
                let (crowd, reserves) = (Arc::clone(&crowd), Arc::clone(&reserves));
                lane.spawn(move || {
                    crowd.enter();
                    let on_reserve = is_reserve();
                    if on_reserve {
                        reserves.enter();
                    }
                    match number % 16 {
                        0 => thread::yield_now(),
                        1 => current::retire_thread(),
                        2 => current::will_block(thread::yield_now),
                        _ => {}
                    }
                    if on_reserve {
                        reserves.leave();
                    }
                    crowd.leave();
                })
            })
            .collect();
        all_well(tasks);
        gate.open();
        all_well(hung);
    }
    assert!(crowd.most() <= 3, "{}", crowd.most());
    assert!((1..=2).contains(&reserves.most()), "{}", reserves.most());
    assert!(pool.metrics().threads_peak() <= 2, "{:?}", pool.metrics());
    assert_eq!(lane.metrics().tasks_completed(), 20 * 200);
    check_sound(&pool);
}

#[test]
fn an_idle_thread_of_a_reserve_is_used_again() {
    let pool = pool(1, 1);
    let lane = lane(&pool, 4, 4);
    let gate = Gate::new();
    let hung = occupy(&pool, &gate);
    let call = |_| soon(lane.spawn(|| thread::current().name().map(str::to_owned))).unwrap().unwrap();
    // A thread that is held up between the end of a task and its rest is not idle: the next call
    // may have another.
    eventually("calls one after another have one thread", || {
        (0..50).map(call).collect::<BTreeSet<_>>().len() == 1
    });
    gate.open();
    soon(hung).unwrap();
}

#[test]
fn where_threads_of_the_pool_come_no_reserve_is_used() {
    let pool = pool(2, 2);
    let lane = lane(&pool, 2, 2);
    for _ in 0..20 {
        let tasks: Vec<_> = (0..200).map(|_| lane.spawn(|| ())).collect();
        all_well(tasks);
    }
    // Not `== 0`: on a machine without a free CPU no thread may come for a while.
    assert!(pool.metrics().reserve_threads() <= 2);
    assert_eq!(lane.metrics().tasks_completed(), 4000);
}

#[test]
fn a_wait_on_a_reserve_for_the_lane_itself_runs_it_inline() {
    let pool = pool(1, 1);
    let lane = lane(&pool, 2, 1);
    let gate = Gate::new();
    let hung = occupy(&pool, &gate);
    let own = lane.clone();
    let outer = lane.spawn(move || {
        let inner: Vec<_> = (0..5).map(|_| own.spawn(is_reserve)).collect();
        inner.into_iter().all(|task| task.wait().unwrap())
    });
    assert!(soon(outer).unwrap());
    gate.open();
    soon(hung).unwrap();
}

#[test]
fn a_wait_on_a_reserve_for_other_work_runs_none_of_it() {
    let pool = pool(1, 1);
    let (spare, other) = (lane(&pool, 1, 1), pool.lane("other", 1));
    let gate = Gate::new();
    let hung = occupy(&pool, &gate);
    let (general, started) = (pool.clone(), Gate::new());
    let announce = started.clone();
    let outer = spare.spawn(move || {
        let (own, of_lane) = (general.spawn(is_reserve), other.spawn(is_reserve));
        announce.open();
        (own.wait().unwrap(), of_lane.wait().unwrap(), is_reserve())
    });
    started.pass();
    nothing_happens();
    assert!(!outer.is_finished());
    assert_eq!(pool.metrics().threads_blocked(), 0, "it entitles the pool to nothing");
    gate.open();
    assert_eq!(soon(outer).unwrap(), (false, false, true));
    soon(hung).unwrap();
    check_sound(&pool);
}

#[test]
fn a_scope_is_part_of_the_closure_that_opens_it() {
    let pool = pool(1, 1);
    let lane = lane(&pool, 1, 1);
    let gate = Gate::new();
    let hung = occupy(&pool, &gate);
    let own = pool.clone();
    let sum = lane.spawn(move || {
        let (numbers, sum) = ([1, 2, 3], AtomicUsize::new(0));
        let total = &sum;
        own.scope(|scope| {
            for number in &numbers {
                let _ = scope.spawn(move || total.fetch_add(number * 2, Ordering::SeqCst));
            }
        });
        sum.into_inner()
    });
    assert_eq!(soon(sum).unwrap(), 12, "its end runs them inline");
    gate.open();
    soon(hung).unwrap();
}

#[test]
fn a_hung_reserve_is_no_reason_to_grow() {
    let pool = pool(1, 1);
    let lane = lane(&pool, 2, 2);
    let (gate, second) = (Gate::new(), Gate::new());
    let hung = occupy(&pool, &gate);
    let in_reserve: Vec<_> = (0..2).map(|_| occupy_lane(&lane, &second)).collect();
    gate.open();
    soon(hung).unwrap();
    pool.set_max_threads(64).unwrap();
    for _ in 0..50 {
        all_well((0..20).map(|_| pool.spawn(|| ())).collect::<Vec<_>>());
    }
    nothing_happens();
    assert!(pool.metrics().threads_peak() <= 4, "{:?}", pool.metrics());
    second.open();
    all_well(in_reserve);
}

#[test]
fn panics_and_retirements_on_a_reserve_stop_nothing() {
    let pool = pool(1, 1);
    let lane = lane(&pool, 1, 1);
    let gate = Gate::new();
    let hung = occupy(&pool, &gate);
    for number in 0..30 {
        let task = lane.spawn(move || match number % 3 {
            0 => quiet_panic("on a reserve"),
            1 => current::retire_thread(),
            _ => {}
        });
        assert_eq!(soon(task).is_err(), number % 3 == 0);
    }
    assert!(pool.metrics().reserve_threads() <= 1);
    gate.open();
    soon(hung).unwrap();
    check_sound(&pool);
}

#[test]
fn two_lanes_have_a_reserve_each() {
    let pool = pool(1, 1);
    let [one, other] = ["one", "other"].map(|name| pool.lane_builder(name, 2).reserve(1).build().unwrap());
    let (gate, second) = (Gate::new(), Gate::new());
    let hung = occupy(&pool, &gate);
    let hung_in_one = occupy_lane(&one, &second);
    let waits = one.spawn(|| ());
    all_well((0..20).map(|_| other.spawn(|| ())).collect::<Vec<_>>());
    assert!(!waits.is_finished(), "the one is at the end of its reserve");
    assert_eq!(pool.metrics().reserve_threads(), 2);
    second.open();
    all_well([hung_in_one, waits]);
    gate.open();
    soon(hung).unwrap();
}

#[test]
fn what_a_closure_on_a_reserve_spawns_goes_to_the_pool() {
    let pool = pool(1, 1);
    let lane = lane(&pool, 1, 1);
    let gate = Gate::new();
    let hung = occupy(&pool, &gate);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (general, sees) = (pool.clone(), Arc::clone(&seen));
    let children = soon(lane.spawn(move || {
        let child = |_| {
            let sees = Arc::clone(&sees);
            general.spawn(move || sees.lock().unwrap().push(is_reserve()))
        };
        (0..10).map(child).collect::<Vec<_>>()
    }));
    let children = children.unwrap();
    soon(lane.spawn(|| ())).unwrap();
    assert!(seen.lock().unwrap().is_empty());
    gate.open();
    all_well(children);
    assert_eq!(*seen.lock().unwrap(), [false; 10]);
    soon(hung).unwrap();
}
