//! A flow's file while it is edited: the text, what it says, and edits that keep everything else.

use flowbench_core::edit::{Applied, EditError, EditOperation};
use flowbench_core::finding::Finding;
use flowbench_core::flow::FlowDraft;
use serde_json::{Map, Value};

use crate::flow_file::read_draft;
use crate::yaml::YamlDocument;

/// A flow's file. Every edit changes the text in the places it is about and no others, and can be taken back
/// byte for byte.
#[derive(Debug)]
pub struct FlowDocument {
    bytes: Vec<u8>,
    document: YamlDocument,
    draft: FlowDraft,
    findings: Vec<Finding>,
}

impl FlowDocument {
    /// Reads bytes; never fails. `file` is the name for findings.
    pub fn parse(bytes: &[u8], file: Option<&str>) -> Self {
        Self::from_document(bytes.to_vec(), YamlDocument::parse(bytes, file))
    }

    fn from_document(bytes: Vec<u8>, document: YamlDocument) -> Self {
        let (draft, findings) = read_draft(&document);
        Self { bytes, document, draft, findings }
    }

    /// The bytes to save: those that were read, where nothing was edited.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.document.text()
    }

    /// What the text says.
    pub fn value(&self) -> &Value {
        self.document.value()
    }

    /// The flow as far as it could be understood.
    pub fn draft(&self) -> &FlowDraft {
        &self.draft
    }

    /// What is wrong with the YAML and with the shape of its parts.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Makes an edit. On an error nothing has changed.
    pub fn apply(&mut self, operation: &EditOperation) -> Result<Applied, EditError> {
        if let EditOperation::ReplaceText { changes } = operation {
            let document = self.document.replace_text(changes)?;
            *self = Self::from_document(document.text().as_bytes().to_vec(), document);
            return Ok(Applied::new(changes.clone()));
        }
        let empty = Value::Object(Map::new());
        let value = if self.document.value().is_null() { &empty } else { self.document.value() };
        let steps = operation.steps(value)?;
        let (document, changes) = self.document.edit(&steps)?;
        if !changes.is_empty() {
            *self = Self::from_document(document.text().as_bytes().to_vec(), document);
        }
        Ok(Applied::new(changes))
    }
}
