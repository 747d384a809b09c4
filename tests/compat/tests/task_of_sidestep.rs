//! The suite of blocking tasks for `sidestep::task`.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use sidestep::task as subject;

mod task_cases;
