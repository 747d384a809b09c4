//! Many promises as one.

use std::future::Future;

use super::chain::Chain;
use super::combine;
use super::kind::{Carries, Sendable};
use super::sendable::Promise;

impl<T: Send + 'static, E: Send + 'static> Promise<T, E> {
    /// One promise of many.
    fn combined<U, F, C>(promises: Vec<Self>, combine: impl FnOnce(Vec<Self>) -> C) -> Promise<U, F>
    where
        U: Send + 'static,
        F: Send + 'static,
        C: Future<Output = Result<U, F>> + Send + 'static,
    {
        let home = promises.iter().find_map(|promise| promise.home().cloned());
        let combined = combine(promises);
        let source = async move { <Sendable as Carries<Result<U, F>>>::seal(combined.await) };
        Promise::of(Chain::<Sendable>::pending(Box::pin(source)), home)
    }

    /// All values, in the order of the promises; or the first error, and then the other promises
    /// are dropped, which cancels them.
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

    /// Every result, in the order of the promises. It never fails, so its own error may be of any
    /// type.
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

    /// The first value, and then the other promises are dropped, which cancels them; or, if there
    /// is none, all errors in the order of the promises.
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

    /// The first result, value or error; then the other promises are dropped, which cancels them.
    /// Of several that are settled already it is the first in order.
    ///
    /// # Panics
    ///
    /// If there is no promise: it would never be settled.
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
        let promises: Vec<_> = promises.into_iter().collect();
        assert!(!promises.is_empty(), "a race of no promises would never end");
        Promise::combined(promises, combine::race)
    }
}
