//! `retrieve`: asks an index and gives its hits with their reasons.

use flowbench_core::ports::RetrievalQuery;
use serde_json::{Map, Value, json};

use super::{NodeContext, count, need_text, text};
use crate::failure::NodeFailure;

pub(super) async fn run(
    context: &NodeContext<'_>,
    inputs: &Map<String, Value>,
) -> Result<Value, NodeFailure> {
    let query = RetrievalQuery {
        index: need_text(inputs, "index")?,
        query: need_text(inputs, "query")?,
        mode: text(inputs, "mode").map(str::to_owned),
        top_k: count(inputs, "top_k")?,
        filters: inputs.get("filters").and_then(Value::as_object).cloned().unwrap_or_default(),
    };
    let hits = context.line.shared.calls.retrieve(&context.scope, query).await?;
    Ok(json!(hits))
}
