//! A stand-in for the system's locks, for tests and models: one file, which open files lock.

use std::io;
use std::sync::Arc;

use super::{LockKind, SystemLock};
use crate::fs::TryLockError;
use crate::sync::Mutex;

/// Who has the file locked, and how.
#[derive(Default)]
pub(in crate::fs::file::lock) struct FakeSystem(Mutex<Vec<(u32, LockKind)>>);

/// An open file.
pub(in crate::fs::file::lock) struct FakeOpenFile {
    system: Arc<FakeSystem>,
    number: u32,
}

impl FakeSystem {
    pub(in crate::fs::file::lock) fn open(self: &Arc<Self>, number: u32) -> Arc<FakeOpenFile> {
        Arc::new(FakeOpenFile { system: Arc::clone(self), number })
    }

    pub(in crate::fs::file::lock) fn holders(&self) -> Vec<(u32, LockKind)> {
        self.0.lock().clone()
    }
}

/// As the system: where there is `flock(2)`, a conversion loses the old lock first; elsewhere one
/// that fails keeps it.
impl SystemLock for FakeOpenFile {
    fn try_lock(&self, kind: LockKind, _: Option<LockKind>) -> Result<(), TryLockError> {
        let mut holders = self.system.0.lock();
        if holders.contains(&(self.number, kind)) {
            return Ok(());
        }
        let is_mine = |held: &(u32, LockKind)| held.0 == self.number;
        let is_shared = |held: &(u32, LockKind)| kind == LockKind::Shared && held.1 == LockKind::Shared;
        let is_free = holders.iter().all(|held| is_mine(held) || is_shared(held));
        if is_free || cfg!(unix) {
            holders.retain(|held| !is_mine(held));
        }
        if !is_free {
            return Err(TryLockError::WouldBlock);
        }
        holders.push((self.number, kind));
        Ok(())
    }

    fn unlock(&self) -> io::Result<()> {
        self.system.0.lock().retain(|(number, _)| *number != self.number);
        Ok(())
    }
}

impl Drop for FakeOpenFile {
    fn drop(&mut self) {
        self.system.0.lock().retain(|(number, _)| *number != self.number);
    }
}
