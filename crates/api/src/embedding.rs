//! Use cases: vectors of texts, and static models made from encoders.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use flowbench_core::ports::EmbeddingPurpose;
use flowbench_core::ports::{ModelError, ModelSource};
use flowbench_inference::LocalEncoder;
use flowbench_inference::distill::{DistillError, DistillOptions, Quantization};
use flowbench_net::{Outbound, Policy};
use serde::Serialize;
use serde_json::{Value, json};

use crate::approval::Approval;
use crate::clock::SystemClock;
use crate::error::ApiError;
use crate::models::{FoundEncoder, ModelStore};
use crate::wiring::{Models, encoder_options};
use crate::workspace::Workspace;

/// Texts sent at once.
const BATCH: usize = 256;
/// Longest line read: far more than any model takes.
const MAX_LINE_BYTES: usize = 16 << 20;

/// What to embed with.
#[derive(Clone, Debug)]
pub struct EmbedRequest {
    /// Catalog name, folder, or `CONNECTION/MODEL`.
    pub model: String,
    /// What the texts are to a search.
    pub purpose: EmbeddingPurpose,
    /// Numbers in a vector, for models that let one choose.
    pub dimensions: Option<u32>,
    /// Hosts that only the workspace names may be asked.
    pub is_trusted: bool,
}

/// Reads lines `{id, text}` and gives `{id, embedding}` for each, in order.
pub async fn embed(
    workspace: &Workspace,
    request: &EmbedRequest,
    lines: &mut (dyn BufRead + Send),
    give: &mut (dyn FnMut(Value) + Send),
) -> Result<usize, ApiError> {
    let outbound = Outbound::new(Policy::closed(), Arc::new(SystemClock));
    let models = Models::new(workspace, outbound)?;
    models.allow(&Approval { allows_folder_hosts: request.is_trusted });
    let (connection, model) = match request.model.split_once('/') {
        Some((connection, model)) if models.is_connection(connection) => (connection, model),
        _ => ("local", request.model.as_str()),
    };
    let embedder = models.embedder(connection, model)?;
    let mut count = 0;
    let mut number = 0;
    let mut is_done = false;
    while !is_done {
        let (mut ids, mut texts) = (Vec::new(), Vec::new());
        while texts.len() < BATCH {
            let Some(line) = next_line(lines, &mut number)? else {
                is_done = true;
                break;
            };
            let (id, text) = read_line(&line, number)?;
            ids.push(id);
            texts.push(text);
        }
        if texts.is_empty() {
            break;
        }
        let answer = embedder.embed(&texts, request.purpose, request.dimensions).await?;
        if answer.vectors.len() != texts.len() {
            let message =
                format!("model `{model}` gave {} vectors for {} texts", answer.vectors.len(), texts.len());
            return Err(ApiError::could_not("model/bad_reply", message));
        }
        for (id, vector) in ids.into_iter().zip(answer.vectors) {
            give(json!({"id": id, "embedding": vector}));
            count += 1;
        }
    }
    Ok(count)
}

/// The next line that is not empty.
fn next_line(lines: &mut dyn BufRead, number: &mut usize) -> Result<Option<Vec<u8>>, ApiError> {
    loop {
        let mut line = Vec::new();
        let mut limited = std::io::Read::take(&mut *lines, MAX_LINE_BYTES as u64 + 1);
        let read = limited
            .read_until(b'\n', &mut line)
            .map_err(|error| ApiError::could_not("file", format!("cannot read the texts: {error}")))?;
        if read == 0 {
            return Ok(None);
        }
        *number += 1;
        if line.len() > MAX_LINE_BYTES {
            return Err(ApiError::wrong_use("data/line", format!("line {number} is longer than 16 MB")));
        }
        if !line.trim_ascii().is_empty() {
            return Ok(Some(line));
        }
    }
}

fn read_line(line: &[u8], number: usize) -> Result<(Value, String), ApiError> {
    let wrong = |reason: String| {
        ApiError::wrong_use("data/line", format!("line {number}: {reason}"))
            .hint("each line is a JSON object such as {\"id\": 1, \"text\": \"…\"}")
    };
    let mut row: Value = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
    let id = row.get("id").or_else(|| row.get("_id")).cloned().unwrap_or(json!(number));
    match row.get_mut("text").map(Value::take) {
        Some(Value::String(text)) => Ok((id, text)),
        Some(_) => Err(wrong("`text` must be a text".to_owned())),
        None => Err(wrong("it has no `text`".to_owned())),
    }
}

/// What to distil.
#[derive(Clone, Debug)]
pub struct DistillRequest {
    /// Encoder: catalog name or folder.
    pub model: String,
    /// Folder to write.
    pub out: PathBuf,
    /// Numbers in a vector.
    pub dimensions: usize,
    /// Text whose words and frequencies are used.
    pub corpus: Option<PathBuf>,
    /// Whole words of the corpus added to the vocabulary.
    pub words: usize,
    /// Numbers of 8 bits.
    pub is_quantized: bool,
}

/// A static model that was made.
#[derive(Clone, Debug, Serialize)]
pub struct DistilledModel {
    /// Files written.
    pub files: Vec<PathBuf>,
    /// Tokens with a vector.
    pub tokens: usize,
    /// Words of the corpus among them.
    pub words: usize,
    /// Numbers in a vector.
    pub dimensions: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// Share of the variance of the encoder's vectors that is kept.
    pub variance: f64,
}

/// Most text of a corpus that is read for words and frequencies.
const MAX_CORPUS_BYTES: u64 = 1 << 30;

/// Makes a static embedding model from an encoder; the same input gives the same bytes.
pub async fn distill(
    workspace: &Workspace,
    request: &DistillRequest,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<DistilledModel, ApiError> {
    if request.out.exists() {
        let message = format!("`{}` is there already", request.out.display());
        return Err(ApiError::wrong_use("file/exists", message).hint("name a new folder with `--out`"));
    }
    let store = ModelStore::new(workspace, &workspace.state()?);
    let FoundEncoder::Folder { path, facts } = store.find_encoder(&request.model, workspace.root())? else {
        let message = format!("model `{}` is a static model already", request.model);
        return Err(
            ApiError::wrong_use("model/static", message).hint("name an encoder, such as `all-minilm-l6-v2`")
        );
    };
    let tokenizer_file = path.join("tokenizer.json");
    let tokenizer =
        std::fs::read(&tokenizer_file).map_err(|error| ApiError::file("read", &tokenizer_file, &error))?;
    let corpus = request.corpus.as_deref().map(read_corpus).transpose()?;
    let languages = facts.languages.clone();
    let encoder = LocalEncoder::load(&path, encoder_options(facts)).map_err(ModelError::from)?;
    let options = DistillOptions {
        dimensions: request.dimensions,
        quantization: if request.is_quantized { Quantization::Int8 } else { Quantization::Float32 },
        words: request.words,
        encoder_name: request.model.clone(),
        languages,
        ..DistillOptions::default()
    };
    let mut told = |done: usize, total: usize| {
        progress(&format!("tokens  {done} of {total}"));
        true
    };
    // Blocking on purpose: the caller has nothing else to do, and the work is all on the processor.
    let made =
        flowbench_inference::distill::distill(&encoder, &tokenizer, corpus.as_deref(), &options, &mut told)
            .map_err(|error| distill_error(&error))?;
    let files = made.save(&request.out).map_err(|error| distill_error(&error))?;
    Ok(DistilledModel {
        bytes: made.files.iter().map(|(_, bytes)| bytes.len() as u64).sum(),
        files,
        tokens: made.tokens,
        words: made.words,
        dimensions: made.dimensions,
        variance: made.variance,
    })
}

fn distill_error(error: &DistillError) -> ApiError {
    let told = ApiError::could_not("model/distill", error.to_string());
    match error.hint() {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

/// Lines of a text, or the texts of JSON lines.
fn read_corpus(path: &Path) -> Result<Vec<String>, ApiError> {
    let size = std::fs::metadata(path).map_err(|error| ApiError::file("read", path, &error))?.len();
    if size > MAX_CORPUS_BYTES {
        return Err(ApiError::wrong_use("file/large", format!("`{}` is larger than 1 GB", path.display()))
            .hint("a part of it gives the same words"));
    }
    let bytes = std::fs::read(path).map_err(|error| ApiError::file("read", path, &error))?;
    let text = String::from_utf8_lossy(&bytes);
    let is_json = path.extension().is_some_and(|ending| ending == "jsonl");
    let mut texts = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        texts.push(if is_json { read_line(line.as_bytes(), number + 1)?.1 } else { line.to_owned() });
    }
    Ok(texts)
}
