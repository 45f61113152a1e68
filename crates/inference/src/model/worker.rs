//! The thread that owns a decoder. It serves the sequences in turn, one token each, so that a long reply does not
//! keep a short one waiting; and keeps the caches of finished ones for prompts that begin the same.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender};

use super::sequence::{Order, Progress, Sequence};
use super::turn::Turn;
use crate::InferenceError;
use crate::decoder::{Cache, Decoder, PREFILL_CHUNK};
use crate::tokenizer::Tokenizer;

/// What the thread is asked.
pub(super) enum Command {
    /// A reply.
    Generate(Box<Order>),
    /// Scores after some ids.
    Logits { ids: Vec<u32>, reply: Sender<Result<Vec<f32>, InferenceError>> },
}

/// Sequences served at the same time. More would only make each slower and take memory for its cache.
const SEQUENCES_AT_ONCE: usize = 4;
/// Finished sequences whose caches are kept.
const KEPT_CACHES: usize = 2;

/// A finished sequence's beginning: the ids that went through as whole prompt chunks.
pub(super) struct Kept {
    pub ids: Vec<u32>,
    pub cache: Cache,
}

/// Serves until the last handle is gone and the last reply given.
pub(super) fn run(mut decoder: Decoder, tokenizer: &Tokenizer, inbox: &Receiver<Command>) {
    let mut waiting: VecDeque<Box<Order>> = VecDeque::new();
    let mut active: Vec<Sequence> = Vec::new();
    let mut kept: VecDeque<Kept> = VecDeque::new();
    loop {
        if active.is_empty() && waiting.is_empty() {
            match inbox.recv() {
                Ok(command) => take(command, &mut decoder, &mut waiting),
                Err(_) => return,
            }
        }
        while let Ok(command) = inbox.try_recv() {
            take(command, &mut decoder, &mut waiting);
        }
        while active.len() < SEQUENCES_AT_ONCE
            && let Some(order) = waiting.pop_front()
        {
            if !order.events.is_closed() {
                let cache = reuse(&mut kept, &order.prompt).unwrap_or_else(|| decoder.new_cache());
                active.push(Sequence::new(*order, cache, tokenizer));
            }
        }
        let mut index = 0;
        while index < active.len() {
            let turn = decoder.is_on_cpu().then(Turn::wait);
            let progress = active[index].step(&mut decoder, tokenizer);
            drop(turn);
            match progress {
                Progress::More => index += 1,
                Progress::Done => {
                    keep(&mut kept, active.remove(index).into_kept());
                }
            }
        }
    }
}

fn take(command: Command, decoder: &mut Decoder, waiting: &mut VecDeque<Box<Order>>) {
    match command {
        Command::Generate(order) => waiting.push_back(order),
        Command::Logits { ids, reply } => {
            // Whoever asked may have gone; then nobody wants the answer.
            let turn = decoder.is_on_cpu().then(Turn::wait);
            let scores = logits(decoder, &ids);
            drop(turn);
            let _ = reply.send(scores);
        }
    }
}

fn logits(decoder: &mut Decoder, ids: &[u32]) -> Result<Vec<f32>, InferenceError> {
    if ids.len() > decoder.config().context_length
        || ids.iter().any(|&id| id as usize >= decoder.vocabulary_len())
    {
        return Err(InferenceError::Compute(candle_core::Error::Msg(
            "ids outside the model's range".to_owned(),
        )));
    }
    let mut cache = decoder.new_cache();
    let mut scores = Vec::new();
    let mut chunks = ids.chunks(PREFILL_CHUNK).peekable();
    while let Some(chunk) = chunks.next() {
        match chunks.peek() {
            Some(_) => decoder.prefill(chunk, &mut cache)?,
            None => scores = decoder.forward(chunk, &mut cache)?,
        }
    }
    Ok(scores)
}

/// Takes the kept cache that shares the longest beginning with the prompt, cut to whole chunks: only those were
/// computed exactly as they would be now. The prompt's last token always goes through anew, for its scores.
fn reuse(kept: &mut VecDeque<Kept>, prompt: &[u32]) -> Option<Cache> {
    let shared = |kept: &Kept| {
        let same = kept.ids.iter().zip(&prompt[..prompt.len() - 1]).take_while(|(a, b)| a == b).count();
        same / PREFILL_CHUNK * PREFILL_CHUNK
    };
    let (index, len) = kept.iter().map(shared).enumerate().max_by_key(|(_, len)| *len)?;
    if len == 0 {
        return None;
    }
    let mut cache = kept.remove(index)?.cache;
    cache.truncate(len);
    Some(cache)
}

fn keep(kept: &mut VecDeque<Kept>, finished: Option<Kept>) {
    if let Some(finished) = finished {
        if kept.len() >= KEPT_CACHES {
            kept.pop_front();
        }
        kept.push_back(finished);
    }
}
