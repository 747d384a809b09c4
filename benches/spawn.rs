//! What does it cost to hand a closure over, next to `tokio::task::spawn_blocking`?
//!
//! Each group is one scenario, run by both peers at their default settings: `cargo bench --bench
//! spawn [-- GROUP]`. Below each group stand the time per closure, the most threads that the peer
//! ever had, and the ratio. A machine that does other work beside this spoils the times but, as
//! both peers suffer, hardly the ratio.
//!
//! To add a scenario, implement [`Scenario`]; to add a peer, implement [`Peer`]. Neither knows of
//! the other's kinds.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

// ---- peers ----

/// One way to run a blocking closure. It lives for one group, so that its threads are that group's
/// own.
trait Peer: Send + Sync + Sized + 'static {
    /// The peer's name in the report.
    const NAME: &str;
    type Error: Debug;
    type Task<T: Send + 'static>: Future<Output = Result<T, Self::Error>> + Send;

    fn start(host: &Host) -> Self;

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Self::Task<T>;

    /// Runs `work` to its end though nobody holds a handle.
    fn spawn_detached(&self, work: impl FnOnce() + Send + 'static);

    /// Blocks a plain thread until all of `tasks` have ended, in whatever way suits the peer best.
    fn wait_all<T: Send + 'static>(&self, tasks: Vec<Self::Task<T>>);

    /// Ends the peer's threads where it can, and tells how many it had at its peak.
    fn finish(&self, host: &Host) -> usize;
}

/// A pool of this crate.
struct Sidestep(sidestep::Pool);

impl Peer for Sidestep {
    const NAME: &str = "sidestep";
    type Error = sidestep::TaskError;
    type Task<T: Send + 'static> = sidestep::Task<T>;

    fn start(_: &Host) -> Self {
        Self(sidestep::Pool::new().expect("the first thread starts"))
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Self::Task<T> {
        self.0.spawn(work)
    }

    fn spawn_detached(&self, work: impl FnOnce() + Send + 'static) {
        self.0.spawn(work).detach();
    }

    fn wait_all<T: Send + 'static>(&self, tasks: Vec<Self::Task<T>>) {
        for task in tasks {
            task.wait().expect("the task completes");
        }
    }

    fn finish(&self, _: &Host) -> usize {
        self.0.shutdown().wait();
        let metrics = self.0.metrics();
        assert_eq!(metrics.tasks_completed(), metrics.tasks_submitted(), "a closure was lost on the way");
        metrics.threads_peak()
    }
}

/// `tokio::task::spawn_blocking`, on the runtime that the scenario runs in.
struct SpawnBlocking(Handle);

impl Peer for SpawnBlocking {
    const NAME: &str = "spawn_blocking";
    type Error = tokio::task::JoinError;
    type Task<T: Send + 'static> = tokio::task::JoinHandle<T>;

    fn start(host: &Host) -> Self {
        Self(host.runtime.handle().clone())
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Self::Task<T> {
        self.0.spawn_blocking(work)
    }

    fn spawn_detached(&self, work: impl FnOnce() + Send + 'static) {
        drop(self.0.spawn_blocking(work));
    }

    fn wait_all<T: Send + 'static>(&self, tasks: Vec<Self::Task<T>>) {
        self.0.block_on(async {
            for task in tasks {
                task.await.expect("the task completes");
            }
        });
    }

    fn finish(&self, host: &Host) -> usize {
        host.census.peak() - host.workers
    }
}

// ---- the program around them ----

/// The kind of event loop that submits.
#[derive(Clone, Copy, PartialEq)]
enum Flavor {
    CurrentThread,
    MultiThread,
}

/// The async program that a peer serves: a tokio runtime at its default settings, and a count of
/// its threads.
struct Host {
    runtime: Runtime,
    census: Arc<Census>,
    /// How many of the runtime's threads run async tasks; the others run blocking closures.
    workers: usize,
}

impl Host {
    fn new(flavor: Flavor) -> Self {
        let census = Arc::new(Census::default());
        let (arrival, departure) = (Arc::clone(&census), Arc::clone(&census));
        let mut builder = match flavor {
            Flavor::CurrentThread => Builder::new_current_thread(),
            Flavor::MultiThread => Builder::new_multi_thread(),
        };
        let runtime = builder
            .on_thread_start(move || arrival.arrive())
            .on_thread_stop(move || departure.depart())
            .build()
            .expect("a runtime starts");
        let workers = match flavor {
            Flavor::CurrentThread => 0, // its one thread is the caller's
            Flavor::MultiThread => runtime.metrics().num_workers(),
        };
        Self { runtime, census, workers }
    }

    /// Runs `program` as a task of the runtime, as an application would, and not beside its
    /// scheduler.
    fn run(&self, program: impl Future<Output = ()> + Send + 'static) {
        let task = self.runtime.spawn(program);
        self.runtime.block_on(task).expect("the program does not panic");
    }
}

/// How many threads a runtime has and had, told by its own hooks: exact, with nothing to sample.
#[derive(Default)]
struct Census {
    alive: std::sync::atomic::AtomicUsize,
    peak: std::sync::atomic::AtomicUsize,
}

impl Census {
    fn arrive(&self) {
        self.peak.fetch_max(self.alive.fetch_add(1, Relaxed) + 1, Relaxed);
    }

    fn depart(&self) {
        self.alive.fetch_sub(1, Relaxed);
    }

    fn peak(&self) -> usize {
        self.peak.load(Relaxed)
    }
}

// ---- scenarios ----

/// A load. The peer is borrowed for ever, so that no closure pays for counting references to it.
trait Scenario {
    /// The group's name.
    const NAME: &str;
    /// How many closures one run submits.
    const CLOSURES: u64;
    const FLAVOR: Flavor = Flavor::MultiThread;

    fn run<P: Peer>(peer: &'static P, host: &Host);
}

/// One closure after another, each awaited before the next.
async fn round_trips<P: Peer>(peer: &'static P, count: u64) {
    for n in 0..count {
        black_box(peer.spawn(move || n).await.expect("the task completes"));
    }
}

struct RoundTripCurrentThread;

impl Scenario for RoundTripCurrentThread {
    const NAME: &str = "round_trip_current_thread";
    const CLOSURES: u64 = 1_000;
    const FLAVOR: Flavor = Flavor::CurrentThread;

    fn run<P: Peer>(peer: &'static P, host: &Host) {
        host.run(round_trips(peer, Self::CLOSURES));
    }
}

struct RoundTripMultiThread;

impl Scenario for RoundTripMultiThread {
    const NAME: &str = "round_trip_multi_thread";
    const CLOSURES: u64 = 1_000;

    fn run<P: Peer>(peer: &'static P, host: &Host) {
        host.run(round_trips(peer, Self::CLOSURES));
    }
}

/// All closures are submitted before the first is awaited.
struct Burst;

impl Scenario for Burst {
    const NAME: &str = "burst_10000";
    const CLOSURES: u64 = 10_000;

    fn run<P: Peer>(peer: &'static P, host: &Host) {
        host.run(async move {
            let tasks: Vec<_> = (0..Self::CLOSURES).map(|n| peer.spawn(move || n)).collect();
            for task in tasks {
                black_box(task.await.expect("the task completes"));
            }
        });
    }
}

/// As many in flight as a busy server has: the oldest is awaited before one more is submitted.
struct Window;

impl Window {
    const WIDTH: usize = 64;
}

impl Scenario for Window {
    const NAME: &str = "window_64";
    const CLOSURES: u64 = 10_000;

    fn run<P: Peer>(peer: &'static P, host: &Host) {
        host.run(async move {
            let mut flight: VecDeque<P::Task<u64>> = VecDeque::with_capacity(Self::WIDTH);
            for n in 0..Self::CLOSURES {
                if flight.len() == Self::WIDTH {
                    let oldest = flight.pop_front().expect("the window is full");
                    black_box(oldest.await.expect("the task completes"));
                }
                flight.push_back(peer.spawn(move || n));
            }
            for task in flight {
                black_box(task.await.expect("the task completes"));
            }
        });
    }
}

/// Plain threads submit and wait; no event loop takes part. Their own start is counted in: some 10
/// ns per closure.
struct Producers;

impl Producers {
    const THREADS: u64 = 4;
}

impl Scenario for Producers {
    const NAME: &str = "producers_4x2500";
    const CLOSURES: u64 = Self::THREADS * 2_500;

    fn run<P: Peer>(peer: &'static P, _: &Host) {
        thread::scope(|scope| {
            for _ in 0..Self::THREADS {
                scope.spawn(|| {
                    let share = 0..Self::CLOSURES / Self::THREADS;
                    peer.wait_all(share.map(|n| peer.spawn(move || black_box(n))).collect());
                });
            }
        });
    }
}

/// A binary tree in which each node spawns its children and goes, as a recursive directory walk
/// does.
struct Tree;

impl Tree {
    const LEVELS: u32 = 16;

    /// `open` is let go by the last leaf.
    fn grow<P: Peer>(peer: &'static P, levels: u32, open: Arc<oneshot::Sender<()>>) {
        peer.spawn_detached(move || {
            if levels > 1 {
                Self::grow(peer, levels - 1, Arc::clone(&open));
                Self::grow(peer, levels - 1, open);
            }
        });
    }
}

impl Scenario for Tree {
    const NAME: &str = "nested_tree_65535";
    const CLOSURES: u64 = (1 << Self::LEVELS) - 1;

    fn run<P: Peer>(peer: &'static P, host: &Host) {
        host.run(async move {
            let (open, closed) = oneshot::channel();
            Self::grow(peer, Self::LEVELS, Arc::new(open));
            closed.await.expect_err("nothing is ever sent");
        });
    }
}

/// Closures that truly block: all of them run together only on as many threads.
struct Sleepers;

impl Sleepers {
    const NAP: Duration = Duration::from_millis(5);

    #[expect(clippy::disallowed_methods, reason = "a call that blocks is what this scenario is about")]
    fn nap() {
        thread::sleep(Self::NAP);
    }
}

impl Scenario for Sleepers {
    const NAME: &str = "sleeping_512x5ms";
    const CLOSURES: u64 = 512;

    fn run<P: Peer>(peer: &'static P, host: &Host) {
        host.run(async move {
            let tasks: Vec<_> = (0..Self::CLOSURES).map(|_| peer.spawn(Self::nap)).collect();
            for task in tasks {
                task.await.expect("the task completes");
            }
        });
    }
}

// ---- measuring ----

/// What one peer showed in one scenario.
struct Outcome {
    peer: &'static str,
    /// The median of the samples.
    nanos_per_closure: f64,
    threads_peak: usize,
}

/// Runs one scenario with each peer in turn and prints what criterion does not.
fn compare<S: Scenario>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(S::NAME);
    group.throughput(Throughput::Elements(S::CLOSURES));
    let ours = measure::<S, Sidestep>(&mut group);
    let theirs = measure::<S, SpawnBlocking>(&mut group);
    group.finish();
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return };
    for Outcome { peer, nanos_per_closure, threads_peak } in [&ours, &theirs] {
        println!("{}: {peer:<14} {nanos_per_closure:>10.0} ns each, {threads_peak:>3} threads", S::NAME);
    }
    println!("{}: ratio {:.3}\n", S::NAME, ours.nanos_per_closure / theirs.nanos_per_closure);
}

/// `None` where the command line leaves this benchmark out, or only tries it (`--test`).
fn measure<S: Scenario, P: Peer>(group: &mut BenchmarkGroup<'_, WallTime>) -> Option<Outcome> {
    let host = Host::new(S::FLAVOR);
    let peer: &'static P = Box::leak(Box::new(P::start(&host)));
    let mut samples = Vec::new();
    group.bench_function(P::NAME, |bencher| {
        bencher.iter_custom(|runs| {
            let start = Instant::now();
            for _ in 0..runs {
                S::run(peer, &host);
            }
            let elapsed = start.elapsed();
            samples.push(elapsed.as_nanos() as f64 / (runs * S::CLOSURES) as f64);
            elapsed
        });
    });
    let threads_peak = peer.finish(&host);
    Some(Outcome { peer: P::NAME, nanos_per_closure: median(samples)?, threads_peak })
}

/// The upper median, where there are enough samples to speak of one.
fn median(mut samples: Vec<f64>) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().filter(|_| samples.len() > 2)
}

criterion_group! {
    name = spawn;
    // Small on purpose: the differences looked for are factors, not percents.
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4));
    targets =
        compare::<RoundTripCurrentThread>, compare::<RoundTripMultiThread>, compare::<Burst>, compare::<Window>,
        compare::<Producers>, compare::<Tree>, compare::<Sleepers>
}
criterion_main!(spawn);
