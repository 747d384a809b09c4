//! What tasks cost in memory: how many allocations, how many bytes while they wait, and that all
//! comes back.
#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use futures_util::Stream;
use sidestep::task::JoinSet;
use sidestep::{Pool, Promise, Task, TaskError, Unblock};

/// The system's allocator, with an account.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicIsize = AtomicIsize::new(0);

// SAFETY: all requests are passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::SeqCst);
        BYTES.fetch_add(layout.size().cast_signed(), Ordering::SeqCst);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size().cast_signed(), Ordering::SeqCst);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The account is the process's: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

fn calls() -> usize {
    CALLS.load(Ordering::SeqCst)
}

fn bytes() -> isize {
    BYTES.load(Ordering::SeqCst)
}

fn one_thread() -> Pool {
    let pool = Pool::builder().core_threads(1).max_threads(1).build().unwrap();
    // The first task of a thread pays for what lasts.
    (0..1000).for_each(|_| pool.spawn(|| ()).wait().unwrap());
    pool
}

/// Waits until `condition` holds.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never happened: {what}");
        std::thread::yield_now();
    }
}

/// Runs `during` while the pool's only thread is inside a task.
fn while_busy<R>(pool: &Pool, during: impl FnOnce() -> R) -> R {
    let ((started, wait), (go, gate)) = (channel(), channel::<()>());
    let running = pool.spawn(move || {
        started.send(()).unwrap();
        let _ = gate.recv();
    });
    wait.recv().unwrap();
    let result = during();
    drop(go);
    running.wait().unwrap();
    result
}

#[test]
fn a_task_costs_little_more_than_one_allocation() {
    const MANY: usize = 10_000;
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pool = one_thread();
    let before = calls();
    for number in 0..MANY {
        assert_eq!(pool.spawn(move || number).wait().unwrap(), number);
    }
    let spent = calls() - before;
    // The oneshot of a wait takes one, and the cells and the queue's entries share theirs by the
    // dozen.
    assert!(spent < MANY + MANY / 5, "{spent} allocations for {MANY} tasks");
    pool.shutdown().wait();
}

/// A oneshot is an allocation of its own.
#[test]
fn tasks_that_no_handle_waits_for_make_no_oneshot() {
    const MANY: usize = 10_000;
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pool = one_thread();
    while_busy(&pool, || {
        let before = calls();
        (0..MANY).for_each(|_| drop(pool.spawn(|| ())));
        let spent = calls() - before;
        assert!(spent < MANY / 5, "{spent} for {MANY} cancelled tasks");
        let before = calls();
        (0..MANY).for_each(|_| pool.spawn(|| ()).detach());
        let spent = calls() - before;
        assert!(spent < MANY / 5, "{spent} for {MANY} detached tasks");
    });
    let before = calls();
    let tasks: Vec<_> = (0..MANY).map(|number| pool.spawn(move || number)).collect();
    eventually("all tasks end", || tasks.iter().all(Task::is_finished));
    sidestep::block_on(async {
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), number);
        }
    });
    let spent = calls() - before;
    assert!(spent < MANY / 5, "{spent} for {MANY} tasks that ended before they were awaited");
    pool.shutdown().wait();
}

/// Neither where the batch is there before the ends, nor where its stream is polled before them.
#[test]
fn the_tasks_of_a_batch_make_no_oneshot() {
    const MANY: usize = 10_000;
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pool = one_thread();
    let before = calls();
    let batch = while_busy(&pool, || pool.spawn_batch((0..MANY).map(|number| move || number)));
    let sum: usize = batch.wait().into_iter().map(Result::unwrap).sum();
    assert_eq!(sum, MANY * (MANY - 1) / 2);
    let spent = calls() - before;
    assert!(spent < MANY / 5, "{spent} for {MANY} tasks of a batch that is waited for");

    let before = calls();
    let mut batch = while_busy(&pool, || {
        let mut batch = pool.spawn_batch((0..MANY).map(|number| move || number));
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut batch).poll_next(&mut context).is_pending());
        batch
    });
    sidestep::block_on(async {
        for number in 0..MANY {
            let next = std::future::poll_fn(|context| Pin::new(&mut batch).poll_next(context)).await;
            assert_eq!(next.map(|(index, result)| (index, result.unwrap())), Some((number, number)));
        }
    });
    let spent = calls() - before;
    assert!(spent < MANY / 5, "{spent} for {MANY} tasks of a batch that is polled before they end");
    pool.shutdown().wait();
}

/// Although one of its tasks does not end.
#[test]
fn a_set_that_lives_long_keeps_nothing_of_what_it_has_given() {
    const MANY: usize = 10_000;
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (pool, busy) = (one_thread(), one_thread());
    let (go, gate) = channel::<()>();
    let mut set = JoinSet::new();
    set.spawn_blocking_on(move || gate.recv().map_or(0, |()| 0), &busy);
    let mut fill = |rounds: usize| {
        for number in 0..rounds {
            set.spawn_blocking_on(move || number, &pool);
            assert_eq!(sidestep::block_on(set.join_next()).unwrap().unwrap(), number);
        }
    };
    fill(1000);
    let before = bytes();
    fill(MANY);
    eventually("the bytes of all tasks come back", || bytes() - before < 16 * 1024);
    drop(go);
    assert_eq!(sidestep::block_on(set.join_all()), [0]);
    pool.shutdown().wait();
    busy.shutdown().wait();
}

#[cfg(feature = "tokio")]
#[test]
fn a_task_that_takes_its_runtime_along_costs_one_allocation_more_and_outside_of_one_none() {
    const MANY: usize = 10_000;
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pool = Pool::builder().core_threads(1).max_threads(1).propagate_runtime(true).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let spawn_many = || {
        let before = calls();
        (0..MANY).for_each(|_| pool.spawn(|| ()).detach());
        calls() - before
    };
    // The first tasks of a thread pay for what lasts.
    spawn_many();
    while_busy(&pool, || {
        let outside = spawn_many();
        assert!(outside < MANY / 5, "{outside} for {MANY} tasks outside of a runtime");
        let _entered = runtime.enter();
        let inside = spawn_many();
        let more = inside.saturating_sub(outside);
        assert!(
            (MANY * 9 / 10..MANY * 11 / 10).contains(&more),
            "{more} more for {MANY} tasks inside of one"
        );
    });
    pool.shutdown().wait();
}

#[test]
fn a_queued_task_costs_at_most_112_bytes() {
    const MANY: usize = 100_000;
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pool = one_thread();
    let mut tasks: Vec<Task<()>> = Vec::with_capacity(MANY);
    while_busy(&pool, || {
        let before = bytes();
        tasks.extend((0..MANY).map(|_| pool.spawn(|| ())));
        let each = (bytes() - before) as f64 / MANY as f64;
        println!("{each:.1} bytes for a queued task");
        assert!(each <= 112.0, "{each:.1} bytes for a queued task");
        assert!(each >= 56.0, "{each:.1} bytes: the account is wrong");
    });
    tasks.into_iter().for_each(|task| task.wait().unwrap());
    pool.shutdown().wait();
}

/// Tasks of every kind and end. All have ended when it returns.
fn use_everything(pool: &Pool, rounds: usize) {
    let payload = || vec![0_u8; 100];
    for _ in 0..rounds {
        assert_eq!(pool.spawn(payload).wait().unwrap().len(), 100);
        let panics = pool.spawn(move || std::panic::resume_unwind(Box::new(payload())));
        assert!(panics.wait().unwrap_err().is_panic());
        drop(pool.spawn(payload));
        pool.spawn(payload).detach();
        pool.spawn(payload).on_complete(drop);
        let _ = pool.spawn(payload).cancel().wait();
        let held = payload();
        let hooked = pool.spawn(move || {
            let _guard = sidestep::current::on_cancel(move || drop(held));
            drop(sidestep::current::on_cancel(|| ()));
        });
        drop(hooked.cancel_handle());
        hooked.wait().unwrap();
        let inner = pool.clone();
        pool.spawn(move || inner.spawn(payload).wait().unwrap()).wait().unwrap();
    }
    let ended = || {
        let metrics = pool.metrics();
        metrics.tasks_queued() + metrics.tasks_running() == 0
    };
    eventually("all tasks end", ended);
}

#[test]
fn nothing_is_left_of_tasks_that_have_ended() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pool = one_thread();
    use_everything(&pool, 100);
    let before = bytes();
    use_everything(&pool, 2000);
    // The queue keeps a block or two of a few hundred bytes, which come and go; the 18,000 tasks do
    // not fit into this.
    eventually("the bytes of all tasks come back", || bytes() - before < 16 * 1024);
    pool.shutdown().wait();
}

#[test]
fn husks_of_cancelled_tasks_go_when_a_worker_comes() {
    const MANY: usize = 10_000;
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pool = one_thread();
    let before = bytes();
    while_busy(&pool, || {
        for _ in 0..MANY {
            let held = [0_u8; 4096];
            drop(pool.spawn(move || held.len()));
        }
    });
    eventually("the husks are gone", || bytes() - before < 16 * 1024);
    pool.shutdown().wait();
}

#[test]
fn nothing_is_left_of_a_pool_that_has_ended() {
    const POOLS: usize = 200;
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let live = || {
        let pool = Pool::builder().core_threads(1).max_threads(4).build().unwrap();
        use_everything(&pool, 1);
        pool.shutdown().wait();
    };
    // The first few pay for what the process keeps.
    (0..5).for_each(|_| live());
    let before = bytes();
    (0..POOLS).for_each(|_| live());
    // The garbage of the lock-free queues is collected now and then; a pool has some thousand
    // bytes.
    eventually("the bytes of all pools come back", || bytes() - before < POOLS as isize * 1024);
}

#[test]
fn a_scope_inside_a_task_gives_everything_back() {
    const MANY: usize = 2_000;
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pool = Pool::builder().core_threads(2).max_threads(2).build().unwrap();
    let scopes = |rounds: usize| {
        let inner = pool.clone();
        let task = pool.spawn(move || {
            for _ in 0..rounds {
                inner.scope(|scope| {
                    let task = scope.spawn(|| ());
                    // The other thread runs it, so that the join has nothing to do.
                    while !task.is_finished() {
                        std::thread::yield_now();
                    }
                });
            }
        });
        task.wait().unwrap();
    };
    scopes(MANY);
    let before = bytes();
    scopes(MANY);
    let each = (bytes() - before) as f64 / MANY as f64;
    assert!(each < 20.0, "{each:.1} bytes left of each scope");
}

/// Runs `during`, which lets go of some ten megabytes, while the only slot of a lane is held, and
/// checks that they are gone while it still is, but for a hundred cells or so of tasks that have
/// ended.
fn stays_flat(during: impl Fn(&sidestep::Lane)) {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pool = Pool::builder().core_threads(2).max_threads(2).build().unwrap();
    let lane = pool.lane("stuck", 1);
    let ((started, wait), (go, gate)) = (channel(), channel::<()>());
    let running = lane.spawn(move || {
        started.send(()).unwrap();
        let _ = gate.recv();
    });
    wait.recv().unwrap();
    during(&lane);
    let before = bytes();
    (0..10).for_each(|_| during(&lane));
    eventually("the bytes come back while the lane is stuck", || bytes() - before < 512 * 1024);
    drop(go);
    running.wait().unwrap();
    pool.shutdown().wait();
}

#[test]
fn callers_that_give_up_do_not_pile_up_in_a_stuck_lane() {
    stays_flat(|lane| {
        for _ in 0..5000 {
            let held = [0_u8; 2048];
            drop(lane.spawn(move || held.len()));
        }
    });
}

#[test]
fn neither_do_tasks_that_expire_there_nor_their_deadlines() {
    stays_flat(|lane| {
        for round in 0..2000_u64 {
            let held = [0_u8; 2048];
            let time = if round % 2 == 0 { Duration::ZERO } else { Duration::from_secs(3600) };
            let task = lane.options().expire_after(time).spawn(move || held.len());
            if round % 2 == 0 {
                assert!(task.wait().unwrap_err().is_expired());
            }
        }
    });
}

/// What this library keeps for an async client that waits in a lane: the cell of the task, the
/// oneshot by which the client is woken, and a place in the lane's queue. What the client's runtime
/// keeps for its task comes on top: 256 bytes of tokio's.
#[test]
fn a_client_that_waits_in_a_lane_costs_at_most_160_bytes() {
    const MANY: usize = 100_000;
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pool = one_thread();
    let lane = pool.lane("clients", 1);
    let mut clients: Vec<Task<usize>> = Vec::with_capacity(MANY);
    while_busy(&pool, || {
        let before = bytes();
        for number in 0..MANY {
            let mut client = lane.spawn(move || number);
            let mut context = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut client).poll(&mut context).is_pending());
            clients.push(client);
        }
        let each = (bytes() - before) as f64 / MANY as f64;
        println!("{each:.1} bytes for a client that waits in a lane");
        assert!(each <= 160.0, "{each:.1} bytes");
        assert!(each >= 120.0, "{each:.1} bytes: the account is wrong");
    });
    for (number, client) in clients.into_iter().enumerate() {
        assert_eq!(client.wait().unwrap(), number);
    }
    pool.shutdown().wait();
}

/// The account goes back to where it was, but for some blocks that the queue keeps.
#[test]
fn a_key_costs_nothing_once_it_is_empty() {
    const KEYS: u64 = 100_000;
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pool = one_thread();
    let lane = pool.keyed_lane::<u64>("keys", 1).build().unwrap();
    let one = lane.key(u64::MAX);
    let fill = || {
        let mut tasks: Vec<Task<()>> = Vec::with_capacity(KEYS as usize);
        while_busy(&pool, || tasks.extend((0..KEYS).map(|key| lane.spawn(key, || ()))));
        tasks.into_iter().for_each(|task| task.wait().unwrap());
    };
    let before = bytes();
    fill();
    eventually("the bytes of all keys come back", || bytes() - before < 64 * 1024);
    assert_eq!(lane.keys(), 1, "but for the one that a handle keeps");
    drop(one);
    pool.shutdown().wait();
}

#[test]
fn waits_for_a_place_that_are_given_up_leave_nothing() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pool = Pool::builder().core_threads(1).max_threads(1).queue_limit(1).build().unwrap();
    while_busy(&pool, || {
        let queued = pool.spawn(|| ());
        let give_up = || {
            for _ in 0..5000 {
                let mut turn = pool.reserve();
                let polled = std::pin::Pin::new(&mut turn)
                    .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
                assert!(polled.is_pending());
            }
        };
        give_up();
        let before = bytes();
        (0..10).for_each(|_| give_up());
        assert!(bytes() - before < 32 * 1024, "{}", bytes() - before);
        drop(queued);
    });
    pool.shutdown().wait();
}

#[test]
fn a_fresh_unblock_costs_less_than_a_kibibyte_in_all() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let make = || Unblock::new(std::io::Cursor::new(Vec::<u8>::new()));
    drop(make());
    let before = bytes();
    let fresh = make();
    let cost = (bytes() - before).unsigned_abs() + size_of_val(&fresh);
    println!("{cost} bytes for a fresh Unblock");
    assert!((100..1024).contains(&cost), "{cost} bytes for a fresh Unblock");
}

#[test]
fn an_unblock_at_rest_keeps_no_buffers() {
    use futures_util::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pool = one_thread();
    let text = vec![7; 1 << 20];
    let mut file = Unblock::new(tempfile::tempfile().unwrap()).on(&pool);
    let mut whole = Vec::with_capacity(2 << 20);
    let before = bytes();
    sidestep::block_on(async {
        file.write_all(&text).await.unwrap();
        file.flush().await.unwrap();
        file.seek(std::io::SeekFrom::Start(0)).await.unwrap();
        file.read_to_end(&mut whole).await.unwrap();
    });
    assert!(whole == text);
    // A chunk that has just been read is with the handle, and the pool has a cell or two.
    eventually("the buffers are given back", || bytes() - before < 24 * 1024);
    drop(file);
    pool.shutdown().wait();
}

#[test]
fn recursion_by_promises_takes_no_more_memory_the_longer_it_goes_on() {
    const DEEP: u32 = 1_000_000;
    fn count(left: u32, before: isize) -> Promise<u32, TaskError> {
        Promise::resolve(left).then(move |left| {
            let held = bytes() - before;
            assert!(held < 4096, "{held} bytes, {left} to go");
            if left == 0 { Promise::resolve(DEEP) } else { count(left - 1, before) }
        })
    }
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    assert_eq!(count(DEEP, bytes()).wait().unwrap(), DEEP);
}
