//! Tests of the parker.

use super::*;
use std::time::Duration;

#[test]
fn a_token_left_early_is_kept() {
    let parker = Parker::new();
    parker.unpark();
    parker.unpark();
    assert!(parker.park(None));
    assert!(!parker.park(Some(Instant::now())), "two unparks leave one token");
}

#[test]
fn a_deadline_ends_the_sleep() {
    let parker = Parker::new();
    assert!(!parker.park(Some(Instant::now() + Duration::from_millis(1))));
    parker.unpark();
    assert!(parker.park(Some(Instant::now())), "a token beats a deadline that has passed");
}

#[test]
fn tokens_cross_threads() {
    let ping = Arc::new(Parker::new());
    let pong = Arc::new(Parker::new());
    let (ping2, pong2) = (Arc::clone(&ping), Arc::clone(&pong));
    let echo = std::thread::spawn(move || {
        for _ in 0..1000 {
            ping2.park(None);
            pong2.unpark();
        }
    });
    for _ in 0..1000 {
        ping.unpark();
        pong.park(None);
    }
    echo.join().unwrap();
}
