//! Many tasks at once: batches and scopes.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_util::StreamExt as _;

use crate::{
    case::{Watch, defuse},
    dice::Dice,
    job::Job,
    ledger::{Kind, equal, fault},
    site::Site,
};

/// A batch, taken as it comes, in order, in part, or not at all.
pub(crate) async fn batch(site: &Arc<Site>, dice: &mut Dice) {
    let (jobs, watches): (Vec<_>, Vec<_>) =
        (0..dice.below(40)).map(|_| Job::new(Kind::Batch, site, dice)).unzip();
    let mut watches: Vec<_> = watches.into_iter().map(Some).collect();
    let mut batch = site.pool.spawn_batch(jobs.into_iter().map(|job| move || job.run()));
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
