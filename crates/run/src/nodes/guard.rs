//! `guard`: checks text for injections, personal data, secrets and own rules; with a connection also for harm.
//!
//! Result: `{outcome: allow | redact | block, text, findings, …}`. With a connection of type `azure_content_safety`
//! the categories of harm are asked for as well, and input `harm` says from which level they block (`low`, `medium`,
//! `high` or `off`; medium when absent).

use flowbench_text::guard::GuardConfig;
use serde_json::{Map, Value, json};

use super::{NodeContext, need_text, package, text};
use crate::failure::NodeFailure;

pub(super) async fn run(
    context: &NodeContext<'_>,
    connection: Option<&str>,
    inputs: &Map<String, Value>,
) -> Result<Value, NodeFailure> {
    let checked = need_text(inputs, "text")?;
    let config =
        GuardConfig::from_inputs(inputs).map_err(|error| NodeFailure::new("guard", error.to_string()))?;
    let mut verdict = json!(config.check(&checked));
    let Some(connection) = connection.or_else(|| text(inputs, "connection")) else { return Ok(verdict) };
    let limit = match text(inputs, "harm") {
        None | Some("medium") => 4,
        Some("low") => 2,
        Some("high") => 6,
        Some("off") => return Ok(verdict),
        Some(other) => {
            return Err(NodeFailure::new("guard", format!("`harm` `{other}` is not known"))
                .hint("write low, medium, high or off"));
        }
    };
    let severities = package::harm_severities(context, connection, &checked).await?;
    let is_blocked = severities.values().any(|severity| *severity >= limit);
    if let Value::Object(map) = &mut verdict {
        if is_blocked {
            map.insert("outcome".to_owned(), json!("block"));
            map.insert("text".to_owned(), json!(""));
        }
        map.insert("harm".to_owned(), json!(severities));
    }
    Ok(verdict)
}
