//! A thread that the pool has reserved, on its way to the spawn handler, which makes it.

use std::fmt;
use std::io;
use std::mem;

use super::joins::Joins;
use crate::sync::own_thread::ThreadRole;
use crate::sync::thread;
use crate::sys::attributes::Inherit;

/// The reservation behind a `NewThread`: either `run` consumes it, or the drop gives it up.
pub(super) trait Reserved: Send + Sync {
    /// Works for the pool on the calling thread.
    fn run(self: Box<Self>);
    /// The thread will not start: counts as a failure to start it.
    fn give_up(self: Box<Self>);
}

/// A thread that the pool wants to start: the argument of a
/// [`PoolBuilder::spawn_handler`](crate::PoolBuilder::spawn_handler).
///
/// The handler creates an OS thread, by any means, which calls [`run`](NewThread::run). Dropping a
/// `NewThread` without running it counts as a failure to start the thread.
#[must_use = "a thread that is dropped without `run` counts as refused"]
pub struct NewThread {
    name: String,
    stack_size: Option<usize>,
    reserved: Option<Box<dyn Reserved>>,
}

impl NewThread {
    pub(super) fn new(name: String, stack_size: Option<usize>, reserved: Box<dyn Reserved>) -> Self {
        NewThread { name, stack_size, reserved: Some(reserved) }
    }

    /// The name that the thread should have: the pool's name and a number.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The stack size in bytes that the thread should have; `None` for the platform's default.
    #[must_use]
    pub fn stack_size(&self) -> Option<usize> {
        self.stack_size
    }

    /// Works for the pool on the calling thread, and returns when the pool no longer needs the
    /// thread.
    pub fn run(mut self) {
        if let Some(reserved) = self.reserved.take() {
            reserved.run();
        }
    }
}

impl fmt::Debug for NewThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewThread").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drop for NewThread {
    fn drop(&mut self) {
        if let Some(reserved) = self.reserved.take() {
            reserved.give_up();
        }
    }
}

/// Makes a thread of the library, to be joined by means of `joins`.
pub(super) fn make(mut new: NewThread, joins: &Joins, inherit: Inherit) -> io::Result<()> {
    let mut builder = thread::Builder::new().name(mem::take(&mut new.name));
    if let Some(bytes) = new.stack_size {
        builder = builder.stack_size(bytes);
    }
    joins.start(builder, (ThreadRole::Worker, inherit), Box::new(move || new.run()))
}
