//! The same suite for tokio: it proves that the cases are true of that.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use tokio::task as subject;

mod task_cases;
