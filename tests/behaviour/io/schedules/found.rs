//! Schedules in which the wrapped value once did not do what the plain one does.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sidestep::{Pool, Unblock};

use super::Case;
use super::handle::{Through, drive};
use super::play::{Do, Op};
use super::values::{Act, Faulty, Fill, Turn};
use crate::support::{Gate, eventually, occupy, pool};

const FUTURES: Through = Through::Futures;

/// Ten bytes to begin with, and each of `calls` polled as often as it says.
fn case(through: Through, plan: Vec<Turn>, calls: Vec<(Do, Option<u8>)>) -> Case {
    let ops = calls.into_iter().map(|(call, polls)| Op { call, polls }).collect();
    let holds = Fill { seed: 7, size: 10 };
    Case { through, capacity: None, threads: 1, reads_ahead: None, holds, plan, ops, drops: false }
}

fn few(size: usize) -> Fill {
    Fill { seed: 200, size }
}

fn is_idle(pool: &Pool) {
    eventually("the pool rests", || {
        let metrics = pool.metrics();
        (metrics.tasks_queued(), metrics.tasks_running()) == (0, 0)
    });
}

#[cfg(feature = "tokio")]
#[test]
fn a_dropped_seek_is_not_repeated_by_a_later_one() {
    let seek = |to| Do::Seek(SeekFrom::Current(to));
    let calls = vec![(seek(1), Some(1)), (Do::Write(few(1)), None), (seek(0), None)];
    case(Through::Tokio, vec![], calls).with_cursor().unwrap();
}

#[test]
fn a_seek_that_failed_for_another_reason_does_not_take_place_later() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let (disk, _) = Faulty::new(Cursor::new(vec![0; 10]), vec![Turn::Fail]);
    let mut handle = Unblock::new(disk).seekable().on(&pool);
    let busy = occupy(&pool, &gate);
    drive(FUTURES.write(&mut handle, &[b"ab"]), None).unwrap().unwrap();
    let mut seek = Box::pin(FUTURES.seek(&mut handle, SeekFrom::Start(5)));
    assert!(drive(seek.as_mut(), Some(1)).is_none());
    gate.open();
    assert!(drive(seek, None).unwrap().is_err(), "the write failed");
    assert_eq!(drive(FUTURES.seek(&mut handle, SeekFrom::Current(0)), None).unwrap().unwrap(), 2);
    busy.wait().unwrap();
}

#[test]
fn a_closure_that_has_run_gives_its_result_though_a_flush_fails_then() {
    let calls = vec![(Do::Write(few(1)), None), (Do::Flush, None), (Do::Call(vec![]), None)];
    case(FUTURES, vec![Turn::Well, Turn::Well, Turn::Fail], calls).with_disk().unwrap();
}

#[test]
fn a_seek_that_is_interrupted_is_repeated() {
    let calls = vec![(Do::Seek(SeekFrom::Start(3)), None)];
    case(FUTURES, vec![Turn::Interrupted], calls).with_disk().unwrap();
}

#[test]
fn a_failure_to_say_where_it_stands_does_not_make_a_value_one_that_cannot_seek() {
    let calls = vec![(Do::Read(4), None), (Do::Read(4), None), (Do::Write(few(2)), None), (Do::Flush, None)];
    case(FUTURES, vec![Turn::Fail], calls).with_disk().unwrap();
}

#[test]
fn writes_wait_for_a_move_back_that_failed_while_the_value_was_asked_for() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let (disk, _) = Faulty::new(Cursor::new(vec![0; 10]), vec![Turn::Well, Turn::Well, Turn::Fail]);
    let mut handle = Unblock::new(disk).seekable().on(&pool);
    assert_eq!(drive(FUTURES.read(&mut handle, &mut [0; 4]), None).unwrap().unwrap(), 4);
    let busy = occupy(&pool, &gate);
    drive(FUTURES.write(&mut handle, &[b"ab"]), None).unwrap().unwrap();
    let mut asked = Box::pin(handle.get_mut());
    assert!(drive(asked.as_mut(), Some(1)).is_none());
    gate.open();
    assert!(drive(asked, None).unwrap().is_err(), "it could not be moved back");
    drive(FUTURES.flush(&mut handle, false), None).unwrap().unwrap();
    assert_eq!(drive(FUTURES.seek(&mut handle, SeekFrom::Current(0)), None).unwrap().unwrap(), 6);
    busy.wait().unwrap();
}

#[test]
fn an_end_that_nobody_was_told_of_is_none_once_the_value_has_been_moved() {
    let pool = pool(1, 1);
    let mut handle = Unblock::new(Cursor::new(b"0123".to_vec())).on(&pool);
    assert_eq!(drive(FUTURES.read(&mut handle, &mut [0; 9]), None).unwrap().unwrap(), 4);
    assert!(drive(FUTURES.read(&mut handle, &mut [0; 9]), Some(1)).is_none());
    is_idle(&pool);
    drive(handle.with_mut(|cursor| cursor.set_position(0)), None).unwrap().unwrap();
    assert_eq!(drive(FUTURES.read(&mut handle, &mut [0; 9]), None).unwrap().unwrap(), 4);
}

#[test]
fn a_write_at_that_was_dropped_is_seen_by_the_next_read() {
    let calls =
        vec![(Do::Read(2), None), (Do::WriteAt(few(10), 0), Some(3)), (Do::Read(4), None), (Do::Flush, None)];
    case(FUTURES, vec![], calls).with_file().unwrap();
}

#[test]
fn a_set_len_that_was_dropped_is_seen_by_the_next_read() {
    let calls = vec![(Do::Read(2), None), (Do::SetLen(5), Some(3)), (Do::ReadExact(9), None)];
    case(FUTURES, vec![], calls).with_file().unwrap();
}

#[test]
fn a_flush_waits_for_a_closure_that_has_begun() {
    let calls = vec![
        (Do::Write(few(1)), None),
        (Do::Call(vec![Act::Write(Fill { seed: 1, size: 100_000 })]), Some(3)),
        (Do::Flush, None),
    ];
    case(FUTURES, vec![], calls).with_disk().unwrap();
}

/// Its calls say that they have begun, and end when they are let go.
struct Gated {
    cursor: Cursor<Vec<u8>>,
    begun: Gate,
    leave: Gate,
    /// How long a write takes.
    takes: Duration,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Gated {
    fn new(bytes: &[u8], takes: Duration) -> (Self, Gate, Gate) {
        let (begun, leave) = (Gate::new(), Gate::new());
        let cursor = Cursor::new(bytes.to_vec());
        (
            Gated { cursor, begun: begun.clone(), leave: leave.clone(), takes, written: Arc::default() },
            begun,
            leave,
        )
    }
}

impl Read for Gated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cursor.read(buffer)
    }
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun.open();
        self.leave.pass();
        let began = Instant::now();
        while began.elapsed() < self.takes {
            std::thread::yield_now();
        }
        self.written.lock().unwrap().extend_from_slice(bytes);
        self.cursor.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Gated {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if matches!(to, SeekFrom::Current(back) if back < 0) {
            self.begun.open();
            self.leave.pass();
        }
        self.cursor.seek(to)
    }
}

#[test]
fn what_is_being_undone_is_not_given_out() {
    let pool = pool(1, 1);
    let (value, begun, leave) = Gated::new(b"0123456789", Duration::ZERO);
    let mut handle = Unblock::new(value).seekable().on(&pool);
    assert_eq!(drive(FUTURES.read(&mut handle, &mut [0; 4]), None).unwrap().unwrap(), 4);
    assert!(drive(handle.get_mut(), Some(1)).is_none());
    begun.pass();
    let mut buffer = [0; 4];
    assert!(drive(FUTURES.read(&mut handle, &mut buffer), Some(1)).is_none(), "it is on its way back");
    leave.open();
    assert_eq!(drive(FUTURES.read(&mut handle, &mut buffer), None).unwrap().unwrap(), 4);
    assert_eq!(&buffer, b"4567");
    assert_eq!(drive(FUTURES.seek(&mut handle, SeekFrom::Current(0)), None).unwrap().unwrap(), 8);
}

#[test]
fn a_shutdown_waits_for_writes_that_take_more_than_one_turn() {
    let pool = pool(1, 1);
    let (value, begun, leave) = Gated::new(b"", Duration::from_millis(5));
    let written = Arc::clone(&value.written);
    let mut handle = Unblock::new(value).on(&pool);
    drive(FUTURES.write(&mut handle, &[b"first"]), None).unwrap().unwrap();
    begun.pass();
    drive(FUTURES.write(&mut handle, &[b"second"]), None).unwrap().unwrap();
    let shutdown = pool.shutdown();
    leave.open();
    shutdown.wait();
    assert_eq!(*written.lock().unwrap(), b"firstsecond");
}
