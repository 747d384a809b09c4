//! Many promises of an event loop as one.

use std::future::Future;

use super::chain::Chain;
use super::combine;
use super::kind::{Carries, Local};
use super::link::Link;
use super::local::LocalPromise;
use crate::event_loop::Handle;

impl<T: 'static, E: 'static> LocalPromise<T, E> {
    /// One promise of many, driven by `ev`.
    fn combined<U: 'static, F: 'static, C>(
        ev: &Handle,
        promises: impl IntoIterator<Item = Self>,
        combine: impl FnOnce(Vec<Self>) -> C,
    ) -> LocalPromise<U, F>
    where
        C: Future<Output = Result<U, F>> + 'static,
    {
        let combined = combine(promises.into_iter().collect());
        let source = async move { <Local as Carries<Result<U, F>>>::seal(combined.await) };
        LocalPromise::of(Link::new(ev, Chain::<Local>::pending(Box::pin(source))))
    }

    /// All values, in the order of the promises; or the first error, and then the other promises
    /// are dropped, which cancels them.
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

    /// Every result, in the order of the promises. It never fails, so its own error may be of any
    /// type.
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

    /// The first value, and then the other promises are dropped, which cancels them; or, if there
    /// is none, all errors in the order of the promises.
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

    /// The first result, value or error; then the other promises are dropped, which cancels them.
    /// Of several that are settled already it is the first in order.
    ///
    /// # Panics
    ///
    /// If there is no promise: it would never be settled.
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
        let promises: Vec<_> = promises.into_iter().collect();
        assert!(!promises.is_empty(), "a race of no promises would never end");
        LocalPromise::combined(ev, promises, combine::race)
    }
}
