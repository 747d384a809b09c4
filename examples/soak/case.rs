//! The oracle: what has become of every closure, every result and every panic payload.
//!
//! A [`Case`] is one closure's life. Its guards lie in the closure, in the result and in the
//! payload, and its [`Watch`] with whoever has the handle; each step is *marked*, in the case, in
//! the [`Book`] of its pool and in the table of all. The last one to let go of a case closes it,
//! and then it must add up: one drop of the closure, one end, a drop for each result.

use std::{
    any::Any,
    fmt,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
};

use sidestep::TaskError;

use crate::ledger::{self, Book, ENDS, Kind, MARKS, Mark, fault};

/// One closure's life.
#[derive(Debug)]
struct Case {
    kind: Kind,
    book: Arc<Book>,
    marks: [AtomicU8; MARKS],
}

impl Case {
    fn mark(&self, mark: Mark) {
        if self.marks[mark as usize].fetch_add(1, Ordering::SeqCst) > 0 {
            fault(format_args!("{:?}: {mark:?} twice", self.kind));
        }
        self.book.counts.raise(mark);
        ledger::of(self.kind).raise(mark);
    }

    fn has(&self, mark: Mark) -> bool {
        self.marks[mark as usize].load(Ordering::SeqCst) > 0
    }

    fn is_sound(&self) -> bool {
        let ends = ENDS.into_iter().filter(|end| self.has(*end)).count();
        let begun = usize::from(self.has(Mark::Begun));
        let runs = usize::from(self.has(Mark::Returned)) + usize::from(self.has(Mark::Panicked));
        let dropped = self.has(Mark::ClosureDropped)
            && self.has(Mark::ResultDropped) == self.has(Mark::Returned)
            && self.has(Mark::PayloadDropped) == self.has(Mark::Panicked);
        let unrun =
            [Mark::Cancelled, Mark::Expired, Mark::Shutdown, Mark::NoThread, Mark::Full, Mark::Poisoned];
        let agrees = (!self.has(Mark::Ok) || self.has(Mark::Returned))
            && (!self.has(Mark::Panic) || self.has(Mark::Panicked))
            && (!self.has(Mark::Deadlock) || matches!(self.kind, Kind::Nested))
            && (begun == 0 || !unrun.into_iter().any(|end| self.has(end)));
        ends == 1 && runs == begun && dropped && agrees
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        if self.has(Mark::LetGo) && !self.has(Mark::Begun) {
            self.mark(Mark::Forgone);
        }
        if !self.is_sound() {
            fault(format_args!("a closure's life does not add up: {self}"));
        }
        self.mark(Mark::Closed);
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Mark as M;
        let steps =
            [M::Begun, M::Returned, M::Panicked, M::ClosureDropped, M::ResultDropped, M::PayloadDropped];
        let marks: Vec<_> = steps.into_iter().chain(ENDS).filter(|mark| self.has(*mark)).collect();
        write!(f, "{:?} {marks:?}", self.kind)
    }
}

/// Opens a case: the guard goes into the closure, the watch stays with the handle.
pub(crate) fn open_case(kind: Kind, book: &Arc<Book>) -> (Guard, Watch) {
    let case = Case { kind, book: Arc::clone(book), marks: [const { AtomicU8::new(0) }; MARKS] };
    case.mark(Mark::Made);
    let case = Arc::new(case);
    (Guard { case: Arc::clone(&case), bomb: false }, Watch { case, told: false, must_see: false })
}

/// What unwinds where a destructor of ours panics.
struct Planned;

/// Panics without a message, where that would not end the process.
fn blow() {
    if !thread::panicking() {
        resume_unwind(Box::new(Planned));
    }
}

/// Lies in the closure.
#[derive(Debug)]
pub(crate) struct Guard {
    case: Arc<Case>,
    /// Whether its destructor panics if it never ran.
    pub(crate) bomb: bool,
}

impl Guard {
    pub(crate) fn begin(&self) {
        self.case.mark(Mark::Begun);
    }

    /// The closure's result.
    pub(crate) fn give(self, bomb: bool) -> Yield {
        self.case.mark(Mark::Returned);
        Yield { case: Arc::clone(&self.case), bomb }
    }

    /// The closure's panic.
    pub(crate) fn throw(self, bomb: bool) -> ! {
        self.case.mark(Mark::Panicked);
        let payload = Payload { case: Arc::clone(&self.case), bomb };
        drop(self);
        resume_unwind(Box::new(payload))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.case.mark(Mark::ClosureDropped);
        if self.bomb && !self.case.has(Mark::Begun) {
            blow();
        }
    }
}

/// The result of a closure.
#[derive(Debug)]
pub(crate) struct Yield {
    case: Arc<Case>,
    bomb: bool,
}

impl Yield {
    /// The same, with a destructor that does not panic.
    pub(crate) fn tame(mut self) -> Yield {
        self.bomb = false;
        self
    }
}

impl Drop for Yield {
    fn drop(&mut self) {
        self.case.mark(Mark::ResultDropped);
        if self.bomb {
            blow();
        }
    }
}

/// What a closure panics with.
pub(crate) struct Payload {
    case: Arc<Case>,
    bomb: bool,
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.case.mark(Mark::PayloadDropped);
        if self.bomb {
            blow();
        }
    }
}

/// Drops a payload that has come to us; its destructor is not to panic here.
pub(crate) fn defuse(payload: Box<dyn Any + Send>) {
    if let Ok(mut payload) = payload.downcast::<Payload>() {
        payload.bomb = false;
    }
}

/// Lies with the handle, and is told how the closure ended. Dropped untold, it says that nobody
/// looked.
#[derive(Debug)]
pub(crate) struct Watch {
    case: Arc<Case>,
    told: bool,
    must_see: bool,
}

impl Watch {
    /// From here on it is wrong if nobody is told.
    pub(crate) fn must_see(mut self) -> Watch {
        self.must_see = true;
        self
    }

    pub(crate) fn saw(mut self, result: Result<Yield, TaskError>) {
        let is_deadlock = result.as_ref().is_err_and(TaskError::is_deadlock);
        if !is_deadlock && !self.case.has(Mark::ClosureDropped) {
            fault(format_args!("an end was seen before the closure was dropped: {}", self.case));
        }
        let end = match result {
            Ok(value) => {
                drop(value.tame());
                Mark::Ok
            }
            Err(error) => end_of(error),
        };
        self.tell(end);
    }

    /// The closure panicked, and this is what with; or it was refused, and the panic is the
    /// crate's.
    pub(crate) fn saw_panic(mut self, payload: Box<dyn Any + Send>) {
        let is_refusal = !payload.is::<Payload>() && !self.case.has(Mark::Begun);
        defuse(payload);
        self.tell(if is_refusal { Mark::Shutdown } else { Mark::Panic });
    }

    /// As `saw`, where a cancellation is told before the closure has ended.
    pub(crate) fn saw_or_gave_up(mut self, result: Result<Yield, TaskError>) {
        if result.as_ref().is_err_and(TaskError::is_cancelled) {
            self.tell(Mark::LetGo);
        } else {
            self.saw(result);
        }
    }

    pub(crate) fn handed_back(mut self) {
        self.tell(Mark::HandedBack);
    }

    fn tell(&mut self, end: Mark) {
        self.told = true;
        self.case.mark(end);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.told {
            return;
        }
        if self.must_see {
            fault(format_args!("nobody was told of the end: {}", self.case));
        }
        self.tell(Mark::LetGo);
    }
}

fn end_of(error: TaskError) -> Mark {
    let reasons = [
        (error.is_cancelled(), Mark::Cancelled),
        (error.is_expired(), Mark::Expired),
        (error.is_shutdown(), Mark::Shutdown),
        (error.is_no_thread(), Mark::NoThread),
        (error.is_full(), Mark::Full),
        // A call that began, and whose closure did not: there was no sound value for it.
        (error.is_poisoned() || error.is_unavailable(), Mark::Poisoned),
        (error.is_deadlock(), Mark::Deadlock),
        (error.is_panic(), Mark::Panic),
    ];
    let mut holding = reasons.into_iter().filter_map(|(holds, end)| holds.then_some(end));
    let (end, other) = (holding.next(), holding.next());
    if end.is_none() || other.is_some() {
        fault(format_args!("an error with {end:?} and {other:?} for reasons: {error}"));
    }
    if let Ok(payload) = error.try_into_panic() {
        defuse(payload);
    }
    end.unwrap_or(Mark::Panic)
}
