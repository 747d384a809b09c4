//! What the closures do: nothing, work, sleep, wait, ask, panic; and spawn others, for which they
//! wait.

use std::{
    hint,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
    thread,
    time::{Duration, Instant},
};

use sidestep::{Pool, Task, current};

use crate::{
    case::{Guard, Watch, Yield, defuse, open_case},
    dice::Dice,
    ledger::{Kind, fault},
    site::Site,
};

/// Counts how many are inside at a time, and minds the limit.
#[derive(Debug)]
pub(crate) struct Crowd {
    name: &'static str,
    now: AtomicUsize,
    limit: usize,
}

impl Crowd {
    pub(crate) fn new(name: &'static str, limit: usize) -> Arc<Crowd> {
        Arc::new(Crowd { name, now: AtomicUsize::new(0), limit })
    }

    pub(crate) fn enter(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        if now > self.limit {
            fault(format_args!("{}: {now} at a time, and the limit is {}", self.name, self.limit));
        }
    }

    pub(crate) fn leave(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }
}

enum Deed {
    Nothing,
    Spin(Duration),
    Sleep(Duration),
    /// Until cancelled, at most for so long.
    Ask(Duration),
    /// The same by a hook.
    Hook(Duration),
    /// As `Hook`, on another thread, which is attached to the task.
    Attach(Duration),
    WillBlock(Duration),
    BlockOn,
    Retire,
    Nest(Arc<Site>, Dice, usize),
}

enum Close {
    Return,
    /// The result's destructor panics.
    Bomb,
    Panic,
    /// The payload's destructor panics, too.
    PanicBomb,
}

/// A closure to be.
pub(crate) struct Job {
    guard: Guard,
    deed: Deed,
    close: Close,
    crowd: Option<Arc<Crowd>>,
}

/// How deep closures that spawn closures go.
const DEPTH: usize = 3;

impl Job {
    /// A closure for `site` whose doings are thrown for now, and its watch.
    pub(crate) fn new(kind: Kind, site: &Arc<Site>, dice: &mut Dice) -> (Job, Watch) {
        Job::at_depth(kind, site, dice, 0)
    }

    fn at_depth(kind: Kind, site: &Arc<Site>, dice: &mut Dice, depth: usize) -> (Job, Watch) {
        let (mut guard, watch) = open_case(kind, &site.book);
        guard.bomb = dice.one_in(50);
        let deed = match dice.below(100) {
            0..50 => Deed::Nothing,
            50..65 => Deed::Spin(dice.time().min(Duration::from_millis(2))),
            65..80 => Deed::Sleep(dice.time()),
            80..83 => Deed::Ask(dice.micros(3_000)),
            83..85 => Deed::Hook(dice.micros(3_000)),
            85 => Deed::Attach(dice.micros(3_000)),
            86..91 => Deed::WillBlock(dice.time()),
            91..93 => Deed::BlockOn,
            93 if site.may_retire => Deed::Retire,
            93 => Deed::Nothing,
            _ if depth < DEPTH => Deed::Nest(Arc::clone(site), dice.fork(), depth),
            _ => Deed::Nothing,
        };
        let close = match dice.below(40) {
            0 => Close::Bomb,
            1 => Close::Panic,
            2 => Close::PanicBomb,
            _ => Close::Return,
        };
        (Job { guard, deed, close, crowd: None }, watch)
    }

    /// No destructor of it panics where the crate has handed it to us.
    pub(crate) fn tame(mut self) -> Job {
        self.close = match self.close {
            Close::Bomb => Close::Return,
            Close::PanicBomb => Close::Panic,
            other => other,
        };
        self.guard.bomb = false;
        self
    }

    pub(crate) fn in_crowd(mut self, crowd: &Arc<Crowd>) -> Job {
        self.crowd = Some(Arc::clone(crowd));
        self
    }

    pub(crate) fn run(self) -> Yield {
        let Job { guard, deed, close, crowd } = self;
        guard.begin();
        if let Some(crowd) = &crowd {
            crowd.enter();
        }
        deed.run();
        if let Some(crowd) = &crowd {
            crowd.leave();
        }
        match close {
            Close::Return => guard.give(false),
            Close::Bomb => guard.give(true),
            Close::Panic => guard.throw(false),
            Close::PanicBomb => guard.throw(true),
        }
    }
}

impl Deed {
    fn run(self) {
        match self {
            Deed::Nothing => {}
            Deed::Spin(time) => spin(time),
            Deed::Sleep(time) => sleep(time),
            Deed::Ask(time) => {
                let end = Instant::now() + time;
                while current::check().is_ok() && Instant::now() < end {
                    sleep(Duration::from_micros(200));
                }
            }
            Deed::Hook(time) => {
                let (send, cancelled) = channel();
                let _guard = current::on_cancel(move || {
                    let _ = send.send(());
                });
                let _ = cancelled.recv_timeout(time);
            }
            Deed::Attach(time) => attach(time),
            Deed::WillBlock(time) => current::will_block(|| current::will_block(|| sleep(time))),
            Deed::BlockOn => {
                let sum = sidestep::block_on(async {
                    futures_lite::future::yield_now().await;
                    Pool::global().spawn(|| 40).await.map_or(0, |n| n + 2)
                });
                crate::ledger::equal("what block_on gave", sum, 42);
            }
            Deed::Retire => current::retire_thread(),
            Deed::Nest(site, dice, depth) => nest(&site, dice, depth),
        }
    }
}

/// Has another thread wait until this task is cancelled, at most for so long.
fn attach(time: Duration) {
    let token = current::token();
    let wait = || {
        current::attach(&token, || {
            let (send, told) = channel();
            let guard = current::on_cancel(move || _ = send.send(()));
            let was_cancelled = current::token().child().cancelled().wait_timeout(time);
            if was_cancelled && !current::is_cancelled() {
                fault("a child was cancelled, and not the task");
            }
            drop(guard);
            if told.try_recv().is_ok() && !token.is_cancelled() {
                fault("a hook has run, and the task was not cancelled");
            }
        });
    };
    thread::scope(|scope| _ = thread::Builder::new().spawn_scoped(scope, wait));
}

/// Spawns closures from inside of a closure, and waits for some.
fn nest(site: &Arc<Site>, mut dice: Dice, depth: usize) {
    if dice.one_in(6) {
        return borrow(site, &mut dice, depth);
    }
    let children = 1 + dice.below(3);
    let tasks: Vec<_> = (0..children)
        .map(|_| {
            let (job, watch) = Job::at_depth(Kind::Nested, site, &mut dice, depth + 1);
            let task = match dice.below(6) {
                0 => {
                    let (lane, crowd) = site.lane(&mut dice);
                    let job = job.in_crowd(crowd);
                    lane.spawn(move || job.run())
                }
                1 => match site.pool.reserve().wait() {
                    Ok(permit) => permit.spawn(move || job.run()),
                    Err(_) => site.pool.spawn(move || job.run()),
                },
                _ => site.pool.spawn(move || job.run()),
            };
            (task, watch)
        })
        .collect();
    for (task, watch) in tasks {
        if dice.one_in(4) {
            task.link(&current::token());
        }
        match dice.below(5) {
            0 => let_go(task, watch, Task::detach),
            1 => let_go(task, watch, drop),
            2 => match task.wait_timeout(dice.micros(1_000)) {
                Ok(result) => watch.saw(result),
                Err(task) => watch.saw(task.cancel().wait()),
            },
            _ => watch.saw(task.wait()),
        }
    }
}

/// Tasks that borrow, from inside of a closure.
fn borrow(site: &Arc<Site>, dice: &mut Dice, depth: usize) {
    let done = AtomicUsize::new(0);
    let result = catch_unwind(AssertUnwindSafe(|| {
        site.pool.scope(|scope| {
            for _ in 0..1 + dice.below(3) {
                let (job, watch) = Job::at_depth(Kind::Scope, site, dice, depth + 1);
                let done = &done;
                let task = scope.spawn(move || {
                    let result = job.run();
                    done.fetch_add(1, Ordering::Relaxed);
                    result
                });
                if current::check().is_err() {
                    site.book.late_in_scope.fetch_add(1, Ordering::SeqCst);
                }
                if task.is_finished() || dice.one_in(2) {
                    watch.saw(task.wait());
                }
            }
        });
    }));
    if let Err(payload) = result {
        defuse(payload);
    }
}

/// Has `end` end the handle. A task that was refused has ended already; its end is looked at, for
/// the books.
pub(crate) fn let_go(task: Task<Yield>, watch: Watch, end: impl FnOnce(Task<Yield>)) {
    if task.is_finished() {
        watch.saw(task.wait());
    } else {
        end(task);
    }
}

pub(crate) fn spin(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        hint::spin_loop();
    }
}

#[expect(clippy::disallowed_methods, reason = "a sleep is what blocks")]
pub(crate) fn sleep(time: Duration) {
    thread::sleep(time);
}
