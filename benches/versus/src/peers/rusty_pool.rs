//! A pool of `rusty_pool`, which has core threads and grows to a maximum.

use std::time::Duration;

use anyhow::Result;
use rusty_pool::ThreadPool;
use tokio::runtime::Handle;

use super::limited::{Alone, Limited};
use super::{Call, Peer, Threads};

/// That of the pool's own default.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

pub(crate) struct RustyPool(ThreadPool);

impl Peer for RustyPool {
    const CANCELS: bool = false;

    fn start(threads: Threads, _: &Handle) -> Result<Self> {
        Ok(Self(match threads {
            Threads::Default => ThreadPool::default(),
            Threads::AtMost(most) => ThreadPool::new(num_cpus::get().min(most), most, KEEP_ALIVE),
            Threads::Keep(kept) | Threads::Exactly(kept) => ThreadPool::new(kept, kept, KEEP_ALIVE),
        }))
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Call<Output = T> {
        self.0.evaluate(work).receiver
    }

    fn spawn_detached(&self, work: impl FnOnce() + Send + 'static) {
        self.0.execute(work);
    }

    /// Its size is its limit: another one, of so many threads.
    fn limited(&'static self, limit: usize, runtime: &Handle) -> Result<impl Limited> {
        Self::start(Threads::AtMost(limit), runtime).map(Alone)
    }
}
