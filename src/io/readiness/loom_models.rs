//! Models of the registry for the model checker: those that wait, those that cancel, a device that
//! becomes ready, and the thread.
//!
//! A thread that parks for ever is a deadlock, which the checker reports: so each model ends only
//! if no wake-up is lost.

use std::io;
use std::sync::Arc;

use loom::thread;

use super::registry::{Poller, Registry};
use crate::sync::stand_in::model::check;
use crate::sync::{Condvar, Mutex, Parker};
use crate::sys::descriptor::{Direction, Fd};

const FD: Fd = 7;

/// One descriptor, which is reported as `epoll` would.
struct StandIn {
    state: Mutex<StandInState>,
    bell: Condvar,
}

#[derive(Default)]
struct StandInState {
    ready: [bool; 2],
    armed: Option<[bool; 2]>,
    closed: bool,
}

impl StandInState {
    fn is_due(&self) -> bool {
        self.armed.is_some_and(|armed| (0..2).any(|index| armed[index] && self.ready[index]))
    }
}

impl StandIn {
    /// The device is ready, until that is used up.
    fn make_ready(&self, direction: Direction) {
        self.state.lock().ready[direction as usize] = true;
        self.bell.notify_one();
    }

    /// A call that does not wait.
    fn call(&self, direction: Direction) -> bool {
        std::mem::take(&mut self.state.lock().ready[direction as usize])
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.bell.notify_one();
    }
}

impl Poller for StandIn {
    fn arm(&self, fd: Fd, read: bool, write: bool) -> io::Result<()> {
        assert_eq!(fd, FD);
        self.state.lock().armed = Some([read, write]);
        self.bell.notify_one();
        Ok(())
    }

    fn disarm(&self, _: Fd) {
        self.state.lock().armed = None;
    }

    fn wait(&self, report: &mut dyn FnMut(Fd, bool, bool)) -> io::Result<()> {
        let mut state = self.state.lock();
        while !state.is_due() && !state.closed {
            state = self.bell.wait(state);
        }
        if state.is_due() {
            state.armed = None;
            report(FD, state.ready[0], state.ready[1]);
            return Ok(());
        }
        Err(io::ErrorKind::NotConnected.into())
    }
}

/// The registry, whose thread ends when the model does.
struct Modelled {
    poller: Arc<StandIn>,
    registry: Arc<Registry<Arc<StandIn>>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Poller for Arc<StandIn> {
    fn arm(&self, fd: Fd, read: bool, write: bool) -> io::Result<()> {
        StandIn::arm(self, fd, read, write)
    }

    fn disarm(&self, fd: Fd) {
        StandIn::disarm(self, fd);
    }

    fn wait(&self, report: &mut dyn FnMut(Fd, bool, bool)) -> io::Result<()> {
        StandIn::wait(self, report)
    }
}

impl Modelled {
    fn new() -> Arc<Self> {
        let poller = Arc::new(StandIn { state: Mutex::default(), bell: Condvar::new() });
        let registry = Arc::new(Registry::new(Arc::clone(&poller)));
        Arc::new(Modelled { poller, registry, thread: Mutex::new(None) })
    }

    fn start(&self) -> io::Result<()> {
        let registry = Arc::clone(&self.registry);
        *self.thread.lock() = Some(thread::spawn(move || registry.serve()));
        Ok(())
    }

    /// Makes calls until one succeeds, and waits after each other one, as a value does.
    fn until_ready(&self, direction: Direction) {
        let (parker, number) = (Arc::new(Parker::new()), self.registry.number());
        while !self.poller.call(direction) {
            let key = (FD, direction, number);
            assert!(self.registry.set(key, parker.waker(), || self.start()).is_ok());
            assert!(parker.park(None), "there is no deadline");
        }
        drop(self.registry.cancel((FD, direction, number)));
        drop(parker);
    }

    fn end(&self) {
        self.poller.close();
        let thread = self.thread.lock().take();
        thread.into_iter().for_each(|thread| thread.join().unwrap());
        let state = self.poller.state.lock();
        assert_eq!(state.armed, None, "a descriptor without entries is not watched");
    }
}

#[test]
fn loom_one_that_waits_is_woken_whenever_the_device_is_ready() {
    check(Some(3), || {
        let modelled = Modelled::new();
        let poller = Arc::clone(&modelled.poller);
        let device = thread::spawn(move || poller.make_ready(Direction::Read));
        modelled.until_ready(Direction::Read);
        device.join().unwrap();
        modelled.end();
    });
}

#[test]
fn loom_both_directions_wait_at_once() {
    check(Some(2), || {
        let modelled = Modelled::new();
        let other = Arc::clone(&modelled);
        let writer = thread::spawn(move || other.until_ready(Direction::Write));
        modelled.poller.make_ready(Direction::Write);
        modelled.poller.make_ready(Direction::Read);
        modelled.until_ready(Direction::Read);
        writer.join().unwrap();
        modelled.end();
    });
}

/// Two values on one descriptor wait for the same. The one that the device is not ready for waits
/// on, for when it is ready again.
#[test]
fn loom_two_wait_for_one_direction() {
    check(Some(2), || {
        let modelled = Modelled::new();
        let other = Arc::clone(&modelled);
        let second = thread::spawn(move || {
            other.until_ready(Direction::Read);
            other.poller.make_ready(Direction::Read);
        });
        modelled.poller.make_ready(Direction::Read);
        modelled.until_ready(Direction::Read);
        modelled.poller.make_ready(Direction::Read);
        second.join().unwrap();
        modelled.end();
    });
}

/// One that has cancelled leaves no waker behind, and takes nothing from one that waits for the
/// other direction, or comes after it.
#[test]
fn loom_cancel_against_ready() {
    check(Some(2), || {
        let modelled = Modelled::new();
        let poller = Arc::clone(&modelled.poller);
        let device = thread::spawn(move || {
            poller.make_ready(Direction::Read);
            poller.make_ready(Direction::Write);
        });
        let parker = Arc::new(Parker::new());
        let key = (FD, Direction::Read, modelled.registry.number());
        let waker = parker.waker();
        assert!(modelled.registry.set(key, waker.clone(), || modelled.start()).is_ok());
        drop(modelled.registry.cancel(key));
        assert!(!modelled.registry.is_forked() && !modelled.registry.has(key, &waker));
        drop(waker);
        modelled.until_ready(Direction::Write);
        modelled.until_ready(Direction::Read);
        device.join().unwrap();
        modelled.end();
        assert_eq!(Arc::strong_count(&parker), 1, "an entry is left");
    });
}
