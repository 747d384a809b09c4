//! Tasks that need not wait leave their thread to others now and then: counted in bytes and items
//! between two turns of another task, on a runtime of one thread.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, Stream};
use sidestep::{Pool, Unblock, fs};
use tokio::task::LocalSet;

use crate::support::fake::{Fake, at_rest, in_time};
use crate::support::{Gate, eventually, pool};

/// What is moved in all: much more than in a turn.
const SIZE: usize = 32 << 20;
/// What a user reads or writes at a time.
const PIECE: usize = 64 << 10;
/// The most that is moved in a turn: 4 MiB, and the call that ends it.
const BYTES: usize = (4 << 20) + PIECE;
/// The most items that are taken in a turn, and the one that ends it.
const ITEMS: usize = 4096 + 1;

/// What a task has moved since another had its turn.
#[derive(Clone, Default)]
struct Moved(Rc<Cell<usize>>, Rc<Cell<usize>>);

impl Moved {
    fn add(&self, count: usize) {
        self.0.set(self.0.get() + count);
        self.1.set(self.1.get().max(self.0.get()));
    }

    fn begin_turn(&self) {
        self.0.set(0);
    }

    fn most(&self) -> usize {
        self.1.get()
    }
}

/// A reader or writer that is counted.
struct Counted<T>(T, Moved);

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        if let Poll::Ready(Ok(count)) = read {
            self.1.add(count);
        }
        read
    }
}

impl<T: AsyncBufRead + Unpin> AsyncBufRead for Counted<T> {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Pin::new(&mut self.get_mut().0).poll_fill_buf(context)
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        self.1.add(count);
        Pin::new(&mut self.0).consume(count);
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.1.add(count);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}

/// A file of [`SIZE`] bytes, just written, so it is in memory.
async fn file() -> fs::File {
    let mut file = tempfile::tempfile().unwrap();
    io::Write::write_all(&mut file, &vec![7; SIZE]).unwrap();
    io::Seek::rewind(&mut file).unwrap();
    fs::File::from(file)
}

/// Runs a future beside a task that is always ready, as tasks of a runtime of one thread. Returns
/// the most that was moved between two turns of that task.
fn beside_a_ready_task<F: Future>(work: impl FnOnce(Moved) -> F) -> usize {
    let turn = |context: &mut Context<'_>| {
        context.waker().wake_by_ref();
        Poll::Pending
    };
    most_beside(work, move |moved| {
        poll_fn(move |context| {
            moved.begin_turn();
            turn(context)
        })
    })
}

fn most_beside<F: Future, O: Future<Output = ()> + 'static>(
    work: impl FnOnce(Moved) -> F,
    other: impl FnOnce(Moved) -> O,
) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let moved = Moved::default();
    let (tasks, other) = (LocalSet::new(), other(moved.clone()));
    tasks.spawn_local(other);
    runtime.block_on(tasks.run_until(work(moved.clone())));
    moved.most()
}

#[test]
fn a_copy_of_a_file_in_memory_lets_others_have_turns() {
    let most = beside_a_ready_task(async |moved| {
        let file = Counted(file().await, moved);
        assert_eq!(copy(file, &mut sink()).await.unwrap(), SIZE as u64);
    });
    assert!(most <= BYTES, "{most} bytes");
}

#[test]
fn a_read_to_the_end_lets_others_have_turns() {
    let most = beside_a_ready_task(async |moved| {
        let mut bytes = Vec::new();
        let (mut file, mut piece) = (Counted(file().await, moved), vec![0; PIECE]);
        loop {
            match file.read(&mut piece).await.unwrap() {
                0 => break,
                count => bytes.extend_from_slice(&piece[..count]),
            }
        }
        assert_eq!(bytes.len(), SIZE);
    });
    assert!(most <= BYTES, "{most} bytes");
}

#[test]
fn a_reader_of_buffered_bytes_lets_others_have_turns() {
    let most = beside_a_ready_task(async |moved| {
        let mut file = Counted(file().await, moved);
        let mut count = 0;
        loop {
            // `fill_buf` polls twice: a call that has bytes must not yield.
            let now = file.fill_buf().await.unwrap().len();
            if now == 0 {
                break;
            }
            count += now;
            file.consume_unpin(now);
        }
        assert_eq!(count, SIZE);
    });
    // A chunk may be larger than a piece.
    assert!(most <= BYTES + (256 << 10), "{most} bytes");
}

#[cfg(unix)]
#[test]
fn reads_at_an_offset_let_others_have_turns() {
    let most = beside_a_ready_task(async |moved| {
        let (file, mut piece) = (file().await, vec![0; PIECE]);
        for number in 0..SIZE / PIECE {
            moved.add(file.read_at(&mut piece, (number * PIECE) as u64).await.unwrap());
        }
    });
    assert!(most <= BYTES, "{most} bytes");
}

/// The value does not write meanwhile: there is room all the same.
#[test]
fn a_writer_that_has_room_lets_others_have_turns() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let (pass, opened) = (gate.clone(), gate.clone());
    let value = Fake::new().writes(move |bytes| {
        pass.pass();
        Ok(bytes.len())
    });
    let most = beside_a_ready_task(async |moved| {
        let writer = Unblock::with_capacity(4 * SIZE, value).on(&pool);
        let (mut writer, piece) = (Counted(writer, moved), vec![7; PIECE]);
        for _ in 0..SIZE / PIECE {
            writer.write_all(&piece).await.unwrap();
        }
        opened.open();
        writer.flush().await.unwrap();
    });
    assert!(most <= BYTES, "{most} bytes");
}

#[test]
fn a_copy_into_a_file_lets_others_have_turns() {
    let most = beside_a_ready_task(async |moved| {
        let mut into = Counted(fs::File::from(tempfile::tempfile().unwrap()), moved);
        assert_eq!(copy(file().await, &mut into).await.unwrap(), SIZE as u64);
        into.flush().await.unwrap();
    });
    assert!(most <= BYTES, "{most} bytes");
}

async fn take_all<I>(mut items: impl Stream<Item = I> + Unpin, moved: Moved) {
    while items.next().await.is_some() {
        moved.add(1);
    }
}

/// A stream whose items have all been taken from its iterator: nothing is left to wait for.
async fn numbers(pool: &Pool) -> Unblock<std::ops::Range<usize>> {
    let mut numbers = Unblock::with_capacity(10 * ITEMS, 0..10 * ITEMS).on(pool);
    assert_eq!(numbers.next().await, Some(0));
    at_rest(pool);
    // The pump may have woken this task meanwhile: that is over now.
    tokio::task::yield_now().await;
    numbers
}

#[test]
fn a_stream_of_items_that_are_there_lets_others_have_turns() {
    let pool = pool(1, 1);
    let most = beside_a_ready_task(async |moved| take_all(numbers(&pool).await, moved).await);
    assert!(most <= ITEMS, "{most} items");
}

#[test]
fn a_producer_that_is_ahead_lets_others_have_turns() {
    const MANY: usize = 10 * ITEMS;
    let pool = pool(1, 1);
    let most = beside_a_ready_task(async |moved| {
        let items = sidestep::io::producer_with(&pool, MANY, |sink| {
            assert!((0..MANY).all(|number| sink.send(number).is_ok()));
        });
        eventually("all items are there", || pool.metrics().tasks_completed() == 1);
        take_all(items, moved).await;
    });
    assert!(most <= ITEMS, "{most} items");
}

#[test]
fn the_entries_of_a_directory_let_others_have_turns() {
    let dir = tempfile::tempdir().unwrap();
    (0..ITEMS + 100).for_each(|n| drop(std::fs::File::create(dir.path().join(n.to_string())).unwrap()));
    let path = dir.path().to_owned();
    let most = beside_a_ready_task(async |moved| take_all(fs::read_dir(path).await.unwrap(), moved).await);
    assert!(most <= ITEMS, "{most} items");
}

/// Executors that block inside of a task of a runtime: what yields there must be woken although
/// the runtime's scheduler gets no turn.
#[test]
fn a_task_that_blocks_on_a_large_read_goes_on() {
    async fn read_all() -> usize {
        let (mut file, mut piece, mut all) = (file().await, vec![0; PIECE], 0);
        loop {
            match file.read(&mut piece).await.unwrap() {
                0 => return all,
                count => all += count,
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let task = runtime.spawn(async { futures_lite::future::block_on(read_all()) });
    assert_eq!(runtime.block_on(task).unwrap(), SIZE);
    let task = runtime.spawn(async { sidestep::block_on(read_all()) });
    assert_eq!(runtime.block_on(task).unwrap(), SIZE);
    let task = runtime.spawn(async {
        let reads: FuturesUnordered<_> = [read_all(), read_all()].into_iter().collect();
        reads.collect::<Vec<_>>().await
    });
    assert_eq!(runtime.block_on(task).unwrap(), [SIZE, SIZE]);
    assert_eq!(runtime.block_on(tokio::task::unconstrained(read_all())), SIZE);
    let handle = runtime.handle().clone();
    let blocking = runtime.spawn_blocking(move || handle.block_on(read_all()));
    assert_eq!(runtime.block_on(blocking).unwrap(), SIZE);
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let task = threads.spawn(async {
        let inner = tokio::runtime::Handle::current();
        let blocked = tokio::task::block_in_place(|| inner.block_on(read_all()));
        blocked + futures_lite::future::block_on(read_all()) + read_all().await
    });
    assert_eq!(threads.block_on(task).unwrap(), 3 * SIZE);
    assert_eq!(in_time(read_all()), SIZE);
}

/// tokio's schedulers look at sockets and timers only when no task is ready, or after 61 polls.
#[cfg(all(feature = "tokio", unix))]
mod of_tokio {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    impl<T: tokio::io::AsyncRead + Unpin> tokio::io::AsyncRead for Counted<T> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let before = buffer.filled().len();
            let read = Pin::new(&mut self.0).poll_read(context, buffer);
            self.1.add(buffer.filled().len() - before);
            read
        }
    }

    /// As [`beside_a_ready_task`], beside a task that waits for a socket each time. The work is a
    /// task too.
    fn beside_a_socket<F: Future + 'static>(work: impl FnOnce(Moved) -> F) -> usize {
        let work = async |moved| {
            let work = work(moved);
            tokio::task::spawn_local(async { _ = work.await }).await.unwrap();
        };
        most_beside(work, async |moved: Moved| {
            let (mut near, mut far) = UnixStream::pair().unwrap();
            loop {
                near.write_all(&[7]).await.unwrap();
                moved.begin_turn();
                far.read_exact(&mut [0]).await.unwrap();
                moved.begin_turn();
                // From here on tokio knows that there is nothing until its driver says otherwise.
                assert!(far.try_read(&mut [0]).is_err());
            }
        })
    }

    #[test]
    fn a_copy_lets_sockets_have_turns() {
        let most = beside_a_socket(async |moved| {
            let mut file = Counted(file().await, moved);
            assert_eq!(tokio::io::copy(&mut file, &mut tokio::io::sink()).await.unwrap(), SIZE as u64);
        });
        assert!(most <= BYTES, "{most} bytes");
    }

    #[test]
    fn a_read_to_the_end_lets_sockets_have_turns() {
        let most = beside_a_socket(async |moved| {
            let (mut file, mut bytes) = (Counted(file().await, moved), Vec::new());
            assert_eq!(file.read_to_end(&mut bytes).await.unwrap(), SIZE);
        });
        assert!(most <= BYTES, "{most} bytes");
    }

    #[test]
    fn a_stream_lets_sockets_have_turns() {
        let most = beside_a_socket(async |moved| {
            take_all(numbers(&pool(1, 1)).await, moved).await;
        });
        assert!(most <= ITEMS, "{most} items");
    }
}
