//! The pump: the task that works with the value of an `Unblock` as long as there is something to
//! do, and how that gets a thread.

use std::any::Any;
use std::io::{self, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::shared::SharedMachine;
use crate::error::TaskError;
use crate::io::retry::{retry, retry_when_ready};
use crate::io::unblock::state::capability::{SeekFn, WriteFns};
use crate::io::unblock::state::machine::Machine;
use crate::io::unblock::state::step::{AfterUnlock, PumpStep, StepResult};
use crate::panic::{catch_panic, panic_message, report_panic};
use crate::sync::atomic::Ordering;
#[cfg(sidestep_loom)]
use crate::sync::thread;
use crate::sync::{MutexGuard, now, own_thread};
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

/// The models of this module are about what goes on between handle and pump: any thread will do for
/// the pump.
#[cfg(sidestep_loom)]
pub(super) fn start<T: Send + 'static>(shared: &Arc<SharedMachine<T>>, _: bool) {
    let pumped = Arc::clone(shared);
    thread::spawn(move || run(&pumped, false));
}

/// Asks the pool for a thread. A pump that writes is not dropped by a shutdown that discards what
/// is queued.
#[cfg(not(sidestep_loom))]
pub(super) fn start<T: Send + 'static>(shared: &Arc<SharedMachine<T>>, writes: bool) {
    let pumped = Arc::clone(shared);
    let pump = move || run(&pumped, true);
    let task = match writes {
        true => shared.target().options().on_shutdown(OnShutdown::AlwaysRun).spawn(pump),
        false => shared.target().options().spawn(pump),
    };
    watch(shared, task);
}

/// Lets what is queued on the pool go first. False if the pool takes nothing: then the pump goes
/// on, so that a shutdown waits for its writes.
fn start_again<T: Send + 'static>(shared: &Arc<SharedMachine<T>>, writes: bool) -> bool {
    let pumped = Arc::clone(shared);
    let pump = move || run(&pumped, true);
    let task = match writes {
        true => shared.target().options().on_shutdown(OnShutdown::AlwaysRun).try_spawn(pump),
        false => shared.target().options().try_spawn(pump),
    };
    task.map(|task| watch(shared, task)).is_ok()
}

/// Makes [`refused`] run if the pool never runs the pump.
fn watch<T: Send + 'static>(shared: &Arc<SharedMachine<T>>, task: Task<()>) {
    let shared = Arc::clone(shared);
    task.on_complete(move |end| {
        if let Err(error) = end {
            refused(&shared, error);
        }
    });
}

/// The pool has not run the pump.
fn refused<T: Send + 'static>(shared: &Arc<SharedMachine<T>>, error: TaskError) {
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
    if machine.has_pending_writes() {
        drop(machine);
        return start_apart(shared);
    }
    let (value, wakes) = machine.refuse(error.into());
    drop(machine);
    wakes.wake();
    catch_panic("a destructor", || drop(value));
}

/// The pool has ended, and there are bytes to write: on a thread of their own.
fn start_apart<T: Send + 'static>(shared: &Arc<SharedMachine<T>>) {
    let pumped = Arc::clone(shared);
    if let Err(error) = own_thread::start_alone("sidestep-flush".to_owned(), move || run(&pumped, false)) {
        event!(WARN, %error, "there is no thread to write on: writes in place");
        let _ = error;
        run(shared, false);
    }
}

/// Works with the value until nothing is left to do, or, on a thread of the pool, until its turn is
/// over.
fn run<T: Send + 'static>(shared: &Arc<SharedMachine<T>>, is_pooled: bool) {
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
                if is_pooled && now() - began > TURN && machine.has_work() {
                    let writes = machine.requeue(value);
                    drop(machine);
                    if !start_again(shared, writes) {
                        run(shared, false);
                    }
                    return;
                }
            }
        }
    }
}

/// Takes the step: the I/O of the value happens here. `descriptor` is one that may have to be
/// waited for.
fn take<T>(step: PumpStep<T>, value: &mut T, descriptor: Option<DescriptorOf<T>>) -> StepResult {
    match step {
        PumpStep::Rewind(seek, unread) => StepResult::Rewound(rewind(value, seek, unread)),
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
            let mut bytes = buffer.unwrap_or_else(|| vec![0; size]);
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
fn write<T>(
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
        match retry_when_ready(fd, Direction::Write, || (writing.write)(value, rest)) {
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

/// Moves the value back by `unread` bytes.
fn rewind<T>(value: &mut T, seek: SeekFn<T>, unread: usize) -> io::Result<()> {
    let back = i64::try_from(unread).map_err(|_| io::ErrorKind::InvalidInput)?;
    retry(|| seek(value, SeekFrom::Current(-back))).map(|_| ())
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
    let wakes = machine.closed();
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
