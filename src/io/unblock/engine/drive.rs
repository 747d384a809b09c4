//! The handle's end of the engine: it asks, spins or waits for the answer, and sees to it that a
//! pump is there; and it leaves.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::pump;
use super::room::RoomWait;
use super::shared::{Setup, SharedMachine};
use crate::io::readiness::ReadyWait;
use crate::io::unblock::buffers::inbound::ReadChunk;
use crate::io::unblock::buffers::sizes::Sizes;
use crate::io::unblock::buffers::wakers::Interest;
use crate::io::unblock::state::machine::{Abandoned, Machine};
use crate::io::unblock::state::request::{Answer, Request};
use crate::io::unblock::state::step::AfterUnlock;
use crate::panic::{catch_panic, report_panic};
use crate::sync::atomic::Ordering;
use crate::sync::{Mutex, MutexGuard, now};
use crate::sys::descriptor::Direction;
use crate::sys::exit::Unfinished;
use crate::task::wake;
use crate::trace::event;

/// For how long a caller that has to wait for a pump at work spins: it wakes itself at once,
/// instead of waiting to be woken. In full flow the pump is done before the caller could fall
/// asleep and be woken. Where that is not so the budget soon shrinks, and now and then is what it
/// was.
struct SpinBudget {
    most: Duration,
    /// When the caller began to spin.
    since: Option<Instant>,
    /// How often the spinning was in vain.
    vain: u8,
    /// The pump's progress when the caller last looked.
    progress: u64,
}

impl SpinBudget {
    /// About as long as it takes to be woken on a machine that is slow in that.
    const MOST: Duration = Duration::from_micros(if cfg!(sidestep_loom) { 0 } else { 50 });
    const LEAST: Duration = Duration::from_micros(if cfg!(sidestep_loom) { 0 } else { 1 });
    /// After spinning in vain so often the budget is what it was.
    const TRIES: u8 = 32;

    const fn new() -> Self {
        SpinBudget { most: Self::MOST, since: None, vain: 0, progress: 0 }
    }

    /// That of a caller that always waits to be woken.
    const fn none() -> Self {
        SpinBudget { most: Duration::ZERO, since: None, vain: 0, progress: 0 }
    }

    /// Whether the caller spins, and the pump has made no progress since.
    fn is_waiting_for(&self, progress: u64) -> bool {
        self.since.is_some() && self.progress == progress
    }

    /// Whether the caller may spin on.
    fn spend(&mut self) -> bool {
        if self.most.is_zero() {
            return false;
        }
        let now = now();
        let since = *self.since.get_or_insert(now);
        now.saturating_duration_since(since) < self.most
    }

    /// The caller waits to be woken.
    fn give_up(&mut self) {
        if self.since.take().is_some() {
            self.vain = (self.vain + 1) % Self::TRIES;
            self.most = if self.vain == 0 { Self::MOST } else { (self.most / 2).max(Self::LEAST) };
        }
    }

    fn succeeded(&mut self) {
        if self.since.take().is_some() {
            self.most = (self.most * 2).min(Self::MOST);
        }
    }
}

/// What a handle has of the engine. Dropping it leaves the value to the pump.
pub(crate) struct Client<T: Send + 'static> {
    shared: Arc<SharedMachine<T>>,
    /// Bytes that are being given out.
    pub(crate) chunk: ReadChunk,
    sizes: Sizes,
    /// What is left of `chunk` has gone back, for a caller that shares the handle.
    is_chunk_void: Mutex<bool>,
    spin: SpinBudget,
    /// A reader and a writer that wait until the descriptor of the value is ready.
    waits: [ReadyWait; 2],
    /// The value, after `get_mut`. The lock is never taken: it makes the handle one that threads
    /// can share, though a value may be one that they cannot.
    checked_out: Mutex<Option<T>>,
    /// The seek that was started by tokio's trait.
    #[cfg(feature = "tokio")]
    pub(crate) started_seek: Option<io::SeekFrom>,
}

impl<T: Send + 'static> Client<T> {
    pub(crate) fn new(value: T, sizes: Sizes, setup: Setup) -> Self {
        Client {
            shared: SharedMachine::new(value, sizes, setup),
            sizes,
            chunk: ReadChunk::default(),
            is_chunk_void: Mutex::new(false),
            spin: SpinBudget::new(),
            waits: [ReadyWait::new(), ReadyWait::new()],
            checked_out: Mutex::new(None),
            #[cfg(feature = "tokio")]
            started_seek: None,
        }
    }

    pub(crate) fn setup(&self) -> &Setup {
        &self.shared.setup
    }

    /// The most bytes that one call moves.
    pub(crate) fn most(&self) -> usize {
        self.sizes.most()
    }

    pub(crate) fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// What is buffered stays; what comes keeps to these limits.
    pub(crate) fn set_sizes(&mut self, sizes: Sizes) {
        self.sizes = sizes;
        if let Some(mut machine) = self.shared.machine.lock() {
            machine.set_sizes(sizes);
            release(&self.shared, machine);
        }
    }

    /// How it is set up, to be changed; `None` while a pump has it, too.
    pub(crate) fn setup_mut(&mut self) -> Option<&mut Setup> {
        Arc::get_mut(&mut self.shared).map(|shared| &mut shared.setup)
    }

    /// `None` in a forked child.
    pub(crate) fn lock(&self) -> Option<MutexGuard<'_, Machine<T>>> {
        self.shared.machine.lock()
    }

    /// Asks `request` until there is an answer.
    pub(crate) fn drive(
        &mut self,
        context: &mut Context<'_>,
        request: &mut Request<'_, T>,
    ) -> Poll<io::Result<Answer>> {
        if request.leaves_seek() {
            self.leave_seek();
        }
        self.put_back();
        self.forget_void();
        if request.takes_value() {
            self.waits.iter_mut().filter_map(ReadyWait::cancel).for_each(wake);
        }
        let [read, write] = &mut self.waits;
        let wait = match request.interest() {
            Interest::Read => Some((read, Direction::Read)),
            Interest::Write => Some((write, Direction::Write)),
            Interest::Written => None,
        };
        // A piece of a file takes longer to write than a caller spins.
        let waits_for_piece = matches!(request, Request::Write { .. }) && self.sizes.is_file();
        let spin = if waits_for_piece { &mut SpinBudget::none() } else { &mut self.spin };
        drive(&self.shared, context, request, &mut self.chunk, spin, wait)
    }

    /// Whether the value was closed, and dropped.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_some_and(|machine| machine.is_closed())
    }

    /// Waits until everything that was accepted has been written. Many callers may wait at a time.
    pub(crate) fn poll_written(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (mut chunk, mut spin) = (ReadChunk::default(), SpinBudget::none());
        drive(&self.shared, context, &mut Request::Written, &mut chunk, &mut spin, None).map_ok(drop)
    }

    /// Waits until the value is at rest. Many callers may wait at a time. The first call of each
    /// has `is_asked` false, which is true from then on.
    pub(crate) fn poll_at_rest(
        &self,
        context: &mut Context<'_>,
        is_asked: &mut bool,
    ) -> Poll<io::Result<()>> {
        let (mut chunk, mut spin) = (ReadChunk::default(), SpinBudget::none());
        // Only one caller hands back what is left of the chunk.
        if !std::mem::replace(is_asked, true) && !std::mem::replace(&mut *self.is_chunk_void.lock(), true) {
            chunk = self.chunk.copy();
            let had_bytes = !chunk.is_empty();
            let polled = drive(&self.shared, context, &mut Request::AtRest, &mut chunk, &mut spin, None);
            // A value that cannot seek leaves it where it is, and so does an error that came first.
            *self.is_chunk_void.lock() = had_bytes && chunk.is_empty();
            return polled.map_ok(drop);
        }
        drive(&self.shared, context, &mut Request::AtRest, &mut chunk, &mut spin, None).map_ok(drop)
    }

    /// How many bytes the value has been read ahead of the caller, if it is at rest but for that,
    /// and no error is to be reported.
    pub(crate) fn unread_at_rest(&mut self) -> Option<usize> {
        self.forget_void();
        self.discard_stale();
        Some(self.lock()?.unread_at_rest()? + self.chunk.unread().len())
    }

    fn forget_void(&mut self) {
        if std::mem::take(self.is_chunk_void.get_mut()) {
            self.chunk = ReadChunk::default();
        }
    }

    /// The caller reads: it does not care any more for a seek that it dropped.
    pub(crate) fn begin_reading(&mut self) {
        self.leave_seek();
        self.forget_void();
        self.discard_stale();
    }

    fn leave_seek(&mut self) {
        #[cfg(feature = "tokio")]
        {
            self.started_seek = None;
        }
    }

    /// Has the next chunk to give out, if that is there. The one before is used up.
    pub(crate) fn next_chunk(&mut self) -> bool {
        let Some(mut machine) = self.shared.machine.lock() else { return false };
        let next = machine.next_chunk(&mut self.chunk);
        release(&self.shared, machine);
        next.map(|next| self.chunk = next).is_some()
    }

    /// Returns a closure that marks, from any thread, what was read ahead as stale: the value has
    /// other bytes there by now.
    pub(crate) fn invalidator(&self) -> impl Fn() + Send + use<T> {
        let shared = Arc::clone(&self.shared);
        // ORDERING: Release pairs with the Acquire in `discard_stale`: what made the bytes stale
        // comes before they are read anew.
        move || shared.stale.store(true, Ordering::Release)
    }

    /// Discards bytes that were marked as stale.
    pub(crate) fn discard_stale(&mut self) {
        let stale = &self.shared.stale;
        // ORDERING: Acquire pairs with the Release in `invalidator`. Relaxed is enough to find
        // nothing: a read that must know has come after the change by a way that orders as well.
        if stale.load(Ordering::Relaxed) && stale.swap(false, Ordering::Acquire) {
            let Some(mut machine) = self.shared.machine.lock() else { return };
            machine.discard_stale(&mut self.chunk);
            release(&self.shared, machine);
        }
    }

    /// The value, after [`check_out`](Client::check_out).
    pub(crate) fn checked_out(&mut self) -> &mut Option<T> {
        self.checked_out.get_mut()
    }

    /// Takes the value out, if it is at rest and nothing is buffered.
    pub(crate) fn check_out(&mut self) {
        let value = self.lock().and_then(|mut machine| machine.check_out());
        *self.checked_out.get_mut() = value;
    }

    /// Puts a value back that was taken out. In a forked child it stays: the machine is the
    /// parent's.
    fn put_back(&mut self) {
        if self.checked_out.get_mut().is_none() {
            return;
        }
        let Some(mut machine) = self.shared.machine.lock() else { return };
        if let Some(value) = self.checked_out.get_mut().take() {
            machine.put_back(value);
        }
    }
}

/// In a forked child the value is the parent's, and so is all that was in progress.
impl<T: Send + 'static> Drop for Client<T> {
    fn drop(&mut self) {
        self.put_back();
        // Before the value, whose descriptor they wait for.
        let waiting = self.waits.each_mut().map(ReadyWait::cancel);
        abandon(&self.shared);
        drop(waiting);
    }
}

fn is_forked() -> io::Error {
    io::Error::other("this is the child of a fork: the value stayed with the parent")
}

/// Asks the machine, and makes the caller spin or wait if there is no answer yet. Then a pump is on
/// its way, if there is anything for it to do.
fn drive<T: Send + 'static>(
    shared: &Arc<SharedMachine<T>>,
    context: &mut Context<'_>,
    request: &mut Request<'_, T>,
    chunk: &mut ReadChunk,
    spin: &mut SpinBudget,
    wait: Option<(&mut ReadyWait, Direction)>,
) -> Poll<io::Result<Answer>> {
    let progress = shared.progress.load(Ordering::Relaxed);
    if spin.is_waiting_for(progress) && !shared.machine.is_forked() && spin.spend() {
        context.waker().wake_by_ref();
        return Poll::Pending;
    }
    let Some(mut machine) = shared.machine.lock() else { return Poll::Ready(Err(is_forked())) };
    let (interest, mut after) = (request.interest(), AfterUnlock::default());
    let mut answer = machine.answer(request, chunk, &mut after);
    if answer.is_some() {
        spin.succeeded();
        release(shared, machine);
    } else if machine.has_pump() && spin.spend() {
        spin.progress = progress;
        release(shared, machine);
        context.waker().wake_by_ref();
    } else if match &wait {
        Some((wait, _)) if machine.is_blocked() => wait.is_set_for(context.waker()),
        _ => machine.has_waker(interest, context.waker()),
    } {
        release(shared, machine);
    } else {
        drop(machine);
        // A waker is user code.
        let waker = context.waker().clone();
        let Some(machine) = shared.machine.lock() else { return Poll::Ready(Err(is_forked())) };
        spin.give_up();
        answer = ask_or_wait(shared, machine, waker, (request, chunk, &mut after), wait);
    }
    if !after.is_empty() {
        pump::finish(after);
    }
    answer.map_or(Poll::Pending, Poll::Ready)
}

/// Asks once more, and leaves `waker` if there is no answer yet: with `wait`, if the descriptor of
/// the value is to be waited for, else with the machine.
fn ask_or_wait<T: Send + 'static>(
    shared: &Arc<SharedMachine<T>>,
    mut machine: MutexGuard<'_, Machine<T>>,
    waker: Waker,
    (request, chunk, after): (&mut Request<'_, T>, &mut ReadChunk, &mut AfterUnlock),
    wait: Option<(&mut ReadyWait, Direction)>,
) -> Option<io::Result<Answer>> {
    let mut answer = machine.answer(request, chunk, after);
    let blocked = machine.take_blocked().zip(wait);
    let unused = match blocked.filter(|_| answer.is_none()) {
        Some((fd, (wait, direction))) => match wait.set(fd, direction, waker) {
            Ok(replaced) => {
                release(shared, machine);
                drop(replaced);
                return None;
            }
            Err(waker) => {
                answer = machine.answer_ordinarily(request, chunk, after);
                waker
            }
        },
        None => waker,
    };
    let unused = if answer.is_none() { machine.add_waker(request.interest(), unused) } else { Some(unused) };
    release(shared, machine);
    drop(unused);
    answer
}

/// Releases the lock, and sees to it that what is to be done will be.
fn release<T: Send + 'static>(shared: &Arc<SharedMachine<T>>, mut machine: MutexGuard<'_, Machine<T>>) {
    if let Some(closed) = machine.take_closed() {
        drop(machine);
        return catch_panic("a destructor", || drop(closed)).unwrap_or_default();
    }
    if let Some(writes) = machine.queue_pump() {
        drop(machine);
        pump::start(shared, writes);
    } else if machine.has_pump() {
        drop(machine);
        shared.requests.fetch_add(1, Ordering::Relaxed);
    }
}

/// The handle is gone: what was accepted is written, then the value is dropped, all on the pool.
fn abandon<T: Send + 'static>(shared: &Arc<SharedMachine<T>>) {
    let Some(mut machine) = shared.machine.lock() else { return };
    let is_queued = machine.is_queued();
    let Abandoned { value, drops_at_once, unfinished, call, items, write_error, read_error, payload, wakes } =
        machine.abandon();
    match value {
        Some(value) => {
            drop(machine);
            if is_queued {
                shared.withdraw_room_wait();
            }
            drop_value(shared, value, drops_at_once, unfinished);
        }
        None => release(shared, machine),
    }
    if let Some(error) = write_error.as_ref().or(read_error.as_ref()) {
        event!(WARN, %error, "an Unblock was dropped before its error was seen");
        let _ = error;
    }
    if let Some(payload) = payload {
        report_panic("a value in an Unblock", payload);
    }
    catch_panic("a destructor", || drop((write_error, read_error)));
    drop((call, items, wakes));
}

/// Drops the value where that may take its time.
fn drop_value<T: Send + 'static>(
    shared: &SharedMachine<T>,
    value: T,
    drops_at_once: bool,
    unfinished: Option<Unfinished>,
) {
    // The models have no pool.
    if drops_at_once || shared.setup.drops_in_place || !std::mem::needs_drop::<T>() || cfg!(sidestep_loom) {
        catch_panic("a destructor", || drop(value));
    } else {
        let end = move || match unfinished {
            Some(unfinished) => unfinished.finish(|| drop(value)),
            None => drop(value),
        };
        match shared.target().options().try_spawn(end) {
            Ok(task) => task.detach(),
            Err(rejected) if rejected.error().is_full() => {
                let end = rejected.into_inner();
                RoomWait::new(shared.target().reserve().0, move |room| match room {
                    Ok(permit) => permit.spawn(end).detach(),
                    Err(_) => _ = catch_panic("a destructor", || drop(end)),
                })
                .start();
            }
            Err(rejected) => _ = catch_panic("a destructor", || drop(rejected)),
        }
    }
}
