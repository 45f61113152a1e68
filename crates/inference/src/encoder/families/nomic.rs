//! Nomic's BERT: norms behind, rotations instead of places, a gated feed-forward layer. Files come in two dialects:
//! that of its authors and that of transformers.

use super::{MAX_POSITIONS, MAX_VOCABULARY, Parts, Sizes};
use crate::InferenceError;
use crate::encoder::ops::{After, Attention, NormKind, Rope};
use crate::encoder::transformer::{Embeddings, Layer, Placement, Transformer};

/// What the authors' settings may ask for beside the models they published, and we do not do.
const NOT_BUILT: [&str; 7] = [
    "prenorm",
    "parallel_block",
    "use_rms_norm",
    "rotary_emb_interleaved",
    "rotary_scaling_factor",
    "num_experts",
    "rotary_emb_scale_base",
];

pub(super) fn load(parts: Parts<'_>) -> Result<Transformer, InferenceError> {
    let config = parts.config;
    for key in NOT_BUILT {
        let is_off = config.get(key).is_none_or(|value| value == false || value.as_f64() == Some(0.0));
        parts.refuse_unless(is_off, key, "is set, which is not supported")?;
    }
    parts
        .weights
        .find_prefix(&["", "bert.", "nomic_bert.", "model."], "embeddings.word_embeddings.weight")?;
    let sizes = parts.sizes()?;
    let Sizes { hidden, heads, inner, .. } = sizes;
    let head_dim = parts.head_dim(&sizes)?;
    let share = config.positive(&["rotary_emb_fraction"])?.unwrap_or(1.0);
    parts.refuse_unless(share == 1.0, "rotary_emb_fraction", "is not 1, which is not supported")?;
    parts.refuse_unless(head_dim % 2 == 0, "n_head", "gives heads of an odd width")?;
    let theta = match config.inner("rope_parameters") {
        Some(settings) => {
            let scaling = settings.text(&["rope_type"])?.unwrap_or("default");
            parts.refuse_unless(scaling == "default", "rope_type", "is not `default`")?;
            settings.positive(&["rope_theta"])?.unwrap_or(1000.0)
        }
        None => config.positive(&["rotary_emb_base", "rope_theta"])?.unwrap_or(10_000.0),
    };
    let limit = config.need_size(&["n_positions", "max_position_embeddings"], 1..=MAX_POSITIONS)?;
    let positions = parts.positions(limit);
    let is_authors = parts.weights.has("emb_ln.weight");
    let norm = |name: &str| parts.norm(NormKind::Layer, name, hidden, sizes.eps);
    let types = "embeddings.token_type_embeddings.weight";
    let layer = |index: usize| -> Result<Layer, InferenceError> {
        let stack = if is_authors { "encoder.layers" } else { "layers" };
        let name = |rest: &str| format!("{stack}.{index}.{rest}");
        let one = |rest: &str, rows: usize, depth: usize| parts.linear(&[(&name(rest), rows)], depth);
        let attention = Attention::of_heads(heads, head_dim);
        Ok(if is_authors {
            Layer {
                attention_norm: Some(norm(&name("norm1"))?),
                qkv: one("attn.Wqkv", 3 * hidden, hidden)?,
                attention,
                rope: Some(0),
                attention_out: one("attn.out_proj", hidden, hidden)?,
                mlp_norm: norm(&name("norm2"))?,
                // The second is the gate.
                up: parts.linear(&[(&name("mlp.fc12"), inner), (&name("mlp.fc11"), inner)], hidden)?,
                down: one("mlp.fc2", hidden, inner)?,
            }
        } else {
            Layer {
                attention_norm: Some(norm(&name("post_attention_layernorm"))?),
                qkv: parts.linear(
                    &[
                        (&name("self_attn.q_proj"), hidden),
                        (&name("self_attn.k_proj"), hidden),
                        (&name("self_attn.v_proj"), hidden),
                    ],
                    hidden,
                )?,
                attention,
                rope: Some(0),
                attention_out: one("self_attn.o_proj", hidden, hidden)?,
                mlp_norm: norm(&name("post_mlp_layernorm"))?,
                up: parts
                    .linear(&[(&name("mlp.gate_proj"), inner), (&name("mlp.up_proj"), inner)], hidden)?,
                down: one("mlp.down_proj", hidden, inner)?,
            }
        })
    };
    Ok(Transformer {
        embeddings: Embeddings {
            words: parts.table("embeddings.word_embeddings.weight", sizes.vocabulary, hidden)?,
            positions: None,
            types: match config.size(&["type_vocab_size"], 0..=MAX_VOCABULARY)?.unwrap_or(2) {
                rows if rows > 0 && parts.weights.has(types) => Some(parts.table(types, rows, hidden)?),
                _ => None,
            },
            norm: Some(norm(if is_authors { "emb_ln" } else { "embeddings.LayerNorm" })?),
        },
        layers: (0..sizes.layers).map(layer).collect::<Result<_, _>>()?,
        placement: Placement::After,
        final_norm: None,
        ropes: vec![Rope::new(theta, head_dim / 2, positions, parts.device)?],
        bias: None,
        after_up: After::Gate(parts.activation(&["activation_function", "hidden_act"], "swiglu")?),
        hidden,
        max_positions: positions,
        device: parts.device.clone(),
    })
}
