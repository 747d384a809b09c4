//! What only the operating system can say, and all calls of it that `std` does not make: each file
//! keeps the contract of the calls that it makes.
//!
//! | file | owns |
//! |---|---|
//! | `first_use` | what must be whole in a forked child: no fork meanwhile |
//! | `fork` | which process this is |
//! | `file_head` | the first bytes of a file, in memory that nothing has initialised |
//! | `file_id` | which file a handle has open |
//! | `file_lock` | locks of open files |
//! | `pipe` | the types of pipes, and a pipe at its end |
//! | `thread_stat` | what the system knows of a thread |
//! | `attributes` | what a thread inherits from its maker, and has of the process instead |
//! | `cpus` | how many CPUs the process may use |
//! | `exit` | what the exit of the process waits for |
//! | `pread` | reads of the page cache, which do not block |
//! | `stack` | how much of its stack a thread has left |
//! | `descriptor` | what lies behind a descriptor; reads and writes that do not wait |
//! | `epoll` | which of many descriptors are ready |
//! | `child_end` | the end of a child process |
//! | `signals` | signals of the calling thread |
//! | `process_slot` | a value of the process, which a forked child replaces |

pub(crate) mod attributes;
#[cfg(feature = "fs")]
pub(crate) mod child_end;
pub(crate) mod cpus;
#[cfg(feature = "fs")]
pub(crate) mod descriptor;
#[cfg(all(feature = "fs", target_os = "linux", not(any(miri, sidestep_loom, sidestep_shuttle))))]
pub(crate) mod epoll;
#[cfg(feature = "fs")]
pub(crate) mod exit;
#[cfg(feature = "fs")]
pub(crate) mod file_head;
#[cfg(feature = "fs")]
pub(crate) mod file_id;
#[cfg(feature = "fs")]
pub(crate) mod file_lock;
pub(crate) mod first_use;
pub(crate) mod fork;
#[cfg(feature = "fs")]
pub(crate) mod pipe;
#[cfg(feature = "fs")]
pub(crate) mod pread;
#[cfg(all(feature = "fs", target_os = "linux", not(any(miri, sidestep_loom, sidestep_shuttle))))]
pub(crate) mod process_slot;
#[cfg(all(feature = "fs", target_os = "linux", not(any(miri, sidestep_loom, sidestep_shuttle))))]
pub(crate) mod signals;
pub(crate) mod stack;
pub(crate) mod thread_stat;
