//! Models of a strand on a real pool, of which the checker's threads are the threads.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use super::Strand;
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

/// A value that counts its drops.
struct Counted(Arc<StaticU64>, u64);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn counted() -> (Counted, Arc<StaticU64>) {
    let drops = Arc::new(StaticU64::new(0));
    (Counted(Arc::clone(&drops), 0), drops)
}

/// A call is cancelled while it may start, and the last handle is dropped: the value is dropped
/// once, by the pool, which ends.
#[test]
fn loom_a_call_is_cancelled_and_the_last_handle_dropped() {
    check(Some(1), || {
        let (value, drops) = counted();
        let strand = Strand::on(&pool(1), value);
        let shutdown = {
            let call = strand.call(|value| value.1 += 1);
            let pool = strand.lane().pool().clone();
            let canceller = thread::spawn(move || drop(call));
            drop(strand);
            canceller.join().unwrap();
            pool.shutdown()
        };
        assert_eq!(shutdown.wait().still_running, 0);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        in_one_order();
    });
}

/// The value is taken out while another thread calls: the call comes before, or ends with an error.
#[test]
fn loom_the_value_is_taken_while_another_calls() {
    check(Some(1), || {
        let (value, drops) = counted();
        let strand = Strand::on(&pool(1), value);
        let other = strand.clone();
        let caller = thread::spawn(move || match other.call(|value| value.1 += 1).wait() {
            Ok(()) => 1,
            Err(error) => {
                assert!(error.is_shutdown(), "{error}");
                0
            }
        });
        let value = strand.into_inner().wait().expect("nobody else takes it");
        assert_eq!(value.1, caller.join().unwrap());
        assert_eq!(drops.load(Ordering::Relaxed), 0);
        in_one_order();
    });
}

/// Two calls wait, each for a call of the other's strand: one of the waits ends with an error.
#[test]
fn loom_a_circle_of_two_strands() {
    check(Some(1), || {
        let pool = pool(2);
        let (here, there) = (Strand::on(&pool, ()), Strand::on(&pool, ()));
        let next = there.clone();
        let one = here.call(move |()| next.call(|()| ()).wait().is_ok());
        let next = here.clone();
        let two = there.call(move |()| next.call(|()| ()).wait().is_ok());
        drop((here, there, pool));
        let ends = [one.wait().unwrap(), two.wait().unwrap()];
        assert!(ends.contains(&true), "the other goes on");
        in_one_order();
    });
}

/// A session is dropped while another thread calls: the call comes before the session or after it,
/// and is never lost.
#[test]
fn loom_a_session_ends_while_another_calls() {
    check(Some(1), || {
        let pool = pool(1);
        let strand = Strand::on(&pool, 0);
        let session = strand.session().wait().unwrap();
        let other = strand.clone();
        let caller = thread::spawn(move || other.call(|value| *value += 1).wait().unwrap());
        drop(session);
        caller.join().unwrap();
        assert_eq!(strand.call(|value| *value).wait().unwrap(), 1);
        in_one_order();
    });
}

/// A session is opened by a pool that is being shut down: the call behind it runs all the same, and
/// the pool ends.
#[test]
fn loom_a_shutdown_meets_the_opening_of_a_session() {
    check(Some(2), || {
        let pool = pool(1);
        let strand = Strand::on(&pool, 0);
        let session = strand.session();
        let call = strand.call(|value| *value += 1);
        assert_eq!(pool.shutdown().wait().still_running, 0);
        call.wait().unwrap();
        if let Err(error) = session.wait() {
            assert!(error.is_shutdown(), "{error}");
        }
        in_one_order();
    });
}

/// A shutdown ends a session while its holder drops it.
#[test]
fn loom_a_shutdown_meets_the_end_of_a_session() {
    check(Some(2), || {
        let pool = pool(1);
        let strand = Strand::on(&pool, 0);
        let session = strand.session().wait().unwrap();
        let call = strand.call(|value| *value += 1);
        let holder = thread::spawn(move || drop(session));
        assert_eq!(pool.shutdown().wait().still_running, 0);
        call.wait().unwrap();
        holder.join().unwrap();
        in_one_order();
    });
}

/// A lane is paused while its session is open, and the pool is shut down: what the session has
/// queued runs, then what waited for its end.
#[test]
fn loom_a_shutdown_meets_a_pause_of_a_session() {
    check(Some(2), || {
        let pool = pool(1);
        let strand = Strand::on(&pool, 0);
        let session = strand.session().wait().unwrap();
        let lane = strand.lane().clone();
        let pauser = thread::spawn(move || lane.set_limit(0).unwrap());
        let other = strand.call(|value| *value += 1);
        let own = session.call(|value| *value);
        assert_eq!(pool.shutdown().wait().still_running, 0);
        assert_eq!(own.wait().unwrap(), 0);
        other.wait().unwrap();
        pauser.join().unwrap();
        drop(session);
        in_one_order();
    });
}

/// A session ends while the pause of its lane does: the call behind it is not left lying.
#[test]
fn loom_the_end_of_a_session_meets_that_of_a_pause() {
    check(Some(2), || {
        let pool = pool(1);
        let strand = Strand::on(&pool, 0);
        let session = strand.session().wait().unwrap();
        strand.lane().set_limit(0).unwrap();
        let call = strand.call(|value| *value);
        let lane = strand.lane().clone();
        let resumer = thread::spawn(move || lane.set_limit(1).unwrap());
        session.call(|value| *value += 1).detach();
        drop(session);
        assert_eq!(call.wait().unwrap(), 1);
        resumer.join().unwrap();
        in_one_order();
    });
}

/// A session in a lane with a share ends while a task comes to another one, whose item may be the
/// one that is opened for it: both run.
#[test]
fn loom_a_session_with_a_share_ends_beside_another_share() {
    check(Some(1), || {
        let pool = pool(1);
        let lanes = [1, 3].map(|weight| pool.lane_builder(format!("{weight}"), 1).share(weight));
        let [one, other] = lanes.map(|builder| builder.build().unwrap());
        let strand = Strand::in_lane(&one, 0).unwrap();
        let session = strand.session().wait().unwrap();
        let call = strand.call(|value| *value);
        let submitter = thread::spawn(move || other.spawn(|| 7).wait().unwrap());
        session.call(|value| *value += 1).detach();
        drop(session);
        assert_eq!(call.wait().unwrap(), 1);
        assert_eq!(submitter.join().unwrap(), 7);
        drop(one);
        in_one_order();
    });
}
