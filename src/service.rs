//! [`BlockingService`]: blocking code as a service of `tower`, whose readiness is room in the
//! queue.
//!
//! # No place is lost
//!
//! A service is *unready*, *waiting* for a permit, or *ready* with one. `poll_ready` begins a wait
//! where there is neither, and the wait's own protocol grants the permit (see `semaphore`): so a
//! caller that stops polling half way leaves the wait as it is, in its place in the queue, and the
//! next `poll_ready` goes on with it. `call` takes the permit and spends it, whatever becomes of
//! the future. A service that is dropped drops its wait, which gives its turn or its permit to the
//! next, or its permit, whose place is free then. A clone begins unready, so no permit is ever
//! shared. A wait that has ended with an error is gone, and the next `poll_ready` begins anew.

use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tower_service::Service;

use crate::error::TaskError;
use crate::pool::{ChosenTarget, Lane, Permit, Pool, Reserve, TaskOptions};
use crate::task::Task;

/// A blocking function as a [`tower::Service`]: what [`Lane::service`], [`Pool::service`] and
/// [`TaskOptions::service`] return.
///
/// `poll_ready` is [`reserve`](Lane::reserve): it is ready when there is room in the queue, and at
/// once where the queue has no limit. `call` spends the permit. So the layers of `tower` that look
/// at readiness, such as `load_shed`, `buffer` and `balance`, see the state of the queue; give it a
/// limit with [`queue_limit`](crate::LaneBuilder::queue_limit). The future is a [`Task`]: a
/// `timeout` that drops it cancels the closure.
///
/// The response is what the function returns, a `Result` too; the error is the [`TaskError`] of a
/// closure that panicked, expired or could not run. A `retry` sees both.
///
/// A clone has no permit: call `poll_ready` on it before `call`. A service that is ready and not
/// called keeps its room from others until it is dropped.
///
/// [`tower::Service`]: Service
///
/// ```
/// use std::time::Duration;
///
/// use sidestep::Pool;
/// use tower::{Service, ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let pool = Pool::new()?;
/// let disk = pool.lane_builder("disk", 4).queue_limit(100).build()?;
/// let mut lengths = ServiceBuilder::new()
///     .load_shed()
///     .timeout(Duration::from_secs(5))
///     .service(disk.service(|path: &'static str| std::fs::metadata(path).map(|meta| meta.len())));
/// let length = lengths.ready().await?.call("Cargo.toml").await?;
/// assert!(length? > 0);
/// # Ok(()) }
/// ```
pub struct BlockingService<F> {
    target: ChosenTarget,
    f: Arc<F>,
    readiness: Readiness,
}

/// How far the service is with its permit.
enum Readiness {
    Unready,
    Waiting(Reserve),
    Ready(Permit),
}

impl<F> BlockingService<F> {
    fn new(target: ChosenTarget, f: F) -> Self {
        BlockingService { target, f: Arc::new(f), readiness: Readiness::Unready }
    }
}

impl<Q, F, R> Service<Q> for BlockingService<F>
where
    Q: Send + 'static,
    F: Fn(Q) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    type Response = R;
    type Error = TaskError;
    type Future = Task<R>;

    /// Waits for room in the queue.
    ///
    /// # Errors
    ///
    /// [`is_shutdown`](TaskError::is_shutdown) once the pool is shut down, and
    /// [`is_no_thread`](TaskError::is_no_thread) in the child of a fork.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), TaskError>> {
        if matches!(self.readiness, Readiness::Ready(_)) {
            return Poll::Ready(Ok(()));
        }
        let mut wait = match std::mem::replace(&mut self.readiness, Readiness::Unready) {
            Readiness::Waiting(wait) => wait,
            _ => self.target.reserve(),
        };
        let polled = Pin::new(&mut wait).poll(context);
        if polled.is_pending() {
            self.readiness = Readiness::Waiting(wait);
        }
        self.readiness = Readiness::Ready(ready!(polled)?);
        Poll::Ready(Ok(()))
    }

    /// Queues the call.
    ///
    /// # Panics
    ///
    /// If `poll_ready` has not returned `Ready(Ok(()))` since the last `call`.
    #[track_caller]
    fn call(&mut self, request: Q) -> Task<R> {
        match std::mem::replace(&mut self.readiness, Readiness::Unready) {
            Readiness::Ready(permit) => {
                let f = Arc::clone(&self.f);
                self.target.options().start_with_permit(permit, move || f(request))
            }
            // A wait that has begun stays in its place.
            other => {
                self.readiness = other;
                panic!("a sidestep service was called before `poll_ready` had returned `Ready(Ok(()))`")
            }
        }
    }
}

impl Pool {
    /// `f` as a service of `tower`: see [`BlockingService`].
    #[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
    pub fn service<F>(&self, f: F) -> BlockingService<F> {
        BlockingService::new(ChosenTarget::of(self), f)
    }
}

impl Lane {
    /// `f` as a service of `tower`: see [`BlockingService`].
    #[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
    pub fn service<F>(&self, f: F) -> BlockingService<F> {
        BlockingService::new(ChosenTarget::of(self), f)
    }
}

impl TaskOptions<'_> {
    /// `f` as a service of `tower`, whose calls have these options: see [`BlockingService`].
    #[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
    pub fn service<F>(&self, f: F) -> BlockingService<F> {
        BlockingService::new(ChosenTarget::of(self), f)
    }
}

/// The clone has no permit, and waits for none.
impl<F> Clone for BlockingService<F> {
    fn clone(&self) -> Self {
        let (target, f) = (self.target.clone(), Arc::clone(&self.f));
        BlockingService { target, f, readiness: Readiness::Unready }
    }
}

// `f` is called by reference on threads of the pool, which catches its panics.
impl<F> UnwindSafe for BlockingService<F> {}
impl<F> RefUnwindSafe for BlockingService<F> {}

impl<F> fmt::Debug for BlockingService<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let readiness = match &self.readiness {
            Readiness::Unready => "unready",
            Readiness::Waiting(_) => "waiting",
            Readiness::Ready(_) => "ready",
        };
        f.debug_struct("BlockingService").field("readiness", &readiness).finish_non_exhaustive()
    }
}
