//! The source files, and what of them is code.

use std::fs;
use std::path::PathBuf;

pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Source {
    /// The lines of code, without comments and blank lines.
    pub(crate) fn code(&self) -> impl Iterator<Item = &str> {
        let lines = self.text.lines().map(|line| line.split("//").next().unwrap_or(""));
        lines.filter(|line| !line.trim().is_empty())
    }

    /// The path below `src`, with `/` between its parts.
    pub(crate) fn name(&self) -> String {
        let inside = self.path.strip_prefix("src").unwrap_or(&self.path);
        inside.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
    }

    /// The top-level module that the file belongs to.
    pub(crate) fn module(&self) -> String {
        let name = self.name();
        let first = name.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first).to_owned()
    }

    pub(crate) fn is_test(&self) -> bool {
        self.path.components().any(|part| {
            let name = part.as_os_str().to_string_lossy();
            ["tests", "tests.rs", "loom_models", "loom_models.rs", "contract", "contract.rs"]
                .contains(&&*name)
        })
    }
}

/// All Rust files below a folder, in the order of their paths.
pub(crate) fn sources(below: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.ends_with("target") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(Source { text: fs::read_to_string(&path).unwrap(), path });
            }
        }
    }
    assert!(!found.is_empty(), "nothing below {below}");
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// The files of the library that are no tests. The facades are packages of their own.
pub(crate) fn library() -> Vec<Source> {
    let is_own = |source: &Source| !source.is_test() && source.module() != "facades";
    sources("src").into_iter().filter(is_own).collect()
}
