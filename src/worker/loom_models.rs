//! Models of a pool's threads for the model checker: the real [`work`], `idle`, `queue` and `task`,
//! in the smallest pool that can house them. The models of `pool` have the real one.
//!
//! A thread that parks for ever is a deadlock, which the checker reports. So a model shows that no
//! task is left lying by waiting for it before it closes the pool, and that threads leave by
//! joining them.

mod deep;
mod idleness;
mod lanes;
mod limits;
mod reserves;

use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loom::thread;

use super::{Engine, Policy, Retire, work};
use crate::counts::IdleSource;
use crate::error::Reason;
use crate::error::TaskError;
use crate::lane::{LaneCore, LaneReserve, Lanes};
use crate::sync::atomic::{AtomicUsize, Ordering, StaticU64, fence};
use crate::sync::stand_in::model::{check, in_one_order};
use crate::sync::{Mutex, Parker, now};
use crate::task::current::retire_thread;
use crate::task::{Task, TaskRef, new_task};

/// A pool with a fixed number of threads, of which those above one may leave.
struct Yard {
    engine: Engine,
    staying: AtomicUsize,
    /// Whether idle threads above one find their time to have come whenever they are asked to look.
    short_lived: bool,
    /// Whether threads spin: one look, before they go on the stack.
    spins: bool,
    /// Whether threads that block can count on another one.
    grows: bool,
    /// How many times a submitter has found no thread to rely on but those that deliver, and none
    /// at all.
    armed: StaticU64,
    /// Threads that have left.
    left: StaticU64,
    /// What the first thread that stops waits for on its way out.
    farewell: Mutex<Option<Arc<Parker>>>,
}

impl Yard {
    fn new(deques: usize, threads: usize, short_lived: bool) -> (Arc<Self>, Vec<thread::JoinHandle<()>>) {
        Yard::open(deques, threads, short_lived, false)
    }

    /// Its threads must help themselves when they block.
    fn full(deques: usize, threads: usize) -> (Arc<Self>, Vec<thread::JoinHandle<()>>) {
        let yard = Arc::new(Yard { grows: false, ..Yard::idle(deques, threads) });
        let threads = yard.start(threads);
        (yard, threads)
    }

    /// Its threads spin.
    fn spinning(deques: usize, threads: usize) -> (Arc<Self>, Vec<thread::JoinHandle<()>>) {
        Yard::open(deques, threads, false, true)
    }

    fn open(
        deques: usize,
        threads: usize,
        short_lived: bool,
        spins: bool,
    ) -> (Arc<Self>, Vec<thread::JoinHandle<()>>) {
        let yard = Arc::new(Yard { short_lived, spins, ..Yard::idle(deques, threads) });
        let threads = yard.start(threads);
        (yard, threads)
    }

    /// A pool whose `threads` have not started.
    fn idle(deques: usize, threads: usize) -> Self {
        Yard {
            engine: Engine::new(deques, None, Lanes::new(false)),
            staying: AtomicUsize::new(threads),
            short_lived: false,
            spins: false,
            grows: true,
            armed: StaticU64::new(0),
            left: StaticU64::new(0),
            farewell: Mutex::new(None),
        }
    }

    fn start(self: &Arc<Self>, threads: usize) -> Vec<thread::JoinHandle<()>> {
        self.engine.idle.add_starting(threads);
        let start = |_| {
            let yard = Arc::clone(self);
            thread::spawn(move || work(yard))
        };
        (0..threads).map(start).collect()
    }

    /// As `Pool::spawn`, taking back included.
    fn spawn<T: Send + 'static>(self: &Arc<Self>, closure: impl FnOnce() -> T + Send + 'static) -> Task<T> {
        let (entry, handle) = new_task(closure, Arc::as_ptr(&self.engine.account), Location::caller(), None);
        self.engine.submit(entry);
        self.engine.notify(&**self);
        if self.engine.is_closed() {
            if let Some(claimed) = handle.task().clone().claim() {
                claimed.count_cancelled();
                claimed.discard(Reason::Shutdown);
            }
        }
        Task::new(handle)
    }

    /// As `Shared::close`.
    fn close(&self) {
        let _ = self.engine.close();
        self.engine.idle.wake_all();
    }

    /// Closes and joins: everything that was submitted has ended, exactly once.
    fn end(&self, threads: Vec<thread::JoinHandle<()>>) {
        self.close();
        for thread in threads {
            thread.join().expect("a worker does not panic");
        }
        let counts = self.engine.counts();
        assert!(counts.balanced(), "{counts:?}");
        assert_eq!((counts.queued(), counts.running(), counts.panicked), (0, 0, 0), "{counts:?}");
    }

    /// As `end`, for models that are not about how threads leave: `close_against_park` and others
    /// are.
    fn end_in_one_order(&self, threads: Vec<thread::JoinHandle<()>>) {
        in_one_order();
        self.end(threads);
    }
}

impl IdleSource for Yard {
    fn is_idle(&self) -> bool {
        self.engine.is_idle()
    }
}

impl Policy for Yard {
    fn engine(&self) -> &Engine {
        &self.engine
    }
    fn watch_delivery(&self) {
        self.armed.fetch_add(1, Ordering::Relaxed);
    }
    fn ensure_worker(&self) -> bool {
        self.armed.fetch_add(1, Ordering::Relaxed);
        true
    }
    fn retire(&self, when: Retire) -> bool {
        let staying = &self.staying;
        match when {
            Retire::Now => staying.fetch_sub(1, Ordering::SeqCst) > 0,
            Retire::IfOverMax => false,
            Retire::IfSurplus => {
                let one_less = |staying| (staying > 1).then(|| staying - 1);
                staying.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
            }
        }
    }
    fn observe_wait(&self, _: &TaskRef, _: Option<&LaneCore>, _: Duration) {}
    fn observe_run(&self, _: &TaskRef, _: Option<&LaneCore>, _: Duration) {}
    fn begin_blocking(&self) {
        fence(Ordering::SeqCst);
        self.engine.notify_if_queued(self);
    }
    fn end_blocking(&self) {}
    fn may_grow(&self) -> bool {
        self.grows
    }
    fn threads(&self) -> usize {
        self.staying.load(Ordering::SeqCst)
    }
    fn may_spin(&self) -> bool {
        self.spins
    }
    fn sleep_deadline(&self) -> Option<Instant> {
        (self.short_lived && self.staying.load(Ordering::SeqCst) > 1).then(now)
    }
    fn reserve_deadline(&self) -> Option<Instant> {
        None
    }
    fn leave_reserve(&self, reserve: &LaneReserve) {
        reserve.release();
    }
    fn look_for_end(&self) {}
    fn on_start(&self) {}
    fn on_stop(&self) {
        let farewell = self.farewell.lock().take();
        if let Some(parker) = farewell {
            parker.park(None);
        }
    }
    fn on_exit(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.engine.notify_if_queued(self);
    }
}

/// A gate that one thread opens and another waits at.
fn gate() -> (Arc<Parker>, Arc<Parker>) {
    let gate = Arc::new(Parker::new());
    (Arc::clone(&gate), gate)
}

/// Two tasks that wait for each other: they end only if each is run by a thread of its own.
fn run_two_that_wait_for_each_other(yard: &Arc<Yard>) {
    let ((ping, ping_left), (pong, pong_left)) = (gate(), gate());
    let first = yard.spawn(move || {
        ping.unpark();
        pong.park(None);
    });
    let second = yard.spawn(move || {
        pong_left.unpark();
        ping_left.park(None);
    });
    first.wait().unwrap();
    second.wait().unwrap();
}

/// One submitter, one worker that starts, looks, sleeps, is woken and leaves: each task is run,
/// then the thread ends.
#[test]
fn push_against_park_then_close() {
    check(Some(3), || {
        let (yard, threads) = Yard::new(0, 1, false);
        assert_eq!(yard.spawn(|| 1).wait().unwrap(), 1);
        assert_eq!(yard.spawn(|| 2).wait().unwrap(), 2);
        yard.end(threads);
    });
}

/// One worker that has nothing to do, and the close of its pool: it leaves, wherever the close
/// meets it.
#[test]
fn close_against_park() {
    check(None, || {
        let (yard, threads) = Yard::new(0, 1, false);
        yard.end(threads);
        assert_eq!(yard.left.load(Ordering::Relaxed), 1);
    });
}

/// As above with a worker that looks once more before it goes on the stack.
#[test]
fn push_against_spin_then_close() {
    check(Some(3), || {
        let (yard, threads) = Yard::spinning(0, 1);
        assert_eq!(yard.spawn(|| 1).wait().unwrap(), 1);
        assert_eq!(yard.spawn(|| 2).wait().unwrap(), 2);
        yard.end(threads);
    });
}

/// As `baton`, with workers of which one may spin: what it finds second, it has the other look
/// for.
#[test]
fn baton_of_a_spinning_worker() {
    check(Some(2), || {
        let (yard, threads) = Yard::spinning(0, 2);
        run_two_that_wait_for_each_other(&yard);
        yard.end_in_one_order(threads);
    });
}

/// A worker that spins and one that does not, and the close: both leave.
#[test]
fn close_against_spin() {
    check(Some(3), || {
        let (yard, threads) = Yard::spinning(0, 2);
        yard.end(threads);
        assert_eq!(yard.left.load(Ordering::Relaxed), 2);
    });
}

/// Two tasks that wait for each other, two workers: each is run by a thread of its own, so the
/// baton is passed.
#[test]
fn baton() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(0, 2, false);
        run_two_that_wait_for_each_other(&yard);
        yard.end_in_one_order(threads);
    });
}

/// A task spawns another one onto its worker's deque and then blocks until that has run: the other
/// worker finds it.
#[test]
fn a_child_is_found_although_its_worker_blocks() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(1, 2, false);
        let place = Arc::clone(&yard);
        let parent = yard.spawn(move || {
            let (opened, opener) = gate();
            place.spawn(move || opener.unpark()).detach();
            opened.park(None);
        });
        parent.wait().unwrap();
        yard.end_in_one_order(threads);
    });
}

/// A thread that has no token takes two tasks at once and blocks in the first until the second has
/// run: the other thread finds that, although it was in no queue for an instant.
#[test]
fn what_a_thread_has_taken_along_is_found_although_it_blocks() {
    super::batch::MODEL_SIZE.store(2, Ordering::Relaxed);
    check(Some(2), || {
        let yard = Arc::new(Yard::idle(1, 2));
        let (opened, opener) = gate();
        // The first two are a batch as well, and cost the thread its token.
        (0..2).for_each(|_| yard.spawn(|| ()).detach());
        let blocked = yard.spawn(move || opened.park(None));
        yard.spawn(move || opener.unpark()).detach();
        yard.spawn(|| ()).detach();
        let threads = yard.start(2);
        blocked.wait().unwrap();
        yard.end_in_one_order(threads);
    });
}

/// Two sleepers whose time has come, and a submitter: one of them leaves, and the other runs the
/// task.
#[test]
fn keep_alive_exit_against_submit() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(0, 2, true);
        let place = Arc::clone(&yard);
        // The only clock there is.
        let clock = thread::spawn(move || place.engine.idle.refresh_deadlines());
        yard.spawn(|| ()).wait().unwrap();
        clock.join().unwrap();
        yard.end_in_one_order(threads);
    });
}

/// A thread retires, and its hook blocks until the next task has run, for which a submitter may
/// have relied on that thread: the other thread runs it.
#[test]
fn retiring_against_submit() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(1, 2, false);
        let (hook, opener) = gate();
        let place = Arc::clone(&yard);
        let retired = yard.spawn(move || {
            *place.farewell.lock() = Some(hook);
            retire_thread();
        });
        let next = yard.spawn(move || opener.unpark());
        retired.wait().unwrap();
        next.wait().unwrap();
        yard.end(threads);
    });
}

/// A callback of the first task, called by the worker while it holds a delivering token, spawns the
/// second: the worker finds it when the callback has returned, and the monitor has been armed in
/// case it does not return.
#[test]
fn delivering_against_submit() {
    check(Some(3), || {
        let (yard, threads) = Yard::new(0, 1, false);
        let (done, opener) = gate();
        let place = Arc::clone(&yard);
        let first = yard.spawn(|| ());
        first.on_complete(move |_| place.spawn(move || opener.unpark()).detach());
        done.park(None);
        yard.end(threads);
    });
}

/// A submitter against the close: its task is run, or taken back with the reason, and the worker
/// leaves.
#[test]
fn shutdown_against_submit() {
    check(Some(3), || {
        let (yard, threads) = Yard::new(0, 1, false);
        let place = Arc::clone(&yard);
        let ran = Arc::new(StaticU64::new(0));
        let runs = Arc::clone(&ran);
        let submitter = thread::spawn(move || {
            let task = place.spawn(move || _ = runs.fetch_add(1, Ordering::Relaxed));
            let result = task.wait();
            assert!(result.as_ref().err().is_none_or(TaskError::is_shutdown), "{result:?}");
            result.is_ok()
        });
        yard.close();
        let accepted = submitter.join().unwrap();
        yard.end(threads);
        assert_eq!(ran.load(Ordering::Relaxed), u64::from(accepted), "either run or taken back");
    });
}
