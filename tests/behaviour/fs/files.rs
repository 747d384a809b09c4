//! Files for the tests of this topic, and futures that must end.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

use sidestep::fs::File;
use tempfile::TempDir;

use crate::support::{PATIENCE, Wakes};

/// The end of `future`, which must come; and how often that was polled.
pub(crate) fn counted<F: Future>(future: F) -> (F::Output, usize) {
    let (wakes, start) = (Wakes::new(), Instant::now());
    let waker = Waker::from(Arc::clone(&wakes));
    let (mut future, mut polls) = (pin!(future), 0);
    loop {
        let seen = wakes.count();
        polls += 1;
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return (output, polls);
        }
        while wakes.count() == seen {
            assert!(start.elapsed() < PATIENCE, "it never ended, after {polls} polls");
            thread::yield_now();
        }
    }
}

/// The end of `future`, which must come.
pub(crate) fn ends<F: Future>(future: F) -> F::Output {
    counted(future).0
}

/// A directory where reads of what is in memory need no thread of the pool, if the system can do
/// that, and, on Linux, one where they do.
pub(crate) fn both() -> Vec<TempDir> {
    let mut both = vec![tempfile::tempdir().unwrap()];
    if cfg!(target_os = "linux") {
        both.push(tempfile::tempdir_in("/dev/shm").unwrap());
    }
    both
}

/// A file of `length` bytes that tell where they are.
pub(crate) fn numbered(dir: &Path, length: usize) -> PathBuf {
    let path = dir.join(format!("numbered {length}"));
    let bytes: Vec<u8> = (0..length).map(byte).collect();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The byte at a place.
pub(crate) fn byte(place: usize) -> u8 {
    u8::try_from(place % 251).unwrap()
}

pub(crate) async fn read_write(path: &Path) -> File {
    File::options().read(true).write(true).open(path).await.unwrap()
}
