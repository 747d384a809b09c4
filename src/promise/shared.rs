//! The state that a promise of an event loop shares with its loop: the chain, or its value.
//!
//! ```text
//!              the loop polls                     the chain has its value
//!   Waiting ---------------------> Polled ------------------------------------> Settled
//!      ^  <-----------------------    |  the owner drops the promise, or joins      |
//!      |        it has to wait        v  its chain to another chain                 |
//!      |                            Taken                                           |
//!      +----------------------------------------------------------------------------+
//!                     the owner adds a step: the loop drives it again
//! ```
//!
//! While there is something to drive, the loop has a local future, the [`Driver`], that shares the
//! state; so a promise is outstanding until it is settled, even if no caller awaits it. All of it
//! is on one thread. No borrow lasts while user code runs, since user code may come back here: a
//! continuation may add a step to its own promise, or drop that promise.
//!
//! A poll by the loop ends after so many steps, and the next poll comes in another turn. So a
//! recursion that never has to wait does not delay the callbacks; and when such a recursion makes
//! and joins promises, the drivers of those promises find nothing left to do and end.
//!
//! A continuation may also return its own promise, which would wait for itself. `POLLED` shows
//! that: a chain whose step is running belongs to the innermost driver, since only drivers poll
//! these chains.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem::replace;
use std::pin::Pin;
use std::ptr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::chain::{Chain, LocalKind, LocalStep, LocalValue};
use crate::event_loop::Handle;
use crate::sync::thread_local_const;
use crate::task::{discard, wake};

/// So many steps of one promise may run before the loop runs something else.
const MOST_STEPS: usize = 128;

// The state whose chain the innermost driver on this thread is polling.
thread_local_const! { static POLLED: Cell<*const ()> = Cell::new(ptr::null()) }

enum ChainState {
    Waiting(Chain<LocalKind>),
    /// The driver has the chain; these steps have been added meanwhile.
    Polled(VecDeque<LocalStep>),
    Settled(LocalValue),
    /// The owner has taken the value or the chain, or has been dropped.
    Taken,
    /// The loop has been dropped with the chain in it, or a panic has ended the chain.
    Abandoned,
}

impl ChainState {
    /// Drops what no caller will see. Panics of destructors are reported.
    fn discard(self) {
        match self {
            ChainState::Waiting(chain) => drop(chain),
            ChainState::Polled(steps) => drop(Chain::<LocalKind>::uncalled(steps)),
            ChainState::Settled(value) => drop(Chain::<LocalKind>::given(value)),
            ChainState::Taken | ChainState::Abandoned => {}
        }
    }
}

struct SharedState {
    chain: ChainState,
    /// Wakes the task that awaits the promise.
    reader: Option<Waker>,
    /// Wakes the driver, while there is one that waits.
    driver: Option<Waker>,
}

impl SharedState {
    fn replace(this: &RefCell<Self>, chain: ChainState) -> ChainState {
        replace(&mut this.borrow_mut().chain, chain)
    }

    /// Takes what can be taken, and wakes the driver, which finds that nothing is left to do.
    fn take(this: &RefCell<Self>) -> ChainState {
        let taken = SharedState::replace(this, ChainState::Taken);
        let driver = this.borrow_mut().driver.take();
        driver.into_iter().for_each(wake);
        taken
    }

    /// Wakes the task that awaits the promise, since the driver has ended.
    fn wake_reader(this: &RefCell<Self>) {
        let reader = this.borrow_mut().reader.take();
        reader.into_iter().for_each(wake);
    }
}

/// The owner's end. Dropping it drops the chain.
pub(super) struct SharedChain {
    ev: Handle,
    /// `None` once the promise is detached or dropped.
    state: Option<Rc<RefCell<SharedState>>>,
}

impl SharedChain {
    /// A chain that the loop drives from now on.
    pub(super) fn new(ev: &Handle, chain: Chain<LocalKind>) -> Self {
        let shared = SharedChain::with(ev, ChainState::Waiting(chain));
        shared.drive();
        shared
    }

    /// A chain that has its value.
    pub(super) fn settled(ev: &Handle, value: LocalValue) -> Self {
        SharedChain::with(ev, ChainState::Settled(value))
    }

    /// The chain of a loop that has been dropped.
    pub(super) fn abandoned(ev: &Handle) -> Self {
        SharedChain::with(ev, ChainState::Abandoned)
    }

    fn with(ev: &Handle, chain: ChainState) -> Self {
        let state = SharedState { chain, reader: None, driver: None };
        SharedChain { ev: ev.clone(), state: Some(Rc::new(RefCell::new(state))) }
    }

    fn state(&self) -> &Rc<RefCell<SharedState>> {
        match &self.state {
            Some(state) => state,
            None => unreachable!("only `detach` and the drop take the state out"),
        }
    }

    fn drive(&self) {
        self.ev.spawn_local(Driver { state: Rc::clone(self.state()), done: false });
    }

    /// The loop that drives the chain.
    pub(super) fn ev(&self) -> &Handle {
        &self.ev
    }

    /// Adds a step.
    pub(super) fn push(&self, step: LocalStep) {
        let mut is_settled = false;
        let mut uncalled = VecDeque::new();
        let next = match SharedState::replace(self.state(), ChainState::Taken) {
            ChainState::Waiting(mut chain) => {
                chain.push(step);
                ChainState::Waiting(chain)
            }
            ChainState::Polled(mut steps) => {
                steps.push_back(step);
                ChainState::Polled(steps)
            }
            ChainState::Settled(value) => {
                let mut chain = Chain::given(value);
                chain.push(step);
                is_settled = true;
                ChainState::Waiting(chain)
            }
            gone @ (ChainState::Taken | ChainState::Abandoned) => {
                uncalled.push_back(step);
                gone
            }
        };
        SharedState::replace(self.state(), next);
        drop(Chain::<LocalKind>::uncalled(uncalled));
        if is_settled {
            self.drive();
        }
    }

    /// The value, once it is there.
    ///
    /// # Panics
    ///
    /// If the value has been taken, the loop has been dropped, or a panic has ended the chain.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<LocalValue> {
        match SharedState::replace(self.state(), ChainState::Taken) {
            ChainState::Settled(value) => return Poll::Ready(value),
            ChainState::Taken => panic!("a sidestep promise was polled after it had given its result"),
            ChainState::Abandoned => {
                panic!("a sidestep promise was lost, to a panic or to the drop of its event loop")
            }
            chain @ (ChainState::Waiting(_) | ChainState::Polled(_)) => {
                SharedState::replace(self.state(), chain);
            }
        }
        let waker = context.waker().clone();
        let before = self.state().borrow_mut().reader.replace(waker);
        before.into_iter().for_each(discard);
        Poll::Pending
    }

    /// Whether the caller is a step of this very chain.
    pub(super) fn is_polled_here(&self) -> bool {
        POLLED.with(Cell::get) == identity(self.state())
    }

    /// The chain, for another one to go on with. If the chain is being polled just now, a chain
    /// that waits for it.
    pub(super) fn into_chain(self) -> Chain<LocalKind> {
        if matches!(self.state().borrow().chain, ChainState::Polled(_)) {
            return Chain::<LocalKind>::pending(Box::pin(Untaken(self)));
        }
        match SharedState::take(self.state()) {
            ChainState::Waiting(chain) => chain,
            ChainState::Settled(value) => Chain::given(value),
            gone @ (ChainState::Polled(_) | ChainState::Taken | ChainState::Abandoned) => {
                SharedState::replace(self.state(), gone);
                Chain::<LocalKind>::pending(Box::pin(Untaken(self)))
            }
        }
    }

    /// Whether the value has been taken.
    pub(super) fn is_taken(&self) -> bool {
        matches!(self.state().borrow().chain, ChainState::Taken)
    }

    /// Leaves the chain to the loop.
    pub(super) fn detach(mut self) {
        self.state = None;
    }
}

impl Drop for SharedChain {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            SharedState::take(&state).discard();
        }
    }
}

impl fmt::Debug for SharedChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state.as_ref().map(|state| state.borrow()) {
            Some(state) => match &state.chain {
                ChainState::Waiting(_) | ChainState::Polled(_) => "pending",
                ChainState::Settled(_) => "settled",
                ChainState::Taken => "taken",
                ChainState::Abandoned => "abandoned",
            },
            None => "detached",
        };
        f.debug_tuple("SharedChain").field(&state).finish()
    }
}

/// The end of a chain that could not be taken out of the shared state.
struct Untaken(SharedChain);

impl Future for Untaken {
    type Output = LocalValue;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<LocalValue> {
        self.0.poll(context)
    }
}

/// The loop's end.
struct Driver {
    state: Rc<RefCell<SharedState>>,
    /// The driver has ended by itself: from here on the shared state is another driver's.
    done: bool,
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let polled = self.run(context);
        self.done = polled.is_ready();
        if self.done {
            let spent = self.state.borrow_mut().driver.take();
            drop(spent);
            SharedState::wake_reader(&self.state);
        }
        polled
    }
}

impl Driver {
    fn run(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut chain = match SharedState::replace(&self.state, ChainState::Polled(VecDeque::new())) {
            ChainState::Waiting(chain) => chain,
            other => {
                SharedState::replace(&self.state, other);
                return Poll::Ready(());
            }
        };
        let polled = as_polled(&self.state, || chain.poll_some(MOST_STEPS, context));
        let waker = context.waker().clone();
        let mut state = self.state.borrow_mut();
        let ChainState::Polled(added) = replace(&mut state.chain, ChainState::Taken) else {
            // The owner has dropped the promise.
            drop(state);
            drop(polled.map(Chain::<LocalKind>::given));
            return Poll::Ready(());
        };
        let again = match polled {
            Poll::Ready(value) if added.is_empty() => {
                state.chain = ChainState::Settled(value);
                return Poll::Ready(());
            }
            Poll::Ready(value) => {
                chain = Chain::given(value);
                true
            }
            Poll::Pending => false,
        };
        added.into_iter().for_each(|step| chain.push(step));
        state.chain = ChainState::Waiting(chain);
        let before = state.driver.replace(waker);
        drop(state);
        drop(before);
        if again {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // The loop has been dropped, or a panic has ended the poll.
        SharedState::replace(&self.state, ChainState::Abandoned).discard();
        SharedState::wake_reader(&self.state);
    }
}

fn identity(state: &Rc<RefCell<SharedState>>) -> *const () {
    Rc::as_ptr(state).cast()
}

/// Runs `poll`, which polls the chain of `state`.
fn as_polled<R>(state: &Rc<RefCell<SharedState>>, poll: impl FnOnce() -> R) -> R {
    struct Before(*const ());
    impl Drop for Before {
        fn drop(&mut self) {
            POLLED.with(|polled| polled.set(self.0));
        }
    }
    let _before = Before(POLLED.with(|polled| polled.replace(identity(state))));
    poll()
}
