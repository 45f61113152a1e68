//! `retrieval --collection DIR [--model M]`: quality on a folder in BEIR's layout (`corpus.jsonl`, `queries.jsonl`,
//! `qrels/test.tsv`, each may end in `.gz`): one vector a document (title, blank line, text), exact search, all defaults.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::workspace::{BenchWorkspace, quoted};

/// The model that retrieval is usually compared with.
const MODEL: &str = "all-minilm-l6-v2";

/// Measures one collection; gives `{keyword: {ndcg_at_10, recall_at_100}, vector: …, hybrid: …}`.
pub fn run(binary: &Path, collection: &Path, model: Option<&str>) -> Result<Value, String> {
    let model = model.unwrap_or(MODEL);
    let collection =
        collection.canonicalize().map_err(|error| format!("`{}`: {error}", collection.display()))?;
    let corpus = part(&collection, "corpus.jsonl")?;
    part(&collection, "queries.jsonl")?;
    part(&collection, "qrels/test.tsv")?;
    let workspace = BenchWorkspace::open(binary, "retrieval")?;
    workspace.need_model(model)?;
    let name = format!("{}-{}", plain(&collection.to_string_lossy()), plain(model));
    let spec = format!(
        "sources: [{{rows: {}}}]\nclean: {{boilerplate: false, secrets: keep}}\n\
         chunk: {{by: document, max_tokens: 1000000, overlap: 0, headings: false}}\n\
         embed: {{model: {}}}\nretrieve: {{mode: hybrid, exact: true}}\n",
        quoted(&corpus),
        quoted(Path::new(model)),
    );
    workspace.write(&format!("indexes/{name}.yaml"), &spec)?;
    workspace.call(&["index", "build", &name, "--trust"])?;
    let queries = collection.to_string_lossy();
    let measured = workspace.call(&[
        "index",
        "eval",
        &name,
        "--queries",
        &queries,
        "--modes",
        "keyword,vector,hybrid",
        "--exact",
        "--trust",
    ])?;
    let mut figures = Map::new();
    for mode in ["keyword", "vector", "hybrid"] {
        let mean = |metric: &str| {
            let value = &measured["modes"][mode]["metrics"][metric]["mean"];
            value.as_f64().ok_or_else(|| format!("`index eval` gave no {metric} for {mode}"))
        };
        let row = json!({"ndcg_at_10": mean("ndcg@10")?, "recall_at_100": mean("recall@100")?});
        figures.insert(mode.to_owned(), row);
    }
    Ok(Value::Object(figures))
}

/// A file of the collection, plain or compressed.
fn part(collection: &Path, name: &str) -> Result<PathBuf, String> {
    let plain = collection.join(name);
    let packed = collection.join(format!("{name}.gz"));
    [plain.clone(), packed].into_iter().find(|path| path.is_file()).ok_or_else(|| {
        format!(
            "`{}` is not there; a collection has corpus.jsonl, queries.jsonl and qrels/test.tsv",
            plain.display()
        )
    })
}

/// A text as part of an index name.
fn plain(text: &str) -> String {
    let name: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    name.trim_matches('-').to_owned()
}
