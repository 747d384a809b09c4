//! `PoolBuilder::on_slow_task`: warnings without `tracing`.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use sidestep::{Pool, PoolBuilder, SlowTask, SlowTaskEvent};

use crate::support::{
    Gate, PATIENCE, check_sound, eventually, nothing_happens, occupy, occupy_lane, quiet_panic, soon,
};

const LIMIT: Duration = Duration::from_millis(10);

/// A builder of a pool whose slow tasks are sent.
fn heard() -> (PoolBuilder, Receiver<SlowTask>) {
    let (send, slow) = channel();
    let builder = Pool::builder().core_threads(1).max_threads(1);
    (builder.on_slow_task(move |task| _ = send.send(task.clone())), slow)
}

#[test]
fn a_long_wait_a_long_run_and_its_end_are_heard_of() {
    let (builder, slow) = heard();
    let pool = builder.warn_after(LIMIT).build().unwrap();
    let lane = pool.lane("tapes", 1);
    let gate = Gate::new();
    let running = lane.options().name("rewind").spawn({
        let pass = gate.clone();
        move || pass.pass()
    });
    let next = || slow.recv_timeout(PATIENCE).unwrap();
    let mut goes_on = next();
    if goes_on.event == SlowTaskEvent::Begins {
        // The thread has taken its time.
        goes_on = next();
    }
    assert_eq!((goes_on.event, goes_on.id), (SlowTaskEvent::GoesOn, running.id()));
    assert_eq!((goes_on.name.as_deref(), goes_on.lane.as_deref()), (Some("rewind"), None));
    assert!(goes_on.time >= LIMIT && goes_on.site.file().ends_with("slow.rs"));
    let waits = pool.spawn(|| ());
    nothing_happens();
    gate.open();
    let ended = next();
    assert_eq!((ended.event, ended.lane.as_deref()), (SlowTaskEvent::Ended, Some("tapes")));
    assert!(ended.time >= goes_on.time);
    let waited = next();
    assert_eq!((waited.event, waited.id), (SlowTaskEvent::Begins, waits.id()));
    assert_eq!((waited.name, waited.lane), (None, None));
    soon(running).unwrap();
    soon(waits).unwrap();
    check_sound(&pool);
}

#[test]
fn short_tasks_and_pools_without_a_limit_are_silent() {
    for limit in [None, Some(Duration::MAX)] {
        let (builder, slow) = heard();
        let builder = limit.into_iter().fold(builder, PoolBuilder::warn_after);
        let (pool, gate) = (builder.build().unwrap(), Gate::new());
        let busy = occupy(&pool, &gate);
        nothing_happens();
        gate.open();
        soon(busy).unwrap();
        pool.shutdown().wait();
        drop(pool);
        assert_eq!(slow.try_iter().count(), 0);
    }
}

#[test]
fn a_callback_that_panics_or_uses_the_pool_is_no_trouble() {
    let (send, slow) = channel();
    let inner = std::sync::OnceLock::<Pool>::new();
    let inner = std::sync::Arc::new(inner);
    let used = std::sync::Arc::clone(&inner);
    let builder = Pool::builder().core_threads(1).max_threads(2).warn_after(Duration::ZERO);
    let pool = builder
        .on_slow_task(move |task| {
            send.send(task.event).unwrap();
            if let Some(pool) = used.get().filter(|_| task.name.as_deref() == Some("first")) {
                assert!(format!("{pool:?}").contains("sidestep") && pool.metrics().tasks_submitted() > 0);
                pool.spawn(|| ()).detach();
            }
            quiet_panic("the callback");
        })
        .build()
        .unwrap();
    inner.set(pool.clone()).unwrap();
    soon(pool.options().name("first").spawn(|| ())).unwrap();
    let lane = pool.lane("lane", 1);
    let gate = Gate::new();
    let busy = occupy_lane(&lane, &gate);
    gate.open();
    soon(busy).unwrap();
    eventually("all have run", || pool.metrics().tasks_running() + pool.metrics().tasks_queued() == 0);
    assert_eq!(pool.metrics().tasks_panicked(), 0);
    assert!(slow.try_iter().filter(|event| *event == SlowTaskEvent::Ended).count() >= 2);
    pool.shutdown().wait();
}
