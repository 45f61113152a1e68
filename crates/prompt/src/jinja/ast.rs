//! The parsed template. Shared between renders, so it holds plain data only.

use std::sync::Arc;

use super::{Res, fault};

/// Deepest nesting of an expression. Python's own compiler gives up at about this depth.
pub(crate) const MAX_EXPRESSION_DEPTH: u16 = 90;

#[derive(Clone, Debug)]
pub(crate) enum Const {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Arc<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Args {
    pub positional: Vec<Expr>,
    pub named: Vec<(Arc<str>, Expr)>,
    pub star: Option<Box<Expr>>,
    pub double_star: Option<Box<Expr>>,
}

impl Args {
    pub fn all(&self) -> impl Iterator<Item = &Expr> {
        self.positional
            .iter()
            .chain(self.named.iter().map(|(_, value)| value))
            .chain(self.star.as_deref())
            .chain(self.double_star.as_deref())
    }
}

#[derive(Clone, Debug)]
pub(crate) enum ExprKind {
    Const(Const),
    Name(Arc<str>),
    Tuple(Vec<Expr>),
    List(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Cond {
        test: Box<Expr>,
        then: Box<Expr>,
        otherwise: Option<Box<Expr>>,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Neg(Box<Expr>),
    Pos(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    Concat(Vec<Expr>),
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    Attr(Box<Expr>, Arc<str>),
    Item(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, [Option<Box<Expr>>; 3]),
    Call(Box<Expr>, Args),
    /// Without a base inside `{% filter %}` and `{% set x | f %}`: the captured block.
    Filter(Option<Box<Expr>>, Arc<str>, Args),
    Test(Box<Expr>, Arc<str>, Args),
}

#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub line: u32,
    pub depth: u16,
    pub kind: ExprKind,
}

impl Expr {
    pub fn new(line: u32, kind: ExprKind) -> Res<Self> {
        let mut deepest = 0;
        kind.each_child(&mut |child| deepest = deepest.max(child.depth));
        if deepest >= MAX_EXPRESSION_DEPTH {
            return fault("expression is nested too deeply");
        }
        Ok(Self { line, depth: deepest + 1, kind })
    }

    /// The last name of what the expression reads (`role` of `m.role`, `m['role'] | lower`), if it just reads.
    pub fn last_name(&self) -> Option<&str> {
        match &self.kind {
            ExprKind::Name(name) | ExprKind::Attr(_, name) => Some(name),
            ExprKind::Item(_, key) => match &key.kind {
                ExprKind::Const(Const::Str(name)) => Some(name),
                _ => None,
            },
            ExprKind::Filter(Some(base), name, _)
                if matches!(&**name, "lower" | "upper" | "title" | "capitalize" | "trim" | "string") =>
            {
                base.last_name()
            }
            ExprKind::Call(callee, _) => match &callee.kind {
                ExprKind::Attr(base, name)
                    if matches!(&**name, "lower" | "upper" | "title" | "capitalize" | "strip") =>
                {
                    base.last_name()
                }
                _ => None,
            },
            _ => None,
        }
    }
}

impl ExprKind {
    pub fn each_child<'a>(&'a self, see: &mut dyn FnMut(&'a Expr)) {
        match self {
            Self::Const(_) | Self::Name(_) => {}
            Self::Tuple(items)
            | Self::List(items)
            | Self::And(items)
            | Self::Or(items)
            | Self::Concat(items) => {
                items.iter().for_each(see);
            }
            Self::Dict(items) => items.iter().for_each(|(key, value)| {
                see(key);
                see(value);
            }),
            Self::Cond { test, then, otherwise } => {
                see(test);
                see(then);
                if let Some(otherwise) = otherwise {
                    see(otherwise);
                }
            }
            Self::Not(inner) | Self::Neg(inner) | Self::Pos(inner) | Self::Attr(inner, _) => see(inner),
            Self::Binary(_, left, right) | Self::Item(left, right) => {
                see(left);
                see(right);
            }
            Self::Compare(first, rest) => {
                see(first);
                rest.iter().for_each(|(_, value)| see(value));
            }
            Self::Slice(base, bounds) => {
                see(base);
                bounds.iter().flatten().for_each(|bound| see(bound));
            }
            Self::Call(callee, args) => {
                see(callee);
                args.all().for_each(see);
            }
            Self::Filter(base, _, args) => {
                if let Some(base) = base {
                    see(base);
                }
                args.all().for_each(see);
            }
            Self::Test(base, _, args) => {
                see(base);
                args.all().for_each(see);
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Target {
    Name(Arc<str>),
    Tuple(Vec<Target>),
    Namespace(Arc<str>, Arc<str>),
}

#[derive(Clone, Debug)]
pub(crate) struct For {
    pub line: u32,
    pub target: Target,
    pub iterable: Expr,
    pub test: Option<Expr>,
    pub is_recursive: bool,
    pub body: Vec<Stmt>,
    pub otherwise: Vec<Stmt>,
}

#[derive(Clone, Debug)]
pub(crate) struct Macro {
    pub name: Arc<str>,
    pub parameters: Vec<Arc<str>>,
    /// Defaults of the last parameters.
    pub defaults: Vec<Expr>,
    pub body: Vec<Stmt>,
    pub takes_varargs: bool,
    pub takes_kwargs: bool,
    pub takes_caller: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub name: Arc<str>,
    /// Sees the names of the place where it stands.
    pub is_scoped: bool,
    pub body: Vec<Stmt>,
}

#[derive(Clone, Debug)]
pub(crate) enum Stmt {
    Text(Arc<str>),
    Print(Expr),
    For(Arc<For>),
    If(Vec<(Expr, Vec<Stmt>)>, Vec<Stmt>),
    Set(Target, Expr),
    SetBlock {
        target: Target,
        filter: Option<Expr>,
        body: Vec<Stmt>,
    },
    Macro(Arc<Macro>),
    CallBlock {
        caller: Arc<Macro>,
        call: Expr,
    },
    FilterBlock {
        filter: Expr,
        body: Vec<Stmt>,
    },
    With(Vec<(Target, Expr)>, Vec<Stmt>),
    Block(Arc<Block>),
    Autoescape(Expr, Vec<Stmt>),
    /// `include`, `import`, `from`, `extends`: there is no loader.
    NeedsLoader {
        line: u32,
        tag: &'static str,
        sources: Vec<Expr>,
        names: Vec<Arc<str>>,
    },
}

/// A template, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub body: Vec<Stmt>,
    pub blocks: Vec<Arc<Block>>,
}
