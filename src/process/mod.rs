//! Child processes that are run to their end: [`output`] and [`status`].
//!
//! This module needs the feature `fs`, which is a default one.
//!
//! ```
//! use std::process::Command;
//!
//! # #[cfg(unix)]
//! # sidestep::block_on(async {
//! let mut command = Command::new("echo");
//! command.arg("a line");
//! let output = sidestep::process::output(command).await?;
//! assert!(output.status.success());
//! assert_eq!(output.stdout, b"a line\n");
//! # std::io::Result::Ok(()) }).unwrap();
//! ```

// | file | owns |
// |---|---|
// | `mod` | the public functions |
// | `child` | a child that is waited for, and killed if nothing waits for it any more |
// | `orphan` | a killed child that is to be reaped |
// | `read_both` | the two streams of a child, read to their ends at once |

mod child;
mod orphan;
mod read_both;

use std::future::Future;
use std::io;
use std::panic::Location;
use std::process::{Command, ExitStatus, Output, Stdio};

use self::child::WatchedChild;
use self::read_both::{drain_until, read_both};
use crate::io::Unblock;

/// Runs a command to its end, and collects what it writes to its standard output and its standard
/// error. See [`Command::output`].
///
/// Both streams are pipes, whatever `command` says of them. Standard input is what `command` says,
/// which is that of this process if it says nothing: a command that must not read it has to get
/// [`Stdio::null`].
///
/// On Linux no thread waits: neither for the output nor for the end of the child, however many
/// children there are. Elsewhere, and on a Linux before 5.3, a thread of the global pool waits for
/// each child. The child is started on a thread of the global pool, with the signals of the process
/// (see [`current::with_process_signals`](crate::current::with_process_signals)).
///
/// # Errors
///
/// That of starting the command, of reading its output, or of waiting for it. A status that is no
/// success is no error.
///
/// # Cancellation
///
/// The command starts with the first poll. Dropping the future before it is ready kills the child
/// (`SIGKILL`), reaps it, and drops what it has written. Its own children are not killed: to end
/// them too, let the command make a process group, and send that a signal.
///
/// ```
/// use std::process::Command;
/// use std::time::Duration;
/// # async fn timeout<F: Future>(_: Duration, f: F) -> Option<F::Output> {
/// #     futures_lite::future::or(async { Some(f.await) }, async {
/// #         async_io::Timer::after(Duration::from_millis(20)).await;
/// #         None
/// #     }).await
/// # }
///
/// # #[cfg(unix)]
/// # sidestep::block_on(async {
/// let mut command = Command::new("sleep");
/// command.arg("1000");
/// // With a timeout of your runtime:
/// let end = timeout(Duration::from_secs(5), sidestep::process::output(command)).await;
/// assert!(end.is_none(), "by now the child is killed");
/// # });
/// ```
#[track_caller]
pub fn output(mut command: Command) -> impl Future<Output = io::Result<Output>> + Send + 'static {
    let site = Location::caller();
    async move {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = WatchedChild::start(command, site).await?;
        let (stdout, stderr) = child.take_pipes();
        let (stdout, stderr) = read_both(stdout.map(Unblock::new), stderr.map(Unblock::new)).await?;
        let status = child.end().await?;
        Ok(Output { status, stdout, stderr })
    }
}

/// Runs a command to its end. See [`Command::status`].
///
/// The child has the standard streams that `command` says; those of this process, if it says
/// nothing. What it writes to a pipe is read and lost: use [`output`].
///
/// # Errors
///
/// That of starting the command, or of waiting for it. A status that is no success is no error.
///
/// # Cancellation
///
/// As with [`output`]: dropping the future kills the child.
///
/// ```
/// use std::process::Command;
///
/// # #[cfg(unix)]
/// # sidestep::block_on(async {
/// let status = sidestep::process::status(Command::new("false")).await?;
/// assert_eq!(status.code(), Some(1));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[track_caller]
pub fn status(command: Command) -> impl Future<Output = io::Result<ExitStatus>> + Send + 'static {
    let site = Location::caller();
    async move {
        let mut child = WatchedChild::start(command, site).await?;
        let (stdout, stderr) = child.take_pipes();
        drain_until(stdout.map(Unblock::new), stderr.map(Unblock::new), child.end()).await
    }
}
