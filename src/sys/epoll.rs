//! Linux's `epoll`: which of many descriptors are ready.
//!
//! Each descriptor is armed for one report. Arming looks at the descriptor as it is, so a
//! descriptor that is ready already is reported too, and unlike `poll` it keeps nothing open: a
//! descriptor that is closed is gone from here when nothing else has its description.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::descriptor::Fd;

/// How many descriptors one call reports.
const BATCH: usize = 256;

const READS: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP) as u32;
const WRITES: u32 = libc::EPOLLOUT as u32;
/// These are reported unasked: a call of either direction would not wait.
const ENDS: u32 = (libc::EPOLLHUP | libc::EPOLLERR) as u32;

/// An `epoll` of this process.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

/// A descriptor is ready for reading, writing or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadyEvent {
    pub(crate) fd: Fd,
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl Epoll {
    /// # Errors
    ///
    /// That of `epoll_create1`, such as that there are no descriptors left.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no memory.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has made the descriptor, and nothing else has it.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Has `fd` reported once, when it is ready for what is asked.
    ///
    /// # Errors
    ///
    /// That of `epoll_ctl`: the descriptor is closed, or nothing to wait for, or there are too
    /// many.
    pub(crate) fn arm(&self, fd: Fd, read: bool, write: bool) -> io::Result<()> {
        let mut events = libc::EPOLLONESHOT as u32;
        events |= if read { READS } else { 0 };
        events |= if write { WRITES } else { 0 };
        match self.control(libc::EPOLL_CTL_MOD, fd, events) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                self.control(libc::EPOLL_CTL_ADD, fd, events)
            }
            result => result,
        }
    }

    /// Has `fd` reported no more. If the descriptor has been closed there is nothing to do.
    pub(crate) fn disarm(&self, fd: Fd) {
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0);
    }

    fn control(&self, operation: i32, fd: Fd, events: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: u64::from(fd as u32) };
        // SAFETY: the event is valid for reading.
        let status = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd, &raw mut event) };
        if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until some descriptors are ready, and adds them to `ready`.
    ///
    /// # Errors
    ///
    /// That of `epoll_wait`.
    pub(crate) fn wait(&self, ready: &mut Vec<ReadyEvent>) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; BATCH];
        let count = loop {
            // SAFETY: `events` is valid for writing so many.
            let count =
                unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), BATCH as i32, -1) };
            match usize::try_from(count) {
                Ok(count) => break count,
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        };
        ready.extend(events[..count].iter().map(|event| {
            let (events, fd) = (event.events, event.u64);
            ReadyEvent {
                fd: fd as Fd,
                read: events & (READS | ENDS) != 0,
                write: events & (WRITES | ENDS) != 0,
            }
        }));
        Ok(())
    }
}
