//! One look at the pool: the input of the growth policy.

use std::sync::Arc;
use std::time::Duration;

use super::detect::{CpuClock, Detector, IdleCpu, LaggingClock, ThreadState, TimeAlone};
use super::survey::{ASKED_AGAIN, Inquiry, Seen};
use super::waiting::{PendingLane, Waiting};
use crate::counts::TaskCounts;
use crate::idle::IdleCounts;
use crate::numbers::NumberMap;
use crate::pool::threads::Threads;
use crate::sync::atomic::Ordering;
use crate::sys::thread_stat::{ThreadKey, ThreadStat};
use crate::worker::{Engine, LastSample, ThreadRecord};

/// A thread that has been in one task for so long, and has used so much CPU time there, is
/// occupied,
const OCCUPIED: [Duration; 2] = [Duration::from_millis(4), Duration::from_millis(2)];
/// and has computed for long by then.
const LONG: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(8)];
/// Where the system does not report its CPU time, a thread is occupied if it has been in one task
/// for so many times as long: a thread that got no CPU meanwhile looks no different.
const GUESSED: u32 = 5;
/// No more time of one look counts as time in a task: the process, or the machine, may have been
/// stopped.
pub(in crate::pool) const MOST_COUNTED: Duration = Duration::from_millis(5);

/// What the monitor has seen since its last look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) elapsed: Duration,
    /// Tasks that wait.
    pub(super) queued: u64,
    /// Tasks that have ended since the last look.
    pub(super) completed: u64,
    /// Threads, without those that are starting or leaving.
    pub(super) threads: usize,
    pub(super) starting: usize,
    pub(super) idle: usize,
    /// Threads that have declared that they block.
    pub(super) declared: usize,
    /// Threads found blocked, without declared ones.
    pub(super) blocked: usize,
    /// Most of the blocked threads wait for a timer, a peer or a child.
    pub(super) outside: bool,
    /// The threads that have begun their tasks since the last step of E2; `None` if there has been
    /// no such step, or nothing is queued any more that was then.
    pub(super) fresh: Option<Fresh>,
    /// Threads that have been in one task for long, without declared and blocked ones.
    pub(super) occupied: usize,
    /// Occupied threads whose task is of a lane.
    pub(super) in_lanes: usize,
    /// Occupied threads outside of lanes that have computed for longer.
    pub(super) long: usize,
    /// Whether a task waits that calls for a thread, and for how long such a task has waited.
    pub(super) calls: bool,
    pub(super) waited: Duration,
    /// A thread is ready to run and has had next to no CPU: one that has been in one task for as
    /// long, or one that searches while nothing moves.
    pub(super) starved: bool,
    /// Whether the evidence for `blocked` is more than the passing of time.
    pub(super) certain: bool,
    /// For how many looks a CPU has been idle; 0 where the evidence is certain without that.
    pub(super) spare: u32,
    /// Threads that hold a searching token: they will look into the queues as soon as they have a
    /// CPU.
    pub(super) searching: usize,
    /// Threads that hold a token inside a waker or a hook: they will look when that returns.
    pub(super) delivering: usize,
    /// Something has been queued for two looks, and nothing has moved.
    pub(super) stuck: bool,
    /// The CPUs that the threads use and the share of the threads that is asleep, where the system
    /// reports that.
    pub(super) usage: Option<Usage>,
    /// The system has just refused a thread: the pool makes no attempt for a while.
    pub(super) refused: bool,
}

/// Threads that have begun their tasks since the last step of E2, and those of them that are
/// blocked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fresh {
    pub(super) threads: usize,
    pub(super) blocked: usize,
}

/// How busy the active threads are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) cpus: f64,
    pub(super) asleep: f64,
}

/// What a sample is taken of.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) engine: &'a Engine,
    pub(super) threads: &'a Threads,
}

/// Takes samples, and remembers what it needs from the last one.
#[derive(Debug)]
pub(super) struct Sampler {
    detectors: Vec<Box<dyn Detector>>,
    /// Whether it reads the threads' CPU clocks.
    clocks: bool,
    /// For how long these may stand still while their threads compute.
    lag: Duration,
    /// Whether the last look had to guess who sleeps.
    guesses: bool,
    spare: IdleCpu,
    waiting: Waiting,
    /// For how long something has been queued, and no thread idle, without a break.
    queued_for: Duration,
    /// The last step of E2, while a task is still queued that was queued then.
    step: Option<HardStep>,
    /// The tasks that the last look found queued.
    queued: Queued,
    /// For how many looks nothing has moved.
    still: u32,
    /// What the threads of reserves had counted at the last look.
    reserved: TaskCounts,
    /// Advances from look to look, so that each look asks about other threads.
    turn: usize,
    /// Whether the last look has moved a deque into the injector: a thread is to look there.
    drained: bool,
    /// Room for the threads of the pool and for those of them that are inside a task, empty between
    /// two looks.
    room: (Vec<Arc<ThreadRecord>>, Vec<Seen>),
}

/// A step of E2.
#[derive(Clone, Copy, Debug)]
struct HardStep {
    age: Duration,
    /// Once so many tasks of the pool's own queues have been taken, and so many of lanes, none is
    /// queued any more that was queued at the step. Later tasks may be of another kind.
    own: u64,
    in_lanes: u64,
}

/// The tasks that were queued all the time while the tokens were counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queued {
    /// Tasks of the pool's own queues that had been submitted, those that have begun, and those
    /// that have been cancelled.
    pub(super) submitted: u64,
    pub(super) begun: u64,
    pub(super) cancelled: u64,
    /// Slots of lanes that are pending.
    pub(super) pending: u64,
    pub(super) counts: IdleCounts,
    pub(super) totals: TaskCounts,
}

impl Sampler {
    pub(super) fn new(detectors: Vec<Box<dyn Detector>>, clocks: bool) -> Self {
        Sampler {
            detectors,
            clocks,
            lag: ThreadKey::LAG,
            guesses: false,
            spare: IdleCpu::default(),
            waiting: Waiting::default(),
            queued_for: Duration::ZERO,
            step: None,
            queued: Queued::default(),
            still: 0,
            reserved: TaskCounts::default(),
            turn: 0,
            drained: false,
            room: (Vec::new(), Vec::new()),
        }
    }

    /// Makes room for `threads` threads, so that no look has to (A3 of `pool::threads`).
    pub(super) fn reserve(&mut self, threads: usize) {
        self.room.0.reserve(threads);
        self.room.1.reserve(threads);
    }

    /// A sampler that asks the system about the threads if the pool's settings allow that, by the
    /// surest detector first.
    pub(super) fn of(thread_states: bool) -> Self {
        if !thread_states {
            return Sampler { guesses: true, ..Sampler::new(vec![Box::new(TimeAlone)], false) };
        }
        let clock: Box<dyn Detector> =
            if ThreadKey::LAG.is_zero() { Box::new(CpuClock) } else { Box::new(LaggingClock) };
        Sampler::new(vec![Box::new(ThreadState), clock, Box::new(TimeAlone)], true)
    }

    /// Records where the threads are, for the next look to compare with.
    pub(super) fn start(&mut self, pool: View<'_>) {
        let queued = Queued::count(pool);
        let inside = self.inside(pool, Duration::ZERO);
        self.forget(inside);
        self.spare.look(false);
        self.waiting = Waiting::default();
        self.waiting.look_at_own(&queued, Duration::ZERO);
        (self.step, self.queued, self.still) = (None, queued, 0);
        self.queued_for = Duration::ZERO;
    }

    /// Whether the last look has moved tasks into the injector, where a thread must look for them.
    pub(super) fn take_drained(&mut self) -> bool {
        std::mem::take(&mut self.drained)
    }

    /// E2 has added threads.
    pub(super) fn note_step(&mut self) {
        let Queued { submitted, pending, .. } = self.queued;
        let in_lanes = self.queued.begun_in_lanes() + pending;
        self.step = Some(HardStep { age: Duration::ZERO, own: submitted, in_lanes });
    }

    /// Looks at the pool's threads.
    pub(super) fn look(&mut self, pool: View<'_>, elapsed: Duration) -> Sample {
        self.turn = self.turn.wrapping_add(1);
        let counted = elapsed.min(MOST_COUNTED);
        let queued = Queued::count(pool);
        let before = std::mem::replace(&mut self.queued, queued);
        let is_waiting = |step: &HardStep| {
            queued.begun + queued.cancelled < step.own || queued.begun_in_lanes() < step.in_lanes
        };
        self.step = self.step.filter(is_waiting);
        if let Some(step) = &mut self.step {
            step.age += counted;
        }
        let Queued { counts, totals, .. } = queued;
        // While nothing is queued the monitor asks about no thread: it does not know which threads
        // hold a token because they have no CPU.
        let same_tokens = queued.tokens() == before.tokens();
        // What threads of reserves do shows nothing of the others.
        let has_reserves = pool.engine.lanes.has_reserves();
        let reserved =
            if has_reserves { pool.engine.workers.reserved_counts() } else { TaskCounts::default() };
        let reserved_before = std::mem::replace(&mut self.reserved, reserved);
        let in_reserve = reserved.ended() - reserved_before.ended();
        let started = totals.started.saturating_sub(reserved.started);
        let same_starts = started == before.totals.started.saturating_sub(reserved_before.started);
        let still = queued.all() > 0 && same_tokens && same_starts;
        self.still = if still { self.still + 1 } else { 0 };
        let mut sample = Sample {
            elapsed,
            queued: queued.all(),
            completed: (totals.ended() - before.totals.ended()).saturating_sub(in_reserve),
            threads: pool.threads.counts().active().saturating_sub(counts.starting),
            starting: counts.starting,
            idle: counts.idle,
            declared: pool.threads.blocking(),
            certain: true,
            searching: counts.searching,
            delivering: counts.delivering,
            stuck: self.still >= 2,
            refused: pool.threads.backoff().is_on(),
            ..Sample::default()
        };
        let mut inside = self.inside(pool, elapsed);
        // The answers count only where the policy reaches its rules (E1), and asking costs.
        if queued.all() == 0 || counts.idle > 0 {
            self.spare.look(false);
            self.waiting = Waiting::default();
            self.queued_for = Duration::ZERO;
        } else {
            self.queued_for += counted;
            self.look_at_waits(&mut sample, pool, &queued, &mut inside);
            // No questions either while threads are on their way.
            if pool.threads.counts().reserved() < pool.threads.max() && counts.starting <= sample.threads / 4
            {
                sample.spare = self.spare.look(self.guesses || !self.lag.is_zero());
                self.ask(&mut sample, &inside);
            }
            // The monitor takes time to ask, the more so where it gets no CPU: a thread that had
            // not moved at first may have moved since.
            let is_still =
                || pool.engine.idle.counts() == counts && pool.engine.own_counts().started == totals.started;
            sample.stuck = sample.stuck && is_still();
        }
        self.forget(inside);
        // No user code runs with a searching token: a thread that holds one waits for nothing but a
        // CPU.
        sample.starved |= sample.stuck && sample.searching > 0;
        sample
    }

    /// Returns the threads inside a task, with their last samples brought up to date. Drains the
    /// deques of stalled threads, and sets `overstays` of threads that are long in one task.
    fn inside(&mut self, pool: View<'_>, elapsed: Duration) -> Vec<Seen> {
        let (counted, watched) = (elapsed.min(MOST_COUNTED), elapsed.min(self.lag));
        let (mut records, mut inside) = std::mem::take(&mut self.room);
        pool.engine.workers.add_to(&mut records);
        for record in records.drain(..) {
            let delivered = record.counters.delivered.get();
            let started = record.counters.runs.started.get();
            let busy = started > delivered;
            let mut last = record.last_sample.lock();
            let same = last.started == started && last.delivered == delivered;
            *last = if busy && same {
                last.later(counted)
            } else {
                LastSample { started, delivered, cpu_time: last.cpu_time, ..LastSample::default() }
            };
            last.window.pass(watched);
            let seen = *last;
            drop(last);
            // The only thread would get it back, and perhaps in another order.
            let has_others = pool.threads.max() > 1;
            let deque = record.deque.get().filter(|_| seen.stalled > 0 && has_others);
            self.drained |= deque.is_some_and(|&deque| pool.engine.queues.give_back(deque));
            if seen.held >= OCCUPIED[0] {
                record.overstays.store(true, Ordering::Relaxed);
            }
            if busy && record.is_general && !record.blocking.load(Ordering::Relaxed) {
                inside.push(Seen { record, last: seen });
            }
        }
        self.room.0 = records;
        inside
    }

    /// A look has ended: lets go of the records, and keeps the room.
    fn forget(&mut self, mut inside: Vec<Seen>) {
        inside.clear();
        self.room.1 = inside;
    }

    /// Finds the occupied threads, and how long tasks have waited that call for a thread.
    fn look_at_waits(&mut self, sample: &mut Sample, pool: View<'_>, queued: &Queued, inside: &mut [Seen]) {
        self.find_occupied(inside);
        let mut lanes = NumberMap::<usize>::new();
        let mut in_callbacks = 0;
        for seen in inside.iter().filter(|seen| seen.last.occupied) {
            sample.occupied += 1;
            in_callbacks += usize::from(seen.record.running() == 0);
            match seen.record.lane.load(Ordering::Relaxed) {
                0 => sample.long += usize::from(seen.last.long),
                lane => {
                    sample.in_lanes += 1;
                    lanes.insert(lane as u64, lanes.get(lane as u64).map_or(1, |threads| threads + 1));
                }
            }
        }
        // A thread that is long in a callback does not come soon.
        sample.delivering = sample.delivering.saturating_sub(in_callbacks);
        let occupied = |id| lanes.get(id as u64).is_some_and(|&threads| threads >= pool.threads.core());
        let pending = pool.engine.lanes.pending().into_iter();
        let pending = pending.map(|(id, started)| PendingLane { id, started, occupied: occupied(id) });
        let own = self.waiting.look_at_own(queued, sample.elapsed);
        let lanes = self.waiting.look_at_lanes(pending, sample.elapsed);
        sample.calls = own.is_some() || lanes.is_some();
        sample.waited = own.max(lanes).unwrap_or_default();
        if self.queued_for >= OCCUPIED[0] {
            // Whatever task a thread is in, it looks next into the queue that all threads share.
            inside.iter().for_each(|seen| seen.record.overstays.store(true, Ordering::Relaxed));
        }
    }

    /// Marks the threads that have been in one task for long, and reads the CPU time of some of the
    /// others.
    fn find_occupied(&self, inside: &mut [Seen]) {
        if inside.is_empty() {
            return;
        }
        let (later, first) = inside.split_at_mut(self.turn.wrapping_mul(ASKED_AGAIN) % inside.len());
        let lags = !self.lag.is_zero();
        // Most tasks end before the question is worth its cost. A clock that lags is to be followed
        // for as long as the task lasts.
        let is_due = |seen: &&mut Seen| seen.last.held >= OCCUPIED[0] / 2 && (lags || !seen.last.long);
        let due = first.iter_mut().chain(later).filter(is_due);
        for seen in due.take(ASKED_AGAIN) {
            let used = if self.clocks { seen.record.key.cpu_time() } else { None };
            let last = &mut seen.last;
            last.cpu_since = last.cpu_since.or(used);
            if lags {
                used.into_iter().for_each(|used| last.window.read(used, self.lag));
            }
            let used = used.zip(last.cpu_since).map(|(now, since)| now.saturating_sub(since));
            let has = |[held, cpu]: [Duration; 2]| match used {
                Some(used) => last.held >= held && used >= cpu,
                None => last.held >= held * GUESSED,
            };
            (last.occupied, last.long) = (last.occupied || has(OCCUPIED), has(LONG));
            if last.occupied && used.is_some() {
                last.asleep = Some(false);
            }
            *seen.record.last_sample.lock() = *last;
        }
    }

    /// Asks about some of the threads, separately about those that have begun their task since the
    /// last step of E2.
    fn ask(&mut self, sample: &mut Sample, inside: &[Seen]) {
        let inquiry = Inquiry {
            detectors: &self.detectors,
            clocks: self.clocks,
            lag: self.lag,
            elapsed: sample.elapsed,
            spare: sample.spare,
            turn: self.turn,
        };
        let is_fresh = |seen: &Seen| self.step.is_some_and(|step| seen.last.held < step.age);
        let fresh = inquiry.ask(inside, &is_fresh);
        sample.fresh = self.step.map(|_| Fresh { threads: fresh.threads, blocked: fresh.blocked() });
        let survey = inquiry.ask(inside, &|seen| !is_fresh(seen)).with(&fresh);
        if let Some(guessed) = survey.has_guessed() {
            (self.guesses, sample.certain) = (guessed, !guessed);
        }
        sample.blocked = survey.blocked();
        sample.outside = survey.is_outside();
        sample.starved |= survey.starved;
        for count in [&mut sample.occupied, &mut sample.in_lanes, &mut sample.long] {
            *count -= survey.asleep_of(*count);
        }
        let usage = survey.usage(sample.elapsed);
        sample.usage = usage.map(|(cpus, asleep)| Usage { cpus, asleep });
    }
}

impl Queued {
    /// Counts how many tasks were queued all the time while the tokens were counted, and how many
    /// lanes have slots pending. A task that was submitted or taken meanwhile does not show whether
    /// a thread was coming for it; and a task that waits in a lane for a slot waits for no thread.
    fn count(pool: View<'_>) -> Self {
        let lanes_before = pool.engine.lanes.counts();
        let before = pool.engine.own_counts();
        let counts = pool.engine.idle.counts();
        let totals = pool.engine.own_counts();
        let lanes = pool.engine.lanes.counts();
        // Threads count the starts of lanes' tasks with all others; submissions are counted apart.
        let meanwhile = (totals.started - before.started)
            .saturating_sub(lanes.tasks.started - lanes_before.tasks.started);
        Queued {
            submitted: before.submitted,
            begun: before.started.saturating_sub(lanes_before.tasks.started) + meanwhile,
            cancelled: totals.cancelled,
            pending: lanes.pending,
            counts,
            totals,
        }
    }

    /// Tasks of the pool's own queues.
    pub(super) fn own(&self) -> u64 {
        self.submitted.saturating_sub(self.begun + self.cancelled)
    }

    fn all(&self) -> u64 {
        self.own() + self.pending
    }

    /// How many threads hold a token.
    fn tokens(&self) -> usize {
        self.counts.searching + self.counts.starting + self.counts.delivering
    }

    /// Tasks of lanes that have begun.
    fn begun_in_lanes(&self) -> u64 {
        self.totals.started.saturating_sub(self.begun)
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
