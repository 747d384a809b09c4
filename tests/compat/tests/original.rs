//! The same suite for the crate that the facade stands in for: it proves that the cases are true of
//! that.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use original as subject;

mod cases;
