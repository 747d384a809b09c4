//! The figures at the end: a table for people, JSON for programs.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

/// What has come of the files so far.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) files: u64,
    pub(crate) unreadable: u64,
    pub(crate) bytes: u64,
}

/// What one way through the tree took.
#[derive(Serialize)]
pub(crate) struct Figures {
    pub(crate) files: u64,
    pub(crate) unreadable: u64,
    pub(crate) bytes: u64,
    seconds: f64,
    threads: usize,
    worst_heartbeat_delay_ms: f64,
}

impl Figures {
    pub(crate) fn new(tally: Tally, time: Duration, threads: usize, worst_delay: Duration) -> Figures {
        let Tally { files, unreadable, bytes } = tally;
        let (seconds, worst_heartbeat_delay_ms) = (time.as_secs_f64(), worst_delay.as_micros() as f64 / 1e3);
        Figures { files, unreadable, bytes, seconds, threads, worst_heartbeat_delay_ms }
    }

    /// The cells of its column, in the order of [`LABELS`].
    fn cells(&self) -> [String; LABELS.len()] {
        [
            HumanCount(self.files).to_string(),
            HumanCount(self.unreadable).to_string(),
            HumanBytes(self.bytes).to_string(),
            format!("{:.2?}", Duration::from_secs_f64(self.seconds)),
            format!("{}/s", HumanBytes((self.bytes as f64 / self.seconds) as u64)),
            self.threads.to_string(),
            format!("{:.1}ms", self.worst_heartbeat_delay_ms),
        ]
    }
}

const LABELS: [&str; 7] =
    ["files", "unreadable", "bytes", "time", "speed", "threads used", "worst heartbeat delay"];

/// The figures of the ways that were taken.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pool: Option<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) inline: Option<Figures>,
}

impl Report {
    /// Whether every file was read, whichever way.
    pub(crate) fn is_complete(&self) -> bool {
        [&self.pool, &self.inline].into_iter().flatten().all(|figures| figures.unreadable == 0)
    }

    /// One row per figure, one column per way.
    pub(crate) fn table(&self) -> String {
        let ways = [("on the pool", &self.pool), ("inline", &self.inline)];
        let taken = ways.into_iter().filter_map(|(name, figures)| Some((name, figures.as_ref()?.cells())));
        let (names, columns): (Vec<_>, Vec<_>) = taken.unzip();

        let mut table = Table::new();
        table.load_preset(UTF8_FULL_CONDENSED);
        table.set_header([""].into_iter().chain(names));
        for (row, label) in LABELS.into_iter().enumerate() {
            table.add_row([label].into_iter().chain(columns.iter().map(|cells| cells[row].as_str())));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Figures, Report, Tally};

    fn figures(unreadable: u64, threads: usize) -> Figures {
        let tally = Tally { files: 1234, unreadable, bytes: 3 << 20 };
        Figures::new(tally, Duration::from_millis(1500), threads, Duration::from_micros(2345))
    }

    /// The cells of the row that begins with `label`.
    fn row(table: &str, label: &str) -> Vec<String> {
        let mut rows = table.lines().map(|line| line.split(['│', '┆']).map(str::trim).collect::<Vec<_>>());
        let cells = rows.find(|cells| cells.get(1) == Some(&label)).unwrap();
        cells[2..cells.len() - 1].iter().map(|cell| (*cell).to_string()).collect()
    }

    #[test]
    fn the_two_ways_stand_side_by_side() {
        let table = Report { pool: Some(figures(0, 4)), inline: Some(figures(0, 1)) }.table();
        assert_eq!(row(&table, ""), ["on the pool", "inline"]);
        assert_eq!(row(&table, "files"), ["1,234", "1,234"]);
        assert_eq!(row(&table, "bytes"), ["3.00 MiB", "3.00 MiB"]);
        assert_eq!(row(&table, "time"), ["1.50s", "1.50s"]);
        assert_eq!(row(&table, "speed"), ["2.00 MiB/s", "2.00 MiB/s"]);
        assert_eq!(row(&table, "threads used"), ["4", "1"]);
        assert_eq!(row(&table, "worst heartbeat delay"), ["2.3ms", "2.3ms"]);
    }

    #[test]
    fn a_way_that_was_not_taken_has_no_column() {
        let report = Report { pool: None, inline: Some(figures(0, 1)) };
        assert_eq!(row(&report.table(), ""), ["inline"]);
        assert!(serde_json::to_value(&report).unwrap().get("pool").is_none());
    }

    #[test]
    fn one_unreadable_file_makes_it_incomplete() {
        assert!(Report { pool: Some(figures(0, 4)), inline: None }.is_complete());
        assert!(!Report { pool: Some(figures(1, 4)), inline: Some(figures(0, 1)) }.is_complete());
    }
}
