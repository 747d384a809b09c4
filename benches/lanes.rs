//! How fairly do lanes divide a busy pool, and what does it cost?
//!
//! ```text
//! cargo bench --bench lanes [-- --rounds 9] [CASE]
//! ```
//!
//! Three cases, each with a bound that must hold in every round:
//!
//! - `shares`: two lanes with weights 1 and 3 under full load. The part of the tasks that each has
//!   run while both had work: 25 % and 75 %, give or take 3 %.
//! - `flood`: 1,000 keys of a keyed lane, each of which has one task at a time, with and without
//!   another key that floods the lane. The mean wait of the 1,000 with it, over that without it: at
//!   most 1.5.
//! - `cost`: an empty task in a plain lane, in one with a share, and in a keyed lane with 1,000
//!   keys: nanoseconds from the first spawn to the last end, over the number of tasks. No bound.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use sidestep::{KeyedLane, Lane, Pool, Task};

/// How many tasks of each kind.
const TASKS: usize = 100_000;
const KEYS: usize = 1_000;

#[derive(Parser)]
struct Arguments {
    /// How often each case is run; medians are shown.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The cases; all, if there is none.
    cases: Vec<String>,
    /// What `cargo bench` passes on.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One figure of one round, and what it must not exceed.
struct Figure {
    name: &'static str,
    value: f64,
    bound: Option<(f64, f64)>,
}

/// A case: its name, and one round of it.
type Case = (&'static str, fn() -> Vec<Figure>);

fn new_pool(threads: usize) -> Pool {
    let builder = Pool::builder().core_threads(threads).max_threads(threads);
    builder.build().expect("the first thread starts")
}

/// Holds every thread of a pool up until the result is dropped.
fn hold(pool: &Pool, threads: usize) -> impl Sized {
    let (arrival, leave) = (Arc::new(Barrier::new(threads + 1)), Arc::new(Barrier::new(threads + 1)));
    for _ in 0..threads {
        let (arrival, leave) = (Arc::clone(&arrival), Arc::clone(&leave));
        pool.spawn(move || {
            arrival.wait();
            leave.wait();
        })
        .detach();
    }
    arrival.wait();
    Release(leave)
}

struct Release(Arc<Barrier>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.wait();
    }
}

/// The part of lane `one` among the first tasks that run, while both lanes have work.
fn shares() -> Vec<Figure> {
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let pool = new_pool(threads);
    let lane = |name, weight| {
        pool.lane_builder(name, threads).share(weight).build().expect("the settings are possible")
    };
    let lanes = [lane("one", 1), lane("three", 3)];
    let ran = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    // Of each lane, when the first half of all tasks had run.
    let seen = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let held = hold(&pool, threads);
    let mut tasks: Vec<Task<()>> = Vec::with_capacity(2 * TASKS);
    for _ in 0..TASKS {
        for (who, lane) in lanes.iter().enumerate() {
            let (ran, seen) = (Arc::clone(&ran), Arc::clone(&seen));
            tasks.push(lane.spawn(move || {
                let mine = ran[who].fetch_add(1, Ordering::Relaxed) + 1;
                if mine + ran[1 - who].load(Ordering::Relaxed) <= TASKS {
                    seen[who].fetch_max(mine, Ordering::Relaxed);
                }
            }));
        }
    }
    drop(held);
    wait_all(tasks);
    let [one, three] = [0, 1].map(|who| seen[who].load(Ordering::Relaxed) as f64);
    let percent = 100.0 * one / (one + three);
    vec![Figure {
        name: "shares: % of the lane of weight 1, beside weight 3",
        value: percent,
        bound: Some((22.0, 28.0)),
    }]
}

/// The mean wait of tasks of many keys, each of which has one at a time, for a while.
#[expect(clippy::disallowed_methods, reason = "the load goes on for so long")]
fn mean_wait(flood: bool) -> Duration {
    let pool = new_pool(2);
    let lane: KeyedLane<usize> =
        pool.keyed_lane("keys", 2).per_key(1).build().expect("the settings are possible");
    let stop = Arc::new(AtomicBool::new(false));
    let (waited, count) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    /// A task that spawns the next one of its key.
    fn again(lane: &KeyedLane<usize>, key: usize, stop: &Arc<AtomicBool>, sums: &[Arc<AtomicU64>; 2]) {
        let (spawned, next, stop) = (Instant::now(), lane.clone(), Arc::clone(stop));
        let sums = sums.clone();
        let f = move || {
            let waited = spawned.elapsed();
            // Some work, so that what runs is what is waited for.
            let began = Instant::now();
            while began.elapsed() < Duration::from_micros(5) {}
            sums[0].fetch_add(waited.as_nanos() as u64, Ordering::Relaxed);
            sums[1].fetch_add(1, Ordering::Relaxed);
            if !stop.load(Ordering::Relaxed) {
                again(&next, key, &stop, &sums);
            }
        };
        lane.spawn(key, f).detach();
    }
    let flooding: Vec<Task<()>> = if flood {
        let work = || {
            let began = Instant::now();
            while began.elapsed() < Duration::from_micros(5) {}
        };
        (0..TASKS).map(|_| lane.spawn(KEYS, work)).collect()
    } else {
        Vec::new()
    };
    let sums = [Arc::clone(&waited), Arc::clone(&count)];
    (0..KEYS).for_each(|key| again(&lane, key, &stop, &sums));
    thread::sleep(Duration::from_millis(300));
    stop.store(true, Ordering::Relaxed);
    drop(flooding);
    lane.idle().wait();
    Duration::from_nanos(waited.load(Ordering::Relaxed) / count.load(Ordering::Relaxed).max(1))
}

fn flood() -> Vec<Figure> {
    let (calm, flooded) = (mean_wait(false), mean_wait(true));
    let ratio = flooded.as_secs_f64() / calm.as_secs_f64();
    vec![
        Figure { name: "flood: mean wait of 1,000 keys, us", value: calm.as_secs_f64() * 1e6, bound: None },
        Figure { name: "flood: the same beside a flood, over that", value: ratio, bound: Some((0.0, 1.5)) },
    ]
}

fn wait_all(tasks: Vec<Task<()>>) {
    for task in tasks {
        task.wait().expect("the task runs");
    }
}

/// Nanoseconds for each of many empty tasks.
fn nanos(spawn: impl Fn(usize) -> Task<()>) -> f64 {
    let began = Instant::now();
    wait_all((0..TASKS).map(spawn).collect());
    began.elapsed().as_nanos() as f64 / TASKS as f64
}

fn cost() -> Vec<Figure> {
    let pool = new_pool(2);
    let plain: Lane = pool.lane("plain", 2);
    let shared = pool.lane_builder("shared", 2).share(1).build().expect("the settings are possible");
    let keyed = pool.keyed_lane::<usize>("keyed", 2).build().expect("the settings are possible");
    let figure = |name, value| Figure { name, value, bound: None };
    // The first tasks start threads.
    nanos(|_| plain.spawn(|| ()));
    vec![
        figure("cost: a task of a plain lane, ns", nanos(|_| plain.spawn(|| ()))),
        figure("cost: of a lane with a share, ns", nanos(|_| shared.spawn(|| ()))),
        figure("cost: of a keyed lane with 1,000 keys, ns", nanos(|n| keyed.spawn(n % KEYS, || ()))),
    ]
}

fn main() {
    let arguments = Arguments::parse();
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(["figure", "median", "least", "most", "bound"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut broken = Vec::new();
    let cases: [Case; 3] = [("shares", shares), ("flood", flood), ("cost", cost)];
    for (case, run) in cases {
        if !arguments.cases.is_empty() && !arguments.cases.iter().any(|wanted| wanted == case) {
            continue;
        }
        let rounds: Vec<_> = (0..arguments.rounds.max(1)).map(|_| run()).collect();
        for (index, figure) in rounds[0].iter().enumerate() {
            let mut values: Vec<_> = rounds.iter().map(|round| round[index].value).collect();
            values.sort_by(f64::total_cmp);
            let (least, most) = (values[0], values[values.len() - 1]);
            let bound = figure.bound.map_or(String::new(), |(low, high)| format!("{low} to {high}"));
            if figure.bound.is_some_and(|(low, high)| least < low || most > high) {
                broken.push(figure.name);
            }
            let shown = [values[values.len() / 2], least, most].map(|value| format!("{value:.2}"));
            let [median, least, most] = shown;
            table.add_row([figure.name.to_owned(), median, least, most, bound]);
        }
    }
    println!("{table}");
    assert!(broken.is_empty(), "a bound does not hold: {broken:?}");
}
