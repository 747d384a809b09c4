//! `Task::link`: a task is cancelled with a token.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use sidestep::{CancelToken, Pool, current};

use super::with_token;
use crate::support::{Drops, Gate, all_well, check_sound, eventually, nothing_happens, occupy, pool, soon};

#[test]
fn a_queued_task_ends_and_a_running_one_is_told() {
    let (pool, gate, drops) = (pool(1, 1), Gate::new(), Drops::new());
    let (running, _token) = with_token(&pool, &gate);
    let held = drops.token();
    let queued = pool.spawn(move || drop(held));
    let request = CancelToken::new();
    running.link(&request);
    queued.link(&request);
    request.cancel();
    assert!(queued.is_finished() && drops.count() == 1, "inside the call");
    assert!(soon(queued).unwrap_err().is_cancelled());
    gate.open();
    assert!(soon(running).unwrap());
    assert_eq!(pool.metrics().tasks_cancelled(), 1);
    check_sound(&pool);
}

#[test]
fn a_token_that_has_been_cancelled_cancels_at_once() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let busy = occupy(&pool, &gate);
    let request = CancelToken::new();
    request.cancel();
    let task = pool.spawn(|| ());
    task.link(&request);
    assert!(task.is_finished());
    let task = pool.spawn(|| ());
    task.link(&CancelToken::never());
    task.link(&current::token());
    gate.open();
    soon(task).unwrap();
    soon(busy).unwrap();
}

#[test]
fn the_link_outlives_the_handle() {
    let (pool, gate, ended) = (pool(1, 1), Gate::new(), channel());
    let request = CancelToken::new();
    let (started, end) = (gate.clone(), ended.0);
    let task = pool.spawn(move || {
        started.open();
        eventually("the cancellation arrives", current::is_cancelled);
        end.send(()).unwrap();
    });
    task.link(&request);
    task.detach();
    gate.pass();
    request.cancel();
    ended.1.recv().unwrap();
}

#[test]
fn any_of_several_tokens_is_enough_and_ended_tasks_care_for_none() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let tokens: Vec<_> = (0..3).map(|_| CancelToken::new()).collect();
    let (task, own) = with_token(&pool, &gate);
    tokens.iter().for_each(|token| task.link(token));
    tokens[1].cancel();
    assert!(own.is_cancelled() && !tokens[0].is_cancelled() && !tokens[2].is_cancelled());
    gate.open();
    soon(task).unwrap();
    tokens[0].cancel();
    let ended = pool.spawn(|| 7);
    eventually("it ends", || ended.is_finished());
    ended.link(&tokens[2]);
    tokens[2].cancel();
    assert_eq!(soon(ended).unwrap(), 7);
    check_sound(&pool);
}

#[test]
fn a_task_is_cancelled_with_another_task() {
    let (pool, gate) = (pool(2, 2), Gate::new());
    let (first, token) = with_token(&pool, &gate);
    let (second, of_second) = with_token(&pool, &gate);
    second.link(&token);
    drop(first);
    assert!(of_second.is_cancelled());
    gate.open();
    assert!(soon(second).unwrap());

    let (ends, token) = with_token(&pool, &gate);
    let (go, pass) = (Gate::new(), Gate::new());
    let (task, of_task) = with_token(&pool, &go);
    task.link(&token);
    soon(ends).unwrap();
    nothing_happens();
    assert!(!of_task.is_cancelled(), "the end of a task is no cancellation");
    go.open();
    soon(task).unwrap();
    pass.open();
    check_sound(&pool);
}

#[test]
fn circles_of_links_end() {
    for cancels in [true, false] {
        let (pool, gate) = (pool(3, 3), Gate::new());
        let (tasks, tokens): (Vec<_>, Vec<_>) = (0..3).map(|_| with_token(&pool, &gate)).unzip();
        let children: Vec<_> = tokens.iter().map(CancelToken::child).collect();
        for (number, task) in tasks.iter().enumerate() {
            task.link(&tokens[number]);
            task.link(&tokens[(number + 1) % 3]);
            task.link(&children[(number + 2) % 3]);
            task.link(&children[number]);
        }
        if cancels {
            tokens[2].cancel();
        }
        assert!(tokens.iter().chain(&children).all(|token| token.is_cancelled() == cancels));
        gate.open();
        for task in tasks {
            assert_eq!(soon(task).unwrap(), cancels);
        }
        check_sound(&pool);
    }
}

/// Each task runs and is linked to the one before: the cancellation goes through all of them, on a
/// canceller with little stack.
#[test]
fn a_chain_of_running_tasks_is_cancelled_without_a_deep_stack() {
    const MANY: usize = 300;
    let pool = Pool::builder().core_threads(2).max_threads(MANY).build().unwrap();
    let gate = Gate::new();
    let first = CancelToken::new();
    let mut tasks = Vec::new();
    let mut before = first.clone();
    for _ in 0..MANY {
        let (task, token) = with_token(&pool, &gate);
        task.link(&before);
        before = token;
        tasks.push(task);
    }
    let thread = thread::Builder::new().stack_size(128 << 10);
    thread.spawn(move || first.cancel()).unwrap().join().unwrap();
    assert!(before.is_cancelled());
    gate.open();
    assert!(tasks.into_iter().all(|task| soon(task).unwrap()));
}

#[test]
fn links_race_with_the_cancellation_and_none_is_forgotten() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let busy = occupy(&pool, &gate);
    for _ in 0..200 {
        let request = CancelToken::new();
        let cancelled = Arc::new(AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let task = pool.spawn(|| ());
                        task.link(&request.child());
                        task.link(&request);
                        let count = Arc::clone(&cancelled);
                        task.on_complete(move |end| {
                            assert!(end.unwrap_err().is_cancelled());
                            count.fetch_add(1, Ordering::SeqCst);
                        });
                    }
                });
            }
            scope.spawn(|| request.cancel());
        });
        assert_eq!(cancelled.load(Ordering::SeqCst), 40);
    }
    gate.open();
    all_well([busy]);
    check_sound(&pool);
}
