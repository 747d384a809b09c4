//! tokio's names for what blocks, over sidestep: a program changes `tokio` to `sidestep_tokio` in
//! the imports of these modules. The page `MIGRATING` of sidestep says what behaves differently and
//! why.
//!
//! ```
//! use sidestep_tokio::{fs, task}; // was: use tokio::{fs, task};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let text = fs::read_to_string("Cargo.toml").await?;
//! let lines = task::spawn_blocking(move || text.lines().count()).await?;
//! assert!(lines > 1);
//! # Ok(())
//! # }
//! ```
//!
//! Closures run inside the runtime that they are spawned in, and files and streams have tokio's
//! traits. What takes futures, such as `tokio::spawn`, stays tokio's.

/// Blocking tasks: `tokio::task`, as far as that is about closures.
pub mod task {
    pub use sidestep::task::{AbortHandle, Id, JoinError, JoinHandle, JoinSet, id, spawn_blocking, try_id};
}

/// Files: `tokio::fs`, with the rest of `std::fs`.
pub mod fs {
    pub use sidestep::fs::*;
}

/// The standard streams of `tokio::io`.
///
/// ```
/// use sidestep_tokio::io::stdout; // was: use tokio::io::stdout;
/// use tokio::io::AsyncWriteExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// stdout().write_all(b"good day\n").await
/// # }
/// ```
pub mod io {
    pub use sidestep::io::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
}

/// Look-ups of names: `tokio::net::lookup_host`.
pub mod net {
    pub use sidestep::net::lookup_host;
}

/// The code blocks of the front page, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
