//! Running a closure with the value of an `Unblock`.

use std::future::poll_fn;
use std::io;

use super::Unblock;
use crate::io::unblock::engine::drive::Client;
use crate::io::unblock::state::request::{CallRequest, Request};
use crate::sync::oneshot;

impl<T: Send + 'static> Unblock<T> {
    /// Runs `f` with the value on the pool, once the value is at rest: what was accepted is written
    /// and flushed, and what was read ahead is discarded, where the value can seek.
    ///
    /// Use it for calls of the value that block; [`get_mut`](Unblock::get_mut) is for those that do
    /// not.
    ///
    /// # Errors
    ///
    /// That of a write or flush, or of moving the value back: `f` has not run then, and the bytes
    /// are kept, as after any failed write. A panic of `f` counts as one of the value, and is an
    /// error too.
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
        // It cannot be sent if the caller has gone.
        let call = Box::new(move |value: &mut T| drop(sender.send(f(value))));
        let request = CallRequest { call: Some(call), number: None };
        let mut calling = Calling { client: &mut self.client, request };
        poll_fn(|context| {
            let Calling { client, request } = &mut calling;
            client.drive(context, &mut Request::Call(request))
        })
        .await?;
        match receiver.try_recv() {
            Ok(Some(result)) => Ok(result),
            _ => unreachable!("the closure has run, and has sent its result"),
        }
    }
}

/// Takes a closure back that has not begun.
struct Calling<'a, T: Send + 'static> {
    client: &'a mut Client<T>,
    request: CallRequest<T>,
}

impl<T: Send + 'static> Drop for Calling<'_, T> {
    fn drop(&mut self) {
        let call = self.client.lock().and_then(|mut machine| machine.withdraw_call());
        drop(call);
    }
}
