//! How many reads that need not wait a task may make before it yields to others.

use std::cell::Cell;

use crate::sync::thread_local_const;

/// As many reads in a row need not wait before others get a turn: some 300 microseconds with the
/// largest of them. On a runtime of many threads a turn costs as much as four such reads.
const IN_A_ROW: u8 = 64;

thread_local_const! { static READS: Cell<u8> = Cell::new(0) }

/// Whether a task on this thread may go on to read: after some reads in a row it must not, once,
/// since a loop of reads that need not wait would never let other tasks have the thread.
pub(crate) fn is_my_turn() -> bool {
    let goes_on = may_go_on();
    if !goes_on {
        READS.with(|reads| reads.set(0));
    }
    goes_on
}

/// The same for more of a read that has brought something already: where it may not go on, the next
/// one waits.
pub(crate) fn may_go_on() -> bool {
    READS.with(|reads| {
        let before = reads.get();
        reads.set((before + 1).min(IN_A_ROW));
        before < IN_A_ROW
    })
}
