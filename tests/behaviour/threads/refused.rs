//! Attacks on threads that are refused or late, on shutdowns and their reports, and on who may wait
//! for whom.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use sidestep::{NewThread, Pool, PoolBuilder, current};

use crate::support::{
    Gate, PATIENCE, Wakes, check_accounts, check_sound, eventually, nothing_happens, occupy, poll, pool, soon,
};

fn start(new: NewThread) -> io::Result<()> {
    thread::Builder::new().name(new.name().to_owned()).spawn(|| new.run()).map(drop)
}

/// A builder whose first thread is started as usual; `later` deals with the others.
fn after_the_first(later: impl Fn(NewThread) -> io::Result<()> + Send + Sync + 'static) -> PoolBuilder {
    let calls = AtomicUsize::new(0);
    Pool::builder().spawn_handler(move |new| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => start(new),
        _ => later(new),
    })
}

/// A place for threads that come later or never.
type Kept = Arc<Mutex<VecDeque<NewThread>>>;

fn keeping() -> (PoolBuilder, Kept) {
    let kept = Kept::default();
    let store = Arc::clone(&kept);
    let builder = after_the_first(move |new| {
        store.lock().unwrap().push_back(new);
        Ok(())
    });
    (builder, kept)
}

/// Builds a pool whose second thread is refused once the second gate is open; the first opens when
/// that thread is asked for.
fn refusing_the_second() -> (PoolBuilder, Gate, Gate) {
    let (entered, refuse) = (Gate::new(), Gate::new());
    let (announce, pass) = (entered.clone(), refuse.clone());
    let builder = after_the_first(move |_new| {
        announce.open();
        pass.pass();
        Err(io::Error::other("no second thread"))
    });
    (builder, entered, refuse)
}

/// A pool whose one thread sleeps while another thread is inside the handler that will refuse the
/// second; opening the gate lets it. Ends with the thread that waits for the handler.
fn asleep_beside_a_start() -> (Pool, Gate, thread::JoinHandle<()>) {
    let (builder, entered, refuse) = refusing_the_second();
    let pool = builder.core_threads(2).max_threads(2).build().unwrap();
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let submitter = pool.clone();
    let submitter = thread::spawn(move || submitter.spawn(|| ()).detach());
    entered.pass();
    gate.open();
    soon(running).unwrap();
    eventually("the first thread has run all and sleeps", || {
        (pool.metrics().threads_idle(), pool.metrics().tasks_queued()) == (1, 0)
    });
    (pool, refuse, submitter)
}

#[test]
fn a_refused_thread_leaves_no_task_to_a_sleeper() {
    let (pool, refuse, submitter) = asleep_beside_a_start();
    let task = pool.spawn(|| 2);
    refuse.open();
    submitter.join().unwrap();
    assert_eq!(soon(task).unwrap(), 2);
    check_accounts(&pool.metrics());
}

#[test]
fn a_thread_that_is_long_in_coming_leaves_no_task_to_a_sleeper() {
    let (pool, refuse, submitter) = asleep_beside_a_start();
    let task = pool.spawn(|| 2);
    assert_eq!(soon(task).unwrap(), 2, "the handler has not come back yet");
    refuse.open();
    submitter.join().unwrap();
    check_accounts(&pool.metrics());
}

#[test]
fn a_thread_that_is_run_late_or_dropped_late_harms_nobody() {
    for run in [true, false] {
        let (builder, kept) = keeping();
        let pool = builder.core_threads(2).max_threads(2).build().unwrap();
        let gate = Gate::new();
        let running = occupy(&pool, &gate);
        let queued = pool.spawn(|| 1);
        gate.open();
        soon(running).unwrap();
        assert_eq!(soon(queued).unwrap(), 1);
        assert_eq!(soon(pool.spawn(|| 2)).unwrap(), 2);
        let new = kept.lock().unwrap().pop_front().unwrap();
        if run {
            start(new).unwrap()
        } else {
            drop(new)
        }
        eventually("it is counted", || {
            pool.metrics().threads() + usize::try_from(pool.metrics().spawn_failures()).unwrap() == 2
        });
        check_sound(&pool);
    }
}

/// The report of a shutdown that is waited for on a thread of its own.
fn shut_down(pool: &Pool) -> Receiver<sidestep::ShutdownReport> {
    let (send, receive) = channel();
    let shutdown = pool.shutdown();
    thread::spawn(move || send.send(shutdown.wait()));
    receive
}

#[test]
fn a_shutdown_ends_with_a_thread_that_is_dropped_unrun() {
    let (builder, kept) = keeping();
    let pool = builder.core_threads(2).max_threads(2).build().unwrap();
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    pool.spawn(|| ()).detach();
    let end = shut_down(&pool);
    gate.open();
    soon(running).unwrap();
    eventually("the first thread has left", || pool.metrics().threads() == 0);
    nothing_happens();
    assert!(end.try_recv().is_err(), "a thread is still to come");
    kept.lock().unwrap().clear();
    let report = end.recv_timeout(PATIENCE).unwrap();
    assert_eq!((report.completed, report.still_running), (2, 0));
}

#[test]
fn a_shutdown_ends_with_a_refusal_on_a_submitter() {
    let (builder, entered, refuse) = refusing_the_second();
    let pool = builder.core_threads(1).max_threads(1).build().unwrap();
    soon(pool.spawn(current::retire_thread)).unwrap();
    eventually("the only thread has left", || pool.metrics().threads() == 0);
    let submitter = pool.clone();
    let submitter = thread::spawn(move || submitter.spawn(|| ()));
    entered.pass();
    let end = shut_down(&pool);
    nothing_happens();
    refuse.open();
    let error = soon(submitter.join().unwrap()).unwrap_err();
    assert!(error.is_no_thread() || error.is_shutdown(), "{error}");
    assert_eq!(end.recv_timeout(PATIENCE).unwrap().still_running, 0);
    check_accounts(&pool.metrics());
}

/// Opens a gate and waits at another when dropped.
struct SlowDrop(Gate, Gate);

impl Drop for SlowDrop {
    fn drop(&mut self) {
        self.0.open();
        self.1.pass();
    }
}

#[test]
fn giving_the_queue_up_spares_what_a_new_thread_will_run() {
    let refusing = Arc::new(AtomicUsize::new(0));
    let refuses = Arc::clone(&refusing);
    let handler = move |new| match refuses.load(Ordering::SeqCst) {
        0 => start(new),
        _ => Err(io::Error::other("none to be had")),
    };
    let pool = Pool::builder().core_threads(1).max_threads(1).spawn_handler(handler).build().unwrap();
    soon(pool.spawn(current::retire_thread)).unwrap();
    eventually("the only thread has left", || pool.metrics().threads() == 0);
    refusing.store(1, Ordering::SeqCst);
    let (dropping, go_on) = (Gate::new(), Gate::new());
    let (slow, submitter) = (SlowDrop(dropping.clone(), go_on.clone()), pool.clone());
    let submitter = thread::spawn(move || submitter.spawn(move || drop(slow)));
    dropping.pass();
    refusing.store(0, Ordering::SeqCst);
    eventually("the pool has a thread again", || pool.spawn(|| ()).wait().is_ok());
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let queued: Vec<_> = (0..5).map(|number| pool.spawn(move || number)).collect();
    go_on.open();
    assert!(soon(submitter.join().unwrap()).unwrap_err().is_no_thread());
    gate.open();
    soon(running).unwrap();
    let ends: Result<Vec<_>, _> = queued.into_iter().map(soon).collect();
    assert_eq!(ends.map_err(|error| error.to_string()), Ok((0..5).collect()));
    check_sound(&pool);
}

#[test]
fn reports_made_at_once_count_from_the_same_moment() {
    const TASKS: u64 = 64;
    for _ in 0..300 {
        let pool = pool(2, 2);
        (0..TASKS).for_each(|_| pool.spawn(|| ()).detach());
        eventually("all have ended", || pool.metrics().tasks_completed() == TASKS);
        let begin = Barrier::new(4);
        let report = || {
            begin.wait();
            pool.shutdown().timeout(Duration::ZERO).wait()
        };
        let reports: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(report)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(reports.iter().all(|report| report.completed == 0), "{reports:?}");
    }
}

#[test]
fn a_shorter_timeout_given_after_a_poll_is_kept() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    let mut long = pool.shutdown().timeout(10 * PATIENCE);
    assert!(poll(&mut long, &waker).is_pending());
    let mut short = long.timeout(Duration::from_millis(20));
    let _ = poll(&mut short, &waker);
    eventually("the timer rings", || wakes.count() > 0);
    assert!(poll(&mut short, &waker).is_ready());
    gate.open();
    soon(running).unwrap();
}

#[test]
fn the_thread_hooks_may_wait_for_tasks_and_for_the_shutdown() {
    let ways: [fn(&Pool) -> bool; 2] =
        [|pool| pool.spawn(|| ()).wait().is_ok(), |pool| pool.shutdown().wait().still_running == 0];
    for (way, at_start) in [(ways[0], true), (ways[0], false), (ways[1], true), (ways[1], false)] {
        let (send, receive) = channel();
        let (send, slot, set) = (Mutex::new(send), Arc::new(OnceLock::<Pool>::new()), Gate::new());
        let (from_hook, is_set) = (Arc::clone(&slot), set.clone());
        let hook = move || {
            is_set.pass();
            if let Some(pool) = from_hook.get() {
                let _ = send.lock().unwrap().send(way(pool));
            }
        };
        let builder = Pool::builder().core_threads(1).max_threads(1);
        let builder = if at_start { builder.on_thread_start(hook) } else { builder.on_thread_stop(hook) };
        let pool = builder.build().unwrap();
        slot.set(pool.clone()).unwrap();
        set.open();
        pool.spawn(current::retire_thread).detach();
        assert!(receive.recv_timeout(PATIENCE).unwrap());
    }
}

#[test]
fn a_stop_hook_that_blocks_leaves_no_task_to_a_sleeper() {
    let leave = Gate::new();
    let pass = leave.clone();
    let builder = Pool::builder().core_threads(2).max_threads(2).on_thread_stop(move || pass.pass());
    let pool = builder.build().unwrap();
    let hold = Gate::new();
    let both = [occupy(&pool, &hold), occupy(&pool, &hold)];
    hold.open();
    both.into_iter().for_each(|task| soon(task).unwrap());
    eventually("both sleep", || pool.metrics().threads_idle() == 2);
    let (send, receive) = channel();
    let (end, inner) = (Gate::new(), pool.clone());
    let pass = end.clone();
    // A thread that calls back will look into the queues, unless it retires instead.
    pool.spawn(move || pass.pass()).on_complete(move |_| {
        current::retire_thread();
        send.send(inner.spawn(|| 5)).unwrap();
    });
    end.open();
    assert_eq!(soon(receive.recv().unwrap()).unwrap(), 5);
    leave.open();
}

/// What is logged goes through the pool that is logged about.
#[cfg(feature = "tracing")]
mod logging {
    use super::*;
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    struct ThroughThePool(Arc<OnceLock<Pool>>);

    impl Layer<Registry> for ThroughThePool {
        fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, Registry>) {
            if let Some(pool) = self.0.get() {
                pool.spawn(|| ()).detach();
            }
        }
    }

    #[test]
    fn a_subscriber_may_use_the_pool_that_cannot_start_a_thread() {
        let (slot, done) = (Arc::new(OnceLock::<Pool>::new()), Gate::new());
        let subscriber = tracing_subscriber::registry().with(ThroughThePool(Arc::clone(&slot)));
        let announce = done.clone();
        // A second refusal after the first pause asks whether there is a pause: that must not be
        // under a lock.
        thread::spawn(move || {
            tracing::subscriber::with_default(subscriber, || {
                let builder = after_the_first(|_new| Err(io::Error::other("none to be had")));
                let pool = builder.core_threads(2).max_threads(2).build().unwrap();
                let gate = Gate::new();
                let running = occupy(&pool, &gate);
                slot.set(pool.clone()).unwrap();
                eventually("the third refusal", || {
                    pool.spawn(|| ()).detach();
                    pool.metrics().spawn_failures() >= 3
                });
                gate.open();
                soon(running).unwrap();
                announce.open();
            });
        });
        done.pass();
    }
}
