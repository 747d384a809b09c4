//! Chance, repeatable: a small generator of which each thread and each closure has its own.

use std::time::Duration;

/// SplitMix64, by Steele, Lea and Flood.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Dice for somebody else, whose throws do not change ours.
    pub(crate) fn fork(&mut self) -> Dice {
        Dice(self.next())
    }

    pub(crate) fn micros(&mut self, below: usize) -> Duration {
        Duration::from_micros(self.below(below) as u64)
    }

    /// How long a closure takes: mostly nothing, now and then up to 50 ms.
    pub(crate) fn time(&mut self) -> Duration {
        match self.below(200) {
            0..150 => Duration::ZERO,
            150..185 => self.micros(200),
            185..198 => self.micros(5_000),
            _ => self.micros(50_000),
        }
    }
}
