//! Tests of `backoff`.

use super::*;

#[test]
fn the_pause_doubles_to_a_second_and_ends_with_a_success() {
    let backoff = Backoff::new();
    assert!(!backoff.is_on());
    for _ in 0..6 {
        backoff.begin(io::Error::other("no"));
        assert!(backoff.is_on());
        backoff.begin(io::Error::other("a failure during the pause"));
        let now = Until::Instant(Instant::now());
        backoff.inner.lock().until = Some(now);
        assert!(!backoff.is_on(), "the pause has passed");
    }
    assert_eq!(backoff.inner.lock().length, LAST);
    backoff.end();
    assert!(!backoff.is_on());
    assert_eq!(backoff.inner.lock().length, FIRST);
}

#[test]
fn no_attempt_is_made_while_a_handler_is_busy_failing() {
    let backoff = Backoff::new();
    backoff.begin(io::Error::other("the first"));
    backoff.inner.lock().until = Some(Until::Instant(Instant::now()));
    backoff.hold();
    assert!(backoff.is_on(), "however long ago the last pause was");
    backoff.begin(io::Error::other("the second"));
    assert_eq!(backoff.error().to_string(), "the second");
    assert!(matches!(backoff.inner.lock().until, Some(Until::Instant(_))));
    backoff.begin_for_ever(io::Error::other("the last"));
    backoff.hold();
    assert!(matches!(backoff.inner.lock().until, Some(Until::Ever)));
}

#[test]
fn a_system_without_threads_is_asked_once() {
    let backoff = Backoff::new();
    backoff.begin(io::ErrorKind::Unsupported.into());
    assert!(matches!(backoff.inner.lock().until, Some(Until::Ever)));
    assert!(backoff.is_on());
}
