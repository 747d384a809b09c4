//! Measures how long the event loop is away: a task of its own that wants to run every 10 ms.

use std::time::Duration;

use tokio::{
    sync::oneshot,
    task::{JoinError, JoinHandle},
    time::{Instant, timeout_at},
};

const PERIOD: Duration = Duration::from_millis(10);

/// A heartbeat on the thread that started it. Dropping it stops it too.
pub(crate) struct Heartbeat {
    stop: oneshot::Sender<()>,
    beating: JoinHandle<Duration>,
}

impl Heartbeat {
    pub(crate) fn start() -> Heartbeat {
        let (stop, stopped) = oneshot::channel();
        // The first beat is due one period after the start, even where the event loop is busy from
        // the start.
        let beating = tokio::spawn(beat(Instant::now() + PERIOD, stopped));
        Heartbeat { stop, beating }
    }

    /// Stops it and returns by how much the latest of its beats came late.
    pub(crate) async fn stop(self) -> Result<Duration, JoinError> {
        drop(self.stop);
        self.beating.await
    }
}

async fn beat(mut due: Instant, mut stopped: oneshot::Receiver<()>) -> Duration {
    let mut worst = Duration::ZERO;
    loop {
        let is_over = timeout_at(due, &mut stopped).await.is_ok();
        let now = Instant::now();
        // A beat that was overdue when the end came counts as well.
        worst = worst.max(now.saturating_duration_since(due));
        if is_over {
            return worst;
        }
        due = now + PERIOD;
    }
}

#[cfg(test)]
mod tests {
    use super::{Heartbeat, PERIOD};

    #[test]
    #[expect(clippy::disallowed_methods, reason = "blocking the event loop is what is measured")]
    fn a_blocked_event_loop_is_noticed_though_it_never_yields() {
        let event_loop = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let worst = event_loop.block_on(async {
            let heartbeat = Heartbeat::start();
            std::thread::sleep(PERIOD * 5);
            heartbeat.stop().await.unwrap()
        });
        assert!(worst >= PERIOD * 4, "{worst:?}");
    }
}
