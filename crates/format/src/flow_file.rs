//! `flow.dag.yaml`: bytes to a draft of the flow and findings.

use std::path::Path;

use flowbench_core::finding::Finding;
use flowbench_core::flow::FlowDraft;
use serde_json::{Map, Value};

use crate::read::{ReadError, read_limited};
use crate::yaml::{MAX_YAML_BYTES, YamlDocument};

/// The usual name of a flow's file.
pub const FLOW_FILE: &str = "flow.dag.yaml";

/// A flow's file that was read, complete or broken.
#[derive(Debug)]
pub struct FlowFile {
    /// The text as it stands in the file.
    pub text: String,
    /// The document as a value.
    pub value: Value,
    /// The flow as far as it could be understood; places inside.
    pub draft: FlowDraft,
    /// What is wrong with the YAML and with the shape of its parts.
    pub findings: Vec<Finding>,
}

/// Reads a flow from bytes; never fails. `file` is the name for findings.
pub fn parse_flow(bytes: &[u8], file: Option<&str>) -> FlowFile {
    let document = YamlDocument::parse(bytes, file);
    let (draft, findings) = read_draft(&document);
    let (text, value, _, _) = document.into_parts();
    FlowFile { text, value, draft, findings }
}

/// Reads a flow's file; fails only if the file cannot be read or is too large.
pub fn load_flow(path: &Path, file: Option<&str>) -> Result<FlowFile, ReadError> {
    Ok(parse_flow(&read_limited(path, MAX_YAML_BYTES)?, file))
}

/// The draft of a document, with all findings.
pub(crate) fn read_draft(document: &YamlDocument) -> (FlowDraft, Vec<Finding>) {
    let mut findings = document.findings().to_vec();
    let empty = Value::Object(Map::new());
    let is_empty = document.value().is_null();
    if is_empty && document.is_whole() {
        findings.push(
            Finding::warning("empty-flow", "the file says nothing")
                .at(document.places().of(""))
                .suggest("write `inputs`, `outputs` and `nodes`"),
        );
    }
    let value = if is_empty { &empty } else { document.value() };
    let (draft, shape_findings) = FlowDraft::read(value, document.places().clone());
    findings.extend(shape_findings);
    (draft, findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowbench_core::finding::has_errors;

    #[test]
    fn a_flow_becomes_a_draft_with_places() {
        let file = parse_flow(
            b"inputs:\n  q: {type: string}\nnodes:\n- name: a\n  type: python\n  inputs: 3\n",
            Some("flow.dag.yaml"),
        );
        assert_eq!(file.draft.nodes[0].name, "a");
        assert_eq!(file.findings.len(), 1);
        assert_eq!(file.findings[0].message, "`inputs` must be a map, and is a number");
        assert_eq!(file.findings[0].place.line, Some(6));
    }

    #[test]
    fn an_empty_file_opens_with_a_finding() {
        let file = parse_flow(b"", None);
        assert!(!has_errors(&file.findings));
        assert_eq!(file.findings[0].rule, "empty-flow");
    }

    #[test]
    fn the_sample_flows_are_read_without_findings() {
        let flows = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../flows");
        let mut count = 0;
        for entry in std::fs::read_dir(flows).unwrap() {
            let path = entry.unwrap().path().join(FLOW_FILE);
            let file = load_flow(&path, None).unwrap();
            assert!(file.findings.is_empty(), "{}: {:?}", path.display(), file.findings);
            assert!(!file.draft.nodes.is_empty());
            count += 1;
        }
        assert!(count >= 6, "{count} sample flows");
    }
}
