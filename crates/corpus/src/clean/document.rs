//! The second pass: one document.

use flowbench_extract::{Extracted, Kind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::draft::Draft;
use super::origin::cleaned_range;
use super::survey::DocumentFacts;
use super::{CleanSpec, Cleaned, ProjectKey, RuleReport, Treatment, boilerplate, encoding, privacy};
use crate::source::Entry;

/// A document as it comes to be cleaned.
#[derive(Clone, Copy, Debug)]
pub struct CleanInput<'a> {
    /// What its source said of it.
    pub entry: &'a Entry,
    /// Digest of its bytes.
    pub bytes_digest: &'a str,
    /// Language that its source states.
    pub language: Option<&'a str>,
    /// Its text.
    pub extracted: &'a Extracted,
}

/// What became of a document, and what every rule did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CleanResult {
    /// Outcome.
    pub outcome: CleanOutcome,
    /// One report for each rule that looked at the document.
    pub reports: Vec<RuleReport>,
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CleanOutcome {
    /// It goes on.
    Kept(Box<Cleaned>),
    /// It does not.
    LeftOut(LeftOut),
}

/// Why a document does not go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Rule: a key of `clean`, or `text` for a document without any.
    pub rule: String,
    /// In words.
    pub reason: String,
}

/// Cleans a document. `key` is only used where personal data is masked.
pub fn clean_document(
    input: &CleanInput<'_>,
    spec: &CleanSpec,
    facts: &DocumentFacts,
    key: &ProjectKey,
) -> CleanResult {
    let mut work = Work { input, draft: Draft::new(&input.extracted.text), reports: Vec::new() };
    let outcome = match work.run(spec, facts, key) {
        Ok(language) => CleanOutcome::Kept(Box::new(cleaned(input, work.draft, language, spec, key))),
        Err(left_out) => CleanOutcome::LeftOut(left_out),
    };
    CleanResult { outcome, reports: work.reports }
}

struct Work<'a> {
    input: &'a CleanInput<'a>,
    draft: Draft,
    reports: Vec<RuleReport>,
}

impl Work<'_> {
    /// Gives the document's language.
    fn run(
        &mut self,
        spec: &CleanSpec,
        facts: &DocumentFacts,
        key: &ProjectKey,
    ) -> Result<Option<String>, LeftOut> {
        let extracted = self.input.extracted;
        if extracted.text.trim().is_empty() {
            return Err(LeftOut { rule: "text".to_owned(), reason: "it has no text".to_owned() });
        }
        self.near_duplicates(spec, facts)?;
        if spec.boilerplate {
            let edits = boilerplate::edits(extracted, &facts.boilerplate);
            let found = edits.len();
            let example = edits.first().map(|edit| first_line(&extracted.text[edit.range.clone()]));
            self.change("boilerplate", found, example, |draft| draft.apply(&edits));
        }
        if spec.encoding {
            let is_code = extracted.kind == Some(Kind::Code);
            let garbled = if is_code { Vec::new() } else { encoding::mojibake(&self.draft.text) };
            let example = garbled
                .first()
                .map(|edit| format!("`{}` for `{}`", edit.with, &self.draft.text[edit.range.clone()]));
            let mut found = garbled.len();
            let before = self.characters();
            self.draft.apply(&garbled);
            let odd = encoding::odd_characters(&self.draft.text, is_code);
            found += odd.len();
            let example = example.or_else(|| odd.first().map(|edit| self.named(&edit.range, &edit.with)));
            self.draft.apply(&odd);
            self.report("encoding", found, before, example);
        }
        let language = self.language();
        if !spec.languages.is_empty() {
            let before = self.characters();
            let is_other = language
                .as_ref()
                .filter(|code| !spec.languages.iter().any(|wanted| same_language(wanted, code)));
            if let Some(code) = is_other {
                let reason = format!("its language is `{code}`");
                return Err(self.leave_out("languages", 1, before, reason));
            }
            self.report("languages", 0, before, None);
        }
        self.private(spec, key)?;
        Ok(language)
    }

    fn near_duplicates(&mut self, spec: &CleanSpec, facts: &DocumentFacts) -> Result<(), LeftOut> {
        let before = self.characters();
        let told = facts
            .copy_of
            .as_ref()
            .map(|copy| format!("{:.0} % of it is in `{}`", (copy.share * 100.0).floor(), copy.document));
        match told {
            Some(reason) if spec.near_duplicates.is_some() => {
                Err(self.leave_out("near_duplicates", 1, before, reason))
            }
            told => {
                self.report("near_duplicates", usize::from(told.is_some()), before, told);
                Ok(())
            }
        }
    }

    fn private(&mut self, spec: &CleanSpec, key: &ProjectKey) -> Result<(), LeftOut> {
        let (personal, secrets) = (spec.personal_data != Treatment::Keep, spec.secrets != Treatment::Keep);
        let found = privacy::find(&self.draft.text, personal, secrets);
        let mut edits = Vec::new();
        for (rule, treatment, is_secret) in
            [("personal_data", spec.personal_data, false), ("secrets", spec.secrets, true)]
        {
            if treatment == Treatment::Keep {
                continue;
            }
            let own: Vec<_> = found.iter().filter(|found| found.is_secret == is_secret).cloned().collect();
            let before = self.characters();
            if treatment == Treatment::Drop && !own.is_empty() {
                let mut kinds: Vec<&str> = own.iter().map(|found| found.kind.as_str()).collect();
                kinds.sort_unstable();
                kinds.dedup();
                let what = if is_secret { "secrets" } else { "personal data" };
                let reason = format!("it holds {what}: {}", kinds.join(", "));
                return Err(self.leave_out(rule, own.len(), before, reason));
            }
            let masks = privacy::edits(&self.draft.text, &own, key);
            let example = masks.first().map(|edit| edit.with.clone());
            let removed: usize =
                own.iter().map(|found| self.draft.text[found.range.clone()].chars().count()).sum();
            let added: usize = masks.iter().map(|edit| edit.with.chars().count()).sum();
            self.report(rule, own.len(), before, example);
            if let Some(report) = self.reports.last_mut() {
                report.characters_after = before + added - removed;
            }
            edits.extend(masks);
        }
        edits.sort_by_key(|edit| edit.range.start);
        self.draft.apply(&edits);
        Ok(())
    }

    /// What the source states, else what the words say, else what the document says of itself: templates say `en` of
    /// every page.
    fn language(&self) -> Option<String> {
        if let Some(stated) = self.input.language {
            return Some(primary(stated));
        }
        if self.input.extracted.kind == Some(Kind::Code) {
            return None;
        }
        let own = self.input.extracted.metadata.get("language").and_then(Value::as_str);
        detected(&self.draft.text).or_else(|| own.map(primary))
    }

    fn change(&mut self, rule: &str, found: usize, example: Option<String>, change: impl FnOnce(&mut Draft)) {
        let before = self.characters();
        change(&mut self.draft);
        self.report(rule, found, before, example);
    }

    fn characters(&self) -> usize {
        self.draft.text.chars().count()
    }

    fn named(&self, range: &std::ops::Range<usize>, with: &str) -> String {
        let was: Vec<String> = self.draft.text[range.clone()]
            .chars()
            .map(|letter| format!("U+{:04X}", u32::from(letter)))
            .collect();
        match with.trim().is_empty() {
            true => format!("{} removed or made a blank", was.join(" ")),
            false => format!("`{with}` for {}", was.join(" ")),
        }
    }

    fn report(&mut self, rule: &str, found: usize, before: usize, example: Option<String>) {
        let after = self.characters();
        self.push(rule, found, before, after, example);
    }

    fn leave_out(&mut self, rule: &str, found: usize, before: usize, reason: String) -> LeftOut {
        self.push(rule, found, before, 0, Some(format!("left out: {reason}")));
        LeftOut { rule: rule.to_owned(), reason }
    }

    fn push(&mut self, rule: &str, found: usize, before: usize, after: usize, example: Option<String>) {
        let name = &self.input.entry.name;
        self.reports.push(RuleReport {
            rule: rule.to_owned(),
            documents: usize::from(found > 0 && (after != before || rule != "near_duplicates")),
            found,
            characters_before: before,
            characters_after: after,
            examples: example.map(|example| format!("{name}: {example}")).into_iter().collect(),
        });
    }
}

/// A line of boilerplate, short enough for a report.
fn first_line(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let mut short: String = line.chars().take(60).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    format!("`{short}`")
}

/// `de-AT` is German.
fn primary(code: &str) -> String {
    code.split(['-', '_']).next().unwrap_or_default().to_lowercase()
}

fn same_language(one: &str, other: &str) -> bool {
    primary(one) == primary(other)
}

/// Bytes that are enough to tell a language by.
const TELLING_BYTES: usize = 16 << 10;

/// The language of a text by its beginning and its middle: a book may open with a licence in English.
fn detected(text: &str) -> Option<String> {
    if text.len() <= 2 * TELLING_BYTES {
        return flowbench_text::language::detect(text).map(|found| found.code.to_owned());
    }
    let middle = text.floor_char_boundary(text.len() / 2);
    let start = &text[..text.floor_char_boundary(TELLING_BYTES)];
    let rest = &text[middle..text.floor_char_boundary(middle + TELLING_BYTES)];
    flowbench_text::language::detect(&format!("{start}\n\n{rest}")).map(|found| found.code.to_owned())
}

/// Puts the cleaned document together: headings, pages and blocks where they are now.
fn cleaned(
    input: &CleanInput<'_>,
    draft: Draft,
    language: Option<String>,
    spec: &CleanSpec,
    key: &ProjectKey,
) -> Cleaned {
    let extracted = input.extracted;
    let (text, origin) = draft.finish(&extracted.text);
    let (personal, secrets) = (spec.personal_data == Treatment::Mask, spec.secrets == Treatment::Mask);
    let title = |title: &str| {
        let mut draft = Draft::new(title);
        if spec.encoding {
            draft.apply(&encoding::odd_characters(title, false));
        }
        privacy::mask_text(&draft.text, personal, secrets, key).unwrap_or(draft.text)
    };
    let place = |range: &std::ops::Range<usize>| cleaned_range(&origin, range);
    let mut pages = extracted.pages.clone();
    for page in &mut pages {
        page.range = place(&page.range);
        page.name = page.name.as_deref().map(title);
    }
    let mut headings = extracted.headings.clone();
    for heading in &mut headings {
        heading.range = place(&heading.range);
        heading.title = title(&heading.title);
    }
    headings.retain(|heading| !text[heading.range.clone()].trim().is_empty());
    let mut blocks = extracted.blocks.clone();
    for block in &mut blocks {
        block.range = place(&block.range);
    }
    blocks.retain(|block| !text[block.range.clone()].trim().is_empty());
    let mut metadata: Map<String, Value> = extracted.metadata.clone();
    metadata.extend(input.entry.metadata.clone());
    metadata.values_mut().for_each(|value| privacy::mask_value(value, personal, secrets, key));
    Cleaned {
        document: input.entry.name.clone(),
        source: input.entry.source.clone(),
        uri: input.entry.uri.clone(),
        text,
        pages,
        headings,
        blocks,
        language,
        is_code: extracted.kind == Some(Kind::Code),
        metadata,
        bytes_digest: input.bytes_digest.to_owned(),
        origin,
        notes: extracted.notes.clone(),
    }
}
