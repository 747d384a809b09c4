//! Models of a resource pool on a real pool, of which the checker's threads are the threads.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use super::ResourcePool;
use crate::pool::{NewThread, Pool};
use crate::sync::atomic::{Ordering, StaticU64};
use crate::sync::stand_in::model::{check, in_one_order};

fn pool(threads: usize) -> Pool {
    let start = |new: NewThread| -> io::Result<()> {
        thread::spawn(move || new.run());
        Ok(())
    };
    let builder = Pool::builder().core_threads(threads).max_threads(threads);
    builder.keep_alive(Duration::ZERO).spawn_handler(start).build().expect("the first thread starts")
}

/// How many values were made and dropped.
#[derive(Clone, Default)]
struct Ledger(Arc<[StaticU64; 2]>);

struct Counted(Ledger);

impl Ledger {
    fn values(&self, pool: &Pool, size: usize) -> ResourcePool<Counted> {
        let ledger = self.clone();
        let make = move || {
            ledger.0[0].fetch_add(1, Ordering::Relaxed);
            io::Result::Ok(Counted(ledger.clone()))
        };
        ResourcePool::builder(pool, size, make).build().expect("the settings are legal")
    }

    fn counts(&self) -> [u64; 2] {
        [0, 1].map(|index| self.0[index].load(Ordering::Relaxed))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0[1].fetch_add(1, Ordering::Relaxed);
    }
}

/// A call is cancelled while it may start, and the last handle is dropped: what was made is dropped
/// once, by the pool, which ends.
#[test]
fn loom_a_call_of_a_resource_pool_is_cancelled_and_the_last_handle_dropped() {
    check(Some(1), || {
        let ledger = Ledger::default();
        let pool = pool(1);
        let values = ledger.values(&pool, 1);
        let call = values.call(|_| ());
        let canceller = thread::spawn(move || drop(call));
        drop(values);
        canceller.join().unwrap();
        assert_eq!(pool.shutdown().wait().still_running, 0);
        let [made, dropped] = ledger.counts();
        assert!(made <= 1 && made == dropped, "{made} made, {dropped} dropped");
        in_one_order();
    });
}

/// Two calls at once, and one value: it is made once and serves both.
#[test]
fn loom_two_calls_share_one_value() {
    check(Some(1), || {
        let ledger = Ledger::default();
        let pool = pool(1);
        let values = ledger.values(&pool, 1);
        let other = values.clone();
        let caller = thread::spawn(move || other.call(|_| ()).wait().unwrap());
        values.call(|_| ()).wait().unwrap();
        caller.join().unwrap();
        assert_eq!(ledger.counts(), [1, 0]);
        in_one_order();
        drop(values);
        pool.shutdown().wait();
        assert_eq!(ledger.counts(), [1, 1]);
    });
}

/// The resource pool is closed while another thread calls: the call comes before and is served, or
/// after and ends with an error; and the close ends once every value is dropped.
#[test]
fn loom_a_resource_pool_is_closed_while_another_calls() {
    check(Some(1), || {
        let ledger = Ledger::default();
        let pool = pool(1);
        let values = ledger.values(&pool, 1);
        let other = values.clone();
        let caller = thread::spawn(move || match other.call(|_| ()).wait() {
            Ok(()) => 1,
            Err(error) => {
                assert!(error.is_shutdown(), "{error}");
                0
            }
        });
        values.close().wait().unwrap();
        let [made, dropped] = ledger.counts();
        assert_eq!(made, dropped);
        assert_eq!(made, caller.join().unwrap());
        in_one_order();
        drop((values, pool));
    });
}
