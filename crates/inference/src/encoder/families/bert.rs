//! BERT and what was grown from it with the same layers: learned positions, norms behind.

use super::{MAX_POSITIONS, MAX_VOCABULARY, Parts};
use crate::InferenceError;
use crate::encoder::ops::{After, Attention, NormKind};
use crate::encoder::transformer::{Embeddings, Layer, Placement, Transformer};

/// BERT: MiniLM, BGE, E5, GTE and others.
pub(super) fn load(parts: Parts<'_>) -> Result<Transformer, InferenceError> {
    let position_kind = parts.config.text(&["position_embedding_type"])?.unwrap_or("absolute");
    parts.refuse_unless(
        position_kind == "absolute",
        "position_embedding_type",
        &format!("is `{position_kind}`, where only `absolute` is supported"),
    )?;
    load_with(parts, &["", "bert."], 0)
}

/// `offset` is how many vectors stand before the first position's.
fn load_with(parts: Parts<'_>, prefixes: &[&str], offset: usize) -> Result<Transformer, InferenceError> {
    parts.weights.find_prefix(prefixes, "embeddings.word_embeddings.weight")?;
    let sizes = parts.sizes()?;
    let head_dim = parts.head_dim(&sizes)?;
    let hidden = sizes.hidden;
    let positions = parts.config.need_size(&["max_position_embeddings"], offset + 1..=MAX_POSITIONS)?;
    let types = parts.config.size(&["type_vocab_size"], 0..=MAX_VOCABULARY)?.unwrap_or(2);
    let norm = |name: &str| parts.norm(NormKind::Layer, name, hidden, sizes.eps);
    let embeddings = Embeddings {
        words: parts.table("embeddings.word_embeddings.weight", sizes.vocabulary, hidden)?,
        positions: Some((parts.table("embeddings.position_embeddings.weight", positions, hidden)?, offset)),
        types: match types {
            0 => None,
            types => Some(parts.table("embeddings.token_type_embeddings.weight", types, hidden)?),
        },
        norm: Some(norm("embeddings.LayerNorm")?),
    };
    let layer = |index: usize| -> Result<Layer, InferenceError> {
        let name = |rest: &str| format!("encoder.layer.{index}.{rest}");
        let one = |rest: &str, rows: usize, depth: usize| parts.linear(&[(&name(rest), rows)], depth);
        Ok(Layer {
            attention_norm: Some(norm(&name("attention.output.LayerNorm"))?),
            qkv: parts.linear(
                &[
                    (&name("attention.self.query"), hidden),
                    (&name("attention.self.key"), hidden),
                    (&name("attention.self.value"), hidden),
                ],
                hidden,
            )?,
            attention: Attention {
                heads: sizes.heads,
                kv_heads: sizes.heads,
                head_dim,
                scale: 1.0 / (head_dim as f32).sqrt(),
                is_causal: false,
                window: None,
                query_norm: None,
                key_norm: None,
            },
            rope: None,
            attention_out: one("attention.output.dense", hidden, hidden)?,
            mlp_norm: norm(&name("output.LayerNorm"))?,
            up: one("intermediate.dense", sizes.inner, hidden)?,
            down: one("output.dense", hidden, sizes.inner)?,
        })
    };
    Ok(Transformer {
        embeddings,
        layers: (0..sizes.layers).map(layer).collect::<Result<_, _>>()?,
        placement: Placement::After,
        final_norm: None,
        ropes: Vec::new(),
        bias: None,
        after_up: After::Activation(parts.activation(&["hidden_act"], "gelu")?),
        hidden,
        max_positions: positions - offset,
        device: parts.device.clone(),
    })
}
