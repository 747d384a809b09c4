//! A cancelled body is interrupted by its hooks, once, and the next task knows nothing of it.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sidestep::{Pool, Task, current};

use crate::support::{Gate, check_sound, counter, pool, quiet_panic, soon};

/// A task with a side allocation from its spawner.
fn with_options<T: Send + 'static>(pool: &Pool, f: impl FnOnce() -> T + Send + 'static) -> Task<T> {
    pool.options().name("optional").expire_after(Duration::from_secs(3600)).spawn(f)
}

#[test]
fn a_hook_of_a_task_with_options_runs_once() {
    let pool = pool(1, 1);
    let (ready, gate) = (Gate::new(), Gate::new());
    let (announce, pass) = (ready.clone(), gate.clone());
    let (count, bump) = counter();
    let task = with_options(&pool, move || {
        let late = bump.clone();
        let _guard = current::on_cancel(bump);
        announce.open();
        pass.pass();
        drop(current::on_cancel(late));
    });
    ready.pass();
    let handle = task.cancel_handle();
    handle.cancel();
    handle.cancel();
    assert_eq!(count.load(Ordering::SeqCst), 1);
    gate.open();
    task.cancel().wait().unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2, "a late hook runs at once");
    check_sound(&pool);
}

#[test]
fn a_cancel_before_the_first_hook_is_seen_by_it() {
    let pool = pool(1, 1);
    let (ready, gate) = (Gate::new(), Gate::new());
    let (announce, pass) = (ready.clone(), gate.clone());
    let task = with_options(&pool, move || {
        announce.open();
        pass.pass();
        let (count, bump) = counter();
        drop(current::on_cancel(bump));
        (count.load(Ordering::SeqCst), current::is_cancelled())
    });
    ready.pass();
    let end = task.cancel();
    gate.open();
    assert_eq!(end.wait().unwrap(), (1, true));
}

#[test]
fn a_hook_never_runs_after_its_guard() {
    let pool = pool(2, 2);
    for round in 0..2000 {
        let (runs, late, started) = (Arc::default(), Arc::default(), Gate::new());
        let (counted, counted_late): (Arc<AtomicUsize>, Arc<AtomicUsize>) =
            (Arc::clone(&runs), Arc::clone(&late));
        let announce = started.clone();
        let closure = move || {
            announce.open();
            for _ in 0..3 {
                let gone = Arc::new(AtomicBool::new(false));
                let (seen, counted, late) =
                    (Arc::clone(&gone), Arc::clone(&counted), Arc::clone(&counted_late));
                // A panic in a hook reaches nobody: it has to count.
                let guard = current::on_cancel(move || {
                    let count = if seen.load(Ordering::SeqCst) { late } else { counted };
                    count.fetch_add(1, Ordering::SeqCst);
                });
                drop(guard);
                gone.store(true, Ordering::SeqCst);
            }
        };
        let task = if round % 2 == 0 { with_options(&pool, closure) } else { pool.spawn(closure) };
        started.pass();
        let handles = [task.cancel_handle(), task.cancel_handle()];
        thread::scope(|scope| {
            for handle in &handles {
                scope.spawn(|| handle.cancel());
            }
        });
        soon(task).unwrap();
        assert!(runs.load(Ordering::SeqCst) <= 3);
        assert_eq!(late.load(Ordering::SeqCst), 0, "after its guard");
    }
    check_sound(&pool);
}

/// Kotlin: what interrupts a task is over with it. The only thread runs both.
// Origin: Kotlin 17; Kotlin 26
#[test]
fn a_cancelled_body_is_interrupted_and_the_next_one_knows_nothing_of_it() {
    let pool = pool(1, 1);
    let (hooks, hook) = counter();
    for _ in 0..100 {
        let (started, gate) = (Gate::new(), Gate::new());
        let (announce, pass, open) = (started.clone(), gate.clone(), gate);
        let task = pool.spawn(move || {
            let _guard = current::on_cancel(move || open.open());
            announce.open();
            pass.pass();
            current::is_cancelled()
        });
        started.pass();
        assert!(task.cancel().wait().unwrap(), "it was interrupted, and knew");
        let hook = hook.clone();
        let next = pool.spawn(move || {
            drop(current::on_cancel(hook));
            (current::is_cancelled(), current::check())
        });
        assert_eq!(soon(next).unwrap(), (false, Ok(())));
    }
    assert_eq!(hooks.load(Ordering::SeqCst), 0);
    check_sound(&pool);
}

/// As C++ has it for `std::stop_callback`: on its own thread a hook may remove itself and others,
/// add some, and panic.
#[test]
fn a_hook_may_do_with_hooks_what_it_likes() {
    thread_local! { static GUARDS: RefCell<Vec<current::HookGuard>> = const { RefCell::new(Vec::new()) } }
    let remove = |place: usize| drop(GUARDS.with(|guards| guards.borrow_mut().remove(place)));
    let pool = pool(1, 1);
    let (hand, own) = channel::<sidestep::CancelHandle>();
    let task = pool.spawn(move || {
        let log = Arc::new(Mutex::new(Vec::new()));
        let note = |name: &'static str| {
            let log = Arc::clone(&log);
            move || log.lock().unwrap().push(name)
        };
        let handle = own.recv().unwrap();
        let (first, second, third, added, again) =
            (note("first"), note("second"), note("third"), note("added"), handle.clone());
        let hooks: [Box<dyn FnOnce() + Send>; 4] = [
            Box::new(move || {
                first();
                remove(0);
                remove(0);
                again.cancel();
                let guard = current::on_cancel(added);
                drop(guard);
            }),
            Box::new(second),
            Box::new(move || {
                third();
                quiet_panic("a hook");
            }),
            Box::new(note("fourth")),
        ];
        for hook in hooks {
            let guard = current::on_cancel(hook);
            GUARDS.with(|guards| guards.borrow_mut().push(guard));
        }
        handle.cancel();
        GUARDS.with(|guards| guards.borrow_mut().clear());
        log.lock().unwrap().clone()
    });
    hand.send(task.cancel_handle()).unwrap();
    assert_eq!(soon(task).unwrap(), ["first", "added", "third", "fourth"]);
    check_sound(&pool);
}
