//! Tasks and their handles.

mod beside;
mod callback;
mod cancel;
mod chains;
mod deadlines;
#[cfg(all(feature = "fs", feature = "event-loop"))]
mod debug;
mod deep;
mod ends;
mod handle;
mod hooks;
mod interrupt;
mod memory;
mod nested;
mod panics;
mod reentrancy;
mod runtime;
mod trampoline;
mod values;
mod wait;
mod waker;
