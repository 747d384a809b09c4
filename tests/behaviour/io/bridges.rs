//! Asynchronous readers and writers inside blocking closures: on three kinds of executor, over
//! sockets and over a pipe in memory, and when the task is cancelled.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};
use futures_lite::AsyncWriteExt;
use sidestep::io::{SyncReader, SyncWriter};
use sidestep::{Pool, current};

use crate::support::{check_sound, eventually, pool, soon};

const LINES: usize = 500;

/// A pipe in memory that holds a few bytes.
#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<PipeState>>);

#[derive(Default)]
struct PipeState {
    bytes: VecDeque<u8>,
    closed: bool,
    wakers: Vec<Waker>,
}

impl Pipe {
    const ROOM: usize = 10;

    /// Changes the state by `change`; where that can do nothing the caller waits.
    fn change<R>(
        &self,
        context: &Context<'_>,
        change: impl FnOnce(&mut PipeState) -> Option<R>,
    ) -> Poll<io::Result<R>> {
        let mut state = self.0.lock().unwrap();
        let Some(result) = change(&mut state) else {
            state.wakers.push(context.waker().clone());
            return Poll::Pending;
        };
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(result))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.change(context, |state| {
            let read = state.bytes.read(into).unwrap();
            (read > 0 || state.closed).then_some(read)
        })
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.change(context, |state| {
            let length = bytes.len().min(Pipe::ROOM - state.bytes.len());
            state.bytes.extend(&bytes[..length]);
            (length > 0).then_some(length)
        })
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.change(context, |state| state.bytes.is_empty().then_some(()))
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.change(context, |state| {
            state.closed = true;
            Some(())
        })
    }
}

fn text() -> String {
    (0..LINES).map(|line| format!("line {line}\n")).collect()
}

/// Counts the lines of `input` in a closure on the pool, while the executor only awaits and feeds
/// `output`, the other end.
async fn count_lines<R, W>(pool: &Pool, input: R, mut output: W)
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Unpin,
{
    let reader = SyncReader::new(input);
    let count = pool.spawn(move || BufReader::new(reader).lines().map(Result::unwrap).count());
    // Its drop is the end of a socket of async-io, whose `close` only flushes.
    let feed = async move {
        output.write_all(text().as_bytes()).await.unwrap();
        output.close().await.unwrap();
    };
    let (count, ()) = futures_util::future::join(count, feed).await;
    assert_eq!(count.unwrap(), LINES);
}

/// Writes lines from a closure on the pool, while the executor only awaits and reads from `input`,
/// the other end.
async fn write_lines<R, W>(pool: &Pool, mut input: R, output: W)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let mut writer = SyncWriter::new(output);
    let written = pool.spawn(move || {
        (0..LINES).try_for_each(|line| writeln!(writer, "line {line}"))?;
        writer.flush()?;
        writer.close()
    });
    let mut got = String::new();
    let read = futures_lite::io::AsyncReadExt::read_to_string(&mut input, &mut got);
    let (written, read) = futures_util::future::join(written, read).await;
    written.unwrap().unwrap();
    assert_eq!(read.unwrap(), got.len());
    assert_eq!(got, text());
}

async fn through_a_pipe() {
    let (pool, pipe, back) = (pool(1, 1), Pipe::default(), Pipe::default());
    count_lines(&pool, pipe.clone(), pipe).await;
    write_lines(&pool, back.clone(), back).await;
    check_sound(&pool);
}

/// Over sockets of async-io, whose reactor needs none of the runtime.
async fn through_a_socket() {
    let pool = pool(1, 1);
    let listener = async_io::Async::<std::net::TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
    let address = listener.get_ref().local_addr().unwrap();
    for round in 0..2 {
        let connect = async_io::Async::<std::net::TcpStream>::connect(address);
        let (accepted, connected) = futures_util::future::join(listener.accept(), connect).await;
        let (accepted, connected) = (accepted.unwrap().0, connected.unwrap());
        match round {
            0 => count_lines(&pool, accepted, connected).await,
            _ => write_lines(&pool, accepted, connected).await,
        }
    }
    check_sound(&pool);
}

fn one_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn many_threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The bridge hangs on a single-threaded runtime: tokio.
// Origin: pitfall 23
#[test]
fn the_bridges_work_on_a_single_threaded_runtime() {
    one_thread().block_on(async {
        through_a_pipe().await;
        through_a_socket().await;
    });
}

#[test]
fn the_bridges_work_on_a_multi_threaded_runtime() {
    let runtime = many_threads();
    runtime.block_on(through_a_pipe());
    runtime.block_on(through_a_socket());
}

#[test]
fn the_bridges_work_on_smols_executor() {
    async_io::block_on(async {
        through_a_pipe().await;
        through_a_socket().await;
    });
    futures_lite::future::block_on(through_a_pipe());
}

#[cfg(feature = "tokio")]
mod with_tokio {
    use sidestep::io::Compat;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (Compat<TcpStream>, Compat<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, connected) =
            futures_util::future::join(listener.accept(), TcpStream::connect(address)).await;
        (Compat::new(accepted.unwrap().0), Compat::new(connected.unwrap()))
    }

    async fn through_sockets_of_tokio() {
        let pool = pool(1, 1);
        let (accepted, connected) = pair().await;
        count_lines(&pool, accepted, connected).await;
        let (accepted, connected) = pair().await;
        write_lines(&pool, accepted, connected).await;
        check_sound(&pool);
    }

    #[test]
    fn sockets_of_tokio_work_on_both_of_its_runtimes() {
        one_thread().block_on(through_sockets_of_tokio());
        many_threads().block_on(through_sockets_of_tokio());
    }

    /// A reader of tokio's that makes a timer when it is polled, which needs the runtime.
    struct Late(Option<Pin<Box<tokio::time::Sleep>>>);

    impl tokio::io::AsyncRead for Late {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            into: &mut tokio::io::ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let soon = std::time::Duration::from_millis(1);
            let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep(soon)));
            std::task::ready!(sleep.as_mut().poll(context));
            into.put_slice(b"late");
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn readers_are_polled_inside_the_runtime_they_were_wrapped_in() {
        for runtime in [one_thread(), many_threads()] {
            let (read, bytes) = runtime.block_on(async {
                let (pool, mut bytes) = (pool(1, 1), [0; 10]);
                let mut reader = SyncReader::new(Compat::new(Late(None)));
                pool.spawn(move || (reader.read(&mut bytes).unwrap(), bytes)).await.unwrap()
            });
            assert_eq!(&bytes[..read], b"late");
        }
    }

    #[test]
    fn buffers_positions_and_slices_go_through_the_adapter() {
        let mut reader = SyncReader::new(Compat::new(io::Cursor::new(b"one\ntwo\n".to_vec())));
        let mut line = String::new();
        assert_eq!(reader.read_line(&mut line).unwrap(), 4);
        assert_eq!(reader.seek(SeekFrom::Current(-3)).unwrap(), 1);
        assert_eq!(reader.seek(SeekFrom::Current(-1)).unwrap(), 0);
        assert_eq!(reader.lines().map(Result::unwrap).collect::<Vec<_>>(), ["one", "two"]);
        let mut writer = SyncWriter::new(Compat::new(Vec::new()));
        let slices = [b"ab", b"cd"].map(|slice| IoSlice::new(slice));
        assert_eq!(writer.write_vectored(&slices).unwrap(), 4);
        writer.close().unwrap();
        assert_eq!(writer.get_ref().get_ref(), b"abcd");
        assert_eq!(writer.into_inner().into_inner(), b"abcd");
    }
}

#[test]
fn buffers_positions_and_slices_go_through() {
    let mut reader = SyncReader::new(futures_lite::io::Cursor::new(b"one\ntwo\n".to_vec()));
    let (mut one, mut two) = ([0; 2], [0; 4]);
    let mut slices = [&mut one[..], &mut two[..]].map(IoSliceMut::new);
    assert_eq!(reader.read_vectored(&mut slices).unwrap(), 6);
    assert_eq!((&one, &two), (b"on", b"e\ntw"));
    assert_eq!(reader.stream_position().unwrap(), 6);
    reader.rewind().unwrap();
    assert_eq!(reader.get_ref().position(), 0);
    reader.get_mut().set_position(4);
    assert_eq!(reader.by_ref().lines().map(Result::unwrap).collect::<Vec<_>>(), ["two"]);
    assert_eq!(reader.fill_buf().unwrap(), b"");
    assert_eq!(reader.into_inner().position(), 8);

    let mut writer = SyncWriter::new(Vec::new());
    let slices = [b"ab", b"cd"].map(|slice| IoSlice::new(slice));
    assert_eq!(writer.write_vectored(&slices).unwrap(), 4);
    let mut writer = SyncWriter::new(futures_lite::io::Cursor::new(writer.into_inner()));
    writer.seek(SeekFrom::End(-1)).unwrap();
    writer.get_mut().set_position(2);
    writer.write_all(b"x").unwrap();
    assert_eq!(writer.get_ref().get_ref(), b"abxd");
}

/// Fails in every way, always, after having been pending once.
struct Faulty(bool);

impl Faulty {
    fn fail<T>(&mut self, context: &Context<'_>) -> Poll<io::Result<T>> {
        self.0 = !self.0;
        if self.0 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Err(ErrorKind::InvalidData.into()))
    }
}

impl AsyncRead for Faulty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.fail(context)
    }
}

impl AsyncBufRead for Faulty {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().fail(context)
    }

    fn consume(self: Pin<&mut Self>, _: usize) {}
}

impl AsyncSeek for Faulty {
    fn poll_seek(mut self: Pin<&mut Self>, context: &mut Context<'_>, _: SeekFrom) -> Poll<io::Result<u64>> {
        self.fail(context)
    }
}

#[test]
fn errors_are_passed_on() {
    let mut reader = SyncReader::new(Faulty(false));
    assert_eq!(reader.read(&mut [0]).unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(reader.fill_buf().unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(reader.rewind().unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn cancelling_the_task_ends_a_read_that_waits_and_loses_nothing() {
    let (pool, pipe) = (pool(1, 1), Pipe::default());
    let mut reader = SyncReader::new(pipe.clone());
    let task = pool.spawn(move || {
        let first = reader.read(&mut [0; 4]);
        assert!(current::is_cancelled());
        let second = reader.read(&mut [0; 4]);
        (first, second, reader)
    });
    eventually("it waits", || pool.metrics().threads_blocked() == 1);
    let (first, second, mut reader) = task.cancel().wait().unwrap();
    for end in [first, second] {
        let error = end.unwrap_err();
        assert!(error.get_ref().is_some_and(|inner| inner.is::<current::Cancelled>()), "{error:?}");
    }
    pipe.0.lock().unwrap().bytes.extend(b"here");
    let mut bytes = [0; 4];
    assert_eq!(reader.read(&mut bytes).unwrap(), 4, "outside the task it works on");
    assert_eq!(&bytes, b"here");
    check_sound(&pool);
}

#[test]
fn cancelling_does_not_touch_calls_that_need_not_wait() {
    let (pool, pipe) = (pool(1, 1), Pipe::default());
    let mut writer = SyncWriter::new(pipe.clone());
    let task = pool.spawn(move || {
        let full = writer.write_all(&[7; 100]);
        assert!(current::is_cancelled() && full.is_err());
        let mut rest = Vec::new();
        pipe.clone().0.lock().unwrap().bytes.read_to_end(&mut rest).unwrap();
        (writer.write(b"still").unwrap(), rest.len())
    });
    eventually("it waits", || pool.metrics().threads_blocked() == 1);
    assert_eq!(task.cancel().wait().unwrap(), (5, Pipe::ROOM));
    check_sound(&pool);
}

#[test]
fn a_wait_is_declared_as_blocking() {
    let (pool, pipe) = (pool(1, 2), Pipe::default());
    let mut reader = SyncReader::new(pipe.clone());
    let task = pool.spawn(move || reader.read(&mut [0; 4]).unwrap());
    eventually("it waits", || pool.metrics().threads_blocked() == 1);
    assert_eq!(soon(pool.spawn(|| 3)).unwrap(), 3, "the pool has grown");
    SyncWriter::new(pipe).write_all(b"abc").unwrap();
    assert_eq!(soon(task).unwrap(), 3);
    check_sound(&pool);
}
