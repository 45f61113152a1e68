//! Puts numbered placeholders in place of what was found: the same value gets the same number within one text.

use std::collections::HashMap;

use super::{Action, Hit};

/// The text with a placeholder for each hit that asks for one. Hits are in the order of the text; where they overlap,
/// one placeholder stands for them all, under the name of the surest.
pub(super) fn redact(text: &str, hits: &[Hit]) -> String {
    let mut numbers: HashMap<(String, String), usize> = HashMap::new();
    let mut last: HashMap<String, usize> = HashMap::new();
    let mut clean = String::with_capacity(text.len());
    let mut copied = 0;
    let mut hits = hits.iter().filter(|hit| hit.action >= Action::Redact).peekable();
    while let Some(first) = hits.next() {
        let (mut end, mut surest) = (first.end, first);
        while let Some(next) = hits.next_if(|next| next.start < end) {
            end = end.max(next.end);
            if next.score > surest.score {
                surest = next;
            }
        }
        let label = label(&surest.kind);
        let value = normal(&text[first.start..end]);
        let number = *numbers.entry((label.clone(), value)).or_insert_with(|| {
            let last = last.entry(label.clone()).or_default();
            *last += 1;
            *last
        });
        clean.push_str(&text[copied..first.start]);
        clean.push_str(&format!("[{label}_{number}]"));
        copied = end;
    }
    clean.push_str(&text[copied..]);
    clean
}

/// `credit_card` becomes `CREDIT_CARD`, and so does a rule named `credit card`.
fn label(kind: &str) -> String {
    kind.chars()
        .flat_map(char::to_uppercase)
        .map(|letter| if letter.is_alphanumeric() { letter } else { '_' })
        .collect()
}

/// One value written in two ways is one value.
fn normal(value: &str) -> String {
    if value.contains('@') || !value.contains(|letter: char| letter.is_ascii_digit()) {
        return value.to_lowercase();
    }
    value.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
