//! The expressions of the grammar, from `or` down to names and numbers.

use std::sync::Arc;

use super::ast::{Args, Comparison, Const, Expr, ExprKind, Operator};
use super::lexer::Token;
use super::parser::Parser;
use super::{Res, filters, tests};

impl Parser {
    /// `parse_tuple` of the original: one expression, or several with commas.
    pub(super) fn tuple(&mut self, with_condition: bool, ends: &[&str]) -> Res<Expr> {
        self.tuple_in(with_condition, ends, false)
    }

    fn tuple_in(&mut self, with_condition: bool, ends: &[&str], in_brackets: bool) -> Res<Expr> {
        let line = self.line();
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            if !items.is_empty() {
                if !self.skip_op(",") {
                    break;
                }
                is_tuple = true;
            }
            let at_end = matches!(self.token(), Token::VariableEnd | Token::BlockEnd | Token::Op(")"))
                || matches!(self.token(), Token::Name(name) if ends.contains(&name.as_str()));
            if at_end {
                break;
            }
            items.push(self.expression(with_condition)?);
        }
        if !is_tuple {
            if let Some(only) = items.pop() {
                return Ok(only);
            }
            if !in_brackets {
                return self.fail(format!("expected an expression, got `{}`", self.token().describe()));
            }
        }
        Expr::new(line, ExprKind::Tuple(items))
    }

    pub(super) fn expression(&mut self, with_condition: bool) -> Res<Expr> {
        self.nested(|parser| if with_condition { parser.conditional_expression() } else { parser.or() })
    }

    fn conditional_expression(&mut self) -> Res<Expr> {
        let line = self.line();
        let mut expr = self.or()?;
        while self.skip_name("if") {
            let test = self.or()?;
            let otherwise = if self.skip_name("else") {
                Some(Box::new(self.nested(Self::conditional_expression)?))
            } else {
                None
            };
            expr = Expr::new(line, ExprKind::Cond { test: Box::new(test), then: Box::new(expr), otherwise })?;
        }
        Ok(expr)
    }

    fn or(&mut self) -> Res<Expr> {
        let line = self.line();
        let mut items = vec![self.and()?];
        while self.skip_name("or") {
            items.push(self.and()?);
        }
        flatten(line, items, ExprKind::Or)
    }

    fn and(&mut self) -> Res<Expr> {
        let line = self.line();
        let mut items = vec![self.not()?];
        while self.skip_name("and") {
            items.push(self.not()?);
        }
        flatten(line, items, ExprKind::And)
    }

    fn not(&mut self) -> Res<Expr> {
        let line = self.line();
        if self.skip_name("not") {
            let inner = self.nested(Self::not)?;
            return Expr::new(line, ExprKind::Not(Box::new(inner)));
        }
        self.compare()
    }

    fn compare(&mut self) -> Res<Expr> {
        let line = self.line();
        let first = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let comparison = match self.token() {
                Token::Op("==") => Comparison::Equal,
                Token::Op("!=") => Comparison::NotEqual,
                Token::Op("<") => Comparison::Less,
                Token::Op("<=") => Comparison::LessOrEqual,
                Token::Op(">") => Comparison::Greater,
                Token::Op(">=") => Comparison::GreaterOrEqual,
                Token::Name(name) if name == "in" => Comparison::In,
                Token::Name(name)
                    if name == "not" && matches!(self.peek(), Token::Name(next) if next == "in") =>
                {
                    self.next();
                    Comparison::NotIn
                }
                _ => break,
            };
            self.next();
            rest.push((comparison, self.sum()?));
        }
        if rest.is_empty() { Ok(first) } else { Expr::new(line, ExprKind::Compare(Box::new(first), rest)) }
    }

    fn sum(&mut self) -> Res<Expr> {
        let line = self.line();
        let mut left = self.concat()?;
        loop {
            let operator = match self.token() {
                Token::Op("+") => Operator::Add,
                Token::Op("-") => Operator::Sub,
                _ => return Ok(left),
            };
            self.next();
            let right = self.concat()?;
            left = Expr::new(line, ExprKind::Binary(operator, Box::new(left), Box::new(right)))?;
        }
    }

    fn concat(&mut self) -> Res<Expr> {
        let line = self.line();
        let mut items = vec![self.product()?];
        while self.skip_op("~") {
            items.push(self.product()?);
        }
        flatten(line, items, ExprKind::Concat)
    }

    fn product(&mut self) -> Res<Expr> {
        let line = self.line();
        let mut left = self.power()?;
        loop {
            let operator = match self.token() {
                Token::Op("*") => Operator::Mul,
                Token::Op("/") => Operator::Div,
                Token::Op("//") => Operator::FloorDiv,
                Token::Op("%") => Operator::Mod,
                _ => return Ok(left),
            };
            self.next();
            let right = self.power()?;
            left = Expr::new(line, ExprKind::Binary(operator, Box::new(left), Box::new(right)))?;
        }
    }

    fn power(&mut self) -> Res<Expr> {
        let line = self.line();
        let mut left = self.unary(true)?;
        while self.skip_op("**") {
            let right = self.unary(true)?;
            left = Expr::new(line, ExprKind::Binary(Operator::Pow, Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn unary(&mut self, with_filter: bool) -> Res<Expr> {
        let line = self.line();
        let mut expr = if self.skip_op("-") {
            let inner = self.nested(|parser| parser.unary(false))?;
            Expr::new(line, ExprKind::Neg(Box::new(inner)))?
        } else if self.skip_op("+") {
            let inner = self.nested(|parser| parser.unary(false))?;
            Expr::new(line, ExprKind::Pos(Box::new(inner)))?
        } else {
            self.primary()?
        };
        expr = self.postfix(expr)?;
        if with_filter {
            expr = self.filters_and_tests(expr)?;
        }
        Ok(expr)
    }

    fn primary(&mut self) -> Res<Expr> {
        let line = self.line();
        let kind = match self.next() {
            Token::Name(name) => match name.as_str() {
                "true" | "True" => ExprKind::Const(Const::Bool(true)),
                "false" | "False" => ExprKind::Const(Const::Bool(false)),
                "none" | "None" => ExprKind::Const(Const::None),
                _ => ExprKind::Name(Arc::from(name)),
            },
            Token::Str(mut text) => {
                while let Token::Str(more) = self.token() {
                    text.push_str(more);
                    self.next();
                }
                ExprKind::Const(Const::Str(Arc::from(text)))
            }
            Token::Int(number) => ExprKind::Const(Const::Int(number)),
            Token::Float(number) => ExprKind::Const(Const::Float(number)),
            Token::Op("(") => {
                let inner = self.tuple_in(true, &[], true)?;
                self.expect_op(")")?;
                return Ok(inner);
            }
            Token::Op("[") => {
                let mut items = Vec::new();
                while !self.is_op("]") {
                    if !items.is_empty() {
                        self.expect_op(",")?;
                    }
                    if self.is_op("]") {
                        break;
                    }
                    items.push(self.expression(true)?);
                }
                self.expect_op("]")?;
                ExprKind::List(items)
            }
            Token::Op("{") => {
                let mut items = Vec::new();
                while !self.is_op("}") {
                    if !items.is_empty() {
                        self.expect_op(",")?;
                    }
                    if self.is_op("}") {
                        break;
                    }
                    let key = self.expression(true)?;
                    self.expect_op(":")?;
                    items.push((key, self.expression(true)?));
                }
                self.expect_op("}")?;
                ExprKind::Dict(items)
            }
            Token::End => {
                return self.fail("unexpected end of template, expected `end of print statement`");
            }
            other => {
                self.at = self.at.saturating_sub(1);
                return self.fail(format!("unexpected `{}`", other.describe()));
            }
        };
        Expr::new(line, kind)
    }

    fn postfix(&mut self, mut expr: Expr) -> Res<Expr> {
        loop {
            expr = match self.token() {
                Token::Op("." | "[") => self.subscript(expr)?,
                Token::Op("(") => self.call(expr)?,
                _ => return Ok(expr),
            };
        }
    }

    fn filters_and_tests(&mut self, mut expr: Expr) -> Res<Expr> {
        loop {
            expr = match self.token() {
                Token::Op("|") => match self.filter(Some(expr), false)? {
                    Some(expr) => expr,
                    None => return self.fail("a filter is missing"),
                },
                Token::Name(name) if name == "is" => self.test(expr)?,
                Token::Op("(") => self.call(expr)?,
                _ => return Ok(expr),
            };
        }
    }

    fn subscript(&mut self, base: Expr) -> Res<Expr> {
        let line = self.line();
        if self.skip_op(".") {
            return match self.next() {
                Token::Name(name) => Expr::new(line, ExprKind::Attr(Box::new(base), Arc::from(name))),
                Token::Int(index) => {
                    let index = Expr::new(line, ExprKind::Const(Const::Int(index)))?;
                    Expr::new(line, ExprKind::Item(Box::new(base), Box::new(index)))
                }
                _ => {
                    self.at -= 1;
                    self.fail("expected a name or number after `.`")
                }
            };
        }
        self.expect_op("[")?;
        let mut items = Vec::new();
        let mut is_tuple = false;
        let mut slice = None;
        while !self.is_op("]") {
            if !items.is_empty() || slice.is_some() {
                self.expect_op(",")?;
                is_tuple = true;
                if self.is_op("]") {
                    break;
                }
            }
            let mut bounds: [Option<Box<Expr>>; 3] = [None, None, None];
            let mut colons = 0;
            while !matches!(self.token(), Token::Op("]" | ",")) {
                if self.skip_op(":") {
                    colons += 1;
                    if colons > 2 {
                        return self.fail("a slice has at most two colons");
                    }
                } else if bounds[colons].is_none() {
                    bounds[colons] = Some(Box::new(self.expression(true)?));
                } else {
                    return self.fail(format!("expected `]`, got `{}`", self.token().describe()));
                }
            }
            if colons == 0 {
                match bounds[0].take() {
                    Some(index) => items.push(*index),
                    None => return self.fail("expected a subscript"),
                }
            } else {
                slice = Some(bounds);
            }
        }
        self.expect_op("]")?;
        match (slice, items.pop()) {
            (Some(_), Some(_)) => self.fail("a slice cannot be part of a tuple"),
            (Some(bounds), None) => Expr::new(line, ExprKind::Slice(Box::new(base), bounds)),
            (None, Some(only)) if !is_tuple => {
                Expr::new(line, ExprKind::Item(Box::new(base), Box::new(only)))
            }
            (None, Some(last)) => {
                items.push(last);
                let key = Expr::new(line, ExprKind::Tuple(items))?;
                Expr::new(line, ExprKind::Item(Box::new(base), Box::new(key)))
            }
            (None, None) => self.fail("expected a subscript"),
        }
    }

    fn call(&mut self, callee: Expr) -> Res<Expr> {
        let line = self.line();
        let args = self.arguments()?;
        Expr::new(line, ExprKind::Call(Box::new(callee), args))
    }

    fn arguments(&mut self) -> Res<Args> {
        let mut args = Args::default();
        let mut is_first = true;
        self.expect_op("(")?;
        while !self.is_op(")") {
            if !is_first {
                self.expect_op(",")?;
                if self.is_op(")") {
                    break;
                }
            }
            is_first = false;
            if self.skip_op("*") {
                args.star = Some(Box::new(self.expression(true)?));
            } else if self.skip_op("**") {
                args.double_star = Some(Box::new(self.expression(true)?));
            } else if matches!(self.token(), Token::Name(_)) && matches!(self.peek(), Token::Op("=")) {
                let name = self.expect_name()?;
                self.next();
                args.named.push((name, self.expression(true)?));
            } else if args.named.is_empty() && args.star.is_none() && args.double_star.is_none() {
                args.positional.push(self.expression(true)?);
            } else {
                return self.fail("an argument without name follows one with a name");
            }
        }
        self.expect_op(")")?;
        Ok(args)
    }

    fn dotted_name(&mut self) -> Res<String> {
        let mut name = self.expect_name()?.to_string();
        while self.skip_op(".") {
            name.push('.');
            name.push_str(&self.expect_name()?);
        }
        Ok(name)
    }

    pub(super) fn filter(&mut self, mut base: Option<Expr>, mut inline: bool) -> Res<Option<Expr>> {
        while inline || self.is_op("|") {
            if !inline {
                self.next();
            }
            inline = false;
            let line = self.line();
            let name = self.dotted_name()?;
            if self.conditional == 0 && !filters::exists(&name) {
                return self.fail(format!("no filter named `{name}`"));
            }
            let args = if self.is_op("(") { self.arguments()? } else { Args::default() };
            base = Some(Expr::new(line, ExprKind::Filter(base.map(Box::new), Arc::from(name), args))?);
        }
        Ok(base)
    }

    fn test(&mut self, base: Expr) -> Res<Expr> {
        let line = self.line();
        self.next();
        let negated = self.skip_name("not");
        let name = self.dotted_name()?;
        if self.conditional == 0 && !tests::exists(&name) {
            return self.fail(format!("no test named `{name}`"));
        }
        let mut args = Args::default();
        let takes_bare_argument = match self.token() {
            Token::Op("(") => {
                args = self.arguments()?;
                false
            }
            Token::Name(word) => !matches!(word.as_str(), "else" | "or" | "and" | "if" | "recursive"),
            Token::Str(_) | Token::Int(_) | Token::Float(_) | Token::Op("[" | "{") => true,
            _ => false,
        };
        if takes_bare_argument {
            if self.is_name("is") {
                return self.fail("tests cannot be chained with `is`");
            }
            let argument = self.primary()?;
            args.positional.push(self.postfix(argument)?);
        }
        let test = Expr::new(line, ExprKind::Test(Box::new(base), Arc::from(name), args))?;
        if negated { Expr::new(line, ExprKind::Not(Box::new(test))) } else { Ok(test) }
    }
}

fn flatten(line: u32, mut items: Vec<Expr>, make: fn(Vec<Expr>) -> ExprKind) -> Res<Expr> {
    match items.pop() {
        Some(only) if items.is_empty() => Ok(only),
        Some(last) => {
            items.push(last);
            Expr::new(line, make(items))
        }
        None => super::fault("an expression is missing"),
    }
}
