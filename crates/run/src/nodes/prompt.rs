//! `prompt`: renders a template. The text keeps the origin of its parts, so that role lines that the template wrote
//! count in an llm node, and those that a value brought do not.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use flowbench_core::check::Binding;
use flowbench_prompt::{MarkedText, Template, TemplateError};
use serde_json::{Map, Value};

use super::NodeContext;
use crate::failure::NodeFailure;

pub(super) fn run(
    context: &NodeContext<'_>,
    path: &str,
    inputs: &Map<String, Value>,
) -> Result<Value, NodeFailure> {
    let template = template(context, path)?;
    let marked =
        template.render_marked(inputs, &prompt_results(context)).map_err(|error| template_failure(&error))?;
    let text = Value::String(marked.text.clone());
    let index = context.line.flow.plan.flow.node_index(context.node.id.as_str());
    if let (Some(index), None) = (index, &context.node.for_each) {
        context.line.marks.lock().unwrap_or_else(PoisonError::into_inner).insert(index, marked);
    }
    Ok(text)
}

/// Inputs of a node that are whole results of prompt nodes, with the origin of their parts.
pub(super) fn prompt_results(context: &NodeContext<'_>) -> BTreeMap<String, MarkedText> {
    let marks = context.line.marks.lock().unwrap_or_else(PoisonError::into_inner);
    context
        .node
        .inputs
        .iter()
        .filter_map(|(name, binding)| match binding {
            Binding::Node { node, path } if path.is_empty() => Some((name.clone(), marks.get(node)?.clone())),
            _ => None,
        })
        .collect()
}

pub(super) fn template(context: &NodeContext<'_>, path: &str) -> Result<Arc<Template>, NodeFailure> {
    context.line.flow.templates.get(path).cloned().ok_or_else(|| {
        NodeFailure::new("source/missing", format!("template `{path}` was not read"))
            .hint("put the file beside the flow, or correct the path")
    })
}

pub(super) fn template_failure(error: &TemplateError) -> NodeFailure {
    let failure = NodeFailure::new("template", error.to_string());
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
