//! A child process that is waited for, and killed if nothing waits for it any more.
//!
//! # How the end is seen
//!
//! A descriptor that stands for the child (`pidfd`) becomes readable when the child ends, so the
//! registry of `io::readiness` waits for it as for any other. Where there is none, a thread of the
//! global pool waits, without reaping. Either way the child is reaped by `try_wait`, by its owner.
//!
//! No end is missed: the owner asks `try_wait` first and leaves its waker after that, and the
//! registry reports a descriptor that has been readable before. A report for nothing is harmless.
//!
//! # Why no other process is killed
//!
//! The number of a child is free for others once the child is reaped. Only its owner reaps it, and
//! the owner kills it only if it has not; in a forked child the owner is a copy, and does neither.
//! A program may have the system, or a `waitpid` of its own, reap all children (`SIGCHLD` ignored):
//! then the number may be another process's before the owner learns of the end. A descriptor stands
//! for the child all the same, so it is killed by that; only where there is none, by its number, as
//! `std` does. An error of `try_wait` says that the child is gone, and it is not killed after that.

use std::future::poll_fn;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus};
use std::task::{Context, Poll};

use super::orphan;
use crate::io::ReadyWait;
use crate::pool::SpawnTarget;
use crate::sys::attributes::with_process_signals;
use crate::sys::child_end::{ChildFd, wait_without_reaping};
use crate::sys::descriptor::Direction;
use crate::sys::fork::Generation;
use crate::task::Task;

/// How the end of a child is waited for.
pub(super) enum EndWatch {
    /// The wait comes before what it waits for: it is dropped first.
    Descriptor(ReadyWait, ChildFd),
    /// By a thread, if that has been asked for.
    Thread(Option<Task<()>>),
}

/// A child that has not been reaped.
pub(super) struct WatchedChild {
    child: Option<Child>,
    watch: EndWatch,
    origin: Generation,
}

impl WatchedChild {
    /// Starts a child, on the global pool, for a caller at `site`.
    pub(super) async fn start(mut command: Command, site: &'static Location<'static>) -> io::Result<Self> {
        let start = move || {
            let mut child = with_process_signals(|| command.spawn())?;
            // A pipe to it is closed, as `std` does: there is nothing to come.
            child.stdin = None;
            let watch = match ChildFd::open(&child) {
                Some(fd) => EndWatch::Descriptor(ReadyWait::new(), fd),
                None => EndWatch::Thread(None),
            };
            Ok(WatchedChild { child: Some(child), watch, origin: Generation::current() })
        };
        SpawnTarget::FILES.spawn_at(start, site).await?
    }

    /// The child's ends of pipes, to be read.
    pub(super) fn take_pipes(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        match &mut self.child {
            Some(child) => (child.stdout.take(), child.stderr.take()),
            None => (None, None),
        }
    }

    /// Waits until the child has ended.
    pub(super) async fn end(mut self) -> io::Result<ExitStatus> {
        poll_fn(|context| self.poll_end(context)).await
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        if self.origin.is_past() {
            let lost = "this is the child of a fork: the process that was started is the parent's";
            return Poll::Ready(Err(io::Error::other(lost)));
        }
        let Some(child) = &mut self.child else { unreachable!("it is polled no more once it is ready") };
        loop {
            if let Some(end) = child.try_wait().transpose() {
                self.child = None;
                return Poll::Ready(end);
            }
            match &mut self.watch {
                EndWatch::Descriptor(wait, fd) => {
                    match wait.set(fd.number(), Direction::Read, context.waker().clone()) {
                        Ok(replaced) => {
                            drop(replaced);
                            return Poll::Pending;
                        }
                        Err(unused) => {
                            drop(unused);
                            self.watch = EndWatch::Thread(None);
                        }
                    }
                }
                EndWatch::Thread(task) => {
                    let id = child.id();
                    let waiting = task.get_or_insert_with(|| {
                        SpawnTarget::GLOBAL.options().spawn(move || wait_without_reaping(id))
                    });
                    std::task::ready!(Pin::new(waiting).poll(context))?;
                    *task = None;
                }
            }
        }
    }
}

impl Drop for WatchedChild {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if self.origin.is_past() {
            return;
        }
        // It may have ended, which is no error of `std` either.
        let _ = match &self.watch {
            EndWatch::Descriptor(_, fd) => fd.kill(),
            EndWatch::Thread(_) => child.kill(),
        };
        let watch = std::mem::replace(&mut self.watch, EndWatch::Thread(None));
        orphan::reap(child, watch);
    }
}
