//! What the machine can do at best: the steps that a call is made of, without a pool around them.

use std::hint::black_box;
use std::iter;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use crossbeam_deque::{Injector, Steal};
use futures_channel::oneshot;

use crate::sample::{Metric, Sample};

/// Measures each step `repeats` times.
pub(crate) fn floor(repeats: usize) -> Result<Sample> {
    let handovers = repeats / 4;
    let steps = [
        ("park, unpark: round trip", ping_pong(handovers), handovers),
        ("malloc, free: 56 + 88 bytes", allocate(repeats), repeats),
        ("same, freed elsewhere", free_elsewhere(repeats), repeats),
        ("oneshot: make 1,000", make_oneshots(repeats), repeats),
        ("oneshot: make, send, receive", use_oneshots(repeats), repeats),
        ("Injector: push, steal", inject_alone(repeats), repeats),
        ("Injector: across threads", inject_across(repeats), repeats),
    ];
    let mut metrics: Vec<_> =
        steps.into_iter().map(|(name, time, count)| Metric::per_task(name, time, count)).collect();
    metrics.push(Metric::time("start 512 threads", start_threads(512)));
    Ok(Sample::of(metrics))
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Two threads take turns; whoever waits is parked.
fn ping_pong(rounds: usize) -> Duration {
    let turn = Arc::new(AtomicU32::new(0));
    let await_turn = |turn: &AtomicU32, mine| {
        while turn.load(Acquire) != mine {
            thread::park();
        }
    };
    let (their_turn, main) = (Arc::clone(&turn), thread::current());
    let partner = thread::spawn(move || {
        for _ in 0..rounds {
            await_turn(&their_turn, 1);
            their_turn.store(0, Release);
            main.unpark();
        }
    });
    let time = timed(|| {
        for _ in 0..rounds {
            turn.store(1, Release);
            partner.thread().unpark();
            await_turn(&turn, 0);
        }
    });
    partner.join().expect("the partner does not panic");
    time
}

/// The memory of a task: 144 bytes together.
type Blocks = (Box<[u64; 7]>, Box<[u64; 11]>);

fn blocks() -> Blocks {
    black_box((Box::new([0; 7]), Box::new([0; 11])))
}

fn allocate(tasks: usize) -> Duration {
    timed(|| (0..tasks).for_each(|_| drop(blocks())))
}

/// Both threads' time, one after the other: it says what they pay, not how they overlap.
fn free_elsewhere(tasks: usize) -> Duration {
    const BATCH: usize = 1_000;
    let (give, take) = mpsc::sync_channel::<Vec<Blocks>>(0);
    let (report, reports) = mpsc::channel();
    let freer = thread::spawn(move || {
        for batch in take {
            report.send(timed(|| drop(batch))).expect("the other thread listens");
        }
    });
    let mut total = Duration::ZERO;
    let mut left = tasks;
    while left > 0 {
        let size = left.min(BATCH);
        let mut batch = Vec::with_capacity(size);
        total += timed(|| batch.extend((0..size).map(|_| blocks())));
        give.send(batch).expect("the other thread listens");
        total += reports.recv().expect("the other thread answers");
        left -= size;
    }
    drop(give);
    freer.join().expect("the other thread does not panic");
    total
}

/// As a burst of submissions makes them: each is kept.
fn make_oneshots(count: usize) -> Duration {
    const BATCH: usize = 1_000;
    let mut kept = Vec::with_capacity(BATCH);
    let batch = || {
        kept.clear();
        timed(|| kept.extend((0..BATCH).map(|_| oneshot::channel::<usize>())))
    };
    iter::repeat_with(batch).take(count.div_ceil(BATCH)).sum()
}

fn use_oneshots(count: usize) -> Duration {
    timed(|| {
        for n in 0..count {
            let (sender, mut receiver) = oneshot::channel();
            sender.send(n).expect("the receiver is there");
            black_box(receiver.try_recv().expect("the sender has sent"));
        }
    })
}

/// Until all of them run at once.
fn start_threads(count: usize) -> Duration {
    let all = Barrier::new(count + 1);
    let all = &all;
    thread::scope(|scope| {
        timed(|| {
            (0..count).for_each(|_| _ = scope.spawn(|| all.wait()));
            all.wait();
        })
    })
}

/// The next item, if there is one.
fn steal(queue: &Injector<usize>) -> Option<usize> {
    loop {
        match queue.steal() {
            Steal::Success(item) => return Some(item),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
}

fn inject_alone(items: usize) -> Duration {
    let queue = Injector::new();
    timed(|| {
        for item in 0..items {
            queue.push(item);
            black_box(steal(&queue));
        }
    })
}

fn inject_across(items: usize) -> Duration {
    let queue = Injector::new();
    timed(|| {
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut left = items;
                while left > 0 {
                    match steal(&queue) {
                        Some(item) => left -= usize::from(black_box(item) < items),
                        None => thread::yield_now(),
                    }
                }
            });
            (0..items).for_each(|item| queue.push(item));
        });
    })
}
