//! Reads of what is in memory.

use super::*;
use std::io::{Seek, Write};

#[test]
fn it_reads_what_an_ordinary_read_would_or_nothing() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    file.rewind().unwrap();
    let mut buffer = [0; 4];
    if read(&file, &mut buffer, Some(3)) == Cached::Read(4) {
        assert_eq!(&buffer, b"3456");
        assert_eq!(file.stream_position().unwrap(), 0, "a positioned read moves nothing");
    }
    if read(&file, &mut buffer, None) == Cached::Read(4) {
        assert_eq!(&buffer, b"0123");
        assert_eq!(file.stream_position().unwrap(), 4);
    }
    assert_ne!(read(&file, &mut buffer, Some(10)), Cached::Read(4), "there is nothing behind the end");
}

#[test]
fn what_it_cannot_do_changes_nothing() {
    let file = tempfile::tempfile().unwrap();
    assert_eq!(read(&file, &mut [0; 4], Some(u64::MAX)), Cached::Never);
    // Windows opens none as a file.
    if let Ok(folder) = File::open(".") {
        assert!(!matches!(read(&folder, &mut [0; 4], None), Cached::Read(_)));
    }
}
