//! The registry with a poller that does what the test says.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::{Poller, ReadyRegistry};
use crate::sync::Mutex;
use crate::sys::descriptor::{Direction, Fd};

#[derive(Default)]
struct Told {
    /// What is armed.
    armed: Mutex<Vec<(Fd, bool, bool)>>,
    reports: Mutex<Vec<(Fd, bool, bool)>>,
    refuses: Mutex<bool>,
}

impl Poller for Arc<Told> {
    fn arm(&self, fd: Fd, read: bool, write: bool) -> io::Result<()> {
        if *self.refuses.lock() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.disarm(fd);
        self.armed.lock().push((fd, read, write));
        Ok(())
    }

    fn disarm(&self, fd: Fd) {
        self.armed.lock().retain(|armed| armed.0 != fd);
    }

    fn wait(&self, report: &mut dyn FnMut(Fd, bool, bool)) -> io::Result<()> {
        let reports = std::mem::take(&mut *self.reports.lock());
        if reports.is_empty() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        for (fd, read, write) in reports {
            self.disarm(fd);
            report(fd, read, write);
        }
        Ok(())
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn counter() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (Arc::clone(&count), Waker::from(count))
}

fn registry() -> (Arc<Told>, ReadyRegistry<Arc<Told>>) {
    let told = Arc::<Told>::default();
    (Arc::clone(&told), ReadyRegistry::new(told))
}

fn started() -> io::Result<()> {
    Ok(())
}

fn count(counter: &Arc<Count>) -> usize {
    counter.0.load(Ordering::Relaxed)
}

#[test]
fn a_report_wakes_its_direction_and_arms_for_the_other() {
    let (told, registry) = registry();
    let ((reads, reader), (writes, writer)) = (counter(), counter());
    assert!(registry.set((3, Direction::Read, 1), reader, started).is_ok());
    assert!(registry.set((3, Direction::Write, 2), writer, started).is_ok());
    assert_eq!(*told.armed.lock(), [(3, true, true)]);
    told.reports.lock().push((3, true, false));
    assert!(registry.serve_once().is_some());
    assert_eq!((count(&reads), count(&writes)), (1, 0));
    assert_eq!(*told.armed.lock(), [(3, false, true)]);
    told.reports.lock().push((3, true, true));
    assert!(registry.serve_once().is_some());
    assert_eq!((count(&reads), count(&writes)), (1, 1));
    assert_eq!(*told.armed.lock(), []);
}

#[test]
fn the_last_to_cancel_disarms_and_leaves_no_waker() {
    let (told, registry) = registry();
    let ((first, one), (second, two)) = (counter(), counter());
    assert!(registry.set((3, Direction::Read, 1), one, started).is_ok());
    assert!(registry.set((3, Direction::Read, 2), two, started).is_ok());
    assert!(registry.cancel((3, Direction::Read, 1)).is_some());
    assert_eq!(Arc::strong_count(&first), 1);
    assert_eq!(*told.armed.lock(), [(3, true, false)]);
    told.reports.lock().push((3, true, false));
    assert!(registry.serve_once().is_some());
    assert_eq!((count(&first), count(&second)), (0, 1));
    assert!(registry.cancel((3, Direction::Read, 2)).is_none());
    assert_eq!(Arc::strong_count(&second), 1);
    // A report that comes late finds nothing.
    told.reports.lock().push((3, true, true));
    assert!(registry.serve_once().is_some());
    assert_eq!(*told.armed.lock(), []);
}

#[test]
fn what_cannot_be_waited_for_comes_back_and_leaves_nothing() {
    let (told, registry) = registry();
    let (counted, waker) = counter();
    *told.refuses.lock() = true;
    let refused = registry.set((3, Direction::Read, 1), waker.clone(), || panic!("no thread is needed"));
    assert!(refused.is_err_and(|(waker, _)| waker.data() == Arc::as_ptr(&counted).cast()));
    *told.refuses.lock() = false;
    let no_thread = || Err(io::ErrorKind::WouldBlock.into());
    assert!(registry.set((3, Direction::Read, 1), waker.clone(), no_thread).is_err());
    assert_eq!(*told.armed.lock(), []);
    drop(waker);
    assert_eq!(Arc::strong_count(&counted), 1);
    // The next tries again.
    assert!(registry.set((3, Direction::Read, 1), counter().1, started).is_ok());
}

/// Also where a descriptor cannot be armed again, for what is left of it.
#[test]
fn a_poller_that_fails_wakes_all_that_wait() {
    let (told, registry) = registry();
    let ((reads, reader), (writes, writer)) = (counter(), counter());
    assert!(registry.set((3, Direction::Read, 1), reader.clone(), started).is_ok());
    assert!(registry.set((3, Direction::Write, 2), writer, started).is_ok());
    told.reports.lock().push((3, true, false));
    *told.refuses.lock() = true;
    assert!(registry.serve_once().is_some());
    assert_eq!((count(&reads), count(&writes)), (1, 1));
    *told.refuses.lock() = false;
    let mut threads = 0;
    assert!(registry.set((4, Direction::Read, 1), reader.clone(), || panic!("there is one")).is_ok());
    registry.serve();
    assert_eq!(count(&reads), 2);
    let start = || {
        threads += 1;
        Ok(())
    };
    assert!(registry.set((4, Direction::Read, 1), reader, start).is_ok());
    assert_eq!(threads, 1, "another thread is needed");
}
