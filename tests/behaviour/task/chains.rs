//! Things that own each other in long chains, and what a step of such a chain may wait for.

use std::any::Any;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::Waker;
use std::thread;

use sidestep::{Pool, Strand, Task};

use crate::support::{
    Calls, DropToken, Drops, Gate, PATIENCE, check_sound, eventually, occupy, poll, pool, quiet_panic, soon,
};

/// Longer than the stacks here are deep; Miri looks at what is done, and not at how deep.
const LENGTH: usize = if cfg!(miri) { 100 } else { 20_000 };

/// Around the depth from which on a thread puts steps off.
const DEPTHS: [usize; 5] = [1, 31, 32, 33, if cfg!(miri) { 40 } else { 200 }];

/// Owns the rest of a chain; its drop is counted.
#[expect(dead_code, reason = "it is there to be dropped")]
struct Link(Option<Box<dyn Any + Send>>, DropToken);

/// Runs `f` on a thread of its own with a stack of so many bytes, and fails if it hangs.
fn in_time<R: Send + 'static>(stack: usize, f: impl FnOnce() -> R + Send + 'static) -> R {
    let (send, receive) = channel();
    let body = move || send.send(f()).unwrap();
    thread::Builder::new().stack_size(stack).spawn(body).unwrap();
    receive.recv_timeout(PATIENCE).expect("it ends")
}

type Owner = fn(Task<Link>) -> Box<dyn Any + Send>;

/// The ways to own a task that has ended.
fn owners() -> [Owner; 3] {
    [|task| Box::new(task), |task| Box::new(task.cancel()), |task| Box::new((task.cancel_handle(), task))]
}

/// Makes a chain of tasks that have ended by `end`, each of which owns the one before, and lets go
/// of the last one.
fn drop_a_chain(end: fn(Link) -> Link) {
    for own in owners() {
        let (pool, drops) = (pool(1, 1), Drops::new());
        let mut last: Option<Task<Link>> = None;
        for _ in 0..LENGTH {
            let link = Link(last.take().map(own), drops.token());
            let task = pool.spawn(move || end(link));
            eventually("it has ended", || task.is_finished());
            last = Some(task);
        }
        assert_eq!(drops.count(), 0, "each is owned by the next");
        in_time(256 << 10, move || drop(last));
        assert_eq!(drops.count(), LENGTH, "at once");
        check_sound(&pool);
    }
}

#[test]
fn results_that_own_each_others_handles_are_dropped_without_a_deep_stack() {
    drop_a_chain(|link| link);
}

#[test]
fn payloads_that_own_each_others_handles_are_dropped_without_a_deep_stack() {
    drop_a_chain(|link| quiet_panic(link));
}

/// The thread that runs the last task drops its result, since nobody waits for it.
#[test]
fn a_result_that_nobody_wants_takes_its_chain_along() {
    let (pool, drops, gate) = (pool(1, 1), Drops::new(), Gate::new());
    let mut last: Option<Task<Link>> = None;
    for _ in 0..LENGTH {
        let link = Link(last.take().map(|task| -> Box<dyn Any + Send> { Box::new(task) }), drops.token());
        last = Some(pool.spawn(move || link));
    }
    let busy = occupy(&pool, &gate);
    pool.spawn(move || last).detach();
    gate.open();
    soon(busy).unwrap();
    eventually("all are dropped", || drops.count() == LENGTH);
    check_sound(&pool);
}

/// A destructor that cancels a task and waits for its end.
struct EndsFirst(Option<Task<()>>);

impl Drop for EndsFirst {
    fn drop(&mut self) {
        let Some(task) = self.0.take() else { return };
        assert!(task.cancel().wait().unwrap_err().is_cancelled());
    }
}

/// So many queued tasks, each of which owns the one before and ends it first.
fn queue_of_those_that_end_each_other(pool: &Pool, length: usize) -> Task<()> {
    let first = pool.spawn(|| ());
    (1..length).fold(first, |task, _| {
        let captured = EndsFirst(Some(task));
        pool.spawn(move || drop(captured))
    })
}

#[test]
fn a_destructor_may_wait_for_a_task_that_it_cancels() {
    for length in DEPTHS {
        let (pool, gate) = (pool(1, 1), Gate::new());
        let busy = occupy(&pool, &gate);
        let last = queue_of_those_that_end_each_other(&pool, length);
        let error = in_time(8 << 20, move || last.cancel().wait().unwrap_err());
        assert!(error.is_cancelled());
        assert_eq!(pool.metrics().tasks_cancelled(), length as u64);
        gate.open();
        soon(busy).unwrap();
        check_sound(&pool);
    }
}

/// The same on a thread of a pool, and of this pool itself.
#[test]
fn a_destructor_may_wait_on_a_thread_of_the_pool() {
    for length in DEPTHS {
        let (full, other, gate) = (pool(2, 2), pool(1, 1), Gate::new());
        let busy = occupy(&full, &gate);
        let inner = full.clone();
        let inside = full.spawn(move || drop(queue_of_those_that_end_each_other(&inner, length)));
        soon(inside).unwrap();
        let last = queue_of_those_that_end_each_other(&full, length);
        soon(other.spawn(move || drop(last))).unwrap();
        gate.open();
        soon(busy).unwrap();
        check_sound(&full);
    }
}

/// The ways to wait for the end of a task in a destructor.
fn waits() -> [fn(Task<()>); 4] {
    [
        |task| assert!(task.cancel().wait().is_err()),
        |task| assert!(sidestep::block_on(task.cancel()).is_err()),
        |task| {
            task.cancel_handle().cancel();
            assert!(task.wait().is_err());
        },
        |task| {
            task.cancel_handle().cancel();
            assert!(soon(task).is_err());
        },
    ]
}

struct WaitsBy(Option<Task<()>>, fn(Task<()>));

impl Drop for WaitsBy {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            self.1(task);
        }
    }
}

#[test]
fn a_destructor_may_wait_in_any_way_of_the_crate() {
    for way in waits() {
        let (pool, gate, drops) = (pool(1, 1), Gate::new(), Drops::new());
        let busy = occupy(&pool, &gate);
        let first = pool.spawn(|| ());
        let last = (0..100).fold(first, |task, _| {
            let captured = (WaitsBy(Some(task), way), drops.token());
            pool.spawn(move || drop(captured))
        });
        in_time(8 << 20, move || drop(last));
        assert_eq!(drops.count(), 100);
        gate.open();
        soon(busy).unwrap();
    }
}

/// A row of wakers that give a place on, the last of which waits, by a wait of the crate, for the
/// thread behind it in the line.
#[test]
fn a_waker_may_wait_for_the_one_who_gets_its_place() {
    for row in DEPTHS {
        let pool = Pool::builder().max_threads(1).queue_limit(1).build().unwrap();
        let gate = Gate::new();
        let busy = occupy(&pool, &gate);
        let queued = pool.spawn(|| ());
        let (other, passed) = (self::pool(1, 1), Gate::new());
        let pass = passed.clone();
        let mut goal = Some(other.spawn(move || pass.pass()));
        for place in 1..=row {
            let calls = Calls::new();
            let mut turn = pool.reserve();
            assert!(poll(&mut turn, &Waker::from(Arc::clone(&calls))).is_pending());
            let goal = if place == row { goal.take() } else { None };
            calls.set(move || {
                drop(turn);
                goal.into_iter().for_each(|goal| goal.wait().unwrap());
            });
        }
        let mut behind = pool.reserve();
        assert!(poll(&mut behind, Waker::noop()).is_pending());
        let waiter = thread::spawn(move || {
            let permit = behind.wait().unwrap();
            passed.open();
            drop(permit);
        });
        in_time(8 << 20, move || drop(queued));
        waiter.join().unwrap();
        gate.open();
        soon(busy).unwrap();
    }
}

/// A task that is refused drops its closure at once, which may spawn the next.
#[test]
fn refused_tasks_that_spawn_others_need_no_deep_stack() {
    struct Again(Pool, usize);
    impl Drop for Again {
        fn drop(&mut self) {
            if self.1 > 0 {
                again(&self.0, self.1 - 1);
            }
        }
    }
    fn again(pool: &Pool, left: usize) {
        let next = Again(pool.clone(), left);
        pool.spawn(move || drop(next)).detach();
    }
    let pool = pool(1, 1);
    pool.shutdown().wait();
    in_time(256 << 10, move || again(&pool, LENGTH));
}

/// The value of a strand is dropped in place where the pool has ended.
#[test]
fn strands_that_own_each_other_need_no_deep_stack_once_the_pool_has_ended() {
    struct Owner(#[expect(dead_code, reason = "it is there to be dropped")] Option<Strand<Owner>>);
    let pool = pool(1, 1);
    let mut last = Strand::on(&pool, Owner(None));
    for _ in 0..LENGTH / 10 {
        last = Strand::on(&pool, Owner(Some(last)));
    }
    pool.shutdown().wait();
    in_time(512 << 10, move || drop(last));
}

/// A handle in a closure behind a handle in a closure: dropping the outermost must not recurse
/// through all of them.
#[test]
fn a_long_chain_of_queued_tasks_is_cancelled_without_a_deep_stack() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let busy = occupy(&pool, &gate);
    let mut last = pool.spawn(|| 0_usize);
    for _ in 0..100_000 {
        let before = last;
        last = pool.spawn(move || before.wait().map_or(0, |depth| depth + 1));
    }
    drop(last);
    assert_eq!(pool.metrics().tasks_cancelled(), 100_001, "all at once");
    gate.open();
    soon(busy).unwrap();
    check_sound(&pool);
}
