//! What the suites of other systems check about threads and about the end of a call, said with this
//! crate's means: what is told when, who runs what, and what a pool goes on with while somebody is
//! slow. Their cases are listed in `docs/TESTING.md`.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use sidestep::{EventLoop, NewThread, Pool, Task, current};

#[cfg(target_os = "linux")]
use crate::support::sleeps;
use crate::support::{
    Calls, Crowd, DropToken, Drops, Gate, PATIENCE, all_well, check_sound, counter, eventually, occupy, poll,
    pool, quiet_panic, soon,
};

/// A closure that has captured `token` and does nothing with it.
fn holding(token: DropToken) -> impl FnOnce() + Send + 'static {
    move || {
        let _held = &token;
    }
}

/// trio drops a function before it delivers what that has returned.
#[test]
fn what_a_closure_has_captured_is_gone_before_its_end_is_told() {
    let pool = pool(1, 1);
    let (gate, drops) = (Gate::new(), [Drops::new(), Drops::new(), Drops::new()]);
    let running = occupy(&pool, &gate);
    let (send, receive) = channel();
    let tell = |drops: &Drops| {
        let (send, drops) = (send.clone(), drops.clone());
        move || send.send(drops.count()).unwrap()
    };
    let callback = tell(&drops[0]);
    pool.spawn(holding(drops[0].token())).on_complete(move |_| callback());
    let (mut polled, waker) = (pool.spawn(holding(drops[1].token())), Calls::new());
    waker.set(tell(&drops[1]));
    assert!(poll(&mut polled, &Waker::from(waker)).is_pending());
    let waited = pool.spawn(holding(drops[2].token()));
    gate.open();
    all_well([running, waited]);
    assert_eq!(drops[2].count(), 1, "seen by the one who has waited");
    let seen = [receive.recv_timeout(PATIENCE), receive.recv_timeout(PATIENCE)];
    assert_eq!(seen, [Ok(1), Ok(1)], "seen by the callback and by the waker");
    soon(polled).unwrap();
}

/// anyio looks for references that a finished call leaves behind: in its thread, in its handles.
#[test]
fn what_is_left_of_a_task_keeps_neither_its_closure_nor_its_result() {
    let pool = pool(1, 1);
    for panics in [false, true] {
        let (captured, results) = (Drops::new(), Drops::new());
        let (held, result) = (captured.token(), results.token());
        let task = pool.spawn(move || {
            let _held = &held;
            if panics { quiet_panic(result) } else { result }
        });
        let handle = task.cancel_handle();
        let end = soon(task);
        assert_eq!((captured.count(), results.count()), (1, 0));
        assert_eq!(end.is_err(), panics);
        drop(end);
        assert_eq!(results.count(), 1, "neither the thread nor the handle for cancelling keeps it");
        handle.cancel();
    }
    check_sound(&pool);
}

/// Each callback submits the next call.
fn relay(pool: &Pool, left: usize, done: Sender<()>) {
    let inner = pool.clone();
    pool.spawn(|| ()).on_complete(move |_| match left {
        0 => done.send(()).unwrap(),
        _ => relay(&inner, left - 1, done),
    });
}

/// trio's thread that delivers is idle already: what is submitted there starts no other.
#[test]
fn what_a_callback_submits_needs_no_other_thread() {
    // A thread that gets no CPU in the middle of a callback may be replaced: not in each of so many
    // attempts.
    let one_is_enough = || {
        let pool = pool(2, 8);
        let (done, end) = channel();
        relay(&pool, 100, done);
        end.recv_timeout(PATIENCE).unwrap();
        pool.metrics().threads_peak() == 1
    };
    assert!((0..50).any(|_| one_is_enough()), "each callback had another thread started");
}

/// Polls a task once inside of a runtime, so that it has a waker of that runtime.
async fn polled_once(mut task: Task<DropToken>) -> Task<DropToken> {
    poll_fn(|context| {
        assert!(Pin::new(&mut task).poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    task
}

/// A trio thread that ends after its run is over makes no noise.
#[test]
fn a_call_may_outlive_the_runtime_that_waited_for_it() {
    let pool = pool(2, 2);
    let (gate, drops, (started, bump)) = (Gate::new(), Drops::new(), counter());
    let call = || {
        let (pass, token, bump) = (gate.clone(), drops.token(), bump.clone());
        pool.spawn(move || {
            bump();
            pass.pass();
            token
        })
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let kept = runtime.block_on(runtime.spawn(polled_once(call()))).unwrap();
    let abandoned = call();
    runtime.block_on(async {
        drop(tokio::spawn(async move { drop(abandoned.await) }));
        tokio::task::yield_now().await;
    });
    eventually("both run", || started.load(Ordering::SeqCst) == 2);
    drop(runtime);
    gate.open();
    drop(soon(kept).unwrap());
    eventually("the result nobody waits for is dropped", || drops.count() == 2);
    check_sound(&pool);
}

/// anyio and trio run one event loop after another: no thread of one may stay with the next.
#[test]
fn one_runtime_after_another_uses_the_same_threads() {
    let pool = pool(2, 2);
    for number in 0..50 {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(pool.spawn(move || number)).unwrap(), number);
        drop(runtime);
        assert_eq!(sidestep::block_on(pool.spawn(move || number)).unwrap(), number);
        let (mut ev, (ran, bump)) = (EventLoop::on(&pool), counter());
        ev.offload(move || number, move |_, end| (end.unwrap() == number).then(bump).unwrap());
        ev.run();
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    }
    assert_eq!(pool.metrics().tasks_completed(), 150);
    check_sound(&pool);
}

/// trio gives the token of its limiter back where no thread could be started.
#[test]
fn a_refused_thread_keeps_no_slot_of_a_lane() {
    let refuse = Arc::new(AtomicBool::new(false));
    let refused = Arc::clone(&refuse);
    let handler = move |new: NewThread| match refused.load(Ordering::SeqCst) {
        true => Err(io::Error::other("no more threads")),
        false => thread::Builder::new().spawn(move || new.run()).map(drop),
    };
    let pool = Pool::builder().core_threads(2).max_threads(2).spawn_handler(handler).build().unwrap();
    let lane = pool.lane("two", 2);
    soon(lane.spawn(current::retire_thread)).unwrap();
    eventually("no thread is left", || pool.metrics().threads() == 0);
    refuse.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        assert!(soon(lane.spawn(|| ())).unwrap_err().is_no_thread());
    }
    assert_eq!((lane.metrics().tasks_running(), lane.metrics().tasks_queued()), (0, 0));
    refuse.store(false, Ordering::SeqCst);
    eventually("the pause is over", || soon(lane.spawn(|| ())).is_ok());
    let meeting = Arc::new(Barrier::new(2));
    let meet = || {
        let meeting = Arc::clone(&meeting);
        lane.spawn(move || meeting.wait().is_leader())
    };
    all_well([meet(), meet()]);
    check_sound(&pool);
}

/// Chromium joins threads that say during the shutdown that they block.
#[test]
fn closures_may_say_that_they_block_while_the_pool_shuts_down() {
    for discards in [false, true] {
        let pool = pool(2, 4);
        let (gate, inside) = (Gate::new(), Arc::new(Crowd::default()));
        let block = |_| {
            let (gate, inside) = (gate.clone(), Arc::clone(&inside));
            pool.spawn(move || {
                inside.enter();
                current::will_block(|| gate.pass());
                current::will_block(thread::yield_now);
                inside.leave();
            })
        };
        let tasks: Vec<_> = (0..40).map(block).collect();
        eventually("four are inside", || inside.now() == 4);
        let shutdown = pool.shutdown().timeout(PATIENCE);
        let shutdown = if discards { shutdown.discard_queued() } else { shutdown };
        gate.open();
        let report = shutdown.wait();
        let discarded = if discards { 36 } else { 0 };
        assert_eq!(
            (report.completed, report.discarded, report.still_running),
            (40 - discarded, discarded, 0)
        );
        assert_eq!(tasks.into_iter().filter_map(|task| soon(task).err()).count() as u64, discarded);
        let metrics = pool.metrics();
        assert_eq!((metrics.threads(), metrics.threads_blocked(), inside.now()), (0, 0, 0));
        assert!(inside.most() <= 4);
    }
}

/// cats-effect asks who is blocked while threads that block come and go.
#[test]
fn a_pool_may_be_looked_at_while_blocked_threads_come_and_go() {
    let pool = Pool::builder().core_threads(2).max_threads(16).keep_alive(Duration::ZERO).build().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut looks = 0_u64;
            while !done.load(Ordering::SeqCst) || looks == 0 {
                let metrics = pool.metrics();
                assert!(metrics.threads() <= 16 && metrics.threads_blocked() <= 16, "{metrics:?}");
                assert!(pool.long_running(Duration::ZERO).len() <= 16);
                looks += 1;
            }
        });
        for _ in 0..20 {
            let meeting = Arc::new(Barrier::new(16));
            let meet = |number| {
                let meeting = Arc::clone(&meeting);
                pool.spawn(move || match number % 2 {
                    0 => meeting.wait().is_leader(),
                    _ => current::will_block(|| meeting.wait()).is_leader(),
                })
            };
            all_well((0..16).map(meet).collect::<Vec<_>>());
        }
        done.store(true, Ordering::SeqCst);
        looks.join().unwrap();
    });
    check_sound(&pool);
}

/// cats-effect's stress of a thousand calls that block at once.
#[test]
fn a_thousand_calls_that_block_all_end() {
    let pool = pool(2, 64);
    let (ends, bump) = counter();
    let block = |number| {
        let bump = bump.clone();
        pool.spawn(move || {
            let (_send, receive) = channel::<()>();
            assert!(receive.recv_timeout(Duration::from_millis(1)).is_err());
            bump();
            number
        })
    };
    let tasks: Vec<_> = (0..1000).map(block).collect();
    assert!(tasks.into_iter().enumerate().all(|(number, task)| soon(task).unwrap() == number));
    assert_eq!(ends.load(Ordering::SeqCst), 1000);
    assert!(pool.metrics().threads_peak() <= 64);
    check_sound(&pool);
}

/// cats-effect's dispatcher goes on while somebody who cancels is held up by what the cancelled one
/// has to clean up.
#[test]
fn a_cancellation_that_takes_its_time_holds_up_only_its_own_thread() {
    let pool = pool(2, 3);
    let (ready, hooked, gate) = (Gate::new(), Gate::new(), Gate::new());
    let (announce, begun, slow, pass) = (ready.clone(), hooked.clone(), gate.clone(), gate.clone());
    let victim = pool.spawn(move || {
        let _guard = current::on_cancel(move || {
            begun.open();
            slow.pass();
        });
        announce.open();
        pass.pass();
    });
    ready.pass();
    let handle = victim.cancel_handle();
    let canceller = pool.spawn(move || handle.cancel());
    hooked.pass();
    for number in 0..100 {
        assert_eq!(soon(pool.spawn(move || number)).unwrap(), number);
    }
    victim.cancel_handle().cancel();
    assert!(!canceller.is_finished(), "it is still in the hook");
    gate.open();
    all_well([victim, canceller]);
    check_sound(&pool);
}

/// The threads of FastAPI were all taken by requests that waited for their own clean-up. A request
/// that waits for the clean-up's handle runs it in place; requests in a lane below the maximum
/// leave a thread for it.
#[test]
fn requests_that_wait_for_their_clean_up_get_it() {
    let pool = pool(1, 2);
    let cleaned = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&cleaned);
    let clean_up = move |pool: &Pool| {
        let count = Arc::clone(&count);
        pool.spawn(move || count.fetch_add(1, Ordering::SeqCst))
    };
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let (inner, clean_up) = (pool.clone(), clean_up.clone());
            pool.spawn(move || clean_up(&inner).wait().unwrap())
        })
        .collect();
    all_well(requests);
    let lane = pool.lane("requests", 1);
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let (inner, clean_up) = (pool.clone(), clean_up.clone());
            lane.spawn(move || {
                let (send, receive) = channel();
                clean_up(&inner).on_complete(move |end| send.send(end.unwrap()).unwrap());
                receive.recv_timeout(PATIENCE).unwrap()
            })
        })
        .collect();
    all_well(requests);
    assert_eq!(cleaned.load(Ordering::SeqCst), 40);
    check_sound(&pool);
}

/// SwiftNIO's pool woke all its threads for each job that came alone.
#[cfg(target_os = "linux")]
#[test]
fn one_job_at_a_time_wakes_one_thread_at_a_time() {
    const JOBS: u64 = 300;
    let naps = || sleeps("lone-").into_iter().map(|(_, count)| count).sum::<u64>();
    let pool = Pool::builder().name("lone").core_threads(16).max_threads(16).build().unwrap();
    let gate = Gate::new();
    let all: Vec<_> = (0..16).map(|_| occupy(&pool, &gate)).collect();
    gate.open();
    all_well(all);
    eventually("all sleep", || pool.metrics().threads_idle() == 16);
    let before = naps();
    for _ in 0..JOBS {
        soon(pool.spawn(|| ())).unwrap();
        eventually("all sleep again", || pool.metrics().threads_idle() == 16);
    }
    let naps = naps() - before;
    // One for each job, and others for locks: more of them where other tests want the memory map or
    // the CPUs.
    assert!(naps < 8 * JOBS, "{naps} sleeps of 16 threads for {JOBS} jobs");
    check_sound(&pool);
}
