//! The bugs that other pools had, by their number in the table of pitfalls: those about limits, and
//! about what calls borrow or use.

use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sidestep::{Dedicated, Pool, Strand, Unblock, current};

use crate::support::{
    Crowd, DropToken, Drops, Gate, all_well, check_sound, eventually, nothing_happens, occupy, pool,
    quiet_panic, soon,
};

/// A limit that is lowered while the program runs changes nothing: blocking.
#[test]
fn pitfall_14_a_lowered_limit_takes_effect() {
    let pool = Pool::builder().core_threads(2).max_threads(8).keep_alive(Duration::MAX).build().unwrap();
    let fill = |count| {
        let gate = Gate::new();
        let tasks: Vec<_> = (0..count).map(|_| occupy(&pool, &gate)).collect();
        gate.open();
        all_well(tasks);
    };
    fill(8);
    pool.set_max_threads(3).unwrap();
    eventually("five leave", || pool.metrics().threads() == 3);
    let (gate, crowd) = (Gate::new(), Arc::new(Crowd::default()));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (pass, crowd) = (gate.clone(), Arc::clone(&crowd));
            pool.spawn(move || {
                crowd.enter();
                current::will_block(|| pass.pass());
                crowd.leave();
            })
        })
        .collect();
    eventually("three run", || crowd.now() == 3);
    nothing_happens();
    assert_eq!((crowd.most(), pool.metrics().threads()), (3, 3));
    gate.open();
    all_well(tasks);
    assert_eq!(crowd.most(), 3);
    check_sound(&pool);
}

/// Tells how many used it at once, its destructor among them.
struct Used {
    users: Crowd,
    most: Arc<AtomicUsize>,
    _token: DropToken,
}

impl Used {
    fn work(&self) {
        self.users.enter();
        thread::yield_now();
        self.users.leave();
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        self.work();
        self.most.fetch_max(self.users.most(), Ordering::SeqCst);
    }
}

/// A wrapper is dropped while a call uses what it wraps, and drops that under the call's hands:
/// deadpool.
#[test]
fn pitfall_18_a_wrapper_dropped_during_a_call_does_not_drop_the_value_under_it() {
    const ROUNDS: usize = 100;
    let pool = pool(2, 4);
    let (most, drops) = (Arc::new(AtomicUsize::new(0)), Drops::new());
    let value = || Used { users: Crowd::default(), most: Arc::clone(&most), _token: drops.token() };
    for round in 0..ROUNDS {
        let strand = Strand::on(&pool, value());
        let call = strand.call(|value| value.work());
        drop(strand);
        if round % 2 == 0 {
            drop(call)
        } else {
            call.detach()
        }

        let mut unblock = Unblock::new(value()).on(&pool);
        let waker = std::task::Waker::noop();
        let mut call = Box::pin(unblock.with_mut(|value| value.work()));
        drop(call.as_mut().poll(&mut std::task::Context::from_waker(waker)));
        drop(call);
        drop(unblock);

        if round % 10 == 0 {
            let value = value();
            let dedicated = Dedicated::new(move || value).unwrap();
            let call = dedicated.call(|value| value.work());
            drop(dedicated);
            if round % 20 == 0 { drop(call) } else { call.detach() }
        }
    }
    let made = 2 * ROUNDS + ROUNDS / 10;
    eventually("each value is dropped", || drops.count() == made);
    check_sound(&pool);
    assert_eq!((drops.count(), most.load(Ordering::SeqCst)), (made, 1), "once, and while nobody used it");
}

/// A scope that can be left early frees what its tasks borrow: affinitypool, blocking. Here the
/// scope is a call: neither a handle that is forgotten nor a panic lets it return before its tasks
/// have ended. That nothing gets out of it is shown where it is documented, by examples that do not
/// compile.
#[test]
fn pitfall_19_no_scope_ends_before_what_borrows_from_it() {
    let pool = pool(2, 2);
    for panics in [false, true] {
        let (gate, ends) = (Gate::new(), AtomicUsize::new(0));
        let (pass, open) = (gate.clone(), gate.clone());
        let opener = thread::spawn(move || {
            nothing_happens();
            open.open();
        });
        let left = catch_unwind(AssertUnwindSafe(|| {
            pool.scope(|scope| {
                for _ in 0..10 {
                    let (pass, ends) = (pass.clone(), &ends);
                    forget(scope.spawn(move || {
                        pass.pass();
                        ends.fetch_add(1, Ordering::SeqCst);
                    }));
                }
                if panics {
                    quiet_panic("out of here");
                }
            });
        }));
        assert_eq!((left.is_err(), ends.load(Ordering::SeqCst)), (panics, 10));
        opener.join().unwrap();
    }
    check_sound(&pool);
}

/// A caller that gives up frees its permit while its work goes on: xberg, ironclaw.
#[test]
fn pitfall_20_a_storm_of_callers_that_give_up_keeps_to_the_limit() {
    const LIMIT: usize = 3;
    let pool = pool(2, 12);
    let lane = pool.lane_builder("fragile", LIMIT).queue_limit(8).build().unwrap();
    let (crowd, drops) = (Arc::new(Crowd::default()), Drops::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..300 {
                    let (crowd, token) = (Arc::clone(&crowd), drops.token());
                    let task = lane.reserve().wait().unwrap().spawn(move || {
                        let _held = token;
                        crowd.enter();
                        thread::yield_now();
                        crowd.leave();
                    });
                    match number % 4 {
                        0 => drop(task),
                        1 => drop(task.wait_timeout(Duration::from_micros(number))),
                        2 => drop(task.cancel()),
                        _ => task.detach(),
                    }
                }
            });
        }
    });
    eventually("the lane is empty", || {
        let metrics = lane.metrics();
        (metrics.tasks_queued(), metrics.tasks_running()) == (0, 0)
    });
    assert!(crowd.most() <= LIMIT && crowd.now() == 0, "{} at once", crowd.most());
    assert_eq!((drops.count(), lane.metrics().tasks_submitted()), (1200, 1200));
    soon(lane.spawn(|| ())).unwrap();
    check_sound(&pool);
}
