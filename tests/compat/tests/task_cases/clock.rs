//! Blocking tasks under a clock that is paused.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep, timeout};

use super::alone_with_one_thread;
use super::support::{Gate, let_nothing_happen};
use crate::subject::{JoinSet, spawn_blocking};

/// No test takes so long.
const LONG: Duration = Duration::from_secs(100_000);

fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).max_blocking_threads(2).build().unwrap()
}

/// Opens the gate after what would have let the clock move on.
fn open_late(gate: &Gate) {
    let gate = gate.clone();
    thread::spawn(move || {
        let_nothing_happen();
        gate.open();
    });
}

#[test]
fn no_time_passes_while_a_closure_runs() {
    paused().block_on(async {
        let (gate, before) = (Gate::new(), Instant::now());
        let behind = gate.clone();
        let handle = spawn_blocking(move || behind.pass());
        open_late(&gate);
        timeout(Duration::from_millis(1), handle).await.expect("time has passed").unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO);
        sleep(LONG).await;
        assert_eq!(before.elapsed(), LONG);
    });
}

#[test]
fn a_sleep_waits_for_closures_that_nobody_waits_for() {
    paused().block_on(async {
        let (gate, ended) = (Gate::new(), Arc::new(AtomicBool::new(false)));
        let (behind, ends) = (gate.clone(), Arc::clone(&ended));
        drop(spawn_blocking(move || {
            behind.pass();
            ends.store(true, Ordering::SeqCst);
        }));
        open_late(&gate);
        sleep(LONG).await;
        assert!(ended.load(Ordering::SeqCst));
    });
}

#[test]
fn time_goes_on_after_a_panic_and_after_a_set() {
    paused().block_on(async {
        let before = Instant::now();
        let gate = Gate::new();
        let behind = gate.clone();
        let handle = spawn_blocking(move || {
            behind.pass();
            resume_unwind(Box::new("a panic"))
        });
        open_late(&gate);
        let ended: Result<(), _> = timeout(Duration::from_millis(1), handle).await.expect("time has passed");
        assert!(ended.unwrap_err().is_panic());
        let mut set = JoinSet::new();
        for number in 0..10 {
            set.spawn_blocking(move || number);
        }
        let values = timeout(Duration::from_millis(1), set.join_all()).await.expect("time has passed");
        assert_eq!(values.len(), 10);
        sleep(LONG).await;
        assert_eq!(before.elapsed(), LONG);
    });
}

#[test]
fn a_queued_closure_holds_the_clock_too() {
    alone_with_one_thread("clock::a_queued_closure_holds_the_clock_too", || {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let gate = Gate::new();
            let behind = gate.clone();
            let first = spawn_blocking(move || behind.pass());
            let second = spawn_blocking(|| ());
            open_late(&gate);
            timeout(Duration::from_millis(1), second).await.expect("time has passed").unwrap();
            first.await.unwrap();
            sleep(LONG).await;
        });
    });
}
