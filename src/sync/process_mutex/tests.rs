//! What a process finds of the mutexes of its parent.

use std::rc::Rc;
use std::sync::Arc;

use super::*;
use crate::sys::fork;

/// Whether `holds` does in a forked child, which runs nothing else.
fn in_child(holds: impl FnOnce() -> bool) -> bool {
    fork::watch();
    // SAFETY: the child calls `holds`, which touches no lock of the parent, and leaves.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let status = i32::from(!holds());
        // SAFETY: it only ends the process.
        unsafe { libc::_exit(status) };
    }
    assert!(child > 0, "the system forks");
    let mut status = 0;
    // SAFETY: the status is ours, and the child is not waited for elsewhere.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    status == 0
}

#[test]
fn the_process_that_made_it_has_the_value() {
    let mutex = ProcessMutex::new(1);
    *mutex.lock().unwrap() += 1;
    assert!(!mutex.is_forked());
    assert_eq!(*mutex.lock().unwrap(), 2);
}

#[test]
fn a_child_has_no_value_even_where_the_parent_holds_the_lock() {
    let mutex = ProcessMutex::new(1);
    let other = ProcessMutex::new(2);
    let guard = other.lock().unwrap();
    assert!(in_child(|| { mutex.is_forked() && mutex.lock().is_none() && other.lock().is_none() }));
    drop(guard);
    assert_eq!((*mutex.lock().unwrap(), *other.lock().unwrap()), (1, 2));
}

#[test]
fn a_child_leaks_the_value_and_makes_mutexes_of_its_own() {
    let value = Rc::new(());
    let dropped = ProcessMutex::new(Rc::clone(&value));
    let count = Rc::clone(&value);
    assert!(in_child(move || {
        drop(dropped);
        let own = ProcessMutex::new(7);
        Rc::strong_count(&count) == 3 && own.lock().is_some()
    }));
}

#[test]
fn a_child_has_the_value_of_a_mutex_that_was_not_shared() {
    let (mut own, mut shared) = (Arc::new(ProcessMutex::new(1)), Arc::new(ProcessMutex::new(2)));
    let other = Arc::clone(&shared);
    let guard = other.lock().unwrap();
    assert!(in_child(|| {
        let value = Arc::get_mut(&mut own).and_then(ProcessMutex::get_mut_unshared);
        value.is_some_and(|value| *value == 1) && Arc::get_mut(&mut shared).is_none()
    }));
    drop(guard);
}
