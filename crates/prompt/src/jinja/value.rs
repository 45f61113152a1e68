//! Values while a template runs: Python's, as far as templates meet them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use flowbench_core::value::{python_float, python_quote};
use indexmap::IndexMap;
use serde_json::Value;

use super::ast;
use super::eval::Scope;
use super::text::{Origin, Text, TextBuilder};
use super::{Res, fault, limit_fault, undefined_fault};

/// Deepest nesting of lists and maps that is printed or compared.
pub(crate) const MAX_DEPTH: u32 = 100;

#[derive(Clone)]
pub(crate) enum Val {
    /// With the message that using it gives.
    Undefined(Rc<str>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Text),
    Bytes(Rc<[u8]>),
    List(Rc<List>),
    Tuple(Rc<Tuple>),
    Dict(Rc<Dict>),
    Range(Rc<RangeValue>),
    View(ViewKind, Rc<Dict>),
    /// What lazy filters give: can be read once.
    Stream(Rc<Stream>),
    /// A pair of `groupby`.
    Group(Rc<(Val, Val)>),
    Namespace(Rc<Fields>),
    Object(Rc<Object>),
}

/// Fields of a namespace, in order of setting.
pub(crate) type Fields = RefCell<Vec<(Arc<str>, Val)>>;

#[derive(Default)]
pub(crate) struct List {
    pub items: RefCell<Vec<Val>>,
    /// Printed one item a line, as prompt flow's vision tools print lists.
    pub is_lines: bool,
}

pub(crate) struct Tuple {
    pub items: Vec<Val>,
}

#[derive(Default)]
pub(crate) struct Dict {
    /// Hashed key to key as written and value.
    pub items: RefCell<IndexMap<Key, (Val, Val)>>,
}

pub(crate) struct RangeValue {
    pub start: i128,
    pub stop: i128,
    pub step: i128,
}

impl RangeValue {
    pub fn len(&self) -> usize {
        let span = if self.step > 0 { self.stop - self.start } else { self.start - self.stop };
        if span <= 0 { 0 } else { ((span - 1) / self.step.abs() + 1) as usize }
    }

    pub fn get(&self, index: usize) -> Val {
        Val::Int(self.start + self.step * index as i128)
    }
}

pub(crate) struct Stream {
    pub name: &'static str,
    pub items: RefCell<VecDeque<Val>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ViewKind {
    Keys,
    Values,
    Items,
}

/// Things with behaviour.
pub(crate) enum Object {
    /// A global function.
    Function(&'static str),
    Method(Val, Arc<str>),
    Macro(MacroValue),
    Loop(LoopValue),
    Cycler {
        items: Vec<Val>,
        at: Cell<usize>,
    },
    Joiner {
        separator: Val,
        used: Cell<bool>,
    },
    Image {
        key: Text,
    },
    /// `self`: gives blocks.
    Blocks,
    Block(Arc<ast::Block>),
}

pub(crate) struct MacroValue {
    pub node: Arc<ast::Macro>,
    pub scope: Rc<Scope>,
}

pub(crate) struct LoopValue {
    pub node: Arc<ast::For>,
    pub scope: Rc<Scope>,
    pub items: Rc<Vec<Val>>,
    pub index: Cell<usize>,
    pub depth: usize,
    pub last_changed: RefCell<Option<Vec<Val>>>,
}

/// What equal values share: `1`, `1.0` and `True` are one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    None,
    Int(i128),
    Float(u64),
    Str(Arc<str>),
    Tuple(Vec<Key>),
    Address(usize),
}

// A chain of lists in lists can be as long as the fuel allows; freeing it recursively would overflow the stack.
fn free(mut work: Vec<Val>) {
    while let Some(value) = work.pop() {
        match value {
            Val::List(list) => {
                if let Ok(list) = Rc::try_unwrap(list) {
                    work.append(&mut list.items.borrow_mut());
                }
            }
            Val::Tuple(tuple) => {
                if let Ok(mut tuple) = Rc::try_unwrap(tuple) {
                    work.append(&mut tuple.items);
                }
            }
            Val::Dict(dict) => {
                if let Ok(dict) = Rc::try_unwrap(dict) {
                    work.extend(dict.items.borrow_mut().drain(..).map(|(_, (_, value))| value));
                }
            }
            _ => {}
        }
    }
}

fn holds_containers(value: &Val) -> bool {
    matches!(value, Val::List(_) | Val::Tuple(_) | Val::Dict(_))
}

impl Drop for List {
    fn drop(&mut self) {
        let items = self.items.get_mut();
        if items.iter().any(holds_containers) {
            free(std::mem::take(items));
        }
    }
}

impl Drop for Tuple {
    fn drop(&mut self) {
        if self.items.iter().any(holds_containers) {
            free(std::mem::take(&mut self.items));
        }
    }
}

impl Drop for Dict {
    fn drop(&mut self) {
        let items = self.items.get_mut();
        if items.values().any(|(_, value)| holds_containers(value)) {
            free(items.drain(..).map(|(_, (_, value))| value).collect());
        }
    }
}

impl Dict {
    pub fn get_str(&self, key: &str) -> Option<Val> {
        self.items.borrow().get(&Key::Str(Arc::from(key))).map(|(_, value)| value.clone())
    }
}

impl Val {
    pub fn template_str(text: &str) -> Self {
        Self::Str(Text::template(text))
    }

    pub fn undefined(message: impl AsRef<str>) -> Self {
        Self::Undefined(Rc::from(message.as_ref()))
    }

    pub fn list(items: Vec<Val>) -> Self {
        Self::List(Rc::new(List { items: RefCell::new(items), is_lines: false }))
    }

    pub fn tuple(items: Vec<Val>) -> Self {
        Self::Tuple(Rc::new(Tuple { items }))
    }

    pub fn stream(name: &'static str, items: Vec<Val>) -> Self {
        Self::Stream(Rc::new(Stream { name, items: RefCell::new(items.into()) }))
    }

    pub fn object(object: Object) -> Self {
        Self::Object(Rc::new(object))
    }

    /// A map from named arguments. The names count as a value's: `f(**map)` takes them from one.
    pub fn dict(items: impl IntoIterator<Item = (Arc<str>, Val)>) -> Self {
        let items = items
            .into_iter()
            .map(|(key, value)| (Key::Str(key.clone()), (Self::Str(Text::new(key, Origin::Value)), value)))
            .collect();
        Self::Dict(Rc::new(Dict { items: RefCell::new(items) }))
    }

    /// A value given to the template; `image` turns maps that are images into keys.
    pub fn from_json(value: &Value, image: &mut dyn FnMut(&Value) -> Option<Val>) -> Self {
        match value {
            Value::Null => Self::None,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(int), _, _) => Self::Int(i128::from(int)),
                (None, Some(int), _) => Self::Int(i128::from(int)),
                (None, None, Some(float)) => Self::Float(float),
                (None, None, None) => Self::None,
            },
            Value::String(text) => Self::Str(Text::new(text.as_str(), Origin::Value)),
            Value::Array(items) => {
                Self::list(items.iter().map(|item| Self::from_json(item, image)).collect())
            }
            Value::Object(map) => {
                if let Some(image) = image(value) {
                    return image;
                }
                let items = map
                    .iter()
                    .map(|(key, value)| {
                        let text = Text::new(key.as_str(), Origin::Value);
                        (Key::Str(text.arc()), (Self::Str(text), Self::from_json(value, image)))
                    })
                    .collect();
                Self::Dict(Rc::new(Dict { items: RefCell::new(items) }))
            }
        }
    }

    /// Python's name of the type, as Jinja2's messages have it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Tuple(_) | Self::Group(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Range(_) => "range",
            Self::View(ViewKind::Keys, _) => "dict_keys",
            Self::View(ViewKind::Values, _) => "dict_values",
            Self::View(ViewKind::Items, _) => "dict_items",
            Self::Stream(_) => "generator",
            Self::Namespace(_) => "Namespace",
            Self::Object(object) => match &**object {
                Object::Function(_) => "function",
                Object::Method(..) => "method",
                Object::Macro(_) => "Macro",
                Object::Loop(_) => "LoopContext",
                Object::Cycler { .. } => "Cycler",
                Object::Joiner { .. } => "Joiner",
                Object::Image { .. } => "Image",
                Object::Blocks => "TemplateReference",
                Object::Block(_) => "BlockReference",
            },
        }
    }

    pub fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined(_))
    }

    pub fn is_callable(&self) -> bool {
        match self {
            Self::Object(object) => !matches!(&**object, Object::Image { .. } | Object::Blocks),
            // Calling it is what fails, as in Jinja2.
            Self::Undefined(_) => true,
            _ => false,
        }
    }

    /// Fails with the reason if undefined.
    pub fn defined(&self) -> Res<&Self> {
        match self {
            Self::Undefined(message) => undefined_fault(&**message),
            other => Ok(other),
        }
    }

    /// Python's truth.
    pub fn truth(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(flag) => *flag,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Str(text) => !text.as_str().is_empty(),
            Self::Bytes(bytes) => !bytes.is_empty(),
            Self::List(list) => !list.items.borrow().is_empty(),
            Self::Tuple(tuple) => !tuple.items.is_empty(),
            Self::Dict(dict) | Self::View(_, dict) => !dict.items.borrow().is_empty(),
            Self::Range(range) => range.len() > 0,
            Self::Stream(_) | Self::Group(_) | Self::Namespace(_) | Self::Object(_) => true,
        }
    }

    /// Number of items, characters or keys; `None` where Python has no `len`.
    pub fn len(&self) -> Option<usize> {
        Some(match self {
            Self::Undefined(_) => 0,
            Self::Str(text) => text.as_str().chars().count(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(list) => list.items.borrow().len(),
            Self::Tuple(tuple) => tuple.items.len(),
            Self::Group(_) => 2,
            Self::Dict(dict) | Self::View(_, dict) => dict.items.borrow().len(),
            Self::Range(range) => range.len(),
            Self::Object(object) => match &**object {
                Object::Loop(state) => state.items.len(),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Items as a loop sees them. A stream is used up by it.
    pub fn iterate(&self) -> Res<Vec<Val>> {
        Ok(match self {
            Self::Undefined(_) => Vec::new(),
            Self::Str(text) => {
                let mut buffer = [0; 4];
                let mut items = Vec::with_capacity(text.as_str().len());
                for (range, origin) in text.runs() {
                    for c in text.as_str()[range].chars() {
                        items.push(Self::Str(Text::new(&*c.encode_utf8(&mut buffer), origin)));
                    }
                }
                items
            }
            Self::Bytes(bytes) => bytes.iter().map(|byte| Self::Int(i128::from(*byte))).collect(),
            Self::List(list) => list.items.borrow().clone(),
            Self::Tuple(tuple) => tuple.items.clone(),
            Self::Group(pair) => vec![pair.0.clone(), pair.1.clone()],
            Self::Dict(dict) => dict.items.borrow().values().map(|(key, _)| key.clone()).collect(),
            Self::Range(range) => (0..range.len()).map(|index| range.get(index)).collect(),
            Self::View(kind, dict) => dict
                .items
                .borrow()
                .values()
                .map(|(key, value)| match kind {
                    ViewKind::Keys => key.clone(),
                    ViewKind::Values => value.clone(),
                    ViewKind::Items => Self::tuple(vec![key.clone(), value.clone()]),
                })
                .collect(),
            Self::Stream(stream) => stream.items.borrow_mut().drain(..).collect(),
            other => return fault(format!("`{}` cannot be looped over", other.type_name())),
        })
    }

    /// The hashed form; lists and maps have none.
    pub fn key(&self) -> Res<Key> {
        Ok(match self {
            Self::None => Key::None,
            Self::Bool(flag) => Key::Int(i128::from(*flag)),
            Self::Int(number) => Key::Int(*number),
            Self::Float(number) if number.fract() == 0.0 && number.abs() < 1e30 => Key::Int(*number as i128),
            Self::Float(number) => Key::Float(number.to_bits()),
            Self::Str(text) => Key::Str(text.arc()),
            Self::Tuple(tuple) => Key::Tuple(tuple.items.iter().map(Self::key).collect::<Res<_>>()?),
            Self::Group(pair) => Key::Tuple(vec![pair.0.key()?, pair.1.key()?]),
            Self::Object(object) => Key::Address(Rc::as_ptr(object) as *const u8 as usize),
            Self::Undefined(_) => Key::Address(1),
            other => return fault(format!("`{}` cannot be a key", other.type_name())),
        })
    }

    /// Python's `str(value)`.
    pub fn to_text(&self) -> Res<Text> {
        Ok(match self {
            Self::Str(text) => text.clone(),
            Self::Undefined(_) => Text::template(""),
            Self::List(list) if list.is_lines => {
                let mut out = TextBuilder::default();
                for (index, item) in list.items.borrow().iter().enumerate() {
                    if index > 0 {
                        out.push_str("\n", Origin::Template);
                    }
                    out.push(&item.to_text()?);
                }
                out.finish()
            }
            Self::Object(object) => match &**object {
                Object::Image { key } => key.clone(),
                _ => Text::template(self.object_text()),
            },
            Self::None | Self::Bool(_) | Self::Int(_) | Self::Float(_) => Text::template(self.scalar_text()),
            other => {
                let mut out = TextBuilder::default();
                other.write_repr(&mut out, 0)?;
                out.finish()
            }
        })
    }

    /// Python's `repr(value)`.
    pub fn repr(&self) -> Res<Text> {
        let mut out = TextBuilder::default();
        self.write_repr(&mut out, 0)?;
        Ok(out.finish())
    }

    fn scalar_text(&self) -> String {
        match self {
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => python_float(*number),
            _ => "None".to_owned(),
        }
    }

    fn object_text(&self) -> String {
        match self {
            Self::Object(object) => match &**object {
                Object::Function(name) => format!("<function {name}>"),
                Object::Method(value, name) => {
                    format!("<built-in method {name} of {} object>", value.type_name())
                }
                Object::Macro(value) => format!("<Macro '{}'>", value.node.name),
                Object::Loop(state) => {
                    format!("<LoopContext {}/{}>", state.index.get() + 1, state.items.len())
                }
                _ => format!("<{}>", self.type_name()),
            },
            _ => format!("<{}>", self.type_name()),
        }
    }

    pub fn write_repr(&self, out: &mut TextBuilder, depth: u32) -> Res<()> {
        if depth > MAX_DEPTH {
            return limit_fault(format!("a value nests lists or maps more than {MAX_DEPTH} deep"));
        }
        let template = Origin::Template;
        let sequence = |open: &str, items: &[Val], close: &str, out: &mut TextBuilder| -> Res<()> {
            out.push_str(open, template);
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ", template);
                }
                item.write_repr(out, depth + 1)?;
            }
            out.push_str(close, template);
            Ok(())
        };
        match self {
            Self::Undefined(_) => out.push_str("Undefined", template),
            Self::None | Self::Bool(_) | Self::Int(_) | Self::Float(_) => {
                out.push_str(&self.scalar_text(), template);
            }
            Self::Str(text) => {
                if text.is_markup {
                    out.push_str("Markup(", template);
                }
                out.push_str(&python_quote(text.as_str()), text.derived("").overall());
                if text.is_markup {
                    out.push_str(")", template);
                }
            }
            Self::Bytes(bytes) => {
                let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
                let mut quoted = format!("b{quote}");
                for byte in bytes.iter() {
                    match byte {
                        b'\\' => quoted.push_str("\\\\"),
                        b'\'' if quote == '\'' => quoted.push_str("\\'"),
                        b'\n' => quoted.push_str("\\n"),
                        b'\r' => quoted.push_str("\\r"),
                        b'\t' => quoted.push_str("\\t"),
                        0x20..=0x7e => quoted.push(char::from(*byte)),
                        other => quoted.push_str(&format!("\\x{other:02x}")),
                    }
                }
                quoted.push(quote);
                out.push_str(&quoted, Origin::Value);
            }
            Self::List(list) => sequence("[", &list.items.borrow(), "]", out)?,
            Self::Tuple(tuple) => {
                sequence("(", &tuple.items, if tuple.items.len() == 1 { ",)" } else { ")" }, out)?;
            }
            Self::Group(pair) => sequence("(", &[pair.0.clone(), pair.1.clone()], ")", out)?,
            Self::Dict(dict) => {
                out.push_str("{", template);
                for (index, (key, value)) in dict.items.borrow().values().enumerate() {
                    if index > 0 {
                        out.push_str(", ", template);
                    }
                    key.write_repr(out, depth + 1)?;
                    out.push_str(": ", template);
                    value.write_repr(out, depth + 1)?;
                }
                out.push_str("}", template);
            }
            Self::Range(range) => {
                let text = match range.step {
                    1 => format!("range({}, {})", range.start, range.stop),
                    step => format!("range({}, {}, {step})", range.start, range.stop),
                };
                out.push_str(&text, template);
            }
            Self::View(kind, _) => {
                let name = match kind {
                    ViewKind::Keys => "dict_keys([",
                    ViewKind::Values => "dict_values([",
                    ViewKind::Items => "dict_items([",
                };
                sequence(name, &self.iterate()?, "])", out)?;
            }
            Self::Stream(stream) => out.push_str(&format!("<generator object {}>", stream.name), template),
            Self::Namespace(fields) => {
                out.push_str("<Namespace {", template);
                for (index, (key, value)) in fields.borrow().iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ", template);
                    }
                    out.push_str(&python_quote(key), Origin::Value);
                    out.push_str(": ", template);
                    value.write_repr(out, depth + 1)?;
                }
                out.push_str("}>", template);
            }
            Self::Object(object) => match &**object {
                Object::Image { key } => out.push_str(key.as_str(), Origin::Value),
                _ => out.push_str(&self.object_text(), template),
            },
        }
        // A list that holds itself would be printed for ever; depth ends that, size ends broad ones.
        if out.len() > super::eval::MAX_TEXT_BYTES {
            return limit_fault(format!("a text is longer than {} bytes", super::eval::MAX_TEXT_BYTES));
        }
        Ok(())
    }
}
