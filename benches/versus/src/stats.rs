//! Medians, quantiles and ratios of pairs.

/// The value below which `share` of `sorted` lies: the nearest there is, not one between two.
pub(crate) fn quantile<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Middle and ends of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` if there are no figures.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<_> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (&least, &most) = (figures.first()?, figures.last()?);
        let middle = figures.len() / 2;
        let median = if figures.len() % 2 == 1 {
            figures[middle]
        } else {
            f64::midpoint(figures[middle - 1], figures[middle])
        };
        Some(Self { least, median, most })
    }

    /// Of the ratios of figures taken in the same round; rounds where one of the two is missing do
    /// not count.
    pub(crate) fn of_ratios(dividends: &[Option<f64>], divisors: &[Option<f64>]) -> Option<Self> {
        let pairs = dividends.iter().zip(divisors);
        Self::of(
            pairs
                .filter_map(|(dividend, divisor)| Some((*dividend)? / (*divisor)?))
                .filter(|ratio| ratio.is_finite()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_members() {
        let hundred: Vec<u32> = (1..=100).collect();
        assert_eq!(quantile(&hundred, 0.5), Some(50));
        assert_eq!(quantile(&hundred, 0.99), Some(99));
        assert_eq!(quantile(&[7], 0.99), Some(7));
        assert_eq!(quantile::<u32>(&[], 0.5), None);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let spread = |figures: &[f64]| Spread::of(figures.iter().copied());
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0, 1.0, 9.0]), Some(Spread { least: 1.0, median: 3.0, most: 9.0 }));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 8.0]).unwrap().median, 3.0);
    }

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        // Noise that hits both of a pair leaves the ratio alone: the medians' own ratio would be 20
        // / 2.
        let ours = [Some(1.0), Some(10.0), Some(2.0)];
        let theirs = [Some(4.0), Some(40.0), Some(20.0)];
        assert_eq!(Spread::of_ratios(&theirs, &ours), Some(Spread { least: 4.0, median: 4.0, most: 10.0 }));
    }

    #[test]
    fn a_round_without_both_does_not_count() {
        assert_eq!(Spread::of_ratios(&[Some(2.0), None], &[None, Some(1.0)]), None);
        assert_eq!(Spread::of_ratios(&[Some(2.0), Some(3.0)], &[Some(0.0), Some(1.0)]).unwrap().most, 3.0);
    }
}
