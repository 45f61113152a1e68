//! Jupyter notebooks: Markdown cells as Markdown, code cells as code, outputs that are text kept short.

use serde_json::Value;

use crate::builder::{Builder, clean_lines};
use crate::decode::Decoded;
use crate::document::{BlockKind, Extracted, Kind, Limits};
use crate::error::ExtractError;
use crate::{json, markdown};

/// Bytes of one output that are kept: a table's head or an error, not a training log.
const OUTPUT_BYTES: usize = 1_000;

/// Reads a notebook.
pub(crate) fn read(decoded: Decoded, limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut builder = Builder::new(Kind::Notebook, limits);
    decoded.note(&mut builder);
    let text = decoded.text.trim_start_matches('\u{feff}');
    // A notebook nests below ten levels; the strict reader keeps the tree below what the other reader can take.
    match json::walk(text, limits.max_depth.min(100), &mut |_, _, _| true) {
        Ok(()) => {}
        Err(json::Problem::TooDeep) => return Err(json::too_deep(limits)),
        Err(json::Problem::Syntax { line, column, what }) => {
            let reason = format!("it is no notebook: {what} in line {line}, column {column}");
            return Err(ExtractError::Damaged { reason });
        }
    }
    let damaged = |reason: String| ExtractError::Damaged { reason };
    let book: Value =
        serde_json::from_str(text).map_err(|error| damaged(format!("it is no notebook: {error}")))?;
    let language =
        book.pointer("/metadata/kernelspec/language").or(book.pointer("/metadata/language_info/name"));
    builder.meta("language_code", language.and_then(Value::as_str).unwrap_or_default());
    if let Some(title) = book.pointer("/metadata/title").and_then(Value::as_str) {
        builder.meta("title", title);
    }
    // Version 3 kept its cells in worksheets.
    let cells = book.get("cells").or_else(|| book.pointer("/worksheets/0/cells")).and_then(Value::as_array);
    let cells = cells.ok_or_else(|| damaged("it is a notebook without cells".to_owned()))?;
    for cell in cells {
        if builder.is_full() {
            break;
        }
        let source = joined(cell.get("source").or_else(|| cell.get("input")));
        match cell.get("cell_type").and_then(Value::as_str) {
            Some("code") => {
                builder.block(BlockKind::Code, &source);
                outputs(cell, &mut builder);
            }
            Some("heading") => {
                let level =
                    cell.get("level").and_then(Value::as_u64).and_then(|level| u8::try_from(level).ok());
                builder.heading(level.unwrap_or(1), &source);
            }
            Some("markdown") => markdown_cell(&source, &mut builder),
            _ => drop(builder.block(BlockKind::Paragraph, &source)),
        }
    }
    let mut out = builder.finish();
    if let Some(first) = out.headings.iter().find(|heading| heading.level == 1) {
        let title = Value::String(first.title.clone());
        out.metadata.entry("title").or_insert(title);
    }
    Ok(out)
}

fn markdown_cell(source: &str, builder: &mut Builder) {
    let source = clean_lines(source);
    let (blocks, headings) = markdown::find_blocks(&source);
    let mut headings = headings.iter().peekable();
    for block in blocks {
        match headings.next_if(|heading| heading.range == block.range) {
            Some(heading) => builder.heading(heading.level, &heading.title),
            None => drop(builder.block(block.kind, &source[block.range])),
        }
    }
}

fn outputs(cell: &Value, builder: &mut Builder) {
    for output in cell.get("outputs").and_then(Value::as_array).into_iter().flatten() {
        let text = match output.get("output_type").and_then(Value::as_str) {
            Some("error") => {
                let part = |name: &str| output.get(name).and_then(Value::as_str).unwrap_or_default();
                format!("{}: {}", part("ename"), part("evalue"))
            }
            _ => joined(output.get("text").or_else(|| output.pointer("/data/text~1plain"))),
        };
        let text = clean_lines(&text);
        let end = crate::builder::floor_boundary(&text, OUTPUT_BYTES);
        let more = if end < text.len() { " …" } else { "" };
        builder.block(BlockKind::Code, &format!("{}{more}", &text[..end]));
    }
}

/// A text, or a list of its lines.
fn joined(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(lines)) => lines.iter().filter_map(Value::as_str).collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::debug_check;
    use crate::decode::decode;

    #[test]
    fn cells_become_blocks() {
        let long = "x".repeat(2_000);
        let text = format!(
            r##"{{"nbformat": 4, "metadata": {{"kernelspec": {{"language": "python"}}}}, "cells": [
            {{"cell_type": "markdown", "source": ["# Title\n", "\n", "- a\n", "- b"]}},
            {{"cell_type": "code", "source": "print(1)", "outputs": [{{"output_type": "stream", "text": ["{long}"]}},
             {{"output_type": "error", "ename": "E", "evalue": "bad", "traceback": ["no"]}}]}}]}}"##
        );
        let limits = Limits::default();
        let out = read(decode(text.as_bytes(), None).unwrap(), &limits).unwrap();
        assert_eq!(debug_check(&out, &limits), None);
        let kinds: Vec<_> = out.blocks.iter().map(|block| block.kind).collect();
        assert_eq!(
            kinds,
            [BlockKind::Heading, BlockKind::List, BlockKind::Code, BlockKind::Code, BlockKind::Code]
        );
        assert!(out.text.starts_with("Title\n\n- a\n- b\n\nprint(1)\n\nxxx") && out.text.ends_with("E: bad"));
        assert!(out.text.len() < 1_200);
        assert_eq!(
            (&out.metadata["language_code"], &out.metadata["title"]),
            (&"python".into(), &"Title".into())
        );
    }
}
