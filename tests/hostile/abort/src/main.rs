//! `panic = "abort"`: the library builds and works; a panic in a task ends the process with that
//! panic's message, and nothing else does. It runs itself again for each case that is to end so:
//! `cargo run` judges them all.
#![expect(clippy::unwrap_used, reason = "here a failed unwrap ends the process, as the case demands or not")]

use std::process::{Command, ExitCode};
use std::time::Duration;

use sidestep::{Dedicated, EventLoop, OnShutdown, Pool, Promise, Strand, TaskError, Unblock, current};

const MESSAGE: &str = "the disk is on fire";
/// A name, and what ends the process.
type Case = (&'static str, fn(&Pool));

/// A panic, wherever the pool would catch it.
const PANICS: [Case; 6] = [
    ("task", |pool| drop(pool.spawn(|| panic!("{MESSAGE}")).wait())),
    ("detached", |pool| {
        pool.spawn(|| panic!("{MESSAGE}")).detach();
        linger();
    }),
    ("lane", |pool| drop(pool.lane("narrow", 1).spawn(|| panic!("{MESSAGE}")).wait())),
    ("strand", |pool| drop(Strand::on(pool, 0).call(|_| panic!("{MESSAGE}")).wait())),
    ("callback", |pool| {
        pool.spawn(|| ()).on_complete(|_| panic!("{MESSAGE}"));
        linger();
    }),
    ("destructor", |pool| {
        pool.spawn(|| Bomb).detach();
        linger();
    }),
];

/// The process has ended before this returns, or never will by itself.
#[expect(clippy::disallowed_methods, reason = "another thread is to end the process")]
fn linger() {
    std::thread::sleep(Duration::from_secs(60));
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{MESSAGE}");
    }
}

fn main() -> ExitCode {
    const { assert!(cfg!(panic = "abort"), "built otherwise") };
    match std::env::args().nth(1) {
        Some(name) => {
            let case = PANICS.iter().find(|(case, _)| *case == name).unwrap();
            (case.1)(&Pool::new().unwrap());
            ExitCode::SUCCESS
        }
        None => judge(),
    }
}

fn judge() -> ExitCode {
    let survived: Vec<_> = PANICS.iter().filter(|(name, _)| !ends_with_the_message(name)).collect();
    for (name, _) in &survived {
        println!("{name}: it must end the process with its message");
    }
    errors_are_no_panics();
    println!("{} panics ended their process, and nothing else did", PANICS.len() - survived.len());
    ExitCode::from(u8::from(!survived.is_empty()))
}

/// Runs a case in a process of its own.
fn ends_with_the_message(name: &str) -> bool {
    let output = Command::new(std::env::current_exe().unwrap()).arg(name).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    println!("{name}: {}", output.status);
    !output.status.success() && text.matches(MESSAGE).count() == 1
}

/// Everything that ends with an error otherwise.
fn errors_are_no_panics() {
    let pool = Pool::builder().core_threads(1).max_threads(1).queue_limit(1).build().unwrap();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let (started, wait) = std::sync::mpsc::channel();
    let busy = pool.spawn(move || {
        started.send(()).unwrap();
        let _ = gate.recv();
        current::is_cancelled()
    });
    wait.recv().unwrap();
    let options = pool.options().expire_after(Duration::ZERO).on_shutdown(OnShutdown::Discard);
    assert!(options.spawn(|| ()).wait().unwrap_err().is_expired());
    let queued = pool.spawn(|| ());
    assert!(pool.spawn(|| ()).wait().unwrap_err().is_full());
    assert!(pool.try_spawn(|| ()).is_err());
    assert!(queued.cancel().wait().unwrap_err().is_cancelled());
    drop(pool.spawn(|| ()));
    let handle = busy.cancel_handle();
    handle.cancel();
    drop(go);
    assert!(busy.wait().unwrap());
    everything_works();
    assert_eq!(pool.shutdown().discard_queued().wait().still_running, 0);
    assert!(pool.spawn(|| ()).wait().unwrap_err().is_shutdown());
    assert!(pool.reserve().wait().is_err());
    assert!(Pool::builder().max_threads(0).build().is_err());
}

/// The rest of the library, with errors where there can be some.
fn everything_works() {
    let pool = Pool::builder().core_threads(2).max_threads(8).build().unwrap();
    let strand = Strand::on(&pool, 1);
    let (late, kept) = (strand.clone(), strand.call(|value| *value + 1));
    assert_eq!(kept.wait().unwrap(), 2);
    assert_eq!(strand.into_inner().wait().unwrap(), 1);
    // A call of a value that is gone is refused from inside of its own closure.
    assert!(late.call(|value| *value).wait().unwrap_err().is_shutdown());
    let none = Dedicated::try_new(|| Err::<(), _>("no device")).unwrap();
    assert!(none.wait().unwrap().is_err());
    let own = Dedicated::new(|| 1).unwrap();
    let (late, closing) = (own.clone(), own.close());
    closing.wait().unwrap();
    assert!(late.call(|one| *one).wait().unwrap_err().is_shutdown());
    let promise: Promise<i32, TaskError> = pool.promise(|| Ok(1));
    assert_eq!(promise.map(|one| one + 1).finally(|| ()).wait().unwrap(), 2);
    let failed = pool.promise(|| Err::<(), _>(TaskOrText::Text)).catch(|_| Ok::<_, TaskOrText>(()));
    assert!(failed.wait().is_ok());
    let mut ev = EventLoop::on(&pool);
    let token = ev.offload(|| (), |_, _| ());
    token.cancel();
    ev.run();
    let inner = pool.clone();
    let sum = pool.scope(|scope| scope.spawn(move || inner.spawn(|| 1).wait().unwrap()).wait().unwrap());
    assert_eq!(sum, 1);
    assert!(sidestep::block_on(sidestep::fs::read("/no such file")).is_err());
    assert_eq!(sidestep::block_on(Unblock::new(std::io::empty()).with_mut(|_| 1)).unwrap(), 1);
    let nested = pool.clone();
    assert!(pool.spawn(move || deadlock(&nested)).wait().unwrap());
    assert_eq!(pool.shutdown().wait().still_running, 0);
}

/// Two tasks of a lane with one slot, where one waits for the other from inside: told, not hung.
fn deadlock(pool: &Pool) -> bool {
    let lane = pool.lane("one", 1);
    let inner = lane.clone();
    lane.spawn(move || inner.spawn(|| ()).wait().is_err_and(|error| error.is_deadlock())).wait().unwrap()
}

/// The error of a promise.
enum TaskOrText {
    Task,
    Text,
}

impl From<TaskError> for TaskOrText {
    fn from(_: TaskError) -> Self {
        TaskOrText::Task
    }
}
