//! Tests of lanes one step after the other, without a pool: the order of keys, shares, limits,
//! names.

use std::collections::{BTreeMap, VecDeque};
use std::panic::Location;
use std::sync::Arc;

use super::keyed::new_key_order;
use super::settings::{KeySettings, LaneSettings};
use super::shares::Shares;
use super::waiting::{ErasedKey, KeyId, LanePlace};
use super::{LaneCore, Lanes, Naming};
use crate::error::{Reason, TaskId};
use crate::latency::LatencyRecorder;
use crate::task::{Task, TaskRef, new_task};

fn lane(lanes: &Arc<Lanes>, name: &str, settings: LaneSettings) -> Arc<LaneCore> {
    lanes.get_or_make(name.to_owned(), Naming::Shared, settings, |_| LatencyRecorder::default())
}

/// A task of `lane`: the entry, and the handle.
fn task(lane: &LaneCore) -> (TaskRef, Task<()>) {
    let (entry, handle) = new_task(|| (), Arc::as_ptr(lane.account()), Location::caller(), None);
    (entry, Task::new(handle))
}

/// Ends a task that was taken out of a lane, as one that does not run.
fn end(lane: &LaneCore, task: TaskRef) {
    lane.end_unrun(task.id());
    let claimed = task.claim().expect("it is queued");
    claimed.count_cancelled();
    claimed.discard(Reason::Cancelled);
}

fn keyed(limit: usize, per_key: usize) -> LaneSettings {
    let keys = KeySettings {
        key: std::any::TypeId::of::<u32>(),
        key_name: "u32",
        per_key,
        is_set: true,
        order: new_key_order,
    };
    LaneSettings { keys: Some(keys), ..LaneSettings::of(limit) }
}

fn pin(lane: &LaneCore, key: u32) -> KeyId {
    let mut after = 0;
    loop {
        // Two keys in a row have one hash.
        let (id, known) =
            lane.pin_key(u64::from(key / 2), after, &mut || -> ErasedKey { Arc::new(key) }).expect("no fork");
        if known.is_none_or(|known| known.downcast_ref() == Some(&key)) {
            return id;
        }
        lane.unpin_key(id);
        after = id.number();
    }
}

/// Picks `turns` turns of lanes that always have a slot pending, and counts those of each.
fn turns_of(weights: &[usize], turns: usize) -> Vec<usize> {
    let shares = Shares::default();
    let lanes: Vec<_> = weights.iter().map(|weight| shares.register(*weight)).collect();
    for (index, share) in lanes.iter().enumerate() {
        shares.list(share, Arc::new(index), || ());
    }
    let mut counts = vec![0; weights.len()];
    for _ in 0..turns {
        let index = shares.pick().expect("each has a slot pending");
        counts[*index] += 1;
        shares.list(&lanes[*index], index, || ());
    }
    counts
}

#[test]
fn turns_are_divided_by_the_weights() {
    for weights in [&[1, 3][..], &[3, 1], &[1, 1], &[1, 2, 3, 4], &[10_000, 1], &[7, 7, 7, 1]] {
        let sum: usize = weights.iter().sum();
        let counts = turns_of(weights, 8 * sum);
        for (weight, count) in weights.iter().zip(&counts) {
            assert!(count.abs_diff(8 * weight) <= weights.len(), "{counts:?} for {weights:?}");
        }
    }
    assert_eq!(turns_of(&[1, 3], 4000), [1000, 3000]);
}

#[test]
fn who_has_had_nothing_to_do_has_saved_nothing_up() {
    let shares = Shares::default();
    let (busy, lazy) = (shares.register(1), shares.register(1));
    shares.list(&lazy, Arc::new("lazy"), || ());
    assert_eq!(*shares.pick().unwrap(), "lazy");
    for _ in 0..1000 {
        shares.list(&busy, Arc::new("busy"), || ());
        assert_eq!(*shares.pick().unwrap(), "busy");
    }
    // Both have more than one slot pending.
    (0..20).for_each(|_| shares.list(&busy, Arc::new("busy"), || ()));
    (0..20).for_each(|_| shares.list(&lazy, Arc::new("lazy"), || ()));
    let first: Vec<_> = (0..20).map(|_| *shares.pick().unwrap()).collect();
    let lazy = first.iter().filter(|who| **who == "lazy").count();
    assert!((9..=11).contains(&lazy), "{first:?}");
}

/// Each of them is new, and has one turn.
#[test]
fn lanes_that_are_always_new_starve_nobody() {
    let shares = Shares::default();
    let patient = shares.register(1);
    shares.list(&patient, Arc::new(0), || ());
    let mut turns = 0;
    loop {
        let newcomer = shares.register(100);
        shares.list(&newcomer, Arc::new(1), || ());
        if *shares.pick().unwrap() == 0 {
            break;
        }
        turns += 1;
        assert!(turns <= 101, "the lane that waits has no turn");
    }
    assert!(turns >= 50, "it waits for its turn: {turns}");
}

#[test]
fn there_are_as_many_items_as_slots_are_listed() {
    let shares = Shares::default();
    let share = shares.register(5);
    let pushed = std::cell::Cell::new(0);
    let push = || pushed.set(pushed.get() + 1);
    let lane = Arc::new(());
    (0..3).for_each(|_| shares.list(&share, Arc::clone(&lane), push));
    assert_eq!(pushed.get(), 3);
    // Taken over: the items are left over, and serve the next ones.
    (0..3).for_each(|_| shares.take_off(&share));
    assert_eq!(Arc::strong_count(&lane), 1, "a lane that is not listed is not held");
    shares.take_off(&share);
    (0..4).for_each(|_| shares.list(&share, Arc::clone(&lane), push));
    assert_eq!(pushed.get(), 4);
    assert!((0..4).all(|_| shares.pick().is_some()));
    shares.unregister(&share);
}

#[test]
fn an_item_that_is_left_over_finds_no_lane() {
    let shares = Shares::default();
    let share = shares.register(1);
    shares.list(&share, Arc::new(()), || ());
    shares.take_off(&share);
    assert_eq!(shares.pick(), None);
}

#[test]
fn keys_take_turns_and_each_keeps_its_order() {
    let lanes = Lanes::new(false);
    let lane = lane(&lanes, "keyed", keyed(1, 1));
    let mut names = BTreeMap::new();
    let mut handles = Vec::new();
    for (key, count) in [(0, 4), (1, 1), (2, 2)] {
        for number in 0..count {
            let pin = pin(&lane, key);
            let (entry, handle) = task(&lane);
            names.insert(entry.id(), (key, number));
            let _ = lane.enqueue(entry, LanePlace::Key(pin), || ());
            lane.unpin_key(pin);
            handles.push(handle);
        }
    }
    assert_eq!(lane.keys(), 3);
    let mut order = Vec::new();
    let mut next = lane.begin_with_next();
    while let Some(taken) = next {
        order.push(names[&taken.id()]);
        end(&lane, taken);
        next = lane.next();
    }
    assert_eq!(order, [(0, 0), (1, 0), (2, 0), (0, 1), (2, 1), (0, 2), (0, 3)]);
    assert_eq!(lane.keys(), 0);
}

/// What a keyed lane is to do, without care for speed.
#[derive(Default)]
struct PlainKeys {
    waiting: BTreeMap<u32, VecDeque<TaskId>>,
    begun: BTreeMap<TaskId, u32>,
}

impl PlainKeys {
    fn ready(&self, per_key: usize) -> usize {
        let ready = |(key, tasks): (&u32, &VecDeque<TaskId>)| {
            let begun = self.begun.values().filter(|other| *other == key).count();
            tasks.len().min(per_key.saturating_sub(begun))
        };
        self.waiting.iter().map(ready).sum()
    }

    fn keys(&self) -> usize {
        let mut keys: Vec<_> = self.waiting.iter().filter(|(_, tasks)| !tasks.is_empty()).collect();
        let only_begun = self.begun.values().filter(|key| keys.iter().all(|(other, _)| other != key));
        let mut others: Vec<_> = only_begun.copied().collect();
        others.sort_unstable();
        others.dedup();
        let count = keys.len() + others.len();
        keys.clear();
        count
    }
}

/// A keyed lane beside its model.
struct Trial {
    lane: Arc<LaneCore>,
    per_key: usize,
    plain: PlainKeys,
    handles: BTreeMap<TaskId, Task<()>>,
    running: VecDeque<TaskRef>,
}

impl Trial {
    fn submit(&mut self, key: u32) {
        let pin = pin(&self.lane, key);
        let (entry, handle) = task(&self.lane);
        self.plain.waiting.entry(key).or_default().push_back(entry.id());
        self.handles.insert(entry.id(), handle);
        let _ = self.lane.enqueue(entry, LanePlace::Key(pin), || ());
        self.lane.unpin_key(pin);
    }

    fn begin(&mut self) {
        let Some(taken) = self.lane.take_over_with_next() else {
            return assert_eq!(self.plain.ready(self.per_key), 0);
        };
        let id = taken.id();
        let mut waiting = self.plain.waiting.iter_mut();
        let (key, tasks) =
            waiting.find(|(_, tasks)| tasks.front() == Some(&id)).expect("it is the first of its key");
        tasks.pop_front();
        self.plain.begun.insert(id, *key);
        self.running.push_back(taken);
    }

    /// The thread that ends the first has a slot then, and gives it back.
    fn end_first(&mut self) {
        let Some(ended) = self.running.pop_front() else { return };
        let id = ended.id();
        self.plain.begun.remove(&id);
        let (released, keys) = self.lane.release_if_idle(id);
        drop(keys);
        let claimed = ended.claim().expect("it is queued");
        claimed.count_cancelled();
        claimed.discard(Reason::Cancelled);
        if !released {
            let _ = self.lane.release(None, || ());
        }
        self.handles.remove(&id);
    }

    /// The lane gets rid of the tombstone.
    fn cancel_first(&mut self) {
        let Some((id, handle)) = self.handles.pop_first() else { return };
        if self.plain.begun.contains_key(&id) {
            self.handles.insert(id, handle);
            return;
        }
        drop(handle);
        self.lane.clear(&|task| !task.is_queued());
        self.plain.waiting.values_mut().for_each(|tasks| tasks.retain(|other| *other != id));
    }
}

#[test]
fn a_keyed_lane_does_what_a_plain_model_does() {
    for (per_key, seed) in [(1, 1_u64), (2, 2), (3, 3), (usize::MAX, 4)] {
        let lanes = Lanes::new(false);
        let lane = lane(&lanes, "keyed", keyed(usize::MAX, per_key));
        let (plain, handles, running) = (PlainKeys::default(), BTreeMap::new(), VecDeque::new());
        let mut trial = Trial { lane, per_key, plain, handles, running };
        let mut random = seed;
        for _ in 0..3000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (what, key) = ((random >> 33) % 10, (random >> 40) as u32 % 7);
            match what {
                0..=4 => trial.submit(key),
                5..=7 => trial.begin(),
                8 => trial.end_first(),
                _ => trial.cancel_first(),
            }
            trial.plain.waiting.retain(|_, tasks| !tasks.is_empty());
            assert_eq!(trial.lane.keys(), trial.plain.keys());
        }
        let Trial { lane, handles, running, .. } = trial;
        running.into_iter().for_each(|task| end(&lane, task));
        drop(handles);
        lane.clear(&|_| true);
        assert_eq!(lane.keys(), 0, "an empty key costs nothing");
    }
}

#[test]
fn a_limit_that_is_lowered_takes_pending_slots_back() {
    let lanes = Lanes::new(false);
    let lane = lane(&lanes, "lane", LaneSettings::of(4));
    let mut handles = Vec::new();
    for _ in 0..10 {
        let (entry, handle) = task(&lane);
        let _ = lane.enqueue(entry, LanePlace::InOrder, || ());
        handles.push(handle);
    }
    assert_eq!(lane.account().counters.counts().pending, 4);
    let first = lane.begin_with_next().unwrap();
    assert_eq!(lane.set_limit(2, || panic!("an item is left over")), Some(false));
    assert_eq!((lane.account().counters.counts().pending, lane.active()), (1, 1));
    assert_eq!(lane.set_limit(0, || panic!("an item is left over")), Some(false));
    assert_eq!((lane.account().counters.counts().pending, lane.active()), (0, 1));
    end(&lane, first);
    assert!(lane.next().is_none(), "above the limit the slot goes");
    assert_eq!(lane.active(), 0);
    assert!((0..3).all(|_| lane.begin_with_next().is_none()), "the items came too late");
    let pushed = std::cell::Cell::new(0);
    assert_eq!(lane.set_limit(usize::MAX, || pushed.set(pushed.get() + 1)), Some(true));
    assert_eq!((pushed.get(), lane.account().counters.counts().pending), (9, 9));
    drop(handles);
    lane.clear(&|_| true);
}

#[test]
fn a_pause_ends_where_nobody_is_left_to_end_it() {
    let lanes = Lanes::new(false);
    let closed = lane(&lanes, "closed", LaneSettings::of(3));
    assert_eq!(closed.set_limit(0, || ()), Some(false));
    assert!(!closed.close(|| ()), "nothing waits");
    assert_eq!(closed.limit(), 1);
    assert_eq!(closed.set_limit(0, || ()), Some(false));
    assert_eq!(closed.limit(), 1, "nor is a later pause one");
    let left = lane(&lanes, "left", LaneSettings::of(3));
    assert_eq!(left.set_limit(0, || ()), Some(false));
    let (entry, handle) = task(&left);
    assert!(!left.enqueue(entry, LanePlace::InOrder, || ()));
    assert!(left.remove_handle(), "the last one of a paused lane");
    let pushed = std::cell::Cell::new(0);
    assert!(left.look_at_handles(|| pushed.set(1)));
    assert_eq!((pushed.get(), left.limit()), (1, 1));
    let again = lane(&lanes, "left", LaneSettings::of(3));
    assert!(Arc::ptr_eq(&again, &left), "it lives, as its task has not ended");
    assert!(!left.look_at_handles(|| ()));
    assert_eq!(left.limit(), 0, "the pause goes on");
    drop(handle);
    left.clear(&|_| true);
}

#[test]
fn a_lane_of_a_strand_stays_serial() {
    let lanes = Lanes::new(false);
    let serial = lane(&lanes, "serial", LaneSettings::of(1));
    assert!(serial.cap_limit(1));
    assert_eq!(serial.set_limit(2, || ()), None);
    assert_eq!((serial.set_limit(0, || ()), serial.set_limit(1, || ())), (Some(false), Some(false)));
    let wide = lane(&lanes, "wide", LaneSettings::of(2));
    assert!(!wide.cap_limit(1));
    assert_eq!(wide.set_limit(3, || ()), Some(false), "it is none");
}

#[test]
fn a_name_is_one_lane_while_it_lives() {
    let lanes = Lanes::new(false);
    let one = lane(&lanes, "one", LaneSettings::of(2));
    assert!(Arc::ptr_eq(&one, &lane(&lanes, "one", LaneSettings::of(5))));
    assert!(!Arc::ptr_eq(&one, &lane(&lanes, "other", LaneSettings::of(2))));
    let label = |name: &str| {
        lanes.get_or_make(name.to_owned(), Naming::Label, LaneSettings::of(1), |_| LatencyRecorder::default())
    };
    let (first, second) = (label("one"), label("one"));
    assert!(!Arc::ptr_eq(&first, &one) && !Arc::ptr_eq(&first, &second));
    // Two handles.
    let _ = (one.remove_handle(), one.remove_handle());
    let next = lane(&lanes, "one", LaneSettings::of(7));
    assert!(!Arc::ptr_eq(&one, &next), "without a handle and a task it does not live");
    assert_eq!(next.limit(), 7);
    drop(one);
    assert!(
        Arc::ptr_eq(&next, &lane(&lanes, "one", LaneSettings::of(7))),
        "the old one's end changes nothing"
    );
}

#[test]
fn settings_differ_only_where_both_say_something() {
    let made =
        LaneSettings { queue_limit: Some(9), reserve: Some(1), weight: Some(3), ..LaneSettings::of(4) };
    assert_eq!(made.conflict(&LaneSettings::of(4)), None);
    assert_eq!(made.conflict(&made), None);
    let conflict = |wanted: LaneSettings| made.conflict(&wanted).unwrap();
    assert_eq!(conflict(LaneSettings::of(5)), "limit 4, and not 5");
    let other = LaneSettings::of(4);
    assert_eq!(conflict(LaneSettings { queue_limit: Some(1), ..other.clone() }), "queue_limit 9, and not 1");
    assert_eq!(conflict(LaneSettings { reserve: Some(0), ..other.clone() }), "reserve 1, and not 0");
    assert_eq!(conflict(LaneSettings { weight: Some(1), ..other.clone() }), "share 3, and not 1");
    assert_eq!(conflict(keyed(4, 1)), "no keys");
    assert_eq!(
        other.conflict(&LaneSettings { weight: Some(1), ..other.clone() }).unwrap(),
        "share none, and not 1"
    );
    assert_eq!(keyed(4, 1).conflict(&other).unwrap(), "keys of type u32");
    assert_eq!(keyed(4, 1).conflict(&keyed(4, 2)).unwrap(), "per_key 1, and not 2");
}
