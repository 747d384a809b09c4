//! Blocking readers, writers and iterators as asynchronous ones: [`Unblock`].
//!
//! | room | knows |
//! |---|---|
//! | `buffers` | bytes, items and wakers |
//! | `state` | what was asked of the value, and what to do next |
//! | `engine` | the lock, the pump, the pool, and how a handle waits |
//! | `handle` | the traits, and the public type |
//!
//! Each uses those above it.

mod buffers;
mod engine;
mod handle;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
mod state;

pub(crate) use self::buffers::sizes::Sizes;
pub(crate) use self::engine::shared::Setup;
pub use self::handle::{IntoInnerError, Unblock};
