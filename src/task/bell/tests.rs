//! Tests of `bell`.

use super::*;
use crate::sys::fork;

/// The pool's thread that was in the middle of listing a task is not in the child; the child may
/// cancel another task of the batch, or drop the batch.
#[test]
fn in_a_child_no_group_is_waited_for_although_a_thread_of_the_parent_had_it() {
    fork::watch();
    let group = Arc::new(Group::default());
    let held = group.state.lock();
    // SAFETY: the child touches no lock of the parent but the group's, and leaves; where it hangs,
    // the alarm ends it.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: it only sets a timer.
        unsafe { libc::alarm(20) };
        Bell::Group(Arc::clone(&group)).ring(TaskId(1));
        let told = group.next(Waker::noop());
        group.forget_waker();
        // SAFETY: it only ends the process.
        unsafe { libc::_exit(i32::from(told.is_some())) };
    }
    assert!(child > 0, "the system forks");
    let mut status = -1;
    // SAFETY: the status is ours, and the child is not waited for elsewhere.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(status, 0, "the child waits for the group");
    drop(held);
    Bell::Group(Arc::clone(&group)).ring(TaskId(2));
    assert_eq!(group.next(Waker::noop()), Some(TaskId(2)), "what the child did stayed there");
}
