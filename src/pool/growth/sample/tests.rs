//! The sampler on a pool whose threads are under control.
#![expect(clippy::unwrap_used, reason = "in a test, helpers included, an unwrap is an assertion")]

mod attacks;
mod lagging;
mod tokens;

use super::*;
use crate::pool::Pool;
use crate::pool::growth::detect::{Certainty, Subject};
use crate::pool::growth::monitor::view;
use crate::pool::growth::survey::ASKED;
use std::collections::HashSet;
use std::sync::{Arc, mpsc};
use std::time::Instant;

/// Reaching it is a failure, never a measurement.
const LIMIT: Duration = Duration::from_secs(60);
/// Enough for every detector to be patient.
const LOOKS: u32 = 4;

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "it never happened: {what}");
        std::thread::yield_now();
    }
}

/// Answers the question of this number.
type Rule = fn(usize) -> Option<bool>;

/// Answers by the test's rule, and records which threads it was asked about.
#[derive(Debug)]
struct Oracle {
    answer: Rule,
    certainty: Certainty,
    asked: Arc<crate::sync::Mutex<Vec<String>>>,
}

impl Oracle {
    fn new(certain: bool, answer: Rule) -> Box<Self> {
        Oracle::of_certainty(if certain { Certainty::Fact } else { Certainty::Guess }, answer)
    }

    fn of_certainty(certainty: Certainty, answer: Rule) -> Box<Self> {
        Box::new(Oracle { answer, certainty, asked: Arc::new(crate::sync::Mutex::new(Vec::new())) })
    }
}

impl Detector for Oracle {
    fn is_asleep(&self, subject: &Subject<'_>) -> Option<bool> {
        let mut asked = self.asked.lock();
        asked.push(format!("{:?}", subject.key));
        (self.answer)(asked.len())
    }

    fn certainty(&self, _: &Subject<'_>) -> Certainty {
        self.certainty
    }
}

/// A pool of `count` threads that are all inside a task, with one task more queued, and room for
/// another thread; only the test looks and decides.
struct Full {
    pool: Pool,
    gates: Vec<mpsc::Sender<()>>,
}

impl Full {
    fn new(count: usize) -> Self {
        Full::with(count, |gate| {
            let _ = gate.recv();
        })
    }

    fn with(count: usize, job: fn(mpsc::Receiver<()>)) -> Self {
        let pool = Pool::builder().core_threads(count).max_threads(count).build().unwrap();
        eventually("the first thread rests", || pool.metrics().threads_idle() == 1);
        let mut gates = Vec::new();
        for number in 1..=count {
            let (open, gate) = mpsc::channel();
            let (inside, entered) = mpsc::channel();
            gates.push(open);
            let task = move || {
                inside.send(()).unwrap();
                job(gate);
            };
            pool.spawn(task).detach();
            entered.recv().unwrap();
            assert_eq!(pool.metrics().threads(), number);
        }
        // A monitor would share the last samples with the test's sampler, and another thread would
        // take the task: there is room for one only when none can be started any more, since the
        // monitor may be in the middle of a look.
        pool.inner.growth.monitor().stop();
        pool.inner.threads.backoff().begin_for_ever(std::io::Error::other("the test looks by itself"));
        pool.set_max_threads(count + 1).unwrap();
        pool.spawn(|| ()).detach();
        Full { pool, gates }
    }

    fn look(&self, sampler: &mut Sampler) -> Sample {
        sampler.look(view(&self.pool.inner), Duration::from_micros(500))
    }

    /// Makes the next look the first. The monitor may have looked before it was stopped.
    fn forget_samples(&self) {
        let records = self.pool.inner.engine.workers.records();
        records.iter().for_each(|record| *record.last_sample.lock() = LastSample::default());
    }

    /// The key of one of the threads.
    fn key_of_one(&self) -> ThreadKey {
        let records = self.pool.inner.engine.workers.records();
        records.first().unwrap().key.clone()
    }

    /// Looks often enough for every detector to be patient.
    fn look_long(&self, detectors: Vec<Box<dyn Detector>>) -> Sample {
        let mut sampler = Sampler::new(detectors, true);
        for _ in 0..=LOOKS {
            let _ = self.look(&mut sampler);
        }
        self.look(&mut sampler)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        self.gates.clear();
        self.pool.shutdown().wait();
    }
}

#[test]
fn the_first_sampler_that_knows_answers() {
    let full = Full::new(4);
    let silent = || Oracle::new(true, |_| None);
    let sample = full.look_long(vec![silent(), silent(), Oracle::new(true, |_| Some(true))]);
    assert_eq!((sample.blocked, sample.certain), (4, true));
    let sample = full.look_long(vec![Oracle::new(true, |_| Some(false)), Oracle::new(false, |_| Some(true))]);
    assert_eq!((sample.blocked, sample.certain), (0, true), "it is not overruled");
    let sample = full.look_long(vec![silent(), Oracle::new(false, |_| Some(true))]);
    assert_eq!((sample.blocked, sample.certain), (4, false), "a guess is called one");
    let sample = full.look_long(vec![silent()]);
    assert_eq!(sample.blocked, 0, "no detector knows: no evidence");
    // The detectors of a system that hides its processes and has no clocks for threads.
    eventually("a CPU is to spare", || {
        let sample = full.look_long(vec![silent(), silent(), Box::new(TimeAlone)]);
        assert!(!sample.certain);
        sample.blocked == 4
    });
}

#[test]
fn one_guess_among_facts_makes_the_answer_a_guess() {
    let full = Full::new(4);
    let sometimes = Oracle::new(true, |count| (count % 4 != 0).then_some(true));
    let sample = full.look_long(vec![sometimes, Oracle::new(false, |_| Some(true))]);
    assert_eq!((sample.blocked, sample.certain), (4, false));
}

#[test]
fn only_who_has_been_in_one_task_since_the_last_look_is_blocked() {
    let full = Full::new(3);
    full.forget_samples();
    let mut sampler = Sampler::new(vec![Oracle::new(true, |_| Some(true))], true);
    assert_eq!(full.look(&mut sampler).blocked, 0, "asleep, but perhaps only just");
    assert_eq!(full.look(&mut sampler).blocked, 3);
}

#[test]
fn eight_are_asked_and_stand_for_the_others() {
    let full = Full::new(12);
    let oracle = Oracle::new(true, |count| Some(count % 2 == 0));
    let asked = Arc::clone(&oracle.asked);
    let mut sampler = Sampler::new(vec![oracle], true);
    let first = full.look(&mut sampler);
    assert_eq!(first.blocked, 0, "no look has seen a thread in its task before");
    let second = full.look(&mut sampler);
    assert_eq!(second.blocked, 6);
    let has_clocks = full.key_of_one().cpu_time().is_some();
    assert_eq!(second.usage.map(|usage| usage.asleep), has_clocks.then_some(0.5));
    let asked = asked.lock().clone();
    assert_eq!(asked.len(), 2 * ASKED);
    let different: HashSet<_> = asked.iter().collect();
    assert_eq!(different.len(), 12, "the second look asks about those the first left out");
    assert_eq!((second.threads, second.queued, second.idle), (12, 1, 0));
}

#[test]
fn one_that_is_awake_is_found_among_the_others() {
    let full = Full::new(12);
    // Eight in each look, and in the second look the four others, of which the first is awake.
    let mut sampler = Sampler::new(vec![Oracle::new(true, |count| Some(count != 17))], true);
    let _ = full.look(&mut sampler);
    let second = full.look(&mut sampler);
    assert_eq!((second.blocked, second.starved), (11, true));
}

#[test]
fn shares_are_rounded_and_all_is_all() {
    let full = Full::new(9);
    let answers: [(Rule, usize); 4] = [
        (|_| Some(true), 9),
        (|_| Some(false), 0),
        (|count| Some(count % ASKED == 0), 1),
        (|count| Some(count % ASKED != 0), 8),
    ];
    for (answer, blocked) in answers {
        full.forget_samples();
        let mut sampler = Sampler::new(vec![Oracle::new(true, answer)], true);
        let _ = full.look(&mut sampler);
        assert_eq!(full.look(&mut sampler).blocked, blocked);
    }
}

#[test]
fn who_was_asked_before_is_remembered() {
    let full = Full::new(16);
    // The first eight answers of each kind, and then those of the other eight threads.
    let mut sampler = Sampler::new(vec![Oracle::new(true, |count| Some(count <= 16 || count > 25))], true);
    let blocked: Vec<_> = (0..3).map(|_| full.look(&mut sampler).blocked).collect();
    assert_eq!(blocked, [0, 15, 8], "eight sleep and stand for all, one of whom is awake; the others do not");
}

#[test]
fn declared_threads_are_not_asked_about() {
    let full = Full::with(3, |gate| {
        crate::current::will_block(|| {
            let _ = gate.recv();
        });
    });
    eventually("all have declared", || full.pool.metrics().threads_blocked() == 3);
    let oracle = Oracle::new(true, |_| Some(true));
    let asked = Arc::clone(&oracle.asked);
    let sample = full.look_long(vec![oracle]);
    assert_eq!((sample.declared, sample.blocked), (3, 0));
    assert!(asked.lock().is_empty());
}

#[test]
fn no_thread_is_asked_while_nothing_waits() {
    let pool = Pool::builder().core_threads(2).build().unwrap();
    pool.spawn(|| ()).wait().unwrap();
    let oracle = Oracle::new(true, |_| Some(true));
    let asked = Arc::clone(&oracle.asked);
    let mut sampler = Sampler::new(vec![oracle], true);
    for _ in 0..10 {
        let sample = sampler.look(view(&pool.inner), Duration::from_micros(500));
        assert_eq!((sample.queued, sample.blocked), (0, 0));
    }
    assert!(asked.lock().is_empty());
}

#[test]
fn the_standard_sampler_knows_sleepers() {
    let full = Full::new(3);
    if full.key_of_one().cpu_time().is_none() {
        return; // Time alone is never certain.
    }
    let mut sampler = Sampler::of(full.pool.inner.config.thread_states);
    let mut last = Instant::now();
    let mut look = || {
        let before = std::mem::replace(&mut last, Instant::now());
        sampler.look(view(&full.pool.inner), last - before)
    };
    eventually("three sleep and use no CPU", || {
        // Where the test has lost its CPU between two looks, the threads have been in their tasks
        // for too long to say anything of short ones.
        if ThreadKey::LAG.is_zero() {
            full.forget_samples();
            let _ = look();
        }
        let sample = look();
        // A clock that lags does not show how much CPU they use.
        let drowsy = match sample.usage {
            Some(usage) => usage.cpus < 0.1 && usage.asleep == 1.0,
            None => !ThreadKey::LAG.is_zero(),
        };
        sample.blocked == 3 && sample.certain && drowsy
    });
}

#[test]
fn the_standard_sampler_knows_spinners() {
    let full = Full::with(2, |gate| while gate.try_recv() == Err(mpsc::TryRecvError::Empty) {});
    if full.key_of_one().cpu_time().is_none() {
        return; // Time alone takes them for sleepers while a CPU is idle.
    }
    let mut sampler = Sampler::of(full.pool.inner.config.thread_states);
    let mut last = Instant::now();
    let (mut looks, mut used) = (0, 0.0);
    let is_exact = ThreadKey::LAG.is_zero();
    eventually("they use a CPU", || {
        let now = Instant::now();
        let sample = sampler.look(view(&full.pool.inner), now - last);
        last = now;
        // Where the system reports CPU time alone, a spinner without a CPU is no different from a
        // sleeper; those that have one are occupied.
        if !is_exact {
            looks += u32::from(sample.certain && sample.blocked == 0 && sample.occupied == 2);
            return looks > 20;
        }
        assert_eq!(sample.blocked, 0, "running or waiting for a CPU");
        assert!(sample.usage.is_none_or(|usage| usage.cpus <= 2.001 && usage.asleep == 0.0));
        used += sample.usage.map_or(0.0, |usage| usage.cpus);
        looks += 1;
        looks > 200 && used > 1.0
    });
}

/// Unless it is the only thread that the pool may have: that would get it back.
#[test]
fn a_stalled_thread_gives_its_deque_away() {
    for max in [1, 2] {
        gives_its_deque_away(max);
    }
}

fn gives_its_deque_away(max: usize) {
    let pool = Pool::builder().core_threads(1).max_threads(max).build().unwrap();
    eventually("the thread rests", || pool.metrics().threads_idle() == 1);
    pool.inner.growth.monitor().stop();
    let (open, gate) = mpsc::channel::<()>();
    let (inside, entered) = mpsc::channel();
    let inner = pool.clone();
    let task = pool.spawn(move || {
        for _ in 0..100 {
            inner.spawn(|| ()).detach();
        }
        inside.send(()).unwrap();
        let _ = gate.recv();
    });
    entered.recv().unwrap();
    let injector_is_empty = || pool.inner.engine.queues.looks_empty(None);
    assert!(injector_is_empty(), "they are in the deque");
    let mut sampler = Sampler::new(Vec::new(), true);
    let _ = sampler.look(view(&pool.inner), Duration::from_micros(500));
    assert!(injector_is_empty(), "one look does not show a stall");
    let sample = sampler.look(view(&pool.inner), Duration::from_micros(500));
    assert_eq!(injector_is_empty(), max == 1, "where all find them");
    assert_eq!(sample.queued, 100);
    drop(open);
    task.wait().unwrap();
    assert_eq!(pool.shutdown().wait().discarded, 0);
}

#[test]
fn a_look_counts_the_ends_since_the_last() {
    let pool = Pool::builder().core_threads(2).build().unwrap();
    let mut sampler = Sampler::new(Vec::new(), true);
    let _ = sampler.look(view(&pool.inner), Duration::from_micros(500));
    for _ in 0..5 {
        pool.spawn(|| ()).wait().unwrap();
    }
    assert!(pool.spawn(|| panic!("this one ends as well")).wait().is_err());
    assert_eq!(sampler.look(view(&pool.inner), Duration::from_micros(500)).completed, 6);
    assert_eq!(sampler.look(view(&pool.inner), Duration::from_micros(500)).completed, 0);
}

/// A task that has computed, and sleeps by now, does not keep other tasks of its lane from a
/// thread: it needs no thread that computes.
#[test]
#[cfg(target_os = "linux")]
fn a_lane_whose_thread_sleeps_calls_for_another() {
    let pool = Pool::builder().core_threads(1).max_threads(2).build().unwrap();
    eventually("the first thread rests", || pool.metrics().threads_idle() == 1);
    pool.inner.growth.monitor().stop();
    pool.inner.threads.backoff().begin_for_ever(std::io::Error::other("the test looks by itself"));
    let lane = pool.lane("lane", 2);
    let (open, gate) = mpsc::channel::<()>();
    let (rest, wait) = mpsc::channel::<()>();
    let own = lane.spawn(move || {
        while wait.try_recv() == Err(mpsc::TryRecvError::Empty) {
            std::hint::spin_loop();
        }
        let _ = gate.recv();
    });
    let other = lane.spawn(|| ());
    let mut sampler = Sampler::new(vec![Box::new(crate::pool::growth::detect::ThreadState)], true);
    let mut look = || sampler.look(view(&pool.inner), Duration::from_micros(500));
    eventually("it is occupied", || look().occupied == 1);
    assert!(!look().calls, "it would be taken by a computation of its own kind");
    drop(rest);
    eventually("it sleeps", || look().blocked == 1);
    let calls = (0..10).any(|_| look().calls);
    drop(open);
    own.wait().unwrap();
    other.wait().unwrap();
    assert!(calls, "a thread that sleeps takes no thread from it");
}

/// A thread that computes in a callback does not come soon, whatever token it holds.
#[test]
#[cfg(target_os = "linux")]
fn a_token_of_a_thread_that_computes_in_a_callback_does_not_count() {
    let pool = Pool::builder().core_threads(1).max_threads(2).build().unwrap();
    eventually("the first thread rests", || pool.metrics().threads_idle() == 1);
    pool.inner.growth.monitor().stop();
    pool.inner.threads.backoff().begin_for_ever(std::io::Error::other("the test looks by itself"));
    let (open, gate) = mpsc::channel::<()>();
    let (inside, entered) = mpsc::channel();
    let (begin, begun) = mpsc::channel::<()>();
    let task = pool.spawn(move || {
        let _ = begun.recv();
    });
    task.on_complete(move |_| {
        inside.send(()).unwrap();
        while gate.try_recv() == Err(mpsc::TryRecvError::Empty) {
            std::hint::spin_loop();
        }
    });
    drop(begin);
    entered.recv().unwrap();
    let other = pool.spawn(|| ());
    let mut sampler = Sampler::of(pool.inner.config.thread_states);
    let mut look = || sampler.look(view(&pool.inner), Duration::from_micros(500));
    assert_eq!(look().delivering, 1);
    eventually("it is occupied", || look().occupied == 1);
    assert_eq!(look().delivering, 0);
    drop(open);
    other.wait().unwrap();
}
