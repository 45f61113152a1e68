//! BERT's way of cutting ASCII text, as `tokenizers` does it and some fifty times as fast: no copies of the text, no
//! table of where each character came from, one walk down a tree of bytes a word.
//!
//! It takes one run of characters between blanks at a time. Runs that it does not know to cut exactly as the library
//! does (other alphabets, control characters, special tokens) are left to the library; nothing that BERT's tokenizer
//! does reaches across a blank, so the two can take turns.

use std::collections::HashMap;

use tokenizers::Tokenizer;
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;

const NONE: u32 = u32::MAX;

/// The tree and the rules of one vocabulary.
pub(super) struct WordPiece {
    nodes: Vec<Node>,
    edges: Vec<(u8, u32)>,
    /// Node below which the first piece of a word is found.
    first: u32,
    /// Node below which the others are.
    rest: u32,
    unknown: u32,
    longest_word: usize,
    lowers: bool,
    /// Special tokens that may stand in a text.
    special: Vec<String>,
    begins_special: [bool; 128],
}

#[derive(Clone, Copy)]
struct Node {
    id: u32,
    edges: u32,
    edge_count: u32,
}

/// Anything that a run was cut into.
pub(super) struct Piece {
    pub id: u32,
    /// Bytes from the run's beginning.
    pub start: usize,
    pub end: usize,
}

impl WordPiece {
    /// For a tokenizer that is BERT's; none for any other.
    pub fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let Some(NormalizerWrapper::BertNormalizer(normalizer)) = tokenizer.get_normalizer() else {
            return None;
        };
        let Some(PreTokenizerWrapper::BertPreTokenizer(_)) = tokenizer.get_pre_tokenizer() else {
            return None;
        };
        let ModelWrapper::WordPiece(model) = tokenizer.get_model() else { return None };
        let special: Vec<_> = tokenizer.get_added_tokens_decoder().into_values().collect();
        let is_plain = |token: &tokenizers::AddedToken| {
            let is_bare = !token.lstrip && !token.rstrip && !token.single_word && !token.normalized;
            is_bare && token.content.is_ascii() && !token.content.contains(|c: char| c.is_ascii_whitespace())
        };
        if !normalizer.clean_text || !special.iter().all(is_plain) {
            return None;
        }
        let unknown = tokenizer.token_to_id(&model.unk_token)?;
        let mut begins_special = [false; 128];
        for token in &special {
            begins_special[usize::from(*token.content.as_bytes().first()?)] = true;
        }
        let vocabulary = tokenizer.get_vocab(false);
        let mut tree = Tree::default();
        let prefix = model.continuing_subword_prefix.as_bytes();
        let (first, rest) = (tree.node(), tree.node());
        for (token, id) in &vocabulary {
            let token = token.as_bytes();
            if token.is_ascii() && !token.is_empty() {
                tree.insert(first, token, *id);
                if let Some(piece) = token.strip_prefix(prefix).filter(|piece| !piece.is_empty()) {
                    tree.insert(rest, piece, *id);
                }
            }
        }
        let (nodes, edges) = tree.flatten();
        Some(Self {
            nodes,
            edges,
            first,
            rest,
            unknown,
            longest_word: model.max_input_chars_per_word,
            lowers: normalizer.lowercase,
            special: special.into_iter().map(|token| token.content).collect(),
            begins_special,
        })
    }

    /// True for runs that [`cut`](Self::cut) cuts as the library does.
    pub fn knows(&self, run: &str) -> bool {
        let mut is_special = false;
        for byte in run.bytes() {
            if !byte.is_ascii_graphic() {
                return false;
            }
            is_special |= self.begins_special[usize::from(byte)];
        }
        !is_special || !self.special.iter().any(|special| run.contains(special.as_str()))
    }

    /// Cuts a run; `take` gets every piece in order.
    pub fn cut(&self, run: &str, mut take: impl FnMut(Piece)) {
        let bytes = run.as_bytes();
        let mut start = 0;
        while start < bytes.len() {
            let word = &bytes[start..];
            let length = match word.iter().position(u8::is_ascii_punctuation) {
                Some(0) => 1,
                Some(length) => length,
                None => word.len(),
            };
            self.cut_word(&word[..length], start, &mut take);
            start += length;
        }
    }

    /// Longest piece first; a word of which any part is unknown is unknown as a whole.
    fn cut_word(&self, word: &[u8], at: usize, take: &mut impl FnMut(Piece)) {
        let unknown = Piece { id: self.unknown, start: at, end: at + word.len() };
        if word.len() > self.longest_word {
            return take(unknown);
        }
        // Most words are one piece.
        if let Some((id, length)) = self.longest(self.first, word)
            && length == word.len()
        {
            return take(Piece { id, start: at, end: at + length });
        }
        let mut start = 0;
        let mut known = true;
        while start < word.len() && known {
            match self.longest(if start == 0 { self.first } else { self.rest }, &word[start..]) {
                Some((_, length)) => start += length,
                None => known = false,
            }
        }
        if !known {
            return take(unknown);
        }
        let mut start = 0;
        while let Some((id, length)) =
            self.longest(if start == 0 { self.first } else { self.rest }, &word[start..])
        {
            take(Piece { id, start: at + start, end: at + start + length });
            start += length;
        }
    }

    fn longest(&self, from: u32, word: &[u8]) -> Option<(u32, usize)> {
        let mut found = None;
        let mut node = self.nodes[from as usize];
        for (index, byte) in word.iter().enumerate() {
            let byte = if self.lowers { byte.to_ascii_lowercase() } else { *byte };
            let first = node.edges as usize;
            let edges = &self.edges[first..first + node.edge_count as usize];
            // Below the root few edges are left; at the root there are all bytes, in order.
            let edge = match edges.len() {
                0..=8 => edges.iter().find(|(edge, _)| *edge == byte),
                _ => edges.binary_search_by_key(&byte, |(edge, _)| *edge).ok().map(|at| &edges[at]),
            };
            let Some((_, next)) = edge else { break };
            node = self.nodes[*next as usize];
            if node.id != NONE {
                found = Some((node.id, index + 1));
            }
        }
        found
    }
}

#[derive(Default)]
struct Tree {
    ids: Vec<u32>,
    edges: HashMap<(u32, u8), u32>,
}

impl Tree {
    fn node(&mut self) -> u32 {
        self.ids.push(NONE);
        (self.ids.len() - 1) as u32
    }

    fn insert(&mut self, root: u32, word: &[u8], id: u32) {
        let mut node = root;
        for byte in word {
            node = match self.edges.get(&(node, *byte)) {
                Some(next) => *next,
                None => {
                    let next = self.node();
                    self.edges.insert((node, *byte), next);
                    next
                }
            };
        }
        self.ids[node as usize] = id;
    }

    fn flatten(self) -> (Vec<Node>, Vec<(u8, u32)>) {
        let mut sorted: Vec<_> = self.edges.into_iter().collect();
        sorted.sort_unstable();
        let mut nodes: Vec<_> = self.ids.into_iter().map(|id| Node { id, edges: 0, edge_count: 0 }).collect();
        for (index, ((from, _), _)) in sorted.iter().enumerate() {
            let node = &mut nodes[*from as usize];
            if node.edge_count == 0 {
                node.edges = index as u32;
            }
            node.edge_count += 1;
        }
        (nodes, sorted.into_iter().map(|((_, byte), to)| (byte, to)).collect())
    }
}
