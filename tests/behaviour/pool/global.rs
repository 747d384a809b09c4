//! The global pool and its environment variables. Each test runs in a process of its own: this
//! binary again.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sidestep::{Pool, current};

use crate::support::Gate;
use crate::support::alone::{CORE, MARK, MAX, alone_as, start};

/// Runs `body` as the test `name` of this file, alone in a process that has the given environment.
fn alone(name: &str, environment: &[(&str, &str)], body: impl FnOnce()) {
    alone_as(&format!("pool::global::{name}"), environment, body);
}

/// The same with one value of a variable after the other, each in a process of its own.
fn alone_for_each(name: &str, variable: &str, values: &[&str], body: impl FnOnce(&str)) {
    match std::env::var_os(MARK) {
        Some(_) => body(&std::env::var(variable).unwrap()),
        None => values.iter().for_each(|value| start(&format!("pool::global::{name}"), &[(variable, value)])),
    }
}

/// The limits of the global pool, as its `Debug` tells them.
fn has_limits(core: usize, max: usize) {
    let text = format!("{:?}", Pool::global());
    assert!(text.contains(&format!("core_threads: {core}, max_threads: {max}")), "{text}");
}

#[test]
fn both_variables_set_the_limits() {
    alone("both_variables_set_the_limits", &[(CORE, "3"), (MAX, "5")], || {
        has_limits(3, 5);
        let gate = Gate::new();
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let pass = gate.clone();
                sidestep::spawn(move || current::will_block(|| pass.pass()))
            })
            .collect();
        crate::support::eventually("all threads block", || Pool::global().metrics().threads_blocked() == 5);
        gate.open();
        tasks.into_iter().for_each(|task| task.wait().unwrap());
        assert_eq!(Pool::global().metrics().threads_peak(), 5);
    });
}

#[test]
fn one_variable_bends_the_default_of_the_other() {
    alone("one_variable_bends_the_default_of_the_other", &[(MAX, "1")], || has_limits(1, 1));
}

#[test]
fn spaces_around_a_number_do_no_harm() {
    alone("spaces_around_a_number_do_no_harm", &[(CORE, " 2 "), (MAX, "7\n")], || has_limits(2, 7));
}

#[test]
fn the_functions_of_the_root_use_the_global_pool() {
    alone("the_functions_of_the_root_use_the_global_pool", &[], || {
        assert_eq!(sidestep::spawn(|| 6 * 7).wait().unwrap(), 42);
        assert_eq!(sidestep::block_on(sidestep::unblock(|| 6 * 7)), 42);
        assert_eq!(Pool::global().metrics().tasks_completed(), 2);
        let other = Pool::new().unwrap();
        other.spawn(|| ()).wait().unwrap();
        assert_eq!(Pool::global().metrics().tasks_completed(), 2, "another pool is another pool");
    });
}

/// The global pool refuses every task with a sentence that names the variable and its value, and
/// nothing panics.
fn refuses(variable: &str, value: &str) {
    let error = sidestep::spawn(|| 1).wait().unwrap_err();
    let text = error.to_string();
    assert!(error.is_no_thread(), "{text}");
    assert!(text.contains(variable) && text.contains(value), "{text}");
    assert!(sidestep::block_on(sidestep::spawn(|| 1)).unwrap_err().is_no_thread());
    match Pool::global().try_spawn(|| 1) {
        Ok(task) => assert!(task.wait().unwrap_err().is_no_thread()),
        Err(rejected) => assert!(rejected.error().is_no_thread()),
    }
    let payload = std::panic::catch_unwind(|| sidestep::unblock(|| 1).wait()).unwrap_err();
    assert!(payload.downcast_ref::<String>().is_some_and(|text| text.contains(variable)));
    let metrics = Pool::global().metrics();
    assert_eq!((metrics.threads(), metrics.tasks_queued(), metrics.tasks_running()), (0, 0, 0));
    let error = Pool::builder().build_global().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(Pool::global().shutdown().wait().still_running, 0);
}

#[test]
fn a_value_that_is_no_number_is_told_by_name() {
    let values = ["many", "-1", "", "2.5", "18446744073709551616"];
    alone_for_each("a_value_that_is_no_number_is_told_by_name", CORE, &values, |value| refuses(CORE, value));
}

#[test]
fn a_number_that_is_no_limit_is_told_by_name() {
    let values = ["0", "99999999"];
    alone_for_each("a_number_that_is_no_limit_is_told_by_name", MAX, &values, |value| refuses(MAX, value));
}

#[test]
fn limits_that_contradict_each_other_are_told_by_name() {
    alone("limits_that_contradict_each_other_are_told_by_name", &[(CORE, "9"), (MAX, "3")], || {
        refuses(CORE, "9");
    });
}

#[test]
fn build_global_comes_first_or_not_at_all() {
    alone("build_global_comes_first_or_not_at_all", &[(CORE, "3")], || {
        let refused = Pool::builder().max_threads(0).build_global().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        let pool = Pool::builder().name("mine").max_threads(4).build_global().unwrap();
        has_limits(3, 4);
        assert!(std::ptr::eq(pool, Pool::global()));
        let name = sidestep::spawn(|| std::thread::current().name().map(str::to_owned)).wait().unwrap();
        assert!(name.is_some_and(|name| name.starts_with("mine-")));
        let again = Pool::builder().build_global().unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        assert!(again.to_string().contains("global"), "{again}");
        has_limits(3, 4);
    });
}

#[test]
fn build_global_after_the_first_use_is_refused() {
    alone("build_global_after_the_first_use_is_refused", &[], || {
        sidestep::spawn(|| ()).detach();
        let refused = Pool::builder().build_global().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    });
}

#[test]
fn a_builder_outranks_the_environment() {
    alone("a_builder_outranks_the_environment", &[(CORE, "many"), (MAX, "0")], || {
        Pool::builder().core_threads(2).max_threads(6).build_global().unwrap();
        has_limits(2, 6);
    });
}

#[test]
fn build_global_tells_of_an_impossible_variable() {
    alone("build_global_tells_of_an_impossible_variable", &[(CORE, "many")], || {
        let error = Pool::builder().build_global().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(CORE) && error.to_string().contains("many"), "{error}");
        Pool::builder().core_threads(1).build_global().unwrap();
    });
}

#[test]
fn a_pool_of_its_own_ignores_the_environment() {
    alone("a_pool_of_its_own_ignores_the_environment", &[(CORE, "many"), (MAX, "0")], || {
        assert_eq!(Pool::new().unwrap().spawn(|| 42).wait().unwrap(), 42);
    });
}

/// What the threads of the global pool are called now.
fn thread_name() -> String {
    sidestep::spawn(|| std::thread::current().name().unwrap_or_default().to_owned()).wait().unwrap()
}

#[test]
fn after_its_shutdown_the_next_use_makes_a_new_one_with_the_same_settings() {
    alone("after_its_shutdown_the_next_use_makes_a_new_one_with_the_same_settings", &[(CORE, "3")], || {
        let starts = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&starts);
        let old = Pool::builder()
            .name("mine")
            .max_threads(4)
            .on_thread_start(move || _ = counts.fetch_add(1, Ordering::SeqCst))
            .build_global()
            .unwrap();
        for round in 1..=5 {
            assert!(thread_name().starts_with("mine-"), "round {round}");
            has_limits(3, 4);
            let started = starts.load(Ordering::SeqCst);
            assert!(started >= round, "the hook is called in each of them");
            Pool::global().shutdown().wait();
            assert!(old.spawn(|| ()).wait().unwrap_err().is_shutdown(), "the old one stays shut down");
            assert_eq!(sidestep::block_on(sidestep::unblock(|| 6 * 7)), 42);
            assert!(!std::ptr::eq(old, Pool::global()));
            #[cfg(feature = "fs")]
            {
                let text = sidestep::block_on(sidestep::fs::read_to_string("Cargo.toml"));
                assert!(!text.unwrap().is_empty());
            }
        }
    });
}

#[test]
fn a_limit_that_was_changed_lasts() {
    alone("a_limit_that_was_changed_lasts", &[], || {
        Pool::global().set_max_threads(5).unwrap();
        Pool::global().shutdown().wait();
        assert!(format!("{:?}", Pool::global()).contains("max_threads: 5"));
    });
}

#[test]
fn build_global_works_again_once_the_global_pool_is_shut_down() {
    alone("build_global_works_again_once_the_global_pool_is_shut_down", &[], || {
        let (gate, old) = (Gate::new(), Pool::builder().name("old").build_global().unwrap());
        let running = crate::support::occupy(old, &gate);
        let ending = old.shutdown();
        let new = Pool::builder().name("new").max_threads(7).core_threads(2).build_global().unwrap();
        assert!(std::ptr::eq(new, Pool::global()));
        has_limits(2, 7);
        assert!(thread_name().starts_with("new-"), "while the old one drains");
        assert_eq!(Pool::builder().build_global().unwrap_err().kind(), ErrorKind::AlreadyExists);
        // A second shutdown of the old one is not one of the new one.
        drop(old.shutdown());
        assert!(thread_name().starts_with("new-"));
        gate.open();
        running.wait().unwrap();
        assert_eq!(ending.wait().still_running, 0);
        assert!(thread_name().starts_with("new-"));
    });
}

#[cfg(all(feature = "fs", feature = "event-loop"))]
#[test]
fn all_users_see_the_fresh_one() {
    alone("all_users_see_the_fresh_one", &[], || {
        use futures_lite::AsyncWriteExt;
        let directory = tempfile::tempdir().unwrap();
        sidestep::block_on(async {
            let mut file = sidestep::fs::File::create(directory.path().join("file")).await.unwrap();
            for _ in 0..3 {
                file.write_all(b"more ").await.unwrap();
                file.flush().await.unwrap();
                Pool::global().shutdown().await;
                let text = sidestep::fs::read_to_string(directory.path().join("file")).await.unwrap();
                assert!(text.ends_with("more "));
                assert!(sidestep::net::lookup_host("127.0.0.1:80").await.is_ok());
                assert_eq!(sidestep::Strand::new(41).call(|n| *n + 1).await.unwrap(), 42);
                assert_eq!(Pool::global().promise(|| Ok::<_, sidestep::TaskError>(42)).await.unwrap(), 42);
                let mut events = sidestep::EventLoop::new();
                events.offload(|| 42, |_, answer| assert_eq!(answer.unwrap(), 42));
                events.run();
            }
        });
    });
}

#[test]
fn users_and_shutdowns_at_the_same_time_find_one_pool_after_another() {
    alone("users_and_shutdowns_at_the_same_time_find_one_pool_after_another", &[(MAX, "4")], || {
        let (ran, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        match sidestep::spawn(|| 1).wait() {
                            Ok(_) => ran.fetch_add(1, Ordering::SeqCst),
                            Err(error) => {
                                assert!(error.is_shutdown(), "{error}");
                                refused.fetch_add(1, Ordering::SeqCst)
                            }
                        };
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(Pool::global().shutdown().wait().still_running, 0);
                }
            });
        });
        assert_eq!(ran.load(Ordering::SeqCst) + refused.load(Ordering::SeqCst), 2000);
        assert_eq!(sidestep::spawn(|| 7).wait().unwrap(), 7);
        Pool::global().shutdown().wait();
        #[cfg(target_os = "linux")]
        {
            let threads = std::fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap);
            let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
            assert_eq!(names.filter(|name| name.starts_with("sidestep-")).count(), 0, "none is left");
        }
    });
}

#[test]
fn a_pool_that_cannot_be_cannot_be_after_its_shutdown_either() {
    let name = "a_pool_that_cannot_be_cannot_be_after_its_shutdown_either";
    alone(name, &[(CORE, "many")], || {
        for _ in 0..3 {
            assert!(sidestep::spawn(|| 1).wait().unwrap_err().to_string().contains("many"));
            Pool::global().shutdown().wait();
        }
        Pool::builder().core_threads(1).build_global().unwrap();
        assert_eq!(sidestep::spawn(|| 1).wait().unwrap(), 1);
    });
}
