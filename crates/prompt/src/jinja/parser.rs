//! Tokens to tree, by Jinja2's grammar: statements here, expressions in [`parser_expr`](super::parser_expr).

use std::sync::Arc;

use super::ast::{Block, Compiled, Expr, ExprKind, For, Macro, Stmt, Target};
use super::lexer::{Token, normalize_newlines, tokenize};
use super::{Fault, Res};

/// Deepest nesting of blocks and brackets.
const MAX_NESTING: u32 = 60;

/// Parses a template.
pub(crate) fn parse(source: &str) -> Res<Compiled> {
    let source = normalize_newlines(source);
    let mut parser = Parser {
        tokens: tokenize(&source)?,
        at: 0,
        nesting: 0,
        conditional: 0,
        open: Vec::new(),
        blocks: Vec::new(),
    };
    let result = parser.body(&[]);
    let body = result.map_err(|mut fault| {
        fault.line.get_or_insert(parser.line());
        fault
    })?;
    Ok(Compiled { body, blocks: parser.blocks })
}

pub(super) struct Parser {
    tokens: Vec<(Token, u32)>,
    pub(super) at: usize,
    nesting: u32,
    /// Inside `if`: an unknown filter fails only when it is reached.
    pub(super) conditional: u32,
    /// Open blocks with the tags that end them, for messages.
    open: Vec<(&'static str, Vec<&'static str>)>,
    blocks: Vec<Arc<Block>>,
}

type Arguments = (Vec<Arc<str>>, Vec<Expr>);

impl Parser {
    pub(super) fn token(&self) -> &Token {
        &self.tokens[self.at].0
    }

    pub(super) fn line(&self) -> u32 {
        self.tokens[self.at].1
    }

    pub(super) fn peek(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].0
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.token().clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    pub(super) fn fail<T>(&self, message: impl Into<String>) -> Res<T> {
        Err(Box::new(Fault {
            message: message.into(),
            line: Some(self.line()),
            is_limit: false,
            undefined: false,
        }))
    }

    pub(super) fn is_op(&self, op: &str) -> bool {
        matches!(self.token(), Token::Op(found) if *found == op)
    }

    pub(super) fn skip_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.token(), Token::Name(found) if found == name)
    }

    pub(super) fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn expect_op(&mut self, op: &str) -> Res<()> {
        if self.skip_op(op) {
            return Ok(());
        }
        if *self.token() == Token::End {
            return self.fail(format!("unexpected end of template, expected `{op}`"));
        }
        self.fail(format!("expected `{op}`, got `{}`", self.token().describe()))
    }

    pub(super) fn expect_name(&mut self) -> Res<Arc<str>> {
        match self.next() {
            Token::Name(name) => Ok(Arc::from(name)),
            other => {
                self.at -= 1;
                self.fail(format!("expected a name, got `{}`", other.describe()))
            }
        }
    }

    pub(super) fn expect(&mut self, token: &Token) -> Res<()> {
        if self.token() == token {
            self.next();
            return Ok(());
        }
        if *self.token() == Token::End {
            return self.fail(format!("unexpected end of template, expected `{}`", token.describe()));
        }
        self.fail(format!("expected `{}`, got `{}`", token.describe(), self.token().describe()))
    }

    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return self.fail(format!("more than {MAX_NESTING} blocks or brackets inside each other"));
        }
        let result = parse(self);
        self.nesting -= 1;
        result
    }

    /// Statements until one of the tags in `ends`, which is left as the current token; with no ends, until the
    /// template ends.
    fn body(&mut self, ends: &[&str]) -> Res<Vec<Stmt>> {
        let mut body = Vec::new();
        loop {
            match self.token() {
                Token::Text(_) => {
                    if let Token::Text(text) = self.next() {
                        body.push(Stmt::Text(Arc::from(text)));
                    }
                }
                Token::VariableBegin => {
                    self.next();
                    let expr = self.tuple(true, &[])?;
                    self.expect(&Token::VariableEnd)?;
                    body.push(Stmt::Print(expr));
                }
                Token::BlockBegin => {
                    self.next();
                    if let Token::Name(name) = self.token()
                        && ends.contains(&name.as_str())
                    {
                        return Ok(body);
                    }
                    self.statement(&mut body)?;
                    self.expect(&Token::BlockEnd)?;
                }
                _ if ends.is_empty() => return Ok(body),
                _ => {
                    return self.fail(format!("unexpected end of template; {}", self.what_is_open()));
                }
            }
        }
    }

    fn what_is_open(&self) -> String {
        match self.open.last() {
            Some((tag, ends)) => format!(
                "`{tag}` is still open and is closed by {}",
                ends.iter().map(|end| format!("`{end}`")).collect::<Vec<_>>().join(" or ")
            ),
            None => "nothing is open".to_owned(),
        }
    }

    /// The body of an open tag; the ending tag's name is consumed where `drop_needle`.
    fn block(&mut self, tag: &'static str, ends: &[&'static str]) -> Res<Vec<Stmt>> {
        self.skip_op(":");
        if *self.token() != Token::BlockEnd {
            return self.fail(format!("expected end of statement block, got `{}`", self.token().describe()));
        }
        self.next();
        self.open.push((tag, ends.to_vec()));
        let body = self.nested(|parser| parser.body(ends))?;
        self.open.pop();
        Ok(body)
    }

    fn statement(&mut self, out: &mut Vec<Stmt>) -> Res<()> {
        let Token::Name(tag) = self.token().clone() else {
            return self.fail(format!("tag name expected, got `{}`", self.token().describe()));
        };
        let line = self.line();
        match tag.as_str() {
            "for" => out.push(self.for_loop()?),
            "if" => out.push(self.condition()?),
            "set" => out.push(self.set()?),
            "macro" => {
                self.next();
                let name = self.expect_name()?;
                let (parameters, defaults) = self.signature()?;
                let body = self.block("macro", &["endmacro"])?;
                self.next();
                out.push(Stmt::Macro(make_macro(name, parameters, defaults, body)));
            }
            "call" => {
                self.next();
                let (parameters, defaults) =
                    if self.is_op("(") { self.signature()? } else { (Vec::new(), Vec::new()) };
                let call = self.expression(true)?;
                if !matches!(call.kind, ExprKind::Call(..)) {
                    return self.fail("expected a call");
                }
                let body = self.block("call", &["endcall"])?;
                self.next();
                out.push(Stmt::CallBlock {
                    caller: make_macro(Arc::from("caller"), parameters, defaults, body),
                    call,
                });
            }
            "filter" => {
                self.next();
                let filter =
                    self.filter(None, true)?.ok_or_else(|| super::fault_box("a filter is missing"))?;
                let body = self.block("filter", &["endfilter"])?;
                self.next();
                out.push(Stmt::FilterBlock { filter, body });
            }
            "with" => {
                self.next();
                let mut targets = Vec::new();
                while *self.token() != Token::BlockEnd {
                    if !targets.is_empty() {
                        self.expect_op(",")?;
                    }
                    let target = self.target(false, &[])?;
                    self.expect_op("=")?;
                    targets.push((target, self.expression(true)?));
                }
                let body = self.block("with", &["endwith"])?;
                self.next();
                out.push(Stmt::With(targets, body));
            }
            "block" => {
                self.next();
                let name = self.expect_name()?;
                let is_scoped = self.skip_name("scoped");
                self.skip_name("required");
                let body = self.block("block", &["endblock"])?;
                self.next();
                if matches!(self.token(), Token::Name(found) if **found == *name) {
                    self.next();
                }
                if self.blocks.iter().any(|block| block.name == name) {
                    return self.fail(format!("block `{name}` is defined twice"));
                }
                let block = Arc::new(Block { name, is_scoped, body });
                self.blocks.push(block.clone());
                out.push(Stmt::Block(block));
            }
            "autoescape" => {
                self.next();
                let on = self.expression(true)?;
                let body = self.block("autoescape", &["endautoescape"])?;
                self.next();
                out.push(Stmt::Autoescape(on, body));
            }
            "print" => {
                self.next();
                while *self.token() != Token::BlockEnd {
                    out.push(Stmt::Print(self.expression(true)?));
                    if !self.skip_op(",") {
                        break;
                    }
                }
            }
            "include" => {
                self.next();
                let source = self.expression(true)?;
                for word in ["ignore", "missing", "with", "without", "context"] {
                    self.skip_name(word);
                }
                out.push(Stmt::NeedsLoader {
                    line,
                    tag: "include",
                    sources: vec![source],
                    names: Vec::new(),
                });
            }
            "extends" => {
                self.next();
                let source = self.expression(true)?;
                out.push(Stmt::NeedsLoader {
                    line,
                    tag: "extends",
                    sources: vec![source],
                    names: Vec::new(),
                });
            }
            "import" => {
                self.next();
                let source = self.expression(true)?;
                if !self.skip_name("as") {
                    return self.fail("expected `as`");
                }
                let names = vec![self.expect_name()?];
                for word in ["with", "without", "context"] {
                    self.skip_name(word);
                }
                out.push(Stmt::NeedsLoader { line, tag: "import", sources: vec![source], names });
            }
            "from" => {
                self.next();
                let source = self.expression(true)?;
                if !self.skip_name("import") {
                    return self.fail("expected `import`");
                }
                let mut names = Vec::new();
                while let Token::Name(_) = self.token() {
                    let name = self.expect_name()?;
                    names.push(if self.skip_name("as") { self.expect_name()? } else { name });
                    self.skip_op(",");
                }
                out.push(Stmt::NeedsLoader { line, tag: "from", sources: vec![source], names });
            }
            _ => {
                let open =
                    if self.open.is_empty() { String::new() } else { format!("; {}", self.what_is_open()) };
                return self.fail(format!("unknown tag `{tag}`{open}"));
            }
        }
        Ok(())
    }

    fn for_loop(&mut self) -> Res<Stmt> {
        let line = self.line();
        self.next();
        let target = self.target(false, &["in"])?;
        if !self.skip_name("in") {
            return self.fail(format!("expected `in`, got `{}`", self.token().describe()));
        }
        let iterable = self.tuple(false, &["recursive"])?;
        let test = if self.skip_name("if") { Some(self.expression(true)?) } else { None };
        let is_recursive = self.skip_name("recursive");
        let body = self.block("for", &["endfor", "else"])?;
        let otherwise = if self.skip_name("else") { self.block("for", &["endfor"])? } else { Vec::new() };
        self.next();
        Ok(Stmt::For(Arc::new(For { line, target, iterable, test, is_recursive, body, otherwise })))
    }

    fn condition(&mut self) -> Res<Stmt> {
        let mut branches = Vec::new();
        let mut otherwise = Vec::new();
        self.conditional += 1;
        self.next();
        loop {
            let test = self.tuple(false, &[])?;
            let body = self.block("if", &["elif", "else", "endif"])?;
            branches.push((test, body));
            if self.skip_name("elif") {
                continue;
            }
            if self.skip_name("else") {
                otherwise = self.block("if", &["endif"])?;
            }
            self.next();
            break;
        }
        self.conditional -= 1;
        Ok(Stmt::If(branches, otherwise))
    }

    fn set(&mut self) -> Res<Stmt> {
        self.next();
        let target = self.target(true, &[])?;
        if self.skip_op("=") {
            return Ok(Stmt::Set(target, self.tuple(true, &[])?));
        }
        let filter = self.filter(None, false)?;
        let body = self.block("set", &["endset"])?;
        self.next();
        Ok(Stmt::SetBlock { target, filter, body })
    }

    fn signature(&mut self) -> Res<Arguments> {
        let (mut parameters, mut defaults) = (Vec::new(), Vec::new());
        self.expect_op("(")?;
        while !self.is_op(")") {
            if !parameters.is_empty() {
                self.expect_op(",")?;
            }
            parameters.push(self.expect_name()?);
            if self.skip_op("=") {
                defaults.push(self.expression(true)?);
            } else if !defaults.is_empty() {
                return self.fail("a parameter without default follows one with default");
            }
        }
        let required = &parameters[..parameters.len() - defaults.len()];
        if required.iter().any(|name| &**name == "caller") {
            return self.fail("a parameter called `caller` needs a default");
        }
        self.expect_op(")")?;
        Ok((parameters, defaults))
    }

    fn target(&mut self, with_namespace: bool, ends: &[&str]) -> Res<Target> {
        if with_namespace && matches!(self.token(), Token::Name(_)) && matches!(self.peek(), Token::Op(".")) {
            let name = self.expect_name()?;
            self.next();
            return Ok(Target::Namespace(name, self.expect_name()?));
        }
        let mut targets = Vec::new();
        let mut is_tuple = false;
        loop {
            if !targets.is_empty() && !self.skip_op(",") {
                break;
            }
            is_tuple |= !targets.is_empty();
            let at_end = matches!(self.token(), Token::Op(")" | "="))
                || matches!(self.token(), Token::Name(name) if ends.contains(&name.as_str()))
                || *self.token() == Token::BlockEnd;
            if at_end && !targets.is_empty() {
                break;
            }
            if self.skip_op("(") {
                targets.push(self.nested(|parser| parser.target(false, &[]))?);
                self.expect_op(")")?;
            } else {
                let name = self.expect_name()?;
                if matches!(&*name, "true" | "false" | "none" | "True" | "False" | "None") {
                    return self.fail(format!("cannot assign to `{name}`"));
                }
                targets.push(Target::Name(name));
            }
        }
        Ok(match targets.pop() {
            Some(only) if targets.is_empty() && !is_tuple => only,
            Some(last) => {
                targets.push(last);
                Target::Tuple(targets)
            }
            None => return self.fail("a name to assign to is missing"),
        })
    }
}

fn make_macro(name: Arc<str>, parameters: Vec<Arc<str>>, defaults: Vec<Expr>, body: Vec<Stmt>) -> Arc<Macro> {
    let mut free = Vec::new();
    for name in ["varargs", "kwargs", "caller"] {
        free.push(!parameters.iter().any(|p| &**p == name) && super::variables::reads(&body, name));
    }
    // A declared parameter called `caller` is filled like the implicit one.
    let takes_caller = free[2] || parameters.iter().any(|p| &**p == "caller");
    Arc::new(Macro {
        name,
        parameters,
        defaults,
        body,
        takes_varargs: free[0],
        takes_kwargs: free[1],
        takes_caller,
    })
}
