//! What a program gives to its loop: the handle, and the state behind it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem::{forget, take};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use super::action::{Action, Call, Offload, give_up};
use super::mailbox::{Baggage, Event, Mailbox, Notify};
use super::remote::Remote;
use super::signal::Signal;
use super::slots::{Entry, Key, Slots};
use super::timers::{Timer, Timers};
use crate::error::TaskError;
use crate::panic::catch_panic;
use crate::pool::Pool;
use crate::sync::now;
use crate::task::Task;

/// What callbacks get, and what an [`EventLoop`](crate::EventLoop) derefs to: a handle through
/// which the program gives work to the loop that it is running on.
///
/// It is cheap to clone, and a callback, a local future or a widget may keep one. It stays on the
/// loop's thread; for others there is [`remote`](Handle::remote). A handle that outlives the loop
/// is inert: what is given to it is dropped at once, unrun, and no action starts.
#[derive(Clone)]
pub struct Handle {
    pub(super) inner: Rc<Inner>,
}

/// A loop, on its own thread. What is in the cells is borrowed only while no foreign code can run.
pub(super) struct Inner {
    pool: Pool,
    mailbox: RefCell<Arc<Mailbox>>,
    notify: RefCell<Option<Notify>>,
    pub(super) slots: RefCell<Slots>,
    timers: RefCell<Timers>,
    /// What has been taken out of the mailbox to be run.
    pub(super) round: RefCell<VecDeque<Event>>,
    /// The next timer that the driver of the loop knows of.
    reported: Cell<Option<Instant>>,
    inside: Cell<bool>,
    closed: Cell<bool>,
}

impl Handle {
    pub(super) fn new(pool: Pool) -> Self {
        let inner = Inner {
            pool,
            mailbox: RefCell::new(Mailbox::new(None, false)),
            notify: RefCell::default(),
            slots: RefCell::default(),
            timers: RefCell::default(),
            round: RefCell::default(),
            reported: Cell::new(None),
            inside: Cell::new(false),
            closed: Cell::new(false),
        };
        Handle { inner: Rc::new(inner) }
    }

    /// Runs `op` on the pool, then `callback` with its result, here. Neither runs inside of this
    /// call.
    ///
    /// # Errors
    ///
    /// None here: the callback gets the [`TaskError`] where `op` panicked, was cancelled, or could
    /// not be run.
    ///
    /// # Cancellation
    ///
    /// By [`Offload::cancel`]; dropping the token does nothing. Dropping the loop cancels the
    /// action and drops the callback.
    ///
    /// ```
    /// use sidestep::EventLoop;
    ///
    /// let mut ev = EventLoop::new();
    /// ev.offload(|| std::fs::read_to_string("Cargo.toml"), |ev, text| {
    ///     let lines = text.unwrap().unwrap().lines().count();
    ///     ev.offload(move || lines * 2, |_, twice| assert!(twice.unwrap() > 0));
    /// });
    /// ev.run();
    /// ```
    #[track_caller]
    pub fn offload<T, O, C>(&self, op: O, callback: C) -> Offload
    where
        O: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
        C: FnOnce(&Handle, Result<T, TaskError>) + 'static,
    {
        if self.is_closed() {
            return Offload::new(self.clone(), Key::NONE);
        }
        self.on_complete(self.inner.pool.spawn(op), callback)
    }

    /// [`offload`](Handle::offload) for a task that exists already: of a [`Lane`](crate::Lane), of
    /// another pool, with options. The loop is its handle from here on.
    ///
    /// # Panics
    ///
    /// If the task has given its result already.
    ///
    /// ```
    /// let pool = sidestep::Pool::new()?;
    /// let database = pool.lane("database", 1);
    /// let mut ev = sidestep::EventLoop::on(&pool);
    /// ev.on_complete(database.spawn(|| 6 * 7), |_, row| assert_eq!(row.unwrap(), 42));
    /// ev.run();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_complete<T, C>(&self, task: Task<T>, callback: C) -> Offload
    where
        T: 'static,
        C: FnOnce(&Handle, Result<T, TaskError>) + 'static,
    {
        if self.is_closed() {
            return Offload::new(self.clone(), Key::NONE);
        }
        let mut action = Call::new(task, callback);
        let (key, signal) = self.reserve();
        // Polled here, so that its place in the line is the one in which it ends.
        let has_ended = action.poll(&mut Context::from_waker(&signal.waker())).is_ready();
        self.put(key, Entry::Action(Box::new(action), Arc::clone(&signal)));
        if has_ended {
            signal.schedule();
        }
        Offload::new(self.clone(), key)
    }

    /// Has `callback` run in the next turn, after all that has become ready before.
    ///
    /// A long computation that posts its next piece lets others go first. Any number may follow
    /// each other: they need no stack.
    pub fn post(&self, callback: impl FnOnce(&Handle) + 'static) {
        if self.is_closed() {
            return;
        }
        let mailbox = self.mailbox();
        let key = self.inner.slots.borrow_mut().insert(Entry::Post(Box::new(callback)));
        mailbox.push(key);
    }

    /// Has `callback` run once `delay` has passed. Any duration is legal: a timer of
    /// [`Duration::MAX`] never comes due, though it is outstanding like any other.
    ///
    /// A timer becomes ready at the start of the first turn after its time. Timers run in the order
    /// of their deadlines, and those with the same in the order of registration.
    pub fn after(&self, delay: Duration, callback: impl FnOnce(&Handle) + 'static) -> Timer {
        if self.is_closed() {
            return Timer::new(self.clone(), Key::NONE);
        }
        let deadline = now().checked_add(delay);
        let key = self.inner.slots.borrow_mut().insert(Entry::Timer(Box::new(callback)));
        if let Some(deadline) = deadline {
            self.inner.timers.borrow_mut().add(deadline, key);
            if self.inner.reported.get().is_none_or(|reported| deadline < reported) {
                self.mailbox().tell();
            }
        }
        Timer::new(self.clone(), key)
    }

    /// Runs `future` on this thread, beside the callbacks. It is polled in turns, never inside of
    /// this call, and it need not be `Send`.
    ///
    /// ```
    /// let mut ev = sidestep::EventLoop::new();
    /// ev.spawn_local(async {
    ///     let lines = sidestep::unblock(|| std::fs::read_to_string("Cargo.toml")).await.unwrap();
    ///     assert!(lines.contains("sidestep"));
    /// });
    /// ev.run();
    /// ```
    pub fn spawn_local(&self, future: impl Future<Output = ()> + 'static) {
        if self.is_closed() {
            return;
        }
        let (key, signal) = self.reserve();
        self.put(key, Entry::Future(Box::pin(future), Arc::clone(&signal)));
        signal.schedule();
    }

    /// A way to post to the loop from other threads.
    #[must_use]
    pub fn remote(&self) -> Remote {
        Remote::new(self.mailbox())
    }

    /// The pool that actions run on.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    /// Whether the loop has been dropped, so that this handle is inert.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.closed.get()
    }

    /// A place for an entry, and its waker.
    pub(super) fn reserve(&self) -> (Key, Arc<Signal>) {
        let mailbox = self.mailbox();
        let key = self.inner.slots.borrow_mut().reserve();
        (key, Signal::new(mailbox, key))
    }

    /// Puts an entry into its place.
    pub(super) fn put(&self, key: Key, mut entry: Entry) {
        let late = entry.signal().and_then(|signal| self.renew_signal(key, signal));
        let orphan = self.inner.slots.borrow_mut().put(key, entry);
        if let Some(entry) = orphan {
            entry.discard();
        } else if let Some(signal) = late {
            signal.schedule();
        }
    }

    /// Replaces a signal that a fork has made useless; the new one is to be scheduled.
    fn renew_signal(&self, key: Key, signal: &mut Arc<Signal>) -> Option<Arc<Signal>> {
        if !signal.is_forked() {
            return None;
        }
        *signal = Signal::new(self.mailbox(), key);
        Some(Arc::clone(signal))
    }

    pub(super) fn holds(&self, key: Key) -> bool {
        self.inner.slots.borrow().holds(key)
    }

    pub(super) fn cancel_action(&self, key: Key) {
        // In a forked child this renews the signals.
        drop(self.mailbox());
        let mut slots = self.inner.slots.borrow_mut();
        let Some(Entry::Action(action, signal)) = slots.get(key) else { return };
        let (remains, signal) = (action.cancel(), Arc::clone(signal));
        drop(slots);
        signal.schedule();
        // The destructor of a result, and the hooks of a task, may do anything here, such as drive
        // the loop: by now the callback is in the line.
        give_up(remains);
    }

    pub(super) fn cancel_timer(&self, key: Key) {
        let callback = self.inner.slots.borrow_mut().remove(key);
        self.inner.timers.borrow_mut().sweep(&self.inner.slots.borrow());
        drop(callback);
    }

    /// The loop's mailbox; in a forked child a new one.
    pub(super) fn mailbox(&self) -> Arc<Mailbox> {
        let mailbox = Arc::clone(&self.inner.mailbox.borrow());
        if mailbox.is_forked() && !self.is_closed() { self.start_afresh(&mailbox) } else { mailbox }
    }

    /// Makes another mailbox, in a forked child, and schedules everything: whatever comes of it, it
    /// will not be told.
    #[cold]
    fn start_afresh(&self, old: &Arc<Mailbox>) -> Arc<Mailbox> {
        // What is in it may have been in the midst of a change, so it cannot even be dropped.
        forget(Arc::clone(old));
        let new = Mailbox::new(self.inner.notify.borrow().clone(), self.inner.inside.get());
        self.inner.mailbox.replace(Arc::clone(&new));
        let keys = self.inner.slots.borrow().keys();
        for key in keys {
            self.schedule_afresh(&new, key);
        }
        new
    }

    fn schedule_afresh(&self, mailbox: &Arc<Mailbox>, key: Key) {
        let mut slots = self.inner.slots.borrow_mut();
        let Some(entry) = slots.get(key) else { return };
        let is_timer = matches!(entry, Entry::Timer(_));
        let signal = entry.signal().map(|signal| {
            let new = Signal::new(Arc::clone(mailbox), key);
            *signal = Arc::clone(&new);
            new
        });
        drop(slots);
        match signal {
            Some(signal) => signal.schedule(),
            None if is_timer => {}
            None => mailbox.push(key),
        }
    }

    pub(super) fn set_notify(&self, notify: Notify) {
        let before = self.inner.notify.replace(Some(Arc::clone(&notify)));
        self.mailbox().set_notify(notify);
        drop(before);
    }

    /// Whether nothing is outstanding.
    pub(super) fn is_done(&self) -> bool {
        !self.has_outstanding() && self.mailbox().posted() == 0
    }

    fn has_outstanding(&self) -> bool {
        let is_posted = |event: &Event| matches!(event, Event::Posted(_));
        self.inner.slots.borrow().len() > 0 || self.inner.round.borrow().iter().any(is_posted)
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.inner.timers.borrow_mut().next(&self.inner.slots.borrow())
    }

    /// The loop's thread begins a turn.
    pub(super) fn enter(&self) {
        self.inner.inside.set(true);
        self.mailbox().enter();
    }

    /// Where the loop stands at the end of a turn; `reports` says whether its driver will be told
    /// of the next timer.
    pub(super) fn baggage(&self, reports: bool) -> Baggage {
        let next = self.next_timer();
        self.inner.reported.set(next.filter(|_| reports));
        Baggage {
            outstanding: self.has_outstanding(),
            unfinished: !self.inner.round.borrow().is_empty(),
            untold_timer: next.is_some() && !reports,
        }
    }

    /// The loop's thread has ended a turn.
    pub(super) fn left(&self) {
        self.inner.inside.set(false);
    }

    /// Appends to the round what is ready; a timer is, once its time has come.
    pub(super) fn collect(&self, mailbox: &Mailbox) {
        let mut round = self.inner.round.borrow_mut();
        mailbox.take(&mut round);
        self.inner.timers.borrow_mut().expire(&self.inner.slots.borrow(), &mut round);
    }

    /// Ends the loop: all that it has is dropped, here, whatever the destructors do.
    pub(super) fn close(&self) {
        self.inner.closed.set(true);
        let mailbox = Arc::clone(&self.inner.mailbox.borrow());
        let (queue, last) = if mailbox.is_forked() {
            forget(mailbox);
            (VecDeque::new(), None)
        } else {
            mailbox.close()
        };
        self.inner.timers.borrow_mut().clear();
        let round = take(&mut *self.inner.round.borrow_mut());
        for event in round.into_iter().chain(queue) {
            catch_panic("the destructor of a posted closure that did not run", || drop(event));
        }
        let entries = self.inner.slots.borrow_mut().drain();
        entries.into_iter().for_each(Entry::discard);
        let notify = self.inner.notify.take();
        catch_panic("the destructor of a notify function", || drop((notify, last)));
    }
}

// Foreign code runs while nothing of the loop is half changed, so a panic in it leaves nothing
// broken.
impl UnwindSafe for Handle {}
impl RefUnwindSafe for Handle {}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("outstanding", &self.inner.slots.borrow().len())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
