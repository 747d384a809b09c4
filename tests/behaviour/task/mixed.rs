//! Everything that can end a task, at random and at once: each task ends once, and nothing of it is
//! left.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sidestep::task::JoinSet;
use sidestep::{
    Batch, CancelToken, KeyedLane, Lane, OnShutdown, Pool, ShutdownReport, Strand, Task, TaskError,
    TaskOptions, block_on, current,
};

use crate::support::{DropToken, Drops, PATIENCE, check_accounts, eventually, pool, quiet_panic};

/// A generator of numbers that look random.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn time(&mut self) -> Duration {
        Duration::from_micros([0, 50, 300, 2000, u64::MAX >> 20][self.throw(5)])
    }
}

/// What all threads of a round share.
struct Round {
    pool: Pool,
    lane: Lane,
    keyed: KeyedLane<usize>,
    strand: Strand<usize>,
    tokens: Mutex<Vec<CancelToken>>,
    drops: Drops,
    made: AtomicUsize,
}

/// Whether the task may be ended so.
fn is_expected<T>(end: &Result<T, TaskError>) -> bool {
    let Err(error) = end else { return true };
    let says = [
        error.is_cancelled(),
        error.is_expired(),
        error.is_shutdown(),
        error.is_panic(),
        error.is_poisoned(),
    ];
    says.into_iter().filter(|says| *says).count() == 1
}

impl Round {
    /// Something that is dropped once, whatever becomes of it.
    fn thing(&self) -> DropToken {
        self.made.fetch_add(1, Ordering::SeqCst);
        self.drops.token()
    }

    fn token(&self, dice: &mut Dice) -> CancelToken {
        let tokens = self.tokens.lock().unwrap();
        tokens[dice.throw(tokens.len())].clone()
    }

    /// A closure that does this or that, and gives a thing.
    fn closure(&self, dice: &mut Dice) -> impl FnOnce() -> DropToken + Send + use<> {
        let (held, result, of_hook, of_guest) = (self.thing(), self.thing(), self.thing(), self.thing());
        let (kind, pool, other) = (dice.throw(9), self.pool.clone(), self.token(dice));
        move || {
            let guard = current::on_cancel(move || drop(of_hook));
            match kind {
                0 => _ = current::token().cancelled().wait_timeout(Duration::from_millis(2)),
                1 => quiet_panic(result),
                2 => pool.scope(|scope| {
                    let waits = || {
                        current::token().child().cancelled().wait_timeout(Duration::from_millis(1));
                    };
                    let tasks = [scope.spawn(waits), scope.spawn(waits)];
                    tasks.into_iter().for_each(|task| assert!(is_expected(&task.wait())));
                }),
                3 => {
                    let nested = pool.spawn(move || of_guest);
                    nested.link(&current::token());
                    assert!(is_expected(&nested.wait()));
                }
                4 => thread::scope(|scope| {
                    let token = current::token();
                    scope.spawn(move || {
                        current::attach(&token, || {
                            drop(current::on_cancel(move || drop(of_guest)));
                            current::token().cancelled().wait_timeout(Duration::from_micros(100))
                        })
                    });
                }),
                5 => current::token().cancel(),
                6 => other.cancel(),
                7 => std::mem::forget(current::attach(&other, || current::on_cancel(|| ()))),
                _ => {}
            }
            drop((guard, held));
            result
        }
    }

    fn options<'a>(&self, options: TaskOptions<'a>, dice: &mut Dice) -> TaskOptions<'a> {
        let options = match dice.throw(4) {
            0 => options.cancel_after(dice.time()),
            1 => options.expire_after(dice.time()),
            2 => options.expire_after(dice.time()).cancel_after(dice.time()),
            _ => options,
        };
        match dice.throw(4) {
            0 => options.on_shutdown(OnShutdown::Discard),
            1 => options.on_shutdown(OnShutdown::AlwaysRun),
            _ => options,
        }
    }

    fn spawn(&self, dice: &mut Dice) -> Task<DropToken> {
        let closure = self.closure(dice);
        match dice.throw(5) {
            0 => self.options(self.pool.options(), dice).spawn(closure),
            1 => self.options(self.lane.options(), dice).spawn(closure),
            2 => {
                let key = self.keyed.key(dice.throw(3));
                self.options(key.options(), dice).spawn(closure)
            }
            3 => self.strand.options().cancel_after(dice.time()).call(|value| {
                *value += 1;
                closure()
            }),
            _ => {
                let options = self.options(self.lane.options(), dice);
                match self.lane.try_reserve() {
                    Ok(permit) => permit.spawn_with(&options, closure),
                    Err(error) => {
                        assert!(error.is_shutdown());
                        options.spawn(closure)
                    }
                }
            }
        }
    }

    /// Does something that has to do with no task, or with many.
    fn disturb(&self, dice: &mut Dice) {
        match dice.throw(9) {
            0 => self.token(dice).cancel(),
            1 => self.tokens.lock().unwrap().push(CancelToken::new()),
            2 => {
                let child = self.token(dice).child();
                self.tokens.lock().unwrap().push(child);
            }
            3 => {
                let mut tokens = self.tokens.lock().unwrap();
                let number = dice.throw(tokens.len());
                if tokens.len() > 2 {
                    drop(tokens.swap_remove(number));
                }
            }
            4 => _ = self.lane.set_limit(dice.throw(3)),
            5 => _ = self.keyed.set_limit(dice.throw(3)),
            6 => drop(self.strand.session()),
            7 => drop(self.strand.replace(0)),
            _ => {}
        }
    }

    /// One of the threads that make and end tasks.
    fn act(&self, dice: &mut Dice) {
        let (mut set, mut batch) = (JoinSet::new(), Batch::new());
        let mut aborts = Vec::new();
        for _ in 0..60 {
            let task = self.spawn(dice);
            if dice.throw(2) == 0 {
                task.link(&self.token(dice));
            }
            match dice.throw(13) {
                0 => drop(task),
                1 => task.detach(),
                2 => aborts.push(task.detach_on_drop().abort_handle()),
                3 => {
                    let held = self.thing();
                    task.on_complete(move |end| {
                        assert!(is_expected(&end));
                        drop(held);
                    });
                }
                4 => {
                    let end = task.wait_timeout(Duration::from_micros(300));
                    assert!(end.as_ref().map_or(true, is_expected));
                }
                5 => drop(task.cancel()),
                6 => {
                    let options = self.options(self.lane.options(), dice);
                    aborts.push(set.spawn_blocking_on(self.closure(dice), &options));
                }
                7 => aborts.drain(..).for_each(|abort| abort.abort()),
                8 => _ = set.try_join_next(),
                9 => batch.cancel_all(),
                _ => _ = batch.push(task),
            }
            self.disturb(dice);
        }
        match dice.throw(4) {
            0 => drop((set, batch)),
            1 => {
                batch.detach();
                set.detach_all();
            }
            // What waits in a paused lane runs when the pool is shut down.
            _ => block_on(async {
                while let Some((_, end)) = batch.join_next().await {
                    assert!(is_expected(&end));
                }
                set.shutdown().await;
            }),
        }
    }

    /// Ends the pool, when the others have made some tasks.
    fn end(&self, dice: &mut Dice) -> ShutdownReport {
        let some = dice.throw(700);
        eventually("they are made", || self.made.load(Ordering::SeqCst) >= some);
        let shutdown = self.pool.shutdown().timeout(PATIENCE);
        if dice.throw(2) == 0 { shutdown.wait() } else { shutdown.discard_queued().wait() }
    }
}

#[test]
fn whatever_ends_a_task_it_ends_once_and_leaves_nothing() {
    for seed in 0..if cfg!(miri) { 1 } else { 40 } {
        let pool = pool(2, 4);
        let round = Round {
            lane: pool.lane("limited", 2),
            keyed: pool.keyed_lane("keyed", 2).build().unwrap(),
            strand: Strand::on(&pool, 0),
            pool: pool.clone(),
            tokens: Mutex::new(vec![CancelToken::new()]),
            drops: Drops::new(),
            made: AtomicUsize::new(0),
        };
        let report = thread::scope(|scope| {
            let round = &round;
            let actors: Vec<_> =
                (1..4).map(|actor| scope.spawn(move || round.act(&mut Dice(seed * 1000 + actor)))).collect();
            let report = scope.spawn(move || round.end(&mut Dice(seed))).join().unwrap();
            for actor in actors {
                eventually("the actor ends", || actor.is_finished());
                actor.join().unwrap();
            }
            report
        });
        assert_eq!(report.still_running, 0, "round {seed}");
        let Round { drops, made, tokens, .. } = round;
        let made = made.into_inner();
        eventually("everything is dropped", || drops.count() == made);
        let metrics = pool.metrics();
        check_accounts(&metrics);
        assert_eq!((metrics.tasks_queued(), metrics.tasks_running()), (0, 0), "round {seed}: {metrics:?}");
        drop(tokens);
    }
}
