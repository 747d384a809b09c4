//! The oracle: what became of each task, its closure and its result, and how many threads there
//! are. Its own counts are plain atomics, at which no other thread is let in.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use shuttle::thread;
use sidestep::TaskError;

use crate::program::{Body, Fate, Plan, Road};

/// What somebody was told of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Done,
    Panicked,
    Cancelled,
    Expired,
    Shutdown,
    NoThread,
    Full,
    Poisoned,
    Deadlock,
}

impl From<&TaskError> for Told {
    fn from(error: &TaskError) -> Self {
        let tests = [
            (error.is_panic(), Told::Panicked),
            (error.is_cancelled(), Told::Cancelled),
            (error.is_expired(), Told::Expired),
            (error.is_shutdown(), Told::Shutdown),
            (error.is_no_thread(), Told::NoThread),
            (error.is_full(), Told::Full),
            (error.is_poisoned(), Told::Poisoned),
            (error.is_deadlock(), Told::Deadlock),
        ];
        let mut true_ones = tests.iter().filter(|(is, _)| *is);
        let (_, told) = true_ones.next().expect("an error has a reason");
        assert!(true_ones.next().is_none(), "an error has one reason: {error:?}");
        *told
    }
}

/// One task's account.
#[derive(Debug)]
pub(crate) struct Entry {
    plan: Plan,
    /// Inside of so many other tasks it was submitted.
    depth: usize,
    /// The pool has accepted it, or has refused it by way of its handle.
    has_handle: AtomicBool,
    runs: AtomicUsize,
    closures_dropped: AtomicUsize,
    results_made: AtomicUsize,
    results_dropped: AtomicUsize,
    told: Mutex<Vec<Told>>,
}

/// What the closure owns.
#[derive(Debug)]
pub(crate) struct Closure(Arc<Entry>);

/// What it returns.
#[derive(Debug)]
pub(crate) struct Product(Arc<Entry>);

impl Closure {
    pub(crate) fn run(&self) {
        self.0.runs.fetch_add(1, Relaxed);
    }

    pub(crate) fn product(self) -> Product {
        self.0.results_made.fetch_add(1, Relaxed);
        Product(Arc::clone(&self.0))
    }
}

impl Drop for Closure {
    fn drop(&mut self) {
        self.0.closures_dropped.fetch_add(1, Relaxed);
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        self.0.results_dropped.fetch_add(1, Relaxed);
    }
}

impl Entry {
    fn new(plan: Plan, depth: usize) -> Self {
        Entry {
            plan,
            depth,
            has_handle: AtomicBool::new(false),
            runs: AtomicUsize::new(0),
            closures_dropped: AtomicUsize::new(0),
            results_made: AtomicUsize::new(0),
            results_dropped: AtomicUsize::new(0),
            told: Mutex::default(),
        }
    }

    /// There is a handle, whose fate is that of the plan.
    pub(crate) fn accept(&self) {
        self.has_handle.store(true, Relaxed);
    }

    /// Whether whoever has the handle waits for the end, however long it takes.
    fn must_be_told(&self) -> bool {
        use Fate as F;
        let waits = [F::Wait, F::Await, F::Cancel, F::CancelFromElsewhere, F::OnComplete, F::HandOver];
        self.has_handle.load(Relaxed) && waits.contains(&self.plan.fate)
    }

    fn is_settled(&self) -> bool {
        let is_told = || !self.told.lock().unwrap().is_empty();
        self.closures_dropped.load(Relaxed) > 0 && (!self.must_be_told() || is_told())
    }

    /// Whether it runs where the pool refuses nothing before it ends. Strands are poisoned by a
    /// panic, and what a task submits may come after the end.
    fn must_run(&self) -> bool {
        let may_not =
            matches!(self.plan.road, Road::Expires | Road::Skips | Road::Strand(_)) || self.depth > 0;
        self.has_handle.load(Relaxed) && self.plan.fate == Fate::Detach && !may_not
    }

    /// Somebody was told the end.
    pub(crate) fn tell(&self, end: &Result<Product, TaskError>) {
        let told = end.as_ref().map_or_else(Told::from, |_| Told::Done);
        self.told.lock().unwrap().push(told);
    }

    fn check(&self, all_run: bool) {
        let told = self.told.lock().unwrap();
        let count = |number: &AtomicUsize| number.load(Relaxed);
        let (runs, made) = (count(&self.runs), count(&self.results_made));
        assert_eq!(count(&self.closures_dropped), 1, "drops of the closure: {self:?}");
        assert!(runs <= 1, "runs: {self:?}");
        // A panic that is not on purpose is one of the oracle's own, in a closure.
        let returns = if matches!(self.plan.body, Body::Panic) { 0 } else { runs };
        assert_eq!(made, returns, "results: {self:?}");
        assert_eq!(count(&self.results_dropped), made, "drops of the result: {self:?}");
        assert!(told.len() <= 1, "ends: {self:?}");
        assert!(!told.is_empty() || !self.must_be_told(), "nobody was told: {self:?}");
        assert!(runs == 1 || !all_run || !self.must_run(), "nobody ran it: {self:?}");
        let Some(told) = told.first() else { return };
        match told {
            Told::Done => assert_eq!((runs, made), (1, 1), "{self:?}"),
            Told::Panicked => assert_eq!((runs, made), (1, 0), "{self:?}"),
            // The handle is dropped, which may come too late to keep it from running.
            Told::Deadlock => {}
            _ => assert_eq!((runs, made), (0, 0), "{self:?}"),
        }
    }
}

/// All accounts of one program.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: Mutex<Vec<Arc<Entry>>>,
    /// What was seen where a panic would be caught.
    faults: Mutex<Vec<String>>,
    threads: AtomicUsize,
    /// Those that the pool has asked for, until they have ended.
    made: AtomicUsize,
    /// Threads to which something was handed over, until they have ended.
    helpers: AtomicUsize,
}

impl Ledger {
    /// Opens an account.
    pub(crate) fn open(&self, plan: &Plan, depth: usize) -> (Arc<Entry>, Closure) {
        let entry = Arc::new(Entry::new(plan.clone(), depth));
        self.entries.lock().unwrap().push(Arc::clone(&entry));
        (Arc::clone(&entry), Closure(entry))
    }

    /// A thread of the pool begins; there may be `most`.
    pub(crate) fn begin_thread(&self, most: usize) {
        let threads = self.threads.fetch_add(1, Relaxed) + 1;
        self.hold(threads <= most, || format!("{threads} threads of at most {most}"));
    }

    /// Remembers a fault unless `is_so`. In a closure or a hook an assertion would be caught.
    pub(crate) fn hold(&self, is_so: bool, fault: impl FnOnce() -> String) {
        if !is_so {
            self.faults.lock().unwrap().push(fault());
        }
    }

    pub(crate) fn end_thread(&self) {
        self.threads.fetch_sub(1, Relaxed);
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads.load(Relaxed)
    }

    /// Starts a thread for the pool.
    pub(crate) fn make(self: &Arc<Self>, run: impl FnOnce() + Send + 'static) {
        self.start(|ledger| &ledger.made, run);
    }

    /// Hands something over to another thread.
    pub(crate) fn help(self: &Arc<Self>, run: impl FnOnce() + Send + 'static) {
        self.start(|ledger| &ledger.helpers, run);
    }

    fn start(self: &Arc<Self>, count: fn(&Self) -> &AtomicUsize, run: impl FnOnce() + Send + 'static) {
        count(self).fetch_add(1, Relaxed);
        let ledger = Arc::clone(self);
        thread::spawn(move || {
            run();
            count(&ledger).fetch_sub(1, Relaxed);
        });
    }

    /// Whether no other thread does anything any more. One that was given something to do may be
    /// about to count a task as cancelled, and so may the last thread of a pool that gets no other.
    pub(crate) fn is_alone(&self) -> bool {
        self.helpers.load(Relaxed) == 0 && self.made.load(Relaxed) == 0
    }

    /// Nothing goes on any more: the threads have ended, every closure has been dropped, and all
    /// who wait have been told. The monitor may be the one to tell.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_alone() && self.entries.lock().unwrap().iter().all(|entry| entry.is_settled())
    }

    /// After the last thread has gone: every account is closed. Where nothing was refused or
    /// discarded, `all_run`.
    pub(crate) fn check(&self, all_run: bool) {
        for entry in self.entries.lock().unwrap().iter() {
            entry.check(all_run);
        }
        assert_eq!(*self.faults.lock().unwrap(), [""; 0]);
        assert_eq!(self.threads(), 0);
    }
}
