//! Calls that wait for a file's lock: they take no thread, come in order, and leave when dropped.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use futures_util::AsyncWriteExt;
use sidestep::fs::{File, TryLockError};
use tempfile::TempDir;

use crate::fs::files::{ends, numbered, read_write};
use crate::support::alone::alone_as;
use crate::support::{Wakes, eventually, nothing_happens, poll};

pub(crate) type Call = Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>>;

/// A file to lock, in a directory of its own.
pub(crate) fn lock_file() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = numbered(dir.path(), 10);
    (dir, path)
}

/// An open file of which the system has said already which file it is, if it has to be asked: so a
/// call stands in the queue from its first poll on.
pub(crate) fn open(path: &Path) -> Arc<File> {
    let file = ends(File::open(path)).unwrap();
    if !cfg!(all(target_os = "linux", target_env = "gnu")) && ends(file.try_lock_shared()).is_ok() {
        ends(file.unlock()).unwrap();
    }
    Arc::new(file)
}

/// A call that waits already.
pub(crate) fn waiting(file: &Arc<File>) -> Call {
    let file = Arc::clone(file);
    let mut call: Call = Box::pin(async move { file.lock().await });
    assert!(poll(&mut call, Waker::noop()).is_pending());
    call
}

pub(crate) fn waiting_shared(file: &Arc<File>) -> Call {
    let file = Arc::clone(file);
    let mut call: Call = Box::pin(async move { file.lock_shared().await });
    assert!(poll(&mut call, Waker::noop()).is_pending());
    call
}

/// The file is unlocked then, though in Wine the call reports an error.
fn unlock_std(file: &std::fs::File) {
    let unlocked = file.unlock();
    assert!(cfg!(windows) || unlocked.is_ok(), "{unlocked:?}");
}

/// Whether another could lock the file at `path` now, for itself alone.
pub(crate) fn is_free(path: &Path) -> bool {
    std::fs::File::open(path).unwrap().try_lock().is_ok()
}

/// Whether the system lists a lock of the file at `path`: a look that disturbs no attempt.
#[cfg(target_os = "linux")]
fn is_listed(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    let number = format!(":{} ", std::fs::metadata(path).unwrap().ino());
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| line.contains("FLOCK") && line.contains(&number))
}

/// The time that one in a hundred does not keep to.
pub(crate) fn worst_but_a_hundredth(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * 99 / 100]
}

/// How often a figure is taken that the machine may spoil.
pub(crate) const ATTEMPTS: usize = 5;

#[cfg(target_os = "linux")]
#[test]
fn six_hundred_wait_beside_four_threads() {
    let path = "fs::lock_queue::six_hundred_wait_beside_four_threads";
    alone_as(path, &[("SIDESTEP_CORE_THREADS", "2"), ("SIDESTEP_MAX_THREADS", "4")], || {
        let least = (0..ATTEMPTS).map(|_| six_hundred_wait()).min();
        println!("unlock to the next holder, at the 99th percentile, at best: {least:?}");
        assert!(least < Some(Duration::from_millis(20)), "{least:?}");
    });
}

#[cfg(target_os = "linux")]
fn six_hundred_wait() -> Duration {
    use std::sync::Mutex;
    use std::time::Instant;

    use futures_util::AsyncReadExt;
    use futures_util::future::join_all;

    const WAITERS: usize = 600;
    let (dir, path) = lock_file();
    let mut holder = ends(read_write(&path));
    ends(holder.lock()).unwrap();
    let files: Vec<_> = (0..WAITERS).map(|_| open(&path)).collect();
    let mut calls: Vec<_> = files.iter().map(waiting).collect();
    nothing_happens();
    assert!(calls.iter_mut().all(|call| poll(call, Waker::noop()).is_pending()));
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
    println!("{threads} threads of the process beside {WAITERS} calls that wait");
    assert!(threads <= 2 + 4 + 3, "the test's two, the pool's four, and helpers: {threads}");
    ends(async {
        holder.write_all(b"as the holder likes").await.unwrap();
        holder.flush().await.unwrap();
        sidestep::fs::write(dir.path().join("another"), "file").await.unwrap();
        assert_eq!(sidestep::fs::read(dir.path().join("another")).await.unwrap(), b"file");
        let mut bytes = [0; 2];
        File::open(&path).await.unwrap().read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"as");
    });
    // Each keeps the lock for a moment, and says how long after the unlocking it has come.
    let unlocked = Arc::new(Mutex::new(Instant::now()));
    let order = Arc::new(Mutex::new(Vec::new()));
    let turns = calls.into_iter().zip(&files).enumerate().map(|(number, (call, file))| {
        let (unlocked, order, file) = (Arc::clone(&unlocked), Arc::clone(&order), Arc::clone(file));
        async move {
            call.await.unwrap();
            let time = unlocked.lock().unwrap().elapsed();
            order.lock().unwrap().push(number);
            *unlocked.lock().unwrap() = Instant::now();
            file.unlock().await.unwrap();
            time
        }
    });
    let turns: Vec<_> = turns.collect();
    *unlocked.lock().unwrap() = Instant::now();
    ends(holder.unlock()).unwrap();
    let mut times = sidestep::block_on(join_all(turns));
    assert!(order.lock().unwrap().iter().copied().eq(0..WAITERS), "first come, first served");
    worst_but_a_hundredth(&mut times)
}

#[test]
fn the_first_to_come_is_the_first_served_as_others_give_up() {
    let (_dir, path) = lock_file();
    let holder = open(&path);
    for round in 0..20_usize {
        ends(holder.lock()).unwrap();
        let files: Vec<_> = (0..10).map(|_| open(&path)).collect();
        let mut calls: Vec<_> = files.iter().map(|file| Some(waiting(file))).collect();
        // A different half gives up in each round, in one order or the other.
        let mut leaving: Vec<_> = (0..10).filter(|number| (number * 7 + round) % 4 < 2).collect();
        if round % 2 == 1 {
            leaving.reverse();
        }
        for number in leaving {
            calls[number] = None;
        }
        ends(holder.unlock()).unwrap();
        let mut left: Vec<_> = calls.into_iter().zip(files).filter(|(call, _)| call.is_some()).collect();
        while !left.is_empty() {
            let (call, file) = left.remove(0);
            ends(call.unwrap()).unwrap();
            assert!(!is_free(&path));
            for (other, _) in &mut left {
                assert!(poll(other.as_mut().unwrap(), Waker::noop()).is_pending(), "round {round}");
            }
            ends(file.unlock()).unwrap();
        }
        eventually("nothing is left of those that gave up", || is_free(&path));
    }
}

#[test]
fn calls_that_are_dropped_never_take_the_lock() {
    // In a process of its own: a child that another test starts has the open files of all for a
    // moment.
    alone_as("fs::lock_queue::calls_that_are_dropped_never_take_the_lock", &[], || {
        let (_dir, path) = lock_file();
        let holder = open(&path);
        ends(holder.lock()).unwrap();
        let files: Vec<_> = (0..50).map(|_| open(&path)).collect();
        let mut calls: Vec<_> = files.iter().map(waiting).collect();
        nothing_happens();
        // In any order: from the middle outwards.
        while !calls.is_empty() {
            drop(calls.remove(calls.len() / 2));
        }
        nothing_happens();
        ends(holder.unlock()).unwrap();
        for _ in 0..1_000 {
            assert!(is_free(&path), "one that was dropped has the lock");
        }
        nothing_happens();
        assert!(is_free(&path));
        #[cfg(target_os = "linux")]
        eventually("the timer ends when no call waits", || {
            crate::support::threads_called("sidestep-locks") == 0
        });
    });
}

#[test]
fn a_call_that_is_dropped_with_the_lock_on_its_way_releases_it() {
    alone_as("fs::lock_queue::a_call_that_is_dropped_with_the_lock_on_its_way_releases_it", &[], || {
        let (_dir, path) = lock_file();
        for round in 0..300 {
            let file = open(&path);
            let mut call = Box::pin(file.lock());
            if poll(&mut call, Waker::noop()).is_ready() {
                continue;
            }
            for _ in 0..round {
                std::hint::spin_loop();
            }
            // It is granted by now, and nothing has polled it since.
            #[cfg(target_os = "linux")]
            if round % 3 == 0 {
                eventually("it has the lock", || is_listed(&path));
            }
            #[cfg(not(target_os = "linux"))]
            if round % 30 == 0 {
                nothing_happens();
            }
            drop(call);
            eventually("the lock is released", || is_free(&path));
            #[cfg(target_os = "linux")]
            eventually("the lock is released for good", || !is_listed(&path));
            // A later call of the handle keeps its own.
            let mut call = Box::pin(file.lock());
            let _ = poll(&mut call, Waker::noop());
            drop(call);
            ends(file.lock()).unwrap();
            for _ in 0..10 {
                assert!(!is_free(&path), "round {round}");
            }
        }
    });
}

#[test]
fn files_do_not_wait_for_each_other() {
    let ((_one, one), (_two, two)) = (lock_file(), lock_file());
    let (holder, waiter) = (open(&one), open(&one));
    ends(holder.lock()).unwrap();
    let call = waiting(&waiter);
    let (other, next) = (open(&two), open(&two));
    ends(other.lock()).unwrap();
    let other_call = waiting(&next);
    ends(other.unlock()).unwrap();
    ends(other_call).unwrap();
    ends(holder.unlock()).unwrap();
    ends(call).unwrap();
}

#[test]
fn shared_and_exclusive_calls_come_in_order() {
    let (_dir, path) = lock_file();
    let files: Vec<_> = (0..6).map(|_| open(&path)).collect();
    ends(files[0].lock_shared()).unwrap();
    let mut exclusive = waiting(&files[1]);
    let mut shared: Vec<_> = files[2..5].iter().map(waiting_shared).collect();
    let mut last = waiting(&files[5]);
    nothing_happens();
    for call in shared.iter_mut().chain([&mut exclusive, &mut last]) {
        assert!(poll(call, Waker::noop()).is_pending(), "the exclusive call is not passed");
    }
    ends(files[0].unlock()).unwrap();
    ends(exclusive).unwrap();
    assert!(shared.iter_mut().all(|call| poll(call, Waker::noop()).is_pending()));
    ends(files[1].unlock()).unwrap();
    // All of them have it at a time.
    shared.into_iter().for_each(|call| ends(call).unwrap());
    assert!(poll(&mut last, Waker::noop()).is_pending());
    files[2..5].iter().for_each(|file| ends(file.unlock()).unwrap());
    ends(last).unwrap();
}

#[test]
fn an_attempt_does_not_pass_calls_that_wait() {
    let (_dir, path) = lock_file();
    let files: Vec<_> = (0..4).map(|_| open(&path)).collect();
    ends(files[0].lock_shared()).unwrap();
    let call = waiting(&files[1]);
    for tried in [ends(files[2].try_lock()), ends(files[2].try_lock_shared())] {
        assert!(matches!(tried, Err(TryLockError::WouldBlock)));
    }
    drop(call);
    ends(files[2].try_lock_shared()).unwrap();
    let call = waiting(&files[3]);
    // Who has a lock may ask for it again.
    ends(files[2].try_lock_shared()).unwrap();
    ends(files[2].lock_shared()).unwrap();
    drop(call);
    ends(files[2].unlock()).unwrap();
    if cfg!(windows) {
        // There the attempt to convert it fails, and the shared lock stays.
        assert!(matches!(ends(files[0].try_lock()), Err(TryLockError::WouldBlock)));
        assert!(!is_free(&path));
        ends(files[0].unlock()).unwrap();
    }
    ends(files[0].try_lock()).unwrap();
}

#[test]
fn every_way_to_let_go_lets_the_next_have_it() {
    let (dir, path) = lock_file();
    let waiter = open(&path);
    for way in 0..7 {
        let mut holder = ends(read_write(&path));
        ends(holder.lock()).unwrap();
        let call = waiting(&waiter);
        match way {
            0 => ends(holder.unlock()).unwrap(),
            1 => drop(holder),
            2 => drop(ends(holder.into_std()).unwrap()),
            3 => {
                ends(holder.write_all(&[7; 100_000])).unwrap();
                drop(holder);
            }
            4 => {
                let clone = ends(holder.try_clone()).unwrap();
                drop(holder);
                nothing_happens();
                assert!(!is_free(&path), "the clone has it");
                drop(clone);
            }
            5 => {
                let clone = ends(holder.try_clone()).unwrap();
                ends(clone.unlock()).unwrap();
            }
            _ => unlock_std(&ends(holder.into_std()).unwrap()),
        }
        ends(call).unwrap();
        assert!(!is_free(&path), "way {way}");
        ends(waiter.unlock()).unwrap();
    }
    drop(dir);
}

#[test]
fn a_holder_that_is_a_file_of_std_is_waited_for() {
    let (_dir, path) = lock_file();
    let (holder, waiters) = (std::fs::File::open(&path).unwrap(), [open(&path), open(&path)]);
    for _ in 0..5 {
        holder.lock().unwrap();
        let [mut first, mut second] = [waiting(&waiters[0]), waiting(&waiters[1])];
        nothing_happens();
        assert!(poll(&mut first, Waker::noop()).is_pending());
        assert!(poll(&mut second, Waker::noop()).is_pending());
        unlock_std(&holder);
        ends(first).unwrap();
        ends(waiters[0].unlock()).unwrap();
        ends(second).unwrap();
        ends(waiters[1].unlock()).unwrap();
    }
}

#[test]
fn a_waiting_call_takes_no_turns_and_few_wakes() {
    let (_dir, path) = lock_file();
    let (holder, first, second) = (open(&path), open(&path), open(&path));
    ends(holder.lock()).unwrap();
    let wakes = [Wakes::new(), Wakes::new()];
    let mut calls = [waiting(&first), waiting(&second)];
    for (call, wakes) in calls.iter_mut().zip(&wakes) {
        assert!(poll(call, &Waker::from(Arc::clone(wakes))).is_pending());
    }
    eventually("the first is to try again", || wakes[0].count() > 0);
    nothing_happens();
    // It was not polled again, so it was not woken again.
    assert!(wakes[0].count() <= 2, "{}", wakes[0].count());
    assert_eq!(wakes[1].count(), 0, "the second has nothing to do");
    drop(calls);
}

#[test]
fn a_closed_handle_and_its_call() {
    let (_dir, path) = lock_file();
    let (holder, mut waiter) = (open(&path), ends(read_write(&path)));
    ends(holder.lock()).unwrap();
    // A flushed, closed stream is a file still.
    ends(async {
        waiter.write_all(b"x").await.unwrap();
        waiter.close().await.unwrap();
    });
    let mut call = Box::pin(waiter.lock());
    assert!(poll(&mut call, Waker::noop()).is_pending());
    ends(holder.unlock()).unwrap();
    ends(call).unwrap();
}
