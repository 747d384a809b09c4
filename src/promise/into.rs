//! What a continuation of a promise may give.

use super::chain::Chain;
use super::sendable::Promise;
use crate::error::TaskError;
use crate::task::Task;

/// What a continuation of a [`Promise`] may give: a `Result`, which settles the promise at once, or something that settles
/// it later.
///
/// It can be implemented for other types whose result comes later, such as a client's handle to a request.
///
/// ```
/// use sidestep::promise::IntoPromise;
/// use sidestep::{Promise, TaskError};
///
/// struct Query(&'static str);
///
/// impl IntoPromise for Query {
///     type Value = usize;
///     type Error = TaskError;
///
///     fn into_promise(self) -> Promise<usize, TaskError> {
///         sidestep::Pool::global().promise(move || Ok(self.0.len()))
///     }
/// }
///
/// let rows = Promise::resolve("select").then(Query);
/// assert_eq!(rows.wait()?, 6);
/// # Ok::<(), TaskError>(())
/// ```
pub trait IntoPromise {
    /// What the promise gives if all goes well.
    type Value: Send + 'static;
    /// What it gives if not.
    type Error: Send + 'static;

    /// Makes the promise.
    fn into_promise(self) -> Promise<Self::Value, Self::Error>;
}

impl<T: Send + 'static, E: Send + 'static> IntoPromise for Promise<T, E> {
    type Value = T;
    type Error = E;

    fn into_promise(self) -> Promise<T, E> {
        self
    }
}

impl<T: Send + 'static, E: Send + 'static> IntoPromise for Result<T, E> {
    type Value = T;
    type Error = E;

    fn into_promise(self) -> Promise<T, E> {
        Promise::of(Chain::settled(self), None)
    }
}

impl<T: Send + 'static, E: From<TaskError> + Send + 'static> IntoPromise for Task<Result<T, E>> {
    type Value = T;
    type Error = E;

    fn into_promise(self) -> Promise<T, E> {
        self.promise()
    }
}
