//! Which calls want the lock of which file, whose turn it is, and what is known of each open file.
//!
//! No thread waits for a lock. The system is asked by *attempts* (`flock` with `LOCK_NB`), which
//! end at once, and a call whose attempt has failed waits in a queue of this process. An attempt
//! runs on the pool, since the server of a network file system may take its time.
//!
//! # Names
//!
//! A *file* has a queue. An *open file* is what the lock belongs to: a handle with all its clones.
//! A *call* is one `lock` or `try_lock` in progress; it has a number, and they are in the order of
//! their numbers. An open file *holds* the lock if an attempt of it has succeeded and no unlocking
//! has come after. A hold is *confirmed* once a call has returned because of it.
//!
//! # The protocol
//!
//! All of it is under one lock of the process; the system is called, and wakers are called and
//! dropped, without it.
//!
//! ```text
//! join      take the next number and stand at the end of the file's queue
//! turn      it is a call's turn if no attempt of its open file is in progress, and it stands first,
//!           or its open file holds the lock or may do so, or it is a try_lock;
//!           and the file has changed since its last attempt. Else it leaves its waker
//! attempt   begin: note the file's changes, mark the open file as busy; unlock; ask the system; lock
//!           end:   the open file is not busy; wake its other calls
//!                  acquired   -> it holds. The call leaves the queue with an unconfirmed hold;
//!                                if that is a shared one, the file has changed
//!                  failed, and the open file had a lock of the other kind -> it holds nothing,
//!                                as with flock(2); the file has changed
//! confirm   the call returns: its hold is confirmed
//! leave     a dropped call: out of the queue, and the next stands first; or its hold goes
//! unlock    the open file holds nothing; unlock; ask the system; lock; the file has changed
//! close     the last handle of an open file is dropped: the file has changed
//! retry     at its time, while a call waits: the file has changed
//! changed   count it, and wake the call that stands first
//! settle    whenever a hold, a call or an attempt of an open file has ended: if it holds the lock
//!           and no hold of it is confirmed or will be, and it is not busy: mark it as busy;
//!           unlock; ask the system to unlock; lock; it is not busy and holds nothing; changed
//! ```
//!
//! The times of retries are there for the holders that this process does not know: other processes,
//! and files of `std`. The first comes after [`FIRST_RETRY`], the next when an eighth more of the
//! time has passed, but at most [`LAST_RETRY`] later.
//!
//! `try_lock` does not ask the system where a call that it would be in the way of waits: then it
//! would block. An open file that holds a lock may ask at any time, since it converts what it has,
//! and the calls before it may wait for that. So may one whose file came from outside, once.
//!
//! # Why it is right
//!
//! *No call sleeps while it could have the lock.* A call looks for its turn and leaves its waker
//! under one lock, and each change counts and takes the waker of the first call under that lock. So
//! the first call has seen each change, or its waker has been called after the change. A change
//! during its attempt makes that attempt one of before the change, and it is its turn again. The
//! lock becomes free by an unlocking, a close or a failed conversion. Those of open files known
//! here are changes; for all others there is a retry at most [`LAST_RETRY`] later. A call that
//! comes to stand first is woken by what made it so, a call before it that leaves or is granted a
//! shared lock; after an exclusive grant it would ask in vain, and the unlocking, or a retry, wakes
//! it. A call that waits for its open file to be not busy is woken when that is so.
//!
//! *First come, first served.* The calls of open files that hold nothing ask only from the front of
//! the queue, and numbers are given in the order in which calls join.
//!
//! *A dropped call leaves nothing.* If it had no attempt in progress, it is out of the queue when
//! the drop returns, and asks no more. If its attempt is in progress, that ends with a hold that no
//! call will confirm; if its attempt has succeeded already, its unconfirmed hold goes: `settle`
//! releases either. An attempt that has not asked the system yet sees that it is not wanted.
//!
//! *No confirmed hold is released.* `settle` releases only what no call has confirmed and none has
//! an unconfirmed hold of. From then to the end of the releasing the open file is busy, so no
//! attempt of it can succeed in between and be released by mistake. And before it `settle` waits
//! for an attempt in progress, whose success would be a no-op of the system that comes before the
//! releasing and returns as a hold after it.
//!
//! *An unlocking is one.* It is noted before the system is asked. An attempt that succeeds before
//! the system is asked leaves a hold that is not there any more, which is what two threads get that
//! lock and unlock one file of `std` at a time; one that succeeds later leaves a true hold. So what
//! is really held is never noted as not held, and is released in the end.
//!
//! *The kind of a lock is noted only if it is that.* Windows adds a lock to the one that an open
//! file has, and refuses a second exclusive one even to it; so there the refusal counts as success
//! if the open file has one, and a shared lock in place of that one releases it. For this the kind
//! must be true. A begin forgets that there was an unlocking, and
//! both ends of an unlocking note one and forget the kind. So a kind is noted only if the attempt
//! overlaps no end of an unlocking; and if all of it lies within an unlocking, the end of that
//! forgets the kind. An attempt that began before an unlocking, and is refused after it, is as
//! one that has succeeded before it.

use std::collections::HashMap;
use std::mem::replace;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::numbers::{NumberMap, NumberSet};
use crate::sys::file_id::FileId;

/// The time from a wait's beginning, or from a change, to the first retry.
const FIRST_RETRY: Duration = Duration::from_millis(1);
/// The longest time between two retries.
pub(super) const LAST_RETRY: Duration = Duration::from_millis(50);
/// For how long calls do without a timer that the system has refused.
const REFUSED: Duration = Duration::from_secs(1);

/// What kind of lock a call wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockKind {
    Shared,
    Exclusive,
}

/// A file, or, where the system does not say which that is, one open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum FileKey {
    File(FileId),
    OpenFile(u64),
}

/// An open file.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenKey {
    file: FileKey,
    number: u64,
}

/// What an open file has, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Holds {
    #[default]
    Nothing,
    /// The file came from outside, and may have been locked there.
    Unknown,
    Lock,
}

/// A call's turn to ask the system.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockTurn {
    /// How long to pause before: there is no timer to do that.
    pub(super) pause: Duration,
    /// The open file has a lock already, or may have: it is to be converted.
    pub(super) converts: bool,
    /// Of which kind that is, if it is known.
    pub(super) has: Option<LockKind>,
}

/// How an attempt has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockOutcome {
    Acquired(LockKind),
    /// The open file has lost the lock that it had.
    Lost,
    Unchanged,
}

/// What is to be done without the lock.
#[derive(Default)]
#[must_use]
pub(super) struct LockDuty {
    pub(super) wakes: Vec<Waker>,
    /// A waker that is not needed any more: dropping it is user code.
    pub(super) unused: Option<Waker>,
    /// To ask the system to unlock, and then call [`LockQueues::released`].
    pub(super) releases: bool,
}

/// A call in a queue.
struct WaitingCall {
    open: u64,
    kind: LockKind,
    /// It does not wait for others.
    tries: bool,
    /// The file's changes when its last attempt began.
    seen: Option<u64>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct OpenState {
    holds: Holds,
    /// Of which kind the lock is, if no unlocking was in progress when it was acquired.
    kind: Option<LockKind>,
    /// There was an unlocking since the last attempt began.
    was_unlocked: bool,
    confirmed: bool,
    /// Grants whose calls have not returned yet.
    unconfirmed: usize,
    /// An attempt or a release is in progress.
    busy: bool,
    /// Its calls in the queue.
    calls: NumberSet,
}

/// One file.
struct FileLocks {
    queue: NumberMap<WaitingCall>,
    /// How many of them want an exclusive lock.
    exclusive: usize,
    opens: NumberMap<OpenState>,
    changes: u64,
    /// When the last change was, retries aside.
    since: Instant,
    /// The next retry, if a call waits.
    retry: Option<Instant>,
}

/// The thread that makes calls try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimerState {
    Off,
    /// It sleeps until then.
    On(Option<Instant>),
    /// The system has refused it.
    Refused(Instant),
}

/// The queues of all files in this process.
pub(super) struct LockQueues {
    files: HashMap<FileKey, FileLocks>,
    /// In order: the files whose first call waits, few at any time.
    retries: Vec<(Instant, FileKey)>,
    last_number: u64,
    timer: TimerState,
}

impl OpenState {
    /// It holds no lock, or will hold none when the unlocking that has begun has ended.
    fn has_nothing(&mut self) {
        (self.holds, self.kind, self.confirmed) = (Holds::Nothing, None, false);
        self.was_unlocked = true;
    }
}

impl FileLocks {
    fn new(now: Instant) -> Self {
        FileLocks {
            queue: NumberMap::new(),
            exclusive: 0,
            opens: NumberMap::new(),
            changes: 0,
            since: now,
            retry: None,
        }
    }

    fn first(&self) -> Option<u64> {
        self.queue.first()
    }

    /// Something has happened that may let the first call have the lock.
    fn changed(&mut self, now: Instant, wakes: &mut Vec<Waker>) {
        self.since = now;
        self.try_again(wakes);
    }

    fn try_again(&mut self, wakes: &mut Vec<Waker>) {
        self.changes += 1;
        let first = self.first().and_then(|number| self.queue.get_mut(number));
        wakes.extend(first.and_then(|call| call.waker.take()));
    }

    /// Wakes the calls of an open file. With `anew` it is their turn though the file has not
    /// changed.
    fn wake_calls(&mut self, open: u64, anew: bool, wakes: &mut Vec<Waker>) {
        let Some(state) = self.opens.get(open) else { return };
        for number in state.calls.numbers() {
            if let Some(call) = self.queue.get_mut(number) {
                call.seen = call.seen.filter(|_| !anew);
                wakes.extend(call.waker.take());
            }
        }
    }

    fn remove(&mut self, number: u64) -> Option<WaitingCall> {
        let call = self.queue.remove(number)?;
        self.exclusive -= usize::from(call.kind == LockKind::Exclusive);
        if let Some(open) = self.opens.get_mut(call.open) {
            open.calls.remove(number);
        }
        Some(call)
    }

    /// Whether a lock is to be released that no call will return; the open file is busy then.
    fn settle(&mut self, open: u64) -> bool {
        let Some(open) = self.opens.get_mut(open) else { return false };
        let is_unwanted = open.holds == Holds::Lock && !open.confirmed && open.unconfirmed == 0;
        let releases = is_unwanted && !open.busy;
        open.busy |= releases;
        releases
    }

    fn retry_interval(&self, now: Instant) -> Duration {
        (now.saturating_duration_since(self.since) / 8).clamp(FIRST_RETRY, LAST_RETRY)
    }
}

impl LockQueues {
    pub(super) fn new() -> Self {
        LockQueues { files: HashMap::new(), retries: Vec::new(), last_number: 0, timer: TimerState::Off }
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Adds an open file of the file `id`. It may have been locked elsewhere if
    /// `came_from_outside`.
    pub(super) fn open(&mut self, id: Option<FileId>, came_from_outside: bool, now: Instant) -> OpenKey {
        let number = self.number();
        let file = id.map_or(FileKey::OpenFile(number), FileKey::File);
        let holds = if came_from_outside { Holds::Unknown } else { Holds::Nothing };
        let state = OpenState { holds, ..OpenState::default() };
        self.files.entry(file).or_insert_with(|| FileLocks::new(now)).opens.insert(number, state);
        OpenKey { file, number }
    }

    /// Removes an open file that has no call in progress.
    pub(super) fn close(&mut self, key: OpenKey, now: Instant) -> LockDuty {
        let mut duty = LockDuty::default();
        let Some(file) = self.files.get_mut(&key.file) else { return duty };
        file.opens.remove(key.number);
        file.changed(now, &mut duty.wakes);
        if file.opens.is_empty() {
            self.schedule(key.file, None);
            self.files.remove(&key.file);
        }
        self.reschedule(key.file, Some(now));
        duty
    }

    /// A call joins the queue and has a number then. `None`: it is one that does not wait, and
    /// calls are before it.
    pub(super) fn join(&mut self, key: OpenKey, kind: LockKind, tries: bool) -> Option<u64> {
        let number = self.number();
        let file = self.files.get_mut(&key.file)?;
        let open = file.opens.get_mut(key.number)?;
        let is_behind = match kind {
            LockKind::Exclusive => !file.queue.is_empty(),
            LockKind::Shared => file.exclusive > 0,
        };
        if tries && is_behind && open.holds == Holds::Nothing {
            return None;
        }
        open.calls.insert(number);
        let call = WaitingCall { open: key.number, kind, tries, seen: None, waker: None };
        file.queue.insert(number, call);
        file.exclusive += usize::from(kind == LockKind::Exclusive);
        Some(number)
    }

    /// Whether it is a call's turn, which begins an attempt; else `waker` is left there. The duty
    /// has no wakes.
    pub(super) fn poll_turn(
        &mut self,
        key: OpenKey,
        number: u64,
        waker: Waker,
        now: Instant,
    ) -> (Poll<LockTurn>, LockDuty) {
        let mut duty = LockDuty::default();
        let is_refused = matches!(self.timer, TimerState::Refused(at) if now < at + REFUSED);
        let Some(file) = self.files.get_mut(&key.file) else { return (Poll::Pending, duty) };
        let is_first = file.first() == Some(number);
        let interval = file.retry_interval(now);
        let (Some(call), Some(open)) = (file.queue.get_mut(number), file.opens.get_mut(key.number)) else {
            return (Poll::Pending, duty);
        };
        let converts = open.holds != Holds::Nothing;
        let has_changed = call.seen != Some(file.changes);
        if !open.busy && (is_first || converts || call.tries) && (has_changed || is_refused) {
            (open.busy, open.was_unlocked) = (true, false);
            call.seen = Some(file.changes);
            duty.unused = call.waker.take();
            let pause = if has_changed { Duration::ZERO } else { interval };
            return (Poll::Ready(LockTurn { pause, converts, has: open.kind }), duty);
        }
        duty.unused = call.waker.replace(waker);
        if file.retry.is_none() {
            self.schedule(key.file, Some(now + interval));
        }
        (Poll::Pending, duty)
    }

    /// Whether the call that has begun an attempt still waits for it.
    pub(super) fn is_wanted(&self, key: OpenKey, number: u64) -> bool {
        self.files.get(&key.file).is_some_and(|file| file.queue.contains(number))
    }

    /// Ends the attempt of a call, which may have left.
    pub(super) fn end(&mut self, key: OpenKey, number: u64, outcome: LockOutcome, now: Instant) -> LockDuty {
        let mut duty = LockDuty::default();
        let Some(file) = self.files.get_mut(&key.file) else { return duty };
        let Some(open) = file.opens.get_mut(key.number) else { return duty };
        open.busy = false;
        match outcome {
            LockOutcome::Acquired(kind) => {
                open.holds = Holds::Lock;
                open.kind = Some(kind).filter(|_| !open.was_unlocked);
                if let Some(call) = file.remove(number) {
                    if let Some(open) = file.opens.get_mut(key.number) {
                        open.unconfirmed += 1;
                    }
                    file.since = now;
                    if call.kind == LockKind::Shared {
                        file.try_again(&mut duty.wakes);
                    }
                    duty.unused = call.waker;
                }
            }
            LockOutcome::Lost => {
                open.has_nothing();
                file.changed(now, &mut duty.wakes);
            }
            LockOutcome::Unchanged => {}
        }
        let is_acquired = matches!(outcome, LockOutcome::Acquired(_));
        file.wake_calls(key.number, is_acquired, &mut duty.wakes);
        duty.releases = file.settle(key.number);
        self.reschedule(key.file, Some(now).filter(|_| outcome != LockOutcome::Unchanged));
        duty
    }

    /// A call that has been granted the lock returns.
    pub(super) fn confirm(&mut self, key: OpenKey) {
        if let Some(open) = self.files.get_mut(&key.file).and_then(|file| file.opens.get_mut(key.number)) {
            open.unconfirmed -= 1;
            open.confirmed = true;
        }
    }

    /// A call goes without the lock: it is in the queue, or has been granted what it does not want.
    pub(super) fn leave(&mut self, key: OpenKey, number: u64) -> LockDuty {
        let mut duty = LockDuty::default();
        let Some(file) = self.files.get_mut(&key.file) else { return duty };
        let was_first = file.first() == Some(number);
        match file.remove(number) {
            Some(call) => {
                duty.unused = call.waker;
                let next = file.first().filter(|_| was_first);
                if let Some(next) = next.and_then(|next| file.queue.get_mut(next)) {
                    next.seen = None;
                    duty.wakes.extend(next.waker.take());
                }
            }
            None => {
                if let Some(open) = file.opens.get_mut(key.number) {
                    open.unconfirmed -= 1;
                }
            }
        }
        duty.releases = file.settle(key.number);
        self.reschedule(key.file, None);
        duty
    }

    /// The open file is about to be unlocked.
    pub(super) fn unlocking(&mut self, key: OpenKey) {
        if let Some(open) = self.files.get_mut(&key.file).and_then(|file| file.opens.get_mut(key.number)) {
            open.has_nothing();
        }
    }

    /// The open file has been unlocked by its user, or the system has failed to.
    pub(super) fn unlocked(&mut self, key: OpenKey, succeeded: bool, now: Instant) -> LockDuty {
        let mut duty = LockDuty::default();
        let Some(file) = self.files.get_mut(&key.file) else { return duty };
        if let Some(open) = file.opens.get_mut(key.number) {
            (open.kind, open.was_unlocked) = (None, true);
            if !succeeded && open.holds == Holds::Nothing {
                open.holds = Holds::Unknown;
            }
        }
        file.changed(now, &mut duty.wakes);
        self.reschedule(key.file, Some(now));
        duty
    }

    /// The lock that no call wanted has been released.
    pub(super) fn released(&mut self, key: OpenKey, now: Instant) -> LockDuty {
        let mut duty = LockDuty::default();
        let Some(file) = self.files.get_mut(&key.file) else { return duty };
        if let Some(open) = file.opens.get_mut(key.number) {
            (open.holds, open.kind, open.busy) = (Holds::Nothing, None, false);
        }
        file.changed(now, &mut duty.wakes);
        file.wake_calls(key.number, false, &mut duty.wakes);
        self.reschedule(key.file, Some(now));
        duty
    }

    /// Has the files whose time has come tried again.
    pub(super) fn retry(&mut self, now: Instant) -> LockDuty {
        let mut duty = LockDuty::default();
        while let Some(&(_, key)) = self.retries.first().filter(|(at, _)| *at <= now) {
            let Some(file) = self.files.get_mut(&key) else {
                self.retries.remove(0);
                continue;
            };
            file.try_again(&mut duty.wakes);
            let next = now + file.retry_interval(now);
            self.schedule(key, Some(next));
        }
        duty
    }

    fn schedule(&mut self, key: FileKey, at: Option<Instant>) {
        let Some(file) = self.files.get_mut(&key) else { return };
        let before = replace(&mut file.retry, at);
        if let Some(Ok(index)) = before.map(|before| self.retries.binary_search(&(before, key))) {
            self.retries.remove(index);
        }
        let Some(at) = at else { return };
        if let Err(index) = self.retries.binary_search(&(at, key)) {
            self.retries.insert(index, (at, key));
        }
    }

    /// Has the next retry come soon after a change, or not at all if no call waits.
    fn reschedule(&mut self, key: FileKey, changed: Option<Instant>) {
        let Some(file) = self.files.get(&key).filter(|file| file.retry.is_some()) else { return };
        if file.queue.is_empty() {
            self.schedule(key, None);
        } else if let Some(now) = changed {
            self.schedule(key, Some(now + FIRST_RETRY));
        }
    }

    /// Whether no file is known.
    #[cfg(all(test, not(sidestep_loom)))]
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.retries.is_empty()
    }

    /// Whether a timer is to be started.
    pub(super) fn starts_timer(&mut self, now: Instant) -> bool {
        let is_off = match self.timer {
            TimerState::Off => true,
            TimerState::On(_) => false,
            TimerState::Refused(at) => now >= at + REFUSED,
        };
        let starts = is_off && !self.retries.is_empty();
        if starts {
            self.timer = TimerState::On(None);
        }
        starts
    }

    /// Whether the timer would sleep too long.
    pub(super) fn is_timer_late(&self) -> bool {
        let next = self.retries.first().map(|(at, _)| *at);
        matches!((self.timer, next), (TimerState::On(Some(until)), Some(next)) if next < until)
    }

    /// The timer will sleep until the next retry, or, if there is none, until `idle_until`. `None`:
    /// that is over, and the timer ends.
    pub(super) fn timer_sleeps(&mut self, idle_until: Instant, now: Instant) -> Option<Instant> {
        let next = self.retries.first().map(|(at, _)| *at);
        let until = next.or_else(|| Some(idle_until).filter(|until| now < *until));
        self.timer = until.map_or(TimerState::Off, |until| TimerState::On(Some(until)));
        until
    }

    /// The system has refused the timer: the first call of each file does without.
    pub(super) fn timer_refused(&mut self, now: Instant) -> LockDuty {
        let mut duty = LockDuty::default();
        self.timer = TimerState::Refused(now);
        for file in self.files.values_mut() {
            file.try_again(&mut duty.wakes);
        }
        duty
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
