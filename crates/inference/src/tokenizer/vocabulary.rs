//! The tokens of a model, their types and scores, and which of them begin or end a text.

use std::collections::{HashMap, HashSet};

use crate::InferenceError;
use crate::gguf::{GgufFile, Value};

/// What a token is, in the numbers of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// Part of ordinary text.
    Normal,
    /// Stands for what cannot be said.
    Unknown,
    /// Steers the model (`<|im_start|>`); never comes from text.
    Control,
    /// Added by the model's makers, matched as a whole in any text.
    UserDefined,
    /// Reserved.
    Unused,
    /// One byte (`<0x0A>`).
    Byte,
}

/// The tokens and what the file says of them.
#[derive(Debug)]
pub struct Vocabulary {
    tokens: Vec<String>,
    types: Vec<TokenType>,
    scores: Vec<f32>,
    ids: HashMap<String, u32>,
    specials: Vec<u32>,
    strip_right: HashSet<u32>,
    ends: HashSet<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    unknown: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    add_space_prefix: bool,
    pre: String,
}

/// Texts that end a turn in the families we know, for files that name only one end token.
const END_TEXTS: [&str; 8] = [
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
];

impl Vocabulary {
    pub(super) fn load(file: &mut GgufFile, model: &str) -> Result<Self, InferenceError> {
        let tokens = match file.take("tokenizer.ggml.tokens") {
            Some(Value::Texts(tokens)) if !tokens.is_empty() => tokens,
            Some(_) => return Err(bad("has a token list that is empty or not of texts")),
            None => return Err(InferenceError::MissingMetadata { key: "tokenizer.ggml.tokens".to_owned() }),
        };
        if u32::try_from(tokens.len()).is_err() {
            return Err(bad("has more tokens than can be numbered"));
        }
        let mut types = token_types(file.take("tokenizer.ggml.token_type"), tokens.len())?;
        let scores = match file.take("tokenizer.ggml.scores") {
            Some(Value::Floats(scores)) if scores.len() == tokens.len() => scores,
            Some(_) if model == "llama" => return Err(bad("has not one score for each token")),
            None if model == "llama" => return Err(bad("has no scores")),
            _ => Vec::new(),
        };
        let mut ids = HashMap::with_capacity(tokens.len());
        for (id, token) in tokens.iter().enumerate() {
            ids.entry(token.clone()).or_insert(id as u32);
        }

        let special = |name: &str| -> Result<Option<u32>, InferenceError> {
            let key = format!("tokenizer.ggml.{name}_token_id");
            let Some(value) = file.get(&key) else { return Ok(None) };
            // Some writers use -1 (or its unsigned form) for "none".
            match value.as_u64() {
                Some(id) if id < tokens.len() as u64 => Ok(Some(id as u32)),
                None => Ok(None),
                Some(id) if id == u64::from(u32::MAX) => Ok(None),
                Some(id) => Err(InferenceError::BadMetadata {
                    key,
                    problem: format!("names token {id}, but there are only {}", tokens.len()),
                }),
            }
        };
        let (bos, eos, unknown) = (special("bos")?, special("eos")?, special("unknown")?);
        let mut ends: HashSet<u32> = [eos, special("eot")?, special("eom")?].into_iter().flatten().collect();
        for text in END_TEXTS {
            if let Some(&id) = ids.get(text)
                && matches!(types[id as usize], TokenType::Control | TokenType::UserDefined)
            {
                types[id as usize] = TokenType::Control;
                ends.insert(id);
            }
        }

        let flag = |name: &str| file.get(&format!("tokenizer.ggml.{name}")).and_then(Value::as_bool);
        let pre = file.get("tokenizer.ggml.pre").and_then(Value::as_str).unwrap_or("default").to_owned();
        // What llama.cpp assumes where the file is silent.
        let adds_bos_by_default = model == "llama" || super::pre::adds_bos_by_default(&pre);
        let mut specials: Vec<u32> = (0..tokens.len() as u32)
            .filter(|&id| {
                matches!(types[id as usize], TokenType::Control | TokenType::UserDefined | TokenType::Unknown)
            })
            .collect();
        specials.sort_by_key(|&id| std::cmp::Reverse(tokens[id as usize].len()));

        Ok(Self {
            strip_right: strip_right(file, model, &tokens, &specials),
            add_bos: flag("add_bos_token").unwrap_or(adds_bos_by_default),
            add_eos: flag("add_eos_token").unwrap_or(false),
            add_space_prefix: flag("add_space_prefix").unwrap_or(model == "llama"),
            tokens,
            types,
            scores,
            ids,
            specials,
            ends,
            bos,
            eos,
            unknown,
            pre,
        })
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// True if there are none, which a loaded file never has.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// A token's text as the file spells it, empty for an unknown id.
    pub fn text(&self, id: u32) -> &str {
        self.tokens.get(id as usize).map_or("", String::as_str)
    }

    /// A token's type, if there is such a token.
    pub fn kind(&self, id: u32) -> Option<TokenType> {
        self.types.get(id as usize).copied()
    }

    /// The token of exactly this text, in the file's spelling.
    pub fn id_of(&self, text: &str) -> Option<u32> {
        self.ids.get(text).copied()
    }

    /// The token of exactly this text, if it may come from joining pieces of text. Special tokens never do: they
    /// are cut out before, where that is allowed at all.
    pub(super) fn joined_id_of(&self, text: &str) -> Option<u32> {
        self.id_of(text).filter(|&id| {
            !matches!(self.kind(id), Some(TokenType::Control | TokenType::Unknown | TokenType::UserDefined))
        })
    }

    /// The token that begins a text, if the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text, if the model has one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// True if generation ends at this token.
    pub fn is_end(&self, id: u32) -> bool {
        self.ends.contains(&id)
    }

    /// All tokens that end generation.
    pub fn ends(&self) -> impl Iterator<Item = u32> + '_ {
        self.ends.iter().copied()
    }

    /// True if the token never comes from text.
    pub fn is_control(&self, id: u32) -> bool {
        matches!(self.kind(id), Some(TokenType::Control | TokenType::Unknown))
    }

    /// True if the token steers the model, by its type or by its look (`<tool_call>`, `[INST]`).
    pub(super) fn is_marker(&self, id: u32) -> bool {
        let text = self.text(id);
        self.is_control(id)
            || (text.len() > 2
                && ((text.starts_with('<') && text.ends_with('>'))
                    || (text.starts_with('[') && text.ends_with(']'))))
    }

    /// Control, unknown and user-defined tokens, longest first.
    pub(super) fn specials(&self) -> &[u32] {
        &self.specials
    }

    /// True if white space after this token is swallowed.
    pub(super) fn strips_right(&self, id: u32) -> bool {
        self.strip_right.contains(&id)
    }

    /// The token put before a text, if the model wants one.
    pub(super) fn begin(&self) -> Option<u32> {
        self.bos.filter(|_| self.add_bos)
    }

    /// The token put after a text, if the model wants one.
    pub(super) fn end(&self) -> Option<u32> {
        self.eos.filter(|_| self.add_eos)
    }

    /// True if a space is put before the first word.
    pub(super) fn add_space_prefix(&self) -> bool {
        self.add_space_prefix
    }

    /// The name of the pre-tokenizer.
    pub(super) fn pre(&self) -> &str {
        &self.pre
    }

    /// How likely SentencePiece finds a token.
    pub(super) fn score(&self, id: u32) -> f32 {
        self.scores.get(id as usize).copied().unwrap_or(0.0)
    }

    /// The token of one byte, else the unknown token.
    pub(super) fn byte_token(&self, byte: u8) -> Option<u32> {
        self.id_of(&format!("<0x{byte:02X}>")).or(self.unknown)
    }
}

/// The byte that `<0x0A>` stands for.
pub(super) fn byte_of(text: &str) -> Option<u8> {
    u8::from_str_radix(text.strip_prefix("<0x")?.strip_suffix('>')?, 16).ok()
}

fn token_types(value: Option<Value>, count: usize) -> Result<Vec<TokenType>, InferenceError> {
    match value {
        None => Ok(vec![TokenType::Normal; count]),
        Some(Value::Integers(numbers)) if numbers.len() == count => Ok(numbers
            .iter()
            .map(|number| match number {
                2 => TokenType::Unknown,
                3 => TokenType::Control,
                4 => TokenType::UserDefined,
                5 => TokenType::Unused,
                6 => TokenType::Byte,
                _ => TokenType::Normal,
            })
            .collect()),
        Some(_) => Err(bad("has not one type for each token")),
    }
}

/// Phi-3's markers swallow the white space behind them. The file format has no field for it; its tokenizer.json
/// has, and llama.cpp goes by the model's name as we do.
fn strip_right(file: &GgufFile, model: &str, tokens: &[String], specials: &[u32]) -> HashSet<u32> {
    let name = file.get("general.name").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let is_phi3 = model == "llama"
        && (["phi-3", "phi3", "phi 3"].iter().any(|word| name.contains(word))
            || file.get("general.architecture").and_then(Value::as_str) == Some("phi3"));
    if !is_phi3 {
        return HashSet::new();
    }
    specials
        .iter()
        .copied()
        .filter(|&id| !matches!(tokens[id as usize].as_str(), "<unk>" | "<s>" | "<|endoftext|>"))
        .collect()
}

fn bad(problem: &str) -> InferenceError {
    InferenceError::Tokenizer { problem: problem.to_owned() }
}
