//! The futures of `fs`: where they may go, when they begin, what they make of a panic.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sidestep::block_on;
use sidestep::{TaskError, fs};

use crate::fs::calls::{folder, look};
use crate::support::{nothing_happens, quiet_panic};

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

/// A path that may not leave its thread.
struct Tied(Rc<PathBuf>);

impl AsRef<Path> for Tied {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

fn free<F: Future + Send + 'static>(future: F) -> F {
    future
}

#[test]
fn futures_are_send_and_borrow_nothing_whatever_the_path() {
    let dir = folder();
    let (read, copy, rename) = {
        let path = dir.path().join("file");
        let tied = Tied(Rc::new(dir.path().join("copy")));
        (
            free(fs::read(&path)),
            free(fs::copy(path.as_path(), &tied)),
            free(fs::rename(tied, dir.path().join("renamed"))),
        )
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    runtime.block_on(async {
        assert_eq!(tokio::spawn(read).await.unwrap().unwrap(), b"some text\n");
        assert_eq!(tokio::spawn(copy).await.unwrap().unwrap(), 10);
        tokio::spawn(rename).await.unwrap().unwrap();
    });
    assert!(dir.path().join("renamed").exists());
}

/// A little of everything.
async fn errands(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir.join("a/b/c")).await?;
    fs::write(dir.join("a/b/c/d"), vec![7; 100_000]).await?;
    assert_eq!(fs::copy(dir.join("a/b/c/d"), dir.join("a/e")).await?, 100_000);
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
