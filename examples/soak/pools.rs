//! Pools that live for a moment: made, loaded, and ended in each of the ways there are while the
//! load goes on.

use std::{
    mem::take,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use futures_lite::future::{block_on, poll_once};
use sidestep::ShutdownReport;

use crate::{
    dice::Dice,
    fates::singles,
    groups, job,
    ledger::{Book, equal, fault},
    loops,
    site::{Hands, Settings, Site},
    steady::{Change, live},
    values,
};

/// Pools that have ended, or soon will have, and are looked at when all is quiet.
static ENDED: Mutex<Vec<Ended>> = Mutex::new(Vec::new());

enum Ended {
    /// It was shut down.
    Shut(Arc<Site>),
    /// The last handle was dropped.
    Dropped(Arc<Book>, Arc<Hands>),
}

impl Ended {
    fn is_quiet(&self) -> bool {
        match self {
            Ended::Shut(site) => site.is_quiet() && site.hands.threads.now() == 0,
            Ended::Dropped(book, hands) => book.counts.open() == 0 && hands.threads.now() == 0,
        }
    }
}

/// Whether all pools that were made and ended are at rest.
pub(crate) fn are_quiet() -> bool {
    ENDED.lock().unwrap_or_else(PoisonError::into_inner).iter().all(Ended::is_quiet)
}

/// Those of them that are not.
pub(crate) fn describe() -> Vec<String> {
    let ended = ENDED.lock().unwrap_or_else(PoisonError::into_inner);
    let describe = |ended: &Ended| match ended {
        Ended::Shut(site) => format!("{}: {:?} {:?}", site.name, site.pool.metrics(), site.hands),
        Ended::Dropped(book, hands) => format!("a dropped pool: {} open cases {hands:?}", book.counts.open()),
    };
    ended.iter().filter(|ended| !ended.is_quiet()).map(describe).collect()
}

/// Compares the numbers of those pools, and forgets them.
pub(crate) fn check() {
    for ended in take(&mut *ENDED.lock().unwrap_or_else(PoisonError::into_inner)) {
        match ended {
            Ended::Shut(site) => {
                equal("threads of a pool that was shut down", site.pool.metrics().threads(), 0);
                equal("threads inside of it", site.hands.threads.now(), 0);
                site.check();
            }
            Ended::Dropped(book, hands) => {
                equal("closures of a pool that was dropped", book.counts.open(), 0);
                equal("threads of a pool that was dropped", hands.threads.now(), 0);
            }
        }
    }
}

fn remember(ended: Ended) {
    ENDED.lock().unwrap_or_else(PoisonError::into_inner).push(ended);
}

fn settings(dice: &mut Dice) -> Settings {
    let core = 1 + dice.below(3);
    let keep_alives = [Duration::ZERO, Duration::from_micros(1), Duration::from_millis(1), Duration::MAX];
    Settings {
        core,
        max: core + dice.below(6),
        queue_limit: dice.one_in(3).then(|| 1 + dice.below(10)),
        keep_alive: *dice.pick(&keep_alives),
        refuse_one_in: *dice.pick(&[0, 0, 8, 3]),
        lasts: false,
        propagates: dice.one_in(4),
    }
}

/// One pool's whole life.
pub(crate) fn one(dice: &mut Dice) {
    let Ok(site) = Site::new("moment", &settings(dice), dice) else { return };
    let mut other = dice.fork();
    if dice.one_in(3) {
        // Somebody spawns while it ends.
        thread::scope(|scope| {
            let (theirs, other) = (Arc::clone(&site), &mut other);
            let begins = Change::new();
            scope.spawn(move || live(begins, || block_on(singles(&theirs, other))));
            job::spin(dice.micros(500));
            end(site, dice);
        });
        return;
    }
    block_on(some_load(&site, &mut other));
    end(site, dice);
}

async fn some_load(site: &Arc<Site>, dice: &mut Dice) {
    match dice.below(13) {
        0 => {}
        12 => values::resource_pool(site, dice).await,
        1 => groups::batch(site, dice).await,
        2 => groups::scope(site, dice),
        3 => values::strand(site, dice).await,
        4 => loops::promise(site, dice).await,
        5 => loops::event_loop(site, dice),
        _ => singles(site, dice).await,
    }
}

/// Ends the pool, in one way or another.
fn end(site: Arc<Site>, dice: &mut Dice) {
    let shutdown = match dice.below(8) {
        0 | 1 => {
            let ended = Ended::Dropped(Arc::clone(&site.book), Arc::clone(&site.hands));
            drop(site);
            remember(ended);
            return;
        }
        2 | 3 => site.pool.shutdown().discard_queued(),
        4 => site.pool.shutdown().timeout(dice.micros(2_000)),
        5 => site.pool.shutdown().discard_queued().timeout(dice.micros(2_000)),
        _ => site.pool.shutdown(),
    };
    match dice.below(4) {
        0 => drop(shutdown),
        1 => {
            block_on(poll_once(shutdown));
        }
        2 => is_sane(&site, &shutdown.wait()),
        _ => is_sane(&site, &block_on(shutdown)),
    }
    remember(Ended::Shut(site));
}

/// What the report says was running was, at most. (Whether all ends is seen later: a task may be on
/// its way out, in the hands of whoever cancels it.)
fn is_sane(site: &Site, report: &ShutdownReport) {
    let running = site.pool.metrics().tasks_running();
    if running > report.still_running {
        fault(format_args!("{running} tasks run after a shutdown which reported {}", report.still_running));
    }
}
