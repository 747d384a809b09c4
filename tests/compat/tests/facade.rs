//! The suite for the facade.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use compat as subject;

mod cases;
