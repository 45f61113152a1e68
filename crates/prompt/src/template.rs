//! Templates: parsed once, rendered many times.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::LazyLock;

use flowbench_core::{Map, Value};
use regex::Regex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::jinja::ast::Compiled;
use crate::jinja::text::{Origin, Text, TextBuilder};
use crate::jinja::value::Val;
use crate::jinja::{Fault, eval, parser, variables};

/// Longest template source.
const MAX_SOURCE_BYTES: usize = 4 << 20;

/// A template that cannot be parsed or rendered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("template `{template}`, line {line}: {message}")]
pub struct TemplateError {
    /// Name of the template, as the caller gave it.
    pub template: String,
    /// One-based line.
    pub line: u32,
    /// What is wrong.
    pub message: String,
    /// Names that could be read there, where a name was missing.
    pub names: Vec<String>,
    /// True if a limit of work, time, depth or size ended it.
    pub is_limit: bool,
}

impl TemplateError {
    /// What to do, where that is known.
    pub fn hint(&self) -> Option<String> {
        if self.names.is_empty() {
            return None;
        }
        let names: Vec<String> = self.names.iter().map(|name| format!("`{name}`")).collect();
        Some(format!("names in sight: {}", names.join(", ")))
    }
}

/// Rendered text that remembers which parts came from values. What a prompt node gives; handed to an llm node
/// with it, so that role lines its template wrote still count there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkedText {
    /// The text.
    pub text: String,
    /// Byte ranges of the text that came from values, in order.
    pub value_ranges: Vec<Range<usize>>,
}

impl MarkedText {
    pub(crate) fn from_text(text: &Text) -> Self {
        let value_ranges = text
            .runs()
            .into_iter()
            .filter(|(_, origin)| *origin != Origin::Template)
            .map(|(range, _)| range)
            .collect();
        Self { text: text.as_str().to_owned(), value_ranges }
    }

    pub(crate) fn to_text(&self) -> Text {
        let mut builder = TextBuilder::default();
        let mut at = 0;
        for range in &self.value_ranges {
            // Ranges may have been stored and edited: what does not fit counts as a value's.
            let fits = range.start >= at
                && self.text.get(range.clone()).is_some()
                && self.text.get(at..range.start).is_some();
            if !fits {
                return Text::new(self.text.as_str(), Origin::Value);
            }
            builder.push_str(&self.text[at..range.start], Origin::Template);
            builder.push_str(&self.text[range.clone()], Origin::Value);
            at = range.end;
        }
        builder.push_str(&self.text[at..], Origin::Template);
        builder.finish()
    }
}

/// A parsed template. Cheap to render, safe to share between threads.
#[derive(Clone, Debug)]
pub struct Template {
    name: String,
    compiled: Compiled,
    variables: Vec<String>,
    image_variables: Vec<String>,
    seed: u64,
}

impl Template {
    /// Parses a template; `name` is for error messages. Image marks (`![image]({{ photo }})`) are put on lines
    /// of their own, as prompt flow does.
    pub fn parse(source: &str, name: &str) -> Result<Self, TemplateError> {
        let fail = |message: String, line: u32, is_limit: bool| TemplateError {
            template: name.to_owned(),
            line,
            message,
            names: Vec::new(),
            is_limit,
        };
        if source.len() > MAX_SOURCE_BYTES {
            return Err(fail(format!("the template is longer than {MAX_SOURCE_BYTES} bytes"), 1, true));
        }
        let (text, image_variables) = place_images(source);
        let compiled = parser::parse(&text)
            .map_err(|fault| fail(fault.message, fault.line.unwrap_or(1), fault.is_limit))?;
        let mut hasher = DefaultHasher::new();
        source.hash(&mut hasher);
        let variables = variables::undeclared(&compiled);
        Ok(Self { name: name.to_owned(), compiled, variables, image_variables, seed: hasher.finish() })
    }

    /// The name given to [`parse`](Self::parse).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Variables that are read and not set, in order of first reading.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// Variables that stand in image marks.
    pub fn image_variables(&self) -> &[String] {
        &self.image_variables
    }

    pub(crate) fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// Renders to text.
    pub fn render(&self, values: &Map<String, Value>) -> Result<String, TemplateError> {
        let text =
            self.render_text(values, &mut |name| given(values, &BTreeMap::new(), name, &mut |_| None))?;
        Ok(text.as_str().to_owned())
    }

    /// Renders to text that remembers which parts came from values. `prompt_results` are values that are
    /// themselves results of templates.
    pub fn render_marked(
        &self,
        values: &Map<String, Value>,
        prompt_results: &BTreeMap<String, MarkedText>,
    ) -> Result<MarkedText, TemplateError> {
        let text =
            self.render_text(values, &mut |name| given(values, prompt_results, name, &mut |_| None))?;
        Ok(MarkedText::from_text(&text))
    }

    pub(crate) fn render_text(
        &self,
        values: &Map<String, Value>,
        lookup: &mut eval::Lookup<'_>,
    ) -> Result<Text, TemplateError> {
        eval::run(&self.compiled, lookup, self.seed).map_err(|(fault, mut local)| {
            let fault: Fault = *fault;
            let mut names = Vec::new();
            if fault.undefined {
                let mut seen = HashSet::new();
                let known = local.drain(..).map(|name| name.to_string()).chain(values.keys().cloned());
                names = known.filter(|name| name != "loop" && seen.insert(name.clone())).collect();
                names.sort();
            }
            TemplateError {
                template: self.name.clone(),
                line: fault.line.unwrap_or(1),
                message: fault.message,
                names,
                is_limit: fault.is_limit,
            }
        })
    }
}

pub(crate) fn given(
    values: &Map<String, Value>,
    prompt_results: &BTreeMap<String, MarkedText>,
    name: &str,
    image: &mut dyn FnMut(&Value) -> Option<Val>,
) -> Option<Val> {
    let value = values.get(name)?;
    match (value, prompt_results.get(name)) {
        // Only if it is that very text: a result changed on the way is a value like any other.
        (Value::String(text), Some(marked)) if *text == marked.text => Some(Val::Str(marked.to_text())),
        _ => Some(Val::from_json(value, image)),
    }
}

static IMAGE_MARK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"!\[\s*image\s*\]\(\{\{(\s*[^\s{}]+\s*)\}\}\)").expect("the pattern is a constant")
});

static IMAGE_NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\w+").expect("the pattern is a constant"));

/// Replaces image marks by their expressions on lines of their own; also gives the variables in them.
pub(crate) fn place_images(source: &str) -> (String, Vec<String>) {
    let mut names: Vec<String> = Vec::new();
    let text = IMAGE_MARK.replace_all(source, |captures: &regex::Captures<'_>| {
        let inner = &captures[1];
        if let Some(name) = IMAGE_NAME.find(inner.trim())
            && !names.iter().any(|known| known == name.as_str())
        {
            names.push(name.as_str().to_owned());
        }
        format!("\n{{{{{inner}}}}}\n")
    });
    (text.into_owned(), names)
}
