//! Turns in proportion: which lane of those that have a share has the next one.
//!
//! # Passes
//!
//! A lane with a share has a *pass*, which is the virtual time of its next turn, and the table has
//! the virtual time of the last turn that any of them has had. The next turn is that of the lane
//! with a pending slot whose pass is the smallest; it advances the lane's pass by its *stride*,
//! which is the smaller the greater its weight is (stride scheduling: Waldspurger and Weihl, 1995).
//! A lane whose first slot becomes pending comes in with the virtual time of the table, or with its
//! own pass where that is later; a new lane comes in one stride after that time. So a lane that has
//! had nothing to do has saved up nothing, and one that has just had a turn waits for its next one.
//!
//! *In proportion.* Let two lanes both have a pending slot whenever a turn is due. Their passes
//! differ by the greater of their strides at most, since the smaller one is advanced. So after many
//! turns each lane has had, but for one, as many as its weight says.
//!
//! *No lane starves.* A lane with a pending slot whose pass is `p` has the next turn once every
//! other one's pass is above `p`. Until then each turn is that of a lane whose pass is `p` at most,
//! and advances that pass for good by a stride, which is above zero. So each other lane has a
//! bounded number of turns before, and each lane that is new meanwhile advances the virtual time,
//! which stays below `p`, by a stride of its own before its first turn.
//!
//! # Items
//!
//! Such a lane pushes items like any other one, but they are all alike: the thread that opens one
//! asks the table which lane has the turn. So the table counts for all of them together what rule
//! N7 counts for each other lane:
//!
//! - **N9** There are at least as many items of lanes with shares in the pool's queues as slots are
//!   listed in the table. Each slot that is pending is listed, or a thread that has picked its lane
//!   is on the way to the lane's lock.
//!
//! A slot is listed under the lane's lock, as it becomes pending, and an item is pushed then unless
//! one is left over. A pick takes an item and a slot off. A thread that takes a pending slot over
//! without an item takes a slot off as well, if one is listed; if none is, another thread has
//! picked that slot and finds nothing pending, or a slot that has become pending since, whose item
//! is in the queues as well. So every pending slot has a thread that will come for it: the slots
//! that are listed by their items, the others by those threads. What is listed in excess costs a
//! thread a look in vain.
//!
//! The table holds a lane that is listed: the item of its slot may be that of another lane, and so
//! refer to that one.
//!
//! Locks: the lane's, then the table's. A pick holds the table's alone.

use std::sync::Arc;

use crate::numbers::NumberMap;
use crate::sync::ProcessMutex;

/// The stride of weight 1.
const STRIDE: u128 = 1 << 32;

/// The largest weight.
pub(crate) const MOST_WEIGHT: usize = 10_000;

/// The share of a lane.
#[derive(Debug)]
pub(super) struct Share {
    number: u64,
    stride: u128,
}

/// The lanes of a pool that have shares, each an `L`.
#[derive(Debug)]
pub(crate) struct Shares<L>(ProcessMutex<ShareTable<L>>);

#[derive(Debug)]
struct ShareTable<L> {
    last_number: u64,
    /// The virtual time of the last turn.
    time: u128,
    /// The passes of the lanes that are not listed, by their numbers.
    passes: NumberMap<u128>,
    listed: Vec<ListedLane<L>>,
    /// How many slots are listed, of all lanes.
    slots: usize,
    /// How many items are in the pool's queues.
    items: usize,
}

/// A lane that has slots pending.
#[derive(Debug)]
struct ListedLane<L> {
    number: u64,
    stride: u128,
    pass: u128,
    slots: usize,
    lane: Arc<L>,
}

impl<L> Default for Shares<L> {
    fn default() -> Self {
        Shares(ProcessMutex::new(ShareTable {
            last_number: 0,
            time: 0,
            passes: NumberMap::new(),
            listed: Vec::new(),
            slots: 0,
            items: 0,
        }))
    }
}

impl<L> Shares<L> {
    /// The share of a new lane, whose weight is at least 1.
    pub(super) fn register(&self, weight: usize) -> Share {
        let stride = STRIDE / weight.max(1) as u128;
        let number = self.0.lock().map_or(0, |mut table| {
            table.last_number += 1;
            table.last_number
        });
        Share { number, stride }
    }

    /// A lane is gone: nothing of it is listed.
    pub(super) fn unregister(&self, share: &Share) {
        if let Some(mut table) = self.0.lock() {
            table.passes.remove(share.number);
        }
    }

    /// Lists a slot of `lane`, which has just become pending. `push` pushes an item, if that is
    /// due.
    pub(super) fn list(&self, share: &Share, lane: Arc<L>, push: impl FnOnce()) {
        let Some(mut table) = self.0.lock() else { return };
        table.list(share, lane);
        if table.items < table.slots {
            table.items += 1;
            push();
        }
    }

    /// A pending slot is taken over, or none any more: takes a slot of the lane off, if one is
    /// listed. The caller has a reference to the lane, so the one in the table is not its last.
    pub(super) fn take_off(&self, share: &Share) {
        let Some(mut table) = self.0.lock() else { return };
        let index = table.listed.iter().position(|listed| listed.number == share.number);
        drop(index.and_then(|index| table.take_off(index)));
    }

    /// The lane that has the next turn, for a thread that has taken an item out of the queues.
    /// `None` if no slot is listed: the item came too late.
    pub(super) fn pick(&self) -> Option<Arc<L>> {
        let mut table = self.0.lock()?;
        table.items -= 1;
        let (index, next) = table.listed.iter_mut().enumerate().min_by_key(|(_, listed)| listed.pass)?;
        let (time, lane) = (next.pass, Arc::clone(&next.lane));
        next.pass += next.stride;
        table.time = time;
        let listed = table.take_off(index);
        drop(table);
        drop(listed);
        Some(lane)
    }
}

impl<L> ShareTable<L> {
    fn list(&mut self, share: &Share, lane: Arc<L>) {
        let Share { number, stride } = *share;
        self.slots += 1;
        if let Some(listed) = self.listed.iter_mut().find(|listed| listed.number == number) {
            listed.slots += 1;
            return;
        }
        let pass = self.passes.remove(number).unwrap_or(self.time + stride).max(self.time);
        self.listed.push(ListedLane { number, stride, pass, slots: 1, lane });
    }

    /// Takes a slot of the lane at `index` off, and the lane with its last slot.
    fn take_off(&mut self, index: usize) -> Option<Arc<L>> {
        let listed = self.listed.get_mut(index)?;
        self.slots -= 1;
        listed.slots -= 1;
        if listed.slots > 0 {
            return None;
        }
        // In the order in which the lanes were listed: where passes are equal, the first one has
        // the turn.
        let ListedLane { number, pass, lane, .. } = self.listed.remove(index);
        self.passes.insert(number, pass);
        Some(lane)
    }
}
