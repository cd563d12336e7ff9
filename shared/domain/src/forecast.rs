//! How long a restore is likely to take, from restores and restore tests that were measured.
//!
//! A restore takes a while whatever its size, and so much more for each row. Both are fitted through the measured ones by medians
//! (Theil and Sen's way), so that a few that went badly do not bend the line; how far the measured ones lie off it says how far this one
//! may. No decision follows from a forecast.

use serde::{Deserialize, Serialize};

use crate::caps::{FORECAST_REACH, FORECAST_SAMPLES_MIN};

/// One restore, or restore test, as it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Rows, or records, that were brought back.
    pub rows: u64,
    /// From the start of the work to its proof, in milliseconds.
    pub ms: u64,
}

/// How long the work is likely to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "known", rename_all = "snake_case")]
pub enum Forecast {
    /// Enough were measured.
    Measured {
        /// What half of the measured ones would have stayed below, in milliseconds.
        median_ms: u64,
        /// What nine of ten would have stayed below, in milliseconds.
        p90_ms: u64,
        /// How many were measured.
        samples: u32,
    },
    /// Too few were measured for any figure.
    TooFew {
        /// How many were.
        samples: u32,
        /// How many there must be.
        needed: u32,
    },
    /// All that were measured are much smaller.
    TooLarge {
        /// How many were measured.
        samples: u32,
        /// Rows of the largest.
        largest_rows: u64,
    },
}

impl Forecast {
    /// What the samples say about a restore of so many rows.
    #[must_use]
    pub fn of(rows: u64, samples: &[Sample]) -> Self {
        let count = u32::try_from(samples.len()).unwrap_or(u32::MAX);
        if samples.len() < FORECAST_SAMPLES_MIN {
            return Self::TooFew { samples: count, needed: FORECAST_SAMPLES_MIN as u32 };
        }
        let largest_rows = samples.iter().map(|sample| sample.rows).max().unwrap_or_default();
        if rows > largest_rows.saturating_mul(FORECAST_REACH) {
            return Self::TooLarge { samples: count, largest_rows };
        }
        let line = Line::through(samples);
        // Off by a factor, not by an amount: what takes long varies by more.
        let off = sorted(samples.iter().map(|sample| sample.ms as f64 / line.at(sample.rows)));
        let at = |share: f64| (line.at(rows) * quantile(&off, share)).ceil() as u64;
        Self::Measured { median_ms: at(0.5), p90_ms: at(0.9), samples: count }
    }

    /// The forecast in words, for people.
    #[must_use]
    pub fn in_words(&self) -> String {
        match *self {
            Self::Measured { median_ms, p90_ms, samples } => {
                format!("about {} (half), {} (nine of ten), from {samples} measured", rounded(median_ms), rounded(p90_ms))
            }
            Self::TooFew { samples, needed } => format!("unknown: {samples} measured, {needed} needed"),
            Self::TooLarge { samples, largest_rows } => {
                format!("unknown: the largest of {samples} measured had {largest_rows} rows")
            }
        }
    }
}

/// Milliseconds for no rows at all, and for each.
struct Line {
    fixed_ms: f64,
    ms_per_row: f64,
}

impl Line {
    fn through(samples: &[Sample]) -> Self {
        let pairs = samples.iter().enumerate().flat_map(|(n, one)| samples[n + 1..].iter().map(move |two| (one, two)));
        let slopes = sorted(
            pairs
                .filter(|(one, two)| one.rows != two.rows)
                .map(|(one, two)| (two.ms as f64 - one.ms as f64) / (two.rows as f64 - one.rows as f64)),
        );
        // More rows never take less time; where it looks so, the size does not matter yet.
        let ms_per_row = if slopes.is_empty() { 0.0 } else { quantile(&slopes, 0.5).max(0.0) };
        let rests = sorted(samples.iter().map(|sample| sample.ms as f64 - ms_per_row * sample.rows as f64));
        Self { fixed_ms: quantile(&rests, 0.5).max(0.0), ms_per_row }
    }

    /// At least a millisecond, so that it can be divided by.
    fn at(&self, rows: u64) -> f64 {
        (self.fixed_ms + self.ms_per_row * rows as f64).max(1.0)
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The least of the values that so great a share of them does not exceed; they are sorted, and not none.
fn quantile(values: &[f64], share: f64) -> f64 {
    let n = (values.len() as f64 * share).ceil() as usize;
    values[n.clamp(1, values.len()) - 1]
}

/// A duration in the unit that a person would use.
fn rounded(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms.div_ceil(1_000)),
        120_000..7_200_000 => format!("{} min", ms.div_ceil(60_000)),
        _ => format!("{} h", ms.div_ceil(3_600_000)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn samples(of: &[(u64, u64)]) -> Vec<Sample> {
        of.iter().map(|&(rows, ms)| Sample { rows, ms }).collect()
    }

    fn measured(forecast: Forecast) -> (u64, u64) {
        let Forecast::Measured { median_ms, p90_ms, .. } = forecast else { panic!("{forecast:?}") };
        (median_ms, p90_ms)
    }

    #[test]
    fn a_small_restore_that_took_its_fixed_time_does_not_make_a_large_one_last_for_ever() {
        let small = samples(&[(10, 3_000), (10, 3_100), (20, 3_050), (1_000, 3_200), (100_000, 13_000), (200_000, 23_000)]);
        let (median, p90) = measured(Forecast::of(150_000, &small));
        assert!((15_000..22_000).contains(&median) && (median..24_000).contains(&p90), "{median} {p90}");
    }

    #[test]
    fn one_that_went_badly_does_not_bend_the_line() {
        let mut line: Vec<(u64, u64)> = (1..=9).map(|n| (n * 1_000, 2_000 + n * 100)).collect();
        line.push((5_000, 900_000));
        let (median, p90) = measured(Forecast::of(5_000, &samples(&line)));
        assert_eq!((median, p90), (2_500, 2_500));
    }

    #[test]
    fn what_is_not_known_is_said_to_be_so() {
        let four = samples(&[(1, 1), (2, 2), (3, 3), (4, 4)]);
        assert_eq!(Forecast::of(4, &four).in_words(), "unknown: 4 measured, 5 needed");
        let five = samples(&[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
        assert_eq!(Forecast::of(50, &five).in_words(), "about 50 ms (half), 50 ms (nine of ten), from 5 measured");
        assert_eq!(Forecast::of(51, &five).in_words(), "unknown: the largest of 5 measured had 5 rows");
        let said = Forecast::Measured { median_ms: 40_000, p90_ms: 120_000, samples: 12 }.in_words();
        assert_eq!(said, "about 40 s (half), 2 min (nine of ten), from 12 measured");
    }

    fn some() -> impl Strategy<Value = Vec<Sample>> {
        let one = (0..10_000_000u64, 0..10_000_000u64).prop_map(|(rows, ms)| Sample { rows, ms });
        prop::collection::vec(one, FORECAST_SAMPLES_MIN..40)
    }

    proptest! {
        #[test]
        fn what_follows_a_line_is_forecast_on_it(fixed in 0..100_000u64, per_row in 1..50u64, rows in prop::collection::vec(0..1_000_000u64, 5..30)) {
            let line: Vec<Sample> = rows.iter().map(|&rows| Sample { rows, ms: fixed + per_row * rows }).collect();
            prop_assume!(rows.iter().any(|row| *row != rows[0]));
            let wanted = rows.iter().max().unwrap() / 2;
            let (median, p90) = measured(Forecast::of(wanted, &line));
            let on_it = fixed + per_row * wanted;
            prop_assert!(median.abs_diff(on_it) <= 1 + on_it / 1_000 && p90.abs_diff(on_it) <= 1 + on_it / 1_000, "{} {} {}", median, p90, on_it);
        }

        #[test]
        fn more_rows_never_take_less_and_nine_of_ten_never_less_than_half(samples in some(), a in 0..10_000_000u64, b in 0..10_000_000u64) {
            let largest = samples.iter().map(|sample| sample.rows).max().unwrap();
            let (less, more) = (a.min(b).min(largest), a.max(b).min(largest));
            let (small, large) = (measured(Forecast::of(less, &samples)), measured(Forecast::of(more, &samples)));
            prop_assert!(small.0 <= large.0 && small.1 <= large.1);
            prop_assert!(small.0 <= small.1 && large.0 <= large.1);
        }

        #[test]
        fn the_order_of_measuring_does_not_matter(samples in some(), rows in 0..10_000_000u64) {
            let mut turned = samples.clone();
            turned.reverse();
            prop_assert_eq!(Forecast::of(rows, &samples), Forecast::of(rows, &turned));
        }

        #[test]
        fn restores_that_all_take_twice_as_long_are_forecast_so(samples in some(), rows in 0..1_000_000u64) {
            let samples: Vec<Sample> = samples.into_iter().map(|sample| Sample { ms: sample.ms + 100, ..sample }).collect();
            let largest = samples.iter().map(|sample| sample.rows).max().unwrap();
            let slower: Vec<Sample> = samples.iter().map(|sample| Sample { ms: sample.ms * 2, ..*sample }).collect();
            let (once, twice) = (measured(Forecast::of(rows.min(largest), &samples)), measured(Forecast::of(rows.min(largest), &slower)));
            prop_assert!(twice.0.abs_diff(once.0 * 2) <= 2 + once.0 / 100 && twice.1.abs_diff(once.1 * 2) <= 2 + once.1 / 100, "{:?} {:?}", once, twice);
        }
    }
}
