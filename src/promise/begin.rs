//! How pools, lanes and tasks make promises.

use super::chain::{Chain, Target};
use super::kind::Sendable;
use super::sendable::Promise;
use super::source::Awaited;
use crate::error::TaskError;
use crate::pool::{Lane, Pool};
use crate::task::Task;

impl Pool {
    /// Queues `op` at once, as [`spawn`](Pool::spawn), and gives a promise of its result.
    ///
    /// A panic in `op` and a refusal by the pool arrive as an error made of the [`TaskError`].
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
    /// Queues `op` in the lane at once, as [`spawn`](Lane::spawn), and gives a promise of its
    /// result: see [`Pool::promise`]. Only `op` runs in the lane, not what is added to the promise.
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
    /// The task as a promise of what its closure returns: the two errors become one, since what the
    /// task itself has to say becomes an error made of its [`TaskError`].
    ///
    /// # Panics
    ///
    /// If the future has given its result already: not here, but when the promise is polled.
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

fn of_task<T, E>(task: Task<Result<T, E>>, home: Option<Pool>) -> Promise<T, E>
where
    T: Send + 'static,
    E: From<TaskError> + Send + 'static,
{
    let target = task.task_ref().cloned().map(Target::new::<T, E>);
    let source = Awaited::<Sendable, T, E>::new(task);
    Promise::of(Chain::waiting_for(target, Box::pin(source)), home)
}
