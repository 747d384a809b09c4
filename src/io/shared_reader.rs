//! One blocking reader, and any number of handles: the machinery of [`stdin`](super::stdin()).
//!
//! A *server* reads from it: a thread that does nothing else, or, where the reader can say when it
//! is ready, a task of a pool for each time that it is.
//!
//! # The protocol
//!
//! The buffer belongs to the shared reader, not to a handle: bytes stay in it until a handle takes
//! them, also when the handle that asked for them is gone. A handle that finds the buffer empty
//! registers its waker; that is the demand. The server reads only while a waker is registered and
//! the buffer is empty, once for each demand: a *round*. After a round it calls all wakers; the
//! handle that is polled first takes what its caller has room for, and a handle that finds nothing
//! left registers again.
//!
//! An end of the input, or an error, is no bytes and cannot be left in the buffer. Every handle
//! that asked before it came reports it: the handle remembers the round that it has asked in, and
//! the shared reader which round was the last to end so. Each later read asks again, as with a
//! terminal, where input may go on after an end.
//!
//! # Why no demand is lost
//!
//! A handle looks into the buffer and registers under one lock, and the thread looks for demand and
//! goes to sleep under that lock too. The handle notifies the thread after it has registered; so
//! the thread either sees the waker or is woken. While the server is in a round it has the buffer,
//! so no handle can take from it, and each handle that registers is woken at the end of the round.
//!
//! A task of a pool ends with its round, and says so under the lock under which it wakes the
//! handles, or finds no demand. The handle that registers next starts another server.

use std::io::{self, Read};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::panic::catch_panic;
use crate::sync::{Condvar, ProcessMutex, trampoline};
use crate::task::wake;

/// The size of the buffer at first, and the most it grows to while whole buffers come in.
const FIRST_SIZE: usize = 8 * 1024;
const MOST: usize = 64 * 1024;

/// How a round ended that brought no bytes: a description, since an error itself can be returned
/// only once.
enum RoundEnd {
    /// There is no more.
    Eof,
    System(i32),
    Other(io::ErrorKind, Arc<str>),
}

impl RoundEnd {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(code) => RoundEnd::System(code),
            None => RoundEnd::Other(error.kind(), error.to_string().into()),
        }
    }

    fn report(&self) -> io::Result<usize> {
        match self {
            RoundEnd::Eof => Ok(0),
            RoundEnd::System(code) => Err(io::Error::from_raw_os_error(*code)),
            RoundEnd::Other(kind, message) => Err(io::Error::new(*kind, message.to_string())),
        }
    }
}

#[derive(Default)]
struct ReaderState {
    /// With the server while that reads.
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    /// How many rounds have been.
    rounds: u64,
    /// The last round without bytes.
    ended: Option<(u64, RoundEnd)>,
    waiting: Vec<(u64, Waker)>,
    /// A server is there, or on its way.
    is_served: bool,
    last_handle: u64,
}

impl ReaderState {
    fn unread(&self) -> &[u8] {
        &self.buffer[self.begin..self.end]
    }

    fn has_demand(&self) -> bool {
        !self.waiting.is_empty() && self.unread().is_empty()
    }

    /// The buffer, for a round, and whether the last one has filled it.
    fn take_buffer(&mut self) -> (Vec<u8>, bool) {
        let buffer = std::mem::take(&mut self.buffer);
        let was_full = self.end == buffer.len();
        (self.begin, self.end) = (0, 0);
        (buffer, was_full)
    }

    /// What a handle that asked in round `asked` has to report.
    fn end_since(&self, asked: Option<u64>) -> Option<io::Result<usize>> {
        let (round, end) = self.ended.as_ref()?;
        asked.filter(|asked| asked <= round).map(|_| end.report())
    }

    /// Removes a handle's waker.
    fn remove(&mut self, handle: u64) -> Option<Waker> {
        let index = self.waiting.iter().position(|(other, _)| *other == handle)?;
        Some(self.waiting.swap_remove(index).1)
    }
}

/// Starts a server, which is to call [`SharedReader::serve`], [`SharedReader::round`] or
/// [`SharedReader::only_round`].
type Start = Box<dyn Fn(&Arc<SharedReader>) -> io::Result<()> + Send + Sync>;

/// The buffer, and the wakers of the handles that wait. In a forked child there is no server, and
/// every read fails.
pub(super) struct SharedReader {
    state: ProcessMutex<ReaderState>,
    demand: Condvar,
    start: Start,
}

impl SharedReader {
    pub(super) fn new(
        start: impl Fn(&Arc<SharedReader>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(SharedReader {
            state: ProcessMutex::default(),
            demand: Condvar::new(),
            start: Box::new(start),
        })
    }

    /// A new handle.
    pub(super) fn handle(self: &Arc<Self>) -> ReaderHandle {
        let number = self.state.lock().map_or(0, |mut state| {
            state.last_handle += 1;
            state.last_handle
        });
        ReaderHandle { shared: Arc::clone(self), number, asked: None }
    }

    /// What a thread does, for ever.
    pub(super) fn serve(&self, mut source: impl Read) {
        while self.round(&mut source).is_some() {}
    }

    /// Waits for demand and reads once. `None` in a forked child.
    pub(super) fn round(&self, source: &mut impl Read) -> Option<()> {
        let buffer = self.await_demand()?;
        self.read_into(buffer, source, true)
    }

    /// Reads once, if there is demand. Then there is no server any more.
    pub(super) fn only_round(&self, source: &mut impl Read) {
        let Some(mut state) = self.state.lock() else { return };
        if state.has_demand() {
            let buffer = state.take_buffer();
            drop(state);
            let _ = self.read_into(enlarged(buffer), source, false);
        } else {
            state.is_served = false;
        }
    }

    fn read_into(&self, mut buffer: Vec<u8>, source: &mut impl Read, stays: bool) -> Option<()> {
        let read = catch_panic("a reader", || read_some(source, &mut buffer));
        let panicked = || Err(RoundEnd::Other(io::ErrorKind::Other, "the reader panicked".into()));
        self.publish(buffer, read.unwrap_or_else(panicked), stays)
    }

    /// There is no server to be had: all handles that wait report why, and later ones try again.
    pub(super) fn refuse(&self, error: &io::Error) {
        let Some(mut state) = self.state.lock() else { return };
        let buffer = state.take_buffer().0;
        drop(state);
        let _ = self.publish(buffer, Err(RoundEnd::of(error)), false);
    }

    /// Takes the buffer out once it is empty and a handle waits.
    fn await_demand(&self) -> Option<Vec<u8>> {
        trampoline::settle(None);
        let mut state = self.state.lock()?;
        while !state.has_demand() {
            state = self.demand.wait(state);
        }
        let buffer = state.take_buffer();
        drop(state);
        Some(enlarged(buffer))
    }

    /// The server is still there afterwards, if it `stays`.
    fn publish(&self, buffer: Vec<u8>, read: Result<usize, RoundEnd>, stays: bool) -> Option<()> {
        let mut state = self.state.lock()?;
        state.is_served = stays;
        let round = state.rounds;
        state.rounds += 1;
        match read {
            Ok(length) => state.end = length.min(buffer.len()),
            Err(end) => state.ended = Some((round, end)),
        }
        state.buffer = buffer;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|(_, waker)| wake(waker));
        Some(())
    }
}

/// A buffer that was filled to the brim is replaced by a larger one.
fn enlarged((buffer, was_full): (Vec<u8>, bool)) -> Vec<u8> {
    match buffer.len() {
        0 => vec![0; FIRST_SIZE],
        size if was_full && size < MOST => vec![0; (2 * size).min(MOST)],
        _ => buffer,
    }
}

/// Reads something: at least one byte.
fn read_some(source: &mut impl Read, buffer: &mut [u8]) -> Result<usize, RoundEnd> {
    loop {
        match source.read(buffer) {
            Ok(0) => return Err(RoundEnd::Eof),
            Ok(length) => return Ok(length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(RoundEnd::of(&error)),
        }
    }
}

/// A handle to a shared reader.
pub(super) struct ReaderHandle {
    shared: Arc<SharedReader>,
    number: u64,
    /// The round it waits for, or a later one.
    asked: Option<u64>,
}

impl ReaderHandle {
    /// Lets `take` copy some of the bytes that are there, and return how many; it is plain copying,
    /// under the lock. 0 is the end.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        take: impl FnOnce(&[u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        // Wakers are user code: cloned before the lock is taken, dropped after it is released.
        let waker = context.waker().clone();
        let Some(mut state) = self.shared.state.lock() else {
            return Poll::Ready(Err(io::Error::other(
                "what reads for this process stayed in its parent: this is a forked child",
            )));
        };
        let result = match state.end_since(self.asked) {
            Some(end) => Some(end),
            None if state.unread().is_empty() => None,
            None => {
                let taken = take(state.unread());
                state.begin += taken;
                Some(Ok(taken))
            }
        };
        let old = state.remove(self.number);
        let Some(result) = result else {
            self.asked.get_or_insert(state.rounds);
            state.waiting.push((self.number, waker));
            let starts = !std::mem::replace(&mut state.is_served, true);
            drop(state);
            drop(old);
            self.shared.demand.notify_one();
            return if starts { self.start() } else { Poll::Pending };
        };
        self.asked = None;
        drop(state);
        drop((old, waker));
        Poll::Ready(result)
    }

    /// Starts a server. If the system refuses it all handles that wait are woken: each tries
    /// again.
    fn start(&mut self) -> Poll<io::Result<usize>> {
        let Err(error) = (self.shared.start)(&self.shared) else { return Poll::Pending };
        self.asked = None;
        let Some(mut state) = self.shared.state.lock() else { return Poll::Ready(Err(error)) };
        state.is_served = false;
        let own = state.remove(self.number);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(own);
        waiting.into_iter().for_each(|(_, waker)| wake(waker));
        Poll::Ready(Err(error))
    }
}

impl Drop for ReaderHandle {
    fn drop(&mut self) {
        let waker = self.shared.state.lock().and_then(|mut state| state.remove(self.number));
        drop(waker);
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
