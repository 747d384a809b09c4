//! Each detector by its table, and on threads that really sleep and spin.
#![expect(clippy::unwrap_used, reason = "in a test, helpers included, an unwrap is an assertion")]

use std::sync::mpsc;
use std::time::Instant;

use super::*;

/// Reaching it is a failure, never a measurement.
const LONG: Duration = Duration::from_secs(60);

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "it never happened: {what}");
        std::thread::yield_now();
    }
}

fn subject(key: &ThreadKey, last: LastSample, cpu_time: Option<Duration>, elapsed: Duration) -> Subject<'_> {
    Subject { key, last, cpu_time, elapsed, spare: 0 }
}

/// A thread that sleeps, or one that spins, and its key; it ends when this is dropped.
struct Thread {
    key: ThreadKey,
    end: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Thread {
    fn new(spins: bool) -> Self {
        let (send, receive) = mpsc::channel();
        let (end, wait) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            send.send(ThreadKey::current()).unwrap();
            if spins {
                while wait.try_recv() == Err(mpsc::TryRecvError::Empty) {
                    std::hint::spin_loop();
                }
            } else {
                let _ = wait.recv();
            }
        });
        let key = receive.recv().unwrap();
        Thread { key, end: Some(end), thread: Some(thread) }
    }

    fn stop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop();
    }
}

fn last(stalled: u32, cpu_time: Option<Duration>) -> LastSample {
    LastSample { stalled, cpu_time, ..LastSample::default() }
}

#[cfg(target_os = "linux")]
#[test]
fn the_thread_state_tells_sleeping_from_spinning_from_gone() {
    let asleep =
        |key: &ThreadKey| ThreadState.is_asleep(&subject(key, LastSample::default(), None, Duration::ZERO));
    let sleeper = Thread::new(false);
    eventually("the sleeper sleeps", || asleep(&sleeper.key) == Some(true));
    let mut spinner = Thread::new(true);
    eventually("the spinner spins", || asleep(&spinner.key) == Some(false));
    for _ in 0..200 {
        assert_eq!(asleep(&sleeper.key), Some(true));
        assert_eq!(asleep(&spinner.key), Some(false), "running or waiting for a CPU is no sleep");
    }
    spinner.stop();
    eventually("the gone one is unknown", || asleep(&spinner.key).is_none());
    let subject = subject(&sleeper.key, LastSample::default(), None, Duration::ZERO);
    assert_eq!(ThreadState.certainty(&subject), Certainty::Fact);
}

#[test]
fn the_cpu_clock_wants_a_long_stay_and_little_use() {
    let millis = Duration::from_millis;
    let tick = millis(4);
    let table = [
        ("used nothing", PATIENCE, Some(millis(10)), Some(millis(10)), Some(true)),
        ("used little", PATIENCE, Some(millis(10)), Some(Duration::from_micros(10_999)), Some(true)),
        ("used a quarter", PATIENCE, Some(millis(10)), Some(millis(11)), Some(false)),
        ("used all of it", PATIENCE, Some(millis(10)), Some(millis(14)), Some(false)),
        ("not there for long", PATIENCE - 1, Some(millis(10)), Some(millis(10)), Some(false)),
        ("just come", 0, Some(millis(10)), Some(millis(10)), Some(false)),
        ("there for ever", u32::MAX, Some(millis(10)), Some(millis(10)), Some(true)),
        ("the clock cannot be read", PATIENCE, Some(millis(10)), None, None),
        ("it was never read before", PATIENCE, None, Some(millis(10)), None),
        ("it runs backwards", PATIENCE, Some(millis(10)), Some(millis(9)), Some(true)),
    ];
    let key = ThreadKey::current();
    for (name, stalled, before, now, answer) in table {
        let subject = subject(&key, last(stalled, before), now, tick);
        assert_eq!(CpuClock.is_asleep(&subject), answer, "{name}");
    }
    assert_eq!(CpuClock.certainty(&subject(&key, last(PATIENCE, None), None, tick)), Certainty::Fact);
}

#[cfg(target_os = "linux")]
#[test]
fn the_cpu_clock_tells_sleeping_from_spinning() {
    let asleep = |key: &ThreadKey, before: Option<Duration>, elapsed| {
        CpuClock.is_asleep(&subject(key, last(PATIENCE, before), key.cpu_time(), elapsed))
    };
    let sleeper = Thread::new(false);
    let state =
        |key: &ThreadKey| ThreadState.is_asleep(&subject(key, LastSample::default(), None, Duration::ZERO));
    eventually("the sleeper sleeps", || state(&sleeper.key) == Some(true));
    let before = sleeper.key.cpu_time();
    assert_eq!(asleep(&sleeper.key, before, Duration::from_micros(500)), Some(true));
    let spinner = Thread::new(true);
    // On a crowded machine it may be a while until it has used so much.
    let before = spinner.key.cpu_time();
    eventually("the spinner uses a CPU", || {
        asleep(&spinner.key, before, Duration::from_micros(500)) == Some(false)
    });
    assert_eq!(asleep(&sleeper.key, sleeper.key.cpu_time(), Duration::from_micros(500)), Some(true));
}

#[test]
fn a_clock_that_lags_answers_by_its_window_while_it_can_be_read() {
    let key = ThreadKey::current();
    let millis = Duration::from_millis;
    let tick = millis(1);
    let mut window = crate::worker::LastSample::default().window;
    let mut answer = |pause, used| {
        window.pass(millis(pause));
        window.read(millis(used), millis(10));
        let last = LastSample { window, ..last(PATIENCE, None) };
        let answer = |cpu_time| LaggingClock.is_asleep(&subject(&key, last, cpu_time, millis(1)));
        assert_eq!(answer(None), None, "the clock cannot be read");
        let certainty = |spare| LaggingClock.certainty(&Subject { spare, ..subject(&key, last, None, tick) });
        (answer(Some(millis(used))), certainty(0), certainty(1))
    };
    assert_eq!(answer(1, 0).0, None);
    assert_eq!(answer(19, 0).0, None, "two lags have not passed");
    assert_eq!(answer(1, 0), (Some(true), Certainty::IfAllSleep, Certainty::Fact), "it may have had no CPU");
    assert_eq!(answer(10, 10), (Some(false), Certainty::Fact, Certainty::Fact));
}

/// On systems whose clocks lag as on others.
#[test]
fn the_window_of_a_clock_tells_sleeping_from_spinning() {
    // Each look takes one thread's clock.
    let follow = |thread: &Thread, last: &mut Instant, seen: &mut LastSample| {
        let used = thread.key.cpu_time();
        let lag = ThreadKey::LAG.max(Duration::from_millis(10));
        seen.window.pass(std::mem::replace(last, Instant::now()).elapsed());
        used.into_iter().for_each(|used| seen.window.read(used, lag));
        LaggingClock.is_asleep(&subject(&thread.key, *seen, used, Duration::ZERO))
    };
    let (sleeper, spinner) = (Thread::new(false), Thread::new(true));
    if sleeper.key.cpu_time().is_none() {
        return;
    }
    let (mut sleeps, mut spins) = (last(PATIENCE, None), last(PATIENCE, None));
    let mut looks = [Instant::now(); 2];
    // On a crowded machine the spinner may have no CPU for a while.
    eventually("both are known", || {
        let answers =
            (follow(&sleeper, &mut looks[0], &mut sleeps), follow(&spinner, &mut looks[1], &mut spins));
        answers == (Some(true), Some(false))
    });
}

#[test]
fn time_alone_wants_a_stay_and_a_cpu_to_spare_and_is_not_certain() {
    let key = ThreadKey::current();
    let table = [
        ("just come", 0, u32::MAX, false),
        ("there since the last look", 1, SPARE_LOOKS, true),
        ("there for ever", u32::MAX, u32::MAX, true),
        ("a CPU was to spare once", 1, SPARE_LOOKS - 1, false),
        ("none is to spare", u32::MAX, 0, false),
    ];
    for (name, stalled, spare, answer) in table {
        let subject = Subject { spare, ..subject(&key, last(stalled, None), None, Duration::ZERO) };
        assert_eq!(TimeAlone.is_asleep(&subject), Some(answer), "{name}");
    }
    assert_eq!(TimeAlone.certainty(&subject(&key, last(1, None), None, Duration::ZERO)), Certainty::Guess);
}

#[test]
fn who_does_not_care_whether_a_cpu_is_to_spare_begins_anew() {
    let mut spare = IdleCpu { looks: 7 };
    assert_eq!(spare.look(false), 0);
    eventually("a CPU is to spare for two looks", || {
        let before = spare.looks;
        let looks = spare.look(true);
        assert!(looks == 0 || looks == before + 1, "{looks} after {before}");
        looks == 2
    });
}

#[test]
fn no_cpu_is_to_spare_while_twice_as_many_threads_spin_as_there_are_cpus() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    let spinners: Vec<_> = (0..2 * cpus).map(|_| Thread::new(true)).collect();
    eventually("nothing is to spare for ten looks", || (0..10).all(|_| !is_a_cpu_idle()));
    drop(spinners);
}
