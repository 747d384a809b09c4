//! Finds the regular files of a tree. Blocks, as every walk of a file system does.

use std::{
    io,
    path::{Path, PathBuf},
};

use walkdir::{DirEntry, WalkDir};

/// A regular file that the walk has come across.
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// What its directory says; only the progress bar relies on it.
    pub(crate) len: u64,
}

/// Something in the tree that could not be read.
pub(crate) struct Failure {
    pub(crate) path: PathBuf,
    pub(crate) error: io::Error,
}

/// Walks the tree in order of names, without following symbolic links below `root`.
pub(crate) fn files(root: &Path) -> impl Iterator<Item = Result<Found, Failure>> {
    WalkDir::new(root).sort_by_file_name().into_iter().filter_map(|entry| match entry {
        Ok(entry) if is_file(&entry) => {
            let len = entry.metadata().map_or(0, |metadata| metadata.len());
            Some(Ok(Found { path: entry.into_path(), len }))
        }
        Ok(_) => None,
        Err(error) => Some(Err(failure(error))),
    })
}

/// A link counts only where it is the root: then it is what the user asked for.
fn is_file(entry: &DirEntry) -> bool {
    entry.file_type().is_file() || (entry.depth() == 0 && entry.path().is_file())
}

fn failure(error: walkdir::Error) -> Failure {
    let path = error.path().unwrap_or(Path::new("")).to_path_buf();
    let error = error.into_io_error().unwrap_or_else(|| io::Error::other("the directory contains itself"));
    Failure { path, error }
}
