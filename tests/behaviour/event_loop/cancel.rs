//! `Offload::cancel`: the callback comes later, with an error, whatever becomes of the action.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sidestep::{EventLoop, TaskError, current};

use super::{Log, conclude, gated, run};
use crate::support::{
    Drops, Gate, PanicOnDrop, all_well, check_sound, counter, eventually, occupy, pool, quiet_panic, soon,
};

type End<T> = Result<T, TaskError>;

/// A callback that writes down what the error says, if it is one of a cancellation.
fn note_error<T: 'static>(log: &Log<String>) -> impl FnOnce(&sidestep::event_loop::Handle, End<T>) + use<T> {
    let log = log.clone();
    move |_, end| match end {
        Ok(_) => log.add("a value".into()),
        Err(error) => log.add(format!("{} {error}", error.is_cancelled())),
    }
}

#[test]
fn a_queued_action_is_dropped_at_once() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let running = occupy(&pool, &gate);
    let (mut ev, log, drops) = (EventLoop::on(&pool), Log::new(), Drops::new());
    let token = drops.token();
    let action = ev.offload(move || drop(token), note_error(&log));
    action.cancel();
    assert_eq!((drops.count(), log.take().len()), (1, 0), "the closure is gone, the callback comes later");
    run(&mut ev);
    let text = log.take().remove(0);
    assert!(text.starts_with("true ") && text.ends_with("was cancelled before it ran"), "{text}");
    gate.open();
    soon(running).unwrap();
    assert_eq!(pool.metrics().tasks_cancelled(), 1);
    check_sound(&pool);
}

#[test]
fn all_that_is_queued_behind_a_saturated_pool_is_cancelled_and_called_back_once() {
    const ACTIONS: usize = 16;
    let (pool, gate) = (pool(2, 2), Gate::new());
    let running = [occupy(&pool, &gate), occupy(&pool, &gate)];
    let (mut ev, log, (ran, count)) = (EventLoop::on(&pool), Log::new(), counter());
    let actions: Vec<_> = (0..ACTIONS).map(|_| ev.offload(count.clone(), note_error(&log))).collect();
    for action in &actions {
        action.cancel();
        action.cancel();
    }
    assert_eq!(log.take(), [""; 0], "no callback runs inside of the call");
    run(&mut ev);
    let texts = log.take();
    assert_eq!(texts.len(), ACTIONS);
    assert!(texts.iter().all(|text| text.starts_with("true ")), "{texts:?}");
    gate.open();
    all_well(running);
    check_sound(&pool);
    run(&mut ev);
    assert_eq!((log.take().len(), ran.load(Ordering::SeqCst)), (0, 0));
    assert_eq!(pool.metrics().tasks_cancelled(), ACTIONS as u64);
}

#[test]
fn a_running_action_is_told_and_not_waited_for() {
    let (pool, started, leave) = (pool(1, 1), Gate::new(), Gate::new());
    let (mut ev, log, drops) = (EventLoop::on(&pool), Log::new(), Drops::new());
    let (announce, pass, token) = (started.clone(), leave.clone(), drops.token());
    let work = move || {
        announce.open();
        eventually("it is told", current::is_cancelled);
        pass.pass();
        token
    };
    let action = ev.offload(work, note_error(&log));
    started.pass();
    action.cancel();
    run(&mut ev);
    let text = log.take().remove(0);
    let end = "was cancelled while it ran, and its result was discarded";
    assert!(text.starts_with("true ") && text.ends_with(end), "{text}");
    assert_eq!(drops.count(), 0, "it is still running");
    leave.open();
    conclude(&pool);
    assert_eq!(drops.count(), 1, "the pool drops the result");
    run(&mut ev);
    assert_eq!(log.take(), [""; 0], "once");
    check_sound(&pool);
}

#[test]
fn an_action_that_has_ended_is_given_up_until_its_callback_runs() {
    let pool = pool(1, 1);
    let (mut ev, log, drops) = (EventLoop::on(&pool), Log::new(), Drops::new());
    let (first, second) = (drops.token(), drops.token());
    // One whose end comes after the registration, and one that has ended before it.
    let late = ev.offload(move || first, note_error(&log));
    conclude(&pool);
    let ended = pool.spawn(move || second);
    eventually("it ends", || ended.is_finished());
    let early = ev.on_complete(ended, note_error(&log));
    for action in [&late, &early] {
        action.cancel();
        action.cancel();
    }
    assert_eq!((drops.count(), log.take().len()), (2, 0));
    run(&mut ev);
    let texts = log.take();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts.iter().all(|text| text.starts_with("true ") && text.contains("was discarded")),
        "{texts:?}"
    );
    late.cancel();
    early.cancel();
    run(&mut ev);
    assert_eq!(log.take(), [""; 0], "too late");
}

#[test]
fn a_failed_action_can_be_cancelled_too() {
    let (pool, log) = (pool(1, 1), Log::new());
    let mut ev = EventLoop::on(&pool);
    ev.offload(|| quiet_panic("unseen"), note_error::<()>(&log)).cancel();
    let panicked = ev.offload(|| quiet_panic("unseen"), note_error::<()>(&log));
    conclude(&pool);
    panicked.cancel();
    pool.shutdown().wait();
    ev.offload(|| (), note_error(&log)).cancel();
    run(&mut ev);
    let texts = log.take();
    assert_eq!(texts.len(), 3);
    assert!(texts.iter().all(|text| text.starts_with("true ")), "{texts:?}");
    assert!(texts.iter().any(|text| text.ends_with("before it ran")), "the refused one did not: {texts:?}");
}

#[test]
fn one_callback_may_cancel_the_next_of_its_round() {
    let pool = pool(1, 1);
    let (mut ev, log) = (EventLoop::on(&pool), Log::new());
    let action = std::rc::Rc::new(std::cell::OnceCell::<sidestep::event_loop::Offload>::new());
    let known = std::rc::Rc::clone(&action);
    ev.post(move |_| known.get().unwrap().cancel());
    action.set(ev.offload(|| (), note_error(&log))).unwrap();
    conclude(&pool);
    assert_eq!(ev.turn(Duration::ZERO).ran(), 2, "its place in the line stays");
    assert!(log.take().remove(0).starts_with("true "));
}

#[test]
fn a_cancelled_action_stands_in_line_where_it_was_cancelled() {
    let ((_pool, gate, task), log) = (gated(()), Log::new());
    let mut ev = EventLoop::on(&pool(1, 1));
    let action = ev.on_complete(task, log.note_end(2));
    ev.post(log.note(1));
    action.cancel();
    ev.post(log.note(3));
    assert_eq!(ev.turn(Duration::ZERO).ran(), 3);
    assert_eq!(log.take(), [1, 2, 3]);
    gate.open();
}

#[test]
fn dropping_the_token_does_nothing() {
    let ((pool, gate, task), log) = (gated(42), Log::new());
    let mut ev = EventLoop::on(&pool);
    let inner = log.clone();
    let token = ev.on_complete(task, move |_, result| inner.add(result.unwrap()));
    assert!(format!("{token:?}").contains("is_outstanding: true"));
    drop(token.clone());
    drop(token);
    gate.open();
    run(&mut ev);
    assert_eq!(log.take(), [42]);
}

#[test]
fn a_result_whose_destructor_panics_is_given_up_in_peace() {
    let pool = pool(1, 1);
    let (mut ev, log, drops) = (EventLoop::on(&pool), Log::new(), Drops::new());
    for has_ended in [false, true] {
        let value = PanicOnDrop(drops.clone());
        let task = pool.spawn(move || value);
        if has_ended {
            conclude(&pool);
        }
        let action = ev.on_complete(task, note_error(&log));
        conclude(&pool);
        action.cancel();
    }
    assert_eq!(drops.count(), 2);
    run(&mut ev);
    assert_eq!(log.take().len(), 2);
    check_sound(&pool);
}

#[test]
fn a_hook_that_runs_in_cancel_may_use_the_loop() {
    let (pool, started, leave) = (pool(1, 1), Gate::new(), Gate::new());
    let (mut ev, log) = (EventLoop::on(&pool), Log::new());
    let (announce, pass, remote) = (started.clone(), leave.clone(), ev.remote());
    let work = move || {
        let _guard = current::on_cancel(move || remote.post(|_| HEARD.set(true)).unwrap());
        announce.open();
        pass.pass();
    };
    let action = ev.offload(work, note_error(&log));
    started.pass();
    action.cancel();
    leave.open();
    run(&mut ev);
    assert!(HEARD.get() && log.take().remove(0).starts_with("true "));

    thread_local! { static HEARD: std::cell::Cell<bool> = const { std::cell::Cell::new(false) } }
}
