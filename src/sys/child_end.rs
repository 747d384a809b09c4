//! The end of a child process, seen without reaping it.

pub(crate) use self::system::{ChildFd, wait_without_reaping};

#[cfg(all(target_os = "linux", not(any(miri, sidestep_loom, sidestep_shuttle))))]
mod fd {
    use std::io;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
    use std::process::Child;

    use crate::sys::descriptor::Fd;

    /// A descriptor that stands for a child, and is readable once that has ended.
    #[derive(Debug)]
    pub(crate) struct ChildFd(OwnedFd);

    impl ChildFd {
        /// `None` where the system has no such descriptors, or none left.
        pub(crate) fn open(child: &Child) -> Option<Self> {
            let flags: libc::c_uint = 0;
            // SAFETY: no memory. The child has not been reaped, so the number is its own.
            let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), flags) };
            let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0)?;
            // SAFETY: the call has made the descriptor, and nothing else has it.
            Some(ChildFd(unsafe { OwnedFd::from_raw_fd(fd) }))
        }

        pub(crate) fn number(&self) -> Fd {
            self.0.as_raw_fd()
        }

        /// Kills the child, and no other process that has its number by now.
        pub(crate) fn kill(&self) -> io::Result<()> {
            let (none, flags) = (std::ptr::null::<libc::siginfo_t>(), 0_u32);
            // SAFETY: there is no information to read.
            let result = unsafe {
                libc::syscall(libc::SYS_pidfd_send_signal, self.number(), libc::SIGKILL, none, flags)
            };
            if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        }
    }
}

#[cfg(not(all(target_os = "linux", not(any(miri, sidestep_loom, sidestep_shuttle)))))]
mod fd {
    use std::convert::Infallible;
    use std::io;
    use std::process::Child;

    use crate::sys::descriptor::Fd;

    /// There is none.
    #[derive(Debug)]
    pub(crate) struct ChildFd(Infallible);

    impl ChildFd {
        pub(crate) fn open(_: &Child) -> Option<Self> {
            None
        }

        pub(crate) fn number(&self) -> Fd {
            match self.0 {}
        }

        pub(crate) fn kill(&self) -> io::Result<()> {
            match self.0 {}
        }
    }
}

#[cfg(unix)]
mod system {
    pub(crate) use super::fd::ChildFd;

    /// Blocks until the child with this number, which nothing else reaps, has ended; or until the
    /// system refuses that, in which case reaping will say why.
    pub(crate) fn wait_without_reaping(id: u32) {
        loop {
            // SAFETY: all zeros is a value of this plain struct.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            // SAFETY: `info` is valid for writing.
            let result = unsafe {
                libc::waitid(libc::P_PID, id as libc::id_t, &raw mut info, libc::WEXITED | libc::WNOWAIT)
            };
            let was_interrupted = std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted;
            if result == 0 || !was_interrupted {
                return;
            }
        }
    }
}

#[cfg(all(windows, not(any(miri, sidestep_loom, sidestep_shuttle))))]
mod system {
    use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
    use std::time::Duration;

    use windows_sys::Win32::Foundation::WAIT_OBJECT_0;
    use windows_sys::Win32::System::Threading::{
        INFINITE, OpenProcess, PROCESS_SYNCHRONIZE, WaitForSingleObject,
    };

    pub(crate) use super::fd::ChildFd;

    /// Blocks until the child with this number, of which the caller has a handle, has ended. Where
    /// the system refuses that it waits a moment: the caller asks whether the child has ended, and
    /// calls again.
    pub(crate) fn wait_without_reaping(id: u32) {
        // The caller's handle keeps the number from being used again.
        // SAFETY: numbers only.
        let handle = unsafe { OpenProcess(PROCESS_SYNCHRONIZE, 0, id) };
        if !handle.is_null() {
            // SAFETY: the call has opened the handle, and nothing else has it.
            let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
            // SAFETY: the handle is open.
            if unsafe { WaitForSingleObject(handle.as_raw_handle(), INFINITE) } == WAIT_OBJECT_0 {
                return;
            }
        }
        #[expect(clippy::disallowed_methods, reason = "the system has nothing to wait for")]
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(not(any(unix, all(windows, not(any(miri, sidestep_loom, sidestep_shuttle))))))]
mod system {
    use std::time::Duration;

    pub(crate) use super::fd::ChildFd;

    /// Waits a moment: the caller asks whether the child has ended, and calls again.
    pub(crate) fn wait_without_reaping(_: u32) {
        #[expect(clippy::disallowed_methods, reason = "the system has nothing to wait for")]
        std::thread::sleep(Duration::from_millis(10));
    }
}
