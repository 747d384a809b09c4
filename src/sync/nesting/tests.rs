//! The margin, and the sentence of what is too deep.

use std::thread;

use super::*;

#[test]
fn the_margin_is_a_quarter_and_at_least_64_kib_but_never_more_than_half() {
    let margins = [16, 64, 128, 256, 2048, 65_536].map(|kib| margin(kib * KIB) / KIB);
    assert_eq!(margins, [8, 32, 64, 64, 512, 16_384]);
}

#[test]
fn a_wait_counts_until_it_ends() {
    let depth = || DEPTH.with(Cell::get);
    let outer = NestedWait::enter();
    let inner = NestedWait::enter();
    assert_eq!(depth(), 2);
    assert_eq!(thread::spawn(depth).join().unwrap(), 0, "on this thread");
    drop(inner);
    assert_eq!(depth(), 1);
    drop(outer);
    assert_eq!(depth(), 0);
}

#[test]
fn a_fresh_thread_has_room() {
    assert_eq!(thread::spawn(room).join().unwrap(), Ok(()));
}

#[test]
#[cfg_attr(miri, ignore = "Miri does not measure stacks")]
fn there_is_no_room_in_the_margin() {
    /// Descends until there is no room, and returns what is left there.
    fn descend(filler: [u8; 512]) -> TooDeep {
        match room() {
            Ok(()) => std::hint::black_box(descend(std::hint::black_box(filler))),
            Err(deep) => deep,
        }
    }
    for size in [64_u32, 256, 2048] {
        let thread = thread::Builder::new().stack_size(size as usize * KIB);
        let deep = thread.spawn(|| descend([0; 512])).unwrap().join().unwrap();
        let Some((left, whole)) = deep.stack else { panic!("{deep:?}") };
        let margin = margin(whole as usize * KIB) / KIB;
        assert!(left as usize <= margin, "{size}: {deep}");
        assert!(left as usize + 16 >= margin, "{size}: {deep}");
    }
}

#[test]
fn the_sentence_says_how_deep_it_is() {
    let deep = TooDeep { depth: 731, stack: Some((511, 2048)) };
    let text = "731 waits are inside each other on one thread, whose stack of 2048 KiB has 511 KiB left";
    assert_eq!(deep.to_string(), text);
    let blind = TooDeep { depth: 65, stack: None };
    assert_eq!(
        blind.to_string(),
        "65 waits are inside each other on one thread, whose stack cannot be measured"
    );
}
