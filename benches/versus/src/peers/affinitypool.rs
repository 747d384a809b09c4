//! A pool of `affinitypool`, of fixed size.

use std::mem;

use affinitypool::Threadpool;
use anyhow::Result;
use tokio::runtime::Handle;

use super::call::Dropped;
use super::{Call, Peer, Threads};

pub(crate) struct Affinitypool(Threadpool);

impl Peer for Affinitypool {
    const CANCELS: bool = true;

    fn start(threads: Threads, _: &Handle) -> Result<Self> {
        Ok(Self(threads.number().map_or_else(Threadpool::default, Threadpool::new)))
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Call<Output = T> {
        Dropped(self.0.spawn(work))
    }

    fn spawn_detached(&self, work: impl FnOnce() + Send + 'static) {
        // There is no detaching, and to drop the future is to cancel. A program would have to keep it somewhere;
        // leaking it costs less than that.
        mem::forget(self.0.spawn(work));
    }
}
