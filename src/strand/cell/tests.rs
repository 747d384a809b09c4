//! Tests of `cell`.

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
fn a_second_access_is_refused() {
    let cell = ExclusiveCell::new(1);
    let access = cell.access().ok().unwrap();
    assert_eq!(cell.access().err(), Some(AccessError::Locked));
    access.with(|value| *value += 1);
    assert_eq!(cell.access().ok().unwrap().take(), 2);
    assert_eq!(cell.access().err(), Some(AccessError::Taken));
}

#[test]
fn a_panic_poisons_and_the_value_stays() {
    let cell = ExclusiveCell::new(1);
    let panicking = || {
        cell.access().ok().unwrap().with(|value| {
            *value = 7;
            resume_unwind(Box::new("half done"))
        })
    };
    let panicked: Result<(), _> = catch_unwind(AssertUnwindSafe(panicking));
    assert!(panicked.is_err() && cell.is_poisoned());
    assert_eq!(cell.access().err(), Some(AccessError::Poisoned));
    cell.clear_poison();
    assert_eq!(cell.access().ok().unwrap().take(), 7);
}

#[test]
fn the_value_is_dropped_once() {
    let drops = Rc::new(Cell::new(0));
    drop(ExclusiveCell::new(Counted(Rc::clone(&drops))));
    assert_eq!(drops.get(), 1);
    let mut cell = ExclusiveCell::new(Counted(Rc::clone(&drops)));
    let taken = cell.access().ok().unwrap().take();
    assert!(cell.take().is_none());
    drop(cell);
    assert_eq!(drops.get(), 1);
    drop(taken);
    assert_eq!(drops.get(), 2);
}
