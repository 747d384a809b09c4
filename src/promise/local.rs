//! [`LocalPromise`]: how one is made, its steps, its ends, and many as one.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::future::FusedFuture;

use super::chain::{Carries, Chain, LocalKind, LocalValue};
use super::combine;
use super::into::IntoLocalPromise;
use super::shared::SharedChain;
use super::source::{TaskSource, guarded_future};
use super::steps::{self, Site};
use crate::error::TaskError;
use crate::event_loop::Handle;
use crate::task::Task;

/// A [`Promise`](crate::Promise) of an [`EventLoop`](crate::EventLoop): the loop drives it on the
/// loop's own thread, so its steps need not be `Send` and may share state by `Rc` and `RefCell`.
///
/// [`Handle::promise`] makes one of an action, which starts at once. The steps run in turns of the
/// loop, even if no task awaits the promise, and never inside the call that adds them. Like a
/// callback, a promise is outstanding until it is settled, so [`run`](crate::EventLoop::run) waits
/// for it.
///
/// A `LocalPromise` is a future too, for the loop's [local futures](Handle::spawn_local) and
/// [`run_until`](crate::EventLoop::run_until). Chains are flat and each promise has one owner, as
/// with [`Promise`](crate::Promise). A chain whose steps never have to wait lets other callbacks
/// run in between.
///
/// # Cancellation
///
/// Dropping the promise cancels the action and drops the steps unrun;
/// [`detach`](LocalPromise::detach) leaves the promise to the loop. Dropping the loop cancels all
/// its promises in that way.
///
/// # Errors
///
/// Those of [`Promise`](crate::Promise#errors). A step may also return the very promise that waits
/// for that step, out of a cell: then the promise fails with an error made of a [`TaskError`] that
/// [`is_deadlock`](TaskError::is_deadlock).
///
/// # Panics
///
/// Polling panics once the result has been returned, and if the loop was dropped before the promise
/// was settled. A panic of the conversion from [`TaskError`] comes out of the loop, and later polls
/// of the promise panic.
///
/// ```
/// use std::cell::RefCell;
/// use std::io;
/// use std::rc::Rc;
///
/// let mut ev = sidestep::EventLoop::new();
/// let lines = Rc::new(RefCell::new(Vec::new()));
/// let seen = Rc::clone(&lines);
/// ev.promise(|| std::fs::read_to_string("Cargo.toml"))
///     .map(|text| text.lines().count())
///     .map(move |count| seen.borrow_mut().push(count))
///     .catch(|error| {
///         eprintln!("{error}");
///         Ok::<_, io::Error>(())
///     })
///     .detach();
/// ev.run();
/// assert_eq!(lines.borrow().len(), 1);
/// ```
#[must_use = "dropping a LocalPromise cancels it; `detach` it to let it run by itself"]
pub struct LocalPromise<T, E> {
    chain: SharedChain,
    /// The result of the chain is a `Result<T, E>`.
    types: PhantomData<fn() -> (T, E)>,
}

impl Handle {
    /// Runs `op` on the pool, at once, and returns a promise of its result, whose steps run on this
    /// thread.
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
    /// let mut ev = sidestep::EventLoop::new();
    /// let size = ev.promise(|| std::fs::metadata("Cargo.toml")).map(|meta| meta.len());
    /// assert!(ev.run_until(size)? > 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn promise<F, T, E>(&self, op: F) -> LocalPromise<T, E>
    where
        F: FnOnce() -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<TaskError> + Send + 'static,
    {
        if self.is_closed() {
            return LocalPromise::of(SharedChain::abandoned(self));
        }
        LocalPromise::of_task(self, self.pool().spawn(op))
    }
}

impl<T: 'static, E: 'static> LocalPromise<T, E> {
    /// The promise of a chain whose result is a `Result<T, E>`.
    pub(super) fn of(chain: SharedChain) -> Self {
        LocalPromise { chain, types: PhantomData }
    }

    /// The chain, for a step that was added at `site` to go on with. Its own promise, which waits
    /// for that step, is left to the loop instead.
    fn into_chain(self, site: Site) -> Chain<LocalKind>
    where
        E: From<TaskError>,
    {
        if self.chain.is_polled_here() {
            self.detach_at(site);
            return Chain::settled(Err::<T, E>(E::from(steps::self_wait_error(site))));
        }
        self.chain.into_chain()
    }

    /// The promise of what the closure of a task returns.
    pub(super) fn of_task(ev: &Handle, task: Task<Result<T, E>>) -> Self
    where
        E: From<TaskError>,
    {
        let source = TaskSource::<LocalKind, T, E>::new(task);
        LocalPromise::of(SharedChain::new(ev, Chain::<LocalKind>::pending(Box::pin(source))))
    }

    /// The promise of a result that is there already.
    pub(super) fn settled(ev: &Handle, result: Result<T, E>) -> Self {
        LocalPromise::of(SharedChain::settled(ev, LocalKind::erase(result)))
    }

    /// Adds a step that makes a chain whose result is a `Result<U, F>`.
    fn add_step<U: 'static, F: 'static>(
        self,
        step: impl FnOnce(Result<T, E>) -> Chain<LocalKind> + 'static,
    ) -> LocalPromise<U, F> {
        self.chain.push(Box::new(move |value: LocalValue| step(LocalKind::downcast(value))));
        LocalPromise::of(self.chain)
    }

    /// Makes a promise that has its value.
    ///
    /// ```
    /// use sidestep::{EventLoop, LocalPromise, TaskError};
    ///
    /// let mut ev = EventLoop::new();
    /// let promise: LocalPromise<_, TaskError> = LocalPromise::resolve(&ev, 7);
    /// assert_eq!(ev.run_until(promise)?, 7);
    /// # Ok::<(), TaskError>(())
    /// ```
    pub fn resolve(ev: &Handle, value: T) -> Self {
        LocalPromise::settled(ev, Ok(value))
    }

    /// Makes a promise that has failed.
    ///
    /// ```
    /// use sidestep::{EventLoop, LocalPromise};
    ///
    /// let mut ev = EventLoop::new();
    /// let promise: LocalPromise<i32, &str> = LocalPromise::reject(&ev, "out of paper");
    /// assert_eq!(ev.run_until(promise), Err("out of paper"));
    /// ```
    pub fn reject(ev: &Handle, error: E) -> Self {
        LocalPromise::settled(ev, Err(error))
    }

    /// Makes a promise of the output of a future, which the loop polls from now on. A panic in the
    /// future becomes an error.
    ///
    /// ```
    /// use sidestep::{EventLoop, LocalPromise, TaskError};
    ///
    /// let mut ev = EventLoop::new();
    /// let promise = LocalPromise::from_future(&ev, async { Ok::<_, TaskError>(40) }).map(|n| n + 2);
    /// assert_eq!(ev.run_until(promise)?, 42);
    /// # Ok::<(), TaskError>(())
    /// ```
    #[track_caller]
    pub fn from_future(ev: &Handle, future: impl Future<Output = Result<T, E>> + 'static) -> Self
    where
        E: From<TaskError>,
    {
        let source = guarded_future::<LocalKind, T, E, _>(future, Location::caller());
        LocalPromise::of(SharedChain::new(ev, Chain::<LocalKind>::pending(Box::pin(source))))
    }

    /// Converts the value. An error passes through.
    ///
    /// ```
    /// use sidestep::{EventLoop, LocalPromise, TaskError};
    ///
    /// let mut ev = EventLoop::new();
    /// let length = LocalPromise::<_, TaskError>::resolve(&ev, "four").map(str::len);
    /// assert_eq!(ev.run_until(length)?, 4);
    /// # Ok::<(), TaskError>(())
    /// ```
    #[track_caller]
    pub fn map<U: 'static>(self, f: impl FnOnce(T) -> U + 'static) -> LocalPromise<U, E>
    where
        E: From<TaskError>,
    {
        self.add_step(steps::map(f, Location::caller()))
    }

    /// Goes on with the value: `f` returns a `Result`, or another promise of either kind, whose
    /// result becomes the result of this one. An error passes through.
    ///
    /// ```
    /// let mut ev = sidestep::EventLoop::new();
    /// let pool = ev.pool().clone();
    /// let text = ev
    ///     .promise(|| std::fs::read_dir("src"))
    ///     .then(move |entries| pool.promise(move || entries.collect::<Result<Vec<_>, _>>()));
    /// assert!(ev.run_until(text)?.len() > 10);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn then<R>(self, f: impl FnOnce(T) -> R + 'static) -> LocalPromise<R::Value, E>
    where
        R: IntoLocalPromise<Error = E>,
        E: From<TaskError>,
    {
        let (ev, site) = (self.chain.ev().clone(), Location::caller());
        let f = move |value| f(value).into_local_promise(&ev).into_chain(site);
        self.add_step(steps::then::<LocalKind, T, R::Value, E>(f, site))
    }

    /// Goes on with the error: `f` returns a `Result`, or another promise, whose result replaces
    /// the error. A value passes through. The type of the error may change.
    ///
    /// ```
    /// use std::io::{self, ErrorKind};
    ///
    /// let mut ev = sidestep::EventLoop::new();
    /// let text = ev.promise(|| std::fs::read_to_string("no such file")).catch(|error| match error.kind() {
    ///     ErrorKind::NotFound => Ok(String::from("none")),
    ///     _ => Err::<_, io::Error>(error),
    /// });
    /// assert_eq!(ev.run_until(text)?, "none");
    /// # Ok::<(), io::Error>(())
    /// ```
    #[track_caller]
    pub fn catch<R>(self, f: impl FnOnce(E) -> R + 'static) -> LocalPromise<T, R::Error>
    where
        R: IntoLocalPromise<Value = T>,
        R::Error: From<TaskError>,
    {
        let (ev, site) = (self.chain.ev().clone(), Location::caller());
        let f = move |error| f(error).into_local_promise(&ev).into_chain(site);
        self.add_step(steps::catch::<LocalKind, T, E, R::Error>(f, site))
    }

    /// Converts the error. A value passes through.
    ///
    /// ```
    /// use std::io;
    /// use sidestep::{EventLoop, LocalPromise};
    ///
    /// let mut ev = EventLoop::new();
    /// let promise = LocalPromise::<(), &str>::reject(&ev, "jam").map_err(io::Error::other);
    /// assert_eq!(ev.run_until(promise).unwrap_err().to_string(), "jam");
    /// ```
    #[track_caller]
    pub fn map_err<F>(self, f: impl FnOnce(E) -> F + 'static) -> LocalPromise<T, F>
    where
        F: From<TaskError> + 'static,
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
    /// use std::{cell::Cell, rc::Rc};
    ///
    /// let mut ev = sidestep::EventLoop::new();
    /// let done = Rc::new(Cell::new(false));
    /// let seen = Rc::clone(&done);
    /// let text = ev.promise(|| std::fs::read_to_string("no such file")).finally(move || seen.set(true));
    /// assert!(ev.run_until(text).is_err() && done.get());
    /// ```
    #[track_caller]
    pub fn finally(self, f: impl FnOnce() + 'static) -> Self
    where
        E: From<TaskError>,
    {
        self.add_step(steps::finally(f, Location::caller()))
    }

    /// Leaves the promise to the loop, which runs it to its end. An error at the end is traced,
    /// since no caller sees it.
    #[track_caller]
    pub fn detach(self) {
        self.detach_at(Location::caller());
    }

    fn detach_at(self, site: Site) {
        let promise: LocalPromise<(), E> = self.add_step(move |result| {
            steps::report_unhandled(&result, site);
            steps::discard(result);
            Chain::settled(())
        });
        promise.chain.detach();
    }

    /// The loop that drives the promise.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        self.chain.ev()
    }
}

impl<T: 'static, E: 'static> LocalPromise<T, E> {
    /// Makes one promise of many, driven by `ev`.
    fn combined<U: 'static, F: 'static, C>(
        ev: &Handle,
        promises: impl IntoIterator<Item = Self>,
        combine: impl FnOnce(Vec<Self>) -> C,
    ) -> LocalPromise<U, F>
    where
        C: Future<Output = Result<U, F>> + 'static,
    {
        let combined = combine(promises.into_iter().collect());
        let source = combine::source::<LocalKind, _>(combined);
        LocalPromise::of(SharedChain::new(ev, Chain::<LocalKind>::pending(Box::pin(source))))
    }

    /// Resolves with all values, in the order of the promises. Fails with the first error; then the
    /// other promises are dropped, which cancels them.
    ///
    /// ```
    /// use sidestep::{EventLoop, LocalPromise, TaskError};
    ///
    /// let mut ev = EventLoop::new();
    /// let squares: Vec<_> = (1..=3).map(|n| ev.promise(move || Ok::<_, TaskError>(n * n))).collect();
    /// let squares = LocalPromise::all(&ev, squares);
    /// assert_eq!(ev.run_until(squares)?, [1, 4, 9]);
    /// # Ok::<(), TaskError>(())
    /// ```
    pub fn all(ev: &Handle, promises: impl IntoIterator<Item = Self>) -> LocalPromise<Vec<T>, E> {
        LocalPromise::combined(ev, promises, combine::all)
    }

    /// Resolves with every result, in the order of the promises. It never fails, so its own error
    /// may be of any type.
    ///
    /// ```
    /// use sidestep::{EventLoop, LocalPromise, TaskError};
    ///
    /// let mut ev = EventLoop::new();
    /// let promises = [LocalPromise::resolve(&ev, 1), LocalPromise::reject(&ev, "jam")];
    /// let results: LocalPromise<_, TaskError> = LocalPromise::all_settled(&ev, promises);
    /// assert_eq!(ev.run_until(results)?, [Ok(1), Err("jam")]);
    /// # Ok::<(), TaskError>(())
    /// ```
    pub fn all_settled<F: 'static>(
        ev: &Handle,
        promises: impl IntoIterator<Item = Self>,
    ) -> LocalPromise<Vec<Result<T, E>>, F> {
        LocalPromise::combined(ev, promises, |promises| async { Ok(combine::all_settled(promises).await) })
    }

    /// Resolves with the first value; then the other promises are dropped, which cancels them.
    /// Fails with all errors, in the order of the promises, if there is no value.
    ///
    /// ```
    /// use sidestep::{EventLoop, LocalPromise};
    ///
    /// let mut ev = EventLoop::new();
    /// let mirrors = [LocalPromise::reject(&ev, "no route"), LocalPromise::resolve(&ev, "index.html")];
    /// let page = LocalPromise::any(&ev, mirrors);
    /// assert_eq!(ev.run_until(page), Ok("index.html"));
    /// ```
    pub fn any(ev: &Handle, promises: impl IntoIterator<Item = Self>) -> LocalPromise<T, Vec<E>> {
        LocalPromise::combined(ev, promises, combine::any)
    }

    /// Settles with the first result, value or error; then the other promises are dropped, which
    /// cancels them. If several are settled already, the first in order wins.
    ///
    /// # Panics
    ///
    /// If there is no promise, since such a race would never be settled.
    ///
    /// ```
    /// use sidestep::{EventLoop, LocalPromise, TaskError};
    ///
    /// let mut ev = EventLoop::new();
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let slow = ev.promise(move || Ok::<_, TaskError>(gate.recv().is_ok()));
    /// let first = LocalPromise::race(&ev, [slow, LocalPromise::resolve(&ev, false)]);
    /// assert!(!ev.run_until(first)?);
    /// # drop(go);
    /// # Ok::<(), TaskError>(())
    /// ```
    #[track_caller]
    pub fn race(ev: &Handle, promises: impl IntoIterator<Item = Self>) -> Self {
        LocalPromise::combined(ev, combine::racers(promises), combine::race)
    }
}

impl<T: 'static, E: 'static> Future for LocalPromise<T, E> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.chain.poll(context).map(LocalKind::downcast)
    }
}

/// A promise is terminated once it has given its result.
impl<T: 'static, E: 'static> FusedFuture for LocalPromise<T, E> {
    fn is_terminated(&self) -> bool {
        self.chain.is_taken()
    }
}

// A panic that leaves a poll ends the chain, so no later poll sees it half changed.
impl<T, E> UnwindSafe for LocalPromise<T, E> {}
impl<T, E> RefUnwindSafe for LocalPromise<T, E> {}

impl<T, E> fmt::Debug for LocalPromise<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPromise").field("link", &self.chain).finish_non_exhaustive()
    }
}
