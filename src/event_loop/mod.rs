//! A loop for programs with one thread and no runtime: actions go to the pool, callbacks come back
//! to the loop.
//!
//! [`EventLoop`] is the loop, [`Handle`] what callbacks get of it, [`Remote`] the way to it from
//! other threads.
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
// | `handle` | what a program gives to its loop, and the state behind it |
// | `slots` | where what is outstanding lies; keys |
// | `action`, `timers` | tasks with a callback; callbacks with a time; the tokens of both |
// | `mailbox` | the line of what is ready, and who is woken for it |
// | `signal` | the wakers that put entries into that line |
// | `turn` | waiting for what is ready, and running it |
// | `remote` | the way in from other threads |
//
// # The protocol
//
// What is outstanding lies in slots on the loop's thread and need not be `Send`. Other threads see
// only the mailbox: under one lock a queue of keys (and of closures that a `Remote` posted) and a
// posture, which says where the loop's thread is.
//
//     AWAKE ----- lie down: the queue is empty ----> ASLEEP      a push makes it AWAKE and unparks
//       |  <---- a push, or the deadline -------------'
//       |
//       '-- leave --> AWAY --- a push, or an earlier timer ---> TOLD      the push calls `notify`
//       ^               '------------- enter -------------------'|
//       '--------------------------------------------------------'
//
// **Nothing is left lying.** In each posture somebody will look into the queue:
//
// - AWAKE: the loop's thread itself. It becomes ASLEEP, or leaves, only in a section of the lock
//   that looks at the queue.
// - ASLEEP: the queue is empty. It was when the posture was taken, under the lock; and the first
//   push since has changed the posture in the same section in which it filled the queue.
// - AWAY: the queue is empty and so is the round, or else leaving would have made it TOLD at once;
//   and a push changes the posture, as above. (Keys of what has ended may lie in the queue of a
//   loop that is done; nobody needs to run those.)
// - TOLD: whoever made it so calls `notify`, after the lock, and the driver of the loop owes it a
//   turn.
// - CLOSED: nothing gets in.
//
// A pusher that made ASLEEP into AWAKE has yet to unpark. That cannot be lost: the parker keeps the
// token. It can be late: when the deadline has ended the sleep meanwhile, the token meets a later
// sleep. That sleep finds its posture unchanged and goes on. So the token of its own pusher is
// never mistaken for it, and if both come together the posture has changed.
//
// **One wake per change.** Whoever wakes has changed ASLEEP to AWAKE or AWAY to TOLD under the
// lock; nobody does so again before the loop's thread has been in the lock itself. While the loop
// is awake the posture is AWAKE, which wakes nobody.
//
// **Once each.** A key is in the queue at most once between two polls: the signal's flag is set by
// whoever pushes it and cleared before the poll. A wake that finds it set comes before the
// clearing, so the poll sees what the wake was for: both are changes of one atomic. A callback
// leaves its slot before it runs, and keys are never used again, so a second event for it finds
// nothing.
//
// **Order.** The queue is one, and each push is one section of its lock. A completion pushes from
// the task's waker, on the thread that ended it. An action that had ended when it was registered is
// pushed there and then.
//
// **No foreign code under a lock or a borrow.** Entries are moved out of their slots to be run,
// cancelled or dropped; what a push has to wake comes out of the lock as a value (`Wake`).
//
// **Fork.** In the child the old mailbox may be locked for ever, or half changed. Everybody
// compares generations first: wakers do nothing, a `Remote` hands back. The loop leaks it, makes
// another one and schedules all entries but timers: polled in the child, tasks say that there is no
// thread.

mod action;
mod handle;
mod mailbox;
mod remote;
mod signal;
mod slots;
mod timers;
mod turn;

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

pub use self::action::Offload;
pub use self::handle::Handle;
pub use self::remote::{Closed, Remote};
pub use self::timers::Timer;
pub use self::turn::Turn;

use self::turn::{Root, Visit};
use crate::pool::Pool;

/// A loop for one thread: long actions run on a pool, their callbacks on this thread, one after
/// another.
///
/// For programs without an async runtime, or with an event loop of their own: a window, a game, a
/// poll loop. What the loop can do is in [`Handle`], which it derefs to. Callbacks and local
/// futures stay on the thread, so they need not be `Send` and may share state through `Rc` and
/// `RefCell`.
///
/// - **Order.** There is one line for all that becomes ready: results in the order in which their
///   actions concluded, posted closures in the order of posting. Timers join it at the start of a
///   turn.
/// - **Never at once.** No callback runs inside of the call that registered it, and each runs
///   exactly once, or is dropped unrun with the loop.
/// - **Panics** of a callback or local future come out of [`run`](EventLoop::run),
///   [`turn`](EventLoop::turn) or [`run_until`](EventLoop::run_until). Nothing else is lost: call
///   it again to go on.
/// - **Blocking** in a callback holds up all others.
///
/// Dropping the loop cancels what is outstanding: actions as [dropped
/// tasks](crate::Task#cancellation) are, and callbacks, futures and posted closures are dropped
/// unrun, on this thread. What they hold of the loop is no obstacle, though it is a circle: a local
/// future that keeps a [`Handle`] is dropped like the others.
///
/// # Inside another loop
///
/// [`turn`](EventLoop::turn) does what can be done without waiting, and
/// [`notify`](EventLoop::notify) takes a function that makes the other loop call it again. The
/// example `event_loop` does so in a channel loop, in a poll loop and in tokio.
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
pub struct EventLoop {
    handle: Handle,
}

impl EventLoop {
    /// A loop whose actions run on the [global pool](Pool::global).
    #[must_use]
    pub fn new() -> Self {
        EventLoop::on(Pool::global())
    }

    /// A loop whose actions run on `pool`. It keeps the pool alive, and so does each of its
    /// [`Handle`]s and tokens.
    #[must_use]
    pub fn on(pool: &Pool) -> Self {
        EventLoop { handle: Handle::new(pool.clone()) }
    }

    /// Has `f` called, by whichever thread, when there is a reason for a [`turn`](EventLoop::turn):
    /// for a loop that is driven by another one.
    ///
    /// It is called when something becomes ready outside of a turn, at the end of a turn that
    /// leaves something ready behind, and when [`after`](Handle::after) sets a timer earlier than
    /// the one last reported: each time once, until the next turn begins. During a turn it is not
    /// called. Also the loop's own thread calls it, such as where a click handler posts. So a
    /// driver that does nothing but call `turn(Duration::ZERO)` each time, and when
    /// [`Turn::next_timer`] is due, misses nothing. After a turn that ended in a panic, and after
    /// [`run_until`](EventLoop::run_until), it is also called if there are timers, since those have
    /// not been reported.
    ///
    /// It should do no more than leave a message. A panic in it is caught and traced. A second
    /// function takes the place of the first; either is called at once if there is a reason
    /// already. In the child of a `fork` nothing can call it until the loop is used there: begin
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
    #[must_use]
    pub fn notify(self, f: impl Fn() + Send + Sync + 'static) -> Self {
        self.handle.set_notify(Arc::new(f));
        self
    }

    /// Turns until nothing is outstanding: no callback, no local future, no timer, and nothing that
    /// a [`Remote`] has posted. Afterwards the loop can be given more and run again.
    ///
    /// On a pool's thread it counts as blocking while it sleeps. It does not run queued tasks in
    /// place: on the only thread of a pool it waits for ever for an action of that pool.
    ///
    /// # Panics
    ///
    /// Resumes the panic of a callback or local future. The next call goes on with what comes after
    /// it.
    pub fn run(&mut self) {
        let _visit = Visit::new(&self.handle);
        while !self.handle.is_done() {
            self.handle.gather(Duration::MAX);
            self.handle.run_round();
        }
    }

    /// Drives the loop until `future` is ready. It is polled here and nowhere else, so it may
    /// borrow. What else is outstanding then stays so, for the next call.
    ///
    /// # Panics
    ///
    /// Resumes the panic of a callback, a local future or `future` itself.
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
        let _visit = Visit::new(&self.handle);
        let root = Root::new(&self.handle);
        loop {
            if let Poll::Ready(output) = root.poll(future.as_mut()) {
                return output;
            }
            self.handle.run_to_root();
        }
    }

    /// One turn: runs what is ready, once; what that registers comes in the next one. Where nothing
    /// is ready it first sleeps until something is, until the next timer, or for `timeout`:
    /// [`Duration::ZERO`] does not sleep, [`Duration::MAX`] is no limit.
    ///
    /// # Panics
    ///
    /// Resumes the panic of a callback or local future. The rest of the round comes in the next
    /// turn.
    pub fn turn(&mut self, timeout: Duration) -> Turn {
        let visit = Visit::new(&self.handle);
        self.handle.gather(timeout);
        let ran = self.handle.run_round();
        visit.report(ran)
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
