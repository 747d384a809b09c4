//! A task whose result goes to a callback on the loop's thread, and the token that cancels it.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::mem::replace;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::handle::Handle;
use super::slots::Key;
use crate::error::TaskError;
use crate::panic::catch_panic;
use crate::task::{Task, TaskRef};

/// A task and its callback, whatever their types.
pub(super) trait Action {
    /// Whether the result is there. If so, `finish` can be called, and else the waker of `context`
    /// will tell.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()>;
    /// Gives the result up. What is returned is the task, or what came of it: its drop cancels, and
    /// is foreign code.
    #[must_use]
    fn cancel(&mut self) -> Box<dyn Any>;
    /// Calls back.
    fn finish(self: Box<Self>, handle: &Handle);
    /// Cancels the task and drops the callback, whatever the destructors do.
    fn discard(self: Box<Self>);
}

enum Stage<T> {
    Waiting(Task<T>),
    Ended(Result<T, TaskError>),
    Cancelled,
}

/// A task that ends, and what is then to be called.
pub(super) struct Call<T, F> {
    stage: Stage<T>,
    /// For the error of a result that was given up.
    task: TaskRef,
    callback: F,
}

impl<T, F> Call<T, F> {
    /// # Panics
    ///
    /// If the task has given its result already.
    pub(super) fn new(task: Task<T>, callback: F) -> Self {
        match task.task_ref().cloned() {
            Some(origin) => Call { task: origin, stage: Stage::Waiting(task), callback },
            None => panic!("the task has given its result"),
        }
    }
}

impl<T, F> Action for Call<T, F>
where
    T: 'static,
    F: FnOnce(&Handle, Result<T, TaskError>),
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Stage::Waiting(task) = &mut self.stage {
            match Pin::new(task).poll(context) {
                Poll::Ready(result) => self.stage = Stage::Ended(result),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    fn cancel(&mut self) -> Box<dyn Any> {
        Box::new(replace(&mut self.stage, Stage::Cancelled))
    }

    fn finish(self: Box<Self>, handle: &Handle) {
        let Call { stage, task, callback } = *self;
        let result = match stage {
            Stage::Ended(result) => result,
            Stage::Cancelled => Err(task.given_up()),
            Stage::Waiting(_) => unreachable!("only what has been polled to its end is finished"),
        };
        drop(task);
        callback(handle, result);
    }

    fn discard(self: Box<Self>) {
        let Call { stage, task, callback } = *self;
        give_up(stage);
        drop(task);
        catch_panic("the destructor of a callback that did not run", || drop(callback));
    }
}

/// Drops what [`Action::cancel`] returns, or the like.
pub(super) fn give_up<T>(remains: T) {
    catch_panic("the destructor of a result nobody took", || drop(remains));
}

/// Stands for an action whose callback is outstanding: what [`Handle::offload`] returns. Only its
/// [`cancel`](Offload::cancel) does anything; dropping it leaves the action alone.
#[derive(Clone)]
pub struct Offload {
    handle: Handle,
    key: Key,
}

impl Offload {
    pub(super) fn new(handle: Handle, key: Key) -> Self {
        Offload { handle, key }
    }

    /// Cancels the action, and has its callback called in a later turn (or later in this one) with
    /// an `Err` for which [`is_cancelled`](TaskError::is_cancelled) is true. That is so whatever
    /// becomes of the action, even if it has ended already, as long as the callback has not been
    /// called. After that, or after the end of the loop, it does nothing.
    ///
    /// As with [`Task`]: an action that is still queued is dropped at once; one that is running is
    /// told, runs to its own end, and its result is dropped.
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// use sidestep::EventLoop;
    ///
    /// let mut ev = EventLoop::new();
    /// let called = Rc::new(Cell::new(false));
    /// let seen = Rc::clone(&called);
    /// let action = ev.offload(|| 6 * 7, move |_, result| seen.set(result.unwrap_err().is_cancelled()));
    /// action.cancel();
    /// assert!(!called.get(), "never inside of the call");
    /// ev.run();
    /// assert!(called.get());
    /// ```
    pub fn cancel(&self) {
        self.handle.cancel_action(self.key);
    }
}

impl fmt::Debug for Offload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offload").field("is_outstanding", &self.handle.holds(self.key)).finish()
    }
}
