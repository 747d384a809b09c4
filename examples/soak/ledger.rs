//! Where everything is counted: what happened to closures, by the way they were spawned and by
//! pool, and what is wrong.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How a closure was given to its pool.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(crate) enum Kind {
    Spawn,
    Unblock,
    Options,
    TrySpawn,
    Permit,
    Lane,
    KeyedLane,
    Batch,
    JoinSet,
    Scope,
    Nested,
    Strand,
    Session,
    ResourcePool,
    Dedicated,
    EventLoop,
    Promise,
}

pub(crate) const KINDS: [Kind; 17] = {
    use Kind as K;
    [
        K::Spawn,
        K::Unblock,
        K::Options,
        K::TrySpawn,
        K::Permit,
        K::Lane,
        K::KeyedLane,
        K::Batch,
        K::JoinSet,
        K::Scope,
        K::Nested,
        K::Strand,
        K::Session,
        K::ResourcePool,
        K::Dedicated,
        K::EventLoop,
        K::Promise,
    ]
};

/// A step in the life of a closure. The ends come last: each case has exactly one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
#[repr(usize)]
pub(crate) enum Mark {
    Made,
    Begun,
    Returned,
    Panicked,
    ClosureDropped,
    ResultDropped,
    PayloadDropped,
    /// Its handle was let go, and it never ran.
    Forgone,
    Closed,
    Ok,
    Panic,
    Cancelled,
    Expired,
    Shutdown,
    NoThread,
    Full,
    Poisoned,
    Deadlock,
    /// `try_spawn` gave it back.
    HandedBack,
    /// Nobody looked: dropped, detached, or the result of a promise that others were part of.
    LetGo,
}

pub(crate) const ENDS: [Mark; 11] = {
    use Mark as M;
    [
        M::Ok,
        M::Panic,
        M::Cancelled,
        M::Expired,
        M::Shutdown,
        M::NoThread,
        M::Full,
        M::Poisoned,
        M::Deadlock,
        M::HandedBack,
        M::LetGo,
    ]
};

pub(crate) const MARKS: usize = Mark::LetGo as usize + 1;

/// Counts of marks.
#[derive(Debug)]
pub(crate) struct Counts([AtomicU64; MARKS]);

impl Counts {
    const fn new() -> Counts {
        Counts([const { AtomicU64::new(0) }; MARKS])
    }

    pub(crate) fn get(&self, mark: Mark) -> u64 {
        self.0[mark as usize].load(Ordering::SeqCst)
    }

    pub(crate) fn raise(&self, mark: Mark) {
        self.0[mark as usize].fetch_add(1, Ordering::SeqCst);
    }

    /// What the open cases lack; not quite that, while anything happens.
    pub(crate) fn missing(&self) -> String {
        let ends: u64 = ENDS.into_iter().map(|end| self.get(end)).sum();
        let closures = self.get(Mark::Made).saturating_sub(self.get(Mark::ClosureDropped));
        let results = self.get(Mark::Returned).saturating_sub(self.get(Mark::ResultDropped));
        let payloads = self.get(Mark::Panicked).saturating_sub(self.get(Mark::PayloadDropped));
        let ends = self.get(Mark::Made).saturating_sub(ends);
        format!(
            "{ends} ends not seen; {closures} closures, {results} results, {payloads} payloads not dropped"
        )
    }

    /// Cases that are not closed.
    pub(crate) fn open(&self) -> u64 {
        let closed = self.get(Mark::Closed);
        self.get(Mark::Made) - closed
    }
}

static TABLE: [Counts; KINDS.len()] = [const { Counts::new() }; KINDS.len()];
static FAULTS: Mutex<Vec<String>> = Mutex::new(Vec::new());
const MOST_FAULTS: usize = 30;

pub(crate) fn of(kind: Kind) -> &'static Counts {
    &TABLE[kind as usize]
}

pub(crate) fn total(mark: Mark) -> u64 {
    TABLE.iter().map(|counts| counts.get(mark)).sum()
}

/// All cases that are not closed.
pub(crate) fn open() -> u64 {
    TABLE.iter().map(Counts::open).sum()
}

/// Rises whenever anything happens to anybody.
pub(crate) fn pulse() -> u64 {
    TABLE.iter().flat_map(|counts| &counts.0).map(|count| count.load(Ordering::Relaxed)).sum()
}

/// Something is wrong with the crate, or with this program.
pub(crate) fn fault(what: impl fmt::Display) {
    let mut faults = FAULTS.lock().unwrap_or_else(PoisonError::into_inner);
    if faults.len() < MOST_FAULTS {
        faults.push(what.to_string());
    }
}

/// Says that two numbers should be the same.
pub(crate) fn equal<T: PartialEq + fmt::Debug>(what: impl fmt::Display, is: T, should: T) {
    if is != should {
        fault(format_args!("{what}: {is:?}, and should be {should:?}"));
    }
}

pub(crate) fn faults() -> Vec<String> {
    FAULTS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The account of one pool's closures.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) counts: Counts,
    /// Closures that were spawned into a scope whose task had been cancelled by then: such a one is
    /// cancelled without being submitted, unless it was faster.
    pub(crate) late_in_scope: AtomicU64,
}

impl Book {
    pub(crate) fn new() -> Arc<Book> {
        Arc::new(Book { counts: Counts::new(), late_in_scope: AtomicU64::new(0) })
    }

    pub(crate) fn get(&self, mark: Mark) -> u64 {
        self.counts.get(mark)
    }
}
