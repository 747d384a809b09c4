//! The sources of a chain: the result of a task, and the result of a future.

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use super::chain::Carries;
use super::steps::{Site, guarded};
use crate::error::TaskError;
use crate::panic::catch_panic;
use crate::task::Task;

/// The result of a task whose closure itself returns a `Result`.
pub(super) struct TaskSource<K, T, E> {
    task: Task<Result<T, E>>,
    kind: PhantomData<fn() -> K>,
}

impl<K, T, E> TaskSource<K, T, E> {
    pub(super) fn new(task: Task<Result<T, E>>) -> Self {
        TaskSource { task, kind: PhantomData }
    }
}

impl<K: Carries<Result<T, E>>, T, E: From<TaskError>> Future for TaskSource<K, T, E> {
    type Output = K::Value;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<K::Value> {
        let polled = Pin::new(&mut self.task).poll(context);
        polled.map(|ended| K::erase(ended.unwrap_or_else(|error| Err(E::from(error)))))
    }
}

impl<K, T, E> fmt::Debug for TaskSource<K, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskSource").field(&self.task).finish()
    }
}

/// The result of a user's future. A panic of the future becomes its error.
pub(super) async fn guarded_future<K, T, E, F>(future: F, site: Site) -> K::Value
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
        None => unreachable!("only the end below takes the future out"),
    })
    .await;
    catch_panic("the destructor of a future that a promise was made of", || slot.set(None));
    K::erase(ended)
}
