//! A poll loop that serves a socket, with the loop inside.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use polling::{Event, Events, Poller};
use sidestep::{EventLoop, Pool};

use crate::job::{Job, Outcome};

const LISTENER: usize = 0;

pub(crate) fn drive(pool: &Pool) -> anyhow::Result<Outcome> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
    listener.set_nonblocking(true)?;
    let poller = Arc::new(Poller::new()?);
    // SAFETY: it is deleted again before the listener is dropped.
    unsafe { poller.add(&listener, Event::readable(LISTENER)) }?;
    let outcome = serve(pool, &poller, &listener);
    poller.delete(&listener)?;
    outcome
}

fn serve(pool: &Pool, poller: &Arc<Poller>, listener: &TcpListener) -> anyhow::Result<Outcome> {
    let bell = Arc::clone(poller);
    let mut ev = EventLoop::on(pool).notify(move || drop(bell.notify()));
    let job = Job::start(&ev);
    let address = listener.local_addr()?;
    ev.offload(move || visit(address), |_, visited| assert!(visited.is_ok_and(|end| end.is_ok())));

    let (mut events, mut guests) = (Events::new(), 0);
    let mut turn = ev.turn(Duration::ZERO);
    while !turn.is_done() || guests == 0 {
        events.clear();
        poller.wait(&mut events, turn.next_timer().map(|at| at.saturating_duration_since(Instant::now())))?;
        if events.iter().any(|event| event.key == LISTENER) {
            listener.accept().context("cannot accept")?;
            guests += 1;
            poller.modify(listener, Event::readable(LISTENER))?;
        }
        // Costs little where there is nothing to do.
        turn = ev.turn(Duration::ZERO);
    }
    job.outcome()
}

/// Blocks, so it is for the pool.
fn visit(address: SocketAddr) -> std::io::Result<()> {
    TcpStream::connect(address)?.write_all(b"hello")
}
