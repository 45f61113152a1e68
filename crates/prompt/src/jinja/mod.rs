//! Jinja2 as Python runs it: our own interpreter of the language.
//!
//! Why not an existing engine: templates written for prompt flow rely on Python underneath (`xs.append(x)`,
//! `'%s' % x`, `1 < 2 < 3`, `7 // -2`, `True`, `dict_items([...])`), and safe chat rendering must know of every
//! character whether the template's author wrote it or a value brought it. Both live in the core of an
//! interpreter (lists, operators, strings) and cannot be added from outside. Texts here carry their
//! [`Origin`](text::Origin)s through slices, concatenation, filters, macros and captured blocks.
//!
//! A template passes through as source → [`lexer`] → [`parser`] → [`ast`] (shared, compiled once) → [`eval`].
//! There is no loader: `include`, `import` and `extends` fail, as they do in prompt flow's sandbox. Work, time,
//! depth and size are limited.

pub(crate) mod ast;
pub(crate) mod eval;
pub(crate) mod filters;
pub(crate) mod filters_list;
pub(crate) mod format;
pub(crate) mod globals;
pub(crate) mod json;
pub(crate) mod lexer;
pub(crate) mod methods;
pub(crate) mod methods_str;
pub(crate) mod ops;
pub(crate) mod parser;
pub(crate) mod parser_expr;
pub(crate) mod tests;
pub(crate) mod text;
pub(crate) mod value;
pub(crate) mod variables;

/// What stopped a template.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub message: String,
    pub line: Option<u32>,
    pub is_limit: bool,
    /// The undefined name it is about, where it is about one.
    pub undefined: bool,
}

/// Boxed: faults are rare and results travel a lot.
pub(crate) type Res<T> = Result<T, Box<Fault>>;

pub(crate) fn fault<T>(message: impl Into<String>) -> Res<T> {
    Err(fault_box(message))
}

pub(crate) fn fault_box(message: impl Into<String>) -> Box<Fault> {
    Box::new(Fault { message: message.into(), line: None, is_limit: false, undefined: false })
}

pub(crate) fn undefined_fault<T>(message: impl Into<String>) -> Res<T> {
    Err(Box::new(Fault { message: message.into(), line: None, is_limit: false, undefined: true }))
}

pub(crate) fn limit_fault<T>(message: impl Into<String>) -> Res<T> {
    Err(Box::new(Fault { message: message.into(), line: None, is_limit: true, undefined: false }))
}
