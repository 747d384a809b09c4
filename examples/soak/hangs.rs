//! Calls that hang until something else has gone on: files and lookups beside closures that hang,
//! and lookups beside files that hang.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use futures_lite::future::{block_on, poll_once};
use futures_util::future::join_all;
use sidestep::{Pool, fs, net};

use crate::{
    dice::Dice,
    ledger::{equal, fault},
};

/// So many threads the global pool has, so that hanging closures take all of them.
pub(crate) const GLOBAL_THREADS: usize = 16;

/// Calls that have hung.
pub(crate) static HUNG: AtomicU64 = AtomicU64::new(0);
/// The longest time in microseconds that what had to go on has taken.
pub(crate) static LONGEST: AtomicU64 = AtomicU64::new(0);

/// What hanging calls wait for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn pass(&self) {
        let (is_open, opened) = &*self.0;
        let is_open = is_open.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_open {
            HUNG.fetch_add(1, Ordering::Relaxed);
        }
        drop(opened.wait_while(is_open, |is_open| !*is_open));
    }

    pub(crate) fn opener(&self) -> Opener {
        Opener(self.clone())
    }
}

/// Opens its gate when it is dropped, also by an error.
#[derive(Debug)]
pub(crate) struct Opener(Gate);

impl Drop for Opener {
    fn drop(&mut self) {
        let (is_open, opened) = &*self.0.0;
        *is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        opened.notify_all();
    }
}

/// Contents that come when the gate opens, as from a mount that hangs.
struct Late(Gate);

impl AsRef<[u8]> for Late {
    fn as_ref(&self) -> &[u8] {
        self.0.pass();
        b"late"
    }
}

/// It blocks its thread until all have ended: suspended, the calls would hang for as long as what
/// else is to run on the thread waits for them.
pub(crate) fn visit(folder: &Path, dice: &mut Dice) {
    let name = folder.join(format!("{:016x}", dice.next()));
    let result = match dice.below(2) {
        0 => block_on(closures(&name, dice)),
        _ => block_on(files(&name, dice)),
    };
    if let Err(error) = result {
        fault(format_args!("beside a call that hangs: {error}"));
    }
}

/// Closures hang on the global pool.
async fn closures(name: &Path, dice: &mut Dice) -> io::Result<()> {
    let gate = Gate::default();
    let opener = gate.opener();
    let hanging: Vec<_> = (0..1 + dice.below(2 * GLOBAL_THREADS))
        .map(|number| {
            let gate = gate.clone();
            Pool::global().spawn(move || {
                gate.pass();
                number
            })
        })
        .collect();
    let start = Instant::now();
    fs::write(name, name.as_os_str().as_encoded_bytes().to_vec()).await?;
    equal("bytes of a file", fs::read(name).await?, name.as_os_str().as_encoded_bytes().to_vec());
    fs::remove_file(name).await?;
    look_up().await?;
    took(start);
    drop(opener);
    for (number, task) in hanging.into_iter().enumerate() {
        equal("what a closure gave that hung", task.await.ok(), Some(number));
    }
    Ok(())
}

/// Calls of `fs` hang.
async fn files(name: &Path, dice: &mut Dice) -> io::Result<()> {
    let gate = Gate::default();
    let opener = gate.opener();
    let names: Vec<_> =
        (0..1 + dice.below(GLOBAL_THREADS)).map(|number| name.with_extension(format!("{number}"))).collect();
    let mut hanging: Vec<_> =
        names.iter().map(|name| Box::pin(fs::write(name, Late(gate.clone())))).collect();
    let mut begun = Vec::new();
    for write in &mut hanging {
        begun.push(poll_once(write).await.is_none());
    }
    equal("writes that hang", begun.iter().all(|hangs| *hangs), true);
    let start = Instant::now();
    look_up().await?;
    took(start);
    drop(opener);
    for result in join_all(hanging).await {
        result?;
    }
    for name in names {
        equal("what a call wrote that hung", fs::read(&name).await?, b"late".to_vec());
        fs::remove_file(name).await?;
    }
    Ok(())
}

async fn look_up() -> io::Result<()> {
    let count = net::lookup_host("localhost:80").await?.count();
    equal("addresses of localhost", count > 0, true);
    Ok(())
}

fn took(start: Instant) {
    LONGEST.fetch_max(start.elapsed().as_micros() as u64, Ordering::Relaxed);
}
