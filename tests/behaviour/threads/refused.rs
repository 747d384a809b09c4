//! Threads that are refused or late: no task is lost, no sleeper is forgotten, and a shutdown still
//! ends.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::{io, thread};

use sidestep::{NewThread, Pool, PoolBuilder, current};

use crate::support::{
    Gate, PATIENCE, all_well, also_by_time_alone, builder, check_accounts, check_sound, eventually,
    nothing_happens, occupy, soon,
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

/// What is logged goes through the pool that is logged about.
#[cfg(feature = "tracing")]
mod logging {
    use std::sync::OnceLock;

    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    use super::*;

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

/// A start fails, and the task it was for is what the only thread waits for, by means the pool
/// cannot see. Nobody submits anything again.
#[test]
fn the_pool_recovers_from_a_refusal_by_itself() {
    let calls = AtomicUsize::new(0);
    let handler = move |new| match calls.fetch_add(1, Ordering::SeqCst) {
        1 => Err(io::Error::other("once")),
        _ => start(new),
    };
    let pool = Pool::builder().core_threads(2).max_threads(4).spawn_handler(handler).build().unwrap();
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let opener = pool.spawn(move || gate.open());
    soon(busy).unwrap();
    soon(opener).unwrap();
    assert_eq!(pool.metrics().spawn_failures(), 1);
    check_sound(&pool);
}

/// Go: the process may have ten threads and no more.
// Origin: Go 48
#[test]
fn a_system_that_gives_ten_threads_ends_no_program() {
    const THREADS: usize = 10;
    let made = AtomicUsize::new(0);
    let handler = move |new: NewThread| {
        if made.fetch_add(1, Ordering::SeqCst) >= THREADS {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        thread::Builder::new().spawn(move || new.run()).map(drop)
    };
    let pool = builder().core_threads(2).max_threads(64).spawn_handler(handler).build().unwrap();
    let gate = Gate::new();
    let block = |_| {
        let pass = gate.clone();
        pool.spawn(move || current::will_block(|| pass.pass()))
    };
    let tasks: Vec<_> = (0..40).map(block).collect();
    eventually("there are ten", || pool.metrics().tasks_running() == THREADS as u64);
    eventually("one more was refused", || pool.metrics().spawn_failures() > 0);
    gate.open();
    all_well(tasks);
    check_sound(&pool);
    assert_eq!(pool.metrics().threads_peak(), THREADS);
}

/// Refuses threads by the number of the attempt.
fn refusing(refuse: impl Fn(usize) -> bool + Send + Sync + 'static) -> PoolBuilder {
    let attempts = AtomicUsize::new(0);
    Pool::builder().core_threads(2).max_threads(4).spawn_handler(move |new: NewThread| {
        if refuse(attempts.fetch_add(1, Ordering::SeqCst)) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "no more threads today"));
        }
        thread::Builder::new().spawn(move || new.run()).map(drop)
    })
}

/// The system has no thread to give: panic, orphan, livelock, poison, silent hang (tokio, blocking,
/// bun).
// Origin: pitfall 10
#[test]
fn a_refused_thread_loses_no_task() {
    let error = refusing(|_| true).build().unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (io::ErrorKind::WouldBlock, "no more threads today")
    );
    let error = refusing(|attempt| attempt == 0).build().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    for first_refused in 1..4 {
        let pool = refusing(move |attempt| attempt >= first_refused).build().unwrap();
        let inner = pool.clone();
        let task = pool.spawn(move || (0..50).map(|_| inner.spawn(|| 1).wait().unwrap()).sum::<i32>());
        let others: Vec<_> = (0..50).map(|_| pool.spawn(|| current::will_block(|| 1))).collect();
        assert_eq!(soon(task).unwrap(), 50);
        assert!(others.into_iter().all(|task| soon(task).unwrap() == 1));
        check_sound(&pool);
        assert!(pool.metrics().threads_peak() <= first_refused);
    }
}

also_by_time_alone! {
    a_system_that_gives_ten_threads_ends_no_program,
}
