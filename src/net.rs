//! Network calls that block: name lookups.
//!
//! This module needs the feature `fs`, which is a default one.

mod flights;

use std::future::Future;
use std::io;
use std::iter::FusedIterator;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::vec;

use futures_core::future::FusedFuture;

use crate::pool::{SpawnTarget, Spawner};
use crate::sys::first_use::get_or_make;

use flights::{Caller, Flights};
use sealed::{Host, Question};

/// Looks up the addresses of a host: [`std::net::ToSocketAddrs`], on the global pool.
///
/// It accepts the types that std accepts, borrowed or owned, and keeps a copy: the future borrows
/// nothing. The lookup begins with the first poll. If the host is an address already, such as
/// `"127.0.0.1:80"`, `("::1", 80)` or a [`SocketAddr`], that poll returns it, without a trip to the
/// pool. The addresses come in the order of the resolver, and may repeat.
///
/// Lookups of the same name that overlap in time are one question to the system, and each gets its
/// answer or its error. Nothing is cached: a lookup that begins when the answer has come asks anew.
///
/// For a type of yours that implements std's trait, write
/// `sidestep::unblock(move || host.to_socket_addrs())`.
///
/// # Errors
///
/// As std: [`InvalidInput`](io::ErrorKind::InvalidInput) for text that is not a host and a port,
/// and the resolver's error for a name that it does not know or cannot look up. If the pool could
/// not run the lookup, the [`TaskError`](crate::TaskError) as an [`io::Error`].
///
/// # Cancellation
///
/// Dropping the future cancels a queued lookup, which then never runs, unless other futures wait
/// for the same answer. No system can interrupt a lookup that runs: it goes on to its end in the
/// background.
///
/// # Panics
///
/// Polling panics after the future has completed.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # sidestep::block_on(async {
/// for address in sidestep::net::lookup_host("localhost:80").await? {
///     assert!(address.ip().is_loopback() && address.port() == 80);
/// }
/// # Ok(()) })
/// # }
/// ```
///
/// # A resolver that hangs
///
/// If no name server answers, the system's resolver gives up after some 30 seconds. A timeout of
/// your runtime bounds how long you wait for it:
///
/// ```
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lookup = sidestep::net::lookup_host(("localhost", 80));
/// let addresses = tokio::time::timeout(Duration::from_secs(5), lookup).await??;
/// # assert!(addresses.count() > 0);
/// # Ok(())
/// # }
/// ```
///
/// It does not bound how many threads hang: each stays in its lookup until the resolver gives up.
/// But all lookups share a lane of the global pool, which runs at most 32 at a time, and at most
/// three quarters of the pool's threads; and two threads are in
/// [reserve](crate::LaneBuilder::reserve) for them where everything else hangs. To bound some
/// lookups apart, run them in a [`Lane`](crate::Lane) of their own: its limit holds even if the
/// callers give up.
///
/// ```
/// use std::io;
/// use std::net::SocketAddr;
/// use std::time::Duration;
///
/// use sidestep::{Lane, Pool, net};
/// use tokio::time::timeout;
///
/// /// At most `lane.limit()` threads ever hang in the resolver; the time bounds the wait for a slot as well.
/// async fn lookup(lane: &Lane, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
///     let lookup = net::on(lane).lookup_host((host, port));
///     Ok(timeout(Duration::from_secs(5), lookup).await??.collect())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> io::Result<()> {
/// let dns = Pool::global().lane("dns", 4); // made once, and kept
/// assert!(!lookup(&dns, "localhost".to_owned(), 80).await?.is_empty());
/// # Ok(())
/// # }
/// ```
pub fn lookup_host(host: impl ToSocketAddrs) -> LookupHost {
    static GLOBAL: OnceLock<Net> = OnceLock::new();

    get_or_make(&GLOBAL, || Net::to(SpawnTarget::LOOKUPS)).lookup_host(host)
}

/// The functions of this module on a spawner of your choice: a pool, a lane, or either with
/// options.
///
/// ```
/// use sidestep::{Pool, net};
///
/// # sidestep::block_on(async {
/// // Lookups of this part of the program: two at a time, whatever the resolver does.
/// let crawler = net::on(&Pool::global().lane("crawler lookups", 2));
/// assert!(crawler.lookup_host("localhost:80").await?.count() > 0);
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn on(spawner: &impl Spawner) -> Net {
    Net::to(SpawnTarget::of(spawner))
}

/// The functions of this module, as methods that run where [`on`] says. Cheap to clone.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until one of its functions is awaited"]
pub struct Net {
    target: SpawnTarget,
    /// Lookups share a question only with those of this handle and its clones: others may hang.
    flights: Arc<Flights>,
}

impl Net {
    fn to(target: SpawnTarget) -> Self {
        Net { target, flights: Arc::default() }
    }

    /// As [`lookup_host`].
    pub fn lookup_host(&self, host: impl ToSocketAddrs) -> LookupHost {
        LookupHost { net: self.clone(), state: State::New(host.question()) }
    }
}

/// The types that [`lookup_host`] accepts: those that std implements [`std::net::ToSocketAddrs`]
/// for.
///
/// This trait is sealed: other crates cannot implement it.
pub trait ToSocketAddrs: Host {}

/// The future of [`lookup_host`].
///
/// # Cancellation
///
/// Dropping it cancels, as [`lookup_host`] documents.
#[derive(Debug)]
#[must_use = "a lookup begins only when it is awaited"]
pub struct LookupHost {
    net: Net,
    state: State,
}

#[derive(Debug)]
enum State {
    New(Question),
    Running(Caller),
    Ended,
}

impl Future for LookupHost {
    type Output = io::Result<Addresses>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut caller = match mem::replace(&mut self.state, State::Ended) {
            State::New(Question::Answered(addresses)) => return Poll::Ready(Ok(addresses)),
            State::New(question) => {
                let name = question.name();
                self.net.flights.join(name, || self.net.target.options().spawn(move || question.answer()))
            }
            State::Running(caller) => caller,
            State::Ended => panic!("`LookupHost` was polled after completion"),
        };
        match caller.poll(context) {
            Poll::Ready(found) => Poll::Ready(found.map(Addresses::of)),
            Poll::Pending => {
                self.state = State::Running(caller);
                Poll::Pending
            }
        }
    }
}

/// A lookup is terminated once it has given its result.
impl FusedFuture for LookupHost {
    fn is_terminated(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

/// The addresses of a host, as [`lookup_host`] returns them.
#[derive(Clone, Debug)]
pub struct Addresses {
    found: vec::IntoIter<SocketAddr>,
}

impl Addresses {
    fn of(found: Vec<SocketAddr>) -> Self {
        Addresses { found: found.into_iter() }
    }
}

impl Iterator for Addresses {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        self.found.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.found.size_hint()
    }
}

impl DoubleEndedIterator for Addresses {
    fn next_back(&mut self) -> Option<SocketAddr> {
        self.found.next_back()
    }
}

impl ExactSizeIterator for Addresses {}
impl FusedIterator for Addresses {}

mod sealed {
    //! The trait that seals [`ToSocketAddrs`](super::ToSocketAddrs).
    #![expect(unnameable_types, reason = "the sealed trait of a public trait cannot be private")]

    use std::io;
    use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

    use super::Addresses;
    use super::flights::Name;

    pub trait Host {
        fn question(&self) -> Question;
    }

    /// A host whose addresses are known, or what to ask the resolver for.
    #[derive(Debug)]
    pub enum Question {
        Answered(Addresses),
        Text(String),
        Name(String, u16),
    }

    impl Question {
        pub(super) fn of_text(text: &str) -> Self {
            match text.parse() {
                Ok(address) => Question::answered_by(address),
                Err(_) => Question::Text(text.to_owned()),
            }
        }

        pub(super) fn of_name(name: &str, port: u16) -> Self {
            match name.parse::<IpAddr>() {
                Ok(ip) => Question::answered_by(SocketAddr::new(ip, port)),
                Err(_) => Question::Name(name.to_owned(), port),
            }
        }

        pub(super) fn answered_by(address: SocketAddr) -> Self {
            Question::Answered(Addresses::of(vec![address]))
        }

        /// By what the question is the same as another.
        pub(super) fn name(&self) -> Name {
            match self {
                Question::Answered(_) => Name::default(),
                // As the resolver of `std` takes it apart.
                Question::Text(text) => {
                    match text.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
                        Some((host, Ok(port))) => (host.to_owned(), Some(port)),
                        _ => (text.clone(), None),
                    }
                }
                Question::Name(name, port) => (name.clone(), Some(*port)),
            }
        }

        /// Blocks until the resolver has answered.
        pub(super) fn answer(self) -> io::Result<Vec<SocketAddr>> {
            Ok(match self {
                Question::Answered(addresses) => addresses.collect(),
                Question::Text(text) => text.to_socket_addrs()?.collect(),
                Question::Name(name, port) => (name, port).to_socket_addrs()?.collect(),
            })
        }
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {}
impl<T: ToSocketAddrs + ?Sized> Host for &T {
    fn question(&self) -> Question {
        (**self).question()
    }
}

impl ToSocketAddrs for str {}
impl Host for str {
    fn question(&self) -> Question {
        Question::of_text(self)
    }
}

impl ToSocketAddrs for String {}
impl Host for String {
    fn question(&self) -> Question {
        Question::of_text(self)
    }
}

impl ToSocketAddrs for (&str, u16) {}
impl Host for (&str, u16) {
    fn question(&self) -> Question {
        Question::of_name(self.0, self.1)
    }
}

impl ToSocketAddrs for (String, u16) {}
impl Host for (String, u16) {
    fn question(&self) -> Question {
        Question::of_name(&self.0, self.1)
    }
}

impl ToSocketAddrs for [SocketAddr] {}
impl Host for [SocketAddr] {
    fn question(&self) -> Question {
        Question::Answered(Addresses::of(self.to_vec()))
    }
}

macro_rules! addresses {
    ($($host:ty),*) => {$(
        impl ToSocketAddrs for $host {}
        impl Host for $host {
            fn question(&self) -> Question {
                Question::answered_by((*self).into())
            }
        }
    )*};
}

addresses!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));
