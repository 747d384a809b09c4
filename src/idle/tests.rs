//! The protocol step by step on one thread: what each call makes of the counts, of the stack and of
//! the sleepers. How the steps of several threads mix is the affair of the models.

use super::*;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

fn counts(idle: usize, searching: usize, starting: usize, delivering: usize) -> IdleCounts {
    IdleCounts { idle, searching, starting, delivering }
}

/// So many sleepers on the stack, the eldest first.
fn asleep<const N: usize>(idle: &Idle) -> [Arc<Sleeper>; N] {
    std::array::from_fn(|_| {
        let sleeper = Sleeper::new();
        idle.enter_stack(&sleeper, false);
        sleeper
    })
}

/// Parks with a deadline that has passed.
fn is_woken(sleeper: &Sleeper) -> bool {
    sleeper.park(Some(Instant::now()))
}

#[test]
fn a_token_that_is_out_decides_what_a_push_must_do() {
    use Notified::{Delivering, Handled, NoWorker, Searching};
    // idle, searching, starting, delivering, whether all has been taken
    let table = [
        ((0, 0, 0, 0, false), NoWorker, counts(0, 0, 0, 0)),
        ((0, 0, 0, 0, true), Searching, counts(0, 0, 0, 0)),
        ((0, 1, 0, 0, false), Searching, counts(0, 1, 0, 0)),
        ((1, 1, 0, 0, false), Searching, counts(1, 1, 0, 0)),
        ((1, 1, 0, 1, false), Searching, counts(1, 1, 0, 1)),
        ((0, 0, 0, 1, false), Delivering, counts(0, 0, 0, 1)),
        ((1, 0, 1, 1, false), Delivering, counts(1, 0, 1, 1)),
        ((0, 0, 0, 1, true), Delivering, counts(0, 0, 0, 1)),
        ((0, 0, 1, 0, false), Handled, counts(0, 0, 1, 0)),
        ((1, 0, 0, 0, true), Searching, counts(1, 0, 0, 0)),
        ((1, 0, 0, 0, false), Handled, counts(0, 1, 0, 0)),
        ((1, 0, 1, 0, false), Handled, counts(0, 1, 1, 0)),
        ((2, 0, 0, 0, false), Handled, counts(1, 1, 0, 0)),
    ];
    for ((sleepers, searching, starting, delivering, all_taken), answer, after) in table {
        let idle = Idle::new();
        (0..sleepers).for_each(|_| drop(asleep::<1>(&idle)));
        idle.word.change(searching * SEARCHING + starting * STARTING + delivering * DELIVERING, 0);
        let before = idle.counts();
        assert_eq!(idle.notify(|| all_taken), answer, "{before:?}, all taken: {all_taken}");
        assert_eq!(idle.counts(), after, "{before:?}, all taken: {all_taken}");
    }
}

/// What `notify` has seen may have changed by the time it has the lock.
#[test]
fn a_waker_looks_again_under_the_lock() {
    let idle = Idle::new();
    let [sleeper] = asleep(&idle);
    assert!(idle.begin_searching());
    assert_eq!(idle.wake_youngest(false), Notified::Handled);
    assert!(!is_woken(&sleeper), "a thread searches by now");
    assert_eq!(idle.wake_youngest(true), Notified::Handled);
    assert!(is_woken(&sleeper));
    assert_eq!(idle.counts(), counts(0, 2, 0, 0));

    for force in [false, true] {
        let idle = Idle::new();
        assert_eq!(idle.wake_youngest(force), Notified::NoWorker);
        idle.add_starting(1);
        assert_eq!(idle.wake_youngest(force), Notified::Handled, "the sleeper has been woken");
        idle.begin_delivering();
        assert_eq!(idle.wake_youngest(force), Notified::Delivering, "so a monitor watches");
    }
}

#[test]
fn the_monitor_trusts_no_token() {
    let idle = Idle::new();
    assert!(idle.begin_searching());
    assert_eq!(idle.notify_forced(), Notified::NoWorker, "no sleeper is left");
    let [sleeper] = asleep(&idle);
    assert_eq!(idle.notify_forced(), Notified::Handled);
    assert!(is_woken(&sleeper));
}

#[test]
fn the_youngest_is_woken_first_and_once() {
    let idle = Idle::new();
    let [eldest, middle, youngest] = asleep(&idle);
    for next in [&youngest, &middle, &eldest] {
        assert!(!is_woken(next));
        assert_eq!(idle.notify(|| false), Notified::Handled);
        assert!(is_woken(next));
        assert!(!is_woken(next), "one token");
        idle.release_searching();
    }
    assert_eq!(idle.counts(), IdleCounts::default());
}

#[test]
fn all_are_woken_with_a_token_each() {
    let idle = Idle::new();
    let sleepers: [_; 3] = asleep(&idle);
    assert!(idle.begin_searching());
    idle.wake_all();
    assert_eq!(idle.counts(), counts(0, 4, 0, 0));
    assert!(sleepers.iter().all(|sleeper| is_woken(sleeper)));
    idle.wake_all();
    assert!(!sleepers.iter().any(|sleeper| is_woken(sleeper)), "they are off the stack");
}

#[test]
fn new_deadlines_wake_without_a_token() {
    let idle = Idle::new();
    let sleepers: [_; 2] = asleep(&idle);
    idle.refresh_deadlines();
    let begun = Instant::now();
    for sleeper in &sleepers {
        assert!(!sleeper.park(Some(begun + Duration::from_secs(60))), "it keeps its place on the stack");
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "no thread has waited for the deadline");
    assert_eq!(idle.counts(), counts(2, 0, 0, 0));
}

#[test]
fn going_to_sleep_releases_the_token_and_coming_back_takes_one() {
    let idle = Idle::new();
    let sleeper = Sleeper::new();
    assert!(idle.begin_searching());
    assert!(!idle.begin_searching(), "one is enough");
    idle.enter_stack(&sleeper, true);
    assert_eq!(idle.counts(), counts(1, 0, 0, 0));
    idle.leave_stack(&sleeper);
    assert_eq!(idle.counts(), counts(0, 1, 0, 0));
    idle.release_searching();
    assert_eq!(idle.counts(), IdleCounts::default());

    idle.enter_stack(&sleeper, false);
    assert_eq!(idle.notify(|| false), Notified::Handled);
    idle.leave_stack(&sleeper);
    assert_eq!(idle.counts(), counts(0, 1, 0, 0), "the token of the waker, not another");
    assert!(!is_woken(&sleeper), "which has been taken");
}

#[test]
fn a_leaver_takes_only_itself_off_the_stack() {
    let idle = Idle::new();
    let [eldest, leaving, youngest] = asleep(&idle);
    assert!(idle.leave_for_good(&leaving));
    assert_eq!(idle.counts(), counts(2, 0, 0, 0), "no token");
    idle.wake_all();
    assert!(is_woken(&eldest) && !is_woken(&leaving) && is_woken(&youngest));
}

#[test]
fn a_waker_that_was_faster_than_the_one_who_leaves_has_given_a_token() {
    let idle = Idle::new();
    let [sleeper] = asleep(&idle);
    assert_eq!(idle.notify(|| false), Notified::Handled);
    assert!(!idle.leave_for_good(&sleeper));
    assert_eq!(idle.counts(), counts(0, 1, 0, 0));
    assert!(!is_woken(&sleeper), "it has been taken");
}

/// Between the stack and the sleeper a waker may be held up.
#[test]
fn a_leaver_waits_for_the_token_of_a_slow_waker() {
    for for_good in [false, true] {
        let idle = Arc::new(Idle::new());
        let [sleeper] = asleep(&idle);
        assert!(idle.remove(&sleeper, SEARCHING), "what a waker does first");
        let (sender, receiver) = channel();
        let leaver = thread::spawn({
            let (idle, sleeper) = (Arc::clone(&idle), Arc::clone(&sleeper));
            move || {
                let woken = if for_good {
                    !idle.leave_for_good(&sleeper)
                } else {
                    idle.leave_stack(&sleeper);
                    true
                };
                sender.send(woken).expect("the test waits");
            }
        });
        assert_eq!(receiver.recv_timeout(Duration::from_millis(20)), Err(RecvTimeoutError::Timeout));
        sleeper.wake();
        assert_eq!(receiver.recv(), Ok(true));
        leaver.join().expect("it has sent");
        assert!(!is_woken(&sleeper), "the token has been taken");
        assert_eq!(idle.counts(), counts(0, 1, 0, 0));
    }
}

#[test]
fn tokens_change_hands() {
    let idle = Idle::new();
    assert!(idle.begin_starting());
    assert!(!idle.begin_starting(), "one is on the way");
    idle.add_starting(3);
    assert_eq!(idle.counts(), counts(0, 0, 4, 0));
    idle.started_delivering();
    assert_eq!(idle.counts(), counts(0, 0, 3, 1));
    idle.not_started(3);
    assert_eq!(idle.counts(), counts(0, 0, 0, 1));
    idle.end_delivering();
    assert_eq!(idle.counts(), counts(0, 1, 0, 0));
    idle.release_searching();
    idle.begin_delivering();
    idle.release_delivering();
    assert_eq!(idle.counts(), IdleCounts::default());
    let [_sleeper] = asleep(&idle);
    assert!(!idle.begin_starting(), "a sleeper can be woken");
    assert_eq!(format!("{:?}", *idle.word), format!("{:?}", idle.counts()));
}

#[test]
fn counts_do_not_run_into_each_other() {
    let word = TokenWord::new();
    word.change(IDLE * 40_000, 0);
    word.change(SEARCHING * 3 + DELIVERING, IDLE * 39_998);
    assert!(!word.try_begin_starting(), "a thread searches");
    assert!(!word.try_begin_searching(), "a thread does");
    word.change(0, SEARCHING * 3);
    assert!(word.try_begin_searching());
    word.change(0, SEARCHING);
    assert_eq!(word.load(), IdleCounts { idle: 2, searching: 0, starting: 0, delivering: 1 });
    word.change(0, IDLE * 2 + DELIVERING);
    assert!(word.try_begin_starting());
    assert!(!word.try_begin_starting(), "one is starting");
}
