//! Jinja2's global functions.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::eval::{CallArgs, Interp};
use super::methods::{dict_entries, put_all};
use super::value::{Dict, Object, RangeValue, Val};
use super::{Res, fault, limit_fault, ops};

/// Longest range that Jinja2's sandbox makes.
const MAX_RANGE: usize = 100_000;

const NAMES: &[&str] = &["cycler", "dict", "joiner", "lipsum", "namespace", "range"];

/// A global by name.
pub(crate) fn get(name: &str) -> Option<Val> {
    let name = NAMES.iter().find(|known| **known == name)?;
    Some(Val::object(Object::Function(name)))
}

/// True if the name is a global.
pub(crate) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls a global function.
pub(crate) fn call(interp: &mut Interp<'_>, name: &str, mut args: CallArgs) -> Res<Val> {
    match name {
        "range" => {
            if !args.named.is_empty() {
                return fault("`range` takes no named arguments");
            }
            let numbers: Vec<i128> = args
                .positional
                .iter()
                .map(|value| ops::int(value, "a bound of `range`"))
                .collect::<Res<_>>()?;
            let (start, stop, step) = match numbers.as_slice() {
                [stop] => (0, *stop, 1),
                [start, stop] => (*start, *stop, 1),
                [start, stop, step] if *step != 0 => (*start, *stop, *step),
                [_, _, _] => return fault("the step of `range` cannot be zero"),
                _ => return fault(format!("`range` takes 1 to 3 arguments, {} were given", numbers.len())),
            };
            if [start, stop, step].iter().any(|number| number.abs() > i128::from(u64::MAX)) {
                return limit_fault("a bound of `range` is too large");
            }
            let range = RangeValue { start, stop, step };
            if range.len() > MAX_RANGE {
                return limit_fault(format!(
                    "range of {} numbers is too long: templates may loop over {MAX_RANGE} at most",
                    range.len()
                ));
            }
            interp.charge(1)?;
            Ok(Val::Range(Rc::new(range)))
        }
        "dict" => {
            let dict = Dict::default();
            if let Some(source) = args.take(0, "") {
                put_all(&dict, dict_entries(&source)?);
            }
            let named = Val::dict(std::mem::take(&mut args.named));
            put_all(&dict, dict_entries(&named)?);
            interp.charge(dict.items.borrow().len())?;
            Ok(Val::Dict(Rc::new(dict)))
        }
        "namespace" => {
            let mut fields = Vec::new();
            if let Some(source) = args.take(0, "") {
                for (key, _, value) in dict_entries(&source)? {
                    if let super::value::Key::Str(name) = key {
                        fields.push((name, value));
                    }
                }
            }
            for (name, value) in std::mem::take(&mut args.named) {
                fields.retain(|(known, _)| *known != name);
                fields.push((name, value));
            }
            Ok(Val::Namespace(Rc::new(RefCell::new(fields))))
        }
        "cycler" => {
            if args.positional.is_empty() {
                return fault("`cycler` asks for at least one value");
            }
            Ok(Val::object(Object::Cycler { items: args.positional, at: Cell::new(0) }))
        }
        "joiner" => {
            let separator = args.take(0, "sep").unwrap_or_else(|| Val::template_str(", "));
            Ok(Val::object(Object::Joiner { separator, used: Cell::new(false) }))
        }
        "lipsum" => lipsum(interp, args),
        _ => fault(format!("`{name}` is undefined")),
    }
}

/// The next pseudo-random number below `bound`: the same for the same template and values, so that runs can be
/// repeated (xorshift64*, Vigna 2016).
pub(crate) fn random_below(interp: &mut Interp<'_>, bound: usize) -> usize {
    let mut state = interp.random;
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    interp.random = state;
    (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
}

const WORDS: &[&str] = &[
    "a",
    "ac",
    "accumsan",
    "ad",
    "aliquam",
    "amet",
    "ante",
    "arcu",
    "at",
    "augue",
    "bibendum",
    "class",
    "congue",
    "cras",
    "cum",
    "cursus",
    "dapibus",
    "diam",
    "dictum",
    "dolor",
    "donec",
    "dui",
    "egestas",
    "elit",
    "enim",
    "erat",
    "est",
    "et",
    "eu",
    "facilisis",
    "fames",
    "felis",
    "fusce",
    "hac",
    "iaculis",
    "id",
    "in",
    "ipsum",
    "justo",
    "lacus",
    "leo",
    "libero",
    "lorem",
    "magna",
    "massa",
    "mattis",
    "mi",
    "mollis",
    "nam",
    "nec",
    "nibh",
    "nisi",
    "non",
    "nulla",
    "odio",
    "orci",
    "pede",
    "porta",
    "purus",
    "quam",
    "quis",
    "risus",
    "sed",
    "sem",
    "sit",
    "sodales",
    "tellus",
    "tempor",
    "tortor",
    "turpis",
    "urna",
    "ut",
    "varius",
    "vel",
    "velit",
    "vitae",
];

fn lipsum(interp: &mut Interp<'_>, mut args: CallArgs) -> Res<Val> {
    let number = |value: Option<Val>, default: usize| match value {
        Some(value) => ops::width(&value, "a number of `lipsum`"),
        None => Ok(default),
    };
    let paragraphs = number(args.take(0, "n"), 5)?;
    let html = args.take(1, "html").is_none_or(|value| value.truth());
    let fewest = number(args.take(2, "min"), 20)?;
    let most = number(args.take(3, "max"), 100)?.max(fewest + 1);
    let mut all = Vec::new();
    for _ in 0..paragraphs {
        let length = fewest + random_below(interp, most - fewest);
        interp.charge(length.saturating_mul(2))?;
        let mut paragraph = String::new();
        let mut starts = true;
        for index in 0..length {
            let word = WORDS[random_below(interp, WORDS.len())];
            if index > 0 {
                paragraph.push(' ');
            }
            if std::mem::take(&mut starts) {
                paragraph.push_str(&word[..1].to_uppercase());
                paragraph.push_str(&word[1..]);
            } else {
                paragraph.push_str(word);
            }
            if index + 1 < length && random_below(interp, 12) == 0 {
                paragraph.push('.');
                starts = true;
            }
        }
        paragraph.push('.');
        all.push(if html { format!("<p>{paragraph}</p>") } else { paragraph });
    }
    Ok(Val::template_str(&all.join(if html { "\n" } else { "\n\n" })))
}
