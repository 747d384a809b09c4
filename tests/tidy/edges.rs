//! The page of the memory model against the models: each model that it cites exists, and each edge
//! without one stands among those that only x86 has been seen to keep.

use std::collections::BTreeSet;
use std::fs;

use crate::sources::sources;

const PAGE: &str = "docs/internals/MEMORY_MODEL.md";
/// The heading of the table of the edges that no model shows.
const UNSEEN: &str = "What only x86 has been seen to keep";

/// The spans of code of a text.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The names of the functions in the models.
fn models() -> BTreeSet<String> {
    let files = sources("src").into_iter().filter(|source| source.name().contains("loom_models"));
    let texts: Vec<_> = files.map(|source| source.text).collect();
    let functions = texts.iter().flat_map(|text| text.lines()).filter_map(|line| {
        let (name, _) = line.trim_start().strip_prefix("fn ")?.split_once('(')?;
        Some(name.to_owned())
    });
    functions.collect()
}

#[test]
fn edges_without_a_model_are_those_that_only_x86_has_been_seen_to_keep() {
    let (page, models) = (fs::read_to_string(PAGE).unwrap(), models());
    let (mut edges, mut unproven, mut listed) = <(BTreeSet<&str>, BTreeSet<&str>, BTreeSet<&str>)>::default();
    let (mut heading, mut faults) = ("", Vec::new());
    for line in page.lines() {
        heading = line.strip_prefix("## ").unwrap_or(heading);
        let Some(row) = line.strip_prefix("| ").and_then(|row| row.strip_suffix('|')) else { continue };
        let cells: Vec<_> = row.split('|').collect();
        if heading == UNSEEN {
            listed.extend(spans(cells[0]));
        } else if let Some(edge) = row.strip_prefix('`').and_then(|_| spans(row).next()) {
            edges.insert(edge);
            let (there, others): (Vec<_>, Vec<_>) =
                spans(cells.last().unwrap()).partition(|span| models.contains(*span));
            let is_name = |span: &&str| {
                span.contains('_') && span.chars().all(|char| char.is_ascii_lowercase() || char == '_')
            };
            let gone = others.into_iter().filter(is_name);
            faults.extend(gone.map(|name| format!("{edge}: there is no model {name}")));
            if there.is_empty() {
                unproven.insert(edge);
            }
        }
    }
    let is_edge =
        |span: &&str| span.contains('-') && span.chars().all(|char| char.is_ascii_lowercase() || char == '-');
    let unknown = spans(&page).filter(is_edge).filter(|span| !edges.contains(span));
    faults.extend(unknown.map(|span| format!("there is no edge {span}")));
    faults.extend(unproven.difference(&listed).map(|edge| format!("{edge} has no model, and is not listed")));
    faults.extend(
        listed.difference(&unproven).map(|edge| format!("{edge} is listed, and has a model or no row")),
    );
    assert!(edges.len() > 40 && models.len() > 80, "{} edges and {} models", edges.len(), models.len());
    assert!(faults.is_empty(), "{PAGE}: {faults:#?}");
}
