//! A guard for `main` that shuts a pool down and waits: [`DrainGuard`].

use std::time::Duration;

use crate::pool::Pool;
use crate::trace::event;

/// Shuts a pool down when it is dropped, and waits for a while until the pool has run what is
/// queued: see [`Pool::drain_on_drop`].
#[derive(Debug)]
#[must_use = "a guard that is dropped at once shuts the pool down at once"]
pub struct DrainGuard {
    pool: Pool,
    time: Duration,
}

impl DrainGuard {
    pub(in crate::pool) fn new(pool: Pool, time: Duration) -> Self {
        DrainGuard { pool, time }
    }
}

impl Drop for DrainGuard {
    fn drop(&mut self) {
        let report = self.pool.shutdown().timeout(self.time).wait();
        if report.still_running == 0 {
            return;
        }
        report_left(report.still_running, &self.pool);
    }
}

/// Traces the tasks that go on.
fn report_left(tasks: u64, pool: &Pool) {
    let name = &*pool.inner.config.name;
    event!(WARN, pool = name, tasks, "tasks had not ended when the wait for the pool's end was over");
    let _ = (name, tasks);
    // A task is listed from the second look on that sees it.
    drop(pool.long_running(Duration::ZERO));
    for task in pool.long_running(Duration::ZERO) {
        let (name, site) = (task.name.as_deref(), task.site);
        event!(WARN, name, %site, "this task was still running");
        let _ = (name, site);
    }
}
