//! The functions of `fs`: each does on disk what `std` does, with the same results and the same
//! errors.

use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sidestep::block_on;
use sidestep::fs;
use tempfile::{TempDir, tempdir};

/// What a folder for a test has in it, and what it has not.
const NAMES: &[&str] = &[
    "file",
    "not text",
    "dir",
    "full",
    "full/inner",
    "link",
    "dir link",
    "broken",
    "loop",
    "missing",
    "missing/below",
    "file/below",
    "",
    "a\0b",
];

pub(crate) fn folder() -> TempDir {
    let folder = tempdir().unwrap();
    let dir = folder.path();
    std::fs::write(dir.join("file"), "some text\n").unwrap();
    std::fs::write(dir.join("not text"), [0xFF, 0, 0xFE]).unwrap();
    std::fs::create_dir(dir.join("dir")).unwrap();
    std::fs::create_dir(dir.join("full")).unwrap();
    std::fs::write(dir.join("full/inner"), "inside").unwrap();
    #[cfg(unix)]
    for (text, link) in [("file", "link"), ("full", "dir link"), ("nothing", "broken"), ("loop", "loop")] {
        std::os::unix::fs::symlink(text, dir.join(link)).unwrap();
    }
    folder
}

/// The path of `name` in `dir`; the empty path is itself.
pub(crate) fn place(dir: &Path, name: &str) -> PathBuf {
    if name.is_empty() { PathBuf::new() } else { dir.join(name) }
}

/// Whose a file is, and how many names it has.
#[cfg(unix)]
fn owners_and_names(metadata: &fs::Metadata) -> (u32, u32, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.uid(), metadata.gid(), metadata.nlink())
}

#[cfg(not(unix))]
fn owners_and_names(_: &fs::Metadata) {}

/// All that is below `dir`: names, kinds, owners, permissions and contents.
pub(crate) fn look(dir: &Path) -> Vec<String> {
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        let contents = if metadata.is_symlink() {
            format!("{:?}", path.read_link().unwrap())
        } else if metadata.is_dir() {
            format!("{:?}", look(&path))
        } else {
            format!("{:?}", std::fs::read(&path).unwrap())
        };
        let (name, kind, permissions) = (path.file_name(), metadata.file_type(), metadata.permissions());
        let facts = format!("{kind:?} {:?} {permissions:?}", owners_and_names(&metadata));
        seen.push(format!("{name:?} {facts} {contents}"));
    }
    seen.sort();
    seen
}

/// A result as a text in which the folder has no name, and in which errors are those of the system.
pub(crate) fn tell<T: Debug>(result: io::Result<T>, dir: &Path) -> String {
    let text = format!("{:?}", result.map_err(|error| (error.kind(), error.raw_os_error())));
    // In the text of a text a backslash is two.
    let dir = format!("{:?}", dir.canonicalize().unwrap());
    text.replace(dir.trim_matches('"'), "FOLDER")
}

/// The kind, the size and the permissions.
fn facts(metadata: &fs::Metadata) -> (fs::FileType, Option<u64>, fs::Permissions) {
    (metadata.file_type(), metadata.is_file().then_some(metadata.len()), metadata.permissions())
}

/// Plays the same in two equal folders, once with `std` and once with ours, and compares what comes
/// of it.
pub(crate) fn compare<T: Debug>(
    what: &str,
    std: impl FnOnce(&Path) -> io::Result<T>,
    ours: impl AsyncFnOnce(&Path) -> io::Result<T>,
) {
    let (theirs, own) = (folder(), folder());
    let expected = tell(std(theirs.path()), theirs.path());
    let result = tell(block_on(ours(own.path())), own.path());
    assert_eq!(result, expected, "{what}");
    assert_eq!(look(own.path()), look(theirs.path()), "{what}: what is left");
}

/// Compares a function of one path for each of [`NAMES`], through `show` where results are not
/// comparable.
macro_rules! compare_at_each_name {
    ($($function:ident $(.map($show:expr))?),+ $(,)?) => {
        for name in NAMES {
            $(compare(
                &format!("{}({name:?})", stringify!($function)),
                |dir| std::fs::$function(place(dir, name)) $(.map($show))?,
                async |dir| fs::$function(place(dir, name)).await $(.map($show))?,
            );)+
        }
    };
}

/// All pairs of the names that differ most.
fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    const FEW: [&str; 9] = ["file", "dir", "full", "link", "broken", "missing", "file/below", "", "a\0b"];
    FEW.into_iter().flat_map(|one| FEW.map(|two| (one, two)))
}

/// Compares a function of two paths for each of the [`pairs`].
macro_rules! compare_at_each_pair {
    ($std:path, $ours:path) => {
        for (one, two) in pairs() {
            compare(
                &format!("{}({one:?}, {two:?})", stringify!($ours)),
                |dir| $std(place(dir, one), place(dir, two)),
                async |dir| $ours(place(dir, one), place(dir, two)).await,
            );
        }
    };
}

#[test]
fn looking_is_as_in_std() {
    compare_at_each_name!(
        canonicalize,
        exists,
        read,
        read_to_string,
        read_link,
        metadata.map(|metadata| facts(&metadata)),
        symlink_metadata.map(|metadata| facts(&metadata)),
    );
}

#[test]
fn making_and_removing_is_as_in_std() {
    compare_at_each_name!(create_dir, create_dir_all, remove_dir, remove_dir_all, remove_file);
}

#[test]
fn copies_are_as_in_std() {
    compare_at_each_pair!(std::fs::copy, fs::copy);
}

#[test]
fn hard_links_are_as_in_std() {
    compare_at_each_pair!(std::fs::hard_link, fs::hard_link);
}

#[test]
fn new_names_are_as_in_std() {
    compare_at_each_pair!(std::fs::rename, fs::rename);
}

#[cfg(unix)]
#[test]
fn symbolic_links_are_as_in_std() {
    for (text, name) in pairs() {
        compare(
            &format!("{text:?} at {name:?}"),
            |dir| std::os::unix::fs::symlink(text, place(dir, name)),
            async |dir| fs::symlink(text, place(dir, name)).await,
        );
    }
}

#[test]
fn writing_is_as_in_std() {
    for name in NAMES {
        compare(
            name,
            |dir| std::fs::write(place(dir, name), "new"),
            async |dir| fs::write(place(dir, name), "new").await,
        );
    }
}

#[test]
fn permissions_are_as_in_std() {
    // A directory with the permissions of a file could not be looked into.
    for name in NAMES.iter().filter(|name| !["dir", "full", "dir link"].contains(name)) {
        let mut permissions = std::fs::metadata("Cargo.toml").unwrap().permissions();
        permissions.set_readonly(true);
        compare(
            name,
            |dir| std::fs::set_permissions(place(dir, name), permissions.clone()),
            async |dir| fs::set_permissions(place(dir, name), permissions.clone()).await,
        );
    }
}

#[cfg(unix)]
#[test]
fn bits_of_the_mode_are_set_and_copied() {
    use std::os::unix::fs::PermissionsExt;
    let dir = folder();
    let (file, copy) = (dir.path().join("file"), dir.path().join("copy"));
    for mode in [0o600, 0o751, 0o444] {
        block_on(fs::set_permissions(&file, fs::Permissions::from_mode(mode))).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, mode);
        let _ = std::fs::remove_file(&copy);
        assert_eq!(block_on(fs::copy(&file, &copy)).unwrap(), 10);
        assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o7777, mode);
    }
    let inner = dir.path().join("dir");
    block_on(fs::set_permissions(&inner, fs::Permissions::from_mode(0o1700))).unwrap();
    assert_eq!(inner.metadata().unwrap().permissions().mode() & 0o7777, 0o1700);
}

#[cfg(unix)]
#[test]
fn owners_are_as_in_std() {
    use std::os::unix::fs as unix;
    for name in NAMES {
        for (uid, gid) in [(None, None), (Some(1), None), (None, Some(1))] {
            compare(
                name,
                |dir| unix::chown(place(dir, name), uid, gid),
                async |dir| fs::chown(place(dir, name), uid, gid).await,
            );
            compare(
                name,
                |dir| unix::lchown(place(dir, name), uid, gid),
                async |dir| fs::lchown(place(dir, name), uid, gid).await,
            );
        }
    }
    for (uid, gid) in [(None, None), (Some(1), None), (None, Some(1))] {
        compare(
            "fchown",
            |dir| unix::fchown(std::fs::File::open(dir.join("file"))?, uid, gid),
            async |dir| fs::fchown(std::fs::File::open(dir.join("file"))?, uid, gid).await,
        );
    }
}

#[cfg(unix)]
#[test]
fn a_descriptor_may_be_closed_before_its_owner_is_changed() {
    use std::os::unix::fs::MetadataExt;
    let dir = folder();
    let path = dir.path().join("file");
    let group = path.metadata().unwrap().gid();
    let file = std::fs::File::open(&path).unwrap();
    let change = fs::fchown(&file, None, Some(group));
    drop(file);
    block_on(change).unwrap();
}

#[cfg(unix)]
#[test]
fn another_root_takes_a_directory() {
    for name in ["missing", "file", "", "a\0b"] {
        compare(
            name,
            |dir| std::os::unix::fs::chroot(place(dir, name)),
            async |dir| fs::chroot(place(dir, name)).await,
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn names_need_not_be_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let dir = folder();
    let (one, two) =
        (dir.path().join(OsStr::from_bytes(b"caf\xE9")), dir.path().join(OsStr::from_bytes(b"\xFF")));
    block_on(async {
        fs::write(&one, "au lait").await.unwrap();
        fs::rename(&one, &two).await.unwrap();
        assert!(!fs::exists(&one).await.unwrap());
        assert_eq!(fs::read_to_string(&two).await.unwrap(), "au lait");
        assert_eq!(fs::canonicalize(&two).await.unwrap().file_name(), two.file_name());
        fs::symlink(two.file_name().unwrap(), &one).await.unwrap();
        assert_eq!(fs::read_link(&one).await.unwrap().as_os_str().as_bytes(), b"\xFF");
    });
}

#[test]
fn a_path_with_a_nul_is_invalid() {
    let error = block_on(fs::read("a\0b")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn contents_can_be_of_many_types() {
    let dir = folder();
    let path = dir.path().join("file");
    let path = path.as_path();
    let check = || assert_eq!(std::fs::read(path).unwrap(), b"new");
    block_on(async {
        fs::write(path, "new").await.map(|()| check()).unwrap();
        fs::write(path, b"new").await.map(|()| check()).unwrap();
        fs::write(path, *b"new").await.map(|()| check()).unwrap();
        fs::write(path, String::from("new")).await.map(|()| check()).unwrap();
        fs::write(path, b"new".to_vec()).await.map(|()| check()).unwrap();
        fs::write(path, Box::<[u8]>::from(*b"new")).await.map(|()| check()).unwrap();
        fs::write(path, Arc::<[u8]>::from(*b"new")).await.map(|()| check()).unwrap();
        fs::write(path, std::borrow::Cow::Borrowed(&b"new"[..])).await.map(|()| check()).unwrap();
        fs::write(path, []).await.unwrap();
    });
    assert_eq!(std::fs::read(path).unwrap(), b"");
}
