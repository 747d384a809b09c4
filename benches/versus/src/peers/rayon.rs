//! A pool of `rayon`, of fixed size, with a oneshot for the result.

use anyhow::Result;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::runtime::Handle;

use super::call::sending;
use super::limited::{Alone, Limited};
use super::{Call, Peer, Threads};

pub(crate) struct Rayon(ThreadPool);

impl Peer for Rayon {
    const CANCELS: bool = false;

    fn start(threads: Threads, _: &Handle) -> Result<Self> {
        // Zero means: as many as there are cores.
        Ok(Self(ThreadPoolBuilder::new().num_threads(threads.number().unwrap_or(0)).build()?))
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Call<Output = T> {
        let (work, result) = sending(work);
        self.0.spawn(work);
        result
    }

    fn spawn_detached(&self, work: impl FnOnce() + Send + 'static) {
        self.0.spawn(work);
    }

    /// Its size is its limit: another one, of so many threads.
    fn limited(&'static self, limit: usize, runtime: &Handle) -> Result<impl Limited> {
        Self::start(Threads::AtMost(limit), runtime).map(Alone)
    }
}
