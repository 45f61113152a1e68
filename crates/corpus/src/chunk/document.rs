//! One document's way from cleaned text to chunks.

use std::collections::HashMap;
use std::ops::Range;

use flowbench_core::ports::{HitSource, Tokens};
use serde_json::Value;

use super::code;
use super::cut::{Cutter, Style, trimmed};
use super::outline::{Form, Section, groups, one_line, pieces, section_at, sections};
use super::tokens::TokenMap;
use super::{Chunk, ChunkBy, ChunkSpec, Chunked, EmptySection, TornPiece};
use crate::clean::{Cleaned, Places};

/// What joins headings.
const ARROW: &str = " > ";

/// Headings, and the names of a table's columns, may each take one token of so many that a chunk holds.
const CONTEXT_SHARE: usize = 4;

/// Chunks of fewer tokens have no room for headings.
const LEAST_WITH_CONTEXT: usize = 16;

/// A chunk before it is written down.
struct Span {
    range: Range<usize>,
    context: String,
    tokens: usize,
}

struct Job<'a> {
    cleaned: &'a Cleaned,
    spec: &'a ChunkSpec,
    tokens: &'a dyn Tokens,
    style: Style,
    is_code: bool,
    sections: Vec<Section>,
    cutter: Cutter<'a>,
    /// What a person would call the document, empty for unknown.
    title: String,
    /// Tokens of the contexts met so far.
    counted: HashMap<String, usize>,
    /// Cuts through what would have been kept whole: what, and where.
    torn: Vec<(&'static str, usize)>,
}

pub(super) fn chunk(cleaned: &Cleaned, spec: &ChunkSpec, tokens: &dyn Tokens) -> Chunked {
    let mut chunked = Chunked { document: cleaned.document.clone(), ..Chunked::default() };
    if cleaned.text.trim().is_empty() {
        return chunked;
    }
    let as_code = cleaned.is_code && !matches!(spec.by, ChunkBy::Tokens | ChunkBy::Document);
    let map = TokenMap::new(&cleaned.text, tokens);
    let (sections, pieces) = match as_code {
        true => code::outline(cleaned, spec.max_tokens, &map),
        false => (sections(cleaned), pieces(cleaned)),
    };
    let mut job = Job {
        cleaned,
        spec,
        tokens,
        style: match spec.by {
            ChunkBy::Tokens => Style::Tokens,
            ChunkBy::Sentences if !as_code => Style::Sentences,
            _ => Style::Blocks,
        },
        is_code: as_code,
        sections,
        cutter: Cutter::new(&cleaned.text, pieces, map),
        title: if as_code { cleaned.document.clone() } else { title(cleaned) },
        counted: HashMap::new(),
        torn: Vec::new(),
    };
    let whole = 0..cleaned.text.len();
    let (mut children, mut parents) = (Vec::new(), Vec::new());
    match spec.parent.filter(|parent| *parent > spec.max_tokens && spec.by != ChunkBy::Document) {
        None => {
            children =
                job.cut(whole, spec.max_tokens, spec.overlap).into_iter().map(|span| (span, None)).collect()
        }
        Some(most) => {
            for parent in job.cut(whole, most, 0) {
                let inside = job.cut(parent.range.clone(), spec.max_tokens, spec.overlap);
                let is_needed = inside.len() > 1;
                children.extend(inside.into_iter().map(|span| (span, is_needed.then_some(parents.len()))));
                if is_needed {
                    parents.push(parent);
                }
            }
            // What a parent tears is seen again when its children are cut, or is not torn for search.
            job.torn.sort_by_key(|(_, place)| *place);
            job.torn.dedup_by_key(|(_, place)| *place);
        }
    }
    let places = Places::new(cleaned);
    chunked.torn = job
        .torn
        .iter()
        .map(|(what, place)| TornPiece {
            what: (*what).to_owned(),
            place: places.characters(&(*place..*place)).start,
            heading: section_at(&job.sections, *place)
                .map(|section| section.path.join(ARROW))
                .filter(|path| !path.is_empty()),
        })
        .collect();
    chunked.empty_sections = job.empty_sections();
    chunked.chunks = job.written(children, parents, &places);
    chunked
}

/// Title that the document or its source states.
fn title(cleaned: &Cleaned) -> String {
    cleaned.metadata.get("title").and_then(Value::as_str).map(one_line).unwrap_or_default()
}

impl Job<'_> {
    /// Cuts a stretch into spans that hold at most `most` tokens each, context included.
    fn cut(&mut self, range: Range<usize>, most: usize, overlap: usize) -> Vec<Span> {
        if self.spec.by == ChunkBy::Document {
            let range = trimmed(&self.cleaned.text, range, true);
            let context = self.headings_above(&range, usize::MAX);
            let tokens = self.tokens.count(&searched(&context, &self.cleaned.text[range.clone()]));
            return vec![Span { range, context, tokens }];
        }
        let most = most.max(1);
        let mut spans = Vec::new();
        for group in self.stretches(range, most) {
            self.fill(group, most, overlap.min(most / 2), &mut spans);
        }
        spans
    }

    /// Stretches that no chunk crosses.
    fn stretches(&self, range: Range<usize>, most: usize) -> Vec<Range<usize>> {
        let by_headings = |range: Range<usize>| {
            let first = self.sections.partition_point(|section| section.range.end <= range.start);
            let end = self.sections.partition_point(|section| section.range.start < range.end);
            let inside: Vec<Section> = self.sections[first.min(end)..end]
                .iter()
                .map(|section| Section {
                    range: section.range.start.max(range.start)..section.range.end.min(range.end),
                    ..section.clone()
                })
                .collect();
            groups(&inside, most, |range| self.cutter.map.count(range), |section| self.is_bare(section))
        };
        match self.style {
            Style::Tokens | Style::Sentences => vec![range],
            Style::Blocks if self.spec.by == ChunkBy::Page && !self.cleaned.pages.is_empty() => {
                let mut edges: Vec<usize> = self.cleaned.pages.iter().map(|page| page.range.start).collect();
                edges.retain(|edge| *edge > range.start && *edge < range.end);
                edges.insert(0, range.start);
                edges.push(range.end);
                edges.sort_unstable();
                edges.windows(2).map(|pair| pair[0]..pair[1]).collect()
            }
            Style::Blocks => by_headings(range),
        }
    }

    /// True for a heading that nothing stands under.
    fn is_bare(&self, section: &Section) -> bool {
        let text = &self.cleaned.text[section.range.clone()];
        !self.is_code
            && section.is_titled
            && !text.trim().trim_end_matches(['=', '-']).trim_end().contains('\n')
    }

    fn fill(&mut self, group: Range<usize>, most: usize, overlap: usize, spans: &mut Vec<Span>) {
        let text = self.cutter.text;
        let mut at = group.start;
        let mut floor = None;
        loop {
            let rest = trimmed(text, at..group.end, true);
            if rest.is_empty() {
                return;
            }
            at = rest.start;
            let mut start = match floor {
                None => at,
                Some(floor) if self.style == Style::Tokens => self.cutter.tokens_before(floor, at, overlap),
                Some(floor) => self.cutter.sentences_before(floor, at, overlap),
            };
            let mut context = self.context(start, at, rest.end, most);
            let mut room = most.saturating_sub(self.count_context(&context)).max(1);
            loop {
                let taken = self.cutter.map.count(start..at);
                let end = self.cutter.next_end(at, rest.end, room.saturating_sub(taken).max(1), self.style);
                let range = trimmed(text, start..end.at, true);
                let tokens = self.tokens.count(&searched(&context, &text[range.clone()]));
                // Counted together, a text may have more tokens than its pieces had.
                if tokens > most && (room > 1 || start < at || !context.is_empty()) {
                    if start < at {
                        start = at;
                        context = self.context(start, at, rest.end, most);
                        room = most.saturating_sub(self.count_context(&context)).max(1);
                    } else if room > 1 {
                        room = room.saturating_sub((tokens - most).max(1)).max(1);
                    } else {
                        context.clear();
                        room = most;
                    }
                    continue;
                }
                if let Some(what) = end.torn.filter(|_| self.style != Style::Tokens) {
                    self.torn.push((what, end.at));
                }
                if !range.is_empty() {
                    floor = Some(range.start);
                    spans.push(Span { range, context, tokens });
                }
                at = end.at;
                break;
            }
        }
    }

    /// Headings above a chunk, and the columns of a table that it continues.
    fn context(&mut self, start: usize, fresh: usize, end: usize, most: usize) -> String {
        if most < LEAST_WITH_CONTEXT {
            return String::new();
        }
        let mut context = self.headings_above(&(start..end), most / CONTEXT_SHARE);
        if let Some(columns) = self.columns_above(fresh)
            && self.count_context(&columns) <= most / CONTEXT_SHARE
        {
            if !context.is_empty() {
                context.push_str("\n\n");
            }
            context.push_str(&columns);
        }
        context
    }

    /// Title and headings, as many as `most` tokens hold: the lowest stay.
    fn headings_above(&mut self, range: &Range<usize>, most: usize) -> String {
        if !self.spec.headings {
            return String::new();
        }
        let text = &self.cleaned.text[range.clone()];
        let mut parts: Vec<String> = Vec::new();
        if let Some(section) = section_at(&self.sections, range.start) {
            parts.extend(section.path.iter().cloned());
            // Its own heading is read in the text.
            if section.is_titled && self.cleaned.text[section.range.start..range.start].trim().is_empty() {
                parts.pop();
            }
        }
        let opening = text.trim_start_matches(|letter: char| letter == '#' || letter.is_whitespace());
        if !self.title.is_empty()
            && !parts.first().is_some_and(|first| same_words(first, &self.title))
            && !starts_with_words(opening, &self.title)
        {
            parts.insert(0, self.title.clone());
        }
        while parts.len() > 1 && self.count_context(&parts.join(ARROW)) > most {
            parts.remove(0);
        }
        let joined = parts.join(ARROW);
        match self.count_context(&joined) > most {
            false => joined,
            true => {
                let spans = self.tokens.spans(&joined);
                let from = spans.len().saturating_sub(most.saturating_sub(2));
                spans.get(from).map_or_else(String::new, |span| joined[span.start..].to_owned())
            }
        }
    }

    /// The first rows of the table in whose middle a chunk begins.
    fn columns_above(&self, start: usize) -> Option<String> {
        let index = self.cutter.pieces.partition_point(|piece| piece.range.end <= start);
        let table = self.cutter.pieces.get(index).filter(|piece| piece.form == Form::Table)?;
        let text = &self.cleaned.text[table.range.clone()];
        let mut lines = text.split_inclusive('\n');
        let first = lines.next()?;
        let ruler = lines.next().filter(|line| {
            line.contains('-')
                && line.chars().all(|letter| matches!(letter, '|' | '-' | ':' | '+' | ' ' | '\t' | '\n'))
        });
        let length = first.len() + ruler.map_or(0, str::len);
        (start >= table.range.start + length).then(|| text[..length].trim_end().to_owned())
    }

    fn count_context(&mut self, context: &str) -> usize {
        if context.is_empty() {
            return 0;
        }
        if let Some(count) = self.counted.get(context) {
            return *count;
        }
        let count = self.tokens.count(context);
        self.counted.insert(context.to_owned(), count);
        count
    }

    /// Headings under which nothing stands, not even another heading.
    fn empty_sections(&self) -> Vec<EmptySection> {
        if self.is_code {
            return Vec::new();
        }
        let is_leaf = |index: usize| {
            let path = &self.sections[index].path;
            self.sections
                .get(index + 1)
                .is_none_or(|next| next.path.len() <= path.len() || !next.path.starts_with(path))
        };
        (0..self.sections.len())
            .filter(|index| is_leaf(*index) && self.is_bare(&self.sections[*index]))
            .map(|index| EmptySection { heading: self.sections[index].path.join(ARROW) })
            .collect()
    }

    fn written(
        self,
        children: Vec<(Span, Option<usize>)>,
        parents: Vec<Span>,
        places: &Places<'_>,
    ) -> Vec<Chunk> {
        let mut seen: HashMap<[u8; 32], u32> = HashMap::new();
        let mut chunks: Vec<Chunk> = Vec::with_capacity(children.len() + parents.len());
        let mut write = |span: Span, is_parent: bool| {
            let text = &self.cleaned.text[span.range.clone()];
            let times = seen.entry(*blake3::hash(text.as_bytes()).as_bytes()).or_default();
            let id = chunk_id(&self.cleaned.document, text, *times);
            *times += 1;
            let characters = places.characters(&span.range);
            chunks.push(Chunk {
                id,
                ordinal: u32::try_from(chunks.len()).unwrap_or(u32::MAX),
                text: text.to_owned(),
                source: HitSource {
                    document: self.cleaned.document.clone(),
                    page: page_at(self.cleaned, span.range.start),
                    heading: self.heading_of(&span.range),
                    start: characters.start,
                    end: characters.end,
                },
                origin: self.cleaned.source.clone(),
                language: self.cleaned.language.clone().unwrap_or_default(),
                tokens: u32::try_from(span.tokens).unwrap_or(u32::MAX),
                context: span.context,
                parent: None,
                is_parent,
                metadata: self.cleaned.metadata.clone(),
            });
        };
        // Children first: their ids and places are the same with parents and without.
        let belongs: Vec<Option<usize>> = children.iter().map(|(_, parent)| *parent).collect();
        children.into_iter().for_each(|(span, _)| write(span, false));
        parents.into_iter().for_each(|span| write(span, true));
        let ids: Vec<String> = chunks[belongs.len()..].iter().map(|parent| parent.id.clone()).collect();
        for (chunk, parent) in chunks.iter_mut().zip(belongs) {
            chunk.parent = parent.and_then(|index| ids.get(index).cloned());
        }
        chunks
    }

    /// Headings of the first character; of several whole sections, the headings they share.
    fn heading_of(&self, range: &Range<usize>) -> Option<String> {
        let first = section_at(&self.sections, range.start)?;
        let mut path = first.path.as_slice();
        if self.cleaned.text[first.range.start..range.start].trim().is_empty() {
            let last = self.sections.partition_point(|section| section.range.start < range.end);
            let from = self.sections.partition_point(|section| section.range.start <= range.start);
            for section in &self.sections[from.min(last)..last] {
                let shared = path.iter().zip(&section.path).take_while(|(one, other)| one == other).count();
                path = &path[..shared];
            }
            if path.is_empty() {
                path = first.path.as_slice();
            }
        }
        (!path.is_empty()).then(|| path.join(ARROW))
    }
}

/// As [`Chunk::searched_text`].
fn searched(context: &str, text: &str) -> String {
    if context.is_empty() { text.to_owned() } else { format!("{context}\n\n{text}") }
}

/// Name of a chunk: the same text in the same document has the same id after other parts of it changed.
fn chunk_id(document: &str, text: &str, times: u32) -> String {
    let mut digest = blake3::Hasher::new();
    digest
        .update(document.as_bytes())
        .update(&[0])
        .update(text.as_bytes())
        .update(&[0])
        .update(&times.to_le_bytes());
    let mut id = digest.finalize().to_hex().to_string();
    id.truncate(32);
    id
}

fn page_at(cleaned: &Cleaned, place: usize) -> Option<u32> {
    let index = cleaned.pages.partition_point(|page| page.range.start <= place);
    index.checked_sub(1).map(|index| cleaned.pages[index].number)
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

fn same_words(one: &str, other: &str) -> bool {
    words(one).eq(words(other))
}

fn starts_with_words(text: &str, title: &str) -> bool {
    let mut text = words(text);
    words(title).all(|word| text.next().is_some_and(|other| other == word))
}
