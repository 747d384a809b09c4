//! Tests of `word`.

use super::*;

#[test]
fn counts_do_not_run_into_each_other() {
    let word = Word::new();
    word.change(IDLE * 40_000, 0);
    word.change(SEARCHING * 3 + DELIVERING, IDLE * 39_998);
    assert!(!word.try_begin_starting(), "somebody searches");
    assert!(!word.try_begin_searching(), "somebody does");
    word.change(0, SEARCHING * 3);
    assert!(word.try_begin_searching());
    word.change(0, SEARCHING);
    assert_eq!(word.load(), IdleCounts { idle: 2, searching: 0, starting: 0, delivering: 1 });
    word.change(0, IDLE * 2 + DELIVERING);
    assert!(word.try_begin_starting());
    assert!(!word.try_begin_starting(), "one is starting");
}
