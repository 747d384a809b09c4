//! Forks inside of forks, more of them than the 16 bits can count in which a task remembers how
//! many there were.

use std::cell::RefCell;
use std::io::{self, Cursor, ErrorKind, PipeWriter, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::AsyncReadExt;
use sidestep::{Dedicated, EventLoop, Pool, Strand, Task, TaskError, Unblock};

use crate::child::alone;
use crate::support::{check_sound, eventually, pool, soon};

/// Behind so many a process can still have pools.
const MOST: usize = 65_534;
/// Behind so many, 16 bits would be where they were in the first process.
const ROUND: usize = 65_536;
/// A process that hangs ends after so many seconds: nobody else would end it.
const LIMIT: u32 = 100;

/// `None` in the child.
fn fork() -> Option<libc::pid_t> {
    // SAFETY: the child runs code of the crate, which is meant to stand that, and leaves by
    // `_exit`.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", io::Error::last_os_error()),
        0 => None,
        child => Some(child),
    }
}

/// Ends this process at once.
fn exit() -> ! {
    // SAFETY: it ends the process.
    unsafe { libc::_exit(0) }
}

/// From here on the orphans below this process are its children.
fn adopt_orphans() {
    // SAFETY: it only marks this process.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) }, 0, "{}", io::Error::last_os_error());
}

/// Waits until there is no process below this one, and gives how many have ended.
fn outlive_all() -> usize {
    // SAFETY: nobody else waits for the children of this process, and no status is written.
    let wait = || unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
    std::iter::from_fn(|| (wait() > 0).then_some(())).count()
}

/// What the first process has left to all of them.
struct Legacy {
    pool: Pool,
    queued: Task<i32>,
}

/// The life of each process below the first: behind `ROUND` forks it tells the first one that all
/// was well.
fn descend(legacy: Legacy, mut report: PipeWriter) {
    for forks in 1..=ROUND {
        match forks {
            MOST | ROUND => limited(|| a_pool_works(forks == MOST)),
            _ if forks == MOST + 1 => limited(no_pool_is_built_and_nothing_hangs),
            _ => {}
        }
        if forks < ROUND && fork().is_some() {
            exit();
        }
    }
    limited(|| the_first_process_is_another(legacy));
    report.write_all(b"all was well").unwrap();
}

/// Calls `checks`, which may hang. No thread that it has made is left: one that is about to end may
/// hold a lock of the standard library, for ever in the child of a fork.
fn limited(checks: impl FnOnce()) {
    // SAFETY: it only sets a timer, which a fork does not inherit.
    unsafe { libc::alarm(LIMIT) };
    checks();
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    eventually("this thread is alone", || threads() == 1);
    // SAFETY: as above.
    unsafe { libc::alarm(0) };
}

fn a_pool_works(expected: bool) {
    match Pool::builder().core_threads(1).max_threads(2).build() {
        Ok(pool) => {
            assert!(expected);
            check_sound(&pool);
            assert_eq!(soon(pool.lane("narrow", 1).spawn(|| 42)).unwrap(), 42);
            assert_eq!(pool.shutdown().wait().still_running, 0);
        }
        Err(error) => assert!(!expected, "{error}"),
    }
}

/// It names the number of forks, and how many there may be.
fn tells(error: &(dyn std::error::Error + 'static)) -> bool {
    let text = error.to_string();
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(ErrorKind::Unsupported) && text.contains("65535") && text.contains("65534")
}

fn is_told(error: &TaskError) -> bool {
    error.is_no_thread() && std::error::Error::source(error).is_some_and(tells)
}

fn no_pool_is_built_and_nothing_hangs() {
    assert!(tells(&Pool::new().unwrap_err()));
    assert!(tells(&Pool::builder().build_global().unwrap_err()));
    assert!(tells(&Dedicated::new(|| ()).unwrap_err()));
    let global = Pool::global();
    assert!(is_told(&soon(global.spawn(|| 1)).unwrap_err()));
    assert!(is_told(global.try_spawn(|| 1).map(soon).unwrap().as_ref().unwrap_err()));
    assert!(is_told(&soon(global.lane("narrow", 1).spawn(|| 1)).unwrap_err()));
    assert!(is_told(&soon(Strand::new(1).call(|value| *value)).unwrap_err()));
    assert!(global.spawn_batch((0..3).map(|n| move || n)).wait().iter().all(Result::is_err));
    assert!(global.scope(|scope| scope.spawn(|| 1).wait()).is_err());
    let mut values = sidestep::io::producer(|sink| sink.send(1).unwrap());
    assert!(catch_unwind(AssertUnwindSafe(|| values.wait_next())).is_err());
    let mut file = Unblock::new(Cursor::new(vec![1, 2, 3]));
    assert!(sidestep::block_on(file.read(&mut [0; 3])).is_err());
    let value = sidestep::block_on(file.into_inner()).unwrap().into_inner();
    assert_eq!(value, [1, 2, 3], "it has not been lost");
    a_loop_works_but_for_its_actions();
}

fn a_loop_works_but_for_its_actions() {
    let mut ev = EventLoop::new();
    let log = Rc::new(RefCell::new(Vec::new()));
    let [ended, late, awaited] = [0; 3].map(|_| Rc::clone(&log));
    ev.offload(|| 1, move |_, end| ended.borrow_mut().push(is_told(&end.unwrap_err())));
    ev.after(Duration::from_millis(1), move |_| late.borrow_mut().push(true));
    let (send, receive) = oneshot::channel();
    ev.spawn_local(async move {
        let woken = receive.await.is_ok();
        awaited.borrow_mut().push(woken);
    });
    let _ = ev.turn(Duration::ZERO);
    let remote = ev.remote();
    let elsewhere = thread::spawn(move || {
        send.send(()).unwrap();
        remote.post(|_| ()).unwrap();
    });
    ev.run();
    elsewhere.join().unwrap();
    assert_eq!(*log.borrow(), [true; 3]);
}

fn the_first_process_is_another(legacy: Legacy) {
    let Legacy { pool, queued } = legacy;
    assert!(queued.is_finished());
    assert!(soon(queued).unwrap_err().is_no_thread());
    assert!(soon(pool.spawn(|| 1)).unwrap_err().is_no_thread());
    assert_eq!(pool.metrics().threads(), 0);
    assert_eq!(pool.shutdown().wait().still_running, 0);
    assert!(soon(sidestep::spawn(|| 1)).unwrap_err().is_no_thread());
}

#[test]
fn a_process_behind_more_forks_than_a_task_can_count() {
    alone(|| {
        adopt_orphans();
        let (pool, (go, gate), (started, wait)) = (pool(1, 1), channel::<()>(), channel());
        let running = pool.spawn(move || {
            started.send(()).unwrap();
            gate.recv().is_err()
        });
        wait.recv().unwrap();
        let queued = pool.spawn(|| 42);
        let (mut news, report) = io::pipe().unwrap();
        if fork().is_none() {
            // Neither a panic nor the end of the test may come into the harness.
            let _ = catch_unwind(AssertUnwindSafe(|| descend(Legacy { pool, queued }, report)));
            exit();
        }
        drop(report);
        assert_eq!(outlive_all(), ROUND);
        let mut text = String::new();
        news.read_to_string(&mut text).unwrap();
        assert_eq!(text, "all was well");
        drop(go);
        assert!(soon(running).unwrap());
        assert_eq!(soon(queued).unwrap(), 42);
        check_sound(&pool);
    });
}
