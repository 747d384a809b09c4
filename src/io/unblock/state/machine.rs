//! The state machine of an `Unblock`: what was asked of the value, what is buffered each way, and
//! what to do next.
//!
//! The handle and the pump share one [`Machine`] behind a lock. The handle asks; the pump has the
//! value, and does one [`PumpStep`] after another until nothing is left to do, when it leaves the
//! value here and ends. At most one pump exists: a thread that finds the value idle and something
//! to do queues it, under the lock.
//!
//! ```text
//!            something to do              the pump starts
//!   Idle ------------------------> Queued ------------------> Running
//!    | ^                             |                         | ^
//!    | |        the pool refuses     |             without the | | the pump
//!    | +-----------------------------+                    lock v | comes back
//!    | +---------------------------------------------------- Paused
//!    |   nothing to do: from Running                           |
//!    v                                                         | the value panicked
//!  CheckedOut  (get_mut, into_inner)                           v
//!              (also a value that was dropped)              Poisoned
//!  Closed      (poll_close: from Idle, or from Running by way of Closing)
//! ```
//!
//! # Who holds the lock when
//!
//! | state | who has the value | who takes the lock |
//! |---|---|---|
//! | `Idle` | the machine | the handle, for each call |
//! | `Queued` | the machine | the handle; the pump, to begin; the pool's refusal |
//! | `Running` | the pump, without the lock while it takes a step | the handle, to ask; the pump, between two steps |
//! | `Paused` | the machine; the pump calls wakers or spins, without the lock | the handle, to ask, or to drop the value with itself; the pump, to go on |
//! | `CheckedOut` | the handle, or nothing | the handle, to put the value back |
//! | `Closing` | the pump, which drops it without the lock | the handle, to wait for that; the pump, to say that it is done |
//! | `Closed` | nothing | the handle, to learn of it |
//! | `Poisoned` | nothing | the handle, to learn of it |
//!
//! Under the lock nothing blocks and no user code runs, with three exceptions: a read of the page
//! cache and calls of a descriptor (`direct`), which do not block, and the first batch of items of
//! an iterator that has no other user yet. What the machine lets go of is user code when it is
//! dropped or woken; so it leaves in an [`AfterUnlock`], or as a return value, for after the
//! unlock.
//!
//! # The order of steps
//!
//! [`Machine::plan`] is the order of steps. Writes go before everything, since the caller has
//! been answered as if they were done; before them the value is moved back by what was read ahead.
//! After an error of a write nothing goes on before a call has reported it.
//!
//! # Why no handle waits for ever
//!
//! A handle waits only after it has, under one lock, found no answer, said what it wants and left
//! its waker there. Whether that makes something to do is a question to [`Machine::plan`] alone,
//! which handle and pump ask alike. If there is something to do and the value is idle, the handle
//! starts a pump when it releases the lock; if the pump has the value, the pump asks `plan` under
//! the lock before it puts the value back, so it sees what was wanted. A pump that the pool refuses
//! leaves the reason and wakes all that wait. If `plan` has nothing to do, the answer is there or
//! the value is at rest: each step ends by waking those that it may have helped, and a pump that
//! ends wakes all that wait; they look again then. `drive` looks once more after the waker has been
//! cloned, which is user code and done without the lock. Self-waking and spinning (`drive`, `pump`)
//! are hints beside this: a handle or a pump that stops spinning does what is said here.
//!
//! # Why no byte is lost, or written twice
//!
//! Bytes that were accepted are in `outbound`, or with the pump in the one step that writes them,
//! and that hands back what it has not written, together with the error. Bytes that were read are
//! in `inbound`, in the handle's chunk, or in the one step that reads; a dropped call owns none of
//! them. They are given up only when the value has been moved back by as many, and while that is
//! being done no call gets any. The last step of a pump whose handle is gone has no plan but `End`,
//! which `plan` returns only when nothing is left to write or the writing has failed, and then the
//! failure is reported with the number of bytes.

mod answer;
mod closing;
mod direct;
mod ending;
mod rewind;

pub(crate) use self::ending::Abandoned;

use std::io;
use std::task::Waker;
use std::time::{Duration, Instant};

use self::direct::Direct;
use super::capability::{Capabilities, may_read_ahead};
use super::step::{AfterUnlock, Plan, PumpStep, SeekState, StepResult, ValueCall, ValueState};
use crate::io::unblock::buffers::inbound::Inbound;
use crate::io::unblock::buffers::items::ItemBuffer;
use crate::io::unblock::buffers::outbound::Outbound;
use crate::io::unblock::buffers::sizes::Sizes;
use crate::io::unblock::buffers::wakers::{Interest, WakerSet, Wakes};
use crate::sys::descriptor::Fd;
use crate::sys::exit::Unfinished;

/// Everything that the handle and the pump share.
pub(crate) struct Machine<T> {
    value: ValueState<T>,
    capabilities: Capabilities<T>,
    /// The value may be read ahead of the caller.
    reads_ahead: bool,
    /// Whether the value can seek has been tried.
    probed: bool,
    /// That the value can seek is known only from a caller that wants it to.
    seek_is_guess: bool,
    /// The value could not say where it is: it is read in order, and not ahead of the caller, and
    /// moved back where that can be done nonetheless.
    seek_is_doubtful: bool,
    inbound: Inbound,
    outbound: Outbound,
    items: Option<ItemBuffer>,
    seek: SeekState,
    /// The caller has turned from reading to writing: what was read ahead is to be discarded.
    rewind: bool,
    /// That is being done: no call gets what was read ahead meanwhile.
    rewinding: bool,
    call: Option<ValueCall<T>>,
    /// How many calls have begun, and how many have ended.
    calls_begun: u64,
    calls_ended: u64,
    /// The caller wants the value as if nothing were buffered.
    quiesce: bool,
    /// An error that the next call reports: of a write, or of what had to come before it.
    deferred_error: Option<io::Error>,
    /// An error of a read ahead that no call will report, until the pump reports it.
    unreported_error: Option<io::Error>,
    /// The pool would not run the pump.
    refusal: Option<io::Error>,
    /// When the last pump ended.
    idle_since: Option<Instant>,
    /// Whether the descriptor of the value is one to wait for.
    direct: Direct,
    /// The descriptor that the last request has to wait for.
    blocked: Option<Fd>,
    /// The descriptor cannot be waited for at the moment: the request that is being answered goes
    /// to the pump.
    is_ordinary: bool,
    /// The caller closes the value.
    closing: bool,
    /// The handle is gone.
    abandoned: bool,
    /// There is something that must be written before the process ends.
    unfinished: Option<Unfinished>,
    wakers: WakerSet,
}

impl<T: 'static> Machine<T> {
    /// Around `value`, with these limits each way.
    pub(crate) fn new(value: T, sizes: Sizes) -> Self {
        Machine {
            value: ValueState::Idle(value),
            capabilities: Capabilities::of_type(),
            reads_ahead: may_read_ahead::<T>(),
            probed: false,
            seek_is_guess: false,
            seek_is_doubtful: false,
            inbound: Inbound::new(sizes),
            outbound: Outbound::new(sizes),
            items: None,
            seek: SeekState::None,
            rewind: false,
            rewinding: false,
            call: None,
            calls_begun: 0,
            calls_ended: 0,
            quiesce: false,
            deferred_error: None,
            unreported_error: None,
            refusal: None,
            idle_since: None,
            direct: Direct::Unknown,
            blocked: None,
            is_ordinary: false,
            closing: false,
            abandoned: false,
            unfinished: None,
            wakers: WakerSet::default(),
        }
    }

    /// What should be done with the value now.
    fn plan(&self) -> Plan {
        let writable = self.deferred_error.is_none();
        let must_rewind = self.rewind && self.inbound.unread() > 0 && self.capabilities.seek.is_some();
        if writable && must_rewind {
            return Plan::Rewind;
        }
        if writable && self.outbound.waiting() > 0 {
            return Plan::Write;
        }
        let flush = self.outbound.is_flush_requested() || self.quiesce || self.closing || self.abandoned;
        if writable && flush && self.needs_flush() && self.capabilities.write.is_some() {
            return Plan::Flush;
        }
        if self.abandoned {
            return Plan::End;
        }
        if writable && self.closing {
            return Plan::Close;
        }
        if writable && matches!(self.seek, SeekState::Wanted(_)) {
            return Plan::Seek;
        }
        if self.quiesce {
            return self.plan_quiescing();
        }
        if self.is_read_wanted() {
            return if self.probed || self.capabilities.seek.is_none() { Plan::Read } else { Plan::Probe };
        }
        if self.items.as_ref().is_some_and(ItemBuffer::wants_more) { Plan::Pull } else { Plan::Rest }
    }

    fn plan_quiescing(&self) -> Plan {
        if self.deferred_error.is_some() {
            Plan::Rest
        } else if self.inbound.unread() > 0 && self.capabilities.seek.is_some() {
            Plan::Rewind
        } else if self.call.is_some() {
            Plan::Call
        } else {
            Plan::Rest
        }
    }

    /// A flush would change something.
    fn needs_flush(&self) -> bool {
        self.outbound.is_dirty() && !self.capabilities.writes_through
    }

    fn is_read_wanted(&self) -> bool {
        self.capabilities.read.is_some()
            && self.deferred_error.is_none()
            && !self.rewind
            && self.inbound.wants_read(self.reads_ahead && !self.seek_is_doubtful)
    }

    /// There is something to do.
    pub(crate) fn has_work(&self) -> bool {
        !matches!(self.plan(), Plan::Rest | Plan::End)
    }

    /// There is something to do that must not be lost, even if the pool discards what is queued.
    pub(crate) fn has_pending_writes(&self) -> bool {
        matches!(self.plan(), Plan::Rewind | Plan::Write | Plan::Flush | Plan::Close)
    }

    /// The value is here, or with the pump.
    fn has_value(&self) -> bool {
        !matches!(self.value, ValueState::Poisoned(_) | ValueState::CheckedOut | ValueState::Closed(_))
    }

    /// Something that was accepted has not reached the value, or not been flushed where that was
    /// requested, and will be: no error is in the way.
    fn owes_writes(&self) -> bool {
        let has_value = self.has_value();
        let is_full = self.outbound.buffered() > 0;
        // Of a call that runs nothing is known before its end, which may be that of the process.
        let is_dirty = self.outbound.is_dirty() && self.calls_begun == self.calls_ended;
        // What has only been read asks no further.
        (is_full || is_dirty || self.rewind || self.closing)
            && has_value
            && (is_full && self.deferred_error.is_none() || self.has_pending_writes())
    }

    /// Has the exit of the process wait as long as something is to be written. Each change of that
    /// is followed by this call, under the same lock.
    fn account(&mut self) {
        match self.owes_writes() {
            true if self.unfinished.is_none() => self.unfinished = Some(Unfinished::new()),
            // Where the handle is gone the drop of the value is still to come: see `finish`.
            false if self.unfinished.is_some() && !self.abandoned => self.unfinished = None,
            _ => {}
        }
    }

    /// The caller wants the value itself.
    pub(crate) fn is_quiescing(&self) -> bool {
        self.quiesce
    }

    /// Begins the next step.
    pub(crate) fn begin(&mut self) -> PumpStep<T> {
        if self.rewind && self.inbound.unread() == 0 {
            // There is nothing to be discarded, or it has been.
            self.rewind = false;
            self.forget_end();
        }
        match (self.plan(), &self.capabilities) {
            (Plan::Rewind, Capabilities { seek: Some(seek), .. }) => {
                self.rewinding = true;
                PumpStep::Rewind(*seek, self.inbound.unread())
            }
            (Plan::Write, Capabilities { write: Some(write), .. }) => {
                let write = *write;
                let (bytes, written) = self.outbound.begin_write();
                PumpStep::Write(write, bytes, written)
            }
            (Plan::Flush, Capabilities { write: Some(write), .. }) => PumpStep::Flush(*write),
            (Plan::Close, _) => {
                // What was opened beside the value is closed before it.
                self.forget_endpoint();
                self.value = ValueState::Closing;
                PumpStep::Close
            }
            (Plan::Seek, Capabilities { seek: Some(seek), .. }) => {
                let to = self.seek.begin();
                to.map_or(PumpStep::Rest, |to| PumpStep::Seek(*seek, to, self.inbound.unread()))
            }
            (Plan::Call, _) => {
                // A flush that comes while it runs is for what it writes, too.
                self.outbound.set_dirty();
                self.calls_begun += 1;
                self.call.take().map_or(PumpStep::Rest, PumpStep::Call)
            }
            (Plan::Probe, Capabilities { seek: Some(seek), .. }) => PumpStep::Probe(*seek),
            (Plan::Read, Capabilities { read: Some(read), .. }) => {
                let read = *read;
                let (buffer, size) = self.inbound.begin_read();
                PumpStep::Read(read, buffer, size)
            }
            (Plan::Pull, Capabilities { pull: Some(pull), .. }) => {
                let (pull, batch) = (*pull, self.items.as_mut().and_then(ItemBuffer::begin));
                batch.map_or(PumpStep::Rest, |(scratch, most)| PumpStep::Pull(pull, scratch, most))
            }
            (Plan::End, _) => PumpStep::End,
            _ => PumpStep::Rest,
        }
    }

    /// Ends the step that was begun. Callers that can go on because of it are to be woken.
    pub(crate) fn end(&mut self, result: StepResult) -> AfterUnlock {
        let mut after = AfterUnlock { unreported: self.unreported_error.take(), ..AfterUnlock::default() };
        let interests = match result {
            StepResult::Rewound(result, may_pass) => {
                self.rewound(result, may_pass, &mut after);
                Interest::all()
            }
            StepResult::Wrote(bytes, written, result) => {
                self.outbound.end_write(bytes, written);
                self.defer(result);
                if self.outbound.buffered() == 0 || self.deferred_error.is_some() {
                    Interest::all()
                } else {
                    &[Interest::Write]
                }
            }
            StepResult::Flushed(result) => {
                self.outbound.flushed(result.is_ok());
                self.defer(result);
                Interest::all()
            }
            StepResult::Sought(to, result, moved) => {
                self.seek = SeekState::Done(to, result);
                if moved {
                    self.seek_works();
                    after.report(self.inbound.forget());
                } else {
                    self.drop_seek_guess();
                }
                self.seek_of_endpoint_ended();
                Interest::all()
            }
            StepResult::Called => {
                self.calls_ended = self.calls_begun;
                self.quiesce = false;
                self.used_otherwise();
                Interest::all()
            }
            StepResult::Probed(result) => {
                self.end_probe(result, &mut after);
                Interest::none()
            }
            StepResult::Read(bytes, result) => {
                match result {
                    Ok(count) => self.inbound.read(bytes, count),
                    Err(error) => self.inbound.failed(error),
                }
                if self.inbound.is_demanded() { Interest::none() } else { &[Interest::Read] }
            }
            StepResult::Pulled(items, count, done) => {
                match &mut self.items {
                    Some(buffer) => buffer.add(items, count, done),
                    None => after.items = Some(items),
                }
                &[Interest::Read]
            }
        };
        self.account();
        after.wakes = self.wakers.take(interests);
        after
    }

    /// Ends a step that asks where the value is.
    fn end_probe(&mut self, result: io::Result<u64>, after: &mut AfterUnlock) {
        match result {
            Ok(_) => self.inbound.set_fill_fully(true),
            Err(error) => {
                if rewind::says_cannot_seek(&error) {
                    self.cannot_seek();
                } else {
                    self.seek_is_doubtful = true;
                }
                after.unneeded = Some(error);
            }
        }
        self.probed = true;
    }

    /// The next call is to report an error.
    fn defer(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.deferred_error = Some(error);
        }
    }

    /// Asks for a pump, if there is something to do and no pump to do it. Returns whether there
    /// are writes to do, or `None` if no pump is to be started.
    #[must_use]
    pub(crate) fn queue_pump(&mut self) -> Option<bool> {
        self.account();
        if !matches!(self.value, ValueState::Idle(_)) || !self.has_work() {
            return None;
        }
        self.value = match std::mem::replace(&mut self.value, ValueState::Running) {
            ValueState::Idle(value) => ValueState::Queued(value),
            other => other,
        };
        Some(self.has_pending_writes())
    }

    /// The pump has not begun.
    pub(crate) fn is_queued(&self) -> bool {
        matches!(self.value, ValueState::Queued(_))
    }

    /// The pump takes a step.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.value, ValueState::Running)
    }

    /// The pump is there, and will look what is to be done.
    pub(crate) fn has_pump(&self) -> bool {
        matches!(self.value, ValueState::Running | ValueState::Paused(_) | ValueState::Closing)
    }

    /// The pump begins, and has the value from now on. `None` if it is no longer needed.
    #[must_use]
    pub(crate) fn start(&mut self) -> Option<T> {
        match std::mem::replace(&mut self.value, ValueState::Running) {
            ValueState::Queued(value) => Some(value),
            other => {
                self.value = other;
                None
            }
        }
    }

    /// The pump does something without the value.
    pub(crate) fn pause(&mut self, value: T) {
        self.value = ValueState::Paused(value);
    }

    /// The pump has the value again. `None` if the handle was dropped meanwhile, and the value with
    /// it.
    #[must_use]
    pub(crate) fn resume(&mut self) -> Option<T> {
        match std::mem::replace(&mut self.value, ValueState::Running) {
            ValueState::Paused(value) => Some(value),
            other => {
                self.value = other;
                None
            }
        }
    }

    /// The pump makes room for others, and asks for another turn. Returns whether there are writes
    /// to do.
    pub(crate) fn requeue(&mut self, value: T) -> bool {
        self.value = ValueState::Queued(value);
        self.has_pending_writes()
    }

    /// The pump ends, as there is nothing to do. All that wait are to look again.
    pub(crate) fn rest(&mut self, value: T, now: Instant) -> Wakes {
        self.idle_since = Some(now);
        self.value = ValueState::Idle(value);
        self.wakers.take(Interest::all())
    }

    /// Whether the last pump ended no longer than `most` before `now`.
    pub(crate) fn was_busy(&self, now: Instant, most: Duration) -> bool {
        self.idle_since.is_some_and(|since| now.saturating_duration_since(since) < most)
    }

    /// Whether `waker` waits already.
    pub(crate) fn has_waker(&self, interest: Interest, waker: &Waker) -> bool {
        self.wakers.has(interest, waker)
    }

    /// Lets `waker` wait. The one that it replaces is to be dropped outside of the lock.
    #[must_use]
    pub(crate) fn add_waker(&mut self, interest: Interest, waker: Waker) -> Option<Waker> {
        self.wakers.add(interest, waker)
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
