//! Locks of open files, without a thread that waits.
//!
//! | file | owns |
//! |---|---|
//! | `queues` | who waits, whose turn it is, what is held: the protocol and its proof |
//! | `table` | the queues of this process behind their lock, and the timer |
//! | `call` | one call, and one question of it to the system |

mod call;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
mod queues;
mod table;

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, OnceLock};

use self::call::LockCall;
use self::queues::LockKind;
use self::table::{LockTable, OpenRecord};
use super::File;
use crate::fs::TryLockError;
use crate::sys::{file_id, file_lock};

impl File {
    /// Acquires an exclusive lock on the file, and waits while another open file has it locked.
    /// [`unlock`](File::unlock) releases it, and so does closing the file.
    ///
    /// The lock is advisory on most systems, and belongs to the open file: another
    /// [`open`](File::open) of the same path is refused in this process too, and
    /// [clones](File::try_clone) share the lock.
    ///
    /// However many calls wait, they take no thread. Those of one process get the lock in the order
    /// in which they have asked for it. When a `File` of this process releases the lock, the next
    /// call tries at once; while another process or a [`std::fs::File`] has it, the first call
    /// tries again at intervals of 1 ms at first and 50 ms at most. Where the system has to be
    /// asked on the pool which file a handle has open (all but Linux with glibc), the first call of
    /// an open file takes its place when that is known. Where the file system does not know it
    /// (some of Windows), each open file asks for itself, in no order.
    ///
    /// If this open file has a shared lock, that is converted, before all calls that wait. If the
    /// conversion has to wait the shared lock is released first, as by `flock`.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::try_lock`].
    ///
    /// # Cancellation
    ///
    /// A dropped call waits no more, and leaves the file unlocked, unless an earlier call has
    /// locked it. If a thread of the pool is asking the system at that moment it may find the lock
    /// free: it releases it again at once.
    ///
    /// ```
    /// # sidestep::block_on(async {
    /// use sidestep::fs::File;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let (path, file) = (dir.path().join("lock"), File::create(dir.path().join("lock")).await?);
    /// file.lock().await?;
    /// assert!(File::open(&path).await?.try_lock().await.is_err());
    /// file.unlock().await?;
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    #[doc(alias = "flock")]
    pub async fn lock(&self) -> io::Result<()> {
        Ok(self.acquire(LockKind::Exclusive, false).await?)
    }

    /// Acquires a shared (read) lock on the file, and waits while another open file has an
    /// exclusive lock. Any number of open files may have shared locks at a time. A call that waits
    /// for an exclusive lock is not passed by later ones for a shared lock. Otherwise as
    /// [`lock`](File::lock).
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of
    /// [`std::fs::File::try_lock_shared`].
    pub async fn lock_shared(&self) -> io::Result<()> {
        Ok(self.acquire(LockKind::Shared, false).await?)
    }

    /// Tries to acquire an exclusive lock, without waiting for other open files.
    ///
    /// On Unix, an open file that has a shared lock loses it if the conversion fails.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if another open file has a lock, or a call of this process
    /// waits for one; else as for [`lock`](File::lock).
    pub async fn try_lock(&self) -> Result<(), TryLockError> {
        self.acquire(LockKind::Exclusive, true).await
    }

    /// Tries to acquire a shared (read) lock, without waiting for other open files.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if another open file has an exclusive lock, or a call of this
    /// process waits for one; else as for [`lock_shared`](File::lock_shared).
    pub async fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.acquire(LockKind::Shared, true).await
    }

    /// Releases the lock, once what was accepted has been written. The call that has waited longest
    /// for the lock then tries to acquire it.
    ///
    /// It takes no trip to the pool, all of whose threads may be in use.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::unlock`].
    pub async fn unlock(&self) -> io::Result<()> {
        self.written().await?;
        match self.lock.record.get() {
            Some(record) => record.unlock(|| file_lock::unlock(&self.file)),
            None => file_lock::unlock(&self.file),
        }
    }

    async fn acquire(&self, kind: LockKind, tries: bool) -> Result<(), TryLockError> {
        self.written().await.map_err(TryLockError::Error)?;
        let record = self.lock_record().await.map_err(TryLockError::Error)?;
        let call = LockCall::join(&self.file, record, kind, tries)?;
        loop {
            let attempt = poll_fn(|context| call.poll_turn(context)).await.map_err(TryLockError::Error)?;
            let result = self.fs().offload(move || Ok(attempt.run())).await.map_err(TryLockError::Error)?;
            match result {
                Ok(()) => {
                    call.confirm();
                    return Ok(());
                }
                Err(TryLockError::WouldBlock) if !tries => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What this process knows of the open file. The first call may have to ask the system which
    /// file it is.
    async fn lock_record(&self) -> io::Result<&Arc<OpenRecord>> {
        if let Some(record) = self.lock.record.get() {
            return Ok(record);
        }
        let id = match file_id::at_once(&self.file) {
            Some(id) => Some(id),
            None => {
                let file = Arc::clone(&self.file);
                self.fs().offload(move || file_id::ask(&file)).await?
            }
        };
        let record = LockTable::of_process().open(id, self.lock.came_from_outside)?;
        Ok(self.lock.record.get_or_init(|| record))
    }
}

/// What the clones of an open file share about its lock.
#[derive(Default)]
pub(super) struct FileLock {
    /// It may have been locked before it was made a [`File`].
    came_from_outside: bool,
    /// Made by the first call that wants the lock.
    record: OnceLock<Arc<OpenRecord>>,
}

impl FileLock {
    /// That of a file that comes from outside.
    pub(super) fn unknown() -> Self {
        FileLock { came_from_outside: true, record: OnceLock::new() }
    }
}
