//! Tests that run in a process of their own: this binary again.

use std::process::Command;

/// Set in the process that a test has started.
pub(crate) const MARK: &str = "SIDESTEP_TEST_CHILD";
pub(crate) const CORE: &str = "SIDESTEP_CORE_THREADS";
pub(crate) const MAX: &str = "SIDESTEP_MAX_THREADS";

/// This binary, to be started again: by the emulator that runs it, where `SIDESTEP_TEST_RUNNER`
/// names one, since the system cannot start it by itself.
pub(crate) fn this_program() -> Command {
    let program = std::env::current_exe().unwrap();
    let Some(runner) = std::env::var_os("SIDESTEP_TEST_RUNNER") else { return Command::new(program) };
    let mut command = Command::new(runner);
    command.arg(program);
    command
}

/// Runs `body` as the test of this path, its module and its name, alone in a process that has the
/// given environment.
pub(crate) fn alone_as(path: &str, environment: &[(&str, &str)], body: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() { body() } else { start(path, environment) }
}

/// Runs the test of this path in a process of its own, and checks that it is there and passes.
pub(crate) fn start(path: &str, environment: &[(&str, &str)]) {
    let mut command = this_program();
    command.args([path, "--exact", "--nocapture"]);
    command.env_remove(CORE).env_remove(MAX).env(MARK, "1").envs(environment.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{environment:?}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "the test is called otherwise: {text}");
}
