//! What Linux says of the call in which a thread sleeps.

use super::*;
use crate::sys::thread_stat::tests::eventually;

#[test]
fn a_socket_is_outside_and_a_channel_is_not() {
    let (send, receive) = std::sync::mpsc::channel();
    let (end, wait) = std::sync::mpsc::channel::<()>();
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let thread = std::thread::spawn(move || {
        send.send(ThreadKey::current()).unwrap();
        let _ = wait.recv();
        std::io::Read::read(&mut theirs, &mut [0])
    });
    let key = receive.recv().unwrap();
    eventually("it sleeps", || key.is_asleep() == Some(true));
    let told = key.waits_outside();
    drop(end);
    // Some kernels keep it to themselves.
    if let Some(outside) = told {
        assert!(!outside, "the other end of a channel is a thread");
        eventually("it waits for the socket", || key.waits_outside() == Some(true));
    }
    drop(ours);
    assert_eq!(thread.join().unwrap().unwrap(), 0);
}

/// What the system says of a thread that sleeps in `wait`, once that can be seen.
fn told_of(wait: impl FnOnce() + Send + 'static, wake: impl FnOnce()) -> Option<bool> {
    let (send, receive) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        send.send(ThreadKey::current()).expect("it is received");
        drop(send);
        wait();
    });
    let key = receive.recv().expect("the thread sends it");
    // `send` may sleep for an instant as well.
    assert!(receive.recv().is_err());
    eventually("it sleeps", || key.is_asleep() == Some(true));
    let told = key.waits_outside();
    wake();
    thread.join().expect("the wait ends");
    told
}

#[test]
fn threads_that_wait_for_a_pipe_or_a_files_lock_may_wait_for_each_other() {
    use std::io::Read;
    let (mut reader, writer) = std::io::pipe().unwrap();
    let read = move || assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    assert_ne!(told_of(read, || drop(writer)), Some(true));

    let folder = tempfile::tempdir().unwrap();
    let open = || std::fs::File::create(folder.path().join("lock")).unwrap();
    let (holder, other) = (open(), open());
    let lock = |file: &std::fs::File| {
        // SAFETY: the descriptor is open.
        let status = unsafe { libc::flock(std::os::fd::AsRawFd::as_raw_fd(file), libc::LOCK_EX) };
        assert_eq!(status, 0);
    };
    lock(&holder);
    assert_ne!(told_of(move || lock(&other), || drop(holder)), Some(true));
}

#[test]
fn a_timer_is_outside() {
    use std::sync::mpsc::{TryRecvError, channel};
    if std::fs::read("/proc/self/syscall").is_err() {
        // Some kernels keep it to themselves.
        return;
    }
    let (send, receive) = channel();
    let (end, ended) = channel::<()>();
    let thread = std::thread::spawn(move || {
        send.send(ThreadKey::current()).expect("it is received");
        while ended.try_recv() != Err(TryRecvError::Disconnected) {
            let time = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
            // SAFETY: `time` is valid for reading, and the rest is not asked for.
            unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
        }
    });
    let key = receive.recv().unwrap();
    eventually("it waits for the timer", || key.waits_outside() == Some(true));
    drop(end);
    thread.join().unwrap();
}
