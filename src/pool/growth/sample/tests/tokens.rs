//! Threads that hold a token: which come, which wait for a CPU, and which sleep.

use super::*;
use crate::pool::growth::policy::{Cause, Limits, Verdict, decide};
use crate::pool::growth::state::State;
use crate::sync::atomic::AtomicUsize;
use std::fmt;

#[test]
fn tokens_that_stay_without_a_start_are_stuck() {
    let full = Full::new(2);
    let mut sampler = Sampler::new(Vec::new(), true);
    assert!(!full.look(&mut sampler).stuck);
    full.pool.inner.engine.idle.begin_delivering();
    let looks = [full.look(&mut sampler), full.look(&mut sampler), full.look(&mut sampler)];
    assert_eq!(looks.map(|look| look.stuck), [false, false, true], "seen, seen again, and again");
    assert_eq!(looks.map(|look| (look.searching, look.delivering)), [(0, 1); 3]);
    full.pool.inner.engine.idle.end_delivering();
    full.pool.inner.engine.idle.release_searching();
    let look = full.look(&mut sampler);
    assert_eq!((look.stuck, look.searching, look.delivering), (false, 0, 0));
}

#[test]
fn a_token_that_stays_while_nothing_waits_is_not_stuck() {
    let pool = Pool::builder().core_threads(1).max_threads(1).build().unwrap();
    eventually("the thread rests", || pool.metrics().threads_idle() == 1);
    pool.inner.growth.monitor().stop();
    let (open, gate) = mpsc::channel::<()>();
    let (inside, entered) = mpsc::channel();
    let task = pool.spawn(move || {
        inside.send(()).unwrap();
        let _ = gate.recv();
    });
    entered.recv().unwrap();
    pool.inner.engine.idle.begin_delivering();
    let mut sampler = Sampler::new(Vec::new(), true);
    let mut stuck = || sampler.look(view(&pool.inner), Duration::from_micros(500)).stuck;
    assert_eq!([stuck(), stuck(), stuck()], [false; 3], "no task waits for the thread that delivers");
    let queued = pool.spawn(|| ());
    assert_eq!([stuck(), stuck()], [false, true], "the time counts from here");
    pool.inner.engine.idle.end_delivering();
    pool.inner.engine.idle.release_searching();
    drop(open);
    task.wait().unwrap();
    queued.wait().unwrap();
}

/// What the monitor decides look by look while all threads sleep in their tasks.
fn verdicts(full: &Full) -> [Verdict; 6] {
    let mut sampler = Sampler::new(vec![Oracle::new(true, |_| Some(true))], true);
    let mut state = State::new();
    [(); 6].map(|()| {
        // The pause is the test's own.
        let sample = Sample { refused: false, ..full.look(&mut sampler) };
        let verdict;
        (state, verdict) = decide(Limits { core: 3, max: 9, cpus: 3 }, state, &sample);
        verdict
    })
}

#[test]
fn who_searches_without_a_cpu_is_not_replaced_however_many_sleep() {
    let full = Full::new(3);
    // As if a thread had been woken and had not run since.
    assert!(full.pool.inner.engine.idle.begin_searching());
    assert_eq!(verdicts(&full), [Verdict::Wait; 6], "E1");
    let mut sampler = Sampler::new(vec![Oracle::new(true, |_| Some(true))], true);
    let looks = [full.look(&mut sampler), full.look(&mut sampler), full.look(&mut sampler)];
    assert_eq!(looks.map(|look| look.starved), [false, false, true], "E6");
    full.pool.inner.engine.idle.release_searching();
    assert!(verdicts(&full).contains(&Verdict::Grow(1, Cause::Hard)), "no thread comes any more");
}

/// Answers that every thread sleeps, and calls a closure meanwhile.
struct Meanwhile<F>(F);

impl<F> fmt::Debug for Meanwhile<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl<F: Fn() + Send> Detector for Meanwhile<F> {
    fn is_asleep(&self, _: &Subject) -> Option<bool> {
        (self.0)();
        Some(true)
    }
}

#[test]
fn who_moves_while_the_monitor_asks_is_not_stuck() {
    let full = Full::new(3);
    full.pool.inner.engine.idle.begin_delivering();
    let (inner, asked) = (full.pool.inner.owned().unwrap(), AtomicUsize::new(0));
    let waker_returns = move || {
        // Each look asks about three threads: this is in the third.
        if asked.fetch_add(1, Ordering::Relaxed) == 6 {
            inner.engine.idle.end_delivering();
        }
    };
    let mut sampler = Sampler::new(vec![Box::new(Meanwhile(waker_returns))], true);
    let looks = [(); 4].map(|()| full.look(&mut sampler));
    assert_eq!(looks.map(|look| look.stuck), [false, false, false, true]);
    assert_eq!(looks.map(|look| look.starved), [false, false, false, true], "by now it searches");
    full.pool.inner.engine.idle.release_searching();
}

#[test]
fn who_sleeps_in_a_waker_is_replaced() {
    let full = Full::new(3);
    full.pool.inner.engine.idle.begin_delivering();
    assert!(verdicts(&full).contains(&Verdict::Grow(1, Cause::Hard)));
    full.pool.inner.engine.idle.end_delivering();
    full.pool.inner.engine.idle.release_searching();
}
