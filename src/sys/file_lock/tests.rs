//! Tests of the locks of open files, beside those of `std`.
#![expect(clippy::unwrap_used, reason = "in a test, helpers included, an unwrap is an assertion")]

use std::fs::File;
use std::io::ErrorKind;

use super::{TryLockError, convert, try_lock, unlock};

/// Two open files of one path.
fn two() -> (File, File) {
    let file = tempfile::NamedTempFile::new().unwrap();
    (file.reopen().unwrap(), file.reopen().unwrap())
}

#[test]
fn a_lock_keeps_out_what_it_does_not_go_with() {
    let (one, two) = two();
    for (held, wanted, goes) in
        [(true, true, false), (true, false, false), (false, true, false), (false, false, true)]
    {
        try_lock(&one, held).unwrap();
        let tried = try_lock(&two, wanted);
        assert_eq!(tried.is_ok(), goes, "{held} {wanted}");
        match tried {
            Ok(()) => unlock(&two).unwrap(),
            Err(error) => assert!(matches!(error, TryLockError::WouldBlock), "{error:?}"),
        }
        unlock(&one).unwrap();
        try_lock(&two, wanted).unwrap();
        unlock(&two).unwrap();
    }
}

/// They are the same locks.
#[test]
fn the_locks_of_std_keep_out_and_are_kept_out() {
    let (ours, theirs) = two();
    try_lock(&ours, true).unwrap();
    assert!(matches!(theirs.try_lock(), Err(std::fs::TryLockError::WouldBlock)));
    assert!(matches!(theirs.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)));
    ours.unlock().unwrap();
    theirs.lock_shared().unwrap();
    assert!(matches!(try_lock(&ours, true), Err(TryLockError::WouldBlock)));
    try_lock(&ours, false).unwrap();
    unlock(&theirs).unwrap();
    unlock(&ours).unwrap();
}

#[test]
fn the_error_reads_as_that_of_std() {
    use std::fs::TryLockError as Std;

    let system = || std::io::Error::from_raw_os_error(5);
    for (ours, theirs) in
        [(TryLockError::WouldBlock, Std::WouldBlock), (TryLockError::Error(system()), Std::Error(system()))]
    {
        assert_eq!((format!("{ours}"), format!("{ours:?}")), (format!("{theirs}"), format!("{theirs:?}")));
        let (ours, theirs) = (std::io::Error::from(ours), std::io::Error::from(theirs));
        assert_eq!((ours.kind(), ours.raw_os_error()), (theirs.kind(), theirs.raw_os_error()));
    }
    assert_eq!(std::io::Error::from(TryLockError::WouldBlock).kind(), ErrorKind::WouldBlock);
}

/// A lock belongs to the open file, however many handles it has.
#[test]
fn a_handle_of_the_same_open_file_shares_the_lock() {
    let (one, other) = two();
    let same = one.try_clone().unwrap();
    try_lock(&one, true).unwrap();
    if cfg!(unix) {
        try_lock(&same, true).unwrap();
        unlock(&same).unwrap();
        try_lock(&other, true).unwrap();
        assert!(matches!(try_lock(&one, true), Err(TryLockError::WouldBlock)));
    } else {
        drop(same);
        assert!(matches!(try_lock(&other, true), Err(TryLockError::WouldBlock)));
    }
}

/// One call releases all that an open file has locked, as a pair of a shared lock and an exclusive
/// one, and the next one finds nothing.
#[test]
fn one_call_releases_what_was_locked_twice() {
    let (one, other) = two();
    try_lock(&one, false).unwrap();
    // Windows refuses to lock more of what is shared.
    let _ = try_lock(&one, true);
    unlock(&one).unwrap();
    try_lock(&other, true).unwrap();
    unlock(&other).unwrap();
    try_lock(&one, true).unwrap();
    let _ = try_lock(&one, false);
    unlock(&one).unwrap();
    try_lock(&other, true).unwrap();
    unlock(&other).unwrap();
    assert_eq!(unlock(&one).is_ok(), cfg!(unix), "to have none is an error on Windows alone");
}

/// Windows counts shared locks.
#[test]
fn one_call_releases_what_was_locked_many_times() {
    let (one, other) = two();
    for _ in 0..5 {
        try_lock(&one, false).unwrap();
    }
    unlock(&one).unwrap();
    try_lock(&other, true).unwrap();
}

#[test]
fn a_lock_is_kept_or_becomes_shared() {
    let (one, other) = two();
    let is_held = |exclusive| matches!(try_lock(&other, exclusive), Err(TryLockError::WouldBlock));
    convert(&one, true, None).unwrap();
    convert(&one, true, Some(true)).unwrap();
    assert!(is_held(false));
    convert(&one, false, Some(true)).unwrap();
    convert(&one, false, Some(false)).unwrap();
    assert!(is_held(true));
    assert!(!is_held(false), "it is shared");
    unlock(&other).unwrap();
    let converted = convert(&one, true, Some(false));
    assert_eq!(converted.is_ok(), cfg!(unix), "Windows refuses it, and the lock stays");
    assert!(is_held(true));
    unlock(&one).unwrap();
    try_lock(&other, true).unwrap();
}

#[test]
fn the_error_has_no_source_as_that_of_std() {
    let error = TryLockError::Error(std::io::Error::from_raw_os_error(5));
    assert!(std::error::Error::source(&error).is_none());
    let error = std::fs::TryLockError::Error(std::io::Error::from_raw_os_error(5));
    assert!(std::error::Error::source(&error).is_none());
}

/// What the system refuses for another reason.
#[cfg(unix)]
#[test]
fn an_error_of_the_system_is_told_from_a_lock_that_is_held() {
    use std::os::fd::OwnedFd;

    // A descriptor that stands for a path alone cannot be locked.
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let path = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(".").unwrap();
        let error = try_lock(&path, true).unwrap_err();
        assert!(matches!(&error, TryLockError::Error(error) if error.raw_os_error() == Some(libc::EBADF)));
        assert_eq!(unlock(&path).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
    // To release what is not locked is no error there.
    unlock(&File::from(OwnedFd::from(tempfile::tempfile().unwrap()))).unwrap();
}
