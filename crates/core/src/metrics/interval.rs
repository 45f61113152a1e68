//! How far a mean over queries or cases can be trusted: bootstrap intervals, seeded, so that the same scores give the same
//! interval.

use serde::{Deserialize, Serialize};

/// Resamples: the ends of a 95 % interval then move by about a hundredth of its width from seed to seed.
pub const RESAMPLES: usize = 10_000;
/// Seed used where nobody gives one.
pub const SEED: u64 = 20_240_501;

/// A mean with the range in which it lies with this probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean of the scores.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Probability, such as 0.95.
    pub level: f64,
    /// Number of scores.
    pub count: usize,
}

impl Interval {
    /// True if the range leaves out 0: for a difference, that it is none of chance.
    pub fn leaves_out_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// The mean of scores and its bias-corrected and accelerated bootstrap interval (Efron 1987). Absent below two scores:
/// one says nothing of the next.
pub fn bootstrap(scores: &[f64], level: f64, seed: u64) -> Option<Interval> {
    if scores.len() < 2 || !(0.0..1.0).contains(&level) || scores.iter().any(|score| !score.is_finite()) {
        return None;
    }
    let count = scores.len();
    let mean = scores.iter().sum::<f64>() / count as f64;
    let mut random = SplitMix(seed);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| (0..count).map(|_| scores[random.below(count)]).sum::<f64>() / count as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share.clamp(0.0, 1.0) * (RESAMPLES - 1) as f64;
        let (below, part) = (place.floor() as usize, place.fract());
        means[below] + part * (means[(below + 1).min(RESAMPLES - 1)] - means[below])
    };
    let tail = (1.0 - level) / 2.0;
    // Resampled means that equal the mean count half, or scores with many ties would look biased.
    let tolerance = 1e-12 * mean.abs().max(1.0);
    let below = means.iter().filter(|resampled| **resampled < mean - tolerance).count() as f64;
    let equal = means.iter().filter(|resampled| (**resampled - mean).abs() <= tolerance).count() as f64;
    let bias = normal_quantile((below + equal / 2.0) / RESAMPLES as f64);
    // For a mean, the jackknife's acceleration is the skewness of the scores by 6 √n.
    let (squares, cubes) = scores.iter().fold((0.0, 0.0), |(squares, cubes), score| {
        let apart = score - mean;
        (squares + apart * apart, cubes + apart * apart * apart)
    });
    let acceleration = if squares > 0.0 { cubes / (6.0 * squares.powf(1.5)) } else { 0.0 };
    let adjusted = |share: f64| {
        let z = bias + normal_quantile(share);
        normal_share(bias + z / (1.0 - acceleration * z))
    };
    let ends = match squares > 0.0 && bias.is_finite() {
        true => (at(adjusted(tail)), at(adjusted(1.0 - tail))),
        false => (mean, mean),
    };
    Some(Interval { mean, low: ends.0, high: ends.1, level, count })
}

/// The interval of the mean of `second − first` over the same queries. Absent where there are not equally many.
pub fn paired_difference(first: &[f64], second: &[f64], level: f64, seed: u64) -> Option<Interval> {
    if first.len() != second.len() {
        return None;
    }
    let differences: Vec<f64> = first.iter().zip(second).map(|(first, second)| second - first).collect();
    bootstrap(&differences, level, seed)
}

/// Steele, Lea and Flood's generator (2014): small, seeded, the same everywhere.
#[derive(Clone, Debug)]
pub struct SplitMix(pub u64);

impl SplitMix {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which must not be 0 (then 0). Lemire's multiplication: its unevenness is below 2^-32 here.
    pub fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.number()) * limit as u128) >> 64) as usize
    }
}

/// Share of a standard normal distribution below `z`: Abramowitz and Stegun 7.1.26, off by less than 1.5e-7.
fn normal_share(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let series = t
        * (0.254_829_592
            + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let error = 1.0 - series * (-x * x).exp();
    if z < 0.0 { (1.0 - error) / 2.0 } else { (1.0 + error) / 2.0 }
}

/// The inverse of [`normal_share`], by bisection: it is asked three times per interval.
fn normal_quantile(share: f64) -> f64 {
    if share <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if share >= 1.0 {
        return f64::INFINITY;
    }
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if normal_share(middle) < share { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(scores: &[f64], expected: (f64, f64), tolerance: f64) {
        let interval = bootstrap(scores, 0.95, SEED).unwrap();
        assert!((interval.low - expected.0).abs() < tolerance, "{interval:?}, not {expected:?}");
        assert!((interval.high - expected.1).abs() < tolerance, "{interval:?}, not {expected:?}");
    }

    #[test]
    fn intervals_are_those_of_scipy() {
        // scipy 1.17.1, method BCa, 20,000 resamples; differences of eight pairs, and of twelve with ties.
        let first = [0.6223, 0.7224, 0.4315, 0.7427, 0.6517, 0.5911, 0.7148, 0.4073];
        let second = [0.6321, 0.838, 0.4818, 0.9096, 0.6409, 0.6967, 0.7673, 0.6069];
        let interval = paired_difference(&first, &second, 0.95, SEED).unwrap();
        assert!((interval.mean - 0.086_187_5).abs() < 1e-12);
        assert!(
            (interval.low - 0.0405).abs() < 0.003 && (interval.high - 0.1365).abs() < 0.003,
            "{interval:?}"
        );
        assert!(interval.leaves_out_zero());
        check(&[1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0], (0.25, 0.75), 0.09);
    }

    #[test]
    fn the_same_scores_give_the_same_interval() {
        let scores: Vec<f64> = (0..50).map(|place| f64::from(place % 7) / 7.0).collect();
        assert_eq!(bootstrap(&scores, 0.95, 1), bootstrap(&scores, 0.95, 1));
        let narrow = bootstrap(&scores, 0.5, 1).unwrap();
        let wide = bootstrap(&scores, 0.99, 1).unwrap();
        assert!(wide.low < narrow.low && narrow.low <= narrow.mean && narrow.mean <= narrow.high);
        assert!(narrow.high < wide.high);
    }

    #[test]
    fn what_cannot_be_told_is_absent() {
        assert_eq!(bootstrap(&[0.5], 0.95, 1), None);
        assert_eq!(bootstrap(&[0.5, f64::NAN], 0.95, 1), None);
        assert_eq!(paired_difference(&[0.5, 0.5], &[0.5], 0.95, 1), None);
        // Equal scores have no spread.
        let flat = bootstrap(&[0.5, 0.5, 0.5], 0.95, 1).unwrap();
        assert_eq!((flat.low, flat.high), (0.5, 0.5));
    }

    #[test]
    fn the_normal_distribution_is_inverted() {
        for share in [0.001, 0.025, 0.3, 0.5, 0.9, 0.975] {
            assert!((normal_share(normal_quantile(share)) - share).abs() < 1e-9, "{share}");
        }
        assert!((normal_quantile(0.975) - 1.96).abs() < 1e-3);
    }
}
