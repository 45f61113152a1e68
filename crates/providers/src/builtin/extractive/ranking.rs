//! Scores sentences for a question: BM25 over stems, with a smaller vote of the passage around the sentence and
//! a nudge towards the kind of thing asked for.

use std::collections::{HashMap, HashSet};

use super::super::text::{FunctionWords, sentences, stem, words};
use super::Passage;

/// BM25 (Robertson, Walker 1994): saturation of repeated words, and how much length counts. Sentences are
/// short, so repetition says little.
const K1: f64 = 0.9;
const B: f64 = 0.4;
/// Weight of the passage's own score.
const PASSAGE_WEIGHT: f64 = 0.3;
/// Weight of the sentences before and after: answers often stand next to the words of the question.
const NEIGHBOUR_WEIGHT: f64 = 0.15;
/// Added share when the sentence holds the kind of thing asked for (a number, a name).
const KIND_BONUS: f64 = 0.15;
/// Sentences after the best must score at least this share of it, those of other passages more: a second source
/// that only shares words distracts.
const NEARLY_BEST: f64 = 0.75;
const NEARLY_BEST_ELSEWHERE: f64 = 0.85;
/// Most sentences of an answer.
const MOST_SENTENCES: usize = 3;
/// Share of the question's weight that the best passage must hold; below, the context is about something else.
const LEAST_COVERAGE: f64 = 0.3;

/// A sentence of the answer.
#[derive(Debug, PartialEq)]
pub(super) struct Best {
    pub passage: usize,
    pub sentence: String,
}

/// The best sentences, those of the best passage first, in reading order within a passage.
pub(super) fn best_sentences(question: &str, passages: &[Passage]) -> Vec<Best> {
    let function_words = FunctionWords::new();
    let asked = terms_of_question(question, &function_words);
    if asked.is_empty() {
        return Vec::new();
    }
    let split: Vec<(usize, String)> = passages
        .iter()
        .enumerate()
        .flat_map(|(at, passage)| sentences(&passage.text).into_iter().map(move |sentence| (at, sentence)))
        .filter(|(_, sentence)| !is_same_text(sentence, question))
        .collect();
    let sentence_terms: Vec<Vec<String>> = split.iter().map(|(_, sentence)| terms(sentence)).collect();
    let passage_terms: Vec<Vec<String>> = passages.iter().map(|passage| terms(&passage.text)).collect();
    let by_sentence = Bm25::new(&sentence_terms);
    let by_passage = Bm25::new(&passage_terms);
    let passage_scores: Vec<f64> =
        passage_terms.iter().map(|terms| by_passage.score(&asked, terms)).collect();
    let own: Vec<f64> = sentence_terms.iter().map(|terms| by_sentence.score(&asked, terms)).collect();
    let kind = Kind::asked_by(question);

    let mut scored: Vec<(usize, f64)> = Vec::new();
    for (at, (passage, sentence)) in split.iter().enumerate() {
        if own[at] <= 0.0 {
            continue;
        }
        let same = |other: usize| split.get(other).is_some_and(|(of, _)| of == passage);
        let before = at.checked_sub(1).filter(|before| same(*before)).map_or(0.0, |before| own[before]);
        let after = if same(at + 1) { own[at + 1] } else { 0.0 };
        let mut score =
            own[at] + PASSAGE_WEIGHT * passage_scores[*passage] + NEIGHBOUR_WEIGHT * before.max(after);
        if kind.is_in(sentence, question) {
            score *= 1.0 + KIND_BONUS;
        }
        scored.push((at, score));
    }
    // Ties keep reading order.
    scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let Some(&(best_at, best_score)) = scored.first() else { return Vec::new() };
    if by_sentence.coverage(&asked, &passage_terms[split[best_at].0]) < LEAST_COVERAGE {
        return Vec::new();
    }
    let best_passage = split[best_at].0;
    let is_near = |(at, score): &(usize, f64)| {
        let share = if split[*at].0 == best_passage { NEARLY_BEST } else { NEARLY_BEST_ELSEWHERE };
        *score >= share * best_score
    };
    let mut chosen: Vec<(usize, f64)> = scored.into_iter().filter(is_near).take(MOST_SENTENCES).collect();
    let mut rank_of_passage: Vec<usize> = Vec::new();
    for (at, _) in &chosen {
        if !rank_of_passage.contains(&split[*at].0) {
            rank_of_passage.push(split[*at].0);
        }
    }
    chosen.sort_by_key(|(at, _)| (rank_of_passage.iter().position(|passage| *passage == split[*at].0), *at));
    chosen.into_iter().map(|(at, _)| Best { passage: split[at].0, sentence: split[at].1.clone() }).collect()
}

/// BM25 of each passage for a query.
pub(in super::super) fn overlap_scores(query: &str, passages: &[String]) -> Vec<f32> {
    let asked = terms_of_question(query, &FunctionWords::new());
    let passage_terms: Vec<Vec<String>> = passages.iter().map(|passage| terms(passage)).collect();
    let bm25 = Bm25::new(&passage_terms);
    passage_terms.iter().map(|terms| bm25.score(&asked, terms) as f32).collect()
}

fn terms(text: &str) -> Vec<String> {
    words(text).iter().map(|word| stem(word)).collect()
}

fn terms_of_question(question: &str, function_words: &FunctionWords) -> HashSet<String> {
    words(question).iter().filter(|word| !function_words.contains(word)).map(|word| stem(word)).collect()
}

fn is_same_text(a: &str, b: &str) -> bool {
    a.trim().eq_ignore_ascii_case(b.trim())
}

struct Bm25 {
    count: f64,
    mean_length: f64,
    frequency: HashMap<String, f64>,
}

impl Bm25 {
    fn new(texts: &[Vec<String>]) -> Self {
        let mut frequency = HashMap::new();
        for text in texts {
            for term in text.iter().collect::<HashSet<_>>() {
                *frequency.entry(term.clone()).or_insert(0.0) += 1.0;
            }
        }
        let count = texts.len().max(1) as f64;
        let mean_length = (texts.iter().map(Vec::len).sum::<usize>() as f64 / count).max(1.0);
        Self { count, mean_length, frequency }
    }

    /// Inverse document frequency; words that no text has weigh most.
    fn idf(&self, term: &str) -> f64 {
        let frequency = self.frequency.get(term).copied().unwrap_or(0.0);
        (1.0 + (self.count - frequency + 0.5) / (frequency + 0.5)).ln()
    }

    fn score(&self, asked: &HashSet<String>, text: &[String]) -> f64 {
        let mut found: HashMap<&str, f64> = HashMap::new();
        for term in text.iter().filter(|term| asked.contains(*term)) {
            *found.entry(term).or_insert(0.0) += 1.0;
        }
        let length = 1.0 - B + B * text.len() as f64 / self.mean_length;
        let mut scores: Vec<f64> = found
            .into_iter()
            .map(|(term, count)| self.idf(term) * count * (K1 + 1.0) / (count + K1 * length))
            .collect();
        // Floating-point sums depend on the order, and the map's differs from run to run.
        scores.sort_by(f64::total_cmp);
        scores.into_iter().sum()
    }

    /// Share of the question's words that the text holds.
    fn coverage(&self, asked: &HashSet<String>, text: &[String]) -> f64 {
        let held: HashSet<&String> = text.iter().collect();
        let found = asked.iter().filter(|term| held.contains(term)).count();
        found as f64 / asked.len() as f64
    }
}

/// What kind of thing is asked for, where the question says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Name,
    Unknown,
}

impl Kind {
    fn asked_by(question: &str) -> Self {
        let asked = words(question);
        let has = |list: &[&str]| asked.iter().any(|word| list.contains(&word.as_str()));
        let how_many = [
            "many",
            "much",
            "många",
            "mycket",
            "viele",
            "viel",
            "long",
            "old",
            "far",
            "cuántos",
            "cuántas",
            "сколько",
        ];
        if has(&[
            "when",
            "när",
            "wann",
            "cuándo",
            "quand",
            "когда",
            "متى",
            "year",
            "år",
            "jahr",
            "date",
            "percentage",
        ]) || has(&how_many)
        {
            Self::Number
        } else if has(&["who", "whom", "whose", "vem", "wer", "wen", "wem", "quién", "qui", "кто", "من"])
        {
            Self::Name
        } else {
            Self::Unknown
        }
    }

    /// True if `sentence` has such a thing that the question does not have.
    fn is_in(self, sentence: &str, question: &str) -> bool {
        let is_new = |word: &str| !question.contains(word);
        match self {
            Self::Unknown => false,
            Self::Number => sentence
                .split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ','))
                .any(|word| word.chars().any(char::is_numeric) && is_new(word)),
            Self::Name => sentence
                .split_whitespace()
                .skip(1)
                .any(|word| word.chars().next().is_some_and(char::is_uppercase) && is_new(word)),
        }
    }
}
