//! What each method of a promise does with the result of the step before, for both kinds.
//!
//! A step that has nothing to do drops its closure uncalled and passes the result on. A panic in
//! that destructor is reported: there is a result already, which it must not replace. A panic in
//! the closure, or in the destructor of what the closure was given or has captured, is the
//! closure's end, and becomes the error of the promise. Should the conversion to that error panic
//! too, there is no error to be had: that panic leaves the poll.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};

use super::chain::Chain;
use super::kind::Carries;
use crate::error::{Origin, Reason, TaskError};
use crate::panic::catch_panic;
use crate::task::next_id;
use crate::trace::event;

/// Where a continuation was added.
pub(super) type Site = &'static Location<'static>;

/// Runs a closure of the user's that was added at `site`.
pub(super) fn guarded<R>(site: Site, f: impl FnOnce() -> R) -> Result<R, TaskError> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let origin = Origin { id: next_id(), site, name: None };
        TaskError::new(origin, Reason::panicked(payload))
    })
}

/// What becomes of a step, added at `site`, that gives the promise which waits for it.
pub(super) fn waits_for_itself(site: Site) -> TaskError {
    TaskError::new(Origin { id: next_id(), site, name: None }, Reason::Deadlock)
}

/// Drops a result that nobody sees.
pub(super) fn discard<R>(result: R) {
    catch_panic("the destructor of a result that nobody sees", || drop(result));
}

/// Traces an error at the end of a promise that was detached at `site`.
pub(super) fn report_unseen<T, E>(result: &Result<T, E>, site: Site) {
    if result.is_err() {
        event!(WARN, detached_at = %site, "a detached promise ended with an error that nobody sees");
    }
    let _ = site;
}

/// Drops a closure that has nothing to do.
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

/// `f` makes the chain of the promise to go on with; `U` and `E` are of that promise.
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

/// `f` makes the chain of the promise to go on with; `T` and `F` are of that promise.
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
