//! Programs at work.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use sidestep::{Lane, OnShutdown, Pool, Strand, Task, TaskError, current};

use crate::ledger::{Closure, Entry, Ledger, Product};
use crate::program::{Body, End, Fate, Plan, Program, Road, Setting, Step};

/// After the last step all has ended within so many turns.
const TURNS: usize = 20_000;

/// What a program's threads and tasks share.
struct World {
    pool: Pool,
    lanes: Vec<(Lane, AtomicUsize)>,
    strands: Vec<Strand<AtomicUsize>>,
    ledger: Arc<Ledger>,
    most_threads: usize,
}

/// Draws a program and plays it.
pub(crate) fn program() {
    let program = Program::draw(&mut thread_rng());
    let ledger = Arc::new(Ledger::default());
    let world = Arc::new(World::new(&program, Arc::clone(&ledger)));
    let all_run = program.runs_everything();
    let actors: Vec<_> = program
        .threads
        .into_iter()
        .map(|steps| {
            let world = Arc::clone(&world);
            thread::spawn(move || steps.into_iter().for_each(|step| world.step(step)))
        })
        .collect();
    for actor in actors {
        actor.join().unwrap();
    }
    if !program.ends_by_drop {
        world.end();
    }
    drop(world);
    wait_until(&ledger, Ledger::is_settled);
    ledger.check(all_run);
}

fn wait_until(ledger: &Ledger, is_so: impl Fn(&Ledger) -> bool) {
    let mut turns = 0;
    while !is_so(ledger) {
        assert!(turns < TURNS, "it never ends: {ledger:?}");
        turns += 1;
        thread::yield_now();
    }
}

/// A pool of threads of which some cannot be started.
fn pool(setting: &Setting, most: usize, ledger: &Arc<Ledger>) -> Pool {
    let refused = setting.refused;
    let started = AtomicUsize::new(0);
    let (begin, end, threads) = (Arc::clone(ledger), Arc::clone(ledger), Arc::clone(ledger));
    let builder = Pool::builder()
        .core_threads(setting.core)
        .max_threads(setting.max)
        .keep_alive(Duration::from_millis(setting.keep_alive_ms))
        .on_thread_start(move || begin.begin_thread(most))
        .on_thread_stop(move || end.end_thread())
        .spawn_handler(move |new| {
            // Without the first there is no pool.
            let is_first = started.fetch_add(1, Relaxed) == 0;
            if !is_first && refused.is_some_and(|one_of| thread_rng().gen_ratio(1, one_of)) {
                return Err(std::io::ErrorKind::WouldBlock.into());
            }
            threads.make(move || new.run());
            Ok(())
        });
    let builder = match setting.queue_limit {
        Some(limit) => builder.queue_limit(limit),
        None => builder,
    };
    builder.build().unwrap()
}

impl World {
    fn new(program: &Program, ledger: Arc<Ledger>) -> Self {
        let setting = &program.setting;
        let most = program.threads.iter().flatten().filter_map(|step| match step {
            Step::SetMax(max) => Some(*max),
            _ => None,
        });
        let most_threads = most.max().unwrap_or(0).max(setting.max);
        let pool = pool(setting, most_threads, &ledger);
        let lane = |(number, limit): (usize, &usize)| {
            (pool.lane(format!("lane {number}"), *limit), AtomicUsize::new(0))
        };
        let lanes = setting.lanes.iter().enumerate().map(lane).collect();
        let strands = (0..setting.strands).map(|_| Strand::on(&pool, AtomicUsize::new(0))).collect();
        World { pool, lanes, strands, ledger, most_threads }
    }

    fn step(self: &Arc<Self>, step: Step) {
        match step {
            Step::Task(plan) => self.task(plan, 0),
            Step::Batch(bodies) => self.batch(bodies),
            Step::Scope(tasks) => self.scope(tasks),
            Step::Shutdown(end) => self.shut_down(end),
            Step::Look => self.look(),
            Step::SetMax(max) => self.pool.set_max_threads(max).unwrap(),
        }
    }

    /// Submits a task and does with its handle what the plan says.
    fn task(self: &Arc<Self>, plan: Plan, depth: usize) {
        let (entry, closure) = self.ledger.open(&plan, depth);
        let Plan { road, body, fate } = plan;
        let (world, ledger) = (Arc::clone(self), Arc::clone(&self.ledger));
        let run = move || perform(world, road, body, closure, depth);
        let options = self.pool.options();
        let task = match road {
            Road::Spawn => self.pool.spawn(run),
            Road::TrySpawn => match self.pool.try_spawn(run) {
                Ok(task) => task,
                Err(rejected) => return drop(rejected.into_inner()),
            },
            Road::Reserve => match self.pool.reserve().wait() {
                Ok(permit) => permit.spawn(run),
                Err(_) => return drop(run),
            },
            Road::Expires => options.expire_after(Duration::from_millis(1)).spawn(run),
            Road::Skips => options.on_shutdown(OnShutdown::Discard).spawn(run),
            Road::Blocks => options.on_shutdown(OnShutdown::AlwaysRun).spawn(run),
            Road::Lane(index) => self.lanes[index].0.spawn(run),
            Road::Strand(index) => self.strands[index].call(move |alone| {
                let others = alone.fetch_add(1, Relaxed);
                ledger.hold(others == 0, || "two calls of a strand at a time".to_owned());
                thread::yield_now();
                // A panic may come out of it.
                let _leaves = Leaves(alone);
                run()
            }),
        };
        settle(&self.ledger, task, fate, &entry, depth);
    }

    fn batch(self: &Arc<Self>, bodies: Vec<Body>) {
        let plan = |body| Plan { road: Road::Spawn, body, fate: Fate::Wait };
        let (entries, closures): (Vec<_>, Vec<_>) = bodies
            .into_iter()
            .map(|body| {
                let (entry, closure) = self.ledger.open(&plan(body.clone()), 0);
                let world = Arc::clone(self);
                (entry, move || perform(world, Road::Spawn, body, closure, 0))
            })
            .unzip();
        let ends = self.pool.spawn_batch(closures).wait();
        assert_eq!(ends.len(), entries.len());
        for (entry, end) in entries.iter().zip(ends) {
            entry.accept();
            entry.tell(&end);
        }
    }

    fn scope(&self, tasks: usize) {
        let plan = Plan { road: Road::Spawn, body: Body::Return, fate: Fate::Wait };
        self.pool.scope(|scope| {
            let spawn = |_| {
                let (entry, closure) = self.ledger.open(&plan, 0);
                let borrowed = &self.ledger;
                let task = scope.spawn(move || {
                    closure.run();
                    borrowed
                        .hold(borrowed.threads() > 0, || "a scope runs on no thread of the pool".to_owned());
                    closure.product()
                });
                (entry, task)
            };
            let spawned: Vec<_> = (0..tasks).map(spawn).collect();
            for (entry, task) in spawned {
                entry.accept();
                entry.tell(&task.wait());
            }
        });
    }

    fn shut_down(&self, end: End) {
        let shutdown = self.pool.shutdown();
        match end {
            End::Drain => _ = shutdown.wait(),
            End::Discard => _ = shutdown.discard_queued().wait(),
            End::InTime => _ = shutdown.timeout(Duration::from_millis(1)).wait(),
            End::Announce => drop(shutdown),
        }
    }

    /// The numbers agree at any time.
    fn look(&self) {
        let metrics = self.pool.metrics();
        assert!(metrics.threads() <= self.most_threads, "{metrics:?}");
        assert!(metrics.threads_peak() <= self.most_threads, "{metrics:?}");
        for (lane, _) in &self.lanes {
            let metrics = lane.metrics();
            assert!(metrics.tasks_running() <= lane.limit() as u64, "{metrics:?}");
        }
    }

    /// Shuts the pool down, and looks at what it says of itself.
    fn end(&self) {
        let report = self.pool.shutdown().wait();
        // The timer may be about to end a task that has expired, and the monitor one for which
        // there is no thread.
        let is_balanced = || {
            let metrics = self.pool.metrics();
            (metrics.tasks_queued(), metrics.tasks_running()) == (0, 0)
        };
        wait_until(&self.ledger, |ledger| ledger.is_alone() && is_balanced());
        assert_eq!(report.still_running, 0, "{report:?}");
        let metrics = self.pool.metrics();
        let ended = metrics.tasks_completed() + metrics.tasks_panicked() + metrics.tasks_cancelled();
        assert_eq!(metrics.tasks_submitted(), ended, "{metrics:?}");
        assert_eq!(metrics.threads(), 0, "{metrics:?}");
        self.look();
    }
}

/// Counts down, whatever happens.
struct Leaves<'a>(&'a AtomicUsize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The closure of a task.
fn perform(world: Arc<World>, road: Road, body: Body, closure: Closure, depth: usize) -> Product {
    closure.run();
    let panics = matches!(body, Body::Panic);
    let within = match road {
        Road::Lane(index) => Some(&world.lanes[index]),
        _ => None,
    };
    let slot = within.map(|(lane, running)| {
        let running_now = running.fetch_add(1, Relaxed) + 1;
        let fault = || format!("{running_now} in a lane of {}", lane.limit());
        world.ledger.hold(running_now <= lane.limit(), fault);
        thread::yield_now();
        Leaves(running)
    });
    match body {
        Body::Return | Body::Panic => {}
        Body::LookAround => _ = current::check(),
        Body::Hook => {
            let guard = current::on_cancel(|| thread::yield_now());
            thread::yield_now();
            drop(guard);
        }
        Body::Retire => current::retire_thread(),
        Body::Block => current::will_block(thread::yield_now),
        Body::Child(plan) => world.task(*plan, depth + 1),
        Body::BlockingChild(plan) => current::will_block(|| world.task(*plan, depth + 1)),
    }
    drop(slot);
    // It may be the last to know of the pool. That is to happen before the panic: shuttle lets
    // nobody in while one is under way.
    drop(world);
    if panics {
        drop(closure);
        resume_unwind(Box::new("on purpose"));
    }
    closure.product()
}

/// Does with the handle what the plan says.
fn settle(ledger: &Arc<Ledger>, task: Task<Product>, fate: Fate, entry: &Arc<Entry>, depth: usize) {
    entry.accept();
    let teller = Arc::clone(entry);
    let wait = move |task: Task<Product>| teller.tell(&task.wait());
    match fate {
        Fate::Wait => wait(task),
        // In a task this would hold a thread in a way that the pool cannot see.
        Fate::Await if depth > 0 => wait(task),
        Fate::Await => entry.tell(&shuttle::future::block_on(task)),
        Fate::WaitBriefly => match task.wait_timeout(Duration::from_millis(1)) {
            Ok(end) => entry.tell(&end),
            Err(task) => drop(task),
        },
        Fate::Drop => drop(task),
        Fate::Detach => task.detach(),
        Fate::Cancel => entry.tell(&task.cancel().wait()),
        Fate::CancelAndLeave => drop(task.cancel()),
        Fate::CancelFromElsewhere => {
            let cancel = task.cancel_handle();
            ledger.help(move || cancel.cancel());
            wait(task);
        }
        Fate::OnComplete => {
            let teller = Arc::clone(entry);
            task.on_complete(move |end: Result<Product, TaskError>| teller.tell(&end));
        }
        Fate::HandOver => ledger.help(move || wait(task)),
        Fate::DropElsewhere => ledger.help(move || drop(task)),
    }
}
