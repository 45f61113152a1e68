//! `embed` and `rerank`: vectors for texts, and passages in a better order.

use flowbench_core::ports::EmbeddingPurpose;
use serde_json::{Map, Value, json};

use super::{NodeContext, count, missing, need_text, passages, text};
use crate::failure::NodeFailure;

fn connection_of<'a>(named: Option<&'a str>, inputs: &'a Map<String, Value>) -> Result<&'a str, NodeFailure> {
    named.or_else(|| text(inputs, "connection")).ok_or_else(|| missing("connection"))
}

/// Inputs: `model`, and `text` (gives one vector) or `texts` (gives a list); `purpose` document or query; `dimensions`.
pub(super) async fn run_embed(
    context: &NodeContext<'_>,
    connection: Option<&str>,
    inputs: &Map<String, Value>,
) -> Result<Value, NodeFailure> {
    let connection = connection_of(connection, inputs)?;
    let calls = &context.line.shared.calls;
    let choice = super::llm::model_choice(inputs);
    let purpose = match text(inputs, "purpose") {
        None | Some("document") => EmbeddingPurpose::Document,
        Some("query") => EmbeddingPurpose::Query,
        Some(other) => {
            return Err(NodeFailure::new("input/type", format!("`purpose` `{other}` is not known"))
                .hint("write `document` or `query`"));
        }
    };
    let dimensions = count(inputs, "dimensions")?.and_then(|dimensions| u32::try_from(dimensions).ok());
    let is_one = !inputs.contains_key("texts");
    let texts = if is_one { vec![need_text(inputs, "text")?] } else { passages(inputs, "texts")? };
    let embeddings = calls.embed(&context.scope, connection, &choice, &texts, purpose, dimensions).await?;
    if embeddings.vectors.len() != texts.len() {
        return Err(NodeFailure::new(
            "model/bad_reply",
            format!("the model gave {} vectors for {} texts", embeddings.vectors.len(), texts.len()),
        ));
    }
    let mut vectors = embeddings.vectors;
    Ok(match (is_one, vectors.pop()) {
        (true, Some(vector)) => json!(vector),
        (_, Some(last)) => {
            vectors.push(last);
            json!(vectors)
        }
        (_, None) => json!([]),
    })
}

/// Inputs: `model`, `query`, `passages` (texts, or hits with `text`), `top_k`. Gives the passages best first, each
/// hit with its `rerank` score among its stages.
pub(super) async fn run_rerank(
    context: &NodeContext<'_>,
    connection: Option<&str>,
    inputs: &Map<String, Value>,
) -> Result<Value, NodeFailure> {
    let connection = connection_of(connection, inputs)?;
    let calls = &context.line.shared.calls;
    let choice = super::llm::model_choice(inputs);
    let query = need_text(inputs, "query")?;
    let texts = passages(inputs, "passages")?;
    let top_k = count(inputs, "top_k")?.unwrap_or(texts.len());
    let scores = match texts.is_empty() {
        true => Vec::new(),
        false => calls.rerank(&context.scope, connection, &choice, &query, &texts).await?,
    };
    if scores.len() != texts.len() {
        return Err(NodeFailure::new(
            "model/bad_reply",
            format!("the model gave {} scores for {} passages", scores.len(), texts.len()),
        ));
    }
    let given = inputs.get("passages").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut ranked: Vec<(usize, f32)> = scores.into_iter().enumerate().collect();
    // Ties stay in the order in which they came.
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let ordered = ranked.into_iter().take(top_k).map(|(index, score)| match given.get(index) {
        Some(Value::Object(hit)) => {
            let mut hit = hit.clone();
            let stages = hit.entry("stages").or_insert_with(|| json!({}));
            if let Value::Object(stages) = stages {
                stages.insert("rerank".to_owned(), json!({"score": score, "rank_before": index + 1}));
            }
            hit.insert("score".to_owned(), json!(score));
            Value::Object(hit)
        }
        _ => json!({"text": texts[index], "score": score, "stages": {"rerank": {"score": score, "rank_before": index + 1}}}),
    });
    Ok(ordered.collect())
}
