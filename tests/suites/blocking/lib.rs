//! The facade, under the name of what it stands in for.

pub use sidestep_blocking::*;
