//! What a continuation of a promise may return.

use super::chain::Chain;
use super::local::LocalPromise;
use super::sendable::Promise;
use crate::error::TaskError;
use crate::event_loop::Handle;
use crate::task::Task;

/// What a continuation of a [`Promise`] may return: a `Result`, which settles the promise at once,
/// or a value that settles it later, such as another promise or a [`Task`].
///
/// Implement it for other types whose result comes later, such as a client's handle to a request.
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
    /// The value of the promise, if it does not fail.
    type Value: Send + 'static;
    /// The error of the promise, if it fails.
    type Error: Send + 'static;

    /// Converts `self` into a promise.
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

/// What a continuation of a [`LocalPromise`] may return: what implements [`IntoPromise`] in this
/// crate, or a `LocalPromise`. Nothing needs to be `Send`, except in a [`Promise`] or a [`Task`].
///
/// ```
/// use sidestep::event_loop::Handle;
/// use sidestep::promise::IntoLocalPromise;
/// use sidestep::{EventLoop, LocalPromise, TaskError};
///
/// struct Query(&'static str);
///
/// impl IntoLocalPromise for Query {
///     type Value = usize;
///     type Error = TaskError;
///
///     fn into_local_promise(self, ev: &Handle) -> LocalPromise<usize, TaskError> {
///         ev.promise(move || Ok(self.0.len()))
///     }
/// }
///
/// let mut ev = EventLoop::new();
/// let rows = LocalPromise::resolve(&ev, "select").then(Query);
/// assert_eq!(ev.run_until(rows)?, 6);
/// # Ok::<(), TaskError>(())
/// ```
pub trait IntoLocalPromise {
    /// The value of the promise, if it does not fail.
    type Value: 'static;
    /// The error of the promise, if it fails.
    type Error: 'static;

    /// Converts `self` into a promise that the loop of `ev` drives.
    fn into_local_promise(self, ev: &Handle) -> LocalPromise<Self::Value, Self::Error>;
}

/// Returns the promise itself, even if it belongs to another loop of this thread. The chain of a
/// promise that a step returns becomes a part of the chain that the step belongs to.
impl<T: 'static, E: 'static> IntoLocalPromise for LocalPromise<T, E> {
    type Value = T;
    type Error = E;

    fn into_local_promise(self, _: &Handle) -> LocalPromise<T, E> {
        self
    }
}

impl<T: 'static, E: 'static> IntoLocalPromise for Result<T, E> {
    type Value = T;
    type Error = E;

    fn into_local_promise(self, ev: &Handle) -> LocalPromise<T, E> {
        LocalPromise::settled(ev, self)
    }
}

impl<T: Send + 'static, E: From<TaskError> + Send + 'static> IntoLocalPromise for Promise<T, E> {
    type Value = T;
    type Error = E;

    #[track_caller]
    fn into_local_promise(self, ev: &Handle) -> LocalPromise<T, E> {
        LocalPromise::from_future(ev, self)
    }
}

impl<T: Send + 'static, E: From<TaskError> + Send + 'static> IntoLocalPromise for Task<Result<T, E>> {
    type Value = T;
    type Error = E;

    fn into_local_promise(self, ev: &Handle) -> LocalPromise<T, E> {
        LocalPromise::of_task(ev, self)
    }
}
