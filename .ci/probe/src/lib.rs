//! What the library promises on a system without threads: each call reports that, none traps.

use std::cell::Cell;
use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sidestep::{EventLoop, Pool, TaskError};

/// The number of the first claim that does not hold, from 1 on; 0 if all of them do.
#[unsafe(no_mangle)]
pub extern "C" fn probe() -> u32 {
    let claims: [fn() -> bool; 6] = [
        || Pool::new().is_err_and(|error| is_unsupported(&error)),
        || Pool::builder().core_threads(1).build().is_err_and(|error| is_unsupported(&error)),
        || sidestep::spawn(|| 1).wait().is_err_and(|error| has_no_thread(&error)),
        || Pool::global().scope(|scope| scope.spawn(|| 1).wait().is_err_and(|error| has_no_thread(&error))),
        || now(sidestep::fs::read("no matter what")).is_err_and(|error| is_unsupported(&error)),
        a_loop_goes_on,
    ];
    let broken = claims.iter().position(|claim| !claim());
    broken.map_or(0, |index| u32::try_from(index + 1).unwrap_or(u32::MAX))
}

/// A loop runs what was posted, and reports to the callback that no thread runs its action.
fn a_loop_goes_on() -> bool {
    let mut ev = EventLoop::new();
    let heard = Rc::new(Cell::new((false, false)));
    let (posted, offloaded) = (Rc::clone(&heard), Rc::clone(&heard));
    ev.post(move |_| posted.set((true, posted.get().1)));
    ev.offload(
        || 1,
        move |_, result| offloaded.set((offloaded.get().0, result.is_err_and(|error| has_no_thread(&error)))),
    );
    for _ in 0..10 {
        let _ = ev.turn(Duration::ZERO);
    }
    heard.get() == (true, true)
}

fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

fn has_no_thread(error: &TaskError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    error.is_no_thread() && source.is_some_and(is_unsupported)
}

/// The output of a future that is ready at once.
fn now<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => Err(io::Error::other("it is not ready")),
    }
}
