//! What lies behind descriptors of each kind, and what calls of them do.

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::{Direction, Endpoint, Fd, IoAttempt, descriptor_of, wait_until_ready};

fn endpoint(file: &File) -> Option<Endpoint> {
    descriptor_of::<File>().and_then(|how| Endpoint::of(file.as_raw_fd(), how))
}

/// An ordinary descriptor that the system has just made.
fn made(fd: Fd) -> File {
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: nothing else has the descriptor.
    unsafe { File::from_raw_fd(fd) }
}

fn event() -> File {
    // SAFETY: numbers only.
    made(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) })
}

fn of(owned: impl Into<OwnedFd>) -> File {
    File::from(owned.into())
}

fn is_blocked(attempt: &IoAttempt) -> bool {
    matches!(attempt, IoAttempt::Blocked(_))
}

fn write(endpoint: &mut Endpoint, file: &File, bytes: &[u8]) -> IoAttempt {
    endpoint.write(file.as_raw_fd(), &[IoSlice::new(bytes)])
}

#[test]
fn regular_files_directories_and_closed_descriptors_are_no_endpoints() {
    for path in ["/proc/self/exe", "/", "/proc/self/mem", "/proc/self/stat"] {
        assert!(endpoint(&File::open(path).unwrap()).is_none(), "{path}");
    }
    assert!(Endpoint::of(-1, descriptor_of::<File>().unwrap()).is_none());
    assert!(Endpoint::of(1_000_000, descriptor_of::<File>().unwrap()).is_none());
}

#[test]
fn types_of_std_with_a_descriptor_are_known() {
    assert!(descriptor_of::<Arc<File>>().is_some());
    assert!(descriptor_of::<std::process::ChildStdin>().is_some());
    assert!(descriptor_of::<std::net::TcpStream>().is_some());
    assert!(descriptor_of::<std::io::Stdout>().is_some());
    assert!(descriptor_of::<std::io::Cursor<Vec<u8>>>().is_none());
    assert_eq!(descriptor_of::<std::io::Stdout>().unwrap().find(&std::io::stdout()), 1);
    assert_eq!(descriptor_of::<std::io::Stderr>().unwrap().find(&std::io::stderr()), 2);
}

/// Each pair: what is read, and what is written to make it ready.
#[test]
fn reads_of_every_kind_do_not_wait_and_bring_what_is_there() {
    let (reader, writer) = std::io::pipe().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    for (reader, mut writer) in [(of(reader), of(writer)), (of(one), of(other))] {
        let (fd, mut endpoint) = (reader.as_raw_fd(), endpoint(&reader).unwrap());
        let mut buffer = [0; 10];
        assert!(is_blocked(&endpoint.read(fd, &mut buffer)));
        writer.write_all(b"abc").unwrap();
        assert!(matches!(endpoint.read(fd, &mut buffer), IoAttempt::Done(3)));
        assert_eq!(&buffer[..3], b"abc");
        assert!(is_blocked(&endpoint.read(fd, &mut buffer)));
        drop(writer);
        assert!(matches!(endpoint.read(fd, &mut buffer), IoAttempt::Done(0)));
    }
    let event = event();
    let (fd, mut endpoint) = (event.as_raw_fd(), endpoint(&event).unwrap());
    assert!(is_blocked(&endpoint.read(fd, &mut [0; 8])));
    (&event).write_all(&7_u64.to_ne_bytes()).unwrap();
    let mut count = [0; 8];
    assert!(matches!(endpoint.read(fd, &mut count), IoAttempt::Done(8)));
    assert_eq!(u64::from_ne_bytes(count), 7);
}

#[test]
fn writes_of_every_kind_do_not_wait_and_fill_what_there_is_room_for() {
    let (reader, writer) = std::io::pipe().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    for (mut reader, writer) in [(of(reader), of(writer)), (of(one), of(other))] {
        let mut endpoint = endpoint(&writer).unwrap();
        let mut total = 0;
        while let IoAttempt::Done(count) = write(&mut endpoint, &writer, &[7; 10_000]) {
            total += count;
        }
        assert!(is_blocked(&write(&mut endpoint, &writer, &[7])), "{total}");
        reader.read_exact(&mut vec![0; total]).unwrap();
        wait_until_ready(writer.as_raw_fd(), Direction::Write).unwrap();
        assert!(matches!(write(&mut endpoint, &writer, &[7; 10]), IoAttempt::Done(10)));
    }
}

/// Whether the description waits is not changed, though others may share it.
#[test]
fn a_fifo_is_opened_anew_and_its_own_description_still_waits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let mut file = File::options().read(true).write(true).open(&path).unwrap();
    let (fd, mut endpoint) = (file.as_raw_fd(), endpoint(&file).unwrap());
    assert!(is_blocked(&endpoint.read(fd, &mut [0; 10])));
    assert!(matches!(write(&mut endpoint, &file, b"x"), IoAttempt::Done(1)));
    assert!(matches!(endpoint.read(fd, &mut [0; 10]), IoAttempt::Done(1)));
    // SAFETY: no memory.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_GETFL) } & libc::O_NONBLOCK, 0);
    file.write_all(b"y").unwrap();
    assert!(matches!(endpoint.read(fd, &mut [0; 10]), IoAttempt::Done(1)));
    let IoAttempt::Failed(error) = endpoint.read(fd, &mut []) else { return };
    panic!("{error}");
}

/// The slave is opened anew, the master is probed.
#[test]
fn both_ends_of_a_pseudo_terminal() {
    let (mut master, mut slave) = (0, 0);
    let (name, mode, size) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null());
    // SAFETY: two descriptors are written; no name is asked for, and nothing set.
    let status = unsafe { libc::openpty(&raw mut master, &raw mut slave, name, mode, size) };
    assert_eq!(status, 0);
    let (mut master, slave) = (made(master), made(slave));
    let (mut first, mut second) = (endpoint(&master).unwrap(), endpoint(&slave).unwrap());
    assert!(is_blocked(&second.read(slave.as_raw_fd(), &mut [0; 10])));
    assert!(is_blocked(&first.read(master.as_raw_fd(), &mut [0; 10])));
    assert!(matches!(write(&mut first, &master, b"line\n"), IoAttempt::Ready(512)));
    master.write_all(b"line\n").unwrap();
    wait_until_ready(slave.as_raw_fd(), Direction::Read).unwrap();
    assert!(matches!(second.read(slave.as_raw_fd(), &mut [0; 10]), IoAttempt::Done(5)));
    wait_until_ready(master.as_raw_fd(), Direction::Read).unwrap();
    assert!(matches!(first.read(master.as_raw_fd(), &mut [0; 10]), IoAttempt::Ready(_)));
}

#[test]
fn devices_that_are_always_ready_answer_at_once() {
    let zero = File::options().read(true).write(true).open("/dev/zero").unwrap();
    let mut endpoint = endpoint(&zero).unwrap();
    assert!(matches!(endpoint.read(zero.as_raw_fd(), &mut [1; 10]), IoAttempt::Done(10)));
    let full = File::options().read(true).write(true).open("/dev/full").unwrap();
    let mut endpoint = self::endpoint(&full).unwrap();
    assert!(matches!(write(&mut endpoint, &full, b"x"), IoAttempt::Ready(_)));
}
