//! One case: a bar for each peer.

use std::path::Path;

use anyhow::Result;
use plotters::style::text_anchor::HPos;

use super::canvas::{Canvas, FAINT, GRID, INK, LogScale, Point, color, is_capped};
use crate::report::{Row, Section};
use crate::table::{digits, human};

const WIDTH: i32 = 860;
const TOP: i32 = 74;
const BAR: i32 = 24;
const BOTTOM: i32 = 58;
/// The names stand left of this, and the bars begin here.
const LEFT: i32 = 186;
/// Room for the value behind the longest bar.
const RIGHT: i32 = WIDTH - 190;

pub(super) fn draw(section: &Section, footer: &str, file: &Path) -> Result<()> {
    let height = TOP + BAR * i32::try_from(section.rows.len())? + BOTTOM;
    let about = format!("{}; {}; less is better; logarithmic", section.about, section.amount);
    let size = (u32::try_from(WIDTH)?, u32::try_from(height)?);
    let mut canvas = Canvas::new(file, size, &section.title(), &about, footer);
    let values = section.rows.iter().filter_map(|row| Some(row.value?.median));
    let scale = LogScale::over(values, (LEFT, RIGHT));
    let base = height - BOTTOM + 4;
    for (x, label) in scale.map(|scale| scale.grid(section.unit)).unwrap_or_default() {
        canvas.line(vec![(x, TOP - 6), (x, base)], GRID, 1.0, 1);
        canvas.text((x, base + 10), &label, 10, FAINT, HPos::Center);
    }
    for (row, y) in section.rows.iter().zip((TOP..).step_by(BAR as usize)) {
        draw_row(&mut canvas, section, row, scale, y);
    }
    canvas.save(file)
}

fn draw_row(canvas: &mut Canvas<'_>, section: &Section, row: &Row, scale: Option<LogScale>, y: i32) {
    let middle = y + BAR / 2 - 2;
    canvas.text((LEFT - 8, middle), &row.peer, 12, INK, HPos::Right);
    let (Some(value), Some(scale)) = (row.value, scale) else {
        canvas.text((LEFT + 8, middle), "failed", 12, FAINT, HPos::Left);
        return;
    };
    let end = scale.at(value.median).max(LEFT + 2);
    let opacity = if is_capped(&row.peer) { 0.55 } else { 1.0 };
    canvas.bar([(LEFT, y), (end, y + BAR - 5)], color(&row.peer), opacity);
    // From the least to the most of all rounds.
    let whisker: [Point; 2] = [(scale.at(value.least), middle), (scale.at(value.most), middle)];
    canvas.line(whisker.into(), INK, 0.8, 1);
    let mut label = human(section.unit, value.median);
    if let Some(multiple) = row.multiple {
        label += &format!(" = {:.2} x ideal", multiple.median);
    } else if let Some(ratio) = row.ratio.filter(|_| crate::entrants::reference(&row.peer) != row.peer) {
        label += &format!(" = {} x", digits(ratio.median));
    }
    canvas.text((end.max(scale.at(value.most)) + 7, middle), &label, 12, INK, HPos::Left);
}
