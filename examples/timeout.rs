//! How is a call that hangs interrupted when its caller gives up?
//!
//! A timeout drops the handle of the task, or cancels it. That runs the hook which the closure has
//! left with [`current::on_cancel`], and the hook ends the call: the thread comes back at once.

use std::{
    io::Read as _,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use sidestep::{Pool, current};
use tokio::{sync::oneshot, time::timeout};

const PATIENCE: Duration = Duration::from_millis(100);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let pool = Pool::new().context("cannot start a pool")?;
    socket(&pool).await.context("the socket")?;
    if cfg!(unix) {
        child(&pool).await.context("the child process")?;
    } else {
        println!("child:  skipped, this system has no `sleep`");
    }
    let report = pool.shutdown().timeout(Duration::from_secs(10)).await;
    println!("pool:   {} tasks still running", report.still_running);
    Ok(())
}

/// What the closure saw, told by itself: nobody has its handle any more.
struct Farewell {
    at: Instant,
    is_cancelled: bool,
    bytes: usize,
}

/// The timeout drops the handle.
async fn socket(pool: &Pool) -> anyhow::Result<()> {
    // It lets clients connect, and never says a word.
    let server = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
    let address = server.local_addr()?;
    let (start, started) = oneshot::channel();
    let (tell, told) = oneshot::channel();
    let read = pool.spawn(move || {
        let _ = start.send(());
        let bytes = read_from(address);
        let seen =
            bytes.map(|bytes| Farewell { at: Instant::now(), is_cancelled: current::is_cancelled(), bytes });
        let _ = tell.send(seen);
    });
    let began = running(started).await?;
    let outcome = timeout(PATIENCE, read).await;
    let gave_up = Instant::now();

    anyhow::ensure!(outcome.is_err(), "the server has answered");
    let seen = told.await.context("the closure did not end")?.context("cannot read")?;
    println!("socket: the caller gave up after {:.0?}", gave_up - began);
    println!("        the read had ended after {:.0?}, with {} bytes", seen.at - began, seen.bytes);
    println!("        the closure saw the interruption: {}", seen.is_cancelled);
    Ok(())
}

fn read_from(address: SocketAddr) -> anyhow::Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    let same = stream.try_clone()?;
    let _guard = current::on_cancel(move || {
        let _ = same.shutdown(Shutdown::Both);
    });
    Ok(stream.read(&mut [0; 16])?)
}

/// Waits until a closure runs: one that is still queued when its caller gives up is just dropped.
async fn running(started: oneshot::Receiver<()>) -> anyhow::Result<Instant> {
    started.await.context("the closure did not start")?;
    Ok(Instant::now())
}

/// The timeout leaves the handle alone, so that the caller can cancel and still learn how the
/// closure ended.
async fn child(pool: &Pool) -> anyhow::Result<()> {
    let (start, started) = oneshot::channel();
    let mut task = pool.spawn(|| {
        let _ = start.send(());
        let status = run_child(Command::new("sleep").arg("1000"));
        (status, current::is_cancelled())
    });
    let began = running(started).await?;
    let outcome = timeout(PATIENCE, &mut task).await;
    let gave_up = Instant::now();
    anyhow::ensure!(outcome.is_err(), "`sleep 1000` has ended by itself: {outcome:?}");
    let (status, is_cancelled) = task.cancel().await?;
    println!("child:  the caller gave up after {:.0?}", gave_up - began);
    println!("        the child had ended after {:.0?}, with {}", began.elapsed(), status?);
    println!("        the closure saw the interruption: {is_cancelled}");
    Ok(())
}

/// Waits for the end of a child's output, and only then for the child: `wait` and `kill` both want
/// it for themselves.
fn run_child(command: &mut Command) -> anyhow::Result<ExitStatus> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start the child")?;
    let output = child.stdout.take();
    let child = Arc::new(Mutex::new(child));
    let same = Arc::clone(&child);
    let guard = current::on_cancel(move || {
        let _ = with(&same, Child::kill);
    });
    if let Some(mut output) = output {
        output.read_to_end(&mut Vec::new())?;
    }
    // From here on no hook wants the lock.
    drop(guard);
    Ok(with(&child, Child::wait)?)
}

fn with<R>(child: &Mutex<Child>, f: impl FnOnce(&mut Child) -> R) -> R {
    f(&mut child.lock().unwrap_or_else(PoisonError::into_inner))
}
