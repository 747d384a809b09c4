//! What the suites of other systems check about serial queues, said with strands and lanes. Their
//! cases are listed in `docs/TESTING.md`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use sidestep::{Dedicated, Pool, Strand};

use crate::support::{Crowd, Gate, PATIENCE, all_well, check_sound, eventually, occupy_lane, pool, soon};

/// Each call of one strand queues the next call of the other.
fn serve(left: usize, here: &Strand<usize>, there: &Strand<usize>, done: Sender<()>) {
    let (back, next) = (here.clone(), there.clone());
    let call = here.call(move |calls| {
        *calls += 1;
        match left {
            0 => done.send(()).unwrap(),
            _ => serve(left - 1, &next, &back, done),
        }
    });
    call.detach();
}

/// libdispatch's ping-pong: two serial queues hand over to each other, and every hand-over counts.
#[test]
fn two_strands_hand_over_to_each_other() {
    for (core, max) in [(1, 1), (2, 4)] {
        let pool = pool(core, max);
        let (ping, pong) = (Strand::on(&pool, 0), Strand::on(&pool, 0));
        let (done, end) = channel();
        serve(1999, &ping, &pong, done);
        end.recv_timeout(PATIENCE).unwrap();
        assert_eq!((soon(ping.into_inner()).unwrap(), soon(pong.into_inner()).unwrap()), (1000, 1000));
        check_sound(&pool);
    }
}

/// Hands `number` from one strand of the row to the next, and tells at its end.
fn pass_on(row: &Arc<[Strand<Vec<usize>>]>, place: usize, number: usize, done: Sender<()>) {
    let next = Arc::clone(row);
    let call = row[place].call(move |seen| {
        seen.push(number);
        match place + 1 == next.len() {
            true => done.send(()).unwrap(),
            false => pass_on(&next, place + 1, number, done),
        }
    });
    call.detach();
}

/// libdispatch's cascade: what goes through a row of serial queues comes out whole and in its
/// order.
#[test]
fn a_row_of_strands_keeps_the_order_of_what_goes_through_it() {
    const NUMBERS: usize = 100;
    for (core, max) in [(1, 1), (2, 4)] {
        let pool = pool(core, max);
        let row: Arc<[_]> = (0..32).map(|_| Strand::on(&pool, Vec::new())).collect();
        let (done, end) = channel();
        (0..NUMBERS).for_each(|number| pass_on(&row, 0, number, done.clone()));
        (0..NUMBERS).for_each(|_| end.recv_timeout(PATIENCE).unwrap());
        for strand in row.iter() {
            let seen = soon(strand.call(std::mem::take)).unwrap();
            assert_eq!(seen, (0..NUMBERS).collect::<Vec<_>>());
        }
        check_sound(&pool);
    }
}

/// libdispatch has serial queues that spin until the last of them runs: more of them than threads.
#[test]
fn strands_that_spin_for_another_do_not_keep_it_from_running() {
    let pool = Pool::builder().core_threads(2).build().unwrap();
    let flag = Arc::new(AtomicBool::new(false));
    let spinners = [Strand::on(&pool, ()), Strand::on(&pool, ())];
    let spin = |strand: &Strand<()>| {
        let flag = Arc::clone(&flag);
        strand.call(move |()| {
            while !flag.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        })
    };
    let calls = spinners.each_ref().map(spin);
    eventually("all threads spin", || pool.metrics().tasks_running() == 2);
    let raise = Arc::clone(&flag);
    let last = Strand::on(&pool, ()).call(move |()| raise.store(true, Ordering::SeqCst));
    let end = last.wait_timeout(PATIENCE);
    flag.store(true, Ordering::SeqCst);
    assert!(matches!(end, Ok(Ok(()))), "the last one never ran");
    all_well(calls);
    check_sound(&pool);
}

/// asgiref leaves a context whose calls still run: neither the one who leaves nor other calls wait
/// for that.
#[test]
fn a_lane_that_is_let_go_while_it_works_holds_nobody_up() {
    let pool = pool(2, 2);
    let gate = Gate::new();
    let mut calls = Vec::new();
    for _ in 0..50 {
        let lane = pool.lane("context", 1);
        if calls.is_empty() {
            calls.push(occupy_lane(&lane, &gate));
        }
        calls.push(lane.spawn(|| ()));
        drop(lane);
        soon(pool.spawn(|| ())).unwrap();
    }
    assert_eq!(calls.iter().filter(|call| !call.is_finished()).count(), 2, "the stuck lane's own");
    gate.open();
    all_well(calls);
    check_sound(&pool);
}

/// A forked child (trio empties its cache of threads there) hangs on no value of its parent, and
/// may have its own.
#[cfg(unix)]
#[test]
fn a_forked_child_hangs_on_no_value_of_its_parent() {
    let pool = pool(1, 1);
    let (strand, dedicated) = (Strand::on(&pool, vec![1]), Dedicated::new(|| vec![1]).unwrap());
    let (running, gate) = (Arc::new(Crowd::default()), Gate::new());
    let hold = || {
        let (running, pass) = (Arc::clone(&running), gate.clone());
        move |list: &mut Vec<i32>| {
            running.enter();
            pass.pass();
            list.push(2);
        }
    };
    let held = [strand.call(hold()), dedicated.call(hold())];
    eventually("both are in use", || running.now() == 2);
    let queued = [strand.call(|list| list.len()), dedicated.call(|list| list.len())];
    let status = crate::support::fork::in_child(|list| {
        queued.into_iter().for_each(|task| list.no_thread(task.wait()));
        held.into_iter().for_each(|task| list.no_thread(task.wait()));
        list.no_thread(strand.call(|_| ()).wait());
        list.no_thread(dedicated.call(|_| ()).wait());
        list.no_thread(strand.options().name("late").call(|_| ()).wait());
        list.check(!strand.is_poisoned() && !dedicated.is_poisoned());
        strand.clear_poison();
        list.no_thread(strand.clone().into_inner().wait());
        list.no_thread(dedicated.clone().close().wait());
        drop((strand, dedicated));
        let own = Dedicated::new(|| 40).ok();
        list.check(own.is_some_and(|own| own.call(|value| *value + 2).wait().ok() == Some(42)));
        let own = Pool::builder().core_threads(1).build().map(|pool| Strand::on(&pool, 40));
        list.check(own.is_ok_and(|own| own.into_inner().wait().ok() == Some(40)));
    });
    assert_eq!(status, 0);
    gate.open();
    check_sound(&pool);
}
