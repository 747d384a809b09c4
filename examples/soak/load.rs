//! Who makes the load: threads, each with an executor of its own kind.

use std::{path::Path, sync::Arc, thread, time::Instant};

use futures_util::future::join_all;
use tokio::runtime;

#[cfg(unix)]
use crate::{children, forks, pipes};
use crate::{
    dice::Dice, fates::singles, files, groups, hangs, ledger::fault, locks::Locks, loops, pools, site::Site,
    values,
};

/// The pools that live as long as the program, and a folder to write in.
pub(crate) struct Scene {
    /// Many threads.
    pub(crate) wide: Arc<Site>,
    /// Few, and a queue with a limit.
    pub(crate) tight: Arc<Site>,
    /// For values, files and promises, where the crate spawns tasks of its own.
    pub(crate) adapters: Arc<Site>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) locks: Locks,
}

impl Scene {
    pub(crate) fn sites(&self) -> [&Arc<Site>; 3] {
        [&self.wide, &self.tight, &self.adapters]
    }
}

/// Load from that many threads until `end`.
pub(crate) fn run(scene: &Arc<Scene>, threads: usize, end: Instant, dice: &mut Dice) {
    thread::scope(|scope| {
        for number in 0..threads {
            let mut dice = dice.fork();
            scope.spawn(move || match number % 4 {
                0 => plain(scene, end, &mut dice),
                1 => futures_lite::future::block_on(one_by_one(scene, end, &mut dice)),
                2 => on_one_thread(scene, end, &mut dice),
                _ => on_many_threads(scene, end, &mut dice),
            });
        }
    });
}

/// No executor but the crate's own.
fn plain(scene: &Scene, end: Instant, dice: &mut Dice) {
    while Instant::now() < end {
        match dice.below(10) {
            0..4 => pools::one(dice),
            4 => groups::scope(&scene.wide, dice),
            5 => groups::scope(&scene.tight, dice),
            6 => loops::event_loop(&scene.wide, dice),
            7 => loops::event_loop(&scene.tight, dice),
            _ => sidestep::block_on(act(scene, dice)),
        }
    }
}

async fn one_by_one(scene: &Scene, end: Instant, dice: &mut Dice) {
    while Instant::now() < end {
        act(scene, dice).await;
    }
}

fn on_one_thread(scene: &Scene, end: Instant, dice: &mut Dice) {
    let runtime = match runtime::Builder::new_current_thread().build() {
        Ok(runtime) => runtime,
        Err(error) => return fault(format_args!("a tokio runtime: {error}")),
    };
    let mut forks: Vec<Dice> = (0..4).map(|_| dice.fork()).collect();
    runtime.block_on(join_all(forks.iter_mut().map(|dice| one_by_one(scene, end, dice))));
}

fn on_many_threads(scene: &Arc<Scene>, end: Instant, dice: &mut Dice) {
    let runtime = match runtime::Builder::new_multi_thread().worker_threads(2).build() {
        Ok(runtime) => runtime,
        Err(error) => return fault(format_args!("a tokio runtime: {error}")),
    };
    runtime.block_on(async {
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (scene, mut dice) = (Arc::clone(scene), dice.fork());
                tokio::spawn(async move { one_by_one(&scene, end, &mut dice).await })
            })
            .collect();
        for result in join_all(tasks).await {
            if let Err(error) = result {
                fault(format_args!("a task of tokio's: {error}"));
            }
        }
    });
}

/// One thing of all that can be done in an async function.
async fn act(scene: &Scene, dice: &mut Dice) {
    match dice.below(25) {
        0..7 => singles(&scene.wide, dice).await,
        7..12 => singles(&scene.tight, dice).await,
        12 => groups::batch(&scene.wide, dice).await,
        13 => groups::batch(&scene.tight, dice).await,
        14 => values::strand(&scene.adapters, dice).await,
        15 => values::dedicated(&scene.adapters, dice).await,
        16 | 17 => loops::promise(&scene.adapters, dice).await,
        18 => files::visit(&scene.adapters, path(scene), dice).await,
        19 => pools::one(dice),
        21 => groups::join_set(&scene.wide, dice).await,
        22 => groups::join_set(&scene.tight, dice).await,
        20 => values::resource_pool(&scene.adapters, dice).await,
        _ => outside(scene, dice).await,
    }
}

/// What depends on more than this process and its pools.
async fn outside(scene: &Scene, dice: &mut Dice) {
    match dice.below(11) {
        #[cfg(unix)]
        10 => children::visit(dice).await,
        0..4 => scene.locks.visit(dice).await,
        4 => hangs::visit(path(scene), dice),
        #[cfg(unix)]
        5..9 => pipes::visit(&scene.adapters, path(scene), dice).await,
        #[cfg(unix)]
        9 => forks::visit(&scene.wide, &scene.locks),
        _ => {}
    }
}

fn path(scene: &Scene) -> &Path {
    scene.folder.path()
}
