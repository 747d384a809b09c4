//! Tests of `fork`.

use super::*;

#[test]
fn a_short_generation_is_its_own_present_and_no_other() {
    let few = [0, 1, 2, 0x7FFF, 0x8000, MOST_FORKS - 1, MOST_FORKS];
    let many = [MOST_FORKS + 1, MOST_FORKS + 2, 0x1_0001, 0x1_FFFE, 0xFFFF_FFFF, u64::MAX];
    for made in few.into_iter().chain(many) {
        let (stamp, _) = short(made);
        assert!(stamp <= 0xFFFF, "it goes into 16 bits");
        for now in few {
            assert_eq!(stamp == short(now).1, made.min(MOST_FORKS) == now, "made in {made}, now {now}");
        }
        for now in many {
            assert_ne!(stamp, short(now).1, "made in {made}, now {now}");
        }
    }
}

#[test]
fn what_is_made_in_this_process_is_not_past() {
    assert!(!Generation::current().is_past());
    assert!(!ShortGeneration::current().is_past());
    assert!(check().is_ok());
    assert!(ShortGeneration::from_bits(ShortGeneration::current().to_bits() ^ 1).is_past());
}
