//! `EventLoop`: the order of callbacks, where they run, and that each does once.

use std::cell::RefCell;
use std::thread::{self, ThreadId};
use std::time::Duration;

use sidestep::event_loop::{Closed, Handle, Offload, Remote, Timer, Turn};
use sidestep::{EventLoop, TaskError};

use super::{Log, conclude, gated, run};
use crate::support::{PATIENCE, check_sound, eventually, pool, quiet_panic, soon};

#[test]
fn nothing_runs_inside_the_call_that_registers_it() {
    let pool = pool(1, 1);
    let ended = pool.spawn(|| ());
    eventually("it ends", || ended.is_finished());
    let (mut ev, log) = (EventLoop::on(&pool), Log::new());
    ev.on_complete(ended, log.note_end("ended"));
    ev.offload(|| (), log.note_end("offload"));
    ev.post(log.note("post"));
    ev.after(Duration::ZERO, log.note("after"));
    let inner = log.clone();
    ev.spawn_local(async move { inner.add("future") });
    conclude(&pool);
    assert_eq!(log.take(), [""; 0]);
    run(&mut ev);
    let mut ran = log.take();
    ran.sort_unstable();
    assert_eq!(ran, ["after", "ended", "future", "offload", "post"], "each once");
    run(&mut ev);
    assert_eq!(log.take(), [""; 0]);
}

#[test]
fn completions_come_in_the_order_in_which_they_concluded() {
    let (mut ev, log) = (EventLoop::on(&pool(1, 1)), Log::new());
    let tasks: Vec<_> = (0..4).map(gated).collect();
    let (mut gates, order) = (Vec::new(), [2, 0, 3, 1]);
    for (pool, gate, task) in tasks {
        let log = log.clone();
        ev.on_complete(task, move |_, result| log.add(result.unwrap()));
        gates.push((pool, gate));
    }
    for next in order {
        gates[next].1.open();
        conclude(&gates[next].0);
    }
    let turn = ev.turn(Duration::ZERO);
    assert_eq!((log.take(), turn.ran()), (order.to_vec(), 4));
    assert!(turn.is_done());
}

#[test]
fn everything_stands_in_one_line() {
    let (first, second) = (gated(1), gated(2));
    let mut ev = EventLoop::on(&first.0);
    let remote = ev.remote();
    let from_elsewhere = |text| {
        let remote = remote.clone();
        thread::spawn(move || remote.post(move |_| SEEN.with_borrow_mut(|seen| seen.push(text))).is_ok())
            .join()
            .unwrap()
    };
    let write = |_: &Handle, number: Result<i32, TaskError>| {
        SEEN.with_borrow_mut(|seen| seen.push(["", "first", "second"][number.unwrap() as usize]));
    };
    ev.on_complete(first.2, write);
    ev.on_complete(second.2, write);
    ev.post(|_| SEEN.with_borrow_mut(|seen| seen.push("here")));
    second.1.open();
    conclude(&second.0);
    assert!(from_elsewhere("elsewhere"));
    first.1.open();
    conclude(&first.0);
    assert!(from_elsewhere("elsewhere again"));
    ev.post(|_| SEEN.with_borrow_mut(|seen| seen.push("here again")));
    assert_eq!(ev.turn(Duration::ZERO).ran(), 6);
    let seen = SEEN.take();
    assert_eq!(seen, ["here", "second", "elsewhere", "first", "elsewhere again", "here again"]);

    thread_local! { static SEEN: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) } }
}

#[test]
fn a_turn_runs_one_round() {
    let (mut ev, log) = (EventLoop::on(&pool(1, 1)), Log::new());
    let (inner, more) = (log.clone(), log.note("next round"));
    ev.post(move |ev| {
        inner.add("first");
        ev.post(more);
    });
    ev.post(log.note("second"));
    let turn = ev.turn(Duration::ZERO);
    assert_eq!((turn.ran(), turn.is_ready(), turn.is_done()), (2, true, false));
    assert_eq!(log.take(), ["first", "second"]);
    let turn = ev.turn(Duration::MAX);
    assert_eq!((turn.ran(), turn.is_ready(), turn.is_done()), (1, false, true));
    assert_eq!(log.take(), ["next round"]);
    assert_eq!(ev.turn(Duration::ZERO).ran(), 0);
}

#[test]
fn actions_run_elsewhere_and_callbacks_here() {
    let pool = pool(2, 2);
    let (mut ev, log) = (EventLoop::on(&pool), Log::<(ThreadId, ThreadId)>::new());
    for _ in 0..10 {
        let log = log.clone();
        ev.offload(
            || thread::current().id(),
            move |_, there| log.add((there.unwrap(), thread::current().id())),
        );
    }
    run(&mut ev);
    let (ran, me) = (log.take(), thread::current().id());
    assert_eq!(ran.len(), 10);
    assert!(ran.iter().all(|(there, here)| *there != me && *here == me));
    check_sound(&pool);
}

#[test]
fn callbacks_may_nest_and_the_loop_may_run_again() {
    fn count_down(ev: &Handle, number: u32, log: Log<u32>) {
        let next = move |ev: &Handle, result: Result<u32, TaskError>| {
            log.add(result.unwrap());
            if number > 0 {
                count_down(ev, number - 1, log);
            }
        };
        ev.offload(move || number, next);
    }
    let pool = pool(2, 2);
    let (mut ev, log) = (EventLoop::on(&pool), Log::new());
    for _ in 0..3 {
        count_down(&ev, 50, log.clone());
        run(&mut ev);
        assert_eq!(log.take(), (0..=50).rev().collect::<Vec<_>>());
    }
    check_sound(&pool);
}

#[test]
fn posts_that_post_the_next_use_no_stack() {
    fn post_next(ev: &Handle, left: u32, log: Log<u32>) {
        ev.post(move |ev| match left {
            0 => log.add(0),
            left => post_next(ev, left - 1, log),
        });
    }
    let (mut ev, log) = (EventLoop::on(&pool(1, 1)), Log::new());
    post_next(&ev, 100_000, log.clone());
    run(&mut ev);
    assert_eq!(log.take(), [0]);
    for number in 0..100_000 {
        ev.post(log.note(number));
    }
    assert_eq!(ev.turn(Duration::ZERO).ran(), 100_000);
    assert!(log.take().is_sorted());
}

#[test]
fn a_refused_action_calls_back_with_the_error() {
    let pool = pool(1, 1);
    pool.shutdown().wait();
    let (mut ev, log) = (EventLoop::on(&pool), Log::new());
    let inner = log.clone();
    ev.offload(|| (), move |_, result| inner.add(result.unwrap_err().is_shutdown()));
    assert_eq!(log.take(), [false; 0]);
    run(&mut ev);
    assert_eq!(log.take(), [true]);
}

#[test]
fn an_error_says_where_the_action_was_offloaded() {
    let (mut ev, log) = (EventLoop::on(&pool(1, 1)), Log::new());
    let inner = log.clone();
    ev.offload(
        || quiet_panic("no such drive"),
        move |_, end: Result<(), _>| inner.add(end.unwrap_err().to_string()),
    );
    run(&mut ev);
    let text = log.take().remove(0);
    assert!(text.contains("behaviour/event_loop/callbacks.rs") && text.contains("no such drive"), "{text}");
}

#[test]
fn tasks_of_lanes_and_with_options_call_back_too() {
    let pool = pool(2, 2);
    let lane = pool.lane("lane", 1);
    let (mut ev, log) = (EventLoop::on(&pool), Log::new());
    for number in 0..10 {
        let log = log.clone();
        ev.on_complete(lane.spawn(move || number), move |_, result| log.add(result.unwrap()));
    }
    let late = pool.options().expire_after(Duration::ZERO).spawn(|| 10);
    let inner = log.clone();
    ev.on_complete(late, move |_, result| inner.add(result.unwrap_or(10)));
    run(&mut ev);
    let mut ran = log.take();
    ran.retain(|number| *number != 10);
    assert_eq!(ran, (0..10).collect::<Vec<_>>(), "a lane of one keeps its order");
    check_sound(&pool);
    assert_eq!(ev.pool().metrics().tasks_submitted(), pool.metrics().tasks_submitted());
}

#[test]
fn a_task_that_has_given_its_result_cannot_call_back() {
    let ev = EventLoop::on(&pool(1, 1));
    let mut task = ev.pool().spawn(|| ());
    eventually("it ends", || task.is_finished());
    assert!(crate::support::poll(&mut task, std::task::Waker::noop()).is_ready());
    let register = std::panic::AssertUnwindSafe(|| ev.on_complete(task, |_, _| ()));
    assert!(std::panic::catch_unwind(register).is_err());
}

#[test]
fn a_loop_inside_a_task_counts_as_blocking_while_it_sleeps() {
    let pool = pool(1, 2);
    let inner = pool.clone();
    let task = pool.spawn(move || {
        let mut ev = EventLoop::on(&inner);
        for _ in 0..100 {
            ev.offload(|| (), |ev, _| drop(ev.offload(|| (), |_, _| ())));
        }
        ev.run();
    });
    soon(task).unwrap();
    check_sound(&pool);
}

#[test]
fn turns_without_time_do_not_wait() {
    let (_pool, gate, task) = gated(());
    let (mut ev, log) = (EventLoop::on(&pool(1, 1)), Log::new());
    ev.on_complete(task, log.note_end(()));
    for _ in 0..100 {
        let turn = ev.turn(Duration::ZERO);
        assert_eq!((turn.ran(), turn.is_ready(), turn.is_done()), (0, false, false));
    }
    assert_eq!(ev.turn(Duration::from_millis(1)).ran(), 0, "the time is up");
    gate.open();
    assert_eq!(ev.turn(PATIENCE).ran(), 1);
    assert_eq!(log.take(), [()]);
}

/// What belongs to one thread cannot leave it, and what is for all can be sent and shared.
#[test]
fn auto_traits() {
    trait Unless<Witness> {
        fn check(_: &Self) {}
    }
    struct IfSend;
    struct IfSync;
    impl<T: ?Sized> Unless<()> for T {}
    impl<T: ?Sized + Send> Unless<IfSend> for T {}
    impl<T: ?Sized + Sync> Unless<IfSync> for T {}
    // Each of these is ambiguous, and does not compile, if the type is `Send` or `Sync`.
    let _ = <EventLoop as Unless<_>>::check;
    let _ = <Handle as Unless<_>>::check;
    let _ = <Offload as Unless<_>>::check;
    let _ = <Timer as Unless<_>>::check;

    fn everywhere<T: Send + Sync + Unpin + std::panic::UnwindSafe + std::panic::RefUnwindSafe + 'static>() {}
    fn debug<T: std::fmt::Debug>() {}
    everywhere::<Remote>();
    everywhere::<Turn>();
    everywhere::<Closed<fn()>>();
    debug::<(EventLoop, Handle, Offload, Timer, Remote, Turn, Closed<fn()>)>();
    assert_eq!(size_of::<Handle>(), size_of::<usize>());
}
