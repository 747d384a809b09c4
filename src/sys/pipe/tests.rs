//! Tests of pipes.

use std::any::TypeId;
use std::io::Read;

use super::{PipeTypes, StdPipes, ended_pipe};

/// The compiler of the tests has them.
#[test]
fn the_types_are_those_of_std() {
    assert_eq!(TypeId::of::<<StdPipes as PipeTypes>::Reader>(), TypeId::of::<std::io::PipeReader>());
    assert_eq!(TypeId::of::<<StdPipes as PipeTypes>::Writer>(), TypeId::of::<std::io::PipeWriter>());
}

#[test]
fn a_pipe_at_its_end_has_nothing_and_takes_nothing() {
    use std::io::Write;

    let mut pipe = ended_pipe().unwrap();
    for _ in 0..3 {
        assert_eq!(pipe.read(&mut [0; 8]).unwrap(), 0);
    }
    assert!(pipe.write(b"lost").is_err());
    // On Windows a pipe has no metadata.
    #[cfg(all(unix, not(miri)))]
    assert!(!pipe.metadata().unwrap().is_file());
}

/// No end is left behind: neither the other one of a pipe that was made, nor one of a pipe that
/// was dropped.
#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn each_pipe_leaves_one_descriptor_and_no_other() {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    let pipe = ended_pipe().unwrap();
    let inode = pipe.metadata().unwrap().ino();
    let name = format!("pipe:[{inode}]");
    let open: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| entry.ok())
        .filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy() == name))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(open, [pipe.as_raw_fd().to_string()]);
}

#[cfg(target_os = "linux")]
#[test]
fn no_child_has_it() {
    use std::os::fd::AsRawFd;

    let pipe = ended_pipe().unwrap();
    // SAFETY: the descriptor is open, and the call takes no pointer.
    let flags = unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_GETFD) };
    assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
}
