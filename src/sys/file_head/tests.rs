//! Tests of `file_head`.

use std::io::{Seek, Write};

use super::*;

#[test]
fn the_first_bytes_of_a_file_are_there_and_no_more() {
    let mut file = tempfile::tempfile().expect("a file can be made");
    file.write_all(b"abcdefgh").expect("it can be written");
    file.rewind().expect("it can seek");
    let mut head = FileHead::<6>::new();
    assert_eq!(head.filled(), b"");
    assert_eq!(head.read(&mut file).expect("it can be read"), 6);
    assert_eq!(head.filled(), b"abcdef");
    assert!(head.is_full());
    let mut rest = FileHead::<6>::new();
    assert_eq!(rest.read(&mut file).expect("it can be read"), 2);
    assert_eq!((rest.filled(), rest.is_full()), (&b"gh"[..], false));
    assert_eq!(rest.read(&mut file).expect("it can be read"), 0, "the end");
    assert_eq!(rest.filled(), b"gh");
    assert_eq!(FileHead::<0>::new().read(&mut file).expect("there is no room"), 0);
}

#[test]
fn an_error_fills_nothing() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let Ok(mut folder) = File::open(dir.path()) else { return };
    let mut head = FileHead::<6>::new();
    assert!(head.read(&mut folder).is_err());
    assert_eq!(head.filled(), b"");
}
