//! Gates, counters and patience for the tests.

pub(crate) mod alone;
mod by_time;
pub(crate) mod fake;
#[cfg(unix)]
pub(crate) mod fork;
mod rendezvous;

pub(crate) use self::by_time::also_by_time_alone;
pub(crate) use self::rendezvous::{Rendezvous, keeps_to};

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use sidestep::{Lane, Metrics, Pool, PoolBuilder, Task, TaskError};

/// Longer than anything here takes on the slowest machine: reaching it is a failure, never a
/// measurement. The variable is for tools that make everything many times slower.
pub(crate) const PATIENCE: Duration =
    Duration::from_secs(if option_env!("SIDESTEP_PATIENCE").is_some() { 300 } else { 60 });

/// A door that is shut until somebody opens it, for ever.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn new() -> Self {
        Gate::default()
    }

    /// Blocks until the gate is open.
    pub(crate) fn pass(&self) {
        let (open, bell) = &*self.0;
        let (guard, timeout) =
            bell.wait_timeout_while(open.lock().unwrap(), PATIENCE, |open| !*open).unwrap();
        drop(guard);
        assert!(!timeout.timed_out(), "the gate was never opened");
    }

    pub(crate) fn open(&self) {
        let (open, bell) = &*self.0;
        *open.lock().unwrap() = true;
        bell.notify_all();
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap()
    }
}

/// Counts how many of its kind have been dropped.
#[derive(Clone, Default)]
pub(crate) struct Drops(Arc<AtomicUsize>);

impl Drops {
    pub(crate) fn new() -> Self {
        Drops::default()
    }

    /// Something whose drop is counted.
    pub(crate) fn token(&self) -> DropToken {
        DropToken(Arc::clone(&self.0))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) struct DropToken(Arc<AtomicUsize>);

impl Drop for DropToken {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it never happened: {what}");
        std::thread::yield_now();
    }
}

/// The end of `task`, which must come.
pub(crate) fn soon<T>(task: Task<T>) -> Result<T, TaskError> {
    task.wait_timeout(PATIENCE).unwrap_or_else(|task| panic!("{task:?} never ended"))
}

thread_local! { static THREAD_STATES: Cell<bool> = const { Cell::new(true) } }

/// Whether pools that this thread builds ask the system what their threads do.
pub(crate) fn thread_states() -> bool {
    THREAD_STATES.get()
}

/// From now on they do, or do not.
pub(crate) fn set_thread_states(ask: bool) {
    THREAD_STATES.set(ask);
}

/// A pool's builder, for tests that also run on pools that go by time alone.
pub(crate) fn builder() -> PoolBuilder {
    Pool::builder().thread_states(thread_states())
}

/// A pool of its own for one test.
pub(crate) fn pool(core: usize, max: usize) -> Pool {
    builder().core_threads(core).max_threads(max).build().unwrap()
}

/// A task that has started and blocks its thread until `gate` opens.
pub(crate) fn occupy(pool: &Pool, gate: &Gate) -> Task<()> {
    let started = Gate::new();
    let (announce, gate) = (started.clone(), gate.clone());
    let task = pool.spawn(move || {
        announce.open();
        gate.pass();
    });
    started.pass();
    task
}

/// Waits for the end of each of `tasks`, which must be good.
pub(crate) fn all_well<T>(tasks: impl IntoIterator<Item = Task<T>>) {
    for task in tasks {
        soon(task).unwrap();
    }
}

/// Checks that the counts of `metrics` agree with each other.
pub(crate) fn check_accounts(metrics: &Metrics) {
    let ended = metrics.tasks_completed() + metrics.tasks_panicked() + metrics.tasks_cancelled();
    let alive = metrics.tasks_queued().checked_add(metrics.tasks_running());
    assert_eq!(
        alive.and_then(|alive| alive.checked_add(ended)),
        Some(metrics.tasks_submitted()),
        "{metrics:?}"
    );
}

/// Checks that a pool all of whose tasks end by themselves still works and has lost nothing.
pub(crate) fn check_sound(pool: &Pool) {
    eventually("all tasks end", || {
        let metrics = pool.metrics();
        (metrics.tasks_queued(), metrics.tasks_running()) == (0, 0)
    });
    let before = pool.metrics();
    check_accounts(&before);
    for number in 0..100 {
        assert_eq!(soon(pool.spawn(move || number)).unwrap(), number);
    }
    let after = pool.metrics();
    check_accounts(&after);
    assert_eq!(after.tasks_completed(), before.tasks_completed() + 100, "{after:?}");
    assert_eq!(
        (after.tasks_queued(), after.tasks_running(), after.threads_blocked()),
        (0, 0, 0),
        "{after:?}"
    );
}

/// A number, and what raises it by one.
pub(crate) fn counter() -> (Arc<AtomicUsize>, impl Fn() + Clone + Send + Sync + 'static) {
    let count = Arc::new(AtomicUsize::new(0));
    let raised = Arc::clone(&count);
    (count, move || {
        raised.fetch_add(1, Ordering::SeqCst);
    })
}

/// Gives what must not happen some time to happen.
#[expect(clippy::disallowed_methods, reason = "only time can show that something does not happen")]
pub(crate) fn nothing_happens() {
    std::thread::sleep(Duration::from_millis(50));
}

/// A waker that counts.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls once with the given waker.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Ends the current closure with a panic that prints nothing.
pub(crate) fn quiet_panic(payload: impl Any + Send) -> ! {
    resume_unwind(Box::new(payload))
}

/// Panics when it is dropped, and counts that.
pub(crate) struct PanicOnDrop(pub(crate) Drops);

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        drop(self.0.token());
        quiet_panic("a destructor");
    }
}

/// Counts how many there are and the most there were at one time.
#[derive(Default)]
pub(crate) struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Crowd {
    pub(crate) fn enter(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    pub(crate) fn leave(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// A task that has started in `lane` and holds its slot until `gate` opens.
pub(crate) fn occupy_lane(lane: &Lane, gate: &Gate) -> Task<()> {
    let started = Gate::new();
    let (announce, gate) = (started.clone(), gate.clone());
    let task = lane.spawn(move || {
        announce.open();
        gate.pass();
    });
    started.pass();
    task
}

/// A waker that calls what it is told to, once.
#[derive(Default)]
pub(crate) struct Calls(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Calls {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn set(&self, call: impl FnOnce() + Send + 'static) {
        *self.0.lock().unwrap() = Some(Box::new(call));
    }
}

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        let call = self.0.lock().unwrap().take();
        if let Some(call) = call {
            call();
        }
    }
}

/// Says that its drop has begun, and returns from it when it is let go.
pub(crate) struct HoldOnDrop {
    begun: Gate,
    leave: Gate,
}

impl HoldOnDrop {
    pub(crate) fn new() -> (Self, Gate, Gate) {
        let (begun, leave) = (Gate::new(), Gate::new());
        (HoldOnDrop { begun: begun.clone(), leave: leave.clone() }, begun, leave)
    }
}

impl Drop for HoldOnDrop {
    fn drop(&mut self) {
        self.begun.open();
        self.leave.pass();
    }
}

/// How often each thread of this process whose name begins so has gone to sleep so far, by its
/// name.
#[cfg(target_os = "linux")]
pub(crate) fn sleeps(name: &str) -> Vec<(String, u64)> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let sleeps = tasks.filter_map(|task| {
        // One that ends meanwhile has no files any more.
        let comm = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        Some((comm, count.map_or(0, |count| count.trim().parse().unwrap())))
    });
    sleeps.filter(|(comm, _)| comm.starts_with(name)).collect()
}

/// How many threads of this process have names that begin so.
#[cfg(target_os = "linux")]
pub(crate) fn threads_called(name: &str) -> usize {
    sleeps(name).len()
}
