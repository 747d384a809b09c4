//! Models of the parker for the model checker.

use std::sync::Arc;

use loom::thread;

use super::Parker;
use super::atomic::{AtomicBool, Ordering};
use super::stand_in::model::check;

/// One thread parks until two others have each left a message and a token: however the tokens run
/// together, it sees both messages and does not sleep on one.
#[test]
fn park_against_two_unparks() {
    check(Some(4), || {
        let parker = Arc::new(Parker::new());
        let messages = [0, 1].map(|_| Arc::new(AtomicBool::new(false)));
        let senders = messages.clone().map(|message| {
            let parker = Arc::clone(&parker);
            thread::spawn(move || {
                message.store(true, Ordering::Relaxed);
                parker.unpark();
            })
        });
        while !messages.iter().all(|message| message.load(Ordering::Relaxed)) {
            assert!(parker.park(None), "there is no deadline");
        }
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

/// A thread shows itself parked and parks later, against an unpark: it does not sleep on the token,
/// and the thread that has left the token does not see it parked any more.
#[test]
fn show_parked_against_unpark() {
    check(None, || {
        let parker = Arc::new(Parker::new());
        let other = Arc::clone(&parker);
        let sender = thread::spawn(move || {
            other.unpark();
            assert!(!other.is_parked());
        });
        if parker.show_parked() {
            assert!(parker.park(None), "there is no deadline");
        }
        sender.join().unwrap();
        assert!(!parker.is_parked());
    });
}
