//! Flights with a resolver that counts its questions and answers when it is told to.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Wake;

use super::*;
use crate::pool::Pool;
use crate::sync::Mutex;

type Found = io::Result<Vec<SocketAddr>>;

/// A pool with one thread, and a resolver on it.
struct Resolver {
    flights: Arc<Flights>,
    pool: Pool,
    asked: Arc<AtomicUsize>,
}

impl Resolver {
    fn new() -> Self {
        let pool = Pool::builder().core_threads(1).max_threads(1).build().expect("a thread");
        Resolver { flights: Arc::default(), pool, asked: Arc::default() }
    }

    /// Joins the flight of `name`, whose question is answered by what `answers` receives.
    fn join(&self, name: &str, answers: &Arc<Mutex<Receiver<Found>>>) -> Caller {
        let (asked, answers) = (Arc::clone(&self.asked), Arc::clone(answers));
        self.flights.join((name.to_owned(), Some(80)), || {
            self.pool.spawn(move || {
                asked.fetch_add(1, Ordering::SeqCst);
                answers.lock().recv().expect("an answer")
            })
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn in_the_air(&self) -> usize {
        self.flights.table.lock().expect("no fork").len()
    }
}

fn answers() -> (Sender<Found>, Arc<Mutex<Receiver<Found>>>) {
    let (sender, receiver) = channel();
    (sender, Arc::new(Mutex::new(receiver)))
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 80))
}

fn poll(caller: &mut Caller) -> Poll<Found> {
    caller.poll(&mut Context::from_waker(Waker::noop()))
}

/// Blocks until the answer is there.
fn wait(mut caller: Caller) -> Found {
    crate::block_on(std::future::poll_fn(|context| caller.poll(context)))
}

#[test]
fn five_hundred_lookups_of_a_name_are_one_question() {
    let (resolver, (sender, receiver)) = (Resolver::new(), answers());
    let mut callers: Vec<_> = (0..500).map(|_| resolver.join("a", &receiver)).collect();
    assert!(callers.iter_mut().all(|caller| poll(caller).is_pending()));
    assert_eq!(resolver.in_the_air(), 1);
    sender.send(Ok(vec![address(1), address(2)])).unwrap();
    for caller in callers {
        assert_eq!(wait(caller).unwrap(), [address(1), address(2)]);
    }
    assert_eq!((resolver.asked(), resolver.in_the_air()), (1, 0));
}

#[test]
fn other_names_and_ports_are_questions_of_their_own() {
    let (resolver, (sender, receiver)) = (Resolver::new(), answers());
    let callers = ["a", "b", "A"].map(|name| resolver.join(name, &receiver));
    let other = resolver.flights.join(("a".to_owned(), Some(81)), || resolver.pool.spawn(|| Ok(vec![])));
    (1..=3).for_each(|last| sender.send(Ok(vec![address(last)])).unwrap());
    let found = callers.map(|caller| wait(caller).unwrap());
    assert_eq!(found, [[address(1)], [address(2)], [address(3)]]);
    assert_eq!(wait(other).unwrap(), []);
    assert_eq!(resolver.asked(), 3);
}

#[test]
fn a_lookup_that_begins_after_the_answer_asks_anew() {
    let (resolver, (sender, receiver)) = (Resolver::new(), answers());
    let (first, mut late) = (resolver.join("a", &receiver), resolver.join("a", &receiver));
    sender.send(Ok(vec![address(1)])).unwrap();
    assert_eq!(wait(first).unwrap(), [address(1)]);
    // One that joined before has the answer, however late it looks.
    let next = resolver.join("a", &receiver);
    sender.send(Ok(vec![address(2)])).unwrap();
    assert_eq!(wait(next).unwrap(), [address(2)]);
    let Poll::Ready(found) = poll(&mut late) else { panic!("it has landed") };
    assert_eq!(found.unwrap(), [address(1)]);
    assert_eq!(resolver.asked(), 2);
}

#[test]
fn a_caller_that_leaves_does_not_take_the_answer_from_the_others() {
    let (resolver, (sender, receiver)) = (Resolver::new(), answers());
    let mut callers: Vec<_> = (0..3).map(|_| resolver.join("a", &receiver)).collect();
    callers.iter_mut().for_each(|caller| assert!(poll(caller).is_pending()));
    // The one that has asked is the first to go.
    drop(callers.remove(0));
    drop(callers.remove(1));
    sender.send(Ok(vec![address(1)])).unwrap();
    assert_eq!(wait(callers.remove(0)).unwrap(), [address(1)]);
    assert_eq!(resolver.asked(), 1);
}

#[test]
fn a_queued_question_is_cancelled_when_all_have_gone() {
    let (resolver, (_sender, receiver)) = (Resolver::new(), answers());
    let (go, gate) = channel::<()>();
    let busy = resolver.pool.spawn(move || gate.recv());
    let callers = [(); 2].map(|()| resolver.join("a", &receiver));
    assert_eq!(resolver.in_the_air(), 1);
    drop(callers);
    assert_eq!(resolver.in_the_air(), 0);
    assert_eq!(resolver.pool.metrics().tasks_cancelled(), 1);
    drop(go);
    let _ = busy.wait();
    assert_eq!(resolver.asked(), 0);
}

#[test]
fn a_running_question_that_all_have_left_is_not_joined_again() {
    let (resolver, (sender, receiver)) = (Resolver::new(), answers());
    let first = resolver.join("a", &receiver);
    while resolver.asked() == 0 {
        std::thread::yield_now();
    }
    drop(first);
    let next = resolver.join("a", &receiver);
    sender.send(Ok(vec![address(1)])).unwrap();
    sender.send(Ok(vec![address(2)])).unwrap();
    assert_eq!(wait(next).unwrap(), [address(2)], "its own answer");
    assert_eq!((resolver.asked(), resolver.in_the_air()), (2, 0));
}

#[test]
fn an_error_reaches_all_with_its_kind_its_code_and_its_text() {
    let resolver = Resolver::new();
    let errors: [fn() -> io::Error; 2] =
        [|| io::Error::from_raw_os_error(2), || io::Error::new(ErrorKind::InvalidInput, "no port")];
    for error in errors {
        let (sender, receiver) = answers();
        let callers = [(); 3].map(|()| resolver.join("a", &receiver));
        sender.send(Err(error())).unwrap();
        for caller in callers {
            let (copy, original) = (wait(caller).unwrap_err(), error());
            assert_eq!(copy.kind(), original.kind());
            assert_eq!(copy.raw_os_error(), original.raw_os_error());
            assert_eq!(copy.to_string(), original.to_string());
        }
    }
}

#[test]
fn a_panic_reaches_all_and_the_next_lookup_asks_again() {
    let resolver = Resolver::new();
    let name = || ("a".to_owned(), Some(80));
    let (go, gate) = channel::<()>();
    let panics = || {
        resolver.pool.spawn(move || {
            let _ = gate.recv();
            std::panic::resume_unwind(Box::new("the resolver is broken"))
        })
    };
    let first = resolver.flights.join(name(), panics);
    let second = resolver.flights.join(name(), || unreachable!("it joins"));
    drop(go);
    for caller in [first, second] {
        let error = wait(caller).unwrap_err();
        let lost = error.get_ref().and_then(|inner| inner.downcast_ref::<TaskError>()).unwrap();
        assert!(lost.is_panic() && lost.to_string().contains("the resolver is broken"), "{lost}");
    }
    let third = resolver.flights.join(name(), || resolver.pool.spawn(|| Ok(vec![address(3)])));
    assert_eq!(wait(third).unwrap(), [address(3)]);
}

#[test]
fn a_refusal_by_the_pool_reaches_all_and_nothing_stays_in_the_air() {
    let (resolver, (_sender, receiver)) = (Resolver::new(), answers());
    resolver.pool.shutdown().wait();
    for _ in 0..2 {
        let error = wait(resolver.join("a", &receiver)).unwrap_err();
        let lost = error.get_ref().and_then(|inner| inner.downcast_ref::<TaskError>()).unwrap();
        assert!(lost.is_shutdown(), "{lost}");
        assert_eq!(resolver.in_the_air(), 0);
    }
}

/// A waker that drops another caller of the flight, and begins a lookup.
struct Meddles {
    resolver: Resolver,
    other: Mutex<Option<Caller>>,
    next: Mutex<Option<Caller>>,
    answers: Arc<Mutex<Receiver<Found>>>,
}

impl Wake for Meddles {
    fn wake(self: Arc<Self>) {
        let other = self.other.lock().take();
        drop(other);
        let next = self.resolver.join("a", &self.answers);
        *self.next.lock() = Some(next);
    }
}

#[test]
fn a_waker_may_leave_and_join() {
    let (sender, receiver) = answers();
    let resolver = Resolver::new();
    let (mut first, other) = (resolver.join("a", &receiver), resolver.join("a", &receiver));
    let meddles = Arc::new(Meddles {
        resolver,
        other: Mutex::new(Some(other)),
        next: Mutex::new(None),
        answers: Arc::clone(&receiver),
    });
    let waker = Waker::from(Arc::clone(&meddles));
    assert!(first.poll(&mut Context::from_waker(&waker)).is_pending());
    sender.send(Ok(vec![address(1)])).unwrap();
    while meddles.next.lock().is_none() {
        std::thread::yield_now();
    }
    sender.send(Ok(vec![address(2)])).unwrap();
    let next = meddles.next.lock().take().unwrap();
    assert_eq!(wait(next).unwrap(), [address(2)]);
    assert_eq!(wait(first).unwrap(), [address(1)]);
}

/// Callers that join and leave on several threads while answers come.
#[test]
fn every_caller_that_stays_gets_an_answer_that_is_no_older_than_its_call() {
    let flights: Arc<Flights> = Arc::default();
    let pool = Pool::builder().core_threads(2).max_threads(4).build().unwrap();
    let clock = Arc::new(AtomicUsize::new(1));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (flights, pool, clock) = (&flights, &pool, &clock);
            scope.spawn(move || {
                for round in 0..500 {
                    let began = clock.load(Ordering::SeqCst);
                    let ticks = Arc::clone(clock);
                    let ask = || {
                        pool.spawn(move || {
                            let port = ticks.fetch_add(1, Ordering::SeqCst);
                            Ok(vec![SocketAddr::from(([0, 0, 0, 0], port as u16))])
                        })
                    };
                    let mut caller = flights.join(("a".to_owned(), None), ask);
                    if (round + thread) % 3 == 0 {
                        let _ = poll(&mut caller);
                        drop(caller);
                    } else {
                        let found = wait(caller).unwrap();
                        let asked = usize::from(found[0].port());
                        // One question may have been running when the call began.
                        assert!(asked + 4 >= began, "{asked} {began}");
                    }
                }
            });
        }
    });
    assert!(flights.table.lock().unwrap().is_empty());
}

/// A user's function that captures a context may panic in the middle of a spawn.
#[test]
fn a_flight_whose_first_caller_panics_lands_with_an_error() {
    let (resolver, (sender, receiver)) = (Resolver::new(), answers());
    let mut joined = None;
    let asked = catch_unwind(AssertUnwindSafe(|| {
        let panics = || {
            joined = Some(resolver.join("a", &receiver));
            resume_unwind(Box::new(()))
        };
        resolver.flights.join(("a".to_owned(), Some(80)), panics)
    }));
    assert!(asked.is_err());
    let error = wait(joined.unwrap()).unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
    assert_eq!((resolver.asked(), resolver.in_the_air()), (0, 0));
    let next = resolver.join("a", &receiver);
    sender.send(Ok(vec![address(1)])).unwrap();
    assert_eq!(wait(next).unwrap(), [address(1)]);
}
