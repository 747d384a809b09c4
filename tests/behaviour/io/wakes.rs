//! `Unblock`: wakers, two halves at once, and ends of the pool, the process or the handle.

use std::future::poll_fn;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use futures_util::{AsyncRead, StreamExt};
use sidestep::{Pool, Unblock};

use crate::support::fake::{Bytes, Fake, at_rest, begin_read, in_time};
use crate::support::{
    Calls, Drops, Gate, Wakes, check_sound, eventually, nothing_happens, occupy, poll, pool, quiet_panic,
};

/// A waker that counts, and calls what it is told to, once.
#[derive(Default)]
struct Counted(Arc<Wakes>, Arc<Calls>);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        Wake::wake_by_ref(&self.0);
        Arc::clone(&self.1).wake();
    }
}

/// Begins to read, and returns when its waker waits: a caller may be asked to come again at once,
/// some times.
fn waiting(reader: &mut Unblock<Fake>) -> Arc<Counted> {
    let counted = Arc::new(Counted::default());
    let waker = Waker::from(Arc::clone(&counted));
    loop {
        let before = counted.0.count();
        assert!(Pin::new(&mut *reader).poll_read(&mut Context::from_waker(&waker), &mut [0]).is_pending());
        if counted.0.count() == before {
            return counted;
        }
    }
}

/// Where the pump's turn is over, it asks the pool for another; which a pool that shuts down does
/// not grant.
#[test]
fn a_shutdown_waits_for_all_that_was_accepted_however_long_it_takes() {
    let (pool, bytes, started, gate) = (pool(1, 1), Bytes::default(), Gate::new(), Gate::new());
    let (seen, announce, pass) = (bytes.clone(), started.clone(), gate.clone());
    let value = Fake::new().writes(move |bytes| {
        if seen.get().is_empty() {
            announce.open();
            pass.pass();
            nothing_happens();
        }
        seen.add(&bytes[..1])
    });
    let mut file = Unblock::with_capacity(8, value).on(&pool);
    in_time(file.write_all(b"abcd")).unwrap();
    started.pass();
    in_time(file.write_all(b"efgh")).unwrap();
    let shutdown = pool.shutdown().discard_queued();
    gate.open();
    assert_eq!(shutdown.wait().still_running, 0);
    assert_eq!(bytes.get(), b"abcdefgh");
}

#[test]
fn a_waker_may_drop_the_handle_that_it_waits_for() {
    let (pool, drops) = (pool(1, 1), Drops::new());
    let (token, gate) = (drops.token(), Gate::new());
    let pass = gate.clone();
    let value = Fake::new().reads(move |_| {
        let _held = &token;
        pass.pass();
        Ok(0)
    });
    let mut reader = Unblock::new(value).on(&pool);
    let calls = waiting(&mut reader);
    calls.1.set(move || drop(reader));
    gate.open();
    eventually("the value is dropped", || drops.count() == 1);
    check_sound(&pool);
}

#[test]
fn a_waker_that_panics_keeps_nobody_from_going_on() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let pass = gate.clone();
    let value = Fake::new().reads(move |buffer| {
        pass.pass();
        Ok(buffer.len())
    });
    let mut reader = Unblock::new(value).on(&pool);
    let calls = waiting(&mut reader);
    calls.1.set(|| quiet_panic("a waker"));
    gate.open();
    at_rest(&pool);
    assert_eq!(in_time(reader.read(&mut [0; 4])).unwrap(), 4);
}

/// Both halves wait at once; the write goes on when the read has ended, and the read when it has
/// bytes.
#[test]
fn two_halves_may_wait_at_the_same_time() {
    let (gate, bytes) = (Gate::new(), Bytes::default());
    let (pass, seen) = (gate.clone(), bytes.clone());
    let socket = Fake::new()
        .reads(move |buffer| {
            pass.pass();
            buffer[0] = b'r';
            Ok(1)
        })
        .writes(move |bytes| seen.add(bytes));
    let (mut reader, mut writer) = Unblock::with_capacity(2, socket).split();
    let reads = std::thread::spawn(move || {
        let mut buffer = [0; 3];
        in_time(reader.read_exact(&mut buffer)).unwrap();
        (buffer, reader)
    });
    let writes = std::thread::spawn(move || {
        in_time(writer.write_all(b"0123456789")).unwrap();
        in_time(writer.flush()).unwrap();
        writer
    });
    nothing_happens();
    gate.open();
    let (buffer, reader) = reads.join().unwrap();
    let writer = writes.join().unwrap();
    assert_eq!((&buffer, bytes.get().as_slice()), (b"rrr", &b"0123456789"[..]));
    drop(reader.reunite(writer).unwrap());
}

/// A caller that waits for a write that blocks is not woken again and again.
#[test]
fn waiting_for_a_write_that_blocks_costs_nothing() {
    let (pool, started, gate) = (pool(1, 1), Gate::new(), Gate::new());
    let (announce, pass) = (started.clone(), gate.clone());
    let value = Fake::new().writes(move |bytes| {
        announce.open();
        pass.pass();
        Ok(bytes.len())
    });
    let mut file = Unblock::new(value).on(&pool);
    in_time(file.write_all(b"a")).unwrap();
    started.pass();
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    let mut polls = 0;
    let mut flush = Box::pin(file.flush());
    loop {
        let before = wakes.count();
        polls += 1;
        assert!(poll(&mut flush, &waker).is_pending());
        if wakes.count() == before || polls == 10_000 {
            break;
        }
    }
    assert!(polls < 10_000, "it is woken again and again while nothing happens");
    gate.open();
    in_time(flush).unwrap();
}

/// What was read ahead may be stale after `set_len`, though there is nothing.
#[test]
#[cfg(unix)]
fn a_file_is_read_after_its_length_was_set() {
    let (pipe, mut sink) = io::pipe().unwrap();
    let mut file = sidestep::fs::File::from(std::fs::File::from(std::os::fd::OwnedFd::from(pipe)));
    assert!(in_time(file.set_len(0)).is_err());
    let reads = std::thread::spawn(move || {
        let mut buffer = [0; 4];
        in_time(poll_fn(|context| Pin::new(&mut file).poll_read(context, &mut buffer)))
            .map(|count| (count, buffer))
    });
    nothing_happens();
    sink.write_all(b"here").unwrap();
    assert_eq!(reads.join().unwrap().unwrap(), (4, *b"here"));
}

/// A value that counts its drop, and what it is given.
fn counted() -> (Fake, Bytes, Drops) {
    let (bytes, drops) = (Bytes::default(), Drops::new());
    let (seen, token) = (bytes.clone(), drops.token());
    let value = Fake::new().writes(move |bytes| {
        let _held = &token;
        seen.add(bytes)
    });
    (value, bytes, drops)
}

#[test]
fn a_handle_may_be_dropped_at_any_time_and_loses_nothing() {
    for stage in 0..5 {
        let (pool, gate) = (pool(1, 1), Gate::new());
        let (value, bytes, drops) = counted();
        let pass = gate.clone();
        let value = value.reads(move |buffer| {
            pass.pass();
            Ok(buffer.len())
        });
        let mut file = Unblock::new(value).on(&pool);
        let busy = (stage == 1).then(|| occupy(&pool, &gate));
        if stage == 2 {
            assert!(begin_read(&mut file, &mut [0]).is_pending());
        }
        if stage > 0 {
            in_time(file.write_all(b"abc")).unwrap();
        }
        if stage == 3 {
            in_time(file.get_mut()).unwrap();
        }
        if stage == 4 {
            in_time(file.flush()).unwrap();
        }
        drop(file);
        gate.open();
        eventually("the value is dropped", || drops.count() == 1);
        assert_eq!(bytes.get(), if stage > 0 { &b"abc"[..] } else { b"" }, "stage {stage}");
        drop(busy);
        check_sound(&pool);
    }
}

#[test]
fn a_pool_that_has_ended_reads_nothing_and_writes_everything() {
    let (pool, (value, bytes, drops)) = (pool(1, 1), counted());
    let mut file = Unblock::new(value).on(&pool);
    in_time(file.write_all(b"abc")).unwrap();
    pool.shutdown().wait();
    assert_eq!(bytes.get(), b"abc");
    assert!(in_time(file.read(&mut [0])).is_err());
    in_time(file.write_all(b"def")).unwrap();
    in_time(file.flush()).unwrap();
    assert_eq!(bytes.get(), b"abcdef");
    in_time(file.write_all(b"ghi")).unwrap();
    drop(file);
    eventually("the value is dropped", || drops.count() == 1);
    assert_eq!(bytes.get(), b"abcdefghi");
}

#[test]
fn what_was_accepted_survives_a_shutdown_that_discards_and_a_full_queue() {
    for full in [false, true] {
        let limited = Pool::builder().core_threads(1).max_threads(1).queue_limit(1).build().unwrap();
        let (gate, (value, bytes, drops)) = (Gate::new(), counted());
        let mut file = Unblock::new(value).on(&limited);
        let running = occupy(&limited, &gate);
        let queued = full.then(|| limited.spawn(|| ()));
        in_time(file.write_all(b"abc")).unwrap();
        drop(file);
        let shutdown = limited.shutdown().discard_queued();
        gate.open();
        shutdown.wait();
        assert_eq!(bytes.get(), b"abc");
        eventually("the value is dropped", || drops.count() == 1);
        assert_eq!(bytes.get(), b"abc");
        drop((running, queued));
    }
}

// Origin: pitfall 26
#[test]
#[cfg(unix)]
fn in_the_child_of_a_fork_every_call_fails_and_none_hangs() {
    // The pump takes the lock again and again.
    let mut stream = Unblock::with_capacity(usize::MAX, std::iter::repeat(()));
    assert_eq!(in_time(stream.next()), Some(()));
    for _ in 0..30 {
        let status = crate::support::fork::in_child(|list| {
            list.check(in_time(stream.with_mut(|_| ())).is_err());
            list.check(in_time(stream.get_mut()).is_err());
            list.check(in_time(stream.unwritten()).is_err());
        });
        assert_eq!(status, 0);
    }
    let mut left = Some(stream);
    let status = crate::support::fork::in_child(|list| {
        drop(left.take());
        list.check(true);
    });
    assert_eq!(status, 0);
}

#[test]
fn what_is_written_to_the_standard_output_is_out_when_the_global_pool_has_ended() {
    let path = "io::wakes::what_is_written_to_the_standard_output_is_out_when_the_global_pool_has_ended";
    if std::env::var_os("SIDESTEP_TEST_CHILD").is_some() {
        let (mut out, mut err) = (sidestep::io::stdout(), sidestep::io::stderr());
        in_time(out.write_all(&[b'o'; 100_000])).unwrap();
        in_time(out.write_all(b"\na partial line")).unwrap();
        in_time(err.write_all(b"another")).unwrap();
        Pool::global().shutdown().wait();
        std::process::exit(42);
    }
    let mut command = crate::support::alone::this_program();
    let output =
        command.args([path, "--exact", "--nocapture"]).env("SIDESTEP_TEST_CHILD", "1").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(42), "{out} {err}");
    assert!(out.contains(&"o".repeat(100_000)) && out.ends_with("\na partial line"), "{}", out.len());
    assert!(err.ends_with("another"), "{err}");
}
