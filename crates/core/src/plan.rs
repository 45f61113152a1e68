//! `Plan`: a checked flow and what is to be done with each node in this run.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use thiserror::Error;

use crate::check::CheckedFlow;
use crate::flow::list_known;

/// What a run does with a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Runs it.
    Run,
    /// Takes this value as its result.
    Take {
        /// The value.
        value: Value,
        /// Where it comes from, in words.
        why: String,
        /// The user gave it; else it is the result of an earlier run.
        is_pinned: bool,
    },
    /// Leaves it out: nothing that is wanted depends on it.
    Skip,
}

/// Which part of a flow is wanted.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// Run this node and what follows from it; values of earlier nodes come from `earlier`.
    pub from: Option<String>,
    /// Run only what this node needs, and it.
    pub to: Option<String>,
    /// Results given by the user.
    pub pins: HashMap<String, Value>,
    /// Results of an earlier run, used by `from`.
    pub earlier: HashMap<String, Value>,
}

/// A flow ready to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The flow.
    pub flow: Arc<CheckedFlow>,
    /// By node index.
    pub steps: Vec<Step>,
    /// Indexes of ordinary nodes in order.
    pub line_order: Vec<usize>,
    /// Indexes of aggregation nodes in order.
    pub aggregation_order: Vec<usize>,
    /// By node index: the nodes that wait for it.
    pub dependents: Vec<Vec<usize>>,
    /// True if the run ends at a node, so that flow outputs are not wanted.
    pub is_partial: bool,
}

/// A node named for a plan that the flow does not have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("flow `{flow}` has no node `{node}`")]
pub struct UnknownNode {
    /// Flow name.
    pub flow: String,
    /// Node name.
    pub node: String,
    /// What to do.
    pub hint: String,
}

impl Plan {
    /// Plans a whole run.
    pub fn whole(flow: Arc<CheckedFlow>) -> Self {
        let steps = vec![Step::Run; flow.nodes.len()];
        Self::with_steps(flow, steps, false)
    }

    /// Plans a part of a flow.
    pub fn new(flow: Arc<CheckedFlow>, options: &PlanOptions) -> Result<Self, UnknownNode> {
        let find = |name: &str| {
            flow.node_index(name).ok_or_else(|| {
                let known: Vec<&str> = flow.nodes.iter().map(|node| node.id.as_str()).collect();
                UnknownNode {
                    flow: flow.name.clone(),
                    node: name.to_owned(),
                    hint: list_known("nodes", &known),
                }
            })
        };
        let mut steps = vec![Step::Run; flow.nodes.len()];
        if let Some(from) = &options.from {
            let start = find(from)?;
            let wanted = reach(&flow, start, true);
            for (index, step) in steps.iter_mut().enumerate() {
                if let Some(value) = options.earlier.get(flow.nodes[index].id.as_str())
                    && !wanted[index]
                {
                    *step = Step::Take {
                        value: value.clone(),
                        why: "result of the earlier run".to_owned(),
                        is_pinned: false,
                    };
                }
            }
        }
        if let Some(to) = &options.to {
            let end = find(to)?;
            let needed = reach(&flow, end, false);
            for (index, step) in steps.iter_mut().enumerate() {
                if !needed[index] {
                    *step = Step::Skip;
                }
            }
        }
        for (name, value) in &options.pins {
            let index = find(name)?;
            if steps[index] != Step::Skip {
                steps[index] = Step::Take {
                    value: value.clone(),
                    why: "pinned by the user".to_owned(),
                    is_pinned: true,
                };
            }
        }
        Ok(Self::with_steps(flow, steps, options.to.is_some()))
    }

    fn with_steps(flow: Arc<CheckedFlow>, steps: Vec<Step>, is_partial: bool) -> Self {
        let mut dependents = vec![Vec::new(); flow.nodes.len()];
        for (index, node) in flow.nodes.iter().enumerate() {
            for dependency in &node.dependencies {
                dependents[*dependency].push(index);
            }
        }
        let mut steps = steps;
        for (index, node) in flow.nodes.iter().enumerate() {
            if node.is_tool {
                steps[index] = Step::Skip;
            }
        }
        let (aggregation_order, line_order) =
            flow.order.iter().copied().partition(|index| flow.nodes[*index].is_aggregation);
        Self { flow, steps, line_order, aggregation_order, dependents, is_partial }
    }
}

/// Nodes that follow from a node (forward) or that it needs (backward), itself included.
fn reach(flow: &CheckedFlow, start: usize, is_forward: bool) -> Vec<bool> {
    let mut reached = vec![false; flow.nodes.len()];
    reached[start] = true;
    let mut order: Vec<usize> = flow.order.clone();
    if !is_forward {
        order.reverse();
    }
    for index in order {
        if is_forward {
            if flow.nodes[index].dependencies.iter().any(|dependency| reached[*dependency]) {
                reached[index] = true;
            }
        } else if reached[index] {
            for dependency in &flow.nodes[index].dependencies {
                reached[*dependency] = true;
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check_flow;
    use crate::facts::FlowFacts;
    use crate::flow::{FlowDraft, Places};
    use serde_json::json;

    /// A flow from `a -> b, b -> c`: nodes are prompt nodes whose inputs are the arrows.
    fn flow(text: &str) -> Result<Arc<CheckedFlow>, Vec<String>> {
        let mut nodes: Vec<(String, Vec<String>)> = Vec::new();
        for edge in text.split(',') {
            let names: Vec<&str> = edge.split("->").map(str::trim).collect();
            for name in &names {
                if !nodes.iter().any(|(other, _)| other == name) {
                    nodes.push(((*name).to_owned(), Vec::new()));
                }
            }
            if let [from, to] = names.as_slice()
                && let Some((_, inputs)) = nodes.iter_mut().find(|(name, _)| name == to)
            {
                inputs.push((*from).to_owned());
            }
        }
        let nodes: Vec<Value> = nodes
            .iter()
            .map(|(name, inputs)| {
                let inputs: serde_json::Map<String, Value> =
                    inputs.iter().map(|from| (from.clone(), json!(format!("${{{from}.output}}")))).collect();
                json!({"name": name, "type": "prompt", "source": {"type": "code", "path": "p.jinja2"}, "inputs": inputs})
            })
            .collect();
        let (draft, _) = FlowDraft::read(&json!({"nodes": nodes}), Places::default());
        let outcome = check_flow(&draft, "test", &FlowFacts::default());
        outcome
            .flow
            .map(Arc::new)
            .ok_or_else(|| outcome.findings.into_iter().map(|finding| finding.message).collect())
    }

    fn runs(plan: &Plan) -> String {
        let names: Vec<&str> = plan
            .line_order
            .iter()
            .filter(|index| plan.steps[**index] == Step::Run)
            .map(|index| plan.flow.nodes[*index].id.as_str())
            .collect();
        names.join(" ")
    }

    #[test]
    fn order_respects_edges_and_file_order() {
        assert_eq!(runs(&Plan::whole(flow("c -> b, a -> b, b -> d").unwrap())), "c a b d");
    }

    #[test]
    fn a_cycle_is_named() {
        assert_eq!(
            flow("a -> b, b -> c, c -> a").unwrap_err(),
            ["nodes wait for each other: `b` → `c` → `a` → `b`"]
        );
    }

    #[test]
    fn only_the_wanted_part_runs() {
        let flow = flow("a -> b, b -> c, x -> c").unwrap();
        let to = PlanOptions { to: Some("b".into()), ..PlanOptions::default() };
        assert_eq!(runs(&Plan::new(Arc::clone(&flow), &to).unwrap()), "a b");
        let from = PlanOptions {
            from: Some("b".into()),
            earlier: HashMap::from([("a".to_owned(), json!("A")), ("x".to_owned(), json!("X"))]),
            ..PlanOptions::default()
        };
        assert_eq!(runs(&Plan::new(Arc::clone(&flow), &from).unwrap()), "b c");
        let pinned = PlanOptions { pins: HashMap::from([("a".to_owned(), json!("P"))]), ..from.clone() };
        let steps = Plan::new(Arc::clone(&flow), &pinned).unwrap().steps;
        let is_pinned = |name: &str| match &steps[flow.node_index(name).unwrap()] {
            Step::Take { is_pinned, .. } => Some(*is_pinned),
            _ => None,
        };
        assert_eq!([is_pinned("a"), is_pinned("x"), is_pinned("b")], [Some(true), Some(false), None]);
        let error =
            Plan::new(flow, &PlanOptions { to: Some("z".into()), ..PlanOptions::default() }).unwrap_err();
        assert_eq!(error.to_string(), "flow `test` has no node `z`");
    }
}
