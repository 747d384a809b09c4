//! A pool of this crate: as it is, and going by time alone, as on a system that does not tell what
//! threads do.

use anyhow::Result;
use sidestep::{Pool, Unblocked};
use tokio::runtime::Handle;

use super::{Call, Peer, Threads};

/// With `STATES` it asks the system what its threads do.
pub(crate) struct Sidestep<const STATES: bool>(Pool);

impl<const STATES: bool> Peer for Sidestep<STATES> {
    const CANCELS: bool = true;

    fn start(threads: Threads, _: &Handle) -> Result<Self> {
        let builder = Pool::builder();
        #[cfg(feature = "states")]
        let builder = builder.thread_states(STATES);
        let builder = match threads {
            Threads::Default => builder,
            Threads::AtMost(most) => builder.max_threads(most),
            Threads::Keep(kept) => builder.core_threads(kept),
            Threads::Exactly(number) => builder.core_threads(number).max_threads(number),
        };
        Ok(Self(builder.build()?))
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Call<Output = T> {
        Ours(self.0.unblock(work))
    }

    fn spawn_detached(&self, work: impl FnOnce() + Send + 'static) {
        self.0.spawn(work).detach();
    }

    #[cfg(feature = "lanes")]
    fn limited(&'static self, limit: usize, _: &Handle) -> Result<impl super::limited::Limited> {
        Ok(self.0.lane("limited", limit))
    }
}

/// Its handle, which has a way of its own to wait.
struct Ours<T>(Unblocked<T>);

impl<T: Send + 'static> Call for Ours<T> {
    type Output = T;

    fn result(self) -> impl Future<Output = T> + Send {
        self.0
    }

    #[cfg(feature = "waits")]
    fn wait(self) -> T {
        self.0.wait()
    }

    fn cancel(self) {
        drop(self.0);
    }
}

#[cfg(feature = "lanes")]
impl super::limited::Limited for sidestep::Lane {
    fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        self.unblock(work)
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Call<Output = T> {
        Ours(self.unblock(work))
    }
}
