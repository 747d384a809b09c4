//! Tests of `queue`.

use super::*;

/// Takes one item.
fn take<T>(queues: &Queues<T>, local: Option<&LocalQueue<T>>, cursor: &mut StealCursor) -> Option<T> {
    let taken = queues.take(local, cursor, 1)?;
    assert!(!taken.moved, "no more than one");
    Some(taken.item)
}

#[test]
fn own_deque_then_injector_then_others() {
    let queues = Queues::new(2);
    let mine = queues.acquire().unwrap();
    let other = queues.acquire().unwrap();
    assert!(queues.acquire().is_none(), "Q1: there are two");
    queues.push(Some(&other), 3);
    queues.push(None, 2);
    queues.push(Some(&mine), 1);
    let mut cursor = StealCursor::new(0);
    let order: Vec<i32> = std::iter::from_fn(|| take(&queues, Some(&mine), &mut cursor)).collect();
    assert_eq!(order, [1, 2, 3]);
    assert!(queues.is_empty());
}

#[test]
fn a_busy_injector_does_not_starve_the_deques() {
    let queues = Queues::new(1);
    let local = queues.acquire().unwrap();
    queues.push(Some(&local), usize::MAX);
    let mut cursor = StealCursor::new(0);
    let looks = (0..).find(|&look| {
        queues.push(None, look);
        take(&queues, None, &mut cursor) == Some(usize::MAX)
    });
    assert!(looks.unwrap() < FAIRNESS as usize);
}

#[test]
fn a_busy_deque_does_not_starve_the_injector() {
    let queues = Queues::new(1);
    let local = queues.acquire().unwrap();
    queues.push(None, usize::MAX);
    let mut cursor = StealCursor::new(0);
    let looks = (0..).find(|&look| {
        queues.push(Some(&local), look);
        take(&queues, Some(&local), &mut cursor) == Some(usize::MAX)
    });
    assert!(looks.unwrap() < FAIRNESS as usize);
}

/// How many looks a thread with a deque takes to find what `hide` has enqueued, where `refill`
/// keeps queues busy.
fn looks_until_found(
    queues: &Queues<usize>,
    local: &LocalQueue<usize>,
    hide: impl Fn(usize),
    refill: impl Fn(usize),
) -> usize {
    hide(usize::MAX);
    let mut cursor = StealCursor::new(0);
    let found = (0..10_000).find(|&look| {
        refill(look);
        take(queues, Some(local), &mut cursor) == Some(usize::MAX)
    });
    found.expect("it starves")
}

#[test]
fn busy_deques_do_not_starve_the_injector() {
    let queues = Queues::new(2);
    let (mine, other) = (queues.acquire().unwrap(), queues.acquire().unwrap());
    let refill = |look| [&mine, &other].into_iter().for_each(|local| queues.push(Some(local), look));
    let looks = looks_until_found(&queues, &mine, |item| queues.push(None, item), refill);
    assert!(looks < 2 * FAIRNESS as usize);
}

#[test]
fn a_busy_deque_and_injector_do_not_starve_the_other_deque() {
    let queues = Queues::new(2);
    let (mine, other) = (queues.acquire().unwrap(), queues.acquire().unwrap());
    let refill = |look| [Some(&mine), None].into_iter().for_each(|local| queues.push(local, look));
    let looks = looks_until_found(&queues, &mine, |item| queues.push(Some(&other), item), refill);
    assert!(looks < 2 * FAIRNESS as usize);
}

#[test]
fn a_batch_comes_from_the_injector_in_order_and_leaves_some_to_others() {
    let queues = Queues::new(2);
    let (mine, other) = (queues.acquire().unwrap(), queues.acquire().unwrap());
    let (mut cursor, mut thief) = (StealCursor::new(0), StealCursor::new(1));
    (0..40).for_each(|item| queues.push(None, item));
    let mut first = |batch| queues.take(Some(&mine), &mut cursor, batch).unwrap();
    assert_eq!(first(8), Taken { item: 0, moved: true });
    assert_eq!(queues.take_injected(), Some(8), "eight in all");
    assert_eq!(take(&queues, Some(&other), &mut thief), Some(9), "the injector comes first");
    assert_eq!(queues.take_stolen(Some(&other), &mut thief), Some(1), "others may steal what waits");
    for item in 2..8 {
        assert_eq!(first(8), Taken { item, moved: false }, "no second batch before the first is used up");
    }
    assert_eq!(first(1), Taken { item: 10, moved: false });
    assert_eq!(first(1000), Taken { item: 11, moved: true });
    assert!(queues.take_injected().is_some_and(|item| (12..40).contains(&item)), "not all of them");
    (0..100).for_each(|item| queues.push(Some(&other), item));
    let stolen = queues.take(None, &mut thief, 32).unwrap();
    assert!(!stolen.moved, "a thread without a deque takes one");
}

/// A thread alone runs what others submit in their order, whatever looks are due.
#[test]
fn batches_leave_the_order() {
    let queues = Queues::new(1);
    let mine = queues.acquire().unwrap();
    let mut cursor = StealCursor::new(0);
    (0..5000).for_each(|item| queues.push(None, item));
    for item in 0..5000 {
        if item % 7 == 0 {
            cursor.look_into_injector();
        }
        assert_eq!(queues.take(Some(&mine), &mut cursor, 32).map(|taken| taken.item), Some(item));
    }
}

#[test]
fn a_look_into_the_injector_comes_before_what_the_thread_has_spawned() {
    let queues = Queues::new(1);
    let mine = queues.acquire().unwrap();
    let mut cursor = StealCursor::new(0);
    queues.push(Some(&mine), 1);
    queues.push(None, 2);
    queues.push(None, 3);
    cursor.look_into_injector();
    let order: Vec<_> = std::iter::from_fn(|| take(&queues, Some(&mine), &mut cursor)).collect();
    assert_eq!(order, [2, 1, 3]);
}

#[test]
fn busy_batches_do_not_starve_the_deques() {
    let queues = Queues::new(2);
    let (mine, other) = (queues.acquire().unwrap(), queues.acquire().unwrap());
    queues.push(Some(&other), usize::MAX);
    let mut cursor = StealCursor::new(0);
    let looks = (0..10_000).find(|&look| {
        (0..3).for_each(|_| queues.push(None, look));
        queues.take(Some(&mine), &mut cursor, 32).map(|taken| taken.item) == Some(usize::MAX)
    });
    assert!(looks.unwrap() < 2 * (FAIRNESS as usize + 32));
}

/// Nor does what is given back again and again.
#[test]
fn what_is_given_back_does_not_starve_the_injector() {
    for deque in [true, false] {
        let queues = Queues::new(2);
        let (mine, other) = (queues.acquire().unwrap(), queues.acquire().unwrap());
        let local = deque.then_some(&mine);
        queues.push(None, usize::MAX);
        let mut cursor = StealCursor::new(0);
        let looks = (0..10_000).find(|&look| {
            (0..3).for_each(|_| queues.push(Some(&other), look));
            assert!(queues.give_back(other.index()));
            queues.take(local, &mut cursor, 32).map(|taken| taken.item) == Some(usize::MAX)
        });
        assert!(looks.unwrap() <= 2 * FAIRNESS as usize);
    }
}

/// Nor do threads whose own deques are never empty keep what is given back from its turn, or that
/// the deques of others.
#[test]
fn busy_deques_starve_nothing_that_is_given_back_and_that_no_deque() {
    let queues = Queues::new(2);
    let (mine, other) = (queues.acquire().unwrap(), queues.acquire().unwrap());
    queues.push(Some(&other), usize::MAX);
    assert!(queues.give_back(other.index()));
    let mut cursor = StealCursor::new(0);
    let mut looks_for = |more_given_back: bool| {
        (0..10_000).find(|&look| {
            queues.push(Some(&mine), look);
            queues.push(None, look);
            if more_given_back {
                queues.given_back.push(look);
            }
            queues.take(Some(&mine), &mut cursor, 32).map(|taken| taken.item) == Some(usize::MAX)
        })
    };
    assert!(looks_for(false).is_some_and(|looks| looks <= 4 * FAIRNESS as usize));
    queues.push(Some(&other), usize::MAX);
    assert!(looks_for(true).is_some_and(|looks| looks <= 4 * FAIRNESS as usize));
}

#[test]
fn the_last_item_is_a_batch_of_one() {
    let queues = Queues::new(1);
    let mine = queues.acquire().unwrap();
    queues.push(None, 7);
    let mut cursor = StealCursor::new(0);
    assert_eq!(queues.take(Some(&mine), &mut cursor, 32), Some(Taken { item: 7, moved: false }));
    assert_eq!(queues.take(Some(&mine), &mut cursor, 32), None);
    assert!(queues.is_empty());
}

#[test]
fn a_deque_is_given_back_in_order_before_the_injector() {
    let queues = Queues::new(2);
    let stalled = queues.acquire().unwrap();
    for item in 0..100 {
        queues.push(Some(&stalled), item);
    }
    queues.push(None, 100);
    assert!(queues.give_back(stalled.index()));
    assert!(!queues.is_empty() && !queues.looks_empty(None));
    let order: Vec<i32> = std::iter::from_fn(|| queues.take_injected()).collect();
    assert_eq!(order, (0..101).collect::<Vec<_>>(), "all of them, in order, before the injector");
    assert!(!queues.give_back(usize::MAX));
    queues.push(Some(&stalled), 7);
    queues.release(stalled);
    assert_eq!(queues.take_any(), Some(7), "a thread that ends leaves nothing behind");
}

#[test]
fn every_deque_but_ones_own_is_stolen_from_wherever_the_walk_begins() {
    let queues = Queues::new(5);
    let locals: Vec<_> = (0..5).map(|_| queues.acquire().unwrap()).collect();
    let mut cursor = StealCursor::new(1);
    for round in 0..100 {
        let thief = &locals[round % 5];
        let others = || (0..5).filter(|&index| index != thief.index());
        others().for_each(|index| queues.push(Some(&locals[index]), index));
        queues.push(Some(thief), 5);
        let mut stolen: Vec<_> =
            (0..4).filter_map(|_| queues.take_stolen(Some(thief), &mut cursor)).collect();
        stolen.sort_unstable();
        assert!(stolen.iter().copied().eq(others()), "{stolen:?} by {}", thief.index());
        assert_eq!(queues.take_stolen(Some(thief), &mut cursor), None, "its own is not a victim");
        assert_eq!(thief.deque.pop(), Some(5));
    }
    assert_eq!(queues.deques(), 5);
}

#[test]
fn empty_means_that_no_queue_holds_anything() {
    let queues = Queues::new(2);
    let (mine, other) = (queues.acquire().unwrap(), queues.acquire().unwrap());
    // Where the item is; whether any queue holds it; whether the owner of `mine`, or who has
    // none, looks there first.
    let table = [(Some(&mine), false, true), (Some(&other), true, true), (None, false, false)];
    for (place, mine_empty, injector_empty) in table {
        assert!(queues.is_empty() && queues.looks_empty(Some(&mine)) && queues.looks_empty(None));
        queues.push(place, ());
        assert!(!queues.is_empty());
        assert_eq!((queues.looks_empty(Some(&mine)), queues.looks_empty(None)), (mine_empty, injector_empty));
        assert!(queues.take_any().is_some());
    }
}

#[test]
fn a_deque_given_back_is_lent_again() {
    let queues = Queues::<()>::new(2);
    let (first, second) = (queues.acquire().unwrap(), queues.acquire().unwrap());
    assert_eq!((first.index(), second.index()), (0, 1));
    assert_eq!(format!("{queues:?}"), "Queues { deques: 2, .. }");
    assert_eq!(format!("{second:?}"), "Local { index: 1, .. }");
    queues.release(second);
    assert_eq!(queues.acquire().map(|local| local.index()), Some(1));
    assert!(queues.acquire().is_none());
}

/// The first numbers that the author of the generator gives for this start.
#[test]
fn the_walk_is_that_of_its_source() {
    let mut cursor = StealCursor { random: 2_463_534_242, ..StealCursor::new(0) };
    let numbers: Vec<_> = (0..4).map(|_| cursor.start(usize::MAX)).collect();
    assert_eq!(numbers, [723_471_715, 2_497_366_906, 2_064_144_800, 2_008_045_182]);
    let mut firsts = [0; 8];
    (0..1000).for_each(|_| firsts[cursor.start(firsts.len())] += 1);
    assert!(firsts.iter().all(|&count| count > 50), "scans begin everywhere: {firsts:?}");
    assert_eq!(cursor.start(0), 0);
}
