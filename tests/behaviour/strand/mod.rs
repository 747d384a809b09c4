//! Values that need a home: strands and dedicated threads.

mod calls;
mod dedicated;
mod hostile;
mod keys;
mod makes;
mod serial;
mod session;
mod value;
