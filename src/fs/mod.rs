//! Files: `std::fs` name for name, with each call run on the global pool, or where [`on`] says.
//!
//! This module needs the feature `fs`, which is a default one.
//!
//! ```
//! use sidestep::fs;
//!
//! # sidestep::block_on(async {
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("greeting");
//! fs::write(&path, "good day").await?;
//! assert_eq!(fs::read_to_string(&path).await?, "good day");
//! assert_eq!(fs::metadata(&path).await?.len(), 8);
//! # std::io::Result::Ok(()) })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # How it works
//!
//! A function here returns a future that does nothing until it is first polled. Then it makes one
//! trip to the [global pool](crate::Pool::global), however large the file is and however deep the
//! tree: a thread of the pool calls the function of `std::fs` that has the same name. The future
//! keeps the path arguments until the call has ended: a guard that is passed by value, such as a
//! `NamedTempFile`, removes its file no sooner. So the future is `Send` and `'static` where the
//! arguments are: pass owned paths if it is to go to another task.
//!
//! All calls share a lane of the global pool that takes three quarters of its threads at most, and
//! has four threads in [reserve](crate::LaneBuilder::reserve): so files go on where closures hang
//! on every thread of the pool, and the pool goes on where a file system hangs. To keep a file
//! system that may hang from the other files, run its calls [on](on()) a lane of its own.
//!
//! Several calls in a row are cheaper in one trip of your own: `unblock(|| ..)` around the
//! functions of `std::fs`.
//!
//! # Errors
//!
//! They are those of `std::fs`. If the pool could not run the call (it is shut down, its queue is
//! full, there is no thread), the [`io::Error`](std::io::Error) wraps the pool's
//! [`TaskError`](crate::TaskError). The same holds if code of yours panics inside a call, such as
//! the `AsRef` of the contents for [`write()`]: nothing here panics.
//!
//! # Cancellation
//!
//! Dropping the future cancels a call that is still queued: then nothing has been touched. A call
//! that runs goes on to its end in the background, since no system can stop it halfway; only its
//! result is discarded.

// | file | owns |
// |---|---|
// | `contents` | functions that read or write a whole file |
// | `paths` | functions about what is at a path, and about names |
// | `dirs`, `dir_builder` | making and removing directories |
// | `unix`, `windows` | what only one family of systems has |
// | `read_dir` | the entries of a directory |
// | `open_options` | opening files |
// | `file/` | open files: reads and writes in a stream and at an offset, locks |
// | `offload` | these functions as methods of a spawner; how all of them get to a thread |

mod contents;
mod dir_builder;
mod dirs;
mod file;
mod offload;
mod open_options;
mod paths;
mod read_dir;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

pub use std::fs::{FileTimes, FileType, Metadata, Permissions};

pub use self::contents::{copy, read, read_to_string, write};
pub use self::dir_builder::DirBuilder;
pub use self::dirs::{create_dir, create_dir_all, remove_dir, remove_dir_all};
pub use self::file::File;
pub use self::offload::{Fs, on};
pub use self::open_options::OpenOptions;
pub use self::paths::{
    canonicalize, exists, hard_link, metadata, read_link, remove_file, rename, set_permissions,
    symlink_metadata, try_exists,
};
pub use self::read_dir::{DirEntry, ReadDir, read_dir};
#[cfg(unix)]
pub use self::unix::{chown, chroot, fchown, lchown, symlink};
#[cfg(windows)]
pub use self::windows::{symlink_dir, symlink_file};
pub use crate::sys::file_lock::TryLockError;
