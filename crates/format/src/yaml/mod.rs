//! YAML without loss: bytes to a value, the places of its parts and findings; the bytes stay as they are.
//!
//! Reading goes bytes → text (encoding checked) → tree with byte ranges ([`tree`]) → value as the loader of
//! prompt flow gives it ([`value`]). Nothing here fails: a broken text gives findings, and the value of what
//! stands before the break. Memory and time are bounded by the limits below, whatever the file holds.

mod edit;
mod emit;
mod locate;
mod scalar;
mod splice;
mod text;
pub(crate) mod tree;
mod value;

use std::collections::HashMap;

use flowbench_core::finding::{Finding, Place};
use flowbench_core::flow::Places;
use serde_json::Value;

use text::Text;

/// Largest YAML file that is read. Flows are some kilobytes; this leaves room for long texts in them and keeps
/// the tree within memory.
pub const MAX_YAML_BYTES: usize = 16 << 20;

/// Deepest nesting. Values are written into records as JSON inside other values, and JSON readers commonly
/// stop at 128.
pub const MAX_DEPTH: usize = 100;

/// Most values in one file: about 100 MiB of tree at worst.
pub const MAX_NODES: usize = 200_000;

/// Most marks (brackets, commas, colons, quotes, anchors) in one file. The parser holds everything between two
/// brackets as tokens before it hands out the first, some hundred bytes each, and each needs a mark.
pub const MAX_MARKS: usize = 500_000;

/// Most findings of one kind that are listed.
const MAX_FINDINGS: usize = 100;

/// Most bytes that aliases may stand for, all together. The loader of prompt flow shares aliased values; we
/// copy them.
pub const MAX_EXPANDED_BYTES: usize = 32 << 20;

/// Most bytes of pointers in [`Places`].
const MAX_PLACES_BYTES: usize = 48 << 20;

/// A YAML text that was read.
#[derive(Debug)]
pub struct YamlDocument {
    text: String,
    value: Value,
    places: Places,
    findings: Vec<Finding>,
    pub(crate) tree: tree::Tree,
    is_text_exact: bool,
}

impl YamlDocument {
    /// Reads bytes; never fails. `file` is the name for findings.
    pub fn parse(bytes: &[u8], file: Option<&str>) -> Self {
        let places = Places { file: file.map(str::to_owned), ..Places::default() };
        let mut findings = Vec::new();
        let mut document = Self {
            text: String::new(),
            value: Value::Null,
            places,
            findings: Vec::new(),
            tree: tree::Tree::default(),
            is_text_exact: false,
        };
        if bytes.len() > MAX_YAML_BYTES {
            findings.push(too_large(file, bytes.len() as u64));
            document.findings = findings;
            return document;
        }
        let marks = bytes.iter().filter(|byte| b",[]{}?:*&!\"'".contains(byte)).count();
        if marks > MAX_MARKS {
            findings
                .push(too_many_parts(marks).at(Place { file: file.map(str::to_owned), ..Place::default() }));
            document.text = String::from_utf8_lossy(bytes).into_owned();
            document.findings = findings;
            return document;
        }
        let (text, is_exact) = decode(bytes, file, &mut findings);
        document.is_text_exact = is_exact;
        document.text = text;
        let mut text = Text::new(&document.text, file);
        let readable = readable(&text, &mut findings);
        if let Some(replaced) = &readable {
            text = Text::new(replaced, file);
        }
        // The parser is not ours and its input is hostile: a bug in it costs a finding.
        let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut found = Vec::new();
            let tree = tree::build(&mut text, &mut found);
            (tree, found)
        }));
        match built {
            Ok((tree, found)) => {
                findings.extend(found);
                document.value = value::read(&tree, &text, &mut findings, &mut document.places);
                document.tree = tree;
                document.tree.is_editable &= readable.is_none() && document.is_text_exact;
            }
            Err(_) => findings.push(
                Finding::error("yaml-internal", "the YAML reader stopped on this file; please report it")
                    .at(text.place_at(1, 1)),
            ),
        }
        shorten_findings(&mut findings);
        document.findings = findings;
        document
    }

    /// The text, byte order mark included; with replacement characters where it was not UTF-8.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says; what stands before the break if it is broken.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Where every part stands.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// What is wrong with the YAML.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// True if the text was understood to its end.
    pub fn is_whole(&self) -> bool {
        self.tree.is_whole
    }

    /// Value, places and findings, without copying.
    pub fn into_parts(self) -> (String, Value, Places, Vec<Finding>) {
        (self.text, self.value, self.places, self.findings)
    }
}

/// The finding for a file beyond [`MAX_YAML_BYTES`].
pub(crate) fn too_large(file: Option<&str>, bytes: u64) -> Finding {
    Finding::error(
        "yaml-too-large",
        format!("the file has {} MiB, and at most {} MiB are read", bytes >> 20, MAX_YAML_BYTES >> 20),
    )
    .at(Place { file: file.map(str::to_owned), ..Place::default() })
    .suggest("move data out of it into a file of rows")
}

/// The finding for a file beyond [`MAX_MARKS`].
fn too_many_parts(marks: usize) -> Finding {
    Finding::error(
        "yaml-too-many-parts",
        format!("the file has {marks} brackets, commas, colons and quotes, and at most {MAX_MARKS} are read"),
    )
    .suggest("move data out of it into a file of rows")
}

/// Leaves out findings beyond [`MAX_FINDINGS`] of one rule, and says how many.
fn shorten_findings(findings: &mut Vec<Finding>) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    findings.retain(|finding| {
        let count = counts.entry(finding.rule.clone()).or_default();
        *count += 1;
        *count <= MAX_FINDINGS
    });
    for (rule, count) in counts {
        if let Some(last) = findings.iter_mut().rev().find(|finding| finding.rule == rule)
            && count > MAX_FINDINGS
        {
            last.message = format!("{} (and {} more of these)", last.message, count - MAX_FINDINGS);
        }
    }
}

/// Bytes to text, and whether nothing was replaced.
fn decode(bytes: &[u8], file: Option<&str>, findings: &mut Vec<Finding>) -> (String, bool) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), true),
        Err(error) => {
            let lossy = String::from_utf8_lossy(bytes).into_owned();
            let is_utf_16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let place = Text::new(&before, file).place(before.len());
            let message = if is_utf_16 {
                "the file is UTF-16, and only UTF-8 is read".to_owned()
            } else {
                format!("byte {} is not UTF-8", error.valid_up_to())
            };
            findings
                .push(Finding::error("yaml-encoding", message).at(place).suggest("save the file as UTF-8"));
            (lossy, false)
        }
    }
}

/// Control characters that YAML forbids are found, and replaced for reading (one would end the text early).
fn readable(text: &Text<'_>, findings: &mut Vec<Finding>) -> Option<String> {
    let is_forbidden = |c: char| matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\x7f' | '\u{80}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}');
    let (at, first) = text.body().char_indices().find(|(_, c)| is_forbidden(*c))?;
    findings.push(
        Finding::error(
            "yaml-control-character",
            format!("character U+{:04X} is not allowed in YAML", u32::from(first)),
        )
        .at(text.place(at + text.bom()))
        .suggest("remove it, or write it as an escape in double quotes"),
    );
    let mut out = String::with_capacity(text.all().len());
    for c in text.all().chars() {
        out.push(if is_forbidden(c) { '\u{fffd}' } else { c });
    }
    Some(out)
}

#[cfg(test)]
mod tests;
