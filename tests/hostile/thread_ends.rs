//! Threads that end: destructors of their thread-local variables use the pool when its own are
//! gone, on the pool's threads and on others.

use std::cell::RefCell;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use sidestep::{EventLoop, Pool, Promise, Strand, TaskError, current};

use crate::child::alone;
use crate::support::{PATIENCE, check_sound, eventually, pool, soon};

/// Calls what it holds when it is dropped.
struct AtTheEnd(Option<Box<dyn FnOnce()>>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|last| last());
    }
}

// Variables are destroyed in the order of first use or in the reverse, as the platform likes: so
// one is used before the pool's own, and one after.
thread_local! { static EARLY: RefCell<AtTheEnd> = const { RefCell::new(AtTheEnd(None)) } }
thread_local! { static LATE: RefCell<AtTheEnd> = const { RefCell::new(AtTheEnd(None)) } }

/// Everything that one may do with a pool.
fn use_in_every_way(pool: &Pool) {
    for number in 0..40 {
        assert_eq!(pool.spawn(move || number).wait().unwrap(), number);
    }
    let kept: Vec<_> = (0..40).map(|_| pool.spawn(|| ())).collect();
    drop(kept);
    assert_eq!(sidestep::block_on(pool.spawn(|| 1)).unwrap(), 1);
    assert!(pool.spawn_batch((0..10).map(|number| move || number)).wait().iter().all(Result::is_ok));
    assert_eq!(pool.scope(|scope| scope.spawn(|| 1).wait().unwrap()), 1);
    let lane = pool.lane("narrow", 1);
    assert_eq!(soon(lane.spawn(|| 1)).unwrap(), 1);
    let strand = Strand::on(pool, 1);
    assert_eq!(strand.call(|value| *value + 1).wait().unwrap(), 2);
    drop(strand.call(|_| ()).cancel());
    let promise: Promise<i32, TaskError> = pool.promise(|| Ok(1)).then(|value| Ok(value + 1));
    assert_eq!(promise.wait().unwrap(), 2);
    let mut ev = EventLoop::on(pool);
    ev.offload(|| 1, |_, one| assert_eq!(one.unwrap(), 1));
    let local = ev.promise(|| Ok::<_, TaskError>(1)).map(|one| assert_eq!(one, 1));
    local.detach();
    ev.run();
    assert!(!current::is_cancelled());
    assert!(pool.options().expire_after(Duration::ZERO).spawn(|| ()).wait().unwrap_err().is_expired());
    let _ = (pool.metrics(), pool.long_running(Duration::ZERO));
}

/// Has this thread use `pool` at its end, and say that it has.
fn arm(pool: &Pool, done: &Sender<()>) {
    let last = || {
        let (pool, done) = (pool.clone(), done.clone());
        AtTheEnd(Some(Box::new(move || {
            use_in_every_way(&pool);
            done.send(()).unwrap();
        })))
    };
    EARLY.set(last());
    drop(pool.spawn(|| ()));
    sidestep::block_on(pool.spawn(|| ())).unwrap();
    LATE.set(last());
}

#[test]
fn a_plain_thread_uses_the_pool_at_its_end() {
    let pool = pool(2, 4);
    let (done, ends) = channel();
    let inner = pool.clone();
    thread::spawn(move || arm(&inner, &done)).join().unwrap();
    assert_eq!(ends.try_iter().count(), 2);
    check_sound(&pool);
}

#[test]
fn a_thread_of_the_pool_uses_it_at_its_end() {
    let pool = pool(1, 4);
    let (done, ends) = channel();
    let inner = pool.clone();
    soon(pool.spawn(move || {
        arm(&inner, &done);
        current::retire_thread();
    }))
    .unwrap();
    for _ in 0..2 {
        ends.recv_timeout(PATIENCE).unwrap();
    }
    check_sound(&pool);
}

#[test]
fn threads_that_leave_for_want_of_work_spawn_at_their_end() {
    let builder = Pool::builder().core_threads(1).max_threads(8).keep_alive(Duration::ZERO);
    let pool = builder.build().unwrap();
    let (done, ends) = channel();
    for _ in 0..50 {
        let (inner, done) = (pool.clone(), done.clone());
        pool.spawn(move || {
            let (last, done) = (inner.clone(), done.clone());
            LATE.set(AtTheEnd(Some(Box::new(move || {
                last.spawn(move || done.send(()).unwrap()).detach();
            }))));
            current::will_block(|| inner.spawn(|| ()).wait().unwrap());
            current::retire_thread();
        })
        .detach();
    }
    drop(done);
    eventually("the tasks end", || pool.metrics().tasks_running() == 0 && pool.metrics().tasks_queued() == 0);
    pool.shutdown().wait();
    let mut ran = 0;
    let end = loop {
        match ends.recv_timeout(PATIENCE) {
            Ok(()) => ran += 1,
            Err(end) => break end,
        }
    };
    assert!(end == RecvTimeoutError::Disconnected && ran <= 50, "{ran} have run, {end}");
    let metrics = pool.metrics();
    assert_eq!(metrics.tasks_submitted(), metrics.tasks_completed() + metrics.tasks_cancelled());
}

#[test]
fn the_last_handle_of_a_pool_goes_with_a_thread_of_it() {
    let pool = pool(1, 1);
    let (gone, wait) = channel::<()>();
    let inner = pool.clone();
    pool.spawn(move || {
        LATE.set(AtTheEnd(Some(Box::new(move || {
            inner.spawn(|| ()).detach();
            drop(inner);
            drop(gone);
        }))));
        current::retire_thread();
    })
    .detach();
    drop(pool);
    assert_eq!(wait.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected), "it is dropped");
}

#[test]
fn a_panic_in_such_a_destructor_is_that_of_its_thread_in_a_plain_one() {
    alone(|| {
        let pool = pool(1, 1);
        let inner = pool.clone();
        let end = thread::spawn(move || {
            let last = move || {
                let panicked = inner.spawn(|| std::panic::resume_unwind(Box::new("quietly"))).wait();
                assert!(panicked.unwrap_err().is_panic());
            };
            LATE.set(AtTheEnd(Some(Box::new(last))));
        });
        end.join().unwrap();
        check_sound(&pool);
    });
}
