//! `OpenOptions` and `DirBuilder`: what they do is what those of `std` do.

use std::path::Path;

use sidestep::block_on;
use sidestep::fs::{DirBuilder, OpenOptions};

use crate::fs::calls::{compare, folder, place};

/// All combinations of the six switches.
fn switches() -> impl Iterator<Item = [bool; 6]> {
    (0..64_u8).map(|bits| std::array::from_fn(|bit| bits & (1 << bit) != 0))
}

fn std_options([read, write, append, truncate, create, new]: [bool; 6]) -> std::fs::OpenOptions {
    let mut options = std::fs::OpenOptions::new();
    options.read(read).write(write).append(append).truncate(truncate).create(create).create_new(new);
    options
}

fn options([read, write, append, truncate, create, new]: [bool; 6]) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(read).write(write).append(append).truncate(truncate).create(create).create_new(new);
    options
}

/// How the file at `path` is open in this process: the flags of its descriptor.
#[cfg(target_os = "linux")]
fn flags(path: &Path) -> Option<String> {
    let path = path.canonicalize().unwrap();
    let open = std::fs::read_dir("/proc/self/fd").unwrap().map(Result::unwrap);
    let found = open.into_iter().find(|fd| std::fs::read_link(fd.path()).is_ok_and(|there| there == path))?;
    let info = Path::new("/proc/self/fdinfo").join(found.file_name());
    let info = std::fs::read_to_string(info).unwrap();
    info.lines().find(|line| line.starts_with("flags:")).map(str::to_owned)
}

#[cfg(not(target_os = "linux"))]
fn flags(_: &Path) -> Option<String> {
    None
}

#[test]
fn each_combination_opens_as_in_std() {
    for switches in switches() {
        for name in ["file", "missing", "dir", "broken", ""] {
            compare(
                &format!("{switches:?} {name}"),
                |dir| {
                    let file = std_options(switches).open(place(dir, name));
                    file.map(|file| (flags(&place(dir, name)), drop(file)).0)
                },
                async |dir| {
                    let file = options(switches).open(place(dir, name)).await;
                    file.map(|file| (flags(&place(dir, name)), drop(file)).0)
                },
            );
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn flags_are_those_of_the_open_file() {
    let dir = folder();
    let path = dir.path().join("file");
    assert_eq!(flags(&path), None);
    let file = block_on(OpenOptions::new().append(true).open(&path)).unwrap();
    assert!(flags(&path).unwrap().ends_with("2001"), "O_APPEND and O_WRONLY");
    drop(file);
}

#[test]
fn options_of_std_can_be_used() {
    let dir = folder();
    for switches in switches() {
        let path = dir.path().join(format!("{switches:?}"));
        let file = block_on(OpenOptions::from(std_options(switches)).open(&path));
        assert_eq!(file.is_ok(), path.exists(), "{switches:?}");
    }
}

#[test]
fn options_can_be_used_again_and_changed_meanwhile() {
    let dir = folder();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    let first = options.open(&one);
    let second = options.clone().open(&two);
    options.write(false).create(false);
    block_on(async {
        first.await.unwrap();
        second.await.unwrap();
    });
    assert!(one.exists() && two.exists());
}

#[test]
fn nothing_is_on_from_the_start() {
    for options in [OpenOptions::new(), OpenOptions::default()] {
        assert_eq!(format!("{options:?}"), format!("{:?}", OpenOptions::from(std::fs::OpenOptions::new())));
    }
}

#[cfg(unix)]
#[test]
fn modes_and_flags_are_as_in_std() {
    use std::os::unix::fs::OpenOptionsExt;
    for mode in [0o600, 0o666, 0o444, 0o777, 0o1755] {
        compare(
            &format!("{mode:o}"),
            |dir| {
                let mut options = std::fs::OpenOptions::new();
                options.write(true).create(true).mode(mode).open(dir.join("missing")).map(drop)
            },
            async |dir| {
                let mut options = OpenOptions::new();
                options.write(true).create(true).mode(mode).open(dir.join("missing")).await.map(drop)
            },
        );
    }
    for custom in [libc::O_NOFOLLOW, libc::O_DIRECTORY] {
        for name in ["file", "link", "dir", "dir link"] {
            compare(
                &format!("{custom:o} {name}"),
                |dir| {
                    let mut options = std::fs::OpenOptions::new();
                    options.read(true).custom_flags(custom).open(dir.join(name)).map(drop)
                },
                async |dir| {
                    let mut options = OpenOptions::new();
                    options.read(true).custom_flags(custom).open(dir.join(name)).await.map(drop)
                },
            );
        }
    }
}

#[test]
fn directories_are_made_as_in_std() {
    for recursive in [false, true] {
        for name in
            ["missing", "missing/below/it", "dir", "file", "file/below", "full/a/b", "broken", "", "a\0b"]
        {
            compare(
                &format!("{recursive} {name}"),
                |dir| std::fs::DirBuilder::new().recursive(recursive).create(place(dir, name)),
                async |dir| DirBuilder::new().recursive(recursive).create(place(dir, name)).await,
            );
        }
    }
}

#[cfg(unix)]
#[test]
fn modes_of_directories_are_as_in_std() {
    use std::os::unix::fs::DirBuilderExt;
    for mode in [0o700, 0o777, 0o755, 0o1777] {
        compare(
            &format!("{mode:o}"),
            |dir| std::fs::DirBuilder::new().recursive(true).mode(mode).create(dir.join("a/b")),
            async |dir| DirBuilder::new().recursive(true).mode(mode).create(dir.join("a/b")).await,
        );
    }
}

#[test]
fn a_builder_can_be_used_again_and_changed_meanwhile() {
    let dir = folder();
    let (one, two) = (dir.path().join("a/b"), dir.path().join("c/d"));
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    let first = builder.create(&one);
    let second = builder.clone().create(&two);
    builder.recursive(false);
    block_on(async {
        first.await.unwrap();
        second.await.unwrap();
        builder.create(dir.path().join("e/f")).await.unwrap_err();
    });
    assert!(one.is_dir() && two.is_dir());
}
