//! Callbacks that run after a delay: [`Handle::after`], and the token that cancels one.

use std::fmt;
use std::time::Duration;

use super::handle::Handle;
use super::slots::Key;
use crate::sync::now;

impl Handle {
    /// Runs `callback` once `delay` has passed. Any duration is legal: a timer of [`Duration::MAX`]
    /// is never due, though it is outstanding like any other.
    ///
    /// A timer becomes ready at the start of the first turn after its deadline. Timers run in the
    /// order of their deadlines, and those with equal deadlines in the order of registration.
    pub fn after(&self, delay: Duration, callback: impl FnOnce(&Handle) + 'static) -> Timer {
        let key = if self.is_closed() {
            Key::NONE
        } else {
            self.insert_timer(Box::new(callback), now().checked_add(delay))
        };
        Timer { handle: self.clone(), key }
    }
}

/// Stands for a callback that waits for its deadline. [`Handle::after`] returns it. Only
/// [`cancel`](Timer::cancel) affects the timer; dropping the token does not.
#[derive(Clone)]
pub struct Timer {
    handle: Handle,
    key: Key,
}

impl Timer {
    /// Drops the callback unrun, now. Once the callback has begun to run, or the loop has ended,
    /// this does nothing.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sidestep::EventLoop;
    ///
    /// let mut ev = EventLoop::new();
    /// let late = ev.after(Duration::from_secs(3600), |_| println!("that took long"));
    /// ev.offload(|| 6 * 7, move |_, _| late.cancel());
    /// ev.run(); // does not wait for an hour
    /// ```
    pub fn cancel(&self) {
        let entry = self.handle.remove_timer(self.key);
        drop(entry);
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("is_outstanding", &self.handle.holds(self.key)).finish()
    }
}
