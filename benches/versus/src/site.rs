//! What a scenario of files finds when it begins: a runtime, a folder with files, and how much
//! there is to do.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::driver::{Driver, Flavor};

/// The place of one run, in a process of its own.
pub(crate) struct Site {
    pub(crate) driver: Driver,
    /// How many tasks are to be measured.
    pub(crate) tasks: usize,
    /// How many are to run before.
    pub(crate) warm_up: usize,
    folder: Folder,
}

/// Where the files are. They are made by the first run that wants them, and so are in the page
/// cache.
enum Folder {
    /// All runs use the same files.
    Shared(PathBuf),
    /// This run is alone.
    Own(TempDir),
}

impl Site {
    pub(crate) fn new(flavor: Flavor, shared: Option<&Path>, tasks: usize, warm_up: usize) -> Result<Self> {
        let folder = match shared {
            Some(folder) => Folder::Shared(folder.to_owned()),
            None => Folder::Own(tempfile::tempdir()?),
        };
        let driver = Driver::untuned(flavor).context("the runtime does not start")?;
        Ok(Self { driver, tasks, warm_up, folder })
    }

    fn folder(&self) -> &Path {
        match &self.folder {
            Folder::Shared(folder) => folder,
            Folder::Own(folder) => folder.path(),
        }
    }

    /// Where a run may put a file of its own. It is to remove it.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder().join("scratch")
    }

    /// A file of so many bytes.
    pub(crate) fn file(&self, bytes: usize) -> Result<PathBuf> {
        self.once(&format!("file-{bytes}"), |path| {
            let piece = [7; 1 << 16];
            let mut file = File::create(path)?;
            let mut left = bytes;
            while left > 0 {
                let length = left.min(piece.len());
                file.write_all(&piece[..length])?;
                left -= length;
            }
            // Otherwise the system would do that later, beside other runs.
            file.sync_all()
        })
    }

    /// A folder of so many files of so many bytes, whose names are numbers.
    pub(crate) fn files(&self, count: usize, bytes: usize) -> Result<PathBuf> {
        self.once(&format!("files-{count}-{bytes}"), |path| {
            fs::create_dir(path)?;
            let content = vec![7; bytes];
            (0..count).try_for_each(|n| fs::write(path.join(n.to_string()), &content))
        })
    }

    /// Makes it, unless it has been made. What a run that was killed left half done is made anew.
    fn once(&self, name: &str, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<PathBuf> {
        let (path, draft) = (self.folder().join(name), self.folder().join("draft"));
        if !path.exists() {
            if draft.is_dir() {
                fs::remove_dir_all(&draft)?;
            }
            make(&draft)
                .and_then(|()| fs::rename(&draft, &path))
                .with_context(|| format!("cannot make {name}"))?;
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_made_once_and_anew_only_if_half_done() {
        let folder = tempfile::tempdir().unwrap();
        let site = Site::new(Flavor::NoRuntime, Some(folder.path()), 1, 1).unwrap();
        fs::create_dir(folder.path().join("draft")).unwrap();
        let files = site.files(3, 10).unwrap();
        assert_eq!(fs::read(files.join("2")).unwrap(), [7; 10]);
        assert_eq!(fs::read_dir(&files).unwrap().count(), 3);

        let file = site.file((1 << 16) + 1).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().len(), (1 << 16) + 1);
        fs::write(&file, "as it was").unwrap();
        assert_eq!(fs::read(site.file((1 << 16) + 1).unwrap()).unwrap(), b"as it was");
    }

    #[test]
    fn a_run_that_is_alone_cleans_up() {
        let site = Site::new(Flavor::NoRuntime, None, 1, 1).unwrap();
        let file = site.file(1).unwrap();
        drop(site);
        assert!(!file.exists());
    }
}
