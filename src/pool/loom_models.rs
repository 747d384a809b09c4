//! Models of a whole pool for the model checker: all of it is real but the clock, and the monitor,
//! which depends on the clock. The pool's threads are loom's.
//!
//! A thread that parks for ever is a deadlock, which the checker reports: so each model shows that
//! every wait returns, and that every thread exits at its end.

mod ending;
mod scope;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use loom::thread;

use crate::error::Reason;
use crate::lane::{Job, QueueItem};
use crate::pool::inner::Inner;
use crate::pool::{NewThread, Pool, PoolBuilder, Reserve};
use crate::sync::atomic::{AtomicUsize, Ordering, StaticU64};
use crate::sync::stand_in::model::{check, in_one_order};
use crate::sync::{Mutex, Parker, Tracked};
use crate::task::current::will_block;
use crate::task::{Task, new_task};

/// A builder of a pool of loom's threads; the checker sees whether the pool is freed.
fn builder(core: usize, max: usize) -> PoolBuilder {
    let freed = Tracked::new();
    let keep = move || _ = &freed;
    let start = |new: NewThread| {
        thread::spawn(move || new.run());
        Ok(())
    };
    Pool::builder()
        .core_threads(core)
        .max_threads(max)
        .keep_alive(Duration::ZERO)
        .on_thread_stop(keep)
        .spawn_handler(start)
}

fn pool(core: usize, max: usize) -> Pool {
    builder(core, max).build().expect("the first thread starts")
}

/// A pool's life: the first thread starts, runs a task, sleeps, exits because the last handle is
/// dropped, and frees everything.
#[test]
fn one_task_and_the_last_handle() {
    check(Some(3), || {
        let pool = pool(1, 1);
        let task = pool.spawn(|| 7);
        drop(pool);
        assert_eq!(task.wait().unwrap(), 7);
    });
}

/// The last handle is dropped while a task is cancelled: the last of the two threads frees the
/// pool, and not before the cancellation is counted.
#[test]
fn the_last_handle_against_cancel() {
    check(Some(3), || {
        let pool = pool(1, 1);
        let ran = Arc::new(StaticU64::new(0));
        let runs = Arc::clone(&ran);
        let task = pool.spawn(move || _ = runs.fetch_add(1, Ordering::Relaxed));
        let canceller = thread::spawn(move || task.cancel().wait().is_ok());
        drop(pool);
        let completed = canceller.join().unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), u64::from(completed));
    });
}

/// When it is woken, drops a wait for a permit, and with it the pool's last handle.
struct LetGo(Mutex<Option<Reserve>>);

impl Wake for LetGo {
    fn wake(self: Arc<Self>) {
        let reserve = self.0.lock().take();
        drop(reserve);
    }
}

/// The permit of a task that is cancelled goes to a waiter whose waker drops the last handle:
/// inside the cancellation, or inside the run where that was faster. The pool is freed when the
/// cancellation has been counted, and not before.
#[test]
fn cancel_whose_waker_lets_go_of_the_pool() {
    check(Some(2), || {
        let pool = builder(1, 1).queue_limit(1).build().expect("the first thread starts");
        let task = pool.spawn(|| ());
        let mut reserve = pool.reserve();
        drop(pool);
        let last = Arc::new(LetGo(Mutex::new(None)));
        let waker = Waker::from(Arc::clone(&last));
        if Pin::new(&mut reserve).poll(&mut Context::from_waker(&waker)).is_pending() {
            *last.0.lock() = Some(reserve);
        }
        drop((last, waker));
        drop(task);
    });
}

/// Shutdown against a submitter: the task is run, refused with its closure, or resolved with the
/// reason; the shutdown ends after every thread has exited.
#[test]
fn shutdown_against_submit() {
    check(Some(2), || {
        let pool = pool(1, 1);
        let submitter = {
            let pool = pool.clone();
            thread::spawn(move || match pool.try_spawn(|| 7) {
                Ok(task) => task.wait().unwrap(),
                Err(rejected) => {
                    assert!(rejected.error().is_shutdown());
                    rejected.into_inner()()
                }
            })
        };
        let report = pool.shutdown().wait();
        assert_eq!(pool.metrics().threads(), 0, "all have gone");
        assert_eq!((report.discarded, report.still_running), (0, 0), "{report:?}");
        assert_eq!(submitter.join().unwrap(), 7);
        let metrics = pool.metrics();
        let ended = metrics.tasks_completed() + metrics.tasks_cancelled();
        assert_eq!((metrics.tasks_submitted(), metrics.tasks_queued()), (ended, 0));
    });
}

/// The queue is discarded while the pool's thread takes from it: each task is run or discarded, and
/// the report counts it so.
#[test]
fn discarding_against_run() {
    check(Some(2), || {
        let pool = pool(1, 1);
        let task = pool.spawn(|| ());
        let report = pool.shutdown().discard_queued().wait();
        let result = task.wait();
        assert_eq!(report.discarded, u64::from(result.is_err()));
        assert!(result.is_ok_and(|()| true) || report.completed == 0);
    });
}

/// A chain of waits longer than the pool has threads: each target is run inline.
#[test]
fn a_chain_of_waits_on_one_thread() {
    check(Some(2), || {
        let pool = pool(1, 1);
        let inner = pool.clone();
        let outer = pool.spawn(move || {
            let again = inner.clone();
            inner.spawn(move || again.spawn(|| 7).wait().unwrap()).wait().unwrap()
        });
        assert_eq!(outer.wait().unwrap(), 7);
    });
}

/// `outer` waits for the task that it has spawned, while another task, spawned as that wait begins,
/// waits for `outer`.
fn wait_for_each_other(pool: &Pool) -> Task<i32> {
    let inner = pool.clone();
    let entered = Arc::new(Parker::new());
    let enter = Arc::clone(&entered);
    let outer = pool.spawn(move || {
        let target = inner.spawn(|| 7);
        enter.unpark();
        target.wait().expect("it is run")
    });
    entered.park(None);
    pool.spawn(move || outer.wait().expect("it is run"))
}

/// Growth ends because the last thread that the pool may have is taken by a task that waits for the
/// waiter: the waiter has registered and then looked, so it looks again, and runs its target
/// inline.
#[test]
fn wait_in_place_against_the_last_thread() {
    check(Some(2), || {
        let pool = pool(1, 2);
        assert_eq!(wait_for_each_other(&pool).wait().unwrap(), 7);
        in_one_order();
    });
}

/// Growth ends because the system has no second thread: the waiter looks again and runs its target
/// inline.
#[test]
fn wait_in_place_against_a_failed_start() {
    check(Some(2), || {
        let started = AtomicUsize::new(0);
        let pool = builder(1, 2)
            .spawn_handler(move |new| {
                if started.fetch_add(1, Ordering::Relaxed) > 0 {
                    // Refused for ever: a pause would end by the clock.
                    return Err(io::ErrorKind::Unsupported.into());
                }
                thread::spawn(move || new.run());
                Ok(())
            })
            .build()
            .unwrap();
        assert_eq!(wait_for_each_other(&pool).wait().unwrap(), 7);
    });
}

/// Growth ends because the pool is closed: the waiter runs its target inline, unless the target
/// came too late and was refused.
#[test]
fn wait_in_place_against_shutdown() {
    check(Some(2), || {
        let pool = pool(1, 2);
        let inner = pool.clone();
        let task = pool.spawn(move || {
            let target = inner.spawn(|| 7);
            drop(inner);
            target.wait()
        });
        let report = pool.shutdown().wait();
        assert_eq!(report.still_running, 0);
        match task.wait().unwrap() {
            Ok(value) => assert_eq!(value, 7),
            Err(error) => assert!(error.is_shutdown()),
        }
    });
}

/// A submitter is about to start a thread to replace a blocked one, which then blocks no longer:
/// the submitter releases the starting token, so that the next start is not left to a thread that
/// will not come.
#[test]
fn a_start_whose_reason_has_gone() {
    check(Some(2), || {
        let pool = pool(1, 2);
        let entered = Arc::new(Parker::new());
        let enter = Arc::clone(&entered);
        let first = pool.spawn(move || will_block(|| enter.unpark()));
        entered.park(None);
        pool.spawn(|| ()).wait().unwrap();
        first.wait().unwrap();
        let inner = pool.clone();
        assert_eq!(pool.spawn(move || inner.spawn(|| 7).wait().unwrap()).wait().unwrap(), 7);
        in_one_order();
    });
}

/// Queues a task that only the monitor will look for, as a submission would.
fn submit_to_monitor(inner: &Arc<Inner>, ended: &Arc<StaticU64>) {
    let ended = Arc::clone(ended);
    let closure = move || _ = ended.fetch_add(1, Ordering::Relaxed);
    let (entry, handle) =
        new_task(closure, Arc::as_ptr(&inner.engine.account), std::panic::Location::caller(), None);
    inner.engine.submit(entry);
    // `notify` fences, which `arm` wants.
    let _ = inner.engine.idle.notify(|| false);
    inner.growth.monitor().arm(inner);
    Task::new(handle).detach();
}

/// Two submitters arm the monitor whenever it may have disarmed, against the monitor that disarms
/// as soon as it finds nothing queued: it never sleeps while something is queued.
#[test]
fn monitor_disarm_against_submit() {
    check(Some(3), || {
        let inner = Inner::new(builder(1, 1).check().unwrap());
        let ended = Arc::new(StaticU64::new(0));
        // The first call of `arm` starts the thread.
        inner.growth.monitor().arm(&inner);
        let submitter = {
            let (inner, ended) = (Arc::clone(&inner), Arc::clone(&ended));
            thread::spawn(move || submit_to_monitor(&inner, &ended))
        };
        let monitor = {
            let inner = Arc::clone(&inner);
            thread::spawn(move || {
                let mut found = 0;
                while found < 2 {
                    assert!(inner.growth.monitor().await_arming(|| false), "it is not stopped");
                    while !inner.growth.monitor().disarm(|| inner.engine.own_counts().queued() > 0) {
                        let taken = inner.engine.queues.take_any().map(QueueItem::open);
                        if let Some(Job::Task(task)) = taken {
                            if let Some(claimed) = task.claim() {
                                claimed.count_cancelled();
                                claimed.discard(Reason::Shutdown);
                                found += 1;
                            }
                        }
                        // A task is counted before it is pushed.
                        thread::yield_now();
                    }
                }
            })
        };
        submit_to_monitor(&inner, &ended);
        submitter.join().unwrap();
        monitor.join().unwrap();
        assert_eq!(ended.load(Ordering::Relaxed), 0, "no thread runs them here");
        assert_eq!(inner.engine.own_counts().cancelled, 2);
    });
}

/// A lane with a reserve, whose pool's only thread hangs while another thread shuts the pool down:
/// the lane goes on by a call of the submitter, no thread is there beyond what was promised, and
/// the shutdown ends after all of them have left.
#[test]
fn reserve_of_a_pool_that_shuts_down() {
    check(Some(1), || {
        let threads = Arc::new(StaticU64::new(0));
        let count = Arc::clone(&threads);
        let start = move |new: NewThread| {
            let count = Arc::clone(&count);
            assert!(count.fetch_add(1, Ordering::Relaxed) < 2, "one in the pool, one in reserve");
            thread::spawn(move || {
                new.run();
                count.fetch_sub(1, Ordering::Relaxed);
            });
            Ok(())
        };
        let pool = builder(1, 1).spawn_handler(start).build().unwrap();
        let lane = pool.lane_builder("lane", 2).reserve(1).build().unwrap();
        let (stay, begun) = (Arc::new(Parker::new()), Arc::new(Parker::new()));
        let (leave, begin) = (Arc::clone(&stay), Arc::clone(&begun));
        let hung = pool.spawn(move || {
            begin.unpark();
            stay.park(None);
        });
        begun.park(None);
        let task = lane.spawn(|| 7);
        // As where the monitor has been refused.
        pool.inner.call_reserves();
        let closer = {
            let pool = pool.clone();
            thread::spawn(move || pool.shutdown().wait())
        };
        assert!(task.wait().is_ok_and(|seven| seven == 7), "it was accepted before");
        leave.unpark();
        hung.wait().unwrap();
        let report = closer.join().unwrap();
        assert_eq!(report.still_running, 0, "{report:?}");
        let metrics = pool.metrics();
        assert_eq!((metrics.threads(), metrics.reserve_threads()), (0, 0), "all have gone");
        in_one_order();
    });
}
