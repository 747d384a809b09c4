//! A value on a thread of its own: [`Dedicated`]. The thread is a pool of one, the turns are those
//! of a [`Strand`], and what the strand holds is the right to the value, which lies in a
//! thread-local variable and never leaves its thread.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::{Strand, refuse};
use crate::error::Reason;
use crate::panic::catch_panic;
use crate::pool::{LaneMetrics, Pool, PoolBuilder};
use crate::sync::{thread, thread_local_const};
use crate::task::Task;

/// A value with a thread of its own, on which it is made, used and dropped: so it need not be
/// `Send`.
///
/// For a library that insists on one thread (COM, many graphics and audio interfaces, an
/// interpreter), for a value with `Rc` or thread-local state inside, or for calls that block for so
/// long that they should have no share in a pool. The calls are those of a [`Strand`]: one at a
/// time, in order, cancelled and poisoned alike. The thread is there for as long as the value, and
/// asleep while nothing is queued; it counts in no other pool. Where the value is `Send`, a
/// `Strand` does the same without a thread of its own.
///
/// Clones are handles to the same value. When the last one is dropped, the calls that are queued
/// still run; then the value is dropped on its thread, which ends. Nothing waits for that but
/// [`close`](Dedicated::close).
///
/// A call that [retires](crate::current::retire_thread) its thread ends the value with it: later
/// calls resolve with [`is_shutdown`](crate::TaskError::is_shutdown).
///
/// ```
/// use std::cell::RefCell;
/// use std::rc::Rc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let words = sidestep::Dedicated::new(|| Rc::new(RefCell::new(Vec::new())))?;
/// words.call(|words| words.borrow_mut().push("an Rc on its own thread")).wait()?;
/// assert_eq!(words.call(|words| words.borrow().len()).wait()?, 1);
/// words.close().wait()?;
/// # Ok(()) }
/// ```
#[doc(alias = "SyncWrapper")]
pub struct Dedicated<T: 'static> {
    strand: Strand<Seat<T>>,
}

/// The right to the value.
struct Seat<T: 'static> {
    /// What makes it, until that has been called.
    make: Option<Box<dyn FnOnce() -> T + Send>>,
    /// Its thread, from then on until it is taken away.
    thread: Option<thread::ThreadId>,
}

thread_local_const! { static VALUE: RefCell<Resident> = RefCell::new(Resident(None)) }

/// The value of this thread.
struct Resident(Option<Box<dyn Any>>);

impl<T: 'static> Dedicated<T> {
    /// Starts a thread and has it make the value, before any call. Returns without waiting for
    /// that.
    ///
    /// If `make` panics, the panic is traced and calls resolve with
    /// [`is_poisoned`](crate::TaskError::is_poisoned). If it may fail, use
    /// [`try_new`](Dedicated::try_new).
    ///
    /// # Errors
    ///
    /// What the operating system says if it refuses the thread; besides, as [`PoolBuilder::build`].
    pub fn new(make: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        Dedicated::with(Pool::builder().name("dedicated"), make)
    }

    /// As [`new`](Dedicated::new), with settings for the thread: its name, its stack, its hooks;
    /// and a [limit](PoolBuilder::queue_limit) for the calls that wait. The numbers of threads in
    /// `builder` are overruled.
    ///
    /// # Errors
    ///
    /// As [`PoolBuilder::build`].
    ///
    /// ```
    /// use sidestep::{Dedicated, Pool};
    ///
    /// let deep = Dedicated::with(Pool::builder().name("parser").stack_size(64 << 20), || ())?;
    /// let name = deep.call(|_| std::thread::current().name().map(str::to_owned)).wait()?;
    /// assert!(name.is_some_and(|name| name.starts_with("parser")));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with(builder: PoolBuilder, make: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        let limit = builder.tasks_limit();
        let pool = thread_of_one(builder)?;
        let mut lane = pool.lane_builder("dedicated", 1);
        if let Some(limit) = limit {
            lane = lane.queue_limit(limit);
        }
        let lane = lane.build()?;
        let strand = Strand::in_lane(&lane, Seat { make: Some(Box::new(make)), thread: None })?;
        // It takes no place among the calls. A call that should come first makes the value itself.
        pool.options().attempt(strand.turn(|seat| seat.with(|_| ()))).detach();
        Ok(Dedicated { strand })
    }

    /// As [`new`](Dedicated::new) for a value that may not come about, such as a connection. The
    /// task gives the handle once the value is there.
    ///
    /// # Errors
    ///
    /// What the operating system says if it refuses the thread; besides, as [`PoolBuilder::build`].
    /// The task gives the error of `make`, and [`is_panic`](crate::TaskError::is_panic) if that
    /// panics.
    ///
    /// # Cancellation
    ///
    /// Dropping the task while `make` runs drops the value once it is there.
    ///
    /// ```
    /// use sidestep::Dedicated;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let file = Dedicated::try_new(|| std::fs::File::open("Cargo.toml"))?.wait()??;
    /// assert!(file.call(|file| file.metadata()).wait()??.len() > 0);
    /// let none = Dedicated::try_new(|| std::fs::File::open("no such file"))?.wait()?;
    /// assert!(none.is_err());
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn try_new<E: Send + 'static>(
        make: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> io::Result<Task<Result<Self, E>>> {
        let pool = thread_of_one(Pool::builder().name("dedicated"))?;
        let home = pool.clone();
        Ok(pool.spawn(move || make().map(|value| Dedicated { strand: Strand::on(&home, Seat::take(value)) })))
    }

    /// Queues a call. It never waits; the handle gives what `f` returns.
    ///
    /// # Errors
    ///
    /// None here: the handle resolves with the errors of [`Strand::call`].
    #[doc(alias = "interact")]
    #[track_caller]
    pub fn call<F, R>(&self, f: F) -> Task<R>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        self.strand.attempt(move |seat| seat.with(f))
    }

    /// Takes the value off its thread, once the calls queued so far have ended; the thread ends
    /// with the last handle. See [`Strand::into_inner`].
    ///
    /// # Errors
    ///
    /// As [`Strand::into_inner`].
    ///
    /// # Cancellation
    ///
    /// As [`Strand::into_inner`].
    #[track_caller]
    pub fn into_inner(self) -> Task<T>
    where
        T: Send,
    {
        self.strand.take_with(|mut seat| seat.vacate().map(|value| *value))
    }

    /// Drops the value on its thread, once the calls queued so far have ended, and tells when that
    /// is done. Later calls, from whatever handle, resolve with
    /// [`is_shutdown`](crate::TaskError::is_shutdown).
    ///
    /// # Errors
    ///
    /// As [`Strand::into_inner`]; and [`is_panic`](crate::TaskError::is_panic) if the value's
    /// destructor panics.
    ///
    /// # Cancellation
    ///
    /// Dropping the task before its turn has come leaves the value to the other handles, or drops
    /// it if there are none.
    #[track_caller]
    pub fn close(self) -> Task<()> {
        self.strand.take_with(|mut seat| seat.vacate().map(drop))
    }

    /// The numbers of its calls.
    #[must_use]
    pub fn metrics(&self) -> LaneMetrics {
        self.strand.lane().metrics()
    }

    /// As [`Strand::is_poisoned`].
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.strand.is_poisoned()
    }

    /// As [`Strand::clear_poison`].
    pub fn clear_poison(&self) {
        self.strand.clear_poison();
    }
}

/// A pool of one thread, which has been started.
fn thread_of_one(builder: PoolBuilder) -> io::Result<Pool> {
    builder.core_threads(1).max_threads(1).build()
}

impl<T: 'static> Seat<T> {
    /// Makes `value` the value of this thread.
    fn take(value: T) -> Self {
        settle(Box::new(value));
        Seat { make: None, thread: Some(thread::current().id()) }
    }

    /// Calls `f` with the value, which is made first if it is not there yet. An error if it is
    /// gone.
    fn with<R>(&mut self, f: impl FnOnce(&mut T) -> R) -> Result<R, Reason> {
        /// Puts the value back, also in a panic.
        struct Borrowed<T: 'static>(Option<Box<T>>);
        impl<T: 'static> Drop for Borrowed<T> {
            fn drop(&mut self) {
                self.0.take().into_iter().for_each(|value| settle(value));
            }
        }
        if let Some(make) = self.make.take() {
            *self = Seat::take(make());
        }
        let mut borrowed = Borrowed(self.borrow());
        match &mut borrowed.0 {
            Some(value) => Ok(f(value)),
            None => refuse(f, Reason::Taken),
        }
    }

    /// Takes the value for good.
    fn vacate(&mut self) -> Result<Box<T>, Reason> {
        let value = self.borrow().ok_or(Reason::Taken);
        self.thread = None;
        value
    }

    /// Takes the value out of its place, if it is there.
    fn borrow(&self) -> Option<Box<T>> {
        self.resident().and_then(|value| value.downcast().ok())
    }

    /// The value, if it is on this thread.
    fn resident(&self) -> Option<Box<dyn Any>> {
        if self.thread != Some(thread::current().id()) {
            return None;
        }
        VALUE.try_with(|value| value.borrow_mut().0.take()).ok().flatten()
    }
}

/// Makes `value` the value of this thread.
fn settle(value: Box<dyn Any>) {
    let old = VALUE.with(|resident| resident.replace(Resident(Some(value))));
    // It may be there still if the thread had another pool before: its destructor is foreign code,
    // so not in `replace`.
    drop(old);
}

impl<T: 'static> Drop for Seat<T> {
    fn drop(&mut self) {
        drop(self.resident());
    }
}

/// The thread ends while the value is still there: a call has retired it.
impl Drop for Resident {
    fn drop(&mut self) {
        let value = self.0.take();
        catch_panic("the destructor of a value whose thread has ended", || drop(value));
    }
}

impl<T: 'static> Clone for Dedicated<T> {
    fn clone(&self) -> Self {
        Dedicated { strand: self.strand.clone() }
    }
}

// As for `Strand`; and no other thread ever sees the value.
impl<T: 'static> UnwindSafe for Dedicated<T> {}
impl<T: 'static> RefUnwindSafe for Dedicated<T> {}

impl<T: 'static> fmt::Debug for Dedicated<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dedicated").field("poisoned", &self.is_poisoned()).finish_non_exhaustive()
    }
}
