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
        hooks.add(Box::new(move || ran.send(number).unwrap()), HookLife::Closure).unwrap()
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
    assert_eq!(hooks.add(Box::new(move || ran.send(4).unwrap()), HookLife::Closure), None);
    assert_eq!(late.try_recv(), Ok(4), "the cancellation has come");
}

#[test]
fn many_hooks_run_once_each_in_the_order_of_registration() {
    let hooks = Hooks::new();
    let (ids, order) = register(&hooks, MANY);
    hooks.fire();
    hooks.fire();
    ids.into_iter().rev().for_each(|id| hooks.remove(id));
    assert!(!hooks.close(), "there has been no token");
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
            assert_eq!(inner.add(Box::new(move || ran.send(()).unwrap()), HookLife::Closure), None);
        };
        assert!(hooks.add(Box::new(first), HookLife::Closure).is_some());
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
        let id = self.0.add(Box::new(|| ()), HookLife::Closure).unwrap();
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
        assert!(hooks.add(Box::new(move || drop(busy)), HookLife::Closure).is_some());
    }
    assert!(!hooks.close(), "there has been no token");
    assert_eq!(drops.try_iter().count(), 100);
    assert_eq!(Arc::strong_count(&hooks), 1, "none of them is left");
}

/// A dependent that counts, and says whether it is over.
struct Counted {
    reached: Sender<usize>,
    number: usize,
    is_over: bool,
}

impl Dependent for Counted {
    fn cancel(self: Box<Self>) {
        self.reached.send(self.number).unwrap();
    }

    fn is_over(&self) -> bool {
        self.is_over
    }
}

/// A waker that sends its number.
struct Numbered(Sender<usize>, usize);

impl std::task::Wake for Numbered {
    fn wake(self: Arc<Self>) {
        self.0.send(self.1).unwrap();
    }
}

/// A hook of each life, a waker and a dependent, by their numbers from `first` on.
fn register_kinds(hooks: &Hooks, reached: &Sender<usize>, first: usize) -> [u64; 4] {
    let hook = |number| {
        let reached = reached.clone();
        Box::new(move || reached.send(number).unwrap())
    };
    let closure = hooks.add(hook(first), HookLife::Closure).unwrap();
    let waker = Waker::from(Arc::new(Numbered(reached.clone(), first + 1)));
    let WakerLeft::Listed(waker, None) = hooks.leave_waker(None, waker, Waker::wake) else {
        panic!("nothing has come")
    };
    let dependent = Counted { reached: reached.clone(), number: first + 2, is_over: false };
    let listing = hooks.add_dependents(vec![Box::new(dependent)]);
    let dependent = listing.id.unwrap();
    listing.settle();
    [closure, waker, dependent, hooks.add(hook(first + 3), HookLife::Task).unwrap()]
}

#[test]
fn all_kinds_are_reached_in_the_order_in_which_they_came() {
    let (hooks, (reached, order)) = (Hooks::new(), channel());
    register_kinds(&hooks, &reached, 0);
    register_kinds(&hooks, &reached, 4);
    hooks.fire();
    assert!(order.try_iter().eq(0..8));
    let late = Counted { reached, number: 9, is_over: false };
    hooks.add_dependents(vec![Box::new(late)]).settle();
    assert!(order.try_iter().eq(9..10), "at once");
}

#[test]
fn what_is_removed_is_not_reached() {
    let (hooks, (reached, order)) = (Hooks::new(), channel());
    let [closure, waker, dependent, task] = register_kinds(&hooks, &reached, 0);
    assert!(hooks.take_waker(waker).is_some() && hooks.take_waker(waker).is_none());
    assert!(hooks.take_dependent(dependent).is_some() && hooks.take_dependent(dependent).is_none());
    hooks.remove(closure);
    hooks.remove(task);
    let [_, waker, ..] = register_kinds(&hooks, &reached, 4);
    let other = Waker::from(Arc::new(Numbered(reached.clone(), 10)));
    let left = hooks.leave_waker(Some(waker), other, Waker::wake);
    assert!(matches!(left, WakerLeft::Listed(id, Some(_)) if id == waker), "in the place of the first");
    assert_eq!(hooks.take_dependents().len(), 1);
    hooks.fire();
    assert_eq!(order.try_iter().collect::<Vec<_>>(), [4, 10, 7]);
}

#[test]
fn the_end_of_the_closure_takes_its_own_hooks_and_the_seal_takes_the_rest() {
    for is_cancelled in [false, true] {
        let (hooks, (reached, order)) = (Hooks::new(), channel());
        hooks.expect_others();
        register_kinds(&hooks, &reached, 0);
        assert!(hooks.close(), "there has been a token");
        hooks.seal(is_cancelled);
        let woken: &[usize] = if is_cancelled { &[] } else { &[1] };
        assert_eq!(order.try_iter().collect::<Vec<_>>(), woken, "to learn of the end");
        let (ran, late) = channel();
        assert_eq!(hooks.add(Box::new(move || ran.send(()).unwrap()), HookLife::Task), None);
        assert_eq!(late.try_recv().is_ok(), is_cancelled);
        let waker = Waker::from(Arc::new(Numbered(reached.clone(), 8)));
        match hooks.leave_waker(None, waker, Waker::wake) {
            WakerLeft::Fired(_) => assert!(is_cancelled),
            WakerLeft::Sealed(_) => assert!(!is_cancelled),
            WakerLeft::Listed(..) => panic!("nothing will come for it"),
        }
        if is_cancelled {
            // The canceller comes after the end.
            hooks.fire();
            assert_eq!(order.try_iter().collect::<Vec<_>>(), [1, 2, 3]);
        }
    }
}

#[test]
fn dependents_that_are_over_are_swept_and_the_others_stay() {
    let (hooks, (reached, order)) = (Hooks::new(), channel());
    for number in 0..MANY {
        let is_over = !number.is_multiple_of(50);
        let dependent = Counted { reached: reached.clone(), number, is_over };
        hooks.add_dependents(vec![Box::new(dependent)]).settle();
        let most = FEW.max(2 * (number / 50 + 1)) + 1;
        assert!(hooks.list.lock().dependents <= most, "after {number}");
    }
    hooks.fire();
    assert_eq!(order.try_iter().filter(|number| number.is_multiple_of(50)).count(), MANY.div_ceil(50));
}
