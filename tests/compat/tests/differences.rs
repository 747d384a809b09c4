//! Where the facade differs from `blocking` on purpose: each test shows both. `docs/MIGRATING.md`
//! says why.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "cases/support.rs"]
mod support;

use std::io::{self, Cursor, ErrorKind, Read, SeekFrom, Write};
use std::num::NonZeroUsize;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_lite::future::{block_on, poll_once};
use futures_lite::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use self::support::{Drops, Gate, eventually, let_nothing_happen, panic_of};

#[test]
fn a_closure_that_runs_is_told_and_its_value_is_not_thrown_away() {
    let began = Gate::new();
    let begins = began.clone();
    let task = blocking::unblock(move || {
        begins.open();
        eventually(sidestep::current::is_cancelled);
        "cleaned up"
    });
    began.pass();
    assert_eq!(block_on(task.cancel()), Some("cleaned up"));

    let (began, gate) = (Gate::new(), Gate::new());
    let (begins, behind) = (began.clone(), gate.clone());
    let task = original::unblock(move || {
        begins.open();
        behind.pass();
        "cleaned up"
    });
    began.pass();
    let mut ending = Box::pin(task.cancel());
    assert!(block_on(poll_once(&mut ending)).is_none());
    gate.open();
    assert_eq!(block_on(ending), None);
}

#[test]
fn a_panic_of_a_cancelled_closure_reaches_whoever_waits_for_its_end() {
    let began = Gate::new();
    let begins = began.clone();
    let task = blocking::unblock(move || {
        begins.open();
        eventually(sidestep::current::is_cancelled);
        panic!("in the clean-up");
    });
    began.pass();
    assert_eq!(panic_of(task.cancel()), "in the clean-up");

    let (began, gate) = (Gate::new(), Gate::new());
    let (begins, behind) = (began.clone(), gate.clone());
    let task = original::unblock(move || {
        begins.open();
        behind.pass();
        panic!("in the clean-up");
    });
    began.pass();
    let mut ending = Box::pin(task.cancel());
    assert!(block_on(poll_once(&mut ending)).is_none());
    gate.open();
    assert!(block_on(ending).is_none());
}

#[test]
fn what_was_read_ahead_is_not_seen_by_a_seek_or_in_the_value() {
    block_on(async {
        let (mut byte, value) = ([0], || Cursor::new(vec![7; 100]));

        let mut ours = blocking::Unblock::new(value());
        ours.read_exact(&mut byte).await.unwrap();
        assert_eq!(ours.seek(SeekFrom::Current(0)).await.unwrap(), 1);
        ours.read_exact(&mut byte).await.unwrap();
        assert_eq!(ours.into_inner().await.position(), 2);

        let mut theirs = original::Unblock::new(value());
        theirs.read_exact(&mut byte).await.unwrap();
        assert_eq!(theirs.seek(SeekFrom::Current(0)).await.unwrap(), 100);
        assert_eq!(theirs.into_inner().await.position(), 100);
    });
}

#[test]
fn an_end_behind_bytes_is_told() {
    /// A line of a terminal, its end-of-file character, and another line.
    struct Terminal(std::vec::IntoIter<&'static [u8]>);

    impl Read for Terminal {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let line = self.0.next().unwrap_or_default();
            into[..line.len()].copy_from_slice(line);
            Ok(line.len())
        }
    }

    let lines = || Terminal(vec![&b"one"[..], b"", b"two"].into_iter());
    let (mut ours, mut theirs) = (String::new(), String::new());
    block_on(blocking::Unblock::new(lines()).read_to_string(&mut ours)).unwrap();
    block_on(original::Unblock::new(lines()).read_to_string(&mut theirs)).unwrap();
    assert_eq!((&*ours, &*theirs), ("one", "onetwo"));
}

/// Fails to write once.
#[derive(Default)]
struct FullOnce {
    has_failed: bool,
    written: Vec<u8>,
}

impl Write for FullOnce {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !std::mem::replace(&mut self.has_failed, true) {
            return Err(ErrorKind::StorageFull.into());
        }
        Write::write(&mut self.written, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn after_a_failed_write_the_bytes_are_tried_again() {
    block_on(async {
        let mut ours = blocking::Unblock::new(FullOnce::default());
        ours.write_all(b"kept").await.unwrap();
        assert!(ours.flush().await.is_err());
        ours.flush().await.unwrap();
        assert_eq!(ours.into_inner().await.written, b"kept");

        let mut theirs = original::Unblock::new(FullOnce::default());
        theirs.write_all(b"lost").await.unwrap();
        assert!(theirs.flush().await.is_err());
        theirs.flush().await.unwrap();
        assert_eq!(theirs.into_inner().await.written, b"");
    });
}

/// Greets, and then answers when it is asked.
#[derive(Clone, Default)]
struct Peer {
    has_greeted: bool,
    read_again: Gate,
    asked: Gate,
}

impl Read for Peer {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if std::mem::replace(&mut self.has_greeted, true) {
            self.read_again.open();
            self.asked.pass();
        }
        into[0] = b'!';
        Ok(1)
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.asked.open();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_question_does_not_wait_for_the_answer_that_follows_it() {
    block_on(async {
        let mut byte = [0];
        let mut ours = blocking::Unblock::new(Peer::default());
        ours.read_exact(&mut byte).await.unwrap();
        ours.write_all(b"?").await.unwrap();
        ours.flush().await.unwrap();
        ours.read_exact(&mut byte).await.unwrap();

        let peer = Peer::default();
        let mut theirs = original::Unblock::new(peer.clone());
        theirs.read_exact(&mut byte).await.unwrap();
        peer.read_again.pass(); // by nobody's wish
        let mut question = Box::pin(theirs.write_all(b"?"));
        assert!(poll_once(&mut question).await.is_none());
        let_nothing_happen();
        assert!(poll_once(&mut question).await.is_none(), "it waits for the read, which waits for it");
        peer.asked.open();
        question.await.unwrap();
    });
}

#[test]
fn a_panic_of_a_reader_is_an_error() {
    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("broken");
        }
    }

    let error = block_on(blocking::Unblock::new(Broken).read(&mut [0])).unwrap_err();
    assert!(error.to_string().contains("broken"), "{error}");
    assert_eq!(panic_of(original::Unblock::new(Broken).read(&mut [0])), "broken");
}

#[test]
fn what_was_accepted_is_written_though_the_handle_is_dropped() {
    struct Slow(Gate, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.pass();
            Write::write(&mut *self.1.lock().unwrap(), bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let (gate, written) = (Gate::new(), Arc::default());
    let mut ours = blocking::Unblock::new(Slow(gate.clone(), Arc::clone(&written)));
    block_on(ours.write_all(b"all")).unwrap();
    drop(ours);
    gate.open();
    eventually(|| *written.lock().unwrap() == b"all");
}

type Job = Box<dyn FnOnce() + Send>;

fn ours(job: Job) {
    blocking::unblock(job).detach();
}

fn theirs(job: Job) {
    original::unblock(job).detach();
}

/// Has the pool run something until the gate is opened.
fn occupy(spawn: fn(Job)) -> Gate {
    let (began, gate) = (Gate::new(), Gate::new());
    let (begins, behind) = (began.clone(), gate.clone());
    spawn(Box::new(move || {
        begins.open();
        behind.pass();
    }));
    began.pass();
    gate
}

fn assert_two_at_once(spawn: fn(Job), expected: bool) {
    let gate = occupy(spawn);
    let second = Gate::new();
    let opens = second.clone();
    spawn(Box::new(move || opens.open()));
    if expected {
        second.pass();
    } else {
        assert!(!second.opens_within(Duration::from_millis(50)));
    }
    gate.open();
    second.pass();
}

/// Set in the process that a test has started.
const MARK: &str = "COMPAT_TEST_CHILD";

/// Runs `body` as the test of this name, in a process of its own with limits of one thread by these
/// variables: the limits belong to the process.
fn alone(test: &str, variables: &[&str], body: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]).env(MARK, "1");
    command.env_remove("SIDESTEP_MAX_THREADS").env_remove("BLOCKING_MAX_THREADS");
    command.env_remove("SIDESTEP_CORE_THREADS");
    command.envs(variables.iter().map(|variable| (variable, "1")));
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains(" 1 passed"), "{text}");
}

#[test]
fn the_variable_of_the_original_limits_the_original_alone() {
    alone("the_variable_of_the_original_limits_the_original_alone", &["BLOCKING_MAX_THREADS"], || {
        assert_two_at_once(ours, true);
        assert_two_at_once(theirs, false);
    });
}

#[test]
fn the_variable_of_the_library_limits_the_facade_alone() {
    alone("the_variable_of_the_library_limits_the_facade_alone", &["SIDESTEP_MAX_THREADS"], || {
        assert_two_at_once(ours, false);
        assert_two_at_once(theirs, true);
    });
}

#[test]
fn the_limit_at_run_time_is_the_same() {
    alone("the_limit_at_run_time_is_the_same", &[], || {
        let set_both = |limit| {
            blocking::set_max_blocking_threads(limit);
            original::set_max_blocking_threads(limit);
        };
        let limits = [
            (NonZeroUsize::MIN, false),
            (NonZeroUsize::MIN.saturating_add(1), true),
            (NonZeroUsize::MAX, true),
        ];
        for (limit, expected) in limits {
            set_both(limit);
            assert_two_at_once(ours, expected);
            assert_two_at_once(theirs, expected);
        }
    });
}

#[test]
fn a_queued_closure_that_is_given_up_is_dropped_at_once() {
    alone(
        "a_queued_closure_that_is_given_up_is_dropped_at_once",
        &["SIDESTEP_MAX_THREADS", "BLOCKING_MAX_THREADS"],
        || {
            let (gate, ends) = (occupy(ours), Drops::new());
            let [first, second] = [ends.token(), ends.token()];
            drop(blocking::unblock(move || first));
            assert_eq!(ends.count(), 1);
            assert!(block_on(blocking::unblock(move || second).cancel()).is_none());
            assert_eq!(ends.count(), 2);
            gate.open();

            let (gate, ends) = (occupy(theirs), Drops::new());
            let [first, second] = [ends.token(), ends.token()];
            drop(original::unblock(move || first));
            let mut ending = Box::pin(original::unblock(move || second).cancel());
            assert!(block_on(poll_once(&mut ending)).is_none());
            let_nothing_happen();
            assert_eq!(ends.count(), 0);
            gate.open();
            assert!(block_on(ending).is_none());
            assert_eq!(ends.count(), 2);
        },
    );
}
