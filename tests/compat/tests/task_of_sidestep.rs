//! The suite of blocking tasks for `sidestep::task`, under the name of the facade.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use sidestep_tokio::task as subject;

mod task_cases;
