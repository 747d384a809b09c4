//! The waker of a batch: when it is let go of, and what its destructor may do.

use std::pin::Pin;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_core::Stream;
use sidestep::{Batch, Task, TaskError};

use crate::support::{Gate, PATIENCE, Wakes, check_sound, occupy, pool};

type Item<T> = (usize, Result<T, TaskError>);

fn poll_next<T>(batch: &mut Batch<T>, waker: &Waker) -> Poll<Option<Item<T>>> {
    Pin::new(batch).poll_next(&mut Context::from_waker(waker))
}

/// A batch that waits no more has no waker called, and keeps none, whatever its tasks do.
#[test]
fn a_batch_that_is_let_go_of_wakes_none_and_keeps_no_waker() {
    let ways: [fn(Batch<()>); 2] = [drop, Batch::detach];
    for let_go in ways {
        let (pool, gate, began) = (pool(1, 1), Gate::new(), Gate::new());
        let mut batch = pool.spawn_batch((0..3).map(|_| {
            let (gate, began) = (gate.clone(), began.clone());
            move || {
                began.open();
                gate.pass();
            }
        }));
        let wakes = Wakes::new();
        assert!(poll_next(&mut batch, &Waker::from(Arc::clone(&wakes))).is_pending());
        began.pass();
        let_go(batch);
        assert_eq!(Arc::strong_count(&wakes), 1, "one member runs, and it keeps the waker");
        gate.open();
        check_sound(&pool);
        assert_eq!(wakes.count(), 0);
    }
}

/// The waker of an earlier poll, whose destructor waits on this thread: first for what runs behind
/// the batch's task on the only thread, so until that has been announced, then once more.
struct WaitsWhenDropped(Gate, Mutex<Vec<Task<()>>>);

impl Wake for WaitsWhenDropped {
    fn wake(self: Arc<Self>) {}
}

impl Drop for WaitsWhenDropped {
    fn drop(&mut self) {
        let WaitsWhenDropped(gate, tasks) = self;
        let mut tasks = tasks.get_mut().unwrap().drain(..);
        gate.open();
        tasks.next().unwrap().wait().unwrap();
        // Takes whatever wake-up has come for this thread.
        drop(tasks.next().unwrap().wait_timeout(Duration::from_millis(20)));
    }
}

#[test]
fn the_destructor_of_an_earlier_waker_may_wait_and_takes_no_wake_up() {
    let (other, never) = (pool(1, 1), Gate::new());
    let (pool, gate) = (pool(1, 1), Gate::new());
    let pass = gate.clone();
    let mut batch = pool.spawn_batch([move || pass.pass()]);
    let behind = pool.spawn(|| ());
    let hung = occupy(&other, &never);
    let waker = Waker::from(Arc::new(WaitsWhenDropped(gate, Mutex::new(vec![behind, hung]))));
    assert!(poll_next(&mut batch, &waker).is_pending());
    drop(waker);
    let (send, receive) = channel();
    thread::spawn(move || send.send(batch.wait().len()));
    assert_eq!(receive.recv_timeout(PATIENCE), Ok(1), "the wait has lost its wake-up");
    never.open();
    check_sound(&pool);
}
