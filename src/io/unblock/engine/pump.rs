//! The pump: the task that works with the value of an `Unblock` as long as there is something to
//! do, and how that gets a thread.
//!
//! # Who runs a pump that was queued
//!
//! From `Queued` (see `state::machine`) a pump gets on by one of these ways, each of which ends in
//! another or in [`run`]:
//!
//! | where it is | what moves it on |
//! |---|---|
//! | in the queue of the pool | a thread of the pool runs it; or the pool discards it: [`refused`], with the reason |
//! | the queue is full: [`wait_for_room`] | a permit: into the queue with it; or the pool is shut down: [`refused`] |
//! | refused with bytes to write, because of a shutdown that has not ended (`SpawnTarget::hold_open`) | into the queue, beyond its limit; the shutdown waits for it |
//! | refused with bytes to write otherwise | the thread of [`left_over`], one for the whole process |
//! | refused with nothing to write | nothing: the value is `Idle`, and all that wait get the reason |
//!
//! So no stream has a thread of its own, and a full queue holds no thread: a pump that waits for
//! room is a waiter in the semaphore of the queue ([`RoomWait`]), in the order in which the pumps
//! came. Reads and writes wait alike. What must not be lost is decided anew at each step from what
//! the machine holds then, since a write may be accepted while a pump that was to read waits.
//!
//! A shutdown closes the semaphore, which ends every wait. The hold that a waiting pump has begun
//! before it looked for room goes with the pump: while it waits, while it is queued, and, where it
//! has been refused with bytes to write, until a thread of the pool runs it after all. So the pool
//! cannot end in between. A pump that was queued without a wait and is discarded is refused by a
//! thread that keeps the pool open itself.

use std::any::Any;
use std::io::{self, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::left_over;
use super::room::RoomWait;
use super::shared::SharedMachine;
use crate::error::TaskError;
use crate::io::aligned::{ALIGNMENT, AlignedBytes};
use crate::io::retry::{retry, retry_when_ready};
use crate::io::unblock::state::capability::{SeekFn, WriteFns, bypasses_cache, is_device};
use crate::io::unblock::state::machine::Machine;
use crate::io::unblock::state::step::{AfterUnlock, PumpStep, StepResult};
use crate::panic::{catch_panic, panic_message, report_panic};
use crate::pool::{HoldOpen, Permit};
use crate::sync::atomic::Ordering;
#[cfg(sidestep_loom)]
use crate::sync::thread;
use crate::sync::{MutexGuard, now};
use crate::sys::descriptor::{DescriptorOf, Direction, descriptor_of};
use crate::sys::exit::finish_here;
use crate::task::{OnShutdown, Task};
use crate::trace::event;

/// How long one pump keeps its thread while others may wait for it.
const TURN: Duration = Duration::from_millis(1);

/// How often a pump in full flow, one that has taken several steps without a pause, looks whether
/// the handle asks for more before it ends: for about as long as the handle takes to use a chunk,
/// so that a stream needs one task and not one for each chunk.
const SPINS: u32 = if cfg!(sidestep_loom) { 0 } else { 1000 };

/// A pump that follows another so soon is part of the same flow.
const PAUSE: Duration = Duration::from_micros(100);

/// Where a pump works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PumpPlace {
    /// On a thread of the pool: it makes room for others once its turn is over.
    Pool,
    /// On the thread of `left_over`: it goes behind the others there once its turn is over.
    LeftOver,
    /// Where there is no other turn for it: it goes on.
    Here,
}

/// The models of this module are about what goes on between handle and pump: any thread will do for
/// the pump.
#[cfg(sidestep_loom)]
pub(super) fn start<T: Send + 'static>(shared: &Arc<SharedMachine<T>>, _: bool) {
    let pumped = Arc::clone(shared);
    thread::spawn(move || run(&pumped, PumpPlace::Here));
}

/// Asks the pool for a thread. A pump that writes is not dropped by a shutdown that discards what
/// is queued.
#[cfg(not(sidestep_loom))]
pub(super) fn start<T: Send + 'static>(shared: &Arc<SharedMachine<T>>, writes: bool) {
    let pump = on_pool(shared);
    let task = match writes {
        true => shared.target().options().on_shutdown(OnShutdown::AlwaysRun).spawn(pump),
        false => shared.target().options().spawn(pump),
    };
    watch(shared, task, None);
}

/// The pump as a closure for the pool.
fn on_pool<T: Send + 'static>(shared: &Arc<SharedMachine<T>>) -> impl FnOnce() + Send + use<T> {
    let pumped = Arc::clone(shared);
    move || run(&pumped, PumpPlace::Pool)
}

/// Lets what is queued on the pool go first, and waits for room if the queue is full. False if the
/// pool has been shut down: then the pump goes on, so that the shutdown waits for its writes.
fn start_again<T: Send + 'static>(shared: &Arc<SharedMachine<T>>, writes: bool) -> bool {
    let pump = on_pool(shared);
    let task = match writes {
        true => shared.target().options().on_shutdown(OnShutdown::AlwaysRun).try_spawn(pump),
        false => shared.target().options().try_spawn(pump),
    };
    match task {
        Ok(task) => watch(shared, task, None),
        Err(rejected) if rejected.error().is_full() => wait_for_room(shared),
        Err(_) => return false,
    }
    true
}

/// Makes [`refused`] run if the pool never runs the pump. Until it is certain that it does, `hold`
/// lasts.
fn watch<T: Send + 'static>(shared: &Arc<SharedMachine<T>>, task: Task<()>, hold: Option<HoldOpen>) {
    let shared = Arc::clone(shared);
    task.on_complete(move |end| {
        if let Err(error) = end {
            refused(&shared, error, hold);
        }
    });
}

/// The pool has not run the pump.
fn refused<T: Send + 'static>(shared: &Arc<SharedMachine<T>>, error: TaskError, hold: Option<HoldOpen>) {
    let Some(mut machine) = shared.machine.lock() else { return };
    if machine.is_running() && error.is_panic() {
        // The pump itself has panicked, and the value went with it.
        let poisoned = machine.poison(error.to_string(), Box::new(()));
        drop(machine);
        poisoned.wakes.wake();
        return catch_panic("a destructor", || drop(poisoned.call)).unwrap_or_default();
    }
    if !machine.is_queued() {
        return;
    }
    if error.is_full() {
        drop(machine);
        return wait_for_room(shared);
    }
    if machine.has_pending_writes() {
        drop(machine);
        return if error.is_shutdown() { write_late(shared, hold) } else { start_apart(shared) };
    }
    let (value, wakes) = machine.refuse(error.into());
    drop(machine);
    wakes.wake();
    catch_panic("a destructor", || drop(value));
}

/// The queue is full: the pump starts when there is room, and no thread waits for that. A shutdown
/// does: it reports nothing before the pump has been let in or refused.
fn wait_for_room<T: Send + 'static>(shared: &Arc<SharedMachine<T>>) {
    let waiting = Arc::clone(shared);
    let (reserve, hold) = shared.target().reserve();
    let wait = RoomWait::new(reserve, move |room| match room {
        Ok(permit) => start_with(&waiting, permit, hold),
        Err(error) => refused(&waiting, error, hold),
    });
    shared.set_room_wait(Arc::clone(&wait));
    wait.start();
}

/// There is room.
fn start_with<T: Send + 'static>(shared: &Arc<SharedMachine<T>>, permit: Permit, hold: Option<HoldOpen>) {
    let Some(machine) = shared.machine.lock() else { return };
    let (is_queued, writes) = (machine.is_queued(), machine.has_pending_writes());
    drop(machine);
    // The handle may have been dropped: then the permit is for another.
    if is_queued {
        let options = shared.target().options();
        let options = if writes { options.on_shutdown(OnShutdown::AlwaysRun) } else { options };
        watch(shared, permit.spawn_with(&options, on_pool(shared)), hold);
    }
}

/// The pool has been shut down, and there are bytes to write. The pool does that before it ends, if
/// it cannot have ended yet.
fn write_late<T: Send + 'static>(shared: &Arc<SharedMachine<T>>, hold: Option<HoldOpen>) {
    match hold.or_else(|| shared.target().hold_open()) {
        Some(hold) => watch(shared, hold.spawn(on_pool(shared)), None),
        None => start_apart(shared),
    }
}

/// Writes on the thread that does so for all ended pools of the process.
fn start_apart<T: Send + 'static>(shared: &Arc<SharedMachine<T>>) {
    let pumped = Arc::clone(shared);
    left_over::write(move || run(&pumped, PumpPlace::LeftOver));
}

/// Works with the value until nothing is left to do, or its turn is over where others wait for
/// theirs.
fn run<T: Send + 'static>(shared: &Arc<SharedMachine<T>>, place: PumpPlace) {
    let Some(mut machine) = shared.machine.lock() else { return };
    let Some(mut value) = machine.start() else { return };
    let began = now();
    let mut flows = machine.was_busy(began, PAUSE);
    let mut steps = 0;
    loop {
        match machine.begin() {
            PumpStep::End => return end(machine, value),
            PumpStep::Close => return close(shared, machine, value),
            PumpStep::Rest if flows && steps > 0 && !machine.is_quiescing() && SPINS > 0 => {
                steps = 0;
                let Some(back) = spin(shared, machine, value) else { return };
                (machine, value) = back;
            }
            PumpStep::Rest => {
                let wakes = machine.rest(value, now());
                shared.progress.fetch_add(1, Ordering::Relaxed);
                drop(machine);
                return wakes.wake();
            }
            step => {
                let descriptor = if machine.is_direct() { descriptor_of::<T>() } else { None };
                let writes = matches!(step, PumpStep::Rewind(..) | PumpStep::Write(..) | PumpStep::Flush(_));
                drop(machine);
                steps += 1;
                flows |= steps > 1;
                let take = || take(step, &mut value, descriptor);
                let take = || if writes { finish_here(take) } else { take() };
                let result = match catch_unwind(AssertUnwindSafe(take)) {
                    Ok(result) => result,
                    Err(payload) => return poison(shared, value, payload),
                };
                let Some(back) = conclude(shared, result, value) else { return };
                (machine, value) = back;
                if place != PumpPlace::Here && now() - began > TURN && machine.has_work() {
                    let writes = machine.requeue(value);
                    drop(machine);
                    if place == PumpPlace::LeftOver {
                        start_apart(shared);
                    } else if !start_again(shared, writes) {
                        run(shared, PumpPlace::Here);
                    }
                    return;
                }
            }
        }
    }
}

/// Takes the step: the I/O of the value happens here. `descriptor` is one that may have to be
/// waited for.
fn take<T: 'static>(step: PumpStep<T>, value: &mut T, descriptor: Option<DescriptorOf<T>>) -> StepResult {
    match step {
        PumpStep::Rewind(seek, unread) => {
            let (result, may_pass) = rewind(value, seek, unread);
            StepResult::Rewound(result, may_pass)
        }
        PumpStep::Write(writing, bytes, from) => {
            let (written, result) = write(value, writing, descriptor, &bytes, from);
            StepResult::Wrote(bytes, written, result)
        }
        PumpStep::Flush(writing) => {
            let fd = descriptor.map(|descriptor| descriptor.find(value));
            StepResult::Flushed(retry_when_ready(fd, Direction::Write, || (writing.flush)(value)))
        }
        PumpStep::Seek(seek, to, unread) => {
            let (result, moved) = seek_from(value, seek, to, unread);
            StepResult::Sought(to, result, moved)
        }
        PumpStep::Call(call) => {
            call(value);
            StepResult::Called
        }
        PumpStep::Probe(seek) => StepResult::Probed(retry(|| seek(value, SeekFrom::Current(0)))),
        PumpStep::Read(read, buffer, size) => {
            let mut bytes = buffer.unwrap_or_else(|| AlignedBytes::zeroed(size));
            let fd = descriptor.map(|descriptor| descriptor.find(value));
            let result = retry_when_ready(fd, Direction::Read, || read(value, &mut bytes));
            if let Ok(count) = result {
                assert!(count <= size, "the reader claims to have read {count} bytes into {size}");
            }
            StepResult::Read(bytes, result)
        }
        PumpStep::Pull(pull, mut items, most) => {
            let (count, done) = pull(value, &mut items, most);
            StepResult::Pulled(items, count, done)
        }
        PumpStep::Rest | PumpStep::Close | PumpStep::End => unreachable!("they are not taken"),
    }
}

/// Writes `bytes` from the given one on. Returns up to where it got.
fn write<T: 'static>(
    value: &mut T,
    writing: WriteFns<T>,
    descriptor: Option<DescriptorOf<T>>,
    bytes: &[u8],
    from: usize,
) -> (usize, io::Result<()>) {
    let fd = descriptor.map(|descriptor| descriptor.find(value));
    let mut written = from;
    while written < bytes.len() {
        let rest = &bytes[written..];
        let result = match retry_when_ready(fd, Direction::Write, || (writing.write)(value, rest)) {
            Err(error) => write_pages(value, writing, rest, error),
            result => result,
        };
        match result {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => {
                assert!(
                    count <= rest.len(),
                    "the writer claims to have written {count} of {} bytes",
                    rest.len()
                );
                written += count;
            }
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// A write has failed with `error`. Past the page cache that may be due to a length that the device
/// does not take, of a caller's last write perhaps, whose bytes follow those of others: what comes
/// before in whole pages is written without them.
fn write_pages<T: 'static>(
    value: &mut T,
    writing: WriteFns<T>,
    bytes: &[u8],
    error: io::Error,
) -> io::Result<usize> {
    let pages = bytes.len() - bytes.len() % ALIGNMENT;
    let is_uneven = pages > 0 && pages < bytes.len();
    if is_uneven && error.kind() == io::ErrorKind::InvalidInput && bypasses_cache(value) {
        return retry(|| (writing.write)(value, &bytes[..pages]));
    }
    Err(error)
}

/// Moves the value back by `unread` bytes. What is no file on a disk may be unable to, whatever it
/// says: then it is not seekable. Returns also whether an error may pass.
fn rewind<T: 'static>(value: &mut T, seek: SeekFn<T>, unread: usize) -> (io::Result<()>, bool) {
    let Ok(back) = i64::try_from(unread) else { return (Err(io::ErrorKind::InvalidInput.into()), false) };
    let (is_device, mut passes) = (is_device(value), false);
    let before = if is_device { retry(|| seek(value, SeekFrom::Current(0))).ok() } else { None };
    let result = retry(|| {
        let result = seek(value, SeekFrom::Current(-back));
        passes = result.as_ref().is_err_and(|error| may_pass(error.kind()));
        result
    });
    let result = match result {
        Ok(place) if is_device && before != place.checked_add(unread as u64) => {
            Err(io::ErrorKind::NotSeekable.into())
        }
        Err(_) if is_device => Err(io::ErrorKind::NotSeekable.into()),
        result => result.map(drop),
    };
    (result, passes)
}

/// An error that says nothing of whether a value can seek.
fn may_pass(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::*;

    matches!(
        kind,
        WouldBlock
            | TimedOut
            | ResourceBusy
            | OutOfMemory
            | StorageFull
            | QuotaExceeded
            | Deadlock
            | StaleNetworkFileHandle
            | NetworkDown
            | NetworkUnreachable
            | HostUnreachable
            | NotConnected
            | ConnectionReset
            | ConnectionAborted
            | BrokenPipe
    )
}

/// Seeks as if the value stood `unread` bytes further back. Returns also whether the value has
/// moved at all.
fn seek_from<T>(value: &mut T, seek: SeekFn<T>, to: SeekFrom, unread: usize) -> (io::Result<u64>, bool) {
    let to = match to {
        SeekFrom::Current(offset) => {
            let unread = i64::try_from(unread).unwrap_or(i64::MAX);
            match offset.checked_sub(unread) {
                Some(offset) => SeekFrom::Current(offset),
                None => match retry(|| seek(value, SeekFrom::Current(-unread))) {
                    Ok(_) => return (retry(|| seek(value, to)), true),
                    Err(error) => return (Err(error), false),
                },
            }
        }
        SeekFrom::Start(_) | SeekFrom::End(_) => to,
    };
    let result = retry(|| seek(value, to));
    let moved = result.is_ok();
    (result, moved)
}

/// The lock and the value, to go on with; `None` if the handle has dropped the value.
type GoOn<'a, T> = Option<(MutexGuard<'a, Machine<T>>, T)>;

/// Records the result, and wakes the callers that it helps.
fn conclude<T: Send + 'static>(shared: &SharedMachine<T>, result: StepResult, value: T) -> GoOn<'_, T> {
    let Some(mut machine) = shared.machine.lock() else {
        // A step has forked, and this is the child: what it worked with is the parent's.
        std::mem::forget(value);
        return None;
    };
    let after = machine.end(result);
    shared.progress.fetch_add(1, Ordering::Relaxed);
    if after.is_empty() {
        return Some((machine, value));
    }
    aside(shared, machine, value, || finish(after))
}

/// Calls, reports and drops what the machine has let go of, without the lock.
pub(super) fn finish(after: AfterUnlock) {
    let AfterUnlock { wakes, seek, unreported, unneeded, items } = after;
    wakes.wake();
    if let Some(error) = &unreported {
        event!(DEBUG, %error, "a read ahead of the caller failed, and the caller has gone elsewhere");
        let _ = error;
    }
    catch_panic("a destructor", || drop((seek, unreported, unneeded, items)));
}

/// Spins for a while in case the handle asks for more.
fn spin<'a, T: Send + 'static>(
    shared: &'a SharedMachine<T>,
    machine: MutexGuard<'a, Machine<T>>,
    value: T,
) -> GoOn<'a, T> {
    let requests = shared.requests.load(Ordering::Relaxed);
    aside(shared, machine, value, || {
        for _ in 0..SPINS {
            if shared.requests.load(Ordering::Relaxed) != requests {
                break;
            }
            std::hint::spin_loop();
        }
    })
}

/// Does something without the lock. Meanwhile the value is where a handle that is dropped can drop
/// it too: a file that has nothing to write is closed, and lets go of its lock, at once.
fn aside<'a, T: Send + 'static>(
    shared: &'a SharedMachine<T>,
    mut machine: MutexGuard<'a, Machine<T>>,
    value: T,
    f: impl FnOnce(),
) -> GoOn<'a, T> {
    machine.pause(value);
    drop(machine);
    f();
    let mut machine = shared.machine.lock()?;
    let value = machine.resume()?;
    Some((machine, value))
}

/// The handle is gone and nothing is left to do, or can be done.
fn end<T: 'static>(mut machine: MutexGuard<'_, Machine<T>>, value: T) {
    let (lost, error, unfinished) = machine.finish();
    drop(machine);
    if let Some(error) = error {
        event!(ERROR, bytes = lost.len(), %error, "what a dropped Unblock had accepted could not be written");
        catch_panic("a destructor", || drop((error, lost)));
    }
    let end = || catch_panic("a destructor", || drop(value)).unwrap_or_default();
    match unfinished {
        Some(unfinished) => unfinished.finish(end),
        None => end(),
    }
}

/// The caller has closed the value.
fn close<T: Send + 'static>(shared: &SharedMachine<T>, machine: MutexGuard<'_, Machine<T>>, value: T) {
    drop(machine);
    finish_here(|| catch_panic("a destructor", || drop(value)));
    let Some(mut machine) = shared.machine.lock() else { return };
    let wakes = machine.closed(None);
    shared.progress.fetch_add(1, Ordering::Relaxed);
    drop(machine);
    wakes.wake();
}

/// The value has panicked.
fn poison<T: Send + 'static>(shared: &SharedMachine<T>, value: T, payload: Box<dyn Any + Send>) {
    let message = panic_message(&*payload).to_owned();
    let Some(mut machine) = shared.machine.lock() else { return std::mem::forget((value, payload)) };
    let poisoned = machine.poison(message, payload);
    drop(machine);
    catch_panic("a destructor", || drop(value));
    catch_panic("a destructor", || drop(poisoned.call));
    poisoned.wakes.wake();
    if let Some(payload) = poisoned.payload {
        report_panic("a value in an Unblock", payload);
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
