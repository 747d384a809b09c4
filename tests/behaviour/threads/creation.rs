//! Threads that cannot be made: spawn handlers that fail, panic, forget, delay, say one thing and
//! do another, or use the pool they work for.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, thread};

use sidestep::{NewThread, Pool, PoolBuilder};

use crate::support::{Gate, PATIENCE, eventually};

/// What a spawn handler may be, where it captures nothing.
type Make = fn(NewThread) -> io::Result<()>;

fn refused() -> io::Error {
    io::Error::other("no thread today")
}

fn make(new: NewThread) -> io::Result<()> {
    thread::Builder::new().spawn(|| new.run()).map(drop)
}

/// Switched from outside; counts how often it is asked.
#[derive(Clone, Default)]
struct Handler {
    fails: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
}

impl Handler {
    fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn install(&self, builder: PoolBuilder) -> PoolBuilder {
        let handler = self.clone();
        builder.spawn_handler(move |new| {
            handler.calls.fetch_add(1, Ordering::SeqCst);
            if handler.fails.load(Ordering::SeqCst) { Err(refused()) } else { make(new) }
        })
    }

    /// A pool whose first thread has started, and which gets no more from now on.
    fn pool(core: usize, max: usize) -> (Handler, Pool) {
        let handler = Handler::default();
        let pool = handler.install(Pool::builder().core_threads(core).max_threads(max)).build().unwrap();
        handler.fail(true);
        (handler, pool)
    }
}

/// Occupies all threads there are until the gate opens.
fn occupy(pool: &Pool, threads: usize) -> Gate {
    let gate = Gate::new();
    for number in 1..=threads {
        let waits = gate.clone();
        pool.spawn(move || waits.pass()).detach();
        eventually("a thread is occupied", || pool.metrics().tasks_running() == number as u64);
    }
    gate
}

#[test]
fn build_gives_the_error_of_the_first_thread() {
    let failing: [(&str, Make); 4] = [
        ("no thread today", |_| Err(refused())),
        ("no thread today", |new| {
            drop(new);
            Err(refused())
        }),
        ("panicked: out of hands", |_| panic!("out of hands")),
        ("dropped the thread without running it", |_| Ok(())),
    ];
    for (message, handler) in failing {
        let error = Pool::builder().spawn_handler(handler).build().unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
    // Of Unix' `EAGAIN`; each system has some error of that number.
    let coded = |_| Err(io::Error::from_raw_os_error(11));
    let error = Pool::builder().spawn_handler(coded).build().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(11), "the code is kept");
}

#[cfg(target_pointer_width = "64")]
#[test]
fn build_gives_the_system_s_own_error() {
    // More stack than the address space has.
    let error = Pool::builder().stack_size(isize::MAX as usize / 4).build().unwrap_err();
    assert_ne!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    assert!(error.raw_os_error().is_some(), "{error}");
}

#[test]
fn with_one_thread_alive_nothing_is_lost() {
    let (handler, pool) = Handler::pool(4, 64);
    let tasks: Vec<_> = (0..1000).map(|number| pool.spawn(move || number)).collect();
    let numbers: Vec<_> = tasks.into_iter().map(|task| task.wait().unwrap()).collect();
    assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
    assert_eq!(pool.metrics().threads_peak(), 1);
    assert_eq!(pool.metrics().spawn_failures(), handler.calls() as u64 - 1);
}

#[test]
fn a_refused_thread_is_not_asked_for_again_and_again() {
    let (handler, pool) = Handler::pool(4, 64);
    let gate = occupy(&pool, 1);
    let start = std::time::Instant::now();
    let tasks: Vec<_> = (0..10_000).map(|_| pool.spawn(|| ())).collect();
    gate.open();
    for task in tasks {
        task.wait().unwrap();
    }
    // The pause after a failure is 100 ms or longer; each attempt asks once.
    let pauses = start.elapsed().as_millis() / 100 + 2;
    let asked = handler.calls() - 1;
    assert!(asked as u128 <= pauses, "asked {asked} times in {:?}", start.elapsed());
    assert!(asked >= 1);
    assert_eq!(pool.metrics().spawn_failures(), asked as u64);
}

#[test]
fn pauses_get_longer() {
    let (handler, pool) = Handler::pool(2, 64);
    let gate = occupy(&pool, 1);
    let start = std::time::Instant::now();
    let task = pool.spawn(|| ());
    // Attempts at 0, 100, 300, 700 and 1500 ms at the earliest.
    eventually("four attempts have failed", || pool.metrics().spawn_failures() >= 4);
    assert!(start.elapsed() >= Duration::from_millis(650), "after {:?}", start.elapsed());
    assert_eq!(handler.calls() as u64, pool.metrics().spawn_failures() + 1);
    gate.open();
    task.wait().unwrap();
}

#[test]
fn the_pool_grows_once_threads_can_be_had_again() {
    for (core, max) in [(1, 8), (2, 8), (8, 8)] {
        let (handler, pool) = Handler::pool(core, max);
        let gate = occupy(&pool, 1);
        let queued: Vec<_> = (0..7)
            .map(|_| {
                let gate = gate.clone();
                pool.spawn(move || gate.pass())
            })
            .collect();
        eventually("an attempt has failed", || pool.metrics().spawn_failures() > 0);
        handler.fail(false);
        // Nothing is submitted any more: the pool has to come back to it by itself.
        eventually("all eight run together", || pool.metrics().tasks_running() == 8);
        gate.open();
        for task in queued {
            task.wait().unwrap();
        }
        assert_eq!(pool.metrics().threads_peak(), 8);
    }
}

#[test]
fn a_single_failure_at_the_nth_thread_does_not_end_growth() {
    for nth in 1..8 {
        let calls = AtomicUsize::new(0);
        let handler = move |new| {
            if calls.fetch_add(1, Ordering::SeqCst) == nth { Err(refused()) } else { make(new) }
        };
        let pool = Pool::builder().core_threads(2).max_threads(8).spawn_handler(handler).build().unwrap();
        let gate = Gate::new();
        let join = |_| {
            let gate = gate.clone();
            pool.spawn(move || gate.pass())
        };
        let tasks: Vec<_> = (0..8).map(join).collect();
        eventually("all eight run together", || pool.metrics().tasks_running() == 8);
        assert_eq!(pool.metrics().spawn_failures(), 1, "the attempt number {nth}");
        gate.open();
        for task in tasks {
            task.wait().unwrap();
        }
    }
}

#[test]
fn every_third_thread_fails() {
    let calls = AtomicUsize::new(0);
    let handler = move |new| {
        if calls.fetch_add(1, Ordering::SeqCst) % 3 == 2 { Err(refused()) } else { make(new) }
    };
    let pool = Pool::builder().core_threads(2).max_threads(16).spawn_handler(handler).build().unwrap();
    let gate = Gate::new();
    let join = |_| {
        let gate = gate.clone();
        pool.spawn(move || gate.pass())
    };
    let tasks: Vec<_> = (0..16).map(join).collect();
    eventually("all sixteen run together", || pool.metrics().tasks_running() == 16);
    assert!(pool.metrics().spawn_failures() >= 1);
    gate.open();
    for task in tasks {
        task.wait().unwrap();
    }
}

/// Ends the only thread while no other can be had.
fn lose_the_thread(handler: &Handler, pool: &Pool) {
    handler.fail(true);
    pool.spawn(sidestep::current::retire_thread).wait().unwrap();
    eventually("the thread has left", || pool.metrics().threads() == 0);
}

fn assert_no_thread(error: &sidestep::TaskError) {
    assert!(error.is_no_thread(), "{error}");
    let source = std::error::Error::source(error).unwrap();
    assert_eq!(source.to_string(), "no thread today");
    assert!(error.to_string().contains("no thread today"));
}

#[test]
fn a_pool_that_has_lost_its_last_thread_says_so_and_recovers() {
    let handler = Handler::default();
    let pool = handler.install(Pool::builder().max_threads(1)).build().unwrap();
    for _ in 0..2 {
        lose_the_thread(&handler, &pool);
        for _ in 0..100 {
            assert_no_thread(&pool.spawn(|| ()).wait().unwrap_err());
        }
        handler.fail(false);
        eventually("a task runs again", || pool.spawn(|| ()).wait().is_ok());
    }
    let metrics = pool.metrics();
    assert_eq!(metrics.tasks_queued(), 0);
    let ended = metrics.tasks_completed() + metrics.tasks_cancelled();
    assert_eq!(metrics.tasks_submitted(), ended);
    assert!(metrics.tasks_cancelled() >= 200);
}

#[test]
fn what_is_queued_when_the_last_thread_is_lost_resolves() {
    let handler = Handler::default();
    let pool = handler.install(Pool::builder().max_threads(1)).build().unwrap();
    let gate = Gate::new();
    let waits = gate.clone();
    let last = pool.spawn(move || {
        waits.pass();
        sidestep::current::retire_thread();
    });
    let queued: Vec<_> = (0..100).map(|number| pool.spawn(move || number)).collect();
    handler.fail(true);
    gate.open();
    last.wait().unwrap();
    for task in queued {
        match task.wait_timeout(PATIENCE) {
            Ok(result) => assert_no_thread(&result.unwrap_err()),
            Err(task) => panic!("{task:?} hangs"),
        }
    }
    assert_eq!(pool.metrics().tasks_cancelled(), 100);
    handler.fail(false);
    eventually("a task runs again", || pool.spawn(|| ()).wait().is_ok());
}

#[test]
fn a_wait_inside_a_task_runs_its_target_in_place_during_the_pause() {
    let (handler, pool) = Handler::pool(1, 64);
    let inner = pool.clone();
    let depth = pool.spawn(move || {
        // The first wait finds out that there are no threads, the others know.
        fn chain(pool: &Pool, depth: usize) -> usize {
            if depth == 0 {
                return 0;
            }
            let inner = pool.clone();
            1 + pool.spawn(move || chain(&inner, depth - 1)).wait().unwrap()
        }
        chain(&inner, 50)
    });
    match depth.wait_timeout(PATIENCE) {
        Ok(depth) => assert_eq!(depth.unwrap(), 50),
        Err(task) => panic!("{task:?} hangs"),
    }
    assert_eq!(pool.metrics().threads_peak(), 1);
    assert_eq!(pool.metrics().threads_blocked(), 0);
    assert!(handler.calls() > 1);
}

#[test]
fn a_pool_shuts_down_while_threads_fail() {
    let (_handler, pool) = Handler::pool(4, 64);
    let gate = occupy(&pool, 1);
    let tasks: Vec<_> = (0..100).map(|_| pool.spawn(|| ())).collect();
    let end = pool.shutdown();
    gate.open();
    let report = end.wait();
    assert_eq!((report.completed, report.discarded, report.still_running), (101, 0, 0));
    assert!(tasks.into_iter().all(|task| task.wait().is_ok()));
}

#[test]
fn a_handler_that_panics_or_forgets_counts_as_a_failure() {
    let odd: [Make; 2] = [|_| panic!("out of hands"), |_| Ok(())];
    for fails in odd {
        let calls = AtomicUsize::new(0);
        let handler = move |new| {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            if call == 1 || call == 2 { fails(new) } else { make(new) }
        };
        let pool = Pool::builder().core_threads(2).max_threads(2).spawn_handler(handler).build().unwrap();
        let gate = occupy(&pool, 1);
        let open = gate.clone();
        let task = pool.spawn(move || open.open());
        assert!(task.wait_timeout(PATIENCE).is_ok());
        assert_eq!(pool.metrics().spawn_failures(), 2);
        assert_eq!(pool.metrics().threads_peak(), 2);
    }
}

/// Where handlers put threads that they do not run at once.
type Shelf = Arc<Mutex<Vec<NewThread>>>;

#[test]
fn a_thread_that_is_run_later_is_waited_for() {
    for answer in [Ok(()), Err(())] {
        let shelf = Shelf::default();
        let (kept, calls) = (Arc::clone(&shelf), AtomicUsize::new(0));
        let handler = move |new| {
            if calls.fetch_add(1, Ordering::SeqCst) == 0 {
                return make(new);
            }
            kept.lock().unwrap().push(new);
            answer.map_err(|()| refused())
        };
        let pool = Pool::builder().core_threads(2).max_threads(2).spawn_handler(handler).build().unwrap();
        let gate = occupy(&pool, 1);
        let open = gate.clone();
        let task = pool.spawn(move || open.open());
        eventually("a thread is on the shelf", || !shelf.lock().unwrap().is_empty());
        assert_eq!(pool.metrics().threads(), 1);
        let new = shelf.lock().unwrap().pop().unwrap();
        thread::spawn(|| new.run());
        assert!(task.wait_timeout(PATIENCE).is_ok());
        assert_eq!((pool.metrics().threads_peak(), pool.metrics().spawn_failures()), (2, 0));
        assert!(shelf.lock().unwrap().is_empty(), "one was reserved");
        pool.shutdown().wait();
    }
}

#[test]
fn a_thread_that_is_dropped_later_is_a_failure_then() {
    let shelf = Shelf::default();
    let (kept, calls) = (Arc::clone(&shelf), AtomicUsize::new(0));
    let handler = move |new| {
        if calls.fetch_add(1, Ordering::SeqCst) == 1 {
            kept.lock().unwrap().push(new);
            return Ok(());
        }
        make(new)
    };
    let pool = Pool::builder().core_threads(2).max_threads(2).spawn_handler(handler).build().unwrap();
    let gate = occupy(&pool, 1);
    let open = gate.clone();
    let task = pool.spawn(move || open.open());
    eventually("a thread is on the shelf", || !shelf.lock().unwrap().is_empty());
    assert_eq!(pool.metrics().spawn_failures(), 0);
    shelf.lock().unwrap().clear();
    assert!(task.wait_timeout(PATIENCE).is_ok(), "another is made after the pause");
    assert_eq!((pool.metrics().threads_peak(), pool.metrics().spawn_failures()), (2, 1));
}

#[test]
fn a_handler_that_runs_the_thread_and_yet_fails() {
    let handler = |new: NewThread| {
        make(new)?;
        Err(refused())
    };
    let pool = Pool::builder().core_threads(2).max_threads(4).spawn_handler(handler).build().unwrap();
    let gate = Gate::new();
    let join = |_| {
        let gate = gate.clone();
        pool.spawn(move || gate.pass())
    };
    let tasks: Vec<_> = (0..4).map(join).collect();
    eventually("four run together", || pool.metrics().tasks_running() == 4);
    gate.open();
    for task in tasks {
        task.wait().unwrap();
    }
    pool.shutdown().wait();
    assert_eq!(pool.metrics().threads(), 0);
}

#[test]
fn a_handler_that_uses_the_pool_it_makes_threads_for() {
    let slot: Arc<Mutex<Option<Pool>>> = Arc::default();
    let inside = Arc::clone(&slot);
    let handler = move |new: NewThread| {
        if let Some(pool) = &*inside.lock().unwrap() {
            pool.spawn(|| ()).detach();
            assert!(pool.metrics().threads() > 0);
        }
        make(new)
    };
    let pool = Pool::builder().core_threads(1).max_threads(8).spawn_handler(handler).build().unwrap();
    *slot.lock().unwrap() = Some(pool.clone());
    let gate = Gate::new();
    let join = |_| {
        let gate = gate.clone();
        pool.spawn(move || gate.pass())
    };
    let tasks: Vec<_> = (0..8).map(join).collect();
    eventually("eight run together", || pool.metrics().tasks_running() >= 8);
    gate.open();
    for task in tasks {
        task.wait().unwrap();
    }
    slot.lock().unwrap().take();
}
