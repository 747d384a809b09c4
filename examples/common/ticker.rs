//! Shows that the async thread is free: a task beside the calls that wants to run every
//! millisecond.

use std::time::Duration;

use tokio::{
    sync::oneshot,
    task::{JoinError, JoinHandle},
    time::{Instant, timeout_at},
};

const PERIOD: Duration = Duration::from_millis(1);

/// What a ticker has counted.
#[derive(Clone, Copy)]
pub(crate) struct Ticks {
    pub(crate) count: u32,
    pub(crate) longest_gap: Duration,
}

/// Ticks on the thread that started it, until it is stopped.
pub(crate) struct Ticker {
    stop: oneshot::Sender<()>,
    ticking: JoinHandle<Ticks>,
}

impl Ticker {
    pub(crate) fn start() -> Ticker {
        let (stop, stopped) = oneshot::channel();
        // The first gap begins here, even where the thread is busy from the start.
        let ticking = tokio::spawn(tick(Instant::now(), stopped));
        Ticker { stop, ticking }
    }

    pub(crate) async fn stop(self) -> Result<Ticks, JoinError> {
        drop(self.stop);
        self.ticking.await
    }
}

async fn tick(mut last: Instant, mut stopped: oneshot::Receiver<()>) -> Ticks {
    let mut ticks = Ticks { count: 0, longest_gap: Duration::ZERO };
    loop {
        let is_over = timeout_at(last + PERIOD, &mut stopped).await.is_ok();
        let now = Instant::now();
        // A gap that was open when the end came counts as well.
        ticks.longest_gap = ticks.longest_gap.max(now - last);
        if is_over {
            return ticks;
        }
        ticks.count += 1;
        last = now;
    }
}
