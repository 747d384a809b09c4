//! The global pool and its environment variables. Each test runs in a process of its own: this
//! binary again.

use std::io::ErrorKind;

use sidestep::{Pool, current};

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
        let gate = crate::support::Gate::new();
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
