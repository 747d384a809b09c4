//! [`LocalPromise`]: its beginnings, its steps, its ends.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::chain::Chain;
use super::into::IntoLocalPromise;
use super::kind::{Carries, Kind, Local};
use super::link::Link;
use super::source::{Awaited, shielded};
use super::steps::{self, Site};
use crate::error::TaskError;
use crate::event_loop::Handle;
use crate::task::Task;

/// A [`Promise`](crate::Promise) of an [`EventLoop`](crate::EventLoop): the loop drives it, on its
/// own thread, so what is added to it need not be `Send` and may share state by `Rc` and `RefCell`.
///
/// [`Handle::promise`] makes one of an action, which starts at once. The steps run in turns of the
/// loop, whether or not anybody awaits the promise, and never inside the call that adds them. Like
/// a callback it is outstanding until it is settled, so [`run`](crate::EventLoop::run) waits for
/// it.
///
/// It is a future too, for the loop's [local futures](Handle::spawn_local) and
/// [`run_until`](crate::EventLoop::run_until). Chains are flat, and each promise has one owner, as
/// there. Steps that never have to wait let other callbacks run in between.
///
/// # Cancellation
///
/// Dropping the promise cancels the action and drops the steps unrun;
/// [`detach`](LocalPromise::detach) leaves it to the loop. Dropping the loop does the same to all
/// its promises.
///
/// # Errors
///
/// As for [`Promise`](crate::Promise). Besides, a step may give the very promise that waits for it,
/// out of a cell: that is an error made of one that [`is_deadlock`](TaskError::is_deadlock).
///
/// # Panics
///
/// Polling panics once the result has been given, and if the loop was dropped before the promise
/// was settled. A panic of the conversion from [`TaskError`] comes out of the loop; then, too,
/// polling panics.
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
    link: Link,
    /// What the chain gives: a `Result<T, E>`.
    types: PhantomData<fn() -> (T, E)>,
}

type Sealed = <Local as Kind>::Value;

impl Handle {
    /// Runs `op` on the pool, at once, and gives a promise of its result to go on with here.
    ///
    /// A panic in `op` and a refusal by the pool arrive as an error made of the [`TaskError`].
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
            return LocalPromise::of(Link::lost(self));
        }
        LocalPromise::of_task(self, self.pool().spawn(op))
    }
}

impl<T: 'static, E: 'static> LocalPromise<T, E> {
    /// The promise of a chain that gives a `Result<T, E>`.
    pub(super) fn of(link: Link) -> Self {
        LocalPromise { link, types: PhantomData }
    }

    /// The chain, for a step that was added at `site` to go on with. Its own promise, which waits
    /// for that step, is left to the loop instead.
    fn into_chain(self, site: Site) -> Chain<Local>
    where
        E: From<TaskError>,
    {
        if self.link.is_polled_here() {
            self.detach_at(site);
            return Chain::settled(Err::<T, E>(E::from(steps::waits_for_itself(site))));
        }
        self.link.into_chain()
    }

    /// The promise of what the closure of a task returns.
    pub(super) fn of_task(ev: &Handle, task: Task<Result<T, E>>) -> Self
    where
        E: From<TaskError>,
    {
        let source = Awaited::<Local, T, E>::new(task);
        LocalPromise::of(Link::new(ev, Chain::<Local>::pending(Box::pin(source))))
    }

    /// The promise of what is there already.
    pub(super) fn settled(ev: &Handle, result: Result<T, E>) -> Self {
        LocalPromise::of(Link::settled(ev, Local::seal(result)))
    }

    /// Adds a step that makes a chain of `U` and `F`.
    fn and<U: 'static, F: 'static>(
        self,
        step: impl FnOnce(Result<T, E>) -> Chain<Local> + 'static,
    ) -> LocalPromise<U, F> {
        self.link.push(Box::new(move |value: Sealed| step(Local::open(value))));
        LocalPromise::of(self.link)
    }

    /// A promise that has its value.
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

    /// A promise that has failed.
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

    /// A promise of what a future gives, which the loop polls from now on. A panic in the future
    /// becomes an error.
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
        let source = shielded::<Local, T, E, _>(future, Location::caller());
        LocalPromise::of(Link::new(ev, Chain::<Local>::pending(Box::pin(source))))
    }

    /// Turns the value into another. An error passes by.
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
        self.and(steps::map(f, Location::caller()))
    }

    /// Goes on with the value: `f` gives a `Result`, or another promise of either kind, whose end
    /// is then the end of this one. An error passes by.
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
        let (ev, site) = (self.link.ev().clone(), Location::caller());
        let f = move |value| f(value).into_local_promise(&ev).into_chain(site);
        self.and(steps::then::<Local, T, R::Value, E>(f, site))
    }

    /// Goes on with the error: `f` gives a `Result`, or another promise, in place of this one. A
    /// value passes by. The type of the error may change.
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
        let (ev, site) = (self.link.ev().clone(), Location::caller());
        let f = move |error| f(error).into_local_promise(&ev).into_chain(site);
        self.and(steps::catch::<Local, T, E, R::Error>(f, site))
    }

    /// Turns the error into another. A value passes by.
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
        self.and(steps::map_err(f, Location::caller()))
    }

    /// Runs `f` at either end and passes the result on. If `f` panics, that is the result instead.
    ///
    /// A promise that is dropped before comes to neither end: what must happen then, too, belongs
    /// into a destructor.
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
        self.and(steps::finally(f, Location::caller()))
    }

    /// Leaves the promise to the loop. An error at the end is traced, since nobody else sees it.
    #[track_caller]
    pub fn detach(self) {
        self.detach_at(Location::caller());
    }

    fn detach_at(self, site: Site) {
        let promise: LocalPromise<(), E> = self.and(move |result| {
            steps::report_unseen(&result, site);
            steps::discard(result);
            Chain::settled(())
        });
        promise.link.detach();
    }

    /// The loop that drives it.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        self.link.ev()
    }
}

impl<T: 'static, E: 'static> Future for LocalPromise<T, E> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.link.poll(context).map(Local::open)
    }
}

// A panic that leaves a poll ends the chain: nobody sees anything half changed.
impl<T, E> UnwindSafe for LocalPromise<T, E> {}
impl<T, E> RefUnwindSafe for LocalPromise<T, E> {}

impl<T, E> fmt::Debug for LocalPromise<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPromise").field("link", &self.link).finish_non_exhaustive()
    }
}
