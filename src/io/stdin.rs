//! The standard input: [`stdin`].

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_io::AsyncRead;

use super::shared_reader::{ReaderHandle, SharedReader};
use crate::sync::own_thread;
use crate::sys::fork;

/// A handle to the standard input of this process, as an asynchronous reader.
///
/// All handles read from one buffer, as those of [`std::io::stdin`] do: each byte goes to one of
/// them.
///
/// It reads ahead no further than one read goes, and only once a handle waits and the buffer is
/// empty; so input that no handle asks for stays for others, such as a child process that inherits
/// it. A read that has begun cannot be cancelled, though: its bytes come into this process.
/// Meanwhile it holds the lock of [`std::io::stdin`]; so do not read from both.
///
/// ```
/// use futures_lite::{AsyncBufReadExt, StreamExt, io::BufReader};
///
/// # sidestep::block_on(async {
/// let mut lines = BufReader::new(sidestep::io::stdin()).lines();
/// while let Some(line) = lines.next().await {
///     println!("{}", line?.to_uppercase());
/// }
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
#[must_use = "nothing is read until the handle is polled"]
pub fn stdin() -> Stdin {
    static SHARED: OnceLock<Arc<SharedReader>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        fork::watch();
        SharedReader::new(|shared| {
            let shared = Arc::clone(shared);
            own_thread::start_alone("sidestep-stdin".to_owned(), move || shared.serve(io::stdin()))
        })
    });
    Stdin { handle: shared.handle() }
}

/// A handle to the standard input of this process: see [`stdin`].
///
/// The reading is done by one thread, which is made when a byte is first asked for. It belongs to
/// no pool, and it does not hold up the exit of the process, even while it waits for input.
///
/// # Errors
///
/// A read fails where the system does, or where it refuses that thread; the next read tries again.
/// In the child of a fork, if the parent had called [`stdin`], every read fails. Every handle that
/// waited for an end of the input reports it; a later read asks the system again, since a terminal
/// may go on.
///
/// # Cancellation
///
/// Dropping a future that reads, or the handle itself, loses nothing: bytes that come in stay for
/// the next read of any handle.
pub struct Stdin {
    handle: ReaderHandle,
}

impl AsyncRead for Stdin {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if into.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.handle.poll_read(context, |bytes| {
            let length = bytes.len().min(into.len());
            into[..length].copy_from_slice(&bytes[..length]);
            length
        })
    }
}

#[cfg(feature = "tokio")]
impl tokio::io::AsyncRead for Stdin {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let read = self.handle.poll_read(context, |bytes| {
            let length = bytes.len().min(into.remaining());
            into.put_slice(&bytes[..length]);
            length
        });
        read.map_ok(drop)
    }
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stdin").finish_non_exhaustive()
    }
}
