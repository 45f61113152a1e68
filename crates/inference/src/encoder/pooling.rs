//! One vector out of those of a text's tokens.

/// How, and over which tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pooling {
    /// Several give their vectors one behind the other.
    pub modes: Vec<PoolingMode>,
    /// False if the tokens of a prefix are left out.
    pub includes_prompt: bool,
}

impl Default for Pooling {
    fn default() -> Self {
        Self { modes: vec![PoolingMode::Mean], includes_prompt: true }
    }
}

/// The ways sentence-transformers knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolingMode {
    Cls,
    Max,
    Mean,
    /// The sum by the square root of the number of tokens.
    MeanSqrt,
    /// Later tokens weigh more.
    WeightedMean,
    LastToken,
}

impl PoolingMode {
    /// The older way to write them, in the order in which their vectors stand.
    pub(crate) const FLAGS: [(&'static str, Self); 6] = [
        ("pooling_mode_cls_token", Self::Cls),
        ("pooling_mode_max_tokens", Self::Max),
        ("pooling_mode_mean_tokens", Self::Mean),
        ("pooling_mode_mean_sqrt_len_tokens", Self::MeanSqrt),
        ("pooling_mode_weightedmean_tokens", Self::WeightedMean),
        ("pooling_mode_lasttoken", Self::LastToken),
    ];

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "cls" => Self::Cls,
            "max" => Self::Max,
            "mean" => Self::Mean,
            "mean_sqrt_len_tokens" => Self::MeanSqrt,
            "weightedmean" => Self::WeightedMean,
            "lasttoken" => Self::LastToken,
            _ => return None,
        })
    }
}

impl Pooling {
    /// `hidden` has a text's tokens in rows of `width`; the first `prompt` of them are its prefix.
    pub(crate) fn pool(&self, hidden: &[f32], width: usize, prompt: usize) -> Vec<f32> {
        let tokens = hidden.len() / width;
        // A text of nothing but its prefix keeps it: there would be nothing to take the mean of.
        let skipped = if self.includes_prompt || prompt >= tokens { 0 } else { prompt };
        let rows = || hidden.chunks_exact(width).enumerate().skip(skipped);
        let weighted = |weight: fn(usize) -> f32| {
            let mut sum = vec![0f32; width];
            let mut total = 0.0;
            for (place, row) in rows() {
                let weight = weight(place);
                total += weight;
                sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += weight * x);
            }
            (sum, total)
        };
        let divided = |(sum, by): (Vec<f32>, f32)| sum.into_iter().map(|x| x / by).collect::<Vec<f32>>();
        let one = |mode: &PoolingMode| match mode {
            PoolingMode::Cls => hidden[skipped * width..(skipped + 1) * width].to_vec(),
            PoolingMode::LastToken => hidden[(tokens - 1) * width..].to_vec(),
            PoolingMode::Max => {
                let mut top = vec![f32::NEG_INFINITY; width];
                for (_, row) in rows() {
                    top.iter_mut().zip(row).for_each(|(top, x)| *top = top.max(*x));
                }
                top
            }
            PoolingMode::Mean => divided(weighted(|_| 1.0)),
            PoolingMode::MeanSqrt => {
                let (sum, count) = weighted(|_| 1.0);
                divided((sum, count.sqrt()))
            }
            PoolingMode::WeightedMean => divided(weighted(|place| (place + 1) as f32)),
        };
        self.modes.iter().flat_map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIDDEN: [f32; 6] = [1.0, -1.0, 3.0, 1.0, 5.0, -3.0];

    #[track_caller]
    fn check(mode: PoolingMode, prompt: usize, expected: &[f32]) {
        let pooling = Pooling { modes: vec![mode], includes_prompt: prompt == 0 };
        assert_eq!(pooling.pool(&HIDDEN, 2, prompt), expected, "{mode:?} without {prompt} tokens of prefix");
    }

    #[test]
    fn each_mode_takes_the_tokens_it_is_named_after() {
        check(PoolingMode::Cls, 0, &[1.0, -1.0]);
        check(PoolingMode::LastToken, 0, &[5.0, -3.0]);
        check(PoolingMode::Max, 0, &[5.0, 1.0]);
        check(PoolingMode::Mean, 0, &[3.0, -1.0]);
        check(PoolingMode::MeanSqrt, 0, &[9.0 / 3f32.sqrt(), -3.0 / 3f32.sqrt()]);
        check(PoolingMode::WeightedMean, 0, &[22.0 / 6.0, -8.0 / 6.0]);
    }

    #[test]
    fn a_prefix_can_be_left_out_but_not_a_whole_text() {
        check(PoolingMode::Cls, 1, &[3.0, 1.0]);
        check(PoolingMode::Mean, 1, &[4.0, -1.0]);
        check(PoolingMode::Mean, 3, &[3.0, -1.0]);
    }

    #[test]
    fn several_modes_stand_one_behind_the_other() {
        let pooling = Pooling { modes: vec![PoolingMode::Cls, PoolingMode::Mean], includes_prompt: true };
        assert_eq!(pooling.pool(&HIDDEN, 2, 0), [1.0, -1.0, 3.0, -1.0]);
    }
}
