//! The table at the end, and the lines on the way.

use std::{
    io::{self, Write as _},
    sync::atomic::Ordering,
    time::Duration,
};

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use indicatif::{HumanBytes, HumanCount};

#[cfg(unix)]
use crate::{forks, pipes};
use crate::{
    hangs::{HUNG, LONGEST},
    ledger::{self, ENDS, KINDS, Mark},
    locks::{LOCKS, LOCKS_FORGONE},
    process::Holdings,
    site::{POOLS_MADE, POOLS_REFUSED, THREADS_MADE, THREADS_REFUSED},
};

/// The line of one reading.
pub(crate) fn line(name: &str, time: Duration, now: &Holdings) -> String {
    let or_unknown = |number: Option<usize>| number.map_or("?".to_owned(), |number| number.to_string());
    let rss = now.rss.map_or("?".to_owned(), |rss| HumanBytes(rss).to_string());
    format!(
        "{name:>8} {:>6.1} s  {:>11} tasks  {:>7} pools  {:>3} threads  RSS {rss}  heap {}  {} files",
        time.as_secs_f64(),
        HumanCount(ledger::total(Mark::Made)).to_string(),
        HumanCount(POOLS_MADE.load(Ordering::Relaxed)).to_string(),
        or_unknown(now.threads),
        HumanBytes(now.heap.max(0).cast_unsigned() as u64),
        or_unknown(now.files),
    )
}

/// Tasks by kind and end.
fn tasks() -> Table {
    let mut table = empty(["", "tasks", "run"].map(str::to_owned).into_iter().chain(ENDS.map(name)));
    for kind in KINDS {
        let counts = ledger::of(kind);
        let figures = [Mark::Made, Mark::Begun].into_iter().chain(ENDS).map(|mark| counts.get(mark));
        table.add_row([format!("{kind:?}")].into_iter().chain(figures.map(figure)));
    }
    let totals = [Mark::Made, Mark::Begun].into_iter().chain(ENDS).map(ledger::total);
    table.add_row(["all".to_owned()].into_iter().chain(totals.map(figure)));
    align(table)
}

fn figure(count: u64) -> String {
    if count == 0 { String::new() } else { HumanCount(count).to_string() }
}

/// `HandedBack` as `handed back`.
fn name(mark: Mark) -> String {
    let debug = format!("{mark:?}");
    let spaced = debug.char_indices().flat_map(|(index, char)| {
        let space = (index > 0 && char.is_uppercase()).then_some(' ');
        space.into_iter().chain([char.to_ascii_lowercase()])
    });
    spaced.collect()
}

fn totals(peak: usize, standstill: Duration) -> Table {
    let mut table = empty(["", ""].map(str::to_owned));
    let rows = [
        ("closures run", ledger::total(Mark::Begun)),
        ("that panicked", ledger::total(Mark::Panicked)),
        ("dropped unrun", ledger::total(Mark::ClosureDropped) - ledger::total(Mark::Begun)),
        ("pools made", POOLS_MADE.load(Ordering::Relaxed)),
        ("pools without a first thread", POOLS_REFUSED.load(Ordering::Relaxed)),
        ("threads made", THREADS_MADE.load(Ordering::Relaxed)),
        ("threads refused", THREADS_REFUSED.load(Ordering::Relaxed)),
        ("threads of the process, at most", peak as u64),
        ("locks of files", LOCKS.load(Ordering::Relaxed)),
        ("locks not waited for, or refused", LOCKS_FORGONE.load(Ordering::Relaxed)),
        ("calls that hung", HUNG.load(Ordering::Relaxed)),
        #[cfg(unix)]
        ("bytes through FIFOs, terminals, sockets", pipes::BYTES.load(Ordering::Relaxed)),
        #[cfg(unix)]
        ("reads of them dropped", pipes::WAITS_DROPPED.load(Ordering::Relaxed)),
        #[cfg(unix)]
        ("forked children", forks::CHILDREN.load(Ordering::Relaxed)),
    ];
    for (name, count) in rows {
        table.add_row([name.to_owned(), HumanCount(count).to_string()]);
    }
    let beside = Duration::from_micros(LONGEST.load(Ordering::Relaxed));
    table.add_row(["files and lookups beside hangs, at most".to_owned(), format!("{beside:.1?}")]);
    table.add_row(["longest standstill".to_owned(), format!("{standstill:.1?}")]);
    align(table)
}

fn empty(header: impl IntoIterator<Item = String>) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header(header);
    table
}

fn align(mut table: Table) -> Table {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Everything, at the end.
pub(crate) fn print(peak: usize, standstill: Duration) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}\n{}", tasks(), totals(peak, standstill))
}
