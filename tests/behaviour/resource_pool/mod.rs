//! Resource pools: how values are made, tested, used, idle, and dropped.

mod calls;
mod close;
mod hostile;
mod idle;
mod lanes;
mod values;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use sidestep::{Pool, ResourcePool, ResourcePoolBuilder, Task};

use crate::support::{Crowd, Gate};

/// Keeps account of the values of a resource pool.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Account>);

#[derive(Default)]
struct Account {
    made: AtomicUsize,
    dropped: Mutex<Vec<ThreadId>>,
    alive: Crowd,
}

/// A value, with a number in the order of their making.
pub(crate) struct Value {
    pub(crate) number: usize,
    pub(crate) uses: usize,
    pub(crate) sound: bool,
    ledger: Ledger,
    users: Crowd,
}

impl Ledger {
    /// Makes a value.
    pub(crate) fn value(&self) -> Value {
        self.0.alive.enter();
        let number = self.0.made.fetch_add(1, Ordering::SeqCst);
        Value { number, uses: 0, sound: true, ledger: self.clone(), users: Crowd::default() }
    }

    pub(crate) fn made(&self) -> usize {
        self.0.made.load(Ordering::SeqCst)
    }

    pub(crate) fn dropped(&self) -> usize {
        self.0.dropped.lock().unwrap().len()
    }

    /// The most values that there were at one time.
    pub(crate) fn most(&self) -> usize {
        self.0.alive.most()
    }

    /// Where values were dropped.
    pub(crate) fn dropped_on(&self) -> Vec<ThreadId> {
        self.0.dropped.lock().unwrap().clone()
    }

    /// A resource pool of such values.
    pub(crate) fn builder(&self, pool: &Pool, size: usize) -> ResourcePoolBuilder<Value> {
        let ledger = self.clone();
        ResourcePool::builder(pool, size, move || io::Result::Ok(ledger.value()))
    }

    pub(crate) fn pool(&self, pool: &Pool, size: usize) -> ResourcePool<Value> {
        self.builder(pool, size).build().unwrap()
    }
}

impl Value {
    /// Uses it; no other call does at this time.
    pub(crate) fn work(&mut self) -> usize {
        self.users.enter();
        thread::yield_now();
        self.uses += 1;
        self.users.leave();
        assert_eq!(self.users.most(), 1);
        self.number
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        assert_eq!(self.users.now(), 0, "dropped while it is used");
        self.ledger.0.dropped.lock().unwrap().push(thread::current().id());
        self.ledger.0.alive.leave();
    }
}

/// A call that has started and keeps its value until `gate` opens; it returns the value's number.
pub(crate) fn hold(values: &ResourcePool<Value>, gate: &Gate) -> Task<usize> {
    let started = Gate::new();
    let (announce, gate) = (started.clone(), gate.clone());
    let task = values.call(move |value| {
        announce.open();
        gate.pass();
        value.number
    });
    started.pass();
    task
}
