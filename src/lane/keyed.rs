//! The waiting tasks of a keyed lane: first-in first-out within a key, keys in turn, and at most so
//! many at a time of each.
//!
//! # Keys
//!
//! To compare keys is user code, which may panic, block, or use this very lane. So no key is hashed
//! or compared under the lane's lock. A submitter hashes its key first. Then it asks for the keys
//! of that hash, one after another by their numbers, and compares each without the lock, while a
//! *pin* keeps it in the lane. If none is equal, it finds that out together with the entry of its
//! own key, under one lock: numbers only grow, so no key that it has not compared is below the last
//! one that it has. Thus equal keys have one entry, as long as their type keeps the rules of `Hash`
//! and `Eq`; where it does not, they may have several, which is all that comes of it. A panic is
//! the submitter's: the pin is taken off, and nothing has been queued.
//!
//! A key has an entry as long as it is pinned, or a task of it waits or has begun. The entry is all
//! that a key costs.
//!
//! # What may begin
//!
//! A key has `per_key` *places*. A task takes one as it is popped, and gives it back as its closure
//! ends, or at once if it is a tombstone. So of a key with `w` tasks that wait and `r` that have
//! begun, `min(w, per_key - r)` are *ready*.
//!
//! - **N8** The ring lists each key that has a ready task once, and no other key. `ready` is the
//!   sum over all keys.
//!
//! A pop takes the first key of the ring and one task of it, and lists the key again at the end if
//! it still has a ready task. So between two tasks of a key each other key that is listed has one
//! turn, however many tasks the key has: a key with one task waits for as many tasks as there are
//! keys, at most.
//!
//! What is ready counts in a keyed lane as what waits counts in another: rule N2 of the module has
//! the proof. A place that becomes free makes a task ready; the thread that gave it back holds a
//! slot and comes to the queue next, or releases the slot, which makes a slot pending where one is
//! due.

use std::collections::{BTreeMap, VecDeque};
use std::mem::take;
use std::sync::Arc;

use super::waiting::{ErasedKey, GoneKeys, KeyId, KeyOrder};
use crate::error::TaskId;
use crate::task::TaskRef;

/// For how many keys the ring keeps room when it has grown shorter.
const ROOM: usize = 64;

/// A keyed lane's tasks, by their keys.
pub(super) struct KeyedTasks {
    per_key: usize,
    /// The number of the newest key.
    last: u64,
    keys: BTreeMap<KeyId, Box<KeyEntry>>,
    /// The keys that have a ready task (N8).
    ring: VecDeque<KeyId>,
    /// The key of each task that waits or has begun, by the task's id.
    key_of: BTreeMap<u64, KeyId>,
    ready: usize,
    waiting: usize,
    gone: Vec<ErasedKey>,
}

/// One key.
struct KeyEntry {
    key: ErasedKey,
    tasks: VecDeque<TaskRef>,
    begun: usize,
    pins: usize,
    is_listed: bool,
}

impl KeyEntry {
    fn ready(&self, per_key: usize) -> usize {
        self.tasks.len().min(per_key.saturating_sub(self.begun))
    }

    fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.begun == 0 && self.pins == 0
    }
}

/// The key of a task that has none.
struct NoKey;

/// The order of a keyed lane that runs at most `per_key` tasks of a key at a time.
pub(crate) fn new_key_order(per_key: usize) -> Box<dyn KeyOrder> {
    Box::new(KeyedTasks {
        per_key,
        last: 0,
        keys: BTreeMap::new(),
        ring: VecDeque::new(),
        key_of: BTreeMap::new(),
        ready: 0,
        waiting: 0,
        gone: Vec::new(),
    })
}

impl KeyedTasks {
    /// A new entry, with a pin.
    fn add(&mut self, hash: u64, key: ErasedKey) -> KeyId {
        self.last += 1;
        let id = KeyId { hash, number: self.last };
        let entry = KeyEntry { key, tasks: VecDeque::new(), begun: 0, pins: 1, is_listed: false };
        self.keys.insert(id, Box::new(entry));
        id
    }

    /// Changes the entry of `key`, keeps the sums and the ring, and lets the key go if it is empty.
    fn update<R>(&mut self, key: KeyId, change: impl FnOnce(&mut KeyEntry) -> R) -> Option<R> {
        let entry = self.keys.get_mut(&key)?;
        let (ready, waiting) = (entry.ready(self.per_key), entry.tasks.len());
        let result = change(entry);
        self.ready = self.ready - ready + entry.ready(self.per_key);
        self.waiting = self.waiting - waiting + entry.tasks.len();
        if !entry.is_listed && entry.ready(self.per_key) > 0 {
            entry.is_listed = true;
            self.ring.push_back(key);
        }
        if entry.is_empty() {
            self.gone.extend(self.keys.remove(&key).map(|entry| entry.key));
        }
        Some(result)
    }

    fn shrink(&mut self) {
        if self.ring.len() < ROOM && self.ring.capacity() > 4 * ROOM {
            self.ring.shrink_to(ROOM);
        }
    }
}

impl KeyOrder for KeyedTasks {
    fn pin(
        &mut self,
        hash: u64,
        after: u64,
        fresh: &mut dyn FnMut() -> ErasedKey,
    ) -> (KeyId, Option<ErasedKey>) {
        let of_hash = KeyId { hash, number: after + 1 }..=KeyId { hash, number: u64::MAX };
        if let Some((key, entry)) = self.keys.range_mut(of_hash).next() {
            entry.pins += 1;
            return (*key, Some(Arc::clone(&entry.key)));
        }
        (self.add(hash, fresh()), None)
    }

    fn unpin(&mut self, key: KeyId) {
        self.update(key, |entry| entry.pins -= 1);
    }

    fn push(&mut self, task: TaskRef, key: KeyId) {
        self.key_of.insert(task.id().as_u64(), key);
        let pushed = self.update(key, |entry| entry.tasks.push_back(task));
        debug_assert!(pushed.is_some(), "a key that is pinned has an entry");
    }

    fn push_alone(&mut self, task: TaskRef) {
        // Whatever its hash, nothing is equal to it.
        let key = self.add(0, Arc::new(NoKey));
        self.push(task, key);
        self.unpin(key);
    }

    fn pop(&mut self) -> Option<TaskRef> {
        let key = self.ring.pop_front()?;
        let task = self.update(key, |entry| {
            entry.is_listed = false;
            entry.begun += 1;
            entry.tasks.pop_front()
        });
        self.shrink();
        let task = task.flatten();
        debug_assert!(task.is_some(), "N8");
        task
    }

    fn end(&mut self, task: TaskId) {
        if let Some(key) = self.key_of.remove(&task.as_u64()) {
            self.update(key, |entry| entry.begun -= 1);
        }
    }

    fn ready(&self) -> usize {
        self.ready
    }

    fn waiting(&self) -> usize {
        self.waiting
    }

    fn clear(&mut self, goes: &dyn Fn(&TaskRef) -> bool) -> Vec<TaskRef> {
        let mut gone = Vec::new();
        let keys: Vec<KeyId> = self.keys.keys().copied().collect();
        for key in keys {
            self.update(key, |entry| {
                for task in take(&mut entry.tasks) {
                    if goes(&task) {
                        gone.push(task);
                    } else {
                        entry.tasks.push_back(task);
                    }
                }
            });
        }
        let (keys, per_key) = (&mut self.keys, self.per_key);
        self.ring.retain(|key| {
            let Some(entry) = keys.get_mut(key) else { return false };
            entry.is_listed = entry.ready(per_key) > 0;
            entry.is_listed
        });
        self.shrink();
        for task in &gone {
            self.key_of.remove(&task.id().as_u64());
        }
        gone
    }

    fn key_of(&self, task: &TaskRef) -> Option<KeyId> {
        self.key_of.get(&task.id().as_u64()).copied()
    }

    fn keys(&self) -> usize {
        self.keys.len()
    }

    fn take_gone(&mut self) -> GoneKeys {
        GoneKeys(take(&mut self.gone))
    }
}
