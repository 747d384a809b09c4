//! Tests of `state`.

use super::*;

const PLACE: Place = Place::from_bits(61);
const FIRST: ShortGeneration = ShortGeneration::from_bits(0);

#[test]
fn only_one_claim_succeeds() {
    let word = Word::new(2, FIRST, PLACE, false);
    assert!(word.is_queued());
    assert!(word.claim().is_some());
    assert!(word.claim().is_none());
    assert_eq!(word.request_cancel(), CancelAction::Nothing, "no hooks to run");
    assert!(word.is_cancelled());
}

#[test]
fn cancelling_a_queued_task_claims_it() {
    let word = Word::new(2, FIRST, PLACE, false);
    assert_eq!(word.request_cancel(), CancelAction::End(Claim { has_metadata: false }));
    assert!(word.claim().is_none());
    assert_eq!(word.request_cancel(), CancelAction::Nothing);
}

#[test]
fn only_the_first_canceller_runs_the_hooks() {
    let word = Word::new(2, FIRST, PLACE, false);
    assert!(word.claim().is_some());
    assert!(!word.announce_cold_part());
    assert_eq!(word.request_cancel(), CancelAction::RunHooks);
    assert_eq!(word.request_cancel(), CancelAction::Nothing);
    assert!(word.announce_cold_part(), "a later hook learns that it is late");
}

#[test]
fn the_last_reference_frees() {
    let word = Word::new(2, ShortGeneration::from_bits(0xFFFE), PLACE, false);
    assert!(word.claim().is_some());
    word.set_end(TaskEnd::Stored);
    assert_eq!(word.finish(Settled::default(), true), EndAction::Done(ReleaseAction::Keep));
    assert!(word.is_ended());
    word.retain();
    assert_eq!(word.release(), ReleaseAction::Keep);
    assert_eq!(word.end(), TaskEnd::Stored);
    assert_eq!((word.generation().to_bits(), word.place()), (0xFFFE, PLACE));
    assert_eq!(word.release(), ReleaseAction::Free);
}

#[test]
fn every_end_and_every_stage_is_told_apart() {
    for end in [TaskEnd::Value, TaskEnd::Coded(1), TaskEnd::Coded(14), TaskEnd::Stored] {
        let word = Word::new(2, FIRST, PLACE, false);
        let stage = || (word.is_queued(), word.is_ended(), word.is_cancelled(), word.has_cold_part());
        assert_eq!(stage(), (true, false, false, false));
        assert!(word.claim().is_some());
        assert_eq!(stage(), (false, false, false, false));
        word.set_end(end);
        assert_eq!(word.end(), end);
        assert_eq!(word.finish(Settled::default(), true), EndAction::Done(ReleaseAction::Keep));
        assert_eq!(stage(), (false, true, false, false));
    }
    let word = Word::new(2, FIRST, PLACE, true);
    assert!(word.has_cold_part());
    assert_eq!(word.request_cancel(), CancelAction::End(Claim { has_metadata: true }));
    assert!(word.is_cancelled());
    assert_eq!(Word::new(2, FIRST, PLACE, true).claim(), Some(Claim { has_metadata: true }));
}

#[test]
fn the_result_is_the_handle_s_or_the_claimer_s() {
    let claimed = || {
        let word = Word::new(2, FIRST, PLACE, false);
        assert!(word.claim().is_some());
        word
    };
    let keep = EndAction::Done(ReleaseAction::Keep);
    let word = claimed();
    assert_eq!(word.finish(Settled::default(), false), keep, "the handle has it");
    assert_eq!(word.let_go(), LetGoAction::TakeResult);
    let word = claimed();
    assert_eq!(word.let_go(), LetGoAction::Nothing);
    assert_eq!(word.finish(Settled::default(), true), EndAction::DropResult);
    assert!(!word.is_ended(), "not before it is dropped");
    assert_eq!(word.finish(Settled { result: true, bell: false }, true), keep);
    let word = claimed();
    assert!(word.detach(), "the reference is gone with it");
    assert_eq!(
        word.finish(Settled { result: true, bell: false }, true),
        EndAction::Done(ReleaseAction::Free)
    );
    let word = claimed();
    assert_eq!(word.finish(Settled::default(), true), keep);
    assert!(!word.detach(), "the handle has to take it");
    assert_eq!(word.let_go(), LetGoAction::TakeResult);
}

#[test]
fn a_bell_is_rung_or_comes_back() {
    let word = Word::new(2, FIRST, PLACE, false);
    assert!(word.announce_bell(BellKind::Channel));
    assert!(word.claim().is_some());
    assert_eq!(word.finish(Settled::default(), true), EndAction::TakeBell(BellKind::Channel));
    assert_eq!(word.let_go(), LetGoAction::Nothing);
    let bell = Settled { bell: true, result: false };
    assert_eq!(word.finish(bell, true), EndAction::DropResult, "the handle has let go meanwhile");
    let both = Settled { bell: true, result: true };
    assert_eq!(word.finish(both, true), EndAction::Done(ReleaseAction::Keep));
    assert!(!word.announce_bell(BellKind::Channel), "too late");
    assert_eq!(word.place(), PLACE);
    let word = Word::new(3, FIRST, PLACE, false);
    assert!(word.announce_bell(BellKind::Group));
    assert!(word.claim().is_some());
    assert_eq!(word.finish(Settled::default(), true), EndAction::TakeBell(BellKind::Group));
    assert_eq!(word.finish(bell, true), EndAction::Done(ReleaseAction::Keep));
    assert_eq!(word.release(), ReleaseAction::Keep, "the count is what it was");
    assert_eq!(word.release(), ReleaseAction::Free);
}

#[test]
fn a_cancelled_task_belongs_to_the_one_who_came_first() {
    let word = Word::new(2, FIRST, PLACE, false);
    let end = CancelAction::End(Claim { has_metadata: false });
    assert_eq!(word.cancel_and_let_go(), (end, LetGoAction::Nothing));
    assert_eq!(word.finish(Settled::default(), true), EndAction::DropResult);

    let word = Word::new(2, FIRST, PLACE, false);
    assert!(word.claim().is_some());
    assert_eq!(word.request_cancel(), CancelAction::Nothing, "without hooks");
    assert_eq!(word.cancel_and_let_go(), (CancelAction::Nothing, LetGoAction::Nothing));
    assert_eq!(word.finish(Settled::default(), true), EndAction::DropResult);

    let word = Word::new(2, FIRST, PLACE, false);
    assert!(word.claim().is_some());
    assert_eq!(word.finish(Settled::default(), false), EndAction::Done(ReleaseAction::Keep));
    assert_eq!(word.cancel_and_let_go(), (CancelAction::Nothing, LetGoAction::TakeResult));
}

#[test]
fn debug_decodes_the_bits() {
    let word = Word::new(3, FIRST, PLACE, false);
    let text = |stage, cancel, cold, refs| {
        format!(
            "Word {{ stage: \"{stage}\", cancel: {cancel}, cold: {cold}, end: Value, wanted: true, bell: false, \
             refs: {refs} }}"
        )
    };
    assert_eq!(format!("{word:?}"), text("queued", false, false, 3));
    assert!(word.claim().is_some());
    assert_eq!(format!("{word:?}"), text("claimed", false, false, 3));
    assert_eq!(word.request_cancel(), CancelAction::Nothing);
    assert!(word.announce_cold_part());
    assert_eq!(format!("{word:?}"), text("claimed", true, true, 3));
    assert_eq!(word.finish(Settled::default(), true), EndAction::Done(ReleaseAction::Keep));
    assert_eq!(format!("{word:?}"), text("ended", true, true, 2));
}
