//! `.env` files: names and values, one a line, as python-dotenv reads them, except that nothing is looked up in
//! the environment: a `${NAME}` inside a value stays as written and is found.

use std::collections::HashMap;

use flowbench_core::finding::{Finding, Place};

/// Most names taken from one file: an environment has dozens; more is a file of something else.
pub const MAX_VARIABLES: usize = 10_000;

/// What a `.env` file says.
#[derive(Clone, Default)]
pub struct EnvFile {
    /// Names, values and lines in file order; of a name that comes twice the last value.
    pub variables: Vec<EnvVariable>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// One line of it. Has no `Debug`: the value may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvVariable {
    /// Name.
    pub name: String,
    /// Value; quotes and comments taken off.
    pub value: String,
    /// One-based line.
    pub line: u32,
}

/// Reads names and values; never fails.
pub fn parse_env_file(bytes: &[u8], file: Option<&str>) -> EnvFile {
    let mut out = EnvFile::default();
    let mut places: HashMap<String, usize> = HashMap::new();
    let at =
        |line: u32| Place { file: file.map(str::to_owned), line: Some(line), column: Some(1), node: None };
    let text = String::from_utf8_lossy(bytes);
    if matches!(text, std::borrow::Cow::Owned(_)) {
        out.findings.push(
            Finding::warning("env-encoding", "the file is not UTF-8, and some characters are lost")
                .at(at(1))
                .suggest("save the file as UTF-8"),
        );
    }
    let text = text.trim_start_matches('\u{feff}');
    let mut rest = text;
    let mut line = 1_u32;
    while !rest.is_empty() {
        let (read, used) = statement(rest);
        let here = line;
        line = line.saturating_add(u32::try_from(rest[..used].matches('\n').count()).unwrap_or(u32::MAX));
        rest = &rest[used..];
        match read {
            Statement::Nothing => {}
            Statement::Broken => out.findings.push(
                Finding::warning("env-line", "a line is no `NAME=value` and is ignored")
                    .at(at(here))
                    .suggest("write `NAME=value`, or `#` before a comment"),
            ),
            Statement::Unset(name) => out.findings.push(
                Finding::warning("env-line", format!("`{name}` has no value and is ignored"))
                    .at(at(here))
                    .suggest(format!("write `{name}=value`")),
            ),
            Statement::Set(name, value) => {
                if has_expansion(&value) {
                    out.findings.push(
                        Finding::warning(
                            "env-expansion",
                            format!("the value of `{name}` holds `${{NAME}}`, which is not replaced here"),
                        )
                        .at(at(here))
                        .suggest("write the whole value"),
                    );
                }
                let variable = EnvVariable { name, value, line: here };
                match places.get(&variable.name) {
                    Some(index) => out.variables[*index] = variable,
                    None if out.variables.len() >= MAX_VARIABLES => {
                        out.findings.push(
                            Finding::error(
                                "env-too-many",
                                format!("more than {MAX_VARIABLES} names are not read"),
                            )
                            .at(at(here)),
                        );
                        return out;
                    }
                    None => {
                        places.insert(variable.name.clone(), out.variables.len());
                        out.variables.push(variable);
                    }
                }
            }
        }
    }
    out
}

enum Statement {
    Nothing,
    Broken,
    Unset(String),
    Set(String, String),
}

/// Reads one statement; says how many bytes it took, its line end included. Only quoted values span lines.
fn statement(text: &str) -> (Statement, usize) {
    let line_end = text.find('\n').map_or(text.len(), |at| at + 1);
    let line = text[..line_end].trim();
    if line.is_empty() || line.starts_with('#') {
        return (Statement::Nothing, line_end);
    }
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let Some((name, value)) = line.split_once('=') else {
        let is_name = line.split_whitespace().count() == 1;
        return (if is_name { Statement::Unset(line.to_owned()) } else { Statement::Broken }, line_end);
    };
    let name = name.trim().trim_matches('\'').to_owned();
    if name.is_empty() || name.contains(char::is_whitespace) {
        return (Statement::Broken, line_end);
    }
    let value = value.trim_start();
    match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            // Both point into `text`, so their distance is where the value starts.
            let start = value.as_ptr() as usize - text.as_ptr() as usize + 1;
            match quoted(&text[start..], quote) {
                Some((value, used)) => {
                    let after = start + used;
                    let end = text[after..].find('\n').map_or(text.len(), |at| after + at + 1);
                    (Statement::Set(name, value), end)
                }
                None => (Statement::Broken, line_end),
            }
        }
        _ => (Statement::Set(name, unquoted(value).to_owned()), line_end),
    }
}

/// A value without quotes ends at a comment, which needs a blank before it.
fn unquoted(value: &str) -> &str {
    if value.starts_with('#') {
        return "";
    }
    let end = value
        .char_indices()
        .zip(value.chars().skip(1))
        .find_map(|((at, c), next)| (c.is_whitespace() && next == '#').then_some(at));
    value[..end.unwrap_or(value.len())].trim_end()
}

/// A quoted value up to its closing quote, and the bytes it took with that quote.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some((out, at + c.len_utf8()));
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        let (_, escaped) = chars.next()?;
        match (quote, escaped) {
            (_, '\\') => out.push('\\'),
            (_, c) if c == quote => out.push(c),
            ('"', 'n') => out.push('\n'),
            ('"', 't') => out.push('\t'),
            ('"', 'r') => out.push('\r'),
            (_, c) => {
                out.push('\\');
                out.push(c);
            }
        }
    }
    None
}

/// True for `${NAME}` of a `.env` file; our own `${env:NAME}` and `${secret:NAME}` are no such thing.
fn has_expansion(value: &str) -> bool {
    value.match_indices("${").any(|(at, _)| {
        let inside = value[at + 2..].split('}').next().unwrap_or("");
        value[at..].contains('}') && !inside.contains(':')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let read = parse_env_file(text.as_bytes(), None);
        let pairs: Vec<(&str, &str)> =
            read.variables.iter().map(|variable| (variable.name.as_str(), variable.value.as_str())).collect();
        assert_eq!(pairs, expected, "{text:?}");
    }

    #[track_caller]
    fn check_rules(text: &str, expected: &[(&str, u32)]) {
        let read = parse_env_file(text.as_bytes(), Some(".env"));
        let found: Vec<(&str, u32)> = read
            .findings
            .iter()
            .map(|finding| (finding.rule.as_str(), finding.place.line.unwrap_or(0)))
            .collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn lines_are_read_as_dotenv_reads_them() {
        check(
            "A=1\nexport B = two words \n# c\n\nC=x # note\nD=x#y\n",
            &[("A", "1"), ("B", "two words"), ("C", "x"), ("D", "x#y")],
        );
        check("A=\"a\\nb\" # note\nB='a\\nb'\nC=\n", &[("A", "a\nb"), ("B", "a\\nb"), ("C", "")]);
        check("A=\"first\nsecond\"\r\nB=2\r\n", &[("A", "first\nsecond"), ("B", "2")]);
        check("A=1\nB=2\nA=3", &[("A", "3"), ("B", "2")]);
        check("A=a=b\nB=${env:X}", &[("A", "a=b"), ("B", "${env:X}")]);
        check("\u{feff}A=ä", &[("A", "ä")]);
    }

    #[test]
    fn what_is_no_variable_is_found_with_its_line() {
        check_rules("A=\"x\ny\"\nNAME\n", &[("env-line", 3)]);
        check_rules("two words\n=x\n", &[("env-line", 1), ("env-line", 2)]);
        check_rules("A='open\nB=1\n", &[("env-line", 1)]);
        check_rules("A=${HOME}/x\n", &[("env-expansion", 1)]);
    }

    #[test]
    fn hostile_bytes_are_read_to_their_end() {
        let read = parse_env_file(b"\xff\xfe=\x00\nB=1\\", None);
        assert_eq!(read.findings[0].rule, "env-encoding");
        assert_eq!(read.variables.last().unwrap().value, "1\\");
        let many: String = (0..=MAX_VARIABLES).map(|index| format!("V{index}=x\n")).collect();
        let read = parse_env_file(many.as_bytes(), None);
        assert_eq!(read.variables.len(), MAX_VARIABLES);
        assert_eq!(read.findings[0].rule, "env-too-many");
    }
}
