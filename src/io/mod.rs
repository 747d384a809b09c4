//! Blocking readers, writers and iterators as asynchronous ones, and the other way round.
//!
//! This module needs the feature `fs`, which is a default one.
//!
//! | you have | you want | use |
//! |---|---|---|
//! | a [`Read`](std::io::Read), [`Write`](std::io::Write) or [`Seek`](std::io::Seek) | its asynchronous twin | [`Unblock`] |
//! | an iterator | a stream | [`iter()`] |
//! | code that produces items in the middle of its work | a stream | [`producer()`] |
//! | an asynchronous reader or writer | a blocking one, for code inside a closure | [`SyncReader`], [`SyncWriter`] |
//! | the standard streams | asynchronous ones | [`stdin()`], [`stdout()`], [`stderr()`] |
//! | files | | [`fs`](crate::fs) |

// | file | owns |
// |---|---|
// | `unblock` | blocking values as asynchronous ones |
// | `budget` | when and how a task that need not wait yields |
// | `readiness` | waiting until a descriptor is ready |
// | `retry` | calls that a signal has interrupted |
// | `producer`, `bounded` | closures that produce items, and their bounded channel |
// | `bridge`, `compat` | asynchronous readers and writers as blocking ones |
// | `stdin`, `shared_reader` | standard input, and a buffer that many readers share |
// | `std_streams`, `delegate` | standard output and error; the traits of what is made of an `Unblock` |

pub(crate) mod aligned;
mod bounded;
mod bridge;
pub(crate) mod budget;
#[cfg(feature = "tokio")]
mod compat;
pub(crate) mod delegate;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
mod producer;
mod readiness;
pub(crate) mod retry;
mod shared_reader;
mod std_streams;
mod stdin;
mod unblock;

pub use self::bridge::{SyncReader, SyncWriter};
#[cfg(feature = "tokio")]
pub use self::compat::Compat;
pub use self::producer::{Closed, ItemSender, PRODUCER_CAPACITY, Producer, producer, producer_with};
pub(crate) use self::readiness::ReadyWait;
pub use self::std_streams::{Stderr, Stdout, stderr, stdout};
pub use self::stdin::{Stdin, stdin};
pub use self::unblock::{IntoInnerError, Unblock};
pub(crate) use self::unblock::{Setup, Sizes};
pub use crate::sys::exit::set_exit_timeout;

/// How many bytes are buffered by default, in each direction.
const CAPACITY: usize = 64 << 10;

/// Runs an iterator on the global pool, and returns the stream of its items.
///
/// It is [`Unblock::new`] for a value that can be turned into an iterator. Items are taken ahead of
/// the stream's consumer, up to the capacity, and the stream yields each as soon as it is there.
///
/// # Panics
///
/// Not here; the stream resumes a panic of the iterator.
///
/// ```
/// use futures_util::StreamExt;
///
/// # sidestep::block_on(async {
/// let squares = sidestep::io::iter((1..=3).map(|n| n * n));
/// assert_eq!(squares.collect::<Vec<i32>>().await, [1, 4, 9]);
/// # });
/// ```
pub fn iter<I>(items: I) -> Unblock<I::IntoIter>
where
    I: IntoIterator,
    I::IntoIter: Send + 'static,
    I::Item: Send + 'static,
{
    Unblock::new(items.into_iter())
}
