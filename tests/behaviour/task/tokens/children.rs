//! `CancelToken::child`: what is cancelled with a token, and alone.

use std::sync::atomic::Ordering;
use std::thread;

use sidestep::CancelToken;

use super::with_token;
use crate::support::{Drops, Gate, counter, occupy, pool, soon};

#[test]
fn a_child_is_cancelled_with_its_parent_and_not_the_reverse() {
    let root = CancelToken::new();
    let children = [root.child(), root.child()];
    let grandchild = children[0].child();
    children[0].cancel();
    assert!(grandchild.is_cancelled() && children[0].is_cancelled());
    assert!(!root.is_cancelled() && !children[1].is_cancelled());
    assert!(children[0].child().is_cancelled(), "born so");
    root.cancel();
    assert!(children[1].is_cancelled());
    assert!(root.child().is_cancelled() && root.child().child().check().is_err());
}

#[test]
fn all_flags_are_there_before_the_first_hook() {
    let root = CancelToken::new();
    let child = root.child();
    let grandchild = child.child();
    let (count, bump) = counter();
    let last = grandchild.clone();
    let _guards = [
        root.on_cancel(move || assert!(last.is_cancelled())),
        child.on_cancel(bump.clone()),
        grandchild.on_cancel(bump),
    ];
    root.cancel();
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[test]
fn children_of_a_task_end_with_its_cancellation() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let (task, token) = with_token(&pool, &gate);
    let children = [token.child(), token.child()];
    let grandchild = children[1].child();
    children[0].cancel();
    assert!(!token.is_cancelled() && !grandchild.is_cancelled());
    task.cancel_handle().cancel();
    assert!(children[1].is_cancelled() && grandchild.is_cancelled() && token.child().is_cancelled());
    gate.open();
    soon(task).unwrap();

    let (task, token) = with_token(&pool, &gate);
    let child = token.child();
    soon(task).unwrap();
    let late = token.child();
    token.cancel();
    assert!(!child.is_cancelled() && !late.is_cancelled(), "the task has ended");
    late.cancel();
    assert!(late.is_cancelled());
}

#[test]
fn what_stands_between_may_be_dropped() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let busy = occupy(&pool, &gate);
    let (running, of_running) = (CancelToken::new(), Drops::new());
    for root in [CancelToken::new(), running.child()] {
        let middle = root.child();
        let (left, right) = (middle.child(), middle.child());
        let queued = pool.spawn(|| ());
        queued.link(&middle);
        drop(middle);
        assert!(!queued.is_finished());
        let below = left.child();
        drop(left);
        root.cancel();
        assert!(right.is_cancelled() && below.is_cancelled());
        assert!(soon(queued).unwrap_err().is_cancelled());
    }
    assert!(!running.is_cancelled() && of_running.count() == 0);
    gate.open();
    soon(busy).unwrap();
}

/// A source without a token stays as long as it holds two others together, and is given the tasks
/// of those that go before.
#[test]
fn the_tasks_of_what_is_dropped_go_up_step_by_step() {
    let (tasks, pool, gate) = (pool(4, 4), pool(1, 1), Gate::new());
    let busy = occupy(&pool, &gate);
    for (cancels, is_child) in [(true, true), (true, false), (false, true), (false, false)] {
        let (task, of_task) = with_token(&tasks, &gate);
        for top in [CancelToken::new(), of_task] {
            let root = if is_child { top.child() } else { top.clone() };
            let middle = root.child();
            let (first, second, third) = (middle.child(), middle.child(), middle.child());
            let queued = pool.spawn(|| ());
            queued.link(&first);
            drop((middle, first));
            if cancels {
                second.cancel();
            }
            drop(second);
            assert!(!queued.is_finished() && !third.is_cancelled());
            top.cancel();
            assert!(third.is_cancelled());
            assert!(queued.is_finished(), "it was linked to what would have been cancelled now");
        }
        task.detach();
    }
    gate.open();
    soon(busy).unwrap();
}

/// What has no token above it any more can be cancelled by nothing.
#[test]
fn a_task_goes_on_whose_last_token_is_gone() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let (task, own) = with_token(&pool, &gate);
    let root = CancelToken::new();
    let child = root.child();
    task.link(&child);
    drop((root, child));
    gate.open();
    assert!(!soon(task).unwrap() && !own.is_cancelled());
}

/// A line of descent, all of it or only its ends kept: neither the cancellation nor the drop nests.
#[test]
fn a_deep_line_is_cancelled_and_dropped_on_a_small_stack() {
    const DEEP: usize = if cfg!(miri) { 500 } else { 50_000 };
    let on_small_stack = |f: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().stack_size(128 << 10).spawn(f).unwrap().join().unwrap();
    };
    let root = CancelToken::new();
    let mut line = vec![root.child()];
    for number in 0..DEEP {
        line.push(line[number].child());
    }
    let (cancels, last) = (root.clone(), line[DEEP].clone());
    on_small_stack(Box::new(move || cancels.cancel()));
    assert!(last.is_cancelled());
    on_small_stack(Box::new(move || drop(line)));

    let root = CancelToken::new();
    let mut last = root.child();
    let mut line = Vec::new();
    for number in 0..DEEP {
        last = last.child();
        if number % 2 == 0 {
            line.push(last.clone());
        }
    }
    on_small_stack(Box::new(move || drop(line)));
    assert!(!last.is_cancelled());
    on_small_stack(Box::new(move || root.cancel()));
    assert!(last.is_cancelled());
}

/// A token of the model: whose child it is, and whether it has been cancelled itself.
struct Modelled {
    token: Option<CancelToken>,
    parent: Option<usize>,
    is_cancelled: bool,
}

/// Random families, cut and cancelled at random, against the simplest model: a source is cancelled
/// if it or one above it has been, whatever has been dropped meanwhile; and so are the tasks that
/// are linked to it.
#[test]
fn random_families_agree_with_the_model() {
    let mut seed = 7_u64;
    let mut dice = move |sides: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % sides
    };
    let is_cancelled = |family: &[Modelled], of: usize| {
        std::iter::successors(Some(of), |&one| family[one].parent).any(|one| family[one].is_cancelled)
    };
    for round in 0..if cfg!(miri) { 5 } else { 300 } {
        let (pool, gate) = (pool(1, 1), Gate::new());
        let (task, top) = with_token(&pool, &gate);
        let mut family = vec![Modelled { token: Some(top), parent: None, is_cancelled: false }];
        if round % 2 == 0 {
            family.push(Modelled { token: Some(CancelToken::new()), parent: None, is_cancelled: false });
        }
        let mut linked = Vec::new();
        for step in 0..90 {
            let one = dice(family.len());
            let Some(token) = family[one].token.clone() else { continue };
            if dice(3) == 0 {
                let queued = pool.spawn(|| ());
                queued.link(&token);
                linked.push((queued, one));
            }
            // In the end the family only shrinks.
            match if step < 60 { dice(10) } else { 6 + dice(4) } {
                0..=5 => {
                    let token = Some(token.child());
                    family.push(Modelled { token, parent: Some(one), is_cancelled: false });
                }
                6..=8 => family[one].token = None,
                _ if one > 1 || dice(4) == 0 => {
                    token.cancel();
                    family[one].is_cancelled = true;
                }
                _ => {}
            }
            drop(token);
            for (number, member) in family.iter().enumerate() {
                let expected = is_cancelled(&family, number);
                assert!(member.token.as_ref().is_none_or(|token| token.is_cancelled() == expected));
            }
            for (queued, to) in &linked {
                assert_eq!(queued.is_finished(), is_cancelled(&family, *to));
            }
        }
        gate.open();
        soon(task).unwrap();
    }
}
