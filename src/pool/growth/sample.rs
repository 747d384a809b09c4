//! One look at the pool: what the growth policy gets to see.

use std::collections::BTreeMap;
use std::time::Duration;

use super::detect::{CpuClock, CpuToSpare, Detector, ThreadState, TimeAlone};
use super::survey::{ASKED_AGAIN, Inquiry, Seen, Survey};
use super::waiting::{PendingLane, Waiting};
use crate::counts::TaskCounts;
use crate::idle::IdleCounts;
use crate::pool::threads::Threads;
use crate::sync::atomic::Ordering;
use crate::worker::{Engine, LastSample};

/// A thread that has been in one task for so long, and has used so much CPU time there, is
/// occupied,
const OCCUPIED: [Duration; 2] = [Duration::from_millis(4), Duration::from_millis(2)];
/// and has computed for long by then.
const LONG: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(8)];
/// Where the system does not tell its CPU time, it is if it has been there for so many times as
/// long: a thread that got no CPU meanwhile looks the same.
const GUESSED: u32 = 5;
/// No more of a look counts as time in a task: the process may have been stopped, or the machine.
const MOST_COUNTED: Duration = Duration::from_millis(5);

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
    /// Threads, not declared ones, found blocked.
    pub(super) blocked: usize,
    /// Most of the blocked ones wait for a timer, a peer or a child.
    pub(super) outside: bool,
    /// The threads that have begun their tasks since the last step of E2; `None` if there has been
    /// none, or nothing is queued any more that was then.
    pub(super) fresh: Option<Fresh>,
    /// Threads, neither declared nor blocked ones, that have been in one task for long.
    pub(super) occupied: usize,
    /// Those of them whose task is of a lane.
    pub(super) in_lanes: usize,
    /// Those of the others that have computed for longer.
    pub(super) long: usize,
    /// Whether a task waits that calls for a thread, and for how long one has.
    pub(super) calls: bool,
    pub(super) waited: Duration,
    /// A thread is ready to run and has had next to no CPU: one that has been in one task for as
    /// long, or one that searches while nothing moves.
    pub(super) starved: bool,
    /// Whether the evidence for `blocked` is more than the passing of time.
    pub(super) certain: bool,
    /// For how many looks a CPU has been to spare; 0 where the evidence is certain.
    pub(super) spare: u32,
    /// Threads that hold a searching token: they will look into the queues as soon as they have a
    /// CPU.
    pub(super) searching: usize,
    /// Threads that hold a token inside a waker or a hook: they will look when that returns.
    pub(super) delivering: usize,
    /// Something has been queued for two looks, and nothing has moved.
    pub(super) stuck: bool,
    /// The CPUs that the threads use and the share of them that is asleep, where the system tells.
    pub(super) usage: Option<Usage>,
    /// The system has just refused a thread.
    pub(super) cooling: bool,
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

/// Takes samples, and remembers what it needs of the last one.
#[derive(Debug)]
pub(super) struct Sampler {
    detectors: Vec<Box<dyn Detector>>,
    /// Whether it reads the threads' CPU clocks.
    clocks: bool,
    /// Whether the last look had to guess who sleeps.
    guesses: bool,
    spare: CpuToSpare,
    waiting: Waiting,
    /// For how long something has been queued, and nobody idle, without a break.
    queued_for: Duration,
    /// The last step of E2, while what was queued then is.
    step: Option<Step>,
    /// What the last look found queued.
    queued: Queued,
    /// For how many looks nothing has moved.
    still: u32,
    /// Moves on from look to look, so that others are asked about.
    turn: usize,
    /// Whether the last look has moved a deque into the injector: a thread is to look there.
    drained: bool,
}

/// A step of E2.
#[derive(Clone, Copy, Debug)]
struct Step {
    age: Duration,
    /// Once so many tasks of the pool's own queues have been taken, and so many of lanes, none is
    /// queued any more that was then. What has come since may be of another kind.
    own: u64,
    in_lanes: u64,
}

/// What was queued all the time while the tokens were counted.
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
            guesses: false,
            spare: CpuToSpare::default(),
            waiting: Waiting::default(),
            queued_for: Duration::ZERO,
            step: None,
            queued: Queued::default(),
            still: 0,
            turn: 0,
            drained: false,
        }
    }

    /// A sampler that asks the system about the threads if it may, by the surest detector first.
    pub(super) fn of(thread_states: bool) -> Self {
        if !thread_states {
            return Sampler { guesses: true, ..Sampler::new(vec![Box::new(TimeAlone)], false) };
        }
        Sampler::new(vec![Box::new(ThreadState), Box::new(CpuClock), Box::new(TimeAlone)], true)
    }

    /// Notes where the threads are, for the next look to compare with.
    pub(super) fn start(&mut self, pool: View<'_>) {
        let queued = Queued::count(pool);
        self.inside(pool, Duration::ZERO);
        self.spare.look(false);
        self.waiting = Waiting::default();
        self.waiting.look_at_own(&queued, Duration::ZERO);
        (self.step, self.queued, self.still) = (None, queued, 0);
        self.queued_for = Duration::ZERO;
    }

    /// Whether the last look has moved tasks into the injector, for which a thread must look.
    pub(super) fn has_drained(&mut self) -> bool {
        std::mem::take(&mut self.drained)
    }

    /// E2 has added threads.
    pub(super) fn note_step(&mut self) {
        let Queued { submitted, pending, .. } = self.queued;
        let in_lanes = self.queued.begun_in_lanes() + pending;
        self.step = Some(Step { age: Duration::ZERO, own: submitted, in_lanes });
    }

    /// Looks at the pool's threads.
    pub(super) fn look(&mut self, pool: View<'_>, elapsed: Duration) -> Sample {
        self.turn = self.turn.wrapping_add(1);
        let counted = elapsed.min(MOST_COUNTED);
        let queued = Queued::count(pool);
        let before = std::mem::replace(&mut self.queued, queued);
        let is_waiting = |step: &Step| {
            queued.begun + queued.cancelled < step.own || queued.begun_in_lanes() < step.in_lanes
        };
        self.step = self.step.filter(is_waiting);
        if let Some(step) = &mut self.step {
            step.age += counted;
        }
        let Queued { counts, totals, .. } = queued;
        // While nothing is queued the monitor asks about nobody: it cannot tell who holds a token
        // for want of a CPU.
        let same_tokens = queued.tokens() == before.tokens();
        let still = queued.all() > 0 && same_tokens && totals.started == before.totals.started;
        self.still = if still { self.still + 1 } else { 0 };
        let mut sample = Sample {
            elapsed,
            queued: queued.all(),
            completed: totals.ended() - before.totals.ended(),
            threads: pool.threads.counts().staying().saturating_sub(counts.starting),
            starting: counts.starting,
            idle: counts.idle,
            declared: pool.threads.blocking(),
            certain: true,
            searching: counts.searching,
            delivering: counts.delivering,
            stuck: self.still >= 2,
            cooling: pool.threads.backoff().is_on(),
            ..Sample::default()
        };
        let mut inside = self.inside(pool, counted);
        // The answers count only where the policy gets to its rules (E1), and asking costs.
        if queued.all() == 0 || counts.idle > 0 {
            self.spare.look(false);
            self.waiting = Waiting::default();
            self.queued_for = Duration::ZERO;
        } else {
            self.queued_for += counted;
            self.look_at_waits(&mut sample, pool, &queued, &mut inside);
            // Nor while threads are on their way.
            if pool.threads.counts().reserved() < pool.threads.max() && counts.starting <= sample.threads / 4
            {
                sample.spare = self.spare.look(self.guesses);
                self.ask(&mut sample, inside);
            }
            // The monitor takes time to ask, the more so where it gets no CPU: whoever was still at
            // first may have moved.
            let is_still =
                || pool.engine.idle.counts() == counts && pool.engine.own_counts().started == totals.started;
            sample.stuck = sample.stuck && is_still();
        }
        // No foreign code runs with a searching token: whoever holds one waits for nothing but a
        // CPU.
        sample.starved |= sample.stuck && sample.searching > 0;
        sample
    }

    /// The threads inside a task, with their notes brought up to date; deques of stalled threads
    /// are emptied, and threads that are long in one task are told so.
    fn inside(&mut self, pool: View<'_>, counted: Duration) -> Vec<Seen> {
        let mut inside = Vec::new();
        for slot in pool.engine.workers.records() {
            let delivered = slot.counters.delivered.get();
            let started = slot.counters.runs.started.get();
            let busy = started > delivered;
            let mut note = slot.last_sample.lock();
            let same = note.started == started && note.delivered == delivered;
            *note = if busy && same {
                note.later(counted)
            } else {
                LastSample { started, delivered, cpu_time: note.cpu_time, ..LastSample::default() }
            };
            let seen = *note;
            drop(note);
            let deque = slot.deque.get().filter(|_| seen.stalled > 0);
            self.drained |= deque.is_some_and(|&deque| pool.engine.queues.drain_to_injector(deque));
            if seen.held >= OCCUPIED[0] {
                slot.overstays.store(true, Ordering::Relaxed);
            }
            if busy && !slot.blocking.load(Ordering::Relaxed) {
                inside.push(Seen { slot, note: seen });
            }
        }
        inside
    }

    /// Finds out who is occupied, and how long tasks have waited that call for a thread.
    fn look_at_waits(&mut self, sample: &mut Sample, pool: View<'_>, queued: &Queued, inside: &mut [Seen]) {
        self.find_occupied(inside);
        let mut lanes = BTreeMap::new();
        let mut in_callbacks = 0;
        for seen in inside.iter().filter(|seen| seen.note.occupied) {
            sample.occupied += 1;
            in_callbacks += usize::from(seen.slot.running() == 0);
            match seen.slot.lane.load(Ordering::Relaxed) {
                0 => sample.long += usize::from(seen.note.long),
                lane => {
                    sample.in_lanes += 1;
                    *lanes.entry(lane).or_insert(0) += 1;
                }
            }
        }
        // Whoever is long in a callback does not come soon.
        sample.delivering = sample.delivering.saturating_sub(in_callbacks);
        let occupied = |id| lanes.get(&id).is_some_and(|&threads| threads >= pool.threads.core());
        let pending = pool.engine.lanes.pending().into_iter();
        let pending = pending.map(|(id, started)| PendingLane { id, started, occupied: occupied(id) });
        let own = self.waiting.look_at_own(queued, sample.elapsed);
        let lanes = self.waiting.look_at_lanes(pending, sample.elapsed);
        sample.calls = own.is_some() || lanes.is_some();
        sample.waited = own.max(lanes).unwrap_or_default();
        if self.queued_for >= OCCUPIED[0] {
            // Whatever they are at, threads look next at what has waited for everybody.
            inside.iter().for_each(|seen| seen.slot.overstays.store(true, Ordering::Relaxed));
        }
    }

    /// Marks those who have been in one task for long, and asks some of the others for their CPU
    /// time there.
    fn find_occupied(&self, inside: &mut [Seen]) {
        if inside.is_empty() {
            return;
        }
        let (later, first) = inside.split_at_mut(self.turn.wrapping_mul(ASKED_AGAIN) % inside.len());
        // Most tasks end before it is worth asking.
        let is_due = |seen: &&mut Seen| seen.note.held >= OCCUPIED[0] / 2 && !seen.note.long;
        let due = first.iter_mut().chain(later).filter(is_due);
        for seen in due.take(ASKED_AGAIN) {
            let used = if self.clocks { seen.slot.key.cpu_time() } else { None };
            let note = &mut seen.note;
            note.cpu_since = note.cpu_since.or(used);
            let used = used.zip(note.cpu_since).map(|(now, since)| now.saturating_sub(since));
            let has = |[held, cpu]: [Duration; 2]| match used {
                Some(used) => note.held >= held && used >= cpu,
                None => note.held >= held * GUESSED,
            };
            (note.occupied, note.long) = (note.occupied || has(OCCUPIED), has(LONG));
            if note.occupied && used.is_some() {
                note.asleep = Some(false);
            }
            *seen.slot.last_sample.lock() = *note;
        }
    }

    /// Asks about some of the threads, apart about those that have begun their task since the last
    /// step of E2.
    fn ask(&mut self, sample: &mut Sample, inside: Vec<Seen>) {
        let inquiry = Inquiry {
            detectors: &self.detectors,
            clocks: self.clocks,
            elapsed: sample.elapsed,
            spare: sample.spare,
            turn: self.turn,
        };
        let is_fresh = |seen: &Seen| self.step.is_some_and(|step| seen.note.held < step.age);
        let (fresh, old) = inside.into_iter().partition(is_fresh);
        let fresh: Survey = inquiry.ask(fresh);
        sample.fresh = self.step.map(|_| Fresh { threads: fresh.threads, blocked: fresh.blocked() });
        let survey = inquiry.ask(old).with(&fresh);
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
    /// lanes have slots pending. A task that was submitted or taken meanwhile says nothing about
    /// whether somebody was coming for it; and one that waits in a lane for a slot waits for no
    /// thread.
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
