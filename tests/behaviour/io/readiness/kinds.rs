//! Both ends of everything that may never be ready.

use std::fs::File;
use std::future::Future;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use futures_lite::future::poll_once;
use sidestep::block_on;

use crate::support::alone::{MAX, alone_as};

/// A descriptor that the system has just made, or of a value of another type.
pub(super) fn made(fd: RawFd) -> File {
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: nothing else has the descriptor.
    unsafe { File::from_raw_fd(fd) }
}

pub(super) fn file(owned: impl Into<OwnedFd>) -> File {
    File::from(owned.into())
}

/// Both ends of a pseudo-terminal, which echoes nothing.
pub(in crate::io) fn terminal() -> [File; 2] {
    let (mut master, mut slave) = (0, 0);
    let (name, mode, size) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null());
    // SAFETY: two descriptors are written; no name is asked for, and nothing set.
    assert_eq!(unsafe { libc::openpty(&raw mut master, &raw mut slave, name, mode, size) }, 0);
    // SAFETY: plain numbers.
    let mut modes: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: `modes` is valid for writing.
    unsafe { libc::tcgetattr(slave, &raw mut modes) };
    // SAFETY: `modes` is valid for reading and writing.
    unsafe { libc::cfmakeraw(&raw mut modes) };
    // SAFETY: `modes` is valid for reading.
    assert_eq!(unsafe { libc::tcsetattr(slave, libc::TCSANOW, &raw const modes) }, 0);
    [made(master), made(slave)]
}

pub(super) fn fifo() -> [File; 2] {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let both = File::options().read(true).write(true).open(&path).unwrap();
    [both, File::options().write(true).open(&path).unwrap()]
}

pub(in crate::io) fn tcp() -> [TcpStream; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    [one, listener.accept().unwrap().0]
}

/// An eventfd; eight bytes written to it are there to be read.
pub(super) fn event() -> [File; 2] {
    // SAFETY: numbers only.
    let one = made(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) });
    [one.try_clone().unwrap(), one]
}

/// What is read, and what makes it ready, for each kind that a `File` can be.
pub(super) fn kinds() -> Vec<(&'static str, File, File)> {
    let (reader, writer) = std::io::pipe().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    let [near, far] = tcp();
    let ([fifo, fifo_writer], [event, event_writer]) = (fifo(), event());
    let ([master, slave], [far_master, near_slave]) = (terminal(), terminal());
    vec![
        ("pipe", file(reader), file(writer)),
        ("FIFO", fifo, fifo_writer),
        ("socket", file(one), file(other)),
        ("connection", file(near), file(far)),
        ("terminal", slave, master),
        ("pseudo-terminal", far_master, near_slave),
        ("event", event, event_writer),
    ]
}

pub(super) const EIGHT: [u8; 8] = 7_u64.to_ne_bytes();

pub(super) fn is_pending(read: impl Future) -> bool {
    block_on(poll_once(read)).is_none()
}

pub(super) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// With a pool of two threads.
pub(super) fn alone(name: &str, body: impl FnOnce()) {
    alone_as(&format!("io::readiness::{name}"), &[(MAX, "2")], body);
}
