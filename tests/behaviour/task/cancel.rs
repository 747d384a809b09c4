//! Cancelling: who drops the closure, when, and what everybody hears of it; also against the end of
//! the pool or lane.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier};
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use sidestep::{Pool, current};

use crate::support::{
    Calls, Drops, Gate, Wakes, check_sound, eventually, nothing_happens, occupy, poll, pool, soon,
};

/// Reports the thread it is dropped on.
struct Witness(Sender<ThreadId>);

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().id());
    }
}

#[test]
fn a_queued_closure_is_dropped_at_once_by_the_dropper() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let (report, dropped_on) = channel();
    let witness = Witness(report);
    let queued = pool.spawn(move || {
        let _witness = witness;
        unreachable!("a cancelled task ran");
    });
    assert_eq!(pool.metrics().tasks_queued(), 1);
    drop(queued);
    assert_eq!(dropped_on.try_recv(), Ok(thread::current().id()), "no worker has been near it");
    let metrics = pool.metrics();
    assert_eq!((metrics.tasks_queued(), metrics.tasks_cancelled(), metrics.tasks_running()), (0, 1, 1));
    gate.open();
    soon(running).unwrap();
    check_sound(&pool);
    assert_eq!(pool.metrics().tasks_panicked(), 0);
}

#[test]
fn a_running_closure_is_told_and_its_result_dropped_on_the_worker() {
    let pool = pool(1, 1);
    let started = Gate::new();
    let (report, dropped_on) = channel();
    let (tell, told) = channel();
    let announce = started.clone();
    let task = pool.spawn(move || {
        assert!(!current::is_cancelled());
        assert_eq!(current::check(), Ok(()));
        announce.open();
        while !current::is_cancelled() {
            thread::yield_now();
        }
        tell.send((thread::current().id(), current::check())).unwrap();
        Witness(report)
    });
    started.pass();
    drop(task);
    let (worker, checked) = told.recv().unwrap();
    assert!(checked.is_err());
    assert_eq!(dropped_on.recv(), Ok(worker), "the result goes where it was made");
    assert_ne!(worker, thread::current().id());
    check_sound(&pool);
    assert_eq!(pool.metrics().tasks_cancelled(), 0, "a closure that ended by itself has completed");
}

#[test]
fn cancelling_a_queued_task_gives_is_cancelled() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let drops = Drops::new();
    let token = drops.token();
    let cancelling = pool.spawn(move || drop(token)).cancel();
    assert_eq!(drops.count(), 1, "it acts at the call");
    let error = cancelling.wait().unwrap_err();
    assert!(error.is_cancelled() && !error.is_panic() && !error.is_shutdown(), "{error}");
    gate.open();
    soon(running).unwrap();
}

#[test]
fn cancelling_a_running_task_waits_for_its_true_end() {
    let pool = pool(1, 1);
    let (started, gate) = (Gate::new(), Gate::new());
    let (announce, pass) = (started.clone(), gate.clone());
    let task = pool.spawn(move || {
        announce.open();
        pass.pass();
        current::is_cancelled()
    });
    started.pass();
    let mut cancelling = task.cancel();
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(poll(&mut cancelling, &waker).is_pending(), "the closure has not ended");
    nothing_happens();
    assert_eq!(wakes.count(), 0);
    gate.open();
    assert!(cancelling.wait().unwrap(), "Ok if it finished all the same, and it knew");
}

#[test]
fn cancelling_a_finished_task_gives_its_end() {
    let pool = pool(1, 1);
    let value = pool.spawn(|| 42);
    let panic = pool.spawn(|| crate::support::quiet_panic("no"));
    crate::support::eventually("both end", || value.is_finished() && panic.is_finished());
    assert_eq!(value.cancel().wait().unwrap(), 42);
    assert!(panic.cancel().wait().unwrap_err().is_panic());
    assert_eq!(pool.metrics().tasks_cancelled(), 0);
}

#[test]
fn a_dropped_cancelling_leaves_the_task_cancelled() {
    let pool = pool(1, 1);
    let (started, gate) = (Gate::new(), Gate::new());
    let (announce, pass) = (started.clone(), gate.clone());
    let (tell, told) = channel();
    let task = pool.spawn(move || {
        announce.open();
        pass.pass();
        tell.send(current::is_cancelled()).unwrap();
    });
    let queued = pool.spawn(|| unreachable!("a cancelled task ran"));
    started.pass();
    drop(queued.cancel());
    drop(task.cancel());
    gate.open();
    assert_eq!(told.recv(), Ok(true));
    check_sound(&pool);
    assert_eq!(pool.metrics().tasks_cancelled(), 1);
}

#[test]
fn clones_of_a_cancel_handle_cancel_once_from_any_thread() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let drops = Drops::new();
    let token = drops.token();
    let task = pool.spawn(move || drop(token));
    let handle = task.cancel_handle();
    let start = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (handle, start) = (handle.clone(), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                handle.cancel();
                handle.cancel();
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(drops.count(), 1);
    assert!(soon(task).unwrap_err().is_cancelled());
    assert_eq!(pool.metrics().tasks_cancelled(), 1);
    gate.open();
    soon(running).unwrap();
    check_sound(&pool);
}

#[test]
fn a_cancel_handle_is_harmless_after_the_end() {
    let pool = pool(1, 1);
    let task = pool.spawn(|| 42);
    let handle = task.cancel_handle();
    let id = task.id();
    crate::support::eventually("the task ends", || task.is_finished());
    handle.cancel();
    let cancelling = task.cancel();
    assert!(format!("{cancelling:?}").contains(&format!("{id:?}")), "{cancelling:?}");
    assert_eq!(cancelling.wait().unwrap(), 42, "it takes no result away");
    pool.shutdown().wait();
    drop(pool);
    handle.cancel();
    assert!(format!("{handle:?}").contains("CancelHandle"));
}

#[test]
fn dropping_a_cancel_handle_cancels_nothing() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let task = pool.spawn(current::is_cancelled);
    drop(task.cancel_handle());
    gate.open();
    assert!(!soon(task).unwrap());
    soon(running).unwrap();
}

#[test]
fn a_detached_task_can_be_cancelled_by_its_handle() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let drops = Drops::new();
    let token = drops.token();
    let task = pool.spawn(move || {
        let _token = token;
        unreachable!("a cancelled task ran");
    });
    let handle = task.cancel_handle();
    task.detach();
    assert_eq!(drops.count(), 0);
    handle.cancel();
    assert_eq!(drops.count(), 1);
    gate.open();
    soon(running).unwrap();
    check_sound(&pool);
    assert_eq!(pool.metrics().tasks_panicked(), 0);
}

#[test]
fn of_ten_thousand_cancelled_while_queued_none_runs() {
    const MANY: usize = 10_000;
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let drops = Drops::new();
    let ran = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..MANY)
        .map(|_| {
            let (token, ran) = (drops.token(), Arc::clone(&ran));
            pool.spawn(move || {
                let _token = token;
                ran.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    assert_eq!(pool.metrics().tasks_queued(), MANY as u64);
    drop(tasks);
    assert_eq!(drops.count(), MANY, "all closures are gone while the only thread is busy");
    let metrics = pool.metrics();
    assert_eq!((metrics.tasks_queued(), metrics.tasks_cancelled()), (0, MANY as u64));
    gate.open();
    soon(running).unwrap();
    check_sound(&pool);
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    let metrics = pool.metrics();
    assert_eq!((metrics.tasks_completed(), metrics.tasks_submitted()), (101, MANY as u64 + 101));
}

#[test]
fn running_and_cancelling_at_once_has_one_winner() {
    const MANY: usize = 5000;
    let pool = pool(2, 2);
    let drops = Drops::new();
    let ran = Arc::new(AtomicUsize::new(0));
    let (send, handles) = channel();
    let canceller = thread::spawn(move || {
        let errors = handles.iter().map(|task: sidestep::Task<()>| task.cancel().wait());
        errors.filter(|end| matches!(end, Err(error) if error.is_cancelled())).count()
    });
    for _ in 0..MANY {
        let (token, ran) = (drops.token(), Arc::clone(&ran));
        let task = pool.spawn(move || {
            let _token = token;
            ran.fetch_add(1, Ordering::SeqCst);
        });
        send.send(task).unwrap();
    }
    drop(send);
    let cancelled = canceller.join().unwrap();
    assert_eq!(drops.count(), MANY, "each closure is dropped exactly once");
    assert_eq!(ran.load(Ordering::SeqCst) + cancelled, MANY, "each has exactly one end");
    let metrics = pool.metrics();
    assert_eq!((metrics.tasks_completed() + metrics.tasks_cancelled()) as usize, MANY);
    assert_eq!(metrics.tasks_cancelled() as usize, cancelled);
    check_sound(&pool);
}

/// A timeout that drops a queued task, and one that drops a running task.
async fn time_out() {
    let pool = pool(1, 1);
    let (started, gate) = (Gate::new(), Gate::new());
    let (announce, seen) = (started.clone(), Arc::new(AtomicBool::new(false)));
    let saw = Arc::clone(&seen);
    let running = pool.spawn(move || {
        announce.open();
        while !current::is_cancelled() {
            thread::yield_now();
        }
        saw.store(true, Ordering::SeqCst);
    });
    started.pass();
    let drops = Drops::new();
    let (token, pass) = (drops.token(), gate.clone());
    let queued = pool.spawn(move || {
        let _token = token;
        pass.pass();
    });
    assert!(tokio::time::timeout(Duration::from_millis(1), queued).await.is_err());
    assert_eq!(drops.count(), 1, "the timeout has dropped the queued closure");
    assert!(!seen.load(Ordering::SeqCst));
    assert!(tokio::time::timeout(Duration::from_millis(1), running).await.is_err());
    pool.spawn(|| ()).await.unwrap();
    assert!(seen.load(Ordering::SeqCst), "the timeout has told the running closure");
    check_sound(&pool);
}

#[test]
fn a_timeout_of_a_current_thread_runtime_cancels() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(time_out());
}

#[test]
fn a_timeout_of_a_multi_thread_runtime_cancels() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async { tokio::spawn(time_out()).await.unwrap() });
}

#[test]
fn polling_a_cancelled_queued_task_is_ready_at_once() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let mut task = pool.spawn(|| ());
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(poll(&mut task, &waker).is_pending());
    task.cancel_handle().cancel();
    assert_eq!(wakes.count(), 1, "the canceller has woken whoever awaited it");
    let Poll::Ready(Err(error)) = poll(&mut task, &waker) else { panic!("it has ended") };
    assert!(error.is_cancelled());
    gate.open();
    soon(running).unwrap();
}

/// The place of a cancelled task goes to one who lets go of the last handle, inside of the
/// cancellation.
#[test]
fn a_cancellation_may_let_go_of_the_last_handle() {
    let (pool, gate) = (Pool::builder().max_threads(1).queue_limit(1).build().unwrap(), Gate::new());
    let busy = occupy(&pool, &gate);
    let queued = pool.spawn(|| ());
    let (calls, mut turn) = (Calls::new(), pool.reserve());
    assert!(poll(&mut turn, &Waker::from(Arc::clone(&calls))).is_pending());
    let drops = Drops::new();
    let token = drops.token();
    calls.set(move || drop((turn, token)));
    drop(pool);
    gate.open();
    let handle = queued.cancel_handle();
    handle.cancel();
    let _ = soon(queued);
    soon(busy).unwrap();
    eventually("the waker is called", || drops.count() == 1);
}

/// The same with a lane, whose task is of a lane that is full.
#[test]
fn a_cancellation_may_let_go_of_the_last_handle_of_a_lane() {
    let (pool, gate) = (pool(2, 2), Gate::new());
    let lane = pool.lane_builder("one", 1).queue_limit(1).build().unwrap();
    let (started, pass) = (Gate::new(), gate.clone());
    let begun = started.clone();
    let busy = lane.spawn(move || {
        begun.open();
        pass.pass();
    });
    started.pass();
    let queued = lane.spawn(|| ());
    let (calls, mut turn) = (Calls::new(), lane.reserve());
    assert!(poll(&mut turn, &Waker::from(Arc::clone(&calls))).is_pending());
    let drops = Drops::new();
    let token = drops.token();
    calls.set(move || drop((turn, token)));
    drop(lane);
    drop(queued);
    assert_eq!(drops.count(), 1, "inside of the cancellation");
    gate.open();
    soon(busy).unwrap();
    check_sound(&pool);
}

/// A pool's last handle and its last thread go while its tasks are cancelled.
#[test]
fn cancellations_that_race_with_the_end_of_their_pool() {
    for _ in 0..if cfg!(miri) { 3 } else { 200 } {
        let (pool, gate) = (pool(1, 1), Gate::new());
        let lane = pool.lane("one", 1);
        let busy = occupy(&pool, &gate);
        let (tasks, limited): (Vec<_>, Vec<_>) =
            (0..4).map(|_| (pool.spawn(|| ()), lane.spawn(|| ()))).unzip();
        let cancellers = [tasks, limited].map(|tasks| thread::spawn(move || drop(tasks)));
        let dropper = thread::spawn(move || drop((lane, pool)));
        gate.open();
        soon(busy).unwrap();
        cancellers.into_iter().chain([dropper]).for_each(|thread| thread.join().unwrap());
    }
}
