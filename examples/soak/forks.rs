//! Forks in the middle of everything. In the child the parent's handles are dead, and the global
//! pool, files, locks and pipes work; it says by its exit status which of that fails.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_lite::future::block_on;
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _, future::join};
use sidestep::{Pool, Task, TaskError, Unblock, fs};

use crate::{
    hangs::Gate,
    ledger::{equal, fault},
    locks::{self, Locks},
    site::Site,
    steady,
};

/// Children that have ended well.
pub(crate) static CHILDREN: AtomicU64 = AtomicU64::new(0);
/// Seconds after which a child that hangs is ended by a signal.
const PATIENCE: u32 = 40;

/// Forks, and waits for the child.
pub(crate) fn visit(site: &Arc<Site>, locks: &Locks) {
    let gate = Gate::default();
    let opener = gate.opener();
    let before = Pool::global().spawn(move || gate.pass());
    match steady::fork() {
        -1 => fault(format_args!("fork: {}", io::Error::last_os_error())),
        0 => child(before, site, locks),
        id => {
            drop(opener);
            equal("the exit status of a child", wait_for(id), Ok(0));
            locks.raised_by_child();
            CHILDREN.fetch_add(1, Ordering::Relaxed);
            equal("a task from before a fork, in the parent", before.wait().is_ok(), true);
        }
    }
}

/// The exit status, or the signal that has ended it.
fn wait_for(child: libc::pid_t) -> Result<i32, i32> {
    let mut status = 0;
    // SAFETY: `child` is this thread's own, and not waited for yet.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } != child {}
    if libc::WIFEXITED(status) { Ok(libc::WEXITSTATUS(status)) } else { Err(libc::WTERMSIG(status)) }
}

fn child(before: Task<()>, site: &Site, locks: &Locks) -> ! {
    // SAFETY: it concerns this process alone.
    unsafe { libc::alarm(PATIENCE) };
    let checks = || check(before, site, locks).err().unwrap_or(0);
    let status = catch_unwind(AssertUnwindSafe(checks)).unwrap_or(100);
    // SAFETY: it ends the process at once.
    unsafe { libc::_exit(status) }
}

/// The number of what fails.
fn check(before: Task<()>, site: &Site, locks: &Locks) -> Result<(), i32> {
    let holds = |number, holds: bool| if holds { Ok(()) } else { Err(number) };
    let is_dead = |result: Result<(), TaskError>| result.is_err_and(|error| error.is_no_thread());
    holds(1, is_dead(before.wait()))?;
    holds(2, is_dead(site.pool.spawn(|| ()).wait()))?;
    holds(3, sidestep::spawn(|| 6 * 7).wait().is_ok_and(|value| value == 42))?;
    holds(4, block_on(raise(locks)).is_ok())?;
    holds(5, block_on(pipe()).is_ok_and(|read| read == b"through"))?;
    holds(6, Pool::global().shutdown().wait().still_running == 0)?;
    holds(7, sidestep::spawn(|| 6 * 7).wait().is_ok_and(|value| value == 42))
}

async fn raise(locks: &Locks) -> io::Result<()> {
    let file = fs::File::options().read(true).write(true).open(locks.of_children()).await?;
    file.lock().await?;
    locks::raise(&file, async {}).await?;
    file.unlock().await
}

async fn pipe() -> io::Result<Vec<u8>> {
    let (reader, writer) = io::pipe()?;
    let (mut reader, mut writer) = (Unblock::new(reader), Unblock::new(writer));
    let mut read = Vec::new();
    let send = async {
        writer.write_all(b"through").await?;
        writer.close().await
    };
    let (got, sent) = join(reader.read_to_end(&mut read), send).await;
    sent.and(got)?;
    Ok(read)
}
