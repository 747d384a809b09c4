//! `versus`: the same work on sidestep and on the other ways to run blocking closures, side by
//! side.
//!
//! Run it in its own folder, `cargo run --release -- --help`. A module uses only what stands above
//! it, but that tests look where they like:
//!
//! | module | owns |
//! |---|---|
//! | `system`, `census`, `stats` | clocks and counters; which threads ran closures; medians |
//! | `sample` | what one run gives |
//! | `surroundings` | what else is awake while a case runs |
//! | `peers`, `driver` | who runs closures, and from which runtime |
//! | `disks` | who uses files |
//! | `entrants` | who takes part, with which settings |
//! | `stage`, `site`, `scenarios` | what is run: closures, and calls of files |
//! | `baseline` | older versions of the library |
//! | `child`, `contest` | one run in this process; all runs, each in a process of its own |
//! | `host`, `report`, `goals` | where it was; what it gave; whether that is what was wanted |
//! | `table`, `plot` | how it is shown |

mod baseline;
mod census;
mod child;
mod cli;
mod contest;
mod disks;
mod driver;
mod entrants;
mod goals;
mod host;
mod peers;
mod plot;
mod report;
mod sample;
mod scenarios;
mod site;
mod stage;
mod stats;
mod surroundings;
mod system;
mod table;

use std::fs;
use std::io::{ErrorKind, Write, stdout};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::cli::{Cli, Hidden};
use crate::entrants::ENTRANTS;
use crate::report::Report;
use crate::scenarios::cases;
use crate::table::Style;

fn main() -> Result<()> {
    let cli = Cli::parse();
    match &cli.hidden {
        Some(Hidden::Child(args)) => return child::run(args),
        Some(Hidden::Hog) => surroundings::hog(),
        None => {}
    }
    if cli.list {
        return print(&list());
    }
    let report = match &cli.from {
        Some(file) => Report::load(file)?,
        None => contest::hold(&cli)?,
    };
    if let Some(file) = &cli.json {
        report.save(file)?;
    }
    if let Some(file) = &cli.markdown {
        fs::write(file, table::render(&report, Style::Markdown))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(folder) = &cli.plot {
        plot::draw(&report, folder)?;
    }
    print(&table::render(&report, Style::Terminal))?;
    // A quick run is a test. In a long one a failure of a rival is a result like others.
    ensure!(!cli.quick || report.failures() == 0, "{} runs failed", report.failures());
    Ok(())
}

/// A reader that has seen enough is no error.
fn print(text: &str) -> Result<()> {
    match stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot print"),
    }
}

fn list() -> String {
    let mut text = "cases:\n".to_owned();
    for case in cases() {
        let group = case.group.map(|group| format!("; one of {group}")).unwrap_or_default();
        text += &format!("  {:<23}{}; {}{group}\n", case.name, case.about, case.amount(false));
    }
    text += "peers (-cores: at most as many threads as cores; @current: from a current_thread runtime):\n";
    for name in entrants::names() {
        let absent = ENTRANTS.iter().any(|entrant| entrant.name == name && entrant.absence().is_some());
        text += &format!("  {name}{}\n", if absent { ", absent from this build" } else { "" });
    }
    text
}
