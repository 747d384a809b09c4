//! Which task a thread runs, for others to read: by id and site, and where the task has more, by
//! name and start.
//!
//! An ordinary task costs its thread two stores. The site is `'static` and may be followed whenever
//! it is read.
//!
//! - **T9** The site shown is null or was made from a `&'static Location`: whoever reads it may
//!   follow it, however late.

use std::borrow::Cow;
use std::panic::Location;
use std::ptr;
use std::time::Instant;

use crate::error::{Origin, TaskId};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use crate::task::TaskRef;

/// A task that a thread was found to be inside.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) origin: Origin,
    /// When its closure began, if it is timed.
    pub(crate) since: Option<Instant>,
}

#[derive(Clone, Debug, Default)]
struct Detail {
    name: Option<Cow<'static, str>>,
    since: Option<Instant>,
}

/// The task that a thread runs or ran last, and those that wait for it in place, the outermost
/// first.
#[derive(Debug)]
pub(crate) struct Current {
    id: AtomicU64,
    site: AtomicPtr<Location<'static>>,
    /// Whether `detail` holds anything. Only the thread itself asks.
    detailed: AtomicBool,
    detail: Mutex<Detail>,
    /// `None` where the one that waits is no task but a waker or callback.
    below: Mutex<Vec<Option<Shown>>>,
}

impl Current {
    pub(super) fn new() -> Self {
        Current {
            id: AtomicU64::new(0),
            site: AtomicPtr::new(ptr::null_mut()),
            detailed: AtomicBool::new(false),
            detail: Mutex::new(Detail::default()),
            below: Mutex::new(Vec::new()),
        }
    }

    /// Shows a task that begins and carries nothing. Only the thread itself may call this, as all
    /// but `read`.
    #[inline]
    pub(super) fn show_plain(&self, task: &TaskRef) {
        self.place(task.id(), task.site());
        if self.detailed.load(Ordering::Relaxed) {
            self.add_detail(false, Detail::default());
        }
    }

    /// The same for a task that may have a name or a start.
    pub(super) fn show(&self, task: &TaskRef, since: Option<Instant>) {
        self.place(task.id(), task.site());
        let name = task.extras().and_then(|extras| extras.name.clone());
        let detailed = name.is_some() || since.is_some();
        if detailed || self.detailed.load(Ordering::Relaxed) {
            self.add_detail(detailed, Detail { name, since });
        }
    }

    #[inline]
    fn place(&self, id: TaskId, site: &'static Location<'static>) {
        // ORDERING: Release, here and for the site, pairs with the Acquire in `read_top`. The task
        // before has been counted as ended by then: so whoever reads anything of a task that is not
        // counted as begun finds that nothing runs (`Slot::shown`).
        self.id.store(id.as_u64(), Ordering::Release);
        self.site.store(ptr::from_ref(site).cast_mut(), Ordering::Release);
    }

    #[cold]
    fn add_detail(&self, detailed: bool, detail: Detail) {
        self.detailed.store(detailed, Ordering::Relaxed);
        let old = std::mem::replace(&mut *self.detail.lock(), detail);
        drop(old);
    }

    /// The thread, which is inside `running` tasks, waits: others are about to run in place.
    pub(super) fn interrupt(&self, running: u64) {
        let mut below = self.below.lock();
        let waits = running > below.iter().flatten().count() as u64;
        below.push(self.read_top().filter(|_| waits));
    }

    /// They have run.
    pub(super) fn resume(&self) {
        let shown = self.below.lock().pop().flatten();
        if let Some(Shown { origin, since }) = shown {
            self.place(origin.id, origin.site);
            self.add_detail(origin.name.is_some() || since.is_some(), Detail { name: origin.name, since });
        }
    }

    fn read_top(&self) -> Option<Shown> {
        // ORDERING: Acquire pairs with the Release in `place`.
        let site = self.site.load(Ordering::Acquire);
        // ORDERING: as above. Relaxed would let it be read after the counts that are to vouch for
        // it.
        let id = self.id.load(Ordering::Acquire);
        // SAFETY: T9.
        let site = unsafe { site.as_ref() }?;
        let Detail { name, since } = self.detail.lock().clone();
        Some(Shown { origin: Origin { id: TaskId::new(id), site, name }, since })
    }

    /// The tasks shown. If the thread has gone on to another task meanwhile they may be mixed up:
    /// the caller must see to that.
    pub(super) fn read(&self) -> Vec<Shown> {
        let mut all: Vec<_> = self.below.lock().iter().flatten().cloned().collect();
        all.extend(self.read_top());
        all
    }
}
