//! Asking some threads of a group whether they sleep, and what the answers say of all of them.

use std::sync::Arc;
use std::time::Duration;

use super::detect::{Certainty, Detector, PATIENCE, Subject};
use crate::sys::thread_stat::ThreadStat;
use crate::worker::{LastSample, ThreadRecord};

/// An inquiry asks about so many threads of a group; they stand for the others.
pub(super) const ASKED: usize = 8;
/// If all those are asleep, it asks about up to so many others, to find one that is not: a single
/// thread that is ready to run may be the one that the others wait for.
pub(super) const ASKED_AGAIN: usize = 64;

/// A thread that has been in one task for so long does not run short calls.
const LONG_STAY: Duration = Duration::from_millis(4);

/// One thread that is inside a task, as one look sees it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) record: Arc<ThreadRecord>,
    pub(super) last: LastSample,
}

/// The detectors to ask, and what the look knows already.
pub(super) struct Inquiry<'a> {
    pub(super) detectors: &'a [Box<dyn Detector>],
    /// Whether the inquiry reads the threads' CPU clocks.
    pub(super) clocks: bool,
    /// For how long these may stand still while their threads compute.
    pub(super) lag: Duration,
    pub(super) elapsed: Duration,
    pub(super) spare: u32,
    /// Advances from look to look, so that each look asks about other threads.
    pub(super) turn: usize,
}

/// What asking about a group of threads has shown.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) threads: usize,
    /// Threads asked about that have been in one task since the last look, and those of them
    /// asleep.
    asked_stalled: usize,
    asleep_stalled: usize,
    /// Such threads that this look did not ask about: those that were asleep at the last answer,
    /// and those without an answer yet.
    remembered: usize,
    unknown: usize,
    /// Threads asleep for something outside of the process.
    outside: usize,
    /// Threads asked about that have not been in one task for long, and those of them asleep.
    asked: usize,
    asleep: usize,
    /// Those of them whose states the system has reported, and whose clocks lag.
    states: usize,
    /// Occupied threads asked about, and those of them asleep.
    occupied: usize,
    occupied_asleep: usize,
    /// CPU time since the last look, and of how many threads that is.
    used: Duration,
    clocks: u32,
    /// One of the threads that the first questions left out is awake.
    one_awake: bool,
    /// A thread that may be the one that has a CPU: it has begun its task since the last look, or
    /// is one that was left out and was awake at the last answer.
    others_run: bool,
    /// A thread is ready to run and gets no CPU.
    pub(super) starved: bool,
    /// An answer was a guess, or is certain only if all of these threads sleep.
    guessed: bool,
    doubted: bool,
}

impl Survey {
    /// The survey of both groups together.
    pub(super) fn with(self, other: &Survey) -> Self {
        Survey {
            threads: self.threads + other.threads,
            asked_stalled: self.asked_stalled + other.asked_stalled,
            asleep_stalled: self.asleep_stalled + other.asleep_stalled,
            remembered: self.remembered + other.remembered,
            unknown: self.unknown + other.unknown,
            outside: self.outside + other.outside,
            asked: self.asked + other.asked,
            asleep: self.asleep + other.asleep,
            states: self.states + other.states,
            occupied: self.occupied + other.occupied,
            occupied_asleep: self.occupied_asleep + other.occupied_asleep,
            used: self.used + other.used,
            clocks: self.clocks + other.clocks,
            one_awake: self.one_awake || other.one_awake,
            others_run: self.others_run || other.others_run,
            starved: self.starved || other.starved,
            guessed: self.guessed || other.guessed,
            doubted: self.doubted || other.doubted,
        }
    }

    /// How many threads are blocked.
    pub(super) fn blocked(&self) -> usize {
        let like_others = share(self.unknown, self.asleep_stalled, self.asked_stalled);
        self.asleep_stalled + self.remembered + like_others - usize::from(self.one_awake)
    }

    /// Whether most of the blocked threads wait for something outside of the process.
    pub(super) fn is_outside(&self) -> bool {
        self.outside > 0 && 4 * self.outside >= 3 * self.asleep_stalled
    }

    /// How many of `count` occupied threads are asleep.
    pub(super) fn asleep_of(&self, count: usize) -> usize {
        share(count, self.occupied_asleep, self.occupied).min(count)
    }

    /// Whether a guess is among the answers that count; `None` if there is no such answer.
    ///
    /// To a clock that lags a thread without a CPU looks asleep. But if threads of the pool
    /// compute, one of them has a CPU: where all seem to sleep, and none runs that was not asked,
    /// they do.
    pub(super) fn has_guessed(&self) -> Option<bool> {
        let all_sleep = self.asleep_stalled == self.asked_stalled && !self.others_run;
        let is_doubtful = self.doubted && !all_sleep;
        (self.asked_stalled > 0).then_some(self.guessed || is_doubtful)
    }

    /// The CPUs that the threads use, and the share of the threads that is asleep. A clock that
    /// lags does not show what happens between two looks: there each thread that is awake counts as
    /// one CPU, and if the state of one is a guess nothing is known.
    pub(super) fn usage(&self, elapsed: Duration) -> Option<(f64, f64)> {
        let asleep = self.asleep as f64 / self.asked.max(1) as f64;
        if self.clocks > 0 && elapsed > Duration::ZERO {
            let each = self.used.as_secs_f64() / elapsed.as_secs_f64() / f64::from(self.clocks);
            return Some((each * self.threads as f64, asleep));
        }
        (self.asked > 0 && self.states == self.asked)
            .then_some((self.threads as f64 * (1.0 - asleep), asleep))
    }
}

impl Inquiry<'_> {
    /// Asks about some of the threads in `inside` that belong to the group.
    pub(super) fn ask(&self, inside: &[Seen], belongs: &dyn Fn(&Seen) -> bool) -> Survey {
        let mut survey = Survey::default();
        for seen in inside {
            if belongs(seen) {
                survey.threads += 1;
                survey.others_run |= seen.last.stalled == 0;
            }
        }
        // Each look begins with another thread of the group.
        let mut skipped = self.turn.wrapping_mul(ASKED).checked_rem(survey.threads).unwrap_or(0);
        let mut begin = 0;
        while begin < inside.len() && (skipped > 0 || !belongs(&inside[begin])) {
            skipped -= usize::from(belongs(&inside[begin]));
            begin += 1;
        }
        let (later, first) = inside.split_at(begin);
        let (mut visited, mut asked_again) = (0, 0);
        // Stalled threads first, and among them those without an answer yet: their answers decide
        // the quick rules.
        for rank in [(true, false), (true, true), (false, false), (false, true)] {
            for group in [first, later] {
                for seen in group {
                    if (seen.last.stalled > 0, seen.last.asleep.is_some()) != rank || !belongs(seen) {
                        continue;
                    }
                    visited += 1;
                    if visited <= ASKED {
                        self.ask_one(seen, &mut survey);
                    } else if seen.last.stalled > 0 {
                        self.leave_out(seen, &mut survey, &mut asked_again);
                    }
                }
            }
        }
        survey
    }

    /// Counts a stalled thread that the first questions leave out. If all those have found threads
    /// asleep, looks for one that is not.
    fn leave_out(&self, seen: &Seen, survey: &mut Survey, asked_again: &mut usize) {
        // The clock is more than a guess, which the last answer may be.
        let asleep = seen.last.window.is_asleep().or(seen.last.asleep);
        survey.remembered += usize::from(asleep == Some(true));
        survey.unknown += usize::from(asleep.is_none());
        survey.others_run |= asleep == Some(false);
        let all = survey.asleep_stalled == ASKED && !survey.is_outside();
        // An occupied thread has a CPU.
        if !all || survey.one_awake || seen.last.occupied || *asked_again == ASKED_AGAIN {
            return;
        }
        *asked_again += 1;
        if self.is_asleep(&seen.record, seen.last, None) == (false, Certainty::Fact) {
            survey.one_awake = true;
            survey.starved = true;
        }
    }

    fn ask_one(&self, seen: &Seen, survey: &mut Survey) {
        let cpu_time = if self.clocks { seen.record.key.cpu_time() } else { None };
        let Seen { record, last: LastSample { stalled, held, occupied, cpu_time: before, .. } } = seen;
        let mut window = seen.last.window;
        let lags = !self.lag.is_zero();
        if lags {
            cpu_time.into_iter().for_each(|used| window.read(used, self.lag));
        }
        let (sleeps, answer) = self.is_asleep(record, LastSample { window, ..seen.last }, cpu_time);
        let certain = answer == Certainty::Fact;
        // A thread that is blocked for long is no evidence about short calls.
        if *held < LONG_STAY {
            survey.asked += 1;
            survey.asleep += usize::from(sleeps);
            survey.states += usize::from(certain && lags);
        }
        survey.occupied += usize::from(*occupied);
        survey.occupied_asleep += usize::from(*occupied && sleeps);
        if *stalled > 0 {
            survey.asked_stalled += 1;
            survey.asleep_stalled += usize::from(sleeps);
            survey.outside += usize::from(sleeps && self.waits_outside(record));
            survey.guessed |= answer == Certainty::Guess;
            survey.doubted |= answer == Certainty::IfAllSleep;
        }
        if let (Some(now), Some(before), false) = (cpu_time, *before, lags) {
            let own = now.saturating_sub(before).min(self.elapsed);
            // The thread is ready to run, and gets no CPU.
            survey.starved |= *stalled > 0 && !sleeps && certain && own < self.elapsed / 2;
            survey.used += own;
            survey.clocks += 1;
        }
        let mut last = record.last_sample.lock();
        (last.cpu_time, last.window) = (cpu_time, window);
        if last.stalled > 0 && (sleeps || last.stalled >= PATIENCE) {
            last.asleep = Some(sleeps);
        }
        if sleeps {
            // If the thread goes on to compute, it is occupied again after a while.
            (last.occupied, last.long, last.cpu_since) = (false, false, cpu_time);
        }
    }

    fn waits_outside(&self, record: &ThreadRecord) -> bool {
        self.detectors.iter().any(|detector| detector.waits_outside(&record.key))
    }

    /// Whether the thread is asleep, and what that answer is worth.
    fn is_asleep(
        &self,
        record: &ThreadRecord,
        last: LastSample,
        cpu_time: Option<Duration>,
    ) -> (bool, Certainty) {
        let Inquiry { elapsed, spare, .. } = *self;
        let subject = Subject { key: &record.key, last, cpu_time, elapsed, spare };
        let answers = self.detectors.iter();
        let mut answers = answers
            .filter_map(|detector| Some((detector.is_asleep(&subject)?, detector.certainty(&subject))));
        answers.next().unwrap_or((false, Certainty::Fact))
    }
}

/// `all` times the fraction `some / asked`, rounded.
fn share(all: usize, some: usize, asked: usize) -> usize {
    (all * some + asked / 2).checked_div(asked).unwrap_or(0)
}
