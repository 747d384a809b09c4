//! What a promise of an event loop and its loop have in common: the chain, or what came of it.
//!
//! ```text
//!              the loop polls                     the chain has its value
//!   Waiting ---------------------> Polled ------------------------------------> Settled
//!      ^  <-----------------------    |  the owner lets go, or joins it            |
//!      |        it has to wait        v  to another chain                          |
//!      |                            Left                                           |
//!      +---------------------------------------------------------------------------+
//!                     the owner adds a step: the loop drives it again
//! ```
//!
//! The loop has the link as a local future, the [`Driver`], while there is something to drive; so a
//! promise is outstanding until it is settled, whether or not anybody awaits it. All of it is on
//! one thread. No borrow lasts while foreign code runs, since that may come back here: a
//! continuation may add a step to its own promise, or drop it.
//!
//! A poll by the loop ends after so many steps, and the next comes in another turn. So a recursion
//! that never has to wait does not hold up the callbacks, and the drivers of the promises that it
//! makes and joins, which find nothing left to do, go as they come.
//!
//! A continuation may also give its own promise, which would wait for itself. That is told by
//! `POLLED`: who owns the chain whose step is running is the innermost driver, since only drivers
//! poll these chains.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem::replace;
use std::pin::Pin;
use std::ptr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::chain::Chain;
use super::kind::{Kind, Local};
use crate::event_loop::Handle;
use crate::sync::thread_local_const;
use crate::task::wake;

type Value = <Local as Kind>::Value;
type Step = <Local as Kind>::Step;

/// So many steps of one promise may run before the loop turns to something else.
const MOST_STEPS: usize = 128;

// The link whose chain is being polled by the innermost driver on this thread.
thread_local_const! { static POLLED: Cell<*const ()> = Cell::new(ptr::null()) }

enum Stage {
    Waiting(Chain<Local>),
    /// The chain is in the hands of the driver; these steps have been added meanwhile.
    Polled(VecDeque<Step>),
    Settled(Value),
    /// The value has been given, the chain has gone elsewhere, or the owner has let go.
    Left,
    /// The loop has been dropped with the chain in it.
    Lost,
}

impl Stage {
    /// Drops what nobody will see, whatever its destructors do.
    fn discard(self) {
        match self {
            Stage::Waiting(chain) => drop(chain),
            Stage::Polled(steps) => drop(Chain::<Local>::uncalled(steps)),
            Stage::Settled(value) => drop(Chain::<Local>::given(value)),
            Stage::Left | Stage::Lost => {}
        }
    }
}

struct Shared {
    stage: Stage,
    /// Who awaits the promise.
    reader: Option<Waker>,
    /// Has the driver polled, while there is one that waits.
    driver: Option<Waker>,
}

impl Shared {
    fn replace(this: &RefCell<Self>, stage: Stage) -> Stage {
        replace(&mut this.borrow_mut().stage, stage)
    }

    /// Takes what can be taken, and has the driver find that there is nothing left to do.
    fn leave(this: &RefCell<Self>) -> Stage {
        let left = Shared::replace(this, Stage::Left);
        let driver = this.borrow_mut().driver.take();
        driver.into_iter().for_each(Waker::wake);
        left
    }

    /// Tells whoever awaits the promise that the driver has ended.
    fn wake_reader(this: &RefCell<Self>) {
        let reader = this.borrow_mut().reader.take();
        if let Some(reader) = reader {
            wake(reader);
        }
    }
}

/// The owner's end. Dropping it drops the chain.
pub(super) struct Link {
    ev: Handle,
    /// `None` once the owner has let go.
    shared: Option<Rc<RefCell<Shared>>>,
}

impl Link {
    /// A chain that the loop drives from now on.
    pub(super) fn new(ev: &Handle, chain: Chain<Local>) -> Self {
        let link = Link::with(ev, Stage::Waiting(chain));
        link.drive();
        link
    }

    /// A value that is there.
    pub(super) fn settled(ev: &Handle, value: Value) -> Self {
        Link::with(ev, Stage::Settled(value))
    }

    /// Nothing: the loop has been dropped.
    pub(super) fn lost(ev: &Handle) -> Self {
        Link::with(ev, Stage::Lost)
    }

    fn with(ev: &Handle, stage: Stage) -> Self {
        let shared = Shared { stage, reader: None, driver: None };
        Link { ev: ev.clone(), shared: Some(Rc::new(RefCell::new(shared))) }
    }

    fn shared(&self) -> &Rc<RefCell<Shared>> {
        match &self.shared {
            Some(shared) => shared,
            None => unreachable!("only methods that consume the link let go"),
        }
    }

    fn drive(&self) {
        self.ev.spawn_local(Driver { shared: Rc::clone(self.shared()), done: false });
    }

    /// The loop it belongs to.
    pub(super) fn ev(&self) -> &Handle {
        &self.ev
    }

    /// Adds a step.
    pub(super) fn push(&self, step: Step) {
        let mut idle = false;
        let mut uncalled = VecDeque::new();
        let next = match Shared::replace(self.shared(), Stage::Left) {
            Stage::Waiting(mut chain) => {
                chain.push(step);
                Stage::Waiting(chain)
            }
            Stage::Polled(mut steps) => {
                steps.push_back(step);
                Stage::Polled(steps)
            }
            Stage::Settled(value) => {
                let mut chain = Chain::given(value);
                chain.push(step);
                idle = true;
                Stage::Waiting(chain)
            }
            gone @ (Stage::Left | Stage::Lost) => {
                uncalled.push_back(step);
                gone
            }
        };
        Shared::replace(self.shared(), next);
        drop(Chain::<Local>::uncalled(uncalled));
        if idle {
            self.drive();
        }
    }

    /// The value, once it is there.
    ///
    /// # Panics
    ///
    /// If it has been given, the loop has been dropped, or a panic has ended the chain.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Value> {
        match Shared::replace(self.shared(), Stage::Left) {
            Stage::Settled(value) => return Poll::Ready(value),
            Stage::Left => panic!("a sidestep promise was polled after it had given its result"),
            Stage::Lost => panic!("a sidestep promise was lost, to a panic or to the drop of its event loop"),
            stage @ (Stage::Waiting(_) | Stage::Polled(_)) => Shared::replace(self.shared(), stage),
        };
        let waker = context.waker().clone();
        let before = self.shared().borrow_mut().reader.replace(waker);
        drop(before);
        Poll::Pending
    }

    /// Whether it is a step of its own chain that asks.
    pub(super) fn is_polled_here(&self) -> bool {
        POLLED.with(Cell::get) == identity(self.shared())
    }

    /// The chain, for another one to go on with. If it is being polled just now, a chain that waits
    /// for it.
    pub(super) fn into_chain(self) -> Chain<Local> {
        if matches!(self.shared().borrow().stage, Stage::Polled(_)) {
            return Chain::<Local>::pending(Box::pin(Rest(self)));
        }
        match Shared::leave(self.shared()) {
            Stage::Waiting(chain) => chain,
            Stage::Settled(value) => Chain::given(value),
            gone @ (Stage::Polled(_) | Stage::Left | Stage::Lost) => {
                Shared::replace(self.shared(), gone);
                Chain::<Local>::pending(Box::pin(Rest(self)))
            }
        }
    }

    /// Lets the loop go on with the chain.
    pub(super) fn detach(mut self) {
        self.shared = None;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            Shared::leave(&shared).discard();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.shared.as_ref().map(|shared| shared.borrow()) {
            Some(shared) => match &shared.stage {
                Stage::Waiting(_) | Stage::Polled(_) => "pending",
                Stage::Settled(_) => "settled",
                Stage::Left => "given",
                Stage::Lost => "lost",
            },
            None => "detached",
        };
        f.debug_tuple("Link").field(&stage).finish()
    }
}

/// The end of a chain that could not be taken.
struct Rest(Link);

impl Future for Rest {
    type Output = Value;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Value> {
        self.0.poll(context)
    }
}

/// The loop's end.
struct Driver {
    shared: Rc<RefCell<Shared>>,
    /// It has ended by itself, and what is in the link now is not its own.
    done: bool,
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let polled = self.run(context);
        self.done = polled.is_ready();
        if self.done {
            let spent = self.shared.borrow_mut().driver.take();
            drop(spent);
            Shared::wake_reader(&self.shared);
        }
        polled
    }
}

impl Driver {
    fn run(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut chain = match Shared::replace(&self.shared, Stage::Polled(VecDeque::new())) {
            Stage::Waiting(chain) => chain,
            left => {
                Shared::replace(&self.shared, left);
                return Poll::Ready(());
            }
        };
        let polled = as_polled(&self.shared, || chain.poll_some(MOST_STEPS, context));
        let waker = context.waker().clone();
        let mut shared = self.shared.borrow_mut();
        let Stage::Polled(added) = replace(&mut shared.stage, Stage::Left) else {
            // The owner has let go.
            drop(shared);
            drop(polled.map(Chain::<Local>::given));
            return Poll::Ready(());
        };
        let again = match polled {
            Poll::Ready(value) if added.is_empty() => {
                shared.stage = Stage::Settled(value);
                return Poll::Ready(());
            }
            Poll::Ready(value) => {
                chain = Chain::given(value);
                true
            }
            Poll::Pending => false,
        };
        added.into_iter().for_each(|step| chain.push(step));
        shared.stage = Stage::Waiting(chain);
        let before = shared.driver.replace(waker);
        drop(shared);
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
        // The loop is gone, or a panic has come through.
        Shared::replace(&self.shared, Stage::Lost).discard();
        Shared::wake_reader(&self.shared);
    }
}

fn identity(shared: &Rc<RefCell<Shared>>) -> *const () {
    Rc::as_ptr(shared).cast()
}

/// Runs `poll`, which polls the chain of `shared`.
fn as_polled<R>(shared: &Rc<RefCell<Shared>>, poll: impl FnOnce() -> R) -> R {
    struct Before(*const ());
    impl Drop for Before {
        fn drop(&mut self) {
            POLLED.with(|polled| polled.set(self.0));
        }
    }
    let _before = Before(POLLED.with(|polled| polled.replace(identity(shared))));
    poll()
}
