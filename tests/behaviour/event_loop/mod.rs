//! `EventLoop`. What its tests share is here.

mod callbacks;
mod cancel;
mod channel;
mod ends;
#[cfg(unix)]
mod forks;
mod futures;
mod hostile;
mod panics;
mod remote;
mod timers;
mod wakes;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use sidestep::event_loop::Handle;
use sidestep::{EventLoop, Pool, Task, TaskError};

use crate::support::{Gate, PATIENCE, pool, soon};

/// What callbacks write down.
struct Log<T>(Rc<RefCell<Vec<T>>>);

impl<T: Clone + 'static> Log<T> {
    fn new() -> Self {
        Log(Rc::default())
    }

    fn add(&self, item: T) {
        self.0.borrow_mut().push(item);
    }

    /// A callback that writes `item` down.
    fn note(&self, item: T) -> impl FnOnce(&Handle) + use<T> {
        let log = self.clone();
        move |_: &Handle| log.add(item)
    }

    /// A callback that writes `item` down, whatever the result.
    fn note_end<R>(&self, item: T) -> impl FnOnce(&Handle, Result<R, TaskError>) + use<R, T> {
        let log = self.clone();
        move |_: &Handle, _| log.add(item)
    }

    fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.borrow_mut())
    }
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Log(Rc::clone(&self.0))
    }
}

/// Runs the loop to its end, which must come.
fn run(ev: &mut EventLoop) {
    let remote = ev.remote();
    let (done, wait) = channel::<()>();
    let watchdog = thread::spawn(move || {
        if wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ = remote.post(|_| panic!("the loop does not end"));
        }
    });
    ev.run();
    drop(done);
    watchdog.join().unwrap();
}

/// A pool of one thread, and a task of it that ends when the gate opens.
fn gated<T: Clone + Send + 'static>(value: T) -> (Pool, Gate, Task<T>) {
    let (pool, gate, started) = (pool(1, 1), Gate::new(), Gate::new());
    let (pass, announce) = (gate.clone(), started.clone());
    let task = pool.spawn(move || {
        announce.open();
        pass.pass();
        value
    });
    started.pass();
    (pool, gate, task)
}

/// Returns once all that has been spawned on the one thread of `pool` has ended and told so.
fn conclude(pool: &Pool) {
    soon(pool.spawn(|| ())).unwrap();
}
