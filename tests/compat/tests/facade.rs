//! The suite for the facade.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use blocking as subject;

mod cases;
