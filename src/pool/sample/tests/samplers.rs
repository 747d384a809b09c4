//! Each sampler by its table, and on threads that really sleep and spin.
#![expect(clippy::unwrap_used, reason = "in a test, helpers included, an unwrap is an assertion")]

use super::*;

/// A thread that sleeps, or one that spins, and its key; it ends when this is dropped.
struct Subject {
    key: ThreadKey,
    end: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Subject {
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
        Subject { key, end: Some(end), thread: Some(thread) }
    }

    fn stop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.stop();
    }
}

fn note(stalled: u32, cpu_time: Option<Duration>) -> Note {
    Note { stalled, cpu_time, ..Note::default() }
}

#[cfg(target_os = "linux")]
#[test]
fn the_thread_state_tells_sleeping_from_spinning_from_gone() {
    let asleep = |key| ThreadState.is_asleep(key, &Note::default(), None, Duration::ZERO);
    let sleeper = Subject::new(false);
    eventually("the sleeper sleeps", || asleep(sleeper.key) == Some(true));
    let mut spinner = Subject::new(true);
    eventually("the spinner spins", || asleep(spinner.key) == Some(false));
    for _ in 0..200 {
        assert_eq!(asleep(sleeper.key), Some(true));
        assert_eq!(asleep(spinner.key), Some(false), "running or waiting for a CPU is no sleep");
    }
    spinner.stop();
    eventually("the gone one is unknown", || asleep(spinner.key).is_none());
    assert!(ThreadState.is_certain());
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
        assert_eq!(CpuClock.is_asleep(key, &note(stalled, before), now, tick), answer, "{name}");
    }
    assert!(CpuClock.is_certain());
}

#[cfg(target_os = "linux")]
#[test]
fn the_cpu_clock_tells_sleeping_from_spinning() {
    let asleep = |key: ThreadKey, before: Option<Duration>, elapsed| {
        CpuClock.is_asleep(key, &note(PATIENCE, before), key.cpu_time(), elapsed)
    };
    let sleeper = Subject::new(false);
    let state = |key| ThreadState.is_asleep(key, &Note::default(), None, Duration::ZERO);
    eventually("the sleeper sleeps", || state(sleeper.key) == Some(true));
    let before = sleeper.key.cpu_time();
    assert_eq!(asleep(sleeper.key, before, Duration::from_micros(500)), Some(true));
    let spinner = Subject::new(true);
    // On a crowded machine it may be a while until it has used so much.
    let before = spinner.key.cpu_time();
    eventually("the spinner uses a CPU", || {
        asleep(spinner.key, before, Duration::from_micros(500)) == Some(false)
    });
    assert_eq!(asleep(sleeper.key, sleeper.key.cpu_time(), Duration::from_micros(500)), Some(true));
}

#[test]
fn time_alone_wants_a_long_stay_and_is_not_certain() {
    let key = ThreadKey::current();
    for (stalled, answer) in [(0, false), (PATIENCE - 1, false), (PATIENCE, true), (u32::MAX, true)] {
        let told = TimeAlone.is_asleep(key, &note(stalled, None), None, Duration::ZERO);
        assert_eq!(told, Some(answer), "{stalled} looks");
    }
    assert!(!TimeAlone.is_certain());
}
