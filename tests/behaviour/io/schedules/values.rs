//! The values that are played with: a disk in memory, a line whose two ends have nothing to do with
//! each other, and both with faults by plan; and what is done to a value by whoever has it.

use std::collections::VecDeque;
use std::io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};

use crate::support::quiet_panic;

/// Bytes that tell where they come from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    pub(crate) seed: u8,
    pub(crate) size: usize,
}

impl Fill {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let byte = |index: usize| (index * 31 + index / 251 * 17 + index / 4096 * 5) as u8 ^ self.seed;
        (0..self.size).map(byte).collect()
    }
}

/// Something done to the plain value.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Read(usize),
    Write(Fill),
    Seek(SeekFrom),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Read(Vec<u8>),
    Wrote,
    Sought(Result<u64, ErrorKind>),
}

/// Does all of `acts`, which meet no faults.
pub(crate) fn act<V: Read + Write + Seek>(value: &mut V, acts: &[Act]) -> Vec<Told> {
    let one = |act: &Act| match act {
        Act::Read(most) => {
            let mut bytes = Vec::new();
            value.take(*most as u64).read_to_end(&mut bytes).unwrap();
            Told::Read(bytes)
        }
        Act::Write(Fill { size: 0, .. }) => Told::Wrote,
        Act::Write(fill) => {
            value.write_all(&fill.bytes()).unwrap();
            Told::Wrote
        }
        Act::Seek(to) => Told::Sought(value.seek(*to).map_err(|error| error.kind())),
    };
    acts.iter().map(one).collect()
}

/// A value that can be wrapped.
pub(crate) trait Value: Read + Write + Seek + Send + 'static {
    /// Does all of `acts`, without faults.
    fn act(&mut self, acts: &[Act]) -> Vec<Told>;

    /// What it holds, and where it stands.
    fn look(&mut self) -> (Vec<u8>, u64);

    /// Where it reads next.
    fn stand(&mut self) -> u64 {
        self.stream_position().unwrap()
    }
}

impl Value for Cursor<Vec<u8>> {
    fn act(&mut self, acts: &[Act]) -> Vec<Told> {
        act(self, acts)
    }

    fn look(&mut self) -> (Vec<u8>, u64) {
        (self.get_ref().clone(), self.position())
    }
}

impl Value for std::fs::File {
    fn act(&mut self, acts: &[Act]) -> Vec<Told> {
        act(self, acts)
    }

    fn look(&mut self) -> (Vec<u8>, u64) {
        let place = self.stream_position().unwrap();
        self.rewind().unwrap();
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).unwrap();
        self.seek(SeekFrom::Start(place)).unwrap();
        (bytes, place)
    }
}

/// Reads come from one end, writes go to the other.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) input: Cursor<Vec<u8>>,
    pub(crate) output: Vec<u8>,
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Line {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(ErrorKind::NotSeekable.into())
    }
}

impl Value for Line {
    fn act(&mut self, acts: &[Act]) -> Vec<Told> {
        act(self, acts)
    }

    fn look(&mut self) -> (Vec<u8>, u64) {
        (self.output.clone(), self.output.len() as u64)
    }

    fn stand(&mut self) -> u64 {
        self.input.position()
    }
}

/// How one call of a value goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    Well,
    /// At most so many bytes are moved.
    Short(usize),
    Interrupted,
    WouldBlock,
    /// A write takes nothing.
    Zero,
    Fail,
    Panic,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Read,
    Write,
    Flush,
    Seek,
}

/// An error that a value gave: of which call, and how much of the stream had been read, or where
/// the value stood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) place: u64,
    pub(crate) text: String,
}

/// What a value has given and got.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) faults: Vec<Fault>,
    pub(crate) panicked: bool,
    pub(crate) unflushed: bool,
    /// Everything written, in order.
    pub(crate) written: Vec<u8>,
}

/// A value each of whose calls goes as planned, and well after that.
#[derive(Debug)]
pub(crate) struct Faulty<V> {
    value: V,
    plan: VecDeque<Turn>,
    log: Arc<Mutex<Log>>,
}

impl<V: Value> Faulty<V> {
    pub(crate) fn new(value: V, plan: Vec<Turn>) -> (Self, Arc<Mutex<Log>>) {
        let log = Arc::new(Mutex::new(Log::default()));
        (Faulty { value, plan: plan.into(), log: Arc::clone(&log) }, log)
    }

    /// How many bytes of `most` may be moved, or how else the call ends.
    fn turn(&mut self, kind: Kind, most: usize) -> io::Result<usize> {
        let mut log = self.log.lock().unwrap();
        let fault = |log: &mut Log, value: &mut V, error: ErrorKind| {
            let text = match error {
                ErrorKind::WriteZero => "zero".to_owned(),
                _ => format!("fault {}.", log.faults.len()),
            };
            log.faults.push(Fault { kind, place: value.stand(), text: text.clone() });
            io::Error::new(error, text)
        };
        match self.plan.pop_front().unwrap_or(Turn::Well) {
            Turn::Short(count) => Ok(most.min(count)),
            Turn::Interrupted => Err(ErrorKind::Interrupted.into()),
            Turn::WouldBlock => Err(fault(&mut log, &mut self.value, ErrorKind::WouldBlock)),
            Turn::Fail => Err(fault(&mut log, &mut self.value, ErrorKind::StorageFull)),
            Turn::Zero if kind == Kind::Write => {
                drop(fault(&mut log, &mut self.value, ErrorKind::WriteZero));
                Ok(0)
            }
            Turn::Panic => {
                log.panicked = true;
                drop(log);
                quiet_panic("a planned panic")
            }
            Turn::Well | Turn::Zero => Ok(most),
        }
    }
}

impl<V: Value> Read for Faulty<V> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.turn(Kind::Read, buffer.len())?;
        self.value.read(&mut buffer[..most])
    }
}

impl<V: Value> Write for Faulty<V> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.turn(Kind::Write, bytes.len())?;
        let count = self.value.write(&bytes[..most])?;
        let mut log = self.log.lock().unwrap();
        log.unflushed |= count > 0;
        log.written.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.turn(Kind::Flush, 0)?;
        self.log.lock().unwrap().unflushed = false;
        self.value.flush()
    }
}

impl<V: Value> Seek for Faulty<V> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.turn(Kind::Seek, 0)?;
        self.value.seek(to)
    }
}

impl<V: Value> Value for Faulty<V> {
    fn act(&mut self, acts: &[Act]) -> Vec<Told> {
        let told = self.value.act(acts);
        let mut log = self.log.lock().unwrap();
        for act in acts {
            if let Act::Write(fill) = act {
                log.unflushed |= fill.size > 0;
                log.written.extend(fill.bytes());
            }
        }
        told
    }

    fn look(&mut self) -> (Vec<u8>, u64) {
        self.value.look()
    }

    fn stand(&mut self) -> u64 {
        self.value.stand()
    }
}
