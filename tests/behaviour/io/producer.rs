//! Blocking code as a stream: order, backpressure, the end, and what a drop does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use futures_util::stream::FusedStream;
use futures_util::{Stream, StreamExt};
use sidestep::io::{ItemSender, Producer, producer, producer_with};
use sidestep::{Pool, current};

use crate::support::{
    Drops, Gate, PATIENCE, PanicOnDrop, Wakes, check_sound, eventually, nothing_happens, occupy, pool,
    quiet_panic,
};

/// A producer of the numbers below `end` on `pool`, and how many it has sent.
fn numbers(pool: &Pool, capacity: usize, end: usize) -> (Producer<usize>, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let stream = producer_with(pool.options(), capacity, move |sink| {
        for number in 0..end {
            if sink.send(number).is_err() {
                return;
            }
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (stream, sent)
}

fn rest<T>(mut stream: Producer<T>) -> Vec<T> {
    std::iter::from_fn(|| stream.wait_next()).collect()
}

fn poll_next<T>(stream: &mut Producer<T>, waker: &Waker) -> Poll<Option<T>> {
    pin!(stream).poll_next(&mut Context::from_waker(waker))
}

/// The message of the panic that asking for the next item ends in.
fn panic_of_next<T>(stream: &mut Producer<T>) -> String {
    let payload = catch_unwind(AssertUnwindSafe(|| stream.wait_next())).err().expect("it panics");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).to_owned(),
    }
}

fn is_ended<T>(stream: &mut Producer<T>) -> bool {
    stream.is_terminated()
        && stream.size_hint() == (0, Some(0))
        && matches!(poll_next(stream, Waker::noop()), Poll::Ready(None))
        && stream.wait_next().is_none()
}

#[test]
fn items_come_in_order_and_then_the_end() {
    let pool = pool(1, 1);
    for capacity in [1, 2, 3, 64, usize::MAX] {
        let (mut stream, _) = numbers(&pool, capacity, 1000);
        for number in 0..1000 {
            assert!(!stream.is_terminated());
            assert_eq!(stream.wait_next(), Some(number));
        }
        assert_eq!(stream.wait_next(), None);
        assert!(is_ended(&mut stream));
    }
    check_sound(&pool);
}

#[test]
fn a_producer_of_nothing_ends() {
    let mut stream = producer(|_: &ItemSender<u8>| ());
    assert_eq!(stream.wait_next(), None);
    assert!(is_ended(&mut stream));
}

async fn sum(stream: Producer<usize>) -> usize {
    stream.fold(0, async |sum, number| sum + number).await
}

#[test]
fn it_works_on_three_kinds_of_executor() {
    let pool = pool(1, 1);
    let stream = || numbers(&pool, 4, 1001).0;
    let one = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(one.block_on(sum(stream())), 500_500);
    let many = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let task = many.spawn(stream().fold(0, |sum, number| std::future::ready(sum + number)));
    assert_eq!(many.block_on(task).unwrap(), 500_500);
    assert_eq!(futures_lite::future::block_on(sum(stream())), 500_500);
    assert_eq!(sidestep::block_on(sum(stream())), 500_500);
}

#[test]
fn a_stream_that_nobody_polls_stops_its_producer() {
    let pool = pool(1, 1);
    for capacity in [1, 2, 5] {
        let (mut stream, sent) = numbers(&pool, capacity, 100);
        eventually("the producer waits for room", || pool.metrics().threads_blocked() == 1);
        nothing_happens();
        assert_eq!(sent.load(Ordering::SeqCst), capacity);
        assert_eq!(stream.wait_next(), Some(0));
        nothing_happens();
        let sent = sent.load(Ordering::SeqCst);
        assert!((capacity..=capacity + 1).contains(&sent), "1 given out, {sent} sent, room for {capacity}");
        assert_eq!(rest(stream), (1..100).collect::<Vec<_>>());
    }
    check_sound(&pool);
}

#[test]
fn only_a_send_that_waits_is_declared_as_blocking() {
    let (pool, full, go) = (pool(1, 1), Gate::new(), Gate::new());
    let (filled, proceed) = (full.clone(), go.clone());
    let stream = producer_with(pool.options(), 2, move |sink| {
        (0..2).for_each(|number| sink.send(number).unwrap());
        filled.open();
        proceed.pass();
        sink.send(2).unwrap();
    });
    full.pass();
    assert_eq!(pool.metrics().threads_blocked(), 0);
    go.open();
    eventually("the third waits", || pool.metrics().threads_blocked() == 1);
    assert_eq!(rest(stream), [0, 1, 2]);
}

#[test]
fn the_waker_is_called_by_the_item_that_ends_a_wait_and_by_no_other() {
    let (pool, first, second) = (pool(1, 1), Gate::new(), Gate::new());
    let [one, two] = [first.clone(), second.clone()];
    let mut stream = producer_with(pool.options(), 64, move |sink| {
        one.pass();
        (0..10).for_each(|number| sink.send(number).unwrap());
        two.pass();
    });
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    for _ in 0..3 {
        assert!(poll_next(&mut stream, &waker).is_pending());
    }
    first.open();
    eventually("the stream is woken", || wakes.count() > 0);
    let mut got = Vec::new();
    while got.len() < 10 {
        if let Poll::Ready(item) = poll_next(&mut stream, Waker::noop()) {
            got.push(item.unwrap());
        }
    }
    assert_eq!(wakes.count(), 1);
    second.open();
    assert_eq!(stream.wait_next(), None);
    assert_eq!(got, (0..10).collect::<Vec<_>>());
}

#[test]
fn dropping_a_queued_producer_drops_its_closure_unrun() {
    let (pool, gate, drops) = (pool(1, 1), Gate::new(), Drops::new());
    let busy = occupy(&pool, &gate);
    let token = drops.token();
    let stream = producer_with(pool.options(), 1, move |sink: &ItemSender<u8>| {
        let _token = token;
        sink.send(1).unwrap();
        unreachable!("it is cancelled");
    });
    drop(stream);
    assert_eq!(drops.count(), 1, "at once");
    gate.open();
    busy.wait().unwrap();
    check_sound(&pool);
}

#[test]
fn dropping_the_stream_ends_a_send_that_waits_and_drops_what_is_left() {
    let (pool, drops) = (pool(1, 1), Drops::new());
    let (report, end) = channel();
    let made = drops.clone();
    let mut stream = producer_with(pool.options(), 3, move |sink| {
        let hooked = Arc::new(AtomicBool::new(false));
        let hook = Arc::clone(&hooked);
        let _guard = current::on_cancel(move || hook.store(true, Ordering::SeqCst));
        assert!(!sink.is_closed() && !current::is_cancelled());
        let refused = (0..).find_map(|number| sink.send((number, made.token())).err());
        let told = current::is_cancelled() && sink.is_closed() && hooked.load(Ordering::SeqCst);
        report.send((refused.map(|closed| closed.into_inner().0), told)).unwrap();
    });
    assert_eq!(stream.wait_next().unwrap().0, 0);
    eventually("the producer waits for room", || pool.metrics().threads_blocked() == 1);
    let before = drops.count();
    drop(stream);
    let (refused, told) = end.recv().unwrap();
    assert!(told, "closed, cancelled, and the hook has run");
    let refused = refused.unwrap();
    assert!((3..=4).contains(&refused), "0 was given out, 2 or 3 lay there, then came {refused}");
    assert_eq!((before, drops.count()), (1, refused + 1));
    check_sound(&pool);
}

#[test]
fn destructors_of_items_that_panic_do_not_reach_who_drops_the_stream() {
    let (pool, drops) = (pool(1, 1), Drops::new());
    let made = drops.clone();
    let stream = producer_with(pool.options(), 5, move |sink| {
        (0..5).for_each(|_| drop(sink.send(PanicOnDrop(made.clone()))));
    });
    eventually("the producer has ended", || pool.metrics().tasks_completed() == 1);
    drop(stream);
    assert_eq!(drops.count(), 5);
    check_sound(&pool);
}

#[test]
fn a_panic_comes_after_the_items_before_it_and_once() {
    let pool = pool(1, 1);
    let mut stream = producer_with(pool.options(), 10, |sink| {
        (0..3).for_each(|number| sink.send(number).unwrap());
        quiet_panic("no such drive");
    });
    assert_eq!([(); 3].map(|()| stream.wait_next()), [Some(0), Some(1), Some(2)]);
    assert_eq!(panic_of_next(&mut stream), "no such drive");
    assert!(is_ended(&mut stream));
    assert_eq!(pool.metrics().tasks_panicked(), 1);
    check_sound(&pool);
}

#[test]
fn a_pool_that_does_not_run_the_closure_says_so() {
    let ended = pool(1, 1);
    ended.shutdown().wait();
    let (mut stream, _) = numbers(&ended, 1, 1);
    assert!(panic_of_next(&mut stream).contains("the pool is shut down"));
    assert!(is_ended(&mut stream));

    let limited = Pool::builder().max_threads(1).queue_limit(1).build().unwrap();
    let gate = Gate::new();
    let busy = occupy(&limited, &gate);
    let (mut queued, _) = numbers(&limited, 1, 1);
    let (mut refused, _) = numbers(&limited, 1, 1);
    assert!(panic_of_next(&mut refused).contains("the queue is full"));
    assert!(poll_next(&mut queued, Waker::noop()).is_pending());
    let shutdown = limited.shutdown().discard_queued();
    assert!(panic_of_next(&mut queued).contains("the pool is shut down"));
    gate.open();
    busy.wait().unwrap();
    shutdown.wait();
}

#[test]
fn no_room_at_all_is_refused() {
    let pool = pool(1, 1);
    let refusal = catch_unwind(AssertUnwindSafe(|| numbers(&pool, 0, 1))).unwrap_err();
    assert!(refusal.downcast_ref::<&str>().unwrap().contains("capacity (0)"));
    assert_eq!(pool.metrics().tasks_submitted(), 0);
}

#[test]
fn many_threads_may_send() {
    const THREADS: usize = 4;
    let pool = pool(1, 1);
    let stream = producer_with(pool.options(), 3, |sink| {
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || (0..250).for_each(|n| sink.send(thread * 250 + n).unwrap()));
            }
        });
    });
    let mut all = rest(stream);
    all.sort_unstable();
    assert_eq!(all, (0..THREADS * 250).collect::<Vec<_>>());
}

#[test]
fn a_lane_limits_how_many_run() {
    let pool = pool(2, 2);
    let lane = pool.lane("walks", 1);
    let mut first = producer_with(lane.options(), 1, |sink| (0..3).for_each(|n| sink.send(n).unwrap()));
    let mut second = producer_with(lane.options(), 1, |sink| sink.send(7).unwrap());
    assert_eq!(first.wait_next(), Some(0));
    assert!(poll_next(&mut second, Waker::noop()).is_pending());
    assert_eq!(rest(first), [1, 2]);
    assert_eq!(rest(second), [7]);
}

#[test]
fn a_task_may_consume_a_producer_of_its_own_pool() {
    let pool = pool(1, 2);
    let inner = pool.clone();
    let task = pool.spawn(move || rest(numbers(&inner, 2, 100).0).len());
    assert_eq!(crate::support::soon(task).unwrap(), 100);
    check_sound(&pool);
}

#[test]
fn the_sender_and_the_stream_race_to_the_end() {
    let pool = pool(2, 4);
    for round in 0..200 {
        let drops = Drops::new();
        let (made, count) = (drops.clone(), Arc::new(Mutex::new(0)));
        let sent = Arc::clone(&count);
        let mut stream = producer_with(pool.options(), 1 + round % 4, move |sink| {
            while *sent.lock().unwrap() < 50 && sink.send(made.token()).is_ok() {
                *sent.lock().unwrap() += 1;
            }
        });
        for _ in 0..round % 60 {
            let _ = stream.wait_next();
        }
        drop(stream);
        eventually("the producer ends", || pool.metrics().tasks_running() == 0);
        let sent = *count.lock().unwrap();
        eventually("each item is dropped", || drops.count() == sent || drops.count() == sent + 1);
    }
    check_sound(&pool);
}

/// In a process of its own: the child panics, and the lock that a panic's report takes must not
/// have been held by another test at the fork.
#[cfg(unix)]
#[test]
fn a_forked_child_gets_what_was_done_and_is_told_of_the_rest() {
    use crate::support::fork::in_child;
    const MARK: &str = "SIDESTEP_TEST_PRODUCER";
    if std::env::var_os(MARK).is_none() {
        let mut alone = crate::support::alone::this_program();
        let name = "io::producer::a_forked_child_gets_what_was_done_and_is_told_of_the_rest";
        let output = alone.args([name, "--exact"]).env(MARK, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let (pool, gate) = (pool(1, 1), Gate::new());
    let (mut done, _) = numbers(&pool, 4, 3);
    eventually("it has ended", || pool.metrics().tasks_completed() == 1);
    let held = gate.clone();
    let running = producer_with(pool.options(), 4, move |sink| {
        sink.send(1).unwrap();
        held.pass();
        sink.send(2).unwrap();
    });
    let mut running = Some(running);
    eventually("it has begun", || pool.metrics().tasks_running() == 1);
    let status = in_child(|list| {
        let items: Vec<usize> = std::iter::from_fn(|| done.wait_next()).collect();
        list.check(items == [0, 1, 2]);
        let stream = running.as_mut().unwrap();
        let told = catch_unwind(AssertUnwindSafe(|| stream.wait_next())).err();
        list.check(told.is_some_and(|told| told.downcast_ref::<String>().unwrap().contains("fork")));
        list.check(stream.wait_next().is_none());
        drop(running.take());
        let mut new = producer_with(pool.options(), 1, |sink| sink.send(1).unwrap());
        list.check(catch_unwind(AssertUnwindSafe(|| new.wait_next())).is_err());
    });
    assert_eq!(status, 0);
    gate.open();
    assert_eq!(rest(running.unwrap()), [1, 2]);
    assert_eq!(rest(done), [0, 1, 2]);
    check_sound(&pool);
}

#[test]
fn handles_go_where_they_are_needed() {
    fn check<T: Send + Sync + Unpin + std::panic::UnwindSafe>() {}
    check::<Producer<u8>>();
    check::<ItemSender<u8>>();
    let broken: std::io::Error = {
        let (send, receive) = channel();
        let mut stream = producer(move |sink| {
            send.send((0..).find_map(|number: u64| sink.send(number).err())).unwrap();
        });
        stream.wait_next();
        drop(stream);
        receive.recv().unwrap().unwrap().into()
    };
    assert_eq!(broken.kind(), std::io::ErrorKind::BrokenPipe);
}

/// The clone and the drop of a waker are user code. Here each asks the thread of the producer to
/// use the channel, and waits for the answer.
#[test]
fn no_waker_is_dropped_under_the_lock_of_the_channel() {
    type Line = (Sender<bool>, Receiver<bool>);
    static LINE: Mutex<Option<Line>> = Mutex::new(None);
    static IS_LOCKED: AtomicBool = AtomicBool::new(false);
    static TABLE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            ask(true);
            RawWaker::new(data, &TABLE)
        },
        |_| (),
        |_| (),
        |_| ask(false),
    );

    fn ask(sends: bool) {
        let line = LINE.lock().unwrap();
        let Some((asks, answers)) = line.as_ref().filter(|_| !IS_LOCKED.load(Ordering::SeqCst)) else {
            return;
        };
        asks.send(sends).unwrap();
        if answers.recv_timeout(PATIENCE).is_err() {
            IS_LOCKED.store(true, Ordering::SeqCst);
        }
    }

    let ((asks, asked), (answer, answers)) = (channel(), channel());
    *LINE.lock().unwrap() = Some((asks, answers));
    let mut stream = producer(move |sink: &ItemSender<u32>| {
        while let Ok(sends) = asked.recv() {
            let _ = answer.send(if sends { sink.send(1).is_ok() } else { sink.is_closed() });
        }
    });
    // SAFETY: the functions of the table do not follow the pointer.
    let waker = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &TABLE)) };
    assert!(poll_next(&mut stream, &waker).is_ready());
    drop(LINE.lock().unwrap().take());
    assert!(!IS_LOCKED.load(Ordering::SeqCst), "the drop found the channel locked");
}
