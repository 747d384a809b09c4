//! The end of a pool: admission closes at the call, the queue is run or discarded, the threads
//! leave.

mod discard;
mod ending;

pub(in crate::pool) use self::discard::give_up;
pub(in crate::pool) use self::ending::Ending;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use self::discard::claim;
use self::ending::{Blocked, Crew, WaitingThread};
use crate::error::Reason;
use crate::lane::{Job, QueueItem};
use crate::pool::inner::Inner;
use crate::sync::{Mutex, Parker, now, thread, trampoline};
use crate::task::{BlockingWait, awaits_end, block, host_of, wake};
use crate::task::{Claimed, OnShutdown, TaskRef};
use crate::worker::this_record;

/// What became of the tasks that a pool had when it was shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Closures that have returned or panicked since admission closed.
    pub completed: u64,
    /// Tasks that the shutdown has taken out of the queue: those that it was to discard, by
    /// [`Shutdown::discard_queued`] or by their own [`OnShutdown`].
    pub discarded: u64,
    /// Tasks that had not ended when the report was made, because the timeout came first. They go
    /// on. Tasks that wait for this very shutdown are not among them.
    pub still_running: u64,
}

/// The shutdown of a pool, under way: a future of its end.
///
/// Admission closed when [`Pool::shutdown`](crate::Pool::shutdown) was called. What is queued is
/// still run, unless [`discard_queued`](Shutdown::discard_queued) is called; then the threads leave
/// and the future resolves.
///
/// It may be awaited or waited for on the pool's own threads. A task counts as ended while its
/// thread is blocked in that wait, and runs what is queued meanwhile; when it goes on, with
/// something else that it has awaited beside, it counts as running again.
/// [`block_on`](crate::block_on) and [`wait`](Shutdown::wait) show when the thread is blocked.
/// Under another executor it counts as ended from its poll on. Whenever a thread leaves or somebody
/// new waits, the waker of one that is awaited is called, and the task counts as running until it
/// has polled again: so does a task in the report of a [`timeout`](Shutdown::timeout) that has left
/// it no time for that. A task of a lane that [`wait`](Shutdown::wait)s without a timeout gives its
/// slot to the lane's queue; otherwise what waits for that slot is not run before the task has
/// ended.
///
/// # Cancellation
///
/// Dropping it changes nothing: the pool shuts down all the same.
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
#[must_use = "the pool shuts down all the same, but `wait` or `await` tell when it has"]
pub struct Shutdown {
    inner: ArcShared,
    id: u64,
    deadline: Option<Instant>,
    timer: Option<Timer>,
}

/// The state, without its innards in the public `Debug`.
struct ArcShared(Arc<Inner>);

impl std::fmt::Debug for ArcShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.config.name)
    }
}

impl Shutdown {
    pub(in crate::pool) fn new(inner: Arc<Inner>) -> Self {
        let id = inner.ending.new_id();
        Shutdown { inner: ArcShared(inner), id, deadline: None, timer: None }
    }

    /// Discards what is queued, now: closures are dropped here, and their handles resolve with
    /// [`is_shutdown`](crate::TaskError::is_shutdown). Tasks spawned with
    /// [`OnShutdown::AlwaysRun`] still run.
    pub fn discard_queued(self) -> Self {
        let inner = &self.inner.0;
        if !inner.engine.is_forked() {
            discard_queued(inner);
        }
        self
    }

    /// Resolves `timeout` from now at the latest. What is running then goes on, and the report says
    /// how much. Any duration is legal.
    ///
    /// Awaiting with a timeout takes a thread that does nothing but wait for the time to come; if
    /// the system refuses that one, the future resolves at once.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        // A system without threads need not have a clock either; but then the pool has ended.
        let ended = self.inner.0.threads_left() == Some(0);
        self.deadline = if ended { None } else { now().checked_add(timeout) };
        self.timer = None;
        self
    }

    /// Blocks this thread until the pool has ended.
    pub fn wait(mut self) -> ShutdownReport {
        // Without a deadline the closure goes on only when nothing else does: so no lane exceeds
        // its limit by this.
        if let Some(host) = host_of(self.inner.0.engine.owner()).filter(|_| self.deadline.is_none()) {
            host.release_slots_early();
        }
        let deadline = self.deadline;
        match block(&mut EndWait(&mut self), deadline) {
            Some(report) => report,
            None => unreachable!("a poll after the deadline reports"),
        }
    }

    fn is_due(&self) -> bool {
        self.deadline.is_some_and(|deadline| now() >= deadline)
    }

    /// Registers `waker`, then looks whether all threads have left but those that wait for this.
    /// Returns those. `blocked` makes of the parker of this wait how it shows that the thread is
    /// blocked.
    fn look(&mut self, waker: &Waker, blocked: fn(Arc<Parker>) -> Blocked) -> Option<Crew> {
        let inner = &self.inner.0;
        let host = host_of(inner.engine.owner());
        while let Some(host) = host.filter(|host| host.has_queued()) {
            trampoline::settle(None);
            host.run_any_inline();
        }
        // From the start, or by one of these tasks.
        if inner.engine.is_forked() {
            return Some(Crew::default());
        }
        let thread = this_record(inner.engine.owner())
            .map(|slot| WaitingThread::new(slot, awaits_end(waker).map_or(Blocked::Unseen, blocked)));
        let end = inner.ending.wait(self.id, waker, thread, || inner.threads_left());
        // By a waker.
        if inner.engine.is_forked() { Some(Crew::default()) } else { end }
    }

    /// Nobody waits by this any more.
    fn leave(&self) {
        self.inner.0.ending.leave(self.id);
    }

    /// The report for one who waits no longer.
    fn resolve(&self, end: Option<Crew>) -> ShutdownReport {
        let report = self.report(end);
        self.leave();
        report
    }

    /// What has become of the tasks: `end` says who waited when the end came, if that has come.
    fn report(&self, end: Option<Crew>) -> ShutdownReport {
        let inner = &self.inner.0;
        if inner.engine.is_forked() {
            return ShutdownReport { completed: 0, discarded: 0, still_running: 0 };
        }
        let waiting = end.unwrap_or_else(|| inner.ending.crew(self.id));
        // Looked at before the counts: once it is over they are final.
        let over = end.is_some() || inner.threads.counts().reserved() <= waiting.threads;
        if over {
            inner.expiry.publish();
        }
        let totals = inner.engine.counts();
        let ended = totals.ended();
        // With no other thread left nothing runs: a task that still shows is being taken back by
        // its submitter, or waits in a lane for a slot that a task holds which waits here.
        let open = match over {
            true if waiting.threads == 0 => 0,
            true => inner.engine.lanes.counts().tasks.queued() + waiting.tasks,
            false => totals.queued() + totals.running(),
        };
        ShutdownReport {
            completed: ended - inner.ending.baseline(),
            discarded: inner.ending.discarded(),
            still_running: open.saturating_sub(waiting.tasks),
        }
    }
}

/// Discards what is queued because of a shutdown, but for tasks that block it.
fn discard_queued(inner: &Inner) {
    let stays =
        |task: &TaskRef| task.extras().is_some_and(|extras| extras.on_shutdown == OnShutdown::AlwaysRun);
    sort_out(inner, |claimed| {
        let mut staying = Vec::new();
        while let Some(entry) = inner.engine.queues.take_any() {
            match entry.open() {
                Job::Task(task) if stays(&task) => staying.push(QueueItem::task(task)),
                Job::Task(task) => claimed.extend(claim(task)),
                Job::Lane(lane) => staying.push(QueueItem::lane(lane)),
            }
        }
        for lane in inner.engine.lanes.all() {
            claimed.extend(lane.clear(|task| !stays(task)).into_iter().filter_map(claim));
        }
        let puts_back = !staying.is_empty();
        if puts_back {
            staying.into_iter().for_each(|entry| inner.engine.queues.push(None, entry));
            inner.notify();
        }
        puts_back
    });
}

/// Drops the queued tasks that any shutdown drops.
pub(in crate::pool) fn drop_discardable(inner: &Inner) {
    sort_out(inner, |claimed| {
        claimed.extend(inner.ending.discardable().close().into_iter().filter_map(claim));
        false
    });
}

/// Discards what `sort` claims, once it has claimed everything: foreign code may take its time.
/// Until then the pool does not look over, though entries that stay are in no queue for a
/// while; `sort` says whether there were any.
fn sort_out(inner: &Inner, sort: impl FnOnce(&mut Vec<Claimed>) -> bool) {
    inner.ending.begin_sorting();
    let mut claimed = Vec::new();
    let puts_back = sort(&mut claimed);
    inner.ending.count_discarded(claimed.len() as u64);
    claimed.into_iter().for_each(|claimed| claimed.discard(Reason::Shutdown));
    inner.ending.end_sorting();
    if puts_back {
        inner.ending.announce(|| inner.threads_left());
    } else {
        inner.ending.look(|| inner.threads_left());
    }
}

/// A thread's wait for nothing but the end of a pool.
struct EndWait<'a>(&'a mut Shutdown);

impl BlockingWait for EndWait<'_> {
    type Output = ShutdownReport;
    const IS_FOR_END: bool = true;

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ShutdownReport> {
        let end = self.0.look(context.waker(), Blocked::Solely);
        if end.is_some() || self.0.is_due() { Poll::Ready(self.0.report(end)) } else { Poll::Pending }
    }
}

impl Future for Shutdown {
    type Output = ShutdownReport;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<ShutdownReport> {
        let end = self.look(context.waker(), Blocked::Seen);
        if end.is_some() || self.is_due() {
            return Poll::Ready(self.resolve(end));
        }
        let Some(deadline) = self.deadline else { return Poll::Pending };
        if self.timer.is_none() {
            self.timer = Timer::start(deadline, &self.inner.0.config.name);
        }
        match &self.timer {
            Some(timer) => {
                timer.set(context.waker().clone());
                // The alarm may have gone off before the waker was there.
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
            // Its locks may be held for ever.
            std::mem::forget(self.timer.take());
        }
    }
}

/// A thread that wakes a future at a given time, unless it is dropped before.
#[derive(Debug)]
struct Timer(Arc<Alarm>);

#[derive(Debug)]
struct Alarm {
    parker: Parker,
    waker: Mutex<Option<Waker>>,
}

impl Timer {
    fn start(deadline: Instant, pool: &str) -> Option<Self> {
        let alarm = Arc::new(Alarm { parker: Parker::new(), waker: Mutex::new(None) });
        let rings = Arc::clone(&alarm);
        let builder = thread::Builder::new().name(format!("{pool}-shutdown"));
        let thread = builder.spawn(move || {
            rings.parker.park(Some(deadline));
            let waker = rings.waker.lock().take();
            if let Some(waker) = waker {
                wake(waker);
            }
        });
        thread.ok().map(|_| Timer(alarm))
    }

    fn set(&self, waker: Waker) {
        let old = self.0.waker.lock().replace(waker);
        drop(old);
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let waker = self.0.waker.lock().take();
        drop(waker);
        self.0.parker.unpark();
    }
}
