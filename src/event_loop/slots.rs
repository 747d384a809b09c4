//! Where what is outstanding lies, on the loop's thread, while others know only its key.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::action::Action;
use super::handle::Handle;
use super::signal::Signal;
use crate::panic::catch_panic;

/// Names an entry. Keys are never used again, and rise in the order of registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    number: u64,
    index: usize,
}

impl Key {
    /// The key of nothing.
    pub(super) const NONE: Key = Key { number: 0, index: 0 };
}

pub(super) type Callback = Box<dyn FnOnce(&Handle)>;
pub(super) type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// Something outstanding.
pub(super) enum Entry {
    /// A callback that has been posted.
    Post(Callback),
    /// A callback whose time has not come.
    Timer(Callback),
    /// A task whose result has not been given to its callback.
    Action(Box<dyn Action>, Arc<Signal>),
    /// A local future.
    Future(LocalFuture, Arc<Signal>),
    /// The future of `run_until`, which lies on that call's stack.
    Root(Arc<Signal>),
}

impl Entry {
    /// The entry's signal, unless it is one that needs none.
    pub(super) fn signal(&mut self) -> Option<&mut Arc<Signal>> {
        match self {
            Entry::Action(_, signal) | Entry::Future(_, signal) | Entry::Root(signal) => Some(signal),
            Entry::Post(_) | Entry::Timer(_) => None,
        }
    }

    /// Drops it unrun, whatever its destructors do.
    pub(super) fn discard(self) {
        match self {
            Entry::Post(callback) | Entry::Timer(callback) => {
                catch_panic("the destructor of a callback that did not run", || drop(callback));
            }
            Entry::Action(action, signal) => {
                signal.retire();
                action.discard();
            }
            Entry::Future(future, signal) => {
                signal.retire();
                catch_panic("the destructor of a local future", || drop(future));
            }
            Entry::Root(signal) => {
                signal.retire();
            }
        }
    }
}

/// A place for one entry after another.
struct Place {
    /// The number of the key that the place is reserved for; 0 if it is free.
    number: u64,
    /// `None` while the place is free, or its entry is being run.
    entry: Option<Entry>,
}

/// The entries. None of its methods drops one: that is for the caller to do, once nothing is
/// borrowed.
#[derive(Default)]
pub(super) struct Slots {
    places: Vec<Place>,
    free: Vec<usize>,
    last: u64,
}

impl Slots {
    /// How many places are taken.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// A key for an entry that is about to come.
    pub(super) fn reserve(&mut self) -> Key {
        self.last += 1;
        let place = Place { number: self.last, entry: None };
        let index = match self.free.pop() {
            Some(index) => {
                self.places[index] = place;
                index
            }
            None => {
                self.places.push(place);
                self.places.len() - 1
            }
        };
        Key { number: self.last, index }
    }

    pub(super) fn insert(&mut self, entry: Entry) -> Key {
        let key = self.reserve();
        self.places[key.index].entry = Some(entry);
        key
    }

    fn place(&mut self, key: Key) -> Option<&mut Place> {
        self.places.get_mut(key.index).filter(|place| place.number == key.number && key != Key::NONE)
    }

    /// Whether the entry has neither ended nor been cancelled.
    pub(super) fn holds(&self, key: Key) -> bool {
        key != Key::NONE && self.places.get(key.index).is_some_and(|place| place.number == key.number)
    }

    pub(super) fn get(&mut self, key: Key) -> Option<&mut Entry> {
        self.place(key)?.entry.as_mut()
    }

    /// Takes the entry out and keeps its place.
    pub(super) fn take(&mut self, key: Key) -> Option<Entry> {
        self.place(key)?.entry.take()
    }

    /// Puts the entry into the place that has been kept for it. Gives it back where that has gone.
    #[must_use]
    pub(super) fn put(&mut self, key: Key, entry: Entry) -> Option<Entry> {
        match self.place(key) {
            Some(place) => place.entry.replace(entry),
            None => Some(entry),
        }
    }

    /// Gives the place up; the entry, if it is there, is the caller's.
    pub(super) fn remove(&mut self, key: Key) -> Option<Entry> {
        let place = self.place(key)?;
        place.number = 0;
        let entry = place.entry.take();
        self.free.push(key.index);
        entry
    }

    /// Takes everything out, in the order of registration.
    pub(super) fn drain(&mut self) -> Vec<Entry> {
        self.free.clear();
        let mut places = std::mem::take(&mut self.places);
        places.sort_unstable_by_key(|place| place.number);
        places.into_iter().filter_map(|place| place.entry).collect()
    }

    /// The keys of all entries that are there, in the order of registration.
    pub(super) fn keys(&self) -> Vec<Key> {
        let places = self.places.iter().enumerate().filter(|(_, place)| place.entry.is_some());
        let mut keys: Vec<Key> = places.map(|(index, place)| Key { number: place.number, index }).collect();
        keys.sort_unstable();
        keys
    }
}
