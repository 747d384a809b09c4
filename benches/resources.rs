//! What does a call on a value behind a pool cost, next to the other ways to keep a value that
//! blocks?
//!
//! ```text
//! cd examples/sqlite && cargo bench --bench resources [-- --rounds 9] [CASE]
//! ```
//!
//! The values are a number, whose calls do nothing, and an SQLite connection in memory, with a tiny
//! query and an insert by statements that are prepared already: so it is the way there that counts.
//! Every peer is used at its defaults, and as its users use it. The peers take turns, in another
//! order each round; a ratio is that of two times of the same round.
//!
//! To add a peer, implement [`Keeper`]; to add what is done, implement [`Work`]. Neither knows of
//! the other's kinds.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use deadpool_sync::SyncWrapper;
use rusqlite::Connection;
use sidestep::{Dedicated, Pool, ResourcePool, Strand, Task};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

// ---- work ----

/// What a call does, and to what.
trait Work: 'static {
    type Value: Send + 'static;

    fn prepare() -> Self::Value;

    /// True if it went well.
    fn call(value: &mut Self::Value, number: u32) -> bool;
}

/// Nothing.
struct Empty;

impl Work for Empty {
    type Value = u64;

    fn prepare() -> u64 {
        0
    }

    fn call(value: &mut u64, _: u32) -> bool {
        *black_box(value) == 0
    }
}

/// One row is read by its key.
struct Query;

impl Query {
    const ROWS: u32 = 1_000;
}

impl Work for Query {
    type Value = Connection;

    fn prepare() -> Connection {
        let mut connection = Insert::prepare();
        assert!((0..Self::ROWS).all(|number| Insert::call(&mut connection, number)), "the rows are there");
        connection
    }

    fn call(connection: &mut Connection, number: u32) -> bool {
        let number = number % Self::ROWS;
        let query = connection.prepare_cached("SELECT number FROM entries WHERE id = ?1");
        // SQLite counts rows from 1.
        query.and_then(|mut query| query.query_row([number + 1], |row| row.get(0))) == Ok(number)
    }
}

/// One row is added, in a transaction of its own.
struct Insert;

impl Work for Insert {
    type Value = Connection;

    fn prepare() -> Connection {
        let connection = Connection::open_in_memory().expect("there is room for a database");
        let table = "CREATE TABLE entries (id INTEGER PRIMARY KEY, number INTEGER)";
        connection.execute_batch(table).expect("the table is created");
        connection
    }

    fn call(connection: &mut Connection, number: u32) -> bool {
        let insert = connection.prepare_cached("INSERT INTO entries (number) VALUES (?1)");
        insert.and_then(|mut insert| insert.execute([number])) == Ok(1)
    }
}

// ---- peers ----

/// What runs with the value; true if it went well.
trait Call<T>: FnOnce(&mut T) -> bool + Send + 'static {}

impl<T, F: FnOnce(&mut T) -> bool + Send + 'static> Call<T> for F {}

/// What is told of that, once it has ended.
trait Answer: Future<Output = bool> + Send + 'static {}

impl<F: Future<Output = bool> + Send + 'static> Answer for F {}

/// One way to keep a value and to have calls run on it. It lives for one run, so that its threads
/// are that run's own.
trait Keeper<T>: Clone + Send + Sync + 'static {
    fn keep(value: T) -> impl Future<Output = Self> + Send;

    fn call(&self, f: impl Call<T>) -> impl Answer;

    /// The same, but the call is under way when this returns. A peer whose calls wait to be polled
    /// is polled once for that.
    fn start(&self, f: impl Call<T>) -> impl Answer {
        let mut call = Box::pin(self.call(f));
        let early = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        async move {
            match early {
                Poll::Ready(answer) => answer,
                Poll::Pending => call.await,
            }
        }
    }
}

/// Puts a call of a pool, which is under way at once, into the form of the others.
async fn answer(task: Task<bool>) -> bool {
    task.await.expect("the call runs")
}

impl<T: Send + 'static> Keeper<T> for Strand<T> {
    async fn keep(value: T) -> Self {
        Strand::on(&new_pool(), value)
    }

    fn call(&self, f: impl Call<T>) -> impl Answer {
        answer(Strand::call(self, f))
    }

    fn start(&self, f: impl Call<T>) -> impl Answer {
        Keeper::call(self, f)
    }
}

impl<T: Send + 'static> Keeper<T> for Dedicated<T> {
    async fn keep(value: T) -> Self {
        Dedicated::new(move || value).expect("its thread starts")
    }

    fn call(&self, f: impl Call<T>) -> impl Answer {
        answer(Dedicated::call(self, f))
    }

    fn start(&self, f: impl Call<T>) -> impl Answer {
        Keeper::call(self, f)
    }
}

/// A resource pool of one value.
impl<T: Send + 'static> Keeper<T> for ResourcePool<T> {
    async fn keep(value: T) -> Self {
        let value = Mutex::new(Some(value));
        let make = move || value.lock().ok().and_then(|mut value| value.take()).ok_or("there is one");
        ResourcePool::builder(&new_pool(), 1, make).build().expect("the size is legal")
    }

    fn call(&self, f: impl Call<T>) -> impl Answer {
        answer(ResourcePool::call(self, f))
    }

    fn start(&self, f: impl Call<T>) -> impl Answer {
        Keeper::call(self, f)
    }
}

/// A task of a pool that has nothing to share: each gets a number of its own.
#[derive(Clone)]
struct PlainTask(Pool);

impl Keeper<u64> for PlainTask {
    async fn keep(_: u64) -> Self {
        PlainTask(new_pool())
    }

    fn call(&self, f: impl Call<u64>) -> impl Answer {
        answer(self.0.spawn(move || f(&mut 0)))
    }

    fn start(&self, f: impl Call<u64>) -> impl Answer {
        self.call(f)
    }
}

/// A task of a pool that waits for a lock.
struct LockingTask<T> {
    pool: Pool,
    value: Arc<Mutex<T>>,
}

impl<T: Send + 'static> Keeper<T> for LockingTask<T> {
    async fn keep(value: T) -> Self {
        LockingTask { pool: new_pool(), value: Arc::new(Mutex::new(value)) }
    }

    fn call(&self, f: impl Call<T>) -> impl Answer {
        let value = Arc::clone(&self.value);
        answer(self.pool.spawn(move || f(&mut value.lock().expect("no call panics"))))
    }

    fn start(&self, f: impl Call<T>) -> impl Answer {
        self.call(f)
    }
}

impl<T> Clone for LockingTask<T> {
    fn clone(&self) -> Self {
        LockingTask { pool: self.pool.clone(), value: Arc::clone(&self.value) }
    }
}

impl<T: Send + 'static> Keeper<T> for Arc<SyncWrapper<T>> {
    async fn keep(value: T) -> Self {
        let wrapper =
            SyncWrapper::new(deadpool_runtime::Runtime::Tokio1, || Ok::<_, Infallible>(value)).await;
        Arc::new(wrapper.expect("nothing fails"))
    }

    fn call(&self, f: impl Call<T>) -> impl Answer {
        let wrapper = Arc::clone(self);
        async move { wrapper.interact(f).await.expect("the call runs") }
    }
}

impl Keeper<Connection> for tokio_rusqlite::Connection {
    async fn keep(connection: Connection) -> Self {
        connection.into()
    }

    fn call(&self, f: impl Call<Connection>) -> impl Answer {
        let connection = self.clone();
        async move {
            let answer = connection.call(|connection| Ok::<_, Infallible>(f(connection))).await;
            answer.expect("the call runs")
        }
    }
}

/// The call runs in place and blocks the async thread: what it costs by itself, and a lock.
struct InPlace<T>(Arc<Mutex<T>>);

impl<T: Send + 'static> Keeper<T> for InPlace<T> {
    async fn keep(value: T) -> Self {
        InPlace(Arc::new(Mutex::new(value)))
    }

    fn call(&self, f: impl Call<T>) -> impl Answer {
        let value = self.clone();
        async move { f(&mut value.0.lock().expect("no call panics")) }
    }
}

impl<T> Clone for InPlace<T> {
    fn clone(&self) -> Self {
        InPlace(Arc::clone(&self.0))
    }
}

fn new_pool() -> Pool {
    Pool::new().expect("the first thread starts")
}

// ---- loads ----

/// How calls come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Load {
    /// One at a time.
    Serial,
    /// From 100 tasks, each of which awaits one before the next.
    Clients,
    /// All at once.
    Burst,
}

impl Load {
    const ALL: [Load; 3] = [Load::Serial, Load::Clients, Load::Burst];
    const CLIENTS: u32 = 100;

    async fn run<W: Work, K: Keeper<W::Value>>(self, keeper: &K, calls: u32) {
        match self {
            Load::Serial => one_by_one::<W, K>(keeper, calls).await,
            Load::Clients => {
                let client = |_| {
                    let keeper = keeper.clone();
                    async move { one_by_one::<W, K>(&keeper, calls / Self::CLIENTS).await }
                };
                (0..Self::CLIENTS).map(client).collect::<JoinSet<_>>().join_all().await;
            }
            Load::Burst => {
                let answers: Vec<_> = (0..calls).map(|number| keeper.start(call::<W>(number))).collect();
                for answer in answers {
                    assert!(answer.await, "the answer is right");
                }
            }
        }
    }
}

async fn one_by_one<W: Work, K: Keeper<W::Value>>(keeper: &K, calls: u32) {
    for number in 0..calls {
        assert!(keeper.call(call::<W>(number)).await, "the answer is right");
    }
}

fn call<W: Work>(number: u32) -> impl Call<W::Value> {
    move |value| {
        census::mark();
        W::call(value, number)
    }
}

/// Counts the threads that run calls.
mod census {
    use std::cell::Cell;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    /// Which count this is.
    static ROUND: AtomicUsize = AtomicUsize::new(1);
    static THREADS: AtomicUsize = AtomicUsize::new(0);

    thread_local! {
        /// The last round in which this thread was counted.
        static COUNTED: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn mark() {
        let round = ROUND.load(Relaxed);
        if COUNTED.replace(round) != round {
            THREADS.fetch_add(1, Relaxed);
        }
    }

    /// Begins to count anew, while no call runs.
    pub(super) fn restart() {
        THREADS.store(0, Relaxed);
        ROUND.fetch_add(1, Relaxed);
    }

    pub(super) fn threads() -> usize {
        THREADS.load(Relaxed)
    }
}

// ---- measuring ----

/// A kind of tokio runtime, in which the callers live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Flavour {
    MultiThread,
    CurrentThread,
}

impl Flavour {
    fn start(self) -> Runtime {
        let runtime = match self {
            Flavour::MultiThread => Builder::new_multi_thread().build(),
            Flavour::CurrentThread => Builder::new_current_thread().build(),
        };
        runtime.expect("a runtime starts")
    }
}

/// What one run of one peer took.
#[derive(Clone, Copy)]
struct Sample {
    nanos: f64,
    threads: usize,
}

/// A way to run a load of calls of one kind of work, with a peer.
struct Entrant {
    peer: &'static str,
    run: fn(Load, Flavour, u32) -> Sample,
}

const STRAND: &str = "strand";
const TASK: &str = "plain task";
const DEADPOOL: &str = "deadpool-sync";
const TOKIO_RUSQLITE: &str = "tokio-rusqlite";

/// In the order in which they are shown.
const PEERS: [&str; 8] =
    [STRAND, "resource pool", "dedicated", TASK, "task, mutex", DEADPOOL, TOKIO_RUSQLITE, "in place"];

fn entrants_of_numbers() -> Vec<Entrant> {
    vec![
        Entrant { peer: STRAND, run: run::<Empty, Strand<u64>> },
        Entrant { peer: "resource pool", run: run::<Empty, ResourcePool<u64>> },
        Entrant { peer: "dedicated", run: run::<Empty, Dedicated<u64>> },
        Entrant { peer: TASK, run: run::<Empty, PlainTask> },
        Entrant { peer: DEADPOOL, run: run::<Empty, Arc<SyncWrapper<u64>>> },
    ]
}

fn entrants_of_sqlite<W: Work<Value = Connection>>() -> Vec<Entrant> {
    vec![
        Entrant { peer: STRAND, run: run::<W, Strand<Connection>> },
        Entrant { peer: "resource pool", run: run::<W, ResourcePool<Connection>> },
        Entrant { peer: "dedicated", run: run::<W, Dedicated<Connection>> },
        Entrant { peer: "task, mutex", run: run::<W, LockingTask<Connection>> },
        Entrant { peer: DEADPOOL, run: run::<W, Arc<SyncWrapper<Connection>>> },
        Entrant { peer: TOKIO_RUSQLITE, run: run::<W, tokio_rusqlite::Connection> },
        Entrant { peer: "in place", run: run::<W, InPlace<Connection>> },
    ]
}

/// A run repeats its load so often; the median counts.
const REPEATS: usize = 3;

fn run<W: Work, K: Keeper<W::Value>>(load: Load, flavour: Flavour, calls: u32) -> Sample {
    let runtime = flavour.start();
    let measured = async move {
        let keeper = K::keep(W::prepare()).await;
        // The first calls start threads and fill caches.
        load.run::<W, K>(&keeper, calls).await;
        census::restart();
        let mut times = Vec::new();
        for _ in 0..REPEATS {
            let began = Instant::now();
            load.run::<W, K>(&keeper, calls).await;
            times.push(began.elapsed().as_nanos() as f64 / f64::from(calls));
        }
        times.sort_by(f64::total_cmp);
        Sample { nanos: times[REPEATS / 2], threads: census::threads() }
    };
    // As a task of the runtime, as in an application, and not beside its scheduler.
    let task = runtime.spawn(measured);
    runtime.block_on(task).expect("no load panics")
}

// ---- report ----

/// What is done, how it comes, and from where.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    work: &'static str,
    load: Load,
    flavour: Flavour,
}

impl Case {
    fn all() -> Vec<(Case, Vec<Entrant>)> {
        let mut cases = Vec::new();
        for work in ["empty", "query", "insert"] {
            for load in Load::ALL {
                for flavour in [Flavour::MultiThread, Flavour::CurrentThread] {
                    let entrants = match work {
                        "empty" => entrants_of_numbers(),
                        "query" => entrants_of_sqlite::<Query>(),
                        _ => entrants_of_sqlite::<Insert>(),
                    };
                    cases.push((Case { work, load, flavour }, entrants));
                }
            }
        }
        cases
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.work, place(*self))
    }
}

/// The case, where it is clear what is done.
fn place(case: Case) -> String {
    let load = match case.load {
        Load::Serial => "serial",
        Load::Clients => "clients",
        Load::Burst => "burst",
    };
    match case.flavour {
        Flavour::MultiThread => load.to_owned(),
        Flavour::CurrentThread => format!("{load}@current"),
    }
}

/// The number of cores, and the versions of all that is compared.
fn host() -> String {
    let mut host =
        thread::available_parallelism().map_or("?".to_owned(), |cores| cores.to_string()) + " cores";
    let names = ["sidestep", "tokio", DEADPOOL, TOKIO_RUSQLITE, "rusqlite"];
    let lock = include_str!("../examples/sqlite/Cargo.lock");
    let mut lines = lock.lines();
    while let Some(line) = lines.next() {
        let name = line.strip_prefix("name = ").map(|name| name.trim_matches('"'));
        if let Some(name) = name.filter(|name| names.contains(name)) {
            let version = lines.next().and_then(|line| line.split('"').nth(1)).unwrap_or("?");
            host += &format!(", {name} {version}");
        }
    }
    format!("{host}, SQLite {}", rusqlite::version())
}

/// The samples of each peer, one for each round.
type Samples = BTreeMap<&'static str, Vec<Sample>>;

/// Least, median and most.
#[derive(Clone, Copy)]
struct Spread([f64; 3]);

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<_> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        Some(Spread([*sorted.first()?, sorted[sorted.len() / 2], *sorted.last()?]))
    }

    fn median(self) -> f64 {
        self.0[1]
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [least, median, most] = self.0;
        write!(f, "{median:.2} ({least:.2} to {most:.2})")
    }
}

/// The time of the strand over that of `peer`, by rounds.
fn ratio(samples: &Samples, peer: &str) -> Option<Spread> {
    let (ours, theirs) = (samples.get(STRAND)?, samples.get(peer)?);
    Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours.nanos / theirs.nanos))
}

fn time(samples: &Samples, peer: &str) -> Option<String> {
    let nanos = Spread::of(samples.get(peer)?.iter().map(|sample| sample.nanos))?.median();
    Some(if nanos < 1e3 { format!("{nanos:.0} ns") } else { format!("{:.2} us", nanos / 1e3) })
}

fn threads(samples: &Samples, peer: &str) -> Option<String> {
    let most = samples.get(peer)?.iter().map(|sample| sample.threads).max()?;
    Some(most.to_string())
}

/// A table with one row per case of `work` and one column per peer.
fn print(
    title: &str,
    cases: &[(Case, Samples)],
    peers: &[&str],
    cell: impl Fn(&Samples, &str) -> Option<String>,
) {
    let rows = cases.iter().map(|(case, samples)| {
        let cells = peers.iter().map(|peer| cell(samples, peer).unwrap_or_default());
        std::iter::once(place(*case)).chain(cells).collect()
    });
    let header = std::iter::once("").chain(peers.iter().copied()).collect();
    print_table(title, header, rows.collect(), 1);
}

/// The first `texts` columns are flush left, the others flush right.
fn print_table(title: &str, header: Vec<&str>, rows: Vec<Vec<String>>, texts: usize) {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header).add_rows(rows);
    for column in table.column_iter_mut().skip(texts) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("\n### {title}\n\n{table}");
}

/// What the strand is meant to reach, next to `peer` in each of `works`.
struct Goal {
    works: &'static [&'static str],
    text: &'static str,
    peer: &'static str,
    met: fn(f64) -> bool,
}

const SQLITE: &[&str] = &["query", "insert"];

const GOALS: [Goal; 3] = [
    Goal { works: &["empty"], text: "<= 1.2 x plain task", peer: TASK, met: |ratio| ratio <= 1.2 },
    Goal { works: SQLITE, text: "< deadpool-sync", peer: DEADPOOL, met: |ratio| ratio < 1.0 },
    Goal { works: SQLITE, text: "< tokio-rusqlite", peer: TOKIO_RUSQLITE, met: |ratio| ratio < 1.0 },
];

impl Goal {
    /// In how many cases it is met, and the largest ratio. `None` if it was not measured.
    fn judge(&self, measured: &[(Case, Samples)]) -> Option<Vec<String>> {
        let concerned = measured.iter().filter(|(case, _)| self.works.contains(&case.work));
        let ratios: Vec<_> =
            concerned.filter_map(|(case, samples)| Some((ratio(samples, self.peer)?, *case))).collect();
        let met = ratios.iter().filter(|(ratio, _)| (self.met)(ratio.median())).count();
        let (largest, case) = ratios.iter().max_by(|(a, _), (b, _)| a.median().total_cmp(&b.median()))?;
        let met = format!("{met} of {}", ratios.len());
        Some(vec![self.works.join(", "), self.text.to_owned(), met, format!("{largest} in {case}")])
    }
}

fn report(measured: &[(Case, Samples)]) {
    for cases in measured.chunk_by(|(one, _), (other, _)| one.work == other.work) {
        let work = cases[0].0.work;
        let peers: Vec<_> = PEERS.into_iter().filter(|peer| cases[0].1.contains_key(peer)).collect();
        let others: Vec<_> = peers.iter().copied().filter(|peer| *peer != STRAND).collect();
        print(&format!("{work}: time per call"), cases, &peers, time);
        print(&format!("{work}: time of the strand / time of the peer"), cases, &others, |samples, peer| {
            ratio(samples, peer).map(|ratio| ratio.to_string())
        });
        print(&format!("{work}: threads that ran calls, at most"), cases, &peers, threads);
    }
    let rows = GOALS.iter().filter_map(|goal| goal.judge(measured)).collect();
    print_table("strand: goals", vec!["calls", "goal", "met in", "largest ratio"], rows, 4);
}

// ---- command line ----

/// Calls on a value that blocks: `Strand` and `Dedicated` next to the other ways
#[derive(Parser)]
struct Args {
    /// How often each peer runs each case
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// One short round, to see that everything works
    #[arg(long, visible_alias = "test")]
    quick: bool,
    /// Only the cases in whose name this occurs, such as "query clients@current"
    case: Option<String>,
    /// Only these peers, such as "strand"
    #[arg(long, num_args = 1..)]
    peer: Vec<String>,
    /// Cargo passes it
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    let (rounds, calls) = if args.quick { (1, 200) } else { (args.rounds, 10_000) };
    let mut cases = Case::all();
    cases.retain(|(case, _)| args.case.as_ref().is_none_or(|part| case.to_string().contains(part)));
    for (_, entrants) in &mut cases {
        entrants.retain(|entrant| args.peer.is_empty() || args.peer.iter().any(|peer| peer == entrant.peer));
    }
    let mut measured: Vec<(Case, Samples)> = cases.iter().map(|(case, _)| (*case, Samples::new())).collect();
    for round in 0..rounds {
        for ((_, entrants), (case, samples)) in cases.iter_mut().zip(&mut measured) {
            for Entrant { peer, run } in &*entrants {
                samples.entry(peer).or_default().push(run(case.load, case.flavour, calls));
            }
            // Nobody always comes first, or after the same peer.
            entrants.rotate_left(1);
            if round % 2 == 1 {
                entrants.reverse();
            }
        }
    }
    println!("- {}", host());
    println!("- {rounds} rounds of {calls} calls; medians, and ratios by rounds (least to most)");
    if args.quick {
        println!("- too short to compare by");
    }
    report(&measured);
}
