//! [`Callee`]: what takes calls, and the work of the task that makes one.

use self::sealed::{Serve, Server};
use crate::error::{Reason, Rejected};
use crate::panic::catch_panic;
use crate::pool::{ChosenTarget, Permit, TaskOptions};
use crate::task::{Task, Work};

/// What takes calls on a value: a [`Strand`](crate::Strand), a [`Session`](crate::Session) of one,
/// a [`Dedicated`](crate::Dedicated) value or a [`ResourcePool`](crate::ResourcePool).
/// [`CallOptions`](crate::CallOptions) and [`CallPermit`](crate::CallPermit) are for all of them.
///
/// This trait is sealed: other crates cannot implement it.
///
/// ```
/// use sidestep::{CallOptions, Callee, Pool, ResourcePool, Strand};
///
/// /// Whatever the value lies behind.
/// fn count<C: Callee<Value = Vec<u8>>>(options: &CallOptions<'_, C>) -> usize {
///     options.call(|bytes| bytes.len()).wait().unwrap()
/// }
///
/// let pool = Pool::new()?;
/// let strand = Strand::on(&pool, vec![1, 2]);
/// let values = ResourcePool::builder(&pool, 2, || std::io::Result::Ok(vec![1])).build()?;
/// assert_eq!((count(&strand.options()), count(&values.options())), (2, 1));
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Callee: Serve {}

impl<C: Serve> Callee for C {}

pub(crate) mod sealed {
    //! The traits that seal [`Callee`](super::Callee).
    #![expect(unnameable_types, reason = "the sealed trait of a public trait cannot be private")]

    use crate::error::Reason;
    use crate::pool::TaskOptions;

    /// What takes calls.
    pub trait Serve {
        /// What the closure of a call gets.
        type Value: 'static;
        /// What a call has with it.
        #[doc(hidden)]
        type Server: Server<Value = Self::Value>;
        #[doc(hidden)]
        fn server(&self) -> Self::Server;
        /// The options of all calls.
        #[doc(hidden)]
        fn call_options(&self) -> TaskOptions<'_>;
    }

    /// What finds the value for a call that runs.
    pub trait Server: Send + 'static {
        type Value: 'static;
        /// Calls `f` with the value; or drops `f`, and returns why there is no value.
        #[doc(hidden)]
        #[expect(private_interfaces, reason = "no other crate can name this trait")]
        fn serve<F, R>(self, f: F) -> Result<R, Reason>
        where
            F: FnOnce(&mut Self::Value) -> R;
    }
}

/// The work of a task that makes a call.
struct CallWork<S, F> {
    server: S,
    f: F,
}

impl<S: Server, F: FnOnce(&mut S::Value) -> R, R> Work<R> for CallWork<S, F> {
    fn work(self) -> Result<R, Reason> {
        self.server.serve(self.f)
    }
}

/// Queues a call with the options of all calls.
#[track_caller]
pub(crate) fn plain_call<S, F, R>(target: &ChosenTarget, server: S, f: F) -> Task<R>
where
    S: Server,
    F: FnOnce(&mut S::Value) -> R + Send + 'static,
    R: Send + 'static,
{
    target.start(CallWork { server, f })
}

/// Queues a call with options of its own.
#[track_caller]
pub(super) fn call<S, F, R>(options: &TaskOptions<'_>, server: S, f: F) -> Task<R>
where
    S: Server,
    F: FnOnce(&mut S::Value) -> R + Send + 'static,
    R: Send + 'static,
{
    options.start(CallWork { server, f })
}

/// Queues a call, or returns the closure.
#[track_caller]
pub(super) fn try_call<S, F, R>(options: &TaskOptions<'_>, server: S, f: F) -> Result<Task<R>, Rejected<F>>
where
    S: Server,
    F: FnOnce(&mut S::Value) -> R + Send + 'static,
    R: Send + 'static,
{
    options.try_start(CallWork { server, f }).map_err(|rejected| rejected.map(|work| work.f))
}

/// Queues a call with a permit.
#[track_caller]
pub(super) fn call_with_permit<S, F, R>(options: &TaskOptions<'_>, permit: Permit, server: S, f: F) -> Task<R>
where
    S: Server,
    F: FnOnce(&mut S::Value) -> R + Send + 'static,
    R: Send + 'static,
{
    options.start_with_permit(permit, CallWork { server, f })
}

/// Drops the closure of a call that will not run. A panic of its destructor is reported, and does
/// not change how the call ends.
pub(crate) fn refuse<F, R>(f: F, reason: Reason) -> Result<R, Reason> {
    catch_panic("the destructor of a call that was refused", || drop(f));
    Err(reason)
}
