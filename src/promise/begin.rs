//! The methods by which pools, lanes and tasks make promises.
//!
//! They are inherent methods of types of lower modules (`pool`, `task`), so that a program calls
//! them on the pool it has. They lie here since those modules do not know promises.

use super::chain::{AwaitedTask, Chain, SendKind};
use super::sendable::Promise;
use super::source::TaskSource;
use crate::error::TaskError;
use crate::pool::{Lane, Pool};
use crate::task::Task;

impl Pool {
    /// Queues `op` at once, as [`spawn`](Pool::spawn) does, and returns a promise of its result.
    ///
    /// # Errors
    ///
    /// None here: if `op` panics or the pool refuses it, the promise fails with an error made of
    /// the [`TaskError`].
    ///
    /// # Cancellation
    ///
    /// Dropping the promise cancels `op`: see [`Task`].
    ///
    /// ```
    /// let pool = sidestep::Pool::new()?;
    /// let size = pool.promise(|| std::fs::metadata("Cargo.toml")).map(|meta| meta.len());
    /// assert!(size.wait()? > 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn promise<F, T, E>(&self, op: F) -> Promise<T, E>
    where
        F: FnOnce() -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<TaskError> + Send + 'static,
    {
        of_task(self.spawn(op), Some(self.clone()))
    }
}

impl Lane {
    /// Queues `op` in the lane at once, as [`spawn`](Lane::spawn) does, and returns a promise of
    /// its result: see [`Pool::promise`]. Only `op` runs in the lane; the steps of the promise do
    /// not.
    ///
    /// ```
    /// let pool = sidestep::Pool::new()?;
    /// let disk = pool.lane("disk", 2);
    /// let text = disk.promise(|| std::fs::read_to_string("Cargo.toml"));
    /// assert!(text.wait()?.contains("sidestep"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn promise<F, T, E>(&self, op: F) -> Promise<T, E>
    where
        F: FnOnce() -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<TaskError> + Send + 'static,
    {
        of_task(self.spawn(op), Some(self.pool().clone()))
    }
}

impl<U, E> Task<Result<U, E>>
where
    U: Send + 'static,
    E: From<TaskError> + Send + 'static,
{
    /// Converts the task into a promise of what its closure returns. The two errors become one: a
    /// [`TaskError`] of the task is converted into the error of the closure.
    ///
    /// # Panics
    ///
    /// None here. Polling the promise panics if the result has been taken from the task already.
    ///
    /// ```
    /// let task = sidestep::spawn(|| std::fs::read_to_string("Cargo.toml"));
    /// assert!(task.promise().wait()?.contains("sidestep"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn promise(self) -> Promise<U, E> {
        of_task(self, None)
    }
}

fn of_task<T, E>(task: Task<Result<T, E>>, pool: Option<Pool>) -> Promise<T, E>
where
    T: Send + 'static,
    E: From<TaskError> + Send + 'static,
{
    let target = task.task_ref().cloned().map(AwaitedTask::new::<T, E>);
    let source = TaskSource::<SendKind, T, E>::new(task);
    Promise::of(Chain::waiting_for(target, Box::pin(source)), pool)
}
