//! Files, directories, names of hosts.

mod calls;
mod executors;
mod file;
mod futures;
mod hostile;
mod locks;
mod net;
mod odd;
mod open;
mod read_dir;
