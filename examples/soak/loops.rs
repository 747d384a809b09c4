//! Event loops and promises.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use futures_lite::future::poll_once;
use sidestep::{EventLoop, Pool, Promise, Task, TaskError};

use crate::{
    case::Yield,
    dice::Dice,
    job::Job,
    ledger::{Kind, equal},
    site::Site,
};

/// A loop with offloads, timers, posts and local futures, run to its end or dropped on the way.
pub(crate) fn event_loop(site: &Arc<Site>, dice: &mut Dice) {
    let mut ev = EventLoop::on(&site.pool);
    let ran = Rc::new(Cell::new(0));
    // Where some may have been refused, the books want to know which.
    let runs_to_end = site.is_limited || !dice.one_in(4);
    let mut callbacks = 0;
    for _ in 0..dice.below(12) {
        callbacks += 1;
        offload(&ev, site, dice, &ran, runs_to_end);
        if dice.one_in(3) {
            let timed = Rc::clone(&ran);
            let timer = ev.after(dice.micros(2_000), move |_| timed.set(timed.get() + 1));
            if dice.one_in(3) {
                timer.cancel();
            } else {
                callbacks += 1;
            }
        }
        if dice.one_in(3) {
            let posted = Rc::clone(&ran);
            ev.post(move |_| posted.set(posted.get() + 1));
            callbacks += 1;
        }
        if dice.one_in(6) {
            let (task, awaited) = (site.pool.lane("local", 1).reserve(), Rc::clone(&ran));
            ev.spawn_local(async move {
                drop(task.await);
                awaited.set(awaited.get() + 1);
            });
            callbacks += 1;
        }
    }
    if dice.one_in(3) {
        callbacks += channel(&ev, dice, &ran);
    }
    if runs_to_end {
        ev.run();
        equal("callbacks of a loop", ran.get(), callbacks);
    } else {
        for _ in 0..dice.below(4) {
            let _ = ev.turn(dice.micros(500));
        }
    }
}

/// A channel that other threads send on. Returns how many messages.
fn channel(ev: &EventLoop, dice: &mut Dice, ran: &Rc<Cell<usize>>) -> usize {
    const EACH: usize = 4;
    let received = Rc::clone(ran);
    let sender = ev.channel(move |_, number: usize| received.set(received.get() + number));
    let senders = 1 + dice.below(3);
    for _ in 0..senders {
        let sender = sender.clone();
        let send = move || (0..EACH).for_each(|_| drop(sender.send(1)));
        Pool::global().spawn(send).detach();
    }
    senders * EACH
}

fn offload(ev: &EventLoop, site: &Arc<Site>, dice: &mut Dice, ran: &Rc<Cell<usize>>, must_see: bool) {
    let (job, watch) = Job::new(Kind::EventLoop, site, dice);
    let (ran, remote) = (Rc::clone(ran), ev.remote());
    let watch = if must_see { watch.must_see() } else { watch };
    let action = move || {
        let _ = remote.post(|_| ());
        job.run()
    };
    let token = ev.offload(action, move |_, result| {
        watch.saw_or_gave_up(result);
        ran.set(ran.get() + 1);
    });
    if dice.one_in(4) && !site.is_limited {
        token.cancel();
    }
}

type Promised = Promise<Yield, TaskError>;

/// A promise, alone or of many, awaited, waited for, let go or detached.
pub(crate) async fn promise(site: &Arc<Site>, dice: &mut Dice) {
    let (job, watch) = Job::new(Kind::Promise, site, dice);
    let job = job.tame();
    let mut promise: Promised = if dice.one_in(2) {
        site.pool.promise(move || Ok(job.run()))
    } else {
        let task: Task<Result<Yield, TaskError>> = site.pool.spawn(move || Ok(job.run()));
        task.promise()
    };
    for _ in 0..dice.below(4) {
        promise = match dice.below(4) {
            0 => promise.map(|value| value),
            1 => promise.then(Ok),
            2 => promise.catch(Err),
            _ => promise.finally(|| ()),
        };
    }
    match dice.below(6) {
        0 => watch.saw(promise.wait()),
        1 => drop(poll_once(&mut promise).await),
        2 => drop(promise),
        3 => {
            // It is driven by tasks of the pool's own.
            site.has_others.store(true, std::sync::atomic::Ordering::SeqCst);
            promise.detach();
        }
        4 => {
            drop(watch);
            many(site, promise, dice).await;
        }
        _ => watch.saw(promise.await),
    }
}

async fn many(site: &Arc<Site>, first: Promised, dice: &mut Dice) {
    let others = (0..1 + dice.below(4)).map(|_| {
        let (job, _) = Job::new(Kind::Promise, site, dice);
        let job = job.tame();
        site.pool.promise(move || Ok(job.run()))
    });
    let promises: Vec<Promised> = [first].into_iter().chain(others.collect::<Vec<_>>()).collect();
    let count = promises.len();
    match dice.below(5) {
        0 => {
            let values = Promise::all(promises).await;
            if let Ok(values) = values {
                equal("values of all", values.len(), count);
            }
        }
        1 => {
            let results: Result<_, TaskError> = Promise::all_settled(promises).await;
            equal("results of all_settled", results.map_or(0, |results| results.len()), count);
        }
        2 => {
            if let Err(errors) = Promise::any(promises).await {
                equal("errors of any", errors.len(), count);
            }
        }
        3 => drop(Promise::race(promises).await),
        _ => drop(
            futures_lite::future::or(async { Some(Promise::all(promises).await) }, async {
                Pool::global().spawn(|| crate::job::sleep(Duration::from_micros(300))).await.ok();
                None
            })
            .await,
        ),
    }
}
