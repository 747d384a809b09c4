//! Promises: a chain of steps on the result of an action, held as one value.
//!
//! This module needs the feature `event-loop`, which is a default one.
//!
//! A [`Promise`] is a future of a `Result` that carries the steps to be done with the result. A
//! program that would nest callbacks writes the steps one below the other instead, and handles all
//! errors in one place:
//!
//! ```
//! use std::io;
//!
//! let pool = sidestep::Pool::new()?;
//! let lines = pool
//!     .promise(|| std::fs::read_to_string("Cargo.toml"))
//!     .map(|text| text.lines().count())
//!     .then(|lines| if lines > 0 { Ok(lines) } else { Err(io::ErrorKind::UnexpectedEof.into()) })
//!     .finally(|| println!("read, or not"));
//! assert!(lines.wait()? > 10);
//! # Ok::<(), io::Error>(())
//! ```
//!
//! Where `async` blocks can be used, they express the chain with less: `docs/PROMISES.md` shows
//! both side by side, and compares these promises with Promises/A+.
//!
//! | file | owns |
//! |---|---|
//! | `chain` | the source, the steps, how they run, join and are dropped without a deep stack; the two kinds, with `Send` and without |
//! | `source`, `steps`, `combine` | for both kinds: what a chain starts with, what the methods do, many promises as one |
//! | `sendable` | [`Promise`] |
//! | `wait`, `awaited` | blocking a thread until the end; the tasks that a chain waits for |
//! | `detach` | the end without a caller that awaits it |
//! | `local`, `shared` | [`LocalPromise`], of an event loop; the state that it shares with the loop |
//! | `begin`, `into` | how pools, lanes and tasks make promises; what a continuation may return |

mod awaited;
mod begin;
mod chain;
mod combine;
mod detach;
mod into;
mod local;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
mod sendable;
mod shared;
mod source;
mod steps;
mod wait;

pub use self::into::{IntoLocalPromise, IntoPromise};
pub use self::local::LocalPromise;
pub use self::sendable::Promise;
