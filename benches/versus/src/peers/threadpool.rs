//! A pool of `threadpool`, of fixed size, with a oneshot for the result.

use anyhow::Result;
use threadpool::ThreadPool;
use tokio::runtime::Handle;

use super::call::sending;
use super::limited::{Alone, Limited};
use super::{Call, Peer, Threads};

pub(crate) struct Threadpool(ThreadPool);

impl Peer for Threadpool {
    const CANCELS: bool = false;

    fn start(threads: Threads, _: &Handle) -> Result<Self> {
        Ok(Self(ThreadPool::new(threads.number().unwrap_or_else(num_cpus::get))))
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Call<Output = T> {
        let (work, result) = sending(work);
        self.0.execute(work);
        result
    }

    fn spawn_detached(&self, work: impl FnOnce() + Send + 'static) {
        self.0.execute(work);
    }

    /// Its size is its limit: another one, of so many threads.
    fn limited(&'static self, limit: usize, runtime: &Handle) -> Result<impl Limited> {
        Self::start(Threads::AtMost(limit), runtime).map(Alone)
    }
}
