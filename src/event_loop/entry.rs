//! What is outstanding in a loop: callbacks, local futures, and tasks with a callback.

use std::any::Any;
use std::future::Future;
use std::mem::replace;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::handle::Handle;
use super::mailbox::{Event, Mailbox};
use super::waker::EntryWaker;
use crate::error::TaskError;
use crate::panic::catch_panic;
use crate::task::{Task, TaskRef};

/// A callback of the loop's thread.
pub(super) type LoopCallback = Box<dyn FnOnce(&Handle)>;
/// A callback that another thread has posted.
pub(super) type PostedCallback = Box<dyn FnOnce(&Handle) + Send>;
pub(super) type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;
pub(super) type LoopMailbox = Mailbox<PostedCallback>;
pub(super) type LoopEvent = Event<PostedCallback>;
pub(super) type LoopWaker = EntryWaker<PostedCallback>;

/// Something outstanding.
pub(super) enum LoopEntry {
    /// A callback that the loop's thread has posted.
    Post(LoopCallback),
    /// A callback that waits for its deadline.
    Timer(LoopCallback),
    /// A task whose callback has not been called.
    Action(Box<dyn Action>, Arc<LoopWaker>),
    /// A local future.
    Future(LocalFuture, Arc<LoopWaker>),
    /// The future of `run_until`, which lies on the stack of that call.
    Root(Arc<LoopWaker>),
}

impl LoopEntry {
    /// The entry's waker, if it is one that waits for a wake-up.
    pub(super) fn waker(&mut self) -> Option<&mut Arc<LoopWaker>> {
        match self {
            LoopEntry::Action(_, waker) | LoopEntry::Future(_, waker) | LoopEntry::Root(waker) => Some(waker),
            LoopEntry::Post(_) | LoopEntry::Timer(_) => None,
        }
    }

    /// Drops the entry unrun. A panic of a destructor is reported.
    pub(super) fn discard(self) {
        match self {
            LoopEntry::Post(callback) | LoopEntry::Timer(callback) => {
                catch_panic("the destructor of a callback that did not run", || drop(callback));
            }
            LoopEntry::Action(action, waker) => {
                waker.retire();
                action.discard();
            }
            LoopEntry::Future(future, waker) => {
                waker.retire();
                catch_panic("the destructor of a local future", || drop(future));
            }
            LoopEntry::Root(waker) => {
                waker.retire();
            }
        }
    }
}

/// A task and its callback, of whatever types.
pub(super) trait Action {
    /// Ready once the task has ended: then `finish` can be called.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()>;
    /// Gives the result up. Returns the task, or its result, for the caller to drop: the drop
    /// cancels the task, and is user code.
    #[must_use]
    fn cancel(&mut self) -> Box<dyn Any>;
    /// Calls the callback with the result.
    fn finish(self: Box<Self>, handle: &Handle);
    /// Cancels the task and drops the callback. A panic of a destructor is reported.
    fn discard(self: Box<Self>);
}

enum CallState<T> {
    Waiting(Task<T>),
    Ended(Result<T, TaskError>),
    Cancelled,
}

/// A task and the callback that gets its result.
pub(super) struct TaskCallback<T, F> {
    state: CallState<T>,
    /// Makes the error of a result that was given up.
    task: TaskRef,
    callback: F,
}

impl<T, F> TaskCallback<T, F> {
    /// # Panics
    ///
    /// If the result has been taken from the task already.
    pub(super) fn new(task: Task<T>, callback: F) -> Self {
        match task.task_ref().cloned() {
            Some(origin) => TaskCallback { task: origin, state: CallState::Waiting(task), callback },
            None => panic!("the result has been taken from the task already: pass a task that is pending"),
        }
    }
}

impl<T, F> Action for TaskCallback<T, F>
where
    T: 'static,
    F: FnOnce(&Handle, Result<T, TaskError>),
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let CallState::Waiting(task) = &mut self.state {
            match Pin::new(task).poll(context) {
                Poll::Ready(result) => self.state = CallState::Ended(result),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    fn cancel(&mut self) -> Box<dyn Any> {
        Box::new(replace(&mut self.state, CallState::Cancelled))
    }

    fn finish(self: Box<Self>, handle: &Handle) {
        let TaskCallback { state, task, callback } = *self;
        let result = match state {
            CallState::Ended(result) => result,
            CallState::Cancelled => Err(task.given_up()),
            CallState::Waiting(_) => unreachable!("a call is finished only once `poll` has been ready"),
        };
        drop(task);
        callback(handle, result);
    }

    fn discard(self: Box<Self>) {
        let TaskCallback { state, task, callback } = *self;
        discard_result(state);
        drop(task);
        catch_panic("the destructor of a callback that did not run", || drop(callback));
    }
}

/// Drops a result that no callback gets, or a task. A panic of its destructor is reported.
pub(super) fn discard_result<T>(result: T) {
    catch_panic("the destructor of a result nobody took", || drop(result));
}
