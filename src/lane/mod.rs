//! Lanes: queues of their own whose tasks borrow the pool's threads, a limited number at a time.
//!
//! | file | owns |
//! |---|---|
//! | `settings` | what a lane is made with |
//! | `core` | one lane: what may be done with its queue and its slots |
//! | `slots` | what of a lane changes under its lock |
//! | `waiting` | what waits in a lane: in order, or by keys |
//! | `keyed`, `pins` | the order of a keyed lane, and what the lane answers about its keys |
//! | `shares` | turns in proportion |
//! | `account` | what a lane counts |
//! | `item` | what waits in the pool's queues: a task, or the right to run a lane |
//! | `reserve` | the threads that a lane has of its own |
//! | `registry` | all lanes of a pool, and their names |
//! | `deadlock` | which threads wait inside tasks, and which wait would never end |
//!
//! # Slots
//!
//! A lane of limit `n` has `n` slots. A slot is *free*; or *pending*: an item for it waits in the
//! pool's queues like a task; or *active*: a thread holds it, and takes tasks of the lane one after
//! another.
//!
//! ```text
//!             submit, where one is free                 a thread gets to the item
//!     free ----------------------------> pending -------------------------------------> active
//!      ^                                    ^           a waiter takes it over             |
//!      |                                    +---- release, where more waits than is pending+
//!      +--------------------------------------------- release, or nothing waits -----------+
//! ```
//!
//! All of it changes under the lane's lock, so the rules hold at every instant:
//!
//! - **N1** A closure of the lane begins only on a thread that holds an active slot, one at a time
//!   for each; and only where pending and active together do not exceed the limit in force. They
//!   never do but where a limit has been lowered: then no slot is pending, and each that is
//!   released stays free, until they do not.
//! - **N2** As many slots are pending as tasks wait that may begin (N11), or no slot is free.
//!   (Between taking a slot and taking a task a thread is on its way to the queue.)
//! - **N3** The slot is released by the thread that runs the closure, after the closure has ended,
//!   whatever has become of the handle.
//!
//! - **N7** There are at least as many items in the pool's queues as slots are pending, and no more
//!   than slots have been pending at one time.
//!
//! - **N11** While a session is open only its own tasks are taken. They have a queue of their own,
//!   and what is left of that at its end goes to the front of the lane's.
//!
//! An item is a hint: a thread that comes with one while nothing is pending, because a waiter or a
//! thread of the lane's reserve has taken the slot over, drops it. An item is pushed under the lock
//! under which a slot becomes pending, unless there is one left over from a slot that was taken
//! over. So while the pool's threads all hang, the items of a lane that goes on do not pile up. A
//! left-over item may lie before what has come to wait since; so a lane may have as many turns too
//! early as there are such items. The items of lanes with shares are alike, and are counted
//! together: `shares` (N9).
//!
//! # A limit that changes
//!
//! The limit is set under the lock, together with what follows from it (N1, N2). Raised, it makes
//! slots pending, as many as are due. Lowered, it first takes pending slots back, whose items are
//! left over; what is still above it are active slots, which run closures. Each of their threads
//! finds that out as it comes for its next task, and releases the slot, which schedules nothing,
//! since what is left is not below the limit. So no closure begins while as many run as the limit
//! says, and none that runs is disturbed. A limit of 0 is a *pause*.
//!
//! A pause must not outlast those who could end it. What waits in a paused lane has no slot, and so
//! nothing that keeps the lane alive or that a shutdown sees. Hence:
//!
//! - **N10** The limit in force is 1 in place of 0 as soon as the pool is being shut down, or the
//!   lane has no handle.
//!
//! A shutdown puts that in force in each lane under its lock, and keeps the pool from ending until
//! the items are in the queues (`Ending::begin_sorting`). A pause that comes later finds the mark;
//! or, in a lane that was made after the shutdown had listed all, that the pool is closed. A handle
//! that is dropped as the last one, and one that is made by a request for the name, look
//! at the number of handles under the lane's lock: the last look sees the last change. What waits
//! must not have a handle itself: the calls of a strand, or of a resource pool, have none.
//!
//! # Turns
//!
//! A thread that holds a slot runs the lane's tasks in order until none waits, or until its *turn*
//! is over. If something else waited in the queues that the thread looks into first when the turn
//! began, that is after 32 tasks or a millisecond, whichever comes first, so after one task if that
//! is long; if not, it is with the task that runs when something comes to wait. Items of the lane's
//! other slots count as something else. Then the slot is released and its item goes to the end of
//! the injector, where it waits for its turn like a task. So a task of the pool, or the item of
//! another lane, that waits in the injector is overtaken by no more tasks of a lane than one turn
//! of each thread has; and the item of the lane waits no longer than what is before it in the
//! injector.
//!
//! # Nothing is lost
//!
//! By N2 a task that waits either has a pending slot, so an item in the pool's queues, for which
//! the pool's own protocol finds a thread; or all slots are taken. Then each active one either
//! takes another task under the lock, and so sees this one, or is released, which makes it pending
//! again where more waits than is pending. So a saturated lane needs no wake-ups, holds no thread
//! besides those that run its closures, and shows the pool nothing that could be a reason to grow.
//!
//! # Sessions
//!
//! A session has a lane to itself without a thread that stands for it: a task of the lane opens it,
//! and from then on the tasks of the lane's own queue wait as if there were none, by N11. So while
//! the session does nothing the lane shows the pool nothing. Such a lane has one slot at most for
//! good (`cap_limit`), and the task that opens the session holds that: no other slot is pending or
//! active then. The end of the session makes as many slots pending as are due, under the lock, and
//! wakes the threads that wait to take one over. While the lane is paused none is due, neither for
//! the session nor for the others; the end of the pause makes those pending that are due by N11
//! then.
//!
//! A shutdown ends all sessions, or what waits for their ends would never run. It closes the pool
//! and then ends the sessions that it finds, under the lock of each lane; a task that opens one
//! looks afterwards whether the pool is closed, and if so ends it. One of the two comes second
//! under that lock: the shutdown then finds the session, or the task finds the pool closed. Threads
//! may have left meanwhile, since nothing of this was in a queue: so the shutdown counts as sorting
//! (see `pool::shutdown::ending`) until the items are in the queues and a thread has been notified.
//!
//! # Delivery
//!
//! A closure has ended before its result is delivered, so the slot is free for others from then on,
//! in principle. To release it would cost a wake-up for each task; so it is kept through the
//! delivery where more waits, and released only if a waker or callback declares that it blocks.
//! Where nothing waits the slot is released before the delivery.
//!
//! # Waiting inside
//!
//! A thread of the pool that waits for a task of a lane while the pool cannot grow takes a pending
//! slot over and runs the lane in order, through the task it waits for. It registers
//! ([`LaneCore::waiters`]) before it looks for a pending slot, and a thread that makes one pending
//! by a release, a new limit or the end of a session wakes the registered ones.
//!
//! If all slots are held by threads that wait, in whatever way, for tasks of this very lane, none
//! of them will ever be released. `deadlock` finds that out, and the thread whose wait closes such
//! a circle gets an error.

mod account;
mod core;
mod deadlock;
mod item;
mod keyed;
mod pins;
mod registry;
mod reserve;
mod settings;
mod shares;
mod slots;
#[cfg(all(test, not(any(sidestep_loom, sidestep_shuttle))))]
mod tests;
mod waiting;

pub(crate) use self::account::LaneAccount;
pub(crate) use self::core::LaneCore;
pub(crate) use self::deadlock::{HeldSlot, NewWait};
pub(crate) use self::item::{Job, QueueItem};
pub(crate) use self::keyed::new_key_order;
#[cfg(feature = "metrics")]
pub(crate) use self::registry::NamedCounts;
pub(crate) use self::registry::{Lanes, Naming};
pub(crate) use self::reserve::{Called, LaneReserve};
pub(crate) use self::settings::{KeySettings, LaneSettings};
pub(crate) use self::shares::MOST_WEIGHT;
pub(crate) use self::waiting::{ErasedKey, GoneKeys, KeyId, LanePlace};
