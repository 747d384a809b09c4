//! Strands as serial queues: they hand over to each other, keep the order, and do not hold each
//! other up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use sidestep::{Pool, Strand};

use crate::support::{PATIENCE, all_well, check_sound, eventually, pool, soon};

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
// Origin: libdispatch 93
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
// Origin: libdispatch 93
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
// Origin: libdispatch 91
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
