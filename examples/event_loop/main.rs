//! How does a program without a runtime, or with a loop of its own, get callbacks on its one
//! thread?
//!
//! The same small job four times: on the loop's own `run`, then with an [`EventLoop`] inside of a
//! channel loop, of a poll loop that also serves a socket, and of tokio's `LocalSet`. Foreign loops
//! need two things: `notify`, to be told when there is a reason for a turn, and `Turn::next_timer`.
//!
//! ```text
//! cargo run --example event_loop
//! ```

mod channel;
mod job;
mod local_set;
mod poll;

use std::io::{self, Write as _};

use anyhow::Context as _;
use sidestep::{EventLoop, Pool};

use job::{Job, Outcome};

fn main() -> anyhow::Result<()> {
    let pool = Pool::new().context("cannot start a pool")?;
    let expected = own(&pool)?;
    tell("its own `run`", &expected)?;
    let others = [
        ("a channel loop", channel::drive(&pool).context("the channel loop")?),
        ("a poll loop", poll::drive(&pool).context("the poll loop")?),
        ("tokio's `LocalSet`", local_set::drive(&pool).context("the `LocalSet`")?),
    ];
    for (name, outcome) in &others {
        tell(name, outcome)?;
        anyhow::ensure!(*outcome == expected, "{name} has another result: {outcome:?}");
    }
    for (file, sum) in &expected.sums {
        writeln!(io::stdout(), "{sum}  {file}")?;
    }
    Ok(())
}

/// Nothing else runs on this thread.
fn own(pool: &Pool) -> anyhow::Result<Outcome> {
    let mut ev = EventLoop::on(pool);
    let job = Job::start(&ev);
    ev.run();
    job.outcome()
}

fn tell(name: &str, outcome: &Outcome) -> io::Result<()> {
    let Outcome { sums, begun, ticks } = outcome;
    writeln!(io::stdout(), "{name}: {} sums, {begun} messages, {ticks} ticks", sums.len())
}
