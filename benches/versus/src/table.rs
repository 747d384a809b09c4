//! The report as text: tables for the terminal, or as GitHub shows them.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, TableComponent, presets};

use crate::goals::{self, Verdict};
use crate::report::{Report, Row, Section};
use crate::sample::Unit;
use crate::stats::Spread;

/// Where the text is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Terminal,
    Markdown,
}

impl Style {
    fn heading(self, text: &str) -> String {
        match self {
            Self::Terminal => format!("\n{text}\n"),
            Self::Markdown => format!("\n### {text}\n\n"),
        }
    }

    fn line(self, text: &str) -> String {
        match self {
            Self::Terminal => format!("{text}\n"),
            Self::Markdown => format!("- {text}\n"),
        }
    }

    /// The first `text_columns` are flush left, the others flush right.
    fn table(self, header: &[&str], text_columns: usize, rows: Vec<Vec<String>>) -> String {
        let mut table = Table::new();
        match self {
            Self::Terminal => {
                table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
                // Rows stand close together: only the header has a line below it.
                for line in [
                    TableComponent::HorizontalLines,
                    TableComponent::MiddleIntersections,
                    TableComponent::LeftBorderIntersections,
                    TableComponent::RightBorderIntersections,
                ] {
                    table.remove_style(line);
                }
            }
            Self::Markdown => {
                table.load_preset(presets::ASCII_MARKDOWN);
            }
        }
        table.set_header(header);
        table.add_rows(rows);
        for column in table.column_iter_mut().skip(text_columns) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("{table}\n")
    }
}

/// The whole report.
pub(crate) fn render(report: &Report, style: Style) -> String {
    let mut text = head(report, style);
    for sections in report.sections().chunk_by(|one, next| one.case == next.case) {
        let case = report.cases.iter().find(|case| sections.iter().all(|section| section.case == case.name));
        match case.and_then(|case| case.compared_by.as_deref()) {
            Some(metric) => text += &render_side_by_side(report, sections, metric, style),
            None => sections.iter().for_each(|section| text += &render_section(report, section, style)),
        }
    }
    text += &render_goals(&goals::judge(report), report.quick, style);
    text
}

fn head(report: &Report, style: Style) -> String {
    let mut text = String::new();
    for (name, fact) in report.host.lines() {
        text += &style.line(&format!("{name}: {fact}"));
    }
    let kind = if report.quick { ", quick: too short to compare by" } else { "" };
    text += &style.line(&format!("rounds: {}{kind}", report.rounds));
    if let Some(neighbours) = report.neighbours(None) {
        text += &style.line(&format!("machine, over all of the run: {}", neighbours.words()));
    }
    for remark in &report.remarks {
        text += &style.line(remark);
    }
    text + &style.line(
        "ratio: to sidestep in the same round and on the same kind of runtime, median (least to most); over 1 is slower",
    )
}

/// What stands above a table.
fn heading(report: &Report, section: &Section, title: &str) -> String {
    let neighbours = report.neighbours(Some(&section.case));
    let state = neighbours.map(|neighbours| format!("; {}", neighbours.words())).unwrap_or_default();
    format!("{title} ({}; {}{state})", section.about, section.amount)
}

fn render_section(report: &Report, section: &Section, style: Style) -> String {
    let heading = heading(report, section, &section.title());
    let header = ["peer", "median", "ratio", "threads", "CPU/task", "switches/task", "peak MiB"];
    let rows = section.rows.iter().map(|row| cells(row, section.unit).into()).collect();
    style.heading(&heading) + &style.table(&header, 1, rows) + &failures(section, style)
}

/// All metrics of a case in one table, with the ratios of one of them.
fn render_side_by_side(report: &Report, sections: &[Section], compared: &str, style: Style) -> String {
    let Some(main) = sections.iter().find(|section| section.metric == compared).or(sections.first()) else {
        return String::new();
    };
    let ratio = format!("{compared}: ratio");
    let mut header = vec!["peer"];
    header.extend(sections.iter().map(|section| section.metric.as_str()));
    header.extend([ratio.as_str(), "threads", "CPU/task", "switches/task", "peak MiB"]);
    let rows = main.rows.iter().map(|row| {
        let [peer, _, others @ ..] = cells(row, main.unit);
        let value = |section: &Section| {
            let row = section.rows.iter().find(|other| other.peer == row.peer)?;
            Some(value(row, section.unit))
        };
        let values = sections.iter().map(|section| value(section).unwrap_or_default());
        [peer].into_iter().chain(values).chain(others).collect()
    });
    let rows = rows.collect();
    let heading = heading(report, main, &main.case);
    style.heading(&heading) + &style.table(&header, 1, rows) + &failures(main, style)
}

/// Which peers failed, and why.
fn failures(section: &Section, style: Style) -> String {
    let mut text = String::new();
    for row in section.rows.iter().filter(|row| !row.failures.is_empty()) {
        let reasons = row.failures.join("; ");
        text += &style.line(&format!("{} failed {} times: {reasons}", row.peer, row.failures.len()));
    }
    text
}

/// The figure of a row, beside its ideal where it has one.
fn value(row: &Row, unit: Unit) -> String {
    match (row.value, row.multiple) {
        (None, _) => "failed".to_owned(),
        (Some(value), None) => human(unit, value.median),
        (Some(value), Some(multiple)) => {
            format!("{} = {:.2} x ideal", human(unit, value.median), multiple.median)
        }
    }
}

fn cells(row: &Row, unit: Unit) -> [String; 7] {
    let or_blank = |figure: Option<f64>, format: fn(f64) -> String| figure.map(format).unwrap_or_default();
    [
        row.peer.clone(),
        value(row, unit),
        row.ratio.map(spread).unwrap_or_default(),
        or_blank(row.threads, |threads| format!("{threads:.0}")),
        or_blank(row.cpu_nanos, |nanos| human(Unit::Nanoseconds, nanos)),
        or_blank(row.switches, digits),
        or_blank(row.peak_kib, |kib| digits(kib / 1024.0)),
    ]
}

fn render_goals(verdicts: &[Verdict], quick: bool, style: Style) -> String {
    // Those of other cases would hide them.
    let rows = verdicts.iter().filter(|verdict| verdict.asked).map(|verdict| {
        let (figure, met) = match verdict.figure {
            None => (String::new(), "not measured"),
            Some(figure) => (in_unit(verdict.unit, figure), if verdict.met { "met" } else { "not met" }),
        };
        vec![verdict.case.clone(), verdict.goal.clone(), figure, met.to_owned(), verdict.note.clone()]
    });
    let mut text = style.heading(if quick { "goals (too short a run to judge by)" } else { "goals" })
        + &style.table(&["case", "goal", "figure", "", ""], 2, rows.collect());
    let measured = verdicts.iter().filter(|verdict| verdict.figure.is_some()).count();
    let met = verdicts.iter().filter(|verdict| verdict.met).count();
    let _ = writeln!(text, "\n{met} of {measured} met, {} not measured", verdicts.len() - measured);
    text
}

/// Median and ends; the median alone where they are the same.
fn spread(figures: Spread) -> String {
    in_unit(None, figures)
}

/// The same with the unit, where there is one.
fn in_unit(unit: Option<Unit>, Spread { least, median, most }: Spread) -> String {
    let words = |figure| unit.map_or_else(|| digits(figure), |unit| human(unit, figure));
    let [least, median, most] = [least, median, most].map(words);
    if least == most { median } else { format!("{median} ({least} to {most})") }
}

/// With the unit that gives a number of few digits.
pub(crate) fn human(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Bytes => format!("{} B", digits(value)),
        Unit::MicrosPerSecond => format!("{} us/s", digits(value)),
        Unit::Nanoseconds => {
            let (scale, name) = match value {
                ..1e3 => (1.0, "ns"),
                ..1e6 => (1e3, "us"),
                ..1e9 => (1e6, "ms"),
                _ => (1e9, "s"),
            };
            format!("{} {name}", digits(value / scale))
        }
    }
}

/// Three digits that matter.
pub(crate) fn digits(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Outcome, Record, example};
    use crate::sample::Metric;

    fn report() -> Report {
        let peers: [(&str, &[f64]); 2] =
            [("sidestep", &[100.0, 130.0, 400.0]), ("tokio", &[1_000.0, 650.0, 2_000.0])];
        example("burst", "time per task", &peers)
    }

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        let times =
            [0.4, 12.34, 999.0, 1_234.0, 56_789.0, 2.5e9].map(|value| human(Unit::Nanoseconds, value));
        assert_eq!(times, ["0.400 ns", "12.3 ns", "999 ns", "1.23 us", "56.8 us", "2.50 s"]);
        assert_eq!(human(Unit::Bytes, 168.2), "168 B");
        assert_eq!(human(Unit::MicrosPerSecond, 31.0), "31.0 us/s");
    }

    #[test]
    fn figures_have_a_unit_where_they_are_no_ratios() {
        let figures = Spread { least: 1e6, median: 2e6, most: 30e6 };
        assert_eq!(in_unit(Some(Unit::Nanoseconds), figures), "2.00 ms (1.00 ms to 30.0 ms)");
        assert_eq!(spread(Spread { least: 1.0, median: 1.0, most: 1.0 }), "1.00");
    }

    #[test]
    fn a_table_shows_medians_and_ratios() {
        let text = render(&report(), Style::Markdown);
        let row = text.lines().find(|line| line.starts_with("| tokio")).unwrap();
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let expected = [
            "",
            "tokio",
            "1.00 us = 10.00 x ideal",
            "5.00 (5.00 to 10.0)",
            "3",
            "1.50 us",
            "0.250",
            "2.00",
            "",
        ];
        assert_eq!(cells, expected);
    }

    #[test]
    fn metrics_may_stand_side_by_side() {
        let mut report = report();
        report.cases[0].compared_by = Some("mean".to_owned());
        for record in &mut report.records {
            let Outcome::Sample(sample) = &mut record.outcome else { panic!("{record:?}") };
            sample.metrics.push(Metric::new("mean", Unit::Nanoseconds, 7.0));
        }
        let text = render(&report, Style::Markdown);
        assert!(text.contains("### burst (a test; 10 tasks; idle machine: others used"), "{text}");
        let row = text.lines().find(|line| line.starts_with("| tokio")).unwrap();
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[1..5], ["tokio", "1.00 us = 10.00 x ideal", "7.00 ns", "1.00"]);
        assert_eq!(text.lines().filter(|line| line.starts_with("| tokio")).count(), 1);
    }

    #[test]
    fn the_head_says_where_and_with_what() {
        let text = render(&report(), Style::Terminal);
        for word in [
            "cores: ",
            "kernel: ",
            "load before: ",
            "tokio 1.",
            "affinitypool 0.8",
            "rounds: 3",
            "machine, over all of the run: idle machine",
            "an example",
        ] {
            assert!(text.contains(word), "{word}");
        }
    }

    #[test]
    fn failures_are_shown_with_their_reason() {
        let mut report = report();
        report.records.push(Record::failed("burst", "rayon", "killed after 5 s"));
        let text = render(&report, Style::Terminal);
        assert!(text.contains("rayon failed 1 times: killed after 5 s"), "{text}");
    }

    #[test]
    fn goals_are_listed_met_or_not() {
        let text = render(&report(), Style::Markdown);
        let line = text.lines().find(|line| line.contains("1/12 of tokio")).unwrap();
        assert!(line.contains("0.200 (0.100 to 0.200)") && line.contains("not met"), "{line}");
        assert!(text.contains("not measured"));
    }
}
