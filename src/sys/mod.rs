//! What only the operating system can say, and all calls of it that `std` does not make: each file
//! keeps the contract of the calls that it makes.
//!
//! | file | owns |
//! |---|---|
//! | `fork` | which process this is |
//! | `thread_stat` | what the system knows of a thread |
//! | `attributes` | what a thread inherits from its maker, and has of the process instead |
//! | `cpus` | how many CPUs the process may use |
//! | `exit` | what the exit of the process waits for |
//! | `pread` | reads that do not block |

pub(crate) mod attributes;
pub(crate) mod cpus;
pub(crate) mod exit;
pub(crate) mod fork;
pub(crate) mod pread;
pub(crate) mod thread_stat;
