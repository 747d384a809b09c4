//! Models of `cell`.

use super::*;
use std::sync::Arc;

/// Two threads try to access the value: a thread that succeeds sees what the other one wrote, and
/// the checker sees no overlap.
#[test]
fn loom_accesses_never_overlap() {
    loom::model(|| {
        let cell = Arc::new(ExclusiveCell::new(0_u32));
        let other = Arc::clone(&cell);
        let add =
            |cell: &ExclusiveCell<u32>| cell.access().map(|access| access.with(|value| *value += 1)).is_ok();
        let thread = loom::thread::spawn(move || u32::from(add(&other)));
        let here = u32::from(add(&cell));
        let there = thread.join().unwrap();
        assert!(here + there > 0, "one of them has accessed the value");
        assert_eq!(cell.access().ok().unwrap().take(), here + there);
    });
}

/// Two threads try to take the value for good.
#[test]
fn loom_a_value_is_taken_once() {
    loom::model(|| {
        let cell = Arc::new(ExclusiveCell::new(Box::new(5)));
        let other = Arc::clone(&cell);
        let thread = loom::thread::spawn(move || other.access().ok().map(Access::take));
        let here = cell.access().ok().map(Access::take);
        let there = thread.join().unwrap();
        assert!(here.is_none() || there.is_none());
        let left = Arc::into_inner(cell).and_then(|mut cell| cell.take());
        assert_eq!([here, there, left].into_iter().flatten().count(), 1);
    });
}
