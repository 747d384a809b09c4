//! Tasks whose result goes to a callback on the loop's thread: [`Handle::offload`], and the token
//! that cancels one.

use std::fmt;
use std::sync::Arc;
use std::task::Context;

use super::entry::{Action, LoopEntry, TaskCallback, discard_result};
use super::handle::Handle;
use super::slots::Key;
use crate::error::TaskError;
use crate::task::Task;

impl Handle {
    /// Runs `op` on the pool, then `callback` with its result on this thread. Neither runs inside
    /// of this call.
    ///
    /// # Errors
    ///
    /// None here: the callback gets the [`TaskError`] if `op` panicked, was cancelled, or could not
    /// be run.
    ///
    /// # Cancellation
    ///
    /// By [`Offload::cancel`]; dropping the token does nothing. Dropping the loop cancels the
    /// action and drops the callback.
    ///
    /// ```
    /// use sidestep::EventLoop;
    ///
    /// let mut ev = EventLoop::new();
    /// ev.offload(|| std::fs::read_to_string("Cargo.toml"), |ev, text| {
    ///     let lines = text.unwrap().unwrap().lines().count();
    ///     ev.offload(move || lines * 2, |_, twice| assert!(twice.unwrap() > 0));
    /// });
    /// ev.run();
    /// ```
    #[track_caller]
    pub fn offload<T, O, C>(&self, op: O, callback: C) -> Offload
    where
        O: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
        C: FnOnce(&Handle, Result<T, TaskError>) + 'static,
    {
        if self.is_closed() {
            return Offload::new(self.clone(), Key::NONE);
        }
        self.on_complete(self.pool().spawn(op), callback)
    }

    /// Calls `callback` with the result of a task that exists already: one of a
    /// [`Lane`](crate::Lane), of another pool, or with options. The loop owns the task from here
    /// on. See [`offload`](Handle::offload).
    ///
    /// # Panics
    ///
    /// If the result has been taken from the task already.
    ///
    /// ```
    /// let pool = sidestep::Pool::new()?;
    /// let database = pool.lane("database", 1);
    /// let mut ev = sidestep::EventLoop::on(&pool);
    /// ev.on_complete(database.spawn(|| 6 * 7), |_, row| assert_eq!(row.unwrap(), 42));
    /// ev.run();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_complete<T, C>(&self, task: Task<T>, callback: C) -> Offload
    where
        T: 'static,
        C: FnOnce(&Handle, Result<T, TaskError>) + 'static,
    {
        if self.is_closed() {
            return Offload::new(self.clone(), Key::NONE);
        }
        let mut action = TaskCallback::new(task, callback);
        let (key, waker) = self.reserve();
        // The task is polled here, so that its end decides when its key is pushed.
        let has_ended = action.poll(&mut Context::from_waker(&waker.waker())).is_ready();
        self.put(key, LoopEntry::Action(Box::new(action), Arc::clone(&waker)));
        if has_ended {
            waker.schedule();
        }
        Offload::new(self.clone(), key)
    }
}

/// Stands for an action whose callback is outstanding. [`Handle::offload`] returns it. Only
/// [`cancel`](Offload::cancel) affects the action; dropping the token does not.
#[derive(Clone)]
pub struct Offload {
    handle: Handle,
    key: Key,
}

impl Offload {
    fn new(handle: Handle, key: Key) -> Self {
        Offload { handle, key }
    }

    /// Cancels the action. Its callback runs in a later turn, or later in this one, with an `Err`
    /// for which [`is_cancelled`](TaskError::is_cancelled) is true. It gets that error even if the
    /// action has ended already, as long as the callback has not run. After the callback has run,
    /// or after the end of the loop, this does nothing.
    ///
    /// As with [`Task`]: an action that is still queued is dropped at once; an action that is
    /// running is signalled (see [`current::is_cancelled`](crate::current::is_cancelled)), runs to
    /// its own end, and its result is dropped.
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
        // In a forked child this renews the wakers.
        drop(self.handle.mailbox());
        let cancel = |entry: &mut LoopEntry| match entry {
            LoopEntry::Action(action, waker) => Some((action.cancel(), Arc::clone(waker))),
            _ => None,
        };
        let Some((remains, waker)) = self.handle.with_entry(self.key, cancel).flatten() else { return };
        waker.schedule();
        // The destructor of a result, and the hooks of a task, may do anything here, such as drive
        // the loop: by now the key of the callback is in the queue.
        discard_result(remains);
    }
}

impl fmt::Debug for Offload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offload").field("is_outstanding", &self.handle.holds(self.key)).finish()
    }
}
