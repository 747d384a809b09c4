//! The beginnings of a chain: the result of a task, and of any future.

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use super::kind::Carries;
use super::steps::{Site, guarded};
use crate::error::TaskError;
use crate::panic::catch_panic;
use crate::task::Task;

/// The result of a task whose closure gives one itself.
pub(super) struct Awaited<K, T, E> {
    task: Task<Result<T, E>>,
    kind: PhantomData<fn() -> K>,
}

impl<K, T, E> Awaited<K, T, E> {
    pub(super) fn new(task: Task<Result<T, E>>) -> Self {
        Awaited { task, kind: PhantomData }
    }
}

impl<K: Carries<Result<T, E>>, T, E: From<TaskError>> Future for Awaited<K, T, E> {
    type Output = K::Value;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<K::Value> {
        let polled = Pin::new(&mut self.task).poll(context);
        polled.map(|ended| K::seal(ended.unwrap_or_else(|error| Err(E::from(error)))))
    }
}

impl<K, T, E> fmt::Debug for Awaited<K, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Awaited").field(&self.task).finish()
    }
}

/// The result of a future of the user's; a panic in it is its error.
pub(super) async fn shielded<K, T, E, F>(future: F, site: Site) -> K::Value
where
    K: Carries<Result<T, E>>,
    E: From<TaskError>,
    F: Future<Output = Result<T, E>>,
{
    let mut slot = pin!(Some(future));
    let ended = poll_fn(|context| match slot.as_mut().as_pin_mut() {
        Some(future) => match guarded(site, || future.poll(context)) {
            Ok(polled) => polled,
            Err(error) => Poll::Ready(Err(E::from(error))),
        },
        None => unreachable!("it is taken out below"),
    })
    .await;
    catch_panic("the destructor of a future that a promise was made of", || slot.set(None));
    K::seal(ended)
}
