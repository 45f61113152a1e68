//! Reports of rules: of one document, and of all of them.

use super::RuleReport;

/// Most examples of a rule.
const EXAMPLES: usize = 10;

/// Adds the reports of one document to those of a corpus. Documents added in order give the same examples each time.
pub fn add_reports(total: &mut Vec<RuleReport>, document: &[RuleReport]) {
    for one in document {
        let index = total.iter().position(|sum| sum.rule == one.rule).unwrap_or_else(|| {
            total.push(RuleReport { rule: one.rule.clone(), ..RuleReport::default() });
            total.len() - 1
        });
        let sum = &mut total[index];
        sum.documents += one.documents;
        sum.found += one.found;
        sum.characters_before += one.characters_before;
        sum.characters_after += one.characters_after;
        let room = EXAMPLES.saturating_sub(sum.examples.len());
        sum.examples.extend(one.examples.iter().take(room).cloned());
    }
}
