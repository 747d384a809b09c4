//! A pool under load: with its book, its lanes, threads that are refused at random, and the
//! comparison at the end.

use std::{
    io,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use sidestep::{KeyedLane, Lane, NewThread, Pool, PoolBuilder};

use crate::{
    dice::Dice,
    job::Crowd,
    ledger::{Book, Mark, equal, fault},
    steady::{Change, live},
};

pub(crate) static THREADS_MADE: AtomicU64 = AtomicU64::new(0);
pub(crate) static THREADS_REFUSED: AtomicU64 = AtomicU64::new(0);
pub(crate) static POOLS_MADE: AtomicU64 = AtomicU64::new(0);
pub(crate) static POOLS_REFUSED: AtomicU64 = AtomicU64::new(0);

/// Whether the pools do not ask the system about their threads.
pub(crate) static TIME_ALONE: AtomicBool = AtomicBool::new(false);

/// What a pool is to be.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) core: usize,
    pub(crate) max: usize,
    pub(crate) queue_limit: Option<usize>,
    pub(crate) keep_alive: Duration,
    /// One thread in so many is refused; 0 for none.
    pub(crate) refuse_one_in: usize,
    /// Nobody shuts it down.
    pub(crate) lasts: bool,
    /// Whether context is captured for each task.
    pub(crate) propagates: bool,
}

/// The threads of a pool, as its hooks and its handler see them.
#[derive(Debug)]
pub(crate) struct Hands {
    pub(crate) threads: Arc<Crowd>,
    asked: AtomicU64,
    refused: AtomicU64,
}

impl Hands {
    /// Makes a thread, or refuses in one of the ways there are.
    fn make(&self, new: NewThread, mut dice: Dice, refuse_one_in: usize) -> io::Result<()> {
        if refuse_one_in > 0 && dice.one_in(refuse_one_in) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            THREADS_REFUSED.fetch_add(1, Ordering::Relaxed);
            return match dice.below(3) {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                1 => {
                    drop(new);
                    Ok(())
                }
                _ => resume_unwind(Box::new("no thread")),
            };
        }
        THREADS_MADE.fetch_add(1, Ordering::Relaxed);
        let begins = Change::new();
        let builder = thread::Builder::new().name(new.name().to_owned()).stack_size(256 << 10);
        builder.spawn(move || live(begins, || new.run()))?;
        Ok(())
    }
}

/// A pool with what belongs to it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) name: &'static str,
    pub(crate) pool: Pool,
    pub(crate) book: Arc<Book>,
    pub(crate) hands: Arc<Hands>,
    lanes: Vec<(Lane, Arc<Crowd>)>,
    /// Tasks with keys, and who is inside with each.
    keyed: (KeyedLane<usize>, Vec<Arc<Crowd>>),
    /// The crate spawns tasks of its own on it, for values and files: so it has more of them than
    /// its book.
    pub(crate) has_others: AtomicBool,
    pub(crate) is_limited: bool,
    lasts: bool,
    /// A thread that leaves cannot be the last one for good.
    pub(crate) may_retire: bool,
}

impl Site {
    pub(crate) fn new(name: &'static str, settings: &Settings, dice: &mut Dice) -> io::Result<Arc<Site>> {
        let (builder, hands) = builder(name, settings, dice);
        let pool = builder.build().inspect_err(|_| {
            POOLS_REFUSED.fetch_add(1, Ordering::Relaxed);
        })?;
        POOLS_MADE.fetch_add(1, Ordering::Relaxed);
        let mut lanes = Vec::new();
        for (name, limit, weight) in [
            ("a lane of 1", 1, None),
            ("a lane of 2", 2, None),
            ("a lane of 5", 5, Some(3)),
            ("another", 3, Some(1)),
        ] {
            let mut lane = pool.lane_builder(name, limit);
            if let Some(weight) = weight {
                lane = lane.share(weight);
            }
            lanes.push((lane.build()?, Crowd::new(name, limit)));
        }
        let keyed = (pool.keyed_lane("keys", 3).build()?, crowds_of_keys());
        let has_others = AtomicBool::new(false);
        let (is_limited, lasts) = (settings.queue_limit.is_some(), settings.lasts);
        let may_retire = !lasts || settings.refuse_one_in == 0;
        Ok(Arc::new(Site {
            name,
            pool,
            book: Book::new(),
            hands,
            lanes,
            keyed,
            has_others,
            is_limited,
            lasts,
            may_retire,
        }))
    }

    pub(crate) fn lane(&self, dice: &mut Dice) -> &(Lane, Arc<Crowd>) {
        dice.pick(&self.lanes)
    }

    /// The lane with keys, one of these, and who is inside with it.
    pub(crate) fn key(&self, dice: &mut Dice) -> (&KeyedLane<usize>, usize, &Arc<Crowd>) {
        let (lane, crowds) = &self.keyed;
        let key = dice.below(crowds.len());
        (lane, key, &crowds[key])
    }

    /// Nothing is queued or running, and nobody holds what was spawned.
    pub(crate) fn is_quiet(&self) -> bool {
        let metrics = self.pool.metrics();
        self.book.counts.open() == 0 && (metrics.tasks_queued(), metrics.tasks_running()) == (0, 0)
    }

    /// Compares the numbers of the pool with each other and with the book, once the site is quiet.
    pub(crate) fn check(&self) {
        let metrics = self.pool.metrics();
        let name = self.name;
        let ended = metrics.tasks_completed() + metrics.tasks_panicked() + metrics.tasks_cancelled();
        equal(format_args!("{name}: submitted"), metrics.tasks_submitted(), ended);
        let left = (metrics.tasks_queued(), metrics.tasks_running(), metrics.threads_blocked());
        equal(format_args!("{name}: queued, running, blocked"), left, (0, 0, 0));
        let refused = self.hands.refused.load(Ordering::SeqCst);
        equal(format_args!("{name}: refused threads"), metrics.spawn_failures(), refused);
        for (lane, crowd) in &self.lanes {
            let metrics = lane.metrics();
            let ended = metrics.tasks_completed() + metrics.tasks_panicked() + metrics.tasks_cancelled();
            let name = format_args!("{} of {name}", lane.name());
            equal(format_args!("{name}: submitted"), metrics.tasks_submitted(), ended);
            equal(format_args!("{name}: inside"), crowd.now(), 0);
        }
        let (lane, crowds) = &self.keyed;
        equal(format_args!("{name}: keys"), lane.keys(), 0);
        for crowd in crowds {
            equal(format_args!("{name}: inside with a key"), crowd.now(), 0);
        }
        if !self.has_others.load(Ordering::SeqCst) {
            self.compare(name);
        }
    }

    /// The tasks of the pool are those of the book, and no others.
    fn compare(&self, name: &str) {
        let (metrics, book) = (self.pool.metrics(), &self.book);
        equal(format_args!("{name}: completed"), metrics.tasks_completed(), book.get(Mark::Returned));
        equal(format_args!("{name}: panicked"), metrics.tasks_panicked(), book.get(Mark::Panicked));
        let unrun = book.get(Mark::ClosureDropped)
            - book.get(Mark::Begun)
            - book.get(Mark::HandedBack)
            - book.get(Mark::Full);
        // These were refused, or accepted and then discarded: nobody outside can tell. Where that
        // happens, it happens also to some whose handle was let go.
        let refused = book.get(Mark::Shutdown) + book.get(Mark::NoThread);
        let is_exact = self.lasts && refused == 0;
        let doubtful = refused + book.late_in_scope.load(Ordering::SeqCst);
        let forgone = if is_exact { 0 } else { book.get(Mark::Forgone) };
        // One that meets the shutdown may have been accepted first, and counted.
        let met = if self.lasts { 0 } else { book.get(Mark::HandedBack) };
        let cancelled = metrics.tasks_cancelled();
        if !(unrun.saturating_sub(doubtful + forgone)..=unrun + met).contains(&cancelled) {
            let doubt =
                format_args!("{unrun}, of which {doubtful} may have been refused, and {forgone} unseen");
            fault(format_args!("{name}: cancelled: {cancelled}, and should be {doubt}"));
        }
    }
}

/// With each key one closure at a time.
fn crowds_of_keys() -> Vec<Arc<Crowd>> {
    (0..5).map(|_| Crowd::new("a key", 1)).collect()
}

/// What all pools of the program have in common.
pub(crate) fn pool_builder() -> PoolBuilder {
    Pool::builder().thread_states(!TIME_ALONE.load(Ordering::Relaxed))
}

/// Settings with the hooks that count.
pub(crate) fn builder(name: &'static str, settings: &Settings, dice: &mut Dice) -> (PoolBuilder, Arc<Hands>) {
    let threads = Crowd::new("threads", settings.max);
    let hands = Hands { threads, asked: AtomicU64::new(0), refused: AtomicU64::new(0) };
    let hands = Arc::new(hands);
    let (seed, refuse_one_in) = (dice.next(), settings.refuse_one_in);
    let (made, begun, ended) = (Arc::clone(&hands), Arc::clone(&hands.threads), Arc::clone(&hands.threads));
    let mut builder = pool_builder()
        .name(name)
        .core_threads(settings.core)
        .max_threads(settings.max)
        .keep_alive(settings.keep_alive)
        .on_thread_start(move || begun.enter())
        .on_thread_stop(move || ended.leave())
        .spawn_handler(move |new| {
            let number = made.asked.fetch_add(1, Ordering::Relaxed);
            made.make(new, Dice::new(seed.wrapping_add(number)), refuse_one_in)
        });
    if let Some(limit) = settings.queue_limit {
        builder = builder.queue_limit(limit);
    }
    if settings.propagates {
        builder = builder.propagate(|| {
            let here = thread::current().id();
            move |run: &mut dyn FnMut()| {
                run();
                let _ = here;
            }
        });
    }
    (builder, hands)
}
