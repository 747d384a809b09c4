//! Pools for one test each, tasks that hold their threads, and whether a pool has lost anything.

use std::cell::Cell;

use sidestep::{Lane, Metrics, Pool, PoolBuilder, Task, TaskError};

use super::gates::Gate;
use super::patience::{PATIENCE, eventually};

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

/// Checks that a pool keeps to `bound` threads, given how many it had at most in one attempt. Where
/// the machine holds a pool up for so long that one rule or another adds a thread, that does not
/// happen so many times in a row.
pub(crate) fn keeps_to(bound: usize, attempt: impl Fn() -> usize) {
    let mut peaks = Vec::new();
    while peaks.len() < 8 {
        peaks.push(attempt());
        if peaks.iter().any(|&peak| peak <= bound) {
            return;
        }
    }
    panic!("{peaks:?} threads, at most {bound} expected");
}
