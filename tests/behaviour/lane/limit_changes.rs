//! Lanes whose limit changes while they work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sidestep::{Lane, Strand, Task, current};

use crate::support::{
    Crowd, Drops, Gate, all_well, check_sound, eventually, nothing_happens, occupy, occupy_lane, pool, soon,
};

/// Tasks that are in `crowd` until `gate` opens, and declare that they block.
fn crowd_into(lane: &Lane, count: usize, crowd: &Arc<Crowd>, gate: &Gate) -> Vec<Task<()>> {
    let one = |_| {
        let (crowd, pass) = (Arc::clone(crowd), gate.clone());
        lane.spawn(move || {
            crowd.enter();
            current::will_block(|| pass.pass());
            crowd.leave();
        })
    };
    (0..count).map(one).collect()
}

#[test]
fn a_higher_limit_takes_effect_at_once() {
    let pool = pool(1, 16);
    let lane = pool.lane("grows", 1);
    let (gate, crowd) = (Gate::new(), Arc::new(Crowd::default()));
    let tasks = crowd_into(&lane, 20, &crowd, &gate);
    eventually("one runs", || crowd.now() == 1);
    for limit in [2, 5, 9] {
        lane.set_limit(limit).unwrap();
        assert_eq!((lane.limit(), lane.metrics().limit()), (limit, limit));
        eventually("as many run as may", || crowd.now() == limit);
    }
    nothing_happens();
    assert_eq!(crowd.most(), 9);
    gate.open();
    all_well(tasks);
    check_sound(&pool);
}

#[test]
fn a_lower_limit_disturbs_none_that_runs_and_lets_none_begin() {
    let pool = pool(1, 16);
    let lane = pool.lane("shrinks", 8);
    let (gate, crowd) = (Gate::new(), Arc::new(Crowd::default()));
    let first = crowd_into(&lane, 8, &crowd, &gate);
    eventually("all run", || crowd.now() == 8);
    lane.set_limit(2).unwrap();
    let metrics = lane.metrics();
    assert_eq!((crowd.now(), metrics.tasks_running(), metrics.limit()), (8, 8, 2));
    let (later, few) = (Gate::new(), Arc::new(Crowd::default()));
    let second = crowd_into(&lane, 10, &few, &later);
    nothing_happens();
    assert_eq!((few.most(), lane.metrics().tasks_queued()), (0, 10));
    gate.open();
    all_well(first);
    eventually("two of the others run", || few.now() == 2);
    nothing_happens();
    later.open();
    all_well(second);
    assert_eq!(few.most(), 2);
    check_sound(&pool);
}

#[test]
fn a_lane_of_limit_0_is_paused() {
    let pool = pool(2, 4);
    let lane = pool.lane("paused", 3);
    let gate = Gate::new();
    let running = occupy_lane(&lane, &gate);
    lane.set_limit(0).unwrap();
    let drops = Drops::new();
    let tasks: Vec<_> = (0..10).map(|number| lane.spawn(move || number)).collect();
    let token = drops.token();
    drop(lane.spawn(move || drop(token)));
    assert_eq!(drops.count(), 1, "what is cancelled there is dropped at once");
    let expired = lane.options().expire_after(Duration::from_millis(1)).spawn(|| ());
    assert!(soon(expired).unwrap_err().is_expired());
    gate.open();
    soon(running).unwrap();
    nothing_happens();
    let metrics = lane.metrics();
    assert_eq!((metrics.tasks_running(), metrics.tasks_queued(), lane.limit()), (0, 10, 0));
    assert_eq!(soon(pool.spawn(|| 7)).unwrap(), 7, "the pool goes on");
    lane.set_limit(1).unwrap();
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(soon(task).unwrap(), number);
    }
    check_sound(&pool);
}

#[test]
fn the_largest_limit_is_as_good_as_none() {
    let pool = pool(1, 64);
    let lane = pool.lane("wide", 1);
    lane.set_limit(usize::MAX).unwrap();
    let (gate, crowd) = (Gate::new(), Arc::new(Crowd::default()));
    let tasks = crowd_into(&lane, 40, &crowd, &gate);
    eventually("all run", || crowd.now() == 40);
    gate.open();
    all_well(tasks);
    assert_eq!(lane.metrics().limit(), usize::MAX);
    check_sound(&pool);
}

#[test]
fn a_closure_of_the_lane_may_change_its_limit() {
    let pool = pool(2, 8);
    let lane = pool.lane("self", 1);
    let (gate, crowd) = (Gate::new(), Arc::new(Crowd::default()));
    for (limit, most) in [(4, 4), (1, 1), (2, 2)] {
        let inner = lane.clone();
        let change = lane.spawn(move || inner.set_limit(limit).unwrap());
        soon(change).unwrap();
        let (gate, crowd) = (Gate::new(), Arc::new(Crowd::default()));
        let tasks = crowd_into(&lane, 10, &crowd, &gate);
        eventually("as many run as may", || crowd.now() == most);
        gate.open();
        all_well(tasks);
        assert_eq!(crowd.most(), most);
    }
    // It pauses its own lane, and another thread ends that.
    let inner = lane.clone();
    soon(lane.spawn(move || inner.set_limit(0).unwrap())).unwrap();
    let tasks = crowd_into(&lane, 3, &crowd, &gate);
    nothing_happens();
    assert_eq!(crowd.now(), 0);
    soon(pool.spawn(move || lane.set_limit(3).unwrap())).unwrap();
    gate.open();
    all_well(tasks);
    check_sound(&pool);
}

#[test]
fn limits_change_in_a_storm_of_cancellations() {
    const MOST: usize = 5;
    let pool = pool(2, 12);
    let lane = pool.lane("storm", MOST);
    let (crowd, drops, stop) = (Arc::new(Crowd::default()), Drops::new(), AtomicBool::new(false));
    thread::scope(|scope| {
        let changer = scope.spawn(|| {
            let mut changes = 0_usize;
            while !stop.load(Ordering::SeqCst) {
                lane.set_limit([0, 1, MOST, 2, 0, 3][changes % 6]).unwrap();
                changes += 1;
                thread::yield_now();
            }
        });
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for number in 0..800_u64 {
                        let (crowd, token) = (Arc::clone(&crowd), drops.token());
                        let task = lane.spawn(move || {
                            let _held = token;
                            crowd.enter();
                            thread::yield_now();
                            crowd.leave();
                        });
                        match number % 4 {
                            0 => drop(task),
                            1 => drop(task.wait_timeout(Duration::from_micros(number))),
                            2 => drop(task.cancel()),
                            _ => task.detach(),
                        }
                    }
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        stop.store(true, Ordering::SeqCst);
        changer.join().unwrap();
    });
    lane.set_limit(2).unwrap();
    eventually("the lane is empty", || {
        let metrics = lane.metrics();
        (metrics.tasks_queued(), metrics.tasks_running()) == (0, 0)
    });
    assert!(crowd.most() <= MOST && crowd.now() == 0, "{}", crowd.most());
    assert_eq!((drops.count(), lane.metrics().tasks_submitted()), (3200, 3200));
    all_well((0..100).map(|_| lane.spawn(|| ())).collect::<Vec<_>>());
    check_sound(&pool);
}

#[test]
fn a_shutdown_runs_what_waits_in_a_paused_lane() {
    let pool = pool(2, 4);
    let (lane, late) = (pool.lane("paused", 3), pool.lane("late", 2));
    lane.set_limit(0).unwrap();
    let crowd = Arc::new(Crowd::default());
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let crowd = Arc::clone(&crowd);
            lane.spawn(move || {
                crowd.enter();
                thread::yield_now();
                crowd.leave();
            })
        })
        .collect();
    let report = pool.shutdown().wait();
    assert_eq!((report.completed, report.still_running), (20, 0));
    assert!(tasks.iter().all(Task::is_finished));
    all_well(tasks);
    assert_eq!((crowd.most(), lane.limit()), (1, 1), "one at a time");
    late.set_limit(0).unwrap();
    assert!(soon(late.spawn(|| ())).unwrap_err().is_shutdown());
}

#[test]
fn a_shutdown_that_discards_ends_what_waits_in_a_paused_lane() {
    let pool = pool(1, 2);
    let lane = pool.lane("paused", 3);
    lane.set_limit(0).unwrap();
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let tasks: Vec<_> = (0..2000).map(|_| lane.spawn(|| ())).collect();
    let shutdown = pool.shutdown().discard_queued();
    gate.open();
    let report = shutdown.wait();
    soon(running).unwrap();
    let ran = tasks.into_iter().map(soon).filter(|end| end.is_ok()).count() as u64;
    assert_eq!((report.completed, report.discarded), (ran + 1, 2000 - ran));
}

#[test]
fn a_pause_ends_with_the_last_handle() {
    let pool = pool(1, 2);
    let lane = pool.lane("paused", 2);
    lane.set_limit(0).unwrap();
    let tasks: Vec<_> = (0..5).map(|number| lane.spawn(move || number)).collect();
    let other = lane.clone();
    drop(lane);
    nothing_happens();
    assert!(tasks.iter().all(|task| !task.is_finished()), "there is a handle");
    drop(other);
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(soon(task).unwrap(), number);
    }
    check_sound(&pool);
}

#[test]
fn the_last_handle_of_the_pool_is_that_of_a_paused_lane() {
    let pool = pool(1, 2);
    let lane = pool.lane("paused", 2);
    lane.set_limit(0).unwrap();
    let tasks: Vec<_> = (0..5).map(|number| lane.spawn(move || number)).collect();
    drop(pool);
    nothing_happens();
    drop(lane);
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(soon(task).unwrap(), number);
    }
}

#[test]
fn a_limit_that_is_lowered_makes_a_circle_an_error() {
    let pool = pool(4, 4);
    let lane = pool.lane("circle", 2);
    let (gate, entered) = (Gate::new(), Gate::new());
    let running = occupy_lane(&lane, &gate);
    let (inner, here) = (lane.clone(), entered.clone());
    // It holds one slot, and waits for a task that needs the other one.
    let waits = lane.spawn(move || {
        let target = inner.spawn(|| ());
        here.open();
        target.wait()
    });
    entered.pass();
    nothing_happens();
    assert!(!waits.is_finished(), "the other slot will be free");
    lane.set_limit(1).unwrap();
    gate.open();
    soon(running).unwrap();
    assert!(soon(waits).unwrap().unwrap_err().is_deadlock());
    check_sound(&pool);
}

#[test]
fn a_wait_in_a_paused_lane_goes_on_when_the_lane_does() {
    let pool = pool(4, 4);
    let lane = pool.lane("paused", 2);
    let entered = Gate::new();
    let (inner, here, go) = (lane.clone(), entered.clone(), Gate::new());
    let pass = go.clone();
    let waits = lane.spawn(move || {
        here.open();
        pass.pass();
        inner.spawn(|| 7).wait()
    });
    entered.pass();
    lane.set_limit(0).unwrap();
    go.open();
    nothing_happens();
    assert!(!waits.is_finished(), "neither an error nor an end");
    lane.set_limit(2).unwrap();
    assert_eq!(soon(waits).unwrap().unwrap(), 7);
    check_sound(&pool);
}

#[test]
fn the_lane_of_a_strand_stays_a_lane_of_one() {
    let pool = pool(2, 4);
    let strand = Strand::on(&pool, 0);
    let error = strand.lane().set_limit(2).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("limit 2") && error.to_string().contains("\"strand\""), "{error}");
    strand.lane().set_limit(0).unwrap();
    let call = strand.call(|value| {
        *value += 1;
        *value
    });
    nothing_happens();
    assert!(!call.is_finished());
    strand.lane().set_limit(1).unwrap();
    assert_eq!(soon(call).unwrap(), 1);
    let lane = pool.lane("mine", 1);
    let mine = Strand::in_lane(&lane, 0).unwrap();
    assert!(lane.set_limit(5).is_err());
    soon(mine.call(|value| *value)).unwrap();
}

#[test]
fn a_permit_outlives_a_pause_and_a_shutdown() {
    let pool = pool(1, 2);
    let lane = pool.lane_builder("permits", 1).queue_limit(2).build().unwrap();
    lane.set_limit(0).unwrap();
    let permit = lane.reserve().wait().unwrap();
    let other = lane.try_reserve().unwrap();
    assert!(lane.try_reserve().unwrap_err().is_full());
    let queued = permit.spawn(|| 1);
    lane.set_limit(1).unwrap();
    assert_eq!(soon(queued).unwrap(), 1);
    let report = pool.shutdown().wait();
    assert_eq!((report.completed, report.still_running), (0, 0));
    assert!(soon(other.spawn(|| 2)).unwrap_err().is_shutdown());
    assert!(lane.try_reserve().unwrap_err().is_shutdown());
    assert!(lane.reserve().wait().unwrap_err().is_shutdown());
}
