//! A task of tokio's `LocalSet`, beside others of the same thread, with the loop inside.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use sidestep::{EventLoop, Pool};
use tokio::{
    sync::Notify,
    task::{LocalSet, spawn_local, yield_now},
    time::sleep_until,
};

use crate::job::{Job, Outcome};

pub(crate) fn drive(pool: &Pool) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let pool = pool.clone();
    LocalSet::new().block_on(&runtime, async move {
        let neighbour = spawn_local(async {
            for _ in 0..10 {
                yield_now().await;
            }
        });
        let outcome = spawn_local(serve(pool)).await.context("the task has ended")?;
        neighbour.await.context("the neighbour has ended")?;
        outcome
    })
}

async fn serve(pool: Pool) -> anyhow::Result<Outcome> {
    let rung = Arc::new(Notify::new());
    let bell = Arc::clone(&rung);
    let mut ev = EventLoop::on(&pool).notify(move || bell.notify_one());
    let job = Job::start(&ev);
    loop {
        let turn = ev.turn(Duration::ZERO);
        if turn.is_done() {
            return job.outcome();
        }
        match turn.next_timer() {
            None => rung.notified().await,
            Some(timer) => tokio::select! {
                () = rung.notified() => {}
                () = sleep_until(timer.into()) => {}
            },
        }
    }
}
