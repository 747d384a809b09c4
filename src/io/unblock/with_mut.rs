//! Running a closure with the value of an `Unblock`.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use super::handle::Unblock;
use super::step::{Call, Seeking};
use super::wakers::{Side, Wakes};
use crate::sync::oneshot;

impl<T: Send + 'static> Unblock<T> {
    /// Runs `f` with the value on the pool, once it is at rest as for
    /// [`get_mut`](Unblock::get_mut).
    ///
    /// # Errors
    ///
    /// As there; then `f` has not run. A panic of `f` is one of the value.
    ///
    /// # Cancellation
    ///
    /// If `f` has not begun it never runs; if it has, its result is dropped.
    ///
    /// ```
    /// # sidestep::block_on(async {
    /// let mut file = sidestep::Unblock::new(std::fs::File::open("Cargo.toml")?);
    /// let length = file.with_mut(|file| file.metadata()).await??.len();
    /// assert!(length > 0);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn with_mut<R, F>(&mut self, f: F) -> io::Result<R>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        let (sender, mut receiver) = oneshot::channel();
        let calling = Calling { handle: self };
        calling.handle.ask(Box::new(move |value| {
            // Whoever asked has gone if it cannot be sent.
            drop(sender.send(f(value)));
        }));
        poll_fn(|context| calling.handle.poll_called(context, &mut receiver)).await
    }

    /// Waits for the closure's result. Once it has run, an error is for the next call.
    fn poll_called<R>(
        &mut self,
        context: &mut Context<'_>,
        receiver: &mut oneshot::Receiver<R>,
    ) -> Poll<io::Result<R>> {
        self.leave_seek();
        let Unblock { shared, chunk, eagerness, .. } = self;
        let (mut wakes, mut stale) = (Wakes::default(), Seeking::No);
        let poll = shared.poll(Side::Write, eagerness, context, |core| {
            if let Ok(Some(result)) = receiver.try_recv() {
                return Some(Ok(result));
            }
            if let Some(error) = core.enter() {
                return Some(Err(error));
            }
            if !core.is_seeking(&mut stale) {
                wakes.and(core.stop_reading(chunk));
                core.settle = true;
            }
            None
        });
        wakes.wake();
        poll
    }

    fn ask(&mut self, call: Call<T>) {
        if self.shared.is_forked() {
            return;
        }
        self.restore();
        let stale = self.shared.lock().call.replace(call);
        debug_assert!(stale.is_none(), "one call at a time");
    }
}

/// Takes a closure back that has not begun.
struct Calling<'a, T: Send + 'static> {
    handle: &'a mut Unblock<T>,
}

impl<T: Send + 'static> Drop for Calling<'_, T> {
    fn drop(&mut self) {
        if self.handle.shared.is_forked() {
            return;
        }
        let call = self.handle.shared.lock().call.take();
        drop(call);
    }
}
