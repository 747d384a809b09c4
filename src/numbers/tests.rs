//! Numbers against the collections of `std`, by random steps.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{NumberMap, NumberSet};

/// A generator of numbers that look random.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn a_map_does_what_a_tree_does() {
    let mut seed = 7;
    let (mut map, mut tree) = (NumberMap::new(), BTreeMap::new());
    for step in 0..20_000 {
        let number = draw(&mut seed) % 50;
        match draw(&mut seed) % 8 {
            0..3 => assert_eq!(map.insert(number, step), tree.insert(number, step)),
            3..5 => assert_eq!(map.remove(number), tree.remove(&number)),
            5 => assert_eq!(map.pop_first(), tree.pop_first()),
            6 => assert_eq!(map.get_mut(number), tree.get_mut(&number)),
            _ if step % 97 == 0 => {
                assert_eq!(map.take_values(), std::mem::take(&mut tree).into_values().collect::<Vec<_>>());
            }
            _ => {
                map.update(|value| *value += 1);
                tree.values_mut().for_each(|value| *value += 1);
            }
        }
        assert_eq!(map.first(), tree.keys().next().copied());
        assert_eq!(map.is_empty(), tree.is_empty());
        assert_eq!(map.contains(number), tree.contains_key(&number));
        assert_eq!(map.get(number), tree.get(&number));
        assert!(map.iter().eq(tree.iter().map(|(number, value)| (*number, value))));
        assert!(map.values.len() <= 50, "places are used again");
    }
}

#[test]
fn equal_keys_keep_their_order() {
    let mut seed = 3;
    let keys: Vec<u64> = (0..1000).map(|_| draw(&mut seed) % 20).collect();
    let mut sorted: Vec<usize> = (0..1000).collect();
    sorted.sort_by_key(|index| keys[*index]);
    let mut pairs: Vec<(u64, usize)> = keys.iter().copied().zip(0..).collect();
    super::sort(&mut pairs);
    assert_eq!(pairs.into_iter().map(|(_, index)| index).collect::<Vec<_>>(), sorted);
}

#[test]
fn a_set_does_what_a_tree_does() {
    let mut seed = 11;
    let (mut set, mut tree) = (NumberSet::default(), BTreeSet::new());
    for _ in 0..20_000 {
        let number = draw(&mut seed) % 50;
        if draw(&mut seed).is_multiple_of(2) {
            assert_eq!(set.insert(number), tree.insert(number));
        } else {
            set.remove(number);
            tree.remove(&number);
        }
        assert_eq!(set.contains(number), tree.contains(&number));
        assert_eq!(set.len(), tree.len());
        assert!(set.numbers().iter().eq(tree.iter()));
    }
}

#[test]
fn a_map_gives_back_what_a_burst_has_needed_although_some_stay() {
    const MANY: u64 = 10_007;
    let (mut map, mut tree) = (NumberMap::new(), BTreeMap::new());
    for round in 1..4 {
        for step in 0..MANY {
            assert_eq!(map.insert(step, step * round), tree.insert(step, step * round));
        }
        for step in 0..MANY - 5 {
            let number = step * 5003 % MANY;
            assert_eq!(map.remove(number), tree.remove(&number));
            let places = (map.values.len(), map.places.free.len());
            assert_eq!(places.0 - places.1, tree.len());
            assert!(places.1 <= 4 * tree.len() + 67, "{places:?} for {}", tree.len());
        }
        assert!(map.iter().eq(tree.iter().map(|(number, value)| (*number, value))));
        assert!(map.values.capacity() + map.places.free.capacity() < 500);
    }
    assert_eq!(map.take_values(), tree.into_values().collect::<Vec<_>>());
}

#[test]
fn an_empty_map_keeps_neither_values_nor_memory() {
    let value = Rc::new(());
    let mut map = NumberMap::new();
    for number in 0..100 {
        map.insert(number, Rc::clone(&value));
    }
    assert_eq!(Rc::strong_count(&value), 101);
    for number in (0..100).rev() {
        map.remove(number);
    }
    assert_eq!(Rc::strong_count(&value), 1);
    assert_eq!((map.values.capacity(), map.places.free.capacity()), (0, 0));
}
