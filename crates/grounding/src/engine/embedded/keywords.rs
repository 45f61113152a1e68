//! Keywords, chunks and what filters ask for, in one tantivy index: one segment without deletions once it is finished.

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flowbench_corpus::chunk::Chunk;
use tantivy::columnar::Column;
use tantivy::merge_policy::NoMergePolicy;
use tantivy::postings::Postings;
use tantivy::query::{
    Bm25StatisticsProvider, BooleanQuery, BoostQuery, EnableScoring, Occur, Query, TermQuery,
};
use tantivy::schema::{
    FAST, Field, IndexRecordOption, NumericOptions, STORED, Schema, TextFieldIndexing, TextOptions, Value,
};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{
    BitSet, DocId, DocSet, Index, IndexSettings, IndexWriter, ReloadPolicy, Searcher, SegmentReader,
    TERMINATED, TantivyDocument, TantivyError, Term,
};

use super::directory::ReadOnly;
use super::file_error;
use super::manifest::{Manifest, damaged};
use super::tables::{DOCUMENTS, DocumentFacts, HEADINGS, Table, TableWriter, read_lines};
use crate::engine::bm25::{self, Bm25, MARGIN};
use crate::engine::filter::{Condition, Part};
use crate::engine::{EngineError, Filter, Scored, terms};

/// Name of the folder.
pub(super) const FOLDER: &str = "keywords";
/// What tantivy may hold in memory before it writes a segment.
const WRITER_BYTES: usize = 120_000_000;
/// Size of a compressed block of chunks. Results lie scattered, and each costs the unpacking of its whole block: a quarter
/// of tantivy's size takes a third off the time of reading a hundred.
const BLOCK_BYTES: usize = 4_096;
/// A word that stands so often in a question is asked for that often, which lets tantivy skip blocks of postings.
const MAX_REPEATS: f32 = 4.0;
/// Answers to conditions that are kept; one is a bit for each chunk.
const MAX_KEPT_CONDITIONS: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Fields {
    id: Field,
    document: Field,
    body: Field,
    chunk: Field,
    high: Field,
    low: Field,
    facts: Field,
    heading: Field,
    page: Field,
    ordinal: Field,
    words: Field,
    is_parent: Field,
}

fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let name = TextOptions::default().set_indexing_options(
        TextFieldIndexing::default()
            .set_tokenizer("raw")
            .set_index_option(IndexRecordOption::Basic)
            .set_fieldnorms(false),
    );
    let body = TextOptions::default()
        .set_indexing_options(TextFieldIndexing::default().set_index_option(IndexRecordOption::WithFreqs));
    let number = || NumericOptions::from(FAST);
    let fields = Fields {
        id: schema.add_text_field("id", name.clone()),
        document: schema.add_text_field("document", name),
        body: schema.add_text_field("body", body),
        chunk: schema.add_text_field("chunk", STORED),
        high: schema.add_u64_field("high", number()),
        low: schema.add_u64_field("low", number()),
        facts: schema.add_u64_field("facts", number()),
        heading: schema.add_u64_field("heading", number()),
        page: schema.add_u64_field("page", number()),
        ordinal: schema.add_u64_field("ordinal", number()),
        words: schema.add_u64_field("words", number()),
        is_parent: schema.add_u64_field("is_parent", number()),
    };
    (schema.build(), fields)
}

/// What an index of keywords comes to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub searched: u64,
    pub words: u64,
}

pub(super) struct KeywordWriter {
    folder: PathBuf,
    fields: Fields,
    writer: IndexWriter,
    documents: TableWriter,
    headings: TableWriter,
    /// Ids of every document's chunks: the vectors are told what goes with a document.
    ids: HashMap<String, Vec<u128>>,
    /// All of them, so that what is added twice is there once.
    present: HashSet<u128>,
}

impl KeywordWriter {
    pub(super) fn create(folder: &Path) -> Result<Self, EngineError> {
        let place = folder.join(FOLDER);
        std::fs::create_dir_all(&place).map_err(|error| file_error(&place, error))?;
        let (schema, fields) = schema();
        let failed = |error| keyword_error(folder, error);
        let settings = IndexSettings { docstore_blocksize: BLOCK_BYTES, ..IndexSettings::default() };
        let index =
            Index::builder().schema(schema).settings(settings).create_in_dir(&place).map_err(failed)?;
        Ok(Self {
            folder: folder.to_owned(),
            fields,
            writer: writer_of(&index).map_err(failed)?,
            documents: TableWriter::default(),
            headings: TableWriter::default(),
            ids: HashMap::new(),
            present: HashSet::new(),
        })
    }

    /// Goes on from files that were copied from an earlier generation.
    pub(super) fn from_earlier(folder: &Path) -> Result<Self, EngineError> {
        let failed = |error| keyword_error(folder, error);
        let (_, fields) = schema();
        let index = Index::open_in_dir(folder.join(FOLDER)).map_err(failed)?;
        let mut ids: HashMap<String, Vec<u128>> = HashMap::new();
        let documents = folder.join(DOCUMENTS);
        let mut names: Vec<String> = Vec::new();
        read_lines(&documents, |_, line| {
            names.push(match line.is_empty() {
                true => String::new(),
                false => {
                    serde_json::from_str::<DocumentFacts>(line)
                        .map_err(|error| damaged(folder, &format!("`{DOCUMENTS}`: {error}")))?
                        .document
                }
            });
            Ok(())
        })?;
        let searcher = searcher_of(&index).map_err(failed)?;
        for reader in searcher.segment_readers() {
            let columns = Columns::of(reader).map_err(failed)?;
            for doc in 0..reader.max_doc() {
                let facts = usize::try_from(columns.facts.first(doc).unwrap_or(0)).unwrap_or(0);
                if let Some(name) = names.get(facts) {
                    ids.entry(name.clone()).or_default().push(columns.id(doc));
                }
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            fields,
            writer: writer_of(&index).map_err(failed)?,
            documents: TableWriter::from_earlier(&documents)?,
            headings: TableWriter::from_earlier(&folder.join(HEADINGS))?,
            present: ids.values().flatten().copied().collect(),
            ids,
        })
    }

    /// Adds a chunk; one with the same id is replaced.
    pub(super) fn add(&mut self, chunk: &Chunk, id: u128) -> Result<(), EngineError> {
        if self.present.insert(id) {
            self.ids.entry(chunk.source.document.clone()).or_default().push(id);
        } else {
            self.writer.delete_term(Term::from_field_text(self.fields.id, &chunk.id));
        }
        let fields = self.fields;
        let words = terms::terms_of(chunk);
        let mut document = TantivyDocument::default();
        document.add_text(fields.id, &chunk.id);
        document.add_text(fields.document, &chunk.source.document);
        document.add_u64(fields.high, (id >> 64) as u64);
        document.add_u64(fields.low, id as u64);
        document.add_u64(fields.facts, self.documents.number(&DocumentFacts::of(chunk))?);
        if let Some(heading) = &chunk.source.heading {
            document.add_u64(fields.heading, self.headings.number(heading)?);
        }
        if let Some(page) = chunk.source.page {
            document.add_u64(fields.page, u64::from(page));
        }
        document.add_u64(fields.ordinal, u64::from(chunk.ordinal));
        document.add_u64(fields.words, words.len() as u64);
        document.add_u64(fields.is_parent, u64::from(chunk.is_parent));
        let json = serde_json::to_string(chunk).map_err(|error| EngineError::Internal(error.to_string()))?;
        document.add_text(fields.chunk, json);
        if !words.is_empty() {
            let tokens = words.into_iter().enumerate().map(|(position, text)| Token {
                offset_from: 0,
                offset_to: 0,
                position,
                text,
                position_length: 1,
            });
            let body = PreTokenizedString { text: String::new(), tokens: tokens.collect() };
            document.add_pre_tokenized_text(fields.body, body);
        }
        self.writer.add_document(document).map(|_| ()).map_err(|error| keyword_error(&self.folder, error))
    }

    /// Takes out documents; gives the ids of their chunks.
    pub(super) fn remove(&mut self, documents: &[String]) -> Vec<u128> {
        let mut removed = Vec::new();
        for document in documents {
            self.writer.delete_term(Term::from_field_text(self.fields.document, document));
            removed.extend(self.ids.remove(document).unwrap_or_default());
        }
        for id in &removed {
            self.present.remove(id);
        }
        removed
    }

    /// Writes one segment without deletions and the tables beside it.
    pub(super) fn finish(mut self) -> Result<Totals, EngineError> {
        let totals = self.merge().map_err(|error| keyword_error(&self.folder, error))?;
        let Self { folder, writer, documents, headings, .. } = self;
        let (totals, facts, used_headings) = totals;
        writer.wait_merging_threads().map_err(|error| keyword_error(&folder, error))?;
        documents.write(&folder.join(DOCUMENTS), |number| facts.binary_search(&number).is_ok())?;
        headings.write(&folder.join(HEADINGS), |number| used_headings.binary_search(&number).is_ok())?;
        for lock in [".tantivy-writer.lock", ".tantivy-meta.lock"] {
            let path = folder.join(FOLDER).join(lock);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(file_error(&path, error));
                }
                _ => {}
            }
        }
        Ok(totals)
    }

    fn merge(&mut self) -> tantivy::Result<(Totals, Vec<u64>, Vec<u64>)> {
        self.writer.commit()?;
        let index = self.writer.index().clone();
        let segments = index.searchable_segment_metas()?;
        let is_clean = matches!(segments.as_slice(), [one] if one.num_deleted_docs() == 0);
        if !is_clean && !segments.is_empty() {
            let ids: Vec<_> = segments.iter().map(|segment| segment.id()).collect();
            self.writer.merge(&ids).wait()?;
        }
        self.writer.garbage_collect_files().wait()?;
        let mut totals = Totals::default();
        let (mut facts, mut headings) = (Vec::new(), Vec::new());
        for reader in searcher_of(&index)?.segment_readers() {
            let columns = Columns::of(reader)?;
            for doc in 0..reader.max_doc() {
                facts.extend(columns.facts.first(doc));
                headings.extend(columns.heading.first(doc));
                if !columns.is_parent(doc) {
                    totals.searched += 1;
                    totals.words += columns.words.first(doc).unwrap_or(0);
                }
            }
        }
        facts.sort_unstable();
        facts.dedup();
        headings.sort_unstable();
        headings.dedup();
        Ok((totals, facts, headings))
    }
}

fn writer_of(index: &Index) -> tantivy::Result<IndexWriter> {
    let writer: IndexWriter = index.writer_with_num_threads(1, WRITER_BYTES)?;
    writer.set_merge_policy(Box::new(NoMergePolicy));
    Ok(writer)
}

fn searcher_of(index: &Index) -> tantivy::Result<Searcher> {
    Ok(index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?.searcher())
}

/// Numbers beside every chunk.
struct Columns {
    high: Column<u64>,
    low: Column<u64>,
    facts: Column<u64>,
    heading: Column<u64>,
    page: Column<u64>,
    ordinal: Column<u64>,
    words: Column<u64>,
    is_parent: Column<u64>,
}

impl Columns {
    fn of(reader: &SegmentReader) -> tantivy::Result<Self> {
        let columns = reader.fast_fields();
        Ok(Self {
            high: columns.u64("high")?,
            low: columns.u64("low")?,
            facts: columns.u64("facts")?,
            heading: columns.u64("heading")?,
            page: columns.u64("page")?,
            ordinal: columns.u64("ordinal")?,
            words: columns.u64("words")?,
            is_parent: columns.u64("is_parent")?,
        })
    }

    fn id(&self, doc: DocId) -> u128 {
        let half = |column: &Column<u64>| u128::from(column.first(doc).unwrap_or(0));
        half(&self.high) << 64 | half(&self.low)
    }

    fn is_parent(&self, doc: DocId) -> bool {
        self.is_parent.first(doc) == Some(1)
    }
}

/// Statistics that count what is searched, not parents.
struct Statistics<'a> {
    searcher: &'a Searcher,
    totals: Totals,
}

impl Bm25StatisticsProvider for Statistics<'_> {
    fn total_num_tokens(&self, _field: Field) -> tantivy::Result<u64> {
        Ok(self.totals.words)
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.totals.searched)
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        self.searcher.doc_freq(term)
    }
}

/// Chunks that a filter leaves.
pub(super) type Chosen = Arc<BitSet>;

pub(super) struct Keywords {
    folder: PathBuf,
    fields: Fields,
    searcher: Searcher,
    /// Absent where nothing was added.
    columns: Option<Columns>,
    totals: Totals,
    bm25: Bm25,
    documents: Table,
    headings: Table,
    conditions: Mutex<Vec<(Condition, Chosen)>>,
}

impl Keywords {
    pub(super) fn open(folder: &Path, manifest: &Manifest) -> Result<Self, EngineError> {
        let failed = |error| keyword_error(folder, error);
        let directory = ReadOnly::open(&folder.join(FOLDER)).map_err(failed)?;
        let index = Index::open(directory).map_err(failed)?;
        let (schema, fields) = schema();
        if index.schema() != schema {
            return Err(damaged(folder, "its keyword index has other fields"));
        }
        let searcher = searcher_of(&index).map_err(failed)?;
        let columns = match searcher.segment_readers() {
            [] => None,
            [reader] if !reader.has_deletes() => Some(Columns::of(reader).map_err(failed)?),
            _ => return Err(damaged(folder, "its keyword index is not one segment")),
        };
        let totals = Totals { searched: manifest.searched, words: manifest.words };
        Ok(Self {
            folder: folder.to_owned(),
            fields,
            searcher,
            columns,
            totals,
            bm25: Bm25::new(totals.searched, totals.words),
            documents: Table::new(folder, DOCUMENTS),
            headings: Table::new(folder, HEADINGS),
            conditions: Mutex::default(),
        })
    }

    fn failed(&self, error: TantivyError) -> EngineError {
        keyword_error(&self.folder, error)
    }

    fn segment(&self) -> Option<(&SegmentReader, &Columns)> {
        Some((self.searcher.segment_readers().first()?, self.columns.as_ref()?))
    }

    pub(super) fn search(
        &self,
        terms: &[(String, f32)],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Scored>, EngineError> {
        let terms = bm25::merged(terms);
        let Some((_, columns)) = self.segment() else { return Ok(Vec::new()) };
        if terms.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let chosen = self.chosen(filter)?;
        let mut docs =
            self.candidates(&terms, chosen.as_deref(), limit).map_err(|error| self.failed(error))?;
        docs.sort_unstable();
        let parts = self.parts(&terms, &docs).map_err(|error| self.failed(error))?;
        let scored = docs.iter().zip(parts).map(|(doc, parts)| {
            let score: f64 = parts.iter().map(|(_, part)| part).sum();
            (score as f32, columns.id(*doc))
        });
        Ok(bm25::rank(scored.collect(), limit))
    }

    /// Every chunk that could be among the best `limit`: tantivy's own score, and a margin for how it adds up.
    fn candidates(
        &self,
        terms: &[(String, f32)],
        chosen: Option<&BitSet>,
        limit: usize,
    ) -> tantivy::Result<Vec<DocId>> {
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        for (text, weight) in terms {
            let term = Term::from_field_text(self.fields.body, text);
            let query = TermQuery::new(term, IndexRecordOption::WithFreqs);
            // tantivy skips blocks only for plain words; a boosted one makes it read them all.
            if weight.fract() == 0.0 && *weight <= MAX_REPEATS {
                for _ in 0..(*weight as usize) {
                    clauses.push((Occur::Should, Box::new(query.clone())));
                }
            } else {
                clauses.push((Occur::Should, Box::new(BoostQuery::new(Box::new(query), *weight))));
            }
        }
        let statistics = Statistics { searcher: &self.searcher, totals: self.totals };
        let scoring = EnableScoring::enabled_from_statistics_provider(&statistics, &self.searcher);
        let weight = BooleanQuery::new(clauses).weight(scoring)?;
        let mut best: BinaryHeap<std::cmp::Reverse<u32>> = BinaryHeap::with_capacity(limit.min(1 << 16) + 1);
        let mut found: Vec<(f32, DocId)> = Vec::new();
        let mut threshold = 0.0_f32;
        for reader in self.searcher.segment_readers() {
            weight.for_each_pruning(threshold, reader, &mut |doc, score| {
                if chosen.is_some_and(|chosen| !chosen.contains(doc)) {
                    return threshold;
                }
                found.push((score, doc));
                // Bits of positive numbers are in the order of the numbers.
                best.push(std::cmp::Reverse(score.to_bits()));
                if best.len() > limit {
                    best.pop();
                }
                if let Some(std::cmp::Reverse(last)) = best.peek().filter(|_| best.len() == limit) {
                    threshold = f32::from_bits(*last) * (1.0 - MARGIN);
                }
                threshold
            })?;
        }
        Ok(found.into_iter().filter(|(score, _)| *score >= threshold).map(|(_, doc)| doc).collect())
    }

    /// What every word brings to chunks, which come in ascending order.
    fn parts(&self, terms: &[(String, f32)], docs: &[DocId]) -> tantivy::Result<Vec<Vec<(usize, f64)>>> {
        let mut parts = vec![Vec::new(); docs.len()];
        let Some((reader, _)) = self.segment() else { return Ok(parts) };
        let index = reader.inverted_index(self.fields.body)?;
        let lengths = reader.get_fieldnorms_reader(self.fields.body)?;
        for (word, (text, weight)) in terms.iter().enumerate() {
            let term = Term::from_field_text(self.fields.body, text);
            let Some(info) = index.get_term_info(&term)? else { continue };
            let idf = self.bm25.idf(u64::from(info.doc_freq));
            let mut postings = index.read_postings_from_terminfo(&info, IndexRecordOption::WithFreqs)?;
            for (doc, parts) in docs.iter().zip(&mut parts) {
                if postings.doc() < *doc && postings.seek(*doc) == TERMINATED {
                    break;
                }
                if postings.doc() == *doc {
                    let in_chunk = self.bm25.in_chunk(lengths.fieldnorm_id(*doc), postings.term_freq());
                    parts.push((word, bm25::part(*weight, idf, in_chunk)));
                }
            }
        }
        Ok(parts)
    }

    pub(super) fn parts_of(
        &self,
        terms: &[(String, f32)],
        ids: &[String],
    ) -> Result<Vec<Vec<(String, f32)>>, EngineError> {
        let terms = bm25::merged(terms);
        let mut places: BTreeMap<DocId, Vec<usize>> = BTreeMap::new();
        for (place, id) in ids.iter().enumerate() {
            if let Some(doc) = self.doc_of(id).map_err(|error| self.failed(error))? {
                places.entry(doc).or_default().push(place);
            }
        }
        let docs: Vec<DocId> = places.keys().copied().collect();
        let found = self.parts(&terms, &docs).map_err(|error| self.failed(error))?;
        let mut parts = vec![Vec::new(); ids.len()];
        for (places, found) in places.values().zip(found) {
            let named: Vec<(String, f32)> =
                found.iter().map(|(word, part)| (terms[*word].0.clone(), *part as f32)).collect();
            for place in places {
                parts[*place].clone_from(&named);
            }
        }
        Ok(parts)
    }

    fn doc_of(&self, id: &str) -> tantivy::Result<Option<DocId>> {
        Ok(self.docs_with(self.fields.id, id)?.first().copied())
    }

    fn docs_with(&self, field: Field, value: &str) -> tantivy::Result<Vec<DocId>> {
        let Some((reader, _)) = self.segment() else { return Ok(Vec::new()) };
        let index = reader.inverted_index(field)?;
        let term = Term::from_field_text(field, value);
        let Some(mut postings) = index.read_postings(&term, IndexRecordOption::Basic)? else {
            return Ok(Vec::new());
        };
        let mut docs = Vec::new();
        while postings.doc() != TERMINATED {
            docs.push(postings.doc());
            postings.advance();
        }
        Ok(docs)
    }

    pub(super) fn chunks(&self, ids: &[String]) -> Result<Vec<Option<Chunk>>, EngineError> {
        let mut places = Vec::with_capacity(ids.len());
        for (place, id) in ids.iter().enumerate() {
            if let Some(doc) = self.doc_of(id).map_err(|error| self.failed(error))? {
                places.push((doc, place));
            }
        }
        // Neighbours in the file share a compressed block.
        places.sort_unstable();
        let mut chunks = vec![None; ids.len()];
        for (doc, place) in places {
            chunks[place] = Some(self.chunk(doc)?);
        }
        Ok(chunks)
    }

    fn chunk(&self, doc: DocId) -> Result<Chunk, EngineError> {
        let document: TantivyDocument =
            self.searcher.doc(tantivy::DocAddress::new(0, doc)).map_err(|error| self.failed(error))?;
        let json = document.get_first(self.fields.chunk).and_then(|value| value.as_str());
        let json = json.ok_or_else(|| damaged(&self.folder, "a chunk has no text"))?;
        serde_json::from_str(json)
            .map_err(|error| damaged(&self.folder, &format!("a chunk cannot be read: {error}")))
    }

    pub(super) fn neighbours(
        &self,
        document: &str,
        ordinals: &RangeInclusive<u32>,
    ) -> Result<Vec<Chunk>, EngineError> {
        let Some((_, columns)) = self.segment() else { return Ok(Vec::new()) };
        let docs = self.docs_with(self.fields.document, document).map_err(|error| self.failed(error))?;
        let mut found: Vec<(u64, u128, DocId)> = docs
            .into_iter()
            .filter(|doc| !columns.is_parent(*doc))
            .map(|doc| (columns.ordinal.first(doc).unwrap_or(0), columns.id(doc), doc))
            .filter(|(ordinal, _, _)| {
                u32::try_from(*ordinal).is_ok_and(|ordinal| ordinals.contains(&ordinal))
            })
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, _, doc)| self.chunk(doc)).collect()
    }

    /// Chunks that a filter leaves; `None` for all.
    pub(super) fn chosen(&self, filter: &Filter) -> Result<Option<Chosen>, EngineError> {
        let mut chosen: Option<Chosen> = None;
        for condition in &filter.conditions {
            let held = self.held(condition)?;
            chosen = Some(match chosen {
                None => held,
                Some(before) => {
                    let mut both = BitSet::with_max_value(held.max_value());
                    for doc in 0..held.max_value() {
                        if before.contains(doc) && held.contains(doc) {
                            both.insert(doc);
                        }
                    }
                    Arc::new(both)
                }
            });
        }
        Ok(chosen)
    }

    fn held(&self, condition: &Condition) -> Result<Chosen, EngineError> {
        {
            let kept = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, chosen)) = kept.iter().find(|(kept, _)| kept == condition) {
                return Ok(Arc::clone(chosen));
            }
        }
        let chosen = Arc::new(self.evaluate(condition)?);
        let mut kept = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT_CONDITIONS {
            kept.remove(0);
        }
        kept.push((condition.clone(), Arc::clone(&chosen)));
        Ok(chosen)
    }

    fn evaluate(&self, condition: &Condition) -> Result<BitSet, EngineError> {
        let Some((reader, columns)) = self.segment() else { return Ok(BitSet::with_max_value(0)) };
        let mut chosen = BitSet::with_max_value(reader.max_doc());
        let lines = match Part::of(&condition.field) {
            Part::Page => Vec::new(),
            Part::Heading => {
                self.headings.evaluate(|heading: String| condition.test.holds_for_text(Some(&heading)))?
            }
            Part::Document => self.documents.evaluate(|facts: DocumentFacts| facts.hold(condition))?,
        };
        let line_holds = |number: u64| {
            usize::try_from(number).ok().and_then(|number| lines.get(number)).copied() == Some(true)
        };
        let without_heading = condition.test.holds_for_text(None);
        for doc in (0..reader.max_doc()).filter(|doc| !columns.is_parent(*doc)) {
            let holds = match Part::of(&condition.field) {
                Part::Page => {
                    let page = columns.page.first(doc).and_then(|page| u32::try_from(page).ok());
                    condition.test.holds_for_page(page)
                }
                Part::Heading => columns.heading.first(doc).map_or(without_heading, line_holds),
                Part::Document => columns.facts.first(doc).is_some_and(line_holds),
            };
            if holds {
                chosen.insert(doc);
            }
        }
        Ok(chosen)
    }

    /// Ids of chosen chunks.
    pub(super) fn ids_of(&self, chosen: &BitSet) -> Vec<u128> {
        let Some((reader, columns)) = self.segment() else { return Vec::new() };
        (0..reader.max_doc()).filter(|doc| chosen.contains(*doc)).map(|doc| columns.id(doc)).collect()
    }
}

/// What went wrong, with the file where there is one.
fn keyword_error(folder: &Path, error: TantivyError) -> EngineError {
    use tantivy::directory::error::{OpenReadError, OpenWriteError};

    let place = folder.join(FOLDER);
    let copied = |error: &std::io::Error| match error.raw_os_error() {
        Some(code) => std::io::Error::from_raw_os_error(code),
        None => std::io::Error::new(error.kind(), error.to_string()),
    };
    match error {
        TantivyError::IoError(error) => file_error(&place, copied(&error)),
        TantivyError::OpenWriteError(OpenWriteError::IoError { io_error, filepath }) => {
            file_error(&place.join(filepath), copied(&io_error))
        }
        TantivyError::OpenReadError(OpenReadError::IoError { io_error, filepath }) => {
            file_error(&place.join(filepath), copied(&io_error))
        }
        TantivyError::OpenReadError(OpenReadError::FileDoesNotExist(path)) => {
            damaged(folder, &format!("`{}` is missing", path.display()))
        }
        TantivyError::DataCorruption(corruption) => damaged(folder, &format!("{corruption:?}")),
        TantivyError::LockFailure(_, _) => {
            EngineError::Internal(format!("`{}` is written by somebody else", place.display()))
        }
        other => EngineError::Internal(other.to_string()),
    }
}
