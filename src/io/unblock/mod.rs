//! Blocking readers, writers and iterators as asynchronous ones: [`Unblock`].
//!
//! | file | owns |
//! |---|---|
//! | `handle`, `with_mut`, `into_inner` | the handle, and how to get at the value |
//! | `traits`, `tokio` | the asynchronous traits |
//! | `shared` | what the handle shares with its pump, and how that gets a thread |
//! | `pump` | the task that works with the value |
//! | `core`, `step` | the state machine: what was asked, what is next |
//! | `undo` | what was read ahead of a caller who goes elsewhere |
//! | `inbound`, `outbound`, `items` | what is buffered |
//! | `wakers` | who waits |
//! | `known` | what is known of the types of `std` |

mod core;
mod handle;
mod inbound;
mod into_inner;
mod items;
mod known;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
mod outbound;
mod pump;
mod shared;
mod step;
#[cfg(feature = "tokio")]
mod tokio;
mod traits;
mod undo;
mod wakers;
mod with_mut;

pub use self::handle::Unblock;
pub use self::into_inner::IntoInnerError;
pub(crate) use self::pump::retry;
pub(crate) use self::shared::Setup;
