//! Streams on a pool whose queue is full: they wait for room, and hold no thread meanwhile.

mod ends;

use std::future::Future;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use sidestep::{Pool, PoolBuilder, Spawner, Task, TaskError, Unblock, block_on};

#[cfg(target_os = "linux")]
use crate::support::alone::alone_as;
use crate::support::{Gate, eventually, nothing_happens, occupy, soon};

/// How the names of the pools' threads begin.
const POOL: &str = "full-pool";

fn builder() -> PoolBuilder {
    Pool::builder().name(POOL)
}

/// Why the pool would not run something.
fn refusal(error: &io::Error) -> &TaskError {
    error.get_ref().and_then(|error| error.downcast_ref()).expect("a task's error")
}

/// A pool with one thread, which `gate` holds, and a queue for one task, which is full.
fn full(gate: &Gate) -> (Pool, Task<()>, Task<()>) {
    let pool = builder().core_threads(1).max_threads(1).queue_limit(1).build().unwrap();
    let busy = occupy(&pool, gate);
    let filler = pool.spawn(|| ());
    (pool, busy, filler)
}

/// What all logs of one test have written, in order; and who has flushed or dropped.
#[derive(Clone, Default)]
struct Paper {
    lines: Arc<Mutex<Vec<u32>>>,
    flushed: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
    threads: Arc<Mutex<Vec<String>>>,
}

/// Writes numbers of four bytes to the paper, and remembers on which thread.
struct Log(Paper);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let numbers = bytes.chunks_exact(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()));
        self.0.lines.lock().unwrap().extend(numbers);
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        self.0.threads.lock().unwrap().push(name);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flushed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

impl Paper {
    /// `count` streams, each of which has accepted its number.
    fn streams(&self, pool: &impl Spawner, count: u32) -> Vec<Unblock<Log>> {
        (0..count).map(|number| self.stream(pool, number)).collect()
    }

    fn stream(&self, pool: &impl Spawner, number: u32) -> Unblock<Log> {
        let mut stream = Unblock::with_capacity(16, Log(self.clone())).on(pool);
        accept(&mut stream, &number.to_le_bytes());
        stream
    }

    fn lines(&self) -> Vec<u32> {
        self.lines.lock().unwrap().clone()
    }

    /// All numbers below `count` are there, each once.
    fn assert_complete(&self, count: u32) {
        let mut lines = self.lines();
        lines.sort_unstable();
        assert_eq!(lines, (0..count).collect::<Vec<_>>());
    }

    fn assert_all_by(&self, thread: &str) {
        let threads = self.threads.lock().unwrap();
        assert!(threads.iter().all(|name| name.starts_with(thread)), "{threads:?}");
    }
}

/// The stream accepts the bytes at once.
fn accept<W: AsyncWrite + Unpin>(stream: &mut W, bytes: &[u8]) {
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(stream).poll_write(&mut context, bytes) {
        Poll::Ready(Ok(count)) if count == bytes.len() => {}
        other => panic!("{other:?}"),
    }
}

fn is_pending<R: futures_util::AsyncRead + Unpin>(stream: &mut R) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    Pin::new(stream).poll_read(&mut context, &mut [0]).is_pending()
}

/// Threads of this process.
#[cfg(target_os = "linux")]
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Reads zeros for ever. It needs no drop.
struct Zeros;

impl Read for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(0);
        Ok(buffer.len())
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_hundred_streams_start_no_thread() {
    alone_as("io::full::a_hundred_streams_start_no_thread", &[], || {
        let gate = Gate::new();
        let (pool, busy, filler) = full(&gate);
        let before = threads();
        let paper = Paper::default();
        let mut streams = paper.streams(&pool, 100);
        let mut readers: Vec<_> = (0..100).map(|_| Unblock::new(Zeros).on(&pool)).collect();
        assert!(readers.iter_mut().all(is_pending), "a read waits, and does not fail");
        assert!(streams.iter_mut().all(|stream| {
            let mut context = Context::from_waker(Waker::noop());
            Pin::new(stream).poll_flush(&mut context).is_pending()
        }));
        nothing_happens();
        assert_eq!(threads(), before);
        assert!(paper.lines().is_empty());
        gate.open();
        for stream in &mut streams {
            block_on(stream.flush()).unwrap();
        }
        for reader in &mut readers {
            assert_eq!(block_on(reader.read(&mut [1])).unwrap(), 1);
        }
        paper.assert_complete(100);
        paper.assert_all_by(POOL);
        assert_eq!(pool.metrics().threads_peak(), 1);
        soon(busy).and(soon(filler)).unwrap();
    });
}

#[test]
fn streams_get_room_in_the_order_in_which_they_came_and_before_those_who_come_later() {
    let gate = Gate::new();
    let (pool, _busy, _filler) = full(&gate);
    let paper = Paper::default();
    let streams = paper.streams(&pool, 50);
    let mut reserve = pool.reserve();
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut reserve).poll(&mut context).is_pending());
    gate.open();
    let _permit = block_on(reserve).unwrap();
    let first = paper.lines().len();
    assert!(first >= 48, "one may be queued, and one run: {first} of 50 came first");
    drop(_permit);
    eventually("all are written", || paper.lines().len() == 50);
    assert_eq!(paper.lines(), (0..50).collect::<Vec<_>>());
    drop(streams);
}

#[test]
fn a_handle_that_is_dropped_while_it_waits_leaves_its_bytes_to_the_pool() {
    let gate = Gate::new();
    let (pool, _busy, _filler) = full(&gate);
    let paper = Paper::default();
    drop(paper.streams(&pool, 100));
    assert_eq!(paper.dropped.load(Ordering::SeqCst), 0, "no value is dropped with its bytes");
    gate.open();
    eventually("all values are dropped", || paper.dropped.load(Ordering::SeqCst) == 100);
    paper.assert_complete(100);
    paper.assert_all_by(POOL);
    assert_eq!(paper.flushed.load(Ordering::SeqCst), 100);
}

#[test]
fn a_reader_that_is_dropped_while_it_waits_leaves_the_queue_of_those_who_wait() {
    let gate = Gate::new();
    let (pool, busy, filler) = full(&gate);
    for _ in 0..1000 {
        assert!(is_pending(&mut Unblock::new(Zeros).on(&pool)));
    }
    let mut reserve = pool.reserve();
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut reserve).poll(&mut context).is_pending());
    gate.open();
    let permit = block_on(reserve).unwrap();
    soon(busy).and(soon(filler)).unwrap();
    assert_eq!(pool.metrics().tasks_submitted(), 2, "no reader has taken a permit");
    soon(permit.spawn(|| ())).unwrap();
}

/// A value that has nothing to write is dropped on the pool as well, once there is room.
#[test]
fn a_value_with_nothing_to_write_is_dropped_on_the_pool_when_there_is_room() {
    struct Slow(Gate, Arc<Mutex<String>>);

    impl Drop for Slow {
        fn drop(&mut self) {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            *self.1.lock().unwrap() = name;
            self.0.open();
        }
    }

    let gate = Gate::new();
    let (pool, _busy, _filler) = full(&gate);
    let (dropped, name) = (Gate::new(), Arc::default());
    drop(Unblock::new(Slow(dropped.clone(), Arc::clone(&name))).on(&pool));
    assert!(!dropped.is_open(), "it waits for room");
    gate.open();
    dropped.pass();
    assert!(name.lock().unwrap().starts_with(POOL));
}

/// A stream that has much to write gives up its thread now and then, and so must wait for room in
/// the queue again and again: the others get on meanwhile.
#[test]
fn a_long_stream_lets_others_go_first_although_the_queue_is_full() {
    struct Slow(Arc<AtomicUsize>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Longer than a turn.
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(3) {}
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(bytes.len().min(1))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const WRITES: usize = 200;
    let gate = Gate::new();
    let (pool, _busy, _filler) = full(&gate);
    let (written, paper) = (Arc::default(), Paper::default());
    let mut slow = Unblock::with_capacity(2, Slow(Arc::clone(&written))).on(&pool);
    accept(&mut slow, &[0]);
    let streams = paper.streams(&pool, 5);
    gate.open();
    block_on(async {
        for _ in 1..WRITES {
            slow.write_all(&[0]).await.unwrap();
            if paper.lines().len() == 5 {
                break;
            }
        }
    });
    assert_eq!(paper.lines().len(), 5, "{} slow writes came first", written.load(Ordering::SeqCst));
    block_on(slow.flush()).unwrap();
    drop(streams);
}

#[test]
fn ten_thousand_streams_on_a_queue_for_one() {
    const STREAMS: u32 = if cfg!(miri) { 20 } else { 10_000 };
    let gate = Gate::new();
    let pool = builder().core_threads(1).max_threads(2).queue_limit(1).build().unwrap();
    let _busy = occupy(&pool, &gate);
    let _filler = pool.spawn(|| ());
    let paper = Paper::default();
    let mut streams = paper.streams(&pool, STREAMS);
    drop(streams.split_off(STREAMS as usize / 2));
    gate.open();
    for stream in &mut streams {
        block_on(stream.flush()).unwrap();
    }
    let _ = pool.shutdown().wait();
    paper.assert_complete(STREAMS);
    paper.assert_all_by(POOL);
    assert!(pool.metrics().threads_peak() <= 2);
}

/// In the child no stream that waited goes on, and none hangs; in the parent all do.
#[cfg(unix)]
#[test]
fn streams_that_wait_at_a_fork() {
    let gate = Gate::new();
    let (pool, _busy, _filler) = full(&gate);
    let paper = Paper::default();
    let mut streams = paper.streams(&pool, 10);
    let status = crate::support::fork::in_child(|list| {
        list.check(block_on(streams[0].flush()).is_err());
        drop(std::mem::take(&mut streams));
        list.check(true);
    });
    assert_eq!(status, 0);
    gate.open();
    for stream in &mut streams {
        block_on(stream.flush()).unwrap();
    }
    paper.assert_complete(10);
}
