//! The global pool in the child of a fork: a fresh one with the same settings, while handles from
//! before the fork stay dead. Each test runs in a process of its own.
#![cfg(unix)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sidestep::Pool;

use crate::support::alone::{CORE, alone_as};
use crate::support::fork::in_child;
use crate::support::{Gate, occupy, soon};

fn alone(name: &str, environment: &[(&str, &str)], body: impl FnOnce()) {
    alone_as(&format!("fork::global::{name}"), environment, body);
}

/// polars, tokenizers: no pool in a forked child.
#[test]
fn a_child_has_a_fresh_one_with_the_same_settings() {
    alone("a_child_has_a_fresh_one_with_the_same_settings", &[(CORE, "2")], || {
        let captured = Arc::new(AtomicUsize::new(0));
        let captures = Arc::clone(&captured);
        let old = Pool::builder()
            .name("kept")
            .max_threads(9)
            .propagate(move || {
                captures.fetch_add(1, Ordering::SeqCst);
                |run: &mut dyn FnMut()| run()
            })
            .spawn_handler(|new| {
                std::thread::Builder::new().name(format!("by-hand-{}", new.name())).spawn(|| new.run())?;
                Ok(())
            })
            .build_global()
            .unwrap();
        let gate = Gate::new();
        let running = occupy(old, &gate);
        let before = captured.load(Ordering::SeqCst);
        let status = in_child(|list| {
            list.no_thread(old.spawn(|| 1).wait());
            let name = sidestep::spawn(|| std::thread::current().name().unwrap().to_owned()).wait();
            list.check(name.is_ok_and(|name| name.starts_with("by-hand-kept-")));
            list.check(captured.load(Ordering::SeqCst) > before);
            let text = format!("{:?}", Pool::global());
            list.check(text.contains("core_threads: 2, max_threads: 9"));
            list.no_thread(old.spawn(|| 1).wait());
            list.check(sidestep::block_on(sidestep::unblock(|| 6 * 7)) == 42);
            #[cfg(feature = "fs")]
            {
                let text = sidestep::block_on(sidestep::fs::read_to_string("Cargo.toml"));
                list.check(text.is_ok_and(|text| text.contains("sidestep")));
            }
            list.check(Pool::builder().build_global().is_err());
            list.check(Pool::global().shutdown().wait().still_running == 0);
            list.check(Pool::builder().name("another").build_global().is_ok());
            list.check(sidestep::spawn(|| 1).wait().is_ok());
            list.no_thread(running.wait());
        });
        assert_eq!(status, 0);
        gate.open();
        assert_eq!(soon(old.spawn(|| 1)).unwrap(), 1, "the parent's is as it was");
        assert!(std::ptr::eq(old, Pool::global()));
    });
}

#[test]
fn a_child_may_build_its_own_at_once() {
    alone("a_child_may_build_its_own_at_once", &[], || {
        sidestep::spawn(|| ()).wait().unwrap();
        let status = in_child(|list| {
            list.check(Pool::builder().name("childs").max_threads(3).build_global().is_ok());
            let name = sidestep::spawn(|| std::thread::current().name().unwrap().to_owned()).wait();
            list.check(name.is_ok_and(|name| name.starts_with("childs-")));
        });
        assert_eq!(status, 0);
    });
}

#[test]
fn children_of_children_have_theirs() {
    alone("children_of_children_have_theirs", &[], || {
        assert_eq!(sidestep::spawn(|| 1).wait().unwrap(), 1);
        let status = in_child(|list| {
            list.check(sidestep::spawn(|| 1).wait().is_ok());
            let first = Pool::global();
            let status = in_child(|list| {
                list.check(sidestep::spawn(|| 1).wait().is_ok());
                list.no_thread(first.spawn(|| 1).wait());
            });
            list.check(status == 0);
            list.check(first.spawn(|| 1).wait().is_ok());
        });
        assert_eq!(status, 0);
    });
}

/// A fork at any time: while others use the pool, and shut it down.
#[test]
fn a_fork_at_any_time_leaves_a_child_that_can_use_it() {
    alone("a_fork_at_any_time_leaves_a_child_that_can_use_it", &[], || {
        let stop = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for number in 0..2 {
                let stop = &stop;
                scope.spawn(move || {
                    while stop.load(Ordering::SeqCst) == 0 {
                        let _ = sidestep::spawn(|| 1).wait();
                        if number == 0 {
                            Pool::global().shutdown().wait();
                        }
                    }
                });
            }
            let failed = (0..60)
                .map(|_| in_child(|list| list.check(sidestep::spawn(|| 42).wait().ok() == Some(42))))
                .find(|status| *status != 0);
            stop.store(1, Ordering::SeqCst);
            assert_eq!(failed, None, "-1: it hung");
        });
    });
}

#[test]
fn a_task_may_fork_and_its_child_has_one_too() {
    alone("a_task_may_fork_and_its_child_has_one_too", &[], || {
        let task = sidestep::spawn(|| in_child(|list| list.check(sidestep::spawn(|| 42).wait().is_ok())));
        assert_eq!(soon(task).unwrap(), 0);
    });
}
