//! The report as charts: bars for single cases, lines over the cases of a group.

mod bars;
mod canvas;
mod lines;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::report::{Report, Section};

/// Writes all charts into `folder`, which is made where it is missing.
pub(crate) fn draw(report: &Report, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let footer = format!(
        "{}; {} cores, {}; {}",
        report.host.cpu, report.host.cores, report.host.kernel, report.host.date
    );
    // Where the metrics of a case stand side by side, the one that peers are compared by stands for
    // all.
    let is_drawn = |section: &Section| {
        let case = report.cases.iter().find(|case| case.name == section.case);
        let compared_by = case.and_then(|case| case.compared_by.as_deref());
        compared_by.is_none_or(|metric| section.metric == metric)
    };
    let (grouped, single): (Vec<_>, Vec<_>) =
        report.sections().into_iter().filter(is_drawn).partition(|section| section.case.contains('/'));
    for section in &single {
        let name = if single.iter().filter(|other| other.case == section.case).count() > 1 {
            format!("{}-{}", section.case, section.metric)
        } else {
            section.case.clone()
        };
        bars::draw(section, &footer, &folder.join(file_name(&name)))?;
    }
    for group in grouped.chunk_by(|one, next| group_of(one) == group_of(next)) {
        if let Some(first) = group.first() {
            lines::draw(group_of(first), group, &footer, &folder.join(file_name(group_of(first))))?;
        }
    }
    Ok(())
}

fn group_of(section: &Section) -> &str {
    section.case.split('/').next().unwrap_or(&section.case)
}

/// Without anything that a shell or a link would mind.
fn file_name(title: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let words: String = title.chars().map(plain).collect();
    let words: Vec<_> = words.split('-').filter(|word| !word.is_empty()).collect();
    format!("{}.svg", words.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Outcome, example};
    use crate::sample::{Metric, Unit};

    #[test]
    fn names_of_files_are_plain() {
        assert_eq!(file_name("cancel-pass by"), "cancel-pass-by.svg");
        assert_eq!(file_name("burst_workers"), "burst-workers.svg");
    }

    #[test]
    fn a_case_whose_metrics_stand_side_by_side_gives_one_chart() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = example("states_idle_0us", "mean", &[("sidestep", &[100.0])]);
        report.cases[0].compared_by = Some("mean".to_owned());
        let Outcome::Sample(sample) = &mut report.records[0].outcome else { panic!("{report:?}") };
        sample.metrics.push(Metric::new("p99", Unit::Nanoseconds, 900.0));
        draw(&report, folder.path()).unwrap();
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names, ["states-idle-0us.svg"]);
        let chart = fs::read_to_string(folder.path().join("states-idle-0us.svg")).unwrap();
        assert!(chart.contains("100 ns") && !chart.contains("900 ns"));
    }

    #[test]
    fn a_case_gives_bars_and_a_group_gives_lines() {
        let folder = tempfile::tempdir().unwrap();
        let values: [(&str, &[f64]); 2] = [("sidestep", &[100.0]), ("tokio", &[4_000.0])];
        let mut report = example("burst", "time per task", &values);
        for number in [1, 2, 4] {
            let mut other = example(&format!("producers/{number}"), "time per task", &values);
            report.cases.append(&mut other.cases);
            report.records.append(&mut other.records);
        }
        draw(&report, &folder.path().join("charts")).unwrap();
        let chart = |name| fs::read_to_string(folder.path().join("charts").join(name)).unwrap();
        let bars = chart("burst.svg");
        for text in ["sidestep", "tokio", "100 ns", "4.00 us"] {
            assert!(bars.contains(text), "{text} is missing");
        }
        assert!(chart("producers.svg").contains("<polyline"));
        assert_eq!(fs::read_dir(folder.path().join("charts")).unwrap().count(), 2);
    }
}
