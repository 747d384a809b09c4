//! A shared reader whose rounds the test itself runs.

use super::*;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

/// A shared reader whose thread is the test itself, which calls `round`.
fn shared() -> Arc<SharedReader> {
    SharedReader::new(|_| Ok(()))
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads at most `most` bytes.
fn read(handle: &mut ReaderHandle, most: usize) -> Poll<Result<Vec<u8>, io::ErrorKind>> {
    read_with(handle, most, Waker::noop())
}

fn read_with(handle: &mut ReaderHandle, most: usize, waker: &Waker) -> Poll<Result<Vec<u8>, io::ErrorKind>> {
    let mut into = Vec::new();
    let read = handle.poll_read(&mut Context::from_waker(waker), |bytes| {
        into.extend(bytes.iter().take(most));
        into.len()
    });
    read.map_ok(|_| into).map_err(|error| error.kind())
}

fn got(bytes: &[u8]) -> Poll<Result<Vec<u8>, io::ErrorKind>> {
    Poll::Ready(Ok(bytes.to_vec()))
}

/// Fails, or panics, again and again.
struct Faulty(fn() -> io::Error);

impl Read for Faulty {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err((self.0)())
    }
}

#[test]
fn what_a_dropped_handle_has_asked_for_is_there_for_the_next() {
    let shared = shared();
    let mut first = shared.handle();
    assert_eq!(read(&mut first, 10), Poll::Pending);
    shared.round(&mut &b"abc"[..]);
    assert_eq!(read(&mut first, 1), got(b"a"));
    drop(first);
    assert_eq!(read(&mut shared.handle(), 10), got(b"bc"));
}

#[test]
fn a_handle_that_goes_away_takes_its_demand_along() {
    let shared = shared();
    let (mut first, mut second) = (shared.handle(), shared.handle());
    assert_eq!(read(&mut first, 1), Poll::Pending);
    assert_eq!(read(&mut second, 1), Poll::Pending);
    assert_eq!(shared.state.lock().unwrap().waiting.len(), 2);
    drop(first);
    assert_eq!(shared.state.lock().unwrap().waiting.len(), 1);
    drop(second);
    assert!(shared.state.lock().unwrap().waiting.is_empty());
}

#[test]
fn everybody_who_waits_is_woken_once() {
    let shared = shared();
    let (mut first, mut second) = (shared.handle(), shared.handle());
    let wakes: [Arc<Count>; 2] = Default::default();
    let [one, two] = wakes.clone().map(Waker::from);
    for _ in 0..3 {
        assert_eq!(read_with(&mut first, 1, &one), Poll::Pending);
        assert_eq!(read_with(&mut second, 1, &two), Poll::Pending);
    }
    shared.round(&mut &b"x"[..]);
    assert_eq!(wakes.map(|count| count.0.load(Ordering::Relaxed)), [1, 1]);
    assert_eq!(read(&mut second, 9), got(b"x"));
    assert_eq!(read(&mut first, 9), Poll::Pending, "it asks again");
    shared.round(&mut &b"y"[..]);
    assert_eq!(read(&mut first, 9), got(b"y"));
}

#[test]
fn an_end_is_told_once_to_each_who_asked_before_it() {
    let shared = shared();
    let (mut first, mut second, mut late) = (shared.handle(), shared.handle(), shared.handle());
    assert_eq!(read(&mut first, 1), Poll::Pending);
    assert_eq!(read(&mut second, 1), Poll::Pending);
    shared.round(&mut io::empty());
    assert_eq!(read(&mut late, 1), Poll::Pending, "it asks anew");
    assert_eq!(read(&mut first, 1), got(b""));
    shared.round(&mut &b"z"[..]);
    assert_eq!(read(&mut second, 1), got(b""), "the end came before these bytes");
    assert_eq!(read(&mut first, 1), got(b"z"));
    assert_eq!(read(&mut late, 1), Poll::Pending);
}

#[test]
fn an_error_is_told_to_all_and_ends_nothing() {
    let shared = shared();
    let (mut first, mut second) = (shared.handle(), shared.handle());
    assert_eq!(read(&mut first, 1), Poll::Pending);
    assert_eq!(read(&mut second, 1), Poll::Pending);
    shared.round(&mut Faulty(|| io::Error::new(io::ErrorKind::InvalidData, "not text")));
    for handle in [&mut first, &mut second] {
        assert_eq!(read(handle, 1), Poll::Ready(Err(io::ErrorKind::InvalidData)));
    }
    assert_eq!(read(&mut first, 1), Poll::Pending);
    shared.round(&mut Faulty(|| io::Error::from_raw_os_error(if cfg!(windows) { 5 } else { 13 })));
    assert_eq!(read(&mut first, 1), Poll::Ready(Err(io::ErrorKind::PermissionDenied)));
    assert_eq!(read(&mut first, 1), Poll::Pending);
    shared.round(&mut Faulty(|| std::panic::resume_unwind(Box::new("a reader"))));
    assert_eq!(read(&mut first, 1), Poll::Ready(Err(io::ErrorKind::Other)));
    assert_eq!(read(&mut first, 1), Poll::Pending);
    shared.round(&mut &b"w"[..]);
    assert_eq!(read(&mut first, 1), got(b"w"));
}

#[test]
fn the_buffer_grows_while_it_is_filled_and_not_beyond_its_limit() {
    let shared = shared();
    let mut handle = shared.handle();
    let sizes: Vec<usize> = (0..6)
        .map(|_| {
            assert_eq!(read(&mut handle, 1), Poll::Pending);
            shared.round(&mut io::repeat(7));
            let Poll::Ready(Ok(bytes)) = read(&mut handle, usize::MAX) else { panic!("they are there") };
            bytes.len()
        })
        .collect();
    assert_eq!(sizes, [8, 16, 32, 64, 64, 64].map(|kib| kib * 1024));
    assert_eq!(read(&mut handle, 1), Poll::Pending);
    shared.round(&mut &b"few"[..]);
    assert_eq!(read(&mut handle, 9), got(b"few"));
}

#[test]
fn a_thread_that_cannot_be_made_is_an_error_of_that_read() {
    let starts = AtomicUsize::new(0);
    let shared = SharedReader::new(move |_| match starts.fetch_add(1, Ordering::Relaxed) {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        1 => Err(io::ErrorKind::OutOfMemory.into()),
        _ => Ok(()),
    });
    let mut handle = shared.handle();
    assert_eq!(read(&mut handle, 1), Poll::Ready(Err(io::ErrorKind::WouldBlock)));
    assert_eq!(read(&mut handle, 1), Poll::Ready(Err(io::ErrorKind::OutOfMemory)));
    assert_eq!(read(&mut handle, 1), Poll::Pending);
    shared.round(&mut &b"v"[..]);
    assert_eq!(read(&mut handle, 1), got(b"v"));
}

#[test]
fn those_who_waited_for_a_thread_that_was_refused_are_woken() {
    let wakes = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let bystander = Mutex::new(None);
    let refuse = move |shared: &Arc<SharedReader>| {
        let mut other = shared.handle();
        assert_eq!(read_with(&mut other, 1, &waker), Poll::Pending);
        *bystander.lock() = Some(other);
        Err(io::ErrorKind::WouldBlock.into())
    };
    let mut handle = SharedReader::new(refuse).handle();
    assert_eq!(read(&mut handle, 1), Poll::Ready(Err(io::ErrorKind::WouldBlock)));
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
}
