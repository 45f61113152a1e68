//! Personal data and secrets: found by the guard's rules, which know forms and check digits, and no names of people.

use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

use flowbench_text::guard::{Category, GuardConfig};
use serde_json::{Map, Value, json};

use super::draft::{Draft, Edit};

/// Key of a project: pseudonyms cannot be made or tried out without it.
#[derive(Clone, PartialEq, Eq)]
pub struct ProjectKey([u8; 32]);

impl ProjectKey {
    /// A key of random bytes that stays with the project.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Changes when the pseudonyms do, and tells nothing of the key.
    pub fn digest(&self) -> String {
        blake3::keyed_hash(&self.0, b"flowbench pseudonyms").to_hex().to_string()
    }

    /// What stands for a value. Eight digits: among 10,000 values the chance that any two share one is a hundredth.
    fn pseudonym(&self, kind: &str, value: &str) -> String {
        let digest = blake3::keyed_hash(&self.0, format!("{kind}\0{}", normal(value)).as_bytes());
        format!("[{}-{}]", kind.replace('_', "-"), &digest.to_hex()[..8])
    }
}

impl fmt::Debug for ProjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ProjectKey(…)")
    }
}

/// One value written in two ways is one value.
fn normal(value: &str) -> String {
    if value.contains('@') || !value.contains(|letter: char| letter.is_ascii_digit()) {
        return value.to_lowercase();
    }
    value.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A value found, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub range: Range<usize>,
    pub is_secret: bool,
    pub kind: String,
}

impl Found {
    pub(super) fn mask(&self, text: &str, key: &ProjectKey) -> String {
        match self.is_secret {
            true => format!("[secret:{}]", self.kind),
            false => key.pseudonym(&self.kind, &text[self.range.clone()]),
        }
    }
}

/// Looks for what is asked, in the order of the text.
pub(super) fn find(text: &str, personal_data: bool, secrets: bool) -> Vec<Found> {
    static BOTH: LazyLock<GuardConfig> = LazyLock::new(|| config(true, true));
    static PERSONAL: LazyLock<GuardConfig> = LazyLock::new(|| config(true, false));
    static SECRETS: LazyLock<GuardConfig> = LazyLock::new(|| config(false, true));
    let config = match (personal_data, secrets) {
        (true, true) => &BOTH,
        (true, false) => &PERSONAL,
        (false, true) => &SECRETS,
        (false, false) => return Vec::new(),
    };
    let findings = config.check(text).findings;
    let mut letters = text.char_indices().map(|(at, _)| at).chain([text.len()]).enumerate();
    let mut edge = (0, 0);
    let mut byte_of = |character: usize| {
        while edge.0 < character
            && let Some(next) = letters.next()
        {
            edge = next;
        }
        edge.1
    };
    let mut found = Vec::with_capacity(findings.len());
    let mut last = 0;
    for finding in findings {
        // Findings of these two sorts do not overlap.
        if finding.start < last || finding.start >= finding.end {
            continue;
        }
        last = finding.end;
        let start = byte_of(finding.start);
        let range = start..byte_of(finding.end);
        found.push(Found { range, is_secret: finding.category == Category::Secret, kind: finding.kind });
    }
    found
}

fn config(personal_data: bool, secrets: bool) -> GuardConfig {
    let word = |on: bool| json!(if on { "annotate" } else { "off" });
    let inputs: Map<String, Value> = [
        ("injection".to_owned(), json!("off")),
        ("personal_data".to_owned(), word(personal_data)),
        ("secrets".to_owned(), word(secrets)),
    ]
    .into_iter()
    .collect();
    GuardConfig::from_inputs(&inputs).expect("words that the guard knows")
}

/// Masks the values of a document's metadata and its titles, which are searched as its text is.
pub(super) fn mask_text(text: &str, personal_data: bool, secrets: bool, key: &ProjectKey) -> Option<String> {
    let found = find(text, personal_data, secrets);
    if found.is_empty() {
        return None;
    }
    let mut draft = Draft::new(text);
    draft.apply(&edits(text, &found, key));
    Some(draft.text)
}

/// Edits that put masks in place of what was found.
pub(super) fn edits(text: &str, found: &[Found], key: &ProjectKey) -> Vec<Edit> {
    found.iter().map(|found| Edit { range: found.range.clone(), with: found.mask(text, key) }).collect()
}

/// The same for every text within a value.
pub(super) fn mask_value(value: &mut Value, personal_data: bool, secrets: bool, key: &ProjectKey) {
    match value {
        Value::String(text) => {
            if let Some(masked) = mask_text(text, personal_data, secrets, key) {
                *text = masked;
            }
        }
        Value::Array(values) => {
            values.iter_mut().for_each(|value| mask_value(value, personal_data, secrets, key));
        }
        Value::Object(values) => {
            values.values_mut().for_each(|value| mask_value(value, personal_data, secrets, key));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
