//! Locks of open files, which a call that was dropped while it waited must neither keep nor take
//! from a later one.
//!
//! A thread that waits for a lock cannot be called back, and the lock belongs to the open file, not
//! to the call. So when such a thread gets a lock that nobody waits for any more, another call may
//! have been told meanwhile that the file has it. A lock is let go of only if that is not so, and
//! no call is on its way that may be told: [`Claims`] keeps count. It is locked around the
//! unlocking, so no call can begin in between.

use std::io;
use std::sync::Arc;

use super::{File, TryLockError, on_pool};
use crate::sync::Mutex;

impl File {
    /// Locks the file for this process alone, and waits for others to let go of it. The lock ends
    /// with [`unlock`](File::unlock) or when the file is closed.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::lock`].
    ///
    /// # Cancellation
    ///
    /// A thread of the pool goes on to wait for the lock. If it gets it, it lets go of it, unless
    /// the file has been locked by a later call: so it is safe to try again after a timeout. Try
    /// the same kind of lock then: the one that was given up may still come, and an open file has
    /// only one, the last.
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
    pub async fn lock(&self) -> io::Result<()> {
        Ok(self.claim(|file| file.lock().map_err(TryLockError::Error)).await?)
    }

    /// As [`lock`](File::lock), for a lock that any number may have as long as nobody has the
    /// other.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn lock_shared(&self) -> io::Result<()> {
        Ok(self.claim(|file| file.lock_shared().map_err(TryLockError::Error)).await?)
    }

    /// As [`lock`](File::lock), but does not wait for others.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if another has it; else as for [`lock`](File::lock).
    pub async fn try_lock(&self) -> Result<(), TryLockError> {
        self.claim(std::fs::File::try_lock).await
    }

    /// As [`lock_shared`](File::lock_shared), but does not wait for others.
    ///
    /// # Errors
    ///
    /// As for [`try_lock`](File::try_lock).
    pub async fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.claim(std::fs::File::try_lock_shared).await
    }

    /// Lets go of the lock, once what was accepted has been written.
    ///
    /// It takes no trip to the pool, all of whose threads may be waiting for this lock.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::unlock`].
    pub async fn unlock(&self) -> io::Result<()> {
        self.written().await?;
        let mut count = self.claims().0.lock();
        self.file.unlock()?;
        count.is_held = false;
        Ok(())
    }

    async fn claim(&self, lock: fn(&std::fs::File) -> Result<(), TryLockError>) -> Result<(), TryLockError> {
        self.written().await.map_err(TryLockError::Error)?;
        let claim = Claim::new(&self.file, self.claims());
        let unclaimed = Unclaimed { file: Arc::clone(&self.file), claims: Arc::clone(self.claims()) };
        let got = on_pool(move || Ok(lock(&unclaimed.file).map(|()| Locked(Some(unclaimed)))));
        let locked = got.await.map_err(TryLockError::Error)??;
        claim.met(locked);
        Ok(())
    }

    pub(super) fn claims(&self) -> &Arc<Claims> {
        self.claims.get_or_init(Arc::default)
    }
}

/// Who wants the lock of an open file, and who has been told that it has it.
#[derive(Default)]
pub(super) struct Claims(Mutex<Count>);

#[derive(Default)]
struct Count {
    /// Calls in progress whose callers wait.
    waiting: usize,
    /// The last call that ended well was one that locks.
    is_held: bool,
    /// A lock was got that nobody waited for.
    is_stray: bool,
}

impl Count {
    /// Lets go of a lock that nobody has asked for.
    fn settle(&mut self, file: &std::fs::File) {
        if self.is_stray && self.waiting == 0 {
            self.is_stray = false;
            if !self.is_held {
                // Closing the file lets go of it in any case.
                let _ = file.unlock();
            }
        }
    }
}

/// A call in progress.
struct Claim<'a> {
    file: &'a std::fs::File,
    claims: &'a Claims,
}

impl<'a> Claim<'a> {
    fn new(file: &'a std::fs::File, claims: &'a Claims) -> Self {
        claims.0.lock().waiting += 1;
        Claim { file, claims }
    }

    fn met(self, mut locked: Locked) {
        self.claims.0.lock().is_held = true;
        locked.0 = None;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut count = self.claims.0.lock();
        count.waiting -= 1;
        count.settle(self.file);
    }
}

/// What a thread of the pool needs to let go of a lock.
struct Unclaimed {
    file: Arc<std::fs::File>,
    claims: Arc<Claims>,
}

/// A lock that was got, until the caller knows of it.
struct Locked(Option<Unclaimed>);

impl Drop for Locked {
    fn drop(&mut self) {
        if let Some(Unclaimed { file, claims }) = self.0.take() {
            let mut count = claims.0.lock();
            count.is_stray = true;
            count.settle(&file);
        }
    }
}
