//! A group of cases: a line for each peer over the number that the cases are named by.

use std::path::Path;

use anyhow::Result;
use plotters::style::text_anchor::HPos;

use super::canvas::{Canvas, FAINT, GRID, INK, LogScale, Point, color, is_capped};
use crate::report::Section;
use crate::table::human;

const SIZE: (i32, i32) = (860, 520);
const TOP: i32 = 78;
const BOTTOM: i32 = SIZE.1 - 66;
const LEFT: i32 = 80;
/// Room for the names at the ends of the lines.
const RIGHT: i32 = SIZE.0 - 220;
/// The least distance of two names.
const LABEL: i32 = 15;

pub(super) fn draw(group: &str, sections: &[Section], footer: &str, file: &Path) -> Result<()> {
    let Some(first) = sections.first() else { return Ok(()) };
    let title = format!("{group}: {}", first.metric);
    let about = format!("{}; less is better; logarithmic", first.about);
    let size = (u32::try_from(SIZE.0)?, u32::try_from(SIZE.1)?);
    let mut canvas = Canvas::new(file, size, &title, &about, footer);
    let medians = sections.iter().flat_map(|section| &section.rows).filter_map(|row| Some(row.value?.median));
    let Some(scale) = LogScale::over(medians, (BOTTOM, TOP)) else {
        canvas.text((LEFT, TOP), "all failed", 14, FAINT, HPos::Left);
        return canvas.save(file);
    };
    draw_axes(&mut canvas, scale, sections);
    draw_lines(&mut canvas, scale, sections);
    canvas.save(file)
}

/// The cases stand at equal distances: their numbers grow by factors.
fn column(index: usize, count: usize) -> i32 {
    let share = index as f64 / count.saturating_sub(1).max(1) as f64;
    LEFT + 16 + (share * f64::from(RIGHT - LEFT - 24)).round() as i32
}

fn draw_axes(canvas: &mut Canvas<'_>, scale: LogScale, sections: &[Section]) {
    for (y, label) in scale.grid(sections[0].unit) {
        canvas.line(vec![(LEFT, y), (RIGHT, y)], GRID, 1.0, 1);
        canvas.text((LEFT - 8, y), &label, 11, FAINT, HPos::Right);
    }
    for (index, section) in sections.iter().enumerate() {
        let number = section.case.rsplit('/').next().unwrap_or_default();
        canvas.text((column(index, sections.len()), BOTTOM + 16), number, 12, INK, HPos::Center);
    }
    canvas.text((LEFT - 8, BOTTOM + 16), "N =", 12, INK, HPos::Right);
}

/// One peer's line, and the name at its end.
struct Line<'a> {
    peer: &'a str,
    points: Vec<Point>,
    name: String,
}

fn draw_lines(canvas: &mut Canvas<'_>, scale: LogScale, sections: &[Section]) {
    let mut lines = lines_of(scale, sections);
    lines.sort_by_key(|line| line.points.last().map(|(_, y)| *y));
    let ends: Vec<_> = lines.iter().filter_map(|line| Some(line.points.last()?.1)).collect();
    let mut placed: Vec<_> = lines.into_iter().zip(spread_out(&ends)).collect();
    // Ours come last, on top of the others.
    placed.sort_by_key(|(line, _)| is_ours(line.peer));
    for (line, y) in &placed {
        draw_line(canvas, line, *y);
    }
}

fn is_ours(peer: &str) -> bool {
    peer.starts_with("sidestep")
}

/// `y` is the height of the name.
fn draw_line(canvas: &mut Canvas<'_>, line: &Line<'_>, y: i32) {
    let Some(&end) = line.points.last() else { return };
    let color = color(line.peer);
    let opacity = if is_capped(line.peer) { 0.45 } else { 1.0 };
    let (width, radius) = if is_ours(line.peer) { (3, 4) } else { (1, 3) };
    canvas.line(vec![(end.0 + 6, end.1), (RIGHT + 12, y)], color, 0.4, 1);
    canvas.line(line.points.clone(), color, opacity, width);
    for point in &line.points {
        canvas.dot(*point, radius, color, opacity);
    }
    canvas.text((RIGHT + 16, y), &line.name, 12, color, HPos::Left);
}

/// The lines of all who finished at least one case.
fn lines_of(scale: LogScale, sections: &[Section]) -> Vec<Line<'_>> {
    let median =
        |section: &Section, peer: &str| Some(section.rows.iter().find(|row| row.peer == peer)?.value?.median);
    sections[0]
        .rows
        .iter()
        .filter_map(|row| {
            let peer = row.peer.as_str();
            let values: Vec<_> = sections
                .iter()
                .enumerate()
                .filter_map(|(index, section)| Some((index, median(section, peer)?)))
                .collect();
            let point = |&(index, value): &(usize, f64)| (column(index, sections.len()), scale.at(value));
            let points = values.iter().map(point).collect();
            let (_, last) = *values.last()?;
            Some(Line { peer, points, name: format!("{peer} {}", human(sections[0].unit, last)) })
        })
        .collect()
}

/// Moves sorted heights apart, as little as that takes, and keeps them on the sheet.
fn spread_out(heights: &[i32]) -> Vec<i32> {
    // Names that would overlap make a block, which is centred on where they belong.
    let mut blocks: Vec<Vec<i32>> = Vec::new();
    for &height in heights {
        let mut block = vec![height];
        while let Some(above) = blocks.pop_if(|above| top(above) + extent(above) > top(&block)) {
            block.splice(0..0, above);
        }
        blocks.push(block);
    }
    let places = |block: &Vec<i32>| {
        let top = top(block);
        (0..).map(move |index| top + index * LABEL).take(block.len())
    };
    blocks.iter().flat_map(places).collect()
}

/// Where the first name of a block stands.
fn top(block: &[i32]) -> i32 {
    let count = block.len() as i32;
    let centred = block.iter().sum::<i32>() / count - (count - 1) * LABEL / 2;
    centred.clamp(TOP - 8, (BOTTOM + 12 - (count - 1) * LABEL).max(TOP - 8))
}

fn extent(block: &[i32]) -> i32 {
    block.len() as i32 * LABEL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_overlap() {
        assert!(spread_out(&[]).is_empty());
        assert_eq!(spread_out(&[100, 300]), [100, 300]);
        assert_eq!(spread_out(&[200, 201, 350]), [193, 208, 350]);
        assert_eq!(spread_out(&[200, 210, 212]), [192, 207, 222]);
        let lowest = spread_out(&[BOTTOM + 9; 3]);
        assert_eq!(lowest, [BOTTOM - 18, BOTTOM - 3, BOTTOM + 12]);
    }
}
