//! How do I use the pool from ordinary threads, in a program that has no async at all?

use std::{fs, io};

fn main() -> io::Result<()> {
    // All of them run at the same time, and this thread goes on meanwhile.
    let names = ["Cargo.toml", "README.md", "no such file"];
    let reads = names.map(|name| sidestep::spawn(move || fs::read_to_string(name)));
    println!("{} files are being read", reads.len());

    // `wait` blocks this thread until the closure has ended. Its outer error is the pool's: the
    // closure panicked, was cancelled or could not run. It turns into an `io::Error`; the inner one
    // is whatever the closure returned.
    for (name, read) in names.into_iter().zip(reads) {
        match read.wait()? {
            Ok(text) => println!("{name}: {} lines", text.lines().count()),
            Err(error) => println!("{name}: {error}"),
        }
    }
    Ok(())
}
