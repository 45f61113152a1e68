//! What Word, PowerPoint and Excel files share: parts that link to parts, properties, diagrams and charts.

use std::collections::HashMap;

use crate::archive::{Archive, resolve};
use crate::builder::Builder;
use crate::dates;
use crate::document::Limits;
use crate::error::ExtractError;
use crate::table;
use crate::xml::{El, Tree};

pub(crate) mod docx;
mod numbering;
pub(crate) mod pptx;

/// A package of parts.
pub(crate) struct Package<'a, 'l> {
    archive: Archive<'a>,
    limits: &'l Limits,
    /// What was wrong with parts that the text can do without.
    problems: Vec<String>,
}

/// Links of a part: id to type and part name.
pub(crate) type Links = HashMap<String, (String, String)>;

impl<'a, 'l> Package<'a, 'l> {
    /// Opens a package.
    pub fn open(bytes: &'a [u8], limits: &'l Limits) -> Result<Self, ExtractError> {
        Ok(Self { archive: Archive::open(bytes, limits)?, limits, problems: Vec::new() })
    }

    /// A part that the text cannot do without.
    pub fn need(&mut self, part: &str) -> Result<Tree, ExtractError> {
        let bytes = self.archive.read(part)?;
        let bytes =
            bytes.ok_or_else(|| ExtractError::Damaged { reason: format!("its part `{part}` is missing") })?;
        let tree = Tree::parse(&bytes, part, self.limits)?;
        self.problems.extend(tree.problem.clone());
        Ok(tree)
    }

    /// A part that may be missing or broken; breaking the limits of the package stays an error.
    pub fn want(&mut self, part: &str) -> Result<Option<Tree>, ExtractError> {
        if !self.archive.has(part) {
            return Ok(None);
        }
        match self.need(part) {
            Ok(tree) => Ok(Some(tree)),
            Err(ExtractError::Damaged { reason }) => {
                self.problems.push(reason);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Links that start at a part; the package itself is the empty name.
    pub fn links(&mut self, part: &str) -> Result<Links, ExtractError> {
        let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
        let slash = if folder.is_empty() { "" } else { "/" };
        let Some(tree) = self.want(&format!("{folder}{slash}_rels/{name}.rels"))? else {
            return Ok(Links::new());
        };
        let links = tree.document().children().filter_map(|link| {
            let is_outside =
                link.attr("TargetMode").is_some_and(|mode| mode.eq_ignore_ascii_case("external"));
            let kind = link.attr("Type")?.rsplit('/').next()?.to_owned();
            let target = link.attr("Target").filter(|_| !is_outside)?;
            Some((link.attr("Id")?.to_owned(), (kind, resolve(part, target))))
        });
        Ok(links.collect())
    }

    /// Name of the main part.
    pub fn main(&mut self, usual: &str) -> Result<String, ExtractError> {
        let links = self.links("")?;
        let main = links.values().find(|(kind, _)| kind == "officeDocument").map(|(_, part)| part.clone());
        Ok(main.filter(|part| self.archive.has(part)).unwrap_or_else(|| usual.to_owned()))
    }

    /// Title, author and the like.
    pub fn properties(&mut self, builder: &mut Builder) -> Result<(), ExtractError> {
        let links = self.links("")?;
        let part = links.values().find(|(kind, _)| kind == "core-properties").map(|(_, part)| part.clone());
        let Some(tree) = self.want(&part.unwrap_or_else(|| "docProps/core.xml".to_owned()))? else {
            return Ok(());
        };
        for property in tree.document().children() {
            let value = property.text();
            match property.name() {
                "title" => builder.meta("title", &value),
                "creator" => builder.meta("author", &value),
                "created" => builder.meta("date", &dates::iso(&value).unwrap_or_default()),
                "modified" => builder.meta("modified", &dates::iso(&value).unwrap_or_default()),
                "language" => builder.meta("language", &value),
                "subject" => builder.meta("subject", &value),
                "keywords" => builder.meta("keywords", &value),
                "description" => builder.meta("description", &value),
                _ => {}
            }
        }
        Ok(())
    }

    /// Text of a diagram (SmartArt): one line a shape.
    pub fn diagram(&mut self, part: &str) -> Result<String, ExtractError> {
        let Some(tree) = self.want(part)? else { return Ok(String::new()) };
        let lines = tree.document().all("p").map(drawing_text);
        Ok(lines
            .filter(|line| !line.trim().is_empty())
            .map(|line| format!("- {line}"))
            .collect::<Vec<_>>()
            .join("\n"))
    }

    /// Title of a chart and its numbers as a table.
    pub fn chart(&mut self, part: &str) -> Result<(String, Option<String>), ExtractError> {
        let Some(tree) = self.want(part)? else { return Ok((String::new(), None)) };
        let chart = tree.document();
        let title = chart
            .all("title")
            .next()
            .map(|title| title.all("p").map(drawing_text).collect::<Vec<_>>().join(" "));
        let mut rows: Vec<Vec<String>> = vec![vec![String::new()]];
        for (at, series) in chart.all("ser").take(table::MAX_COLUMNS).enumerate() {
            let name =
                series.child("tx").map(|name| name.all("v").map(El::text).collect::<Vec<_>>().join(" "));
            rows[0].push(name.unwrap_or_default());
            let points = |name: &str| {
                let points =
                    series.child(name).into_iter().flat_map(|list| list.all("pt").collect::<Vec<_>>());
                let point =
                    |pt: El<'_>| Some((pt.attr("idx")?.parse::<usize>().ok()?, pt.child("v")?.text()));
                points.filter_map(point).filter(|(index, _)| *index < 10_000).collect::<Vec<_>>()
            };
            for (column, names) in [(0, ["cat", "xVal"]), (at + 1, ["val", "yVal"])] {
                for (index, value) in names.iter().flat_map(|name| points(name)) {
                    if rows.len() <= index + 1 {
                        rows.resize(index + 2, Vec::new());
                    }
                    let row = &mut rows[index + 1];
                    if row.len() <= column {
                        row.resize(column + 1, String::new());
                    }
                    row[column] = value;
                }
            }
        }
        let has_numbers = rows.len() > 1;
        Ok((title.unwrap_or_default(), has_numbers.then(|| table::markdown(&rows)).flatten()))
    }

    /// Says what was wrong with parts.
    pub fn note(&mut self, builder: &mut Builder) {
        for problem in std::mem::take(&mut self.problems) {
            builder.note("repaired", format!("a part was read as far as it goes: {problem}"), None);
        }
    }
}

/// Text of a paragraph of DrawingML.
pub(crate) fn drawing_text(paragraph: El<'_>) -> String {
    let mut out = String::new();
    for el in paragraph.below() {
        match el.name() {
            "t" => out.push_str(&el.text()),
            "br" => out.push('\n'),
            "tab" => out.push('\t'),
            _ => {}
        }
    }
    out
}

/// What stands for a choice between contents: the one for new programs, or the other when that has no text.
pub(crate) fn alternate(el: El<'_>) -> Option<El<'_>> {
    let has_text = |el: &El<'_>| el.below().any(|el| el.as_text().is_some());
    let choice = el.children().filter(|el| el.is("Choice")).find(has_text);
    choice.or_else(|| el.child("Fallback")).or_else(|| el.child("Choice"))
}
