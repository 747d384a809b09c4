//! The end of a pool on which streams wait for room, and what is written after it.

use std::io::{self, Read, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{AsyncReadExt, AsyncWriteExt};
use sidestep::{Unblock, block_on};

#[cfg(target_os = "linux")]
use super::threads;
use super::{Log, POOL, Paper, Zeros, accept, builder, full, is_pending, refusal};
use crate::support::{Gate, eventually, occupy, soon};
#[cfg(target_os = "linux")]
use crate::support::{alone::alone_as, fake::Fake, threads_called};

#[test]
fn a_shutdown_that_drains_writes_for_all_that_wait() {
    let gate = Gate::new();
    let (pool, _busy, _filler) = full(&gate);
    let paper = Paper::default();
    let (kept, dropped) = (paper.streams(&pool, 50), 50..100);
    dropped.for_each(|number| drop(paper.stream(&pool, number)));
    let shutdown = pool.shutdown();
    gate.open();
    let report = shutdown.wait();
    paper.assert_complete(100);
    paper.assert_all_by(POOL);
    assert_eq!((report.discarded, report.still_running), (0, 0), "{report:?}");
    assert!(report.completed >= 100, "{report:?}");
    assert_eq!(pool.metrics().threads(), 0);
    drop(kept);
}

#[test]
fn a_shutdown_that_discards_writes_nonetheless_and_ends_reads() {
    let gate = Gate::new();
    let (pool, busy, filler) = full(&gate);
    let paper = Paper::default();
    let mut streams = paper.streams(&pool, 100);
    let mut reader = Unblock::new(Zeros).on(&pool);
    assert!(is_pending(&mut reader));
    let shutdown = pool.shutdown().discard_queued();
    let error = block_on(reader.read(&mut [0])).unwrap_err();
    assert!(refusal(&error).is_shutdown(), "{error}");
    gate.open();
    let report = shutdown.wait();
    paper.assert_complete(100);
    paper.assert_all_by(POOL);
    assert_eq!(report.discarded, 1, "the filler: {report:?}");
    soon(busy).unwrap();
    assert!(soon(filler).unwrap_err().is_shutdown());
    for stream in &mut streams {
        block_on(stream.flush()).unwrap();
    }
}

/// The pump was queued to read; the bytes were accepted later.
#[test]
fn a_shutdown_that_discards_writes_what_was_accepted_while_a_read_was_queued() {
    let gate = Gate::new();
    let pool = builder().core_threads(1).max_threads(1).build().unwrap();
    let busy = occupy(&pool, &gate);
    let paper = Paper::default();
    let (log, reads) = (Log(paper.clone()), Zeros);
    struct Both(Zeros, Log);
    impl Read for Both {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Write for Both {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            self.1.flush()
        }
    }
    let mut stream = Unblock::new(Both(reads, log)).on(&pool);
    assert!(is_pending(&mut stream));
    accept(&mut stream, &0_u32.to_le_bytes());
    let shutdown = pool.shutdown().discard_queued();
    gate.open();
    let _ = shutdown.wait();
    paper.assert_complete(1);
    paper.assert_all_by(POOL);
    soon(busy).unwrap();
}

#[test]
fn a_shutdown_that_times_out_counts_what_waits_and_the_next_one_waits_for_it() {
    let gate = Gate::new();
    let (pool, _busy, _filler) = full(&gate);
    let paper = Paper::default();
    let streams = paper.streams(&pool, 10);
    let report = pool.shutdown().timeout(Duration::from_millis(20)).wait();
    assert_eq!(report.still_running, 12, "one that runs, one that is queued, and ten pumps: {report:?}");
    assert!(paper.lines().is_empty());
    gate.open();
    assert_eq!(pool.shutdown().wait().still_running, 0);
    paper.assert_complete(10);
    drop(streams);
}

/// The queue of a lane is as limited as that of a pool.
#[test]
fn streams_on_a_full_lane() {
    for (ends, discards) in [(false, false), (true, false), (true, true)] {
        let gate = Gate::new();
        let pool = builder().core_threads(2).max_threads(4).build().unwrap();
        let lane = pool.lane_builder("narrow", 1).queue_limit(1).build().unwrap();
        let (pass, paper) = (gate.clone(), Paper::default());
        let _busy = lane.spawn(move || pass.pass());
        eventually("it runs", || lane.metrics().tasks_running() == 1);
        let _filler = lane.spawn(|| ());
        let mut streams = paper.streams(&lane, 100);
        drop(streams.split_off(50));
        let mut reader = Unblock::new(Zeros).on(&lane);
        assert!(is_pending(&mut reader));
        soon(pool.spawn(|| ())).unwrap();
        assert!(paper.lines().is_empty());
        let shutdown = ends.then(|| pool.shutdown());
        let shutdown = if discards { shutdown.map(sidestep::Shutdown::discard_queued) } else { shutdown };
        gate.open();
        if let Some(shutdown) = shutdown {
            assert_eq!(shutdown.wait().still_running, 0);
        } else {
            assert_eq!(block_on(reader.read(&mut [0])).unwrap(), 1);
            eventually("all are written", || paper.lines().len() == 100);
            assert_eq!(paper.lines(), (0..100).collect::<Vec<_>>(), "in the order in which they came");
        }
        paper.assert_complete(100);
        paper.assert_all_by(POOL);
    }
}

/// The waits are the last to have handles of the pool.
#[test]
fn a_pool_without_other_handles_ends_when_all_is_written() {
    let gate = Gate::new();
    let (pool, busy, filler) = full(&gate);
    let paper = Paper::default();
    drop(paper.streams(&pool, 20));
    drop(pool);
    gate.open();
    eventually("all values are dropped", || paper.dropped.load(Ordering::SeqCst) == 20);
    paper.assert_complete(20);
    soon(busy).and(soon(filler)).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_accepted_after_the_end_of_the_pool_is_written_by_one_thread() {
    alone_as(
        "io::full::ends::what_is_accepted_after_the_end_of_the_pool_is_written_by_one_thread",
        &[],
        || {
            let pool = builder().core_threads(1).max_threads(1).queue_limit(1).build().unwrap();
            let _ = pool.shutdown().wait();
            eventually("the pool has no thread left", || threads_called(POOL) == 0);
            let before = threads();
            let (paper, gate) = (Paper::default(), Gate::new());
            let (held, passes) = (Gate::new(), gate.clone());
            let announce = held.clone();
            let holder = Fake::new().writes(move |bytes| {
                announce.open();
                passes.pass();
                Ok(bytes.len())
            });
            let mut holder = Unblock::new(holder).on(&pool);
            accept(&mut holder, &[0]);
            held.pass();
            let mut streams = paper.streams(&pool, 100);
            drop(streams.split_off(50));
            assert_eq!(threads(), before + 1);
            assert!(paper.lines().is_empty(), "they come one after another");
            let mut reader = Unblock::new(Zeros).on(&pool);
            let error = block_on(reader.read(&mut [0])).unwrap_err();
            assert!(refusal(&error).is_shutdown(), "{error}");
            gate.open();
            for stream in &mut streams {
                block_on(stream.flush()).unwrap();
            }
            eventually("the dropped ones have written too", || paper.lines().len() == 100);
            paper.assert_complete(100);
            paper.assert_all_by("sidestep-flush");
            eventually("the thread ends", || threads() == before);
        },
    );
}
