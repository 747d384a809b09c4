//! What a peer is, and which peers there are.
//!
//! A peer is one way to run a blocking closure off an async program. To add one: write an adapter
//! of [`Peer`] in a file of its own, give it a [`Family`], and add its rows to
//! [`ENTRANTS`](crate::entrants::ENTRANTS). No scenario need know. Where only some calls may run at
//! a time they go in through [`Limited`], for which every peer has a default.

mod affinitypool;
mod blocking;
mod call;
mod limited;
mod owner;
mod rayon;
mod rusty_pool;
mod sidestep;
mod thread;
mod threadpool;
mod tokio;

use ::tokio::runtime::{Builder, Handle};
use anyhow::Result;

pub(crate) use self::call::Call;
pub(crate) use self::limited::Limited;
use self::limited::Semaphored;

/// How many threads a peer may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// As many as it does by itself.
    Default,
    /// It may grow to so many; a peer of fixed size has so many.
    AtMost(usize),
    /// It keeps so many at least.
    Keep(usize),
    /// It keeps so many and has no more.
    Exactly(usize),
}

impl Threads {
    /// The number, where one is asked for.
    pub(crate) fn number(self) -> Option<usize> {
        match self {
            Self::Default => None,
            Self::AtMost(threads) | Self::Keep(threads) | Self::Exactly(threads) => Some(threads),
        }
    }
}

/// One way to run a blocking closure, as its users would.
pub(crate) trait Peer: Send + Sync + Sized + 'static {
    /// It keeps threads and a queue, so a number of threads means something to it.
    const IS_POOL: bool = true;
    /// A queued closure can be cancelled, so that it never runs.
    const CANCELS: bool;
    /// There is one for the whole process, so it is fresh only once.
    const GLOBAL: bool = false;

    /// For a peer whose threads belong to the runtime: sets them.
    fn tune(_runtime: &mut Builder, _threads: Threads) {}

    /// For a peer that is configured through the environment only: variable and value.
    fn environment(_threads: Threads) -> Option<(&'static str, String)> {
        None
    }

    /// Starts it beside the runtime that its calls come from.
    fn start(threads: Threads, runtime: &Handle) -> Result<Self>;

    /// Submits `work` and gives a future of its result.
    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Call<Output = T>;

    /// Runs `work` to its end though nobody holds a handle.
    fn spawn_detached(&self, work: impl FnOnce() + Send + 'static);

    /// A way in for calls of which no more than `limit` run at a time: a semaphore before the peer,
    /// where it has no better one.
    fn limited(&'static self, limit: usize, runtime: &Handle) -> Result<impl Limited> {
        Ok(Semaphored::new(self, limit, runtime))
    }
}

/// The types that implement [`Peer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Sidestep,
    SidestepTime,
    Tokio,
    TokioSharded,
    Blocking,
    Affinitypool,
    AffinitypoolOneshot,
    Rayon,
    Threadpool,
    RustyPool,
    Thread,
    /// Not a pool, but a value with calls of its own.
    Strand,
    OwnerThread,
}

/// Something to do with the type behind a [`Family`].
pub(crate) trait Visit {
    type Output;
    fn visit<P: Peer>(self) -> Self::Output;
}

impl Family {
    /// Does it with this family's type.
    pub(crate) fn dispatch<V: Visit>(self, visit: V) -> V::Output {
        match self {
            Self::Sidestep => visit.visit::<sidestep::Sidestep<true>>(),
            Self::SidestepTime => visit.visit::<sidestep::Sidestep<false>>(),
            Self::Tokio => visit.visit::<tokio::Tokio<false>>(),
            Self::TokioSharded => visit.visit::<tokio::Tokio<true>>(),
            Self::Blocking => visit.visit::<blocking::Blocking>(),
            Self::Affinitypool => visit.visit::<affinitypool::Affinitypool<false>>(),
            Self::AffinitypoolOneshot => visit.visit::<affinitypool::Affinitypool<true>>(),
            Self::Rayon => visit.visit::<rayon::Rayon>(),
            Self::Threadpool => visit.visit::<threadpool::Threadpool>(),
            Self::RustyPool => visit.visit::<rusty_pool::RustyPool>(),
            Self::Thread => visit.visit::<thread::Thread>(),
            #[cfg(feature = "strands")]
            Self::Strand => visit.visit::<owner::Strand>(),
            // No older version takes part that lacks strands; as far as settings go one is like the
            // other.
            #[cfg(not(feature = "strands"))]
            Self::Strand => visit.visit::<owner::Thread>(),
            Self::OwnerThread => visit.visit::<owner::Thread>(),
        }
    }

    /// The same for what takes long to compile: a program that runs ours alone has it for ours
    /// alone.
    pub(crate) fn dispatch_heavy<V: Visit>(self, visit: V) -> Option<V::Output> {
        #[cfg(feature = "rivals")]
        return Some(self.dispatch(visit));
        #[cfg(not(feature = "rivals"))]
        match self {
            Self::Sidestep => Some(visit.visit::<sidestep::Sidestep<true>>()),
            Self::SidestepTime => Some(visit.visit::<sidestep::Sidestep<false>>()),
            #[cfg(feature = "strands")]
            Self::Strand => Some(visit.visit::<owner::Strand>()),
            _ => None,
        }
    }

    /// Why it takes no part in this build, if so.
    pub(crate) fn absence(self) -> Option<&'static str> {
        (self == Self::TokioSharded && !tokio::SHARDED_EXISTS).then_some(
            "built without `--cfg tokio_unstable`; run it from benches/versus, where .cargo/config.toml sets that \
             (an environment variable RUSTFLAGS overrides the file)",
        )
    }
}
