//! Values behind a pool: strands, resource pools, and dedicated ones.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sidestep::{Dedicated, ResourcePool, Strand, Task};

use crate::{
    case::{Watch, Yield},
    dice::Dice,
    fates::fate,
    job::{Crowd, Job},
    ledger::{Kind, equal, fault},
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
        match dice.below(12) {
            0..3 => strand.clear_poison(),
            3 => strand.replace(Value::new()).detach(),
            _ => {}
        }
    }
    if dice.one_in(4) {
        calls.extend(session(&strand, site, &crowd, dice).await);
    }
    let made = calls.len();
    let other = dice.one_in(2).then(|| strand.clone());
    match dice.below(4) {
        3 => drop(strand.close().await),
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

type Calls = Vec<(Task<Yield>, Watch)>;

/// Calls of a session, which ends before anything waits for the strand.
async fn session(strand: &Strand<Value>, site: &Arc<Site>, crowd: &Arc<Crowd>, dice: &mut Dice) -> Calls {
    let request = strand.session();
    if dice.one_in(4) {
        drop(request);
        return Vec::new();
    }
    let Ok(session) = request.await else { return Vec::new() };
    let mut calls = Vec::new();
    for _ in 0..dice.below(4) {
        let (job, watch) = Job::new(Kind::Session, site, dice);
        let job = job.in_crowd(crowd);
        let call = session.call(move |value| {
            value.calls += 1;
            job.run()
        });
        calls.push((call, watch));
    }
    drop(session);
    calls
}

/// Calls of a resource pool whose values fail now and then, and one of its ends.
pub(crate) async fn resource_pool(site: &Arc<Site>, dice: &mut Dice) {
    // Values are dropped by tasks of the pool's own.
    site.has_others.store(true, Ordering::SeqCst);
    let size = 1 + dice.below(3);
    let made = AtomicUsize::new(0);
    let make = move || {
        let number = made.fetch_add(1, Ordering::Relaxed);
        if number % 7 == 6 { Err("the seventh") } else { Ok(Value::new()) }
    };
    let mut values = ResourcePool::builder(&site.pool, size, make).check(|value| value.calls % 5 != 4);
    if dice.one_in(2) {
        values = values.max_idle(dice.micros(500));
    }
    if dice.one_in(3) {
        values = values.queue_limit(4);
    }
    let values = match values.build() {
        Ok(values) => values,
        Err(error) => return fault(format_args!("a resource pool: {error}")),
    };
    let crowd = Crowd::new("a resource pool", size);
    let mut calls = Vec::new();
    for _ in 0..dice.below(12) {
        let (job, watch) = Job::new(Kind::ResourcePool, site, dice);
        let job = job.in_crowd(&crowd);
        let call = move |value: &mut Value| {
            value.calls += 1;
            job.run()
        };
        let task = match dice.below(4) {
            0 => values.options().expire_after(dice.micros(2_000)).call(call),
            _ => values.call(call),
        };
        calls.push((task, watch));
    }
    let other = dice.one_in(2).then(|| values.clone());
    match dice.below(4) {
        0 => drop(values.close().await),
        1 => drop(values.close()),
        _ => drop(values),
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
