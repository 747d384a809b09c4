//! Simulated pools: threads, CPUs, a lock, a lane and a clock, and the real policy that decides
//! when they grow.

use std::collections::VecDeque;

use super::*;

/// From the request for a thread to its first task, in microseconds; threads start one after
/// another.
const START: u64 = 20;
/// An occupied thread has been in one task for so long, and one that computes for long.
const OCCUPIED: u64 = 4_000;
const LONG: u64 = 10_000;

/// What a task of a simulated pool does.
#[derive(Clone, Copy)]
pub(super) struct Work {
    /// Microseconds on a CPU.
    pub(super) cpu: u64,
    /// Microseconds asleep afterwards.
    pub(super) sleep: u64,
    /// Whether the part on the CPU needs the one lock.
    pub(super) locked: bool,
    /// How often the task repeats both parts.
    pub(super) rounds: u32,
}

impl Work {
    pub(super) const fn new(cpu: u64, sleep: u64) -> Self {
        Work { cpu, sleep, locked: false, rounds: 1 }
    }

    pub(super) const fn locked(hold: u64) -> Self {
        Work { cpu: hold, sleep: 0, locked: true, rounds: 1 }
    }
}

/// The kind of a task.
#[derive(Clone, Copy, PartialEq)]
enum Owner {
    Pool,
    /// A short call whose wait is measured.
    Caller,
    Lane,
}

#[derive(Clone, Copy)]
struct Task {
    owner: Owner,
    work: Work,
    /// When it was queued.
    since: u64,
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
    owner: Owner,
    work: Work,
    rounds: u32,
    /// When the task began, and how much CPU it has used.
    begun: u64,
    used: u64,
}

impl Thread {
    fn new(doing: Doing) -> Self {
        let work = Work::new(0, 0);
        Thread { doing, task: 0, seen: 0, owner: Owner::Pool, work, rounds: 0, begun: 0, used: 0 }
    }

    fn is_asleep(&self) -> bool {
        matches!(self.doing, Doing::Asleep { .. } | Doing::Queueing)
    }
}

pub(super) struct Simulated {
    limits: Limits,
    cpus: usize,
    /// How finely time passes, in microseconds.
    step: u64,
    /// Whether the monitor sees who sleeps.
    pub(super) certain: bool,
    queue: VecDeque<Task>,
    /// The interval, in microseconds, at which a short call is queued.
    calls: Option<u64>,
    /// How many times an entry of the lane is queued again.
    lane_left: u64,
    pub(super) now: u64,
    threads: Vec<Thread>,
    lock_taken: bool,
    completed: u64,
    started: u64,
    cpu_used: u64,
    spare: u32,
    /// The time of the last step of E2, and the number of the last task that was queued then.
    last_step: Option<(u64, u64)>,
    turn: usize,
    pub(super) steps: Vec<Cause>,
    /// How long the short calls waited, in microseconds.
    pub(super) waits: Vec<u64>,
}

impl Simulated {
    pub(super) fn new(limits: Limits, cpus: usize, queued: u64, work: Work) -> Self {
        let mut pool = Simulated {
            limits: Limits { cpus, ..limits },
            cpus,
            step: 10,
            certain: true,
            queue: VecDeque::new(),
            calls: None,
            lane_left: 0,
            now: 0,
            threads: (0..limits.core).map(|_| Thread::new(Doing::Looking)).collect(),
            lock_taken: false,
            completed: 0,
            started: 0,
            cpu_used: 0,
            spare: 0,
            last_step: None,
            turn: 0,
            steps: Vec::new(),
            waits: Vec::new(),
        };
        (0..queued).for_each(|_| pool.submit(Owner::Pool, work));
        pool
    }

    /// A pool in which time passes in steps of 100 microseconds, for long simulations.
    pub(super) fn coarse(mut self) -> Self {
        self.step = 100;
        self
    }

    /// With a short call every so many microseconds.
    pub(super) fn with_calls(mut self, every: u64) -> Self {
        self.calls = Some(every);
        self
    }

    /// With so many other tasks in front of what is queued.
    pub(super) fn behind(mut self, count: u64, work: Work) -> Self {
        let since = self.now;
        (0..count).for_each(|_| self.queue.push_front(Task { owner: Owner::Pool, work, since }));
        self
    }

    /// With a lane of this limit, kept full for so many tasks.
    pub(super) fn with_lane(mut self, limit: u64, tasks: u64, work: Work) -> Self {
        (0..limit).for_each(|_| self.submit(Owner::Lane, work));
        self.lane_left = tasks - limit;
        self
    }

    /// By time alone.
    pub(super) fn by_time_alone(mut self) -> Self {
        self.certain = false;
        self
    }

    /// Queues so many tasks more, once the monitor has rested.
    pub(super) fn resume_with(&mut self, count: u64, work: Work) {
        self.last_step = None;
        (0..count).for_each(|_| self.submit(Owner::Pool, work));
    }

    fn submit(&mut self, owner: Owner, work: Work) {
        self.queue.push_back(Task { owner, work, since: self.now });
    }

    pub(super) fn threads(&self) -> usize {
        self.threads.len()
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    fn count(&self, doing: impl Fn(Doing) -> bool) -> usize {
        self.threads.iter().filter(|thread| doing(thread.doing)).count()
    }

    fn begin(&mut self, index: usize) {
        let Some(task) = self.queue.pop_front() else { return };
        if task.owner == Owner::Caller {
            self.waits.push(self.now - task.since);
        }
        self.started += 1;
        let thread = &mut self.threads[index];
        (thread.task, thread.owner, thread.work) = (self.started, task.owner, task.work);
        (thread.rounds, thread.begun, thread.used) = (task.work.rounds, self.now, 0);
        self.enter_cpu(index);
    }

    fn enter_cpu(&mut self, index: usize) {
        let thread = &mut self.threads[index];
        let must_queue = thread.work.locked && std::mem::replace(&mut self.lock_taken, true);
        thread.doing = if must_queue { Doing::Queueing } else { Doing::OnCpu { left: thread.work.cpu } };
    }

    /// The part on the CPU is over.
    fn leave_cpu(&mut self, index: usize) {
        if self.threads[index].work.locked {
            let queueing = self.threads.iter_mut().filter(|thread| thread.doing == Doing::Queueing);
            let next = queueing.min_by_key(|thread| thread.task);
            self.lock_taken = next.is_some();
            if let Some(next) = next {
                next.doing = Doing::OnCpu { left: next.work.cpu };
            }
        }
        let thread = &mut self.threads[index];
        if thread.work.sleep > 0 {
            thread.doing = Doing::Asleep { until: self.now + thread.work.sleep };
        } else {
            self.end_round(index);
        }
    }

    fn end_round(&mut self, index: usize) {
        let thread = &mut self.threads[index];
        thread.rounds -= 1;
        if thread.rounds > 0 {
            return self.enter_cpu(index);
        }
        self.completed += 1;
        thread.doing = Doing::Looking;
        if thread.owner == Owner::Lane && self.lane_left > 0 {
            // Others wait, and the task was long: the lane has its next turn behind them.
            let work = thread.work;
            self.lane_left -= 1;
            self.submit(Owner::Lane, work);
        }
    }

    fn wake(&mut self) {
        for index in 0..self.threads.len() {
            match self.threads[index].doing {
                Doing::Starting { until } if until <= self.now => self.threads[index].doing = Doing::Looking,
                Doing::Asleep { until } if until <= self.now => self.end_round(index),
                _ => {}
            }
        }
        if self.calls.is_some_and(|every| self.now.is_multiple_of(every)) {
            self.submit(Owner::Caller, Work::new(1, 0));
        }
    }

    /// One step on one CPU for one thread.
    fn compute(&mut self, index: usize) {
        let mut budget = self.step;
        while budget > 0 {
            match self.threads[index].doing {
                Doing::Looking if !self.queue.is_empty() => self.begin(index),
                Doing::OnCpu { left } => {
                    let used = left.min(budget);
                    budget -= used;
                    self.cpu_used += used;
                    self.threads[index].used += used;
                    self.threads[index].doing = Doing::OnCpu { left: left - used };
                    if left == used {
                        self.leave_cpu(index);
                    }
                }
                _ => return,
            }
        }
    }

    /// Lets a step pass. A thread that has just been woken gets a CPU first, as with real
    /// schedulers.
    fn pass(&mut self) {
        self.now += self.step;
        self.wake();
        let count = self.threads.len();
        // A thread keeps its CPU for a millisecond, then the next thread gets it.
        self.turn = (self.now / 1000) as usize * self.cpus % count;
        let mut busy = 0;
        for woken in [true, false] {
            for offset in 0..count {
                let index = (self.turn + offset) % count;
                let ready = match self.threads[index].doing {
                    Doing::Looking => woken && !self.queue.is_empty(),
                    Doing::OnCpu { .. } => !woken,
                    _ => false,
                };
                if ready && busy < self.cpus {
                    busy += 1;
                    self.compute(index);
                }
            }
        }
    }

    /// What a perfect monitor sees, or one that goes by time alone.
    fn look(&mut self, elapsed: Duration, completed: u64, cpu_used: u64) -> Sample {
        let idle = self.count(|doing| doing == Doing::Looking);
        let starting = self.count(|doing| matches!(doing, Doing::Starting { .. }));
        let sleepers = self.threads.iter().filter(|thread| thread.is_asleep()).count();
        let on_cpu = self.count(|doing| matches!(doing, Doing::OnCpu { .. }));
        self.spare = if !self.certain && on_cpu < self.cpus { self.spare + 1 } else { 0 };
        let seems_asleep = |thread: &Thread| {
            let same = thread.task > 0 && thread.task == thread.seen && thread.doing != Doing::Looking;
            same && if self.certain { thread.is_asleep() } else { self.spare >= 2 }
        };
        let blocked = self.threads.iter().filter(|thread| seems_asleep(thread)).count();
        let is_past = |thread: &Thread, limit: u64| {
            let held = self.now - thread.begun;
            let past =
                if self.certain { held >= limit && thread.used >= limit / 2 } else { held >= 5 * limit };
            !seems_asleep(thread) && matches!(thread.doing, Doing::OnCpu { .. }) && past
        };
        let occupied: Vec<_> = self.threads.iter().filter(|thread| is_past(thread, OCCUPIED)).collect();
        let in_lanes = occupied.iter().filter(|thread| thread.owner == Owner::Lane).count();
        let long =
            occupied.iter().filter(|thread| thread.owner != Owner::Lane && is_past(thread, LONG)).count();
        // A lane of which as many threads compute as the pool has core threads calls for no thread.
        let calls = |task: &&Task| task.owner != Owner::Lane || in_lanes < self.limits.core;
        let oldest = self.queue.iter().find(calls).map(|task| task.since);
        let threads = self.threads.len() - starting;
        let share = sleepers as f64 / threads.saturating_sub(idle).max(1) as f64;
        let micros = elapsed.as_micros() as f64;
        let usage = Usage { cpus: (self.cpu_used - cpu_used) as f64 / micros, asleep: share };
        let sample = Sample {
            elapsed,
            queued: self.queue.len() as u64,
            completed: self.completed - completed,
            threads,
            starting,
            idle: if self.queue.is_empty() { idle } else { 0 },
            blocked,
            fresh: self.last_step.filter(|&(_, last)| self.started < last).map(|(step, _)| {
                let inside = |thread: &&Thread| thread.task > 0 && thread.doing != Doing::Looking;
                let fresh = self.threads.iter().filter(inside).filter(|thread| thread.begun >= step);
                let blocked = fresh.clone().filter(|thread| seems_asleep(thread)).count();
                Fresh { threads: fresh.count(), blocked }
            }),
            occupied: occupied.len(),
            in_lanes,
            long,
            calls: oldest.is_some(),
            waited: oldest.map_or(Duration::ZERO, |since| Duration::from_micros(self.now - since)),
            certain: self.certain,
            spare: self.spare,
            usage: self.certain.then_some(usage),
            ..Sample::default()
        };
        for thread in &mut self.threads {
            thread.seen = thread.task;
        }
        sample
    }

    fn grow(&mut self, threads: usize, cause: Cause) {
        self.steps.push(cause);
        if cause == Cause::Hard {
            self.last_step = Some((self.now, self.started + self.queue.len() as u64));
        }
        for number in 0..threads {
            let until = self.now + START * (number as u64 + 1);
            self.threads.push(Thread::new(Doing::Starting { until }));
        }
        assert!(self.threads.len() <= self.limits.max);
    }

    /// Runs until `done`, with the policy if `elastic`. Returns the time in milliseconds.
    pub(super) fn run(&mut self, elastic: bool, done: impl Fn(&Simulated) -> bool) -> f64 {
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
            assert!(self.now < 600_000_000, "ten minutes have passed: {} tasks are queued", self.queue.len());
        }
        self.now as f64 / 1000.0
    }
}

pub(super) fn all_done(pool: &Simulated) -> bool {
    pool.queue.is_empty() && pool.completed == pool.started
}

pub(super) fn limits(core: usize) -> Limits {
    Limits { core, max: 512, cpus: core }
}
