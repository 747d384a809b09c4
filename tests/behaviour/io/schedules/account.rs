//! What a player has been told and has had written, against what the value has given and got; and
//! what is in a file.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use sidestep::fs::File;

use super::handle::{Gone, drive};
use super::model::fault_in;
use super::play::{Player, Verdict};
use super::values::{Act, Fault, Kind};
use crate::support::PATIENCE;

/// What is written, in order.
pub(crate) enum Written {
    Surely(Vec<u8>),
    IfRun(Gone, Vec<u8>),
}

impl<H> Player<H> {
    /// The error is one that the value gave and that was not told before, or tells of its panic.
    pub(crate) fn fault(&mut self, error: &io::Error) -> Result<Option<Fault>, String> {
        let nowhere = || format!("an error from nowhere: {error:?}");
        let log = self.log.as_ref().ok_or_else(nowhere)?.lock().unwrap();
        if error.to_string().contains("has panicked") && log.panicked {
            self.poisoned = true;
            return Ok(None);
        }
        if self.poisoned {
            return Err(format!("another error after the panic: {error:?}"));
        }
        let text = fault_in(error).ok_or_else(nowhere)?;
        let known = self.told.iter().filter(|fault| fault.text == text).count();
        let fault = log.faults.iter().filter(|fault| fault.text == text).nth(known).cloned();
        drop(log);
        let fault = fault.ok_or_else(|| format!("it is told twice: {error:?}"))?;
        self.told.push(fault.clone());
        Ok(Some(fault))
    }

    /// A call was dropped; was it polled?
    pub(crate) fn gave_up(&mut self, polls: Option<u8>) -> Verdict {
        if polls == Some(0) {
            return Ok(());
        }
        self.plains.certain = false;
        self.plains.nothing_done()
    }

    /// A call that reads nothing has failed because of something before it.
    pub(crate) fn failed(&mut self, error: &io::Error) -> Verdict {
        self.plains.certain = false;
        match self.fault(error)? {
            Some(Fault { kind: Kind::Read, .. }) => Err(format!("it reads nothing, but {error:?}")),
            _ => self.plains.nothing_done(),
        }
    }

    pub(crate) fn read_failed(&mut self, error: &io::Error) -> Verdict {
        self.plains.certain = false;
        match self.fault(error)? {
            Some(Fault { kind: Kind::Read, place, .. }) => self.plains.read_failed(place),
            _ => self.plains.nothing_done(),
        }
    }

    /// Every error that a write or a flush has met has been told, once and in order.
    pub(crate) fn check_told(&self) -> Verdict {
        let Some(log) = &self.log else { return Ok(()) };
        let log = log.lock().unwrap();
        let of_writes = |fault: &&Fault| matches!(fault.kind, Kind::Write | Kind::Flush);
        let given: Vec<_> = log.faults.iter().filter(of_writes).collect();
        let told: Vec<_> = self.told.iter().filter(of_writes).collect();
        if given == told { Ok(()) } else { Err(format!("of {given:?} only {told:?} have been told")) }
    }

    /// All that was accepted, so far as it is certain.
    pub(crate) fn accepted(&self) -> Vec<u8> {
        let each = self.accepted.iter().map(|written| match written {
            Written::IfRun(ran, _) if !*ran.lock().unwrap() => &[][..],
            Written::IfRun(_, bytes) | Written::Surely(bytes) => bytes,
        });
        each.collect::<Vec<_>>().concat()
    }

    pub(crate) fn check_flushed(&self, flushes: bool) -> Verdict {
        self.check_told()?;
        let Some(log) = &self.log else { return Ok(()) };
        let log = log.lock().unwrap();
        if log.unflushed && flushes {
            return Err("something is not flushed".to_owned());
        }
        same("what was written", &log.written, &self.accepted())
    }

    /// Nothing was written twice, or out of order.
    pub(crate) fn check_prefix(&self) -> Verdict {
        let Some(log) = &self.log else { return Ok(()) };
        let (log, accepted) = (log.lock().unwrap(), self.accepted());
        let common = log.written.len().min(accepted.len());
        same("what was written before the end", &log.written, &accepted[..common])
    }
}

fn same(what: &str, got: &[u8], expected: &[u8]) -> Verdict {
    if got == expected {
        return Ok(());
    }
    let at = got.iter().zip(expected).take_while(|(got, expected)| got == expected).count();
    Err(format!("{what}: {} bytes, and not {}; they differ from {at} on", got.len(), expected.len()))
}

pub(crate) fn written_by(acts: &[Act]) -> Vec<u8> {
    let written = acts.iter().map(|act| match act {
        Act::Write(fill) => fill.bytes(),
        Act::Read(_) | Act::Seek(_) => Vec::new(),
    });
    written.collect::<Vec<_>>().concat()
}

/// All that is in the file on disk.
pub(crate) fn contents(file: &File) -> Vec<u8> {
    let file = std::fs::File::from(file.as_fd().try_clone_to_owned().unwrap());
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
    loop {
        match file.read_at(&mut buffer, bytes.len() as u64).unwrap() {
            0 => return bytes,
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Polls `future` to its end; or, if it is to be dropped, until its effect, one of `after`, is seen
/// in the file. None says that it had none.
pub(crate) fn until_seen<R>(
    file: &File,
    future: impl Future<Output = io::Result<R>>,
    polls: Option<u8>,
    after: Option<Vec<Rc<Vec<u8>>>>,
) -> Option<io::Result<Option<R>>> {
    if polls == Some(0) {
        return None;
    }
    let Some(after) = after.filter(|_| polls.is_some()) else {
        return drive(future, None).map(|result| result.map(Some));
    };
    let mut future = pin!(future);
    let began = Instant::now();
    loop {
        if let Some(result) = drive(future.as_mut(), Some(1)) {
            return Some(result.map(Some));
        }
        let now = contents(file);
        if after.iter().any(|after| **after == now) {
            return Some(Ok(None));
        }
        assert!(began.elapsed() < PATIENCE, "it never has an effect");
    }
}
