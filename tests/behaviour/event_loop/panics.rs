//! A panic on the loop's thread comes out of the call that drives the loop, and costs nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use sidestep::EventLoop;

use super::{Log, conclude, run};
use crate::support::{Drops, PanicOnDrop, check_sound, pool, quiet_panic};

/// The number that comes out of `f` as a panic.
fn caught<R>(f: impl FnOnce() -> R) -> Option<u8> {
    catch_unwind(AssertUnwindSafe(f)).err().and_then(|payload| payload.downcast_ref::<u8>().copied())
}

#[test]
fn a_panic_of_an_action_is_an_error_for_its_callback() {
    let pool = pool(1, 1);
    let (mut ev, log) = (EventLoop::on(&pool), Log::new());
    let inner = log.clone();
    ev.offload(
        || quiet_panic(7_u8),
        move |_, end: Result<(), _>| inner.add(end.unwrap_err().try_into_panic().is_ok()),
    );
    run(&mut ev);
    assert_eq!(log.take(), [true]);
    check_sound(&pool);
}

#[test]
fn a_panic_of_a_callback_comes_out_of_run_and_the_rest_stays_in_line() {
    let pool = pool(1, 1);
    let (mut ev, log) = (EventLoop::on(&pool), Log::new());
    let remote = ev.remote();
    ev.post(log.note("before"));
    ev.post(|_| quiet_panic(1_u8));
    ev.post(log.note("after"));
    ev.offload(|| (), |_, _| quiet_panic(2_u8));
    conclude(&pool);
    ev.offload(|| (), log.note_end("action"));
    conclude(&pool);
    remote.post(|_| quiet_panic(3_u8)).unwrap();
    ev.after(Duration::ZERO, |_| quiet_panic(4_u8));
    ev.post(log.note("last"));
    assert_eq!(caught(|| ev.run()), Some(1));
    assert_eq!(log.take(), ["before"]);
    // A new one comes after what is left.
    ev.post(log.note("new"));
    assert_eq!(caught(|| ev.turn(Duration::ZERO)), Some(2));
    assert_eq!(log.take(), ["after"]);
    assert_eq!(caught(|| ev.run()), Some(3));
    assert_eq!(log.take(), ["action"]);
    assert_eq!(caught(|| ev.run_until(std::future::pending::<()>())), Some(4));
    assert_eq!(log.take(), ["last"]);
    run(&mut ev);
    assert_eq!(log.take(), ["new"]);
    check_sound(&pool);
}

#[test]
fn a_local_future_that_panics_is_gone() {
    let (mut ev, log, drops) = (EventLoop::on(&pool(1, 1)), Log::new(), Drops::new());
    let token = drops.token();
    ev.spawn_local(async move {
        let _token = token;
        quiet_panic(1_u8);
    });
    let second = PanicOnDrop(drops.clone());
    let mut polls = 0;
    ev.spawn_local(std::future::poll_fn(move |context| {
        let _ = &second;
        polls += 1;
        context.waker().wake_by_ref();
        if polls == 2 { quiet_panic(2_u8) } else { std::task::Poll::Pending }
    }));
    ev.post(log.note("after"));
    assert_eq!(caught(|| ev.run()), Some(1));
    assert_eq!(drops.count(), 1);
    assert_eq!(caught(|| ev.run()), Some(2), "not the panic of its destructor");
    assert_eq!((drops.count(), log.take()), (2, vec!["after"]));
    run(&mut ev);
    assert!(ev.turn(Duration::ZERO).is_done());
}

#[test]
fn the_future_of_run_until_may_panic() {
    let (mut ev, log) = (EventLoop::on(&pool(1, 1)), Log::new());
    ev.post(log.note("kept"));
    assert_eq!(caught(|| ev.run_until(async { quiet_panic(1_u8) })), Some(1));
    assert_eq!(log.take(), [""; 0]);
    let turn = ev.turn(Duration::ZERO);
    assert_eq!((turn.ran(), turn.is_done(), log.take()), (1, true, vec!["kept"]));
}
