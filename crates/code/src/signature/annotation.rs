//! Annotations: read from their text, and what they mean for a parameter.

use flowbench_core::value::ValueType;

use super::ParameterType;

const MAX_DEPTH: usize = 16;

/// An annotation, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Annotation {
    /// A name without arguments.
    Name(String),
    /// A name with arguments, such as `List[str]`.
    Generic(String, Vec<Annotation>),
    /// One of several.
    Union(Vec<Annotation>),
    /// Nothing that is understood.
    Unknown,
}

impl Annotation {
    /// Reads the text of an annotation, quoted or not.
    pub(super) fn parse(text: &str) -> Self {
        Self::parse_at(text, 0)
    }

    fn parse_at(text: &str, depth: usize) -> Self {
        let text = text.trim();
        if depth > MAX_DEPTH || text.is_empty() {
            return Self::Unknown;
        }
        let alternatives = split(text, '|');
        if alternatives.len() > 1 {
            return Self::Union(alternatives.iter().map(|part| Self::parse_at(part, depth + 1)).collect());
        }
        for quote in ['"', '\''] {
            if let Some(inner) = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote)) {
                return Self::parse_at(inner, depth + 1);
            }
        }
        let is_dotted = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'))
        };
        let Some((name, rest)) = text.split_once('[') else {
            return if is_dotted(text) { Self::Name(text.to_owned()) } else { Self::Unknown };
        };
        let (name, Some(arguments)) = (name.trim(), rest.trim_end().strip_suffix(']')) else {
            return Self::Unknown;
        };
        if !is_dotted(name) {
            return Self::Unknown;
        }
        let arguments = split(arguments, ',').iter().map(|part| Self::parse_at(part, depth + 1)).collect();
        Self::Generic(name.to_owned(), arguments)
    }

    /// The annotation with every name replaced.
    pub(super) fn map_names(self, change: &impl Fn(&str) -> String) -> Self {
        let all = |parts: Vec<Self>| parts.into_iter().map(|part| part.map_names(change)).collect();
        match self {
            Self::Name(name) => Self::Name(change(&name)),
            Self::Generic(name, arguments) => Self::Generic(change(&name), all(arguments)),
            Self::Union(parts) => Self::Union(all(parts)),
            Self::Unknown => Self::Unknown,
        }
    }

    /// The alternatives, `None` left out.
    fn alternatives(&self) -> Vec<&Self> {
        match self {
            Self::Name(name) if name == "None" => Vec::new(),
            Self::Generic(name, arguments) => match last(name) {
                "Union" | "Optional" => arguments.iter().flat_map(Self::alternatives).collect(),
                "Annotated" => arguments.iter().take(1).flat_map(Self::alternatives).collect(),
                _ => vec![self],
            },
            Self::Union(parts) => parts.iter().flat_map(Self::alternatives).collect(),
            _ => vec![self],
        }
    }

    /// The name, if the annotation means just one.
    pub(super) fn single_name(&self) -> Option<&str> {
        match self.alternatives().as_slice() {
            [Self::Name(name)] => Some(name),
            _ => None,
        }
    }

    /// What a parameter with this annotation takes.
    pub(super) fn takes(&self) -> ParameterType {
        let alternatives = self.alternatives();
        let classes: Option<Vec<String>> = alternatives.iter().map(|part| part.connection_class()).collect();
        if let Some(classes) = classes.filter(|classes| !classes.is_empty()) {
            return ParameterType::Connection { classes };
        }
        match alternatives.as_slice() {
            [Self::Name(name)] if last(name).ends_with("OpenAIModelConfiguration") => {
                ParameterType::ModelConfiguration { class: last(name).to_owned() }
            }
            [Self::Name(name)] => ParameterType::Value(value_type(name)),
            _ => ParameterType::Value(ValueType::Object),
        }
    }

    fn connection_class(&self) -> Option<String> {
        let Self::Name(name) = self else { return None };
        last(name).ends_with("Connection").then(|| last(name).to_owned())
    }
}

fn value_type(name: &str) -> ValueType {
    let is_ours = name.starts_with("promptflow.");
    match (name, last(name)) {
        ("int", _) => ValueType::Int,
        ("float", _) => ValueType::Double,
        ("bool", _) => ValueType::Bool,
        ("str", _) => ValueType::String,
        ("list", _) => ValueType::List,
        (_, "Image") if is_ours => ValueType::Image,
        (_, "Secret") if is_ours => ValueType::Secret,
        (_, "PromptTemplate") if is_ours => ValueType::PromptTemplate,
        (_, "FilePath") if is_ours => ValueType::FilePath,
        (_, "AssistantDefinition") if is_ours => ValueType::AssistantDefinition,
        _ => ValueType::Object,
    }
}

/// True if a result annotation means pieces rather than one value.
pub(super) fn is_iterator(text: &str) -> bool {
    let name = match Annotation::parse(text) {
        Annotation::Name(name) | Annotation::Generic(name, _) => name,
        _ => return false,
    };
    matches!(last(&name), "Generator" | "Iterator" | "AsyncGenerator" | "AsyncIterator")
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Splits at a separator that stands outside brackets and quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start, mut quote) = (0usize, 0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '(' | '{') => depth += 1,
            (None, ']' | ')' | '}') => depth = depth.saturating_sub(1),
            (None, _) if c == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}
