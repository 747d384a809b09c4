//! Who waits for which descriptor, and the thread that waits for all of them.
//!
//! # The protocol
//!
//! A value whose descriptor is not ready leaves a waker here, its *entry*, under the descriptor and
//! the direction. The poller (`epoll`) reports a descriptor once for each time that it is armed.
//! The thread takes the reports, removes the entries that they are for, and calls their wakers.
//!
//! ```text
//!              set                          the poller reports it
//!   no entry --------> entry, fd is armed ------------------------> report, with the thread
//!      ^                     | cancel                                       |
//!      +---------------------+<---------------------------------------------+
//!                        the thread removes the entry, and wakes
//! ```
//!
//! | step | lock | what it does |
//! |---|---|---|
//! | `set` | held | adds the entry; arms the descriptor for all directions that have entries, unless this direction has one already; starts the thread, once |
//! | `cancel` | held | removes the entry; with the last of a descriptor, disarms that |
//! | the thread | no | waits for reports |
//! | `deliver` | held | for each report: removes the entries of its directions; arms the descriptor again if the other direction has entries |
//! | then | no | calls the wakers |
//!
//! A value cancels before its descriptor is closed or handed out. So a number that the system uses
//! again for another file has no entry of the file before.
//!
//! # Why no wake-up is lost
//!
//! This holds whenever the lock is free. *For each entry, its descriptor is armed for the entry's
//! direction, or a report for that direction is on its way: in the poller, or with the thread,
//! which has not looked at the entries yet.*
//!
//! - `set` arms, and arming looks at the descriptor: one that became ready after the call that
//!   would have had to wait is reported at once. If the direction had an entry already, the claim
//!   held for that one, and it holds for the new one by the same arming or report.
//! - A report disarms the descriptor. It is on its way until the thread has the lock and removes
//!   all entries of its directions. Where the other direction has entries, the thread arms it again
//!   under the same lock. A `set` in between arms too, and then the descriptor may be reported
//!   twice: the second report finds no entry, or wakes one for nothing.
//! - `cancel` disarms only a descriptor without entries. If one direction is left, the descriptor
//!   stays armed for it; if a report for the other disarms it, the thread arms it again.
//! - A descriptor that cannot be armed makes `set` fail, which leaves no entry. If the thread
//!   cannot arm it again, it wakes those that are left: their next calls learn why.
//!
//! A wake-up for nothing is harmless: the value tries again, and waits again.
//!
//! # What a cancelled entry leaves behind
//!
//! Nothing. Entries are removed under the lock, so once `cancel` has returned the thread does
//! not find the waker; it may have taken it before, and call it a little later. The poller keeps no
//! descriptor open: the peer of a socket that is closed sees the end at once.
//!
//! # A forked child
//!
//! It has a copy of all this but no thread, and its poller is the parent's. The lock, a
//! [`ProcessMutex`], returns nothing there; so the child leaves this registry alone, and makes one
//! of its own.

use std::io;
use std::mem::replace;
use std::task::Waker;

use crate::numbers::NumberMap;
use crate::sync::{ProcessMutex, trampoline};
use crate::sys::descriptor::{Direction, Fd};
use crate::task::wake;

/// What the registry needs of the system.
pub(crate) trait Poller: Send + Sync {
    /// Has `fd` reported once, when it is ready for what is asked, or at once if it is.
    fn arm(&self, fd: Fd, read: bool, write: bool) -> io::Result<()>;
    /// Has `fd` reported no more.
    fn disarm(&self, fd: Fd);
    /// Waits for reports, and hands each to `report`, with the directions that it is for.
    fn wait(&self, report: &mut dyn FnMut(Fd, bool, bool)) -> io::Result<()>;
}

/// An entry: the descriptor, the direction, and the number of the value that waits.
pub(crate) type EntryKey = (Fd, Direction, u64);

#[derive(Default)]
struct WaitEntries {
    /// Those that wait for a direction of a descriptor, each with its number. There are seldom two.
    waiting: NumberMap<Vec<(u64, Waker)>>,
    last_number: u64,
    has_thread: bool,
}

impl WaitEntries {
    fn any(&self, fd: Fd, direction: Direction) -> bool {
        self.waiting.contains(place(fd, direction))
    }

    fn get_mut(&mut self, (fd, direction, number): EntryKey) -> Option<&mut Waker> {
        let waiting = self.waiting.get_mut(place(fd, direction))?;
        waiting.iter_mut().find(|(other, _)| *other == number).map(|(_, waker)| waker)
    }

    /// Adds an entry, or replaces its waker.
    fn insert(&mut self, key: EntryKey, waker: Waker) -> Option<Waker> {
        if let Some(old) = self.get_mut(key) {
            return Some(replace(old, waker));
        }
        let (fd, direction, number) = key;
        match self.waiting.get_mut(place(fd, direction)) {
            Some(waiting) => waiting.push((number, waker)),
            None => drop(self.waiting.insert(place(fd, direction), vec![(number, waker)])),
        }
        None
    }

    fn remove(&mut self, (fd, direction, number): EntryKey) -> Option<Waker> {
        let waiting = self.waiting.get_mut(place(fd, direction))?;
        let index = waiting.iter().position(|(other, _)| *other == number)?;
        let (_, waker) = waiting.remove(index);
        if waiting.is_empty() {
            self.waiting.remove(place(fd, direction));
        }
        Some(waker)
    }

    /// Removes the entries of a direction, whose wakers go to `woken`.
    fn take(&mut self, fd: Fd, direction: Direction, woken: &mut Vec<Waker>) {
        let waiting = self.waiting.remove(place(fd, direction)).into_iter().flatten();
        woken.extend(waiting.map(|(_, waker)| waker));
    }
}

/// The number of a direction of a descriptor.
fn place(fd: Fd, direction: Direction) -> u64 {
    u64::from(fd as u32) << 1 | direction as u64
}

/// The entries of one process, and its poller.
pub(crate) struct ReadyRegistry<P> {
    poller: P,
    entries: ProcessMutex<WaitEntries>,
}

impl<P: Poller> ReadyRegistry<P> {
    pub(crate) fn new(poller: P) -> Self {
        ReadyRegistry { poller, entries: ProcessMutex::default() }
    }

    /// Whether this process is a forked child of the one that the registry belongs to.
    pub(crate) fn is_forked(&self) -> bool {
        self.entries.is_forked()
    }

    /// A number for a value that is going to wait.
    pub(crate) fn number(&self) -> u64 {
        self.entries.lock().map_or(0, |mut entries| {
            entries.last_number += 1;
            entries.last_number
        })
    }

    /// Whether the entry is there, with `waker`.
    pub(crate) fn has(&self, key: EntryKey, waker: &Waker) -> bool {
        let entries = self.entries.lock();
        entries.is_some_and(|mut entries| entries.get_mut(key).is_some_and(|other| other.will_wake(waker)))
    }

    /// Adds an entry, or replaces its waker, which is returned. `start` starts the thread, which is
    /// to call [`serve`](ReadyRegistry::serve).
    ///
    /// # Errors
    ///
    /// If the descriptor cannot be waited for, or there is no thread; `waker` comes back then.
    pub(crate) fn set(
        &self,
        key: EntryKey,
        waker: Waker,
        start: impl FnOnce() -> io::Result<()>,
    ) -> Result<Option<Waker>, (Waker, io::Error)> {
        let (fd, direction, _) = key;
        let Some(mut entries) = self.entries.lock() else {
            return Err((waker, io::Error::other("this is the child of a fork")));
        };
        if !entries.any(fd, direction) {
            let read = direction == Direction::Read || entries.any(fd, Direction::Read);
            let write = direction == Direction::Write || entries.any(fd, Direction::Write);
            if let Err(error) = self.poller.arm(fd, read, write) {
                return Err((waker, error));
            }
        }
        if !entries.has_thread {
            // Without a thread there are no entries, and so no harm in a report that finds none.
            if let Err(error) = start() {
                self.poller.disarm(fd);
                return Err((waker, error));
            }
            entries.has_thread = true;
        }
        Ok(entries.insert(key, waker))
    }

    /// Removes an entry, if it is still there. The waker is user code: to be called or dropped now.
    #[must_use]
    pub(crate) fn cancel(&self, key: EntryKey) -> Option<Waker> {
        let mut entries = self.entries.lock()?;
        let waker = entries.remove(key);
        let fd = key.0;
        if !entries.any(fd, Direction::Read) && !entries.any(fd, Direction::Write) {
            self.poller.disarm(fd);
        }
        waker
    }

    /// What the thread does, for ever: it ends only in a forked child, or if the poller fails.
    pub(crate) fn serve(&self) {
        while self.serve_once().is_some() {}
    }

    /// Waits for reports, and delivers them.
    pub(crate) fn serve_once(&self) -> Option<()> {
        trampoline::settle(None);
        let mut reports = Vec::new();
        let waited = self.poller.wait(&mut |fd, read, write| reports.push((fd, read, write)));
        let mut woken = Vec::new();
        let mut entries = self.entries.lock()?;
        if waited.is_err() {
            // Those that wait make calls that may wait, from now on.
            let waiting = entries.waiting.take_values().into_iter().flatten();
            woken.extend(waiting.map(|(_, waker)| waker));
            entries.has_thread = false;
        }
        for (fd, read, write) in reports {
            self.deliver(&mut entries, fd, [read, write], &mut woken);
        }
        drop(entries);
        woken.into_iter().for_each(wake);
        waited.ok()
    }

    fn deliver(&self, entries: &mut WaitEntries, fd: Fd, ready: [bool; 2], woken: &mut Vec<Waker>) {
        for direction in [Direction::Read, Direction::Write] {
            if ready[direction as usize] {
                entries.take(fd, direction, woken);
            }
        }
        let (read, write) = (entries.any(fd, Direction::Read), entries.any(fd, Direction::Write));
        if (read || write) && self.poller.arm(fd, read, write).is_err() {
            entries.take(fd, Direction::Read, woken);
            entries.take(fd, Direction::Write, woken);
        }
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
