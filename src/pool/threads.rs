//! How many threads a pool has, and how it gets one more.
//!
//! - **P1** A thread is reserved, by compare-exchange against `max`, before it is made, and given up after its last
//!   hook has run: so the number of threads never exceeds `max`, not even for an instant.
//! - **P2** Whoever reserves also holds a starting token. Both go with the [`NewThread`]: into the thread when it
//!   runs, or back when it is dropped unrun.
//! - **P3** No lock is held while a thread is made, and the making never makes another on its own account: failures
//!   end in a cool-down, not in a second attempt.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shared::Shared;
use crate::report::{event, panic_message};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::worker::work;

const FIRST_COOL_DOWN: Duration = Duration::from_millis(100);
const LAST_COOL_DOWN: Duration = Duration::from_secs(1);

/// The number of threads: reserved ones, and those of them that are on their way out.
#[derive(Debug)]
pub(super) struct Headcount {
    /// Low half: reserved. High half: resigned but not gone yet.
    word: AtomicU64,
    present: AtomicUsize,
    peak: AtomicUsize,
}

const RESIGNED: u64 = 1 << 32;

impl Headcount {
    pub(super) fn new() -> Self {
        Headcount { word: AtomicU64::new(0), present: AtomicUsize::new(0), peak: AtomicUsize::new(0) }
    }

    fn split(word: u64) -> (usize, usize) {
        let reserved = (word % RESIGNED) as usize;
        (reserved, reserved - (word / RESIGNED) as usize)
    }

    /// Threads reserved (P1): running, starting, or on their way out.
    pub(super) fn reserved(&self) -> usize {
        Self::split(self.word.load(Ordering::SeqCst)).0
    }

    /// Those of the reserved that have not resigned.
    pub(super) fn staying(&self) -> usize {
        Self::split(self.word.load(Ordering::SeqCst)).1
    }

    /// Threads that have started and not left.
    pub(super) fn present(&self) -> usize {
        self.present.load(Ordering::Acquire)
    }

    pub(super) fn peak(&self) -> usize {
        self.peak.load(Ordering::Acquire)
    }

    fn update(&self, change: impl Fn(usize, usize) -> Option<u64>) -> Option<u64> {
        let change = |word| {
            let (reserved, staying) = Self::split(word);
            change(reserved, staying).map(|units| word.wrapping_add(units))
        };
        self.word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change).ok()
    }

    /// Reserves one thread if fewer than `entitled` stay and fewer than `max` are reserved.
    pub(super) fn reserve(&self, entitled: usize, max: usize) -> bool {
        self.update(|reserved, staying| (staying < entitled && reserved < max).then_some(1)).is_some()
    }

    /// Reserves up to `wanted` threads, and says how many.
    pub(super) fn reserve_many(&self, wanted: usize, max: usize) -> usize {
        let granted = |reserved: usize| wanted.min(max.saturating_sub(reserved));
        match self.update(|reserved, _| Some(granted(reserved) as u64)) {
            Some(before) => granted(Self::split(before).0),
            None => 0,
        }
    }

    /// Gives `count` reserved threads up that were not started. Returns how many remain.
    fn release(&self, count: usize) -> usize {
        Self::split(self.word.fetch_sub(count as u64, Ordering::SeqCst)).0 - count
    }

    fn arrive(&self) {
        let present = self.present.fetch_add(1, Ordering::AcqRel) + 1;
        self.peak.fetch_max(present, Ordering::AcqRel);
    }

    /// One thread resigns, if more than `core` stay.
    pub(super) fn resign_above(&self, core: usize) -> bool {
        self.update(|_, staying| (staying > core).then_some(RESIGNED)).is_some()
    }

    pub(super) fn resign(&self) {
        self.word.fetch_add(RESIGNED, Ordering::SeqCst);
    }

    /// A thread that has resigned is gone.
    pub(super) fn leave(&self) {
        self.present.fetch_sub(1, Ordering::AcqRel);
        self.word.fetch_sub(RESIGNED + 1, Ordering::SeqCst);
    }
}

/// The pause after a failure to start a thread.
#[derive(Debug)]
pub(super) struct CoolDown {
    inner: Mutex<Cooling>,
    /// Mirrors `inner.until.is_some()`, to be asked without the lock.
    cooling: AtomicUsize,
    failures: AtomicU64,
}

#[derive(Debug)]
struct Cooling {
    /// `None` while nothing has failed since the last success.
    until: Option<Until>,
    length: Duration,
    error: Option<Arc<io::Error>>,
}

#[derive(Clone, Copy, Debug)]
enum Until {
    Instant(Instant),
    /// The system has no threads at all.
    Ever,
}

impl CoolDown {
    pub(super) fn new() -> Self {
        let inner = Cooling { until: None, length: FIRST_COOL_DOWN, error: None };
        CoolDown { inner: Mutex::new(inner), cooling: AtomicUsize::new(0), failures: AtomicU64::new(0) }
    }

    /// Whether no attempt should be made now.
    pub(super) fn is_on(&self) -> bool {
        if self.cooling.load(Ordering::SeqCst) == 0 {
            return false;
        }
        match self.inner.lock().until {
            Some(Until::Instant(instant)) => Instant::now() < instant,
            Some(Until::Ever) => true,
            None => false,
        }
    }

    /// Begins a pause, twice as long as the last one if that brought nothing.
    /// Failures that come during a pause do not lengthen it.
    pub(super) fn begin(&self, error: io::Error) {
        if self.is_on() {
            return;
        }
        let permanent = error.kind() == io::ErrorKind::Unsupported;
        let mut inner = self.inner.lock();
        event!(WARN, %error, pause = ?inner.length, "could not start a thread");
        // A system without threads need not have a clock either: it is not asked.
        inner.until = Some(if permanent { Until::Ever } else { Until::Instant(Instant::now() + inner.length) });
        inner.length = (inner.length * 2).min(LAST_COOL_DOWN);
        inner.error = Some(Arc::new(error));
        self.cooling.store(1, Ordering::SeqCst);
    }

    /// No attempt will ever be made.
    pub(super) fn begin_for_ever(&self, error: io::Error) {
        let mut inner = self.inner.lock();
        inner.until = Some(Until::Ever);
        inner.error = Some(Arc::new(error));
        self.cooling.store(1, Ordering::SeqCst);
    }

    /// A thread has started.
    fn end(&self) {
        if self.cooling.load(Ordering::SeqCst) == 1 {
            let mut inner = self.inner.lock();
            inner.until = None;
            inner.length = FIRST_COOL_DOWN;
            self.cooling.store(0, Ordering::SeqCst);
        }
    }

    /// The last failure.
    pub(super) fn error(&self) -> Arc<io::Error> {
        let error = self.inner.lock().error.clone();
        error.unwrap_or_else(|| Arc::new(io::Error::other("the pool has no thread left")))
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// A thread that the pool wants: what [`Builder::spawn_handler`](crate::Builder::spawn_handler) gets.
///
/// The handler makes an OS thread, by whatever means, and has it call [`run`](NewThread::run). Dropping a
/// `NewThread` without running it counts as a failure to start the thread.
pub struct NewThread {
    name: String,
    stack_size: Option<usize>,
    seat: Option<Seat>,
}

/// A reserved thread with its starting token (P2), and those it is to start in turn.
struct Seat {
    shared: Arc<Shared>,
    /// How many threads more were reserved for this one to start first thing.
    credit: usize,
    fate: Arc<AtomicUsize>,
}

/// The handler has returned.
const RETURNED: usize = 1;
/// The seat has been dropped unrun.
const LOST: usize = 2;

impl NewThread {
    /// The name the thread should have: the pool's name and a number.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The stack size in bytes that the pool was built with; `None` for the platform's default.
    #[must_use]
    pub fn stack_size(&self) -> Option<usize> {
        self.stack_size
    }

    /// Works for the pool on the calling thread, until the pool lets the thread go.
    pub fn run(mut self) {
        if let Some(seat) = self.seat.take() {
            seat.run();
        }
    }
}

impl fmt::Debug for NewThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewThread").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drop for NewThread {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            seat.give_up();
        }
    }
}

impl Seat {
    fn run(self) {
        let Seat { shared, credit, .. } = self;
        shared.headcount.arrive();
        shared.cool_down.end();
        start_tree(&shared, credit);
        #[cfg(feature = "tokio")]
        let runtime = shared.config.runtime.clone();
        #[cfg(feature = "tokio")]
        let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
        work(shared);
    }

    fn give_up(self) {
        let Seat { shared, credit, fate } = self;
        let lost = credit + 1;
        shared.headcount.release(lost);
        shared.idle.not_started(lost);
        if fate.fetch_or(LOST, Ordering::AcqRel) & RETURNED != 0 {
            shared.start_failed(dropped_unrun());
        }
    }
}

fn dropped_unrun() -> io::Error {
    io::Error::other("the spawn handler dropped the thread without running it")
}

/// Starts `count` threads that have been reserved and have their tokens: two at most by this thread, which leave
/// the rest to them.
pub(super) fn start_tree(shared: &Arc<Shared>, count: usize) {
    let first = count.div_ceil(2);
    for share in [first, count - first] {
        if share > 0 {
            // A failure has been dealt with: the pool goes on with the threads it has.
            let _ = start(shared, share - 1);
        }
    }
}

/// Starts one reserved thread, which is to start `credit` more.
pub(super) fn start(shared: &Arc<Shared>, credit: usize) -> io::Result<()> {
    let fate = Arc::new(AtomicUsize::new(0));
    let config = &shared.config;
    let new = NewThread {
        name: format!("{}-{}", config.name, shared.next_thread.fetch_add(1, Ordering::Relaxed)),
        stack_size: config.stack_size,
        seat: Some(Seat { shared: Arc::clone(shared), credit, fate: Arc::clone(&fate) }),
    };
    if shared.cool_down.is_on() {
        drop(new);
        shared.see_to_queue();
        return Err(copy(&shared.cool_down.error()));
    }
    let result = call_handler(shared, new);
    let lost = fate.fetch_or(RETURNED, Ordering::AcqRel) & LOST != 0;
    match result {
        // The handler has kept the thread although it returned an error: it may still run it.
        Err(_) if !lost => Ok(()),
        Err(error) => {
            let answer = copy(&error);
            shared.start_failed(error);
            Err(answer)
        }
        Ok(()) if lost => {
            shared.start_failed(dropped_unrun());
            Err(dropped_unrun())
        }
        Ok(()) => Ok(()),
    }
}

/// The same error once more: `io::Error` cannot be cloned.
pub(super) fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// Calls the user's spawn handler, or the default one.
fn call_handler(shared: &Shared, new: NewThread) -> io::Result<()> {
    let handler = &shared.config.spawn_handler;
    let call = std::panic::AssertUnwindSafe(|| handler(new));
    std::panic::catch_unwind(call).unwrap_or_else(|payload| {
        let error = io::Error::other(format!("the spawn handler panicked: {}", panic_message(&*payload)));
        crate::report::swallow("the spawn handler", payload);
        Err(error)
    })
}

/// Makes a thread with `std::thread::Builder`.
pub(super) fn default_handler(new: NewThread) -> io::Result<()> {
    let mut builder = std::thread::Builder::new().name(new.name.clone());
    if let Some(bytes) = new.stack_size {
        builder = builder.stack_size(bytes);
    }
    builder.spawn(move || new.run()).map(drop)
}

impl Shared {
    /// A thread could not be started; its reservation and token are back.
    fn start_failed(&self, error: io::Error) {
        self.cool_down.count_failure();
        self.cool_down.begin(error);
        self.see_to_queue();
    }

    /// Fewer threads than promised will come: sees to it that what is queued has an end.
    fn see_to_queue(&self) {
        self.growth_ended();
        if self.headcount.reserved() == 0 {
            self.abandon_queue();
        } else if !self.queues.is_empty() {
            self.monitor.arm(self);
        }
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests {
    use super::*;

    #[test]
    fn reservations_stop_at_the_limits() {
        let count = Headcount::new();
        assert!(count.reserve(2, 3));
        assert!(count.reserve(2, 3));
        assert!(!count.reserve(2, 3), "two are entitled");
        assert_eq!(count.reserve_many(9, 3), 1);
        assert_eq!(count.reserve_many(9, 3), 0);
        count.resign();
        assert_eq!((count.reserved(), count.staying()), (3, 2));
        assert!(!count.reserve(3, 3), "one stays fewer, but it is not gone (P1)");
        assert!(!count.resign_above(2));
        count.arrive();
        count.leave();
        assert!(count.reserve(3, 3));
    }

    #[test]
    fn the_pause_doubles_to_a_second_and_ends_with_a_success() {
        let cool_down = CoolDown::new();
        assert!(!cool_down.is_on());
        for _ in 0..6 {
            cool_down.begin(io::Error::other("no"));
            assert!(cool_down.is_on());
            cool_down.begin(io::Error::other("a failure during the pause"));
            let now = Until::Instant(Instant::now());
            cool_down.inner.lock().until = Some(now);
            assert!(!cool_down.is_on(), "the pause has passed");
        }
        assert_eq!(cool_down.inner.lock().length, LAST_COOL_DOWN);
        cool_down.end();
        assert!(!cool_down.is_on());
        assert_eq!(cool_down.inner.lock().length, FIRST_COOL_DOWN);
    }

    #[test]
    fn a_system_without_threads_is_asked_once() {
        let cool_down = CoolDown::new();
        cool_down.begin(io::ErrorKind::Unsupported.into());
        assert!(matches!(cool_down.inner.lock().until, Some(Until::Ever)));
        assert!(cool_down.is_on());
    }
}
