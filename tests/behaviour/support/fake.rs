//! Values for an `Unblock` whose calls do what a test says, and an executor that notices a lost
//! wake-up.

use std::future::Future;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use futures_util::{AsyncRead, AsyncWrite};
use sidestep::{Pool, Unblock};

use crate::support::{PATIENCE, eventually};

type Reads = Box<dyn FnMut(&mut [u8]) -> io::Result<usize> + Send>;
type Writes = Box<dyn FnMut(&[u8]) -> io::Result<usize> + Send>;
type Flushes = Box<dyn FnMut() -> io::Result<()> + Send>;
type Seeks = Box<dyn FnMut(SeekFrom) -> io::Result<u64> + Send>;

/// Reads nothing, swallows what is written, stands at 0: unless told otherwise.
pub(crate) struct Fake {
    reads: Reads,
    writes: Writes,
    flushes: Flushes,
    seeks: Seeks,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Fake {
            reads: Box::new(|_| Ok(0)),
            writes: Box::new(|bytes| Ok(bytes.len())),
            flushes: Box::new(|| Ok(())),
            seeks: Box::new(|_| Ok(0)),
        }
    }

    pub(crate) fn reads(mut self, f: impl FnMut(&mut [u8]) -> io::Result<usize> + Send + 'static) -> Self {
        self.reads = Box::new(f);
        self
    }

    pub(crate) fn writes(mut self, f: impl FnMut(&[u8]) -> io::Result<usize> + Send + 'static) -> Self {
        self.writes = Box::new(f);
        self
    }

    pub(crate) fn flushes(mut self, f: impl FnMut() -> io::Result<()> + Send + 'static) -> Self {
        self.flushes = Box::new(f);
        self
    }

    pub(crate) fn seeks(mut self, f: impl FnMut(SeekFrom) -> io::Result<u64> + Send + 'static) -> Self {
        self.seeks = Box::new(f);
        self
    }
}

impl Read for Fake {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (self.reads)(buffer)
    }
}

impl Write for Fake {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.writes)(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (self.flushes)()
    }
}

impl Seek for Fake {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (self.seeks)(to)
    }
}

/// Bytes that a value has been given, for all to see.
#[derive(Clone, Default)]
pub(crate) struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Bytes {
    pub(crate) fn add(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    pub(crate) fn get(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

/// Wakes a thread, and says so.
struct Bell {
    rung: AtomicBool,
    thread: Thread,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// Runs a future that must end. It is polled when it was woken and at no other time.
pub(crate) fn in_time<F: Future>(future: F) -> F::Output {
    let begin = Instant::now();
    let bell = Arc::new(Bell { rung: AtomicBool::new(false), thread: std::thread::current() });
    let waker = Waker::from(Arc::clone(&bell));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while !bell.rung.swap(false, Ordering::SeqCst) {
            let left = PATIENCE.checked_sub(begin.elapsed()).unwrap_or_else(|| panic!("it was never woken"));
            std::thread::park_timeout(left);
        }
    }
}

/// Waits until nothing works for `pool`.
pub(crate) fn at_rest(pool: &Pool) {
    eventually("the pool is at rest", || {
        let metrics = pool.metrics();
        (metrics.tasks_queued(), metrics.tasks_running()) == (0, 0)
    });
}

/// Polls a read once.
pub(crate) fn begin_read<T: Read + Send + 'static>(
    unblock: &mut Unblock<T>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    Pin::new(unblock).poll_read(&mut Context::from_waker(Waker::noop()), buffer)
}

/// Polls a write once.
pub(crate) fn begin_write<T: Write + Send + 'static>(
    unblock: &mut Unblock<T>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    Pin::new(unblock).poll_write(&mut Context::from_waker(Waker::noop()), bytes)
}
