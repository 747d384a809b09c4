//! Locks of open files. A call that is dropped while it waits must neither keep the lock nor take
//! it from a later call.
//!
//! A thread that waits for a lock cannot be called back, and the lock belongs to the open file, not
//! to the call. When such a thread acquires the lock after its call was dropped, the lock is an
//! *orphan*: no call waits for it. By then another call may have returned that the file is locked.
//! So an orphan lock is released only if the last call that ended well did not lock, and if no
//! call is in progress that may still do so. [`LockIntents`] counts these calls. Its mutex is held
//! around the unlocking, so no call can begin in between.
//!
//! In a forked child nothing is released: the open file, and with it the lock, is the parent's too.

use std::io;
use std::sync::Arc;

use super::File;
use crate::fs::TryLockError;
use crate::sync::ProcessMutex;

impl File {
    /// Acquires an exclusive lock on the file, and waits while another open file has it locked.
    /// [`unlock`](File::unlock) releases it, and so does closing the file.
    ///
    /// The lock is advisory on most systems, and belongs to the open file: another
    /// [`open`](File::open) of the same path is refused in this process too, and
    /// [clones](File::try_clone) share the lock.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::lock`].
    ///
    /// # Cancellation
    ///
    /// A thread of the pool goes on waiting for the lock. When it acquires the lock it releases it
    /// at once, unless a later call has locked the file: so it is safe to try again after a
    /// timeout. Try the same kind of lock then: the one that was given up may still come, and an
    /// open file has only one, the last.
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
        Ok(self.acquire(|file| file.lock().map_err(TryLockError::Error)).await?)
    }

    /// Acquires a shared (read) lock on the file, and waits while another open file has an
    /// exclusive lock. Any number of open files may have shared locks at a time. Otherwise as
    /// [`lock`](File::lock).
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::lock_shared`].
    pub async fn lock_shared(&self) -> io::Result<()> {
        Ok(self.acquire(|file| file.lock_shared().map_err(TryLockError::Error)).await?)
    }

    /// Tries to acquire an exclusive lock, without waiting for other open files.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if another open file has a lock; else as for
    /// [`lock`](File::lock).
    pub async fn try_lock(&self) -> Result<(), TryLockError> {
        self.acquire(std::fs::File::try_lock).await
    }

    /// Tries to acquire a shared (read) lock, without waiting for other open files.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if another open file has an exclusive lock; else as for
    /// [`lock_shared`](File::lock_shared).
    pub async fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.acquire(std::fs::File::try_lock_shared).await
    }

    /// Releases the lock, once what was accepted has been written.
    ///
    /// It takes no trip to the pool, whose threads may all be waiting for this lock.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::unlock`].
    pub async fn unlock(&self) -> io::Result<()> {
        self.written().await?;
        let mut counts = self.lock_intents().0.lock();
        self.file.unlock()?;
        if let Some(counts) = &mut counts {
            counts.is_held = false;
        }
        Ok(())
    }

    async fn acquire(
        &self,
        lock: fn(&std::fs::File) -> Result<(), TryLockError>,
    ) -> Result<(), TryLockError> {
        self.written().await.map_err(TryLockError::Error)?;
        let intent = LockIntent::new(&self.file, self.lock_intents());
        let releaser = Releaser { file: Arc::clone(&self.file), intents: Arc::clone(self.lock_intents()) };
        let acquired =
            self.fs().offload(move || Ok(lock(&releaser.file).map(|()| AcquiredLock(Some(releaser)))));
        let acquired = acquired.await.map_err(TryLockError::Error)??;
        intent.fulfil(acquired);
        Ok(())
    }

    pub(super) fn lock_intents(&self) -> &Arc<LockIntents> {
        self.intents.get_or_init(Arc::default)
    }
}

/// The calls that want the lock of an open file, and whether a call has returned that it has it.
#[derive(Default)]
pub(super) struct LockIntents(ProcessMutex<LockCounts>);

#[derive(Default)]
struct LockCounts {
    /// Calls in progress whose callers wait.
    waiting: usize,
    /// The last call that ended well was one that locks.
    is_held: bool,
    /// A thread has acquired a lock whose call was dropped.
    is_orphan: bool,
}

impl LockCounts {
    /// Releases an orphan lock.
    fn release_orphan(&mut self, file: &std::fs::File) {
        if self.is_orphan && self.waiting == 0 {
            self.is_orphan = false;
            if !self.is_held {
                // If this fails, closing the file releases the lock.
                let _ = file.unlock();
            }
        }
    }
}

/// A call in progress.
struct LockIntent<'a> {
    file: &'a std::fs::File,
    intents: &'a LockIntents,
}

impl<'a> LockIntent<'a> {
    fn new(file: &'a std::fs::File, intents: &'a LockIntents) -> Self {
        if let Some(mut counts) = intents.0.lock() {
            counts.waiting += 1;
        }
        LockIntent { file, intents }
    }

    fn fulfil(self, mut acquired: AcquiredLock) {
        if let Some(mut counts) = self.intents.0.lock() {
            counts.is_held = true;
        }
        acquired.0 = None;
    }
}

impl Drop for LockIntent<'_> {
    fn drop(&mut self) {
        if let Some(mut counts) = self.intents.0.lock() {
            counts.waiting -= 1;
            counts.release_orphan(self.file);
        }
    }
}

/// What a thread of the pool needs to release a lock.
struct Releaser {
    file: Arc<std::fs::File>,
    intents: Arc<LockIntents>,
}

/// A lock that a thread has acquired, until its call takes it over. Dropped before, it is an
/// orphan.
struct AcquiredLock(Option<Releaser>);

impl Drop for AcquiredLock {
    fn drop(&mut self) {
        if let Some(Releaser { file, intents }) = self.0.take()
            && let Some(mut counts) = intents.0.lock()
        {
            counts.is_orphan = true;
            counts.release_orphan(&file);
        }
    }
}
