//! Models of `home`.

use super::*;
use std::sync::Arc;

/// Two threads that both try: each that gets in sees what the other left, and the checker sees
/// no overlap.
#[test]
fn loom_visits_never_overlap() {
    loom::model(|| {
        let home = Arc::new(Home::new(0_u32));
        let other = Arc::clone(&home);
        let add = |home: &Home<u32>| home.enter().map(|visit| visit.with(|value| *value += 1)).is_ok();
        let thread = loom::thread::spawn(move || u32::from(add(&other)));
        let here = u32::from(add(&home));
        let there = thread.join().unwrap();
        assert!(here + there > 0, "one of them has been let in");
        assert_eq!(home.enter().ok().unwrap().take(), here + there);
    });
}

/// One takes the value for good while another visits.
#[test]
fn loom_a_value_is_taken_once() {
    loom::model(|| {
        let home = Arc::new(Home::new(Box::new(5)));
        let other = Arc::clone(&home);
        let thread = loom::thread::spawn(move || other.enter().ok().map(Visit::take));
        let here = home.enter().ok().map(Visit::take);
        let there = thread.join().unwrap();
        assert!(here.is_none() || there.is_none());
        let left = Arc::into_inner(home).and_then(|mut home| home.take());
        assert_eq!([here, there, left].into_iter().flatten().count(), 1);
    });
}
