//! Empty closures, as fast as they go: what a call costs when there are many.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::AcqRel;
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::Result;
use futures_channel::oneshot;
use futures_executor::block_on;

use super::Scenario;
use crate::peers::{Call, Peer};
use crate::sample::{Meter, Sample};
use crate::stage::{Crew, Stage};

/// All are submitted before the first is awaited.
pub(super) struct Burst;

impl Burst {
    pub(super) async fn of<P: Peer>(crew: Crew<P>, tasks: usize) {
        let calls: Vec<_> = (0..tasks).map(|n| crew.spawn(move || n)).collect();
        for call in calls {
            black_box(call.result().await);
        }
    }
}

impl Scenario for Burst {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        stage.driver.run(Self::of(stage.crew, stage.warm_up));
        let meter = Meter::start();
        stage.driver.run(Self::of(stage.crew, stage.tasks));
        Ok(meter.stop().per_task(stage.tasks))
    }
}

/// As many in flight as a busy server has: the oldest is awaited before one more is submitted.
pub(super) struct Window;

impl Window {
    const WIDTH: usize = 64;

    /// Keeps the window full with `submit`, which gets the number of the task.
    pub(super) async fn of<C: Call>(tasks: usize, submit: impl Fn(usize) -> C) {
        Self::of_width(Self::WIDTH, tasks, submit).await;
    }

    /// The same for a window of another width.
    pub(super) async fn of_width<C: Call>(width: usize, tasks: usize, submit: impl Fn(usize) -> C) {
        let mut flight = VecDeque::with_capacity(width);
        for n in 0..tasks {
            if flight.len() == width {
                let oldest: C = flight.pop_front().expect("the window is full");
                black_box(oldest.result().await);
            }
            flight.push_back(submit(n));
        }
        for call in flight {
            black_box(call.result().await);
        }
    }
}

impl Scenario for Window {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        let crew = stage.crew;
        let program = move |tasks| Self::of(tasks, move |n| crew.spawn(move || n));
        stage.driver.run(program(stage.warm_up));
        let meter = Meter::start();
        stage.driver.run(program(stage.tasks));
        Ok(meter.stop().per_task(stage.tasks))
    }
}

/// Plain threads submit and then wait; no event loop takes part. Their own start is counted in.
pub(super) struct Producers {
    pub(super) threads: usize,
}

impl Producers {
    fn produce<P: Peer>(&self, crew: Crew<P>, tasks: usize) {
        let share = tasks / self.threads;
        thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| block_on(Burst::of(crew, share)));
            }
        });
    }
}

impl Scenario for Producers {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        self.produce(stage.crew, stage.warm_up);
        let meter = Meter::start();
        self.produce(stage.crew, stage.tasks);
        Ok(meter.stop().per_task(stage.tasks))
    }
}

/// A binary tree in which each node spawns its children and goes, as a recursive directory walk
/// does.
pub(super) struct Nested;

/// Says when all nodes have run.
struct Countdown {
    left: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<()>>>,
}

impl Countdown {
    fn one_less(&self) {
        if self.left.fetch_sub(1, AcqRel) == 1 {
            let done = self.done.lock().expect("nothing panics under this lock").take();
            done.expect("the last node runs once").send(()).expect("the program waits");
        }
    }
}

impl Nested {
    async fn grow<P: Peer>(crew: Crew<P>, nodes: usize) {
        let (sender, done) = oneshot::channel();
        let countdown = Countdown { left: AtomicUsize::new(nodes), done: Mutex::new(Some(sender)) };
        Self::node(crew, nodes, Arc::new(countdown));
        done.await.expect("the last node says so");
    }

    /// The root of a tree of so many nodes.
    fn node<P: Peer>(crew: Crew<P>, nodes: usize, countdown: Arc<Countdown>) {
        crew.spawn_detached(move || {
            let left = (nodes - 1) / 2;
            for children in [left, nodes - 1 - left] {
                if children > 0 {
                    Self::node(crew, children, Arc::clone(&countdown));
                }
            }
            countdown.one_less();
        });
    }
}

impl Scenario for Nested {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        stage.driver.run(Self::grow(stage.crew, stage.warm_up));
        let meter = Meter::start();
        stage.driver.run(Self::grow(stage.crew, stage.tasks));
        Ok(meter.stop().per_task(stage.tasks))
    }
}
