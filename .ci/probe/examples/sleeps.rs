//! 200 closures that sleep for 200 ms: this library's global pool beside `tokio::task::spawn_blocking` in the same
//! process. Fails if the better of three rounds takes more than 1.3 times tokio's.

use std::process::ExitCode;
use std::time::{Duration, Instant};

const COUNT: usize = 200;
const SLEEP: Duration = Duration::from_millis(200);
const ROUNDS: usize = 3;
const MOST: f64 = 1.3;

fn ours() -> Duration {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..COUNT).map(|_| sidestep::spawn(|| std::thread::sleep(SLEEP))).collect();
    for task in tasks {
        task.wait().expect("it sleeps and returns");
    }
    begun.elapsed()
}

fn tokios(runtime: &tokio::runtime::Runtime) -> Duration {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..COUNT).map(|_| runtime.spawn_blocking(|| std::thread::sleep(SLEEP))).collect();
    for task in tasks {
        runtime.block_on(task).expect("it sleeps and returns");
    }
    begun.elapsed()
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be built");
    let mut best = [Duration::MAX; 2];
    for round in 1..=ROUNDS {
        let times = if round % 2 == 0 {
            let theirs = tokios(&runtime);
            [ours(), theirs]
        } else {
            [ours(), tokios(&runtime)]
        };
        println!("sidestep {:.3} s, tokio {:.3} s", times[0].as_secs_f64(), times[1].as_secs_f64());
        if round == 1 {
            println!("threads: {}", sidestep::Pool::global().metrics().threads());
        }
        best = [best[0].min(times[0]), best[1].min(times[1])];
    }
    let ratio = best[0].as_secs_f64() / best[1].as_secs_f64();
    println!("{ratio:.2} times tokio's");
    ExitCode::from(u8::from(ratio > MOST))
}
