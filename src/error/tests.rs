//! The numbers of reasons.

use super::*;

#[test]
fn a_reason_and_its_number_stand_for_each_other() {
    let coded: Vec<_> = (0..=u8::MAX).filter_map(|code| Some((code, Reason::from_code(code)?))).collect();
    assert!(coded.len() >= 6);
    for (code, reason) in &coded {
        assert!((1..15).contains(code), "{reason:?} has {code}");
        assert_eq!(reason.code(), Some(*code));
    }
    for stored in
        [Reason::panicked(Box::new("payload")), Reason::NoThread(Arc::new(io::Error::other("none")))]
    {
        assert_eq!(stored.code(), None, "{stored:?} carries something");
    }
}
