//! Tests of `aligned`.

use super::*;

fn is_aligned(bytes: &AlignedBytes) -> bool {
    cfg!(miri) || (bytes.as_ptr() as usize).is_multiple_of(ALIGNMENT)
}

#[test]
fn bytes_stay_aligned_and_whole_however_they_grow() {
    for step in [1, 7, 100, 4095, 4096, 4097, 70_000] {
        let mut bytes = AlignedBytes::default();
        let mut expected = Vec::new();
        for round in 0..20_u8 {
            let more = vec![round; step];
            bytes.extend(&more);
            expected.extend_from_slice(&more);
            assert!(is_aligned(&bytes), "step {step}, round {round}");
            assert_eq!(&*bytes, &*expected);
        }
        let capacity = bytes.capacity();
        bytes.clear();
        assert!(bytes.is_empty() && bytes.capacity() == capacity);
        bytes.extend(&[1, 2]);
        assert!(is_aligned(&bytes) && *bytes == [1, 2]);
    }
}

#[test]
fn zeros_are_aligned_and_of_the_length_that_was_asked_for() {
    for length in [0, 1, 511, 4096, 65_536, 1 << 20] {
        let mut bytes = AlignedBytes::zeroed(length);
        assert!(is_aligned(&bytes) && bytes.len() == length, "{length}");
        assert!(bytes.iter().all(|byte| *byte == 0));
        bytes.fill(7);
        assert_eq!(AlignedBytes::copy_of(&bytes).to_vec(), vec![7; length]);
    }
}

#[test]
fn room_that_is_there_is_kept() {
    let mut bytes = AlignedBytes::copy_of(&[3; 10]);
    bytes.reserve(10_000);
    let place = bytes.as_ptr();
    bytes.extend(&[4; 9_990]);
    assert_eq!(bytes.as_ptr(), place);
    assert_eq!((bytes[9], bytes[10], bytes.len()), (3, 4, 10_000));
}
