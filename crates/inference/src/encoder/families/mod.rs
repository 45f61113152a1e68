//! Which families of encoders there are, and how each names its settings and tensors.

mod bert;
mod modern;
mod nomic;
mod qwen;

use candle_core::{Device, Tensor};

use super::files::Settings;
use super::ops::{Activation, Linear, Norm, NormKind};
use super::transformer::Transformer;
use super::weights::Weights;
use crate::InferenceError;

/// The widest row, deepest stack and so on of any real encoder, with room; what a broken or hostile file asks for
/// beyond is refused before anything is allocated.
const MAX_WIDTH: usize = 1 << 16;
const MAX_LAYERS: usize = 512;
const MAX_HEADS: usize = 1024;
const MAX_VOCABULARY: usize = 1 << 22;
pub(super) const MAX_POSITIONS: usize = 1 << 18;

/// What `model_type` may be.
pub const FAMILIES: &[&str] =
    &["bert", "roberta", "xlm-roberta", "camembert", "mpnet", "modernbert", "nomic_bert", "qwen3"];

/// Loads the encoder that `config.json` describes. `max_tokens` bounds what is prepared for positions.
pub(crate) fn load(
    config: &Settings,
    weights: &mut Weights,
    max_tokens: Option<usize>,
    device: &Device,
) -> Result<Transformer, InferenceError> {
    let family = config.text(&["model_type"])?.ok_or_else(|| config.missing("model_type"))?.to_owned();
    let parts = Parts { config, weights, max_tokens, device };
    match family.as_str() {
        "bert" => bert::load(parts),
        "roberta" | "xlm-roberta" | "camembert" => bert::load_roberta(parts),
        "mpnet" => bert::load_mpnet(parts),
        "modernbert" => modern::load(parts),
        "nomic_bert" => nomic::load(parts),
        "qwen3" => qwen::load(parts),
        _ => Err(InferenceError::UnsupportedEncoder { path: config.path().to_owned(), found: family }),
    }
}

/// Numbers in a vector of the encoder.
pub(crate) fn hidden_size(config: &Settings) -> Result<usize, InferenceError> {
    config.need_size(&["hidden_size", "n_embd", "d_model"], 1..=MAX_WIDTH)
}

/// What a family's loader works with.
struct Parts<'a> {
    config: &'a Settings,
    weights: &'a mut Weights,
    max_tokens: Option<usize>,
    device: &'a Device,
}

/// The numbers every family has.
struct Sizes {
    hidden: usize,
    layers: usize,
    heads: usize,
    inner: usize,
    vocabulary: usize,
    eps: f32,
}

impl Parts<'_> {
    fn sizes(&self) -> Result<Sizes, InferenceError> {
        let config = self.config;
        let hidden = hidden_size(config)?;
        let heads = config.need_size(&["num_attention_heads", "n_head"], 1..=MAX_HEADS)?;
        let inner = config.size(&["intermediate_size", "n_inner"], 1..=MAX_WIDTH * 8)?.unwrap_or(4 * hidden);
        let eps = config.positive(&["layer_norm_eps", "layer_norm_epsilon", "norm_eps", "rms_norm_eps"])?;
        Ok(Sizes {
            hidden,
            layers: config.need_size(&["num_hidden_layers", "n_layer"], 1..=MAX_LAYERS)?,
            heads,
            inner,
            vocabulary: config.need_size(&["vocab_size"], 1..=MAX_VOCABULARY)?,
            eps: eps.unwrap_or(1e-12) as f32,
        })
    }

    /// The width of a head, where the heads must share the hidden size.
    fn head_dim(&self, sizes: &Sizes) -> Result<usize, InferenceError> {
        if !sizes.hidden.is_multiple_of(sizes.heads) {
            return Err(self.config.bad(
                "num_attention_heads",
                &format!("must divide the hidden size {}, not be {}", sizes.hidden, sizes.heads),
            ));
        }
        Ok(sizes.hidden / sizes.heads)
    }

    fn activation(&self, keys: &[&str], default: &str) -> Result<Activation, InferenceError> {
        let name = self.config.text(keys)?.unwrap_or(default);
        Activation::of_name(name)
            .ok_or_else(|| self.config.bad(keys[0], &format!("is `{name}`, which is not known")))
    }

    /// Says no where a setting asks for what is not built.
    fn refuse_unless(&self, holds: bool, key: &str, problem: &str) -> Result<(), InferenceError> {
        if holds { Ok(()) } else { Err(self.config.bad(key, problem)) }
    }

    fn table(&self, name: &str, rows: usize, width: usize) -> Result<Tensor, InferenceError> {
        self.weights.tensor(name, &[rows, width], self.device)
    }

    /// A linear layer whose rows come from several tensors, one under the other. Biases, where the first tensor
    /// has one, must be there for all.
    fn linear(&self, names: &[(&str, usize)], depth: usize) -> Result<Linear, InferenceError> {
        let has_bias = self.weights.has(&format!("{}.bias", names[0].0));
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for (name, rows) in names {
            weight.extend(self.weights.floats(&format!("{name}.weight"), &[*rows, depth])?);
            if has_bias {
                bias.extend(self.weights.floats(&format!("{name}.bias"), &[*rows])?);
            }
        }
        Linear::new(&weight, depth, has_bias.then_some(bias), self.device)
    }

    /// A norm; a layer norm may come without a bias.
    fn norm(&self, kind: NormKind, name: &str, width: usize, eps: f32) -> Result<Norm, InferenceError> {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        let shift = if kind == NormKind::Layer && self.weights.has(&bias) {
            Some(self.weights.tensor(&bias, &[width], self.device)?)
        } else {
            None
        };
        Ok(Norm { kind, scale: self.weights.tensor(&weight, &[width], self.device)?, shift, eps })
    }

    /// Positions that rotations and biases are prepared for.
    fn positions(&self, limit: usize) -> usize {
        self.max_tokens.unwrap_or(limit).min(limit)
    }
}
