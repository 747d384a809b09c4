//! Tests of the hooks of a task: which run, in which order, and what may happen meanwhile.
#![expect(clippy::unwrap_used, reason = "in a test, helpers included, an unwrap is an assertion")]

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// So many that the map has several levels.
const MANY: usize = if cfg!(miri) { 100 } else { 5_000 };

/// Registers `many` hooks that send their numbers.
fn register(hooks: &Hooks, many: usize) -> (Vec<u64>, Receiver<usize>) {
    let (ran, order) = channel();
    let add = |number| {
        let ran = ran.clone();
        hooks.add(Box::new(move || ran.send(number).unwrap())).unwrap()
    };
    ((0..many).map(add).collect(), order)
}

/// The numbers below `MANY`: ascending, descending, and scattered.
fn orders() -> [Vec<usize>; 3] {
    let ascending = || 0..MANY;
    [ascending().collect(), ascending().rev().collect(), ascending().map(|n| n * 7919 % MANY).collect()]
}

#[test]
fn each_hook_is_removed_by_its_own_id_and_the_others_run_in_order() {
    let hooks = Hooks::new();
    let (ids, order) = register(&hooks, 4);
    hooks.remove(ids[1]);
    hooks.remove(ids[1]);
    hooks.fire();
    assert_eq!(order.try_iter().collect::<Vec<_>>(), [0, 2, 3]);
    hooks.remove(ids[0]);
    let (ran, late) = channel();
    assert_eq!(hooks.add(Box::new(move || ran.send(4).unwrap())), None);
    assert_eq!(late.try_recv(), Ok(4), "the cancellation has come");
}

#[test]
fn many_hooks_run_once_each_in_the_order_of_registration() {
    let hooks = Hooks::new();
    let (ids, order) = register(&hooks, MANY);
    hooks.fire();
    hooks.fire();
    ids.into_iter().rev().for_each(|id| hooks.remove(id));
    hooks.close();
    assert!(order.iter().eq(0..MANY));
}

#[test]
fn many_hooks_are_removed_in_any_order_and_what_is_left_runs() {
    for removals in orders() {
        let hooks = Hooks::new();
        let (ids, order) = register(&hooks, MANY);
        let goes = |number: usize| !number.is_multiple_of(5);
        removals.iter().filter(|&&number| goes(number)).for_each(|&number| hooks.remove(ids[number]));
        hooks.fire();
        let left: Vec<_> = (0..MANY).filter(|&number| !goes(number)).collect();
        assert_eq!(order.try_iter().collect::<Vec<_>>(), left);
    }
    for removals in orders() {
        let hooks = Hooks::new();
        let (ids, order) = register(&hooks, MANY);
        removals.into_iter().for_each(|number| hooks.remove(ids[number]));
        hooks.fire();
        assert!(order.recv().is_err(), "all of them have been dropped unrun");
    }
}

#[test]
fn a_hook_may_remove_and_add_others_while_all_of_them_run() {
    for removals in orders() {
        let hooks = Arc::new(Hooks::new());
        let (give, ids) = channel::<Vec<u64>>();
        let (ran, late) = channel();
        let inner = Arc::clone(&hooks);
        let first = move || {
            let ids: Vec<_> = ids.recv().unwrap();
            let odd = removals.iter().filter(|&&number| number % 2 == 1);
            odd.for_each(|&number| inner.remove(ids[number]));
            assert_eq!(inner.add(Box::new(move || ran.send(()).unwrap())), None);
        };
        assert!(hooks.add(Box::new(first)).is_some());
        let (others, order) = register(&hooks, MANY);
        give.send(others).unwrap();
        hooks.fire();
        assert_eq!(late.try_recv(), Ok(()), "at once");
        assert!(order.iter().eq((0..MANY).step_by(2)));
    }
}

/// Says when it is dropped, uses the hooks meanwhile, and panics at the end.
struct Busy(Arc<Hooks>, Sender<u64>);

impl Drop for Busy {
    fn drop(&mut self) {
        let id = self.0.add(Box::new(|| ())).unwrap();
        self.0.remove(id);
        self.1.send(id).unwrap();
        resume_unwind(Box::new("a destructor"));
    }
}

#[test]
fn what_is_left_at_the_end_is_dropped_without_the_lock_each_by_itself() {
    let hooks = Arc::new(Hooks::new());
    let (dropped, drops) = channel();
    for _ in 0..100 {
        let busy = Busy(Arc::clone(&hooks), dropped.clone());
        assert!(hooks.add(Box::new(move || drop(busy))).is_some());
    }
    hooks.close();
    assert_eq!(drops.try_iter().count(), 100);
    assert_eq!(Arc::strong_count(&hooks), 1, "none of them is left");
}
