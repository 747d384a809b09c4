//! One look at the pool: what the growth policy gets to see.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::detect::{CpuClock, CpuToSpare, Detector, Subject, ThreadState, TimeAlone};
use super::waiting::{PendingLane, Waiting};
use crate::idle::Counts;
use crate::pool::config::Config;
use crate::pool::shared::Shared;
use crate::sync::atomic::Ordering;
use crate::worker::{Note, Slot, Totals, Workplace};

/// So many threads are asked about per look; they stand for the others.
const ASKED: usize = 8;
/// If all those are asleep, up to so many others are asked about, for one that is not: a single thread that is ready to
/// run may be the one that the others wait for. So many are also asked whether they are occupied.
const ASKED_AGAIN: usize = 64;
/// A thread that has been in one task for so long, and has used so much CPU time there, is occupied,
const OCCUPIED: [Duration; 2] = [Duration::from_millis(4), Duration::from_millis(2)];
/// and has computed for long by then.
const LONG: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(8)];
/// Where the system does not tell its CPU time, it is if it has been there for so many times as long: a thread that got no
/// CPU meanwhile looks the same.
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
    /// Threads, neither declared nor blocked ones, that have been in one task for long.
    pub(super) occupied: usize,
    /// Those of them whose task is of a lane.
    pub(super) in_lanes: usize,
    /// Those of the others that have computed for longer.
    pub(super) long: usize,
    /// Whether a task waits that calls for a thread, and for how long one has.
    pub(super) calls: bool,
    pub(super) waited: Duration,
    /// A thread is ready to run and has had next to no CPU: one that has been in one task for as long, or one that searches
    /// while nothing moves.
    pub(super) starved: bool,
    /// Whether the evidence for `blocked` is more than the passing of time.
    pub(super) certain: bool,
    /// For how many looks a CPU has been to spare; 0 where the evidence is certain.
    pub(super) spare: u32,
    /// Threads that hold a searching token: they will look into the queues as soon as they have a CPU.
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

/// How busy the active threads are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) cpus: f64,
    pub(super) asleep: f64,
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
    totals: Totals,
    tokens: usize,
    /// For how many looks nothing has moved.
    still: u32,
    /// Moves on from look to look, so that others are asked about.
    turn: usize,
}

/// What was queued all the time while the tokens were counted.
struct Queued {
    /// Tasks of the pool's own queues that had been submitted, and those that have been taken.
    submitted: u64,
    taken: u64,
    /// Slots of lanes that are pending.
    pending: u64,
    counts: Counts,
    totals: Totals,
}

/// One thread that is inside a task, as seen in one look.
struct Seen {
    slot: Arc<Slot>,
    note: Note,
    cpu_time: Option<Duration>,
}

impl Sampler {
    pub(super) fn new(detectors: Vec<Box<dyn Detector>>, clocks: bool) -> Self {
        Sampler {
            detectors,
            clocks,
            guesses: false,
            spare: CpuToSpare::default(),
            waiting: Waiting::default(),
            totals: Totals::default(),
            tokens: 0,
            still: 0,
            turn: 0,
        }
    }

    /// One that asks what the pool's settings allow, the surest detector first.
    pub(super) fn of(config: &Config) -> Self {
        if !config.thread_states {
            return Sampler { guesses: true, ..Sampler::new(vec![Box::new(TimeAlone)], false) };
        }
        Sampler::new(vec![Box::new(ThreadState), Box::new(CpuClock), Box::new(TimeAlone)], true)
    }

    /// Notes where the threads are, for the next look to compare with.
    pub(super) fn start(&mut self, shared: &Shared) {
        let queued = Queued::count(shared);
        self.inside(shared, Duration::ZERO);
        self.spare.look(false);
        self.waiting = Waiting::default();
        self.waiting.look_at_own(queued.submitted, queued.taken, Duration::ZERO);
        (self.totals, self.still) = (queued.totals, 0);
    }

    /// Looks at the pool's threads.
    pub(super) fn look(&mut self, shared: &Shared, elapsed: Duration) -> Sample {
        self.turn = self.turn.wrapping_add(1);
        let queued = Queued::count(shared);
        let Queued { counts, totals, .. } = queued;
        let tokens = counts.searching + counts.starting + counts.delivering;
        // While nothing is queued the monitor asks about nobody: it cannot tell who holds a token for want of a CPU.
        let still = queued.all() > 0 && tokens == self.tokens && totals.started == self.totals.started;
        self.still = if still { self.still + 1 } else { 0 };
        let before = std::mem::replace(&mut self.totals, totals);
        self.tokens = tokens;
        let ends = |totals: &Totals| totals.completed + totals.panicked;
        let mut sample = Sample {
            elapsed,
            queued: queued.all(),
            completed: ends(&totals) - ends(&before),
            threads: shared.headcount.staying().saturating_sub(counts.starting),
            starting: counts.starting,
            idle: counts.idle,
            declared: shared.blocking(),
            certain: true,
            searching: counts.searching,
            delivering: counts.delivering,
            stuck: self.still >= 2,
            cooling: shared.cool_down.is_on(),
            ..Sample::default()
        };
        let mut inside = self.inside(shared, elapsed);
        // The answers count only where the policy gets to its rules (E1), and asking costs.
        if queued.all() == 0 || counts.idle > 0 {
            self.spare.look(false);
        } else {
            self.look_at_waits(&mut sample, shared, &queued, &mut inside);
            // Nor while threads are on their way.
            if shared.headcount.reserved() < shared.max() && counts.starting <= sample.threads / 4 {
                sample.spare = self.spare.look(self.guesses);
                self.ask(&mut sample, inside);
            }
            // The monitor takes time to ask, the more so where it gets no CPU: whoever was still at first may have moved.
            let is_still =
                || shared.idle.counts() == counts && shared.roster.totals().started == totals.started;
            sample.stuck = sample.stuck && is_still();
        }
        // No foreign code runs with a searching token: whoever holds one waits for nothing but a CPU.
        sample.starved |= sample.stuck && sample.searching > 0;
        sample
    }

    /// The threads inside a task, with their notes brought up to date; deques of stalled threads are emptied, and threads that
    /// are long in one task are told so.
    fn inside(&self, shared: &Shared, elapsed: Duration) -> Vec<Seen> {
        let mut inside = Vec::new();
        for slot in shared.roster.slots() {
            let delivered = slot.tallies.delivered.get();
            let started = slot.tallies.started.get();
            let busy = started > delivered;
            let mut note = slot.note.lock();
            let same = note.started == started && note.delivered == delivered;
            *note = if busy && same {
                note.later(elapsed.min(MOST_COUNTED))
            } else {
                Note { started, delivered, cpu_time: note.cpu_time, ..Note::default() }
            };
            let seen = *note;
            drop(note);
            let deque = slot.deque.get().filter(|_| seen.stalled > 0);
            if deque.is_some_and(|&deque| shared.queues.evacuate(deque)) {
                shared.notify();
            }
            if seen.held >= OCCUPIED[0] {
                slot.overstays.store(true, Ordering::Relaxed);
            }
            if busy && !slot.blocking.load(Ordering::Relaxed) {
                inside.push(Seen { slot, note: seen, cpu_time: None });
            }
        }
        inside
    }

    /// Finds out who is occupied, and how long tasks have waited that call for a thread.
    fn look_at_waits(&mut self, sample: &mut Sample, shared: &Shared, queued: &Queued, inside: &mut [Seen]) {
        self.find_occupied(inside);
        let occupied: Vec<_> = inside.iter().filter(|seen| seen.note.occupied).collect();
        let lanes = occupied.iter().map(|seen| seen.slot.lane.load(Ordering::Relaxed));
        let lanes: BTreeSet<usize> = lanes.filter(|&lane| lane != 0).collect();
        let is_outside = |seen: &&&Seen| seen.slot.lane.load(Ordering::Relaxed) == 0;
        sample.occupied = occupied.len();
        sample.in_lanes = occupied.len() - occupied.iter().filter(is_outside).count();
        sample.long = occupied.iter().filter(is_outside).filter(|seen| seen.note.long).count();
        let pending = shared.lanes.pending().into_iter();
        let pending: Vec<_> =
            pending.map(|(id, started)| PendingLane { id, started, occupied: lanes.contains(&id) }).collect();
        let own = self.waiting.look_at_own(queued.submitted, queued.taken, sample.elapsed);
        let lanes = self.waiting.look_at_lanes(&pending, sample.elapsed);
        sample.calls = own.is_some() || lanes.is_some();
        sample.waited = own.max(lanes).unwrap_or_default();
    }

    /// Marks those who have been in one task for long, and asks some of the others for their CPU time there.
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
            *seen.slot.note.lock() = *note;
        }
    }

    /// Asks the detectors about some of the threads and extrapolates.
    fn ask(&mut self, sample: &mut Sample, mut inside: Vec<Seen>) {
        if inside.is_empty() {
            return;
        }
        let elapsed = sample.elapsed;
        let active = inside.len();
        let stalled = inside.iter().filter(|seen| seen.note.stalled > 0).count();
        inside.rotate_left(self.turn.wrapping_mul(ASKED) % active);
        // Stalled threads first: their answers decide the quick rules.
        inside.sort_by_key(|seen| seen.note.stalled == 0);
        let others = inside.split_off(ASKED.min(active));
        let asked_stalled = stalled.min(ASKED);
        let (mut asleep_stalled, mut asleep, mut used, mut clocks) = (0, 0, Duration::ZERO, 0);
        let (mut outside, mut occupied, mut occupied_asleep) = (0, 0, 0);
        for seen in &mut inside {
            seen.cpu_time = if self.clocks { seen.slot.key.cpu_time() } else { None };
            let (sleeps, certain) = self.is_asleep(seen, sample);
            asleep += usize::from(sleeps);
            occupied += usize::from(seen.note.occupied);
            occupied_asleep += usize::from(seen.note.occupied && sleeps);
            if seen.note.stalled > 0 {
                asleep_stalled += usize::from(sleeps);
                outside += usize::from(sleeps && self.waits_outside(seen));
                sample.certain &= certain;
            }
            if let (Some(now), Some(before)) = (seen.cpu_time, seen.note.cpu_time) {
                let own = now.saturating_sub(before).min(elapsed);
                // It is ready to run, and does not get to.
                sample.starved |= seen.note.stalled > 0 && !sleeps && certain && own < elapsed / 2;
                used += own;
                clocks += 1;
            }
            seen.slot.note.lock().cpu_time = seen.cpu_time;
        }
        if asked_stalled > 0 {
            self.guesses = !sample.certain;
        }
        sample.blocked = share(stalled, asleep_stalled, asked_stalled);
        for count in [&mut sample.occupied, &mut sample.in_lanes, &mut sample.long] {
            *count -= share(*count, occupied_asleep, occupied).min(*count);
        }
        sample.outside = outside > 0 && 4 * outside >= 3 * asleep_stalled;
        let all = sample.blocked == stalled && asked_stalled == ASKED && !sample.outside;
        if all && self.any_awake(&others, sample) {
            sample.blocked -= 1;
            sample.starved = true;
        }
        if clocks > 0 && elapsed > Duration::ZERO {
            let share = used.as_secs_f64() / elapsed.as_secs_f64() / f64::from(clocks);
            let asleep = asleep as f64 / inside.len() as f64;
            sample.usage = Some(Usage { cpus: share * active as f64, asleep });
        }
    }

    /// Whether one of the stalled threads among `others` is not asleep.
    fn any_awake(&self, others: &[Seen], sample: &Sample) -> bool {
        let stalled = others.iter().filter(|seen| seen.note.stalled > 0);
        stalled.take(ASKED_AGAIN).any(|seen| !self.is_asleep(seen, sample).0)
    }

    fn waits_outside(&self, seen: &Seen) -> bool {
        self.detectors.iter().any(|detector| detector.waits_outside(seen.slot.key))
    }

    /// Whether the thread is asleep, and whether that is certain.
    fn is_asleep(&self, seen: &Seen, sample: &Sample) -> (bool, bool) {
        let Sample { elapsed, spare, .. } = *sample;
        let subject =
            Subject { key: seen.slot.key, note: seen.note, cpu_time: seen.cpu_time, elapsed, spare };
        let answers = self
            .detectors
            .iter()
            .map(|detector| Some((detector.is_asleep(&subject)?, detector.is_certain())));
        answers.flatten().next().unwrap_or((false, true))
    }
}

impl Queued {
    /// Counts how many tasks were queued all the time while the tokens were counted, and how many lanes have slots pending. A
    /// task that was submitted or taken meanwhile says nothing about whether somebody was coming for it; and one that waits in
    /// a lane for a slot waits for no thread.
    fn count(shared: &Shared) -> Self {
        let lanes_before = shared.lanes.counts();
        let before = shared.roster.totals();
        let counts = shared.idle.counts();
        let totals = shared.roster.totals();
        let lanes = shared.lanes.counts();
        // Threads count the starts of lanes' tasks with all others; submissions are counted apart.
        let begun = (totals.started - before.started).saturating_sub(lanes.started - lanes_before.started);
        let taken = (before.started + before.cancelled).saturating_sub(lanes_before.started);
        let taken = taken + begun + (totals.cancelled - before.cancelled);
        Queued { submitted: before.submitted, taken, pending: lanes.pending, counts, totals }
    }

    fn all(&self) -> u64 {
        self.submitted.saturating_sub(self.taken) + self.pending
    }
}

/// The share of `all` that `some` are of `asked`, rounded.
fn share(all: usize, some: usize, asked: usize) -> usize {
    (all * some + asked / 2).checked_div(asked).unwrap_or(0)
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
