//! What do blocking tasks look like in tokio-console?
//!
//! Two tasks read a line each from the standard input, in a lane that runs one at a time; beside
//! them others add up the bytes of this program, one after another. In the console the reader that
//! waits for its turn is idle, and the one that waits for you is busy.
//!
//! ```text
//! cd examples/console && cargo run            # enter two lines to end it
//! tokio-console http://127.0.0.1:6669         # in another terminal
//! ```

mod console;

use std::{env, fs, io, net::SocketAddr};

use anyhow::Context as _;
use sidestep::{Lane, Pool, Task};

/// The port that tokio-console looks at by itself.
const PORT: u16 = 6669;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let port = env::args().nth(1).map_or(Ok(PORT), |port| port.parse());
    let port = port.context("the only argument is a port; 0 lets the system choose one")?;
    let address = console::serve(SocketAddr::from(([127, 0, 0, 1], port)))?;
    println!("tokio-console http://{address}");

    let pool = Pool::builder().name("example").build()?;
    let terminal = pool.lane("terminal", 1);
    let first = read_line(&terminal, "first line");
    let second = read_line(&terminal, "second line");
    let mut sums = 0_u64;
    while !second.is_finished() {
        pool.options().name("sum").spawn(sum_of_this_program).await??;
        sums += 1;
    }
    first.await??;
    second.await??;
    println!("{sums} sums");
    Ok(())
}

fn read_line(terminal: &Lane, name: &'static str) -> Task<io::Result<usize>> {
    terminal.options().name(name).spawn(|| io::stdin().read_line(&mut String::new()))
}

/// Reads a large file and computes: a call that keeps a thread for some milliseconds.
fn sum_of_this_program() -> io::Result<u64> {
    let bytes = fs::read(env::current_exe()?)?;
    Ok(bytes.into_iter().map(u64::from).sum())
}
