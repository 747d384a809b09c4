//! What is queued gets a thread, whatever the threads there are do.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Instant;

use sidestep::Pool;

use super::{pool, tiny, wait_all};
use crate::support::{
    Gate, PATIENCE, Rendezvous, all_well, also_by_time_alone, builder, eventually, nothing_happens, occupy,
};

/// Burns CPU until the flag is up.
fn spin_until(flag: &AtomicBool) {
    let start = Instant::now();
    while !flag.load(Ordering::SeqCst) {
        assert!(start.elapsed() < PATIENCE, "the flag never came");
        std::hint::spin_loop();
    }
}

#[test]
fn a_task_that_all_threads_spin_for_gets_another() {
    let core = 2;
    let pool = pool(core);
    let flag = Arc::new(AtomicBool::new(false));
    let spin = |_| {
        let flag = Arc::clone(&flag);
        pool.spawn(move || spin_until(&flag))
    };
    let spinners: Vec<_> = (0..core).map(spin).collect();
    eventually("all spin", || pool.metrics().tasks_running() == core as u64);
    let raise = Arc::clone(&flag);
    pool.spawn(move || raise.store(true, Ordering::SeqCst)).wait().unwrap();
    wait_all(spinners);
    assert!(pool.metrics().growth_steps() >= 1);
}

/// A task that waits for a newly queued one, and so on.
fn chain(pool: &Pool, depth: usize) -> usize {
    if depth == 0 {
        return 0;
    }
    let inner = pool.clone();
    1 + pool.spawn(move || chain(&inner, depth - 1)).wait().unwrap()
}

#[test]
fn a_chain_below_the_maximum_grows() {
    for core in [1, 2, 4] {
        let pool = pool(core);
        assert_eq!(chain(&pool, 2 * core + 1), 2 * core + 1);
        assert!(pool.metrics().threads_peak() > core);
        assert_eq!(pool.metrics().threads_blocked(), 0);
    }
}

#[test]
fn a_chain_at_the_maximum_runs_in_place() {
    for max in [1, 2, 4] {
        let pool = builder().core_threads(1).max_threads(max).build().unwrap();
        assert_eq!(chain(&pool, 4 * max), 4 * max);
        assert!(pool.metrics().threads_peak() <= max);
        assert_eq!(pool.metrics().threads_blocked(), 0);
    }
}

#[test]
fn the_awaited_task_runs_before_10_000_others_at_the_maximum() {
    for before in [0, 10_000] {
        let pool = builder().max_threads(1).build().unwrap();
        let inner = pool.clone();
        let outer = pool.spawn(move || {
            let queue = |count| (0..count).for_each(|_| inner.spawn(tiny).detach());
            queue(before);
            let awaited = inner.spawn(|| "awaited");
            queue(10_000);
            (awaited.wait().unwrap(), inner.metrics().tasks_completed())
        });
        let (word, completed) = outer.wait().unwrap();
        assert_eq!(word, "awaited");
        assert_eq!(completed, 1, "it did not wait for its turn");
        pool.shutdown().wait();
        assert_eq!(pool.metrics().tasks_completed(), before + 10_002);
    }
}

#[test]
fn what_a_task_submits_runs_although_that_task_keeps_running() {
    for core in [1, 2, 4] {
        let pool = pool(core);
        for round in 0..50 {
            let inner = pool.clone();
            let spins = round % 2 == 0 && core > 1;
            let task = pool.spawn(move || {
                let ran = Arc::new(AtomicBool::new(false));
                let gate = Gate::new();
                let (raise, open) = (Arc::clone(&ran), gate.clone());
                inner
                    .spawn(move || {
                        raise.store(true, Ordering::SeqCst);
                        open.open();
                    })
                    .detach();
                if spins { spin_until(&ran) } else { gate.pass() }
            });
            assert!(task.wait_timeout(PATIENCE).is_ok(), "round {round}");
        }
    }
}

#[test]
fn what_a_blocked_thread_has_in_its_deque_is_found() {
    for core in [1, 2, 3] {
        let pool = pool(core);
        let inner = pool.clone();
        let task = pool.spawn(move || {
            let meeting = Rendezvous::new(101);
            for _ in 0..100 {
                let meeting = Arc::clone(&meeting);
                inner.spawn(move || meeting.meet()).detach();
            }
            // Undeclared: the pool has to find out.
            meeting.meet();
        });
        assert!(task.wait_timeout(PATIENCE).is_ok());
        assert!(pool.metrics().threads_peak() >= 101);
    }
}

/// A thread whose tasks are short takes several at once. Where one of them blocks until the others
/// have run, those are found, by a thread that is free or by one that is added.
#[test]
fn what_a_thread_has_taken_along_does_not_wait_for_it() {
    for core in [1, 2, 3] {
        let pool = pool(core);
        // The threads learn that tasks are short.
        let short = |many: usize| (0..many).map(|_| pool.spawn(|| ())).collect::<Vec<_>>();
        all_well(short(2000));
        for _ in 0..5 {
            let (gate, meeting) = (Gate::new(), Rendezvous::new(40));
            let mut tasks: Vec<_> = (0..core).map(|_| occupy(&pool, &gate)).collect();
            for _ in 0..40 {
                let meeting = Arc::clone(&meeting);
                tasks.push(pool.spawn(move || meeting.meet()));
            }
            gate.open();
            all_well(tasks);
            all_well(short(500));
        }
    }
}

/// A waker that blocks until the gate opens.
struct BlockingWaker {
    entered: Mutex<mpsc::Sender<()>>,
    gate: Gate,
}

impl Wake for BlockingWaker {
    fn wake(self: Arc<Self>) {
        self.entered.lock().unwrap().send(()).unwrap();
        self.gate.pass();
    }
}

#[test]
fn a_waker_that_blocks_holds_nobody_up() {
    for (core, tasks) in [(1, 1), (2, 1), (2, 2), (4, 3)] {
        let pool = pool(core);
        let gate = Gate::new();
        let (send, entered) = mpsc::channel();
        let waiting: Vec<_> = (0..tasks)
            .map(|_| {
                let start = Gate::new();
                let waits = start.clone();
                let mut task = pool.spawn(move || waits.pass());
                let waker = BlockingWaker { entered: Mutex::new(send.clone()), gate: gate.clone() };
                let waker = Waker::from(Arc::new(waker));
                assert!(std::pin::Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
                start.open();
                entered.recv_timeout(PATIENCE).unwrap();
                task
            })
            .collect();
        for _ in 0..100 {
            assert!(pool.spawn(tiny).wait_timeout(PATIENCE).is_ok(), "{tasks} wakers block {core} threads");
        }
        gate.open();
        wait_all(waiting);
    }
}

#[test]
fn a_callback_may_wait_for_another_task() {
    for core in [1, 2] {
        let pool = pool(core);
        let called = Arc::new(AtomicUsize::new(0));
        for _ in 0..20 {
            let (gate, start) = (Gate::new(), Gate::new());
            let (waits, begins, counts) = (gate.clone(), start.clone(), Arc::clone(&called));
            pool.spawn(move || begins.pass()).on_complete(move |result| {
                result.unwrap();
                waits.pass();
                counts.fetch_add(1, Ordering::SeqCst);
            });
            start.open();
            assert!(pool.spawn(move || gate.open()).wait_timeout(PATIENCE).is_ok());
        }
        eventually("all have been called back", || called.load(Ordering::SeqCst) == 20);
    }
}

#[test]
fn nested_waits_go_as_deep_as_the_stack() {
    let pool = builder().max_threads(1).stack_size(64 << 20).build().unwrap();
    let inner = pool.clone();
    assert_eq!(pool.spawn(move || chain(&inner, 2000)).wait().unwrap(), 2000);
    assert_eq!(pool.metrics().threads_peak(), 1);
    assert_eq!(pool.metrics().tasks_completed(), 2001);
}

#[test]
fn a_waiter_below_the_maximum_runs_no_strangers_under_its_lock() {
    let pool = builder().core_threads(1).max_threads(8).build().unwrap();
    let lock = Arc::new(Mutex::new(()));
    let inner = pool.clone();
    let task = pool.spawn(move || {
        let held = lock.lock().unwrap();
        let other = Arc::clone(&lock);
        let wants_it = inner.spawn(move || drop(other.lock().unwrap()));
        inner.spawn(tiny).wait().unwrap();
        drop(held);
        wants_it.wait().unwrap();
    });
    assert!(matches!(task.wait_timeout(PATIENCE), Ok(Ok(()))));
}

#[test]
fn at_the_maximum_only_the_target_runs_in_place() {
    let pool = builder().max_threads(1).build().unwrap();
    let lock = Arc::new(Mutex::new(()));
    let inner = pool.clone();
    let task = pool.spawn(move || {
        let held = lock.lock().unwrap();
        let other = Arc::clone(&lock);
        let wants_it = inner.spawn(move || drop(other.lock().unwrap()));
        inner.spawn(tiny).wait().unwrap();
        drop(held);
        wants_it.wait().unwrap();
    });
    assert!(matches!(task.wait_timeout(PATIENCE), Ok(Ok(()))));
}

/// The only thread runs what others submit in the order of submission, and that holds where the
/// thread is long in a task of those that it has taken at once.
#[test]
fn the_only_thread_keeps_the_order_whatever_it_is_long_in() {
    let pool = builder().max_threads(1).build().unwrap();
    all_well((0..2000).map(|_| pool.spawn(|| ())));
    let (order, gate) = (Arc::new(Mutex::new(Vec::new())), Gate::new());
    let busy = occupy(&pool, &gate);
    let tasks: Vec<_> = (0..400)
        .map(|n| {
            let order = Arc::clone(&order);
            pool.spawn(move || {
                order.lock().unwrap().push(n);
                if n % 130 == 129 {
                    nothing_happens();
                }
            })
        })
        .collect();
    gate.open();
    all_well(tasks);
    busy.wait().unwrap();
    assert_eq!(*order.lock().unwrap(), (0..400).collect::<Vec<_>>());
}

also_by_time_alone! {
    a_task_that_all_threads_spin_for_gets_another,
    a_chain_below_the_maximum_grows,
    a_chain_at_the_maximum_runs_in_place,
    the_awaited_task_runs_before_10_000_others_at_the_maximum,
    what_a_task_submits_runs_although_that_task_keeps_running,
    what_a_blocked_thread_has_in_its_deque_is_found,
    what_a_thread_has_taken_along_does_not_wait_for_it,
    a_waker_that_blocks_holds_nobody_up,
    a_callback_may_wait_for_another_task,
    nested_waits_go_as_deep_as_the_stack,
    a_waiter_below_the_maximum_runs_no_strangers_under_its_lock,
    at_the_maximum_only_the_target_runs_in_place,
    the_only_thread_keeps_the_order_whatever_it_is_long_in,
}
