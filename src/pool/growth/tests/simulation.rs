//! Pools that exist on paper only: threads, CPUs, a lock and a clock, and the policy that decides when they grow.

use super::*;

/// How finely time passes, in microseconds.
const STEP: u64 = 10;
/// From the wish for a thread to its first task; threads are started one after the other.
const START: u64 = 20;

/// What every task of a simulated pool does.
#[derive(Clone, Copy)]
struct Work {
    /// Microseconds on a CPU.
    cpu: u64,
    /// Microseconds asleep afterwards.
    sleep: u64,
    /// Whether the part on the CPU needs the one lock.
    locked: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Doing {
    Starting { until: u64 },
    Looking,
    OnCpu { left: u64 },
    Queueing,
    Asleep { until: u64 },
}

struct Thread {
    doing: Doing,
    /// The number of the task it is in, and what that was at the last look.
    task: u64,
    seen: u64,
}

struct Simulated {
    limits: Limits,
    cpus: usize,
    work: Work,
    queued: u64,
    now: u64,
    threads: Vec<Thread>,
    lock_taken: bool,
    completed: u64,
    started: u64,
    cpu_used: u64,
    turn: usize,
    steps: Vec<Cause>,
}

impl Simulated {
    fn new(limits: Limits, cpus: usize, queued: u64, work: Work) -> Self {
        let thread = || Thread { doing: Doing::Looking, task: 0, seen: 0 };
        Simulated {
            limits,
            cpus,
            work,
            queued,
            now: 0,
            threads: (0..limits.core).map(|_| thread()).collect(),
            lock_taken: false,
            completed: 0,
            started: 0,
            cpu_used: 0,
            turn: 0,
            steps: Vec::new(),
        }
    }

    fn count(&self, doing: impl Fn(Doing) -> bool) -> usize {
        self.threads.iter().filter(|thread| doing(thread.doing)).count()
    }

    fn begin(&mut self, index: usize) {
        if self.queued == 0 {
            return;
        }
        self.queued -= 1;
        self.started += 1;
        let must_queue = self.work.locked && std::mem::replace(&mut self.lock_taken, true);
        let thread = &mut self.threads[index];
        thread.task = self.started;
        thread.doing = if must_queue { Doing::Queueing } else { Doing::OnCpu { left: self.work.cpu } };
    }

    /// The part on the CPU is over.
    fn leave_cpu(&mut self, index: usize) {
        if self.work.locked {
            let queueing = self.threads.iter_mut().filter(|thread| thread.doing == Doing::Queueing);
            let next = queueing.min_by_key(|thread| thread.task);
            self.lock_taken = next.is_some();
            if let Some(next) = next {
                next.doing = Doing::OnCpu { left: self.work.cpu };
            }
        }
        if self.work.sleep > 0 {
            self.threads[index].doing = Doing::Asleep { until: self.now + self.work.sleep };
        } else {
            self.completed += 1;
            self.threads[index].doing = Doing::Looking;
        }
    }

    fn wake(&mut self) {
        let now = self.now;
        for thread in &mut self.threads {
            match thread.doing {
                Doing::Starting { until } if until <= now => thread.doing = Doing::Looking,
                Doing::Asleep { until } if until <= now => {
                    self.completed += 1;
                    thread.doing = Doing::Looking;
                }
                _ => {}
            }
        }
    }

    /// `STEP` microseconds on one CPU for one thread.
    fn compute(&mut self, index: usize) {
        let mut budget = STEP;
        while budget > 0 {
            match self.threads[index].doing {
                Doing::Looking if self.queued > 0 => self.begin(index),
                Doing::OnCpu { left } => {
                    let used = left.min(budget);
                    budget -= used;
                    self.cpu_used += used;
                    self.threads[index].doing = Doing::OnCpu { left: left - used };
                    if left == used {
                        self.leave_cpu(index);
                    }
                }
                _ => return,
            }
        }
    }

    /// Lets `STEP` microseconds pass.
    fn pass(&mut self) {
        self.now += STEP;
        self.wake();
        let count = self.threads.len();
        // A thread keeps its CPU for a millisecond, then it is the next one's turn.
        self.turn = (self.now / 1000) as usize % count;
        let mut busy = 0;
        for offset in 0..count {
            let index = (self.turn + offset) % count;
            let ready = match self.threads[index].doing {
                Doing::Looking => self.queued > 0,
                Doing::OnCpu { .. } => true,
                _ => false,
            };
            if ready && busy < self.cpus {
                busy += 1;
                self.compute(index);
            }
        }
    }

    /// What a perfect monitor sees.
    fn look(&mut self, elapsed: Duration, completed: u64, cpu_used: u64) -> Sample {
        let idle = self.count(|doing| doing == Doing::Looking);
        let starting = self.count(|doing| matches!(doing, Doing::Starting { .. }));
        let asleep = |thread: &Thread| matches!(thread.doing, Doing::Asleep { .. } | Doing::Queueing);
        let blocked =
            self.threads.iter().filter(|thread| asleep(thread) && thread.task == thread.seen).count();
        let sleepers = self.threads.iter().filter(|thread| asleep(thread)).count();
        for thread in &mut self.threads {
            thread.seen = thread.task;
        }
        let threads = self.threads.len() - starting;
        let share = sleepers as f64 / threads.saturating_sub(idle).max(1) as f64;
        let micros = elapsed.as_micros() as f64;
        Sample {
            elapsed,
            queued: self.queued,
            completed: self.completed - completed,
            threads,
            starting,
            idle: if self.queued > 0 { 0 } else { idle },
            blocked,
            certain: true,
            usage: Some(Usage { cpus: (self.cpu_used - cpu_used) as f64 / micros, asleep: share }),
            ..Sample::default()
        }
    }

    fn grow(&mut self, threads: usize, cause: Cause) {
        self.steps.push(cause);
        for number in 0..threads {
            let until = self.now + START * (number as u64 + 1);
            self.threads.push(Thread { doing: Doing::Starting { until }, task: 0, seen: 0 });
        }
        assert!(self.threads.len() <= self.limits.max);
    }

    /// Runs until `done`, with the policy if `elastic`. Gives the time in milliseconds.
    fn run(&mut self, elastic: bool, done: impl Fn(&Simulated) -> bool) -> f64 {
        let mut state = State::new();
        while !done(self) {
            let (start, completed, cpu_used) = (self.now, self.completed, self.cpu_used);
            while self.now - start < state.tick.as_micros() as u64 {
                self.pass();
            }
            let sample = self.look(Duration::from_micros(self.now - start), completed, cpu_used);
            let verdict;
            (state, verdict) = decide(self.limits, state, &sample);
            if let (true, Verdict::Grow(threads, cause)) = (elastic, verdict) {
                self.grow(threads, cause);
            }
            assert!(self.now < 600_000_000, "ten minutes have passed: {} tasks are queued", self.queued);
        }
        self.now as f64 / 1000.0
    }
}

fn all_done(pool: &Simulated) -> bool {
    pool.queued == 0 && pool.completed == pool.started
}

fn limits(core: usize) -> Limits {
    Limits { core, max: 512 }
}

#[test]
fn case_3_all_512_long_blockers_run_after_a_few_steps() {
    let sleep = Work { cpu: 1, sleep: 10_000_000, locked: false };
    for (core, steps) in [(8, 3), (2, 4)] {
        let mut pool = Simulated::new(limits(core), core, 512, sleep);
        let millis = pool.run(true, |pool| pool.queued == 0);
        assert_eq!(pool.threads.len(), 512);
        // A step may be taken while the last threads of the one before are still starting.
        assert!((steps..steps + 2).contains(&pool.steps.len()), "{:?} from {core}", pool.steps);
        assert!(pool.steps.iter().all(|&cause| cause == Cause::Hard), "{:?}", pool.steps);
        assert!(millis < 20.0, "{millis} ms from {core}");
    }
}

#[test]
fn case_1_tiny_tasks_do_not_grow_it() {
    for (core, cpus) in [(2, 2), (8, 8), (8, 2), (2, 1)] {
        let tiny = Work { cpu: 1, sleep: 0, locked: false };
        let mut pool = Simulated::new(limits(core), cpus, 100_000, tiny);
        pool.run(true, all_done);
        assert_eq!(pool.threads.len(), core, "core {core} on {cpus} CPUs: {:?}", pool.steps);
    }
}

/// The most threads there are while `count` tasks pass through one lock and hold it for `hold` microseconds each.
fn convoy(core: usize, hold: u64, count: u64) -> (usize, Vec<Cause>) {
    let mut pool = Simulated::new(limits(core), 2, count, Work { cpu: hold, sleep: 0, locked: true });
    pool.run(true, all_done);
    (pool.threads.len(), pool.steps)
}

#[test]
fn case_2_a_lock_convoy_is_not_worth_growing() {
    for core in [2, 4, 8] {
        for hold in [5, 10, 20, 30, 40, 60] {
            let (threads, steps) = convoy(core, hold, 500);
            assert!(threads <= 2 * core, "{threads} threads of {core}, held for {hold} us: {steps:?}");
        }
        let (threads, steps) = convoy(core, 30, 3000);
        assert!(threads <= 2 * core, "{threads} threads of {core} within 90 ms: {steps:?}");
    }
}

#[test]
fn case_2_a_lock_convoy_does_not_creep_up_to_max() {
    for core in [2, 8] {
        let (threads, steps) = convoy(core, 30, 33_333);
        assert!(threads <= 4 * core, "{threads} threads of {core} within a second: {steps:?}");
    }
    // Two threads take turns well enough; eight do not.
    let (threads, steps) = convoy(8, 20, 50_000);
    assert!(threads <= 32, "{threads} threads of 8 within a second: {steps:?}");
}

#[test]
fn case_4_short_blocking_calls_are_worth_it() {
    for core in [2, 8] {
        let call = Work { cpu: 2, sleep: 200, locked: false };
        let fixed = Simulated::new(limits(core), core, 10_000, call).run(false, all_done);
        let mut pool = Simulated::new(limits(core), core, 10_000, call);
        let elastic = pool.run(true, all_done);
        assert!(pool.threads.len() >= 4 * core, "{} threads of {core}", pool.threads.len());
        assert!(4.0 * elastic <= fixed, "{elastic} ms against {fixed} ms with {core} threads");
        assert!(pool.steps.contains(&Cause::Soft));
    }
}

#[test]
fn case_5_long_computations_add_a_thread_now_and_then() {
    let compute = Work { cpu: 200_000, sleep: 0, locked: false };
    let mut pool = Simulated::new(limits(8), 8, 200, compute);
    pool.run(true, all_done);
    assert!(pool.threads.len() <= 16, "{} threads", pool.threads.len());
    let longer = Work { cpu: 2_000_000, sleep: 0, locked: false };
    let mut pool = Simulated::new(limits(8), 8, 100, longer);
    let millis = pool.run(true, |pool| pool.queued == 0);
    let most = 16.0 + millis / 500.0 + 1.0;
    assert!(pool.threads.len() as f64 <= most, "{} threads in {millis} ms", pool.threads.len());
    assert!(pool.steps.iter().all(|&cause| cause == Cause::Liveness));
}

#[test]
fn medium_sleeps_overshoot_no_further_than_the_queue() {
    let sleep = Work { cpu: 1, sleep: 2000, locked: false };
    let mut pool = Simulated::new(limits(8), 8, 40, sleep);
    pool.run(true, all_done);
    assert!(pool.threads.len() <= 40, "{} threads for 40 tasks", pool.threads.len());
}
