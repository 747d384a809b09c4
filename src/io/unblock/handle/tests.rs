//! Calls that share the handle and wait for its writes.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use futures_io::AsyncWrite;

use super::Unblock;

/// A writer that waits in each write until it may go on.
struct Slow(Receiver<()>);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.recv_timeout(Duration::from_secs(60)).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct WakeCount(AtomicUsize);

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn waiting_for_a_slow_write_takes_no_turns() {
    let (go, gate) = channel();
    let mut slow = Unblock::new(Slow(gate));
    let count = Arc::new(WakeCount::default());
    let waker = Waker::from(Arc::clone(&count));
    let context = &mut Context::from_waker(&waker);
    assert!(Pin::new(&mut slow).poll_write(context, b"some").is_ready());
    for _ in 0..1_000 {
        assert!(slow.poll_written(context).is_pending());
    }
    let before = count.0.load(Ordering::SeqCst);
    assert!(slow.poll_written(context).is_pending());
    assert_eq!(count.0.load(Ordering::SeqCst), before, "it waits, and does not come again and again");
    go.send(()).unwrap();
    let begin = Instant::now();
    while count.0.load(Ordering::SeqCst) == before {
        assert!(begin.elapsed() < Duration::from_secs(60), "it is not woken");
        std::thread::yield_now();
    }
    assert!(slow.poll_written(context).is_ready());
}
