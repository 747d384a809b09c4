//! A value on a thread of its own: [`Dedicated`]. The thread is that of a pool of one thread, and a
//! [`Strand`] gives the calls their order. The value lies in a thread-local variable and never
//! leaves its thread; the strand holds a [`ThreadBound`], the exclusive right to the value.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use super::callee::sealed::{Serve, Server};
use super::callee::{plain_call, refuse};
use super::inner::StrandCall;
use super::{Access, CallOptions, ReserveCall, Strand};
use crate::error::{Reason, Rejected};
use crate::panic::catch_panic;
use crate::pool::{ChosenTarget, LaneMetrics, Pool, PoolBuilder, TaskOptions};
use crate::sync::{thread, thread_local_const};
use crate::task::Task;

/// A value with a thread of its own, on which it is made, used and dropped: so it need not be
/// `Send`.
///
/// Use it for a library that must be called from one thread (COM, many graphics and audio
/// interfaces, an interpreter), for a value with `Rc` or thread-local state inside, or for calls
/// that block for so long that they should not occupy a shared pool. The calls are those of a
/// [`Strand`]: they run one at a time and in order, and cancellation and poisoning are those of a
/// strand. The thread lives as long as the value and sleeps while nothing is queued; it counts in
/// no other pool. If the value is `Send`, a `Strand` needs no thread of its own.
///
/// Clones are handles to the same value. When the last handle is dropped, the calls that are queued
/// still run; then the value is dropped on its thread, and the thread ends. Only
/// [`close`](Dedicated::close) waits for that.
///
/// A call that [retires](crate::current::retire_thread) the thread ends the value with it: later
/// calls resolve with an error that [`is_shutdown`](crate::TaskError::is_shutdown).
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
#[must_use = "a dedicated value whose last handle is dropped is dropped too, and ends its thread"]
pub struct Dedicated<T: 'static> {
    strand: Strand<ThreadBound<T>>,
}

/// The right to a value that stays on its thread.
struct ThreadBound<T: 'static> {
    /// The closure that makes the value, until the first call has called it.
    make: Option<Box<dyn FnOnce() -> T + Send>>,
    /// The thread that the value is on, from when it is made until it is taken out.
    thread: Option<thread::ThreadId>,
}

thread_local_const! { static VALUE: RefCell<ThreadValue> = RefCell::new(ThreadValue(None)) }

/// The value of this thread.
struct ThreadValue(Option<Box<dyn Any>>);

impl<T: 'static> Dedicated<T> {
    /// Starts a thread, which makes the value before it runs any call. This does not wait for the
    /// value.
    ///
    /// If `make` panics, the panic is traced and calls resolve with an error that
    /// [`is_poisoned`](crate::TaskError::is_poisoned). If `make` may fail, use
    /// [`try_new`](Dedicated::try_new).
    ///
    /// # Errors
    ///
    /// The error of the operating system if it refuses the thread, and those of
    /// [`PoolBuilder::build`].
    pub fn new(make: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        Dedicated::with(Pool::builder().name("dedicated"), make)
    }

    /// [`new`](Dedicated::new) with settings for the thread: its name, its stack size, its hooks;
    /// and with a [limit](PoolBuilder::queue_limit) for the calls that are queued. The numbers of
    /// threads in `builder` are ignored: there is one thread.
    ///
    /// # Errors
    ///
    /// Those of [`PoolBuilder::build`].
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
        let pool = single_thread_pool(builder)?;
        let mut lane = pool.lane_builder("dedicated", 1);
        if let Some(limit) = limit {
            lane = lane.queue_limit(limit);
        }
        let lane = lane.build()?;
        let strand = Strand::in_lane(&lane, ThreadBound { make: Some(Box::new(make)), thread: None })?;
        // It is not one of the lane's calls, so it takes no place in a limited queue. A call that
        // runs before it makes the value itself.
        let first = DedicatedCall(StrandCall(Arc::clone(&strand.inner)));
        plain_call(&ChosenTarget::of(&pool), first, |_| ()).detach();
        Ok(Dedicated { strand })
    }

    /// [`new`](Dedicated::new) for a value that may fail to be made, such as a connection. The task
    /// resolves with the handle once the value has been made.
    ///
    /// # Errors
    ///
    /// The error of the operating system if it refuses the thread, and those of
    /// [`PoolBuilder::build`]. The task resolves with the error of `make`, and with an error that
    /// [`is_panic`](crate::TaskError::is_panic) if `make` panics.
    ///
    /// # Cancellation
    ///
    /// Dropping the task while `make` runs drops the value once it has been made.
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
        let pool = single_thread_pool(Pool::builder().name("dedicated"))?;
        let own = pool.clone();
        let make = move || {
            make().map(|value| Dedicated { strand: Strand::on(&own, ThreadBound::to_this_thread(value)) })
        };
        Ok(pool.spawn(make))
    }

    /// Queues a call, without waiting. The returned task resolves with what `f` returns.
    ///
    /// # Errors
    ///
    /// None here: the task resolves with the errors of [`Strand::call`].
    #[doc(alias = "interact")]
    #[track_caller]
    pub fn call<F, R>(&self, f: F) -> Task<R>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        plain_call(&self.strand.inner.target, self.server(), f)
    }

    /// [`call`](Dedicated::call) that returns the closure where the call is refused: see
    /// [`Strand::try_call`].
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the closure, if the queue is full or this process is a forked child.
    ///
    /// ```
    /// use sidestep::{Dedicated, Pool};
    ///
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let slow = Dedicated::with(Pool::builder().queue_limit(1), move || gate.recv().is_err())?;
    /// let queued = slow.call(|made| *made);
    /// let rejected = slow.try_call(|_| "not this time").unwrap_err();
    /// assert!(rejected.error().is_full());
    /// drop(go);
    /// assert!(queued.wait()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn try_call<F, R>(&self, f: F) -> Result<Task<R>, Rejected<F>>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        self.options().try_call(f)
    }

    /// Waits for room in the queue, where it has a [limit](PoolBuilder::queue_limit): backpressure,
    /// as with [`Pool::reserve`]. The permit makes the call.
    #[track_caller]
    pub fn reserve(&self) -> ReserveCall<Self> {
        self.options().reserve()
    }

    /// Options for calls: a name, a time limit in the queue.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let device = sidestep::Dedicated::new(|| std::rc::Rc::new(7))?;
    /// let call = device.options().name("read").expire_after(Duration::from_secs(5)).call(|value| **value);
    /// assert_eq!(call.wait()?, 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn options(&self) -> CallOptions<'_, Self> {
        CallOptions::new(self)
    }

    /// Moves the value off its thread, once the calls queued so far have ended; the thread ends
    /// when the last handle is dropped. See [`Strand::into_inner`].
    ///
    /// # Errors
    ///
    /// Those of [`Strand::into_inner`].
    ///
    /// # Cancellation
    ///
    /// That of [`Strand::into_inner`].
    #[track_caller]
    pub fn into_inner(self) -> Task<T>
    where
        T: Send,
    {
        self.strand.take_with(
            |inner| inner.access().map(Access::take),
            |mut bound: ThreadBound<T>| bound.take().map(|value| *value),
        )
    }

    /// Drops the value on its thread, once the calls queued so far have ended; then the task
    /// resolves. Later calls, through any handle, resolve with an error that
    /// [`is_shutdown`](crate::TaskError::is_shutdown).
    ///
    /// # Errors
    ///
    /// Those of [`Strand::close`].
    ///
    /// # Cancellation
    ///
    /// Dropping the task before it has taken the value leaves the value to the other handles, or
    /// drops the value if there are none.
    #[track_caller]
    pub fn close(self) -> Task<()> {
        self.strand.take_with(
            |inner| inner.access_poisoned().map(Access::take),
            |mut bound: ThreadBound<T>| bound.take().map(drop),
        )
    }

    /// Counts and durations of the calls.
    #[must_use]
    pub fn metrics(&self) -> LaneMetrics {
        self.strand.lane().metrics()
    }

    /// Whether a call has panicked: see [`Strand::is_poisoned`].
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.strand.is_poisoned()
    }

    /// Declares the value sound, so that calls run again: see [`Strand::clear_poison`].
    pub fn clear_poison(&self) {
        self.strand.clear_poison();
    }
}

impl<T: 'static> Serve for Dedicated<T> {
    type Value = T;
    type Server = DedicatedCall<T>;

    fn server(&self) -> DedicatedCall<T> {
        DedicatedCall(StrandCall(Arc::clone(&self.strand.inner)))
    }

    fn call_options(&self) -> TaskOptions<'_> {
        self.strand.inner.target.options()
    }
}

/// What a call has with it.
#[expect(unnameable_types, missing_debug_implementations, reason = "part of a sealed trait")]
pub struct DedicatedCall<T: 'static>(StrandCall<ThreadBound<T>>);

impl<T: 'static> Server for DedicatedCall<T> {
    type Value = T;

    #[expect(private_interfaces, reason = "no other crate can name the trait")]
    fn serve<F, R>(self, f: F) -> Result<R, Reason>
    where
        F: FnOnce(&mut T) -> R,
    {
        self.0.serve(|bound| bound.with(f))?
    }
}

/// A pool of one thread, which it has started.
fn single_thread_pool(builder: PoolBuilder) -> io::Result<Pool> {
    builder.core_threads(1).max_threads(1).build()
}

impl<T: 'static> ThreadBound<T> {
    /// Makes `value` the value of this thread.
    fn to_this_thread(value: T) -> Self {
        install(Box::new(value));
        ThreadBound { make: None, thread: Some(thread::current().id()) }
    }

    /// Calls `f` with the value, which the first call makes. An error if the value has been taken
    /// out, or has ended with its thread.
    fn with<R>(&mut self, f: impl FnOnce(&mut T) -> R) -> Result<R, Reason> {
        /// Puts the value back, even if `f` panics.
        struct Borrowed<T: 'static>(Option<Box<T>>);
        impl<T: 'static> Drop for Borrowed<T> {
            fn drop(&mut self) {
                self.0.take().into_iter().for_each(|value| install(value));
            }
        }
        if let Some(make) = self.make.take() {
            *self = ThreadBound::to_this_thread(make());
        }
        let mut borrowed = Borrowed(self.uninstall());
        match &mut borrowed.0 {
            Some(value) => Ok(f(value)),
            None => refuse(f, Reason::Taken),
        }
    }

    /// Takes the value out for good.
    fn take(&mut self) -> Result<Box<T>, Reason> {
        let value = self.uninstall().ok_or(Reason::Taken);
        self.thread = None;
        value
    }

    /// Takes the value out of the thread-local variable, if it is there.
    fn uninstall(&self) -> Option<Box<T>> {
        self.uninstall_any().and_then(|value| value.downcast().ok())
    }

    /// Takes the value of this thread, if it is the one that this right is for.
    fn uninstall_any(&self) -> Option<Box<dyn Any>> {
        if self.thread != Some(thread::current().id()) {
            return None;
        }
        VALUE.try_with(|value| value.borrow_mut().0.take()).ok().flatten()
    }
}

/// Makes `value` the value of this thread.
fn install(value: Box<dyn Any>) {
    let old = VALUE.with(|installed| installed.replace(ThreadValue(Some(value))));
    // There is an old value if the thread belonged to another pool before. Its destructor is user
    // code, so it does not run inside `replace`.
    drop(old);
}

impl<T: 'static> Drop for ThreadBound<T> {
    fn drop(&mut self) {
        drop(self.uninstall_any());
    }
}

/// Where the value is still there when its thread ends, a call has retired the thread.
impl Drop for ThreadValue {
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

// A call that panics poisons the strand, and no other thread ever sees the value.
impl<T: 'static> UnwindSafe for Dedicated<T> {}
impl<T: 'static> RefUnwindSafe for Dedicated<T> {}

impl<T: 'static> fmt::Debug for Dedicated<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dedicated").field("poisoned", &self.is_poisoned()).finish_non_exhaustive()
    }
}
