//! Which runtime a task takes along: that of the thread that spawns it, or of the task that does.

use super::CallerRuntime;

#[cfg(feature = "tokio-test-util")]
use super::ClockHold;
#[cfg(feature = "tokio")]
use super::RuntimeEntry;
#[cfg(feature = "tokio")]
use crate::sync::Mutex;
#[cfg(feature = "tokio-test-util")]
use crate::task::frame::current;
#[cfg(feature = "tokio")]
use tokio::runtime::Handle;

impl CallerRuntime {
    /// The runtime of this thread; `enters` says whether the closure is to run inside of it.
    #[cfg(feature = "tokio")]
    #[inline]
    pub(crate) fn of_this_thread(enters: bool) -> Self {
        if !enters && cfg!(not(feature = "tokio-test-util")) {
            return CallerRuntime::default();
        }
        let handle = Handle::try_current().ok();
        CallerRuntime {
            #[cfg(feature = "tokio-test-util")]
            clock: Mutex::new(handle.as_ref().and_then(ClockHold::of).or_else(inherited)),
            entry: Mutex::new(handle.filter(|_| enters).map(RuntimeEntry)),
        }
    }

    /// Without the feature there is none.
    #[cfg(not(feature = "tokio"))]
    #[inline]
    pub(crate) fn of_this_thread(_enters: bool) -> Self {
        CallerRuntime {}
    }
}

/// Where this thread is in no runtime, but in a task that was spawned in one.
#[cfg(feature = "tokio-test-util")]
fn inherited() -> Option<ClockHold> {
    current()?.task()?.metadata()?.runtime.clock.lock().clone()
}
