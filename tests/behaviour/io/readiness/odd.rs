//! Devices, odd descriptors, and processes in an odd state.

use std::fs::File;
use std::io::{ErrorKind, PipeReader, PipeWriter, Write};
use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures_io::AsyncRead;
use futures_lite::future::poll_once;
use futures_util::{AsyncReadExt, AsyncWriteExt};
use sidestep::{Unblock, block_on, fs};

use super::kinds::{EIGHT, alone, file, is_pending, kinds, made};
use crate::support::fork::in_child;
use crate::support::{Wakes, eventually, nothing_happens, take_all_descriptors, threads_called};

/// The descriptor is that of the value that is there, not of the one that was.
#[test]
fn a_value_that_is_replaced_is_waited_for() {
    let (first, _first_writer) = std::io::pipe().unwrap();
    let (second, mut writer) = std::io::pipe().unwrap();
    let mut handle = Unblock::new(first);
    assert!(is_pending(handle.read(&mut [0; 8])));
    block_on(handle.with_mut(|value| *value = second)).unwrap();
    assert!(is_pending(handle.read(&mut [0; 8])));
    writer.write_all(b"new").unwrap();
    let mut buffer = [0; 8];
    assert_eq!(block_on(handle.read(&mut buffer)).unwrap(), 3);
    let (third, mut writer) = std::io::pipe().unwrap();
    *block_on(handle.get_mut()).unwrap() = third;
    assert!(is_pending(handle.read(&mut [0; 8])));
    writer.write_all(b"newer").unwrap();
    assert_eq!(block_on(handle.read(&mut buffer)).unwrap(), 5);
}

/// The number is the same, and the description of before stays open elsewhere.
#[test]
fn a_number_that_is_used_again_is_waited_for_anew() {
    let (first, mut first_writer) = std::io::pipe().unwrap();
    let _clone = first.try_clone().unwrap();
    let mut handle = Unblock::new(first);
    assert!(is_pending(handle.read(&mut [0; 8])));
    let (second, mut writer) = std::io::pipe().unwrap();
    let replace = move |value: &mut PipeReader| {
        // SAFETY: both are open, and `value` keeps its number.
        assert_eq!(unsafe { libc::dup2(second.as_raw_fd(), value.as_raw_fd()) }, value.as_raw_fd());
    };
    block_on(handle.with_mut(replace)).unwrap();
    block_on(async {
        let mut buffer = [0; 8];
        let mut read = pin!(handle.read(&mut buffer));
        assert!(poll_once(&mut read).await.is_none());
        first_writer.write_all(b"old").unwrap();
        assert!(poll_once(&mut read).await.is_none());
        writer.write_all(b"new!").unwrap();
        assert_eq!(read.await.unwrap(), 4);
    });
}

/// A waker, which is called once.
struct Once(std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for Once {
    fn wake(self: Arc<Self>) {
        if let Some(call) = { self.0.lock().unwrap().take() } {
            call();
        }
    }
}

/// One panics, one drops a handle that waits for the same, and its waker with it.
#[test]
fn wakers_that_misbehave_leave_the_others_alone() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let reader = Arc::new(file(reader));
    let handle = || Unblock::new(Arc::clone(&reader));
    let waker =
        |call: Box<dyn FnOnce() + Send>| Waker::from(Arc::new(Once(std::sync::Mutex::new(Some(call)))));
    let wait = |handle: &mut Unblock<Arc<File>>, waker: &Waker| {
        assert!(Pin::new(handle).poll_read(&mut Context::from_waker(waker), &mut [0]).is_pending());
    };
    let (mut panics, mut drops, mut last) = (handle(), handle(), handle());
    let dropped = Arc::new(std::sync::Mutex::new(Some(handle())));
    wait(&mut panics, &waker(Box::new(|| std::panic::resume_unwind(Box::new("a waker")))));
    wait(dropped.lock().unwrap().as_mut().unwrap(), Waker::noop());
    let of_dropped = Arc::clone(&dropped);
    wait(&mut drops, &waker(Box::new(move || drop(of_dropped.lock().unwrap().take()))));
    let wakes = Wakes::new();
    wait(&mut last, &Waker::from(Arc::clone(&wakes)));
    writer.write_all(b"x").unwrap();
    eventually("the last is woken", || wakes.count() == 1);
    assert!(dropped.lock().unwrap().is_none());
    block_on(last.read_exact(&mut [0])).unwrap();
}

/// Whoever shares the description finds it as it was.
#[test]
fn the_mode_of_a_descriptor_is_left_alone_and_either_works() {
    for non_blocking in [false, true] {
        for (name, reader, mut writer) in kinds() {
            let flags = |file: &File| {
                // SAFETY: no memory.
                unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) }
            };
            let clone = reader.try_clone().unwrap();
            if non_blocking {
                // SAFETY: no memory.
                unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, flags(&clone) | libc::O_NONBLOCK) };
            }
            let before = flags(&clone);
            let mut reader = fs::File::from(reader);
            assert!(is_pending(reader.read(&mut [0; 8])), "{name}");
            writer.write_all(&EIGHT).unwrap();
            block_on(reader.read_exact(&mut [0; 8])).unwrap();
            drop(reader);
            assert_eq!(flags(&clone), before, "{name}");
        }
    }
}

#[test]
fn changes_of_a_directory_are_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = std::ffi::CString::new(dir.path().to_str().unwrap()).unwrap();
    // SAFETY: numbers only.
    let watch = made(unsafe { libc::inotify_init1(libc::IN_CLOEXEC) });
    // SAFETY: a C string.
    assert!(unsafe { libc::inotify_add_watch(watch.as_raw_fd(), path.as_ptr(), libc::IN_CREATE) } >= 0);
    let mut watch = fs::File::from(watch);
    let mut buffer = [0; 300];
    assert!(is_pending(watch.read(&mut buffer)));
    std::fs::write(dir.path().join("new"), "").unwrap();
    let count = block_on(watch.read(&mut buffer)).unwrap();
    assert!(buffer[..count].windows(3).any(|name| name == b"new"));
    assert!(is_pending(watch.read(&mut buffer)));
}

#[test]
fn a_timer_is_waited_for() {
    // SAFETY: numbers only.
    let timer = made(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, 0) });
    let soon = libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let when = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: soon };
    // SAFETY: `when` is valid for reading, and the old value is not asked for.
    let set = unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const when, std::ptr::null_mut()) };
    assert_eq!(set, 0);
    let mut count = [0; 8];
    block_on(fs::File::from(timer).read_exact(&mut count)).unwrap();
    assert_eq!(u64::from_ne_bytes(count), 1);
}

#[test]
fn devices_do_as_in_std() {
    block_on(async {
        let mut zero = fs::File::open("/dev/zero").await.unwrap();
        let mut bytes = vec![1; 100_000];
        zero.read_exact(&mut bytes).await.unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0));
        let mut null = fs::File::options().read(true).write(true).open("/dev/null").await.unwrap();
        assert_eq!(null.read(&mut bytes).await.unwrap(), 0);
        null.write_all(&bytes).await.unwrap();
        null.close().await.unwrap();
        let mut full = fs::File::options().write(true).open("/dev/full").await.unwrap();
        let written = match full.write_all(b"x").await {
            Ok(()) => full.flush().await,
            error => error,
        };
        assert_eq!(written.unwrap_err().kind(), ErrorKind::StorageFull);
        let mut random = fs::File::open("/dev/urandom").await.unwrap();
        random.read_exact(&mut bytes).await.unwrap();
        assert!(bytes.iter().any(|byte| *byte != 0));
        let value = 0x1234_5678_u32;
        let mut memory = fs::File::open("/proc/self/mem").await.unwrap();
        let at = std::io::SeekFrom::Start(&raw const value as u64);
        futures_util::AsyncSeekExt::seek(&mut memory, at).await.unwrap();
        let mut bytes = [0; 4];
        memory.read_exact(&mut bytes).await.unwrap();
        assert_eq!(u32::from_ne_bytes(bytes), value);
        let mut directory = fs::File::open("/").await.unwrap();
        assert_eq!(directory.read(&mut bytes).await.unwrap_err().kind(), ErrorKind::IsADirectory);
    });
}

/// A device that seeks in its own way, and whose reads are whole records.
#[test]
fn the_log_of_the_kernel_is_read_record_by_record() {
    let mut line = [0; 8192];
    let Ok(mut plain) = File::open("/dev/kmsg") else { return };
    let Ok(count) = std::io::Read::read(&mut plain, &mut line) else { return };
    let first = line[..count].to_vec();
    block_on(async {
        let mut log = fs::File::open("/dev/kmsg").await.unwrap();
        let count = log.read(&mut line).await.unwrap();
        assert_eq!(line[..count], first);
    });
}

#[test]
fn a_descriptor_that_is_closed_is_an_error() {
    alone("odd::a_descriptor_that_is_closed_is_an_error", || {
        for waits in [false, true] {
            let (reader, _writer) = std::io::pipe().unwrap();
            let fd = reader.as_raw_fd();
            let mut handle = Unblock::new(reader);
            if waits {
                assert!(is_pending(handle.read(&mut [0; 8])));
            }
            // SAFETY: the handle, which has it, closes it again only when it is open again.
            unsafe { libc::close(fd) };
            let error = block_on(handle.read(&mut [0; 8])).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADF));
            // SAFETY: the process opens no other meanwhile: the number is the handle's.
            assert_eq!(unsafe { libc::dup2(libc::STDERR_FILENO, fd) }, fd);
            drop(handle);
        }
    });
}

#[test]
fn without_a_descriptor_to_wait_with_a_read_holds_a_thread() {
    alone("odd::without_a_descriptor_to_wait_with_a_read_holds_a_thread", || {
        let [(reader, mut writer), (other, mut other_writer)]: [(PipeReader, PipeWriter); 2] =
            [std::io::pipe().unwrap(), std::io::pipe().unwrap()];
        let taken = take_all_descriptors();
        let mut handle = Unblock::new(reader);
        let mut buffer = [0; 8];
        assert!(is_pending(handle.read(&mut buffer)));
        writer.write_all(b"old way").unwrap();
        assert_eq!(block_on(handle.read(&mut buffer)).unwrap(), 7);
        assert_eq!(&buffer[..7], b"old way");
        drop(taken);
        // And then there is one.
        let mut handle = Unblock::new(other);
        assert!(is_pending(handle.read(&mut buffer)));
        eventually("there is a thread", || threads_called("sidestep-io") == 1);
        other_writer.write_all(b"new").unwrap();
        assert_eq!(block_on(handle.read(&mut buffer)).unwrap(), 3);
    });
}

#[test]
fn a_forked_child_waits_by_itself() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let mut handle = Unblock::new(reader);
    assert!(is_pending(handle.read(&mut [0; 8])));
    let status = in_child(|list| {
        let mut buffer = [0; 8];
        list.check(block_on(handle.read(&mut buffer)).is_err());
        drop(handle);
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut own = Unblock::new(reader);
        list.check(is_pending(own.read(&mut buffer)));
        let feeder = thread::spawn(move || writer.write_all(b"child"));
        list.check(block_on(own.read(&mut buffer)).is_ok_and(|count| count == 5));
        list.check(feeder.join().is_ok());
    });
    assert_eq!(status, 0);
}

/// The parent's own goes on.
#[test]
fn a_fork_does_not_disturb_the_parent() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut handle = Unblock::new(reader);
    let mut buffer = [0; 8];
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    let poll = Pin::new(&mut handle).poll_read(&mut Context::from_waker(&waker), &mut buffer);
    assert!(matches!(poll, Poll::Pending));
    assert_eq!(in_child(|list| list.check(true)), 0);
    nothing_happens();
    assert_eq!(wakes.count(), 0);
    writer.write_all(b"x").unwrap();
    eventually("it is woken", || wakes.count() == 1);
    assert_eq!(block_on(handle.read(&mut buffer)).unwrap(), 1);
}
