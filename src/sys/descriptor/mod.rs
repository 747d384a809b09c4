//! What lies behind a descriptor, and reads and writes of it that never wait.
//!
//! A regular file always answers soon, or not much later than that. A pipe, a socket, a terminal or
//! a device may never answer: it is read and written only when it is ready. [`Endpoint`] is what is
//! known of such a descriptor, and makes the calls.
//!
//! | file | owns |
//! |---|---|
//! | `linux` | Linux |
//! | `elsewhere` | systems, and model checkers, where no descriptor is an endpoint |

#[cfg(any(not(target_os = "linux"), miri, sidestep_loom, sidestep_shuttle))]
mod elsewhere;
#[cfg(all(target_os = "linux", not(any(miri, sidestep_loom, sidestep_shuttle))))]
mod linux;

use std::any::{Any, TypeId};
use std::io;

#[cfg(any(not(target_os = "linux"), miri, sidestep_loom, sidestep_shuttle))]
pub(crate) use self::elsewhere::{
    NoEndpoint as Endpoint, of_standard_input, wait_until_ready, without_sigpipe,
};
#[cfg(all(target_os = "linux", not(any(miri, sidestep_loom, sidestep_shuttle))))]
pub(crate) use self::linux::{Endpoint, of_standard_input, wait_until_ready, without_sigpipe};
#[cfg(all(target_os = "linux", not(any(miri, sidestep_loom, sidestep_shuttle))))]
use super::pipe::{PipeTypes, StdPipes};

/// A descriptor of the system.
pub(crate) type Fd = i32;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// What came of a call that does not wait.
#[derive(Debug)]
#[cfg_attr(
    any(not(target_os = "linux"), miri, sidestep_loom, sidestep_shuttle),
    expect(dead_code, reason = "no call is made elsewhere")
)]
pub(crate) enum IoAttempt {
    /// So many bytes went over; none at the end of what there is to be read.
    Done(usize),
    /// It would have to wait, until this descriptor is ready.
    Blocked(Fd),
    /// An ordinary call of at most so many bytes would not have to wait, unless another user of the
    /// descriptor is faster. So it has to be made where it may.
    Ready(usize),
    Failed(io::Error),
}

/// How the descriptor of a value is found.
pub(crate) struct DescriptorOf<T> {
    find: fn(&T) -> Fd,
    /// The value has a buffer of its own before the descriptor: only its own calls keep the order.
    #[cfg_attr(
        any(not(target_os = "linux"), miri, sidestep_loom, sidestep_shuttle),
        expect(dead_code, reason = "no call is made elsewhere")
    )]
    is_buffered: bool,
}

impl<T> DescriptorOf<T> {
    /// The descriptor that the value has now.
    pub(crate) fn find(self, value: &T) -> Fd {
        (self.find)(value)
    }
}

impl<T> Clone for DescriptorOf<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for DescriptorOf<T> {}

/// How the descriptor of a `T` is found, if that is one of the types of `std` that have one.
pub(crate) fn descriptor_of<T: 'static>() -> Option<DescriptorOf<T>> {
    let buffered = [TypeId::of::<io::Stdout>(), TypeId::of::<io::Stderr>()];
    let id = TypeId::of::<T>();
    let is_buffered = buffered.contains(&id);
    (is_buffered || has_descriptor(id)).then_some(DescriptorOf { find: find::<T>, is_buffered })
}

#[cfg(all(target_os = "linux", not(any(miri, sidestep_loom, sidestep_shuttle))))]
macro_rules! descriptors {
    ($($type:ty),+ $(,)?) => {
        fn has_descriptor(id: TypeId) -> bool {
            [$(TypeId::of::<$type>()),+].contains(&id)
        }

        fn find<T: 'static>(value: &T) -> Fd {
            use std::os::fd::AsRawFd;

            let value: &dyn Any = value;
            $(if let Some(value) = value.downcast_ref::<$type>() {
                return value.as_raw_fd();
            })+
            let is_error = value.is::<io::Stderr>();
            if is_error { libc::STDERR_FILENO } else { libc::STDOUT_FILENO }
        }
    };
}

#[cfg(all(target_os = "linux", not(any(miri, sidestep_loom, sidestep_shuttle))))]
descriptors! {
    std::fs::File,
    std::sync::Arc<std::fs::File>,
    std::process::ChildStdin,
    std::process::ChildStdout,
    std::process::ChildStderr,
    std::net::TcpStream,
    std::os::unix::net::UnixStream,
    <StdPipes as PipeTypes>::Reader,
    <StdPipes as PipeTypes>::Writer,
}

#[cfg(any(not(target_os = "linux"), miri, sidestep_loom, sidestep_shuttle))]
fn has_descriptor(_: TypeId) -> bool {
    false
}

#[cfg(any(not(target_os = "linux"), miri, sidestep_loom, sidestep_shuttle))]
fn find<T: 'static>(value: &T) -> Fd {
    let _: &dyn Any = value;
    -1
}

#[cfg(all(test, target_os = "linux", not(any(miri, sidestep_loom, sidestep_shuttle))))]
mod tests;
