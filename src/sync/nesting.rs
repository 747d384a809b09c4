//! How many waits are inside each other on this thread, and whether its stack has room for more.
//!
//! A thread that waits may run something else meanwhile: a queued task, or steps that it has put
//! off. That may wait in turn, and so on: each such run lies on the stack above the wait. So a
//! thread asks [`room`] before it runs anything for a wait, and where there is none it runs
//! nothing.
//!
//! # The margin
//!
//! What is left for the code that runs inline is never less than a quarter of the stack, and at
//! least 64 KiB; on a stack of less than 128 KiB it is half of the stack. A run inline, from one
//! question to the next, takes a few KiB of the crate's own frames, also without optimisation;
//! the rest is for the user's. The share grows with the stack, since a pool is given a large one
//! for tasks that need it.
//!
//! Where the stack cannot be measured (see `sys::stack`), [`MOST_BLIND`] waits may be inside each
//! other: with frames of 16 KiB for each that is half of the usual 2 MiB.

use std::cell::Cell;
use std::fmt;

use super::thread_local_const;
use crate::sys::stack::{self, Stack};

/// So many waits may be inside each other where the stack cannot be measured.
const MOST_BLIND: u32 = 64;

const KIB: usize = 1024;

thread_local_const! { static DEPTH: Cell<u32> = Cell::new(0) }

/// A wait of this thread, from its first poll to its end.
pub(crate) struct NestedWait(());

impl NestedWait {
    #[inline]
    pub(crate) fn enter() -> Self {
        DEPTH.with(|depth| depth.set(depth.get() + 1));
        NestedWait(())
    }
}

impl Drop for NestedWait {
    #[inline]
    fn drop(&mut self) {
        DEPTH.with(|depth| depth.set(depth.get() - 1));
    }
}

/// The stack has no room for another run inside of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooDeep {
    /// How many waits are inside each other.
    depth: u32,
    /// Of the stack, in KiB: what is left, and the whole.
    stack: Option<(u32, u32)>,
}

/// Such as: 731 waits are inside each other on its thread, whose stack of 2048 KiB has 511 KiB left
impl fmt::Display for TooDeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waits are inside each other on one thread, ", self.depth)?;
        match self.stack {
            Some((left, size)) => write!(f, "whose stack of {size} KiB has {left} KiB left"),
            None => f.write_str("whose stack cannot be measured"),
        }
    }
}

/// Whether this thread's stack has room for another run inside of its innermost wait.
///
/// # Errors
///
/// How deep the thread is where there is no room.
pub(crate) fn room() -> Result<(), TooDeep> {
    let depth = DEPTH.with(Cell::get);
    match stack::of_this_thread() {
        Some(stack) if stack.left >= margin(stack.size) => Ok(()),
        Some(Stack { size, left }) => {
            Err(TooDeep { depth, stack: Some(((left / KIB) as u32, (size / KIB) as u32)) })
        }
        None if depth <= most_blind() => Ok(()),
        None => Err(TooDeep { depth, stack: None }),
    }
}

/// What must be left of a stack of `size` bytes.
fn margin(size: usize) -> usize {
    (size / 4).max(64 * KIB).min(size / 2)
}

#[cfg(not(all(test, sidestep_loom)))]
fn most_blind() -> u32 {
    MOST_BLIND
}

#[cfg(all(test, sidestep_loom))]
std::thread_local! { static MODEL_ROOM: Cell<u32> = const { Cell::new(MOST_BLIND) } }

#[cfg(all(test, sidestep_loom))]
fn most_blind() -> u32 {
    MODEL_ROOM.get()
}

/// Runs a model in which no thread has room for anything. (The threads of a model are coroutines on
/// one thread of the system.)
#[cfg(all(test, sidestep_loom))]
pub(crate) fn without_room(model: impl FnOnce()) {
    MODEL_ROOM.set(0);
    model();
    MODEL_ROOM.set(MOST_BLIND);
}

#[cfg(all(test, not(any(sidestep_loom, sidestep_shuttle))))]
mod tests;
