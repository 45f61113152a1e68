//! `builtin/extractive`: answers with the best sentences of its context and cites them. No language model, no
//! weights; what it says stands in the context word for word, or it says that nothing fits.
//!
//! [`reading`] finds the passages and the question in the messages; [`ranking`] scores sentences. A passage is
//! one of, best sign first:
//!
//! - `[id] text`, up to the next such line or section;
//! - `<document id="id">text</document>` (also `passage`, `chunk`, `source`, `context`);
//! - a JSON list of objects with `text` (or `content`) and `id`;
//! - paragraphs or numbered paragraphs of a section that begins with a line `context:` (or `passages`,
//!   `documents`, `sources`; also in other languages, also as a heading), fenced or not;
//! - where no message has any of these, every paragraph that is not the question.
//!
//! The question is what follows `question:` in the last user message, else the message's last paragraph that
//! ends in a question mark, else its last paragraph.

mod ranking;
mod reading;

use flowbench_core::chat::ChatRequest;

pub(super) use self::ranking::overlap_scores;
use self::ranking::{Best, best_sentences};
use self::reading::read;

/// What it says when no sentence fits.
pub const NO_ANSWER: &str = "no answer found in the context";

/// A passage of the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// How the context names it, else its number from 1.
    pub id: String,
    /// Its text.
    pub text: String,
}

/// The answer to a request: sentences with `[id]` after each run of sentences of one passage.
pub fn answer_request(request: &ChatRequest) -> String {
    let material = read(&request.input);
    answer(&material.question, &material.passages)
}

/// The answer to a question from passages.
pub fn answer(question: &str, passages: &[Passage]) -> String {
    let best = best_sentences(question, passages);
    let mut answer = String::new();
    let mut best = best.iter().peekable();
    while let Some(Best { passage, sentence }) = best.next() {
        if !answer.is_empty() {
            answer.push(' ');
        }
        answer.push_str(sentence);
        if best.peek().is_none_or(|next| next.passage != *passage) {
            answer.push_str(" [");
            answer.push_str(&passages[*passage].id);
            answer.push(']');
        }
    }
    if answer.is_empty() { NO_ANSWER.to_owned() } else { answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passages(texts: &[(&str, &str)]) -> Vec<Passage> {
        texts.iter().map(|(id, text)| Passage { id: (*id).to_owned(), text: (*text).to_owned() }).collect()
    }

    #[track_caller]
    fn check(question: &str, expected: &str) {
        let handbook = passages(&[
            (
                "leave",
                "Everyone has 25 days of paid leave a year. Up to five days can be carried over to the next year.",
            ),
            (
                "travel",
                "Book trains rather than planes for trips under 700 km. Receipts go to the travel desk within 30 days.",
            ),
            ("office", "The office in Umeå opens at 07:30. Dogs are welcome on Fridays."),
        ]);
        assert_eq!(answer(question, &handbook), expected);
    }

    #[test]
    fn the_sentence_that_answers_is_quoted_and_cited() {
        check("How many days of paid leave do I have?", "Everyone has 25 days of paid leave a year. [leave]");
        check("When does the Umeå office open?", "The office in Umeå opens at 07:30. [office]");
        check("Are dogs welcome?", "Dogs are welcome on Fridays. [office]");
        check("Where do receipts go?", "Receipts go to the travel desk within 30 days. [travel]");
    }

    #[test]
    fn a_question_the_context_does_not_touch_gets_a_plain_no() {
        check("Who painted the Mona Lisa?", NO_ANSWER);
        check("", NO_ANSWER);
    }

    #[test]
    fn no_passages_no_answer() {
        assert_eq!(answer("What is this?", &[]), NO_ANSWER);
    }
}
