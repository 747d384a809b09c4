//! Time limits in the queue: what expires, when, on which thread, and that there is one end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use sidestep::{Pool, current};

use crate::support::{
    Drops, Gate, HoldOnDrop, PATIENCE, PanicOnDrop, all_well, check_sound, counter, eventually,
    nothing_happens, occupy, occupy_lane, pool, soon,
};

const SHORT: Duration = Duration::from_millis(2);
const ROUNDS: usize = 6000;

#[test]
fn a_task_expires_while_no_thread_gets_to_it() {
    let pool = pool(1, 1);
    let lane = pool.lane("lane", 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let (drops, (ran, count)) = (Drops::new(), counter());
    for options in [pool.options(), lane.options()] {
        let (token, count) = (drops.token(), count.clone());
        let late = options.name("late").expire_after(SHORT).spawn(move || {
            count();
            drop(token);
        });
        let error = soon(late).unwrap_err();
        assert!(error.is_expired() && !error.is_cancelled() && !error.is_shutdown(), "{error}");
        assert!(error.to_string().contains("late"), "{error}");
    }
    assert_eq!((drops.count(), ran.load(Ordering::SeqCst)), (2, 0), "dropped before the thread is free");
    let metrics = pool.metrics();
    assert_eq!((metrics.tasks_cancelled(), metrics.tasks_queued()), (2, 0));
    gate.open();
    soon(running).unwrap();
    check_sound(&pool);
}

#[test]
fn no_time_never_runs_and_endless_time_always_does() {
    let pool = pool(2, 2);
    let lane = pool.lane("lane", 2);
    let (ran, count) = counter();
    for options in [pool.options(), lane.options()] {
        for _ in 0..1000 {
            let task = options.clone().expire_after(Duration::ZERO).spawn(count.clone());
            assert!(soon(task).unwrap_err().is_expired());
        }
        assert_eq!(ran.load(Ordering::SeqCst), 0);
        for time in [Duration::MAX, Duration::MAX / 2, Duration::from_secs(u64::MAX >> 2), PATIENCE * 60] {
            soon(options.clone().expire_after(time).spawn(|| ())).unwrap();
        }
    }
    check_sound(&pool);
}

#[test]
fn a_task_that_runs_does_not_expire() {
    let (pool, gate, started) = (pool(1, 1), Gate::new(), Gate::new());
    let mut time = Duration::from_millis(100);
    let task = loop {
        let (announce, pass) = (started.clone(), gate.clone());
        let task = pool.options().expire_after(time).spawn(move || {
            announce.open();
            pass.pass();
            7
        });
        eventually("it runs or expires", || started.is_open() || task.is_finished());
        if started.is_open() {
            break task;
        }
        // The thread had no CPU for so long.
        time *= 2;
    };
    let begun = Instant::now();
    while begun.elapsed() < 2 * time {
        nothing_happens();
    }
    assert!(!task.is_finished());
    gate.open();
    assert_eq!(soon(task).unwrap(), 7);
}

#[test]
fn whoever_is_first_ends_the_task_alone() {
    let pool = pool(2, 2);
    let lane = pool.lane("lane", 1);
    let (ran, count) = counter();
    let drops = Drops::new();
    let mut ends = [0; 3];
    for round in 0..ROUNDS {
        let (token, count) = (drops.token(), count.clone());
        let options = if round % 2 == 0 { pool.options() } else { lane.options() };
        let task = options.expire_after(Duration::from_micros((round % 80) as u64)).spawn(move || {
            count();
            drop(token);
        });
        let end = if round % 3 == 0 { task.cancel().wait() } else { soon(task) };
        match end {
            Ok(()) => ends[0] += 1,
            Err(error) if error.is_expired() => ends[1] += 1,
            Err(error) => {
                assert!(error.is_cancelled(), "{error}");
                ends[2] += 1;
            }
        }
    }
    assert_eq!(ends.iter().sum::<usize>(), ROUNDS);
    assert_eq!((ends[0], drops.count()), (ran.load(Ordering::SeqCst), ROUNDS));
    check_sound(&pool);
    let metrics = pool.metrics();
    assert_eq!(metrics.tasks_cancelled() as usize, ends[1] + ends[2], "{metrics:?}");
}

#[test]
fn no_deadline_comes_early_whatever_their_order() {
    let pool = pool(1, 1);
    let lane = pool.lane("lane", 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let (send, receive) = channel();
    let begun = Instant::now();
    // A permutation of 0..500: 500 and 189 have no common factor.
    for number in (0..500).map(|step| step * 189 % 500) {
        let send = send.clone();
        let time = Duration::from_millis(200 + number);
        let options = if number % 2 == 0 { pool.options() } else { lane.options() };
        options.expire_after(time).spawn(|| ()).on_complete(move |end| {
            assert!(end.unwrap_err().is_expired());
            send.send((number, Instant::now())).unwrap();
        });
    }
    drop(send);
    let order: Vec<_> = receive.iter().collect();
    assert_eq!(order.len(), 500);
    for (number, at) in &order {
        assert!(*at >= begun + Duration::from_millis(200 + number), "{number} came early");
    }
    gate.open();
    soon(running).unwrap();
    check_sound(&pool);
}

#[test]
fn an_earlier_deadline_wakes_the_timer() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let far: Vec<_> = (0..10).map(|_| pool.options().expire_after(PATIENCE * 60).spawn(|| ())).collect();
    nothing_happens();
    let near = pool.options().expire_after(SHORT).spawn(|| ());
    assert!(soon(near).unwrap_err().is_expired());
    gate.open();
    all_well(far.into_iter().chain([running]));
}

#[test]
fn destructors_that_panic_or_spawn_harm_nobody() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let drops = Drops::new();
    struct Spawns(Pool, Drops);
    impl Drop for Spawns {
        fn drop(&mut self) {
            let token = self.1.token();
            self.0.options().expire_after(SHORT).spawn(move || drop(token)).detach();
        }
    }
    for _ in 0..20 {
        let panics = PanicOnDrop(drops.clone());
        let late = pool.options().expire_after(SHORT).spawn(move || drop(panics));
        assert!(soon(late).unwrap_err().is_expired());
        let spawns = Spawns(pool.clone(), drops.clone());
        let late = pool.options().expire_after(SHORT).spawn(move || drop(spawns));
        assert!(soon(late).unwrap_err().is_expired());
    }
    eventually("what they have spawned expires too", || drops.count() == 40);
    gate.open();
    soon(running).unwrap();
    check_sound(&pool);
}

#[test]
fn a_destructor_that_blocks_delays_only_the_timer() {
    let pool = pool(1, 2);
    let gate = Gate::new();
    let running = [occupy(&pool, &gate), occupy(&pool, &gate)];
    let (hold, begun, leave) = HoldOnDrop::new();
    let held = pool.options().expire_after(Duration::ZERO).spawn(move || drop(hold));
    begun.pass();
    let drops = Drops::new();
    let late: Vec<_> = (0..100)
        .map(|_| {
            let token = drops.token();
            pool.options().expire_after(Duration::ZERO).spawn(move || drop(token))
        })
        .collect();
    gate.open();
    all_well(running);
    assert!(late.into_iter().all(|task| soon(task).unwrap_err().is_expired()), "found by the workers");
    assert_eq!(drops.count(), 100);
    check_sound(&pool);
    leave.open();
    assert!(soon(held).unwrap_err().is_expired());
}

#[test]
fn an_overdue_task_is_not_run_in_place() {
    let pool = pool(1, 1);
    let lane = pool.lane("two", 2);
    let (ran, count) = counter();
    let (inner, narrow) = (pool.clone(), lane.clone());
    let outer = pool.spawn(move || {
        for _ in 0..100 {
            let none = inner.options().expire_after(Duration::ZERO).spawn(count.clone());
            assert!(none.wait().unwrap_err().is_expired());
            let none = narrow.options().expire_after(Duration::ZERO).spawn(count.clone());
            assert!(none.wait().unwrap_err().is_expired());
        }
    });
    soon(outer).unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    check_sound(&pool);
}

#[test]
fn tasks_expire_while_the_pool_is_shutting_down() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let lane = pool.lane("lane", 1);
    let running = occupy_lane(&lane, &gate);
    let late = [
        pool.options().expire_after(Duration::from_millis(50)).spawn(|| ()),
        lane.options().expire_after(Duration::from_millis(50)).spawn(|| ()),
    ];
    let stays = lane.options().expire_after(PATIENCE * 60).spawn(|| ());
    let shutdown = pool.shutdown();
    assert!(late.into_iter().all(|task| soon(task).unwrap_err().is_expired()));
    gate.open();
    all_well([running, stays]);
    let report = shutdown.wait();
    assert_eq!((report.completed, report.discarded, report.still_running), (2, 0, 0));
}

#[cfg(target_os = "linux")]
#[test]
fn the_timer_comes_with_the_first_deadline_and_goes_with_the_pool() {
    use crate::support::threads_called;
    let pool = Pool::builder().name("tick").max_threads(2).build().unwrap();
    let lane = pool.lane("lane", 1);
    soon(pool.options().name("without").spawn(|| ())).unwrap();
    soon(pool.options().expire_after(Duration::MAX).spawn(|| ())).unwrap();
    assert_eq!(threads_called("tick-timer"), 0);
    let (first, second) = (lane.options().expire_after(PATIENCE), pool.options().expire_after(PATIENCE));
    soon(first.spawn(|| ())).unwrap();
    eventually("it is there", || threads_called("tick-timer") == 1);
    all_well((0..1000).map(|_| second.spawn(|| ())).collect::<Vec<_>>());
    assert_eq!(threads_called("tick-timer"), 1);
    assert!(pool.metrics().threads() <= 2);
    drop((lane, pool.clone()));
    drop(pool);
    eventually("all threads are gone", || threads_called("tick") == 0);
}

#[cfg(target_os = "linux")]
#[test]
fn no_timer_is_left_whenever_the_pool_ends() {
    use crate::support::threads_called;
    for round in 0..200 {
        let pool = Pool::builder().name("brief").max_threads(1).build().unwrap();
        let drops = Drops::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..10 {
                    let token = drops.token();
                    let options = pool.options().expire_after(PATIENCE * 60);
                    options.spawn(move || drop(token)).detach();
                }
            });
            (0..round % 8).for_each(|_| thread::yield_now());
            pool.shutdown().discard_queued().wait();
        });
        eventually("all closures are gone", || drops.count() == 10);
    }
    eventually("all threads are gone", || threads_called("brief") == 0);
}

#[test]
fn a_permit_of_a_task_that_waits_long_is_not_lost_with_it() {
    let pool = Arc::new(Pool::builder().max_threads(1).queue_limit(2).build().unwrap());
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    for _ in 0..50 {
        let late = [
            pool.options().expire_after(Duration::ZERO).spawn(|| ()),
            pool.options().expire_after(Duration::from_micros(50)).spawn(|| ()),
        ];
        assert!(late.into_iter().all(|task| soon(task).unwrap_err().is_expired()));
    }
    let two = [pool.spawn(|| ()), pool.spawn(|| ())];
    assert!(pool.try_spawn(|| ()).is_err());
    gate.open();
    all_well(two.into_iter().chain([running]));
}

#[test]
fn expiry_and_cancellation_race_for_one_end() {
    let pool = pool(1, 1);
    let (drops, ran) = (Drops::new(), Arc::new(AtomicUsize::new(0)));
    let (mut expired, mut cancelled) = (0, 0);
    const ROUNDS: usize = 300;
    for round in 0..ROUNDS {
        let gate = Gate::new();
        let busy = occupy(&pool, &gate);
        let (token, counted) = (drops.token(), Arc::clone(&ran));
        let time = Duration::from_micros(round as u64);
        let task = pool.options().expire_after(time).spawn(move || {
            drop(token);
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let handle = task.cancel_handle();
        (0..round).for_each(|_| thread::yield_now());
        handle.cancel();
        let error = soon(task).unwrap_err();
        expired += usize::from(error.is_expired());
        cancelled += usize::from(error.is_cancelled());
        gate.open();
        soon(busy).unwrap();
    }
    assert_eq!((expired + cancelled, drops.count(), ran.load(Ordering::SeqCst)), (ROUNDS, ROUNDS, 0));
    assert_eq!(pool.metrics().tasks_cancelled(), ROUNDS as u64);
    check_sound(&pool);
}

#[test]
fn expiry_and_the_beginning_race_for_one_end() {
    let pool = pool(2, 2);
    let lane = pool.lane_builder("lane", 1).queue_limit(1000).build().unwrap();
    let (drops, ran) = (Drops::new(), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..4000)
        .map(|n| {
            let (token, counted) = (drops.token(), Arc::clone(&ran));
            let options = if n % 2 == 0 { pool.options() } else { lane.options() };
            options.expire_after(Duration::from_micros(n % 50)).spawn(move || {
                drop(token);
                counted.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    let mut ends = 0;
    for task in tasks {
        match soon(task) {
            Ok(()) => ends += 1,
            Err(error) => assert!(error.is_expired() || error.is_full(), "{error}"),
        }
    }
    assert_eq!((ran.load(Ordering::SeqCst), drops.count()), (ends, 4000));
    check_sound(&pool);
    assert_eq!((lane.metrics().tasks_queued(), lane.metrics().tasks_running()), (0, 0));
}

#[test]
fn expiry_does_not_touch_what_runs() {
    let pool = pool(1, 1);
    let (gate, started) = (Gate::new(), Gate::new());
    let (pass, announce) = (gate.clone(), started.clone());
    let task = pool.options().expire_after(Duration::from_secs(3600)).spawn(move || {
        announce.open();
        pass.pass();
        current::is_cancelled()
    });
    started.pass();
    let late = pool.options().expire_after(Duration::ZERO).spawn(|| ());
    assert!(soon(late).unwrap_err().is_expired());
    gate.open();
    assert!(!soon(task).unwrap());
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let inner = pool.clone();
    let overdue =
        pool.spawn(move || inner.options().expire_after(Duration::ZERO).spawn(|| ()).wait().is_err());
    gate.open();
    soon(busy).unwrap();
    assert!(soon(overdue).unwrap(), "also in place");
    check_sound(&pool);
}
