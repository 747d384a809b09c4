//! Values behind a pool: strands, and dedicated ones.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use sidestep::{Dedicated, Strand};

use crate::{
    dice::Dice,
    fates::fate,
    job::{Crowd, Job},
    ledger::{Kind, equal},
    site::{POOLS_MADE, POOLS_REFUSED, Settings, Site, builder},
};

/// Values that have not been dropped.
pub(crate) static VALUES: AtomicI64 = AtomicI64::new(0);

/// A value that knows when it is gone.
struct Value {
    calls: usize,
}

impl Value {
    fn new() -> Value {
        VALUES.fetch_add(1, Ordering::SeqCst);
        Value { calls: 0 }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        VALUES.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Calls of a strand, some of which poison it, and one of its ends.
pub(crate) async fn strand(site: &Arc<Site>, dice: &mut Dice) {
    // Its value is dropped by a task of the pool's own.
    site.has_others.store(true, Ordering::SeqCst);
    let strand = Strand::on(&site.pool, Value::new());
    let crowd = Crowd::new("a strand", 1);
    let mut calls = Vec::new();
    for _ in 0..dice.below(12) {
        let (job, watch) = Job::new(Kind::Strand, site, dice);
        let job = job.in_crowd(&crowd);
        let call = move |value: &mut Value| {
            value.calls += 1;
            job.run()
        };
        let task = match dice.below(4) {
            0 => strand.options().expire_after(dice.micros(2_000)).call(call),
            _ => strand.call(call),
        };
        calls.push((task, watch));
        if dice.one_in(4) {
            strand.clear_poison();
        }
    }
    let made = calls.len();
    let other = dice.one_in(2).then(|| strand.clone());
    match dice.below(3) {
        0 => match strand.into_inner().await {
            Ok(value) if value.calls > made => equal("calls of a strand", value.calls, made),
            Ok(_) | Err(_) => {}
        },
        1 => drop(strand.into_inner()),
        _ => drop(strand),
    }
    for (task, watch) in calls {
        fate(task, watch, dice).await;
    }
    drop(other);
}

/// A value on a thread of its own; its calls share the book of `site`.
pub(crate) async fn dedicated(site: &Arc<Site>, dice: &mut Dice) {
    let settings = Settings {
        core: 1,
        max: 1,
        queue_limit: dice.one_in(2).then_some(4),
        keep_alive: Duration::ZERO,
        refuse_one_in: 10,
        lasts: false,
        propagates: false,
    };
    site.has_others.store(true, Ordering::SeqCst);
    let (builder, _) = builder("dedicated", &settings, dice);
    let Ok(value) = Dedicated::with(builder, || Rc::new(Value::new())) else {
        POOLS_REFUSED.fetch_add(1, Ordering::Relaxed);
        return;
    };
    POOLS_MADE.fetch_add(1, Ordering::Relaxed);
    let crowd = Crowd::new("a dedicated value", 1);
    for _ in 0..dice.below(8) {
        let (job, watch) = Job::new(Kind::Dedicated, site, dice);
        let job = job.in_crowd(&crowd);
        let task = value.call(move |value| {
            let _still = Rc::clone(value);
            job.run()
        });
        fate(task, watch, dice).await;
        if dice.one_in(4) {
            value.clear_poison();
        }
    }
    match dice.below(2) {
        0 => drop(value.close().await),
        _ => drop(value),
    }
}
