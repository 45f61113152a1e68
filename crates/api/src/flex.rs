//! `flow.flex.yaml` as a flow with one python node, and one that sums up where its class does.

use std::path::Path;

use flowbench_code::signature::{entry_files, parameter_facts, read_entry};
use flowbench_core::facts::{ParameterFacts, SourceFacts};
use flowbench_core::finding::Finding;
use flowbench_core::flow::{FlowDraft, Places};
use flowbench_format::yaml::YamlDocument;
use flowbench_run::digest::digest_bytes;
use serde_json::{Map, Value, json};

use crate::files::read_source;
use crate::load::ReadFlow;

/// Name of the node that runs each line.
const NODE: &str = "entry";
/// Name of the node that sums up all lines, where the entry is a class with `__aggregate__`.
const AGGREGATION: &str = "aggregate";

/// Reads a flex flow: its inputs are the parameters of its entry unless it declares them.
pub fn read(bytes: &[u8], folder: &Path, shown: &str) -> ReadFlow {
    let document = YamlDocument::parse(bytes, Some(shown));
    let (_, value, places, mut findings) = document.into_parts();
    let entry = value.get("entry").and_then(Value::as_str).unwrap_or_default().to_owned();
    if entry.is_empty() {
        findings.push(
            Finding::error("missing-entry", "a flex flow names its `entry`")
                .at(places.of("/entry"))
                .suggest("write `entry: module:function` or `entry: module:Class`"),
        );
        return ReadFlow { findings, ..ReadFlow::default() };
    }
    let signature = match find_entry(folder, &entry) {
        Ok(signature) => signature,
        Err((message, line, column)) => {
            let mut place = places.of("/entry");
            if line.is_some() {
                (place.line, place.column) = (line, column);
            }
            findings.push(Finding::error("broken-source", format!("entry `{entry}`: {message}")).at(place));
            return ReadFlow { findings, ..ReadFlow::default() };
        }
    };
    let declared =
        value.get("inputs").and_then(Value::as_object).filter(|inputs| !inputs.is_empty()).cloned();
    let inputs = declared.unwrap_or_else(|| inputs_of(&signature.parameters));
    let init: Map<String, Value> = value
        .get("init")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, definition)| Some((name.clone(), definition.get("default")?.clone())))
        .chain(value.pointer("/sample/init").and_then(Value::as_object).cloned().unwrap_or_default())
        .collect();
    let wired: Map<String, Value> =
        inputs.keys().map(|name| (name.clone(), json!(format!("${{inputs.{name}}}")))).collect();
    let mut nodes = vec![json!({
        "name": NODE,
        "type": "python",
        "source": {"type": "flex", "path": entry, "init": init},
        "inputs": wired,
    })];
    if signature.has_aggregate {
        nodes.push(json!({
            "name": AGGREGATION,
            "type": "python",
            "source": {"type": "flex", "path": entry, "init": init},
            "inputs": {"line_results": format!("${{{NODE}.output}}")},
            "aggregation": true,
        }));
    }
    let flow = json!({
        "name": value.get("name"),
        "description": value.get("description"),
        "language": value.get("language"),
        "inputs": inputs,
        "outputs": {"output": {"type": "string", "reference": format!("${{{NODE}.output}}")}},
        "nodes": nodes,
        "environment_variables": value.get("environment_variables"),
        "additional_includes": value.get("additional_includes"),
    });
    let inner = Places { file: places.file.clone(), by_pointer: places.by_pointer.clone() };
    let (draft, found) = FlowDraft::read(&flow, inner);
    findings.extend(found);
    let facts = SourceFacts::Python {
        function: entry.clone(),
        parameters: signature.parameters,
        takes_rest: signature.takes_rest,
        is_generator: false,
    };
    ReadFlow {
        draft,
        findings,
        digests: [(entry.clone(), signature.digest)].into(),
        facts: [(entry, facts)].into(),
        spreads_output: true,
        sample: value.pointer("/sample/inputs").and_then(Value::as_object).cloned(),
        ..ReadFlow::default()
    }
}

struct Signature {
    parameters: Vec<ParameterFacts>,
    takes_rest: bool,
    has_aggregate: bool,
    digest: String,
}

type Broken = (String, Option<u32>, Option<u32>);

fn find_entry(folder: &Path, entry: &str) -> Result<Signature, Broken> {
    let plain = |message: String| (message, None, None);
    let (files, name) =
        entry_files(entry).ok_or_else(|| plain("must be `module:function` or `module:Class`".to_owned()))?;
    let file = files.iter().map(|file| folder.join(file)).find(|file| file.is_file());
    let file = file.ok_or_else(|| plain(format!("`{}` is not beside the flow", files[0])))?;
    let bytes = read_source(&file).map_err(|error| plain(error.message))?;
    let found = read_entry(&bytes, name).map_err(|error| {
        let (line, column) = error.place();
        (error.to_string(), line, column)
    })?;
    let (takes_rest, has_aggregate) = (found.call.takes_rest, found.has_aggregate);
    let parameters = found
        .call
        .parameters
        .into_iter()
        .filter(|parameter| !parameter.is_of_init)
        .map(parameter_facts)
        .collect();
    Ok(Signature { parameters, takes_rest, has_aggregate, digest: digest_bytes(&bytes) })
}

fn inputs_of(parameters: &[ParameterFacts]) -> Map<String, Value> {
    parameters
        .iter()
        .map(|parameter| {
            let mut definition = Map::new();
            definition.insert("type".to_owned(), json!(parameter.kind.as_deref().unwrap_or("object")));
            if parameter.has_default {
                definition.insert("default".to_owned(), parameter.default.clone().unwrap_or(Value::Null));
            }
            (parameter.name.clone(), Value::Object(definition))
        })
        .collect()
}
