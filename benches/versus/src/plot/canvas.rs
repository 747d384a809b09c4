//! What the charts have in common: colours, letters, and axes with a logarithmic scale.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, RGBColor, ShapeStyle, TextStyle, WHITE};

use crate::sample::Unit;
use crate::table::human;

pub(super) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
pub(super) const FAINT: RGBColor = RGBColor(0x77, 0x77, 0x77);
pub(super) const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

/// A point, in pixels from the upper left corner.
pub(super) type Point = (i32, i32);

/// The colour of a peer: one for each family, and for ours one that no other resembles.
pub(super) fn color(peer: &str) -> RGBColor {
    let family = peer.split('@').next().unwrap_or(peer).trim_end_matches("-cores");
    match family {
        "sidestep" => RGBColor(0xd9, 0x48, 0x01),
        "tokio" => RGBColor(0x1f, 0x4e, 0x8c),
        "tokio-sharded" => RGBColor(0x5b, 0x9b, 0xd5),
        "blocking" => RGBColor(0x3d, 0x8b, 0x57),
        "affinitypool" => RGBColor(0x7b, 0x4b, 0x9e),
        "rayon" => RGBColor(0x8a, 0x6d, 0x3b),
        "threadpool" => RGBColor(0x4d, 0x4d, 0x4d),
        "rusty_pool" => RGBColor(0xb8, 0x5c, 0x8a),
        "std" => RGBColor(0x4d, 0x4d, 0x4d),
        "async-fs" => RGBColor(0x3d, 0x8b, 0x57),
        "sidestep-each" | "sidestep-time" => RGBColor(0xe8, 0x9a, 0x6a),
        _ => RGBColor(0x9a, 0x9a, 0x9a),
    }
}

/// Whether a peer is one that has been restrained.
pub(super) fn is_capped(peer: &str) -> bool {
    peer.ends_with("-cores")
}

/// A sheet to draw on. Errors are kept and come out at the end.
pub(super) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
    error: Option<anyhow::Error>,
}

impl<'a> Canvas<'a> {
    /// A blank sheet with a title and what the chart is about.
    pub(super) fn new(file: &'a Path, size: (u32, u32), title: &str, about: &str, footer: &str) -> Self {
        let mut canvas = Self { area: SVGBackend::new(file, size).into_drawing_area(), error: None };
        let blank = canvas.area.fill(&WHITE).map_err(|error| anyhow!("{error}"));
        canvas.keep(blank);
        canvas.text((16, 26), title, 18, INK, HPos::Left);
        canvas.text((16, 47), about, 12, FAINT, HPos::Left);
        let (_, height) = size;
        canvas.text((16, i32::try_from(height).unwrap_or(i32::MAX) - 13), footer, 10, FAINT, HPos::Left);
        canvas
    }

    fn keep(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }

    /// `at` is the middle of the text's height.
    pub(super) fn text(&mut self, at: Point, text: &str, size: u32, color: RGBColor, side: HPos) {
        let style =
            TextStyle::from(("sans-serif", size).into_font()).color(&color).pos(Pos::new(side, VPos::Center));
        let result = self.area.draw_text(text, &style, at).map_err(|error| anyhow!("{error}"));
        self.keep(result);
    }

    pub(super) fn bar(&mut self, corners: [Point; 2], color: RGBColor, opacity: f64) {
        let bar = Rectangle::new(corners, color.mix(opacity).filled());
        let result = self.area.draw(&bar).map_err(|error| anyhow!("{error}"));
        self.keep(result);
    }

    pub(super) fn line(&mut self, points: Vec<Point>, color: RGBColor, opacity: f64, width: u32) {
        let style = ShapeStyle::from(color.mix(opacity)).stroke_width(width);
        let result = self.area.draw(&PathElement::new(points, style)).map_err(|error| anyhow!("{error}"));
        self.keep(result);
    }

    pub(super) fn dot(&mut self, at: Point, radius: i32, color: RGBColor, opacity: f64) {
        let dot = Circle::new(at, radius, color.mix(opacity).filled());
        let result = self.area.draw(&dot).map_err(|error| anyhow!("{error}"));
        self.keep(result);
    }

    /// Finishes the file.
    pub(super) fn save(mut self, file: &Path) -> Result<()> {
        let written = self.area.present().map_err(|error| anyhow!("{error}"));
        self.keep(written);
        self.error.map_or(Ok(()), Err).with_context(|| format!("cannot draw {}", file.display()))
    }
}

/// A logarithmic scale over a range of pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogScale {
    least: f64,
    most: f64,
    pixels: (i32, i32),
}

impl LogScale {
    /// From the step of 1, 2, 5 below all values to that above them; `None` without positive
    /// values.
    pub(super) fn over(values: impl Iterator<Item = f64>, pixels: (i32, i32)) -> Option<Self> {
        let (least, most) = values
            .filter(|value| *value > 0.0 && value.is_finite())
            .fold((f64::INFINITY, 0_f64), |(least, most), value| (least.min(value), most.max(value)));
        (least <= most).then(|| Self { least: step_below(least * 0.8), most: step_above(most), pixels })
    }

    /// Where `value` is; what is off the scale is at its end.
    pub(super) fn at(self, value: f64) -> i32 {
        let share = (value.max(self.least) / self.least).ln() / (self.most / self.least).ln();
        let (start, end) = self.pixels;
        start + (share.clamp(0.0, 1.0) * f64::from(end - start)).round() as i32
    }

    /// Where to draw the grid, with the values in words: steps of 1, 2, 5 where there is room, else
    /// powers of ten.
    pub(super) fn grid(self, unit: Unit) -> Vec<(i32, String)> {
        let decades = (self.most / self.least).log10();
        let mantissas: &[f64] = if decades <= 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let (first, last) = (self.least.log10().floor() as i32, self.most.log10().ceil() as i32);
        (first..=last)
            .flat_map(|power| mantissas.iter().map(move |mantissa| mantissa * 10_f64.powi(power)))
            .filter(|value| (self.least * 0.999..=self.most * 1.001).contains(value))
            .map(|value| (self.at(value), label(unit, value)))
            .collect()
    }
}

/// A round number without its idle digits.
fn label(unit: Unit, value: f64) -> String {
    let text = human(unit, value);
    let Some((number, unit)) = text.split_once(' ') else { return text };
    let number =
        if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    format!("{number} {unit}")
}

fn step_below(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|mantissa| mantissa * power).find(|step| *step <= value).unwrap_or(power)
}

fn step_above(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|mantissa| mantissa * power)
        .find(|step| *step >= value)
        .unwrap_or(power * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_ends_at_round_numbers() {
        let scale = LogScale::over([300.0, 4_100.0].into_iter(), (100, 500)).unwrap();
        assert_eq!((scale.least, scale.most), (200.0, 5_000.0));
        assert_eq!((scale.at(200.0), scale.at(1_000.0), scale.at(5_000.0)), (100, 300, 500));
        assert_eq!((scale.at(1.0), scale.at(1e9)), (100, 500));
        assert!(LogScale::over(std::iter::empty(), (0, 1)).is_none());
    }

    #[test]
    fn the_grid_has_plain_labels() {
        let scale = LogScale::over([300.0, 4_100.0].into_iter(), (100, 500)).unwrap();
        let labels: Vec<_> = scale.grid(Unit::Nanoseconds).into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["200 ns", "500 ns", "1 us", "2 us", "5 us"]);
    }

    #[test]
    fn ours_has_a_colour_of_its_own() {
        assert_eq!(color("sidestep-cores"), color("sidestep@current"));
        assert_ne!(color("sidestep"), color("tokio"));
        assert_ne!(color("tokio"), color("tokio-sharded-cores"));
    }
}
