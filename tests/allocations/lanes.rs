//! What waits in a lane, or has given up waiting there.

use std::pin::Pin;
use std::sync::mpsc::channel;
use std::task::{Context, Waker};
use std::time::Duration;

use sidestep::{Pool, Task};

use super::{bytes, eventually, one_thread, turn, while_busy};

/// Runs `during`, which lets go of some ten megabytes, while the only slot of a lane is held, and
/// checks that they are gone while it still is, but for a hundred cells or so of tasks that have
/// ended.
fn stays_flat(during: impl Fn(&sidestep::Lane)) {
    let _turn = turn();
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
    let _turn = turn();
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
    let _turn = turn();
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
    let _turn = turn();
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
