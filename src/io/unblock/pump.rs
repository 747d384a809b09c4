//! The pump: the task that works with the value of an `Unblock` as long as there is something to
//! do.

use std::any::Any;
use std::io::{self, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::known::SeekBy;
use super::shared::Shared;
use super::step::{Outcome, Place, Plan, Step, Writing};
use super::wakers::Side;
use crate::panic::{catch_panic, panic_message, report_panic};
use crate::sync::{MutexGuard, now};
use crate::trace::event;

/// How long one pump keeps its thread while others may wait for it.
const TURN: Duration = Duration::from_millis(1);

/// How often a pump in full flow, one that has taken several steps without a pause, looks whether
/// it is asked for more before it ends: for about as long as the handle takes to use a chunk, so
/// that a stream needs one task and not one for each chunk.
const LOOKS: u32 = if cfg!(sidestep_loom) { 0 } else { 1000 };

/// A pump that follows another so soon is part of the same flow.
const PAUSE: Duration = Duration::from_micros(100);

/// Works with the value until nothing is left to do, or, on a thread of the pool, others should
/// have that.
pub(super) fn run<T: Send + 'static>(shared: &Arc<Shared<T>>, is_pooled: bool) {
    let mut core = shared.lock();
    let mut value = match std::mem::replace(&mut core.place, Place::Out) {
        Place::Queued(value) => value,
        other => {
            core.place = other;
            return;
        }
    };
    let began = now();
    let mut flows = core.rested.is_some_and(|rested| began.saturating_duration_since(rested) < PAUSE);
    let mut steps = 0;
    loop {
        match core.begin() {
            Step::End => return end(core, value),
            Step::Rest if flows && steps > 0 && !core.settle && LOOKS > 0 => {
                steps = 0;
                let Some(back) = linger(shared, core, value) else { return };
                (core, value) = back;
            }
            Step::Rest => {
                core.rested = Some(now());
                core.place = Place::Home(value);
                shared.announce();
                let wakes = core.wakers.take(Side::all());
                drop(core);
                return wakes.wake();
            }
            step => {
                drop(core);
                steps += 1;
                flows |= steps > 1;
                let outcome = match catch_unwind(AssertUnwindSafe(|| take(step, &mut value))) {
                    Ok(outcome) => outcome,
                    Err(payload) => return poison(shared, value, payload),
                };
                let Some(back) = conclude(shared, outcome, value) else { return };
                (core, value) = back;
                if is_pooled && now() - began > TURN && !matches!(core.plan(), Plan::Rest | Plan::End) {
                    core.place = Place::Queued(value);
                    let laden = core.is_laden();
                    drop(core);
                    if !shared.start_again(laden) {
                        run(shared, false);
                    }
                    return;
                }
            }
        }
    }
}

/// Takes the step.
fn take<T>(step: Step<T>, value: &mut T) -> Outcome {
    match step {
        Step::Rewind(seek, unread) => Outcome::Rewound(rewind(value, seek, unread)),
        Step::Write(writing, bytes, from) => {
            let (written, result) = write(value, writing, &bytes, from);
            Outcome::Wrote(bytes, written, result)
        }
        Step::Flush(writing) => Outcome::Flushed(retry(|| (writing.flush)(value))),
        Step::Seek(seek, to, unread) => {
            let (result, moved) = seek_from(value, seek, to, unread);
            Outcome::Sought(to, result, moved)
        }
        Step::Call(call) => {
            call(value);
            Outcome::Called
        }
        Step::Probe(seek) => Outcome::Probed(retry(|| seek(value, SeekFrom::Current(0)))),
        Step::Read(read, buffer, size) => {
            let mut bytes = buffer.unwrap_or_else(|| vec![0; size]);
            let result = retry(|| read(value, &mut bytes));
            if let Ok(count) = result {
                assert!(count <= size, "the reader claims to have read {count} bytes into {size}");
            }
            Outcome::Read(bytes, result)
        }
        Step::Pull(items_of, mut items, most) => {
            let (count, done) = (items_of.pull)(value, &mut items, most);
            Outcome::Pulled(items, count, done)
        }
        Step::Rest | Step::End => unreachable!("they are not taken"),
    }
}

/// Repeats a call that was interrupted by a signal. One that would block is no way to fail for a
/// blocking value, and the traits of an asynchronous one do not allow it.
pub(crate) fn retry<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::other(format!("the value is in non-blocking mode: {error}")));
            }
            result => return result,
        }
    }
}

/// Writes `bytes` from the given one on; says up to where it got.
fn write<T>(value: &mut T, writing: Writing<T>, bytes: &[u8], from: usize) -> (usize, io::Result<()>) {
    let mut written = from;
    while written < bytes.len() {
        let rest = &bytes[written..];
        match retry(|| (writing.write)(value, rest)) {
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
fn rewind<T>(value: &mut T, seek: SeekBy<T>, unread: usize) -> io::Result<()> {
    let back = i64::try_from(unread).map_err(|_| io::ErrorKind::InvalidInput)?;
    retry(|| seek(value, SeekFrom::Current(-back))).map(|_| ())
}

/// Seeks as if the value stood `unread` bytes further back; says also whether it has moved at all.
fn seek_from<T>(value: &mut T, seek: SeekBy<T>, to: SeekFrom, unread: usize) -> (io::Result<u64>, bool) {
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

/// The right to go on, and the value; nothing if the handle has dropped the value.
type GoOn<'a, T> = Option<(MutexGuard<'a, Core<T>>, T)>;

/// Records the outcome, and wakes whom it helps.
fn conclude<T: Send + 'static>(shared: &Shared<T>, outcome: Outcome, value: T) -> GoOn<'_, T> {
    let mut core = shared.lock();
    let (wakes, left) = core.end(outcome);
    shared.announce();
    if wakes.is_empty() && left.is_empty() {
        return Some((core, value));
    }
    aside(shared, core, value, || {
        wakes.wake();
        if let Some(error) = &left.untold {
            event!(DEBUG, %error, "a read ahead of the caller failed, and the caller has gone elsewhere");
            let _ = error;
        }
        catch_panic("a destructor", || drop(left));
    })
}

/// Looks for a while whether the handle asks for more.
fn linger<'a, T: Send + 'static>(
    shared: &'a Shared<T>,
    core: MutexGuard<'a, Core<T>>,
    value: T,
) -> GoOn<'a, T> {
    let bell = shared.bell();
    aside(shared, core, value, || {
        for _ in 0..LOOKS {
            if shared.bell() != bell {
                break;
            }
            std::hint::spin_loop();
        }
    })
}

/// Does something without the lock. Meanwhile the value is where a handle that is dropped can drop
/// it too: a file that has nothing to write is closed, and lets go of its lock, at once.
fn aside<'a, T: Send + 'static>(
    shared: &'a Shared<T>,
    mut core: MutexGuard<'a, Core<T>>,
    value: T,
    f: impl FnOnce(),
) -> GoOn<'a, T> {
    core.place = Place::Watched(value);
    drop(core);
    f();
    let mut core = shared.lock();
    match std::mem::replace(&mut core.place, Place::Out) {
        Place::Watched(value) => Some((core, value)),
        other => {
            core.place = other;
            None
        }
    }
}

/// The handle is gone and nothing is left to do, or can be done.
fn end<T>(mut core: MutexGuard<'_, Core<T>>, value: T) {
    core.place = Place::Lent;
    let lost = core.outbound.give_up();
    let held = core.held.take();
    drop(core);
    if let Some(error) = held {
        event!(ERROR, bytes = lost.len(), %error, "what a dropped Unblock had accepted could not be written");
        catch_panic("a destructor", || drop((error, lost)));
    }
    catch_panic("a destructor", || drop(value));
}

/// The value has panicked.
fn poison<T: Send + 'static>(shared: &Shared<T>, value: T, payload: Box<dyn Any + Send>) {
    let message = panic_message(&*payload).to_owned();
    let left = shared.lock().poison(message, payload);
    catch_panic("a destructor", || drop(value));
    catch_panic("a destructor", || drop(left.call));
    left.wakes.wake();
    if let Some(payload) = left.swallowed {
        report_panic("a value in an Unblock", payload);
    }
}
