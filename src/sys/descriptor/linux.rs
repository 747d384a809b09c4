//! Endpoints on Linux.
//!
//! # Which calls do not wait
//!
//! Whether a call waits is a property of the open file description (`O_NONBLOCK`), which other
//! processes may share: a terminal, say, with the shell. So it is never changed here, and each call
//! says for itself that it does not wait:
//!
//! | what | reads and writes | where the system cannot |
//! |---|---|---|
//! | socket | `recv`, `sendmsg` with `MSG_DONTWAIT` | |
//! | pipe | `preadv2`, `pwritev2` with `RWF_NOWAIT` (Linux 6.4) | opened anew |
//! | FIFO | opened anew: `RWF_NOWAIT` fails | probed |
//! | terminal | opened anew | probed |
//! | event descriptors, devices | `RWF_NOWAIT` | probed |
//! | the other end of a pseudo-terminal, inotify | probed: it cannot be opened anew | |
//!
//! *Opened anew*: `/proc/self/fd/N` with `O_NONBLOCK` makes an open file description that nothing
//! shares. It is closed before the value is.
//!
//! *Probed*: `poll` says whether an ordinary call would wait. The answer is stale if another user
//! of the description reads or writes in between; so the call is made on the pool
//! ([`Attempt::Ready`]), except where the description does not wait anyway, because its owner has
//! set `O_NONBLOCK`.
//!
//! A value with a buffer of its own, such as the standard output, is probed too.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{Attempt, DescriptorOf, Direction, Fd};
pub(crate) use crate::sys::signals::without_sigpipe;

/// What a pipe takes at once if it is ready (4096 bytes), less what the buffer of a value may hold
/// that comes before it (1024).
const BUFFERED_ROOM: usize = 3072;
/// What the other end of a pseudo-terminal takes at once, however full it is, if it is ready.
const MASTER_ROOM: usize = 512;
/// The most slices of one call.
const MOST_SLICES: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndpointKind {
    Socket,
    Pipe,
    Terminal,
    /// The other end of a pseudo-terminal.
    Master,
    Device,
    /// A descriptor without a file: `eventfd`, `inotify` and the like.
    Anonymous,
}

/// How a call is made that does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Socket,
    NoWait,
    Anew,
    Probe,
}

/// A descriptor that may have to be waited for.
#[derive(Debug)]
pub(crate) struct Endpoint {
    kind: EndpointKind,
    ways: [Way; 2],
    is_buffered: bool,
    /// The description that was opened anew.
    anew: Option<OwnedFd>,
}

impl Endpoint {
    /// What lies behind `fd`; `None` if that is nothing to wait for, such as a regular file, or the
    /// system cannot tell.
    pub(crate) fn of<T>(fd: Fd, how: DescriptorOf<T>) -> Option<Self> {
        Self::find(fd, how.is_buffered)
    }

    fn find(fd: Fd, is_buffered: bool) -> Option<Self> {
        let kind = match file_type(fd)? {
            libc::S_IFSOCK => EndpointKind::Socket,
            libc::S_IFIFO => EndpointKind::Pipe,
            libc::S_IFCHR if is_master(fd) => EndpointKind::Master,
            libc::S_IFCHR if is_terminal(fd) => EndpointKind::Terminal,
            libc::S_IFCHR => EndpointKind::Device,
            0 if is_event_source(fd) => EndpointKind::Anonymous,
            _ => return None,
        };
        if is_buffered && matches!(kind, EndpointKind::Device | EndpointKind::Anonymous) {
            return None;
        }
        let way = match kind {
            _ if is_buffered => Way::Probe,
            EndpointKind::Socket => Way::Socket,
            EndpointKind::Pipe | EndpointKind::Device | EndpointKind::Anonymous => Way::NoWait,
            EndpointKind::Terminal => Way::Anew,
            EndpointKind::Master => Way::Probe,
        };
        Some(Endpoint { kind, ways: [way; 2], is_buffered, anew: None })
    }

    /// Reads what is there. `fd` is the descriptor of the value, which is open.
    pub(crate) fn read(&mut self, fd: Fd, buffer: &mut [u8]) -> Attempt {
        loop {
            let (data, length) = (buffer.as_mut_ptr().cast(), buffer.len());
            let attempt = match self.way(Direction::Read, fd) {
                Way::Socket => attempt(fd, || {
                    // SAFETY: `data` and `length` describe `buffer`, which is borrowed exclusively.
                    unsafe { libc::recv(fd, data, length, libc::MSG_DONTWAIT) }
                }),
                Way::NoWait => {
                    let slice = libc::iovec { iov_base: data, iov_len: length };
                    attempt(fd, || no_wait(libc::SYS_preadv2, fd, &raw const slice, 1))
                }
                Way::Anew => {
                    let fd = self.anew.as_ref().map_or(fd, AsRawFd::as_raw_fd);
                    // SAFETY: as above.
                    attempt(fd, || unsafe { libc::read(fd, data, length) })
                }
                Way::Probe if self.never_waits(fd) => {
                    // SAFETY: as above.
                    attempt(fd, || unsafe { libc::read(fd, data, length) })
                }
                Way::Probe => self.probe(fd, Direction::Read),
            };
            if !self.changes_way(Direction::Read, &attempt) {
                return attempt;
            }
        }
    }

    /// Writes what there is room for. `fd` is the descriptor of the value, which is open.
    pub(crate) fn write(&mut self, fd: Fd, slices: &[IoSlice<'_>]) -> Attempt {
        loop {
            // An `IoSlice` is an `iovec`, and no call of these changes the bytes.
            let (data, count) = (slices.as_ptr().cast::<libc::iovec>(), slices.len().min(MOST_SLICES));
            let attempt = match self.way(Direction::Write, fd) {
                Way::Socket => attempt(fd, || send(fd, data, count)),
                Way::NoWait => write_attempt(fd, || no_wait(libc::SYS_pwritev2, fd, data, count)),
                Way::Anew => {
                    let fd = self.anew.as_ref().map_or(fd, AsRawFd::as_raw_fd);
                    write_attempt(fd, || write_slices(fd, data, count))
                }
                Way::Probe if self.never_waits(fd) => write_attempt(fd, || write_slices(fd, data, count)),
                Way::Probe => self.probe(fd, Direction::Write),
            };
            if !self.changes_way(Direction::Write, &attempt) {
                return attempt;
            }
        }
    }

    /// The way to go; a description that is to be opened anew is.
    fn way(&mut self, direction: Direction, fd: Fd) -> Way {
        let index = direction as usize;
        if self.ways[index] == Way::Anew && self.anew.is_none() {
            match open_anew(fd) {
                Some(anew) => self.anew = Some(anew),
                None => self.ways[index] = Way::Probe,
            }
        }
        self.ways[index]
    }

    /// Whether the call has failed because the system cannot make it so. The next is made another
    /// way then.
    fn changes_way(&mut self, direction: Direction, attempt: &Attempt) -> bool {
        let index = direction as usize;
        let Attempt::Failed(error) = attempt else { return false };
        let is_unable = matches!(
            error.raw_os_error(),
            Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM | libc::ESPIPE)
        );
        if self.ways[index] != Way::NoWait || !is_unable {
            return false;
        }
        self.ways[index] = if self.kind == EndpointKind::Pipe { Way::Anew } else { Way::Probe };
        true
    }

    /// Whether the owner of the description has set it to never wait.
    fn never_waits(&self, fd: Fd) -> bool {
        // SAFETY: no memory.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
        !self.is_buffered && flags >= 0 && flags & libc::O_NONBLOCK != 0
    }

    fn probe(&self, fd: Fd, direction: Direction) -> Attempt {
        match poll(fd, direction, 0) {
            Ok(false) => Attempt::Blocked(fd),
            // If `poll` itself fails the call will say what is wrong.
            Ok(true) | Err(_) => Attempt::Ready(match self.kind {
                EndpointKind::Master => MASTER_ROOM,
                _ if self.is_buffered => BUFFERED_ROOM,
                _ => usize::MAX,
            }),
        }
    }

    /// Whether closing the descriptor takes no time.
    pub(crate) fn closes_at_once(&self, fd: Fd) -> bool {
        match self.kind {
            EndpointKind::Pipe | EndpointKind::Anonymous | EndpointKind::Master => true,
            EndpointKind::Socket => !lingers(fd),
            // What was written may have to be sent first.
            EndpointKind::Terminal | EndpointKind::Device => false,
        }
    }

    /// Lets the peer of a socket see the end, though others may have the socket open as well.
    pub(crate) fn end_output(&self, fd: Fd) {
        if self.kind == EndpointKind::Socket {
            // A socket that is not connected any more has no peer to see the end.
            // SAFETY: no memory.
            let _ = unsafe { libc::shutdown(fd, libc::SHUT_WR) };
        }
    }
}

/// Whether the standard input is there to be read, as an ordinary read would find it: `None` if it
/// is nothing that is waited for.
pub(crate) fn of_standard_input() -> Option<Attempt> {
    let endpoint = Endpoint::find(libc::STDIN_FILENO, true)?;
    Some(endpoint.probe(libc::STDIN_FILENO, Direction::Read))
}

/// Waits on this thread until `fd` is ready.
///
/// # Errors
///
/// That of `poll`.
pub(crate) fn wait_until_ready(fd: Fd, direction: Direction) -> io::Result<()> {
    poll(fd, direction, -1).map(drop)
}

/// Makes a call until no signal interrupts it.
fn attempt(fd: Fd, call: impl FnMut() -> libc::ssize_t) -> Attempt {
    attempt_of(fd, uninterrupted(call))
}

/// As [`attempt`], for a write that may find no reader.
fn write_attempt(fd: Fd, call: impl FnMut() -> libc::ssize_t) -> Attempt {
    attempt_of(fd, without_sigpipe(|| uninterrupted(call)))
}

fn attempt_of(fd: Fd, result: io::Result<usize>) -> Attempt {
    match result {
        Ok(count) => Attempt::Done(count),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Attempt::Blocked(fd),
        Err(error) => Attempt::Failed(error),
    }
}

fn uninterrupted(mut call: impl FnMut() -> libc::ssize_t) -> io::Result<usize> {
    loop {
        if let Ok(count) = usize::try_from(call()) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// `preadv2` or `pwritev2` where the file stands, without waiting. The call and not the function of
/// that name, which older C libraries lack.
fn no_wait(number: libc::c_long, fd: Fd, slices: *const libc::iovec, count: usize) -> libc::ssize_t {
    let (fd, count) = (libc::c_long::from(fd), count as libc::c_long);
    // Where a `long` holds the whole offset the kernel ignores the second half.
    let (low, high): (libc::c_long, libc::c_long) = (-1, -1);
    let flags = libc::c_long::from(libc::RWF_NOWAIT);
    // SAFETY: the callers' slices describe memory that they have borrowed, exclusively if it is
    // read into.
    let done = unsafe { libc::syscall(number, fd, slices, count, low, high, flags) };
    done as libc::ssize_t
}

fn send(fd: Fd, slices: *const libc::iovec, count: usize) -> libc::ssize_t {
    // SAFETY: zeros are a message without anything.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = slices.cast_mut();
    message.msg_iovlen = count as _;
    // SAFETY: the slices are borrowed by the caller, and are only read.
    unsafe { libc::sendmsg(fd, &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) }
}

fn write_slices(fd: Fd, slices: *const libc::iovec, count: usize) -> libc::ssize_t {
    // SAFETY: the slices are borrowed by the caller, and are only read.
    unsafe { libc::writev(fd, slices, count as libc::c_int) }
}

/// Whether `fd` is ready, after at most so many milliseconds; -1 is for ever.
fn poll(fd: Fd, direction: Direction, milliseconds: i32) -> io::Result<bool> {
    let events = if direction == Direction::Read { libc::POLLIN } else { libc::POLLOUT };
    let mut entry = libc::pollfd { fd, events, revents: 0 };
    loop {
        // SAFETY: one entry, which is valid for reading and writing.
        let count = unsafe { libc::poll(&raw mut entry, 1, milliseconds) };
        if count >= 0 {
            return Ok(count > 0);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// The type bits of the mode. It does not wait for the server of a network file system.
fn file_type(fd: Fd) -> Option<libc::mode_t> {
    // SAFETY: zeros are a valid `statx`.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // The call and not the function of that name, which older C libraries lack.
    // SAFETY: the path is an empty C string, and `found` is valid for writing.
    let status =
        unsafe { libc::syscall(libc::SYS_statx, fd, c"".as_ptr(), flags, libc::STATX_TYPE, &raw mut found) };
    if status == 0 {
        return Some(libc::mode_t::from(found.stx_mode) & libc::S_IFMT);
    }
    if io::Error::last_os_error().raw_os_error() == Some(libc::EBADF) {
        return None;
    }
    // SAFETY: zeros are a valid `stat`.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `found` is valid for writing.
    let status = unsafe { libc::fstat(fd, &raw mut found) };
    (status == 0).then_some(found.st_mode & libc::S_IFMT)
}

fn is_terminal(fd: Fd) -> bool {
    // SAFETY: no memory.
    unsafe { libc::isatty(fd) == 1 }
}

fn is_master(fd: Fd) -> bool {
    let mut number: libc::c_uint = 0;
    // SAFETY: the request writes one `unsigned int`.
    unsafe { libc::ioctl(fd, libc::TIOCGPTN, &raw mut number) == 0 }
}

/// Whether `poll` says of an anonymous descriptor whether a read would wait. It says something else
/// of others, such as those of performance counters.
fn is_event_source(fd: Fd) -> bool {
    const SOURCES: [&str; 6] =
        ["inotify", "[eventfd]", "[timerfd]", "[signalfd]", "[fanotify]", "[userfaultfd]"];
    let name = std::fs::read_link(format!("/proc/self/fd/{fd}"));
    let name = name.as_ref().ok().and_then(|name| name.to_str()?.strip_prefix("anon_inode:"));
    name.is_some_and(|name| SOURCES.contains(&name))
}

/// Another open file description of what is behind `fd`, one that never waits.
fn open_anew(fd: Fd) -> Option<OwnedFd> {
    // SAFETY: no memory.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags < 0 {
        return None;
    }
    let path = std::ffi::CString::new(format!("/proc/self/fd/{fd}")).ok()?;
    let flags = flags & (libc::O_ACCMODE | libc::O_APPEND);
    // SAFETY: the path is a C string.
    let anew =
        unsafe { libc::open(path.as_ptr(), flags | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC) };
    // SAFETY: the call has made the descriptor, and nothing else has it.
    (anew >= 0).then(|| unsafe { OwnedFd::from_raw_fd(anew) })
}

/// Whether closing the socket waits until what was sent has arrived.
fn lingers(fd: Fd) -> bool {
    let mut linger = libc::linger { l_onoff: 0, l_linger: 0 };
    let mut length = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: `linger` is valid for writing so many bytes, and `length` for writing.
    let status = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, (&raw mut linger).cast(), &raw mut length)
    };
    status == 0 && linger.l_onoff != 0 && linger.l_linger > 0
}
