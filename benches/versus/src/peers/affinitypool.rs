//! A pool of `affinitypool`, of fixed size: as it is, and with its results sent through a oneshot,
//! which is what our results travel through. The difference is what that costs.

use std::mem;

use affinitypool::Threadpool;
use anyhow::Result;
use tokio::runtime::Handle;

use super::call::{Dropped, sending};
use super::limited::{Alone, Limited};
use super::{Call, Peer, Threads};

/// With `ONESHOT` its results are sent.
pub(crate) struct Affinitypool<const ONESHOT: bool>(Threadpool);

impl Peer for Affinitypool<false> {
    const CANCELS: bool = true;

    fn start(threads: Threads, _: &Handle) -> Result<Self> {
        Ok(Self(threads.number().map_or_else(Threadpool::default, Threadpool::new)))
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Call<Output = T> {
        Dropped(self.0.spawn(work))
    }

    fn spawn_detached(&self, work: impl FnOnce() + Send + 'static) {
        detach(&self.0, work);
    }

    /// Its size is its limit: another one, of so many threads.
    fn limited(&'static self, limit: usize, runtime: &Handle) -> Result<impl Limited> {
        Self::start(Threads::AtMost(limit), runtime).map(Alone)
    }
}

impl Peer for Affinitypool<true> {
    const CANCELS: bool = false;

    fn start(threads: Threads, runtime: &Handle) -> Result<Self> {
        Affinitypool::<false>::start(threads, runtime).map(|pool| Self(pool.0))
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Call<Output = T> {
        let (work, receiver) = sending(work);
        detach(&self.0, work);
        receiver
    }

    fn spawn_detached(&self, work: impl FnOnce() + Send + 'static) {
        detach(&self.0, work);
    }

    /// Its size is its limit: another one, of so many threads.
    fn limited(&'static self, limit: usize, runtime: &Handle) -> Result<impl Limited> {
        Self::start(Threads::AtMost(limit), runtime).map(Alone)
    }
}

/// There is no detaching, and to drop the future is to cancel. A program would have to keep it
/// somewhere; leaking it costs less than that.
fn detach(pool: &Threadpool, work: impl FnOnce() + Send + 'static) {
    mem::forget(pool.spawn(work));
}
