//! The async program that calls the peers: a tokio runtime, the same for all.

use std::io;

use futures_executor::block_on;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::peers::{Peer, Threads};

/// The kind of runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    MultiThread,
    CurrentThread,
    /// A plain thread calls and waits; the runtime is there for what a peer wants of it.
    Thread,
    /// None: a plain thread, for what never waits.
    NoRuntime,
}

/// A runtime at its default settings, but for what a peer sets that belongs to it.
pub(crate) struct Driver {
    runtime: Option<Runtime>,
    /// It runs the programs.
    drives: bool,
}

impl Driver {
    pub(crate) fn new<P: Peer>(flavor: Flavor, threads: Threads) -> io::Result<Self> {
        Self::tuned(flavor, |builder| P::tune(builder, threads))
    }

    /// With nothing set.
    pub(crate) fn untuned(flavor: Flavor) -> io::Result<Self> {
        Self::tuned(flavor, |_| ())
    }

    fn tuned(flavor: Flavor, tune: impl FnOnce(&mut Builder)) -> io::Result<Self> {
        let mut builder = match flavor {
            Flavor::MultiThread => Builder::new_multi_thread(),
            Flavor::CurrentThread | Flavor::Thread => Builder::new_current_thread(),
            Flavor::NoRuntime => return Ok(Self { runtime: None, drives: false }),
        };
        builder.enable_time();
        tune(&mut builder);
        builder.build().map(|runtime| Self { runtime: Some(runtime), drives: flavor != Flavor::Thread })
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("peers are called from a runtime").handle()
    }

    /// Runs `program` as a task of the runtime, as an application would, and not beside its
    /// scheduler.
    pub(crate) fn run<T: Send + 'static>(&self, program: impl Future<Output = T> + Send + 'static) -> T {
        let Some(runtime) = self.runtime.as_ref().filter(|_| self.drives) else { return block_on(program) };
        let task = runtime.spawn(program);
        runtime.block_on(task).expect("the program does not panic")
    }
}
