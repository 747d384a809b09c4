//! Files, directories, names of hosts.

mod bad_input;
mod calls;
mod conversions;
mod executors;
mod file;
mod files;
mod futures;
mod hangs;
mod hostile;
mod lock_conversions;
mod lock_processes;
mod lock_queue;
mod locks;
mod net;
mod odd;
mod open;
mod owned_buffers;
mod read_dir;
#[cfg(windows)]
mod windows;
