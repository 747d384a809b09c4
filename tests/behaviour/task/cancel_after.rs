//! `TaskOptions::cancel_after`: a time limit for the whole task.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use sidestep::{Pool, Strand, Task, current};

use crate::support::{
    Drops, Gate, PATIENCE, check_sound, eventually, nothing_happens, occupy, occupy_lane, pool, soon,
};

const SHORT: Duration = Duration::from_millis(5);

/// A task that has begun in spite of its short limit: `spawn` makes one with a limit and a gate to
/// open when it begins. If the machine takes too long it expires, and there is another with twice
/// the time.
fn begun<T>(spawn: impl Fn(Duration, Gate) -> Task<T>) -> Task<T> {
    let mut time = SHORT;
    loop {
        let started = Gate::new();
        let task = spawn(time, started.clone());
        eventually("it begins or expires", || started.is_open() || task.is_finished());
        if started.is_open() {
            return task;
        }
        time *= 2;
    }
}

#[test]
fn a_queued_task_expires() {
    let (pool, gate, drops) = (pool(1, 1), Gate::new(), Drops::new());
    let lane = pool.lane("lane", 1);
    let busy = occupy(&pool, &gate);
    for options in [pool.options(), lane.options()] {
        let held = drops.token();
        let late = options.name("late").cancel_after(SHORT).spawn(move || drop(held));
        let error = soon(late).unwrap_err();
        assert!(error.is_expired() && !error.is_cancelled(), "{error}");
    }
    assert_eq!((drops.count(), pool.metrics().tasks_cancelled()), (2, 2));
    gate.open();
    soon(busy).unwrap();
    check_sound(&pool);
}

#[test]
fn a_running_task_is_told_by_its_flag_its_hooks_and_its_tokens() {
    let pool = pool(1, 1);
    let lane = pool.lane("lane", 1);
    for options in [pool.options(), lane.options()] {
        let (send, ran_on) = channel();
        let task = begun(|time, started| {
            let send = send.clone();
            options.clone().cancel_after(time).spawn(move || {
                let waits = current::token().cancelled();
                let _guard = current::on_cancel(move || {
                    send.send(thread::current().name().map(str::to_owned)).unwrap();
                });
                started.open();
                assert!(waits.wait());
                assert!(current::is_cancelled());
                thread::current().id()
            })
        });
        assert_ne!(soon(task).unwrap(), thread::current().id(), "the closure's value is the task's");
        let name = ran_on.recv_timeout(PATIENCE).unwrap().unwrap();
        assert!(name.ends_with("-timer"), "{name}");
    }
    assert_eq!(pool.metrics().tasks_panicked(), 0);
    check_sound(&pool);
}

#[test]
fn no_time_never_runs_and_endless_time_is_no_limit() {
    let (pool, drops) = (pool(2, 2), Drops::new());
    for _ in 0..200 {
        let held = drops.token();
        let task = pool.options().cancel_after(Duration::ZERO).spawn(move || drop(held));
        assert!(soon(task).unwrap_err().is_expired());
    }
    assert_eq!(drops.count(), 200);
    for time in [Duration::MAX, Duration::MAX / 2, Duration::from_secs(u64::MAX >> 2), PATIENCE * 60] {
        assert!(!soon(pool.options().cancel_after(time).spawn(current::is_cancelled)).unwrap());
    }
    check_sound(&pool);
}

#[test]
fn the_shorter_of_two_limits_counts_in_the_queue_and_one_of_them_afterwards() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let busy = occupy(&pool, &gate);
    for (expire, cancel) in [(SHORT, Duration::MAX), (Duration::MAX, SHORT), (SHORT, SHORT)] {
        let task = pool.options().expire_after(expire).cancel_after(cancel).spawn(|| ());
        assert!(soon(task).unwrap_err().is_expired());
    }
    gate.open();
    soon(busy).unwrap();
    // The limit of the queue passes while it runs, and then the other one.
    let task = begun(|time, started| {
        pool.options().expire_after(time).cancel_after(4 * time).spawn(move || {
            started.open();
            current::token().cancelled().wait()
        })
    });
    assert!(soon(task).unwrap());
    let go = Gate::new();
    let task = begun(|time, started| {
        let pass = go.clone();
        pool.options().expire_after(time).spawn(move || {
            started.open();
            pass.pass();
            current::is_cancelled()
        })
    });
    nothing_happens();
    go.open();
    assert!(!soon(task).unwrap(), "it is only the limit of the queue");
    check_sound(&pool);
}

#[test]
fn what_ends_in_time_is_left_alone() {
    let pool = pool(1, 1);
    let started = Instant::now();
    let tasks: Vec<_> = (0..500)
        .map(|number| {
            pool.options().cancel_after(PATIENCE).spawn(move || {
                assert!(!current::is_cancelled());
                number
            })
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(soon(task).unwrap(), number);
    }
    pool.shutdown().wait();
    assert!(started.elapsed() < PATIENCE, "the pool does not wait for the limits");
}

#[test]
fn a_call_of_a_strand_is_told_and_the_next_one_runs() {
    let pool = pool(1, 1);
    let strand = Strand::on(&pool, 0);
    let call = begun(|time, started| {
        strand.options().cancel_after(time).call(move |value| {
            started.open();
            assert!(current::token().cancelled().wait());
            *value += 1;
        })
    });
    soon(call).unwrap();
    assert_eq!(soon(strand.call(|value| *value)).unwrap(), 1, "it is not poisoned");

    let gate = Gate::new();
    let busy = occupy_lane(strand.lane(), &gate);
    let late = strand.options().cancel_after(SHORT).call(|value| *value += 1);
    assert!(soon(late).unwrap_err().is_expired());
    gate.open();
    soon(busy).unwrap();
    assert_eq!(soon(strand.into_inner()).unwrap(), 1);
}

#[test]
fn the_limit_of_a_spawner_is_that_of_all_it_spawns() {
    let pool = pool(1, 1);
    let strand = Strand::on(&pool.options().cancel_after(Duration::ZERO), 7);
    assert!(soon(strand.call(|value| *value)).unwrap_err().is_expired());
    assert_eq!(soon(strand.into_inner()).unwrap(), 7);
}

#[test]
fn hooks_that_panic_or_block_delay_others_and_lose_nothing() {
    let pool = pool(2, 4);
    let (in_hook, leave) = (Gate::new(), Gate::new());
    let blocked = begun(|time, started| {
        let (entered, pass) = (in_hook.clone(), leave.clone());
        pool.options().cancel_after(time).spawn(move || {
            let guard = current::on_cancel(move || {
                entered.open();
                pass.pass();
                crate::support::quiet_panic("a hook");
            });
            started.open();
            eventually("the limit passes", current::is_cancelled);
            drop(guard);
        })
    });
    in_hook.pass();
    let (started, begin) = channel();
    let next = pool.options().cancel_after(SHORT).spawn(move || {
        started.send(()).unwrap();
        current::token().cancelled().wait()
    });
    let has_begun = begin.recv_timeout(SHORT * 20).is_ok();
    nothing_happens();
    assert!(!next.is_finished() || !has_begun);
    leave.open();
    soon(blocked).unwrap();
    assert!(soon(next).unwrap_or_else(|error| error.is_expired()));
    check_sound(&pool);
}

/// The pool's last handle is gone, and the task still has its limit.
#[test]
fn the_limit_outlives_the_pools_handle() {
    let pool = Pool::builder().core_threads(1).max_threads(1).build().unwrap();
    let task = begun(|time, started| {
        pool.options().cancel_after(8 * time).spawn(move || {
            started.open();
            current::token().cancelled().wait()
        })
    });
    drop(pool);
    assert!(soon(task).unwrap());
}
