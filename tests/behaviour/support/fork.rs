//! Checks in a forked child, and how a child ends.

use sidestep::TaskError;

use super::PATIENCE;

/// Runs checks in a forked child and gives the number of the one that failed, or 0. They come as a
/// list, because a child must neither unwind into the test harness nor print.
pub(crate) fn in_child(checks: impl FnOnce(&mut Checks)) -> i32 {
    // SAFETY: the child runs this crate's code, which is meant to stand that, and leaves by
    // `_exit`.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            let mut list = Checks { done: 0, failed: 0 };
            let run = std::panic::AssertUnwindSafe(|| checks(&mut list));
            let unwound = std::panic::catch_unwind(run).is_err();
            let status = if unwound { 100 + list.done } else { list.failed };
            // SAFETY: it ends the child at once.
            unsafe { libc::_exit(status) }
        }
        child => exit_status(child),
    }
}

/// What a child has to say.
pub(crate) struct Checks {
    done: i32,
    failed: i32,
}

impl Checks {
    pub(crate) fn check(&mut self, holds: bool) {
        self.done += 1;
        if !holds && self.failed == 0 {
            self.failed = self.done;
        }
    }

    pub(crate) fn no_thread<T>(&mut self, end: Result<T, TaskError>) {
        self.check(end.is_err_and(|error| error.is_no_thread()));
    }
}

/// Waits for a child and kills it where it hangs.
pub(crate) fn exit_status(child: libc::pid_t) -> i32 {
    let begin = std::time::Instant::now();
    let mut status = 0;
    loop {
        // SAFETY: `child` is this thread's own, and not waited for yet.
        let waited = unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) };
        if waited == child && libc::WIFEXITED(status) {
            return libc::WEXITSTATUS(status);
        }
        if waited != 0 || begin.elapsed() > PATIENCE / 2 {
            // SAFETY: as above.
            unsafe { libc::kill(child, libc::SIGKILL) };
            // SAFETY: as above.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            return -1;
        }
        std::thread::yield_now();
    }
}
