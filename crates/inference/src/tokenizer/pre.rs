//! How byte-level BPE cuts a text into words, chosen by the file's `tokenizer.ggml.pre`.
//!
//! The expressions are those of the models' own tokenizer.json files. Each in turn cuts the pieces that the one
//! before left; what it does not match stays a piece of its own.

use fancy_regex::Regex;

use crate::InferenceError;

/// A named rule for cutting words.
#[derive(Debug)]
pub(super) struct PreTokenizer {
    expressions: Vec<Regex>,
    ignores_merges: bool,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// What llama.cpp uses where a file names no rule.
const DEFAULT: [&str; 4] = [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"];

/// True for the rules whose models want a begin token where the file does not say.
pub(super) fn adds_bos_by_default(name: &str) -> bool {
    matches!(name, "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "tekken")
}

impl PreTokenizer {
    pub(super) fn of_name(name: &str) -> Result<Self, InferenceError> {
        let expressions: &[&str] = match name {
            "default" => &DEFAULT,
            "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "smaug-bpe" | "dbrx" | "chatglm-bpe" => {
                &[LLAMA3]
            }
            "qwen2" | "deepseek-r1-qwen" | "stablelm2" | "megrez" | "hunyuan" => &[QWEN2],
            "tekken" => &[TEKKEN],
            "gpt-4o" | "llama4" => &[GPT4O],
            "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" | "roberta-bpe" => &[GPT2],
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" => &[r"\p{N}", GPT2],
            other => {
                return Err(InferenceError::UnsupportedFeature {
                    what: format!("the pre-tokenizer `{other}`"),
                });
            }
        };
        let expressions =
            expressions.iter().map(|expression| Regex::new(expression)).collect::<Result<_, _>>().map_err(
                |error| InferenceError::Tokenizer {
                    problem: format!("has a rule that cannot be compiled: {error}"),
                },
            )?;
        Ok(Self {
            expressions,
            ignores_merges: matches!(name, "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "tekken"),
        })
    }

    /// True if a word that is a token stays whole whatever the merges say.
    pub(super) fn ignores_merges(&self) -> bool {
        self.ignores_merges
    }

    /// The words of a text, in order and without gaps.
    pub(super) fn split<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut pieces = vec![text];
        for expression in &self.expressions {
            let mut finer = Vec::new();
            for piece in pieces {
                let mut end = 0;
                // A match that fails (the engine's backtracking limit) leaves the rest as one piece, which
                // costs nothing but a less usual cut.
                for found in expression.find_iter(piece).map_while(Result::ok) {
                    if found.start() > end {
                        finer.push(&piece[end..found.start()]);
                    }
                    if found.end() > found.start() {
                        finer.push(found.as_str());
                    }
                    end = found.end();
                }
                if end < piece.len() {
                    finer.push(&piece[end..]);
                }
            }
            pieces = finer;
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::PreTokenizer;

    #[track_caller]
    fn check(name: &str, text: &str, expected: &[&str]) {
        let pre = PreTokenizer::of_name(name).unwrap();
        assert_eq!(pre.split(text), expected);
    }

    #[test]
    fn digits_are_cut_as_each_family_was_trained() {
        check("llama-bpe", "12345", &["123", "45"]);
        check("qwen2", "123", &["1", "2", "3"]);
        check("gpt-2", "x 12345", &["x", " 12345"]);
        check("default", "12345", &["123", "45"]);
    }

    #[test]
    fn the_last_of_several_spaces_goes_with_the_word() {
        check("llama-bpe", "a   b", &["a", "  ", " b"]);
        check("gpt-2", "a   ", &["a", "   "]);
    }

    #[test]
    fn an_unknown_rule_is_refused_by_name() {
        let error = PreTokenizer::of_name("klingon").unwrap_err();
        assert_eq!(error.to_string(), "the model needs the pre-tokenizer `klingon`, which is not supported");
    }
}
