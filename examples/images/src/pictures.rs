//! The pictures themselves: how they are made, and how a thumbnail is made of one.

use std::{
    io::Cursor,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use image::{ImageFormat, Rgb, RgbImage};

const WIDTH: u32 = 1600;
const HEIGHT: u32 = 1200;
/// The bounds of a thumbnail, which keeps the shape of its picture.
pub(crate) const THUMBNAIL: (u32, u32) = (200, 150);

/// Writes the picture with this number into the folder.
pub(crate) fn write(folder: &Path, number: u32) -> anyhow::Result<PathBuf> {
    let path = folder.join(format!("{number:02}.png"));
    let picture = RgbImage::from_fn(WIDTH, HEIGHT, |x, y| colour(number, x, y));
    picture.save(&path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Two gradients and, in blue, rings around a point that is another one in each picture; over them
/// the noise of a camera, without which a picture would be no work for a codec.
fn colour(number: u32, x: u32, y: u32) -> Rgb<u8> {
    let (left, top) = (WIDTH * (number % 5) / 4, HEIGHT * (number % 4) / 3);
    let rings = (x.abs_diff(left).pow(2) + y.abs_diff(top).pow(2)) >> 10;
    let noise = hash(number, x, y) & 7;
    Rgb([x * 240 / WIDTH, y * 240 / HEIGHT, rings % 240].map(|level| (level + noise) as u8))
}

fn hash(number: u32, x: u32, y: u32) -> u32 {
    let mixed = ((number * HEIGHT + y) * WIDTH + x).wrapping_mul(0x9e37_79b9);
    (mixed ^ (mixed >> 15)).wrapping_mul(0x85eb_ca6b) >> 16
}

/// The part that blocks: reads and decodes a picture, shrinks it, and encodes the result.
pub(crate) fn thumbnail(path: &Path) -> anyhow::Result<Vec<u8>> {
    let picture = image::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let small = picture.thumbnail(THUMBNAIL.0, THUMBNAIL.1);
    let mut bytes = Cursor::new(Vec::new());
    small.write_to(&mut bytes, ImageFormat::Png).context("cannot encode a thumbnail")?;
    Ok(bytes.into_inner())
}

/// The size of an encoded picture.
pub(crate) fn size(bytes: &[u8]) -> anyhow::Result<(u32, u32)> {
    let picture = image::load_from_memory_with_format(bytes, ImageFormat::Png).context("not a picture")?;
    Ok((picture.width(), picture.height()))
}
