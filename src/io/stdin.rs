//! The standard input: [`stdin`].

use std::fmt;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

use futures_io::AsyncRead;

use super::readiness::ReadyWait;
use super::retry::retry_when_ready;
use super::shared_reader::{ReaderHandle, SharedReader};
use crate::pool::SpawnTarget;
use crate::sync::{Mutex, own_thread};
use crate::sys::descriptor::{Direction, Fd, IoAttempt, of_standard_input};
use crate::sys::first_use::get_or_make;
use crate::sys::fork;

/// A handle to the standard input of this process, as an asynchronous reader.
///
/// All handles read from one buffer, as those of [`std::io::stdin`] do: each byte goes to one of
/// them.
///
/// It reads ahead no further than one read goes, and only once a handle waits and the buffer is
/// empty; so input that no handle asks for stays for others, such as a child process that inherits
/// it.
///
/// On Linux a pipe, a socket or a terminal is read only when there is input, by the global pool,
/// and until then no thread is held; so a handle that goes away before has read nothing. Else a
/// read that has begun cannot be cancelled: its bytes come into this process. A read holds the lock
/// of [`std::io::stdin`]; so do not read from both. Bytes that `std` has read ahead are read first,
/// but only once there is input, or its end.
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
    let shared = get_or_make(&SHARED, || {
        fork::watch();
        let wait = Mutex::new(ReadyWait::new());
        SharedReader::new(move |shared| start(shared, &wait))
    });
    Stdin { handle: shared.handle() }
}

const DESCRIPTOR: Fd = 0;

/// Has one round read: by the global pool, once there is input; or, where that cannot be known, by
/// a thread, which stays.
fn start(shared: &Arc<SharedReader>, wait: &Mutex<ReadyWait>) -> io::Result<()> {
    match of_standard_input() {
        None => start_thread(shared),
        Some(IoAttempt::Blocked(fd)) => {
            let waker = Waker::from(Arc::new(Input(Arc::clone(shared))));
            let set = wait.lock().set(fd, Direction::Read, waker);
            set.map_or_else(
                |_| start_thread(shared),
                |replaced| {
                    drop(replaced);
                    Ok(())
                },
            )
        }
        Some(_) => {
            start_round(shared);
            Ok(())
        }
    }
}

fn start_thread(shared: &Arc<SharedReader>) -> io::Result<()> {
    let shared = Arc::clone(shared);
    own_thread::start_alone("sidestep-stdin".to_owned(), move || shared.serve(Source))
}

/// Reads on the pool; if that has ended, on a thread.
fn start_round(shared: &Arc<SharedReader>) {
    let reading = Arc::clone(shared);
    let task = SpawnTarget::STREAMS.options().spawn(move || reading.only_round(&mut Source));
    let shared = Arc::clone(shared);
    task.on_complete(move |end| {
        if let Err(error) = end.or_else(|_| start_thread(&shared)) {
            shared.refuse(&error);
        }
    });
}

/// There is input.
struct Input(Arc<SharedReader>);

impl Wake for Input {
    fn wake(self: Arc<Self>) {
        start_round(&self.0);
    }
}

/// The standard input of `std`, with its buffer. If it is in non-blocking mode this thread waits.
struct Source;

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        retry_when_ready(Some(DESCRIPTOR), Direction::Read, || io::stdin().read(buffer))
    }
}

/// A handle to the standard input of this process: see [`stdin`].
///
/// The reading is done by the global pool, or by one thread, which is made when a byte is first
/// asked for, belongs to no pool, and does not hold up the exit of the process, even while it waits
/// for input.
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
