//! No pool: a thread for each call, with a oneshot for the result.

use std::thread;

use anyhow::Result;
use tokio::runtime::Handle;

use super::call::sending;
use super::{Call, Peer, Threads};

pub(crate) struct Thread;

impl Peer for Thread {
    const IS_POOL: bool = false;
    const CANCELS: bool = false;

    fn start(_: Threads, _: &Handle) -> Result<Self> {
        Ok(Self)
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Call<Output = T> {
        let (work, result) = sending(work);
        thread::spawn(work);
        result
    }

    fn spawn_detached(&self, work: impl FnOnce() + Send + 'static) {
        thread::spawn(work);
    }
}
