//! From a chosen chunk to the text that is read: its larger piece, or the chunks around it.

use std::collections::HashSet;

use flowbench_corpus::chunk::Chunk;

use crate::engine::{Engine, EngineError};

/// Chunks of a document that stand next to each other, as one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The text.
    pub text: String,
    /// First character in the extracted text.
    pub start: usize,
    /// One past the last.
    pub end: usize,
}

/// Reads hits with what surrounds them. A chunk that a better hit has read is not read again.
pub struct Reader<'e> {
    engine: &'e dyn Engine,
    neighbours: u32,
    taken: HashSet<(String, u32)>,
}

impl<'e> Reader<'e> {
    /// A reader for hits of one answer; `hits` are never read as neighbours of one another.
    pub fn new(engine: &'e dyn Engine, neighbours: u32, hits: &[&Chunk]) -> Self {
        let taken = hits.iter().map(|chunk| (chunk.source.document.clone(), chunk.ordinal)).collect();
        Self { engine, neighbours, taken }
    }

    /// What is read of a hit.
    pub async fn read(&mut self, chunk: &Chunk) -> Result<Reading, EngineError> {
        let own = || Reading { text: chunk.text.clone(), start: chunk.source.start, end: chunk.source.end };
        if let Some(parent) = &chunk.parent {
            let parents = self.engine.chunks(std::slice::from_ref(parent)).await?;
            return Ok(parents.into_iter().flatten().next().map_or_else(own, |parent| Reading {
                text: parent.text,
                start: parent.source.start,
                end: parent.source.end,
            }));
        }
        if self.neighbours == 0 {
            return Ok(own());
        }
        let range =
            chunk.ordinal.saturating_sub(self.neighbours)..=chunk.ordinal.saturating_add(self.neighbours);
        let around = self.engine.neighbours(&chunk.source.document, range).await?;
        let mut before: Vec<Chunk> = Vec::new();
        let mut after: Vec<Chunk> = Vec::new();
        for one in around.into_iter().filter(|one| !one.is_parent) {
            if one.ordinal < chunk.ordinal {
                before.push(one)
            } else if one.ordinal > chunk.ordinal {
                after.push(one)
            }
        }
        before.sort_by_key(|one| std::cmp::Reverse(one.ordinal));
        after.sort_by_key(|one| one.ordinal);
        let mut pieces = vec![chunk.clone()];
        // Outwards, until something is in the way.
        pieces.splice(0..0, self.take(before).into_iter().rev());
        pieces.extend(self.take(after));
        Ok(join(&pieces))
    }

    fn take(&mut self, pieces: Vec<Chunk>) -> Vec<Chunk> {
        let mut taken = Vec::new();
        for piece in pieces {
            if !self.taken.insert((piece.source.document.clone(), piece.ordinal)) {
                break;
            }
            taken.push(piece);
        }
        taken
    }
}

/// One text out of neighbouring chunks: what the next repeats of the one before is given once.
fn join(pieces: &[Chunk]) -> Reading {
    let mut reading = Reading { text: String::new(), start: usize::MAX, end: 0 };
    for piece in pieces {
        let source = &piece.source;
        if reading.text.is_empty() {
            reading.text.push_str(&piece.text);
        } else {
            let repeated = reading.end.saturating_sub(source.start);
            let (shared, gap) = match repeated {
                0 => (0, if source.start == reading.end { "" } else { "\n\n" }),
                repeated => (shared(&reading.text, &piece.text, repeated), ""),
            };
            // Ranges that overlap and texts that do not (a table's header repeated): both are given.
            let gap = if repeated > 0 && shared == 0 { "\n\n" } else { gap };
            reading.text.push_str(gap);
            reading.text.push_str(&piece.text[shared..]);
        }
        reading.start = reading.start.min(source.start);
        reading.end = reading.end.max(source.end);
    }
    reading
}

/// Bytes at the beginning of `next` that end `text`: as many as possible, and no more characters than `most`.
fn shared(text: &str, next: &str, most: usize) -> usize {
    let ends = next.char_indices().map(|(at, c)| at + c.len_utf8()).take(most);
    ends.filter(|end| text.ends_with(&next[..*end])).last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(text: &str, start: usize) -> Chunk {
        let mut chunk = Chunk { text: text.to_owned(), ..Chunk::default() };
        chunk.source.start = start;
        chunk.source.end = start + text.chars().count();
        chunk
    }

    #[test]
    fn what_neighbours_repeat_is_read_once() {
        let reading =
            join(&[chunk("one two three", 0), chunk("three four", 8), chunk(" five", 18), chunk("six", 30)]);
        assert_eq!(reading.text, "one two three four five\n\nsix");
        assert_eq!((reading.start, reading.end), (0, 33));
    }

    #[test]
    fn texts_that_do_not_meet_are_kept_whole() {
        let reading = join(&[chunk("| a |", 0), chunk("header row", 3)]);
        assert_eq!(reading.text, "| a |\n\nheader row");
        assert_eq!(join(&[chunk("ä", 0), chunk("äö", 0)]).text, "äö");
    }
}
