//! The one loop in which a thread blocks until something has come about: a task's end, a permit, a
//! scope's end, a pool's end, the value of a future or of a chain.
//!
//! # What a thread does before it parks
//!
//! ```text
//!     poll --- ready ---> return
//!       | pending
//!     run what the thread has put off (trampoline) --- there was something ---> poll
//!       | nothing
//!     run a task of its own inline (Help::Run) --> poll
//!       | none
//!     declare the thread blocked, once: its pool may start another
//!       |
//!     register with the host --> look whether to run a task inline --- run ---> poll
//!       |
//!     park --> unregister --> poll
//! ```
//!
//! The thread registers before it looks, so it misses no change of what it looks at; and it has
//! polled with a waker of its parker before both, so it misses no wake-up of what it waits for.
//! `worker::host` says why such waits do not deadlock a pool.
//!
//! # Where the stack has no room
//!
//! Whatever the thread runs meanwhile lies on its stack above the wait, and may wait in turn. It
//! runs nothing where the stack has no room for that (`sync::nesting`):
//!
//! - A task stays queued for another thread. If the pool cannot grow and every other thread of it
//!   waits too (`worker::deep`), the task ends unrun and with the error that says how deep the
//!   thread is, and so the wait is over. That is as sound for a task of a scope as any other end of
//!   it: its closure has been dropped before the scope returns.
//! - What the thread has put off stays put off, and runs when one of the destructors below has
//!   returned. A wait without a deadline would not end before that: it is over at once, with an
//!   error where its output can say so, and with a panic otherwise ([`BlockingWait::too_deep`]).
//!   Only the end of a scope parks: no task of a scope is ever put off.
//!
//! So no wait overflows a stack, whatever its kind; and where nothing has to be run for it, a wait
//! at any depth is as good as another.
//!
//! # Waiting for the end of the thread's own pool
//!
//! A task that awaits the shutdown of its own pool counts as ended while its thread is parked in
//! that wait, and at no other time. So a shutdown that is polled with the waker of such a wait is
//! given the wait's parker, which shows whether the thread is parked; and the thread looks whether
//! the end has come whenever it parks in a wait in which that has happened.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::host::{Blocking, Host, Inline, Watching, host};
use super::reference::TaskRef;
#[cfg(all(feature = "tokio", feature = "tracing"))]
use super::runtime_thread;
use crate::error::Reason;
use crate::sync::nesting::{self, NestedWait, TooDeep};
use crate::sync::{Parker, thread_local_const, trampoline};

/// Something that a thread can block for.
pub(crate) trait BlockingWait {
    type Output;

    /// Whether the wait is for the end of the thread's own pool, in which the thread has no more
    /// part: then it is not declared as blocked.
    const IS_FOR_END: bool = false;

    /// Looks whether the wait is over. If not, the waker of `context` is called when there is
    /// reason to look again.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Self::Output>;

    /// What the thread may do after a poll in vain, before it parks; `host` is its pool, if it is a
    /// pool's thread.
    fn help(&mut self, host: Option<&dyn Host>) -> Help {
        let _ = host;
        Help::Nothing
    }

    /// The thread is about to run something else, which may want what this waits for.
    fn step_aside(&mut self) {}

    /// The wait would never end, for this reason. If that is not the end of it, it is polled again.
    fn fail(&mut self, reason: Reason) -> Poll<Self::Output> {
        let _ = reason;
        Poll::Pending
    }

    /// The thread has put off steps that the wait may depend on, and has no stack left to run them.
    /// Returns the output that says so, or `None` if the wait depends on none of them.
    ///
    /// # Panics
    ///
    /// With what it would say, where the output cannot say it.
    fn too_deep(&mut self, deep: TooDeep) -> Option<Self::Output> {
        panic!("the destructor cannot wait: {deep}, and what it may wait for would run above it")
    }

    /// The parker of this wait. Where the poll runs user code, no other wait may share it: that
    /// code may wait on this thread too, and would take the wake-up.
    fn parker(&self) -> Arc<Parker> {
        Arc::new(Parker::new())
    }
}

/// [`BlockingWait::too_deep`] of a wait for one task: it fails with how deep the thread is.
pub(crate) fn fail_too_deep<W: BlockingWait>(wait: &mut W, deep: TooDeep) -> Option<W::Output> {
    match wait.fail(Reason::TooDeep(deep)) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// What a thread may do for a wait before it parks.
pub(crate) enum Help {
    Nothing,
    /// Run this task inline, if it is still queued, whether or not the pool may grow.
    Run(TaskRef),
    /// Run this task inline, if it is queued and the pool cannot grow: the wait is for it alone.
    RunTarget(TaskRef),
    /// Run this task inline, if there is one and the pool cannot grow: the wait is for it too.
    RunOneOf(Option<TaskRef>),
    /// Run anything that is queued, if the pool cannot grow.
    RunAny,
    /// The wait would never end.
    Fail(Reason),
}

thread_local_const! { static INNERMOST: Cell<*const WaitFrame> = Cell::new(ptr::null()) }

/// A wait of this thread, from its first poll to its end.
struct WaitFrame {
    parker: Arc<Parker>,
    /// The shutdown of the thread's pool has been polled with the waker of this wait.
    awaits_end: Cell<bool>,
}

/// Makes another wait this thread's innermost one again when it is dropped (T6).
struct LeaveWait(*const WaitFrame);

impl Drop for LeaveWait {
    fn drop(&mut self) {
        INNERMOST.with(|slot| slot.set(self.0));
    }
}

/// The parker of this thread's innermost wait, if `waker` is that of the wait itself; then the wait
/// is for the end of the thread's pool, among other things.
pub(crate) fn awaits_end(waker: &Waker) -> Option<Arc<Parker>> {
    // SAFETY: T6: `block` borrows the wait for longer than the slot holds it.
    let wait = unsafe { INNERMOST.with(Cell::get).as_ref() }?;
    if !ptr::eq(waker.data(), Arc::as_ptr(&wait.parker).cast()) {
        return None;
    }
    wait.awaits_end.set(true);
    Some(Arc::clone(&wait.parker))
}

/// Blocks this thread until `wait` is over, or until `deadline` has come: then `None`.
#[track_caller]
pub(crate) fn block<W: BlockingWait>(wait: &mut W, deadline: Option<Instant>) -> Option<W::Output> {
    let mut erased = WithOutput { wait, output: None };
    block_erased(&mut erased, deadline);
    erased.output
}

/// A wait with room for its output.
struct WithOutput<'a, W: BlockingWait> {
    wait: &'a mut W,
    output: Option<W::Output>,
}

/// A [`BlockingWait`] that keeps its output to itself: the loop of all waits is compiled once. What
/// would return the output returns whether there is one.
trait ErasedWait {
    fn is_for_end(&self) -> bool;
    fn poll(&mut self, context: &mut Context<'_>) -> bool;
    fn help(&mut self, host: Option<&dyn Host>) -> Help;
    fn step_aside(&mut self);
    fn fail(&mut self, reason: Reason) -> bool;
    fn too_deep(&mut self, deep: TooDeep) -> bool;
    fn parker(&self) -> Arc<Parker>;
}

impl<W: BlockingWait> WithOutput<'_, W> {
    #[inline]
    fn end(&mut self, output: Option<W::Output>) -> bool {
        self.output = output;
        self.output.is_some()
    }
}

/// The output of a poll, if it is ready.
#[inline]
fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

impl<W: BlockingWait> ErasedWait for WithOutput<'_, W> {
    fn is_for_end(&self) -> bool {
        W::IS_FOR_END
    }

    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        let poll = self.wait.poll(context);
        self.end(ready(poll))
    }

    fn help(&mut self, host: Option<&dyn Host>) -> Help {
        self.wait.help(host)
    }

    fn step_aside(&mut self) {
        self.wait.step_aside();
    }

    fn fail(&mut self, reason: Reason) -> bool {
        let poll = self.wait.fail(reason);
        self.end(ready(poll))
    }

    fn too_deep(&mut self, deep: TooDeep) -> bool {
        let output = self.wait.too_deep(deep);
        self.end(output)
    }

    fn parker(&self) -> Arc<Parker> {
        self.wait.parker()
    }
}

/// Blocks this thread until `wait` has an output, or until `deadline` has come.
#[track_caller]
fn block_erased(wait: &mut dyn ErasedWait, deadline: Option<Instant>) {
    let _nested = NestedWait::enter();
    let frame = WaitFrame { parker: wait.parker(), awaits_end: Cell::new(false) };
    let _leave = LeaveWait(INNERMOST.with(|slot| slot.replace(&raw const frame)));
    let waker = frame.parker.waker();
    let mut context = Context::from_waker(&waker);
    let mut blocking = None;
    let mut in_time = true;
    #[cfg(all(feature = "tokio", feature = "tracing"))]
    let (site, mut has_warned) = (std::panic::Location::caller(), false);
    loop {
        if wait.poll(&mut context) || !in_time {
            return;
        }
        if trampoline::settle(deadline) {
            continue;
        }
        if deadline.is_none() && trampoline::is_stuck().is_some_and(|deep| wait.too_deep(deep)) {
            return;
        }
        let host = host();
        let help = wait.help(host);
        match (&help, host) {
            (Help::Run(task), Some(host)) if nesting::room().is_ok() => {
                host.run_inline_now(task);
                continue;
            }
            _ => {}
        }
        if !wait.is_for_end() && !matches!(help, Help::Fail(_)) {
            blocking.get_or_insert_with(Blocking::enter);
        }
        #[cfg(all(feature = "tokio", feature = "tracing"))]
        if !std::mem::replace(&mut has_warned, true) {
            runtime_thread::warn(site);
        }
        match frame.help_or_park(wait, help, host, deadline) {
            Ok(woken) => in_time = woken,
            Err(reason) => {
                if wait.fail(reason) {
                    return;
                }
            }
        }
    }
}

impl WaitFrame {
    /// Runs something inline or parks. Returns false where `deadline` came first.
    ///
    /// # Errors
    ///
    /// The reason why the wait would never end.
    fn help_or_park(
        &self,
        wait: &mut dyn ErasedWait,
        help: Help,
        host: Option<&dyn Host>,
        deadline: Option<Instant>,
    ) -> Result<bool, Reason> {
        let Some(host) = host else {
            return if let Help::Fail(reason) = help { Err(reason) } else { Ok(self.park(deadline)) };
        };
        match help {
            Help::Nothing => return Ok(self.park(deadline)),
            Help::Fail(reason) => return Err(reason),
            Help::Run(task) => {
                let _watching = Watching::target(host, &task, &self.parker);
                return match nesting::room() {
                    Err(_) if host.may_grow() => Ok(self.park(deadline)),
                    Err(deep) if task.is_queued() => self.park_deep(host, Some(&task), deep, deadline),
                    _ => Ok(true),
                };
            }
            Help::RunTarget(task) => {
                let _watching = Watching::target(host, &task, &self.parker);
                return match host.run_inline(&task) {
                    Inline::Ran => Ok(true),
                    Inline::Waits => Ok(self.park(deadline)),
                    Inline::NoRoom(deep, next) => self.park_deep(host, Some(&next), deep, deadline),
                    Inline::Deadlock => Err(Reason::LaneDeadlock),
                };
            }
            Help::RunOneOf(task) => {
                let _watching = Watching::anything(host, &self.parker);
                if host.may_grow() {
                    // A thread of a reserve leaves it to others.
                    let _wanting = task.as_ref().map(|task| Watching::target(host, task, &self.parker));
                    return Ok(self.park(deadline));
                }
                if let Err(deep) = nesting::room() {
                    return match task.or_else(|| host.first_wanted()) {
                        Some(next) => self.park_deep(host, Some(&next), deep, deadline),
                        None => Ok(self.park(deadline)),
                    };
                }
                match task {
                    Some(task) => _ = host.run_inline_now(&task),
                    None if host.run_wanted() => {}
                    None => return Ok(self.park(deadline)),
                }
            }
            Help::RunAny => {
                let _watching = Watching::anything(host, &self.parker);
                if host.may_grow() || !host.has_queued() {
                    host.want_room();
                    let in_time = self.park(deadline);
                    host.end_wanting_room();
                    return Ok(in_time);
                }
                if let Err(deep) = nesting::room() {
                    return self.park_deep(host, None, deep, deadline);
                }
                wait.step_aside();
                host.run_any_inline();
            }
        }
        Ok(true)
    }

    /// Parks the thread. Returns false where `deadline` came first, and may return early.
    fn park(&self, deadline: Option<Instant>) -> bool {
        if trampoline::settle(deadline) {
            return true;
        }
        let Some(host) = host() else { return self.parker.park(deadline) };
        // A wait with a deadline comes back by itself.
        if deadline.is_some() {
            return self.park_on(host, deadline);
        }
        host.begin_waiting();
        let in_time = self.park_on(host, deadline);
        host.end_waiting();
        in_time
    }

    fn park_on(&self, host: &dyn Host, deadline: Option<Instant>) -> bool {
        if !self.awaits_end.get() {
            return self.parker.park(deadline);
        }
        if !self.parker.show_parked() || !host.begin_parking() {
            return true;
        }
        let in_time = self.parker.park(deadline);
        host.end_parking();
        in_time
    }

    /// Parks the thread until another one has run `target`, or whatever is queued, for which this
    /// one has no stack left. Where there will be no other thread it ends the target.
    ///
    /// # Errors
    ///
    /// How deep it is, where there will be no other thread and there is no target.
    fn park_deep(
        &self,
        host: &dyn Host,
        target: Option<&TaskRef>,
        deep: TooDeep,
        deadline: Option<Instant>,
    ) -> Result<bool, Reason> {
        if host.begin_deep_wait(&self.parker, target) {
            let in_time = self.parker.park(deadline);
            host.end_deep_wait(&self.parker);
            return Ok(in_time);
        }
        let Some(target) = target else { return Err(Reason::TooDeep(deep)) };
        // If it is not queued any more, it has been cancelled meanwhile.
        target.revoke(Reason::TooDeep(deep));
        Ok(true)
    }
}

/// A parker for a wait whose poll runs no user code. Such waits on one thread may share it: each
/// polls before it parks.
#[cfg(not(any(sidestep_loom, sidestep_shuttle)))]
pub(crate) fn shared_parker() -> Arc<Parker> {
    std::thread_local! { static PARKER: Arc<Parker> = Arc::new(Parker::new()) }
    PARKER.try_with(Arc::clone).unwrap_or_else(|_| Arc::new(Parker::new()))
}

/// A parker for one wait.
#[cfg(any(sidestep_loom, sidestep_shuttle))]
pub(crate) fn shared_parker() -> Arc<Parker> {
    Arc::new(Parker::new())
}

/// A future that a thread blocks for.
struct FutureWait<'a, F>(Pin<&'a mut F>);

impl<F: Future> BlockingWait for FutureWait<'_, F> {
    type Output = F::Output;

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<F::Output> {
        self.0.as_mut().poll(context)
    }
}

/// Runs a future to its end on this thread: the bridge in the other direction. Declared as
/// blocking, as by [`will_block`](crate::current::will_block).
///
/// The future is polled here and nowhere else, so it may borrow and need not be `Send`. A future
/// that needs a runtime (tokio's timers and sockets) must be polled inside of it: use that
/// runtime's own handle then.
///
/// Inside a task, wait for another of the same pool by [`Task::wait`](crate::Task::wait), which can
/// run it inline. This function cannot: once the pool has `max_threads`, and all of them wait so
/// for what needs one, **it never returns**.
///
/// ```
/// let sum = sidestep::spawn(|| {
///     sidestep::block_on(async { std::future::ready(40).await + 2 })
/// });
/// assert_eq!(sum.wait()?, 42);
/// # Ok::<(), sidestep::TaskError>(())
/// ```
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    match block(&mut FutureWait(pin!(future)), None) {
        Some(output) => output,
        None => unreachable!("there is no deadline"),
    }
}
