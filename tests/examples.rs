//! The small examples as their users meet them: run as programs, judged by what they print.

#![expect(clippy::unwrap_used, reason = "in a test, helpers included, an unwrap is an assertion")]

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The example beside this test's own executable; `cargo test` has built it unless a single test
/// was asked for.
fn program(name: &str) -> PathBuf {
    let this = env::current_exe().unwrap();
    let profile = this.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join(name).with_extension(env::consts::EXE_EXTENSION);
    if !program.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--example", name]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "the example does not build");
    }
    program
}

/// What the example prints; it must succeed and have nothing to complain of.
fn output(name: &str, args: &[&str]) -> String {
    let output = Command::new(program(name)).args(args).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint: String = complaint.split_inclusive('\n').take(20).collect();
    assert!(output.status.success(), "{name}: {complaint}");
    assert_eq!(complaint, "", "{name}");
    String::from_utf8(output.stdout).unwrap()
}

/// The two figures of a row of the table of `lanes`: without lanes, and with them.
fn row(table: &str, what: &str) -> [usize; 2] {
    let line = table.lines().find(|line| line.contains(what)).expect(what);
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    [cells[2].parse().unwrap(), cells[3].parse().unwrap()]
}

#[test]
fn a_hanging_resolver_keeps_to_its_lane() {
    let serves = |_| {
        let table = output("lanes", &[]);
        let [_, dns] = row(&table, "DNS calls running");
        assert!((1..=2).contains(&dns), "{table}");
        let threads = row(&table, "threads, at most");
        assert!(threads.iter().all(|threads| *threads <= 4), "{table}");
        let [starved, served] = row(&table, "queries answered");
        starved < served
    };
    // It has less than a second, in which a busy machine may serve nobody: not in each of so many
    // runs.
    assert!((0..8).any(serves), "no more queries were answered with lanes than without");
}

#[test]
fn calls_that_hang_are_interrupted() {
    let text = output("timeout", &[]);
    let calls = if cfg!(unix) { 2 } else { 1 };
    assert_eq!(text.matches("the closure saw the interruption: true").count(), calls, "{text}");
    assert!(text.contains(" 0 tasks still running"), "{text}");
}

#[test]
fn the_bounded_queue_stays_short() {
    let text = output("backpressure", &["--requests", "20000"]);
    assert!(text.contains("20000 requests done"), "{text}");
    let waiting = text.lines().filter_map(|line| line.split_once(" waiting, RSS")?.0.split(", ").nth(1));
    let waiting: Vec<usize> = waiting.map(|number| number.trim().parse().unwrap()).collect();
    assert_eq!(waiting.len(), 10, "{text}");
    assert!(waiting.iter().all(|waiting| *waiting <= 1000), "{text}");
}

#[test]
fn the_unbounded_queue_loses_nothing_either() {
    let text = output("backpressure", &["--requests", "20000", "--unbounded"]);
    assert!(text.contains("20000 requests done"), "{text}");
}

#[test]
fn a_compressor_on_the_pool_leaves_the_loop_free() {
    let text = output("gzip", &[]);
    assert!(text.contains("decompressed, equal to the file"), "{text}");
    let ticks = ["on the pool", "on the loop"].map(|way| {
        let row = text.lines().find_map(|line| line.strip_prefix(way)).expect(way);
        let cells: Vec<&str> = row.split_whitespace().collect();
        let [_, "ms", _, "ms", ticks] = cells[..] else { panic!("{text}") };
        ticks.parse::<u32>().unwrap()
    });
    assert!(ticks[0] > 0 && ticks[1] == 0, "{text}");
}

#[test]
fn a_file_of_ones_own_is_compressed() {
    let text = output("gzip", &["Cargo.toml"]);
    assert!(text.starts_with(&format!("{} bytes", include_bytes!("../Cargo.toml").len())), "{text}");
}

#[test]
fn the_loop_does_the_same_in_every_other_loop() {
    let text = output("event_loop", &[]);
    assert_eq!(text.matches(": 3 sums, 3 messages, 3 ticks").count(), 4, "{text}");
    let sums = text.lines().filter(|line| line.split_once("  ").is_some_and(|(sum, _)| sum.len() == 64));
    assert_eq!(sums.count(), 3, "{text}");
}

/// It judges itself: lost closures, leaks and standstills end it with another status.
#[test]
fn a_random_load_leaves_nothing_behind() {
    let text = output("soak", &["--seconds", "3", "--seed", "7"]);
    assert!(text.ends_with("all balanced\n"), "{text}");
    let pools = text.lines().find_map(|line| line.strip_prefix("│ pools made")).expect(&text);
    let pools: String = pools.chars().filter(char::is_ascii_digit).collect();
    assert!(pools.parse::<u32>().unwrap() > 0, "{text}");
}

#[cfg(feature = "tracing")]
#[test]
fn the_pool_can_be_observed() {
    let text = output("observe", &[]);
    assert!(text.lines().count() < 40, "{text}");
    assert!(text.contains("request{id=7}: observe: looking the user up"), "{text}");
    let running = text.lines().find(|line| line.starts_with("task 2 ")).expect(&text);
    assert!(running.contains("\"tape drive\" of ") && running.contains("observe.rs:"), "{text}");
    let warning = text.lines().find(|line| line.contains("a task ran long")).expect(&text);
    assert!(warning.contains("WARN sidestep: ") && warning.contains("\"tape drive\""), "{text}");
    assert!(text.contains("10 submitted, 10 completed"), "{text}");
    assert!(text.contains("0 queued, 0 running"), "{text}");
}
