//! Calls of which no more than so many run at a time.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::{Call, Peer};

/// A way in that lets no more than so many closures run at a time.
pub(crate) trait Limited: Send + Sync + 'static {
    /// A call by an async task which does nothing but wait for it, and inside which it may wait for
    /// its turn.
    fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send;

    /// A call that waits for its turn, and runs, whether or not anybody awaits it.
    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Call<Output = T>;
}

/// A semaphore before a peer that may have more threads.
pub(super) struct Semaphored<P: 'static> {
    peer: &'static P,
    semaphore: Arc<Semaphore>,
    runtime: Handle,
}

impl<P: Peer> Semaphored<P> {
    pub(super) fn new(peer: &'static P, limit: usize, runtime: &Handle) -> Self {
        Self { peer, semaphore: Arc::new(Semaphore::new(limit)), runtime: runtime.clone() }
    }
}

impl<P: Peer> Limited for Semaphored<P> {
    fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        with_permit(self.peer, Arc::clone(&self.semaphore), work)
    }

    /// Somebody has to wait for the permit: a task of the runtime.
    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Call<Output = T> {
        self.runtime.spawn(with_permit(self.peer, Arc::clone(&self.semaphore), work))
    }
}

/// The closure has the permit, so that it is free when the closure has ended, whatever becomes of
/// the caller.
async fn with_permit<P: Peer, T: Send + 'static>(
    peer: &'static P,
    semaphore: Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let permit = semaphore.acquire_owned().await.expect("nobody closes the semaphore");
    let call = peer.spawn(move || {
        let result = work();
        drop(permit);
        result
    });
    call.result().await
}

/// A pool, or a part of one, that runs no more by itself.
pub(super) struct Alone<P>(pub(super) P);

impl<P: Peer> Limited for Alone<P> {
    fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        self.0.spawn(work).result()
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Call<Output = T> {
        self.0.spawn(work)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;
    use std::thread;
    use std::time::Duration;

    use super::super::{Family, Threads, Visit};
    use super::*;
    use crate::driver::{Driver, Flavor};
    use crate::entrants::{ENTRANTS, Entrant, Part};

    const LIMIT: usize = 3;
    const CALLS: usize = 12;

    /// The most closures that ran at a time: called by tasks, and spawned.
    struct Most;

    impl Visit for Most {
        type Output = [usize; 2];

        fn visit<P: Peer>(self) -> [usize; 2] {
            let driver = Driver::new::<P>(Flavor::MultiThread, Threads::Default).unwrap();
            let peer = Box::leak(Box::new(P::start(Threads::Default, driver.handle()).unwrap()));
            let limited: &_ = Box::leak(Box::new(peer.limited(LIMIT, driver.handle()).unwrap()));
            [false, true].map(|spawn| {
                let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
                let seen = Arc::clone(&most);
                let work = move || {
                    most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                    thread::sleep(Duration::from_millis(5));
                    running.fetch_sub(1, SeqCst);
                };
                driver.run(async move {
                    if spawn {
                        let calls: Vec<_> = (0..CALLS).map(|_| limited.spawn(work.clone())).collect();
                        for call in calls {
                            call.result().await;
                        }
                    } else {
                        let clients = (0..CALLS).map(|_| tokio::spawn(limited.call(work.clone())));
                        for client in clients.collect::<Vec<_>>() {
                            client.await.unwrap();
                        }
                    }
                });
                seen.load(SeqCst)
            })
        }
    }

    #[test]
    fn every_peer_keeps_to_the_limit_and_uses_it() {
        let family = |entrant: &Entrant| match entrant.part {
            Part::Peer(family) => Some(family),
            Part::Disk(_) => None,
        };
        let mut families: Vec<_> = ENTRANTS.iter().filter_map(family).collect();
        families.dedup();
        // One that runs a closure at a time uses no limit.
        families.retain(|family| !matches!(family, Family::Strand | Family::OwnerThread));
        for family in families.into_iter().filter(|family| family.absence().is_none()) {
            let most = family.dispatch(Most);
            assert!(most.iter().all(|most| (2..=LIMIT).contains(most)), "{family:?}: {most:?}");
        }
    }
}
