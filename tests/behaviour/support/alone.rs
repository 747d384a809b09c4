//! Tests that run in a process of their own: this binary again.

use std::process::Command;

pub(crate) const MARK: &str = "SIDESTEP_TEST_CHILD";

pub(crate) const CORE: &str = "SIDESTEP_CORE_THREADS";

pub(crate) const MAX: &str = "SIDESTEP_MAX_THREADS";

/// The same for a test of any file; `path` is its module and its name.
pub(crate) fn alone_as(path: &str, environment: &[(&str, &str)], body: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() { body() } else { start(path, environment) }
}

pub(crate) fn start(path: &str, environment: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([path, "--exact", "--nocapture"]);
    command.env_remove(CORE).env_remove(MAX).env(MARK, "1").envs(environment.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{environment:?}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "the test is called otherwise: {text}");
}
