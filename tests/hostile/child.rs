//! A test that is run again, alone in a process of its own, and judged from outside.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a child is to do, for tests with several of them.
const CASE: &str = "HOSTILE_CASE";
/// No child takes a hundredth of it, unless it hangs or the machine is very busy.
const LIMIT: Duration = Duration::from_secs(600);

/// A process that runs the calling test. Its drop ends it.
pub(crate) struct Child {
    process: std::process::Child,
    begun: Instant,
    output: File,
    case: String,
}

/// How a child has ended.
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    /// What it has printed, both streams together.
    pub(crate) output: String,
}

/// Starts the calling test in a process of its own, as changed by `setup`. `None` in that process.
pub(crate) fn start_with(
    case: &str,
    setup: impl for<'a> FnOnce(&'a mut Command) -> &'a mut Command,
) -> Option<Child> {
    if is_child() {
        return None;
    }
    let test = thread::current().name().unwrap().to_owned();
    let output = tempfile::tempfile().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&test, "--exact", "--nocapture", "--test-threads=1"]).env(CASE, case);
    command.env_remove("SIDESTEP_CORE_THREADS").env_remove("SIDESTEP_MAX_THREADS");
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output.try_clone().unwrap());
    setup(&mut command);
    let process = command.spawn().unwrap();
    Some(Child { process, begun: Instant::now(), output, case: case.to_owned() })
}

/// Starts the calling test in a process of its own. `None` in that process.
pub(crate) fn start() -> Option<Child> {
    start_with("", |command| command)
}

/// Runs `body` alone in a process; the test passes if it does.
pub(crate) fn alone(body: impl FnOnce()) {
    match start() {
        Some(child) => child.passes(),
        None => body(),
    }
}

pub(crate) fn is_child() -> bool {
    std::env::var_os(CASE).is_some()
}

/// What this child is to do.
pub(crate) fn case() -> String {
    std::env::var(CASE).unwrap()
}

/// Says why a test cannot be made here, and ends the child as if it had passed.
#[cfg(target_os = "linux")]
pub(crate) fn cannot(what: &str) {
    println!("not here: {what}: {}", std::io::Error::last_os_error());
}

impl Child {
    #[cfg(unix)]
    pub(crate) fn id(&self) -> libc::pid_t {
        self.process.id().cast_signed()
    }

    /// Whether it has, which must be so within the limit.
    pub(crate) fn has_ended(&mut self) -> bool {
        let has_ended = self.process.try_wait().unwrap().is_some();
        let hangs = !has_ended && self.begun.elapsed() > LIMIT;
        assert!(!hangs, "case {:?} hangs; it has printed:\n{}", self.case, self.printed());
        has_ended
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> End {
        while !self.has_ended() {
            thread::sleep(Duration::from_millis(2));
        }
        End { status: self.process.wait().unwrap(), output: self.printed() }
    }

    /// It must end with the test passed.
    pub(crate) fn passes(self) {
        let case = self.case.clone();
        let End { status, output } = self.end();
        assert!(status.success(), "case {case:?}: {status}\n{output}");
        assert!(output.contains("1 passed"), "case {case:?}: no such test\n{output}");
        if let Some(why) = output.lines().find(|line| line.starts_with("not here")) {
            println!("{why}");
        }
    }

    /// It must end with this exit code, and without a panic.
    pub(crate) fn exits(self, code: i32) {
        let case = self.case.clone();
        let End { status, output } = self.end();
        assert_eq!(status.code(), Some(code), "case {case:?}: {status}\n{output}");
        assert!(!output.contains("panicked"), "case {case:?}\n{output}");
    }

    fn printed(&self) -> String {
        let (mut bytes, mut output) = (Vec::new(), &self.output);
        output.seek(SeekFrom::Start(0)).unwrap();
        output.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Nothing is left to do if it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
