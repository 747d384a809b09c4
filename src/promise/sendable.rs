//! [`Promise`]: how one is made, its steps, its ends, and many as one.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::future::FusedFuture;

use super::chain::{Carries, Chain, SendKind, SendValue};
use super::combine;
use super::detach::detach;
use super::into::IntoPromise;
use super::source::guarded_future;
use super::steps;
use super::wait::wait;
use crate::error::TaskError;
use crate::pool::Pool;

/// A value of type `T` or an error of type `E` that is still to come, with the steps that follow.
///
/// [`Pool::promise`], [`Lane::promise`](crate::Lane::promise) and
/// [`Task::promise`](crate::Task::promise) make one of an action, which starts at once. Each method
/// consumes the promise and returns the one that follows from it, so the steps of a program stand
/// one below the other. A promise is a future of `Result<T, E>`; a thread without an executor calls
/// [`wait`](Promise::wait).
///
/// - **The steps run in the task that awaits the chain**, while it polls, in order. They never run
///   inside the call that adds them, nor on the thread that has completed the action. Put steps
///   that block into a promise of their own.
/// - **Chains are flat.** A hundred thousand steps take no stack when they are added, run or
///   dropped, and a function that ends in a promise which calls the function again
///   ([`then`](Promise::then)) takes no more memory the longer it goes on.
/// - **A promise has one owner**, which awaits it once and gets the value itself. `futures_util`'s
///   `shared` lets several tasks await it.
///
/// # Cancellation
///
/// Dropping the promise cancels the action, as dropping a [`Task`](crate::Task) does, and drops the
/// steps unrun. [`detach`](Promise::detach) lets all of it run to its end.
///
/// # Errors
///
/// An error that a step or the action returned and no later step caught. If the action or a step
/// panics, or the action is cancelled or refused by the pool, the promise fails with an error made
/// by `E: From<TaskError>`. [`TaskError`] itself, [`std::io::Error`], and the boxed errors of most
/// crates implement that.
///
/// # Panics
///
/// Polling panics once the result has been returned. A panic of the conversion from [`TaskError`]
/// leaves the poll. Panics in the destructors of what is dropped unused are caught and traced.
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
/// let word = first_word("no such file").catch(|_| first_word("LICENSE-MIT")).await?;
/// assert_eq!(word, "Copyright");
/// # Ok::<(), io::Error>(())
/// # })?;
/// # Ok::<(), io::Error>(())
/// ```
#[must_use = "dropping a Promise cancels it; `detach` it to let it run by itself"]
pub struct Promise<T, E> {
    chain: Chain<SendKind>,
    /// The pool that polls the promise once it is detached. `None` is the global pool.
    pool: Option<Pool>,
    /// The result of the chain is a `Result<T, E>`.
    types: PhantomData<fn() -> (T, E)>,
}

impl<T: Send + 'static, E: Send + 'static> Promise<T, E> {
    /// The promise of a chain whose result is a `Result<T, E>`.
    pub(super) fn of(chain: Chain<SendKind>, pool: Option<Pool>) -> Self {
        Promise { chain, pool, types: PhantomData }
    }

    pub(super) fn into_chain(self) -> Chain<SendKind> {
        self.chain
    }

    pub(super) fn pool(&self) -> Option<&Pool> {
        self.pool.as_ref()
    }

    /// Adds a step that makes a chain whose result is a `Result<U, F>`.
    fn add_step<U, F>(
        mut self,
        step: impl FnOnce(Result<T, E>) -> Chain<SendKind> + Send + 'static,
    ) -> Promise<U, F>
    where
        U: Send + 'static,
        F: Send + 'static,
    {
        self.chain.push(Box::new(move |value: SendValue| step(SendKind::downcast(value))));
        Promise::of(self.chain, self.pool)
    }

    /// Makes a promise that has its value.
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

    /// Makes a promise that has failed.
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

    /// Makes a promise of the output of a future. A panic in the future becomes an error.
    ///
    /// The future is polled where the promise is polled: in the task that awaits the promise.
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
        let source = guarded_future::<SendKind, T, E, _>(future, Location::caller());
        Promise::of(Chain::<SendKind>::pending(Box::pin(source)), None)
    }

    /// Converts the value. An error passes through.
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
        self.add_step(steps::map(f, Location::caller()))
    }

    /// Goes on with the value: `f` returns a `Result`, or another promise, whose result becomes the
    /// result of this one. An error passes through.
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
        self.add_step(steps::then::<SendKind, T, R::Value, E>(f, Location::caller()))
    }

    /// Goes on with the error: `f` returns a `Result`, or another promise, whose result replaces
    /// the error. A value passes through. The type of the error may change.
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
        self.add_step(steps::catch::<SendKind, T, E, R::Error>(f, Location::caller()))
    }

    /// Converts the error. A value passes through.
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
        self.add_step(steps::map_err(f, Location::caller()))
    }

    /// Runs `f` once the promise has a value or an error, and passes that result on. If `f` panics,
    /// the panic becomes the result.
    ///
    /// If the promise is dropped before it is settled, `f` does not run: put what must happen then
    /// too into a destructor.
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
        self.add_step(steps::finally(f, Location::caller()))
    }

    /// Blocks this thread until the promise is settled. The steps run on this thread.
    ///
    /// On a thread of the pool that the promise waits for, this runs an action that is still queued
    /// inline if the pool cannot have another thread, as [`Task::wait`](crate::Task::wait) does. It
    /// finds the action of a chain, and the actions of promises that [`all`](Promise::all), the
    /// other combinators, or a future wait for. Behind combinators and futures it finds no action
    /// of a [`Lane`](crate::Lane), and behind futures no [`Task`](crate::Task): if every thread of
    /// a pool waits for such an action, **the wait never ends**.
    ///
    /// # Errors
    ///
    /// Those of the [promise](Promise#errors), and an error made of a [`TaskError`] that
    /// [`is_deadlock`](TaskError::is_deadlock), if the wait could never have ended.
    ///
    /// # Panics
    ///
    /// If polling the promise [panics](Promise#panics).
    ///
    /// ```
    /// let text = sidestep::Pool::global().promise(|| std::fs::read_to_string("Cargo.toml"));
    /// assert!(text.wait()?.contains("sidestep"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn wait(self) -> Result<T, E> {
        SendKind::downcast(wait(self.chain))
    }

    /// Runs the promise to its end without a caller that awaits it. Its steps run on the pool that
    /// made it, or else on the [global](Pool::global) pool, which also runs those of
    /// [`Task::promise`](crate::Task::promise). While it waits it holds no thread.
    ///
    /// An error at the end is traced, since no caller sees it. If the pool is shut down, or refuses
    /// to go on with the promise ([`PoolBuilder::queue_limit`](crate::PoolBuilder::queue_limit)),
    /// the promise is dropped, which cancels it; that is traced too.
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
        let pool = self.pool.clone().unwrap_or_else(|| Pool::global().clone());
        let promise: Promise<(), E> = self.add_step(move |result| {
            steps::report_unhandled(&result, site);
            steps::discard(result);
            Chain::settled(())
        });
        detach(promise.chain, pool, site);
    }
}

impl<T: Send + 'static, E: Send + 'static> Promise<T, E> {
    /// Makes one promise of many.
    fn combined<U, F, C>(promises: Vec<Self>, combine: impl FnOnce(Vec<Self>) -> C) -> Promise<U, F>
    where
        U: Send + 'static,
        F: Send + 'static,
        C: Future<Output = Result<U, F>> + Send + 'static,
    {
        let pool = promises.iter().find_map(|promise| promise.pool().cloned());
        let combined = combine(promises);
        let source = combine::source::<SendKind, _>(combined);
        Promise::of(Chain::<SendKind>::pending(Box::pin(source)), pool)
    }

    /// Resolves with all values, in the order of the promises. Fails with the first error; then the
    /// other promises are dropped, which cancels them.
    ///
    /// ```
    /// use sidestep::{Pool, Promise, TaskError};
    ///
    /// let squares = (1..=3).map(|n| Pool::global().promise(move || Ok::<_, TaskError>(n * n)));
    /// assert_eq!(Promise::all(squares).wait()?, [1, 4, 9]);
    /// # Ok::<(), TaskError>(())
    /// ```
    pub fn all(promises: impl IntoIterator<Item = Self>) -> Promise<Vec<T>, E> {
        Promise::combined(promises.into_iter().collect(), combine::all)
    }

    /// Resolves with every result, in the order of the promises. It never fails, so its own error
    /// may be of any type.
    ///
    /// ```
    /// use sidestep::{Promise, TaskError};
    ///
    /// let promises = [Promise::resolve(1), Promise::reject("jam")];
    /// let results: Promise<_, TaskError> = Promise::all_settled(promises);
    /// assert_eq!(results.wait()?, [Ok(1), Err("jam")]);
    /// # Ok::<(), TaskError>(())
    /// ```
    pub fn all_settled<F>(promises: impl IntoIterator<Item = Self>) -> Promise<Vec<Result<T, E>>, F>
    where
        F: Send + 'static,
    {
        Promise::combined(promises.into_iter().collect(), |promises| async {
            Ok(combine::all_settled(promises).await)
        })
    }

    /// Resolves with the first value; then the other promises are dropped, which cancels them.
    /// Fails with all errors, in the order of the promises, if there is no value.
    ///
    /// ```
    /// use sidestep::Promise;
    ///
    /// let mirrors = [Promise::reject("no route"), Promise::resolve("index.html")];
    /// assert_eq!(Promise::any(mirrors).wait(), Ok("index.html"));
    /// ```
    pub fn any(promises: impl IntoIterator<Item = Self>) -> Promise<T, Vec<E>> {
        Promise::combined(promises.into_iter().collect(), combine::any)
    }

    /// Settles with the first result, value or error; then the other promises are dropped, which
    /// cancels them. If several are settled already, the first in order wins.
    ///
    /// # Panics
    ///
    /// If there is no promise, since such a race would never be settled.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sidestep::{Pool, Promise, TaskError};
    ///
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let slow = Pool::global().promise(move || Ok::<_, TaskError>(gate.recv().is_ok()));
    /// assert!(!Promise::race([slow, Promise::resolve(false)]).wait()?);
    /// # drop(go);
    /// # Ok::<(), TaskError>(())
    /// ```
    #[track_caller]
    pub fn race(promises: impl IntoIterator<Item = Self>) -> Self {
        Promise::combined(combine::racers(promises), combine::race)
    }
}

impl<T: Send + 'static, E: Send + 'static> Future for Promise<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.chain.poll(context).map(SendKind::downcast)
    }
}

/// A promise is terminated once it has given its result.
impl<T: Send + 'static, E: Send + 'static> FusedFuture for Promise<T, E> {
    fn is_terminated(&self) -> bool {
        self.chain.is_taken()
    }
}

// A panic that leaves a poll ends the chain, so no later poll sees it half changed.
impl<T, E> UnwindSafe for Promise<T, E> {}
impl<T, E> RefUnwindSafe for Promise<T, E> {}

impl<T, E> fmt::Debug for Promise<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise").field("chain", &self.chain).finish_non_exhaustive()
    }
}
