//! How long tasks wait and run: who is warned, and what is recorded.

use std::time::Duration;

use super::config::Config;
use crate::lane::Core;
use crate::report::event;
use crate::task::TaskRef;

/// What is done with the times of a pool's tasks.
#[derive(Debug)]
pub(super) struct Observer {
    warn_after: Option<Duration>,
}

impl Observer {
    pub(super) fn new(config: &Config) -> Self {
        Observer { warn_after: config.warn_after }
    }

    /// Whether anybody wants to know: tasks carry the time of their spawning then.
    pub(super) fn is_on(&self) -> bool {
        self.warn_after.is_some()
    }

    fn is_long(&self, time: Duration) -> bool {
        self.warn_after.is_some_and(|limit| time > limit)
    }

    /// `task` is about to run.
    pub(super) fn waited(&self, task: &TaskRef, lane: Option<&Core>, waited: Duration) {
        if self.is_long(waited) {
            let lane = lane.map(Core::name);
            event!(WARN, task = %task.origin(), lane, ?waited, "a task waited long");
            let _ = (task, lane);
        }
    }

    /// `task` has ended.
    pub(super) fn ran(&self, task: &TaskRef, lane: Option<&Core>, ran: Duration) {
        if self.is_long(ran) {
            let lane = lane.map(Core::name);
            event!(WARN, task = %task.origin(), lane, ?ran, "a task ran long");
            let _ = (task, lane);
        }
    }
}
