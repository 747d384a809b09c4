//! The handles that peers give: what scenarios may do with them.

use futures_channel::oneshot::{Receiver, channel};
use futures_executor::block_on;
use tokio::task::JoinHandle;

/// A call under way.
pub(crate) trait Call: Send + 'static {
    type Output;

    /// A future of the plain result.
    fn result(self) -> impl Future<Output = Self::Output> + Send;

    /// The plain result, for a plain thread, which waits for it.
    fn wait(self) -> Self::Output
    where
        Self: Sized,
    {
        block_on(self.result())
    }

    /// Sees to it that the closure does not run if it still waits, where the peer can do that.
    fn cancel(self);
}

/// A future of the plain result; dropping it cancels the call.
pub(crate) struct Dropped<F>(pub(crate) F);

impl<F: Future + Send + 'static> Call for Dropped<F> {
    type Output = F::Output;

    fn result(self) -> impl Future<Output = F::Output> + Send {
        self.0
    }

    fn cancel(self) {
        drop(self.0);
    }
}

/// A handle of tokio's; dropping it detaches the call.
impl<T: Send + 'static> Call for JoinHandle<T> {
    type Output = T;

    async fn result(self) -> T {
        self.await.expect("the closure does not panic")
    }

    fn cancel(self) {
        self.abort();
    }
}

/// The result that a closure sends, for peers whose calls are no futures. Nothing cancels it.
impl<T: Send + 'static> Call for Receiver<T> {
    type Output = T;

    async fn result(self) -> T {
        self.await.expect("the closure sends its result")
    }

    fn cancel(self) {
        drop(self);
    }
}

/// Makes of a closure one that sends its result, and the receiver of that.
pub(crate) fn sending<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> (impl FnOnce() + Send + 'static, Receiver<T>) {
    let (sender, receiver) = channel();
    // An error means that nobody waits any more: the value is dropped here.
    (move || drop(sender.send(work())), receiver)
}
