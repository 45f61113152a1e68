//! Finds passages and the question in what a flow sends to a model.

use flowbench_core::chat::{Message, ModelInput, Role};
use serde_json::Value;

use super::Passage;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Material {
    pub question: String,
    pub passages: Vec<Passage>,
}

/// Words that open a section of passages.
const CONTEXT_LABELS: [&str; 24] = [
    "context",
    "contexts",
    "passages",
    "passage",
    "documents",
    "sources",
    "search results",
    "extracts",
    "excerpts",
    "material",
    "knowledge",
    "reference",
    "references",
    "kontext",
    "sammanhang",
    "källor",
    "utdrag",
    "dokument",
    "dokumente",
    "quellen",
    "contexte",
    "contexto",
    "上下文",
    "контекст",
];
/// Words that open the question.
const QUESTION_LABELS: [&str; 13] = [
    "question",
    "query",
    "user question",
    "q",
    "fråga",
    "frage",
    "pregunta",
    "domanda",
    "pergunta",
    "vraag",
    "вопрос",
    "问题",
    "سؤال",
];
/// Words that open something else, and so end a section.
const OTHER_LABELS: [&str; 12] = [
    "answer",
    "instructions",
    "instruction",
    "task",
    "history",
    "chat history",
    "svar",
    "antwort",
    "respuesta",
    "réponse",
    "output",
    "examples",
];
/// Elements that hold a passage.
const ELEMENTS: [&str; 6] = ["document", "doc", "passage", "chunk", "source", "context"];
/// Longest id in brackets; longer ones are prose.
const LONGEST_ID: usize = 120;

/// Reads a conversation or a prompt.
pub(super) fn read(input: &ModelInput) -> Material {
    let texts: Vec<(Role, String)> = match input {
        ModelInput::Text(text) => vec![(Role::User, text.clone())],
        ModelInput::Messages(messages) => messages
            .iter()
            .filter(|message| message.role != Role::Assistant)
            .map(|message| (message.role, Message::content_text(message)))
            .collect(),
    };
    let last_user = texts.iter().rposition(|(role, _)| *role == Role::User);
    let sections: Vec<Sections> = texts.iter().map(|(_, text)| split_sections(text)).collect();
    let question = last_user.map(|at| question_of(&sections[at])).unwrap_or_default();

    let mut passages: Vec<Passage> = Vec::new();
    for ((role, text), sections) in texts.iter().zip(&sections) {
        if *role == Role::Tool || *role == Role::Function {
            passages.extend(read_passages(text, true));
        }
        for context in &sections.context {
            passages.extend(read_passages(context, true));
        }
        for rest in &sections.rest {
            passages.extend(read_passages(rest, false));
        }
    }
    if passages.is_empty() {
        for (at, sections) in sections.iter().enumerate() {
            let paragraphs = sections.rest.iter().flat_map(|rest| paragraphs(rest));
            let is_asked = |paragraph: &String| last_user == Some(at) && *paragraph == question;
            passages.extend(paragraphs.filter(|paragraph| !is_asked(paragraph)).map(unnamed));
        }
    }
    number(&mut passages);
    Material { question, passages }
}

fn unnamed(text: String) -> Passage {
    Passage { id: String::new(), text }
}

/// Gives passages without a name their number.
fn number(passages: &mut [Passage]) {
    for (at, passage) in passages.iter_mut().enumerate() {
        if passage.id.is_empty() {
            passage.id = (at + 1).to_string();
        }
    }
}

/// A message, taken apart at its labels.
#[derive(Debug, Default)]
struct Sections {
    context: Vec<String>,
    question: Option<String>,
    rest: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    Context,
    Question,
    Other,
}

fn split_sections(text: &str) -> Sections {
    let mut sections = Sections::default();
    let mut open: (Option<Label>, String) = (None, String::new());
    let mut fence: Option<&str> = None;
    for line in text.lines() {
        if let Some(mark) = fence {
            // Inside a fence a label is text.
            if line.trim() == mark {
                fence = None;
            }
            push_line(&mut open.1, line);
            continue;
        }
        if let Some((label, after)) = label_of(line) {
            sections.close(open);
            open = (Some(label), after.to_owned());
            continue;
        }
        if open.0 == Some(Label::Context) {
            fence = ["```", "\"\"\"", "~~~"].into_iter().find(|mark| line.trim_start().starts_with(mark));
        }
        push_line(&mut open.1, line);
    }
    sections.close(open);
    sections
}

fn push_line(text: &mut String, line: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(line);
}

impl Sections {
    fn close(&mut self, (label, text): (Option<Label>, String)) {
        if text.trim().is_empty() {
            return;
        }
        match label {
            Some(Label::Context) => self.context.push(text),
            Some(Label::Question) => {
                let mut paragraphs = paragraphs(&text).into_iter();
                self.question = paragraphs.next();
                self.rest.extend(paragraphs);
            }
            Some(Label::Other) | None => self.rest.push(text),
        }
    }
}

/// Reads `context:`, `## Context`, `**Question:** text`, `CONTEXT` and the like.
fn label_of(line: &str) -> Option<(Label, &str)> {
    let trimmed = line.trim();
    let is_heading = trimmed.starts_with('#') || trimmed.starts_with("**") || trimmed.starts_with("---");
    let bare = trimmed.trim_start_matches(['#', '*', '-', '=', ' ']);
    let (word, after, has_colon) = match bare.find([':', '：']) {
        Some(at) => {
            let colon = bare[at..].chars().next().map_or(1, char::len_utf8);
            (&bare[..at], &bare[at + colon..], true)
        }
        None => (bare, "", false),
    };
    let word = word.trim_matches(['*', '-', '=', ' ', '_']).trim();
    let is_shout = word.chars().count() > 3 && word.chars().all(|c| c.is_uppercase() || c == ' ');
    if word.chars().count() > 20 || !(has_colon || is_heading || is_shout) {
        return None;
    }
    let word = word.to_lowercase();
    let label = if CONTEXT_LABELS.contains(&word.as_str()) {
        Label::Context
    } else if QUESTION_LABELS.contains(&word.as_str()) {
        Label::Question
    } else if OTHER_LABELS.contains(&word.as_str()) {
        Label::Other
    } else {
        return None;
    };
    Some((label, after.trim_matches(['*', ' '])))
}

fn question_of(sections: &Sections) -> String {
    if let Some(question) = &sections.question {
        return question.clone();
    }
    let paragraphs: Vec<String> = sections.rest.iter().flat_map(|rest| paragraphs(rest)).collect();
    let asks = |text: &&String| text.trim_end().ends_with(['?', '？', '؟']);
    paragraphs.iter().rev().find(asks).or(paragraphs.last()).cloned().unwrap_or_default()
}

/// Blocks between blank lines.
fn paragraphs(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for line in text.lines() {
        if line.trim().is_empty() {
            found.push(String::new());
        } else if let Some(last) = found.last_mut() {
            push_line(last, line);
        }
    }
    found
        .into_iter()
        .map(|paragraph| paragraph.trim().to_owned())
        .filter(|paragraph| !paragraph.is_empty())
        .collect()
}

/// Passages of one section. Outside a context section only marked ones count.
fn read_passages(text: &str, is_context: bool) -> Vec<Passage> {
    let text = without_fence(text);
    for marked in [bracketed(text), elements(text), json_list(text)] {
        if !marked.is_empty() {
            return marked;
        }
    }
    if !is_context {
        return Vec::new();
    }
    let numbered = numbered(text);
    if !numbered.is_empty() {
        return numbered;
    }
    paragraphs(text).into_iter().map(unnamed).collect()
}

fn without_fence(text: &str) -> &str {
    let text = text.trim();
    for mark in ["```", "\"\"\"", "~~~"] {
        if let Some((_, inner)) = text.strip_prefix(mark).and_then(|rest| rest.split_once('\n')) {
            return inner.trim_end().strip_suffix(mark).unwrap_or(inner).trim();
        }
    }
    text
}

/// `[id] text`, to the next such line.
fn bracketed(text: &str) -> Vec<Passage> {
    marked_lines(text, |line| {
        let (id, rest) = line.trim_start().strip_prefix('[')?.split_once(']')?;
        let is_checkbox = id.trim().is_empty() || id == "x" && !rest.is_empty();
        let is_link = rest.starts_with('(') || rest.starts_with('[');
        (id.len() <= LONGEST_ID && !is_checkbox && !is_link)
            .then(|| (id.trim(), rest.trim_start_matches([':', ' '])))
    })
}

/// `1. text`, `1) text`, `(1) text`.
fn numbered(text: &str) -> Vec<Passage> {
    marked_lines(text, |line| {
        let line = line.trim_start();
        let bare = line.strip_prefix('(').unwrap_or(line);
        let digits = bare.len() - bare.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (id, rest) = bare.split_at(digits);
        let text = rest.strip_prefix(['.', ')'])?;
        (digits > 0 && digits < 4 && text.starts_with(' ')).then(|| (id, text.trim_start()))
    })
}

fn marked_lines<'a>(text: &'a str, mark: impl Fn(&'a str) -> Option<(&'a str, &'a str)>) -> Vec<Passage> {
    let mut found: Vec<Passage> = Vec::new();
    for line in text.lines() {
        if let Some((id, rest)) = mark(line) {
            found.push(Passage { id: id.to_owned(), text: rest.to_owned() });
        } else if let Some(last) = found.last_mut() {
            last.text.push('\n');
            last.text.push_str(line);
        }
    }
    found.retain_mut(|passage| {
        passage.text = passage.text.trim().to_owned();
        !passage.text.is_empty()
    });
    found
}

/// `<document id="x">text</document>`.
fn elements(text: &str) -> Vec<Passage> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let Some(name) = ELEMENTS
            .iter()
            .find(|name| rest.strip_prefix(**name).is_some_and(|after| after.starts_with(['>', ' ', '\n'])))
        else {
            continue;
        };
        let Some((head, after)) = rest.split_once('>') else { break };
        let Some((inner, after)) = after.split_once(&format!("</{name}>")) else { continue };
        let nested = elements(inner);
        if nested.is_empty() {
            let id = attribute(head, "id").or_else(|| attribute(head, "source")).unwrap_or_default();
            let marked = bracketed(inner);
            match marked.is_empty() {
                true => {
                    let parts =
                        if *name == "context" { paragraphs(inner) } else { vec![inner.trim().to_owned()] };
                    found.extend(parts.into_iter().map(|text| Passage { id: id.to_owned(), text }));
                }
                false => found.extend(marked),
            }
        } else {
            found.extend(nested);
        }
        rest = after;
    }
    found.retain(|passage| !passage.text.is_empty());
    found
}

fn attribute<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = head.split_once(&format!(" {name}="))?;
    match after.chars().next()? {
        quote @ ('"' | '\'') => after[1..].split(quote).next(),
        _ => after.split([' ', '>']).next(),
    }
}

/// A JSON list of hits.
fn json_list(text: &str) -> Vec<Passage> {
    let (Some(start), Some(end)) = (text.find('['), text.rfind(']')) else { return Vec::new() };
    let Some(list) = text.get(start..=end).and_then(|list| serde_json::from_str::<Vec<Value>>(list).ok())
    else {
        return Vec::new();
    };
    let field = |item: &Value, names: &[&str]| {
        names.iter().find_map(|name| match item.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    };
    list.iter()
        .filter_map(|item| {
            if let Value::String(text) = item {
                return Some(unnamed(text.clone()));
            }
            let text = field(item, &["text", "content", "passage", "page_content"])?;
            Some(Passage { id: field(item, &["id", "source", "title", "url"]).unwrap_or_default(), text })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(messages: &[(Role, &str)], question: &str, passages: &[(&str, &str)]) {
        let messages = messages.iter().map(|(role, text)| Message::text(*role, *text)).collect();
        let material = read(&ModelInput::Messages(messages));
        assert_eq!(material.question, question);
        let found: Vec<(&str, &str)> =
            material.passages.iter().map(|p| (p.id.as_str(), p.text.as_str())).collect();
        assert_eq!(found, passages);
    }

    #[test]
    fn ids_in_brackets_name_passages() {
        check(
            &[
                (
                    Role::System,
                    "Answer from the context. Cite like [id].\n\nContext:\n[a#1] One.\nMore.\n\nStill.\n[b] Two.",
                ),
                (Role::User, "What is one?"),
            ],
            "What is one?",
            &[("a#1", "One.\nMore.\n\nStill."), ("b", "Two.")],
        );
    }

    #[test]
    fn labels_split_a_single_prompt() {
        check(
            &[(Role::User, "## Context\n1. One.\n2) Two.\n\n**Question:** What is two?\n\nAnswer:")],
            "What is two?",
            &[("1", "One."), ("2", "Two.")],
        );
        check(
            &[(Role::User, "Kontext:\n```\nfråga: i texten\n\nEtt.\n```\nFråga: Vad är ett?")],
            "Vad är ett?",
            &[("1", "fråga: i texten"), ("2", "Ett.")],
        );
    }

    #[test]
    fn elements_and_lists_of_hits_are_read() {
        check(
            &[(
                Role::User,
                "<documents><document id=\"x\">One.</document>\n<document>Two.</document></documents>\n\nWhich?",
            )],
            "Which?",
            &[("x", "One."), ("2", "Two.")],
        );
        check(
            &[
                (Role::System, "Context: [{\"id\": \"h1\", \"text\": \"One.\"}, {\"text\": \"Two.\"}]"),
                (Role::User, "Which?"),
            ],
            "Which?",
            &[("h1", "One."), ("2", "Two.")],
        );
    }

    #[test]
    fn plain_paragraphs_are_the_last_resort() {
        check(&[(Role::User, "One.\n\nTwo.\n\nWhich one?")], "Which one?", &[("1", "One."), ("2", "Two.")]);
        check(&[(Role::User, "Hello")], "Hello", &[]);
    }

    #[test]
    fn earlier_answers_are_no_source() {
        check(
            &[
                (Role::System, "Context:\n[a] One."),
                (Role::User, "First?"),
                (Role::Assistant, "[z] Invented."),
                (Role::User, "Second?"),
            ],
            "Second?",
            &[("a", "One.")],
        );
    }

    #[test]
    fn links_and_checkboxes_name_nothing() {
        check(
            &[(Role::User, "Context:\n[guide](https://example.com) One.\n[ ] open\n\nQuestion: Which?")],
            "Which?",
            &[("1", "[guide](https://example.com) One.\n[ ] open")],
        );
    }
}
