//! An event loop for programs with one thread and no runtime: a pool runs the long actions, and the
//! loop runs their callbacks on its own thread.
//!
//! This module needs the feature `event-loop`, which is a default one.
//!
//! [`EventLoop`] is the loop. [`Handle`] is what a callback gets, to give the loop more work.
//! [`Remote`] posts closures to the loop from other threads, and [`ChannelSender`] sends messages
//! to one callback.
//!
//! ```
//! use sidestep::EventLoop;
//!
//! let mut ev = EventLoop::new();
//! ev.offload(
//!     || std::fs::read_to_string("Cargo.toml"),
//!     |_ev, text| assert!(text.unwrap().unwrap().contains("sidestep")),
//! );
//! ev.run();
//! ```

// | file | owns |
// |---|---|
// | `mod` | the loop |
// | `handle` | the handle through which a program gives work to its loop, and the state behind it |
// | `offload`, `timer`, `remote`, `channel` | the public tokens, and the methods of the handle that make them |
// | `turn` | waiting for what is ready, and running it |
// | `entry` | what is outstanding: callbacks, local futures, tasks with a callback |
// | `slots`, `deadlines` | where entries lie on the loop's thread, by key; when timers are due |
// | `mailbox`, `waker` | the queue of what is ready, with its protocol; the wakers that push to it |
//
// The files of the last two rows do not know what an entry or a posted closure is, so the models
// run them without a handle.

mod channel;
mod deadlines;
mod entry;
mod handle;
mod mailbox;
mod offload;
mod remote;
mod slots;
mod timer;
mod turn;
mod waker;

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

pub use self::channel::ChannelSender;
pub use self::handle::Handle;
pub use self::offload::Offload;
pub use self::remote::{Closed, Remote};
pub use self::timer::Timer;
pub use self::turn::Turn;

use self::turn::{Root, TurnGuard};
use crate::pool::Pool;

/// An event loop for one thread: a pool runs the long actions, and this thread runs their
/// callbacks, one after another.
///
/// Use it in a program without an async runtime, or with an event loop of its own: a window, a
/// game, a poll loop. The methods that give the loop work are those of [`Handle`], which the loop
/// derefs to. Callbacks and local futures stay on the thread, so they need not be `Send` and may
/// share state through `Rc` and `RefCell`.
///
/// - **Order.** The loop has one queue of what is ready: results in the order in which their
///   actions ended, posted closures in the order of posting. Timers that are due join the queue at
///   the start of a turn.
/// - **Never at once.** No callback runs inside of the call that registered it. Each callback runs
///   exactly once, or is dropped unrun with the loop.
/// - **Panics** of a callback or local future come out of [`run`](EventLoop::run),
///   [`turn`](EventLoop::turn) or [`run_until`](EventLoop::run_until). Nothing else is lost: call
///   the method again to go on.
/// - **Blocking** in a callback delays all others.
///
/// Dropping the loop cancels what is outstanding: it cancels actions as [dropped
/// tasks](crate::Task#cancellation), and drops callbacks, futures and posted closures unrun, on
/// this thread. That includes a local future that keeps a [`Handle`], although the two form a
/// circle of references.
///
/// # Inside another loop
///
/// The other loop, the host loop, calls [`turn`](EventLoop::turn), which does what can be done
/// without waiting; and [`notify`](EventLoop::notify) takes a function that makes the host loop
/// call `turn` again. The example `event_loop` does so in a channel loop, in a poll loop and in
/// tokio.
///
/// ```
/// use std::{cell::RefCell, rc::Rc, time::Duration};
/// use sidestep::EventLoop;
///
/// let mut ev = EventLoop::new();
/// let log = Rc::new(RefCell::new(Vec::new()));
/// let (slow, timer) = (Rc::clone(&log), Rc::clone(&log));
/// ev.offload(|| 6 * 7, move |_, answer| slow.borrow_mut().push(answer.unwrap()));
/// ev.after(Duration::from_millis(200), move |_| timer.borrow_mut().push(0));
/// ev.run();
/// assert_eq!(*log.borrow(), [42, 0]);
/// ```
#[must_use = "a loop does nothing until `run`, `run_until` or `turn`"]
pub struct EventLoop {
    handle: Handle,
}

impl EventLoop {
    /// Makes a loop whose actions run on the [global pool](Pool::global).
    pub fn new() -> Self {
        EventLoop::on(Pool::global())
    }

    /// Makes a loop whose actions run on `pool`. The loop keeps the pool alive, and so does each of
    /// its [`Handle`]s and tokens.
    pub fn on(pool: &Pool) -> Self {
        EventLoop { handle: Handle::new(pool.clone()) }
    }

    /// Sets a function that is called when there is a reason for a [`turn`](EventLoop::turn). Use
    /// it where a host loop drives this one.
    ///
    /// The function is called when something becomes ready outside of a turn, at the end of a turn
    /// that leaves something ready behind, and when [`after`](Handle::after) sets a timer earlier
    /// than the one last reported. It is called once for all of these until the next turn begins,
    /// and never during a turn. Any thread may call it, and the loop's own thread does, for example
    /// where a click handler posts. So a host loop that calls `turn(Duration::ZERO)` each time the
    /// function has been called, and when [`Turn::next_timer`] is due, misses nothing. After a turn
    /// that ended in a panic, and after [`run_until`](EventLoop::run_until), the function is also
    /// called if there are timers, since the host loop has no report of those.
    ///
    /// The function should do no more than send a message. A panic in it is caught and traced. A
    /// second function replaces the first one; either is called at once if there is a reason
    /// already. In a forked child the function is not called until the loop is used there: begin
    /// with a turn.
    ///
    /// ```
    /// use std::{sync::mpsc, time::Duration};
    /// use sidestep::EventLoop;
    ///
    /// let (bell, rings) = mpsc::channel();
    /// let mut ev = EventLoop::new().notify(move || bell.send(()).unwrap());
    /// ev.offload(|| 6 * 7, |_, result| assert_eq!(result.unwrap(), 42));
    /// rings.recv()?;
    /// assert!(ev.turn(Duration::ZERO).is_done());
    /// # Ok::<(), mpsc::RecvError>(())
    /// ```
    pub fn notify(self, f: impl Fn() + Send + Sync + 'static) -> Self {
        self.handle.set_notify(Arc::new(f));
        self
    }

    /// Makes turns until nothing is outstanding: no callback, no local future, no timer, and no
    /// closure that a [`Remote`] has posted. Afterwards the loop can get more work and run again.
    ///
    /// On a pool's thread the loop counts as blocking while it waits. It does not run queued tasks
    /// inline: on the only thread of a pool it waits for ever for an action of that pool.
    ///
    /// # Panics
    ///
    /// Resumes the panic of a callback or local future. The next call goes on with what comes after
    /// the one that panicked.
    pub fn run(&mut self) {
        let _turn = TurnGuard::new(&self.handle);
        while !self.handle.is_done() {
            self.handle.gather(Duration::MAX);
            self.handle.run_round();
        }
    }

    /// Makes turns until `future` is ready, and returns its output. The future is polled inside of
    /// this call only, so it may borrow. What else is outstanding then stays so, for the next call.
    ///
    /// # Panics
    ///
    /// Resumes the panic of a callback, of a local future or of `future` itself.
    ///
    /// ```
    /// let mut ev = sidestep::EventLoop::new();
    /// let path = String::from("Cargo.toml");
    /// let length = ev.run_until(async {
    ///     let (path, name) = (path.clone(), &path);
    ///     let text = sidestep::unblock(|| std::fs::read_to_string(path)).await;
    ///     text.map(|text| format!("{name}: {} bytes", text.len()))
    /// });
    /// assert!(length?.starts_with("Cargo.toml: "));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn run_until<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        let _turn = TurnGuard::new(&self.handle);
        let root = Root::new(&self.handle);
        loop {
            if let Poll::Ready(output) = root.poll(future.as_mut()) {
                return output;
            }
            self.handle.run_to_root();
        }
    }

    /// Makes one turn: runs what is ready, once. What that registers runs in a later turn. If
    /// nothing is ready, the turn first waits until something is, until the next timer, or for
    /// `timeout`: [`Duration::ZERO`] does not wait, and [`Duration::MAX`] sets no limit.
    ///
    /// # Panics
    ///
    /// Resumes the panic of a callback or local future. The next turn runs the rest.
    pub fn turn(&mut self, timeout: Duration) -> Turn {
        let turn = TurnGuard::new(&self.handle);
        self.handle.gather(timeout);
        let ran = self.handle.run_round();
        turn.report(ran)
    }
}

impl Default for EventLoop {
    fn default() -> Self {
        EventLoop::new()
    }
}

impl Deref for EventLoop {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        self.handle.close();
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop").field("handle", &self.handle).finish()
    }
}
