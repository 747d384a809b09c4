//! What is shown of things: by `Debug`, in logs and failed assertions, and by the sentences and
//! kinds of errors.

use std::error::Error;
use std::fmt::Debug;
use std::io::{Cursor, ErrorKind};
use std::sync::mpsc::channel;
use std::time::Duration;

use futures_util::StreamExt;
use sidestep::event_loop::Closed;
use sidestep::io::{SyncReader, SyncWriter};
use sidestep::{EventLoop, LocalPromise, Pool, Strand, Task, TaskError, Unblock, fs, io};

use crate::support::{Gate, PATIENCE, occupy, pool, soon};

#[track_caller]
fn shows(value: &dyn Debug, beginning: &str) {
    let shown = format!("{value:?}");
    assert!(shown.starts_with(beginning), "{shown}");
}

#[test]
fn pools_and_what_they_give_out() {
    let builder = Pool::builder().name("disks").max_threads(3);
    shows(&builder, "PoolBuilder { name: \"disks\"");
    assert!(format!("{builder:?}").contains("max_threads: Some(3)"), "{builder:?}");
    let pool = pool(1, 1);
    shows(&pool.options().name("scan"), "TaskOptions { name: Some(\"scan\")");
    shows(&pool.lane("sqlite", 2), "Lane { name: \"sqlite\", limit: 2");
    shows(&pool.reserve(), "Reserve {");
    shows(&pool.reserve().wait().unwrap(), "Permit {");
    let strand = Strand::on(&pool, 1);
    let options = strand.options().name("read");
    shows(&options, "CallOptions { options: TaskOptions { name: Some(\"read\")");
    assert_eq!(format!("{:?}", options.clone()), format!("{options:?}"));
    pool.shutdown().wait();
    let rejected = pool.try_spawn(|| ()).unwrap_err();
    shows(&rejected, "Rejected { error: TaskError(task ");
    assert!(rejected.source().is_none(), "the sentence says it all");
}

#[test]
fn readers_writers_streams_and_files() {
    shows(&Unblock::new(Cursor::new(vec![1, 2])), "Unblock { unread: 0");
    shows(&io::stdin(), "Stdin {");
    shows(&SyncReader::new(futures_util::io::Cursor::new([1, 2])), "SyncReader(Cursor {");
    shows(&SyncWriter::new(futures_util::io::Cursor::new([1, 2])), "SyncWriter(Cursor {");
    let mut producer = io::producer(|sink| sink.send(format!("{sink:?}")).unwrap());
    shows(&producer, "Producer { task: ");
    let sink = producer.wait_next();
    assert!(sink.as_ref().is_some_and(|sink| sink.starts_with("ItemSender { capacity: ")), "{sink:?}");
    sidestep::block_on(async {
        shows(&fs::File::open("Cargo.toml").await.unwrap(), "File { file: ");
        let mut entries = fs::read_dir("src").await.unwrap();
        shows(&entries, "ReadDir {");
        shows(&entries.next().await.unwrap().unwrap(), "DirEntry(\"src");
    });
}

#[test]
fn event_loops_and_their_promises() {
    let pool = pool(1, 1);
    let ev = EventLoop::on(&pool);
    shows(&ev, "EventLoop { handle: ");
    let remote = ev.remote();
    shows(&remote, "Remote {");
    let promise: LocalPromise<i32, TaskError> = LocalPromise::resolve(&ev, 1);
    shows(&promise, "LocalPromise { link: ");
    drop((promise, ev));
    let closed: Closed<_> = remote.post(|_| ()).unwrap_err();
    shows(&closed, "Closed {");
}

#[test]
fn a_deadlock_is_told_in_a_sentence_and_a_kind() {
    let pool = pool(1, 1);
    let (send, receive) = channel::<Task<()>>();
    let (tell, told) = channel();
    let task = pool.spawn(move || tell.send(receive.recv().unwrap().wait().unwrap_err()).unwrap());
    let id = task.id();
    send.send(task).unwrap();
    let itself = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(itself.id(), id);
    assert!(itself.to_string().ends_with("waits for itself and would do so for ever"), "{itself}");
    assert_eq!(std::io::Error::from(itself).kind(), ErrorKind::Deadlock);

    let lane = pool.lane("serial", 1);
    let inner = lane.clone();
    let lane_of_one = soon(lane.spawn(move || inner.spawn(|| ()).wait())).unwrap().unwrap_err();
    assert!(lane_of_one.to_string().contains("every slot of a lane is held"), "{lane_of_one}");
    assert_eq!(std::io::Error::from(lane_of_one).kind(), ErrorKind::Deadlock);
}

#[test]
fn an_expired_task_timed_out() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let running = occupy(&pool, &gate);
    let late = pool.options().expire_after(Duration::ZERO).spawn(|| ());
    let error = soon(late).unwrap_err();
    assert!(error.source().is_none(), "{error}");
    assert_eq!(std::io::Error::from(error).kind(), ErrorKind::TimedOut);
    gate.open();
    soon(running).unwrap();
}
