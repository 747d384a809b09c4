//! What each system knows of a thread that runs, of one that waits, and of one that has gone.
#![expect(clippy::unwrap_used, reason = "in a test, helpers included, an unwrap is an assertion")]

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::*;

/// Whether this system has a clock of the CPU time of each thread.
const HAS_CLOCKS: bool = cfg!(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    windows
));
/// Whether it has a state of each thread.
const HAS_STATES: bool = cfg!(any(target_os = "linux", target_os = "android", target_vendor = "apple"));
/// Whether it says that a thread has gone.
const HAS_ENDS: bool = cfg!(any(target_os = "linux", target_os = "android", windows));

/// Reaching it is a failure, never a measurement.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "it never happened: {what}");
        std::thread::yield_now();
    }
}

/// A thread that waits for a channel until it is ended.
struct Waiter {
    key: ThreadKey,
    end: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Waiter {
    fn new() -> Self {
        let (send, receive) = mpsc::channel();
        let (end, wait) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            send.send(ThreadKey::current()).unwrap();
            let _ = wait.recv();
        });
        Waiter { key: receive.recv().unwrap(), end, thread }
    }

    fn end(self) -> ThreadKey {
        let Waiter { key, end, thread } = self;
        drop(end);
        thread.join().unwrap();
        key
    }
}

#[test]
fn this_thread_runs_and_uses_its_cpu() {
    let key = ThreadKey::current();
    assert_eq!(key.is_asleep(), HAS_STATES.then_some(false));
    assert_eq!(key.is_gone(), HAS_ENDS.then_some(false));
    let before = key.cpu_time();
    assert_eq!(before.is_some(), HAS_CLOCKS);
    if before.is_some() {
        eventually("it uses its CPU", || key.cpu_time() > before);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "that a clock stands still shows over a time")]
fn a_waiting_thread_sleeps_and_a_gone_one_is_unknown() {
    let waiter = Waiter::new();
    let key = &waiter.key;
    eventually("it sleeps", || key.is_asleep() != Some(false));
    assert_eq!(key.is_asleep(), HAS_STATES.then_some(true));
    eventually("its clock stands still", || {
        let before = key.cpu_time();
        assert_eq!(before.is_some(), HAS_CLOCKS);
        std::thread::sleep(2 * ThreadKey::LAG);
        key.cpu_time() == before
    });
    assert_eq!(key.is_gone(), HAS_ENDS.then_some(false));
    let key = waiter.end();
    // Its joiner is woken before the system has taken it off its books.
    eventually("it is unknown", || key.cpu_time().is_none() && key.is_asleep().is_none());
    eventually("it is gone", || key.is_gone() != Some(false));
    assert_eq!(key.is_gone(), HAS_ENDS.then_some(true));
}

/// A clock that lags may stand still for so long, and no longer, while its thread computes.
#[test]
#[expect(clippy::disallowed_methods, reason = "how fast a clock moves shows over a time")]
fn the_clock_of_a_thread_that_computes_moves_within_its_lag() {
    if !HAS_CLOCKS {
        return;
    }
    let (send, receive) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        send.send(ThreadKey::current()).unwrap();
        while ended.try_recv() == Err(mpsc::TryRecvError::Empty) {
            std::hint::spin_loop();
        }
    });
    let key = receive.recv().unwrap();
    // On a crowded machine the thread may have no CPU for a while.
    eventually("half of the time of ten lags is used", || {
        let (before, begun) = (key.cpu_time().unwrap(), Instant::now());
        std::thread::sleep(10 * ThreadKey::LAG.max(Duration::from_millis(1)));
        key.cpu_time().unwrap() - before >= begun.elapsed() / 2
    });
    drop(end);
    thread.join().unwrap();
}
