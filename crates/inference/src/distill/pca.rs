//! Principal components of token vectors: turned so that the first numbers tell most, made shorter, and evened out.

use super::DistillError;
use super::eigen::eigen;

/// A component with less than this share of the largest one's variance is rounding noise, and evening it out would
/// blow it up: it becomes zero.
const NOISE: f64 = 1e-9;

/// Vectors in the new directions.
pub(crate) struct Turned {
    /// One row a vector.
    pub rows: Vec<Vec<f32>>,
    /// Share of the variance that was kept.
    pub kept: f64,
}

/// Keeps `dimensions` components at most, each divided by its standard deviation to the power of `evening`: zero
/// leaves them as PCA gives them, one makes all equally wide.
///
/// Evening out is what makes means of tokens good at finding things: the widest directions of token vectors tell
/// what kind of token it is more than what it means.
pub(crate) fn turn(vectors: &[Vec<f32>], dimensions: usize, evening: f64) -> Result<Turned, DistillError> {
    let width = vectors.first().map_or(0, Vec::len);
    let count = vectors.len() as f64;
    let mut mean = vec![0.0_f64; width];
    for vector in vectors {
        for (mean, value) in mean.iter_mut().zip(vector) {
            *mean += f64::from(*value) / count;
        }
    }
    let centred = |vector: &[f32], out: &mut Vec<f64>| {
        out.clear();
        out.extend(vector.iter().zip(&mean).map(|(value, mean)| f64::from(*value) - mean));
    };
    let covariance = in_parallel(width, |rows| {
        // Each entry is summed over the vectors in their order, whatever thread does it.
        let mut sums: Vec<Vec<f64>> = rows.clone().map(|row| vec![0.0; row + 1]).collect();
        let mut vector64 = Vec::with_capacity(width);
        for vector in vectors {
            centred(vector, &mut vector64);
            for (row, sums) in rows.clone().zip(&mut sums) {
                let factor = vector64[row];
                for (sum, value) in sums.iter_mut().zip(&vector64) {
                    *sum += factor * value;
                }
            }
        }
        for sums in &mut sums {
            sums.iter_mut().for_each(|sum| *sum /= (count - 1.0).max(1.0));
            sums.resize(width, 0.0);
        }
        sums
    });
    let parts = eigen(&covariance).ok_or(DistillError::NotFinite)?;
    let dimensions = dimensions.min(width);
    let floor = parts.values.first().copied().unwrap_or(0.0).max(0.0) * NOISE;
    let scales: Vec<f64> = parts.values[..dimensions]
        .iter()
        .map(|variance| match *variance > floor {
            true => 1.0 / variance.sqrt().powf(evening),
            false => 0.0,
        })
        .collect();
    let rows = in_parallel(vectors.len(), |range| {
        let mut vector64 = Vec::with_capacity(width);
        let turned = vectors[range].iter().map(|vector| {
            centred(vector, &mut vector64);
            let numbers = parts.vectors[..dimensions].iter().zip(&scales);
            numbers.map(|(direction, scale)| (dot(direction, &vector64) * scale) as f32).collect()
        });
        turned.collect()
    });
    let positive = |values: &[f64]| values.iter().map(|value| value.max(0.0)).sum::<f64>();
    let all = positive(&parts.values);
    let kept = if all > 0.0 { positive(&parts.values[..dimensions]) / all } else { 0.0 };
    Ok(Turned { rows, kept })
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four sums that the processor can do at once; always the same four.
    let mut sums = [0.0; 4];
    let (a4, a_rest) = a.as_chunks::<4>();
    let (b4, b_rest) = b.as_chunks::<4>();
    for (a, b) in a4.iter().zip(b4) {
        for lane in 0..4 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// Splits `0..count` over the cores and puts what they give one behind the other.
fn in_parallel<T: Send>(count: usize, work: impl Fn(std::ops::Range<usize>) -> Vec<T> + Sync) -> Vec<T> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, count.max(1));
    let cut = |core: usize| count * core / cores;
    let work = &work;
    std::thread::scope(|scope| {
        let others: Vec<_> =
            (1..cores).map(|core| scope.spawn(move || work(cut(core)..cut(core + 1)))).collect();
        let mut all = work(0..cut(1));
        for other in others {
            match other.join() {
                Ok(part) => all.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points on a tilted ellipse: three along (1, 1), one across.
    const POINTS: [[f32; 2]; 4] = [[4.0, 4.0], [-2.0, -2.0], [2.0, 0.0], [0.0, 2.0]];

    #[track_caller]
    fn check(dimensions: usize, evening: f64, expected: &[&[f32]]) {
        let points: Vec<Vec<f32>> = POINTS.iter().map(|point| point.to_vec()).collect();
        let turned = turn(&points, dimensions, evening).unwrap();
        for (found, expected) in turned.rows.iter().zip(expected) {
            assert!(found.iter().zip(*expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        }
        assert_eq!(turned.rows[0].len(), expected[0].len());
    }

    #[test]
    fn the_longest_direction_comes_first() {
        let root = 2.0_f32.sqrt();
        // The mean is (1, 1).
        check(2, 0.0, &[&[3.0 * root, 0.0], &[-3.0 * root, 0.0], &[0.0, root], &[0.0, -root]]);
        check(1, 0.0, &[&[3.0 * root], &[-3.0 * root], &[0.0], &[0.0]]);
    }

    #[test]
    fn evened_out_all_directions_are_equally_wide() {
        // Variances 36 / 3 and 4 / 3.
        let wide = 18.0_f32.sqrt() / 12.0_f32.sqrt();
        let narrow = 2.0_f32.sqrt() / (4.0_f32 / 3.0).sqrt();
        check(2, 1.0, &[&[wide, 0.0], &[-wide, 0.0], &[0.0, narrow], &[0.0, -narrow]]);
    }

    #[test]
    fn a_direction_without_any_width_becomes_zero() {
        let line: Vec<Vec<f32>> = (0..5).map(|at| vec![at as f32, 2.0 * at as f32, 1.0]).collect();
        let turned = turn(&line, 3, 1.0).unwrap();
        assert!(turned.rows.iter().all(|row| row[1] == 0.0 && row[2] == 0.0));
        assert!((turned.kept - 1.0).abs() < 1e-12);
    }
}
