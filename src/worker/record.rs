//! What one thread of a pool has of its own: the record that it shows to others (counters that it
//! alone writes, the tasks it is inside, what the system calls it), a deque, and the way to them
//! from the code that runs there.
//!
//! The tasks are shown by id and site, and where a task has a name or a start, by these too. An
//! ordinary task costs its thread two stores. The site is `'static`: a reader may follow it at any
//! time.
//!
//! - **T9** The site shown is null or was made from a `&'static Location`: a reader may follow it,
//!   however late.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::panic::Location;
use std::ptr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use super::clock::ClockMark;
use super::clock_window::ClockWindow;
use super::deep::Rest;
use crate::counts::{Counter, RunCounters, TaskCounts};
use crate::error::{Origin, TaskId};
use crate::lane::QueueItem;
use crate::queue::LocalQueue;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, HintBool, HintUsize, Ordering};
use crate::sync::{Mutex, now, thread_local_const};
use crate::sys::thread_stat::ThreadKey;
use crate::task::TaskRef;

/// What `Pool::spawn` needs of the thread that calls it, where the thread is the pool's own.
pub(super) struct WorkerContext {
    /// [`Engine::owner`](super::Engine::owner) of the thread's pool.
    pub(super) owner: *const (),
    /// The deque, once the thread has one.
    pub(super) local: OnceCell<LocalQueue<QueueItem>>,
    pub(super) record: Arc<ThreadRecord>,
}

thread_local_const! { static CONTEXT: Cell<*const WorkerContext> = Cell::new(ptr::null()) }

/// Makes a context that of the thread, until the guard is dropped (T6).
pub(super) struct CurrentGuard {
    outer: *const WorkerContext,
}

impl CurrentGuard {
    pub(super) fn enter(context: &WorkerContext) -> Self {
        CurrentGuard { outer: CONTEXT.with(|slot| slot.replace(context)) }
    }
}

impl Drop for CurrentGuard {
    fn drop(&mut self) {
        CONTEXT.with(|slot| slot.set(self.outer));
    }
}

/// This thread's context, if the thread is one of `owner`'s.
#[inline]
pub(super) fn this_context<'a>(owner: *const ()) -> Option<&'a WorkerContext> {
    // SAFETY: T6: `Worker::main` borrows the context for longer than `CONTEXT` points to it, and
    // runs the code that uses it.
    let context = unsafe { CONTEXT.with(Cell::get).as_ref() };
    context.filter(|context| ptr::eq(context.owner, owner))
}

/// The record of this thread, if the thread is one of `owner`'s.
pub(crate) fn this_record(owner: *const ()) -> Option<Arc<ThreadRecord>> {
    this_context(owner).map(|context| Arc::clone(&context.record))
}

/// What one thread shows to others.
#[derive(Debug)]
pub(crate) struct ThreadRecord {
    pub(crate) counters: CachePadded<ThreadCounters>,
    /// Whether the thread runs whatever is queued; otherwise it belongs to a lane's reserve.
    pub(crate) is_general: bool,
    /// Whether the thread has declared that it blocks.
    pub(crate) blocking: AtomicBool,
    /// What the thread is parked in, as far as `deep` needs to know.
    pub(super) rest: Rest,
    /// When the thread has looked at the clock last.
    pub(super) clock: ClockMark,
    /// Set when the monitor has found the thread to be in one task for long, or tasks to wait for
    /// long; cleared when the thread looks into the queues again.
    pub(crate) overstays: HintBool,
    /// The address of the account of the lane whose task the thread is inside; 0 if the task is no
    /// lane's.
    pub(crate) lane: HintUsize,
    /// How many times the thread has been parked in waits for, among others, the pool's shutdown.
    parks: AtomicU64,
    /// Which deque the thread owns, once it owns one.
    pub(crate) deque: OnceLock<usize>,
    /// The thread's names in the operating system.
    pub(crate) key: ThreadKey,
    /// The task that the thread runs or ran last.
    pub(super) tasks: RunningTasks,
    /// What the monitor remembers of the thread from one look to the next. Only the monitor locks
    /// this.
    pub(crate) last_sample: Mutex<LastSample>,
}

/// What one thread counts. The thread alone writes these counters.
#[derive(Debug, Default)]
pub(crate) struct ThreadCounters {
    /// Tasks that the thread's tasks have spawned.
    pub(crate) submitted: Counter,
    pub(crate) runs: RunCounters,
    /// Tasks whose result the thread has delivered. If that is less than `started`, the thread is
    /// inside a closure or a waker.
    pub(crate) delivered: Counter,
}

impl ThreadCounters {
    /// Adds what has been counted to `counts`: ends first, then starts, then submissions.
    pub(super) fn add_to(&self, counts: &mut TaskCounts) {
        self.runs.add_to(counts);
        counts.submitted += self.submitted.get();
    }
}

/// The monitor's memory of a thread.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct LastSample {
    pub(crate) started: u64,
    pub(crate) delivered: u64,
    /// For how many looks in a row the thread has been inside the same task.
    pub(crate) stalled: u32,
    /// How long the thread has been there, as far as the looks show.
    pub(crate) held: Duration,
    /// Whether the thread was asleep when the monitor last asked in this task.
    pub(crate) asleep: Option<bool>,
    /// Whether the thread has been there for long, and has computed there as far as the system
    /// shows.
    pub(crate) occupied: bool,
    /// Whether that has lasted for long, too.
    pub(crate) long: bool,
    /// The thread's CPU clock at the first reading in this task.
    pub(crate) cpu_since: Option<Duration>,
    /// The thread's CPU clock at the last look.
    pub(crate) cpu_time: Option<Duration>,
    /// What its readings show where the clock lags.
    pub(crate) window: ClockWindow,
}

impl LastSample {
    /// The sample of a thread that is still inside the same task, `elapsed` later.
    #[must_use]
    pub(crate) fn later(self, elapsed: Duration) -> Self {
        LastSample {
            stalled: self.stalled.saturating_add(1),
            held: self.held.saturating_add(elapsed),
            ..self
        }
    }
}

/// Where a thread is in its life: see [`ThreadRecord::moment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    started: u64,
    ended: u64,
    parks: u64,
}

impl ThreadRecord {
    /// The tasks that the thread is inside; none if the thread is going on to another one just now.
    pub(crate) fn running_tasks(&self) -> Vec<RunningTask> {
        let started = self.counters.runs.started.get();
        if self.running() == 0 {
            return Vec::new();
        }
        let mut shown = self.tasks.read();
        let running = self.running() as usize;
        if self.counters.runs.started.get() != started || shown.len() < running {
            return Vec::new();
        }
        // The innermost one has ended, or has not begun.
        shown.truncate(running);
        if let [RunningTask { since: None, about, .. }] = &mut *shown {
            *about = self.clock.estimate(now(), started);
        }
        shown
    }

    /// How many tasks are on the thread's stack.
    pub(crate) fn running(&self) -> u64 {
        let ended = self.counters.runs.all_ended();
        self.counters.runs.started.get() - ended
    }

    /// Where the thread is in its life: the moment changes with each task that begins or ends, and
    /// when the thread wakes in a wait for the pool's shutdown. The thread itself asks, or another
    /// one about a thread that is blocked or has gone on.
    pub(crate) fn moment(&self) -> Moment {
        let runs = &self.counters.runs;
        let ended = runs.all_ended();
        Moment { started: runs.started.get(), ended, parks: self.parks.load(Ordering::Relaxed) }
    }

    /// The thread looks at the clock between two tasks.
    pub(super) fn mark_clock(&self) -> Instant {
        let now = now();
        self.clock.pass(now, self.counters.runs.started.get());
        now
    }

    /// The thread looks at the clock after it has been without work.
    pub(super) fn mark_wake(&self) -> Instant {
        let now = now();
        self.clock.wake(now, self.counters.runs.started.get());
        now
    }

    /// The thread goes on after a park in a wait for the pool's shutdown.
    pub(super) fn count_park(&self) {
        self.parks.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the thread, which looks into the queues now, is to look into the injector first.
    pub(super) fn take_overstay(&self) -> bool {
        let long = self.overstays.load(Ordering::Relaxed);
        if long {
            self.overstays.store(false, Ordering::Relaxed);
        }
        long
    }

    /// The thread is about to run a task of the lane whose account is at this address. Returns the
    /// argument for [`return_to_lane`](ThreadRecord::return_to_lane).
    pub(super) fn enter_lane(&self, account: *const ()) -> usize {
        let outer = self.lane.load(Ordering::Relaxed);
        self.lane.store(account.addr(), Ordering::Relaxed);
        outer
    }

    /// The task has ended: the thread is again inside the one before.
    pub(super) fn return_to_lane(&self, outer: usize) {
        self.lane.store(outer, Ordering::Relaxed);
    }

    /// A record of the calling thread.
    pub(crate) fn for_this_thread(is_general: bool) -> Self {
        ThreadRecord {
            counters: CachePadded::default(),
            is_general,
            blocking: AtomicBool::new(false),
            rest: Rest::default(),
            clock: ClockMark::new(),
            overstays: HintBool::new(false),
            lane: HintUsize::new(0),
            parks: AtomicU64::new(0),
            deque: OnceLock::new(),
            key: ThreadKey::current(),
            last_sample: Mutex::new(LastSample::default()),
            tasks: RunningTasks::new(),
        }
    }
}

/// A task that a thread was found to be inside.
#[derive(Clone, Debug)]
pub(crate) struct RunningTask {
    pub(crate) origin: Origin,
    /// When the task's closure began, if the task is timed.
    pub(crate) since: Option<Instant>,
    /// About when it began, if it is not timed and the thread runs it alone.
    pub(crate) about: Option<Instant>,
}

/// What only some of the tasks shown have.
#[derive(Clone, Debug, Default)]
struct TaskDetail {
    name: Option<Cow<'static, str>>,
    since: Option<Instant>,
}

/// The task that a thread runs or ran last, and those that the thread has interrupted for it, the
/// outermost first.
#[derive(Debug)]
pub(super) struct RunningTasks {
    id: AtomicU64,
    site: AtomicPtr<Location<'static>>,
    /// Whether `detail` holds anything. Only the thread itself asks.
    detailed: AtomicBool,
    detail: Mutex<TaskDetail>,
    /// `None` where the thread has interrupted no task but a waker or callback.
    below: Mutex<Vec<Option<RunningTask>>>,
    /// How many of those are tasks. Only the thread itself asks.
    interrupted: AtomicU64,
}

impl RunningTasks {
    pub(super) fn new() -> Self {
        RunningTasks {
            id: AtomicU64::new(0),
            site: AtomicPtr::new(ptr::null_mut()),
            detailed: AtomicBool::new(false),
            detail: Mutex::new(TaskDetail::default()),
            below: Mutex::new(Vec::new()),
            interrupted: AtomicU64::new(0),
        }
    }

    /// Shows a task that begins and carries nothing. Only the thread itself may call this, as all
    /// functions but `read`.
    #[inline]
    pub(super) fn show_plain(&self, task: &TaskRef) {
        self.show_top(task.id(), task.site());
        if self.detailed.load(Ordering::Relaxed) {
            self.add_detail(false, TaskDetail::default());
        }
    }

    /// Shows a task that begins and may have a name or a start.
    pub(super) fn show(&self, task: &TaskRef, since: Option<Instant>) {
        self.show_top(task.id(), task.site());
        let name = task.metadata().and_then(|metadata| metadata.name.clone());
        let detailed = name.is_some() || since.is_some();
        if detailed || self.detailed.load(Ordering::Relaxed) {
            self.add_detail(detailed, TaskDetail { name, since });
        }
    }

    #[inline]
    fn show_top(&self, id: TaskId, site: &'static Location<'static>) {
        // ORDERING: Release, here and for the site, pairs with the Acquire in `read_top`. The task
        // before has been counted as ended by then: so a reader that sees anything of a task that
        // is not counted as begun finds that nothing runs (`ThreadRecord::running_tasks`).
        self.id.store(id.0, Ordering::Release);
        self.site.store(ptr::from_ref(site).cast_mut(), Ordering::Release);
    }

    #[cold]
    fn add_detail(&self, detailed: bool, detail: TaskDetail) {
        self.detailed.store(detailed, Ordering::Relaxed);
        let old = std::mem::replace(&mut *self.detail.lock(), detail);
        drop(old);
    }

    /// The thread, which is inside `running` tasks, is about to run others inline.
    pub(super) fn interrupt(&self, running: u64) {
        let interrupted = self.interrupted.load(Ordering::Relaxed);
        let top = self.read_top().filter(|_| running > interrupted);
        self.interrupted.store(interrupted + u64::from(top.is_some()), Ordering::Relaxed);
        self.below.lock().push(top);
    }

    /// The others have run.
    pub(super) fn resume(&self) {
        let shown = self.below.lock().pop().flatten();
        if let Some(RunningTask { origin, since, .. }) = shown {
            self.interrupted.store(self.interrupted.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
            self.show_top(origin.id, origin.site);
            self.add_detail(
                origin.name.is_some() || since.is_some(),
                TaskDetail { name: origin.name, since },
            );
        }
    }

    fn read_top(&self) -> Option<RunningTask> {
        // ORDERING: Acquire pairs with the Release in `show_top`.
        let site = self.site.load(Ordering::Acquire);
        // ORDERING: Acquire pairs with the Release in `show_top`. Relaxed would let the id be read
        // after the counts that are to vouch for it.
        let id = self.id.load(Ordering::Acquire);
        // SAFETY: T9.
        let site = unsafe { site.as_ref() }?;
        let TaskDetail { name, since } = self.detail.lock().clone();
        Some(RunningTask { origin: Origin { id: TaskId(id), site, name }, since, about: None })
    }

    /// The tasks shown. If the thread has gone on to another task meanwhile they may be mixed up:
    /// the caller must exclude that.
    pub(super) fn read(&self) -> Vec<RunningTask> {
        let mut all = Vec::new();
        for task in self.below.lock().iter().flatten() {
            all.push(task.clone());
        }
        if let Some(top) = self.read_top() {
            all.push(top);
        }
        all
    }
}
