//! Tests of `capability`.

use super::*;
use std::net::TcpStream;

#[test]
fn what_can_seek_is_read_ahead_and_moved_back() {
    let mut cursor = Cursor::new(vec![0; 9]);
    assert_eq!(seek::<Cursor<Vec<u8>>>().unwrap()(&mut cursor, SeekFrom::Current(4)).unwrap(), 4);
    assert!(may_read_ahead::<File>());
}

#[test]
fn what_only_reads_is_read_ahead() {
    assert!(may_read_ahead::<ChildStdout>() && seek::<ChildStdout>().is_none());
}

#[test]
fn what_may_answer_is_not_read_ahead() {
    assert!(!may_read_ahead::<TcpStream>() && seek::<TcpStream>().is_none());
}
