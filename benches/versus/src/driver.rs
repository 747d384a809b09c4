//! The async program that calls the peers: a tokio runtime, the same for all.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::peers::{Peer, Threads};

/// The kind of runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    MultiThread,
    CurrentThread,
}

/// A runtime at its default settings, but for what a peer sets that belongs to it.
pub(crate) struct Driver(Runtime);

impl Driver {
    pub(crate) fn new<P: Peer>(flavor: Flavor, threads: Threads) -> io::Result<Self> {
        let mut builder = match flavor {
            Flavor::MultiThread => Builder::new_multi_thread(),
            Flavor::CurrentThread => Builder::new_current_thread(),
        };
        builder.enable_time();
        P::tune(&mut builder, threads);
        builder.build().map(Self)
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.0.handle()
    }

    /// Runs `program` as a task of the runtime, as an application would, and not beside its scheduler.
    pub(crate) fn run<T: Send + 'static>(&self, program: impl Future<Output = T> + Send + 'static) -> T {
        let task = self.0.spawn(program);
        self.0.block_on(task).expect("the program does not panic")
    }
}
