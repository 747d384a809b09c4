//! Plays a schedule with a handle, and holds what it tells against what the plain value would.

use std::io::{self, SeekFrom};
use std::sync::{Arc, Mutex};

use sidestep::Pool;

use super::account::{Written, contents, until_seen, written_by};
use super::handle::{Gone, Handle, Through, drive};
use super::model::Plains;
use super::values::{Act, Fault, Fill, Kind, Log};

/// One call.
#[derive(Clone, Debug)]
pub(crate) enum Do {
    Read(usize),
    ReadExact(usize),
    ReadVectored(usize, usize),
    /// Takes up to so much of what is there.
    FillBuf(usize),
    Write(Fill),
    WriteVectored(Fill, Fill),
    Flush,
    Close,
    Seek(SeekFrom),
    Call(Vec<Act>),
    Borrow(Vec<Act>),
    SetLen(usize),
    ReadAt(usize, u64),
    WriteAt(Fill, u64),
}

/// A call, and how often it is polled before it is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) call: Do,
    pub(crate) polls: Option<u8>,
}

pub(crate) type Verdict = Result<(), String>;

pub(crate) struct Player<H> {
    pub(crate) handle: H,
    pub(crate) through: Through,
    pub(crate) plains: Plains,
    pub(crate) log: Option<Arc<Mutex<Log>>>,
    /// The errors that the handle has told, in order.
    pub(crate) told: Vec<Fault>,
    pub(crate) poisoned: bool,
    /// The value was closed, and dropped.
    pub(crate) closed: bool,
    /// The handle has been written to, so that it flushes what it is asked to; not if it has lent
    /// the value since.
    pub(crate) writes: bool,
    pub(crate) accepted: Vec<Written>,
}

impl<H: Handle> Player<H> {
    pub(crate) fn new(handle: H, through: Through, plains: Plains, log: Option<Arc<Mutex<Log>>>) -> Self {
        Player {
            handle,
            through,
            plains,
            log,
            told: Vec::new(),
            poisoned: false,
            closed: false,
            writes: false,
            accepted: Vec::new(),
        }
    }

    /// Plays all of `ops`, then takes the value, or drops the handle and lets `dropped` end.
    pub(crate) fn play(mut self, ops: &[Op], dropped: Option<Pool>) -> Verdict {
        for (number, op) in ops.iter().enumerate() {
            self.call(op).map_err(|why| format!("call {number}, {op:?}: {why}"))?;
            if self.closed {
                return self.check_closed().map_err(|why| format!("after call {number}, {op:?}: {why}"));
            }
        }
        match dropped {
            None => self.finish(),
            Some(pool) => self.drop_it(&pool),
        }
        .map_err(|why| format!("in the end: {why}"))
    }

    fn call(&mut self, op: &Op) -> Verdict {
        let polls = op.polls;
        match &op.call {
            Do::Read(most) => self.read(*most, polls),
            Do::ReadExact(size) => self.read_exact(*size, polls),
            Do::ReadVectored(first, second) => self.read_vectored(*first, *second, polls),
            Do::FillBuf(most) => self.fill_buf(*most, polls),
            Do::Write(fill) => self.write(&[*fill], polls),
            Do::WriteVectored(first, second) => self.write(&[*first, *second], polls),
            Do::Flush => self.flush(false, polls),
            Do::Close => self.flush(true, polls),
            Do::Seek(to) => self.seek(*to, polls),
            Do::Call(acts) => self.lend(acts, polls),
            Do::Borrow(acts) => self.borrow(acts, polls),
            Do::SetLen(size) => self.set_len(*size, polls),
            Do::ReadAt(most, at) => self.read_at(*most, *at, polls),
            Do::WriteAt(fill, at) => self.write_at(&fill.bytes(), *at, polls),
        }
    }

    fn has_read(&mut self, most: usize, got: &[u8], skipped: usize) -> Verdict {
        if self.poisoned && got.is_empty() && most > 0 {
            return Err("the end comes after a panic".to_owned());
        }
        if most == 0 {
            return Ok(());
        }
        self.plains.read(most, got, skipped)?;
        let (Some(log), [plain]) = (&self.log, &*self.plains.all) else { return Ok(()) };
        let log = log.lock().unwrap();
        let passed = log.faults.iter().find(|fault| {
            fault.kind == Kind::Read && fault.place < plain.reading_at() && !self.told.contains(fault)
        });
        match passed {
            Some(fault) if plain.line.is_some() => Err(format!("{fault:?} was passed over")),
            _ => Ok(()),
        }
    }

    fn read(&mut self, most: usize, polls: Option<u8>) -> Verdict {
        let mut buffer = vec![0; most];
        match drive(self.through.read(&mut self.handle, &mut buffer), polls) {
            None => self.gave_up(polls),
            Some(Ok(count)) => self.has_read(most, &buffer[..count], count),
            Some(Err(error)) => self.read_failed(&error),
        }
    }

    fn read_vectored(&mut self, first: usize, second: usize, polls: Option<u8>) -> Verdict {
        let most = first + second;
        let mut buffer = vec![0; most];
        let (front, back) = buffer.split_at_mut(first);
        match drive(Through::read_vectored(&mut self.handle, [front, back]), polls) {
            None => self.gave_up(polls),
            Some(Ok(count)) => self.has_read(most, &buffer[..count], count),
            Some(Err(error)) => self.read_failed(&error),
        }
    }

    fn read_exact(&mut self, size: usize, polls: Option<u8>) -> Verdict {
        let (mut buffer, mut filled) = (vec![0; size], 0);
        let result = drive(self.through.read_exact(&mut self.handle, &mut buffer, &mut filled), polls);
        if filled > 0 {
            self.has_read(size, &buffer[..filled], filled)?;
        }
        match result {
            None => self.gave_up(polls),
            Some(Ok(())) if filled < size => self.has_read(size, &[], 0),
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => self.read_failed(&error),
        }
    }

    fn fill_buf(&mut self, most: usize, polls: Option<u8>) -> Verdict {
        match drive(self.through.fill_buf(&mut self.handle, most), polls) {
            None => self.gave_up(polls),
            Some(Ok((bytes, taken))) => self.has_read(usize::MAX / 2, &bytes, taken),
            Some(Err(error)) => self.read_failed(&error),
        }
    }

    /// The call has gone well, which it cannot after a panic.
    fn well(&mut self) -> Verdict {
        self.plains.certain = true;
        if self.poisoned { Err("it goes well after a panic".to_owned()) } else { Ok(()) }
    }

    fn write(&mut self, fills: &[Fill], polls: Option<u8>) -> Verdict {
        let slices: Vec<_> = fills.iter().map(|fill| fill.bytes()).collect();
        let refs: Vec<_> = slices.iter().map(|slice| &slice[..]).collect();
        let bytes = slices.concat();
        match drive(self.through.write(&mut self.handle, &refs), polls) {
            None => self.gave_up(polls),
            Some(Ok(0)) if bytes.is_empty() => Ok(()),
            Some(Ok(0)) => Err("it took nothing".to_owned()),
            Some(Ok(count)) => {
                self.well()?;
                self.writes = true;
                self.accepted.push(Written::Surely(bytes[..count].to_vec()));
                self.plains.wrote(&bytes[..count])
            }
            Some(Err(error)) => self.failed(&error),
        }
    }

    fn flush(&mut self, closes: bool, polls: Option<u8>) -> Verdict {
        match drive(self.through.flush(&mut self.handle, closes), polls) {
            None => {
                self.gave_up(polls)?;
                // The value may have been dropped, or not: it is now.
                let drops = closes && polls != Some(0) && self.handle.drops_when_closed();
                if drops { self.flush(true, None) } else { Ok(()) }
            }
            Some(Ok(())) => {
                self.well()?;
                self.plains.settled("a flush")?;
                self.check_flushed(true)?;
                self.closed = closes && self.handle.drops_when_closed();
                let Some(file) = self.handle.file() else { return Ok(()) };
                self.plains.seen(&contents(file), None)
            }
            Some(Err(error)) => self.failed(&error),
        }
    }

    /// Every call says that the value was closed, but a flush and another close.
    fn check_closed(&mut self) -> Verdict {
        let write = drive(self.through.write(&mut self.handle, &[b"x"]), None).unwrap();
        let read = drive(self.through.read(&mut self.handle, &mut [0; 10]), None).unwrap();
        if let Some(other) = [read, write]
            .iter()
            .find(|end| end.as_ref().err().map(io::Error::kind) != Some(io::ErrorKind::NotConnected))
        {
            return Err(format!("it was closed, and yet: {other:?}"));
        }
        for closes in [false, true] {
            let end = drive(self.through.flush(&mut self.handle, closes), None).unwrap();
            end.map_err(|error| error.to_string())?;
        }
        self.check_flushed(self.writes)
    }

    fn seek(&mut self, to: SeekFrom, polls: Option<u8>) -> Verdict {
        match drive(self.through.seek(&mut self.handle, to), polls) {
            None if polls == Some(0) => Ok(()),
            None => {
                let verdict = self.plains.seek_dropped(to);
                self.plains.certain = false;
                verdict
            }
            Some(Ok(place)) => {
                self.well()?;
                self.plains.sought(to, Ok(place))?;
                self.check_told()
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::InvalidInput && !self.poisoned => {
                self.plains.sought(to, Err(error.kind()))
            }
            Some(Err(error)) => {
                self.plains.certain = false;
                match self.fault(&error)? {
                    Some(Fault { kind: Kind::Read, .. }) => Err(format!("it reads nothing, but {error:?}")),
                    _ => self.plains.seek_failed(to),
                }
            }
        }
    }

    fn lend(&mut self, acts: &[Act], polls: Option<u8>) -> Verdict {
        let ran = Gone::default();
        let result = drive(self.handle.call(acts.to_vec(), Arc::clone(&ran)), polls);
        let has_run = *ran.lock().unwrap();
        if polls != Some(0) {
            self.accepted.push(Written::IfRun(ran, written_by(acts)));
        }
        match result {
            None if polls == Some(0) => Ok(()),
            None => {
                self.plains.certain = false;
                match has_run {
                    true => self.plains.acted(acts, None),
                    false => self.plains.acted_perhaps(acts),
                }
            }
            Some(Ok(told)) => {
                self.well()?;
                self.plains.acted(acts, Some(&told))?;
                self.check_told()
            }
            Some(Err(_)) if has_run => Err("the closure has run, and yet it failed".to_owned()),
            Some(Err(error)) => self.failed(&error),
        }
    }

    fn borrow(&mut self, acts: &[Act], polls: Option<u8>) -> Verdict {
        match drive(self.handle.borrow(acts), polls) {
            None => self.gave_up(polls),
            Some(Ok((bytes, place, told))) => {
                self.well()?;
                self.plains.settled("get_mut")?;
                self.plains.seen(&bytes, Some(place))?;
                self.writes = false;
                self.accepted.push(Written::Surely(written_by(acts)));
                self.plains.acted(acts, Some(&told))?;
                self.check_told()
            }
            Some(Err(error)) => self.failed(&error),
        }
    }

    fn set_len(&mut self, size: usize, polls: Option<u8>) -> Verdict {
        let file = self.handle.file().unwrap();
        let after = self.plains.after(&contents(file), Some(size), None);
        if let Some(ended) = until_seen(file, file.set_len(size as u64), polls, after) {
            ended.map_err(|error| error.to_string())?;
            self.plains.resized(size)?;
        }
        Ok(())
    }

    fn write_at(&mut self, bytes: &[u8], at: u64, polls: Option<u8>) -> Verdict {
        let file = self.handle.file().unwrap();
        let after = self.plains.after(&contents(file), None, Some((bytes, at)));
        match until_seen(file, file.write_at(bytes, at), polls, after) {
            Some(Ok(Some(count))) if count != bytes.len() => Err(format!("only {count} bytes were written")),
            Some(Ok(_)) => self.plains.wrote_at(bytes, at),
            Some(Err(error)) => Err(error.to_string()),
            None => Ok(()),
        }
    }

    fn read_at(&mut self, most: usize, at: u64, polls: Option<u8>) -> Verdict {
        let mut buffer = vec![0; most];
        match drive(self.handle.file().unwrap().read_at(&mut buffer, at), polls) {
            None => Ok(()),
            Some(Ok(count)) => self.plains.read_at(most, &buffer[..count], at),
            Some(Err(error)) => Err(error.to_string()),
        }
    }

    fn finish(self) -> Verdict {
        let Player { mut handle, through, plains, log, told, poisoned, closed, writes, accepted } = self;
        let mut after = Player { handle: (), through, plains, log, told, poisoned, closed, writes, accepted };
        loop {
            match drive(handle.finish(), None).expect("it was driven to its end") {
                Ok((bytes, place)) => {
                    after.plains.settled("into_inner")?;
                    after.plains.seen(&bytes, Some(place))?;
                    return after.check_flushed(after.writes);
                }
                Err((error, back)) => {
                    after.failed(&error)?;
                    match back {
                        _ if after.poisoned => return after.check_prefix(),
                        Some(back) => handle = back,
                        None => return Err(format!("the value is gone: {error:?}")),
                    }
                }
            }
        }
    }

    fn drop_it(self, pool: &Pool) -> Verdict {
        let Player { handle, through, plains, log, told, poisoned, closed, writes, accepted } = self;
        let after = Player { handle: (), through, plains, log, told, poisoned, closed, writes, accepted };
        drop(handle);
        pool.shutdown().wait();
        let is_well = after.log.as_ref().is_some_and(|log| {
            let log = log.lock().unwrap();
            log.faults.is_empty() && !log.panicked
        });
        if is_well { after.check_flushed(after.writes) } else { after.check_prefix() }
    }
}
