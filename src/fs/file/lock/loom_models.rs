//! Models of the queues for the model checker: hand-over, and calls that are dropped.
//!
//! A thread that parks for ever is a deadlock, which the checker reports: so each model ends only
//! if no call is forgotten. No retry comes, except where a model makes one.

use std::sync::Arc;
use std::task::{Context, Poll};

use loom::thread;

use super::call::fake::{FakeOpenFile, FakeSystem};
use super::call::{LockAttempt, LockCall, SystemLock};
use super::queues::LockKind;
use super::table::{LockTable, OpenRecord};
use crate::sync::Parker;
use crate::sync::stand_in::model::check;
use crate::sys::file_id::FileId;

/// An open file and its record.
#[derive(Clone)]
struct Opened {
    lock: Arc<FakeOpenFile>,
    record: Arc<OpenRecord>,
}

struct World {
    system: Arc<FakeSystem>,
    table: Arc<LockTable>,
}

impl World {
    fn new() -> Self {
        World { system: Arc::default(), table: LockTable::new() }
    }

    fn open(&self, number: u32) -> Opened {
        let record = self.table.open(Some(FileId::of_model()), false).unwrap();
        Opened { lock: self.system.open(number), record }
    }
}

impl Opened {
    fn call(&self, kind: LockKind) -> LockCall<FakeOpenFile> {
        LockCall::join(&self.lock, &self.record, kind, false).unwrap_or_else(|_| panic!("it waits"))
    }

    fn unlock(&self) {
        self.record.unlock(|| self.lock.unlock()).unwrap();
    }

    /// As `File::lock` and its waiter do.
    fn acquire(&self, kind: LockKind) {
        acquire(self.call(kind));
    }
}

fn turn(call: &LockCall<FakeOpenFile>, parker: &Arc<Parker>) -> Option<LockAttempt<FakeOpenFile>> {
    match call.poll_turn(&mut Context::from_waker(&parker.waker())) {
        Poll::Ready(attempt) => Some(attempt.unwrap()),
        Poll::Pending => None,
    }
}

fn acquire(call: LockCall<FakeOpenFile>) {
    let parker = Arc::new(Parker::new());
    loop {
        match turn(&call, &parker) {
            Some(attempt) => {
                if attempt.run().is_ok() {
                    return call.confirm();
                }
            }
            None => assert!(parker.park(None), "there is no deadline"),
        }
    }
}

#[test]
fn loom_an_unlocking_against_a_call() {
    check(None, || {
        let world = World::new();
        let (holder, waiter) = (world.open(1), world.open(2));
        holder.acquire(LockKind::Exclusive);
        let thread = thread::spawn(move || {
            waiter.acquire(LockKind::Exclusive);
            waiter
        });
        holder.unlock();
        let waiter = thread.join().unwrap();
        assert_eq!(world.system.holders(), [(2, LockKind::Exclusive)]);
        drop(waiter);
    });
}

#[test]
fn loom_a_close_against_a_call() {
    check(None, || {
        let world = World::new();
        let (holder, waiter) = (world.open(1), world.open(2));
        holder.acquire(LockKind::Exclusive);
        let thread = thread::spawn(move || waiter.acquire(LockKind::Shared));
        drop(holder);
        thread.join().unwrap();
    });
}

/// Of two calls the first is dropped, at any moment, and its attempt may be with the pool: the
/// second has the lock in the end, and afterwards none.
#[test]
fn loom_a_dropped_call_hands_on() {
    check(Some(3), || {
        let world = World::new();
        let (first, second) = (world.open(1), world.open(2));
        let call = first.call(LockKind::Exclusive);
        let attempt = turn(&call, &Arc::new(Parker::new()));
        let pool = thread::spawn(move || drop(attempt.map(LockAttempt::run)));
        let waiter = thread::spawn(move || {
            second.acquire(LockKind::Exclusive);
            second.unlock();
            second
        });
        drop(call);
        let second = waiter.join().unwrap();
        pool.join().unwrap();
        assert_eq!(world.system.holders(), [], "the dropped call has left a lock");
        drop((first, second));
    });
}

/// A call is dropped while its attempt is with the pool, and the next call of the same open file
/// returns: what the first has acquired is not taken from the second.
#[test]
fn loom_a_later_call_keeps_its_lock() {
    check(Some(3), || {
        let world = World::new();
        let file = world.open(1);
        let call = file.call(LockKind::Exclusive);
        let attempt = turn(&call, &Arc::new(Parker::new())).unwrap();
        let pool = thread::spawn(move || drop(attempt.run()));
        let later = file.clone();
        let waiter = thread::spawn(move || later.acquire(LockKind::Exclusive));
        drop(call);
        waiter.join().unwrap();
        pool.join().unwrap();
        assert_eq!(world.system.holders(), [(1, LockKind::Exclusive)]);
    });
}

/// Two calls of one open file, with one of another between them.
#[test]
fn loom_two_calls_of_an_open_file_share_a_lock() {
    check(Some(2), || {
        let world = World::new();
        let (one, other) = (world.open(1), world.open(2));
        let (first, between, second) =
            (one.call(LockKind::Exclusive), other.call(LockKind::Exclusive), one.call(LockKind::Exclusive));
        let thread = thread::spawn(move || acquire(between));
        let beside = thread::spawn(move || acquire(second));
        acquire(first);
        beside.join().unwrap();
        one.unlock();
        thread.join().unwrap();
        assert_eq!(world.system.holders(), [(2, LockKind::Exclusive)]);
    });
}

/// An unlocking against a call of the same open file that is dropped with its attempt in progress.
#[test]
fn loom_an_unlocking_against_a_dropped_call_of_the_same_file() {
    check(Some(3), || {
        let world = World::new();
        let file = world.open(1);
        file.acquire(LockKind::Exclusive);
        let call = file.call(LockKind::Exclusive);
        let attempt = turn(&call, &Arc::new(Parker::new())).unwrap();
        let pool = thread::spawn(move || drop(attempt.run()));
        let unlocks = file.clone();
        let user = thread::spawn(move || unlocks.unlock());
        drop(call);
        user.join().unwrap();
        pool.join().unwrap();
        assert_eq!(world.system.holders(), [], "a lock is left that no call has");
    });
}

/// Those who share a lock come one by one, each made to try by the one before.
#[test]
fn loom_shared_calls_come_in_a_chain() {
    check(Some(2), || {
        let world = World::new();
        let holder = world.open(1);
        holder.acquire(LockKind::Exclusive);
        let threads = [2, 3].map(|number| {
            let file = world.open(number);
            thread::spawn(move || {
                file.acquire(LockKind::Shared);
                file
            })
        });
        holder.unlock();
        let files = threads.map(|thread| thread.join().unwrap());
        assert_eq!(world.system.holders().len(), 2);
        drop(files);
    });
}

/// A holder that the table does not know of goes, and then the time of the retry comes.
#[test]
fn loom_a_retry_against_a_call() {
    check(None, || {
        let world = World::new();
        let (unknown, waiter) = (world.system.open(1), world.open(2));
        unknown.try_lock(LockKind::Exclusive, None).unwrap();
        let call = waiter.call(LockKind::Exclusive);
        let parker = Arc::new(Parker::new());
        assert!(turn(&call, &parker).unwrap().run().is_err());
        assert!(turn(&call, &parker).is_none(), "it is not its turn again");
        let table = Arc::clone(&world.table);
        let timer = thread::spawn(move || {
            drop(unknown);
            table.retry();
        });
        acquire(call);
        timer.join().unwrap();
        drop(waiter);
    });
}
