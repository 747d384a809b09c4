//! What else is awake on the machine while a case runs, and on how many CPUs the case may run.

use std::env;
use std::io::{Read, Write, stdin, stdout};
use std::process::{self, Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::system;

/// The surroundings of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surroundings {
    /// Whatever the machine does anyway: nothing, where the program that starts the run sleeps and
    /// no other is awake.
    Idle,
    /// So many other programs that use all the CPU time they get.
    Hogs(usize),
    /// Only so many CPUs for the run, and no other program that is awake.
    Cpus(usize),
}

impl Surroundings {
    /// Makes them for this process. To be called before it starts a thread: what it has started
    /// already may run on any CPU.
    pub(crate) fn enter(self) -> Result<Hogs> {
        let mut hogs = Hogs(Vec::new());
        match self {
            Self::Idle => {}
            Self::Hogs(count) => {
                for _ in 0..count {
                    hogs.add()?;
                }
            }
            Self::Cpus(count) => system::pin(count).context("cannot keep the run on some CPUs")?,
        }
        Ok(hogs)
    }
}

/// The hogs of a run; they end with it.
#[derive(Debug)]
pub(crate) struct Hogs(Vec<Child>);

impl Hogs {
    /// Starts one more, and returns when it is awake.
    fn add(&mut self) -> Result<()> {
        let mut command = Command::new(env::current_exe().context("cannot find this program")?);
        command.arg("hog").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut hog = command.spawn().context("cannot start a hog")?;
        let mut awake = Vec::new();
        let sign = hog.stdout.take().context("the hog has no stdout")?;
        self.0.push(hog);
        sign.take(1).read_to_end(&mut awake).context("cannot hear the hog")?;
        ensure!(!awake.is_empty(), "the hog ended at once");
        Ok(())
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            // It may have ended; then there is nothing to do.
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}

/// Uses all the CPU time there is until the program that has started this one is gone.
pub(crate) fn hog() -> ! {
    thread::spawn(|| {
        // The end of the pipe, or an error: the other program holds its end no more.
        let _ = stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
    let _ = stdout().write_all(b"!").and_then(|()| stdout().flush());
    loop {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_else_is_awake_beside_an_idle_run() {
        assert!(Surroundings::Idle.enter().unwrap().0.is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_run_may_be_kept_on_one_cpu() {
        let pinned = || Surroundings::Cpus(1).enter().map(|_| system::allowed_cpus().len());
        assert_eq!(thread::spawn(pinned).join().unwrap().unwrap(), 1);
    }
}
