//! Words of chunks, as every engine counts them.

use flowbench_corpus::chunk::Chunk;
use flowbench_text::analysis::Analyzer;

/// Longest word in bytes; tantivy drops longer ones, and so they count nowhere.
const MAX_TERM_BYTES: usize = 65_530;

/// The words of what is searched of a chunk, repeated as often as they stand there; none for parents.
pub(super) fn terms_of(chunk: &Chunk) -> Vec<String> {
    if chunk.is_parent {
        return Vec::new();
    }
    let terms = Analyzer::new().document_terms(&chunk.searched_text(), &chunk.language);
    let terms = terms.into_iter().map(|term| term.text);
    terms.filter(|term| !term.is_empty() && term.len() <= MAX_TERM_BYTES).collect()
}
