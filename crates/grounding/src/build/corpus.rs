//! From sources to chunks, document by document, with everything that can be taken from earlier builds taken from there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use flowbench_corpus::chunk::{self, Chunk, Chunked, chunk_with_report};
use flowbench_corpus::clean::{
    self, CleanInput, CleanOutcome, CleanResult, Cleaned, Facts, RuleReport, Sketch, Survey, clean_document,
};
use flowbench_corpus::layers::{Digest, Layers, key};
use flowbench_corpus::quality::{CorpusFacts, FactsCollector};
use flowbench_corpus::source::{Entry, Problem, Source, SourceSpec, parse_age};
use flowbench_extract::{ExtractError, ExtractRequest, Extracted};
use futures_util::stream::{self, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::BuildSetup;
use crate::error::IndexError;
use crate::lineage::digest_of;
use crate::manifest::{DocumentRecord, Failed, LanguageShare, SourceRecord};
use crate::place::StoredGeneration;

/// Documents fetched at once; what is local is as quick one by one, and sites are asked at their own pace.
const FETCHES: usize = 8;
/// Documents in memory at once between fetching and extraction.
const WINDOW: usize = 64;
/// Documents inside documents inside documents.
const MAX_NESTING: usize = 4;

/// What stages of one build share.
pub(super) struct Corpus<'b> {
    pub setup: &'b BuildSetup,
    pub layers: &'b Layers,
    pub known: &'b [DocumentRecord],
    pub earlier: Option<&'b StoredGeneration>,
}

/// What the sources list.
pub(super) struct Listed {
    pub entries: Vec<ListedEntry>,
    pub failed: Vec<Failed>,
    /// Documents that cannot be had beyond those told.
    pub untold: usize,
    pub sources: Vec<SourceRecord>,
}

pub(super) struct ListedEntry {
    source: usize,
    /// As its source knows it.
    entry: Entry,
    /// Its name in the index.
    name: String,
}

/// Documents with their text in layer two.
pub(super) struct Read {
    pub documents: Vec<ReadDocument>,
    pub failed: Vec<Failed>,
    pub sources: Vec<SourceRecord>,
    /// Read from a source in this build.
    pub fetched: usize,
    /// Extracted in this build.
    pub extracted: usize,
}

/// A document whose bytes are in layer one and whose text is in layer two.
#[derive(Clone)]
pub(super) struct ReadDocument {
    record: DocumentRecord,
}

/// Cleaned documents.
pub(super) struct CleanedCorpus {
    pub documents: Vec<DocumentRecord>,
    pub reports: Vec<RuleReport>,
    sources: Vec<SourceRecord>,
    facts: FactsCollector,
}

/// Documents and their chunks, in the order of their names.
pub(super) struct Cut {
    documents: Vec<CutDocument>,
    pub sources: Vec<SourceRecord>,
    /// What the quality bar looks at.
    pub facts: CorpusFacts,
}

struct CutDocument {
    record: DocumentRecord,
    /// Ids and digests of the texts of its chunks, in order.
    chunks: Vec<(String, Digest)>,
    /// Searched chunks by language.
    languages: BTreeMap<String, usize>,
}

/// What extraction gave, as it is kept: with the digests of attachments in place of their bytes.
#[derive(Serialize, Deserialize)]
enum Kept {
    Text { extracted: Extracted, attachments: Vec<Digest> },
    Failed(ExtractError),
}

impl ListedEntry {
    fn new(source: usize, entry: Entry) -> Self {
        Self { source, name: entry.name.clone(), entry }
    }
}

impl Corpus<'_> {
    fn name(&self) -> &str {
        &self.setup.spec.name
    }

    /// Lists all sources. A source that cannot be listed at all ends the build: taking it for empty would throw away all
    /// its documents.
    pub async fn list(&self, only_stale: bool) -> Result<Listed, IndexError> {
        let mut listed = Listed { entries: Vec::new(), failed: Vec::new(), untold: 0, sources: Vec::new() };
        let now_ms = self.setup.clock.now_ms();
        for (index, source) in self.setup.sources.iter().enumerate() {
            let record = self.source_record(source, now_ms)?;
            let before = self.earlier.and_then(|generation| {
                generation.manifest.sources.iter().find(|earlier| earlier.name == record.name)
            });
            let is_young = before.is_some_and(|before| {
                record
                    .max_age_s
                    .is_some_and(|allowed| now_ms.saturating_sub(before.listed_ms) / 1000 <= allowed)
            });
            if only_stale && is_young {
                let own = self
                    .known
                    .iter()
                    .filter(|known| known.entry.source == record.name && known.inside.is_none());
                let entries = own.map(|known| ListedEntry::new(index, known.entry.clone()));
                listed.entries.extend(entries);
                let listed_ms = before.map_or(now_ms, |before| before.listed_ms);
                listed.sources.push(SourceRecord { listed_ms, ..record });
                continue;
            }
            let listing = source.list().await.map_err(|error| IndexError::Source {
                name: self.name().to_owned(),
                source_name: record.name.clone(),
                message: error.to_string(),
                hint: error.hint(),
            })?;
            listed.failed.extend(listing.problems.into_iter().map(|problem| failed("source", problem)));
            listed.untold += listing.untold;
            listed.entries.extend(listing.entries.into_iter().map(|entry| ListedEntry::new(index, entry)));
            listed.sources.push(record);
        }
        let mut seen: HashMap<String, usize> = HashMap::new();
        for listed in &listed.entries {
            *seen.entry(listed.name.clone()).or_default() += 1;
        }
        for listed in &mut listed.entries {
            // Two sources have a document of this name: the source tells them apart.
            if seen.get(&listed.name).is_some_and(|count| *count > 1) {
                listed.name = format!("{}/{}", listed.entry.source, listed.name);
            }
        }
        listed.entries.sort_by(|a, b| a.name.cmp(&b.name));
        listed.entries.dedup_by(|a, b| a.name == b.name);
        Ok(listed)
    }

    fn source_record(&self, source: &Source, now_ms: u64) -> Result<SourceRecord, IndexError> {
        let max_age = source.spec().max_age.as_ref().or(self.setup.spec.freshness.max_age.as_ref());
        let max_age_s = max_age
            .map(|text| {
                parse_age(text).map(|age| age.as_secs()).map_err(|error| IndexError::Spec {
                    name: self.name().to_owned(),
                    message: format!("`max_age`: {error}"),
                })
            })
            .transpose()?;
        Ok(SourceRecord {
            name: source.name().to_owned(),
            place: source_place(source.spec()),
            documents: 0,
            listed_ms: now_ms,
            max_age_s,
        })
    }

    /// Fetches what changed and extracts its text.
    pub async fn read(
        &self,
        listed: Listed,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Read, IndexError> {
        let known: HashMap<&str, &DocumentRecord> =
            self.known.iter().map(|record| (record.entry.name.as_str(), record)).collect();
        let mut read = Read {
            documents: Vec::new(),
            failed: Vec::new(),
            sources: listed.sources,
            fetched: 0,
            extracted: 0,
        };
        let total = listed.entries.len();
        let mut done = 0;
        let mut entries = listed.entries.into_iter();
        loop {
            let window: Vec<ListedEntry> = entries.by_ref().take(WINDOW).collect();
            if window.is_empty() {
                break;
            }
            let count = window.len();
            let mut fetched: Vec<Result<Arrived, Failed>> = stream::iter(window)
                .map(|listed| self.arrive(listed, &known))
                .buffered(FETCHES)
                .collect::<Vec<_>>()
                .await
                .into_iter()
                .collect::<Result<_, IndexError>>()?;
            let mut nesting = 0;
            while !fetched.is_empty() {
                let mut arrived = Vec::new();
                for outcome in fetched.drain(..) {
                    match outcome {
                        Ok(document) => arrived.push(document),
                        Err(failed) => read.failed.push(failed),
                    }
                }
                let texts = parallel(&arrived, |document| self.extract(document));
                for (document, text) in arrived.into_iter().zip(texts) {
                    let text = text?;
                    read.fetched += usize::from(document.is_new && nesting == 0);
                    read.extracted += usize::from(text.is_new);
                    match text.failed {
                        Some(failed) => read.failed.push(failed),
                        None => {
                            read.documents.push(ReadDocument { record: text.record.clone() });
                        }
                    }
                    if nesting < MAX_NESTING {
                        fetched.extend(text.inside.into_iter().map(Ok));
                    }
                }
                nesting += 1;
            }
            done += count;
            progress(done, total);
        }
        read.documents.sort_by(|a, b| a.record.entry.name.cmp(&b.record.entry.name));
        Ok(read)
    }

    /// The bytes of a document: kept ones where its stamp is the same, else from its source.
    async fn arrive(
        &self,
        listed: ListedEntry,
        known: &HashMap<&str, &DocumentRecord>,
    ) -> Result<Result<Arrived, Failed>, IndexError> {
        let ListedEntry { source, entry, name } = listed;
        let source = &self.setup.sources[source];
        if let Some(before) = known.get(name.as_str())
            && before.entry.stamp == entry.stamp
            && before.entry.uri == entry.uri
            && !entry.stamp.is_empty()
            && before.language == source.spec().language
            && self.has(self.layers.fetched(), &before.bytes)
            && self.has(self.layers.texts(), &before.extracted)
        {
            let record = DocumentRecord {
                entry: Entry { name, ..entry },
                bytes: before.bytes.clone(),
                fetched_ms: before.fetched_ms,
                modified_ms: before.modified_ms,
                media_type: before.media_type.clone(),
                language: source.spec().language.clone(),
                ..DocumentRecord::default()
            };
            let has_password = source.spec().password.is_some();
            return Ok(Ok(Arrived {
                record,
                password: source.password().map(str::to_owned),
                has_password,
                is_new: false,
            }));
        }
        let fetched = match source.fetch(&entry).await {
            Ok(fetched) => fetched,
            Err(problem) => return Ok(Err(failed("fetch", problem))),
        };
        let digest = self.put_fetched(&fetched.bytes)?;
        let record = DocumentRecord {
            // Its stamp may be newer than the one listed.
            entry: Entry { name, ..fetched.entry },
            bytes: digest.to_string(),
            fetched_ms: self.setup.clock.now_ms(),
            modified_ms: fetched.modified_ms,
            media_type: fetched.media_type,
            language: fetched.language,
            ..DocumentRecord::default()
        };
        let has_password = source.spec().password.is_some();
        Ok(Ok(Arrived { record, password: fetched.password, has_password, is_new: true }))
    }

    fn has(&self, pack: &flowbench_corpus::layers::Pack, digest: &str) -> bool {
        Digest::from_str(digest).is_ok_and(|digest| pack.contains(&digest))
    }

    fn put_fetched(&self, bytes: &[u8]) -> Result<Digest, IndexError> {
        self.layers.put_fetched(bytes).map_err(|error| self.setup.failed_layer(error))
    }

    /// The text of a document: kept, else extracted now.
    fn extract(&self, document: &Arrived) -> Result<ExtractedDocument, IndexError> {
        let mut record = document.record.clone();
        let bytes_digest =
            Digest::from_str(&record.bytes).map_err(|error| self.damaged(error.to_string()))?;
        let has_password = [u8::from(document.has_password)];
        let extracted_key = key(&[
            b"extracted",
            &flowbench_extract::VERSION.to_le_bytes(),
            &bytes_digest.0,
            record.entry.name.as_bytes(),
            record.media_type.as_deref().unwrap_or_default().as_bytes(),
            &has_password,
        ]);
        record.extracted = extracted_key.to_string();
        let (kept, is_new) = match self.read_kept::<Kept>(self.layers.texts(), &extracted_key)? {
            Some(kept) => (kept, false),
            None => (self.extract_now(document, &record, &bytes_digest, &extracted_key)?, true),
        };
        match kept {
            Kept::Failed(error) => {
                let failed = Failed {
                    stage: "extract".to_owned(),
                    place: record.entry.name.clone(),
                    message: error.to_string(),
                    // An attachment cannot be left out or saved again by itself.
                    hint: error.hint().filter(|_| record.inside.is_none()).map(str::to_owned),
                };
                Ok(ExtractedDocument { record, is_new, failed: Some(failed), inside: Vec::new() })
            }
            Kept::Text { extracted, attachments } => {
                let mut names = HashSet::new();
                let inside = extracted
                    .attachments
                    .iter()
                    .zip(attachments)
                    .map(|(attachment, digest)| {
                        let mut name = format!("{}#{}", record.entry.name, attachment.name);
                        while !names.insert(name.clone()) {
                            name.push('\'');
                        }
                        let entry = Entry {
                            uri: format!("{}#{}", record.entry.uri, attachment.name),
                            stamp: digest.to_string(),
                            name,
                            ..record.entry.clone()
                        };
                        let record = DocumentRecord {
                            entry,
                            bytes: digest.to_string(),
                            media_type: attachment.media_type.clone(),
                            inside: Some(record.entry.name.clone()),
                            ..record.clone()
                        };
                        Arrived {
                            record,
                            password: document.password.clone(),
                            has_password: document.has_password,
                            is_new: false,
                        }
                    })
                    .collect();
                Ok(ExtractedDocument { record, is_new, failed: None, inside })
            }
        }
    }

    fn extract_now(
        &self,
        document: &Arrived,
        record: &DocumentRecord,
        bytes_digest: &Digest,
        extracted_key: &Digest,
    ) -> Result<Kept, IndexError> {
        let bytes =
            self.layers.fetched().get(bytes_digest).map_err(|error| self.setup.failed_layer(error))?;
        let request = ExtractRequest {
            name: record.entry.name.rsplit('/').next().unwrap_or_default().to_owned(),
            media_type: record.media_type.clone(),
            password: document.password.clone(),
            bytes: bytes
                .ok_or_else(|| self.damaged(format!("the bytes of `{}` are gone", record.entry.name)))?,
        };
        let kept = match self.setup.extractor.extract(&request) {
            Ok(mut extracted) => {
                let digests = extracted
                    .attachments
                    .iter_mut()
                    .map(|attachment| self.put_fetched(&std::mem::take(&mut attachment.bytes)))
                    .collect::<Result<_, _>>()?;
                Kept::Text { extracted, attachments: digests }
            }
            // A slow machine, a full memory or a wrong variable may have been the reason: tried again next time.
            Err(
                error @ (ExtractError::TimedOut { .. }
                | ExtractError::Crashed { .. }
                | ExtractError::NoReader { .. }
                | ExtractError::NeedsPassword
                | ExtractError::WrongPassword),
            ) => return Ok(Kept::Failed(error)),
            Err(error) => Kept::Failed(error),
        };
        self.keep(self.layers.texts(), extracted_key, &kept)?;
        Ok(kept)
    }

    fn damaged(&self, reason: String) -> IndexError {
        IndexError::Damaged { name: self.name().to_owned(), reason }
    }

    fn read_kept<T: DeserializeOwned>(
        &self,
        pack: &flowbench_corpus::layers::Pack,
        key: &Digest,
    ) -> Result<Option<T>, IndexError> {
        let bytes = pack.get_or_absent(key).map_err(|error| self.setup.failed_layer(error))?;
        // What cannot be read was written by another version: it is made again.
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn keep<T: Serialize>(
        &self,
        pack: &flowbench_corpus::layers::Pack,
        key: &Digest,
        value: &T,
    ) -> Result<(), IndexError> {
        let bytes = serde_json::to_vec(value).map_err(|error| self.damaged(error.to_string()))?;
        pack.put(key, &bytes).map_err(|error| self.setup.failed_layer(error))
    }

    fn text_of(&self, record: &DocumentRecord) -> Result<Extracted, IndexError> {
        let digest = Digest::from_str(&record.extracted).map_err(|error| self.damaged(error.to_string()))?;
        match self.read_kept::<Kept>(self.layers.texts(), &digest)? {
            Some(Kept::Text { extracted, .. }) => Ok(extracted),
            _ => Err(self.damaged(format!("the text of `{}` is gone", record.entry.name))),
        }
    }

    /// Looks over the whole corpus, then cleans document by document.
    pub fn clean(
        &self,
        read: Read,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<CleanedCorpus, IndexError> {
        let spec = &self.setup.spec.clean;
        let surveyed = self.survey(&read.documents)?;
        let spec_digest =
            Digest::of(&serde_json::to_vec(spec).map_err(|error| self.damaged(error.to_string()))?);
        let key_digest = self.setup.project_key.digest();
        let total = read.documents.len();
        let done = AtomicUsize::new(0);
        let outcomes =
            parallel(&read.documents, |document| -> Result<(DocumentRecord, CleanResult), IndexError> {
                let mut record = document.record.clone();
                let facts = surveyed.of(&record.entry.name);
                // When a file was written is nothing that its text depends on.
                let stated = Entry { stamp: String::new(), ..record.entry.clone() };
                let entry = Digest::of(
                    &serde_json::to_vec(&(&stated, &record.language))
                        .map_err(|error| self.damaged(error.to_string()))?,
                );
                let result_key = key(&[
                    b"cleaned",
                    &clean::VERSION.to_le_bytes(),
                    record.extracted.as_bytes(),
                    record.bytes.as_bytes(),
                    &spec_digest.0,
                    facts.digest().as_bytes(),
                    &entry.0,
                    key_digest.as_bytes(),
                ]);
                let result = match self.read_kept::<CleanResult>(self.layers.texts(), &result_key)? {
                    Some(result) => result,
                    None => {
                        let extracted = self.text_of(&record)?;
                        let input = CleanInput {
                            entry: &record.entry,
                            bytes_digest: &record.bytes,
                            language: record.language.as_deref(),
                            extracted: &extracted,
                        };
                        let result = clean_document(&input, spec, &facts, &self.setup.project_key);
                        self.keep(self.layers.texts(), &result_key, &result)?;
                        result
                    }
                };
                match &result.outcome {
                    CleanOutcome::Kept(_) => record.cleaned = Some(result_key.to_string()),
                    CleanOutcome::LeftOut(left_out) => record.left_out = Some(left_out.reason.clone()),
                }
                progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
                Ok((record, result))
            });
        let mut cleaned = CleanedCorpus {
            documents: Vec::with_capacity(total),
            reports: Vec::new(),
            sources: read.sources,
            facts: FactsCollector::default(),
        };
        cleaned.facts.failed(read.failed.len());
        for outcome in outcomes {
            let (record, result) = outcome?;
            clean::add_reports(&mut cleaned.reports, &result.reports);
            match &result.outcome {
                CleanOutcome::Kept(document) => cleaned.facts.document(document, record.modified_ms),
                CleanOutcome::LeftOut(left_out) if left_out.rule == "text" => {
                    cleaned.facts.document(&Cleaned::default(), record.modified_ms);
                }
                CleanOutcome::LeftOut(_) => {}
            }
            cleaned.documents.push(record);
        }
        cleaned.facts.rules(&cleaned.reports);
        Ok(cleaned)
    }

    /// What only all documents together show.
    fn survey(&self, documents: &[ReadDocument]) -> Result<Facts, IndexError> {
        let sketches = parallel(documents, |document| -> Result<Sketch, IndexError> {
            let sketch_key =
                key(&[b"sketch", &clean::VERSION.to_le_bytes(), document.record.extracted.as_bytes()]);
            if let Some(kept) = self.read_kept::<Sketch>(self.layers.texts(), &sketch_key)? {
                return Ok(kept);
            }
            let sketch = clean::sketch(&self.text_of(&document.record)?);
            self.keep(self.layers.texts(), &sketch_key, &sketch)?;
            Ok(sketch)
        });
        let mut survey = Survey::default();
        let mut records: HashMap<&str, &DocumentRecord> = HashMap::new();
        for (document, sketch) in documents.iter().zip(sketches) {
            let entry = &document.record.entry;
            survey.add_sketch(&entry.name, &entry.source, sketch?);
            records.insert(&entry.name, &document.record);
        }
        Ok(survey.finish(self.setup.spec.clean.near_duplicates, |name| {
            records.get(name).and_then(|record| self.text_of(record).ok())
        }))
    }

    fn cleaned_of(&self, record: &DocumentRecord) -> Result<Option<Cleaned>, IndexError> {
        let Some(digest) = &record.cleaned else { return Ok(None) };
        let digest = Digest::from_str(digest).map_err(|error| self.damaged(error.to_string()))?;
        match self.read_kept::<CleanResult>(self.layers.texts(), &digest)?.map(|result| result.outcome) {
            Some(CleanOutcome::Kept(cleaned)) => Ok(Some(*cleaned)),
            _ => Err(self.damaged(format!("the cleaned text of `{}` is gone", record.entry.name))),
        }
    }

    /// The chunks of a document and what did not fit.
    pub fn chunked_of(&self, record: &DocumentRecord) -> Result<Option<Chunked>, IndexError> {
        let Some(digest) = &record.chunks else { return Ok(None) };
        let digest = Digest::from_str(digest).map_err(|error| self.damaged(error.to_string()))?;
        self.read_kept(self.layers.chunks(), &digest)
    }

    /// Cuts document by document.
    pub fn cut(
        &self,
        cleaned: CleanedCorpus,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Cut, IndexError> {
        let spec = &self.setup.spec.chunk;
        let tokens = self.setup.tokens();
        let spec_json = serde_json::to_vec(spec).map_err(|error| self.damaged(error.to_string()))?;
        let tokens_digest = tokens.digest();
        let total = cleaned.documents.len();
        let done = AtomicUsize::new(0);
        let CleanedCorpus { documents, sources, mut facts, .. } = cleaned;
        let outcomes = parallel(&documents, |record| -> Result<(CutDocument, Vec<u32>), IndexError> {
            let mut record = record.clone();
            let mut chunked = Chunked::default();
            if let Some(cleaned_key) = &record.cleaned {
                let chunks_key = key(&[
                    b"chunks",
                    &chunk::VERSION.to_le_bytes(),
                    cleaned_key.as_bytes(),
                    &spec_json,
                    tokens_digest.as_bytes(),
                ]);
                chunked = match self.read_kept::<Chunked>(self.layers.chunks(), &chunks_key)? {
                    Some(chunked) => chunked,
                    None => {
                        let document = self.cleaned_of(&record)?;
                        let chunked = document
                            .map(|document| chunk_with_report(&document, spec, tokens.as_ref()))
                            .unwrap_or_default();
                        self.keep(self.layers.chunks(), &chunks_key, &chunked)?;
                        chunked
                    }
                };
                record.chunks = Some(chunks_key.to_string());
            }
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
            let chunks = chunked.chunks;
            record.count = chunks.iter().filter(|chunk| !chunk.is_parent).count();
            let mut languages: BTreeMap<String, usize> = BTreeMap::new();
            for chunk in chunks.iter().filter(|chunk| !chunk.is_parent) {
                *languages.entry(chunk.language.clone()).or_default() += 1;
            }
            let sizes = chunks.iter().filter(|chunk| !chunk.is_parent).map(|chunk| chunk.tokens).collect();
            let chunks = chunks
                .into_iter()
                .map(|chunk| (chunk.id.clone(), Digest::of(chunk.searched_text().as_bytes())))
                .collect();
            Ok((CutDocument { record, chunks, languages }, sizes))
        });
        let mut cut = Vec::with_capacity(documents.len());
        for outcome in outcomes {
            let (document, sizes) = outcome?;
            for tokens in sizes {
                facts.chunk(&Chunk { tokens, ..Chunk::default() });
            }
            cut.push(document);
        }
        let mut sources = sources;
        for source in &mut sources {
            source.documents = cut
                .iter()
                .filter(|document| document.record.entry.source == source.name && document.record.count > 0)
                .count();
        }
        Ok(Cut { documents: cut, sources, facts: facts.finish() })
    }
}

/// A document with its bytes in layer one.
struct Arrived {
    record: DocumentRecord,
    /// The password, where the document was fetched now.
    password: Option<String>,
    /// True if its source has one.
    has_password: bool,
    is_new: bool,
}

struct ExtractedDocument {
    record: DocumentRecord,
    is_new: bool,
    failed: Option<Failed>,
    inside: Vec<Arrived>,
}

impl Cut {
    /// Chunks that are searched.
    pub fn chunks(&self) -> usize {
        self.documents.iter().map(|document| document.record.count).sum()
    }

    /// Documents with at least one chunk.
    pub fn documents_with_chunks(&self) -> usize {
        self.documents.iter().filter(|document| document.record.count > 0).count()
    }

    /// All documents, in the order of their names.
    pub fn records(&self) -> Vec<DocumentRecord> {
        self.documents.iter().map(|document| document.record.clone()).collect()
    }

    /// The chunks of one document, from layer three.
    pub fn chunks_of(
        record: &DocumentRecord,
        layers: &Layers,
        setup: &BuildSetup,
    ) -> Result<Vec<Chunk>, IndexError> {
        let damaged = |reason: String| IndexError::Damaged { name: setup.spec.name.clone(), reason };
        let Some(digest) = &record.chunks else { return Ok(Vec::new()) };
        let digest = Digest::from_str(digest).map_err(|error| damaged(error.to_string()))?;
        let bytes = layers.chunks().get(&digest).map_err(|error| setup.failed_layer(error))?;
        let bytes =
            bytes.ok_or_else(|| damaged(format!("the chunks of `{}` are gone", record.entry.name)))?;
        let chunked: Chunked = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        Ok(chunked.chunks)
    }

    /// All chunks that are searched, in order.
    pub fn searched(&self, layers: &Layers, setup: &BuildSetup) -> Result<Vec<Chunk>, IndexError> {
        let mut all = Vec::with_capacity(self.chunks());
        for document in &self.documents {
            let chunks = Self::chunks_of(&document.record, layers, setup)?;
            all.extend(chunks.into_iter().filter(|chunk| !chunk.is_parent));
        }
        Ok(all)
    }

    /// A few chunks, the same ones whenever the corpus is the same.
    pub fn sample(
        &self,
        layers: &Layers,
        setup: &BuildSetup,
        count: usize,
    ) -> Result<Vec<Chunk>, IndexError> {
        let mut ids: Vec<(Digest, usize, &str)> = Vec::new();
        for (index, document) in self.documents.iter().enumerate() {
            ids.extend(document.chunks.iter().map(|(id, _)| (Digest::of(id.as_bytes()), index, id.as_str())));
        }
        ids.sort_unstable();
        ids.truncate(count);
        let mut chunks = Vec::with_capacity(ids.len());
        for (_, index, id) in ids {
            let own = Self::chunks_of(&self.documents[index].record, layers, setup)?;
            chunks.extend(own.into_iter().find(|chunk| chunk.id == id && !chunk.is_parent));
        }
        Ok(chunks)
    }

    /// Digest of the generation: the recipe and the ordered chunk ids with the digests of their texts.
    pub fn digest(&self, recipe_digest: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(recipe_digest.as_bytes());
        for (id, text) in self.documents.iter().flat_map(|document| &document.chunks) {
            hasher.update(id.as_bytes());
            hasher.update(&text.0);
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Digest over all that is kept of the documents.
    pub fn contents(&self, recipe_digest: &str) -> String {
        let keys = self.documents.iter().filter_map(|document| document.record.chunks.as_deref());
        digest_of(std::iter::once(recipe_digest).chain(keys))
    }

    /// Digest over names and bytes of the documents.
    pub fn corpus_digest(&self) -> String {
        digest_of(
            self.documents
                .iter()
                .flat_map(|document| [document.record.entry.name.as_str(), document.record.bytes.as_str()]),
        )
    }

    /// Languages of the chunks with their share, largest first.
    pub fn languages(&self) -> Vec<LanguageShare> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for document in &self.documents {
            for (language, count) in &document.languages {
                *counts.entry(language).or_default() += count;
            }
        }
        let total = self.chunks().max(1) as f64;
        let mut shares: Vec<LanguageShare> = counts
            .into_iter()
            .map(|(language, count)| LanguageShare {
                language: language.to_owned(),
                share: count as f64 / total,
            })
            .collect();
        shares.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.language.cmp(&b.language)));
        shares
    }
}

/// The place of a source, as the spec writes it.
pub(crate) fn source_place(spec: &SourceSpec) -> String {
    let place = [&spec.path, &spec.rows, &spec.sitemap].into_iter().flatten().next().cloned();
    place.or_else(|| spec.site.first().cloned()).unwrap_or_default()
}

fn failed(stage: &str, problem: Problem) -> Failed {
    Failed { stage: stage.to_owned(), place: problem.place, message: problem.message, hint: problem.hint }
}

/// Maps over items on all cores; results are in the order of the items.
fn parallel<T: Sync, R: Send>(items: &[T], map: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    if workers <= 1 {
        return items.iter().map(map).collect();
    }
    let next = AtomicUsize::new(0);
    let mut results: Vec<(usize, R)> = std::thread::scope(|scope| {
        let work = || {
            let mut own = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(index) else { return own };
                own.push((index, map(item)));
            }
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
