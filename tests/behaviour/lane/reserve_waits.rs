//! Lanes with threads in reserve: waits on both sides, each for what only the other can run, and
//! what the pool's threads may hang in meanwhile.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use sidestep::{Lane, Pool, Task, TaskError, current};

use super::reserve::{is_reserve, lane};
use crate::support::{Gate, builder, check_sound, eventually, occupy, pool, soon};

const KIB: usize = 1024;

/// The only thread of the pool waits by `wait` for `f`, which has begun on a thread of the reserve.
fn while_the_pool_waits<T, R>(
    pool: &Pool,
    lane: &Lane,
    f: impl FnOnce() -> T + Send + 'static,
    wait: impl FnOnce(Task<T>) -> R + Send + 'static,
) -> R
where
    T: Send + 'static,
    R: Send + 'static,
{
    let lane = lane.clone();
    let outer = pool.spawn(move || {
        let begun = Gate::new();
        let announce = begun.clone();
        let task = lane.spawn(move || {
            announce.open();
            assert!(is_reserve());
            f()
        });
        begun.pass();
        wait(task)
    });
    soon(outer).unwrap()
}

#[cfg(feature = "event-loop")]
#[test]
fn a_wait_for_promises_runs_what_a_reserve_waits_for() {
    let pool = pool(1, 1);
    let lane = lane(&pool, 1, 1);
    let own = pool.clone();
    let wants = move || own.spawn(is_reserve).wait();
    let all = |task: Task<Result<bool, TaskError>>| {
        let one = sidestep::Promise::from_future(async move { task.await? });
        sidestep::Promise::all([one]).wait().map(|all| all[0])
    };
    assert!(!while_the_pool_waits(&pool, &lane, wants, all).unwrap());
    check_sound(&pool);
}

#[cfg(feature = "event-loop")]
#[test]
fn promises_that_a_reserve_waits_for_are_run_by_a_thread_that_waits() {
    let pool = pool(1, 1);
    let lane = lane(&pool, 1, 1);
    for together in [false, true] {
        let own = pool.clone();
        let wants = move || {
            let promises = (0..3).map(|_| own.promise(|| std::io::Result::Ok(is_reserve())));
            if together {
                return sidestep::Promise::all(promises).wait().unwrap();
            }
            promises.map(|promise| promise.wait().unwrap()).collect()
        };
        assert_eq!(while_the_pool_waits(&pool, &lane, wants, Task::wait).unwrap(), [false; 3]);
    }
    check_sound(&pool);
}

#[test]
fn room_that_a_reserve_waits_for_is_made_by_a_thread_that_waits() {
    let pool = builder().core_threads(1).max_threads(1).queue_limit(1).build().unwrap();
    let lane = lane(&pool, 1, 1);
    let own = pool.clone();
    let wants = move || {
        let first = own.spawn(is_reserve);
        let second = own.reserve().wait().unwrap().spawn(is_reserve);
        [first.wait().unwrap(), second.wait().unwrap()]
    };
    assert_eq!(while_the_pool_waits(&pool, &lane, wants, Task::wait).unwrap(), [false, false]);
    check_sound(&pool);
}

/// A thread that waits may find no slot for what a reserve waits for, and leaves it alone then.
#[test]
fn what_a_reserve_waits_for_is_run_once_its_lane_has_a_slot() {
    let pool = pool(2, 2);
    let (spare, other) = (lane(&pool, 1, 1), pool.lane("other", 1));
    for _ in 0..100 {
        let (begun, wanted) = (Gate::new(), Gate::new());
        let (announce, open) = (begun.clone(), wanted.clone());
        let holder = other.spawn(move || {
            announce.open();
            open.pass();
        });
        begun.pass();
        let (own, lane) = (other.clone(), spare.clone());
        let outer = pool.spawn(move || {
            let task = lane.spawn(move || {
                let target = own.spawn(|| 7);
                wanted.open();
                target.wait()
            });
            task.wait()
        });
        assert_eq!(soon(outer).unwrap().unwrap().unwrap(), 7);
        soon(holder).unwrap();
    }
    check_sound(&pool);
}

type Last<T> = Arc<dyn Fn() -> Result<T, TaskError> + Send + Sync>;

/// Calls `last` where the stack has no room for another wait.
fn at_the_bottom<T: Send + 'static>(pool: &Pool, last: &Last<T>) -> Result<T, TaskError> {
    let (inner, next) = (pool.clone(), Arc::clone(last));
    match pool.spawn(move || at_the_bottom(&inner, &next)).wait() {
        Ok(result) => result,
        Err(error) if error.is_deadlock() => last(),
        Err(error) => Err(error),
    }
}

fn run_to_the_bottom<T: Send + 'static>(pool: &Pool, last: Last<T>) -> Result<T, TaskError> {
    let inner = pool.clone();
    soon(pool.spawn(move || at_the_bottom(&inner, &last))).unwrap()
}

#[test]
fn a_wait_without_room_for_a_lane_with_a_reserve_is_no_deadlock() {
    let pool = builder().core_threads(1).max_threads(1).stack_size(256 * KIB).build().unwrap();
    let lane = lane(&pool, 1, 1);
    // The first time the thread of the reserve is made, then it is idle.
    for _ in 0..3 {
        let own = lane.clone();
        assert!(run_to_the_bottom(&pool, Arc::new(move || own.spawn(is_reserve).wait())).unwrap());
    }
    check_sound(&pool);
}

#[test]
fn a_wait_without_room_for_a_reserve_at_its_end_is_one() {
    let pool = builder().core_threads(1).max_threads(1).stack_size(256 * KIB).build().unwrap();
    let lane = lane(&pool, 2, 1);
    let (gate, begun) = (Gate::new(), Gate::new());
    let hung = occupy(&pool, &gate);
    let (announce, general, own) = (begun.clone(), pool.clone(), lane.clone());
    // The reserve waits for a task that waits, without room, for a task of the lane.
    let outer = lane.spawn(move || {
        announce.open();
        assert!(is_reserve());
        let (inner, last): (_, Last<()>) = (general.clone(), Arc::new(move || own.spawn(|| ()).wait()));
        general.spawn(move || at_the_bottom(&inner, &last)).wait().unwrap()
    });
    begun.pass();
    gate.open();
    let error = soon(outer).unwrap().unwrap_err();
    assert!(error.is_deadlock() && error.to_string().contains("waits are inside each other"), "{error}");
    soon(hung).unwrap();
    check_sound(&pool);
}

#[test]
fn what_a_reserve_waits_for_is_an_error_where_no_thread_has_room_for_it() {
    let pool = builder().core_threads(1).max_threads(1).stack_size(256 * KIB).build().unwrap();
    let lane = lane(&pool, 1, 1);
    let own = pool.clone();
    let error = run_to_the_bottom(
        &pool,
        Arc::new(move || {
            let (begun, general) = (Gate::new(), own.clone());
            let announce = begun.clone();
            let task = lane.spawn(move || {
                announce.open();
                general.spawn(|| ()).wait()
            });
            begun.pass();
            task.wait()?
        }),
    );
    let error = error.unwrap_err();
    assert!(error.is_deadlock() && error.to_string().contains("waits are inside each other"), "{error}");
    check_sound(&pool);
}

#[test]
fn a_reserve_comes_while_the_pool_hangs_in_its_hooks() {
    for at_start in [true, false] {
        let (gate, hangs) = (Gate::new(), Gate::new());
        let (open, announce) = (gate.clone(), hangs.clone());
        let hook = move || {
            if !is_reserve() {
                announce.open();
                open.pass();
            }
        };
        let builder = builder().core_threads(1).max_threads(1);
        let builder = if at_start { builder.on_thread_start(hook) } else { builder.on_thread_stop(hook) };
        let pool = builder.build().unwrap();
        let lane = lane(&pool, 1, 1);
        if !at_start {
            soon(pool.spawn(current::retire_thread)).unwrap();
        }
        hangs.pass();
        let general = pool.spawn(is_reserve);
        assert!(soon(lane.spawn(is_reserve)).unwrap());
        gate.open();
        assert!(!soon(general).unwrap());
    }
}

struct HangsInDrop(Gate);

impl Drop for HangsInDrop {
    fn drop(&mut self) {
        self.0.pass();
    }
}

#[test]
fn a_reserve_comes_while_the_pool_hangs_in_a_destructor() {
    let pool = pool(1, 1);
    let lane = lane(&pool, 2, 1);
    let (gate, begun) = (Gate::new(), Gate::new());
    let (announce, hangs) = (begun.clone(), HangsInDrop(gate.clone()));
    let hung = pool.spawn(move || {
        let _hangs = hangs;
        announce.open();
    });
    begun.pass();
    assert!(soon(lane.spawn(is_reserve)).unwrap());
    gate.open();
    soon(hung).unwrap();
}

#[test]
fn a_wait_for_the_end_in_a_destructor_of_a_reserve_thread_returns() {
    struct WaitsForEnd(Pool);
    impl Drop for WaitsForEnd {
        fn drop(&mut self) {
            self.0.shutdown().wait();
        }
    }
    thread_local! { static LAST: RefCell<Option<WaitsForEnd>> = const { RefCell::new(None) } }
    let pool = pool(1, 1);
    let lane = lane(&pool, 1, 1);
    let gate = Gate::new();
    let hung = occupy(&pool, &gate);
    let last = WaitsForEnd(pool.clone());
    soon(lane.spawn(move || LAST.set(Some(last)))).unwrap();
    gate.open();
    soon(hung).unwrap();
    assert_eq!(pool.shutdown().wait().still_running, 0);
}

#[test]
fn a_handler_may_lose_threads_of_a_reserve_or_hold_them_back() {
    let (asked, held) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (count, holds) = (Arc::clone(&asked), Arc::clone(&held));
    let pool = builder()
        .core_threads(1)
        .max_threads(1)
        .spawn_handler(move |new| {
            let number = if new.name().contains("-spare-r") {
                count.fetch_add(1, Ordering::SeqCst)
            } else {
                usize::MAX
            };
            match number {
                0 => drop(new),
                1 => holds.lock().unwrap().push(new),
                _ => drop(thread::Builder::new().name(new.name().into()).spawn(move || new.run())?),
            }
            Ok(())
        })
        .build()
        .unwrap();
    let lane = lane(&pool, 2, 2);
    let gate = Gate::new();
    let hung = occupy(&pool, &gate);
    assert!(soon(lane.spawn(is_reserve)).unwrap(), "by the third thread");
    eventually("the second is counted", || pool.metrics().reserve_threads() == 2);
    let end = pool.shutdown();
    gate.open();
    soon(hung).unwrap();
    held.lock().unwrap().clear();
    assert_eq!(end.wait().still_running, 0);
    assert_eq!((asked.load(Ordering::SeqCst), pool.metrics().reserve_threads()), (3, 0));
}
