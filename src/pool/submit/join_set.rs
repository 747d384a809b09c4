//! What tokio's names for tasks need of the pool: [`spawn_blocking`], and [`JoinSet`], a thin face
//! of a [`Batch`].

use std::fmt;
use std::mem::take;
use std::panic::{Location, resume_unwind};
use std::task::{Context, Poll};

use super::batch::{Batch, EndedMember};
use super::context::EntersRuntime;
use super::destination::Destination;
use super::options::TaskSettings;
use super::spawner::Spawner;
use crate::panic::catch_panic;
use crate::pool::Pool;
use crate::task::{AbortHandle, Id, JoinError, JoinHandle, Task};

/// Those of closures that tokio would run inside a runtime.
static IN_CALLERS_RUNTIME: TaskSettings = TaskSettings::new().enters_runtime(EntersRuntime::Always);

#[track_caller]
fn spawn_globally<F, T>(f: F) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Destination::Pool(Pool::global()).spawn(f, Location::caller(), &IN_CALLERS_RUNTIME)
}

/// Runs a blocking closure on the [global pool](Pool::global). Dropping the handle lets it run.
///
/// With the feature `tokio` the closure runs inside the runtime that the caller is in, if it is in
/// one. [`spawn`](crate::spawn()) is the same with a handle that cancels when it is dropped.
///
/// # Errors
///
/// This call never fails. The handle resolves with a [`JoinError`] if the closure panicked or did
/// not run.
///
/// ```
/// use sidestep::task::spawn_blocking;
///
/// # sidestep::block_on(async {
/// let size = spawn_blocking(|| std::fs::metadata("Cargo.toml").map(|meta| meta.len())).await?;
/// assert!(size.is_ok_and(|bytes| bytes > 0));
/// # Ok::<(), sidestep::task::JoinError>(())
/// # })?;
/// # Ok::<(), sidestep::task::JoinError>(())
/// ```
#[track_caller]
pub fn spawn_blocking<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    spawn_globally(f).detach_on_drop()
}

/// Blocking closures whose results come in the order in which they end: what tokio's type of this
/// name is for them. A face of [`Batch`], which also takes tasks that were spawned elsewhere,
/// numbers them, and can be waited for on a plain thread.
///
/// # Cancellation
///
/// Dropping the set cancels all of its tasks, as [`abort_all`](JoinSet::abort_all) does;
/// [`detach_all`](JoinSet::detach_all) lets them go on. Dropping the future of a join loses
/// nothing.
///
/// ```
/// use sidestep::task::JoinSet;
///
/// # sidestep::block_on(async {
/// let mut set = JoinSet::new();
/// for path in ["Cargo.toml", "README.md"] {
///     set.spawn_blocking(move || std::fs::metadata(path).map(|meta| meta.len()));
/// }
/// let mut bytes = 0;
/// while let Some(size) = set.join_next().await {
///     bytes += size??;
/// }
/// assert!(bytes > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a JoinSet cancels its tasks; `detach_all` lets them run by themselves"]
pub struct JoinSet<T> {
    batch: Batch<T>,
}

impl<T> JoinSet<T> {
    /// Returns an empty set.
    pub fn new() -> Self {
        JoinSet { batch: Batch::new() }
    }

    /// How many tasks are in the set: those whose results have not been given.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether no task is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// [`spawn_blocking`](fn@spawn_blocking), into this set.
    #[track_caller]
    pub fn spawn_blocking<F>(&mut self, f: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.insert(spawn_globally(f))
    }

    /// [`spawn_blocking`](JoinSet::spawn_blocking) on a pool or lane of your choice, perhaps with
    /// options. The closure runs inside the runtime of the caller on any of them.
    ///
    /// ```
    /// use sidestep::{Pool, task::JoinSet};
    ///
    /// let pool = Pool::new()?;
    /// let database = pool.lane("database", 4);
    /// # sidestep::block_on(async {
    /// let mut set = JoinSet::new();
    /// for id in 0..100 {
    ///     set.spawn_blocking_on(move || format!("row {id}"), &database);
    /// }
    /// assert_eq!(set.join_all().await.len(), 100);
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn_blocking_on<F>(&mut self, f: F, spawner: &impl Spawner) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.insert(spawner.task_options().in_callers_runtime().spawn(f))
    }

    fn insert(&mut self, task: Task<T>) -> AbortHandle {
        let abort = AbortHandle::new(task.new_ref());
        self.batch.push(task);
        abort
    }

    /// Waits for the next task that ends and returns its result. `None` if the set is empty.
    ///
    /// # Cancellation
    ///
    /// Dropping the future takes no task out of the set.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        std::future::poll_fn(|context| self.poll_join_next(context)).await
    }

    /// [`join_next`](JoinSet::join_next), with the task's id. A [`JoinError`] has the id itself.
    ///
    /// ```
    /// use sidestep::task::JoinSet;
    ///
    /// # sidestep::block_on(async {
    /// let mut set = JoinSet::new();
    /// let task = set.spawn_blocking(|| 6 * 7);
    /// let joined = set.join_next_with_id().await.unwrap();
    /// assert_eq!(joined.unwrap(), (task.id(), 42));
    /// # });
    /// ```
    pub async fn join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        std::future::poll_fn(|context| self.poll_join_next_with_id(context)).await
    }

    /// The result of a task that has ended. `None` if none has, or the set is empty.
    ///
    /// ```
    /// let mut set = sidestep::task::JoinSet::new();
    /// assert!(set.try_join_next().is_none());
    /// set.spawn_blocking(|| 6 * 7);
    /// let joined = loop {
    ///     if let Some(joined) = set.try_join_next() {
    ///         break joined;
    ///     }
    /// };
    /// assert_eq!(joined?, 42);
    /// # Ok::<(), sidestep::task::JoinError>(())
    /// ```
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.try_join_next_with_id().map(|joined| joined.map(|(_, value)| value))
    }

    /// [`try_join_next`](JoinSet::try_join_next), with the task's id.
    pub fn try_join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        match self.batch.poll_ended(None) {
            Poll::Ready(ended) => ended.map(joined),
            Poll::Pending => None,
        }
    }

    /// [`join_next`](JoinSet::join_next) for code that polls by hand.
    pub fn poll_join_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        self.poll_join_next_with_id(context).map(|joined| joined.map(|joined| joined.map(|(_, value)| value)))
    }

    /// [`join_next_with_id`](JoinSet::join_next_with_id) for code that polls by hand.
    pub fn poll_join_next_with_id(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<(Id, T), JoinError>>> {
        self.batch.poll_ended(Some(context.waker())).map(|ended| ended.map(joined))
    }

    /// Waits for all tasks and returns their values in the order in which they ended.
    ///
    /// # Panics
    ///
    /// If a task has no value: then the others are cancelled, and this resumes its panic, or panics
    /// with the sentence of its [`JoinError`].
    pub async fn join_all(mut self) -> Vec<T> {
        let mut values = Vec::with_capacity(self.len());
        while let Some(joined) = self.join_next().await {
            match joined.map_err(JoinError::try_into_panic) {
                Ok(value) => values.push(value),
                Err(Ok(payload)) => resume_unwind(payload),
                Err(Err(error)) => panic!("{error}"),
            }
        }
        values
    }

    /// Cancels all tasks, each as [`JoinHandle::abort`] does, and keeps them in the set:
    /// [`join_next`](JoinSet::join_next) gives what has become of them.
    pub fn abort_all(&mut self) {
        self.batch.cancel_all();
    }

    /// Takes all tasks out of the set and lets them run to their ends.
    ///
    /// ```
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let mut set = sidestep::task::JoinSet::new();
    /// set.spawn_blocking(move || sender.send("still here"));
    /// set.detach_all();
    /// assert!(set.is_empty());
    /// assert_eq!(receiver.recv()?, "still here");
    /// # Ok::<(), std::sync::mpsc::RecvError>(())
    /// ```
    pub fn detach_all(&mut self) {
        take(&mut self.batch).detach();
    }

    /// Cancels all tasks and waits until their closures have ended. What they give is dropped,
    /// panics too.
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while let Some(joined) = self.join_next().await {
            catch_panic("the destructor of what a task of a set has given", || drop(joined));
        }
    }
}

/// A result in the form that tokio gives it.
fn joined<T>((_, id, result): EndedMember<T>) -> Result<(Id, T), JoinError> {
    result.map(|value| (id.into(), value)).map_err(JoinError::from)
}

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        JoinSet::new()
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.len()).finish()
    }
}
