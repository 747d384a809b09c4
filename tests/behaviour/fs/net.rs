//! Name lookups: std's answers, from any executor, and a trip to the pool only where there is
//! something to look up.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::task::{Poll, Waker};

use sidestep::net::{Addresses, LookupHost, ToSocketAddrs, lookup_host};
use sidestep::{Pool, net};

use crate::support::alone::{CORE, MAX, alone_as};
#[cfg(unix)]
use crate::support::fork::in_child;
use crate::support::{Gate, occupy, poll, soon};

fn looked_up(host: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    sidestep::block_on(lookup_host(host)).map(Iterator::collect)
}

/// The answer of a single poll, which is all that an address may take.
fn at_once(host: impl ToSocketAddrs) -> Vec<SocketAddr> {
    let Poll::Ready(answer) = poll(&mut lookup_host(host), Waker::noop()) else {
        panic!("an address was looked up")
    };
    answer.unwrap().collect()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// `localhost` in each way to write it, on any executor.
async fn find_localhost() {
    let name = String::from("localhost");
    let text = format!("{name}:80");
    let lookups = [
        lookup_host("localhost:80"),
        lookup_host(&text),
        lookup_host(&*text),
        lookup_host(text.clone()),
        lookup_host((&*name, 80)),
        lookup_host((name.clone(), 80)),
        lookup_host(&(name, 80)),
    ];
    drop(text);
    for lookup in lookups {
        let found: Vec<_> = lookup.await.unwrap().collect();
        assert!(!found.is_empty());
        assert!(found.iter().all(|found| found.ip().is_loopback() && found.port() == 80), "{found:?}");
    }
}

#[test]
fn a_name_is_found_on_a_current_thread_runtime() {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(find_localhost());
}

#[test]
fn a_name_is_found_on_a_multi_thread_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async { tokio::spawn(find_localhost()).await.unwrap() });
}

#[test]
fn a_name_is_found_without_a_runtime() {
    sidestep::block_on(find_localhost());
}

#[test]
fn a_name_is_found_inside_a_task_of_the_pool() {
    sidestep::spawn(|| sidestep::block_on(find_localhost())).wait().unwrap();
}

#[test]
fn an_address_is_answered_by_the_first_poll() {
    let (v4, v6) = (address("127.0.0.1:80"), address("[::1]:80"));
    assert_eq!(at_once("127.0.0.1:80"), [v4]);
    assert_eq!(at_once(String::from("[::1]:80")), [v6]);
    assert_eq!(at_once(("127.0.0.1", 80)), [v4]);
    assert_eq!(at_once(("::1", 80)), [v6]);
    assert_eq!(at_once((String::from("::1"), 80)), [v6]);
    assert_eq!(at_once(v4), [v4]);
    assert_eq!(at_once(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80)), [v4]);
    assert_eq!(at_once(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 0, 0)), [v6]);
    assert_eq!(at_once((IpAddr::from(Ipv4Addr::LOCALHOST), 80)), [v4]);
    assert_eq!(at_once((Ipv4Addr::LOCALHOST, 80)), [v4]);
    assert_eq!(at_once((Ipv6Addr::LOCALHOST, 80)), [v6]);
    assert_eq!(at_once(&[v6, v4][..]), [v6, v4]);
    assert_eq!(at_once(&[][..]), []);
}

#[test]
fn the_scope_of_an_address_is_kept() {
    let scoped = "[fe80::1%7]:80";
    assert_eq!(
        at_once(scoped),
        std::net::ToSocketAddrs::to_socket_addrs(scoped).unwrap().collect::<Vec<_>>()
    );
}

#[test]
fn text_that_is_no_host_and_port_is_refused_as_std_refuses_it() {
    for text in ["", ":", "localhost", "localhost:", "localhost:http", "localhost:65536", "::1", "a\0b:80"] {
        let expected = std::net::ToSocketAddrs::to_socket_addrs(text).unwrap_err();
        let error = looked_up(text).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (expected.kind(), expected.to_string()), "{text:?}");
    }
    assert_eq!(looked_up("localhost:65536").unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// RFC 6761 keeps `.invalid` from ever being a name; where there is no resolver there is an error
/// as well.
#[test]
fn a_name_that_does_not_exist_is_an_error() {
    looked_up("host.invalid:80").unwrap_err();
    looked_up(("host.invalid", 80)).unwrap_err();
}

#[test]
fn the_addresses_are_a_list() {
    let (first, second) = (address("127.0.0.1:1"), address("127.0.0.1:2"));
    let both: Addresses = sidestep::block_on(lookup_host(&[first, second][..])).unwrap();
    assert_eq!(both.len(), 2);
    assert!(both.clone().rev().eq([second, first]));
    assert!(both.eq([first, second]));
}

#[test]
fn the_future_can_be_sent_and_kept_and_borrows_nothing() {
    fn check<T: Send + Sync + Unpin + 'static>() {}
    check::<LookupHost>();
    check::<Addresses>();
}

#[test]
#[should_panic(expected = "polled after completion")]
fn a_poll_after_the_end_panics() {
    let mut lookup = lookup_host("127.0.0.1:80");
    let _ = poll(&mut lookup, Waker::noop());
    let _ = poll(&mut lookup, Waker::noop());
}

/// In a process of its own, where nobody else uses the global pool.
#[test]
fn only_a_name_that_is_awaited_makes_a_trip_to_the_pool() {
    const MARK: &str = "SIDESTEP_TEST_LOOKUP";
    if std::env::var_os(MARK).is_none() {
        let mut command = crate::support::alone::this_program();
        command
            .args(["fs::net::only_a_name_that_is_awaited_makes_a_trip_to_the_pool", "--exact"])
            .env(MARK, "1");
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let trips = || Pool::global().metrics().tasks_submitted();
    drop(lookup_host("localhost:80"));
    let lookup = lookup_host("localhost:80");
    at_once("127.0.0.1:80");
    assert_eq!(trips(), 0);
    sidestep::block_on(lookup).unwrap();
    assert_eq!(trips(), 1);
}

#[test]
fn many_lookups_of_a_name_at_once_are_one_trip_to_the_pool() {
    let path = "fs::net::many_lookups_of_a_name_at_once_are_one_trip_to_the_pool";
    alone_as(path, &[(CORE, "1"), (MAX, "1")], || {
        let pool = Pool::global();
        // A lane without a reserve, so that the questions stay queued.
        let names = net::on(&pool.lane("names", 4));
        let gate = Gate::new();
        let busy = occupy(pool, &gate);
        let before = pool.metrics().tasks_submitted();
        let mut lookups: Vec<LookupHost> = (0..250)
            .flat_map(|_| [names.lookup_host("localhost:80"), names.lookup_host(("localhost", 80))])
            .collect();
        assert!(lookups.iter_mut().all(|lookup| poll(lookup, Waker::noop()).is_pending()));
        assert_eq!(pool.metrics().tasks_submitted() - before, 1);
        // Those that go do not take the answer from the others.
        lookups.drain(..300);
        gate.open();
        soon(busy).unwrap();
        for lookup in lookups {
            assert!(sidestep::block_on(lookup).unwrap().all(|address| address.ip().is_loopback()));
        }
        assert_eq!(pool.metrics().tasks_submitted() - before, 1);
        // What begins afterwards asks again.
        sidestep::block_on(names.lookup_host("localhost:80")).unwrap();
        assert_eq!(pool.metrics().tasks_submitted() - before, 2);
        let [mut one, mut two] = [(); 2].map(|()| names.lookup_host("localhost:80"));
        let gate = Gate::new();
        let busy = occupy(pool, &gate);
        assert!(poll(&mut one, Waker::noop()).is_pending() && poll(&mut two, Waker::noop()).is_pending());
        drop((one, two));
        assert_eq!(pool.metrics().tasks_cancelled(), 1, "no caller waits for it any more");
        gate.open();
        soon(busy).unwrap();
    });
}

/// In the child of a fork a lookup of the parent's is an error, and a new one is on its own.
#[test]
#[cfg(unix)]
fn a_forked_child_does_not_wait_for_a_lookup_of_its_parent() {
    let path = "fs::net::a_forked_child_does_not_wait_for_a_lookup_of_its_parent";
    alone_as(path, &[(CORE, "1"), (MAX, "1")], || {
        let gate = Gate::new();
        let busy = occupy(Pool::global(), &gate);
        let mut lookup = net::on(&Pool::global().lane("names", 4)).lookup_host("localhost:80");
        assert!(poll(&mut lookup, Waker::noop()).is_pending());
        let failed = in_child(|checks| {
            let Poll::Ready(Err(error)) = poll(&mut lookup, Waker::noop()) else {
                return checks.check(false);
            };
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<sidestep::TaskError>());
            checks.check(inner.is_some_and(sidestep::TaskError::is_no_thread));
            let mut own = lookup_host("localhost:80");
            let _ = poll(&mut own, Waker::noop());
            checks.check(true);
        });
        assert_eq!(failed, 0);
        gate.open();
        soon(busy).unwrap();
        sidestep::block_on(lookup).unwrap();
    });
}
