//! Tests of `patience`.

use super::*;

const LOOK: Duration = Duration::from_micros(1);

/// Keeps a vigil in vain to its end, with a look every microsecond. Returns its length and how
/// often it yielded.
fn in_vain(patience: &Patience, begun: Instant) -> (Duration, u32) {
    let mut vigil = patience.begin(begun);
    let mut yields = 0;
    for look in 1.. {
        match vigil.go_on(begun + LOOK * look) {
            Next::Look => {}
            Next::Yield => yields += 1,
            Next::Sleep => return (LOOK * look, yields),
        }
    }
    unreachable!("a vigil ends")
}

#[test]
fn a_vigil_ends_and_lets_others_go_first_meanwhile() {
    let (length, yields) = in_vain(&Patience::new(), Instant::now());
    assert_eq!(length, VIGIL, "L1");
    assert_eq!(yields, VIGIL.as_micros() as u32 / YIELD, "L4");
}

#[test]
fn vigils_in_vain_become_rare() {
    let patience = Patience::new();
    let start = Instant::now();
    let willing = (0..10 * (PROBE + 1) + CREDIT - 1).filter(|_| {
        let willing = patience.is_willing(start);
        if willing {
            in_vain(&patience, start);
        }
        willing
    });
    assert_eq!(willing.count() as u32, CREDIT + 9, "L2: the credit, and then one in so many");
}

#[test]
fn success_restores_the_credit() {
    let patience = Patience::new();
    let start = Instant::now();
    for _ in 0..CREDIT {
        assert!(patience.is_willing(start));
        in_vain(&patience, start);
    }
    assert!(!patience.is_willing(start));
    while !patience.is_willing(start) {}
    patience.begin(start).succeed(start);
    for _ in 0..CREDIT {
        assert!(patience.is_willing(start), "L2: one success is enough");
        in_vain(&patience, start);
    }
}

/// Is held up once, from `start` on. Returns until when the thread abstains.
fn held_up(patience: &Patience, start: Instant, gap: Duration) -> Instant {
    let mut vigil = patience.begin(start);
    assert_eq!(vigil.go_on(start + LOOK), Next::Look);
    assert_eq!(vigil.go_on(start + LOOK + gap), Next::Sleep, "L3");
    let end = patience.abstain_until.get().expect("it abstains");
    assert!(!patience.is_willing(end - LOOK) && patience.is_willing(end));
    end
}

#[test]
fn who_is_held_up_abstains_in_proportion() {
    let patience = Patience::new();
    let (start, gap) = (Instant::now(), Duration::from_millis(3));
    assert_eq!(held_up(&patience, start, gap), start + LOOK + gap + gap * ABSTAIN);
    assert_eq!(patience.credit.get(), CREDIT, "being held up says nothing about what comes");
}

#[test]
fn who_is_held_up_again_abstains_for_longer_however_short_that_was() {
    let patience = Patience::new();
    let gap = Duration::from_millis(3);
    let mut now = held_up(&patience, Instant::now(), gap);
    for round in 1..10 {
        let end = held_up(&patience, now, HELD_UP);
        let expected = (gap * ABSTAIN * (1 << round)).min(LONGEST);
        assert_eq!(end - now, LOOK + HELD_UP + expected, "L3, round {round}");
        now = end;
    }
    now += LONGEST * CALM;
    assert_eq!(held_up(&patience, now, gap), now + LOOK + gap + gap * ABSTAIN, "and after a calm anew");
}

#[test]
fn what_comes_while_the_thread_is_held_up_is_no_success() {
    let patience = Patience::new();
    let (start, gap) = (Instant::now(), Duration::from_millis(3));
    in_vain(&patience, start);
    let credit = patience.credit.get();
    patience.begin(start).succeed(start + gap);
    assert_eq!(patience.credit.get(), credit);
    assert!(!patience.is_willing(start + gap * ABSTAIN), "L3");
    assert!(patience.is_willing(start + gap * (ABSTAIN + 1)));
}

#[test]
fn time_that_goes_backwards_ends_nothing_early() {
    let patience = Patience::new();
    let start = Instant::now();
    let mut vigil = patience.begin(start + VIGIL);
    assert!((1..YIELD).all(|_| vigil.go_on(start) == Next::Look));
    assert!(patience.is_willing(start));
}

#[test]
fn a_thread_that_was_stopped_for_days_abstains_for_a_second() {
    let patience = Patience::new();
    let (start, gap) = (Instant::now(), Duration::from_secs(1_000_000));
    assert_eq!(held_up(&patience, start, gap), start + LOOK + gap + LONGEST);
}
