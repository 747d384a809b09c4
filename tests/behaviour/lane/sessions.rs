//! Sessions of strands in lanes that change meanwhile: limits, pauses, shares, reserves, ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sidestep::{Lane, Pool, ResourcePool, Session, Strand, Task};

use crate::support::{
    Drops, Gate, Wakes, all_well, check_accounts, check_sound, eventually, nothing_happens, occupy, poll,
    pool, soon,
};

type Names = Vec<&'static str>;

/// Lanes of limit 1 of all kinds that a session can be in.
fn lanes(pool: &Pool) -> Vec<Lane> {
    let builder = |name: &str| pool.lane_builder(name, 1);
    let lanes = [
        builder("plain"),
        builder("shared").share(3),
        builder("reserved").reserve(1),
        builder("limited").queue_limit(100),
        builder("all").share(2).reserve(1).queue_limit(100),
    ];
    lanes.map(|builder| builder.build().unwrap()).into()
}

fn note(strand: &Strand<Names>, name: &'static str) -> Task<()> {
    strand.call(move |names| names.push(name))
}

fn note_in(session: &Session<Names>, name: &'static str) -> Task<()> {
    session.call(move |names| names.push(name))
}

/// A strand in `lane` and an open session of it.
fn open(lane: &Lane) -> (Strand<Names>, Session<Names>) {
    let strand = Strand::in_lane(lane, Names::new()).unwrap();
    let session = soon(strand.session()).unwrap();
    (strand, session)
}

#[test]
fn a_pause_holds_up_the_session_and_the_session_all_others() {
    let pool = pool(2, 4);
    for lane in lanes(&pool) {
        let (strand, session) = open(&lane);
        lane.set_limit(0).unwrap();
        let other = note(&strand, "other");
        let own = note_in(&session, "own");
        nothing_happens();
        assert!(!own.is_finished() && !other.is_finished(), "{lane:?}");
        lane.set_limit(1).unwrap();
        soon(own).unwrap();
        nothing_happens();
        assert!(!other.is_finished(), "{lane:?}");
        // It is paused again, and the session ends meanwhile.
        lane.set_limit(0).unwrap();
        let (last, third) = (note_in(&session, "last"), note(&strand, "third"));
        drop(session);
        nothing_happens();
        assert!(!last.is_finished() && !other.is_finished(), "{lane:?}");
        lane.set_limit(1).unwrap();
        all_well([other, last, third]);
        assert_eq!(soon(strand.into_inner()).unwrap(), ["own", "last", "other", "third"], "{lane:?}");
    }
    check_sound(&pool);
}

#[test]
fn a_session_is_opened_while_its_lane_is_paused_and_goes_on() {
    let pool = pool(2, 4);
    for lane in lanes(&pool) {
        for _ in 0..100 {
            let strand = Strand::in_lane(&lane, Names::new()).unwrap();
            let session = strand.session();
            let other = note(&strand, "other");
            lane.set_limit(0).unwrap();
            lane.set_limit(1).unwrap();
            let session = soon(session).unwrap();
            soon(note_in(&session, "own")).unwrap();
            drop(session);
            soon(other).unwrap();
            assert_eq!(soon(strand.into_inner()).unwrap(), ["own", "other"]);
        }
    }
    check_sound(&pool);
}

/// How a pool ends.
const ENDS: [fn(Pool); 4] = [
    |pool| assert_eq!(pool.shutdown().wait().still_running, 0),
    |pool| assert_eq!(pool.shutdown().timeout(Duration::from_secs(60)).wait().still_running, 0),
    |pool| assert_eq!(sidestep::block_on(pool.shutdown()).still_running, 0),
    |pool| assert_eq!(pool.shutdown().discard_queued().wait().still_running, 0),
];

#[test]
fn each_end_of_a_pool_ends_sessions_and_pauses() {
    for (number, end) in ENDS.into_iter().enumerate() {
        for kind in 0..5 {
            let pool = pool(1, 2);
            let lane = lanes(&pool).swap_remove(kind);
            let (strand, session) = open(&lane);
            lane.set_limit(0).unwrap();
            let (other, own) = (note(&strand, "other"), note_in(&session, "own"));
            end(pool.clone());
            assert!(own.is_finished() && other.is_finished(), "{lane:?}");
            assert!(soon(session.call(|_| ())).unwrap_err().is_shutdown());
            let ends = [soon(own), soon(other)];
            let discards = number == 3;
            assert!(
                ends.iter().all(|end| match end {
                    Ok(()) => true,
                    Err(error) => discards && error.is_shutdown(),
                }),
                "{ends:?} in {lane:?}"
            );
            assert_eq!(lane.limit(), 1);
            drop(session);
            check_accounts(&pool.metrics());
        }
    }
}

/// The general thread hangs, so it is the reserve that runs what the shutdown sets free.
#[test]
fn a_shutdown_has_a_reserve_run_what_waited_for_a_session_in_a_paused_lane() {
    let pool = pool(1, 1);
    let lane = pool.lane_builder("health", 1).reserve(1).build().unwrap();
    let (strand, session) = open(&lane);
    let gate = Gate::new();
    let hung = occupy(&pool, &gate);
    lane.set_limit(0).unwrap();
    let (other, own) = (note(&strand, "other"), note_in(&session, "own"));
    let shutdown = pool.shutdown();
    all_well([own, other]);
    gate.open();
    soon(hung).unwrap();
    assert_eq!(shutdown.wait().still_running, 0);
    drop(session);
}

#[test]
fn a_lane_is_idle_while_a_session_does_nothing_and_not_while_anything_waits_for_its_end() {
    let pool = pool(2, 4);
    for lane in lanes(&pool) {
        let (strand, session) = open(&lane);
        lane.idle().wait();
        pool.idle().wait();
        let other = note(&strand, "other");
        let (mut of_lane, mut of_pool) = (lane.idle(), pool.idle());
        let wakes = Wakes::new();
        assert!(poll(&mut of_lane, &Arc::clone(&wakes).into()).is_pending());
        assert!(poll(&mut of_pool, &Arc::clone(&wakes).into()).is_pending());
        soon(note_in(&session, "own")).unwrap();
        nothing_happens();
        assert_eq!(wakes.count(), 0, "{lane:?}");
        drop(session);
        of_lane.wait();
        of_pool.wait();
        assert!(other.is_finished(), "{lane:?}");
    }
    // What waits is cancelled: there is nothing left, though the session is open.
    let strand = Strand::on(&pool, Names::new());
    let session = soon(strand.session()).unwrap();
    let other = note(&strand, "other");
    let waits = strand.lane().idle();
    let waiter = thread::spawn(move || waits.wait());
    drop(other);
    waiter.join().unwrap();
    drop(session);
}

/// A session could not end the pause: that ends with the last handle. But the lane lives, and keeps
/// its name.
#[test]
fn a_pause_ends_with_the_last_handle_besides_a_session_and_the_name_does_not() {
    let pool = pool(1, 2);
    for lane in lanes(&pool) {
        let (strand, session) = open(&lane);
        lane.set_limit(0).unwrap();
        let drops = Drops::new();
        let token = drops.token();
        let other = strand.call(move |_| drop(token));
        let own = note_in(&session, "own");
        let name = lane.name().to_owned();
        let settings = lane.metrics();
        nothing_happens();
        assert!(!own.is_finished(), "{settings:?}");
        drop((lane, strand));
        soon(own).unwrap();
        nothing_happens();
        assert!(!other.is_finished());
        let again = pool.lane(name, 1);
        assert_eq!(again.metrics().tasks_queued(), 1, "it is the same lane");
        assert_eq!(again.limit(), 0, "with a handle the pause goes on");
        again.set_limit(1).unwrap();
        let third = again.spawn(|| ());
        drop(session);
        all_well([other, third]);
        assert_eq!(drops.count(), 1);
    }
    check_sound(&pool);
}

/// Without anything queued, the lane lives by its session alone, or by a permit.
#[test]
fn a_session_or_a_permit_keeps_the_name_of_its_lane() {
    let pool = pool(1, 2);
    let lane = pool.lane("named", 1);
    let (strand, session) = open(&lane);
    drop((lane, strand));
    pool.idle().wait();
    let other = pool.lane("named", 1).spawn(|| ());
    nothing_happens();
    assert!(!other.is_finished(), "it is behind the session");
    drop(session);
    soon(other).unwrap();
    let lane = pool.lane_builder("narrow", 1).queue_limit(1).build().unwrap();
    let strand = Strand::in_lane(&lane, 7).unwrap();
    let permit = strand.reserve().wait().unwrap();
    drop((lane, strand));
    pool.idle().wait();
    let again = pool.lane("narrow", 1);
    assert!(again.try_spawn(|| ()).unwrap_err().error().is_full(), "it is the same lane");
    assert_eq!(soon(permit.call(|value| *value)).unwrap(), 7);
    check_sound(&pool);
}

/// A call that is queued has its value with it, but no handle of the lane.
#[test]
fn calls_without_handles_do_not_keep_a_pause_from_ending() {
    let drops = Drops::new();
    let pool = pool(1, 2);
    let strand = Strand::on(&pool, drops.token());
    strand.lane().set_limit(0).unwrap();
    let call = strand.call(|_| 1);
    let taken = strand.into_inner();
    drop(soon(taken).unwrap());
    assert_eq!(soon(call).unwrap(), 1);
    let strand = Strand::on(&pool, drops.token());
    strand.lane().set_limit(0).unwrap();
    let (replaced, call) = (strand.replace(drops.token()), strand.call(|_| 2));
    drop(strand);
    soon(replaced).unwrap();
    assert_eq!(soon(call).unwrap(), 2);
    let token = drops.clone();
    let values = ResourcePool::builder(&pool, 2, move || std::io::Result::Ok(token.token())).build().unwrap();
    soon(values.call(|_| ())).unwrap();
    values.lane().set_limit(0).unwrap();
    let calls = [values.call(|_| ()), values.call(|_| ())];
    let closing = values.close();
    nothing_happens();
    assert!(calls.iter().all(|call| !call.is_finished()));
    drop(values);
    all_well(calls);
    closing.wait().unwrap();
    // Each of the calls has made a value of its own, or found that of the other.
    eventually("all values are dropped", || drops.count() >= 4);
    check_sound(&pool);
}

/// The last handles go, and with them the pool, while a call is queued in a paused lane.
#[test]
fn the_last_handle_of_a_pool_may_be_a_strand_that_is_paused() {
    let drops = Drops::new();
    let strand = Strand::on(&pool(1, 1), drops.token());
    strand.lane().set_limit(0).unwrap();
    let call = strand.call(|_| 7);
    drop(strand);
    assert_eq!(soon(call).unwrap(), 7);
    eventually("the value is dropped", || drops.count() == 1);
}

#[test]
fn tombstones_of_a_session_in_a_paused_lane_are_swept_and_give_their_places_back() {
    let pool = pool(1, 1);
    let lane = pool.lane_builder("narrow", 1).queue_limit(4).build().unwrap();
    let (strand, session) = open(&lane);
    lane.set_limit(0).unwrap();
    let others: Vec<_> = (0..4).map(|_| strand.try_call(|_| ()).unwrap()).collect();
    let drops = Drops::new();
    for _ in 0..5 {
        let calls: Vec<_> = (0..500)
            .map(|_| {
                let token = drops.token();
                session.call(move |_| drop(token))
            })
            .collect();
        drop(calls);
    }
    assert_eq!(drops.count(), 2500);
    assert!(strand.try_call(|_| ()).unwrap_err().error().is_full());
    let own = note_in(&session, "own");
    drop(others);
    assert!(strand.try_call(|_| ()).is_ok(), "there is room");
    lane.set_limit(1).unwrap();
    soon(own).unwrap();
    drop(session);
    soon(note(&strand, "last")).unwrap();
    assert_eq!(soon(strand.into_inner()).unwrap(), ["own", "last"]);
    check_sound(&pool);
}

#[test]
fn a_wait_on_the_only_thread_goes_on_when_the_pause_of_its_session_ends() {
    let pool = pool(1, 1);
    for lane in lanes(&pool) {
        let (strand, session) = open(&lane);
        lane.set_limit(0).unwrap();
        let own = note_in(&session, "own");
        let other = note(&strand, "other");
        let started = Gate::new();
        let announce = started.clone();
        let waits = pool.spawn(move || {
            announce.open();
            own.wait().unwrap();
            drop(session);
            other.wait()
        });
        started.pass();
        nothing_happens();
        lane.set_limit(1).unwrap();
        soon(waits).unwrap().unwrap();
    }
    check_sound(&pool);
}

/// A call of a session that waits for its strand is told, also where the limit has changed.
#[test]
fn a_circle_in_a_session_is_told_once_a_pause_is_over() {
    let pool = pool(4, 4);
    for lane in lanes(&pool) {
        let (strand, session) = open(&lane);
        let (inner, entered, go) = (strand.clone(), Gate::new(), Gate::new());
        let (here, pass) = (entered.clone(), go.clone());
        let waits = session.call(move |_| {
            here.open();
            pass.pass();
            inner.call(|_| ()).wait()
        });
        entered.pass();
        lane.set_limit(0).unwrap();
        go.open();
        nothing_happens();
        assert!(!waits.is_finished(), "the pause may end: {lane:?}");
        lane.set_limit(1).unwrap();
        assert!(soon(waits).unwrap().unwrap_err().is_deadlock(), "{lane:?}");
        drop(session);
        soon(strand.call(|_| ())).unwrap();
    }
    check_sound(&pool);
}

/// A strand is made in a lane whose limit another thread raises: one of the two is refused.
#[test]
fn a_limit_that_rises_meets_a_strand_that_is_made() {
    let pool = pool(2, 4);
    for number in 0..300 {
        let lane = pool.lane(format!("contested {number}"), 1);
        let other = lane.clone();
        let raiser = thread::spawn(move || other.set_limit(3).is_ok());
        let strand = Strand::in_lane(&lane, 0_u32);
        let raised = raiser.join().unwrap();
        assert_eq!(raised, strand.is_err(), "one of the two comes first");
        assert_eq!(lane.limit(), if raised { 3 } else { 1 });
        if let Ok(strand) = strand {
            assert!(lane.set_limit(2).is_err() && lane.set_limit(0).is_ok() && lane.set_limit(1).is_ok());
            all_well((0..5).map(|_| strand.call(|value| *value += 1)).collect::<Vec<_>>());
        }
    }
    check_sound(&pool);
}

#[test]
fn sessions_lose_no_count_in_a_storm_of_pauses_beside_lanes_with_shares() {
    const CALLERS: usize = 6;
    const ROUNDS: usize = 60;
    let pool = pool(2, 4);
    let lanes = lanes(&pool);
    let strands: Vec<_> = lanes.iter().map(|lane| Strand::in_lane(lane, 0_usize).unwrap()).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let changer = scope.spawn(|| {
            let mut change = 0_usize;
            while !stop.load(Ordering::SeqCst) {
                lanes[change % lanes.len()].set_limit(change / lanes.len() % 2).unwrap();
                change += 1;
                thread::yield_now();
            }
            lanes.iter().for_each(|lane| lane.set_limit(1).unwrap());
        });
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let strands = &strands;
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let strand = &strands[(caller + round) % strands.len()];
                        if (caller + round) % 3 == 0 {
                            soon(strand.call(|count| *count += 1)).unwrap();
                            continue;
                        }
                        drop(strand.session());
                        let session = soon(strand.session()).unwrap();
                        // Lost, if another call came between.
                        let seen = soon(session.call(|count| *count)).unwrap();
                        drop(session.call(|_| ()));
                        session.call(move |count| *count = seen + 1).detach();
                    }
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        stop.store(true, Ordering::SeqCst);
        changer.join().unwrap();
    });
    let counts = strands.into_iter().map(|strand| soon(strand.into_inner()).unwrap());
    assert_eq!(counts.sum::<usize>(), CALLERS * ROUNDS);
    check_sound(&pool);
}
