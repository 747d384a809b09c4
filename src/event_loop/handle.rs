//! The handle through which a program gives work to its loop, and the state behind it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem::take;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::deadlines::DeadlineHeap;
use super::entry::{LoopCallback, LoopEntry, LoopEvent, LoopMailbox, LoopWaker};
use super::mailbox::{Event, Mailbox, NotifyFn, TurnEnd};
use super::slots::{Key, Slots};
use super::waker::EntryWaker;
use crate::panic::catch_panic;
use crate::pool::Pool;

/// A handle to an [`EventLoop`](crate::EventLoop), on the loop's own thread: each callback gets
/// one, and the loop derefs to one. Use it to give the loop more work.
///
/// A handle is cheap to clone, and a callback, a local future or a widget may keep one. It stays on
/// the loop's thread; [`remote`](Handle::remote) is for other threads. A handle that outlives the
/// loop is inert: it drops callbacks and futures at once, unrun, and starts no action.
#[derive(Clone)]
pub struct Handle {
    inner: Rc<LoopInner>,
}

/// A loop, on its own thread. No cell is borrowed while user code can run.
struct LoopInner {
    pool: Pool,
    mailbox: RefCell<Arc<LoopMailbox>>,
    notify: RefCell<Option<NotifyFn>>,
    slots: RefCell<Slots<LoopEntry>>,
    deadlines: RefCell<DeadlineHeap>,
    /// What has been taken out of the mailbox to be run.
    round: RefCell<VecDeque<LoopEvent>>,
    /// The next timer that the host loop knows of.
    reported: Cell<Option<Instant>>,
    in_turn: Cell<bool>,
    closed: Cell<bool>,
}

impl Handle {
    pub(super) fn new(pool: Pool) -> Self {
        let inner = LoopInner {
            pool,
            mailbox: RefCell::new(Mailbox::new(None, false)),
            notify: RefCell::default(),
            slots: RefCell::new(Slots::new()),
            deadlines: RefCell::default(),
            round: RefCell::default(),
            reported: Cell::new(None),
            in_turn: Cell::new(false),
            closed: Cell::new(false),
        };
        Handle { inner: Rc::new(inner) }
    }

    /// Runs `callback` in the next turn, after everything that is ready already.
    ///
    /// Use it to split a long computation: a piece that posts the next one lets other callbacks run
    /// in between. A chain of callbacks of any length takes no stack.
    pub fn post(&self, callback: impl FnOnce(&Handle) + 'static) {
        if self.is_closed() {
            return;
        }
        let mailbox = self.mailbox();
        let key = self.inner.slots.borrow_mut().insert(LoopEntry::Post(Box::new(callback)));
        mailbox.push(key);
    }

    /// Runs `future` on this thread, beside the callbacks. The loop polls it in its turns, never
    /// inside of this call, and it need not be `Send`.
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
        let (key, waker) = self.reserve();
        self.put(key, LoopEntry::Future(Box::pin(future), Arc::clone(&waker)));
        waker.schedule();
    }

    /// The pool on which the loop runs its actions.
    #[must_use = "it only returns the pool"]
    pub fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    /// Whether the loop has been dropped, so that this handle is inert.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.closed.get()
    }

    /// A slot for an entry, and its waker.
    pub(super) fn reserve(&self) -> (Key, Arc<LoopWaker>) {
        let mailbox = self.mailbox();
        let key = self.inner.slots.borrow_mut().reserve();
        (key, EntryWaker::new(mailbox, key))
    }

    /// Puts an entry into its slot.
    pub(super) fn put(&self, key: Key, mut entry: LoopEntry) {
        let rescheduled = entry.waker().and_then(|waker| self.renew_waker(key, waker));
        let rejected = self.inner.slots.borrow_mut().put(key, entry);
        if let Some(entry) = rejected {
            entry.discard();
        } else if let Some(waker) = rescheduled {
            waker.schedule();
        }
    }

    /// Replaces a waker that a fork has made useless; the caller has to schedule the new one.
    fn renew_waker(&self, key: Key, waker: &mut Arc<LoopWaker>) -> Option<Arc<LoopWaker>> {
        if !waker.is_forked() {
            return None;
        }
        *waker = EntryWaker::new(self.mailbox(), key);
        Some(Arc::clone(waker))
    }

    /// Takes an entry out to be run, and keeps its slot reserved.
    pub(super) fn take(&self, key: Key) -> Option<LoopEntry> {
        self.inner.slots.borrow_mut().take(key)
    }

    /// Frees the slot of an entry.
    pub(super) fn remove(&self, key: Key) -> Option<LoopEntry> {
        self.inner.slots.borrow_mut().remove(key)
    }

    /// Whether the entry is outstanding.
    pub(super) fn holds(&self, key: Key) -> bool {
        self.inner.slots.borrow().holds(key)
    }

    /// Calls `f`, which is no user code, with an entry that is in its slot.
    pub(super) fn with_entry<R>(&self, key: Key, f: impl FnOnce(&mut LoopEntry) -> R) -> Option<R> {
        self.inner.slots.borrow_mut().get(key).map(f)
    }

    /// Inserts a callback that waits for `deadline`; without one, for ever.
    pub(super) fn insert_timer(&self, callback: LoopCallback, deadline: Option<Instant>) -> Key {
        let key = self.inner.slots.borrow_mut().insert(LoopEntry::Timer(callback));
        if let Some(deadline) = deadline {
            self.inner.deadlines.borrow_mut().add(deadline, key);
            if self.inner.reported.get().is_none_or(|reported| deadline < reported) {
                self.mailbox().request_turn();
            }
        }
        key
    }

    /// Removes a timer. Returns its entry, for the caller to drop.
    #[must_use]
    pub(super) fn remove_timer(&self, key: Key) -> Option<LoopEntry> {
        let entry = self.inner.slots.borrow_mut().remove(key);
        self.inner.deadlines.borrow_mut().sweep(&self.inner.slots.borrow());
        entry
    }

    /// The loop's mailbox; in a forked child a new one.
    pub(super) fn mailbox(&self) -> Arc<LoopMailbox> {
        let mailbox = Arc::clone(&self.inner.mailbox.borrow());
        if mailbox.is_forked() && !self.is_closed() { self.start_afresh() } else { mailbox }
    }

    /// Makes another mailbox, in a forked child, and schedules all entries except timers, since no
    /// wake-up of them will come.
    #[cold]
    fn start_afresh(&self) -> Arc<LoopMailbox> {
        let new = Mailbox::new(self.inner.notify.borrow().clone(), self.inner.in_turn.get());
        self.inner.mailbox.replace(Arc::clone(&new));
        let keys = self.inner.slots.borrow().keys();
        for key in keys {
            self.schedule_afresh(&new, key);
        }
        new
    }

    fn schedule_afresh(&self, mailbox: &Arc<LoopMailbox>, key: Key) {
        let renew = |entry: &mut LoopEntry| {
            let waker = entry.waker().map(|waker| {
                *waker = EntryWaker::new(Arc::clone(mailbox), key);
                Arc::clone(waker)
            });
            (matches!(entry, LoopEntry::Timer(_)), waker)
        };
        match self.with_entry(key, renew) {
            Some((_, Some(waker))) => waker.schedule(),
            Some((false, None)) => mailbox.push(key),
            Some((true, None)) | None => {}
        }
    }

    pub(super) fn set_notify(&self, notify: NotifyFn) {
        let before = self.inner.notify.replace(Some(Arc::clone(&notify)));
        self.mailbox().set_notify(notify);
        drop(before);
    }

    /// Whether nothing is outstanding.
    pub(super) fn is_done(&self) -> bool {
        !self.has_outstanding() && self.mailbox().posted() == 0
    }

    fn has_outstanding(&self) -> bool {
        let is_posted = |event: &LoopEvent| matches!(event, Event::Posted(_));
        self.inner.slots.borrow().len() > 0 || self.inner.round.borrow().iter().any(is_posted)
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.inner.deadlines.borrow_mut().next(&self.inner.slots.borrow())
    }

    /// The loop's thread begins a turn.
    pub(super) fn enter(&self) {
        self.inner.in_turn.set(true);
        self.mailbox().enter();
    }

    /// The loop's thread ends a turn. `reports` says whether the host loop learns of the next
    /// timer.
    pub(super) fn leave(&self, reports: bool) -> TurnEnd {
        self.inner.in_turn.set(false);
        let next = self.next_timer();
        self.inner.reported.set(next.filter(|_| reports));
        TurnEnd {
            outstanding: self.has_outstanding(),
            unfinished: self.has_round(),
            unreported_timer: next.is_some() && !reports,
        }
    }

    /// Appends to the round what is ready, timers that are due included.
    pub(super) fn collect(&self, mailbox: &LoopMailbox) {
        let mut round = self.inner.round.borrow_mut();
        mailbox.take(&mut round);
        let due = |key| round.push_back(Event::Ready(key));
        self.inner.deadlines.borrow_mut().expire(&self.inner.slots.borrow(), due);
    }

    pub(super) fn has_round(&self) -> bool {
        !self.inner.round.borrow().is_empty()
    }

    /// The next event of the round.
    pub(super) fn next_event(&self) -> Option<LoopEvent> {
        self.inner.round.borrow_mut().pop_front()
    }

    /// Ends the loop: drops all that it has, here. Panics of destructors are reported.
    pub(super) fn close(&self) {
        self.inner.closed.set(true);
        let mailbox = Arc::clone(&self.inner.mailbox.borrow());
        let (queue, last_notify) = mailbox.close();
        self.inner.deadlines.borrow_mut().clear();
        let round = take(&mut *self.inner.round.borrow_mut());
        for event in round.into_iter().chain(queue) {
            catch_panic("the destructor of a posted closure that did not run", || drop(event));
        }
        let entries = self.inner.slots.borrow_mut().drain();
        entries.into_iter().for_each(LoopEntry::discard);
        let notify = self.inner.notify.take();
        catch_panic("the destructor of a notify function", || drop((notify, last_notify)));
    }
}

// User code runs while nothing of the loop is half changed, so a panic in it leaves nothing broken.
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
