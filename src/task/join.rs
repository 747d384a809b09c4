//! The receiving end of a task: how its result is polled for, waited for by a blocked thread, or
//! passed to a callback.
//!
//! # Who makes the oneshot
//!
//! The result lies in the task's cell from the end on. A join that finds the task ended takes it
//! there, and no channel was ever made. A join that comes too early makes a oneshot, polls the
//! receiver with its waker, and then leaves the sender, the *bell*, in the cell. The thread that
//! ends the task takes the bell out first, ends the task and rings: it drops the sender. That wakes
//! the join, which finds the end.
//!
//! ```text
//!   the join                                     the thread that ends the task
//!     ended? --- yes ---> take the result          wants the handle the result? --- no ---> drop it
//!       | no                                         | yes
//!     make the channel, poll the receiver          is there a bell? --- yes ---> take it out
//!       |                                            | no
//!     write the bell into the cell                   v
//!       |                                          CLAIMED -> ENDED, by a compare-exchange: if the
//!     set BELL, by fetch_or ----.                  word has changed since, again from the start
//!       | ended before          | not ended          |
//!     take the bell back,       pending            ring the bell, if there was one
//!     take the result
//! ```
//!
//! No wake-up is lost: `BELL` and `ENDED` are bits of one word. If `BELL` came first, the
//! compare-exchange that sets `ENDED` has seen it, so the bell is rung after the end; the waker has
//! been with the receiver since before. If `ENDED` came first, the join sees that in the value that
//! its own `fetch_or` returns. A later poll looks at the word first and then gives the new waker to
//! the receiver; a receiver that is ready by then has been rung, and the end that came before the
//! ring shows in the word.
//!
//! - **J1** What is put off refers to `'static` things alone: it may be run after the code that has
//!   put it off, and after a scope around that. The result of a task is `'static` unless the task
//!   has an observer of its release (T8); and then its drop nests, as that of its closure does.

use std::mem::replace;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use super::bell::Bell;
use super::frame::is_inside;
use super::host::Host;
use super::look::{Patience, heard_bell, left_bell, look};
use super::reference::TaskRef;
use super::result::ResultRef;
use super::wait::{BlockingWait, Help, block, fail_too_deep, shared_parker};
use crate::error::{Reason, TaskError};
use crate::panic::catch_panic;
use crate::sync::nesting::TooDeep;
use crate::sync::oneshot::{Receiver, channel};
use crate::sync::{Mutex, Parker, trampoline};

/// The receiving end of a task. Dropping it neither cancels nor detaches by itself: it lets go.
pub(super) struct RawJoin<T> {
    /// `None` once the result has been taken.
    result: Option<ResultRef<T>>,
    /// What hears the bell, once the join has had to wait.
    ear: Option<Receiver<()>>,
}

impl<T> RawJoin<T> {
    pub(super) fn new(result: ResultRef<T>) -> Self {
        RawJoin { result: Some(result), ear: None }
    }

    /// The task, while its result has not been taken.
    #[inline]
    pub(super) fn task(&self) -> Option<&TaskRef> {
        self.result.as_ref().map(ResultRef::task)
    }

    /// The right to the result, of a task that has not been polled: so no bell lies in its cell.
    pub(super) fn into_result(mut self) -> Option<ResultRef<T>> {
        debug_assert!(self.ear.is_none(), "T10: a second bell would be written over the first");
        self.result.take()
    }

    /// Cancels the task, if its result has not been taken.
    #[inline]
    pub(super) fn cancel(&mut self) {
        // First: no handle waits any more, so cancelling should wake none.
        self.drop_ear();
        if let Some(result) = self.result.take() {
            result.cancel();
        }
    }

    /// Lets go of a task that goes on.
    #[inline]
    pub(super) fn detach(mut self) {
        self.drop_ear();
        if let Some(result) = self.result.take() {
            // There is nothing left to drop: the compiler does not see that.
            std::mem::forget(self);
            result.detach();
        }
    }

    /// Drops the receiver, and with it the waker, which may own the last handle of another task,
    /// with another waker, and so on.
    #[inline]
    fn drop_ear(&mut self) {
        if let Some(ear) = self.ear.take() {
            self.drop_heard(ear);
        }
    }

    fn drop_heard(&self, ear: Receiver<()>) {
        let act = move || _ = catch_panic("the destructor of a waker", || drop(ear));
        if self.task().is_some_and(|task| !task.may_borrow()) {
            trampoline::bounce(act);
        } else {
            act();
        }
    }

    /// Polls for the result.
    ///
    /// # Panics
    ///
    /// If the result has been taken.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<T, TaskError>> {
        self.poll_for(Some(Patience::Poll), context)
    }

    /// Polls, with a look at a task that has not ended where there is `patience` for one.
    fn poll_for(
        &mut self,
        patience: Option<Patience>,
        context: &mut Context<'_>,
    ) -> Poll<Result<T, TaskError>> {
        let Some(result) = &mut self.result else {
            panic!("a sidestep task was polled after it had given its result")
        };
        if !result.task().is_ended() {
            if result.task().is_forked() {
                return Poll::Ready(Err(self.lose()));
            }
            let hears_nothing = match &mut self.ear {
                Some(ear) => Pin::new(ear).poll(context).is_pending(),
                None if patience.is_some_and(|patience| look(result.task(), patience)) => false,
                ear @ None => {
                    let (bell, mut new) = channel();
                    // The receiver knows the waker before the bell can be rung.
                    let _ = Pin::new(&mut new).poll(context);
                    let has_left = result.leave_bell(Bell::Channel(bell)).map(|()| *ear = Some(new)).is_ok();
                    if has_left && patience == Some(Patience::Poll) {
                        left_bell(result.task());
                    }
                    has_left
                }
            };
            if hears_nothing {
                return Poll::Pending;
            }
        }
        if self.ear.is_some() && patience == Some(Patience::Poll) {
            heard_bell(result.task());
        }
        match self.result.take() {
            Some(result) => Poll::Ready(result.take()),
            None => unreachable!("it was there"),
        }
    }

    /// The error of a handle in a forked child.
    #[cold]
    fn lose(&mut self) -> TaskError {
        match self.result.take() {
            Some(result) => result.task().forked_error(),
            None => unreachable!("poll has looked"),
        }
    }

    /// Blocks the thread until the task has ended. On a thread of the task's own pool a queued task
    /// may be run inline.
    #[track_caller]
    pub(super) fn wait(mut self) -> Result<T, TaskError> {
        // Most that are waited for in the order of submission.
        if let Some(result) = self.result.take_if(|result| result.task().is_ended()) {
            return result.take();
        }
        let patience = Some(Patience::Wait);
        let mut wait = TaskWait { join: &mut self, runs_inline: true, is_endless: true, patience };
        match block(&mut wait, None) {
            Some(result) => result,
            None => unreachable!("there is no deadline"),
        }
    }

    /// Blocks the thread until the task has ended or `deadline` has come, and then returns the join
    /// back.
    #[track_caller]
    pub(super) fn wait_until(mut self, deadline: Option<Instant>) -> Result<Result<T, TaskError>, Self> {
        let is_endless = deadline.is_none();
        let patience = Patience::Wait.until(deadline);
        let mut wait = TaskWait { join: &mut self, runs_inline: false, is_endless, patience };
        block(&mut wait, deadline).ok_or(self)
    }

    /// Calls `callback` with the result: now if the task has ended, else by the thread that
    /// ends it.
    pub(super) fn call_back<F>(self, callback: F)
    where
        F: FnOnce(Result<T, TaskError>) + Send + 'static,
        T: Send + 'static,
    {
        Arc::new(Callback { stage: Mutex::new(Stage::Waiting(self, callback)) }).wake();
    }
}

impl<T> Drop for RawJoin<T> {
    fn drop(&mut self) {
        self.drop_ear();
    }
}

/// A wait for the end of a task.
struct TaskWait<'a, T> {
    join: &'a mut RawJoin<T>,
    runs_inline: bool,
    /// There is no deadline.
    is_endless: bool,
    patience: Option<Patience>,
}

impl<T> BlockingWait for TaskWait<'_, T> {
    type Output = Result<T, TaskError>;

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.join.poll_for(self.patience, context)
    }

    fn help(&mut self, _host: Option<&dyn Host>) -> Help {
        match self.join.task() {
            Some(task) if self.is_endless && is_inside(task) => Help::Fail(Reason::Deadlock),
            Some(task) if self.runs_inline => Help::RunTarget(task.clone()),
            _ => Help::Nothing,
        }
    }

    fn fail(&mut self, reason: Reason) -> Poll<Self::Output> {
        let Some(result) = self.join.result.take() else { unreachable!("only a task makes the wait fail") };
        Poll::Ready(Err(result.give_up(reason)))
    }

    fn too_deep(&mut self, deep: TooDeep) -> Option<Self::Output> {
        fail_too_deep(self, deep)
    }

    fn parker(&self) -> Arc<Parker> {
        shared_parker()
    }
}

enum Stage<T, F> {
    Waiting(RawJoin<T>, F),
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
        let (mut join, callback) = match replace(&mut *stage, Stage::Polling) {
            Stage::Waiting(join, callback) => (join, callback),
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
            let polled = join.poll_for(None, &mut Context::from_waker(&waker));
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
                    *stage = Stage::Waiting(join, callback);
                    return;
                }
            }
        }
    }
}
