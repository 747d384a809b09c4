//! Random programs of calls, attempts and unlockings, against a stand-in for the system.
#![expect(clippy::unwrap_used, reason = "in a test, helpers included, an unwrap is an assertion")]

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::fake::{FakeOpenFile, FakeSystem};
use super::{LockAttempt, LockCall, LockKind};
use crate::fs::file::lock::table::{LockTable, OpenRecord};
use crate::sys::file_id;

/// An open file as its user knows it.
struct User {
    number: u32,
    lock: Arc<FakeOpenFile>,
    open: Arc<OpenRecord>,
    /// A call has returned that it has the lock, of this kind.
    has: Option<LockKind>,
    /// A call of it for another kind has been made since.
    converts: bool,
    call: Option<(LockCall<FakeOpenFile>, LockKind)>,
    /// With the pool; the flag says that the call has been dropped.
    attempt: Option<LockAttempt<FakeOpenFile>>,
}

impl User {
    fn new(number: u32, system: &Arc<FakeSystem>, table: &Arc<LockTable>) -> Self {
        let id = file_id::ask(&std::fs::File::open("Cargo.toml").unwrap()).unwrap();
        let open = table.open(id, number.is_multiple_of(3)).unwrap();
        let lock = system.open(number);
        User { number, lock, open, has: None, converts: false, call: None, attempt: None }
    }

    fn call(&mut self, kind: LockKind, tries: bool) {
        if self.call.is_none() {
            self.converts |= self.has.is_some_and(|has| has != kind);
            self.call = LockCall::join(&self.lock, &self.open, kind, tries).ok().map(|call| (call, kind));
        }
    }

    /// Whether it is the call's turn.
    fn poll(&mut self) -> bool {
        let Some((call, _)) = self.call.as_ref().filter(|_| self.attempt.is_none()) else { return false };
        if let Poll::Ready(turn) = call.poll_turn(&mut Context::from_waker(Waker::noop())) {
            let attempt = turn.unwrap();
            if self.has.is_some() {
                assert_eq!(attempt.turn.has, self.has);
            }
            self.attempt = Some(attempt);
        }
        self.attempt.is_some()
    }

    /// The pool runs the attempt, for a call that may have been dropped.
    fn run(&mut self, system: &FakeSystem) {
        let Some(attempt) = self.attempt.take() else { return };
        if let Some(has) = attempt.turn.has {
            assert!(
                system.holders().contains(&(self.number, has)),
                "it has a lock of the kind that is noted"
            );
        }
        let (number, tries) = (attempt.wanted.number, attempt.wanted.tries);
        let result = attempt.run();
        let Some((call, kind)) = self.call.take_if(|(call, _)| call.wanted.number == number) else { return };
        match result {
            Ok(()) => {
                call.confirm();
                (self.has, self.converts) = (Some(kind), false);
            }
            Err(_) if tries => drop(call),
            Err(_) => {
                if self.converts {
                    self.has = None;
                }
                self.call = Some((call, kind));
            }
        }
        if self.converts && tries {
            // It may have lost what it had.
            (self.has, self.converts) = (None, false);
        }
    }

    fn unlock(&mut self) {
        use super::SystemLock;

        self.open.unlock(|| self.lock.unlock()).unwrap();
        (self.has, self.converts) = (None, false);
    }
}

fn random(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

fn play(mut seed: u64) {
    let (system, table) = (Arc::new(FakeSystem::default()), LockTable::new());
    let mut users: Vec<_> = (0..4).map(|number| User::new(number, &system, &table)).collect();
    for _ in 0..200 {
        let user = &mut users[usize::try_from(random(&mut seed, 4)).unwrap()];
        let kind = if random(&mut seed, 2) == 0 { LockKind::Shared } else { LockKind::Exclusive };
        match random(&mut seed, 10) {
            0 | 1 => user.call(kind, false),
            2 => user.call(kind, true),
            3 | 4 => drop(user.poll()),
            5 | 6 => user.run(&system),
            7 => {
                if user.call.take().is_some() && user.converts {
                    // The conversion may have been made.
                    user.has = None;
                    user.converts = false;
                }
            }
            8 if user.attempt.is_none() => user.unlock(),
            _ => drop(user.attempt.take()),
        }
        let holders = system.holders();
        for user in users.iter().filter(|user| user.attempt.is_none() && !user.converts) {
            if let Some(kind) = user.has {
                assert!(holders.contains(&(user.number, kind)), "{}: {holders:?}", user.number);
            }
        }
    }
    // Then each unlocks what it has, and each call that waits is served.
    for user in &mut users {
        user.run(&system);
        user.unlock();
    }
    while users.iter().any(|user| user.call.is_some() || user.attempt.is_some()) {
        for user in &mut users {
            user.poll();
            user.run(&system);
            if user.has.is_some() && user.call.is_none() {
                user.unlock();
            }
        }
    }
    users.iter_mut().for_each(User::unlock);
    assert_eq!(system.holders(), [], "a lock is left that no call has");
    drop(users);
    assert!(table.is_empty(), "the table forgets files that are closed");
}

#[test]
fn random_programs() {
    let rounds = if cfg!(miri) { 5 } else { 1_000 };
    (0..rounds).for_each(play);
}
