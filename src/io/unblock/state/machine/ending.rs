//! How things end: a value that panics, a pump that the pool refuses, a handle that is dropped.

use std::any::Any;
use std::io;

use super::Machine;
use crate::io::unblock::buffers::items::ItemBuffer;
use crate::io::unblock::buffers::wakers::{Interest, Wakes};
use crate::io::unblock::state::step::{Poison, ValueCall, ValueState};
use crate::sys::exit::Unfinished;

/// What a panic leaves to be dropped, woken and reported outside of the lock.
pub(crate) struct Poisoned<T> {
    pub(crate) call: Option<ValueCall<T>>,
    pub(crate) wakes: Wakes,
    /// The panic's payload, where no stream resumes it.
    pub(crate) payload: Option<Box<dyn Any + Send>>,
}

/// What a handle leaves to be dropped, woken and reported outside of the lock.
pub(crate) struct Abandoned<T> {
    /// The value, if there is nothing left to do with it.
    pub(crate) value: Option<T>,
    /// Dropping it takes no time.
    pub(crate) drops_at_once: bool,
    /// Keeps the process from ending before a value that was written to has been dropped.
    pub(crate) unfinished: Option<Unfinished>,
    pub(crate) call: Option<ValueCall<T>>,
    pub(crate) items: Option<ItemBuffer>,
    pub(crate) write_error: Option<io::Error>,
    pub(crate) read_error: Option<io::Error>,
    /// The payload of a panic that no stream has resumed.
    pub(crate) payload: Option<Box<dyn Any + Send>>,
    pub(crate) wakes: Wakes,
}

impl<T: 'static> Machine<T> {
    /// The value has panicked, and is gone.
    #[must_use]
    pub(crate) fn poison(&mut self, message: String, payload: Box<dyn Any + Send>) -> Poisoned<T> {
        let of_stream = self.capabilities.pull.is_some();
        let (kept, payload) = if of_stream { (Some(payload), None) } else { (None, Some(payload)) };
        self.value = ValueState::Poisoned(Poison { message, payload: kept });
        self.forget_endpoint();
        self.unfinished = None;
        Poisoned { call: self.call.take(), wakes: self.wakers.take(Interest::all()), payload }
    }

    /// The pool has refused the pump, and nothing has to be written. Returns the value if the
    /// handle is gone, and the wakers that wait.
    pub(crate) fn refuse(&mut self, error: io::Error) -> (Option<T>, Wakes) {
        let abandoned = self.abandoned;
        let value = match std::mem::replace(&mut self.value, ValueState::CheckedOut) {
            ValueState::Queued(value) if abandoned => Some(value),
            ValueState::Queued(value) => {
                self.value = ValueState::Idle(value);
                None
            }
            other => {
                self.value = other;
                None
            }
        };
        self.refusal = Some(error);
        self.inbound.forget_demand();
        (value, self.wakers.take(Interest::all()))
    }

    /// The handle is gone.
    #[must_use]
    pub(crate) fn abandon(&mut self) -> Abandoned<T> {
        self.abandoned = true;
        // By what was read ahead the value is moved back before it is written to.
        let read_error = if self.rewind { None } else { self.inbound.forget() };
        let drops_at_once = self.closes_at_once();
        let mut abandoned = Abandoned {
            value: None,
            drops_at_once,
            unfinished: None,
            call: self.call.take(),
            items: self.items.take(),
            // The writes get one more attempt: the last that there can be.
            write_error: self.deferred_error.take(),
            read_error: read_error.or(self.unreported_error.take()),
            payload: match &mut self.value {
                ValueState::Poisoned(poison) => poison.payload.take(),
                _ => None,
            },
            wakes: self.wakers.take(Interest::all()),
        };
        if !self.has_pending_writes() {
            // A pump that is queued will find nothing to do.
            abandoned.value = match std::mem::replace(&mut self.value, ValueState::CheckedOut) {
                ValueState::Idle(value) | ValueState::Queued(value) | ValueState::Paused(value) => {
                    Some(value)
                }
                other => {
                    self.value = other;
                    None
                }
            };
            self.forget_endpoint();
        }
        // Even if all is written: the drop of a value may write, as that of an encoder does.
        if self.capabilities.write.is_some() {
            if abandoned.value.is_some() {
                abandoned.unfinished = Some(self.unfinished.take().unwrap_or_else(Unfinished::new));
            } else if self.has_value() {
                self.unfinished.get_or_insert_with(Unfinished::new);
            }
        }
        abandoned
    }

    /// The pump ends for good. Returns what could not be written, and why; and what keeps the
    /// process from ending before the value has been dropped, which may write too.
    #[must_use]
    pub(crate) fn finish(&mut self) -> (Vec<u8>, Option<io::Error>, Option<Unfinished>) {
        self.value = ValueState::CheckedOut;
        self.forget_endpoint();
        (self.outbound.give_up(), self.deferred_error.take(), self.unfinished.take())
    }
}
