//! Lookups of the same name at the same time, which are one question to the system.
//!
//! # The life of a flight
//!
//! ```text
//!     the first caller puts a flight into the table, and asks -------> in the air <-- more callers join
//!                                                                       |      |
//!                        the answer is there: out of the table <--------+      +-------> the last caller has gone:
//!                                  |                                                     out of the table,
//!                                  v                                                     the question is cancelled
//!                        landed: each caller gets a copy
//! ```
//!
//! A flight leaves the table before its answer shows. So a call that begins after any caller has
//! got the answer finds no flight, and asks anew: nothing is ever cached. And a flight that the
//! last caller has left is never joined again: callers join and leave under the lock of the table,
//! and the one that leaves last takes the flight out in that same step, then cancels the question,
//! which ends it where it is still queued. Whatever the task comes to (an answer, a panic, a
//! refusal by the pool, which comes before `ask` returns) is what its callback brings to all
//! callers. Where `ask` itself panics, in the user's code that captures a context, the flight lands
//! with an error, and the panic goes on in the first caller.
//!
//! The locks are taken in this order: the table, then a flight; and no user code runs under them:
//! wakers are cloned before, and called, dropped and cancelled for afterwards.
//!
//! In a forked child the table and every flight are out of reach: a lookup from before the fork is
//! an error there, and one that begins there asks for itself alone.

#[cfg(all(test, not(any(sidestep_loom, sidestep_shuttle))))]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::error::{Origin, Reason, TaskError};
use crate::numbers::NumberMap;
use crate::sync::ProcessMutex;
use crate::task::{CancelHandle, Task, discard, forked_child, next_id, wake};

/// What is looked up: a host and its port, or a text that is not made of the two.
pub(super) type Name = (String, Option<u16>);

/// The flights that are in the air.
#[derive(Default)]
pub(super) struct Flights {
    table: ProcessMutex<Table>,
}

/// The flights in the air, in the order of their names.
type Table = Vec<(Name, Arc<Flight>)>;

/// Where a name is in the table, or would be.
fn find(table: &Table, name: &Name) -> Result<usize, usize> {
    table.binary_search_by(|(known, _)| known.cmp(name))
}

/// One question to the system, and those who wait for the answer.
#[derive(Default)]
struct Flight {
    state: ProcessMutex<FlightState>,
}

#[derive(Default)]
struct FlightState {
    last_id: u64,
    /// The waker of each caller that has polled and found nothing.
    callers: NumberMap<Option<Waker>>,
    question: Option<CancelHandle>,
    answer: Option<Arc<Landing>>,
}

/// What came of a question.
enum Landing {
    Found(Vec<SocketAddr>),
    /// The system's error.
    Failed(io::Error),
    /// The task had no result.
    Lost(TaskError),
}

impl Landing {
    fn copy(&self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Landing::Found(addresses) => Ok(addresses.clone()),
            Landing::Failed(error) => Err(match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            }),
            Landing::Lost(error) => Err(error.clone().into()),
        }
    }
}

impl Flights {
    /// Joins the flight of this name, or begins one. Then `ask` makes the task that asks the
    /// system; it is called without a lock.
    pub(super) fn join(
        self: &Arc<Self>,
        name: Name,
        ask: impl FnOnce() -> Task<io::Result<Vec<SocketAddr>>>,
    ) -> Caller {
        let Some(mut table) = self.table.lock() else { return self.fly_alone(name, ask) };
        let (flight, is_first) = match find(&table, &name) {
            Ok(index) => (Arc::clone(&table[index].1), false),
            Err(index) => {
                let flight = Arc::<Flight>::default();
                table.insert(index, (name.clone(), Arc::clone(&flight)));
                (flight, true)
            }
        };
        let id = flight.add_caller();
        drop(table);
        let caller = Caller { flights: Arc::clone(self), name, flight, id };
        if is_first {
            caller.take_off(ask);
        }
        caller
    }

    /// In a forked child: a flight that no other caller finds.
    fn fly_alone(
        self: &Arc<Self>,
        name: Name,
        ask: impl FnOnce() -> Task<io::Result<Vec<SocketAddr>>>,
    ) -> Caller {
        let flight = Arc::<Flight>::default();
        let id = flight.add_caller();
        let caller = Caller { flights: Arc::clone(self), name, flight, id };
        caller.take_off(ask);
        caller
    }

    /// Takes the flight out of the table, if it is there.
    fn remove(table: &mut Table, name: &Name, flight: &Arc<Flight>) {
        if let Some(index) = find(table, name).ok().filter(|index| Arc::ptr_eq(&table[*index].1, flight)) {
            table.remove(index);
        }
    }
}

impl Flight {
    fn add_caller(&self) -> u64 {
        let Some(mut state) = self.state.lock() else { return 0 };
        state.last_id += 1;
        let id = state.last_id;
        state.callers.insert(id, None);
        id
    }

    /// Shows the answer to all callers.
    fn land(&self, answer: Landing) {
        let Some(mut state) = self.state.lock() else { return };
        state.answer = Some(Arc::new(answer));
        let question = state.question.take();
        let mut wakers = Vec::new();
        state.callers.update(|waker| wakers.extend(waker.take()));
        drop(state);
        drop(question);
        wakers.into_iter().for_each(wake);
    }
}

/// One lookup: a caller that waits for a flight. The drop leaves the flight.
pub(super) struct Caller {
    flights: Arc<Flights>,
    name: Name,
    flight: Arc<Flight>,
    id: u64,
}

impl Caller {
    /// The task that `ask` makes asks the system. If `ask` panics, so does this, and the callers
    /// that have joined meanwhile get an error.
    fn take_off(&self, ask: impl FnOnce() -> Task<io::Result<Vec<SocketAddr>>>) {
        let question = catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|payload| {
            if let Some(mut table) = self.flights.table.lock() {
                Flights::remove(&mut table, &self.name, &self.flight);
            }
            let error = "the caller that asked first has panicked as it spawned the lookup: ask again";
            self.flight.land(Landing::Failed(io::Error::other(error)));
            resume_unwind(payload)
        });
        if let Some(mut state) = self.flight.state.lock() {
            state.question = Some(question.cancel_handle());
        }
        let (flights, name, flight) =
            (Arc::clone(&self.flights), self.name.clone(), Arc::clone(&self.flight));
        question.on_complete(move |result| {
            if let Some(mut table) = flights.table.lock() {
                Flights::remove(&mut table, &name, &flight);
            }
            flight.land(match result {
                Ok(Ok(addresses)) => Landing::Found(addresses),
                Ok(Err(error)) => Landing::Failed(error),
                Err(error) => Landing::Lost(error),
            });
        });
    }

    /// The answer, once it is there.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Vec<SocketAddr>>> {
        let waker = context.waker().clone();
        let Some(mut state) = self.flight.state.lock() else {
            let origin = Origin { id: next_id(), site: Location::caller(), name: None };
            return Poll::Ready(Err(TaskError::new(origin, Reason::NoThread(forked_child())).into()));
        };
        if let Some(answer) = state.answer.clone() {
            drop(state);
            discard(waker);
            return Poll::Ready(answer.copy());
        }
        let old = state.callers.insert(self.id, Some(waker)).flatten();
        drop(state);
        old.into_iter().for_each(discard);
        Poll::Pending
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let table = self.flights.table.lock();
        let Some(mut state) = self.flight.state.lock() else { return };
        let waker = state.callers.remove(self.id).flatten();
        let question = if state.callers.is_empty() { state.question.take() } else { None };
        drop(state);
        if let Some(mut table) = table {
            // A flight that has landed has left the table by itself.
            if question.is_some() {
                Flights::remove(&mut table, &self.name, &self.flight);
            }
        }
        waker.into_iter().for_each(discard);
        question.iter().for_each(CancelHandle::cancel);
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("name", &self.name).finish_non_exhaustive()
    }
}
