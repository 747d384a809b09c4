//! The futures of `fs`: where they may go, when they begin, what they make of a panic; and what
//! they ask of the global pool, where each test runs in a process of its own.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Waker;

use sidestep::{Pool, TaskError, block_on, fs};

use super::calls::{folder, look};
use super::hangs::{Pending, hang};
use crate::support::alone::alone_as;
use crate::support::{
    Gate, check_accounts, check_sound, eventually, nothing_happens, poll, quiet_panic, soon,
};

/// Contents that panic when they are asked for.
struct Broken;

impl AsRef<[u8]> for Broken {
    fn as_ref(&self) -> &[u8] {
        quiet_panic("no contents")
    }
}

#[test]
fn a_panic_of_the_contents_is_an_error_that_names_the_caller() {
    let dir = folder();
    let write = fs::write(dir.path().join("file"), Broken);
    let line = line!() - 1;
    let error = block_on(write).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
    let task_error = error.get_ref().unwrap().downcast_ref::<TaskError>().unwrap();
    assert!(task_error.is_panic());
    let text = task_error.to_string();
    assert!(text.contains("no contents") && text.contains(file!()), "{text}");
    assert!(text.contains(&format!(":{line}:")), "line {line}: {text}");
}

fn free<F: Future + Send + 'static>(future: F) -> F {
    future
}

#[test]
fn futures_of_owned_paths_are_send_and_borrow_nothing() {
    let dir = folder();
    let (read, copy, rename) = {
        let (path, other) = (dir.path().join("file"), dir.path().join("copy"));
        (
            free(fs::read(path.clone())),
            free(fs::copy(path, other.clone())),
            free(fs::rename(other, dir.path().join("renamed"))),
        )
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    runtime.block_on(async {
        assert_eq!(tokio::spawn(read).await.unwrap().unwrap(), b"some text\n");
        let size = std::fs::copy(dir.path().join("file"), dir.path().join("other")).unwrap();
        assert_eq!(tokio::spawn(copy).await.unwrap().unwrap(), size);
        tokio::spawn(rename).await.unwrap().unwrap();
    });
    assert!(dir.path().join("renamed").exists());
}

/// A path that may not leave its thread.
struct Tied(Rc<PathBuf>);

impl AsRef<Path> for Tied {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

#[test]
fn a_path_that_is_tied_to_its_thread_will_do() {
    let dir = folder();
    let tied = Tied(Rc::new(dir.path().join("file")));
    assert_eq!(block_on(fs::read(&tied)).unwrap(), b"some text\n");
    block_on(fs::rename(tied, dir.path().join("renamed"))).unwrap();
}

/// A path whose drop removes the file, as that of a temporary file does.
struct Removes(PathBuf);

impl Removes {
    fn file(dir: &Path) -> Self {
        let path = dir.join("removed by its guard");
        std::fs::write(&path, "kept").unwrap();
        Removes(path)
    }
}

impl AsRef<Path> for Removes {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Removes {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn an_argument_that_owns_its_path_lives_until_the_call_has_ended() {
    let dir = folder();
    let (guard, at) = (|| Removes::file(dir.path()), |name: &str| dir.path().join(name));
    let gone = || assert!(!at("removed by its guard").exists(), "the call drops its argument");
    block_on(async {
        assert_eq!(fs::read(guard()).await.unwrap(), b"kept");
        gone();
        assert_eq!(fs::read_to_string(guard()).await.unwrap(), "kept");
        assert_eq!(fs::metadata(guard()).await.unwrap().len(), 4);
        assert_eq!(fs::symlink_metadata(guard()).await.unwrap().len(), 4);
        assert!(fs::exists(guard()).await.unwrap());
        assert!(fs::try_exists(guard()).await.unwrap());
        assert!(fs::canonicalize(guard()).await.is_ok());
        let size = std::fs::copy(guard(), at("0")).unwrap();
        assert_eq!(fs::copy(guard(), at("1")).await.unwrap(), size);
        assert_eq!(fs::copy(at("1"), guard()).await.unwrap(), size);
        gone();
        fs::hard_link(guard(), at("2")).await.unwrap();
        fs::rename(guard(), at("3")).await.unwrap();
        fs::rename(at("3"), guard()).await.unwrap();
        fs::remove_file(guard()).await.unwrap();
        let permissions = std::fs::metadata(at("1")).unwrap().permissions();
        fs::set_permissions(guard(), permissions).await.unwrap();
        fs::write(guard(), "new").await.unwrap();
        gone();
        drop(fs::File::open(guard()).await.unwrap());
        drop(fs::File::create(guard()).await.unwrap());
        drop(fs::OpenOptions::new().read(true).open(guard()).await.unwrap());
        let here = fs::on(Pool::global());
        assert_eq!(here.read(guard()).await.unwrap(), b"kept");
        drop(here.open(guard()).await.unwrap());
        gone();
        let folder = tempfile::tempdir().unwrap();
        assert!(fs::read_dir(folder).await.unwrap().next_entry().await.unwrap().is_none());
        assert_eq!(fs::read(tempfile::NamedTempFile::new().unwrap()).await.unwrap(), b"");
    });
    drop(fs::read(guard()));
    gone();
}

/// A little of everything.
async fn errands(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir.join("a/b/c")).await?;
    fs::write(dir.join("a/b/c/d"), vec![7; 100_000]).await?;
    let size = std::fs::copy(dir.join("a/b/c/d"), dir.join("a/f"))?;
    assert_eq!(fs::copy(dir.join("a/b/c/d"), dir.join("a/e")).await?, size);
    fs::remove_dir_all(dir.join("a/b")).await?;
    assert_eq!(fs::read(dir.join("a/e")).await?, vec![7; 100_000]);
    fs::read_to_string(dir.join("a/b/c/d")).await.map(drop)
}

#[test]
fn every_executor_will_do() {
    let current = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let dirs = [folder(), folder(), folder(), folder()];
    let inside = dirs[3].path().to_owned();
    let ends = [
        block_on(errands(dirs[0].path())),
        current.block_on(errands(dirs[1].path())),
        multi.block_on(errands(dirs[2].path())),
        sidestep::spawn(move || block_on(errands(&inside))).wait().unwrap(),
    ];
    for end in ends {
        assert_eq!(end.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[test]
fn nothing_happens_before_the_first_poll() {
    let dir = folder();
    let path = dir.path().join("new");
    let before = look(dir.path());
    let write = fs::write(&path, "contents");
    let remove = fs::remove_dir_all(dir.path().join("full"));
    drop(fs::create_dir(&path));
    nothing_happens();
    assert_eq!(look(dir.path()), before);
    drop(remove);
    block_on(write).unwrap();
    nothing_happens();
    assert_eq!(look(dir.path()).len(), before.len() + 1);
}

type Call = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// A call whose result does not matter.
fn call<T>(future: impl Future<Output = io::Result<T>> + Send + 'static) -> Call {
    Box::pin(async { future.await.map(drop) })
}

/// Each in turn, on what the ones before have left.
fn calls(dir: &Path) -> Vec<(&'static str, Call)> {
    let at = |name: &str| dir.join(name);
    let permissions = std::fs::metadata(at("file")).unwrap().permissions();
    vec![
        ("write", call(fs::write(at("large"), vec![1; 5_000_000]))),
        ("read", call(fs::read(at("large")))),
        ("copy", call(fs::copy(at("large"), at("copy")))),
        ("read_to_string", call(fs::read_to_string(at("large")))),
        ("create_dir", call(fs::create_dir(at("one")))),
        ("create_dir_all", call(fs::create_dir_all(at("one/two/three/four")))),
        ("metadata", call(fs::metadata(at("large")))),
        ("symlink_metadata", call(fs::symlink_metadata(at("large")))),
        ("exists", call(fs::exists(at("large")))),
        ("canonicalize", call(fs::canonicalize(at("one/../large")))),
        ("set_permissions", call(fs::set_permissions(at("large"), permissions))),
        ("hard_link", call(fs::hard_link(at("large"), at("hard")))),
        ("rename", call(fs::rename(at("hard"), at("harder")))),
        ("remove_file", call(fs::remove_file(at("harder")))),
        ("OpenOptions::open", call(fs::OpenOptions::new().read(true).open(at("large")))),
        ("DirBuilder::create", call(fs::DirBuilder::new().recursive(true).create(at("five/six")))),
        ("remove_dir", call(fs::remove_dir(at("five/six")))),
        ("remove_dir_all", call(fs::remove_dir_all(at("one")))),
        #[cfg(unix)]
        ("symlink", call(fs::symlink("large", at("soft")))),
        #[cfg(unix)]
        ("read_link", call(fs::read_link(at("soft")))),
        #[cfg(unix)]
        ("chown", call(fs::chown(at("soft"), None, None))),
        #[cfg(unix)]
        ("lchown", call(fs::lchown(at("soft"), None, None))),
        #[cfg(unix)]
        ("fchown", call(fs::fchown(std::fs::File::open(at("file")).unwrap(), None, None))),
    ]
}

#[test]
fn each_call_is_one_trip() {
    alone_as("fs::futures::each_call_is_one_trip", &[], || {
        let dir = folder();
        let submitted = || Pool::global().metrics().tasks_submitted();
        drop(calls(dir.path()));
        assert_eq!(submitted(), 0, "none has been polled");
        for (name, call) in calls(dir.path()) {
            let before = submitted();
            block_on(call).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(submitted(), before + 1, "{name}");
        }
        assert!(block_on(fs::read(dir.path().join("missing"))).is_err());
        assert_eq!(submitted(), u64::try_from(calls(dir.path()).len()).unwrap() + 1, "an error, too");
    });
}

/// The calls that hang in the files of a global pool with one thread, until `gate` opens: as many
/// as run at one time.
fn full_lane(dir: &Path, gate: &Gate, queue_limit: usize) -> Vec<Pending<()>> {
    Pool::builder().core_threads(1).max_threads(1).queue_limit(queue_limit).build_global().unwrap();
    (0..5).map(|number| hang(&dir.join(format!("hung {number}")), gate)).collect()
}

#[test]
fn a_queued_call_is_taken_back() {
    alone_as("fs::futures::a_queued_call_is_taken_back", &[], || {
        let (dir, gate) = (folder(), Gate::new());
        let hung = full_lane(dir.path(), &gate, 100);
        let path = dir.path().join("new");
        let mut write = Box::pin(fs::write(&path, "contents"));
        assert!(poll(&mut write, Waker::noop()).is_pending());
        assert_eq!(Pool::global().metrics().tasks_queued(), 1);
        drop(write);
        assert_eq!(Pool::global().metrics().tasks_queued(), 0);
        gate.open();
        hung.into_iter().for_each(|write| block_on(write).unwrap());
        nothing_happens();
        assert!(!path.exists());
        assert_eq!(Pool::global().metrics().tasks_cancelled(), 1);
        check_accounts(&Pool::global().metrics());
    });
}

#[test]
fn every_kind_of_queued_call_is_taken_back() {
    alone_as("fs::futures::every_kind_of_queued_call_is_taken_back", &[], || {
        let (dir, gate) = (folder(), Gate::new());
        let hung = full_lane(dir.path(), &gate, 100);
        // The only thread of the pool is inside one of the calls.
        let lookup = call(sidestep::net::on(Pool::global()).lookup_host("localhost:80"));
        let mut calls: Vec<_> = calls(dir.path()).into_iter().chain([("lookup_host", lookup)]).collect();
        let many = u64::try_from(calls.len()).unwrap();
        for (name, call) in &mut calls {
            assert!(poll(call, Waker::noop()).is_pending(), "{name}");
        }
        assert_eq!(Pool::global().metrics().tasks_queued(), many);
        drop(calls);
        let metrics = Pool::global().metrics();
        assert_eq!((metrics.tasks_queued(), metrics.tasks_cancelled()), (0, many));
        gate.open();
        hung.into_iter().for_each(|write| block_on(write).unwrap());
        check_sound(Pool::global());
        assert!(!dir.path().join("large").exists() && !dir.path().join("one").exists());
    });
}

/// Contents that are ready when the gate opens.
struct Late {
    asked: Gate,
    ready: Gate,
}

impl AsRef<[u8]> for Late {
    fn as_ref(&self) -> &[u8] {
        self.asked.open();
        self.ready.pass();
        b"contents"
    }
}

#[test]
fn a_running_call_goes_on_to_its_end() {
    alone_as("fs::futures::a_running_call_goes_on_to_its_end", &[], || {
        let (dir, asked, ready) = (folder(), Gate::new(), Gate::new());
        let path = dir.path().join("new");
        let mut write = Box::pin(fs::write(&path, Late { asked: asked.clone(), ready: ready.clone() }));
        assert!(poll(&mut write, Waker::noop()).is_pending());
        asked.pass();
        drop(write);
        ready.open();
        eventually("the call ends", || Pool::global().metrics().tasks_running() == 0);
        assert_eq!(std::fs::read(&path).unwrap(), b"contents");
    });
}

fn refusal(error: &io::Error) -> &TaskError {
    error.get_ref().unwrap().downcast_ref().unwrap()
}

#[test]
fn a_pool_that_discards_what_is_queued_says_so() {
    alone_as("fs::futures::a_pool_that_discards_what_is_queued_says_so", &[], || {
        let (dir, gate) = (folder(), Gate::new());
        let hung = full_lane(dir.path(), &gate, 100);
        let mut calls = calls(dir.path());
        for (name, call) in &mut calls {
            assert!(poll(call, Waker::noop()).is_pending(), "{name}");
        }
        drop(Pool::global().shutdown().discard_queued());
        for (name, call) in calls {
            let error = block_on(call).unwrap_err();
            assert!(refusal(&error).is_shutdown(), "{name}: {error}");
            let text = error.to_string();
            assert!(text.contains(file!()), "{name}: {text}");
        }
        assert!(!dir.path().join("large").exists());
        gate.open();
        hung.into_iter().for_each(|write| block_on(write).unwrap());
    });
}

/// The next use of the global pool makes a new one.
#[test]
fn after_a_shutdown_of_the_global_pool_every_call_works_as_before() {
    alone_as("fs::futures::after_a_shutdown_of_the_global_pool_every_call_works_as_before", &[], || {
        let dir = folder();
        for (name, call) in calls(dir.path()) {
            Pool::global().shutdown().wait();
            block_on(call).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    });
}

#[test]
fn a_full_lane_of_files_says_so() {
    alone_as("fs::futures::a_full_lane_of_files_says_so", &[], || {
        let (dir, gate) = (folder(), Gate::new());
        let hung = full_lane(dir.path(), &gate, 1);
        let mut queued = pin!(fs::read("Cargo.toml"));
        assert!(poll(&mut queued, Waker::noop()).is_pending());
        let error = block_on(fs::read("Cargo.toml")).unwrap_err();
        assert!(refusal(&error).is_full(), "{error}");
        let general = Pool::global().try_spawn(|| ()).expect("its queue is another one");
        gate.open();
        soon(general).unwrap();
        block_on(queued).unwrap();
        hung.into_iter().for_each(|write| block_on(write).unwrap());
        assert!(block_on(fs::read("Cargo.toml")).is_ok());
    });
}

#[test]
fn an_impossible_pool_says_why() {
    let environment = [("SIDESTEP_MAX_THREADS", "none")];
    alone_as("fs::futures::an_impossible_pool_says_why", &environment, || {
        let error = block_on(fs::read("Cargo.toml")).unwrap_err();
        assert!(refusal(&error).is_no_thread(), "{error}");
        assert!(error.to_string().contains("SIDESTEP_MAX_THREADS"), "{error}");
    });
}
