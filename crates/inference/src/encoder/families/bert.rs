//! BERT and what was grown from it with the same layers: norms behind, one feed-forward layer or a gated one.

use super::{MAX_POSITIONS, MAX_VOCABULARY, Parts, Sizes};
use crate::InferenceError;
use crate::encoder::ops::{After, Attention, Bias, NormKind};
use crate::encoder::transformer::{Embeddings, Layer, Placement, Transformer};

/// How tokens know their place.
enum Places {
    /// From a table, behind so many vectors that are not for places.
    Table { offset: usize },
    /// By how far they are apart: the farther, the less they see each other, in each head at its own slope.
    Alibi,
}

/// How tensors are called, where the members of the family differ.
struct Names {
    query: &'static str,
    key: &'static str,
    value: &'static str,
    attention_out: &'static str,
    attention_norm: &'static str,
    mlp_norm: &'static str,
}

const BERT: Names = Names {
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attention_out: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    mlp_norm: "output.LayerNorm",
};

const MPNET: Names = Names {
    query: "attention.attn.q",
    key: "attention.attn.k",
    value: "attention.attn.v",
    attention_out: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    mlp_norm: "output.LayerNorm",
};

/// Jina's second generation, which calls itself BERT.
const JINA: Names = Names { mlp_norm: "mlp.layernorm", ..BERT };

/// BERT: MiniLM, BGE, E5, GTE and others; Jina 2 too.
pub(super) fn load(parts: Parts<'_>) -> Result<Transformer, InferenceError> {
    match parts.config.text(&["position_embedding_type"])?.unwrap_or("absolute") {
        "absolute" => load_with(parts, &["", "bert."], &Places::Table { offset: 0 }, &BERT),
        "alibi" => load_with(parts, &["", "bert."], &Places::Alibi, &JINA),
        other => Err(parts.config.bad(
            "position_embedding_type",
            &format!("is `{other}`, where `absolute` and `alibi` are supported"),
        )),
    }
}

/// RoBERTa and XLM-RoBERTa: BGE-M3, multilingual E5. Places are counted from behind that of padding.
pub(super) fn load_roberta(parts: Parts<'_>) -> Result<Transformer, InferenceError> {
    let offset = padding_offset(&parts)?;
    load_with(parts, &["", "roberta."], &Places::Table { offset }, &BERT)
}

/// MPNet: no token types, and a bias by distance beside the places.
pub(super) fn load_mpnet(parts: Parts<'_>) -> Result<Transformer, InferenceError> {
    /// What the reference counts in, and where it begins, whatever the settings say.
    const BUCKETS: usize = 32;
    const OFFSET: usize = 2;
    let heads = parts.sizes()?.heads;
    parts.weights.find_prefix(&["", "mpnet."], "embeddings.word_embeddings.weight")?;
    let table = parts.weights.floats("encoder.relative_attention_bias.weight", &[BUCKETS, heads])?;
    let mut transformer = load_with(parts, &["", "mpnet."], &Places::Table { offset: OFFSET }, &MPNET)?;
    transformer.bias = Some(Bias::new(transformer.max_positions - 1, heads, |head, distance| {
        table[bucket(distance, BUCKETS) * heads + head]
    }));
    Ok(transformer)
}

/// T5's buckets: each near distance has its own, far ones share by their logarithm; forward and back apart.
fn bucket(distance: isize, buckets: usize) -> usize {
    const FAR: f32 = 128.0;
    let half = buckets / 2;
    let near = half / 2;
    let behind = if distance > 0 { half } else { 0 };
    let away = distance.unsigned_abs();
    if away < near {
        return behind + away;
    }
    let share = (away as f32 / near as f32).ln() / (FAR / near as f32).ln();
    behind + (near + (share * (half - near) as f32) as usize).min(half - 1)
}

fn padding_offset(parts: &Parts<'_>) -> Result<usize, InferenceError> {
    Ok(parts.config.size(&["pad_token_id"], 0..=MAX_VOCABULARY)?.unwrap_or(1) + 1)
}

/// Slopes of the heads as ALiBi's authors choose them: a geometric series, for other counts than powers of two
/// filled up with every other one of the next longer series.
fn alibi_slopes(heads: usize) -> Vec<f32> {
    let series = |count: usize| {
        let first = 2f64.powf(-8.0 / count as f64);
        (1..=count).map(move |power| first.powi(power as i32) as f32)
    };
    if heads.is_power_of_two() {
        return series(heads).collect();
    }
    let below = heads.next_power_of_two() / 2;
    series(below).chain(series(2 * below).step_by(2)).take(heads).collect()
}

fn load_with(
    parts: Parts<'_>,
    prefixes: &[&str],
    places: &Places,
    names: &Names,
) -> Result<Transformer, InferenceError> {
    parts.weights.find_prefix(prefixes, "embeddings.word_embeddings.weight")?;
    let sizes = parts.sizes()?;
    let Sizes { hidden, heads, inner, .. } = sizes;
    let types = "embeddings.token_type_embeddings.weight";
    let norm = |name: &str| parts.norm(NormKind::Layer, name, hidden, sizes.eps);
    let (positions, bias, max_positions) = match places {
        Places::Table { offset } => {
            let rows = parts.config.need_size(&["max_position_embeddings"], offset + 1..=MAX_POSITIONS)?;
            let table = parts.table("embeddings.position_embeddings.weight", rows, hidden)?;
            (Some((table, *offset)), None, rows - offset)
        }
        Places::Alibi => {
            let limit = parts.config.size(&["max_position_embeddings"], 1..=MAX_POSITIONS)?.unwrap_or(512);
            let positions = parts.positions(limit);
            let slopes = alibi_slopes(heads);
            let bias = Bias::new(positions - 1, heads, |head, distance| {
                -slopes[head] * distance.unsigned_abs() as f32
            });
            (None, Some(bias), positions)
        }
    };
    let embeddings = Embeddings {
        words: parts.table("embeddings.word_embeddings.weight", sizes.vocabulary, hidden)?,
        positions,
        types: match parts.config.size(&["type_vocab_size"], 0..=MAX_VOCABULARY)?.unwrap_or(2) {
            rows if rows > 0 && parts.weights.has(types) => Some(parts.table(types, rows, hidden)?),
            _ => None,
        },
        norm: Some(norm("embeddings.LayerNorm")?),
    };
    let is_gated = parts.weights.has("encoder.layer.0.mlp.gated_layers.weight");
    let layer = |index: usize| -> Result<Layer, InferenceError> {
        let name = |rest: &str| format!("encoder.layer.{index}.{rest}");
        let one = |rest: &str, rows: usize, depth: usize| parts.linear(&[(&name(rest), rows)], depth);
        let (up, down) = if is_gated {
            (one("mlp.gated_layers", 2 * inner, hidden)?, one("mlp.wo", hidden, inner)?)
        } else {
            (one("intermediate.dense", inner, hidden)?, one("output.dense", hidden, inner)?)
        };
        Ok(Layer {
            attention_norm: Some(norm(&name(names.attention_norm))?),
            qkv: parts.linear(
                &[(&name(names.query), hidden), (&name(names.key), hidden), (&name(names.value), hidden)],
                hidden,
            )?,
            attention: Attention::of_heads(heads, parts.head_dim(&sizes)?),
            rope: None,
            attention_out: one(names.attention_out, hidden, hidden)?,
            mlp_norm: norm(&name(names.mlp_norm))?,
            up,
            down,
        })
    };
    let activation = parts.activation(&["hidden_act"], "gelu")?;
    Ok(Transformer {
        embeddings,
        layers: (0..sizes.layers).map(layer).collect::<Result<_, _>>()?,
        placement: Placement::After,
        final_norm: None,
        ropes: Vec::new(),
        bias,
        after_up: if is_gated {
            After::Gate(parts.activation(&["feed_forward_type"], "geglu")?)
        } else {
            After::Activation(activation)
        },
        hidden,
        max_positions,
        device: parts.device.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alibi_slopes_are_those_of_its_authors() {
        assert_eq!(alibi_slopes(4), [0.25, 0.0625, 0.015625, 0.00390625]);
        let twelve = alibi_slopes(12);
        assert_eq!(twelve[..2], [0.5, 0.25]);
        assert!((twelve[8] - 0.5f32.sqrt()).abs() < 1e-6);
        assert_eq!(twelve.len(), 12);
    }

    #[test]
    fn far_distances_share_a_bucket() {
        assert_eq!(bucket(0, 32), 0);
        assert_eq!(bucket(-7, 32), 7);
        assert_eq!(bucket(7, 32), 23);
        assert_eq!(bucket(-500, 32), bucket(-5000, 32));
        assert_eq!(bucket(500, 32), 31);
    }
}
