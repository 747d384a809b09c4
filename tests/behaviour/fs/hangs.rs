//! Files, standard streams and name lookups while something hangs: closures on all threads of the
//! pool, one of the three, or a mount. Each test has a global pool of its own.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::Waker;
use std::thread;
use std::time::Duration;

use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt};
use sidestep::{Pool, Task, Unblock, block_on, current, fs, net};

use super::calls::folder;
use crate::support::alone::alone_as;
use crate::support::{Gate, eventually, nothing_happens, occupy, poll, soon};

/// Contents that come once the gate is open: like a mount that hangs.
struct Late(Gate, Gate);

impl AsRef<[u8]> for Late {
    fn as_ref(&self) -> &[u8] {
        self.0.open();
        self.1.pass();
        b"late"
    }
}

pub(super) type Pending<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// A call of `fs` that has begun on some thread and hangs until `gate` opens.
pub(super) fn hang(path: &Path, gate: &Gate) -> Pending<()> {
    let begun = Gate::new();
    let mut write: Pending<()> = Box::pin(fs::write(path, Late(begun.clone(), gate.clone())));
    assert!(poll(&mut write, Waker::noop()).is_pending());
    begun.pass();
    write
}

/// `f` to its end on a thread of its own, in time.
fn in_time<T: Send + 'static>(what: &str, f: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = thread::spawn(f);
    eventually(what, || {
        thread::park_timeout(Duration::from_millis(1));
        thread.is_finished()
    });
    thread.join().unwrap()
}

fn files_go_on() {
    in_time("files go on", || {
        block_on(async {
            let dir = tempfile::tempdir()?;
            let path = dir.path().join("file");
            fs::write(&path, "0123456789").await?;
            assert_eq!(fs::read(&path).await?, b"0123456789");
            assert_eq!(fs::metadata(&path).await?.len(), 10);
            let mut file = fs::File::options().read(true).append(true).open(&path).await?;
            file.write_all(b"ab").await?;
            file.flush().await?;
            file.sync_data().await?;
            let mut text = String::new();
            fs::File::open(&path).await?.read_to_string(&mut text).await?;
            assert_eq!(text, "0123456789ab");
            assert_eq!(fs::read_dir(dir.path()).await?.count().await, 1);
            fs::remove_file(&path).await
        })
        .unwrap();
    });
}

fn streams_go_on() {
    in_time("streams go on", || {
        block_on(async {
            sidestep::io::stdout().write_all(b"out\n").await?;
            let mut err = sidestep::io::stderr();
            err.write_all(b"err\n").await?;
            err.flush().await?;
            let mut out = sidestep::io::stdout();
            out.write_all(b"out again\n").await?;
            out.flush().await
        })
        .unwrap();
    });
}

fn lookups_go_on() {
    in_time("lookups go on", || assert!(block_on(net::lookup_host("localhost:80")).unwrap().count() > 0));
}

fn all_go_on() {
    files_go_on();
    streams_go_on();
    lookups_go_on();
}

/// A global pool of so many threads.
fn global(max: usize) -> &'static Pool {
    Pool::builder().core_threads(1).max_threads(max).build_global().unwrap()
}

/// A closure that hangs in one of several ways, by number.
fn hang_closure(pool: &Pool, number: usize, gate: &Gate) -> Task<()> {
    let (gate, started) = (gate.clone(), Gate::new());
    let announce = started.clone();
    let task = match number % 4 {
        0 => return occupy(pool, &gate),
        1 => pool.spawn(move || {
            announce.open();
            current::will_block(|| gate.pass());
        }),
        2 => pool.spawn(move || {
            announce.open();
            while !gate.is_open() {
                std::hint::spin_loop();
            }
        }),
        _ => {
            pool.spawn(|| ()).on_complete(move |_| {
                announce.open();
                gate.pass();
            });
            pool.spawn(|| ())
        }
    };
    started.pass();
    task
}

#[test]
fn all_three_go_on_while_closures_hang_on_every_thread() {
    alone_as("fs::hangs::all_three_go_on_while_closures_hang_on_every_thread", &[], || {
        let (pool, gate) = (global(4), Gate::new());
        let hung: Vec<_> = (0..4).map(|number| hang_closure(pool, number, &gate)).collect();
        let general = pool.spawn(|| ());
        all_go_on();
        assert!(!general.is_finished());
        let metrics = pool.metrics();
        assert!(metrics.threads() == 4 && metrics.reserve_threads() <= 4 + 2 + 2, "{metrics:?}");
        gate.open();
        hung.into_iter().chain([general]).for_each(|task| soon(task).unwrap());
    });
}

#[test]
fn all_three_go_on_beside_the_only_thread_whatever_it_does() {
    const PATH: &str = "fs::hangs::all_three_go_on_beside_the_only_thread_whatever_it_does";
    for number in ["0", "1", "2", "3"] {
        alone_as(PATH, &[("HANG", number)], || {
            let number: usize = std::env::var("HANG").unwrap().parse().unwrap();
            let (pool, gate) = (global(1), Gate::new());
            let hung = hang_closure(pool, number, &gate);
            all_go_on();
            gate.open();
            soon(hung).unwrap();
        });
        if std::env::var_os("HANG").is_some() {
            return;
        }
    }
}

#[test]
fn closures_that_wait_for_files_themselves_end_on_a_full_pool() {
    alone_as("fs::hangs::closures_that_wait_for_files_themselves_end_on_a_full_pool", &[], || {
        let pool = global(2);
        let read = || block_on(fs::read("Cargo.toml")).unwrap().len();
        let tasks: Vec<_> = (0..8).map(|_| pool.spawn(read)).collect();
        tasks.into_iter().for_each(|task| assert!(soon(task).unwrap() > 0));
    });
}

#[test]
fn files_that_hang_stop_neither_streams_nor_lookups_nor_closures() {
    alone_as("fs::hangs::files_that_hang_stop_neither_streams_nor_lookups_nor_closures", &[], || {
        let (pool, dir, gate) = (global(8), folder(), Gate::new());
        // Three quarters of the threads, and no more.
        let hung: Vec<_> = (0..6).map(|number| hang(&dir.path().join(format!("{number}")), &gate)).collect();
        let mut more: Pending<Vec<u8>> = Box::pin(fs::read("Cargo.toml"));
        assert!(poll(&mut more, Waker::noop()).is_pending());
        streams_go_on();
        lookups_go_on();
        for _ in 0..10 {
            soon(pool.spawn(|| ())).unwrap();
        }
        nothing_happens();
        assert!(poll(&mut more, Waker::noop()).is_pending(), "the limit holds");
        gate.open();
        assert!(!block_on(more).unwrap().is_empty());
        hung.into_iter().for_each(|write| block_on(write).unwrap());
    });
}

#[test]
fn files_that_hang_beyond_their_reserve_go_on_as_one_of_them_ends() {
    alone_as("fs::hangs::files_that_hang_beyond_their_reserve_go_on_as_one_of_them_ends", &[], || {
        let (pool, dir, gate) = (global(1), folder(), Gate::new());
        let busy = occupy(pool, &gate);
        let gates: Vec<_> = (0..4).map(|_| Gate::new()).collect();
        let begin = |(number, gate)| hang(&dir.path().join(format!("{number}")), gate);
        let mut hung: Vec<_> = gates.iter().enumerate().map(begin).collect();
        let mut more: Pending<Vec<u8>> = Box::pin(fs::read("Cargo.toml"));
        assert!(poll(&mut more, Waker::noop()).is_pending());
        streams_go_on();
        lookups_go_on();
        nothing_happens();
        assert!(poll(&mut more, Waker::noop()).is_pending(), "four threads are in reserve");
        assert_eq!((pool.metrics().threads(), pool.metrics().reserve_threads() >= 4), (1, true));
        gates[2].open();
        block_on(hung.remove(2)).unwrap();
        assert!(!block_on(more).unwrap().is_empty());
        files_go_on();
        gates.iter().chain([&gate]).for_each(Gate::open);
        hung.into_iter().for_each(|write| block_on(write).unwrap());
        soon(busy).unwrap();
    });
}

#[test]
fn streams_of_values_on_the_pool_itself_hang_with_it() {
    alone_as("fs::hangs::streams_of_values_on_the_pool_itself_hang_with_it", &[], || {
        let (pool, gate) = (global(1), Gate::new());
        let busy = occupy(pool, &gate);
        let mut stream = Unblock::new(io::Cursor::new("text"));
        let mut text = String::new();
        {
            let mut read = std::pin::pin!(stream.read_to_string(&mut text));
            nothing_happens();
            assert!(poll(&mut read, Waker::noop()).is_pending(), "it is general work");
            gate.open();
            block_on(read).unwrap();
        }
        assert_eq!(text, "text");
        soon(busy).unwrap();
    });
}

#[test]
fn the_limits_follow_the_pool() {
    alone_as("fs::hangs::the_limits_follow_the_pool", &[], || {
        let (pool, dir, gate) = (global(1), folder(), Gate::new());
        let at = |number: usize| dir.path().join(format!("{number}"));
        let mut hung: Vec<_> = (0..5).map(|number| hang(&at(number), &gate)).collect();
        let begun = Gate::new();
        let mut sixth: Pending<()> = Box::pin(fs::write(at(5), Late(begun.clone(), gate.clone())));
        assert!(poll(&mut sixth, Waker::noop()).is_pending());
        nothing_happens();
        assert!(!begun.is_open());
        pool.set_max_threads(16).unwrap();
        begun.pass();
        hung.push(sixth);
        hung.extend((6..12).map(|number| hang(&at(number), &gate)));
        gate.open();
        hung.into_iter().for_each(|write| block_on(write).unwrap());
        pool.set_max_threads(1).unwrap();
        files_go_on();
    });
}
