//! What is true of `blocking` and of the facade: the cases know their subject by the name
//! `crate::subject` alone.

pub(crate) mod support;
mod tasks;
mod values;
