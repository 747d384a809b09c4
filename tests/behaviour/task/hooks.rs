//! `current::on_cancel`, rule by rule of C++'s `std::stop_callback`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;

use sidestep::{CancelHandle, Task, current};

use crate::support::{
    Drops, Gate, check_sound, counter, eventually, nothing_happens, occupy, pool, quiet_panic, soon,
};

#[test]
fn a_hook_runs_once_on_the_thread_that_cancels() {
    let pool = pool(1, 1);
    let (ready, gate) = (Gate::new(), Gate::new());
    let (announce, pass) = (ready.clone(), gate.clone());
    let (report, ran_on) = channel();
    let task = pool.spawn(move || {
        let _guard = current::on_cancel(move || report.send(thread::current().id()).unwrap());
        announce.open();
        pass.pass();
    });
    ready.pass();
    let handle = task.cancel_handle();
    handle.cancel();
    assert_eq!(ran_on.try_recv(), Ok(thread::current().id()), "inside the call of cancel");
    handle.cancel();
    let end = task.cancel();
    gate.open();
    end.wait().unwrap();
    assert!(ran_on.recv().is_err(), "not a second time");
    check_sound(&pool);
}

#[test]
fn dropping_the_handle_runs_the_hook() {
    let pool = pool(1, 1);
    let (ready, gate) = (Gate::new(), Gate::new());
    let (announce, pass, open) = (ready.clone(), gate.clone(), gate.clone());
    let task = pool.spawn(move || {
        let _guard = current::on_cancel(move || open.open());
        announce.open();
        pass.pass();
    });
    ready.pass();
    drop(task);
    gate.pass();
    check_sound(&pool);
}

#[test]
fn a_late_hook_runs_at_once() {
    let pool = pool(1, 1);
    let started = Gate::new();
    let announce = started.clone();
    let task = pool.spawn(move || {
        announce.open();
        while !current::is_cancelled() {
            thread::yield_now();
        }
        let mut seen = Vec::new();
        for _ in 0..2 {
            let (count, bump) = counter();
            let me = thread::current().id();
            let guard = current::on_cancel(move || {
                assert_eq!(thread::current().id(), me);
                bump();
            });
            seen.push(count.load(Ordering::SeqCst));
            drop(guard);
            seen.push(count.load(Ordering::SeqCst));
        }
        seen
    });
    started.pass();
    assert_eq!(task.cancel().wait().unwrap(), [1, 1, 1, 1]);
}

#[test]
fn a_dropped_guard_unregisters_its_hook_and_frees_it() {
    let pool = pool(1, 1);
    let (ready, gate) = (Gate::new(), Gate::new());
    let (announce, pass) = (ready.clone(), gate.clone());
    let (count, bump) = counter();
    let drops = Drops::new();
    let token = drops.token();
    let task = pool.spawn(move || {
        let guard = current::on_cancel(move || {
            let _token = token;
            bump();
        });
        drop(guard);
        announce.open();
        pass.pass();
    });
    ready.pass();
    assert_eq!(drops.count(), 1, "with the guard, not with the task");
    let end = task.cancel();
    gate.open();
    end.wait().unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[test]
fn a_guard_waits_for_a_hook_that_runs_on_another_thread() {
    let pool = pool(1, 1);
    let (ready, in_hook, leave_hook) = (Gate::new(), Gate::new(), Gate::new());
    let (announce, entered, leave) = (ready.clone(), in_hook.clone(), leave_hook.clone());
    let (hook_done, guard_gone) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (done, gone) = (Arc::clone(&hook_done), Arc::clone(&guard_gone));
    let wait_for_hook = in_hook.clone();
    let task = pool.spawn(move || {
        let mark = Arc::clone(&done);
        let guard = current::on_cancel(move || {
            entered.open();
            leave.pass();
            mark.store(true, Ordering::SeqCst);
        });
        announce.open();
        wait_for_hook.pass();
        drop(guard);
        gone.store(true, Ordering::SeqCst);
        done.load(Ordering::SeqCst)
    });
    ready.pass();
    let handle = task.cancel_handle();
    let canceller = thread::spawn(move || handle.cancel());
    in_hook.pass();
    nothing_happens();
    assert!(!guard_gone.load(Ordering::SeqCst), "the hook is still running");
    leave_hook.open();
    assert!(soon(task).unwrap(), "the guard went after the hook");
    canceller.join().unwrap();
}

#[test]
fn the_end_of_a_task_waits_for_a_hook_and_unregisters_forgotten_guards() {
    let pool = pool(1, 1);
    let (ready, in_hook, leave_hook) = (Gate::new(), Gate::new(), Gate::new());
    let (announce, entered, leave) = (ready.clone(), in_hook.clone(), leave_hook.clone());
    let wait_for_hook = in_hook.clone();
    let (count, bump) = counter();
    let drops = Drops::new();
    let token = drops.token();
    let task = pool.spawn(move || {
        std::mem::forget(current::on_cancel(move || {
            entered.open();
            leave.pass();
        }));
        std::mem::forget(current::on_cancel(move || {
            let _token = token;
            bump();
        }));
        announce.open();
        wait_for_hook.pass();
    });
    ready.pass();
    let handle = task.cancel_handle();
    let canceller = thread::spawn(move || handle.cancel());
    in_hook.pass();
    nothing_happens();
    assert!(!task.is_finished(), "its first hook is still running");
    leave_hook.open();
    soon(task).unwrap();
    canceller.join().unwrap();
    let ran = count.load(Ordering::SeqCst);
    assert!(ran <= 1, "the second runs only if the canceller was faster than the end");
    assert_eq!(drops.count(), 1, "and is freed either way");
}

#[test]
fn a_forgotten_guard_does_not_outlive_its_task() {
    let pool = pool(1, 1);
    let drops = Drops::new();
    let token = drops.token();
    let (count, bump) = counter();
    let task = pool.spawn(move || {
        std::mem::forget(current::on_cancel(move || {
            let _token = token;
            bump();
        }));
    });
    eventually("the task ends", || task.is_finished());
    assert_eq!(drops.count(), 1, "the hook is freed at the end");
    task.cancel_handle().cancel();
    drop(task);
    assert_eq!(count.load(Ordering::SeqCst), 0);
    assert_eq!(soon(pool.spawn(|| 1)).unwrap(), 1, "the next task inherits nothing");
}

#[test]
fn several_hooks_all_run_in_order_and_a_panic_stops_none() {
    let pool = pool(1, 1);
    let (ready, gate) = (Gate::new(), Gate::new());
    let (announce, pass) = (ready.clone(), gate.clone());
    let order = Arc::new(Mutex::new(Vec::new()));
    let orders = Arc::clone(&order);
    let task = pool.spawn(move || {
        let guards: Vec<_> = (0..5)
            .map(|number| {
                let order = Arc::clone(&orders);
                current::on_cancel(move || {
                    order.lock().unwrap().push(number);
                    if number % 2 == 1 {
                        quiet_panic("a hook");
                    }
                })
            })
            .collect();
        announce.open();
        pass.pass();
        drop(guards);
    });
    ready.pass();
    let end = task.cancel();
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
    gate.open();
    end.wait().unwrap();
    check_sound(&pool);
}

#[test]
fn a_hook_may_cancel_another_task() {
    let pool = pool(2, 2);
    let gate = Gate::new();
    let other = occupy(&pool, &gate);
    let drops = Drops::new();
    let token = drops.token();
    let (ready, open, leave) = (Gate::new(), gate.clone(), gate.clone());
    let announce = ready.clone();
    let (send, victim) = channel::<Task<()>>();
    let task = pool.spawn(move || {
        let victim = victim.recv().unwrap();
        let _guard = current::on_cancel(move || {
            drop(victim);
            open.open();
        });
        announce.open();
        leave.pass();
    });
    send.send(pool.spawn(move || drop(token))).unwrap();
    ready.pass();
    let end = task.cancel();
    assert_eq!(drops.count(), 1, "both workers were busy: the hook has dropped the queued closure");
    end.wait().unwrap();
    soon(other).unwrap();
    check_sound(&pool);
}

#[test]
fn a_closure_may_cancel_itself() {
    let pool = pool(1, 1);
    let (send, receive) = channel::<CancelHandle>();
    let (count, bump) = counter();
    let seen = Arc::clone(&count);
    let task = pool.spawn(move || {
        let me = receive.recv().unwrap();
        let again = me.clone();
        let guard = current::on_cancel(move || {
            bump();
            again.cancel();
        });
        me.cancel();
        let ran_inside = seen.load(Ordering::SeqCst);
        drop(guard);
        (ran_inside, current::is_cancelled())
    });
    send.send(task.cancel_handle()).unwrap();
    assert_eq!(soon(task).unwrap(), (1, true));
    assert_eq!(count.load(Ordering::SeqCst), 1);
    check_sound(&pool);
}

#[test]
fn a_guard_dropped_by_its_own_hook_does_not_wait_for_itself() {
    thread_local! {
        static GUARD: std::cell::RefCell<Option<current::HookGuard>> = const { std::cell::RefCell::new(None) };
    }
    let pool = pool(1, 1);
    let (send, receive) = channel::<CancelHandle>();
    let task = pool.spawn(move || {
        let me = receive.recv().unwrap();
        let guard = current::on_cancel(|| drop(GUARD.take()));
        GUARD.set(Some(guard));
        me.cancel();
        GUARD.take().is_none()
    });
    send.send(task.cancel_handle()).unwrap();
    assert!(soon(task).unwrap());
}

#[test]
fn a_hook_may_drop_the_guards_of_many_others_while_all_of_them_run() {
    const MANY: usize = if cfg!(miri) { 100 } else { 10_000 };
    thread_local! {
        static GUARDS: std::cell::RefCell<Vec<current::HookGuard>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    let pool = pool(1, 1);
    let (send, receive) = channel::<CancelHandle>();
    let (report, ran) = channel();
    let task = pool.spawn(move || {
        let me = receive.recv().unwrap();
        let _first = current::on_cancel(|| {
            let mut number = 0..MANY;
            let guards = GUARDS.take();
            let (odd, even): (Vec<_>, _) = guards.into_iter().partition(|_| number.next().unwrap() % 2 == 1);
            odd.into_iter().rev().for_each(drop);
            GUARDS.set(even);
        });
        for number in 0..MANY {
            let report = report.clone();
            let guard = current::on_cancel(move || report.send(number).unwrap());
            GUARDS.with_borrow_mut(|guards| guards.push(guard));
        }
        me.cancel();
        drop(GUARDS.take());
    });
    send.send(task.cancel_handle()).unwrap();
    soon(task).unwrap();
    assert!(ran.iter().eq((0..MANY).step_by(2)), "the even ones, in order, once each");
    check_sound(&pool);
}

#[test]
fn a_hook_may_use_the_pool() {
    let pool = pool(1, 2);
    let inner = pool.clone();
    let (ready, gate) = (Gate::new(), Gate::new());
    let (announce, pass) = (ready.clone(), gate.clone());
    let (send, receive) = channel();
    let task = pool.spawn(move || {
        let _guard = current::on_cancel(move || {
            send.send(inner.spawn(|| 42)).unwrap();
            let _ = inner.metrics();
        });
        announce.open();
        pass.pass();
    });
    ready.pass();
    let end = task.cancel();
    gate.open();
    assert_eq!(soon(receive.recv().unwrap()).unwrap(), 42);
    end.wait().unwrap();
}

#[test]
fn outside_a_task_all_is_inert() {
    let (count, bump) = counter();
    let drops = Drops::new();
    let token = drops.token();
    let guard = current::on_cancel(move || {
        let _token = token;
        bump();
    });
    assert_eq!(drops.count(), 1, "nobody can ever run it");
    drop(guard);
    assert_eq!(count.load(Ordering::SeqCst), 0);
    assert!(!current::is_cancelled());
    assert_eq!(current::check(), Ok(()));
    current::retire_thread();
    assert_eq!(current::will_block(|| 6 * 7), 42);
}

#[test]
fn registering_and_cancelling_at_once_runs_the_hook_exactly_once() {
    let pool = pool(1, 1);
    for _ in 0..500 {
        let started = Gate::new();
        let announce = started.clone();
        let (count, bump) = counter();
        let seen = Arc::clone(&count);
        let task = pool.spawn(move || {
            announce.open();
            let _guard = current::on_cancel(bump);
            eventually("the hook runs", || seen.load(Ordering::SeqCst) > 0);
        });
        started.pass();
        task.cancel().wait().unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}
