//! Other processes from inside of tasks, many at once: by `posix_spawn`, by `fork` and `exec`, by
//! `vfork`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use sidestep::Pool;

use crate::child::alone;
use crate::support::{check_sound, pool};

/// Runs `true` and `false` in turn, from many tasks beside others, and judges their ends.
fn run_many(pool: &Pool, prepare: fn(&mut Command)) {
    let others: Vec<_> = (0..500).map(|number| pool.spawn(move || number)).collect();
    let commands: Vec<_> = (0..40)
        .map(|number| {
            pool.spawn(move || {
                let mut command = Command::new("sh");
                command.args(["-c", &format!("exit {number}")]);
                prepare(&mut command);
                command.status().unwrap().code()
            })
        })
        .collect();
    for (number, task) in (0..).zip(commands) {
        assert_eq!(task.wait().unwrap(), Some(number));
    }
    assert_eq!(others.into_iter().map(|task| task.wait().unwrap()).sum::<i32>(), 499 * 500 / 2);
    check_sound(pool);
}

#[test]
fn commands_by_posix_spawn() {
    alone(|| run_many(&pool(2, 16), |_| {}));
}

#[test]
fn commands_by_fork_and_exec() {
    // With something to do in the child, `std` forks.
    alone(|| {
        run_many(&pool(2, 16), |command| {
            // SAFETY: it does nothing, which a child may do.
            unsafe { command.pre_exec(|| Ok(())) };
        });
    });
}

#[test]
#[cfg(target_os = "linux")]
fn commands_by_vfork() {
    alone(|| {
        let pool = pool(2, 8);
        let shell = c"/bin/sh";
        let tasks: Vec<_> = (0..20).map(|_| pool.spawn(move || run_by_vfork(shell))).collect();
        let old = pool.spawn(|| 42);
        for task in tasks {
            assert_eq!(task.wait().unwrap(), 9);
        }
        assert_eq!(old.wait().unwrap(), 42, "this process is no child of a fork");
        check_sound(&pool);
    });
}

/// The exit code of `exit 9` in `shell`. The child has this thread's memory until it becomes
/// another program.
#[cfg(target_os = "linux")]
#[expect(deprecated, reason = "it is what old libraries use")]
fn run_by_vfork(shell: &std::ffi::CStr) -> i32 {
    let arguments = [shell.as_ptr(), c"-c".as_ptr(), c"exit 9".as_ptr(), std::ptr::null()];
    // SAFETY: the child only calls `execv` and `_exit`.
    match unsafe { libc::vfork() } {
        -1 => panic!("vfork: {}", std::io::Error::last_os_error()),
        0 => {
            // SAFETY: the strings end, and so does their list.
            unsafe { libc::execv(shell.as_ptr(), arguments.as_ptr()) };
            // SAFETY: it ends the child.
            unsafe { libc::_exit(1) }
        }
        child => {
            let mut status = 0;
            // SAFETY: `child` is this thread's own, and `status` is valid for writing.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            libc::WEXITSTATUS(status)
        }
    }
}
