//! Chooses the next token from the scores.
//!
//! The order is llama.cpp's: bias, penalties, top-k, top-p, min-p, then temperature. The same scores, values and
//! seed give the same token on every machine.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::InferenceError;

/// How tokens are chosen. The defaults are llama.cpp's, with a fixed seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0 always takes the likeliest token.
    pub temperature: f64,
    /// Only the k likeliest tokens; 0 is all.
    pub top_k: usize,
    /// Only the likeliest tokens that together have this probability; 1 is all.
    pub top_p: f64,
    /// Only tokens at least this likely relative to the likeliest; 0 is all.
    pub min_p: f64,
    /// Divides the scores of tokens among the last 64; 1 is none.
    pub repeat_penalty: f64,
    /// Taken off a token's score once if it has been generated.
    pub presence_penalty: f64,
    /// Taken off a token's score for each time it has been generated.
    pub frequency_penalty: f64,
    /// Added to tokens' scores.
    pub logit_bias: Vec<(u32, f32)>,
    /// Seed of the choice.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

/// How far back the repetition penalty looks; llama.cpp's default.
const PENALTY_WINDOW: usize = 64;

impl Sampling {
    /// Always the likeliest token.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Refuses values outside their range.
    pub fn check(&self) -> Result<(), InferenceError> {
        let refuse = |name, expected, found: f64| {
            Err(InferenceError::Sampling { name, expected, found: found.to_string() })
        };
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return refuse("temperature", "0 or more", self.temperature);
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return refuse("top_p", "above 0 and at most 1", self.top_p);
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return refuse("min_p", "from 0 to 1", self.min_p);
        }
        if !(self.repeat_penalty.is_finite() && self.repeat_penalty > 0.0) {
            return refuse("repeat_penalty", "above 0", self.repeat_penalty);
        }
        for (name, value) in
            [("presence_penalty", self.presence_penalty), ("frequency_penalty", self.frequency_penalty)]
        {
            if !(-2.0..=2.0).contains(&value) {
                return refuse(name, "from -2 to 2", value);
            }
        }
        Ok(())
    }
}

/// Chooses tokens of one sequence.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    state: u64,
    generated: HashMap<u32, u32>,
    recent: Vec<u32>,
}

impl Sampler {
    /// A sampler for a sequence that begins with `prompt`.
    pub fn new(sampling: Sampling, prompt: &[u32]) -> Self {
        let recent = prompt[prompt.len().saturating_sub(PENALTY_WINDOW)..].to_vec();
        Self { state: sampling.seed, sampling, generated: HashMap::new(), recent }
    }

    /// Chooses among the scores that are not minus infinity; `None` if there are none.
    pub fn choose(&mut self, scores: &mut [f32], allowed: Option<&dyn Fn(u32) -> bool>) -> Option<u32> {
        self.adjust(scores);
        if let Some(allowed) = allowed {
            for (id, score) in scores.iter_mut().enumerate() {
                if !allowed(id as u32) {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
        let id = if self.sampling.temperature == 0.0 { likeliest(scores)? } else { self.draw(scores)? };
        *self.generated.entry(id).or_default() += 1;
        if self.recent.len() >= PENALTY_WINDOW {
            self.recent.remove(0);
        }
        self.recent.push(id);
        Some(id)
    }

    fn adjust(&self, scores: &mut [f32]) {
        for &(id, bias) in &self.sampling.logit_bias {
            if let Some(score) = scores.get_mut(id as usize) {
                *score += bias;
            }
        }
        if self.sampling.repeat_penalty != 1.0 {
            let penalty = self.sampling.repeat_penalty as f32;
            let mut seen = self.recent.clone();
            seen.sort_unstable();
            seen.dedup();
            for id in seen {
                if let Some(score) = scores.get_mut(id as usize) {
                    *score = if *score > 0.0 { *score / penalty } else { *score * penalty };
                }
            }
        }
        let (presence, frequency) = (self.sampling.presence_penalty, self.sampling.frequency_penalty);
        if presence != 0.0 || frequency != 0.0 {
            for (&id, &count) in &self.generated {
                if let Some(score) = scores.get_mut(id as usize) {
                    *score -= (presence + frequency * f64::from(count)) as f32;
                }
            }
        }
    }

    fn draw(&mut self, scores: &[f32]) -> Option<u32> {
        let mut candidates: Vec<(u32, f32)> = scores
            .iter()
            .enumerate()
            .filter(|(_, score)| score.is_finite())
            .map(|(id, &score)| (id as u32, score))
            .collect();
        let better = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let top_k = self.sampling.top_k;
        if top_k > 0 && top_k < candidates.len() {
            candidates.select_nth_unstable_by(top_k - 1, better);
            candidates.truncate(top_k);
        }
        candidates.sort_unstable_by(better);
        let best = f64::from(candidates.first()?.1);

        if self.sampling.top_p < 1.0 {
            let weights: Vec<f64> = candidates.iter().map(|c| (f64::from(c.1) - best).exp()).collect();
            let enough = weights.iter().sum::<f64>() * self.sampling.top_p;
            let mut sum = 0.0;
            let kept = weights.iter().take_while(|weight| {
                let needed = sum < enough;
                sum += **weight;
                needed
            });
            let kept = kept.count().max(1);
            candidates.truncate(kept);
        }
        if self.sampling.min_p > 0.0 {
            let least = best + self.sampling.min_p.ln();
            let kept = candidates.iter().take_while(|c| f64::from(c.1) >= least).count().max(1);
            candidates.truncate(kept);
        }

        let temperature = self.sampling.temperature;
        let weights: Vec<f64> =
            candidates.iter().map(|c| ((f64::from(c.1) - best) / temperature).exp()).collect();
        let mut point = self.next_fraction() * weights.iter().sum::<f64>();
        for (candidate, weight) in candidates.iter().zip(&weights) {
            point -= weight;
            if point < 0.0 {
                return Some(candidate.0);
            }
        }
        candidates.last().map(|candidate| candidate.0)
    }

    /// SplitMix64 (Steele, Lea and Flood 2014): small, well mixed from any seed, and ours to keep the same for
    /// ever.
    fn next_fraction(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The highest score; among equals the lowest id.
fn likeliest(scores: &[f32]) -> Option<u32> {
    let mut best: Option<(usize, f32)> = None;
    for (id, &score) in scores.iter().enumerate() {
        if score.is_finite() && best.is_none_or(|(_, highest)| score.total_cmp(&highest) == Ordering::Greater)
        {
            best = Some((id, score));
        }
    }
    best.map(|(id, _)| id as u32)
}

#[cfg(test)]
mod tests {
    use super::{Sampler, Sampling};

    fn draws(sampling: Sampling, scores: &[f32], count: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling, &[]);
        (0..count).map(|_| sampler.choose(&mut scores.to_vec(), None).unwrap()).collect()
    }

    fn plain() -> Sampling {
        Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..Sampling::default() }
    }

    #[test]
    fn temperature_zero_takes_the_likeliest_and_the_first_of_equals() {
        assert_eq!(draws(Sampling::greedy(), &[1.0, 3.0, 3.0, 2.0], 3), [1, 1, 1]);
    }

    #[test]
    fn the_same_seed_gives_the_same_tokens_and_another_seed_others() {
        let scores = [0.0; 50];
        let with_seed = |seed| draws(Sampling { seed, ..plain() }, &scores, 20);
        assert_eq!(with_seed(7), with_seed(7));
        assert_ne!(with_seed(7), with_seed(8));
    }

    #[test]
    fn frequencies_follow_the_probabilities() {
        // ln 3 against ln 1: three of four draws.
        let count = 4000;
        let ones = draws(plain(), &[0.0, 3f32.ln()], count).iter().filter(|id| **id == 1).count();
        let share = ones as f64 / count as f64;
        assert!((share - 0.75).abs() < 0.03, "share was {share}");
    }

    #[test]
    fn top_k_top_p_and_min_p_cut_the_tail() {
        let scores = [0.0, 1.0, 2.0, 3.0];
        let only = |sampling: Sampling, expected: &[u32]| {
            let mut seen = draws(sampling, &scores, 300);
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen, expected);
        };
        only(Sampling { top_k: 2, ..plain() }, &[2, 3]);
        only(Sampling { top_p: 0.5, ..plain() }, &[3]);
        only(Sampling { min_p: 0.3, ..plain() }, &[2, 3]);
    }

    #[test]
    fn penalties_and_bias_move_the_choice() {
        let next = |sampling: Sampling, prompt: &[u32]| {
            Sampler::new(sampling, prompt).choose(&mut [2.0, 1.9], None).unwrap()
        };
        assert_eq!(next(Sampling { repeat_penalty: 1.2, ..Sampling::greedy() }, &[0]), 1);
        assert_eq!(next(Sampling { logit_bias: vec![(1, 0.5)], ..Sampling::greedy() }, &[]), 1);
        let twice = draws(Sampling { presence_penalty: 0.5, ..Sampling::greedy() }, &[2.0, 1.9], 2);
        assert_eq!(twice, [0, 1]);
    }

    #[test]
    fn what_is_not_allowed_is_never_chosen() {
        let mut sampler = Sampler::new(plain(), &[]);
        for _ in 0..50 {
            assert_eq!(sampler.choose(&mut [9.0, 1.0, 8.0], Some(&|id| id == 1)), Some(1));
        }
        assert_eq!(sampler.choose(&mut [9.0, 1.0], Some(&|_| false)), None);
    }

    #[test]
    fn values_outside_their_range_are_refused_by_name() {
        let error = Sampling { top_p: 1.5, ..Sampling::default() }.check().unwrap_err();
        assert_eq!(error.to_string(), "`top_p` must be above 0 and at most 1, not 1.5");
        let error = Sampling { temperature: f64::NAN, ..Sampling::default() }.check().unwrap_err();
        assert_eq!(error.to_string(), "`temperature` must be 0 or more, not NaN");
    }
}
