//! Qwen 3: a decoder whose last token knows the whole text.

use super::{MAX_HEADS, MAX_POSITIONS, MAX_WIDTH, Parts, Sizes};
use crate::InferenceError;
use crate::encoder::ops::{After, Attention, NormKind, Rope};
use crate::encoder::transformer::{Embeddings, Layer, Placement, Transformer};

pub(super) fn load(parts: Parts<'_>) -> Result<Transformer, InferenceError> {
    parts.weights.find_prefix(&["", "model."], "embed_tokens.weight")?;
    let config = parts.config;
    let sizes = parts.sizes()?;
    let Sizes { hidden, heads, inner, .. } = sizes;
    let kv_heads = config.size(&["num_key_value_heads"], 1..=MAX_HEADS)?.unwrap_or(heads);
    parts.refuse_unless(heads % kv_heads == 0, "num_key_value_heads", "must divide `num_attention_heads`")?;
    let head_dim = match config.size(&["head_dim"], 2..=MAX_WIDTH)? {
        Some(head_dim) => head_dim,
        None => parts.head_dim(&sizes)?,
    };
    parts.refuse_unless(head_dim % 2 == 0, "head_dim", "must be even")?;
    let has_windows = config.flag(&["use_sliding_window"])?.unwrap_or(false);
    parts.refuse_unless(!has_windows, "use_sliding_window", "is set, which is not supported")?;
    let rope_settings = config.inner("rope_parameters").or_else(|| config.inner("rope_scaling"));
    let mut theta = config.positive(&["rope_theta"])?;
    if let Some(settings) = rope_settings {
        let scaling = settings.text(&["rope_type", "type"])?.unwrap_or("default");
        parts.refuse_unless(scaling == "default", "rope_type", "is not `default`, which is not supported")?;
        theta = settings.positive(&["rope_theta"])?.or(theta);
    }
    let limit = config.need_size(&["max_position_embeddings"], 1..=MAX_POSITIONS)?;
    let positions = parts.positions(limit);
    let norm = |name: &str, width: usize| parts.norm(NormKind::Rms, name, width, sizes.eps);
    let layer = |index: usize| -> Result<Layer, InferenceError> {
        let name = |rest: &str| format!("layers.{index}.{rest}");
        let one = |rest: &str, rows: usize, depth: usize| parts.linear(&[(&name(rest), rows)], depth);
        Ok(Layer {
            attention_norm: Some(norm(&name("input_layernorm"), hidden)?),
            qkv: parts.linear(
                &[
                    (&name("self_attn.q_proj"), heads * head_dim),
                    (&name("self_attn.k_proj"), kv_heads * head_dim),
                    (&name("self_attn.v_proj"), kv_heads * head_dim),
                ],
                hidden,
            )?,
            attention: Attention {
                kv_heads,
                is_causal: true,
                query_norm: Some(norm(&name("self_attn.q_norm"), head_dim)?),
                key_norm: Some(norm(&name("self_attn.k_norm"), head_dim)?),
                ..Attention::of_heads(heads, head_dim)
            },
            rope: Some(0),
            attention_out: one("self_attn.o_proj", hidden, heads * head_dim)?,
            mlp_norm: norm(&name("post_attention_layernorm"), hidden)?,
            up: parts.linear(&[(&name("mlp.gate_proj"), inner), (&name("mlp.up_proj"), inner)], hidden)?,
            down: one("mlp.down_proj", hidden, inner)?,
        })
    };
    Ok(Transformer {
        embeddings: Embeddings {
            words: parts.table("embed_tokens.weight", sizes.vocabulary, hidden)?,
            positions: None,
            types: None,
            norm: None,
        },
        layers: (0..sizes.layers).map(layer).collect::<Result<_, _>>()?,
        placement: Placement::Before,
        final_norm: Some(norm("norm", hidden)?),
        ropes: vec![Rope::new(theta.unwrap_or(10_000.0), head_dim / 2, positions, parts.device)?],
        bias: None,
        after_up: After::Gate(parts.activation(&["hidden_act"], "silu")?),
        hidden,
        max_positions: positions,
        device: parts.device.clone(),
    })
}
