//! Seeing what runs for long: `Pool::long_running`, and the site that each way to spawn gives.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use sidestep::{LongRunningTask, Pool, PoolBuilder, current};

use crate::support::{
    Gate, all_well, check_sound, eventually, nothing_happens, occupy, pool, quiet_panic, soon,
};

const LONG: Duration = Duration::from_secs(3600);

fn one() -> PoolBuilder {
    Pool::builder().core_threads(1).max_threads(1)
}

fn names(stuck: &[LongRunningTask]) -> Vec<&str> {
    stuck.iter().map(|task| task.name.as_deref().unwrap_or("-")).collect()
}

/// The sentence of a panic.
fn sentence<R>(f: impl FnOnce() -> R) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).err().unwrap();
    *payload.downcast::<String>().unwrap()
}

#[test]
fn each_way_to_spawn_names_the_line_of_its_caller() {
    let pool = pool(1, 1);
    let lane = pool.lane("lane", 1);
    let permits = [pool.reserve(), lane.reserve(), pool.reserve()].map(|wait| wait.wait().unwrap());
    let [in_pool, in_lane, unblocks] = permits;
    pool.shutdown().wait();
    let error = |task: sidestep::Task<()>| soon(task).unwrap_err().to_string();
    let mut seen = vec![
        (line!(), error(pool.spawn(|| ()))),
        (line!(), pool.try_spawn(|| ()).unwrap_err().to_string()),
        (line!(), error(pool.options().spawn(|| ()))),
        (line!(), pool.options().try_spawn(|| ()).unwrap_err().to_string()),
        (line!(), error(in_pool.spawn(|| ()))),
        (line!(), error(in_lane.spawn(|| ()))),
        (line!(), error(lane.spawn(|| ()))),
        (line!(), lane.try_spawn(|| ()).unwrap_err().to_string()),
        (line!(), error(lane.options().spawn(|| ()))),
        (line!(), lane.options().try_spawn(|| ()).unwrap_err().to_string()),
        (line!(), sentence(|| pool.unblock(|| ()).wait())),
        (line!(), sentence(|| lane.unblock(|| ()).wait())),
        (line!(), sentence(|| pool.options().unblock(|| ()).wait())),
        (line!(), sentence(|| lane.options().unblock(|| ()).wait())),
        (line!(), sentence(|| unblocks.unblock(|| ()).wait())),
        (line!(), pool.reserve().wait().unwrap_err().to_string()),
        (line!(), lane.reserve().wait().unwrap_err().to_string()),
        (line!(), pool.scope(|scope| scope.spawn(|| ()).wait()).unwrap_err().to_string()),
        (line!(), sentence(|| pool.scope(|scope| drop(scope.spawn(|| ()))))),
    ];
    let batch = pool.spawn_batch([|| (), || ()]).wait();
    seen.extend(batch.into_iter().map(|end| (line!() - 1, end.unwrap_err().to_string())));
    let task = sidestep::spawn(|| quiet_panic("global"));
    let end: Result<(), _> = soon(task);
    seen.push((line!() - 2, end.unwrap_err().to_string()));
    for (line, text) in seen {
        assert!(
            text.contains(&format!("(spawned at tests/behaviour/stats/observe.rs:{line}:")),
            "{line}: {text}"
        );
    }
}

#[test]
fn with_warn_after_the_times_are_exact() {
    for warn in [Duration::ZERO, Duration::from_millis(1), Duration::MAX] {
        let pool = one().warn_after(warn).build().unwrap();
        assert!(pool.long_running(Duration::ZERO).is_empty());
        let (gate, started) = (Gate::new(), Gate::new());
        let (pass, announce) = (gate.clone(), started.clone());
        let before = Instant::now();
        let task = pool.options().name("tape").spawn(move || {
            announce.open();
            pass.pass();
        });
        started.pass();
        let since = Instant::now();
        nothing_happens();
        let least = since.elapsed();
        let stuck = pool.long_running(least / 2);
        assert_eq!((names(&stuck), stuck[0].id), (vec!["tape"], task.id()));
        assert!(stuck[0].running_for >= least && stuck[0].running_for <= before.elapsed());
        assert!(stuck[0].site.file().ends_with("observe.rs"));
        assert!(pool.long_running(LONG).is_empty() && pool.long_running(Duration::MAX).is_empty());
        gate.open();
        soon(task).unwrap();
        eventually("it is not listed any more", || pool.long_running(Duration::ZERO).is_empty());
        check_sound(&pool);
    }
}

/// One task hangs among many short ones, on a thread that never sleeps in between.
#[test]
fn what_hangs_among_short_tasks_is_found_by_the_first_call() {
    for count in [0, 1, 20, 31, 32, 33, 70, 1000] {
        // Its thread has looked at the clock in this round, and not before.
        let pool = pool(1, 1);
        let (hold, gate, started) = (Gate::new(), Gate::new(), Gate::new());
        let before = Instant::now();
        let busy = occupy(&pool, &hold);
        let short: Vec<_> = (0..count).map(|_| pool.spawn(|| ())).collect();
        let (announce, pass) = (started.clone(), gate.clone());
        let hangs = pool.options().name("hangs").spawn(move || {
            announce.open();
            pass.pass();
        });
        hold.open();
        started.pass();
        let since = Instant::now();
        nothing_happens();
        let least = since.elapsed();
        // What it was before can only be guessed from those before; it is not far off.
        let stuck = pool.long_running(least / 2);
        assert_eq!(names(&stuck), ["hangs"], "after {count}");
        assert!(stuck[0].running_for >= least / 2, "{stuck:?}");
        assert!(stuck[0].running_for <= before.elapsed() + Duration::from_millis(1), "{stuck:?}");
        gate.open();
        all_well(short);
        all_well([busy, hangs]);
        check_sound(&pool);
    }
}

/// A task that has run others inside of it: nothing is known of when it began, so it counts from
/// the first call.
#[test]
fn a_task_that_has_run_others_inline_counts_from_the_first_call() {
    let (pool, gate, started) = (pool(1, 1), Gate::new(), Gate::new());
    let (inner, pass, announce) = (pool.clone(), gate.clone(), started.clone());
    let outer = pool.spawn(move || {
        inner.spawn(|| ()).wait().unwrap();
        announce.open();
        pass.pass();
    });
    started.pass();
    nothing_happens();
    assert!(pool.long_running(Duration::from_millis(20)).is_empty());
    nothing_happens();
    assert_eq!(pool.long_running(Duration::from_millis(20)).len(), 1);
    gate.open();
    soon(outer).unwrap();
}

#[test]
fn without_it_the_first_call_knows_about_when_a_task_began() {
    let pool = pool(2, 2);
    let gate = Gate::new();
    let before = Instant::now();
    let busy = occupy(&pool, &gate);
    let since = Instant::now();
    nothing_happens();
    let least = since.elapsed();
    let stuck = pool.long_running(least / 2);
    assert_eq!(stuck.iter().map(|task| task.id).collect::<Vec<_>>(), [busy.id()], "in the first call");
    assert!(stuck[0].running_for >= least && stuck[0].running_for <= before.elapsed());
    assert!(pool.long_running(LONG).is_empty());
    let since = Instant::now();
    nothing_happens();
    let more = since.elapsed();
    let again = pool.long_running(Duration::ZERO);
    assert!(again[0].running_for >= stuck[0].running_for + more, "it began when it began");
    let second = occupy(&pool, &gate);
    let stuck = pool.long_running(least);
    assert_eq!(stuck.iter().map(|task| task.id).collect::<Vec<_>>(), [busy.id()]);
    nothing_happens();
    let stuck = pool.long_running(Duration::ZERO);
    assert_eq!(
        stuck.iter().map(|task| task.id).collect::<Vec<_>>(),
        [busy.id(), second.id()],
        "longest first"
    );
    gate.open();
    soon(busy).unwrap();
    soon(second).unwrap();
    eventually("nothing is listed", || pool.long_running(Duration::ZERO).is_empty());
}

#[test]
fn tasks_that_wait_in_place_are_listed_with_what_they_run() {
    for builder in [one(), one().warn_after(LONG)] {
        let pool = builder.build().unwrap();
        let (gate, started) = (Gate::new(), Gate::new());
        let (pass, announce, inner) = (gate.clone(), started.clone(), pool.clone());
        let task = pool.options().name("outer").spawn(move || {
            let deeper = inner.clone();
            let middle = inner.spawn(move || {
                let deepest = deeper.options().name("innermost").spawn(move || {
                    announce.open();
                    pass.pass();
                });
                deepest.wait().unwrap();
            });
            middle.wait().unwrap();
        });
        started.pass();
        let _ = pool.long_running(Duration::ZERO);
        nothing_happens();
        assert_eq!(names(&pool.long_running(Duration::from_millis(1))), ["outer", "-", "innermost"]);
        gate.open();
        soon(task).unwrap();
        eventually("nothing is listed", || pool.long_running(Duration::ZERO).is_empty());
        check_sound(&pool);
    }
}

#[test]
fn a_task_is_listed_while_what_it_ran_in_place_is_delivered() {
    struct Slow(Gate, Gate);
    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.open();
            self.1.pass();
        }
    }
    let pool = one().warn_after(LONG).build().unwrap();
    let (started, gate, inner) = (Gate::new(), Gate::new(), pool.clone());
    let slow = Slow(started.clone(), gate.clone());
    let task = pool.options().name("outer").spawn(move || {
        inner.scope(|scope| drop(scope.spawn(move || slow)));
    });
    started.pass();
    nothing_happens();
    let stuck = pool.long_running(Duration::from_millis(1));
    gate.open();
    soon(task).unwrap();
    assert_eq!(names(&stuck), ["outer"], "it waits for the destructor of a result");
}

/// Keeps the thread for a while without sleeping.
fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

#[test]
fn nothing_is_listed_that_has_ended() {
    let pool = one().warn_after(LONG).build().unwrap();
    for round in 0..20_000_u32 {
        let first = pool.spawn(|| spin(Duration::from_micros(5)));
        let second = pool.spawn(|| spin(Duration::from_micros(2)));
        while !first.is_finished() {
            std::hint::spin_loop();
        }
        (0..round % 64).for_each(|_| std::hint::spin_loop());
        let stuck = pool.long_running(Duration::ZERO);
        assert!(stuck.iter().all(|task| task.id != first.id()), "{stuck:?}");
        soon(first).unwrap();
        soon(second).unwrap();
    }
}

#[test]
fn what_is_listed_has_its_own_name_and_time() {
    let pool = one().warn_after(LONG).build().unwrap();
    let (mut names, mut times) = (0, 0);
    // It takes a while to copy.
    let long = "second ".repeat(100_000);
    for _ in 0..500_u32 {
        // The last time at which the first is known not to have ended.
        let mut before = Instant::now();
        let first = pool.options().name("first").spawn(|| spin(Duration::from_micros(200)));
        let second = pool.options().name(long.clone()).spawn(|| ());
        loop {
            let now = Instant::now();
            if first.is_finished() {
                break;
            }
            before = now;
        }
        let stuck = pool.long_running(Duration::ZERO);
        let at_most = before.elapsed();
        for task in stuck.iter().filter(|task| task.id == second.id()) {
            names += u32::from(task.name.as_deref() == Some("first"));
            times += u32::from(task.running_for > at_most);
        }
        soon(first).unwrap();
        soon(second).unwrap();
    }
    assert_eq!((names, times), (0, 0), "names and times of the task before");
}

#[test]
fn it_may_be_asked_by_many_at_any_time() {
    let pool = pool(2, 4);
    let stop = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    assert!(pool.long_running(LONG).is_empty());
                    for task in pool.long_running(Duration::ZERO) {
                        assert!(task.site.file().ends_with("observe.rs"));
                    }
                }
            });
        }
        for _ in 0..200 {
            let inner = pool.clone();
            let nested = pool.spawn(move || {
                let tasks: Vec<_> = (0..10).map(|_| inner.spawn(|| ())).collect();
                tasks.into_iter().for_each(|task| task.wait().unwrap());
                inner.scope(|scope| (0..10).for_each(|_| drop(scope.spawn(|| ()))));
            });
            soon(nested).unwrap();
            if pool.metrics().threads() > 1 {
                soon(pool.spawn(sidestep::current::retire_thread)).unwrap();
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
    check_sound(&pool);
}

/// cats-effect asks who is blocked while threads that block come and go.
// Origin: cats-effect 106
#[test]
fn a_pool_may_be_looked_at_while_blocked_threads_come_and_go() {
    let pool = Pool::builder().core_threads(2).max_threads(16).keep_alive(Duration::ZERO).build().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut looks = 0_u64;
            while !done.load(Ordering::SeqCst) || looks == 0 {
                let metrics = pool.metrics();
                assert!(metrics.threads() <= 16 && metrics.threads_blocked() <= 16, "{metrics:?}");
                assert!(pool.long_running(Duration::ZERO).len() <= 16);
                looks += 1;
            }
        });
        for _ in 0..20 {
            let meeting = Arc::new(Barrier::new(16));
            let meet = |number| {
                let meeting = Arc::clone(&meeting);
                pool.spawn(move || match number % 2 {
                    0 => meeting.wait().is_leader(),
                    _ => current::will_block(|| meeting.wait()).is_leader(),
                })
            };
            all_well((0..16).map(meet).collect::<Vec<_>>());
        }
        done.store(true, Ordering::SeqCst);
        looks.join().unwrap();
    });
    check_sound(&pool);
}
