//! How many reads that need not wait a task may make in a row before it yields its thread.

use std::cell::Cell;

use crate::sync::thread_local_const;

/// The budget: some 300 microseconds with the largest of such reads. On a runtime of many threads a
/// yield costs as much as four of them.
const READS_IN_A_ROW: u8 = 64;

/// The largest read that counts as one.
const LARGEST: usize = 64 << 10;

thread_local_const! { static READS: Cell<u8> = Cell::new(0) }

/// Whether a task on this thread may begin a read. When the budget is spent the answer is no, once,
/// and a new budget begins: the task has to yield, since a loop of reads that need not wait would
/// never leave the thread to other tasks.
pub(crate) fn may_begin_read() -> bool {
    let may = may_continue_read();
    if !may {
        READS.with(|reads| reads.set(0));
    }
    may
}

/// A read has brought `count` bytes at once: a large one counts as several.
pub(crate) fn spend(count: usize) {
    let more = u8::try_from(count.saturating_sub(1) / LARGEST).unwrap_or(READS_IN_A_ROW);
    READS.with(|reads| reads.set(reads.get().saturating_add(more).min(READS_IN_A_ROW)));
}

/// Whether a read that has brought bytes already may fetch more. When the budget is spent it may
/// not, and the next read yields.
pub(crate) fn may_continue_read() -> bool {
    READS.with(|reads| {
        let before = reads.get();
        reads.set((before + 1).min(READS_IN_A_ROW));
        before < READS_IN_A_ROW
    })
}
