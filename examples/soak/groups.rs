//! Many tasks at once: batches and scopes.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_util::StreamExt as _;
use sidestep::task::JoinSet;
use sidestep::{Batch, TaskError};

use crate::{
    case::{Watch, Yield, defuse},
    dice::Dice,
    job::Job,
    ledger::{Kind, equal, fault},
    site::Site,
};

/// Jobs that are spawned together, collected, or pushed one by one, some of these after a poll; and
/// the watches of those that the batch has, in its order.
fn submit(site: &Site, jobs: Vec<(Job, Watch)>, dice: &mut Dice) -> (Batch<Yield>, Vec<Watch>) {
    if dice.one_in(2) {
        let (jobs, watches): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
        let closures = jobs.into_iter().map(|job| move || job.run());
        return if dice.one_in(2) {
            (site.pool.spawn_batch(closures), watches)
        } else {
            (closures.map(|closure| site.pool.spawn(closure)).collect(), watches)
        };
    }
    let (mut batch, mut watches) = (Batch::new(), Vec::new());
    for (job, watch) in jobs {
        let mut task = site.pool.spawn(move || job.run());
        if dice.one_in(2) {
            if let Poll::Ready(result) = Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop())) {
                watch.saw(result);
                continue;
            }
        }
        equal("the index of a task", batch.push(task), watches.len());
        watches.push(watch);
    }
    (batch, watches)
}

/// A batch, taken as it comes, in order, in part, or not at all.
pub(crate) async fn batch(site: &Arc<Site>, dice: &mut Dice) {
    let jobs = (0..dice.below(40)).map(|_| Job::new(Kind::Batch, site, dice)).collect();
    let (mut batch, watches) = submit(site, jobs, dice);
    let mut watches: Vec<_> = watches.into_iter().map(Some).collect();
    // Where some may have been refused, the books want to know which.
    let most = if site.is_limited || dice.one_in(2) { watches.len() } else { dice.below(watches.len() + 1) };
    for _ in 0..most {
        let Some((index, result)) = batch.next().await else {
            fault(format_args!("a batch of {} ended early", watches.len()));
            return;
        };
        match watches[index].take() {
            Some(watch) => watch.saw(result),
            None => fault(format_args!("a batch gave {index} twice")),
        }
    }
    equal("left in a batch", batch.len(), watches.len() - most);
    if dice.one_in(4) {
        batch.cancel_all();
    }
    match dice.below(3) {
        0 => batch.detach(),
        1 => {
            let left: Vec<Watch> = watches.into_iter().flatten().collect();
            let results = batch.wait();
            equal("results of a batch", results.len(), left.len());
            left.into_iter().zip(results).for_each(|(watch, result)| watch.saw(result));
        }
        _ => drop(batch),
    }
}

/// A group under the names of tokio, some of it aborted, taken in full or in part.
pub(crate) async fn join_set(site: &Arc<Site>, dice: &mut Dice) {
    let (mut set, mut watches) = (JoinSet::new(), HashMap::new());
    for _ in 0..dice.below(20) {
        let (job, watch) = Job::new(Kind::JoinSet, site, dice);
        let handle = set.spawn_blocking_on(move || job.run(), &site.pool);
        if dice.one_in(6) {
            handle.abort();
        }
        watches.insert(handle.id(), watch);
    }
    let count = watches.len();
    let most = if site.is_limited || dice.one_in(2) { count } else { dice.below(count + 1) };
    for _ in 0..most {
        let (id, result) = match set.join_next_with_id().await {
            Some(Ok((id, value))) => (id, Ok(value)),
            Some(Err(error)) => (error.id(), Err(TaskError::from(error))),
            None => return fault(format_args!("a set of {count} ended early")),
        };
        match watches.remove(&id) {
            Some(watch) => watch.saw(result),
            None => fault(format_args!("a set gave {id} twice")),
        }
    }
    equal("left in a set", set.len(), count - most);
    match dice.below(4) {
        0 => set.detach_all(),
        1 => set.shutdown().await,
        2 => set.abort_all(),
        _ => {}
    }
}

/// Tasks that borrow, some of which spawn others into the scope.
pub(crate) fn scope(site: &Arc<Site>, dice: &mut Dice) {
    let words: Vec<String> = (0..dice.below(10)).map(|number| format!("{number}")).collect();
    let result = catch_unwind(AssertUnwindSafe(|| {
        site.pool.scope(|scope| {
            for word in &words {
                let (job, watch) = Job::new(Kind::Scope, site, dice);
                let spawns = dice.one_in(4) && !site.is_limited;
                let inner = spawns.then(|| Job::new(Kind::Scope, site, dice));
                let task = scope.spawn(move || {
                    if let Some((inner, _)) = inner {
                        drop(scope.spawn(|| inner.run()));
                    }
                    assert_eq!(word.parse::<usize>().map(|number| number.to_string()).as_ref(), Ok(word));
                    job.run()
                });
                if task.is_finished() || dice.one_in(3) {
                    watch.saw(task.wait());
                }
            }
        });
    }));
    if let Err(payload) = result {
        defuse(payload);
    }
}
