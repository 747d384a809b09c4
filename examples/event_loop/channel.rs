//! A thread that takes messages from a channel, as those of windows and games do, with the loop
//! inside.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use sidestep::{EventLoop, Pool, event_loop::Turn};

use crate::job::{Job, Outcome};

const CLICKS: usize = 2;

enum Message {
    /// From the user.
    Click,
    /// From the loop: it wants a turn.
    Turn,
}

pub(crate) fn drive(pool: &Pool) -> anyhow::Result<Outcome> {
    let (messages, inbox) = channel();
    let (pool, bell) = (pool.clone(), messages.clone());
    let window = thread::spawn(move || serve(&pool, bell, &inbox));
    for _ in 0..CLICKS {
        messages.send(Message::Click)?;
    }
    window.join().map_err(|_| anyhow::anyhow!("the thread has panicked"))?
}

fn serve(pool: &Pool, bell: Sender<Message>, inbox: &Receiver<Message>) -> anyhow::Result<Outcome> {
    let mut ev = EventLoop::on(pool).notify(move || drop(bell.send(Message::Turn)));
    let job = Job::start(&ev);
    let mut clicks = 0;
    let mut turn = ev.turn(Duration::ZERO);
    while !turn.is_done() || clicks < CLICKS {
        if let Message::Click = next(inbox, &turn)? {
            // What a click leads to may be posted, too.
            ev.post(|_| ());
            clicks += 1;
        }
        // After each message, so that `turn` says how things stand now; it costs little where there
        // is nothing to do.
        turn = ev.turn(Duration::ZERO);
    }
    job.outcome()
}

/// The next message; where a timer is due before, that is one.
fn next(inbox: &Receiver<Message>, turn: &Turn) -> anyhow::Result<Message> {
    let Some(timer) = turn.next_timer() else { return Ok(inbox.recv()?) };
    match inbox.recv_timeout(timer.saturating_duration_since(Instant::now())) {
        Err(RecvTimeoutError::Timeout) => Ok(Message::Turn),
        message => Ok(message?),
    }
}
