//! The process ends while tasks run and wait: at once, with the exit code that was asked for,
//! whoever ends it.

use std::io::Write;
use std::process::{Stdio, exit};
use std::sync::mpsc::channel;
use std::time::Duration;

use sidestep::{Dedicated, EventLoop, Pool, Strand};

use crate::child::{case, start_with};
use crate::support::{Gate, occupy};

const CODE: i32 = 7;
/// What is in full use at the end.
const WORK: [&str; 7] = ["queue", "lane", "strand", "dedicated", "loop", "stdin", "files"];

/// Leaves everything in full use behind: never ends by itself.
fn use_fully(work: &str) {
    let pool = Pool::builder().core_threads(2).max_threads(4).build().unwrap();
    let gate = Gate::new();
    match work {
        "queue" => {
            occupy(&pool, &gate).detach();
            for _ in 0..1000 {
                let inner = pool.clone();
                pool.spawn(move || inner.spawn(|| std::thread::sleep(Duration::MAX)).wait()).detach();
            }
        }
        "lane" => {
            let lane = pool.lane("narrow", 1);
            (0..100).for_each(|_| lane.spawn(|| std::thread::sleep(Duration::MAX)).detach());
            lane.options().expire_after(Duration::from_millis(1)).spawn(|| ()).detach();
        }
        "strand" => {
            let strand = Strand::on(&pool, 0);
            (0..100).for_each(|_| strand.call(|_| std::thread::sleep(Duration::MAX)).detach());
            std::mem::forget(strand);
        }
        "dedicated" => {
            let own = Dedicated::new(|| ()).unwrap();
            own.call(|()| std::thread::sleep(Duration::MAX)).detach();
            std::mem::forget(own);
        }
        "loop" => {
            let mut ev = EventLoop::on(&pool);
            ev.offload(|| std::thread::sleep(Duration::MAX), |_, _| ());
            ev.after(Duration::MAX, |_| ());
            let _ = ev.turn(Duration::ZERO);
            std::mem::forget(ev);
        }
        "stdin" => {
            // Nothing comes: the parent keeps the other end.
            let mut byte = [0];
            let mut stdin = sidestep::io::stdin();
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let reader = std::pin::Pin::new(&mut stdin);
            assert!(futures_lite::AsyncRead::poll_read(reader, &mut context, &mut byte).is_pending());
            std::mem::forget(stdin);
        }
        "files" => {
            for _ in 0..100 {
                sidestep::spawn(|| std::fs::read_dir("/").map(Iterator::count)).detach();
            }
        }
        other => unreachable!("{other}"),
    }
    std::mem::forget(pool);
}

/// Starts a child for each of [`WORK`], whose standard input stays open and empty, and judges its
/// end. In the child: what it is to do.
fn for_each_work(code: Option<i32>) -> Option<String> {
    for work in WORK {
        let Some(child) = start_with(work, |command| command.stdin(Stdio::piped())) else {
            return Some(case());
        };
        match code {
            Some(code) => child.exits(code),
            None => child.passes(),
        }
    }
    None
}

#[test]
fn main_returns_while_tasks_run() {
    // The harness returns from `main` once its only test has passed.
    if let Some(work) = for_each_work(None) {
        use_fully(&work);
    }
}

#[test]
fn exit_is_called_while_tasks_run() {
    if let Some(work) = for_each_work(Some(CODE)) {
        use_fully(&work);
        exit(CODE);
    }
}

#[test]
fn a_task_calls_exit() {
    if let Some(work) = for_each_work(Some(CODE)) {
        use_fully(&work);
        sidestep::spawn(|| exit(CODE)).wait().unwrap();
    }
}

#[test]
fn many_tasks_call_exit_at_once() {
    let Some(child) = start_with("", |command| command) else {
        let pool = Pool::builder().core_threads(8).build().unwrap();
        let gate = Gate::new();
        for _ in 0..8 {
            let pass = gate.clone();
            pool.spawn(move || {
                pass.pass();
                exit(CODE);
            })
            .detach();
        }
        gate.open();
        pool.shutdown().wait();
        unreachable!("they end the process");
    };
    child.exits(CODE);
}

#[test]
fn the_panic_of_a_task_is_none_of_the_process() {
    let Some(child) = start_with("", |command| command) else {
        std::panic::set_hook(Box::new(|_| ()));
        let panicked = sidestep::spawn(|| panic!("only this task")).wait();
        exit(if panicked.is_err_and(|error| error.is_panic()) { CODE } else { 1 });
    };
    child.exits(CODE);
}

#[test]
fn output_that_was_written_is_there_although_the_process_ends_at_once() {
    let Some(child) = start_with("", |command| command) else {
        sidestep::spawn(|| {
            std::io::stdout().write_all(b"the last words\n").unwrap();
            exit(CODE);
        })
        .detach();
        std::thread::sleep(Duration::MAX);
        return;
    };
    let end = child.end();
    assert_eq!(end.status.code(), Some(CODE));
    assert!(end.output.contains("the last words"), "{}", end.output);
}

#[test]
fn a_shutdown_with_a_timeout_lets_the_process_end() {
    if let Some(work) = for_each_work(None) {
        use_fully(&work);
        let pool = Pool::builder().max_threads(1).build().unwrap();
        let (hold, held) = channel::<()>();
        pool.spawn(move || held.recv()).detach();
        pool.spawn(|| ()).detach();
        let report = pool.shutdown().timeout(Duration::from_millis(20)).wait();
        assert!(report.still_running >= 1);
        sidestep::block_on(pool.shutdown().discard_queued().timeout(Duration::ZERO));
        std::mem::forget(hold);
    }
}

/// What runs after `main`: handlers of `atexit` use the pool like everybody else.
#[cfg(unix)]
mod handlers {
    use super::*;

    extern "C" fn handler() {
        let end = std::panic::catch_unwind(|| {
            assert_eq!(sidestep::spawn(|| 6 * 7).wait().unwrap(), 42);
            let pool = Pool::builder().core_threads(1).max_threads(1).build().unwrap();
            let inner = pool.clone();
            assert_eq!(pool.spawn(move || inner.spawn(|| 1).wait().unwrap()).wait().unwrap(), 1);
            let mut ev = EventLoop::on(&pool);
            ev.offload(|| 1, |_, one| assert_eq!(one.unwrap(), 1));
            ev.run();
            assert_eq!(pool.shutdown().wait().still_running, 0);
        });
        let words: &[u8] = if end.is_ok() { b"the handler is done\n" } else { b"the handler panicked\n" };
        // SAFETY: the bytes are valid for reading.
        unsafe { libc::write(1, words.as_ptr().cast(), words.len()) };
    }

    #[test]
    fn a_handler_of_atexit_uses_the_pool() {
        for case in ["return", "exit", "exit in a task"] {
            let Some(child) = start_with(case, |command| command) else {
                // SAFETY: `handler` may be called at any time, and does not unwind.
                assert_eq!(unsafe { libc::atexit(handler) }, 0);
                use_fully("queue");
                match super::case().as_str() {
                    "exit" => exit(0),
                    "exit in a task" => sidestep::spawn(|| exit(0)).wait().unwrap(),
                    _ => return,
                }
            };
            let end = child.end();
            assert!(end.status.success(), "{case}: {}", end.status);
            assert!(end.output.contains("the handler is done"), "{case}: {}", end.output);
        }
    }
}
