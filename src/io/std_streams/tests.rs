//! Tests of `std_streams`.

use super::*;
use crate::block_on;
use futures_util::AsyncWriteExt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Reports at each flush how much was written, and waits there.
struct Out {
    given: usize,
    flushing: Sender<usize>,
    go: Receiver<()>,
}

impl io::Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.given += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushing.send(self.given).map_err(io::Error::other)?;
        self.go.recv().map_err(io::Error::other)
    }
}

#[test]
fn what_is_accepted_during_a_flush_is_flushed_without_being_asked_to() {
    let ((flushing, flushes), (go, gate)) = (channel(), channel());
    let value = Out { given: 0, flushing, go: gate };
    let mut out = Unblock::set_up(value, None, set_up());
    let patience = Duration::from_secs(60);
    block_on(out.write_all(b"one")).unwrap();
    assert_eq!(flushes.recv_timeout(patience), Ok(3));
    block_on(out.write_all(b"two")).unwrap();
    go.send(()).unwrap();
    assert_eq!(flushes.recv_timeout(patience), Ok(6));
    go.send(()).unwrap();
    assert_eq!(flushes.recv_timeout(Duration::from_millis(20)), Err(RecvTimeoutError::Timeout));
}
