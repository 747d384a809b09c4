//! `spawn_blocking` of the runtime that the calls come from.

use anyhow::Result;
use tokio::runtime::{Builder, Handle};

use super::{Call, Peer, Threads};

/// The sharded blocking queue is in this build.
pub(crate) const SHARDED_EXISTS: bool = cfg!(tokio_unstable);

pub(crate) struct Tokio<const SHARDED: bool>(Handle);

impl<const SHARDED: bool> Peer for Tokio<SHARDED> {
    const CANCELS: bool = true;

    fn tune(runtime: &mut Builder, threads: Threads) {
        if let Some(number) = threads.number() {
            runtime.max_blocking_threads(number);
        }
        #[cfg(tokio_unstable)]
        if SHARDED {
            runtime.enable_sharded_blocking_queue();
        }
    }

    fn start(_: Threads, runtime: &Handle) -> Result<Self> {
        Ok(Self(runtime.clone()))
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Call<Output = T> {
        self.0.spawn_blocking(work)
    }

    fn spawn_detached(&self, work: impl FnOnce() + Send + 'static) {
        drop(self.0.spawn_blocking(work));
    }
}
