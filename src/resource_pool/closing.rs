//! [`Closing`]: the wait until the values of a resource pool are dropped; and which resource pools
//! a thread is inside a call of, since such a wait there would never end.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::mem::{replace, take};
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::error::{Origin, Reason, TaskError};
use crate::panic::report_panic;
use crate::pool::Pool;
use crate::sync::nesting::TooDeep;
use crate::sync::{ProcessMutex, thread_local_const};
use crate::task::{BlockingWait, Help, Host, block, discard, forked_child, next_id, wake};

/// Whether the values are dropped, and who waits for that.
pub(super) struct CloseSignal(ProcessMutex<CloseState>);

#[derive(Default)]
struct CloseState {
    is_closed: bool,
    /// The first panic of a destructor.
    panic: Option<Reason>,
    last_id: u64,
    waiters: Vec<(u64, Waker)>,
}

impl CloseState {
    /// The result, if there is one. The first who asks gets the payload of a panic.
    fn result(&mut self) -> Option<Result<(), Reason>> {
        if !self.is_closed {
            return None;
        }
        let panic = self.panic.take();
        self.panic = panic.as_ref().map(Reason::copy);
        Some(panic.map_or(Ok(()), Err))
    }

    /// Adds the waker of the waiter `id`. Returns the one that it takes the place of.
    fn add(&mut self, id: &mut Option<u64>, waker: Waker) -> Option<Waker> {
        if let Some((_, known)) = self.waiters.iter_mut().find(|(known, _)| Some(*known) == *id) {
            return Some(replace(known, waker));
        }
        self.last_id += 1;
        *id = Some(self.last_id);
        self.waiters.push((self.last_id, waker));
        None
    }
}

impl CloseSignal {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(CloseSignal(ProcessMutex::default()))
    }

    /// A destructor has panicked.
    pub(super) fn add_panic(&self, payload: Box<dyn Any + Send>) {
        let mut reason = Some(Reason::panicked(payload));
        if let Some(mut state) = self.0.lock() {
            if state.panic.is_none() {
                state.panic = reason.take();
            }
        }
        // The destructor of a payload is user code.
        if let Some(Reason::Panicked(payload)) = reason {
            report_panic("the destructor of a value of a resource pool", payload.into_inner());
        }
    }

    /// All values are dropped.
    pub(super) fn close(&self) {
        let Some(mut state) = self.0.lock() else { return };
        state.is_closed = true;
        let waiters = take(&mut state.waiters);
        drop(state);
        for (_, waker) in waiters {
            wake(waker);
        }
    }

    /// The result, or `waker` is called when there is one; in the place of the one before of `id`.
    fn poll(&self, id: &mut Option<u64>, waker: &Waker) -> Poll<Result<(), Reason>> {
        // Wakers are user code: they are cloned and dropped without the lock.
        let waker = waker.clone();
        let Some(mut state) = self.0.lock() else {
            return Poll::Ready(Err(Reason::NoThread(forked_child())));
        };
        let (result, spare) = match state.result() {
            Some(result) => (Poll::Ready(result), Some(waker)),
            None => (Poll::Pending, state.add(id, waker)),
        };
        drop(state);
        spare.into_iter().for_each(discard);
        result
    }

    fn leave(&self, id: u64) {
        let Some(mut state) = self.0.lock() else { return };
        let index = state.waiters.iter().position(|(known, _)| *known == id);
        let gone = index.map(|index| state.waiters.swap_remove(index));
        drop(state);
        gone.into_iter().for_each(|(_, waker)| discard(waker));
    }
}

thread_local_const! { static INSIDE: RefCell<Vec<usize>> = RefCell::new(Vec::new()) }

/// This thread is inside a call of the resource pool with this signal, until this is dropped.
pub(super) struct Inside(());

impl Inside {
    pub(super) fn enter(signal: &Arc<CloseSignal>) -> Self {
        // A destructor of another variable of the thread may come later than the end of this one.
        let _ = INSIDE.try_with(|inside| inside.borrow_mut().push(Arc::as_ptr(signal).addr()));
        Inside(())
    }

    fn is_inside(signal: &Arc<CloseSignal>) -> bool {
        INSIDE.try_with(|inside| inside.borrow().contains(&Arc::as_ptr(signal).addr())).unwrap_or(false)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = INSIDE.try_with(|inside| inside.borrow_mut().pop());
    }
}

/// The end of a [`ResourcePool`](crate::ResourcePool) that has been
/// [closed](crate::ResourcePool::close): the calls queued before have ended, and all values are
/// dropped.
///
/// # Errors
///
/// [`is_panic`](TaskError::is_panic) if the destructor of a value that was idle then panicked, and
/// [`is_no_thread`](TaskError::is_no_thread) in the child of a fork. The values are dropped all the
/// same.
///
/// # Cancellation
///
/// Dropping it changes nothing: the resource pool is closed all the same.
#[must_use = "the resource pool is closed; await this, or `wait`, to know when the values are dropped"]
pub struct Closing {
    signal: Arc<CloseSignal>,
    pool: Pool,
    id: Option<u64>,
    site: &'static Location<'static>,
}

impl Closing {
    pub(super) fn new(signal: Arc<CloseSignal>, pool: Pool, site: &'static Location<'static>) -> Self {
        Closing { signal, pool, id: None, site }
    }

    /// Blocks this thread until the values are dropped.
    ///
    /// # Errors
    ///
    /// As for the future; besides, [`is_deadlock`](TaskError::is_deadlock) inside a call of this
    /// resource pool. To await it there, or to wait for a task that waits for it, hangs.
    #[track_caller]
    pub fn wait(mut self) -> Result<(), TaskError> {
        match block(&mut self, None) {
            Some(result) => result,
            None => unreachable!("there is no deadline"),
        }
    }

    fn error(&self, reason: Reason) -> TaskError {
        TaskError::new(Origin { id: next_id(), site: self.site, name: None }, reason)
    }
}

impl Future for Closing {
    type Output = Result<(), TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let result = this.signal.poll(&mut this.id, context.waker());
        result.map(|result| result.map_err(|reason| this.error(reason)))
    }
}

impl BlockingWait for Closing {
    type Output = Result<(), TaskError>;

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Self::Output> {
        Future::poll(Pin::new(self), context)
    }

    fn help(&mut self, host: Option<&dyn Host>) -> Help {
        if Inside::is_inside(&self.signal) {
            return Help::Fail(Reason::LaneDeadlock);
        }
        self.pool.help(host)
    }

    fn fail(&mut self, reason: Reason) -> Poll<Self::Output> {
        Poll::Ready(Err(self.error(reason)))
    }

    fn too_deep(&mut self, deep: TooDeep) -> Option<Self::Output> {
        Some(Err(self.error(Reason::TooDeep(deep))))
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.id.into_iter().for_each(|id| self.signal.leave(id));
    }
}

impl UnwindSafe for Closing {}
impl RefUnwindSafe for Closing {}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closing").finish_non_exhaustive()
    }
}
