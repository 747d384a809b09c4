//! [`Promise`]: its beginnings, its steps, its ends.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::chain::Chain;
use super::driver::drive;
use super::into::IntoPromise;
use super::kind::{Carries, Kind, Sendable};
use super::source::shielded;
use super::steps;
use super::wait::wait;
use crate::error::TaskError;
use crate::pool::Pool;

/// A value of type `T` to come, or an error of type `E`; and what is to be done with either.
///
/// [`Pool::promise`], [`Lane::promise`](crate::Lane::promise) and
/// [`Task::promise`](crate::Task::promise) make one of an action, which starts at once. Each method
/// takes the promise and gives the one that follows from it, so the steps of a program stand one
/// below the other. A promise is a future of `Result<T, E>`; a thread without one calls
/// [`wait`](Promise::wait).
///
/// - **The steps run in the task that awaits the chain**, while it polls, in order: never inside
///   the call that adds them, and never on the thread that happened to complete the action. Steps
///   that block belong into a promise of their own.
/// - **Chains are flat.** A hundred thousand steps take no stack when they are added, run or
///   dropped, and a function that ends in a promise which calls the function again
///   ([`then`](Promise::then)) takes no more memory the longer it goes on.
/// - **A promise has one owner**, who awaits it once and gets the value itself. `futures_util`'s
///   `shared` makes it several.
///
/// # Cancellation
///
/// Dropping the promise cancels the action, as dropping a [`Task`](crate::Task) does, and drops the
/// steps unrun. [`detach`](Promise::detach) lets all of it run to its end.
///
/// # Errors
///
/// What was rejected and not caught. A panic in the action or in a step, and the end of an action
/// that was cancelled or that the pool did not run, arrive as an error made by `E:
/// From<TaskError>`. [`TaskError`] itself, [`std::io::Error`], and the boxed errors of most crates
/// will do.
///
/// # Panics
///
/// Polling panics once the result has been given. A panic of the conversion from [`TaskError`]
/// leaves the poll as it is. Panics in the destructors of what is dropped unused are caught and
/// traced.
///
/// # Examples
///
/// ```
/// use std::io;
///
/// fn first_word(path: &'static str) -> sidestep::Promise<String, io::Error> {
///     sidestep::Pool::global()
///         .promise(move || std::fs::read_to_string(path))
///         .then(|text| match text.split_whitespace().next() {
///             Some(word) => Ok(word.to_owned()),
///             None => Err(io::ErrorKind::UnexpectedEof.into()),
///         })
/// }
///
/// # sidestep::block_on(async {
/// let word = first_word("no such file").catch(|_| first_word("Cargo.toml")).await?;
/// assert_eq!(word, "[package]");
/// # Ok::<(), io::Error>(())
/// # })?;
/// # Ok::<(), io::Error>(())
/// ```
#[must_use = "dropping a Promise cancels it; `detach` it to let it run by itself"]
pub struct Promise<T, E> {
    chain: Chain<Sendable>,
    /// The pool that drives it once it is detached; without one the global pool does.
    home: Option<Pool>,
    /// What the chain gives: a `Result<T, E>`.
    types: PhantomData<fn() -> (T, E)>,
}

type Sealed = <Sendable as Kind>::Value;

impl<T: Send + 'static, E: Send + 'static> Promise<T, E> {
    /// The promise of a chain that gives a `Result<T, E>`.
    pub(super) fn of(chain: Chain<Sendable>, home: Option<Pool>) -> Self {
        Promise { chain, home, types: PhantomData }
    }

    pub(super) fn into_chain(self) -> Chain<Sendable> {
        self.chain
    }

    pub(super) fn home(&self) -> Option<&Pool> {
        self.home.as_ref()
    }

    /// Adds a step that makes a chain of `U` and `F`.
    fn and<U, F>(
        mut self,
        step: impl FnOnce(Result<T, E>) -> Chain<Sendable> + Send + 'static,
    ) -> Promise<U, F>
    where
        U: Send + 'static,
        F: Send + 'static,
    {
        self.chain.push(Box::new(move |value: Sealed| step(Sendable::open(value))));
        Promise::of(self.chain, self.home)
    }

    /// A promise that has its value.
    ///
    /// ```
    /// use sidestep::{Promise, TaskError};
    ///
    /// let promise: Promise<i32, TaskError> = Promise::resolve(7);
    /// assert_eq!(promise.wait()?, 7);
    /// # Ok::<(), TaskError>(())
    /// ```
    pub fn resolve(value: T) -> Self {
        Ok(value).into_promise()
    }

    /// A promise that has failed.
    ///
    /// ```
    /// use sidestep::Promise;
    ///
    /// let promise: Promise<i32, &str> = Promise::reject("out of paper");
    /// assert_eq!(promise.wait(), Err("out of paper"));
    /// ```
    pub fn reject(error: E) -> Self {
        Err(error).into_promise()
    }

    /// A promise of what a future gives. A panic in the future becomes an error.
    ///
    /// The future is polled where the promise is: in the task that awaits it.
    ///
    /// ```
    /// use sidestep::{Promise, TaskError};
    ///
    /// let promise = Promise::from_future(async { Ok::<_, TaskError>(40) }).map(|n| n + 2);
    /// assert_eq!(promise.wait()?, 42);
    /// # Ok::<(), TaskError>(())
    /// ```
    #[track_caller]
    pub fn from_future(future: impl Future<Output = Result<T, E>> + Send + 'static) -> Self
    where
        E: From<TaskError>,
    {
        let source = shielded::<Sendable, T, E, _>(future, Location::caller());
        Promise::of(Chain::<Sendable>::pending(Box::pin(source)), None)
    }

    /// Turns the value into another. An error passes by.
    ///
    /// ```
    /// use sidestep::{Promise, TaskError};
    ///
    /// let length = Promise::<_, TaskError>::resolve("four").map(str::len);
    /// assert_eq!(length.wait()?, 4);
    /// # Ok::<(), TaskError>(())
    /// ```
    #[track_caller]
    pub fn map<U>(self, f: impl FnOnce(T) -> U + Send + 'static) -> Promise<U, E>
    where
        U: Send + 'static,
        E: From<TaskError>,
    {
        self.and(steps::map(f, Location::caller()))
    }

    /// Goes on with the value: `f` gives a `Result`, or another promise, whose end is then the end
    /// of this one. An error passes by.
    ///
    /// ```
    /// use sidestep::{Promise, TaskError};
    ///
    /// // Recursion takes neither stack nor memory.
    /// fn sum(to: u64, total: u64) -> Promise<u64, TaskError> {
    ///     Promise::resolve(total + to).then(move |total| match to {
    ///         0 => Promise::resolve(total),
    ///         _ => sum(to - 1, total),
    ///     })
    /// }
    /// assert_eq!(sum(10_000, 0).wait()?, 50_005_000);
    /// # Ok::<(), TaskError>(())
    /// ```
    #[track_caller]
    pub fn then<R>(self, f: impl FnOnce(T) -> R + Send + 'static) -> Promise<R::Value, E>
    where
        R: IntoPromise<Error = E>,
        E: From<TaskError>,
    {
        let f = move |value| f(value).into_promise().into_chain();
        self.and(steps::then::<Sendable, T, R::Value, E>(f, Location::caller()))
    }

    /// Goes on with the error: `f` gives a `Result`, or another promise, in place of this one. A
    /// value passes by. The type of the error may change.
    ///
    /// ```
    /// use sidestep::{Promise, TaskError};
    ///
    /// let promise = Promise::<i32, TaskError>::reject(sidestep::spawn(|| panic!()).wait().unwrap_err());
    /// let rescued = promise.catch(|error| if error.is_panic() { Ok(0) } else { Err(error) });
    /// assert_eq!(rescued.wait()?, 0);
    /// # Ok::<(), TaskError>(())
    /// ```
    #[track_caller]
    pub fn catch<R>(self, f: impl FnOnce(E) -> R + Send + 'static) -> Promise<T, R::Error>
    where
        R: IntoPromise<Value = T>,
        R::Error: From<TaskError>,
    {
        let f = move |error| f(error).into_promise().into_chain();
        self.and(steps::catch::<Sendable, T, E, R::Error>(f, Location::caller()))
    }

    /// Turns the error into another. A value passes by.
    ///
    /// ```
    /// use std::io;
    /// use sidestep::Promise;
    ///
    /// let promise = Promise::<(), &str>::reject("jam").map_err(io::Error::other);
    /// assert_eq!(promise.wait().unwrap_err().to_string(), "jam");
    /// ```
    #[track_caller]
    pub fn map_err<F>(self, f: impl FnOnce(E) -> F + Send + 'static) -> Promise<T, F>
    where
        F: From<TaskError> + Send + 'static,
    {
        self.and(steps::map_err(f, Location::caller()))
    }

    /// Runs `f` at either end and passes the result on. If `f` panics, that is the result instead.
    ///
    /// A promise that is dropped before comes to neither end: what must happen then, too, belongs
    /// into a destructor.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use sidestep::{Promise, TaskError};
    ///
    /// let (sender, receiver) = mpsc::channel();
    /// let promise = Promise::<_, TaskError>::resolve(7).finally(move || sender.send("done").unwrap());
    /// assert_eq!(promise.wait()?, 7);
    /// assert_eq!(receiver.recv(), Ok("done"));
    /// # Ok::<(), TaskError>(())
    /// ```
    #[track_caller]
    pub fn finally(self, f: impl FnOnce() + Send + 'static) -> Self
    where
        E: From<TaskError>,
    {
        self.and(steps::finally(f, Location::caller()))
    }

    /// Blocks this thread until the promise is settled. The steps run on it.
    ///
    /// On a thread of the pool that the promise waits for, an action that is still queued is run in
    /// place where the pool cannot have another thread, as by [`Task::wait`](crate::Task::wait).
    /// That goes for actions in a chain, and for those in the promises of [`all`](Promise::all) and
    /// its like or that a future awaits. Behind those, what a [`Lane`](crate::Lane) has queued
    /// cannot be seen, nor can a [`Task`](crate::Task) that a future awaits: a pool whose every
    /// thread waits for such a one stands still.
    ///
    /// # Errors
    ///
    /// As for the future; besides, an error made of one that
    /// [`is_deadlock`](TaskError::is_deadlock), if the wait could never have ended.
    ///
    /// # Panics
    ///
    /// As for the future.
    ///
    /// ```
    /// let text = sidestep::Pool::global().promise(|| std::fs::read_to_string("Cargo.toml"));
    /// assert!(text.wait()?.contains("sidestep"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait(self) -> Result<T, E> {
        Sendable::open(wait(self.chain))
    }

    /// Lets the promise run to its end with nobody awaiting it. Its steps run on the pool that it
    /// is from, or else on the [global](Pool::global) one, as do those of
    /// [`Task::promise`](crate::Task::promise); while it waits it holds no thread.
    ///
    /// An error at the end is traced, since nobody else sees it. The promise is dropped, which
    /// cancels, if that pool is shut down or refuses to go on with it
    /// ([`PoolBuilder::queue_limit`](crate::PoolBuilder::queue_limit)); that is traced too.
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// let (sender, receiver) = mpsc::channel();
    /// sidestep::Pool::global()
    ///     .promise(|| std::fs::read_to_string("Cargo.toml"))
    ///     .map(move |text| sender.send(text.len()).unwrap())
    ///     .detach();
    /// assert!(receiver.recv()? > 0);
    /// # Ok::<(), mpsc::RecvError>(())
    /// ```
    #[track_caller]
    pub fn detach(self) {
        let site = Location::caller();
        let pool = self.home.clone().unwrap_or_else(|| Pool::global().clone());
        let promise: Promise<(), E> = self.and(move |result| {
            steps::report_unseen(&result, site);
            steps::discard(result);
            Chain::settled(())
        });
        drive(promise.chain, pool, site);
    }
}

impl<T: Send + 'static, E: Send + 'static> Future for Promise<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.chain.poll(context).map(Sendable::open)
    }
}

// A panic that leaves a poll ends the chain: nobody sees anything half changed.
impl<T, E> UnwindSafe for Promise<T, E> {}
impl<T, E> RefUnwindSafe for Promise<T, E> {}

impl<T, E> fmt::Debug for Promise<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise").field("chain", &self.chain).finish_non_exhaustive()
    }
}
