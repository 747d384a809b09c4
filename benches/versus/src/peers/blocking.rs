//! `blocking::unblock`: the one pool of the process, configured through the environment.

use anyhow::Result;
use tokio::runtime::Handle;

use super::call::Dropped;
use super::{Call, Peer, Threads};

pub(crate) struct Blocking;

impl Peer for Blocking {
    const CANCELS: bool = true;
    const GLOBAL: bool = true;

    fn environment(threads: Threads) -> Option<(&'static str, String)> {
        Some(("BLOCKING_MAX_THREADS", threads.number()?.to_string()))
    }

    fn start(_: Threads, _: &Handle) -> Result<Self> {
        Ok(Self)
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Call<Output = T> {
        Dropped(blocking::unblock(work))
    }

    fn spawn_detached(&self, work: impl FnOnce() + Send + 'static) {
        blocking::unblock(work).detach();
    }
}
