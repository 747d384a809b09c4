//! What is said of a cancellation.

use super::*;

#[test]
fn a_cancellation_says_so_as_an_io_error_too() {
    assert_eq!(Cancelled.to_string(), "the task has been cancelled");
    assert_eq!(std::io::Error::from(Cancelled).to_string(), Cancelled.to_string());
}
