//! Running a closure with the value of an `Unblock`.

use std::future::poll_fn;
use std::io;

use super::handle::Unblock;
use super::step::Call;
use crate::sync::oneshot;

impl<T: Send + 'static> Unblock<T> {
    /// Runs `f` with the value on the pool, once it is at rest as for [`get_mut`](Unblock::get_mut).
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
    /// # sidestep::current::block_on(async {
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
        let (sender, receiver) = oneshot::channel();
        let calling = Calling { handle: self };
        calling.handle.ask(Box::new(move |value| {
            // Whoever asked has gone if it cannot be sent.
            drop(sender.send(f(value)));
        }));
        poll_fn(|context| calling.handle.poll_settled(context)).await?;
        // It has been sent, or never will be.
        receiver.await.map_err(|_| io::Error::other("the closure did not run"))
    }

    fn ask(&mut self, call: Call<T>) {
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
