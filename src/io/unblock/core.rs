//! The state machine of an `Unblock`: what was asked of the value, what is buffered each way, and
//! what to do next.
//!
//! The handle and the pump share one [`Core`] behind a lock. The handle asks; the pump has the
//! value, and does one [`Step`] after another until nothing is left to do, when it leaves the value
//! here and ends. At most one pump exists: it is made by whoever finds the value at home and
//! something to do, under the lock.
//!
//! ```text
//!            something to do              the pump starts
//!   Home ------------------------> Queued ------------------> Out
//!    | ^                             |                         |
//!    | |        the pool refuses     |                         |
//!    | +-----------------------------+                         |
//!    | +-------------------------------------------------------+
//!    |   nothing to do (between steps it may be Watched)       | the value panicked
//!    v                                                         v
//!  Lent  (get_mut, into_inner)                              Poisoned
//! ```
//!
//! [`Core::plan`] is the order of steps. Writes go before everything, since the caller was told
//! that they are as good as done; before them the value is moved back by what was read ahead. After
//! an error of a write nothing goes on before the caller has been told.
//!
//! # Why nobody waits for ever
//!
//! A handle waits only after it has, under one lock, found no answer, said what it wants and left
//! its waker there. Whether that gives something to do is a question to [`Core::plan`] alone, which
//! handle and pump ask alike. If it does, and the value is at home, the handle starts a pump when
//! it releases the lock; if the value is out, the pump asks `plan` under the lock before it puts
//! the value back, so it sees what was wanted. A pump that the pool refuses leaves the reason and
//! wakes all who wait. If `plan` gives nothing to do, the answer is there or the value is at rest:
//! each step ends by waking whom it may have helped, and a pump that ends wakes everybody, who then
//! look again. `Shared::poll` looks once more after the waker has been cloned, which is foreign
//! code and done without the lock. Self-waking and lingering (`shared`, `pump`) are hints beside
//! this: whoever gives them up does what is said here.
//!
//! # Why no byte is lost, or written twice
//!
//! Bytes that were accepted are in `outbound`, or with the pump in the one step that writes them,
//! and that gives back what it has not written, together with the error. Bytes that were read are
//! in `inbound`, in the handle's chunk, or in the one step that reads; a dropped call owns none of
//! them. They are given up only when the value has been moved back by as many, and while that is
//! being done none are given out. The last step of a pump whose handle is gone has no plan but
//! `End`, which `plan` gives only when nothing is left to write or the writing has failed, and then
//! the failure is reported with the number of bytes.

use std::any::Any;
use std::io::{self, SeekFrom};
use std::time::Instant;

use super::inbound::{Chunk, End, Inbound};
use super::items::Ready;
use super::known::SeekBy;
use super::outbound::Outbound;
use super::step::{Able, Call, Left, Outcome, Place, Plan, Poison, Seeking, Step};
use super::wakers::{Side, Wakers, Wakes};
use crate::sys::pread::Cached;

/// Everything that the handle and the pump share.
pub(super) struct Core<T> {
    pub(super) place: Place<T>,
    pub(super) able: Able<T>,
    /// It may be asked for more than the caller waits for.
    pub(super) reads_ahead: bool,
    /// Whether the value can seek has been tried.
    pub(super) probed: bool,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
    pub(super) items: Option<Ready>,
    pub(super) seeking: Seeking,
    /// The caller has turned from reading to writing: what was read ahead is to be undone.
    pub(super) rewind: bool,
    /// That is being done: what was read ahead is not to be given out meanwhile.
    pub(super) rewinding: bool,
    pub(super) call: Option<Call<T>>,
    /// The caller wants the value as if nothing were buffered.
    pub(super) settle: bool,
    /// An error that the next call reports: of a write, or of what had to come before it.
    pub(super) held: Option<io::Error>,
    /// An error of a read ahead that nobody can be told any more, until it is reported.
    pub(super) untold: Option<io::Error>,
    /// The pool would not run the pump.
    pub(super) refusal: Option<io::Error>,
    /// When the last pump ended.
    pub(super) rested: Option<Instant>,
    /// The handle is gone.
    pub(super) abandoned: bool,
    pub(super) wakers: Wakers,
}

impl<T> Core<T> {
    /// What should be done with the value now.
    pub(super) fn plan(&self) -> Plan {
        let writable = self.held.is_none();
        if writable && self.must_rewind() {
            return Plan::Rewind;
        }
        if writable && self.outbound.waiting() > 0 {
            return Plan::Write;
        }
        let flush = self.outbound.flush || self.settle || self.abandoned;
        if writable && flush && self.needs_flush() && self.able.write.is_some() {
            return Plan::Flush;
        }
        if self.abandoned {
            return Plan::End;
        }
        if writable && matches!(self.seeking, Seeking::Wanted(_)) {
            return Plan::Seek;
        }
        if self.settle {
            return self.plan_settling();
        }
        if self.is_read_wanted() {
            return if self.probed || self.able.seek.is_none() { Plan::Read } else { Plan::Probe };
        }
        if self.items.as_ref().is_some_and(Ready::wants_more) { Plan::Pull } else { Plan::Rest }
    }

    fn plan_settling(&self) -> Plan {
        if self.held.is_some() {
            Plan::Rest
        } else if self.inbound.unread() > 0 && self.able.seek.is_some() {
            Plan::Rewind
        } else if self.call.is_some() {
            Plan::Call
        } else {
            Plan::Rest
        }
    }

    /// A flush would change something.
    pub(super) fn needs_flush(&self) -> bool {
        self.outbound.is_dirty() && !self.able.writes_through
    }

    fn is_read_wanted(&self) -> bool {
        self.able.read.is_some()
            && self.held.is_none()
            && !self.rewind
            && self.inbound.wants_read(self.reads_ahead)
    }

    /// Bytes that were accepted are to be written before anything is read; unless what is there
    /// already was read from a value that cannot seek.
    pub(super) fn is_writing(&self) -> bool {
        let independent = self.able.seek.is_none() && self.inbound.has_answer();
        let rewinds = self.rewind && (self.inbound.unread() > 0 || !matches!(self.place, Place::Home(_)));
        rewinds || self.rewinding || (self.outbound.buffered() > 0 && !independent)
    }

    /// Something is to be done, and no pump is there to do it.
    pub(super) fn wants_pump(&self) -> bool {
        matches!(self.place, Place::Home(_)) && !matches!(self.plan(), Plan::Rest | Plan::End)
    }

    /// There is something to do that must not be lost, whatever becomes of the pool.
    pub(super) fn is_laden(&self) -> bool {
        matches!(self.plan(), Plan::Rewind | Plan::Write | Plan::Flush)
    }

    /// Begins the next step.
    pub(super) fn begin(&mut self) -> Step<T> {
        if self.rewind && self.inbound.unread() == 0 {
            // There is nothing to be undone, or it has been.
            self.rewind = false;
            self.forget_end();
        }
        match (self.plan(), &self.able) {
            (Plan::Rewind, Able { seek: Some(seek), .. }) => {
                self.rewinding = true;
                Step::Rewind(*seek, self.inbound.unread())
            }
            (Plan::Write, Able { write: Some(write), .. }) => {
                let write = *write;
                let (bytes, written) = self.outbound.begin_write();
                Step::Write(write, bytes, written)
            }
            (Plan::Flush, Able { write: Some(write), .. }) => Step::Flush(*write),
            (Plan::Seek, Able { seek: Some(seek), .. }) => self.begin_seek(*seek),
            (Plan::Call, _) => {
                // A flush that comes while it runs is for what it writes, too.
                self.outbound.set_dirty();
                self.call.take().map_or(Step::Rest, Step::Call)
            }
            (Plan::Probe, Able { seek: Some(seek), .. }) => Step::Probe(*seek),
            (Plan::Read, Able { read: Some(read), .. }) => {
                let read = *read;
                let (buffer, size) = self.inbound.begin_read(self.reads_ahead);
                Step::Read(read, buffer, size)
            }
            (Plan::Pull, Able { items: Some(items), .. }) => {
                let (items, batch) = (*items, self.items.as_mut().and_then(Ready::begin));
                batch.map_or(Step::Rest, |(scratch, most)| Step::Pull(items, scratch, most))
            }
            (Plan::End, _) => Step::End,
            _ => Step::Rest,
        }
    }

    fn begin_seek(&mut self, seek: SeekBy<T>) -> Step<T> {
        match self.seeking {
            Seeking::Wanted(to) => {
                self.seeking = Seeking::Running;
                Step::Seek(seek, to, self.inbound.unread())
            }
            Seeking::No | Seeking::Running | Seeking::Done(..) => Step::Rest,
        }
    }

    /// Ends the step that was begun. Whoever can go on because of it is to be woken.
    pub(super) fn end(&mut self, outcome: Outcome) -> (Wakes, Left) {
        let mut left = Left { untold: self.untold.take(), ..Left::default() };
        let sides = match outcome {
            Outcome::Rewound(result) => {
                self.rewound(result, &mut left);
                Side::all()
            }
            Outcome::Wrote(bytes, written, result) => {
                self.outbound.end_write(bytes, written);
                self.hold(result);
                if self.outbound.buffered() == 0 || self.held.is_some() {
                    Side::all()
                } else {
                    &[Side::Write]
                }
            }
            Outcome::Flushed(result) => {
                self.outbound.flushed(result.is_ok());
                self.hold(result);
                Side::all()
            }
            Outcome::Sought(to, result, moved) => {
                self.seeking = Seeking::Done(to, result);
                if moved {
                    left.tell(self.inbound.forget());
                }
                Side::all()
            }
            Outcome::Called => {
                self.settle = false;
                self.used_otherwise();
                Side::all()
            }
            Outcome::Probed(result) => self.end_probe(result, &mut left),
            Outcome::Read(bytes, result) => {
                match result {
                    Ok(count) => self.inbound.read(bytes, count),
                    Err(error) => self.inbound.failed(error),
                }
                if self.inbound.is_demanded() { Side::none() } else { &[Side::Read] }
            }
            Outcome::Pulled(items, count, done) => {
                match (&mut self.items, self.able.items) {
                    (Some(ready), Some(items_of)) => ready.add(items_of, items, count, done),
                    _ => left.items = Some(items),
                }
                &[Side::Read]
            }
        };
        (self.wakers.take(sides), left)
    }

    pub(super) fn hold(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.held = Some(error);
        }
    }

    /// What a new call is told before anything else, if anything: an error of what went before.
    pub(super) fn enter(&mut self) -> Option<io::Error> {
        self.settle = false;
        self.failure()
    }

    /// The same for a seek to `to`, which fails then: it must not take place later.
    pub(super) fn enter_to_seek(&mut self, to: SeekFrom) -> Option<io::Error> {
        let error = self.enter()?;
        if matches!(self.seeking, Seeking::Wanted(wanted) if wanted == to) {
            self.seeking = Seeking::No;
        }
        Some(error)
    }

    /// An error of what went before. Once told it is over, unless the value is.
    pub(super) fn failure(&mut self) -> Option<io::Error> {
        if let Place::Poisoned(poison) = &self.place {
            return Some(io::Error::other(format!("the value has panicked: {}", poison.message)));
        }
        self.held.take().or_else(|| self.refusal.take())
    }

    /// A seek is still to take effect.
    pub(super) fn is_seek_due(&self) -> bool {
        matches!(self.seeking, Seeking::Wanted(_) | Seeking::Running)
    }

    /// The answer of a seek to `to`.
    pub(super) fn take_sought(&mut self, to: SeekFrom) -> Option<io::Result<u64>> {
        match std::mem::replace(&mut self.seeking, Seeking::No) {
            Seeking::Done(done, result) if done == to => Some(result),
            other => {
                self.seeking = other;
                None
            }
        }
    }

    /// Whether a seek is on its way, which a new call has to wait for. An answer that nobody has
    /// fetched goes to `stale`.
    pub(super) fn is_seeking(&mut self, stale: &mut Seeking) -> bool {
        match self.seeking {
            Seeking::No => false,
            Seeking::Wanted(_) | Seeking::Running => true,
            Seeking::Done(..) => {
                *stale = std::mem::replace(&mut self.seeking, Seeking::No);
                false
            }
        }
    }

    /// Reads without the pump, if it is not needed: the value is at rest, nothing is buffered, and
    /// the system has the bytes in memory.
    pub(super) fn read_cached(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let (Some(read), Place::Home(value)) = (self.able.read_cached, &self.place) else { return None };
        let is_next = matches!(self.seeking, Seeking::No) && !self.is_writing() && self.held.is_none();
        if !is_next || self.inbound.has_answer() || self.inbound.is_demanded() {
            return None;
        }
        match read(value, buffer) {
            Cached::Read(count) => Some(count),
            Cached::NotNow => None,
            Cached::Never => {
                self.able.read_cached = None;
                None
            }
        }
    }

    /// The same into a chunk of its own, for a caller who asks for little.
    pub(super) fn chunk_cached(&mut self, used: &mut Chunk) -> Option<Chunk> {
        self.able.read_cached?;
        let mut bytes = self.inbound.take_buffer(used);
        let count = self.read_cached(&mut bytes).map(|count| (count, bytes));
        count.map(|(count, bytes)| self.inbound.lend(bytes, count))
    }

    /// What reading gives at once.
    pub(super) fn take_end(&mut self) -> Option<io::Result<()>> {
        match self.inbound.take_end()? {
            End::Eof => Some(Ok(())),
            End::Error(error) => Some(Err(error)),
        }
    }

    /// The value has panicked, and is gone.
    #[must_use]
    pub(super) fn poison(&mut self, message: String, payload: Box<dyn Any + Send>) -> Poisoned<T> {
        let of_stream = self.able.items.is_some();
        let (kept, swallowed) = if of_stream { (Some(payload), None) } else { (None, Some(payload)) };
        self.place = Place::Poisoned(Poison { message, payload: kept });
        Poisoned { call: self.call.take(), wakes: self.wakers.take(Side::all()), swallowed }
    }
}

/// What is left to be dropped, and woken, outside of the lock after a panic.
pub(super) struct Poisoned<T> {
    pub(super) call: Option<Call<T>>,
    pub(super) wakes: Wakes,
    pub(super) swallowed: Option<Box<dyn Any + Send>>,
}
