//! `reference embeddings FILE`: compares our vectors with those of a reference, row by row.
//!
//! A row is `{id, text, embedding}`; the model is `all-minilm-l6-v2` unless `--model` names another. In tolerance is a
//! cosine of at least 0.99999 and a norm within 1e-5: another BLAS or batch moves a component by about 1e-7.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::process;
use crate::workspace::BenchWorkspace;

/// Smallest cosine that counts as equal.
const COSINE: f64 = 0.99999;
/// Largest difference of norms that counts as equal.
const NORM: f64 = 1e-5;
/// The model of the reference that is kept beside the project.
const MODEL: &str = "all-minilm-l6-v2";

/// Compares a file; gives the figures, and whether all rows are in tolerance.
pub fn run(binary: &Path, kind: &str, file: &Path, model: Option<&str>) -> Result<(Value, bool), String> {
    if kind != "embeddings" {
        return Err(format!("there is no reference of kind `{kind}`; known kinds: embeddings"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| format!("`{}`: {error}", file.display()))?;
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let row: Value = serde_json::from_str(line)
            .map_err(|error| format!("`{}` line {}: {error}", file.display(), number + 1))?;
        let vector = numbers(&row["embedding"])
            .ok_or_else(|| format!("`{}` line {}: it has no `embedding`", file.display(), number + 1))?;
        let text = row["text"]
            .as_str()
            .ok_or_else(|| format!("`{}` line {}: it has no `text`", file.display(), number + 1))?;
        rows.push((row["id"].clone(), text.to_owned(), vector));
    }
    if rows.is_empty() {
        return Err(format!("`{}` holds no rows", file.display()));
    }
    let model = model.unwrap_or(MODEL);
    let workspace = BenchWorkspace::open(binary, "reference")?;
    workspace.need_model(model)?;
    let mut texts = String::new();
    for (number, (_, text, _)) in rows.iter().enumerate() {
        let _ = writeln!(texts, "{}", json!({"id": number, "text": text}));
    }
    workspace.write("texts.jsonl", &texts)?;
    let out = process::output(
        binary,
        &["--workspace", ".", "models", "embed", model, "--file", "texts.jsonl"],
        workspace.root(),
    )?;
    let ours: Vec<Vec<f64>> = out
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
            numbers(&row["embedding"]).ok_or_else(|| "a line of `models embed` has no `embedding`".to_owned())
        })
        .collect::<Result<_, String>>()?;
    if ours.len() != rows.len() {
        return Err(format!("`models embed` gave {} vectors for {} texts", ours.len(), rows.len()));
    }
    let mut wrong = Vec::new();
    let (mut least, mut furthest) = (1.0_f64, 0.0_f64);
    for ((id, _, expected), found) in rows.iter().zip(&ours) {
        let (cosine, norms) = compare(expected, found);
        least = least.min(cosine);
        furthest = furthest.max(norms);
        if !(cosine >= COSINE && norms <= NORM) {
            wrong.push(json!({"id": id, "cosine": cosine, "norm_difference": norms}));
        }
    }
    let is_good = wrong.is_empty();
    let figures = json!({
        "model": model, "rows": rows.len(), "out_of_tolerance": wrong.len(), "least_cosine": least,
        "largest_norm_difference": furthest, "wrong": wrong,
    });
    Ok((figures, is_good))
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    let list = value.as_array()?;
    list.iter().map(Value::as_f64).collect()
}

/// Cosine, and the difference of the norms. Vectors of other lengths have nothing in common.
fn compare(a: &[f64], b: &[f64]) -> (f64, f64) {
    if a.len() != b.len() {
        return (0.0, f64::INFINITY);
    }
    let dot: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
    let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    (dot / (norm(a) * norm(b)), (norm(a) - norm(b)).abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_compared_by_direction_and_length() {
        assert_eq!(compare(&[1.0, 0.0], &[1.0, 0.0]), (1.0, 0.0));
        assert_eq!(compare(&[1.0, 0.0], &[2.0, 0.0]), (1.0, 1.0));
        assert_eq!(compare(&[1.0, 0.0], &[0.0, 1.0]).0, 0.0);
        assert_eq!(compare(&[1.0], &[1.0, 0.0]), (0.0, f64::INFINITY));
    }
}
