//! Tests of `metadata`.

use super::*;

fn within(context: impl FnOnce(&mut dyn FnMut()) + Send + 'static) -> Result<i32, String> {
    let result = run_within(Box::new(context), || 42);
    result.map_err(|payload| crate::panic::panic_message(&*payload).to_owned())
}

#[test]
fn the_closure_runs_once_whatever_the_context_does() {
    assert_eq!(within(|run| run()), Ok(42));
    assert_eq!(within(|run| (0..3).for_each(|_| run())), Ok(42));
    assert_eq!(within(|_| panic!("before")), Err("before".to_owned()));
    let after = |run: &mut dyn FnMut()| {
        run();
        panic!("after");
    };
    assert_eq!(within(after), Ok(42), "the work has been done");
    assert!(within(|_| ()).unwrap_err().contains("did not run"));
}

#[test]
fn a_panic_of_the_closure_does_not_unwind_the_context() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let context = move |run: &mut dyn FnMut()| {
        run();
        sender.send("restored").unwrap();
    };
    let result = run_within(Box::new(context), || panic!("the closure"));
    let result: Result<(), _> = result;
    assert!(result.is_err());
    assert_eq!(receiver.recv(), Ok("restored"));
}
