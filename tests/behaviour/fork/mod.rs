//! Pools in the child of a fork.

mod child;
mod global;
mod io;
mod returns;
