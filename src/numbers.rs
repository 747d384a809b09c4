//! Maps and sets of numbers, and sorting by numbers.
//!
//! A `BTreeMap` is compiled anew for each type of its values, and takes more code than most of what
//! uses it here. So one tree serves all maps: it knows in which place of a vector the value of a
//! number is. What is compiled for each type is that vector.

use std::collections::BTreeMap;
use std::mem::take;

/// A map with no more free places than this keeps them.
const FEW: usize = 64;

/// Which numbers there are, and the place of each.
#[derive(Clone, Debug, Default)]
struct Places {
    tree: BTreeMap<u64, usize>,
    /// Places below the end that no number has.
    free: Vec<usize>,
}

impl Places {
    const fn new() -> Self {
        Places { tree: BTreeMap::new(), free: Vec::new() }
    }

    #[inline(never)]
    fn get(&self, number: u64) -> Option<usize> {
        self.tree.get(&number).copied()
    }

    /// The place of a number that may be new. `end` is the first place that is not there yet.
    #[inline(never)]
    fn get_or_insert(&mut self, number: u64, end: usize) -> usize {
        *self.tree.entry(number).or_insert_with(|| self.free.pop().unwrap_or(end))
    }

    /// Removes a number. Its place is free, unless that was the last number.
    #[inline(never)]
    fn remove(&mut self, number: u64) -> Option<usize> {
        let place = self.tree.remove(&number)?;
        if self.tree.is_empty() {
            self.free = Vec::new();
        } else {
            self.free.push(place);
        }
        Some(place)
    }

    /// Whether by far the most places are free.
    fn is_sparse(&self) -> bool {
        self.free.len() > FEW && self.free.len() / 4 > self.tree.len()
    }

    #[inline(never)]
    fn first(&self) -> Option<u64> {
        self.tree.keys().next().copied()
    }

    /// All numbers, each with its place.
    #[inline(never)]
    fn list(&self) -> Vec<(u64, usize)> {
        self.tree.iter().map(|(number, place)| (*number, *place)).collect()
    }
}

/// A map from numbers.
#[derive(Debug)]
pub(crate) struct NumberMap<V> {
    places: Places,
    values: Vec<Option<V>>,
}

impl<V> NumberMap<V> {
    pub(crate) const fn new() -> Self {
        NumberMap { places: Places::new(), values: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.tree.is_empty()
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.places.get(number).is_some()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&V> {
        self.values.get(self.places.get(number)?)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut V> {
        self.values.get_mut(self.places.get(number)?)?.as_mut()
    }

    /// The value that the number had comes back.
    pub(crate) fn insert(&mut self, number: u64, value: V) -> Option<V> {
        let place = self.places.get_or_insert(number, self.values.len());
        match self.values.get_mut(place) {
            Some(old) => old.replace(value),
            None => {
                self.values.push(Some(value));
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<V> {
        let place = self.places.remove(number)?;
        let value = self.values.get_mut(place).and_then(Option::take);
        // What a burst has needed is not kept.
        if self.is_empty() {
            self.values = Vec::new();
        } else if self.places.is_sparse() {
            self.close_up();
        }
        value
    }

    /// Gives the memory of the free places back. There are so many that the removals before have
    /// paid for it.
    #[cold]
    fn close_up(&mut self) {
        let mut values = Vec::with_capacity(self.places.tree.len());
        for place in self.places.tree.values_mut() {
            let value = self.values.get_mut(*place).and_then(Option::take);
            *place = values.len();
            values.push(value);
        }
        self.places.free = Vec::new();
        self.values = values;
    }

    /// The smallest number.
    pub(crate) fn first(&self) -> Option<u64> {
        self.places.first()
    }

    pub(crate) fn pop_first(&mut self) -> Option<(u64, V)> {
        let number = self.first()?;
        self.remove(number).map(|value| (number, value))
    }

    /// All values, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.values.iter().filter_map(Option::as_ref)
    }

    /// Numbers and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        let list = self.places.list().into_iter();
        list.filter_map(|(number, place)| Some((number, self.values.get(place)?.as_ref()?)))
    }

    /// Changes each value.
    pub(crate) fn update(&mut self, mut change: impl FnMut(&mut V)) {
        for (_, place) in self.places.list() {
            self.values.get_mut(place).and_then(Option::as_mut).into_iter().for_each(&mut change);
        }
    }

    /// Takes all values.
    pub(crate) fn take_values(&mut self) -> Vec<V> {
        let (places, mut values) = (take(&mut self.places), take(&mut self.values));
        let mut taken = Vec::with_capacity(values.len());
        for (_, place) in places.list() {
            if let Some(value) = values.get_mut(place).and_then(Option::take) {
                taken.push(value);
            }
        }
        taken
    }
}

impl<V> Default for NumberMap<V> {
    fn default() -> Self {
        NumberMap::new()
    }
}

/// A set of numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct NumberSet(Places);

impl NumberSet {
    pub(crate) fn len(&self) -> usize {
        self.0.tree.len()
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.0.get(number).is_some()
    }

    /// False if the number was there.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        let before = self.len();
        self.0.get_or_insert(number, 0);
        self.len() > before
    }

    pub(crate) fn remove(&mut self, number: u64) {
        self.0.tree.remove(&number);
    }

    pub(crate) fn numbers(&self) -> Vec<u64> {
        let mut numbers = Vec::with_capacity(self.len());
        for (number, _) in self.0.list() {
            numbers.push(number);
        }
        numbers
    }
}

/// Sorts keys, each with its index: those of equal keys stay in the order of the indices.
#[inline(never)]
pub(crate) fn sort(pairs: &mut [(u64, usize)]) {
    pairs.sort_unstable();
}

#[cfg(all(test, not(any(sidestep_loom, sidestep_shuttle))))]
mod tests;
