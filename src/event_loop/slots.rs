//! Slots for what is outstanding, on the loop's thread. Other threads know only the keys.

use std::mem::take;

/// Names an entry. A key is never used again, and keys rise in the order of registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    number: u64,
    index: usize,
}

impl Key {
    /// The key of no entry.
    pub(super) const NONE: Key = Key { number: 0, index: 0 };
}

/// Room for one entry after another.
struct EntrySlot<E> {
    /// The number of the key that the slot is reserved for; 0 if the slot is free.
    number: u64,
    /// `None` while the slot is free, and while its entry is being run.
    entry: Option<E>,
}

/// The entries. None of the methods drops an entry: the caller drops it, once nothing is borrowed.
///
/// Slots are used again, so that an entry costs no allocation. A map from rising numbers would be
/// less code, and makes a callback that is posted cost 1.3 to 3.2 times the instructions.
pub(super) struct Slots<E> {
    slots: Vec<EntrySlot<E>>,
    free: Vec<usize>,
    last: u64,
}

impl<E> Slots<E> {
    pub(super) fn new() -> Self {
        Slots { slots: Vec::new(), free: Vec::new(), last: 0 }
    }

    /// How many slots are reserved.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Reserves a slot for an entry that is about to be put there.
    pub(super) fn reserve(&mut self) -> Key {
        self.last += 1;
        let slot = EntrySlot { number: self.last, entry: None };
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        Key { number: self.last, index }
    }

    pub(super) fn insert(&mut self, entry: E) -> Key {
        let key = self.reserve();
        self.slots[key.index].entry = Some(entry);
        key
    }

    fn slot(&mut self, key: Key) -> Option<&mut EntrySlot<E>> {
        self.slots.get_mut(key.index).filter(|slot| slot.number == key.number && key != Key::NONE)
    }

    /// Whether the slot is still reserved for this key: the entry has not ended.
    pub(super) fn holds(&self, key: Key) -> bool {
        key != Key::NONE && self.slots.get(key.index).is_some_and(|slot| slot.number == key.number)
    }

    pub(super) fn get(&mut self, key: Key) -> Option<&mut E> {
        self.slot(key)?.entry.as_mut()
    }

    /// Takes the entry out and keeps its slot reserved.
    pub(super) fn take(&mut self, key: Key) -> Option<E> {
        self.slot(key)?.entry.take()
    }

    /// Puts the entry into the slot that is reserved for it. Returns the entry if the slot is no
    /// longer reserved.
    #[must_use]
    pub(super) fn put(&mut self, key: Key, entry: E) -> Option<E> {
        match self.slot(key) {
            Some(slot) => slot.entry.replace(entry),
            None => Some(entry),
        }
    }

    /// Frees the slot and returns the entry, if it was there.
    pub(super) fn remove(&mut self, key: Key) -> Option<E> {
        let slot = self.slot(key)?;
        slot.number = 0;
        let entry = slot.entry.take();
        self.free.push(key.index);
        entry
    }

    /// Takes all entries out, in the order of registration.
    pub(super) fn drain(&mut self) -> Vec<E> {
        self.free.clear();
        let mut slots = take(&mut self.slots);
        slots.sort_unstable_by_key(|slot| slot.number);
        slots.into_iter().filter_map(|slot| slot.entry).collect()
    }

    /// The keys of all entries that are there, in the order of registration.
    pub(super) fn keys(&self) -> Vec<Key> {
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| slot.entry.is_some());
        let mut keys: Vec<Key> = slots.map(|(index, slot)| Key { number: slot.number, index }).collect();
        keys.sort_unstable();
        keys
    }
}
