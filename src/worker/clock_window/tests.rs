//! Windows of clocks that jump.

use super::*;

const LAG: Duration = Duration::from_millis(10);

/// The answers to a reading each millisecond of a clock that shows `used` of a time.
fn answers(millis: u64, used: impl Fn(u64) -> u64) -> Vec<Option<bool>> {
    let mut window = ClockWindow::default();
    let read = |now| {
        window.read(Duration::from_millis(used(now)), LAG);
        window.pass(Duration::from_millis(1));
        window.is_asleep()
    };
    (0..millis).map(read).collect()
}

#[test]
fn a_sleeper_is_known_after_two_lags() {
    let answers = answers(100, |_| 7);
    assert!(answers[..20].iter().all(Option::is_none));
    assert!(answers[20..].iter().all(|&answer| answer == Some(true)));
}

#[test]
fn a_thread_that_computes_is_never_asleep_however_the_clock_jumps() {
    for phase in 0..10 {
        let answers = answers(200, |now| (now + phase) / 10 * 10);
        assert!(answers.iter().all(|&answer| answer != Some(true)), "{phase}");
        assert!(answers[10..].iter().all(|&answer| answer == Some(false)), "{phase}");
    }
}

#[test]
fn who_has_a_tenth_of_a_cpu_is_awake_and_who_has_a_fiftieth_sleeps() {
    let tenth = answers(400, |now| now / 10);
    assert!(tenth[20..].iter().all(|&answer| answer == Some(false)));
    let fiftieth = answers(400, |now| now / 50);
    assert!(fiftieth[20..40].iter().all(|&answer| answer == Some(true)));
}

#[test]
fn a_thread_that_changes_is_found_out() {
    let falls_asleep = answers(200, |now| now.min(50) / 10 * 10);
    assert_eq!((falls_asleep[50], falls_asleep[100]), (Some(false), Some(true)));
    let wakes = answers(200, |now| now.saturating_sub(50) / 10 * 10);
    assert_eq!((wakes[50], wakes[61]), (Some(true), Some(false)));
}

#[test]
fn seldom_readings_do() {
    let mut window = ClockWindow::default();
    let millis = Duration::from_millis;
    for (pause, used, answer) in
        [(5, 0, None), (100, 0, Some(true)), (100, 90, Some(false)), (5, 90, Some(false))]
    {
        window.pass(millis(pause));
        window.read(millis(used), LAG);
        assert_eq!(window.is_asleep(), answer, "after {pause} ms");
    }
}

/// It may be that of another thread by now, or be put right by the system.
#[test]
fn a_clock_that_goes_back_shows_no_sleep() {
    let computes = answers(200, |now| if now < 50 { 1_000_000 + now } else { now });
    assert!(computes.iter().all(|&answer| answer != Some(true)));
    assert_eq!((computes[49], computes[71]), (Some(false), Some(false)));
    let sleeps = answers(200, |now| if now < 50 { 1_000_000 } else { 7 });
    assert_eq!(sleeps[199], Some(true));
}

/// Times that no clock shows are no reason to panic.
#[test]
fn extremes_do_not_overflow() {
    let mut window = ClockWindow::default();
    for used in [Duration::ZERO, Duration::MAX, Duration::ZERO, Duration::MAX] {
        window.pass(Duration::MAX);
        window.pass(Duration::MAX);
        window.read(used, LAG);
    }
    assert_eq!(window.is_asleep(), Some(false));
}

/// Whenever the clock is read, and however far it lags, a thread that computes all the time is
/// never asleep, and one that sleeps all the time is once two lags have passed.
#[test]
fn any_readings_tell_one_that_computes_from_one_that_sleeps() {
    let micros = Duration::from_micros;
    let mut seed = 1_u64;
    let mut below = |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % bound
    };
    for _ in 0..2000 {
        let (mut computes, mut sleeps) = (ClockWindow::default(), ClockWindow::default());
        let (mut now, mut counted, mut shown, mut begun) = (below(1 << 20), 0, 0, None);
        let longest = 1 + below(50_000);
        for _ in 0..200 {
            let pause = below(longest);
            now += pause;
            // The monitor counts no more of a pause than a lag.
            let watched = pause.min(10_000);
            counted += watched;
            shown = now.saturating_sub(below(10_001)).max(shown);
            for (window, used) in [(&mut computes, shown), (&mut sleeps, 7)] {
                window.pass(micros(watched));
                window.read(micros(used), LAG);
            }
            let since = *begun.get_or_insert(counted);
            assert_ne!(computes.is_asleep(), Some(true));
            assert_eq!(sleeps.is_asleep(), (counted - since >= 20_000).then_some(true));
        }
    }
}
