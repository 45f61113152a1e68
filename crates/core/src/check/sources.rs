//! Checks of a node against the file it names: is it there, can it be read, do inputs and parameters agree.

use super::{CheckedNode, Checker};
use crate::checked::{Api, Binding, NodeKind};
use crate::facts::{ParameterFacts, SourceFacts};
use crate::finding::{Finding, Place, Severity};
use crate::flow::{NodeDraft, list_known, pointer_key};
use crate::value::{ValueType, coerce};

impl<'a> Checker<'a> {
    pub(super) fn check_source(&mut self, node: &NodeDraft, checked: &mut CheckedNode) {
        let Some(path) = checked.kind.source_path().map(str::to_owned) else { return };
        let facts = self.facts;
        let Some(facts) = facts.sources.get(&path) else { return };
        let at = self.place(&format!("{}/source/path", node.pointer));
        match facts {
            SourceFacts::Missing { reason } => self.findings.push(
                Finding::error("missing-source", format!("node `{}`: file `{path}` {reason}", node.name))
                    .at(at)
                    .on_node(&node.name)
                    .suggest("put the file beside the flow, or correct the path"),
            ),
            SourceFacts::Broken { message, line, column } => {
                let place = Place { file: self.source_file(&path), line: *line, column: *column, node: None };
                self.findings.push(
                    Finding::error("broken-source", format!("node `{}`: {message}", node.name))
                        .at(place)
                        .on_node(&node.name),
                );
            }
            SourceFacts::Template { variables, has_roles } => {
                self.check_template(node, checked, variables, *has_roles, &path, &at);
            }
            // The results of all lines are handed to `__aggregate__`, which is not the function that was read.
            SourceFacts::Python { .. }
                if node.is_aggregation
                    && node.source.as_ref().is_some_and(|source| source.kind == "flex") => {}
            SourceFacts::Python { parameters, takes_rest, .. } => {
                self.check_parameters(node, checked, parameters, *takes_rest, &at);
            }
            SourceFacts::Present => {}
        }
    }

    fn source_file(&self, path: &str) -> Option<String> {
        let flow_file = self.draft.places.file.as_deref()?;
        Some(match flow_file.rfind('/') {
            Some(end) => format!("{}/{path}", &flow_file[..end]),
            None => path.to_owned(),
        })
    }

    fn check_template(
        &mut self,
        node: &NodeDraft,
        checked: &CheckedNode,
        variables: &[String],
        has_roles: bool,
        path: &str,
        at: &Place,
    ) {
        let is_chat = matches!(checked.kind, NodeKind::Llm { api: Api::Chat, .. });
        if is_chat && !has_roles {
            self.findings.push(
                Finding::warning(
                    "no-role",
                    format!("node `{}`: template `{path}` has no role line of its own", node.name),
                )
                .at(Place { file: self.source_file(path), line: Some(1), column: Some(1), node: None })
                .on_node(&node.name)
                .suggest(
                    "begin it with `# system:` or `# user:` on a line of its own, or use `api: completion`",
                ),
            );
        }
        let mapped_item = checked.for_each.as_ref().map(|for_each| for_each.settings.input.as_str());
        for variable in variables {
            let is_given = node.inputs.contains_key(variable) || mapped_item == Some(variable);
            if !is_given {
                self.findings.push(
                    Finding::warning(
                        "unset-variable",
                        format!(
                            "node `{}`: template `{path}` reads `{variable}`, which no input sets",
                            node.name
                        ),
                    )
                    .at(at.clone())
                    .on_node(&node.name)
                    .suggest(format!("add input `{variable}`; it renders as nothing now")),
                );
            }
        }
    }

    fn check_parameters(
        &mut self,
        node: &NodeDraft,
        checked: &mut CheckedNode,
        parameters: &[ParameterFacts],
        takes_rest: bool,
        at: &Place,
    ) {
        let item = checked.for_each.as_ref().map(|for_each| for_each.settings.input.clone());
        for parameter in parameters {
            if parameter.has_default {
                checked.optional.insert(parameter.name.clone());
            }
            if parameter.is_connection {
                checked.connection_parameters.insert(parameter.name.clone());
            }
            let is_given =
                checked.inputs.contains_key(&parameter.name) || item.as_deref() == Some(&parameter.name);
            // What is not wired in a tool is for the model to fill in.
            if !is_given && !parameter.has_default && !checked.is_tool {
                // A null literal for a parameter without default is given as null by prompt flow's callers too rarely
                // to guess at; it is told apart from a forgotten one only in the suggestion.
                let suggestion = if node.inputs.contains_key(&parameter.name) {
                    "an empty literal counts as absent; give it a value or the parameter a default".to_owned()
                } else {
                    format!("add input `{}`", parameter.name)
                };
                // A connection is a matter of the machine, as one that is named and not configured is.
                let (rule, severity) = match parameter.is_connection {
                    true => ("missing-connection", Severity::Warning),
                    false => ("missing-parameter", Severity::Error),
                };
                self.findings.push(
                    Finding::new(
                        rule,
                        severity,
                        format!("node `{}`, parameter `{}`: nothing is connected", node.name, parameter.name),
                    )
                    .at(at.clone())
                    .on_node(&node.name)
                    .suggest(suggestion),
                );
            }
        }
        for (name, binding) in &mut checked.inputs {
            let Some(parameter) = parameters.iter().find(|parameter| &parameter.name == name) else {
                if !takes_rest {
                    let known: Vec<&str> =
                        parameters.iter().map(|parameter| parameter.name.as_str()).collect();
                    let pointer = format!("{}/inputs/{}", node.pointer, pointer_key(name));
                    self.findings.push(
                        Finding::warning(
                            "unknown-parameter",
                            format!("node `{}`: the function has no parameter `{name}`", node.name),
                        )
                        .at(self.draft.places.of(&pointer))
                        .on_node(&node.name)
                        .suggest(list_known("parameters", &known)),
                    );
                }
                continue;
            };
            let Binding::Literal(value) = binding else { continue };
            let Some(kind) = parameter.kind.as_deref().and_then(ValueType::parse) else {
                // A parameter without a type takes what the literal reads as in JSON.
                if parameter.kind.is_none() && !parameter.is_connection {
                    *value = coerce(value, ValueType::Object).unwrap_or_else(|_| value.clone());
                }
                continue;
            };
            match coerce(value, kind) {
                Ok(converted) => *value = converted,
                Err(error) => {
                    let pointer = format!("{}/inputs/{}", node.pointer, pointer_key(name));
                    self.findings.push(
                        Finding::error(
                            "wrong-literal",
                            format!("node `{}`, input `{name}`: {error}", node.name),
                        )
                        .at(self.draft.places.of(&pointer))
                        .on_node(&node.name),
                    );
                }
            }
        }
    }
}
