//! The end of a pool: admission closes at the call, the pool runs or discards its queue, the
//! threads exit.

mod close;
mod discard;
mod drain;
mod ending;

pub(in crate::pool) use self::discard::give_up;
pub(in crate::pool) use self::ending::Ending;

pub use self::drain::DrainGuard;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_core::future::FusedFuture;

use self::discard::claim;
use self::ending::{Blocked, Crew, WaitingThread};
use crate::error::Reason;
use crate::lane::{Job, QueueItem};
use crate::pool::inner::Inner;
use crate::sync::nesting::{self, TooDeep};
use crate::sync::{Mutex, Parker, now, own_thread, trampoline};
use crate::task::current::will_block;
use crate::task::{BlockingWait, awaits_end, block, host_of, wake};
use crate::task::{Claimed, OnShutdown, TaskRef};
use crate::worker::this_record;

/// What became of the tasks that a pool had when it was shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Closures that have returned or panicked since admission closed.
    pub completed: u64,
    /// Queued tasks that the shutdown has discarded, because of [`Shutdown::discard_queued`] or of
    /// their own [`OnShutdown`] policy.
    pub discarded: u64,
    /// Tasks that had not ended when the report was made, because the timeout came first. They go
    /// on. Tasks that wait for this shutdown are not among them.
    pub still_running: u64,
}

/// The shutdown of a pool: a future of the pool's end.
///
/// Admission closed when [`Pool::shutdown`](crate::Pool::shutdown) was called. The pool still runs
/// its queued tasks, unless [`discard_queued`](Shutdown::discard_queued) is called; then its
/// threads exit and the future resolves.
///
/// A task of the pool may itself await the shutdown or [`wait`](Shutdown::wait) for it. Such a task
/// counts as ended while its thread is blocked in that wait; meanwhile the thread runs queued
/// tasks. When the task goes on, because something else that it awaits has resolved, it counts as
/// running again. [`block_on`](crate::block_on) and [`wait`](Shutdown::wait) show when the thread
/// is blocked. Under another executor the task counts as ended from its poll on; whenever a thread
/// exits or another waiter joins, the pool calls the task's waker, and the task counts as running
/// until it has polled again. So the report of a [`timeout`](Shutdown::timeout) that leaves the
/// task no time for that poll counts it as running. A task of a lane that [`wait`](Shutdown::wait)s
/// without a timeout releases its slot to the lane's queue; otherwise tasks that wait for that slot
/// do not run before the task has ended. Where so many waits are inside each other on the thread
/// that its stack has no room to run what is queued, the report is made at once, as after a
/// timeout.
///
/// The future resolves when the last task has ended and the last thread has counted itself out. It
/// does not wait for what these threads do last, the destructors of their thread-local variables
/// among it, nor for the pool's helpers, which end at that time: [`wait`](Shutdown::wait) does.
///
/// # Cancellation
///
/// Dropping the future changes nothing: the pool still shuts down.
///
/// ```
/// let pool = sidestep::Pool::new()?;
/// for _ in 0..10 {
///     pool.spawn(|| ()).detach();
/// }
/// let report = pool.shutdown().wait();
/// assert_eq!((report.discarded, report.still_running), (0, 0));
/// assert!(pool.spawn(|| ()).wait().unwrap_err().is_shutdown());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the pool shuts down without it; `wait` or `await` it to know when that is done"]
pub struct Shutdown {
    inner: ArcShared,
    id: u64,
    deadline: Option<Instant>,
    timer: Option<AlarmThread>,
    /// Something was queued that this thread had no stack left to run.
    is_too_deep: bool,
    /// The future has given a report.
    is_resolved: bool,
}

/// The pool's state, which the public `Debug` shows by the pool's name alone.
struct ArcShared(Arc<Inner>);

impl std::fmt::Debug for ArcShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.config.name)
    }
}

impl Shutdown {
    pub(in crate::pool) fn new(inner: Arc<Inner>) -> Self {
        let id = inner.ending.new_id();
        let inner = ArcShared(inner);
        Shutdown { inner, id, deadline: None, timer: None, is_too_deep: false, is_resolved: false }
    }

    /// Discards the queued tasks now: this call drops their closures, and their handles resolve
    /// with [`is_shutdown`](crate::TaskError::is_shutdown). Tasks spawned with
    /// [`OnShutdown::AlwaysRun`] still run.
    pub fn discard_queued(self) -> Self {
        let inner = &self.inner.0;
        if !inner.engine.is_forked() {
            discard_queued(inner);
        }
        self
    }

    /// Makes the future resolve `timeout` from now at the latest. Tasks that run at that time go
    /// on, and the report counts them. Any duration is valid.
    ///
    /// Awaiting with a timeout starts a thread that only waits for the deadline; if the system
    /// refuses that thread, the future resolves at once.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        // A system without threads need not have a clock either; but then the pool has ended.
        let ended = self.inner.0.threads_left() == Some(0);
        self.deadline = if ended { None } else { now().checked_add(timeout) };
        self.timer = None;
        self
    }

    /// Blocks the calling thread until the pool has ended and its threads are gone, or the
    /// [`timeout`](Shutdown::timeout) has passed.
    ///
    /// When this call returns without a timeout, the operating system has no thread of the pool any
    /// more, neither one that has run tasks nor a helper of the pool, and the destructors of their
    /// thread-local variables have run: so a library can be unloaded, and a process that counts its
    /// threads may go on. There are four exceptions. Tasks that wait for this shutdown keep their
    /// threads, and as long as there are such tasks the pool keeps its helpers. Threads that a
    /// [`spawn_handler`](crate::PoolBuilder::spawn_handler) makes are the handler's: they have
    /// returned from [`NewThread::run`](crate::NewThread::run). A call that a thread of the library
    /// makes in a destructor of a thread-local variable, a subscriber or a recorder returns when
    /// the tasks have ended. On systems other than Linux a call with a timeout does not wait for
    /// the destructors of thread-local variables.
    ///
    /// A destructor of a thread-local variable that waits for the caller of this method is a
    /// deadlock.
    #[track_caller]
    pub fn wait(mut self) -> ShutdownReport {
        // Without a deadline the closure goes on only when nothing else runs: so the release of its
        // slots early lets no lane exceed its limit.
        if let Some(host) = host_of(self.inner.0.engine.owner()).filter(|_| self.deadline.is_none()) {
            host.release_slots_early();
        }
        let deadline = self.deadline;
        let Some((report, end)) = block(&mut EndWait(&mut self), deadline) else {
            unreachable!("a poll after the deadline reports")
        };
        let inner = &self.inner.0;
        if let Some(crew) = end.filter(|_| !inner.engine.is_forked()) {
            let joins = inner.threads.joins();
            will_block(|| joins.join_all(crew.threads == 0, deadline));
        }
        report
    }

    fn is_due(&self) -> bool {
        self.is_too_deep || self.deadline.is_some_and(|deadline| now() >= deadline)
    }

    /// Registers `waker`, then looks whether all threads have exited but those that wait for the
    /// end. Returns those. `blocked` turns the parker of this wait into the way that shows that the
    /// thread is blocked.
    fn look(&mut self, waker: &Waker, blocked: fn(Arc<Parker>) -> Blocked) -> Option<Crew> {
        let inner = &self.inner.0;
        let host = host_of(inner.engine.owner());
        while let Some(host) = host.filter(|host| host.has_queued()) {
            if nesting::room().is_err() {
                self.is_too_deep = true;
                break;
            }
            trampoline::settle(None);
            host.run_any_inline();
        }
        // Forked before the call, or by one of these tasks.
        if inner.engine.is_forked() {
            return Some(Crew::default());
        }
        let thread = this_record(inner.engine.owner())
            .map(|record| WaitingThread::new(record, awaits_end(waker).map_or(Blocked::Unseen, blocked)));
        let end = inner.ending.wait(self.id, waker, thread, &|| inner.threads_left());
        let end = end.filter(|_| !self.is_too_deep);
        // A waker may have forked.
        if inner.engine.is_forked() { Some(Crew::default()) } else { end }
    }

    /// Removes this shutdown from the wait list.
    fn leave(&self) {
        self.inner.0.ending.leave(self.id);
    }

    /// Makes the report and ends the wait.
    fn resolve(&self, end: Option<Crew>) -> ShutdownReport {
        let report = self.report(end);
        self.leave();
        report
    }

    /// What has become of the tasks. `end`: the threads that waited when the end came, if it has
    /// come.
    fn report(&self, end: Option<Crew>) -> ShutdownReport {
        let inner = &self.inner.0;
        if inner.engine.is_forked() {
            return ShutdownReport { completed: 0, discarded: 0, still_running: 0 };
        }
        let waiting = end.unwrap_or_else(|| inner.ending.crew(self.id));
        // Read before the counts: once the pool is over they are final.
        let over = end.is_some()
            || !self.is_too_deep && inner.threads_left().is_some_and(|left| left <= waiting.threads);
        if over {
            inner.expiry.publish();
        }
        let totals = inner.engine.counts();
        let ran = totals.ran();
        // With no other thread left nothing runs: a task that still shows is one that its submitter
        // is taking out again, or it waits in a lane for a slot that a task holds which waits for
        // this shutdown.
        let open = match over {
            true if waiting.threads == 0 => 0,
            true => inner.engine.lanes.counts().tasks.queued() + waiting.tasks,
            false => totals.queued() + totals.running(),
        };
        ShutdownReport {
            completed: ran - inner.ending.baseline(),
            discarded: inner.ending.discarded(),
            still_running: open.saturating_sub(waiting.tasks),
        }
    }
}

/// Discards the queued tasks because of a shutdown, but for those that always run.
fn discard_queued(inner: &Inner) {
    let stays = |task: &TaskRef| {
        task.metadata().is_some_and(|metadata| metadata.on_shutdown == OnShutdown::AlwaysRun)
    };
    sort_out(inner, &mut |claimed| {
        let mut staying = Vec::new();
        while let Some(entry) = inner.engine.queues.take_any() {
            match entry.open() {
                Job::Task(task) if stays(&task) => staying.push(QueueItem::task(task)),
                Job::Task(task) => claimed.extend(claim(task)),
                Job::Lane(lane) => staying.push(QueueItem::lane(lane)),
            }
        }
        for lane in inner.engine.lanes.all() {
            for task in lane.clear(&|task| !stays(task)) {
                claimed.extend(claim(task));
            }
        }
        let puts_back = !staying.is_empty();
        if puts_back {
            for entry in staying {
                inner.engine.queues.push(None, entry);
            }
            inner.notify();
        }
        puts_back
    });
}

/// Drops the queued tasks that any shutdown drops.
pub(in crate::pool) fn drop_discardable(inner: &Inner) {
    sort_out(inner, &mut |claimed| {
        for task in inner.ending.discardable().close() {
            claimed.extend(claim(task));
        }
        false
    });
}

/// Discards the tasks that `sort` claims, once it has claimed all of them: user code may take its
/// time. Until then the pool does not look over, though entries that stay are in no queue for a
/// while; `sort` returns whether there were any.
fn sort_out(inner: &Inner, sort: &mut dyn FnMut(&mut Vec<Claimed>) -> bool) {
    inner.ending.begin_sorting();
    let mut claimed = Vec::new();
    let puts_back = sort(&mut claimed);
    inner.ending.count_discarded(claimed.len() as u64);
    for claimed in claimed {
        claimed.discard(Reason::Shutdown);
    }
    inner.end_sorting();
    if puts_back {
        inner.ending.announce(&|| inner.threads_left());
    } else {
        inner.ending.look(&|| inner.threads_left());
    }
}

/// The wait of a thread that waits for nothing but the end of a pool.
struct EndWait<'a>(&'a mut Shutdown);

impl BlockingWait for EndWait<'_> {
    type Output = (ShutdownReport, Option<Crew>);
    const IS_FOR_END: bool = true;

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Self::Output> {
        let end = self.0.look(context.waker(), Blocked::Solely);
        if end.is_some() || self.0.is_due() { Poll::Ready((self.0.report(end), end)) } else { Poll::Pending }
    }

    fn too_deep(&mut self, _deep: TooDeep) -> Option<Self::Output> {
        self.0.is_too_deep = true;
        Some((self.0.report(None), None))
    }
}

impl Future for Shutdown {
    type Output = ShutdownReport;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<ShutdownReport> {
        let report = self.poll_report(context);
        self.is_resolved |= report.is_ready();
        report
    }
}

/// The future is terminated once it has given a report. Another poll returns one of that time.
impl FusedFuture for Shutdown {
    fn is_terminated(&self) -> bool {
        self.is_resolved
    }
}

impl Shutdown {
    fn poll_report(&mut self, context: &mut Context<'_>) -> Poll<ShutdownReport> {
        let end = self.look(context.waker(), Blocked::Seen);
        if end.is_some() || self.is_due() {
            return Poll::Ready(self.resolve(end));
        }
        let Some(deadline) = self.deadline else { return Poll::Pending };
        if self.timer.is_none() {
            self.timer = AlarmThread::start(deadline, &self.inner.0.config.name);
        }
        match &self.timer {
            Some(timer) => {
                timer.set(context.waker().clone());
                // The deadline may have passed before the waker was set.
                if self.is_due() { Poll::Ready(self.resolve(None)) } else { Poll::Pending }
            }
            None => Poll::Ready(self.resolve(None)),
        }
    }
}

impl Drop for Shutdown {
    fn drop(&mut self) {
        self.leave();
        if self.inner.0.engine.is_forked() {
            // In a forked child the alarm's locks may be held for ever.
            std::mem::forget(self.timer.take());
        }
    }
}

/// A thread that wakes a future at a given time, unless this handle is dropped before.
#[derive(Debug)]
struct AlarmThread(Arc<Alarm>);

#[derive(Debug)]
struct Alarm {
    parker: Parker,
    waker: Mutex<Option<Waker>>,
}

impl AlarmThread {
    fn start(deadline: Instant, pool: &str) -> Option<Self> {
        let alarm = Arc::new(Alarm { parker: Parker::new(), waker: Mutex::new(None) });
        let rings = Arc::clone(&alarm);
        let thread = own_thread::start_alone(format!("{pool}-shutdown"), move || {
            rings.parker.park(Some(deadline));
            let waker = rings.waker.lock().take();
            if let Some(waker) = waker {
                wake(waker);
            }
        });
        thread.ok().map(|()| AlarmThread(alarm))
    }

    fn set(&self, waker: Waker) {
        let old = self.0.waker.lock().replace(waker);
        drop(old);
    }
}

impl Drop for AlarmThread {
    fn drop(&mut self) {
        let waker = self.0.waker.lock().take();
        drop(waker);
        self.0.parker.unpark();
    }
}
