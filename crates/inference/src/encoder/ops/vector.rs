//! Row arithmetic in plain loops that the compiler turns into vector code, compiled for each generation of
//! processors and chosen at run time by [`wide`].

/// Numbers handled side by side: one AVX-512 register, two of AVX.
const LANES: usize = 16;

/// Runs `work` as compiled for the best instruction set this processor has. What it calls must be inlined.
#[inline(always)]
pub(super) fn wide<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

#[inline(always)]
fn sum_of(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            sums[lane] += f(chunk[lane]);
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|x| f(*x)).sum::<f32>()
}

#[inline(always)]
fn each(row: &mut [f32], f: impl Fn(f32) -> f32) {
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for x in chunk {
            *x = f(*x);
        }
    }
    for x in rest {
        *x = f(*x);
    }
}

/// `e^x` to about 1 unit in the last place (Cephes' polynomial); below -87 it is 0 for all that follows here.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, so that the first product is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding and taking away 1.5 * 2^23 rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    // `max` and `min` would turn a NaN into a number and so hide a broken model.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let n = (x * LOG2_E + ROUND) - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_6e-1;
    p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    let power = f32::from_bits((((n + ROUND).to_bits() as i32 - ROUND.to_bits() as i32 + 127) << 23) as u32);
    p * power
}

/// The error function to some units in the last place: the rational approximation of Eigen and XLA, which needs
/// no exponential. Beyond 4 it is 1 in 32 bits.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let x = if x < -4.0 { -4.0 } else { x };
    let x = if x > 4.0 { 4.0 } else { x };
    let s = x * x;
    let mut p = -2.726_142_3e-10;
    p = p * s + 2.770_681_4e-8;
    p = p * s + -2.101_024e-6;
    p = p * s + -5.692_506_5e-5;
    p = p * s + -7.349_906_3e-4;
    p = p * s + -2.954_6e-3;
    p = p * s + -1.609_603_3e-2;
    let mut q = -1.456_607_2e-5;
    q = q * s + -2.133_740_6e-4;
    q = q * s + -1.682_827e-3;
    q = q * s + -7.373_329e-3;
    q = q * s + -1.426_473_9e-2;
    x * p / q
}

#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

#[inline(always)]
pub(super) fn gelu_tanh(x: f32) -> f32 {
    // sqrt(2 / pi)
    0.5 * x * (1.0 + tanh(0.797_884_6 * (x + 0.044_715 * x * x * x)))
}

#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Applies a function to each number.
#[inline(always)]
pub(super) fn map(row: &mut [f32], f: impl Fn(f32) -> f32) {
    each(row, f);
}

/// `row += other`.
#[inline(always)]
pub(super) fn add(row: &mut [f32], other: &[f32]) {
    for (x, y) in row.iter_mut().zip(other) {
        *x += y;
    }
}

/// `(row - mean) / sqrt(variance + eps) * scale + shift`.
#[inline(always)]
pub(super) fn layer_norm(row: &mut [f32], scale: &[f32], shift: Option<&[f32]>, eps: f32) {
    let len = row.len() as f32;
    let mean = sum_of(row, |x| x) / len;
    let variance = sum_of(row, |x| (x - mean) * (x - mean)) / len;
    let factor = 1.0 / (variance + eps).sqrt();
    match shift {
        Some(shift) => {
            for ((x, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
                *x = (*x - mean) * factor * scale + shift;
            }
        }
        None => {
            for (x, scale) in row.iter_mut().zip(scale) {
                *x = (*x - mean) * factor * scale;
            }
        }
    }
}

/// `row / sqrt(mean(row^2) + eps) * scale`.
#[inline(always)]
pub(super) fn rms_norm(row: &mut [f32], scale: &[f32], eps: f32) {
    let mean = sum_of(row, |x| x * x) / row.len() as f32;
    let factor = 1.0 / (mean + eps).sqrt();
    for (x, scale) in row.iter_mut().zip(scale) {
        *x = *x * factor * scale;
    }
}

/// Turns scores into shares that sum to 1.
#[inline(always)]
pub(super) fn softmax(row: &mut [f32]) {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut tops = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            tops[lane] = if chunk[lane] > tops[lane] { chunk[lane] } else { tops[lane] };
        }
    }
    let top = tops.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    each(row, |x| exp(x - top));
    let factor = 1.0 / sum_of(row, |x| x);
    each(row, |x| x * factor);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> impl Iterator<Item = f32> {
        (-9000..=9000).map(|step| step as f32 / 1000.0)
    }

    #[test]
    fn exponentials_are_right_to_the_last_digits() {
        for x in inputs().map(|x| x * 9.5) {
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours - exact).abs() <= 3e-7 * exact, "exp({x}) = {ours}, not {exact}");
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
        assert!(exp(f32::NAN).is_nan(), "a broken model must show");
    }

    /// Maclaurin series below 3, 1 - erfc by continued fraction above.
    fn exact_erf(x: f64) -> f64 {
        if x.abs() > 3.0 {
            let z = x.abs();
            let fraction = (1..200).rev().fold(z, |tail, k| z + f64::from(k) / 2.0 / tail);
            return x.signum() * (1.0 - (-z * z).exp() / (fraction * std::f64::consts::PI.sqrt()));
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn the_error_function_is_right_to_the_last_digits() {
        for x in inputs() {
            let (ours, exact) = (f64::from(erf(x)), exact_erf(f64::from(x)));
            assert!((ours - exact).abs() <= 4e-7, "erf({x}) = {ours}, not {exact}");
        }
    }

    #[test]
    fn hyperbolic_tangents_are_right_at_both_ends() {
        for x in inputs() {
            assert!((f64::from(tanh(x)) - f64::from(x).tanh()).abs() <= 3e-7);
        }
        assert_eq!((tanh(100.0), tanh(-100.0)), (1.0, -1.0));
    }

    #[test]
    fn shares_sum_to_one_for_any_length_and_size() {
        for len in [1, 2, 15, 16, 17, 100] {
            let mut row: Vec<f32> = (0..len).map(|i| (i * 37 % 11) as f32 * 1e3).collect();
            wide(|| softmax(&mut row));
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert!(row.iter().all(|share| (0.0..=1.0).contains(share)));
        }
        let mut masked = vec![f32::NEG_INFINITY, 1.0];
        softmax(&mut masked);
        assert_eq!(masked[1], 1.0);
        assert!(masked[0] < 1e-30);
    }
}
