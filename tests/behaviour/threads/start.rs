//! How threads begin: their names and stacks, what they run first, when they are started.

use std::cell::Cell;
use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, ThreadId};

use sidestep::{NewThread, Pool, current};

use crate::support::{
    Gate, PATIENCE, Rendezvous, also_by_time_alone, builder, check_sound, eventually, pool, soon,
};

/// Ids and names.
type Seen = Arc<Mutex<Vec<(ThreadId, String)>>>;

/// Occupies `count` threads until the gate opens; gives the gate and the threads' ids and names.
fn occupy_threads(pool: &Pool, count: usize) -> (Gate, Seen) {
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
    let (gate, seen) = occupy_threads(&pool, 4);
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
        let (gate, _) = occupy_threads(&pool, count);
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
    let (gate, _) = occupy_threads(&pool, 8);
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
    let (first, _) = occupy_threads(&pool, 1);
    let task = pool.spawn(|| ());
    eventually("the second thread is in its hook", || hooks.load(Ordering::SeqCst) == 2);
    first.open();
    assert!(task.wait_timeout(PATIENCE).is_ok());
    for _ in 0..100 {
        assert!(pool.spawn(|| ()).wait_timeout(PATIENCE).is_ok());
    }
    gate.open();
}

#[cfg(feature = "tokio")]
#[test]
fn closures_are_inside_the_runtime_they_were_given() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let id = runtime.handle().id();
    let pool = Pool::builder().core_threads(2).runtime(runtime.handle().clone()).build().unwrap();
    let (gate, _) = occupy_threads(&pool, 2);
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

/// A pool's thread may be lent to another pool by a handler that runs the `NewThread` inside a
/// task. Afterwards it is its own pool's thread again.
#[test]
fn a_thread_lent_to_another_pool_comes_home() {
    let (home, guests) = (pool(1, 1), channel::<NewThread>());
    let (send, receive) = (Mutex::new(guests.0), guests.1);
    let guest = Pool::builder()
        .core_threads(1)
        .max_threads(1)
        .spawn_handler(move |new| send.lock().unwrap().send(new).map_err(io::Error::other))
        .build()
        .unwrap();
    let inner = home.clone();
    let host = home.spawn(move || {
        receive.recv().unwrap().run();
        inner.shutdown().wait().still_running
    });
    assert_eq!(soon(guest.spawn(|| 42)).unwrap(), 42);
    guest.shutdown().wait();
    assert_eq!(soon(host).unwrap(), 0, "the task that waits counts as ended: its thread is known");
}

thread_local! { static REQUEST: Cell<u32> = const { Cell::new(0) } }

/// What tasks see that all run at once, as many as there may be threads.
fn requests_seen(pool: &Pool, threads: usize) -> Vec<u32> {
    let meeting = Rendezvous::new(threads);
    let meet = |_| {
        let meeting = Arc::clone(&meeting);
        pool.spawn(move || {
            current::will_block(|| meeting.meet());
            REQUEST.get()
        })
    };
    let tasks: Vec<_> = (0..threads).map(meet).collect();
    tasks.into_iter().map(|task| soon(task).unwrap()).collect()
}

/// .NET: the context of whoever causes a thread to be made is not that of all its later tasks.
// Origin: .NET 35
#[test]
fn a_thread_does_not_keep_the_context_it_was_made_in() {
    const THREADS: usize = 8;
    let carry = || {
        let request = REQUEST.get();
        move |run: &mut dyn FnMut()| {
            let before = REQUEST.replace(request);
            run();
            REQUEST.set(before);
        }
    };
    let pool = builder().core_threads(1).max_threads(THREADS).propagate(carry).build().unwrap();
    REQUEST.set(7);
    assert_eq!(requests_seen(&pool, THREADS), [7; THREADS]);
    REQUEST.set(0);
    assert_eq!(requests_seen(&pool, THREADS), [0; THREADS]);
    check_sound(&pool);
    assert_eq!(pool.metrics().threads_peak(), THREADS, "the same threads");
}

/// Hooks run on threads that are not the pool's, or not on all that are: tokio_rcu, lighthouse.
// Origin: pitfall 28
#[test]
fn hooks_run_on_every_thread_of_the_pool_and_on_no_other() {
    let (started, stopped) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (start, stop) = (Arc::clone(&started), Arc::clone(&stopped));
    let pool = Pool::builder()
        .core_threads(2)
        .max_threads(4)
        .on_thread_start(move || start.lock().unwrap().push(thread::current().id()))
        .on_thread_stop(move || stop.lock().unwrap().push(thread::current().id()))
        .build()
        .unwrap();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let inner = pool.clone();
            pool.spawn(move || {
                inner.spawn(|| ()).wait().unwrap();
                current::will_block(|| thread::current().id())
            })
        })
        .collect();
    let ran_on: HashSet<ThreadId> = tasks.into_iter().map(|task| soon(task).unwrap()).collect();
    pool.shutdown().timeout(PATIENCE).wait();
    let mut started = started.lock().unwrap().clone();
    let mut stopped = stopped.lock().unwrap().clone();
    assert!(ran_on.iter().all(|thread| started.contains(thread)), "no task before or without the hook");
    assert!(!started.contains(&thread::current().id()));
    let key = |id: &ThreadId| format!("{id:?}");
    started.sort_by_key(key);
    stopped.sort_by_key(key);
    assert_eq!(started, stopped, "each thread calls both, once");
    assert!(started.windows(2).all(|pair| pair[0] != pair[1]));
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

also_by_time_alone! {
    a_thread_does_not_keep_the_context_it_was_made_in,
}
