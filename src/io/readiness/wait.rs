//! One direction of one value that waits until its descriptor is ready; and the registry of the
//! process, with its thread.

use std::io;
use std::task::Waker;

use super::registry::{EntryKey, Poller, ReadyRegistry};
use crate::sync::atomic::{HintBool, Ordering};
use crate::sync::own_thread;
use crate::sys::descriptor::{Direction, Fd};
use crate::sys::epoll::Epoll;
use crate::sys::fork;
use crate::sys::process_slot::ProcessSlot;
use crate::trace::event;

type OfProcess = ReadyRegistry<Epoll>;

static CURRENT: ProcessSlot<OfProcess> = ProcessSlot::new();

impl Poller for Epoll {
    fn arm(&self, fd: Fd, read: bool, write: bool) -> io::Result<()> {
        Epoll::arm(self, fd, read, write)
    }

    fn disarm(&self, fd: Fd) {
        Epoll::disarm(self, fd);
    }

    fn wait(&self, report: &mut dyn FnMut(Fd, bool, bool)) -> io::Result<()> {
        let mut ready = Vec::new();
        Epoll::wait(self, &mut ready)?;
        ready.into_iter().for_each(|event| report(event.fd, event.read, event.write));
        Ok(())
    }
}

/// The registry of this process, which is made by the first that waits.
fn current() -> io::Result<&'static OfProcess> {
    let old = CURRENT.get();
    if let Some(registry) = old.filter(|registry| !registry.is_forked()) {
        return Ok(registry);
    }
    fork::watch();
    Ok(CURRENT.replace(old, ReadyRegistry::new(Epoll::new()?)))
}

fn start(registry: &'static OfProcess) -> io::Result<()> {
    own_thread::start_alone("sidestep-io".to_owned(), move || registry.serve())
}

/// One direction of one value. Dropping it cancels the wait: it has to be dropped, or cancelled,
/// before the descriptor is closed or handed out.
pub(crate) struct ReadyWait {
    /// The entry, if there has been one since the last cancel.
    entry: Option<(&'static OfProcess, EntryKey)>,
}

impl ReadyWait {
    pub(crate) const fn new() -> Self {
        ReadyWait { entry: None }
    }

    /// Whether `waker` waits already.
    pub(crate) fn is_set_for(&self, waker: &Waker) -> bool {
        self.entry.is_some_and(|(registry, key)| registry.has(key, waker))
    }

    /// Has `waker` called once `fd` is ready in `direction`, the same one each time. The waker that
    /// it replaces is to be dropped outside of locks.
    ///
    /// # Errors
    ///
    /// If that cannot be had; `waker` comes back then. The reason is traced, once.
    pub(crate) fn set(&mut self, fd: Fd, direction: Direction, waker: Waker) -> Result<Option<Waker>, Waker> {
        let mut replaced = None;
        if self.entry.is_some_and(|(registry, key)| key.0 != fd || registry.is_forked()) {
            replaced = self.cancel();
        }
        let (registry, key) = match self.entry {
            Some(entry) => entry,
            None => match current() {
                Ok(registry) => (registry, (fd, direction, registry.number())),
                Err(error) => return Err(refused(waker, &error)),
            },
        };
        match registry.set(key, waker, || start(registry)) {
            Ok(old) => {
                self.entry = Some((registry, key));
                Ok(replaced.or(old))
            }
            Err((waker, error)) => Err(refused(waker, &error)),
        }
    }

    /// Waits no more. The waker, if it still waited, is to be called or dropped outside of locks.
    #[must_use]
    pub(crate) fn cancel(&mut self) -> Option<Waker> {
        let (registry, key) = self.entry.take()?;
        registry.cancel(key)
    }
}

impl Drop for ReadyWait {
    fn drop(&mut self) {
        drop(self.cancel());
    }
}

/// Traces, once, that a call has to wait on a thread of the pool.
fn refused(waker: Waker, error: &io::Error) -> Waker {
    static TRACED: HintBool = HintBool::new(false);

    // A descriptor that is always ready, or closed, is no fault of the system.
    let is_fault = !matches!(error.raw_os_error(), Some(libc::EPERM | libc::EBADF));
    if is_fault && !TRACED.swap(true, Ordering::Relaxed) {
        event!(WARN, %error, "cannot wait for a descriptor to be ready: the call holds a thread of the pool");
    }
    waker
}
