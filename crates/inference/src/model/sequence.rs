//! One reply in the making.

use tokio::sync::mpsc::UnboundedSender;

use super::worker::Kept;
use crate::InferenceError;
use crate::constraint::Constraint;
use crate::decoder::{Cache, Decoder, PREFILL_CHUNK};
use crate::generation::{Finish, GenerationEvent, Reply};
use crate::sampling::{Sampler, Sampling};
use crate::stop::StopFilter;
use crate::tokenizer::{TextStream, Tokenizer};

/// A request, ready for the model's thread.
pub(super) struct Order {
    pub prompt: Vec<u32>,
    pub sampling: Sampling,
    pub stop: Vec<String>,
    pub max_tokens: usize,
    pub constraint: Option<Constraint>,
    pub show_control: bool,
    pub events: UnboundedSender<Result<GenerationEvent, InferenceError>>,
}

/// Whether a sequence wants another turn.
pub(super) enum Progress {
    More,
    Done,
}

/// One reply in the making.
pub(super) struct Sequence {
    order: Order,
    cache: Cache,
    reused: usize,
    sampler: Sampler,
    stream: TextStream,
    filter: StopFilter,
    text: String,
    generated: usize,
    last: u32,
    vocabulary_len: usize,
}

impl Sequence {
    /// A sequence whose cache may hold the beginning of the prompt already.
    pub(super) fn new(order: Order, cache: Cache, tokenizer: &Tokenizer) -> Self {
        Self {
            reused: cache.len(),
            sampler: Sampler::new(order.sampling.clone(), &order.prompt),
            stream: TextStream::default(),
            filter: StopFilter::new(&order.stop),
            text: String::new(),
            generated: 0,
            last: 0,
            vocabulary_len: tokenizer.vocabulary().len(),
            order,
            cache,
        }
    }

    /// Goes one step on: a chunk of the prompt, or a token.
    pub(super) fn step(&mut self, decoder: &mut Decoder, tokenizer: &Tokenizer) -> Progress {
        if self.order.events.is_closed() {
            return Progress::Done;
        }
        match self.advance(decoder, tokenizer) {
            Ok(progress) => progress,
            Err(error) => {
                let _ = self.order.events.send(Err(error));
                Progress::Done
            }
        }
    }

    /// What the next prompt may reuse: the part of this one that went through in whole chunks.
    pub(super) fn into_kept(self) -> Option<Kept> {
        let whole = self.order.prompt.len().min(self.cache.len()) / PREFILL_CHUNK * PREFILL_CHUNK;
        let mut cache = self.cache;
        cache.truncate(whole);
        (whole > 0).then(|| Kept { ids: self.order.prompt[..whole].to_vec(), cache })
    }

    fn advance(&mut self, decoder: &mut Decoder, tokenizer: &Tokenizer) -> Result<Progress, InferenceError> {
        if self.order.max_tokens == 0 {
            return Ok(self.finish(Finish::Length));
        }
        let done = self.cache.len();
        let mut scores = if done < self.order.prompt.len() {
            let end = self.order.prompt.len().min((done / PREFILL_CHUNK + 1) * PREFILL_CHUNK);
            let chunk = &self.order.prompt[done..end];
            if end < self.order.prompt.len() {
                decoder.prefill(chunk, &mut self.cache)?;
                return Ok(Progress::More);
            }
            decoder.forward(chunk, &mut self.cache)?
        } else {
            decoder.forward(&[self.last], &mut self.cache)?
        };
        // Some files pad the embedding beyond the tokens there are.
        scores.truncate(self.vocabulary_len);

        let id = self.choose(&mut scores)?;
        let is_complete = match &mut self.order.constraint {
            Some(constraint) => constraint.accept(id)?,
            None => false,
        };
        if tokenizer.vocabulary().is_end(id) {
            return Ok(self.finish(Finish::End));
        }
        self.last = id;
        self.generated += 1;
        let piece = self.stream.push(&tokenizer.token_bytes(id, self.order.show_control));
        let (certain, stopped) = self.filter.push(&piece);
        self.give(certain);
        if stopped {
            return Ok(self.end(Finish::StopString));
        }
        if is_complete {
            return Ok(self.finish(Finish::End));
        }
        if self.generated >= self.order.max_tokens {
            return Ok(self.finish(Finish::Length));
        }
        if self.cache.len() >= decoder.config().context_length {
            return Ok(self.finish(Finish::ContextFull));
        }
        Ok(Progress::More)
    }

    fn choose(&mut self, scores: &mut [f32]) -> Result<u32, InferenceError> {
        let chosen = match &mut self.order.constraint {
            Some(constraint) => {
                let mask = constraint.allowed()?;
                self.sampler.choose(scores, Some(&|id| mask.is_allowed(id)))
            }
            None => self.sampler.choose(scores, None),
        };
        chosen.ok_or_else(|| {
            InferenceError::Compute(candle_core::Error::Msg("no token has a finite score".to_owned()))
        })
    }

    fn give(&mut self, text: String) {
        if !text.is_empty() {
            self.text.push_str(&text);
            // A receiver that has gone is noticed at the next step.
            let _ = self.order.events.send(Ok(GenerationEvent::Text(text)));
        }
    }

    /// Gives out what was held back, then ends.
    fn finish(&mut self, finish: Finish) -> Progress {
        let tail = self.stream.finish();
        let (certain, stopped) = self.filter.push(&tail);
        self.give(certain);
        if stopped {
            return self.end(Finish::StopString);
        }
        let held = self.filter.finish();
        self.give(held);
        self.end(finish)
    }

    fn end(&mut self, finish: Finish) -> Progress {
        let reply = Reply {
            text: std::mem::take(&mut self.text),
            finish,
            prompt_tokens: self.order.prompt.len(),
            reused_tokens: self.reused,
            generated_tokens: self.generated,
        };
        let _ = self.order.events.send(Ok(GenerationEvent::Finished(reply)));
        Progress::Done
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::sync::mpsc;

    use super::*;
    use crate::gguf::GgufFile;

    #[test]
    fn a_receiver_that_is_gone_ends_the_work_before_the_next_token() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/gguf/llama3-bpe.gguf");
        let mut source = std::fs::File::open(path).unwrap();
        let mut file = GgufFile::read(&mut source).unwrap();
        let mut decoder = Decoder::load(&file, &mut source, None, &candle_core::Device::Cpu).unwrap();
        let tokenizer = Tokenizer::load(&mut file).unwrap();
        let (events, receiver) = mpsc::unbounded_channel();
        let order = Order {
            prompt: vec![1, 2, 3],
            sampling: Sampling {
                logit_bias: tokenizer.vocabulary().ends().map(|id| (id, -1e9)).collect(),
                ..Sampling::greedy()
            },
            stop: Vec::new(),
            max_tokens: 100,
            constraint: None,
            show_control: false,
            events,
        };
        let mut sequence = Sequence::new(order, decoder.new_cache(), &tokenizer);
        for expected in 1..=3 {
            assert!(matches!(sequence.step(&mut decoder, &tokenizer), Progress::More));
            assert_eq!(sequence.generated, expected);
        }
        drop(receiver);
        assert!(matches!(sequence.step(&mut decoder, &tokenizer), Progress::Done));
        assert_eq!(sequence.generated, 3, "no token was made for nobody");
    }
}
