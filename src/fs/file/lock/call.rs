//! One call that wants a lock, and one question of it to the system. What both do about the queues
//! is the protocol of `queues`.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::task::{Context, Poll};

use super::queues::{LockKind, LockOutcome, LockTurn};
use super::table::OpenRecord;
use crate::fs::TryLockError;
use crate::sync::{Parker, now};
use crate::sys::file_lock;

/// The lock as the system has it.
pub(super) trait SystemLock: Send + Sync + 'static {
    /// `has` is the kind of lock that the open file has, if that is known.
    fn try_lock(&self, kind: LockKind, has: Option<LockKind>) -> Result<(), TryLockError>;
    fn unlock(&self) -> io::Result<()>;
}

impl SystemLock for std::fs::File {
    fn try_lock(&self, kind: LockKind, has: Option<LockKind>) -> Result<(), TryLockError> {
        let is_exclusive = |kind| kind == LockKind::Exclusive;
        file_lock::convert(self, is_exclusive(kind), has.map(is_exclusive))
    }

    fn unlock(&self) -> io::Result<()> {
        file_lock::unlock(self)
    }
}

/// Who wants what.
struct Wanted<L: SystemLock> {
    /// Before the record, so that the file is closed when that says so.
    lock: Arc<L>,
    open: Arc<OpenRecord>,
    number: u64,
    kind: LockKind,
    /// It does not wait for others.
    tries: bool,
}

impl<L: SystemLock> Wanted<L> {
    fn release(&self) {
        // If this fails, closing the file releases the lock.
        let _ = self.lock.unlock();
        self.open.released();
    }
}

/// A call in progress. Dropped before it has the lock, it leaves.
pub(super) struct LockCall<L: SystemLock> {
    wanted: Wanted<L>,
    is_over: bool,
}

impl<L: SystemLock> LockCall<L> {
    /// Stands at the end of the queue.
    pub(super) fn join(
        lock: &Arc<L>,
        open: &Arc<OpenRecord>,
        kind: LockKind,
        tries: bool,
    ) -> Result<Self, TryLockError> {
        let number = open.join(kind, tries).map_err(TryLockError::Error)?;
        let number = number.ok_or(TryLockError::WouldBlock)?;
        let wanted = Wanted { lock: Arc::clone(lock), open: Arc::clone(open), number, kind, tries };
        Ok(LockCall { wanted, is_over: false })
    }

    /// Waits for the call's turn.
    pub(super) fn poll_turn(&self, context: &mut Context<'_>) -> Poll<io::Result<LockAttempt<L>>> {
        let Wanted { lock, open, number, kind, tries } = &self.wanted;
        open.poll_turn(*number, context.waker()).map_ok(|turn| {
            let (lock, open) = (Arc::clone(lock), Arc::clone(open));
            let wanted = Wanted { lock, open, number: *number, kind: *kind, tries: *tries };
            LockAttempt { wanted, turn, is_over: false }
        })
    }

    /// The call has the lock.
    pub(super) fn confirm(mut self) {
        self.is_over = true;
        self.wanted.open.confirm();
    }
}

impl<L: SystemLock> Drop for LockCall<L> {
    fn drop(&mut self) {
        if !self.is_over && self.wanted.open.leave(self.wanted.number) {
            self.wanted.release();
        }
    }
}

/// A call's turn to ask the system. Dropped before, it has not asked.
pub(super) struct LockAttempt<L: SystemLock> {
    wanted: Wanted<L>,
    turn: LockTurn,
    is_over: bool,
}

impl<L: SystemLock> LockAttempt<L> {
    /// Asks the system.
    pub(super) fn run(mut self) -> Result<(), TryLockError> {
        if !self.turn.pause.is_zero() {
            Parker::new().park(Some(now() + self.turn.pause));
        }
        if !self.wanted.open.is_wanted(self.wanted.number) {
            return Err(TryLockError::WouldBlock);
        }
        let result = self.ask();
        // Where the system keeps the lock that could not be converted, a call that waits must give
        // it up, or it would wait for itself.
        let is_lost = self.turn.converts && (cfg!(unix) || !self.wanted.tries);
        let outcome = match &result {
            Ok(()) => LockOutcome::Acquired(self.wanted.kind),
            Err(TryLockError::WouldBlock) if is_lost => {
                let _ = self.wanted.lock.unlock();
                LockOutcome::Lost
            }
            Err(_) => LockOutcome::Unchanged,
        };
        self.end(outcome);
        result
    }

    fn ask(&self) -> Result<(), TryLockError> {
        loop {
            match self.wanted.lock.try_lock(self.wanted.kind, self.turn.has) {
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn end(&mut self, outcome: LockOutcome) {
        self.is_over = true;
        if self.wanted.open.end(self.wanted.number, outcome) {
            self.wanted.release();
        }
    }
}

impl<L: SystemLock> Drop for LockAttempt<L> {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(LockOutcome::Unchanged);
        }
    }
}

#[cfg(test)]
pub(super) mod fake;
#[cfg(all(test, not(sidestep_loom)))]
mod tests;
