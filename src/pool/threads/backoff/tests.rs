//! Tests of `cool_down`.

use super::*;

#[test]
fn the_pause_doubles_to_a_second_and_ends_with_a_success() {
    let cool_down = Backoff::new();
    assert!(!cool_down.is_on());
    for _ in 0..6 {
        cool_down.begin(io::Error::other("no"));
        assert!(cool_down.is_on());
        cool_down.begin(io::Error::other("a failure during the pause"));
        let now = Until::Instant(Instant::now());
        cool_down.inner.lock().until = Some(now);
        assert!(!cool_down.is_on(), "the pause has passed");
    }
    assert_eq!(cool_down.inner.lock().length, LAST);
    cool_down.end();
    assert!(!cool_down.is_on());
    assert_eq!(cool_down.inner.lock().length, FIRST);
}

#[test]
fn no_attempt_is_made_while_a_handler_is_busy_failing() {
    let cool_down = Backoff::new();
    cool_down.begin(io::Error::other("the first"));
    cool_down.inner.lock().until = Some(Until::Instant(Instant::now()));
    cool_down.hold();
    assert!(cool_down.is_on(), "however long ago the last pause was");
    cool_down.begin(io::Error::other("the second"));
    assert_eq!(cool_down.error().to_string(), "the second");
    assert!(matches!(cool_down.inner.lock().until, Some(Until::Instant(_))));
    cool_down.begin_for_ever(io::Error::other("the last"));
    cool_down.hold();
    assert!(matches!(cool_down.inner.lock().until, Some(Until::Ever)));
}

#[test]
fn a_system_without_threads_is_asked_once() {
    let cool_down = Backoff::new();
    cool_down.begin(io::ErrorKind::Unsupported.into());
    assert!(matches!(cool_down.inner.lock().until, Some(Until::Ever)));
    assert!(cool_down.is_on());
}
