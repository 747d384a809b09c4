//! Promises: a chain of steps on the result of an action, held as one value.
//!
//! A [`Promise`] is a future of a `Result` that carries what is to be done with the result. A
//! program that would nest callbacks writes the steps one below the other instead, with one place
//! for everything that can fail:
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
//! Where `async` blocks can be used, they say the same with less: `docs/PROMISES.md` has both side
//! by side, and how these promises compare with Promises/A+.
//!
//! | file | owns |
//! |---|---|
//! | `chain` | the source, the steps, and how they run, join and go without a deep stack |
//! | `kind` | what is erased to what: with `Send`, and without |
//! | `steps`, `combine` | what the methods do, for both kinds: one after the other, and many at once |
//! | `source` | the beginnings: a task, a future |
//! | `wait`, `seen` | blocking a thread for the end; the tasks that are behind it |
//! | `driver` | the end without anybody who awaits it |
//! | `sendable`, `many` | [`Promise`]; many as one |
//! | `local`, `local_many`, `link` | [`LocalPromise`], of an event loop; many as one; how the loop drives it |
//! | `begin`, `into` | how pools, lanes and tasks make one; what a continuation may give |

mod begin;
mod chain;
mod combine;
mod driver;
mod into;
mod kind;
mod link;
mod local;
mod local_many;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
mod many;
mod seen;
mod sendable;
mod source;
mod steps;
mod wait;

pub use self::into::{IntoLocalPromise, IntoPromise};
pub use self::local::LocalPromise;
pub use self::sendable::Promise;
