//! [`Fs`]: how a call of this module gets to a thread, that of a lane of the global pool or of a
//! spawner that the caller has chosen.

use std::future::Future;
use std::io;
use std::panic::Location;
use std::path::{Path, PathBuf};

use crate::pool::{SpawnTarget, Spawner};

/// The functions of this module on a spawner of your choice: a pool, a lane, or either with
/// options.
///
/// Use it to keep the files of one kind apart from all others: a network mount that may hang, a
/// slow disk. The files and directories that it opens do their work there too.
///
/// ```
/// use futures_util::AsyncReadExt;
/// use sidestep::{Pool, fs};
///
/// # sidestep::block_on(async {
/// // A mount that hangs takes four threads, and no more.
/// let mount = fs::on(&Pool::global().lane("mount", 4));
/// let mut file = mount.open("Cargo.toml").await?;
/// let mut text = String::new();
/// file.read_to_string(&mut text).await?;
/// assert_eq!(text, mount.read_to_string("Cargo.toml").await?);
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn on(spawner: &impl Spawner) -> Fs {
    Fs { target: SpawnTarget::of(spawner) }
}

/// The functions of this module, as methods that run where [`on`] says. Cheap to clone.
///
/// Each method is documented at the function of its name; [`open`](Fs::open),
/// [`create`](Fs::create), [`create_new`](Fs::create_new) and [`options`](Fs::options) at
/// [`File`](super::File). The default runs where the functions do.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until one of its functions is awaited"]
pub struct Fs {
    pub(super) target: SpawnTarget,
}

impl Default for Fs {
    fn default() -> Self {
        Fs::GLOBAL.clone()
    }
}

impl Fs {
    /// Where the functions of this module run.
    pub(super) const GLOBAL: &Self = &Fs { target: SpawnTarget::FILES };

    /// For what a task of its own keeps: without a handle to a lane that may be paused.
    pub(super) fn without_handle(&self) -> Self {
        Fs { target: self.target.without_handle() }
    }

    /// One trip to a thread, which begins with the first poll. The pool reports the caller as the
    /// place where the task was spawned.
    #[track_caller]
    pub(super) fn offload<T, F>(
        &self,
        f: F,
    ) -> impl Future<Output = io::Result<T>> + Send + 'static + use<T, F>
    where
        F: FnOnce() -> io::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let (target, site) = (self.target.clone(), Location::caller());
        async move {
            let task = target.spawn_at(f, site);
            // A call that waits for the end of a pause does not keep the lane paused.
            drop(target);
            task.await?
        }
    }

    /// [`offload`](Fs::offload) for `f` of a path. The future keeps `path` as long as the call
    /// lasts: it may be the guard of a temporary file.
    #[track_caller]
    pub(super) fn with_path<T, F, P: AsRef<Path>>(
        &self,
        path: P,
        f: F,
    ) -> impl Future<Output = io::Result<T>> + use<T, F, P>
    where
        F: FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let copy = path.as_ref().to_owned();
        let call = self.offload(move || f(copy));
        async move {
            let _kept = path;
            call.await
        }
    }

    /// [`with_path`](Fs::with_path) for `f` of two paths.
    #[track_caller]
    pub(super) fn with_paths<T, F, P: AsRef<Path>, Q: AsRef<Path>>(
        &self,
        first: P,
        second: Q,
        f: F,
    ) -> impl Future<Output = io::Result<T>> + use<T, F, P, Q>
    where
        F: FnOnce(PathBuf, PathBuf) -> io::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let copy = second.as_ref().to_owned();
        let call = self.with_path(first, move |first| f(first, copy));
        async move {
            let _kept = second;
            call.await
        }
    }
}
