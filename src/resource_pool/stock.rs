//! Which values of a resource pool there are: what changes under the lock. The rules are those of
//! the module.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::metrics::ResourceMetrics;
use crate::sync::{ProcessMutex, now};

/// The places of a resource pool, and the values that are idle in them. Handles have it for its
/// numbers.
pub(super) struct Shelf<T> {
    size: usize,
    max_idle: Option<Duration>,
    max_age: Option<Duration>,
    stock: ProcessMutex<Stock<T>>,
}

/// What changes under the lock. In a forked child it is out of reach: the values are the parent's.
struct Stock<T> {
    /// In the order in which they became idle.
    idle: Vec<IdleValue<T>>,
    /// Places that are not free (V3).
    taken: usize,
    /// The earliest time for which an alarm is set.
    alarm: Option<Instant>,
    made: u64,
    make_failures: u64,
    check_failures: u64,
    dropped: u64,
}

/// A value, and when it was made, where that matters.
pub(super) struct PooledValue<T> {
    pub(super) value: T,
    made: Option<Instant>,
}

struct IdleValue<T> {
    pooled: PooledValue<T>,
    /// When it must go.
    due: Option<Instant>,
}

/// What a thread that looks for a value finds. In each case but the last it has a place now.
pub(super) enum FoundValue<T> {
    Idle(PooledValue<T>),
    /// A value that has been idle, or lives, for too long.
    Overdue(PooledValue<T>),
    /// A free place: a value may be made.
    Place,
    Nothing,
}

impl<T> Shelf<T> {
    pub(super) fn new(size: usize, max_idle: Option<Duration>, max_age: Option<Duration>) -> Arc<Self> {
        let stock = Stock {
            idle: Vec::new(),
            taken: 0,
            alarm: None,
            made: 0,
            make_failures: 0,
            check_failures: 0,
            dropped: 0,
        };
        Arc::new(Shelf { size, max_idle, max_age, stock: ProcessMutex::new(stock) })
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The time, where it matters.
    fn now(&self) -> Option<Instant> {
        (self.max_idle.is_some() || self.max_age.is_some()).then(now)
    }

    /// When a value that becomes idle now must go.
    fn due(&self, made: Option<Instant>, now: Option<Instant>) -> Option<Instant> {
        let end = |begin: Option<Instant>, time: Option<Duration>| begin?.checked_add(time?);
        end(now, self.max_idle).into_iter().chain(end(made, self.max_age)).min()
    }

    /// Takes the value that was used last, or a place for one.
    pub(super) fn take(&self) -> FoundValue<T> {
        let now = self.now();
        let Some(mut stock) = self.stock.lock() else { return FoundValue::Nothing };
        // The place stays taken: it is the caller's now (V4).
        if let Some(IdleValue { pooled, due }) = stock.idle.pop() {
            return if is_over(due, now) { FoundValue::Overdue(pooled) } else { FoundValue::Idle(pooled) };
        }
        // V3: the only step that takes a place.
        if stock.taken < self.size {
            stock.taken += 1;
            return FoundValue::Place;
        }
        FoundValue::Nothing
    }

    /// Takes a value that has been idle, or lives, for too long. `None` if there is none: then the
    /// alarm is set for the next, and the result says when it must ring.
    pub(super) fn take_overdue(&self) -> Result<PooledValue<T>, Option<Instant>> {
        let now = self.now();
        let Some(mut stock) = self.stock.lock() else { return Err(None) };
        match stock.idle.iter().position(|idle| is_over(idle.due, now)) {
            Some(index) => Ok(stock.idle.remove(index).pooled),
            None => {
                stock.alarm = stock.idle.iter().filter_map(|idle| idle.due).min();
                Err(stock.alarm)
            }
        }
    }

    /// Puts a value that has been used into the list. Returns when an alarm is to ring, if another
    /// is needed.
    ///
    /// # Errors
    ///
    /// The value, if it must go.
    pub(super) fn put(&self, pooled: PooledValue<T>) -> Result<Option<Instant>, PooledValue<T>> {
        let now = self.now();
        let due = self.due(pooled.made, now);
        if is_over(due, now) {
            return Err(pooled);
        }
        let Some(mut stock) = self.stock.lock() else { return Err(pooled) };
        stock.idle.push(IdleValue { pooled, due });
        let is_earlier = due.is_some_and(|due| stock.alarm.is_none_or(|alarm| due < alarm));
        if !is_earlier {
            return Ok(None);
        }
        stock.alarm = due;
        Ok(due)
    }

    /// The alarm has rung in vain: the next value that is put back sets another.
    pub(super) fn forget_alarm(&self) {
        if let Some(mut stock) = self.stock.lock() {
            stock.alarm = None;
        }
    }

    /// A value has been made in a place of the caller's.
    pub(super) fn add(&self, value: T) -> PooledValue<T> {
        let made = self.now();
        if let Some(mut stock) = self.stock.lock() {
            stock.made += 1;
        }
        PooledValue { value, made }
    }

    pub(super) fn count_make_failure(&self) {
        if let Some(mut stock) = self.stock.lock() {
            stock.make_failures += 1;
        }
    }

    pub(super) fn count_check_failure(&self) {
        if let Some(mut stock) = self.stock.lock() {
            stock.check_failures += 1;
        }
    }

    /// A place of the caller's is free again, after the drop of a value if there was one (V3).
    pub(super) fn free_place(&self, had_value: bool) {
        if let Some(mut stock) = self.stock.lock() {
            stock.taken -= 1;
            stock.dropped += u64::from(had_value);
        }
    }

    /// Takes all values that are idle, with their places. None in a forked child.
    pub(super) fn take_all(&self) -> Vec<PooledValue<T>> {
        let Some(mut stock) = self.stock.lock() else { return Vec::new() };
        let mut all = Vec::with_capacity(stock.idle.len());
        for idle in stock.idle.drain(..) {
            all.push(idle.pooled);
        }
        all
    }

    pub(super) fn metrics(&self) -> ResourceMetrics {
        let size = self.size;
        let Some(stock) = self.stock.lock() else { return ResourceMetrics { size, ..Default::default() } };
        ResourceMetrics {
            size,
            values: stock.taken,
            idle: stock.idle.len(),
            made: stock.made,
            make_failures: stock.make_failures,
            check_failures: stock.check_failures,
            dropped: stock.dropped,
        }
    }
}

fn is_over(due: Option<Instant>, now: Option<Instant>) -> bool {
    due.zip(now).is_some_and(|(due, now)| due <= now)
}
