//! Destructors that wait, each inside of the wait of the one before.

use std::sync::{Arc, Mutex};
use std::thread;

use sidestep::{Pool, Task, TaskError};

use super::{FAR, KIB, is_too_deep, with_stack};
use crate::support::{Drops, Gate, check_sound, occupy, pool, soon};

/// Cancels and waits for the next one when it is dropped.
struct WaitOnDrop {
    next: Option<Task<Option<WaitOnDrop>>>,
    errors: Arc<Mutex<Vec<TaskError>>>,
    drops: Drops,
}

impl Drop for WaitOnDrop {
    fn drop(&mut self) {
        drop(self.drops.token());
        let Some(next) = self.next.take() else { return };
        let error = next.cancel().wait().err().filter(|error| !error.is_cancelled());
        self.errors.lock().unwrap().extend(error);
    }
}

/// So many queued tasks, each of which owns the handle of the next.
fn handles(pool: &Pool, length: usize, drops: &Drops) -> WaitOnDrop {
    let errors = Arc::default();
    let mut head = WaitOnDrop { next: None, errors: Arc::clone(&errors), drops: drops.clone() };
    for _ in 1..length {
        let next = Some(pool.spawn(move || Some(head)));
        head = WaitOnDrop { next, errors: Arc::clone(&errors), drops: drops.clone() };
    }
    head
}

#[test]
fn destructors_that_wait_get_an_error_where_the_stack_ends() {
    let length = FAR as usize;
    let pool = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let drops = Drops::new();
    let head = handles(&pool, length, &drops);
    let errors = Arc::clone(&head.errors);
    // A thread that is none of a pool's.
    let thread = thread::Builder::new().stack_size(512 * KIB);
    thread.spawn(move || drop(head)).unwrap().join().unwrap();
    assert_eq!(drops.count(), length, "each destructor has run");
    for error in errors.lock().unwrap().iter() {
        is_too_deep(error);
    }
    assert!(!errors.lock().unwrap().is_empty());
    gate.open();
    soon(busy).unwrap();
    check_sound(&pool);
}

#[test]
fn destructors_that_wait_get_an_error_on_a_thread_of_the_pool_too() {
    let length = 20_000;
    let pool = with_stack(2, 512 * KIB);
    let gate = Gate::new();
    let busy = [occupy(&pool, &gate)];
    let drops = Drops::new();
    let (give, take) = std::sync::mpsc::channel::<WaitOnDrop>();
    let started = Gate::new();
    let announce = started.clone();
    let dropper = pool.spawn(move || {
        announce.open();
        drop(take.recv().unwrap());
    });
    started.pass();
    let head = handles(&pool, length, &drops);
    let errors = Arc::clone(&head.errors);
    give.send(head).unwrap();
    soon(dropper).unwrap();
    assert_eq!(drops.count(), length);
    errors.lock().unwrap().iter().for_each(is_too_deep);
    gate.open();
    busy.into_iter().for_each(|busy| soon(busy).unwrap());
    check_sound(&pool);
}
