//! Tests of `metadata`.

use super::*;

/// What came of it, and how many times the closure was run and dropped unrun.
fn within(context: impl FnOnce(&mut dyn FnMut()) + Send + 'static) -> (Result<(), String>, u32, u32) {
    let (mut ran, mut dropped) = (0, 0);
    let run = || {
        ran += 1;
        None
    };
    let reason = run_within(context, run, || dropped += 1);
    let message = |reason| match reason {
        Reason::Panicked(payload) => crate::panic::panic_message(&*payload.into_inner()).to_owned(),
        other => panic!("{other:?}"),
    };
    (reason.map_or(Ok(()), |reason| Err(message(reason))), ran, dropped)
}

#[test]
fn the_closure_runs_once_whatever_the_context_does() {
    assert_eq!(within(|run| run()), (Ok(()), 1, 0));
    assert_eq!(within(|run| (0..3).for_each(|_| run())), (Ok(()), 1, 0));
    assert_eq!(within(|_| panic!("before")), (Err("before".to_owned()), 0, 1));
    let after = |run: &mut dyn FnMut()| {
        run();
        panic!("after");
    };
    assert_eq!(within(after), (Ok(()), 1, 0), "the work has been done");
    let (result, ran, dropped) = within(|_| ());
    assert!(result.unwrap_err().contains("did not run"));
    assert_eq!((ran, dropped), (0, 1));
}

#[test]
fn a_destructor_that_panics_changes_nothing() {
    let unrun = || panic!("the destructor");
    let reason = run_within(|_| (), || None, unrun);
    assert!(matches!(reason, Some(Reason::Panicked(_))));
}
