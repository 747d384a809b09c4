//! Single tasks: the ways to spawn one, and what may become of its handle.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_lite::future::poll_once;
use futures_util::FutureExt as _;
use sidestep::{CancelToken, Lane, OnShutdown, Pool, Task, TaskOptions, Unblocked};

use crate::{
    case::{Watch, Yield, defuse},
    dice::Dice,
    job::{self, Job, let_go},
    ledger::{Kind, fault},
    site::Site,
};

/// A few tasks, spawned one after the other, and then looked after one after the other.
pub(crate) async fn singles(site: &Arc<Site>, dice: &mut Dice) {
    let mut tasks = Vec::new();
    for _ in 0..1 + dice.below(12) {
        tasks.extend(single(site, dice).await);
    }
    for (task, watch) in tasks {
        fate(task, watch, dice).await;
    }
}

type Spawned = Option<(Task<Yield>, Watch)>;

/// One task. `None` where that is all there is to it.
async fn single(site: &Arc<Site>, dice: &mut Dice) -> Spawned {
    match dice.below(12) {
        0 => by_options(&site.pool.options(), Job::new(Kind::Options, site, dice), dice),
        1 => tried(site, dice),
        2 => {
            let mut reserve = site.pool.reserve();
            if dice.one_in(8) {
                drop(poll_once(&mut reserve).await);
                return None;
            }
            let permit = reserve.await.ok()?;
            if dice.one_in(8) {
                return None;
            }
            let (job, watch) = Job::new(Kind::Permit, site, dice);
            Some((permit.spawn(move || job.run()), watch))
        }
        3 | 4 => in_lane(site, dice).await,
        5 => with_key(site, dice).await,
        // It panics where it is refused.
        6 if !site.is_limited => {
            let (job, watch) = Job::new(Kind::Unblock, site, dice);
            unblocked(site.pool.unblock(move || job.run()), watch, dice).await;
            None
        }
        _ => {
            let (job, watch) = Job::new(Kind::Spawn, site, dice);
            Some((site.pool.spawn(move || job.run()), watch))
        }
    }
}

fn by_options(options: &TaskOptions<'_>, (job, watch): (Job, Watch), dice: &mut Dice) -> Spawned {
    let mut options = options.clone().name("named");
    if dice.one_in(2) {
        options = options.expire_after(dice.micros(2_000));
    }
    if dice.one_in(3) {
        options = options.cancel_after(dice.micros(3_000));
    }
    let policies = [OnShutdown::AlwaysRun, OnShutdown::Discard];
    if dice.one_in(2) {
        options = options.on_shutdown(*dice.pick(&policies));
    }
    Some((options.spawn(move || job.run()), watch))
}

fn tried(site: &Arc<Site>, dice: &mut Dice) -> Spawned {
    let (job, watch) = Job::new(Kind::TrySpawn, site, dice);
    match site.pool.try_spawn(move || job.run()) {
        Ok(task) => Some((task, watch)),
        Err(refused) => handed_back(refused, watch),
    }
}

async fn in_lane(site: &Arc<Site>, dice: &mut Dice) -> Spawned {
    let (lane, crowd) = site.lane(dice);
    let (job, watch) = Job::new(Kind::Lane, site, dice);
    let job = job.in_crowd(crowd);
    if dice.one_in(10) {
        change_limit(lane, crowd.limit(), dice);
    }
    match dice.below(6) {
        0 => by_options(&lane.options(), (job, watch), dice),
        1 => match lane.try_spawn(move || job.run()) {
            Ok(task) => Some((task, watch)),
            Err(refused) => handed_back(refused, watch),
        },
        2 => match lane.reserve().await {
            Ok(permit) => Some((permit.spawn(move || job.run()), watch)),
            Err(_) => Some((lane.spawn(move || job.run()), watch)),
        },
        3 => match lane.try_reserve() {
            Ok(permit) => {
                Some((permit.spawn_with(&lane.options().name("permitted"), move || job.run()), watch))
            }
            Err(_) => Some((lane.spawn(move || job.run()), watch)),
        },
        _ => Some((lane.spawn(move || job.run()), watch)),
    }
}

/// Lowers the limit of a lane for a moment, perhaps to a pause. Nothing is awaited meanwhile: what
/// else this thread has to do may wait for the lane.
fn change_limit(lane: &Lane, most: usize, dice: &mut Dice) {
    let lowered = lane.set_limit(dice.below(most + 1));
    job::spin(dice.micros(300));
    if let Err(error) = lowered.and_then(|()| lane.set_limit(most)) {
        fault(error);
    }
}

async fn with_key(site: &Arc<Site>, dice: &mut Dice) -> Spawned {
    let (lane, key, crowd) = site.key(dice);
    let (job, watch) = Job::new(Kind::KeyedLane, site, dice);
    let job = job.in_crowd(crowd);
    match dice.below(4) {
        0 => by_options(&lane.key(key).options(), (job, watch), dice),
        1 => match lane.try_spawn(key, move || job.run()) {
            Ok(task) => Some((task, watch)),
            Err(refused) => handed_back(refused, watch),
        },
        2 => match lane.reserve(key).await {
            Ok(permit) => Some((permit.spawn(move || job.run()), watch)),
            Err(_) => Some((lane.spawn(key, move || job.run()), watch)),
        },
        _ => Some((lane.spawn(key, move || job.run()), watch)),
    }
}

/// The closure has come back, and is dropped here.
fn handed_back<F>(refused: sidestep::Rejected<F>, watch: Watch) -> Spawned {
    watch.handed_back();
    let _ = catch_unwind(AssertUnwindSafe(|| drop(refused.into_inner())));
    None
}

async fn unblocked(mut future: Unblocked<Yield>, watch: Watch, dice: &mut Dice) {
    if dice.one_in(4) {
        match AssertUnwindSafe(poll_once(&mut future)).catch_unwind().await {
            Ok(early) => drop(early.map(Yield::tame)),
            Err(payload) => defuse(payload),
        }
        return;
    }
    let result = if dice.one_in(2) {
        AssertUnwindSafe(future).catch_unwind().await
    } else {
        catch_unwind(AssertUnwindSafe(|| future.wait()))
    };
    match result {
        Ok(value) => watch.saw(Ok(value)),
        Err(payload) => watch.saw_panic(payload),
    }
}

/// What becomes of a handle.
pub(crate) async fn fate(mut task: Task<Yield>, watch: Watch, dice: &mut Dice) {
    match dice.below(15) {
        0 => let_go(task, watch, drop),
        1 => let_go(task, watch, Task::detach),
        2 => watch.saw(task.cancel().await),
        3 => watch.saw(task.cancel().wait()),
        4 => let_go(task, watch, |task| drop(task.cancel())),
        5 => {
            let handle = task.cancel_handle();
            Pool::global().spawn(move || handle.cancel()).detach();
            watch.saw(task.await);
        }
        6 => match poll_once(&mut task).await {
            Some(result) => watch.saw(result),
            None => drop(task),
        },
        7 => match task.wait_timeout(dice.micros(1_000)) {
            Ok(result) => watch.saw(result),
            Err(task) if dice.one_in(2) => drop(task),
            Err(task) => watch.saw(task.wait()),
        },
        8 => {
            let (watch, panics) = (watch.must_see(), dice.one_in(10));
            task.on_complete(move |result| {
                watch.saw(result);
                if panics {
                    std::panic::resume_unwind(Box::new("a callback"));
                }
            });
        }
        9 | 10 => watch.saw(task.wait()),
        11 => {
            let request = CancelToken::new();
            task.link(&request.child());
            if dice.one_in(2) {
                task.link(&request);
            }
            Pool::global().spawn(move || request.cancel()).detach();
            watch.saw(task.await);
        }
        _ => watch.saw(task.await),
    }
}
