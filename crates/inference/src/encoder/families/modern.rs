//! ModernBERT: norms before, rotations, every third layer sees the whole text and the others a window.

use serde_json::Value;

use super::{MAX_POSITIONS, Parts, Sizes};
use crate::InferenceError;
use crate::encoder::ops::{After, Attention, NormKind, Rope};
use crate::encoder::transformer::{Embeddings, Layer, Placement, Transformer};

pub(super) fn load(parts: Parts<'_>) -> Result<Transformer, InferenceError> {
    parts.weights.find_prefix(&["", "model."], "embeddings.tok_embeddings.weight")?;
    let config = parts.config;
    let sizes = parts.sizes()?;
    let Sizes { hidden, heads, inner, .. } = sizes;
    let head_dim = parts.head_dim(&sizes)?;
    parts.refuse_unless(head_dim % 2 == 0, "num_attention_heads", "gives heads of an odd width")?;
    let eps = config.positive(&["norm_eps"])?.unwrap_or(1e-5) as f32;
    let norm = |name: &str| parts.norm(NormKind::Layer, name, hidden, eps);
    let limit = config.need_size(&["max_position_embeddings"], 1..=MAX_POSITIONS)?;
    let positions = parts.positions(limit);
    let reach = config.size(&["local_attention"], 1..=MAX_POSITIONS)?.unwrap_or(128) / 2;
    let is_local = local_layers(&parts, sizes.layers)?;
    let rope = |kind: &str, key: &str, default: f64| -> Result<Rope, InferenceError> {
        let theta = match config.inner("rope_parameters").and_then(|all| all.inner(kind)) {
            Some(settings) => {
                let scaling = settings.text(&["rope_type"])?.unwrap_or("default");
                parts.refuse_unless(scaling == "default", "rope_type", "is not `default`")?;
                settings.positive(&["rope_theta"])?
            }
            None => config.positive(&[key])?,
        };
        Rope::new(theta.unwrap_or(default), head_dim / 2, positions, parts.device)
    };
    let layer = |index: usize| -> Result<Layer, InferenceError> {
        let name = |rest: &str| format!("layers.{index}.{rest}");
        let one = |rest: &str, rows: usize, depth: usize| parts.linear(&[(&name(rest), rows)], depth);
        Ok(Layer {
            // The first layer has its norm in the embeddings.
            attention_norm: if index == 0 { None } else { Some(norm(&name("attn_norm"))?) },
            qkv: one("attn.Wqkv", 3 * hidden, hidden)?,
            attention: Attention {
                window: is_local[index].then_some(reach),
                ..Attention::of_heads(heads, head_dim)
            },
            rope: Some(usize::from(is_local[index])),
            attention_out: one("attn.Wo", hidden, hidden)?,
            mlp_norm: norm(&name("mlp_norm"))?,
            up: one("mlp.Wi", 2 * inner, hidden)?,
            down: one("mlp.Wo", hidden, inner)?,
        })
    };
    Ok(Transformer {
        embeddings: Embeddings {
            words: parts.table("embeddings.tok_embeddings.weight", sizes.vocabulary, hidden)?,
            positions: None,
            types: None,
            norm: Some(norm("embeddings.norm")?),
        },
        layers: (0..sizes.layers).map(layer).collect::<Result<_, _>>()?,
        placement: Placement::Before,
        final_norm: Some(norm("final_norm")?),
        ropes: vec![
            rope("full_attention", "global_rope_theta", 160_000.0)?,
            rope("sliding_attention", "local_rope_theta", 10_000.0)?,
        ],
        bias: None,
        after_up: After::Gate(parts.activation(&["hidden_activation"], "gelu")?),
        hidden,
        max_positions: positions,
        device: parts.device.clone(),
    })
}

/// Which layers see a window only: as listed, or all but every n-th.
fn local_layers(parts: &Parts<'_>, layers: usize) -> Result<Vec<bool>, InferenceError> {
    let Some(list) = parts.config.get("layer_types") else {
        let every = parts.config.size(&["global_attn_every_n_layers"], 1..=layers.max(1024))?.unwrap_or(3);
        return Ok((0..layers).map(|index| index % every != 0).collect());
    };
    let kinds: Option<Vec<bool>> = list.as_array().and_then(|list| {
        let kind = |value: &Value| match value.as_str()? {
            "full_attention" => Some(false),
            "sliding_attention" => Some(true),
            _ => None,
        };
        list.iter().map(kind).collect()
    });
    kinds.filter(|kinds| kinds.len() == layers).ok_or_else(|| {
        parts.config.bad("layer_types", "must say `full_attention` or `sliding_attention` for each layer")
    })
}
