//! Jinja2's tests: what follows `is`.

use super::ast::Comparison;
use super::eval::{CallArgs, Interp};
use super::value::{Key, Val};
use super::{Res, fault, filters, ops};

const NAMES: &[&str] = &[
    "!=",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

/// True if there is such a test.
pub(crate) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// `value is name(args)`.
pub(crate) fn apply(interp: &mut Interp<'_>, name: &str, value: &Val, mut args: CallArgs) -> Res<bool> {
    let comparison = match name {
        "==" | "eq" | "equalto" => Some(Comparison::Equal),
        "!=" | "ne" => Some(Comparison::NotEqual),
        "<" | "lt" | "lessthan" => Some(Comparison::Less),
        "<=" | "le" => Some(Comparison::LessOrEqual),
        ">" | "gt" | "greaterthan" => Some(Comparison::Greater),
        ">=" | "ge" => Some(Comparison::GreaterOrEqual),
        "in" => Some(Comparison::In),
        _ => None,
    };
    let mut argument = || match args.take(0, "other") {
        Some(value) => Ok(value),
        None => fault(format!("test `{name}` is missing an argument")),
    };
    if let Some(comparison) = comparison {
        let other = argument()?;
        return ops::compare(interp, comparison, value, &other);
    }
    Ok(match name {
        "defined" => !value.is_undefined(),
        "undefined" => value.is_undefined(),
        "none" => matches!(value, Val::None),
        "true" => matches!(value, Val::Bool(true)),
        "false" => matches!(value, Val::Bool(false)),
        "boolean" => matches!(value, Val::Bool(_)),
        "integer" => matches!(value, Val::Int(_)),
        "float" => matches!(value, Val::Float(_)),
        "number" => matches!(value, Val::Bool(_) | Val::Int(_) | Val::Float(_)),
        "string" => matches!(value, Val::Str(_)),
        "mapping" => matches!(value, Val::Dict(_)),
        "sequence" => match value {
            Val::Stream(_) | Val::View(..) | Val::Namespace(_) => false,
            other => other.len().is_some() && !matches!(other, Val::Object(_)),
        },
        "iterable" => !matches!(
            value,
            Val::None | Val::Bool(_) | Val::Int(_) | Val::Float(_) | Val::Object(_) | Val::Namespace(_)
        ),
        "callable" => value.is_callable(),
        "escaped" => matches!(value, Val::Str(text) if text.is_markup),
        "odd" | "even" => {
            let rest = ops::binary(interp, super::ast::Operator::Mod, value, &Val::Int(2))?;
            ops::equal(&rest, &Val::Int(i128::from(name == "odd")))?
        }
        "divisibleby" => {
            let other = argument()?;
            let rest = ops::binary(interp, super::ast::Operator::Mod, value, &other)?;
            ops::equal(&rest, &Val::Int(0))?
        }
        "lower" => case_is(value, char::is_lowercase, char::is_uppercase)?,
        "upper" => case_is(value, char::is_uppercase, char::is_lowercase)?,
        "sameas" => {
            let other = argument()?;
            std::mem::discriminant(value) == std::mem::discriminant(&other)
                && match (value, &other) {
                    (Val::List(a), Val::List(b)) => std::rc::Rc::ptr_eq(a, b),
                    (Val::Dict(a), Val::Dict(b)) => std::rc::Rc::ptr_eq(a, b),
                    (a, b) => ops::equal(a, b)?,
                }
        }
        "filter" => matches!(value.key(), Ok(Key::Str(name)) if filters::exists(&name)),
        "test" => matches!(value.key(), Ok(Key::Str(name)) if exists(&name)),
        _ => return fault(format!("no test named `{name}`")),
    })
}

fn case_is(value: &Val, wanted: fn(char) -> bool, unwanted: fn(char) -> bool) -> Res<bool> {
    let text = value.to_text()?;
    Ok(text.as_str().chars().any(wanted) && !text.as_str().chars().any(unwanted))
}
