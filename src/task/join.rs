//! Receiving a task's result: by polling, by blocking the thread, by a callback. The public handles
//! are thin wrappers of [`Joint`].
//!
//! - **J1** A joint lets go of its receiver in its own drop or, in place of that, by `let_go`. (An
//!   `Option` would cost each handle a word.)
//! - **J2** What is put off refers to `'static` things alone: it may be run after the code that has
//!   put it off, and after a scope around that. The result of a task is `'static` unless the task
//!   has an observer of its release (T8); and then its drop nests.

use std::mem::{ManuallyDrop, needs_drop, replace};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use super::frame::is_inside;
use super::host::Host;
use super::reference::TaskRef;
use super::wait::{BlockingWait, Help, block};
use crate::error::{Reason, TaskError};
use crate::panic::catch_panic;
use crate::sync::oneshot::Receiver;
use crate::sync::{Mutex, Parker, trampoline};

/// The receiving end of a task. Dropping it neither cancels nor detaches by itself: it lets go.
pub(super) struct Joint<T> {
    /// `None` once the result has been taken.
    task: Option<TaskRef>,
    receiver: ManuallyDrop<Receiver<T>>,
}

impl<T> Joint<T> {
    pub(super) fn new(task: TaskRef, receiver: Receiver<T>) -> Self {
        Joint { task: Some(task), receiver: ManuallyDrop::new(receiver) }
    }

    /// The task, while its result has not been taken.
    pub(super) fn task(&self) -> Option<&TaskRef> {
        self.task.as_ref()
    }

    /// Lets go of the receiver, and gives the task if the result has not been taken.
    pub(super) fn let_go(mut self) -> Option<TaskRef> {
        let task = self.task.take();
        let mut this = ManuallyDrop::new(self);
        // SAFETY: J1: this is in place of the drop, and the joint has nothing else to drop.
        let receiver = unsafe { ManuallyDrop::take(&mut this.receiver) };
        drop_receiver(receiver, task.as_ref());
        task
    }

    /// Lets go of a task that goes on. Its drop does that as well, but where there is no value yet
    /// there is nothing that nests.
    pub(super) fn detach(mut self) {
        if let Some(task) = self.task.take_if(|task| !needs_drop::<T>() || !task.is_ended()) {
            drop(self);
            task.swallow_unwanted();
        }
    }

    /// Polls for the result.
    ///
    /// # Panics
    ///
    /// If the result has been taken.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<T, TaskError>> {
        assert!(self.task.is_some(), "a sidestep task was polled after it had given its result");
        match Pin::new(&mut *self.receiver).poll(context) {
            Poll::Ready(received) => Poll::Ready(self.finish(received.ok())),
            Poll::Pending => match self.task.take_if(|task| task.is_forked()) {
                Some(task) => Poll::Ready(Err(task.forked_error())),
                None => Poll::Pending,
            },
        }
    }

    fn finish(&mut self, value: Option<T>) -> Result<T, TaskError> {
        let task = self.task.take();
        value.ok_or_else(|| match task {
            Some(task) => task.error(),
            None => unreachable!("poll has looked"),
        })
    }

    /// Blocks the thread until the task has ended. On a thread of the task's own pool a queued task
    /// may be run inline.
    pub(super) fn wait(mut self) -> Result<T, TaskError> {
        match block(&mut TaskWait { joint: &mut self, runs_inline: true, is_endless: true }, None) {
            Some(result) => result,
            None => unreachable!("there is no deadline"),
        }
    }

    /// Blocks the thread until the task has ended or `deadline` has come, and then gives the joint
    /// back.
    pub(super) fn wait_until(mut self, deadline: Option<Instant>) -> Result<Result<T, TaskError>, Self> {
        let is_endless = deadline.is_none();
        let result = block(&mut TaskWait { joint: &mut self, runs_inline: false, is_endless }, deadline);
        result.ok_or(self)
    }

    /// Has `callback` called with the result: now if the task has ended, else by the thread that
    /// ends it.
    pub(super) fn call_back<F>(self, callback: F)
    where
        F: FnOnce(Result<T, TaskError>) + Send + 'static,
        T: Send + 'static,
    {
        Arc::new(Callback { stage: Mutex::new(Stage::Waiting(self, callback)) }).wake();
    }
}

impl<T> Drop for Joint<T> {
    fn drop(&mut self) {
        // SAFETY: it is not used again: this is the drop (J1).
        let receiver = unsafe { ManuallyDrop::take(&mut self.receiver) };
        drop_receiver(receiver, self.task.as_ref());
        self.task.iter().for_each(TaskRef::swallow_unwanted);
    }
}

/// Drops a receiver of `task`, unless the result has been taken; and with it the value, if that has
/// arrived, or the waker. Those may own the last handle of another task, with another value or
/// waker, and so on.
#[inline]
fn drop_receiver<T>(receiver: Receiver<T>, task: Option<&TaskRef>) {
    let act = move || _ = catch_panic("the destructor of a result nobody took", || drop(receiver));
    if task.is_some_and(|task| !task.is_watched()) {
        // SAFETY: J2: nothing observes its release, so by T8 the value is `'static`.
        unsafe { trampoline::bounce_unbounded(act) }
    } else {
        act();
    }
}

/// A wait for the end of a task.
struct TaskWait<'a, T> {
    joint: &'a mut Joint<T>,
    runs_inline: bool,
    /// There is no deadline.
    is_endless: bool,
}

impl<T> BlockingWait for TaskWait<'_, T> {
    type Output = Result<T, TaskError>;

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.joint.poll(context)
    }

    fn help(&mut self, _host: Option<&dyn Host>) -> Help {
        match &self.joint.task {
            Some(task) if self.is_endless && is_inside(task) => Help::Fail(Reason::Deadlock),
            Some(task) if self.runs_inline => Help::RunTarget(task.clone()),
            _ => Help::Nothing,
        }
    }

    fn fail(&mut self, reason: Reason) -> Poll<Self::Output> {
        let Some(task) = self.joint.task.take() else { unreachable!("only a task makes the wait fail") };
        let is_running = matches!(reason, Reason::Deadlock);
        let error = TaskError::new(task.origin(), reason);
        if !is_running {
            task.cancel();
        }
        Poll::Ready(Err(error))
    }

    fn parker(&self) -> Arc<Parker> {
        parker()
    }
}

/// A parker for one wait. Waits on one thread may share it: each polls before it parks.
#[cfg(not(any(sidestep_loom, sidestep_shuttle)))]
fn parker() -> Arc<Parker> {
    std::thread_local! { static PARKER: Arc<Parker> = Arc::new(Parker::new()) }
    PARKER.try_with(Arc::clone).unwrap_or_else(|_| Arc::new(Parker::new()))
}

/// A parker for one wait.
#[cfg(any(sidestep_loom, sidestep_shuttle))]
fn parker() -> Arc<Parker> {
    Arc::new(Parker::new())
}

enum Stage<T, F> {
    Waiting(Joint<T>, F),
    Polling,
    /// Woken while polling: the poll must be repeated.
    PollAgain,
    Called,
}

/// A waker that polls the task it waits for and calls back with the result.
struct Callback<T, F> {
    stage: Mutex<Stage<T, F>>,
}

impl<T, F> Wake for Callback<T, F>
where
    F: FnOnce(Result<T, TaskError>) + Send + 'static,
    T: Send + 'static,
{
    fn wake(self: Arc<Self>) {
        let mut stage = self.stage.lock();
        let (mut joint, callback) = match replace(&mut *stage, Stage::Polling) {
            Stage::Waiting(joint, callback) => (joint, callback),
            Stage::Polling | Stage::PollAgain => {
                *stage = Stage::PollAgain;
                return;
            }
            Stage::Called => {
                *stage = Stage::Called;
                return;
            }
        };
        drop(stage);
        let waker = Waker::from(Arc::clone(&self));
        loop {
            let polled = joint.poll(&mut Context::from_waker(&waker));
            let mut stage = self.stage.lock();
            match (polled, &*stage) {
                (Poll::Ready(result), _) => {
                    *stage = Stage::Called;
                    drop(stage);
                    catch_panic("a completion callback", || callback(result));
                    return;
                }
                (Poll::Pending, Stage::PollAgain) => *stage = Stage::Polling,
                (Poll::Pending, _) => {
                    *stage = Stage::Waiting(joint, callback);
                    return;
                }
            }
        }
    }
}
