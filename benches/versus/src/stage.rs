//! What a scenario finds when it begins: a runtime, a peer, and how much there is to do.

use std::sync::{Arc, Barrier};

use anyhow::{Context, Result};

use crate::census;
use crate::driver::{Driver, Flavor};
use crate::peers::{Call, Limited, Peer, Threads};

/// A peer whose closures leave a mark in the [`census`]. It is borrowed for ever, so that no
/// closure pays for counting references to it.
pub(crate) struct Crew<P: 'static>(&'static P);

impl<P> Clone for Crew<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Crew<P> {}

impl<P: Peer> Crew<P> {
    pub(crate) fn spawn<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Call<Output = T> {
        self.0.spawn(marked(work))
    }

    pub(crate) fn spawn_detached(self, work: impl FnOnce() + Send + 'static) {
        self.0.spawn_detached(marked(work));
    }
}

/// A way into a peer that lets only so many closures run at a time. What a [`Crew`] does for its
/// closures, it does too.
pub(crate) struct Door<L: 'static>(&'static L);

impl<L> Clone for Door<L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for Door<L> {}

impl<L: Limited> Door<L> {
    pub(crate) fn call<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        self.0.call(marked(work))
    }

    pub(crate) fn spawn<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Call<Output = T> {
        self.0.spawn(marked(work))
    }
}

/// Makes of a closure one that leaves its mark.
pub(crate) fn marked<T>(work: impl FnOnce() -> T + Send + 'static) -> impl FnOnce() -> T + Send + 'static {
    || {
        census::mark();
        work()
    }
}

/// The place of one run, in a process of its own.
pub(crate) struct Stage<P: 'static> {
    pub(crate) driver: Driver,
    pub(crate) crew: Crew<P>,
    pub(crate) flavor: Flavor,
    pub(crate) threads: Threads,
    /// How many tasks are to be measured.
    pub(crate) tasks: usize,
    /// How many are to run before.
    pub(crate) warm_up: usize,
}

impl<P: Peer> Stage<P> {
    /// Starts the runtime and the peer; where the peer is to keep a number of threads, they all run
    /// when this returns.
    pub(crate) fn new(flavor: Flavor, threads: Threads, tasks: usize, warm_up: usize) -> Result<Self> {
        let driver = Driver::new::<P>(flavor, threads).context("the runtime does not start")?;
        let peer = P::start(threads, driver.handle()).context("the peer does not start")?;
        let stage = Self { driver, crew: Crew(Box::leak(Box::new(peer))), flavor, threads, tasks, warm_up };
        if let Threads::Keep(kept) | Threads::Exactly(kept) = threads {
            stage.occupy(kept).release();
        }
        Ok(stage)
    }

    /// A way in that lets `limit` closures run at a time. It stays for ever, as the crew does.
    pub(crate) fn limited(&self, limit: usize) -> Result<Door<impl Limited>> {
        let limited = self.crew.0.limited(limit, self.driver.handle()).context("the limit cannot be set")?;
        Ok(Door(Box::leak(Box::new(limited))))
    }

    /// Has `threads` threads of the peer wait, each in a closure.
    pub(crate) fn occupy(&self, threads: usize) -> Occupied {
        let (arrival, leave) = (Arc::new(Barrier::new(threads + 1)), Arc::new(Barrier::new(threads + 1)));
        for _ in 0..threads {
            let (arrival, leave) = (Arc::clone(&arrival), Arc::clone(&leave));
            self.crew.spawn_detached(move || {
                arrival.wait();
                leave.wait();
            });
        }
        arrival.wait();
        Occupied(leave)
    }
}

/// Threads that wait.
#[must_use = "the threads wait until they are released"]
pub(crate) struct Occupied(Arc<Barrier>);

impl Occupied {
    /// Lets them go on, and returns when they all do.
    pub(crate) fn release(self) {
        self.0.wait();
    }
}
