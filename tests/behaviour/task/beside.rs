//! What a runtime's thread does beside an async task that awaits one call after another.

use std::cell::Cell;
use std::hint::spin_loop;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local, yield_now};

use crate::support::pool;

/// Takes that long, however often its thread is interrupted.
fn compute(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        spin_loop();
    }
}

/// A handle that looked for the whole of each call would leave the other task a tenth of its turns.
#[test]
fn another_task_has_its_turns_beside_short_calls() {
    const CALLS: u32 = 2000;
    let pool = pool(1, 1);
    let runtime = Builder::new_current_thread().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (turns, done) = (Rc::new(Cell::new(0_u32)), Rc::new(Cell::new(false)));
        let (counted, ended) = (Rc::clone(&turns), Rc::clone(&done));
        let other = spawn_local(async move {
            while !ended.get() {
                counted.set(counted.get() + 1);
                yield_now().await;
            }
        });
        for _ in 0..CALLS {
            pool.spawn(|| compute(Duration::from_micros(30))).await.unwrap();
        }
        done.set(true);
        other.await.unwrap();
        assert!(turns.get() > 10 * CALLS, "{} turns beside {CALLS} calls", turns.get());
    });
}
