//! What a file's metadata says of the model, as the few ways in which the families differ.

use crate::InferenceError;
use crate::gguf::{GgufFile, Value};

/// A model family, by the name files give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2, 3, 3.x, and Mistral, which files call Llama too.
    Llama,
    /// Qwen 2 and 2.5.
    Qwen2,
    /// Qwen 3, dense.
    Qwen3,
    /// Gemma 3.
    Gemma3,
    /// Phi 3 and 3.5, and Phi 4, which files call Phi 3 too.
    Phi3,
}

impl Architecture {
    /// The names of all families, as files write them.
    pub const NAMES: [&str; 5] = ["llama", "qwen2", "qwen3", "gemma3", "phi3"];

    fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "llama" => Self::Llama,
            "qwen2" => Self::Qwen2,
            "qwen3" => Self::Qwen3,
            "gemma3" => Self::Gemma3,
            "phi3" => Self::Phi3,
            _ => return None,
        })
    }

    /// The name that files give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma3 => "gemma3",
            Self::Phi3 => "phi3",
        }
    }
}

/// The function inside the feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    Silu,
    /// Gemma's: the tanh form of GELU.
    GeluTanh,
}

/// Which numbers of a head are turned together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RopeStyle {
    /// Neighbours (Llama as converted for GGUF).
    Interleaved,
    /// First half with second half (all others).
    Halves,
}

/// How long contexts were trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RopeScaling {
    None,
    /// Positions divided by a factor.
    Linear {
        factor: f64,
    },
    /// YaRN (Peng and others 2023): high frequencies kept, low ones stretched.
    Yarn {
        factor: f64,
        original_context: usize,
        beta_fast: f64,
        beta_slow: f64,
    },
}

/// Rotary embedding of one kind of layer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RopeSpec {
    pub dims: usize,
    pub base: f64,
    pub style: RopeStyle,
    pub scaling: RopeScaling,
    /// Multiplies sines and cosines (Phi-3's long contexts, YaRN).
    pub magnitude: f64,
}

/// What a file says of its model.
#[derive(Clone, Debug)]
pub struct Config {
    /// Family.
    pub architecture: Architecture,
    /// Tokens the model was trained for.
    pub trained_context: usize,
    /// Tokens this instance takes.
    pub context_length: usize,
    /// Layers.
    pub layer_count: usize,
    /// Features of a token.
    pub hidden_len: usize,
    pub(super) head_count: usize,
    pub(super) kv_head_count: usize,
    pub(super) head_len: usize,
    pub(super) feed_forward_len: usize,
    pub(super) norm_eps: f32,
    pub(super) attention_scale: f64,
    pub(super) embedding_scale: Option<f64>,
    pub(super) activation: Activation,
    pub(super) rope: RopeSpec,
    pub(super) local_rope: Option<RopeSpec>,
    pub(super) sliding_window: Option<usize>,
    /// Every how many layers one looks at everything; 1 would be all, `None` is none (all look locally).
    pub(super) global_every: Option<usize>,
    /// Which of the two factor tables of Phi-3 applies.
    pub(super) uses_long_factors: bool,
}

/// The context used where neither the caller nor the model asks for less. 8,192 tokens of a model of 8 thousand
/// million parameters keep about 2 GB of keys and values; longer ones must be asked for.
const DEFAULT_CONTEXT: usize = 8192;

/// No size in a real model is larger; keeps all products below far from overflow.
const LARGEST: u64 = 1 << 24;

impl Config {
    pub(super) fn of_file(file: &GgufFile, context_length: Option<usize>) -> Result<Self, InferenceError> {
        let name = text(file, "general.architecture")?;
        let architecture = Architecture::of_name(name)
            .ok_or_else(|| InferenceError::UnsupportedArchitecture { found: name.to_owned() })?;
        let keys = Keys { file, prefix: architecture.name() };
        if keys.optional("expert_count")?.is_some_and(|count| count > 0) {
            return Err(InferenceError::UnsupportedFeature { what: "a mixture of experts".to_owned() });
        }

        let layer_count = keys.required("block_count")?;
        if file.tensor(&format!("blk.{}.attn_norm.weight", layer_count - 1)).is_none() {
            return Err(keys.bad("block_count", "promises more layers than the file has tensors for"));
        }
        let hidden_len = keys.required("embedding_length")?;
        let head_count = keys.required("attention.head_count")?;
        let kv_head_count = keys.optional("attention.head_count_kv")?.unwrap_or(head_count);
        if kv_head_count == 0 || !head_count.is_multiple_of(kv_head_count) {
            return Err(keys.bad("attention.head_count_kv", "does not divide the number of heads"));
        }
        let head_len = keys.optional("attention.key_length")?.unwrap_or(hidden_len / head_count);
        if keys.optional("attention.value_length")?.is_some_and(|length| length != head_len) {
            return Err(keys.bad("attention.value_length", "differs from the length of keys"));
        }
        let rope_dims = keys.optional("rope.dimension_count")?.unwrap_or(head_len);
        if head_len == 0 || rope_dims == 0 || rope_dims > head_len || !rope_dims.is_multiple_of(2) {
            return Err(keys.bad("rope.dimension_count", "does not fit the length of a head"));
        }
        let norm_eps = keys.number("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-5);
        if !(0.0..1.0).contains(&norm_eps) {
            return Err(keys.bad("attention.layer_norm_rms_epsilon", "is not between 0 and 1"));
        }

        let trained_context = keys.required("context_length")?;
        let context_length = match context_length {
            Some(asked) => asked.min(trained_context).max(1),
            None => trained_context.min(DEFAULT_CONTEXT),
        };
        let original_context =
            keys.optional("rope.scaling.original_context_length")?.unwrap_or(trained_context);
        let is_gemma = architecture == Architecture::Gemma3;
        let rope = RopeSpec {
            dims: rope_dims,
            base: keys.number("rope.freq_base")?.unwrap_or(10_000.0),
            style: match architecture {
                Architecture::Llama => RopeStyle::Interleaved,
                _ => RopeStyle::Halves,
            },
            scaling: scaling(&keys, original_context)?,
            magnitude: keys.number("rope.scaling.attn_factor")?.unwrap_or(1.0),
        };
        if !rope.base.is_finite() || rope.base <= 1.0 {
            return Err(keys.bad("rope.freq_base", "is not a number above 1"));
        }
        // Gemma 3's local layers turn with their own base and are never stretched.
        let local_rope = is_gemma.then(|| RopeSpec {
            base: 10_000.0,
            scaling: RopeScaling::None,
            magnitude: 1.0,
            ..rope.clone()
        });
        let sliding_window = keys.optional("attention.sliding_window")?.filter(|&window| window > 0);
        Ok(Self {
            architecture,
            trained_context,
            context_length,
            layer_count,
            hidden_len,
            head_count,
            kv_head_count,
            head_len,
            feed_forward_len: keys.required("feed_forward_length")?,
            norm_eps: norm_eps as f32,
            // Gemma 3 27B, the one with 62 layers, scales by features per head instead of the head's length.
            attention_scale: match (is_gemma, layer_count) {
                (true, 62) => 1.0 / (hidden_len as f64 / head_count as f64).sqrt(),
                _ => 1.0 / (head_len as f64).sqrt(),
            },
            embedding_scale: is_gemma.then(|| (hidden_len as f64).sqrt()),
            activation: if is_gemma { Activation::GeluTanh } else { Activation::Silu },
            uses_long_factors: context_length > original_context,
            rope,
            local_rope,
            sliding_window,
            global_every: is_gemma.then_some(6),
        })
    }

    /// True if the layer looks only at its window.
    pub(super) fn is_local(&self, layer: usize) -> bool {
        self.sliding_window.is_some() && self.global_every.is_none_or(|every| layer % every + 1 < every)
    }
}

fn scaling(keys: &Keys<'_>, original_context: usize) -> Result<RopeScaling, InferenceError> {
    let factor = keys.number("rope.scaling.factor")?;
    let kind = keys.file.get(&keys.key("rope.scaling.type")).and_then(Value::as_str);
    if factor.is_some_and(|factor| !(factor.is_finite() && factor > 0.0)) {
        return Err(keys.bad("rope.scaling.factor", "is not a positive number"));
    }
    Ok(match (kind, factor.or(keys.number("rope.scale_linear")?)) {
        (Some("yarn"), Some(factor)) => RopeScaling::Yarn {
            factor,
            original_context,
            beta_fast: keys.number("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
            beta_slow: keys.number("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
        },
        (Some("linear") | None, Some(factor)) if factor > 0.0 => RopeScaling::Linear { factor },
        _ => RopeScaling::None,
    })
}

/// Reads keys below the architecture's prefix.
struct Keys<'a> {
    file: &'a GgufFile,
    prefix: &'static str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn bad(&self, name: &str, problem: &str) -> InferenceError {
        InferenceError::BadMetadata { key: self.key(name), problem: problem.to_owned() }
    }

    /// A size of at least 1.
    fn required(&self, name: &str) -> Result<usize, InferenceError> {
        match self.optional(name)? {
            Some(0) => Err(self.bad(name, "is 0")),
            Some(size) => Ok(size),
            None => Err(InferenceError::MissingMetadata { key: self.key(name) }),
        }
    }

    /// A size. Some files give one number a layer; they must agree.
    fn optional(&self, name: &str) -> Result<Option<usize>, InferenceError> {
        let Some(value) = self.file.get(&self.key(name)) else { return Ok(None) };
        let number = match value.as_integers() {
            Some([first, rest @ ..]) if rest.iter().all(|other| other == first) => u64::try_from(*first).ok(),
            Some(_) => return Err(self.bad(name, "differs between layers, which is not supported")),
            None => value.as_u64(),
        };
        match number {
            Some(number) if number <= LARGEST => Ok(Some(number as usize)),
            Some(number) => Err(self.bad(name, &format!("is {number}, larger than any model's"))),
            None => Err(self.bad(name, "is not a whole number")),
        }
    }

    fn number(&self, name: &str) -> Result<Option<f64>, InferenceError> {
        match self.file.get(&self.key(name)) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| self.bad(name, "is not a number")),
        }
    }
}

fn text<'a>(file: &'a GgufFile, key: &str) -> Result<&'a str, InferenceError> {
    file.get(key)
        .and_then(Value::as_str)
        .ok_or_else(|| InferenceError::MissingMetadata { key: key.to_owned() })
}
