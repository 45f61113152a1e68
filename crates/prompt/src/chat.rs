//! Chat rendering in which values cannot forge roles.
//!
//! The interpreter knows of every character whether the template's author wrote it or a value brought it, through
//! lists and maps, filters, concatenation, macros and captured blocks. A role line counts only if the template
//! wrote it: its word, its `#` and colon, the line feed before and one behind it. The same holds for
//! `## name:`, `## tool_call_id:`, `## content:` and `## tool_calls:` headers, and an image line counts only if
//! it is the output of an image value. Nothing is escaped, so user text comes back byte for byte.
//!
//! Two things a template may do on purpose stay possible. `{{ message.role }}:` on a line of its own is a
//! role line if the expression is called `role` and gives just a role word: the name says what the author
//! means (histories in the providers' own shape are rendered so). And texts made by prompt nodes keep their
//! origins, so a prompt node may hold role lines for an llm node. [`role_findings`] lists where a template takes
//! roles from values, and where prompt flow would have and this does not.

use std::cell::RefCell;
use std::collections::BTreeMap;

use flowbench_core::chat::{ImageUrl, Message};
use flowbench_core::finding::{Finding, Place, Severity};
use flowbench_core::{Map, Value};
use thiserror::Error;

use crate::images::{ImageError, ImageReader, ImageSource, MessageFormat, image_from_text, image_source};
use crate::jinja::ast::{Expr, Stmt};
use crate::jinja::text::{Origin, Text, is_blank};
use crate::jinja::value::{List, Object, Val};
use crate::roles::{self, RoleError};
use crate::template::{MarkedText, Template, TemplateError, given};

/// How chat text is made.
#[derive(Default)]
pub struct ChatOptions<'a> {
    /// Values that are results of prompt nodes, by variable name.
    pub prompt_results: BTreeMap<String, MarkedText>,
    /// How images are written in values.
    pub message_format: MessageFormat,
    /// Reads image files; without it a value that names a file is an error.
    pub images: Option<&'a dyn ImageReader>,
    /// `detail` of every image (`low`, `high`, `auto`); absent means `auto`.
    pub image_detail: Option<String>,
    /// Prints lists one item a line, as prompt flow's vision tools do.
    pub lists_as_lines: bool,
}

/// Chat text that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PromptError {
    /// The template failed.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Its text has no proper roles.
    #[error("template `{template}`: {source}")]
    Role {
        /// The template's name.
        template: String,
        /// What is wrong.
        source: RoleError,
    },
    /// An image cannot be used.
    #[error("template `{template}`: {source}")]
    Image {
        /// The template's name.
        template: String,
        /// What is wrong.
        source: ImageError,
    },
}

impl PromptError {
    /// What to do, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Template(error) => error.hint(),
            Self::Role { source, .. } => Some(source.hint().to_owned()),
            Self::Image { .. } => None,
        }
    }
}

/// Renders a chat template to messages.
pub fn render_chat(
    template: &Template,
    values: &Map<String, Value>,
    options: &ChatOptions<'_>,
) -> Result<Vec<Message>, PromptError> {
    let sources: RefCell<Vec<ImageSource>> = RefCell::default();
    let text = render(template, values, options, &sources)?;
    let mut failure = None;
    let sources = sources.into_inner();
    let messages = roles::split(&text, &mut |number| {
        let source = sources.get(number as usize)?;
        match source.address(options.images) {
            Ok(url) => {
                let detail = options.image_detail.clone().unwrap_or_else(|| "auto".to_owned());
                Some(ImageUrl { url, detail: Some(detail) })
            }
            Err(error) => {
                failure.get_or_insert(error);
                None
            }
        }
    })
    .map_err(|source| PromptError::Role { template: template.name().to_owned(), source })?;
    match failure {
        None => Ok(messages),
        Some(source) => Err(PromptError::Image { template: template.name().to_owned(), source }),
    }
}

/// Renders a template for the completion API: plain text.
pub fn render_completion(template: &Template, values: &Map<String, Value>) -> Result<String, TemplateError> {
    template.render(values)
}

fn render(
    template: &Template,
    values: &Map<String, Value>,
    options: &ChatOptions<'_>,
    sources: &RefCell<Vec<ImageSource>>,
) -> Result<Text, TemplateError> {
    template.render_text(values, &mut |name| {
        let is_marked = template.image_variables().iter().any(|marked| marked == name);
        let from_text =
            values.get(name).and_then(Value::as_str).filter(|_| is_marked).and_then(image_from_text);
        let mut convert = |value: &Value| -> Option<Val> {
            if let Some(source) = from_text.clone().or_else(|| image_source(value)) {
                let mut sources = sources.borrow_mut();
                let number = u32::try_from(sources.len()).ok()?;
                let key = Text::new(source.key(), Origin::Image(number));
                sources.push(source);
                return Some(Val::object(Object::Image { key }));
            }
            // Text parts of the vision form are just their text.
            let map = value.as_object().filter(|map| {
                options.message_format == MessageFormat::OpenAiVision
                    && map.len() == 2
                    && map.get("type").and_then(Value::as_str) == Some("text")
            })?;
            let text = map.get("text")?.as_str()?;
            Some(Val::Str(Text::new(text, Origin::Value)))
        };
        let value = match &from_text {
            Some(_) => convert(&Value::Null)?,
            None => given(values, &options.prompt_results, name, &mut convert)?,
        };
        Some(if options.lists_as_lines { lists_as_lines(value) } else { value })
    })
}

fn lists_as_lines(value: Val) -> Val {
    match value {
        Val::List(list) => {
            let items = list.items.borrow().iter().cloned().map(lists_as_lines).collect();
            Val::List(std::rc::Rc::new(List { items: RefCell::new(items), is_lines: true }))
        }
        Val::Dict(dict) => {
            for (_, value) in dict.items.borrow_mut().values_mut() {
                let inner = std::mem::replace(value, Val::None);
                *value = lists_as_lines(inner);
            }
            Val::Dict(dict)
        }
        other => other,
    }
}

/// What a user should know of a chat template's role lines: where a role comes from a value, and where prompt
/// flow would take a value for a role and this does not.
pub fn role_findings(template: &Template) -> Vec<Finding> {
    let mut findings = Vec::new();
    walk(&template.compiled().body, template.name(), &mut findings);
    findings
}

fn walk(body: &[Stmt], name: &str, findings: &mut Vec<Finding>) {
    for (index, statement) in body.iter().enumerate() {
        match statement {
            Stmt::Print(expr) => {
                let before = index.checked_sub(1).and_then(|before| body.get(before));
                if opens_line(before) && closes_role(body.get(index + 1)) {
                    findings.push(role_from_value(expr, name));
                }
            }
            Stmt::For(node) => {
                walk(&node.body, name, findings);
                walk(&node.otherwise, name, findings);
            }
            Stmt::If(branches, otherwise) => {
                branches.iter().for_each(|(_, body)| walk(body, name, findings));
                walk(otherwise, name, findings);
            }
            Stmt::Macro(node) => walk(&node.body, name, findings),
            Stmt::CallBlock { caller, .. } => walk(&caller.body, name, findings),
            Stmt::Block(block) => walk(&block.body, name, findings),
            Stmt::SetBlock { body, .. }
            | Stmt::FilterBlock { body, .. }
            | Stmt::With(_, body)
            | Stmt::Autoescape(_, body) => walk(body, name, findings),
            Stmt::Text(_) | Stmt::Set(..) | Stmt::NeedsLoader { .. } => {}
        }
    }
}

/// True if what follows the statement starts a line (but for blanks and one `#`).
fn opens_line(before: Option<&Stmt>) -> bool {
    match before {
        Some(Stmt::Text(text)) => {
            let text = text.trim_end_matches([' ', '\t']);
            let text = text.strip_suffix('#').unwrap_or(text).trim_end_matches([' ', '\t']);
            text.is_empty() || text.ends_with('\n')
        }
        Some(Stmt::Print(_)) => false,
        _ => true,
    }
}

/// True if the statement goes on with a colon and the end of the line.
fn closes_role(after: Option<&Stmt>) -> bool {
    let Some(Stmt::Text(text)) = after else { return false };
    let Some(rest) = text.trim_start_matches(is_blank).strip_prefix(':') else { return false };
    let blanks = &rest[..rest.len() - rest.trim_start_matches(is_blank).len()];
    blanks.contains('\n')
}

fn role_from_value(expr: &Expr, name: &str) -> Finding {
    let place = Place { file: Some(name.to_owned()), line: Some(expr.line), ..Place::default() };
    if expr.last_name() == Some("role") {
        Finding::new("role-from-value", Severity::Note, "a role line takes its role from a value")
            .at(place)
            .suggest("make sure that only your own code can set that role")
    } else {
        Finding::warning(
            "role-not-from-value",
            "this line looks like a role line, but its word comes from a value, and values do not open messages \
             here as they would in prompt flow",
        )
        .at(place)
        .suggest("call the variable or field `role`, or write the role into the template")
    }
}
