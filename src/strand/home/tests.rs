//! Tests of `home`.

use super::*;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

/// Counts its drops.
struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_second_visit_is_refused() {
    let home = Home::new(1);
    let visit = home.enter().ok().unwrap();
    assert_eq!(home.enter().err(), Some(Absence::Busy));
    visit.with(|value| *value += 1);
    assert_eq!(home.enter().ok().unwrap().take(), 2);
    assert_eq!(home.enter().err(), Some(Absence::Gone));
}

#[test]
fn a_panic_poisons_and_the_value_stays() {
    let home = Home::new(1);
    let panicking = || {
        home.enter().ok().unwrap().with(|value| {
            *value = 7;
            resume_unwind(Box::new("half done"))
        })
    };
    let panicked: Result<(), _> = catch_unwind(AssertUnwindSafe(panicking));
    assert!(panicked.is_err() && home.is_poisoned());
    assert_eq!(home.enter().err(), Some(Absence::Poisoned));
    home.clear_poison();
    assert_eq!(home.enter().ok().unwrap().take(), 7);
}

#[test]
fn the_value_is_dropped_once() {
    let drops = Rc::new(Cell::new(0));
    drop(Home::new(Counted(Rc::clone(&drops))));
    assert_eq!(drops.get(), 1);
    let mut home = Home::new(Counted(Rc::clone(&drops)));
    let taken = home.enter().ok().unwrap().take();
    assert!(home.take().is_none());
    drop(home);
    assert_eq!(drops.get(), 1);
    drop(taken);
    assert_eq!(drops.get(), 2);
}
