//! What takes a spawner runs there: on a pool, in a lane, or on either with options.

use std::fs as std_fs;
use std::io::{self, Cursor};
use std::pin::pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use futures_lite::future::block_on;
use futures_util::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, StreamExt};
use sidestep::{Lane, Pool, Spawner, Strand, TaskError, Unblock, fs, io as sio, net};

use crate::support::{Gate, check_sound, eventually, nothing_happens, occupy, poll, pool, soon};

/// How many tasks `lane` has had.
fn submitted(lane: &Lane) -> u64 {
    lane.metrics().tasks_submitted()
}

/// Checks that `f` makes at least one trip to `lane`.
fn uses<R>(lane: &Lane, what: &str, f: impl AsyncFnOnce() -> io::Result<R>) -> R {
    let before = submitted(lane);
    let result = block_on(f()).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(submitted(lane) > before, "{what} ran elsewhere");
    result
}

/// A name looked up, a file's size, a stream's item, by way of `spawner`.
async fn round(spawner: &impl Spawner) -> io::Result<()> {
    assert!(net::on(spawner).lookup_host("localhost:80").await?.count() > 0);
    assert!(fs::on(spawner).metadata("Cargo.toml").await?.len() > 0);
    let mut text = String::new();
    Unblock::new(Cursor::new("text")).on(spawner).read_to_string(&mut text).await?;
    assert_eq!(text, "text");
    let produced = sio::producer_with(spawner, 4, |sink| _ = sink.send(7));
    assert_eq!(produced.collect::<Vec<_>>().await, [7]);
    Ok(())
}

#[test]
fn every_kind_of_spawner_is_taken() {
    let pool = Arc::new(pool(2, 4));
    let lane = pool.lane("place", 2);
    block_on(async {
        round(&*pool).await?;
        round(&pool).await?;
        round(&&*pool).await?;
        round(&lane).await?;
        round(&Box::new(lane.clone())).await?;
        round(&pool.options().name("a round")).await?;
        round(&lane.options().expire_after(Duration::MAX)).await
    })
    .unwrap();
    // A stream ends a moment before the task that made its items.
    eventually("all have ended", || submitted(&lane) == lane.metrics().tasks_completed());
    let in_lane = submitted(&lane);
    assert!(pool.metrics().tasks_submitted() > in_lane && in_lane >= 12, "{in_lane}");
}

#[test]
fn each_function_of_fs_has_a_method_that_runs_where_it_should() {
    let (pool, dir) = (pool(2, 4), tempfile::tempdir().unwrap());
    let lane = pool.lane("files", 2);
    let fs = &fs::on(&lane);
    let at = |name: &str| dir.path().join(name);
    uses(&lane, "write", async || fs.write(at("a"), "one").await);
    assert_eq!(uses(&lane, "read", async || fs.read(at("a")).await), b"one");
    assert_eq!(uses(&lane, "read_to_string", async || fs.read_to_string(at("a")).await), "one");
    let size = std::fs::copy(at("a"), at("b")).unwrap();
    assert_eq!(uses(&lane, "copy", async || fs.copy(at("a"), at("b")).await), size);
    uses(&lane, "create_dir", async || fs.create_dir(at("d")).await);
    uses(&lane, "create_dir_all", async || fs.create_dir_all(at("e/f")).await);
    uses(&lane, "remove_dir", async || fs.remove_dir(at("d")).await);
    uses(&lane, "remove_dir_all", async || fs.remove_dir_all(at("e")).await);
    assert!(uses(&lane, "canonicalize", async || fs.canonicalize(at("a")).await).is_absolute());
    assert!(uses(&lane, "exists", async || fs.exists(at("a")).await));
    let permissions = uses(&lane, "metadata", async || fs.metadata(at("a")).await).permissions();
    assert!(uses(&lane, "symlink_metadata", async || fs.symlink_metadata(at("a")).await).is_file());
    uses(&lane, "set_permissions", async || fs.set_permissions(at("a"), permissions.clone()).await);
    uses(&lane, "rename", async || fs.rename(at("b"), at("c")).await);
    uses(&lane, "hard_link", async || fs.hard_link(at("a"), at("h")).await);
    uses(&lane, "remove_file", async || fs.remove_file(at("h")).await);
    uses(&lane, "dir_builder", async || fs.dir_builder().recursive(true).create(at("x/y")).await);
    #[cfg(unix)]
    {
        uses(&lane, "symlink", async || fs.symlink("a", at("s")).await);
        assert_eq!(uses(&lane, "read_link", async || fs.read_link(at("s")).await).to_str(), Some("a"));
        uses(&lane, "chown", async || fs.chown(at("a"), None, None).await);
        uses(&lane, "lchown", async || fs.lchown(at("s"), None, None).await);
        let file = std_fs::File::open(at("a")).unwrap();
        uses(&lane, "fchown", async || fs.fchown(&file, None, None).await);
        let before = submitted(&lane);
        assert!(block_on(fs.chroot(at("no such directory"))).is_err());
        assert!(submitted(&lane) > before);
    }
    let mut entries = uses(&lane, "read_dir", async || fs.read_dir(dir.path()).await);
    let entry = block_on(entries.next_entry()).unwrap().unwrap();
    uses(&lane, "an entry", async || entry.metadata().await);
}

#[test]
fn files_opened_through_a_handle_stay_there() {
    let (pool, dir) = (pool(2, 4), tempfile::tempdir().unwrap());
    let lane = pool.lane("files", 2);
    let fs = &fs::on(&lane);
    let path = dir.path().join("file");
    let mut file = uses(&lane, "create_new", async || fs.create_new(&path).await);
    uses(&lane, "write", async || {
        file.write_all(b"0123456789").await?;
        file.flush().await
    });
    uses(&lane, "sync_all", async || file.sync_all().await);
    uses(&lane, "set_len", async || file.set_len(5).await);
    assert_eq!(uses(&lane, "metadata", async || file.metadata().await).len(), 5);
    #[cfg(unix)]
    assert_eq!(uses(&lane, "write_at", async || file.write_at(b"ab", 3).await), 2);
    let clone = block_on(file.try_clone()).unwrap();
    uses(&lane, "a clone", async || clone.sync_data().await);
    let mut again = uses(&lane, "open", async || fs.open(&path).await);
    let mut text = String::new();
    block_on(again.read_to_string(&mut text)).unwrap();
    assert_eq!(text, if cfg!(unix) { "012ab" } else { "01234" });
    let mut options = fs.options();
    let mut file = uses(&lane, "options", async || options.read(true).write(true).open(&path).await);
    assert_eq!(block_on(file.seek(io::SeekFrom::End(0))).unwrap(), 5);
    let file = fs.file(std_fs::File::create(&path).unwrap());
    uses(&lane, "file", async || file.sync_data().await);
    drop(uses(&lane, "create", async || fs.create(&path).await));
}

#[test]
fn a_handle_may_go_before_its_futures() {
    fn later(pool: &Pool) -> impl Future<Output = io::Result<Vec<u8>>> + Send + 'static {
        let fs = fs::on(&pool.lane("gone", 1));
        let path = String::from("Cargo.toml");
        let read = fs.read(path);
        drop(fs);
        read
    }
    let pool = pool(1, 1);
    assert!(!block_on(later(&pool)).unwrap().is_empty());
}

#[test]
fn options_hold_for_all_that_is_spawned() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let hurried = pool.options().name("in a hurry").expire_after(Duration::ZERO);
    let refusal = |error: &io::Error| {
        let error: &TaskError = error.get_ref().unwrap().downcast_ref().unwrap();
        (error.is_expired(), error.to_string().contains("in a hurry"))
    };
    let error = block_on(fs::on(&hurried).read("Cargo.toml")).unwrap_err();
    assert_eq!(refusal(&error), (true, true), "{error}");
    let error = block_on(net::on(&hurried).lookup_host("localhost:80")).unwrap_err();
    assert_eq!(refusal(&error), (true, true), "{error}");
    let strand = Strand::on(&hurried, 1);
    let error = soon(strand.call(|_| ())).unwrap_err();
    assert!(error.is_expired() && error.to_string().contains("in a hurry"), "{error}");
    let error = soon(strand.options().name("at once").call(|_| ())).unwrap_err();
    assert!(error.is_expired() && error.to_string().contains("at once"), "{error}");
    gate.open();
    soon(busy).unwrap();
}

#[test]
fn a_strand_is_on_a_pool_or_in_a_lane_of_its_own() {
    let pool = pool(2, 2);
    let lane = pool.lane_builder("ledger", 1).reserve(1).build().unwrap();
    let strand = Strand::on(&lane, 40);
    assert_eq!(soon(strand.call(|value| *value + 2)).unwrap(), 42);
    assert_eq!((strand.lane().name(), submitted(&lane)), ("ledger", 1));
    let gate = Gate::new();
    let hung: Vec<_> = (0..2).map(|_| occupy(&pool, &gate)).collect();
    assert_eq!(soon(strand.call(|value| *value + 1)).unwrap(), 41, "its lane has a reserve");
    gate.open();
    hung.into_iter().for_each(|task| soon(task).unwrap());
    let wide = pool.lane("wide", 2);
    let refused = std::panic::catch_unwind(|| Strand::on(&wide, ()));
    let message = *refused.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("\"wide\"") && message.contains("limit 2"), "{message}");
}

/// What was accepted waits for the end of a pause, and must not be what keeps it.
#[test]
fn accepted_bytes_are_written_though_the_last_handle_of_their_paused_lane_goes() {
    let pool = pool(1, 2);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("written");
    for opened in [false, true] {
        let lane = pool.lane("paused", 1);
        let idle = lane.idle();
        std_fs::write(&path, "").unwrap();
        let content = || std_fs::read_to_string(&path).unwrap();
        if opened {
            let mut file = block_on(fs::on(&lane).create(&path)).unwrap();
            lane.set_limit(0).unwrap();
            block_on(file.write_all(b"kept")).unwrap();
            drop(lane);
            nothing_happens();
            assert_eq!(content(), "", "the file is a handle");
            drop(file);
        } else {
            let mut file = Unblock::new(std_fs::File::create(&path).unwrap()).on(&lane);
            lane.set_limit(0).unwrap();
            block_on(file.write_all(b"kept")).unwrap();
            drop(file);
            nothing_happens();
            assert_eq!(content(), "", "the lane is a handle");
            drop(lane);
        }
        eventually("the bytes are written", || content() == "kept");
        idle.wait();
    }
}

/// Nor does a call; what it opens is a handle again.
#[test]
fn calls_of_files_end_though_the_last_handle_of_their_paused_lane_goes() {
    let pool = pool(1, 2);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("written");
    let lane = pool.lane("paused", 1);
    lane.set_limit(0).unwrap();
    let files = fs::on(&lane);
    let (mut read, mut create) = (pin!(files.read("Cargo.toml")), pin!(files.create(&path)));
    assert!(poll(&mut read, Waker::noop()).is_pending());
    assert!(poll(&mut create, Waker::noop()).is_pending());
    nothing_happens();
    assert_eq!(lane.metrics().tasks_queued(), 2, "there are handles");
    drop((lane, files));
    assert!(!block_on(read).unwrap().is_empty());
    let mut file = block_on(create).unwrap();
    // With it the pause goes on.
    block_on(file.write_all(b"kept")).unwrap();
    nothing_happens();
    assert_eq!(std_fs::read_to_string(&path).unwrap(), "", "the file is a handle");
    drop(file);
    eventually("the bytes are written", || std_fs::read_to_string(&path).unwrap() == "kept");
    check_sound(&pool);
}
