//! The example as its users meet it: run as a program, judged by what it prints.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

use std::process::Command;

/// The number that ends the line that begins so, up to a unit.
fn number(text: &str, what: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(what)).expect(what);
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_panic_a_broken_connection_and_an_endless_query_are_healed() {
    let output = Command::new(env!("CARGO_BIN_EXE_sqlite")).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    assert_eq!(complaint, "");
    let text = String::from_utf8(output.stdout).unwrap();
    for rows in ["rows after a new connection", "rows by the next one", "rows by that connection"] {
        assert_eq!(number(&text, rows), 10_000, "{text}");
    }
    assert_eq!(number(&text, "connections dropped by a test"), 1, "{text}");
    // The timeout is 200 ms; SQLite sees an interrupt within some milliseconds.
    let left = number(&text, "its caller gave up after");
    let ended = number(&text, "it ended after");
    assert!(left >= 200 && (left..left + 5_000).contains(&ended), "{text}");
    assert!(text.contains("(interrupted)"), "{text}");
    // Four at most at a time, and one more for the one that broke.
    let made = number(&text, "readers made, at most 4 alive");
    assert!((2..=5).contains(&made), "{text}");
    assert!(text.contains("all connections are closed"), "{text}");
}
