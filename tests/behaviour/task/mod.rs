//! Tasks and their handles.

mod beside;
mod callback;
mod cancel;
mod cancel_after;
mod chains;
mod conventions;
mod deadlines;
#[cfg(all(feature = "fs", feature = "event-loop"))]
mod debug;
mod deep;
mod ends;
mod handle;
mod hooks;
mod interrupt;
mod join_handle;
mod memory;
mod mixed;
mod nested;
mod panics;
mod reentrancy;
mod runtime;
mod tokens;
mod trampoline;
mod values;
mod wait;
mod waker;
