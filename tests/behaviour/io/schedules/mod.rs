//! Random schedules of reads, writes, seeks, flushes, errors and dropped calls, played with a
//! wrapped value and with the plain one: every byte and position must agree.
//!
//! `PROPTEST_CASES` says how many of each kind are played. A schedule that fails is made small and
//! printed with its seed.

mod account;
mod found;
mod handle;
mod model;
mod play;
mod values;

use std::io::{Cursor, SeekFrom, Write};
use std::sync::{Arc, Mutex};

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::{Just, ProptestConfig, Strategy, TestCaseError, any, prop_oneof};
use proptest::test_runner::{TestError, TestRunner};
use sidestep::{Pool, Unblock, fs};

use self::handle::{Handle, Through};
use self::model::Plains;
use self::play::{Do, Op, Player};
use self::values::{Act, Faulty, Fill, Line, Log, Turn, Value};
use crate::support;

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// A value that seeks and can be lent.
    Disk,
    /// `fs::File`.
    File,
    /// A value that cannot seek.
    Line,
}

/// One schedule, and what it is played with.
#[derive(Clone, Debug)]
struct Case {
    through: Through,
    /// Nothing says the default one.
    capacity: Option<usize>,
    /// How many threads the pool has; none says the global one.
    threads: usize,
    reads_ahead: Option<bool>,
    /// What the value holds at first, or what a line gives.
    holds: Fill,
    plan: Vec<Turn>,
    ops: Vec<Op>,
    /// The handle is dropped in the end.
    drops: bool,
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        1 => Just(0_usize),
        8 => 1..64_usize,
        4 => 64..5_000_usize,
        2 => 5_000..20_000_usize,
        1 => 60_000..140_000_usize,
    ]
}

fn fill() -> impl Strategy<Value = Fill> {
    (any::<u8>(), size()).prop_map(|(seed, size)| Fill { seed, size })
}

fn place() -> impl Strategy<Value = SeekFrom> {
    let near = prop_oneof![4 => -40..40_i64, 1 => -10_000..10_000_i64];
    prop_oneof![
        2 => size().prop_map(|place| SeekFrom::Start(place as u64)),
        3 => near.clone().prop_map(SeekFrom::Current),
        1 => Just(SeekFrom::Current(0)),
        1 => Just(SeekFrom::Current(i64::MIN)),
        2 => near.prop_map(SeekFrom::End),
    ]
}

fn acts(kind: Kind) -> impl Strategy<Value = Vec<Act>> {
    let write = fill().prop_map(Act::Write);
    let one = match kind {
        Kind::Line => write.boxed(),
        _ => prop_oneof![size().prop_map(Act::Read), write, place().prop_map(Act::Seek)].boxed(),
    };
    vec(one, 0..3)
}

fn call(kind: Kind) -> impl Strategy<Value = Do> {
    let common = prop_oneof![
        4 => size().prop_map(Do::Read),
        2 => size().prop_map(Do::ReadExact),
        1 => (size(), size()).prop_map(|(first, second)| Do::ReadVectored(first, second)),
        2 => size().prop_map(Do::FillBuf),
        4 => fill().prop_map(Do::Write),
        1 => (fill(), fill()).prop_map(|(first, second)| Do::WriteVectored(first, second)),
        2 => Just(Do::Flush),
        1 => Just(Do::Close),
    ];
    let lend = prop_oneof![acts(kind).prop_map(Do::Call), acts(kind).prop_map(Do::Borrow)];
    let at = size().prop_map(|at| at as u64).boxed();
    match kind {
        Kind::Line => prop_oneof![6 => common, 1 => acts(kind).prop_map(Do::Call)].boxed(),
        Kind::Disk => prop_oneof![6 => common, 2 => place().prop_map(Do::Seek), 1 => lend].boxed(),
        Kind::File => prop_oneof![
            9 => common,
            3 => place().prop_map(Do::Seek),
            1 => size().prop_map(Do::SetLen),
            1 => (size(), at.clone()).prop_map(|(most, at)| Do::ReadAt(most, at)),
            1 => (fill(), at).prop_map(|(fill, at)| Do::WriteAt(fill, at)),
        ]
        .boxed(),
    }
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        12 => Just(Turn::Well),
        4 => (1..50_usize).prop_map(Turn::Short),
        2 => Just(Turn::Interrupted),
        1 => Just(Turn::WouldBlock),
        1 => Just(Turn::Zero),
        4 => Just(Turn::Fail),
    ]
}

/// At most one panic, which comes last.
fn plan() -> impl Strategy<Value = Vec<Turn>> {
    (vec(turn(), 0..20), weighted(0.2, Just(Turn::Panic))).prop_map(|(mut turns, panic)| {
        turns.extend(panic);
        turns
    })
}

#[cfg(feature = "tokio")]
fn through() -> impl Strategy<Value = Through> {
    prop_oneof![Just(Through::Futures), Just(Through::Tokio)]
}

#[cfg(not(feature = "tokio"))]
fn through() -> impl Strategy<Value = Through> {
    Just(Through::Futures)
}

fn case(kind: Kind, plan: impl Strategy<Value = Vec<Turn>>) -> impl Strategy<Value = Case> {
    let op = (call(kind), weighted(0.35, 0..4_u8)).prop_map(|(call, polls)| Op { call, polls });
    let capacity =
        prop_oneof![2 => 1..20_usize, 3 => 20..5_000_usize, 2 => 5_000..=65_536_usize].prop_map(Some);
    let capacity = prop_oneof![5 => capacity, 2 => Just(None)];
    let set_up = (through(), capacity, 0..3_usize, weighted(0.3, any::<bool>()), fill());
    (set_up, plan, vec(op, 1..25), any::<bool>()).prop_map(
        |((through, capacity, threads, reads_ahead, holds), plan, ops, drops)| Case {
            through,
            capacity,
            threads,
            reads_ahead,
            holds,
            plan,
            ops: ops.into_iter().map(|op| within(op, capacity)).collect(),
            drops,
        },
    )
}

/// A large read through a tiny buffer would take long, and show nothing.
fn within(mut op: Op, capacity: Option<usize>) -> Op {
    if let Do::ReadExact(size) = &mut op.call {
        *size = capacity.map_or(*size, |capacity| (*size).min(capacity * 20));
    }
    op
}

impl Case {
    fn wrap<T: Value>(&self, value: T, pool: Option<&Pool>) -> Unblock<T> {
        let handle = match self.capacity {
            Some(capacity) => Unblock::with_capacity(capacity, value),
            None => Unblock::new(value),
        };
        let handle = match pool {
            Some(pool) => handle.on(pool),
            None => handle,
        };
        match self.reads_ahead {
            Some(ahead) => handle.read_ahead(ahead),
            None => handle,
        }
    }

    fn pool(&self) -> Option<Pool> {
        (self.threads > 0).then(|| support::pool(1, self.threads))
    }

    fn play<H: Handle>(
        &self,
        handle: H,
        plains: Plains,
        log: Option<Arc<Mutex<Log>>>,
        pool: Option<Pool>,
    ) -> Result<(), TestCaseError> {
        let player = Player::new(handle, self.through, plains, log);
        player.play(&self.ops, pool.filter(|_| self.drops)).map_err(TestCaseError::fail)
    }

    fn plains(&self) -> Plains {
        Plains::new(self.holds.bytes(), None, self.through.is_tokio(), !self.plan.is_empty())
    }

    fn with_cursor(&self) -> Result<(), TestCaseError> {
        let pool = self.pool();
        let handle = self.wrap(Cursor::new(self.holds.bytes()), pool.as_ref());
        self.play(handle, self.plains(), None, pool)
    }

    fn std_file(&self) -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&self.holds.bytes()).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        file
    }

    fn with_std_file(&self) -> Result<(), TestCaseError> {
        let pool = self.pool();
        let handle = self.wrap(self.std_file(), pool.as_ref());
        self.play(handle, self.plains(), None, pool)
    }

    fn with_file(&self) -> Result<(), TestCaseError> {
        self.play(fs::File::from(self.std_file()), self.plains(), None, None)
    }

    /// A type that says itself that it can seek.
    fn with_disk(&self) -> Result<(), TestCaseError> {
        let pool = self.pool();
        let (disk, log) = Faulty::new(Cursor::new(self.holds.bytes()), self.plan.clone());
        let handle = self.wrap(disk, pool.as_ref()).seekable();
        self.play(handle, self.plains(), Some(log), pool)
    }

    fn with_line(&self) -> Result<(), TestCaseError> {
        let pool = self.pool();
        let line = Line { input: Cursor::new(self.holds.bytes()), output: Vec::new() };
        let (line, log) = Faulty::new(line, self.plan.clone());
        let handle = self.wrap(line, pool.as_ref());
        let faulty = !self.plan.is_empty();
        let plains = Plains::new(Vec::new(), Some(self.holds.bytes()), self.through.is_tokio(), faulty);
        self.play(handle, plains, Some(log), pool)
    }
}

/// Plays as many cases, unless the environment says how many.
fn check(
    cases: u32,
    strategy: impl Strategy<Value = Case>,
    play: impl Fn(&Case) -> Result<(), TestCaseError>,
) {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    let config = ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 4_000, ..default };
    match TestRunner::new(config).run(&strategy, |case| play(&case)) {
        Err(TestError::Fail(why, case)) => panic!("{why}\n{case:?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
        Ok(()) => {}
    }
}

fn well() -> impl Strategy<Value = Vec<Turn>> {
    Just(Vec::new())
}

#[test]
fn a_wrapped_cursor_does_what_a_cursor_does() {
    check(500, case(Kind::Disk, well()), Case::with_cursor);
}

#[test]
fn a_wrapped_std_file_does_what_it_does() {
    check(300, case(Kind::Disk, well()), Case::with_std_file);
}

#[test]
fn a_file_does_what_one_of_std_does() {
    check(500, case(Kind::File, well()), Case::with_file);
}

#[test]
fn a_value_that_is_said_to_seek_does_what_it_does() {
    check(300, case(Kind::Disk, well()), Case::with_disk);
}

#[test]
fn a_line_gives_and_takes_every_byte_in_order() {
    check(300, case(Kind::Line, well()), Case::with_line);
}

#[test]
fn errors_of_a_disk_are_told_once_and_nothing_is_lost() {
    check(500, case(Kind::Disk, plan()), Case::with_disk);
}

#[test]
fn errors_of_a_line_are_told_once_and_in_their_place() {
    check(500, case(Kind::Line, plan()), Case::with_line);
}
