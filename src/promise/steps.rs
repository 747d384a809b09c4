//! The steps that the methods of a promise add, for both kinds of chains.
//!
//! A step that has nothing to do drops its closure uncalled and passes the result on. A panic in
//! the destructor of the closure is reported: there is a result already, which the panic must not
//! replace. A panic in the closure, or in the destructor of its argument or of what it has
//! captured, becomes the error of the promise. If the conversion to that error panics too, there is
//! no error: that panic leaves the poll.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};

use super::chain::{Carries, Chain};
use crate::error::{Origin, Reason, TaskError};
use crate::panic::catch_panic;
use crate::task::next_id;
use crate::trace::event;

/// The call that added a continuation.
pub(super) type Site = &'static Location<'static>;

/// Runs a user's closure that was added at `site`.
pub(super) fn guarded<R>(site: Site, f: impl FnOnce() -> R) -> Result<R, TaskError> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let origin = Origin { id: next_id(), site, name: None };
        TaskError::new(origin, Reason::panicked(payload))
    })
}

/// The error of a step, added at `site`, that returns the promise which waits for it.
pub(super) fn self_wait_error(site: Site) -> TaskError {
    TaskError::new(Origin { id: next_id(), site, name: None }, Reason::Deadlock)
}

/// Drops a result that no caller sees. A panic of its destructor is reported.
pub(super) fn discard<R>(result: R) {
    catch_panic("the destructor of a result that nobody sees", || drop(result));
}

/// Traces an error at the end of a promise that was detached at `site`.
pub(super) fn report_unhandled<T, E>(result: &Result<T, E>, site: Site) {
    if result.is_err() {
        event!(WARN, detached_at = %site, "a detached promise ended with an error that nobody sees");
    }
    let _ = site;
}

/// Drops a closure that is not called. A panic of its destructor is reported.
fn skip<F>(f: F) {
    catch_panic("the destructor of a continuation that was not called", || drop(f));
}

pub(super) fn map<K, T, U, E>(f: impl FnOnce(T) -> U, site: Site) -> impl FnOnce(Result<T, E>) -> Chain<K>
where
    K: Carries<Result<U, E>>,
    E: From<TaskError>,
{
    move |result| {
        Chain::settled(match result {
            Ok(value) => guarded(site, || f(value)).map_err(E::from),
            Err(error) => {
                skip(f);
                Err(error)
            }
        })
    }
}

pub(super) fn map_err<K, T, E, F>(f: impl FnOnce(E) -> F, site: Site) -> impl FnOnce(Result<T, E>) -> Chain<K>
where
    K: Carries<Result<T, F>>,
    F: From<TaskError>,
{
    move |result| {
        Chain::settled(match result {
            Ok(value) => {
                skip(f);
                Ok(value)
            }
            Err(error) => Err(guarded(site, || f(error)).unwrap_or_else(F::from)),
        })
    }
}

/// `f` makes the chain of the promise to go on with; `U` and `E` are the types of that promise.
pub(super) fn then<K, T, U, E>(
    f: impl FnOnce(T) -> Chain<K>,
    site: Site,
) -> impl FnOnce(Result<T, E>) -> Chain<K>
where
    K: Carries<Result<U, E>>,
    E: From<TaskError>,
{
    move |result| match result {
        Ok(value) => {
            guarded(site, || f(value)).unwrap_or_else(|error| Chain::settled(Err::<U, E>(E::from(error))))
        }
        Err(error) => {
            skip(f);
            Chain::settled(Err::<U, E>(error))
        }
    }
}

/// `f` makes the chain of the promise to go on with; `T` and `F` are the types of that promise.
pub(super) fn catch<K, T, E, F>(
    f: impl FnOnce(E) -> Chain<K>,
    site: Site,
) -> impl FnOnce(Result<T, E>) -> Chain<K>
where
    K: Carries<Result<T, F>>,
    F: From<TaskError>,
{
    move |result| match result {
        Ok(value) => {
            skip(f);
            Chain::settled(Ok::<T, F>(value))
        }
        Err(error) => {
            guarded(site, || f(error)).unwrap_or_else(|error| Chain::settled(Err::<T, F>(F::from(error))))
        }
    }
}

pub(super) fn finally<K, T, E>(f: impl FnOnce(), site: Site) -> impl FnOnce(Result<T, E>) -> Chain<K>
where
    K: Carries<Result<T, E>>,
    E: From<TaskError>,
{
    move |result| {
        Chain::settled(match guarded(site, f) {
            Ok(()) => result,
            Err(error) => {
                discard(result);
                Err(E::from(error))
            }
        })
    }
}
