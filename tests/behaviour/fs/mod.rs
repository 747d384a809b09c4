//! Files, directories, names of hosts.

mod calls;
mod executors;
mod file;
mod futures;
mod hangs;
mod hostile;
mod lock_processes;
mod lock_queue;
mod locks;
mod net;
mod odd;
mod open;
mod read_dir;
