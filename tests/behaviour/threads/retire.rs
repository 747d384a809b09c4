//! The pool's threads: how they are called, what they run first and last, when they are started and
//! replaced.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use sidestep::{Pool, current};

use crate::support::{Gate, PATIENCE, eventually};

/// Ids and names.
type Seen = Arc<Mutex<Vec<(ThreadId, String)>>>;

/// Occupies `count` threads until the gate opens; gives the gate and the threads' ids and names.
fn occupy(pool: &Pool, count: usize) -> (Gate, Seen) {
    let (gate, seen) = (Gate::new(), Arc::new(Mutex::new(Vec::new())));
    for number in 1..=count {
        let (waits, notes) = (gate.clone(), Arc::clone(&seen));
        pool.spawn(move || {
            let thread = thread::current();
            notes.lock().unwrap().push((thread.id(), thread.name().unwrap_or_default().to_owned()));
            waits.pass();
        })
        .detach();
        eventually("a thread is occupied", || seen.lock().unwrap().len() == number);
    }
    (gate, seen)
}

#[test]
fn threads_are_called_by_the_pool_and_a_number() {
    let pool = Pool::builder().name("mill").core_threads(4).build().unwrap();
    let (gate, seen) = occupy(&pool, 4);
    gate.open();
    let names: HashSet<_> = seen.lock().unwrap().iter().map(|(_, name)| name.clone()).collect();
    assert_eq!(names, (0..4).map(|number| format!("mill-{number}")).collect());
    let plain = Pool::new().unwrap().spawn(|| thread::current().name().map(str::to_owned));
    assert_eq!(plain.wait().unwrap().as_deref(), Some("sidestep-0"));
}

#[test]
fn the_stack_has_the_size_that_was_asked_for() {
    fn deep(levels: usize) -> usize {
        let ballast = std::hint::black_box([1_u8; 1024]);
        if levels == 0 { 0 } else { deep(levels - 1) + usize::from(ballast[levels % 1024]) }
    }
    let pool = Pool::builder().stack_size(128 << 20).max_threads(1).build().unwrap();
    assert_eq!(pool.spawn(|| deep(20_000)).wait().unwrap(), 20_000, "over 20 MB of it");
}

#[test]
fn the_handler_is_told_name_and_stack_size() {
    let told = Arc::new(Mutex::new(Vec::new()));
    for size in [None, Some(1 << 20), Some(1)] {
        let notes = Arc::clone(&told);
        let builder = Pool::builder().name("told").max_threads(1).spawn_handler(move |new| {
            notes.lock().unwrap().push((new.name().to_owned(), new.stack_size()));
            thread::Builder::new().spawn(|| new.run()).map(drop)
        });
        let builder = if let Some(size) = size { builder.stack_size(size) } else { builder };
        builder.build().unwrap().spawn(|| ()).wait().unwrap();
    }
    let told = told.lock().unwrap().clone();
    let sizes = [None, Some(1 << 20), Some(128 << 10)];
    assert_eq!(
        told,
        sizes.map(|size| ("told-0".to_owned(), size)),
        "no thread is made with less than the pool needs"
    );
}

#[test]
fn build_starts_one_thread_and_the_others_come_as_needed() {
    let made = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&made);
    let handler = move |new: sidestep::NewThread| {
        counts.fetch_add(1, Ordering::SeqCst);
        thread::Builder::new().spawn(|| new.run()).map(drop)
    };
    let pool = Pool::builder().core_threads(4).spawn_handler(handler).build().unwrap();
    assert_eq!(made.load(Ordering::SeqCst), 1);
    for count in 1..=4 {
        let (gate, _) = occupy(&pool, count);
        assert!(made.load(Ordering::SeqCst) >= count);
        gate.open();
        eventually("all rest", || pool.metrics().threads_idle() == pool.metrics().threads());
    }
    assert_eq!(pool.metrics().threads(), 4);
}

#[test]
fn one_thread_is_enough_for_one_call_after_another() {
    let is_enough = || {
        let pool = Pool::builder().core_threads(4).build().unwrap();
        eventually("it rests", || pool.metrics().threads_idle() == 1);
        (0..100).for_each(|_| pool.spawn(|| ()).wait().unwrap());
        pool.metrics().threads_peak() == 1
    };
    // Where that one gets no CPU for long, another is added: not in each of so many attempts.
    assert!((0..20).any(|_| is_enough()), "there was always another thread");
}

#[test]
fn a_core_thread_is_started_at_once_not_by_the_monitor() {
    let pool = Pool::builder().core_threads(8).max_threads(8).build().unwrap();
    let (gate, _) = occupy(&pool, 8);
    assert_eq!((pool.metrics().threads(), pool.metrics().growth_steps()), (8, 0));
    gate.open();
}

#[test]
fn hooks_run_once_on_each_thread_of_the_pool_and_nowhere_else() {
    let starts = Arc::new(Mutex::new(Vec::new()));
    let stops = Arc::new(Mutex::new(Vec::new()));
    let (at_start, at_stop) = (Arc::clone(&starts), Arc::clone(&stops));
    let pool = Pool::builder()
        .core_threads(2)
        .max_threads(8)
        .on_thread_start(move || at_start.lock().unwrap().push(thread::current().id()))
        .on_thread_stop(move || at_stop.lock().unwrap().push(thread::current().id()))
        .build()
        .unwrap();
    // Undeclared blocking, so that the monitor's thread exists as well.
    let gate = Gate::new();
    let join = |_| {
        let gate = gate.clone();
        pool.spawn(move || {
            gate.pass();
            thread::current().id()
        })
    };
    let tasks: Vec<_> = (0..8).map(join).collect();
    eventually("eight run together", || pool.metrics().tasks_running() == 8);
    gate.open();
    let workers: HashSet<_> = tasks.into_iter().map(|task| task.wait().unwrap()).collect();
    assert!(stops.lock().unwrap().is_empty());
    pool.shutdown().wait();
    for hooks in [starts, stops] {
        let hooks = hooks.lock().unwrap();
        assert_eq!(hooks.len(), 8, "once each");
        assert_eq!(hooks.iter().copied().collect::<HashSet<_>>(), workers);
    }
}

#[test]
fn a_start_hook_that_blocks_holds_nobody_else_up() {
    let gate = Gate::new();
    let hooks = Arc::new(AtomicUsize::new(0));
    let (waits, counts) = (gate.clone(), Arc::clone(&hooks));
    let pool = Pool::builder()
        .core_threads(2)
        .on_thread_start(move || {
            if counts.fetch_add(1, Ordering::SeqCst) == 1 {
                waits.pass();
            }
        })
        .build()
        .unwrap();
    let (first, _) = occupy(&pool, 1);
    let task = pool.spawn(|| ());
    eventually("the second thread is in its hook", || hooks.load(Ordering::SeqCst) == 2);
    first.open();
    assert!(task.wait_timeout(PATIENCE).is_ok());
    for _ in 0..100 {
        assert!(pool.spawn(|| ()).wait_timeout(PATIENCE).is_ok());
    }
    gate.open();
}

thread_local! { static TAINT: Cell<u32> = const { Cell::new(0) } }

#[test]
fn a_retired_thread_takes_its_state_along() {
    for max in [1, 4] {
        let pool = Pool::builder().core_threads(1).max_threads(max).build().unwrap();
        for _ in 0..100 {
            let tainted = pool.spawn(|| {
                TAINT.set(TAINT.get() + 1);
                current::retire_thread();
                thread::current().id()
            });
            let next = pool.spawn(|| (TAINT.get(), thread::current().id()));
            let (taint, id) = next.wait().unwrap();
            assert_eq!(taint, 0, "the next task sees a clean thread");
            assert_ne!(tainted.wait().unwrap(), id);
            assert!(pool.metrics().threads() <= max);
        }
        assert!(pool.metrics().threads_peak() <= max);
    }
}

/// Asks what a closure may ask, at the end of its thread.
struct AtExit(Pool, Sender<(bool, usize)>);

impl Drop for AtExit {
    fn drop(&mut self) {
        current::retire_thread();
        let blocked = current::will_block(|| self.0.metrics().threads_blocked());
        self.1.send((current::is_cancelled(), blocked)).unwrap();
    }
}

thread_local! { static AT_EXIT: RefCell<Option<AtExit>> = const { RefCell::new(None) } }

#[test]
fn what_a_thread_drops_last_runs_on_a_thread_of_no_pool() {
    let pool = Pool::builder().max_threads(1).build().unwrap();
    let (tell, told) = channel();
    let at_exit = AtExit(pool.clone(), tell);
    let task = pool.spawn(move || {
        AT_EXIT.set(Some(at_exit));
        current::retire_thread();
    });
    task.wait().unwrap();
    assert_eq!(told.recv_timeout(PATIENCE), Ok((false, 0)), "nothing is declared blocked");
}

#[test]
fn a_retiring_thread_leaves_its_queue_to_others() {
    let pool = Pool::builder().max_threads(1).build().unwrap();
    let inner = pool.clone();
    let task = pool.spawn(move || {
        current::retire_thread();
        let queued: Vec<_> = (0..100).map(|number| inner.spawn(move || number)).collect();
        (thread::current().id(), queued)
    });
    let other = pool.spawn(|| thread::current().id());
    let (id, queued) = task.wait().unwrap();
    let sum: i32 = queued.into_iter().map(|task| task.wait().unwrap()).sum();
    assert_eq!(sum, 4950);
    assert_ne!(other.wait().unwrap(), id);
}

#[test]
fn a_task_that_panics_can_retire_its_thread_too() {
    let pool = Pool::builder().max_threads(1).build().unwrap();
    let task = pool.spawn(|| {
        TAINT.set(1);
        current::retire_thread();
        panic!("and that was it");
    });
    assert!(task.wait().unwrap_err().is_panic());
    assert_eq!(pool.spawn(|| TAINT.get()).wait().unwrap(), 0);
}

#[test]
fn retiring_runs_the_hooks_and_is_nothing_outside_a_pool() {
    current::retire_thread();
    let stops = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&stops);
    let count_stop = move || {
        counts.fetch_add(1, Ordering::SeqCst);
    };
    let pool = Pool::builder().max_threads(1).on_thread_stop(count_stop).build().unwrap();
    for number in 1..=5 {
        pool.spawn(current::retire_thread).wait().unwrap();
        eventually("it has left", || stops.load(Ordering::SeqCst) == number);
    }
    assert!(pool.spawn(|| true).wait().unwrap());
}

#[test]
fn a_retired_thread_is_not_replaced_before_there_is_work() {
    let pool = Pool::builder().core_threads(2).build().unwrap();
    pool.spawn(current::retire_thread).wait().unwrap();
    eventually("it has left", || pool.metrics().threads() == 0);
    assert!(pool.spawn(|| true).wait().unwrap());
    assert_eq!(pool.metrics().threads(), 1);
}

/// How much CPU time the calling process has used.
#[cfg(unix)]
fn process_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

/// In a process of its own, where no other test uses the CPU.
#[cfg(unix)]
#[test]
fn an_idle_pool_uses_no_cpu() {
    const CHILD: &str = "SIDESTEP_TEST_IDLE";
    if std::env::var_os(CHILD).is_none() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "threads::retire::an_idle_pool_uses_no_cpu", "--test-threads=1"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let pool = Pool::builder().core_threads(2).max_threads(64).build().unwrap();
    let gate = Gate::new();
    let join = |_| {
        let gate = gate.clone();
        pool.spawn(move || gate.pass())
    };
    let tasks: Vec<_> = (0..64).map(join).collect();
    eventually("all run together", || pool.metrics().tasks_running() == 64);
    gate.open();
    for task in tasks {
        task.wait().unwrap();
    }
    eventually("all rest", || pool.metrics().threads_idle() == 64);
    // The monitor takes some looks to see that it is over, and on a busy machine some threads have
    // yet to fall asleep.
    eventually("300 ms pass without using 5 ms of a CPU", || {
        let before = process_cpu_time();
        #[expect(clippy::disallowed_methods, reason = "the sleep is to show that nothing happens")]
        thread::sleep(Duration::from_millis(300));
        process_cpu_time() - before < Duration::from_millis(5)
    });
}

#[cfg(feature = "tokio")]
#[test]
fn closures_are_inside_the_runtime_they_were_given() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let id = runtime.handle().id();
    let pool = Pool::builder().core_threads(2).runtime(runtime.handle().clone()).build().unwrap();
    let (gate, _) = occupy(&pool, 2);
    gate.open();
    for _ in 0..10 {
        let found = pool.spawn(|| tokio::runtime::Handle::current().id());
        assert_eq!(found.wait().unwrap(), id);
    }
    let answer = pool.spawn(|| tokio::runtime::Handle::current().spawn(async { 6 * 7 }));
    let answer = runtime.block_on(async { answer.await.unwrap().await.unwrap() });
    assert_eq!(answer, 42);
    let plain = Pool::builder().max_threads(1).build().unwrap();
    let inside = plain.spawn(|| tokio::runtime::Handle::try_current().is_ok());
    assert!(!inside.wait().unwrap(), "other pools are not");
}
