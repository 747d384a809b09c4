//! Each submitted task has one end, and each end one count; what is rejected was not submitted.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use sidestep::{Dedicated, LaneMetrics, Metrics, OnShutdown, Pool, Strand};

use crate::support::{
    Gate, builder, check_accounts, check_sound, eventually, occupy, occupy_lane, pool, quiet_panic, soon,
};

fn check(metrics: &Metrics) {
    check_accounts(metrics);
    assert!(metrics.tasks_expired() + metrics.tasks_refused() <= metrics.tasks_cancelled(), "{metrics:?}");
}

fn check_lane(metrics: &LaneMetrics) {
    let ended = metrics.tasks_completed() + metrics.tasks_panicked() + metrics.tasks_cancelled();
    assert_eq!(
        ended + metrics.tasks_queued() + metrics.tasks_running(),
        metrics.tasks_submitted(),
        "{metrics:?}"
    );
    assert!(metrics.tasks_expired() + metrics.tasks_refused() <= metrics.tasks_cancelled(), "{metrics:?}");
}

#[test]
fn every_end_is_counted_where_it_belongs() {
    let pool = pool(1, 1);
    let lane = pool.lane_builder("lane", 1).queue_limit(3).build().unwrap();
    let gate = Gate::new();
    let running = occupy_lane(&lane, &gate);
    let expired = lane.options().expire_after(Duration::ZERO).spawn(|| ());
    assert!(soon(expired).unwrap_err().is_expired());
    drop(lane.spawn(|| ()));
    let panics = lane.spawn(|| quiet_panic("counted"));
    let fills: Vec<_> = (0..2).map(|_| lane.spawn(|| ())).collect();
    assert!(soon(lane.spawn(|| ())).unwrap_err().is_full());
    assert!(lane.try_spawn(|| ()).unwrap_err().error().is_full());
    assert!(lane.try_reserve().unwrap_err().is_full());
    gate.open();
    soon(running).unwrap();
    assert!(soon(panics).unwrap_err().is_panic());
    fills.into_iter().for_each(|task| soon(task).unwrap());
    let metrics = lane.metrics();
    check_lane(&metrics);
    assert_eq!((metrics.tasks_submitted(), metrics.tasks_completed(), metrics.tasks_panicked()), (6, 3, 1));
    assert_eq!((metrics.tasks_cancelled(), metrics.tasks_expired()), (2, 1));
    assert_eq!((metrics.tasks_rejected(), metrics.tasks_refused()), (2, 0), "a wait for a permit is no task");
    let all = pool.metrics();
    check(&all);
    assert_eq!((all.tasks_submitted(), all.tasks_rejected(), all.tasks_expired()), (6, 2, 1));
    drop(lane);
    assert_eq!(pool.metrics().tasks_rejected(), 2, "a lane that is gone still counts");
    check_sound(&pool);
}

#[test]
fn a_worker_that_finds_an_overdue_task_counts_it_as_expired() {
    let pool = pool(1, 1);
    let (sent, received) = channel::<()>();
    // The timer's thread is held up by a destructor.
    struct Hold(Gate, std::sync::mpsc::Receiver<()>);
    impl Drop for Hold {
        fn drop(&mut self) {
            self.0.open();
            let _ = self.1.recv();
        }
    }
    let (gate, begun) = (Gate::new(), Gate::new());
    let running = occupy(&pool, &gate);
    let hold = Hold(begun.clone(), received);
    let first = pool.options().expire_after(Duration::ZERO).spawn(move || drop(hold));
    begun.pass();
    let second = pool.options().expire_after(Duration::ZERO).spawn(|| ());
    gate.open();
    soon(running).unwrap();
    assert!(soon(second).unwrap_err().is_expired());
    assert_eq!(pool.metrics().tasks_expired(), 2);
    drop(sent);
    assert!(soon(first).unwrap_err().is_expired());
    check(&pool.metrics());
    check_sound(&pool);
}

#[test]
fn a_call_that_finds_no_value_is_refused_and_a_panic_is_not() {
    let pool = pool(1, 2);
    let strand = Strand::on(&pool, 0);
    assert!(soon(strand.call(|_| quiet_panic("poisons"))).unwrap_err().is_panic());
    for _ in 0..3 {
        assert!(soon(strand.call(|_| ())).unwrap_err().is_poisoned());
    }
    let metrics = strand.lane().metrics();
    check_lane(&metrics);
    assert_eq!((metrics.tasks_panicked(), metrics.tasks_refused(), metrics.tasks_cancelled()), (1, 3, 3));
    assert_eq!(pool.metrics().tasks_refused(), 3);
    let value = Dedicated::new(|| 7).unwrap();
    let other = value.clone();
    assert_eq!(soon(value.into_inner()).unwrap(), 7);
    assert!(soon(other.call(|_| ())).unwrap_err().is_shutdown());
    assert_eq!(other.metrics().tasks_refused(), 1);
    check_sound(&pool);
}

#[test]
fn what_a_pool_that_is_shut_down_rejects_is_counted() {
    let pool = builder().core_threads(1).max_threads(1).queue_limit(2).build().unwrap();
    let lane = pool.lane("lane", 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let discarded = pool.options().on_shutdown(OnShutdown::Discard).spawn(|| ());
    let permit = pool.reserve().wait().unwrap();
    assert!(!pool.is_shut_down());
    let shutdown = pool.shutdown();
    assert!(pool.is_shut_down());
    assert!(soon(permit.spawn(|| ())).unwrap_err().is_shutdown());
    assert!(soon(pool.spawn(|| ())).unwrap_err().is_shutdown());
    assert!(lane.try_spawn(|| ()).unwrap_err().error().is_shutdown());
    gate.open();
    soon(running).unwrap();
    shutdown.wait();
    assert!(soon(discarded).unwrap_err().is_shutdown());
    let metrics = pool.metrics();
    check(&metrics);
    assert_eq!((metrics.tasks_submitted(), metrics.tasks_rejected(), metrics.tasks_cancelled()), (2, 3, 1));
    assert_eq!((metrics.tasks_expired(), lane.metrics().tasks_rejected()), (0, 1));
}

#[test]
fn the_sums_agree_at_every_reading() {
    const ROUNDS: usize = 400;
    let pool = builder().core_threads(2).max_threads(4).queue_limit(16).build().unwrap();
    let lane = pool.lane_builder("lane", 2).queue_limit(16).build().unwrap();
    let refused = Strand::on(&pool, ());
    soon(refused.call(|()| quiet_panic("poisons"))).unwrap_err();
    let (mut accepted, mut rejected) = (1, 0);
    thread::scope(|scope| {
        let work = scope.spawn(|| {
            let (mut accepted, mut rejected) = (0, 0);
            for round in 0..ROUNDS {
                for number in 0..12 {
                    let f = move || {
                        if number == 7 {
                            quiet_panic("counted")
                        }
                    };
                    let options = if number % 2 == 0 { lane.options() } else { pool.options() };
                    let options =
                        if number % 5 == 0 { options.expire_after(Duration::ZERO) } else { options };
                    match options.try_spawn(f) {
                        Ok(task) => {
                            accepted += 1;
                            if (round + number) % 3 == 0 { drop(task) } else { task.detach() }
                        }
                        Err(_) => rejected += 1,
                    }
                }
                refused.call(|()| ()).detach();
                accepted += 1;
            }
            (accepted, rejected)
        });
        while !work.is_finished() {
            check(&pool.metrics());
            check_lane(&lane.metrics());
        }
        let (more, refusals) = work.join().unwrap();
        accepted += more;
        rejected += refusals;
    });
    pool.idle().wait();
    let metrics = pool.metrics();
    check(&metrics);
    assert_eq!((metrics.tasks_submitted(), metrics.tasks_rejected()), (accepted, rejected));
    assert_eq!((metrics.tasks_queued(), metrics.tasks_running()), (0, 0));
    assert_eq!(metrics.tasks_refused(), ROUNDS as u64, "all calls but the first");
    assert!(metrics.tasks_expired() > 0 && metrics.tasks_panicked() > 0, "{metrics:?}");
}

#[test]
fn limits_are_shown_as_they_are() {
    let pool = Pool::builder().name("gauges").core_threads(2).max_threads(7).queue_limit(9).build().unwrap();
    let lane = pool.lane_builder("lane", 3).queue_limit(5).build().unwrap();
    assert_eq!((pool.name(), pool.core_threads(), pool.max_threads()), ("gauges", 2, 7));
    let metrics = pool.metrics();
    assert_eq!((metrics.core_threads(), metrics.max_threads(), metrics.queue_limit()), (2, 7, Some(9)));
    assert_eq!((lane.metrics().limit(), lane.metrics().queue_limit()), (3, Some(5)));
    assert_eq!(pool.lane("open", 1).metrics().queue_limit(), None);
    pool.set_max_threads(1).unwrap();
    lane.set_limit(4).unwrap();
    assert_eq!((pool.core_threads(), pool.max_threads(), lane.metrics().limit()), (1, 1, 4));
    assert_eq!((pool.metrics().core_threads(), pool.metrics().max_threads()), (1, 1));
    let (pool_text, lane_text) = (format!("{pool:?}"), format!("{lane:?}"));
    for part in ["\"gauges\"", "core_threads: 1", "max_threads: 1", "queue_limit: Some(9)"] {
        assert!(pool_text.contains(part), "{pool_text}");
    }
    assert!(lane_text.contains("limit: 4") && lane_text.contains("queue_limit: Some(5)"), "{lane_text}");
    let text = format!("{:?}", pool.metrics());
    assert!(text.contains("max_threads: 1") && text.contains("rejected: 0"), "{text}");
    eventually("the surplus thread leaves", || pool.metrics().threads() <= 1);
    check_sound(&pool);
}
