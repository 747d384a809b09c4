//! Nested hosts of one thread.

use super::*;

/// A host that is only to be told apart.
struct Nobody(u8);

impl Host for Nobody {
    fn begin_blocking(&self) {}
    fn end_blocking(&self) {}
    fn run_inline(&self, _target: &TaskRef) -> Inline {
        Inline::Waits
    }
    fn begin_waiting(&self) {}
    fn end_waiting(&self) {}
    fn begin_deep_wait(&self, _parker: &Arc<Parker>, _target: Option<&TaskRef>) -> bool {
        true
    }
    fn run_wanted(&self) -> bool {
        false
    }
    fn want_room(&self) {}
    fn end_wanting_room(&self) {}
    fn first_wanted(&self) -> Option<TaskRef> {
        None
    }
    fn end_deep_wait(&self, _parker: &Arc<Parker>) {}
    fn watch(&self, _target: Option<&TaskRef>, _parker: &Arc<Parker>) {}
    fn open_scope(&self, _scope: *const ()) {}
    fn close_scope(&self, _scope: *const ()) {}
    fn unwatch(&self, _target: Option<&TaskRef>, _parker: &Arc<Parker>) {}
    fn has_queued(&self) -> bool {
        false
    }
    fn run_any_inline(&self) -> bool {
        false
    }
    fn run_inline_now(&self, _target: &TaskRef) -> bool {
        false
    }
    fn release_slots_early(&self) {}
    fn may_grow(&self) -> bool {
        false
    }
    fn begin_parking(&self) -> bool {
        true
    }
    fn end_parking(&self) {}
    fn retire(&self) {}
    fn owner(&self) -> *const () {
        (&raw const self.0).cast()
    }
}

#[test]
fn a_host_is_there_while_its_code_runs_and_not_longer() {
    let (outer, inner) = (Nobody(1), Nobody(2));
    let is_host = |expected: &Nobody| host().is_some_and(|host| host.owner() == expected.owner());
    with_host(&outer, || {
        assert!(is_host(&outer));
        with_host(&inner, || assert!(is_host(&inner)));
        assert!(is_host(&outer));
        let panic = || with_host(&inner, || std::panic::resume_unwind(Box::new(())));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panic)).is_err());
        assert!(is_host(&outer), "after a panic too");
    });
    assert!(host().is_none());
}
