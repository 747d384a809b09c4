//! Tests of `chain`.

use super::*;
use crate::promise::steps;
use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;
use std::task::Waker;

/// Neither of these two types is `Send`.
type Text = Rc<RefCell<String>>;
type Ended = Result<Text, TaskError>;

fn text(letter: &str) -> Text {
    Rc::new(RefCell::new(letter.to_owned()))
}

fn settled(end: Ended) -> Chain<LocalKind> {
    Chain::settled(end)
}

/// Adds a step as a method of a local promise does.
fn push(chain: &mut Chain<LocalKind>, step: impl FnOnce(Ended) -> Chain<LocalKind> + 'static) {
    chain.push(Box::new(move |value| step(LocalKind::downcast(value))));
}

fn append(chain: &mut Chain<LocalKind>, letter: &'static str) {
    let append = move |text: Text| {
        text.borrow_mut().push_str(letter);
        text
    };
    push(chain, steps::map(append, Location::caller()));
}

fn end(mut chain: Chain<LocalKind>) -> String {
    let Poll::Ready(value) = chain.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("it has nothing to wait for")
    };
    let ended: Ended = LocalKind::downcast(value);
    ended.expect("nothing has failed").take()
}

#[test]
fn steps_that_cannot_be_sent_run_in_order() {
    let log = text("");
    let (seen, finished) = (Rc::clone(&log), Rc::clone(&log));
    let mut chain = settled(Ok(text("a")));
    let fail = |_| -> Chain<LocalKind> { std::panic::resume_unwind(Box::new("lost")) };
    push(&mut chain, steps::then::<_, _, Text, _>(fail, Location::caller()));
    append(&mut chain, "x");
    let rescue = move |error: TaskError| {
        *seen.borrow_mut() = error.to_string();
        settled(Ok(text("b")))
    };
    push(&mut chain, steps::catch::<_, Text, _, TaskError>(rescue, Location::caller()));
    append(&mut chain, "c");
    let finish = move || finished.borrow_mut().push_str(", finished");
    push(&mut chain, steps::finally(finish, Location::caller()));
    push(&mut chain, steps::map_err(|error: TaskError| error, Location::caller()));
    assert_eq!(end(chain), "bc");
    assert!(log.borrow().ends_with("panicked: lost, finished"), "{log:?}");
}

#[test]
fn the_steps_of_a_chain_that_is_joined_come_first_whichever_has_more() {
    for (inner, outer) in [(0, 0), (0, 3), (1, 3), (3, 1), (3, 0)] {
        let mut chain = settled(Ok(text("")));
        let join = move |text| {
            let mut chain = settled(Ok(text));
            (0..inner).for_each(|_| append(&mut chain, "i"));
            chain
        };
        push(&mut chain, steps::then::<_, _, Text, _>(join, Location::caller()));
        (0..outer).for_each(|_| append(&mut chain, "o"));
        assert_eq!(end(chain), "i".repeat(inner) + &"o".repeat(outer));
    }
}

/// Calls when it is dropped.
struct Bell(Box<dyn Fn()>);

impl Drop for Bell {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_source_that_cannot_be_sent_is_waited_for_and_dropped_before_the_steps() {
    let order = text("");
    let bell = |letter: &'static str| {
        let order = Rc::clone(&order);
        Bell(Box::new(move || order.borrow_mut().push_str(letter)))
    };
    let (source, step) = (bell("source "), bell("step"));
    let mut chain = Chain::<LocalKind>::pending(Box::pin(async move {
        let _source = source;
        std::future::pending().await
    }));
    push(&mut chain, move |ended| {
        let _step = step;
        settled(ended)
    });
    assert!(chain.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(chain);
    assert_eq!(*order.borrow(), "source step");
}
