//! The end of admission, and of what has to learn of it.

use crate::pool::inner::Inner;
use crate::semaphore::Semaphore;

impl Inner {
    /// Closes admission. Threads leave when the queues are empty.
    pub(in crate::pool) fn close(&self) {
        self.ending.begin(&self.engine.own_counts());
        // The pool must not end while what waits in paused lanes, or for the end of a session, is
        // on its way into the queues.
        self.ending.begin_sorting();
        if self.engine.close() {
            self.close_rooms();
        }
        self.end_sorting();
        self.ending.look(&|| self.threads_left());
    }

    /// What was on its way from the queues and back is there. If there is no thread by now, none
    /// has told the helpers so.
    pub(in crate::pool) fn end_sorting(&self) {
        self.ending.end_sorting();
        if self.engine.is_closed() {
            self.stop_helpers();
        }
    }

    /// Admission is closed: no thread or caller waits for what will not come.
    fn close_rooms(&self) {
        self.engine.growth_ended();
        self.engine.permits().into_iter().for_each(Semaphore::close);
        for lane in self.engine.lanes.all() {
            lane.permits().into_iter().for_each(Semaphore::close);
            self.engine.end_session(&lane, self);
        }
        self.engine.end_pauses(self);
        self.engine.idle.wake_all();
        self.close_reserves();
    }

    /// The pool is closed: without threads of its own it needs no others either. But not while
    /// entries are on their way into the queues: then threads may come for those.
    pub(in crate::pool) fn stop_helpers(&self) {
        if self.threads_left() == Some(0) {
            self.growth.monitor().stop();
            self.expiry.stop();
            self.threads.joins().close();
        }
    }
}
