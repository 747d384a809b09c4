//! Measures for how long the event loop's thread is held up: a task beside the others that wants to run every millisecond.

use std::time::Duration;

use tokio::{
    sync::oneshot,
    task::{JoinError, JoinHandle},
    time::{Instant, timeout_at},
};

const PERIOD: Duration = Duration::from_millis(1);

/// Ticks on the thread that started it, until it is stopped.
pub(crate) struct Ticker {
    stop: oneshot::Sender<()>,
    ticking: JoinHandle<Duration>,
}

impl Ticker {
    pub(crate) fn start() -> Ticker {
        let (stop, stopped) = oneshot::channel();
        // The first tick is due from here, even where the thread is busy from the start.
        let ticking = tokio::spawn(tick(Instant::now() + PERIOD, stopped));
        Ticker { stop, ticking }
    }

    /// How late the latest tick was.
    pub(crate) async fn stop(self) -> Result<Duration, JoinError> {
        drop(self.stop);
        self.ticking.await
    }
}

async fn tick(mut due: Instant, mut stopped: oneshot::Receiver<()>) -> Duration {
    let mut latest = Duration::ZERO;
    loop {
        let is_over = timeout_at(due, &mut stopped).await.is_ok();
        let now = Instant::now();
        // One that was due when the end came counts as well.
        latest = latest.max(now.saturating_duration_since(due));
        if is_over {
            return latest;
        }
        due = now + PERIOD;
    }
}
