//! Files that are locked by many at a time. Who has an exclusive lock raises the number in the
//! file by one in three steps, so that two of them at a time lose one.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicIsize, AtomicU64, Ordering},
};

use futures_lite::future::{poll_once, yield_now};
use sidestep::fs::{File, TryLockError};

use crate::{
    dice::Dice,
    job,
    ledger::{equal, fault},
};

/// Locks that were had, exclusive and shared.
pub(crate) static LOCKS: AtomicU64 = AtomicU64::new(0);
/// Calls that were dropped, or refused at once.
pub(crate) static LOCKS_FORGONE: AtomicU64 = AtomicU64::new(0);

/// The inside of an exclusive section.
const ALONE: isize = -1;

/// A file with a number in it.
#[derive(Debug)]
struct Locked {
    path: PathBuf,
    /// How many have it locked shared, or [`ALONE`].
    inside: AtomicIsize,
    /// How often the number was raised.
    raised: AtomicU64,
}

/// The files, of which the last one is for the children of forks: a child has copies of what its
/// parent has locked, and would wait for itself.
#[derive(Debug)]
pub(crate) struct Locks([Locked; 3]);

impl Locks {
    pub(crate) fn new(folder: &Path) -> io::Result<Locks> {
        let paths = ["one lock", "another lock", "lock of children"].map(|name| folder.join(name));
        for path in &paths {
            std::fs::write(path, 0_u64.to_ne_bytes())?;
        }
        Ok(Locks(paths.map(|path| Locked { path, inside: AtomicIsize::new(0), raised: AtomicU64::new(0) })))
    }

    /// The file for children.
    #[cfg(unix)]
    pub(crate) fn of_children(&self) -> &Path {
        &self.0[2].path
    }

    /// A child has raised the number in its file.
    #[cfg(unix)]
    pub(crate) fn raised_by_child(&self) {
        self.0[2].raised.fetch_add(1, Ordering::SeqCst);
    }

    /// Asks for one of the locks, in one way or another.
    pub(crate) async fn visit(&self, dice: &mut Dice) {
        let locked = &self.0[dice.below(2)];
        if let Err(error) = locked.visit(dice).await {
            fault(format_args!("a locked file: {error}"));
        }
    }

    /// Compares the numbers in the files with the accounts, once all is quiet.
    pub(crate) fn check(&self) {
        for locked in &self.0 {
            let name = locked.path.display();
            equal(format_args!("inside of {name}"), locked.inside.load(Ordering::SeqCst), 0);
            match std::fs::read(&locked.path) {
                Ok(bytes) => {
                    let raised = locked.raised.load(Ordering::SeqCst);
                    equal(format_args!("the number in {name}"), bytes, raised.to_ne_bytes().to_vec());
                }
                Err(error) => fault(format_args!("{name}: {error}")),
            }
        }
    }
}

impl Locked {
    async fn visit(&self, dice: &mut Dice) -> io::Result<()> {
        let file = File::options().read(true).write(true).open(&self.path).await?;
        let is_shared = dice.one_in(3);
        let has_it = match dice.below(6) {
            0 if is_shared => poll_once(Box::pin(file.lock_shared())).await.transpose()?.is_some(),
            0 => poll_once(Box::pin(file.lock())).await.transpose()?.is_some(),
            1 if is_shared => at_once(file.try_lock_shared().await)?,
            1 => at_once(file.try_lock().await)?,
            _ if is_shared => file.lock_shared().await.map(|()| true)?,
            _ => file.lock().await.map(|()| true)?,
        };
        if !has_it {
            LOCKS_FORGONE.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        LOCKS.fetch_add(1, Ordering::Relaxed);
        if is_shared {
            self.look(dice).await
        } else {
            self.change(&file, dice).await?
        }
        // Closing the file releases it too.
        if dice.one_in(2) { file.unlock().await } else { Ok(()) }
    }

    async fn look(&self, dice: &mut Dice) {
        let before = self.inside.fetch_add(1, Ordering::SeqCst);
        if before < 0 {
            fault(format_args!("{} is locked shared and exclusively", self.path.display()));
        }
        linger(dice).await;
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }

    async fn change(&self, file: &File, dice: &mut Dice) -> io::Result<()> {
        if let Err(others) = self.inside.compare_exchange(0, ALONE, Ordering::SeqCst, Ordering::SeqCst) {
            fault(format_args!("{} is locked exclusively, beside {others}", self.path.display()));
        }
        raise(file, linger(dice)).await?;
        self.raised.fetch_add(1, Ordering::SeqCst);
        if self.inside.swap(0, Ordering::SeqCst) != ALONE {
            fault(format_args!("{} was entered while it was locked exclusively", self.path.display()));
        }
        Ok(())
    }
}

/// Raises the number in a file that is locked exclusively.
pub(crate) async fn raise(file: &File, meanwhile: impl Future<Output = ()>) -> io::Result<()> {
    let mut number = [0; 8];
    file.read_exact_at(&mut number, 0).await?;
    meanwhile.await;
    file.write_all_at(&(u64::from_ne_bytes(number) + 1).to_ne_bytes(), 0).await
}

fn at_once(result: Result<(), TryLockError>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

async fn linger(dice: &mut Dice) {
    match dice.below(4) {
        0 => {
            sidestep::unblock({
                let time = dice.micros(2_000);
                move || job::sleep(time)
            })
            .await
        }
        1 => yield_now().await,
        _ => {}
    }
}
