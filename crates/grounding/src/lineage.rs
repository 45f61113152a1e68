//! OpenLineage events of a build (specification 2-0-2), and the way back from a hit to the bytes it came from.
//!
//! A build is a run of job `index` with the stages `ingest`, `clean`, `chunk` and `embed` as runs of their own below it.
//! Data sets are named by what they are and versioned by their digest, so that equal digests are equal data.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::manifest::{DocumentRecord, Manifest};

/// Schema of the events.
const EVENT_SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
/// Where the schemas of facets are.
const FACETS: &str = "https://openlineage.io/spec/facets";
/// Tool and version, as OpenLineage wants it: an address.
const PRODUCER: &str = concat!("urn:flowbench:", env!("CARGO_PKG_VERSION"));
/// Namespace of jobs and data sets that have no place of their own.
const NAMESPACE: &str = "flowbench";

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended<'e> {
    /// With a new generation.
    Complete,
    /// With an error.
    Fail(&'e str),
    /// Somebody stopped it.
    Abort,
}

/// One build, told as events.
pub struct BuildLineage<'m> {
    /// Index name.
    pub index: &'m str,
    /// Build id; run ids come from it.
    pub build: &'m str,
    /// When the build began, in milliseconds since 1970.
    pub started_ms: u64,
}

impl BuildLineage<'_> {
    /// The event that opens a build.
    pub fn start(&self, sources: &[(String, String)]) -> Value {
        let inputs: Vec<Value> =
            sources.iter().map(|(name, place)| data_set(name, &[source_facet(place)])).collect();
        self.event("START", "index", self.started_ms, Map::new(), inputs, Vec::new())
    }

    /// All events that close a build that gave this generation: the stages and then the build itself.
    pub fn complete(&self, manifest: &Manifest, documents: &[DocumentRecord], ended_ms: u64) -> Vec<Value> {
        let sources: Vec<Value> = manifest
            .sources
            .iter()
            .map(|source| {
                let versions = source_digest(documents, &source.name);
                data_set(&source.name, &[source_facet(&source.place), version_facet(&versions)])
            })
            .collect();
        let index = self.index;
        let collection = data_set(
            &format!("{index}/fetched"),
            &[version_facet(&manifest.corpus_digest), statistics("outputStatistics", documents.len(), None)],
        );
        let cleaned_digest = digest_of(documents.iter().filter_map(|document| document.cleaned.as_deref()));
        let cleaned = data_set(
            &format!("{index}/cleaned"),
            &[version_facet(&cleaned_digest), assertions(&manifest.quality)],
        );
        let chunk_digest = digest_of(documents.iter().filter_map(|document| document.chunks.as_deref()));
        let chunks = data_set(
            &format!("{index}/chunks"),
            &[version_facet(&chunk_digest), statistics("outputStatistics", manifest.chunks, None)],
        );
        let vectors = data_set(&format!("{index}/vectors"), &[version_facet(&manifest.digest)]);
        let mut stages = vec![
            ("ingest", sources.clone(), vec![collection.clone()]),
            ("clean", vec![collection], vec![cleaned.clone()]),
            ("chunk", vec![cleaned], vec![chunks.clone()]),
        ];
        let mut searched = vec![chunks.clone()];
        if manifest.model.is_some() {
            stages.push(("embed", vec![chunks], vec![vectors.clone()]));
            searched.push(vectors);
        }
        let parent = self.parent_facet();
        let mut events = Vec::new();
        for (stage, inputs, outputs) in stages {
            let facets = Map::from_iter([("parent".to_owned(), parent.clone())]);
            events.push(self.event(
                "START",
                stage,
                self.started_ms,
                facets.clone(),
                inputs.clone(),
                Vec::new(),
            ));
            events.push(self.event("COMPLETE", stage, ended_ms, facets, inputs, outputs));
        }
        let snapshot = data_set(
            &format!("{index}/index"),
            &[version_facet(&manifest.digest), document_facet(documents)],
        );
        searched.extend(sources);
        events.push(self.event("COMPLETE", "index", ended_ms, Map::new(), searched, vec![snapshot]));
        events
    }

    /// The event that closes a build without a generation.
    pub fn ended(&self, ended: Ended<'_>, ended_ms: u64) -> Value {
        let (kind, facets) = match ended {
            Ended::Complete => ("COMPLETE", Map::new()),
            Ended::Abort => ("ABORT", Map::new()),
            Ended::Fail(message) => {
                let facet = facet(
                    "1-0-1/ErrorMessageRunFacet.json",
                    json!({"message": message, "programmingLanguage": "Rust"}),
                );
                ("FAIL", Map::from_iter([("errorMessage".to_owned(), facet)]))
            }
        };
        self.event(kind, "index", ended_ms, facets, Vec::new(), Vec::new())
    }

    fn event(
        &self,
        kind: &str,
        stage: &str,
        time_ms: u64,
        facets: Map<String, Value>,
        inputs: Vec<Value>,
        outputs: Vec<Value>,
    ) -> Value {
        json!({
            "eventType": kind,
            "eventTime": time_text(time_ms),
            "producer": PRODUCER,
            "schemaURL": EVENT_SCHEMA,
            "run": {"runId": self.run_id(stage), "facets": facets},
            "job": {
                "namespace": NAMESPACE,
                "name": self.job_name(stage),
                "facets": {"jobType": facet("2-0-3/JobTypeJobFacet.json", json!({
                    "processingType": "BATCH", "integration": "FLOWBENCH", "jobType": stage.to_uppercase(),
                }))},
            },
            "inputs": inputs,
            "outputs": outputs,
        })
    }

    fn job_name(&self, stage: &str) -> String {
        match stage {
            "index" => format!("index.{}", self.index),
            stage => format!("index.{}.{stage}", self.index),
        }
    }

    fn parent_facet(&self) -> Value {
        let run = json!({"runId": self.run_id("index")});
        let job = json!({"namespace": NAMESPACE, "name": self.job_name("index")});
        facet("1-1-0/ParentRunFacet.json", json!({"run": run, "job": job}))
    }

    /// A UUID of version 7: the time of the build, then digits of build and stage.
    fn run_id(&self, stage: &str) -> String {
        let digest = blake3::hash(format!("{}\0{}\0{stage}", self.index, self.build).as_bytes());
        let random = digest.as_bytes();
        let mut bytes = [0_u8; 16];
        bytes[..6].copy_from_slice(&self.started_ms.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random[..10]);
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

/// The way of one chunk, from the hit back to the bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChunkLineage {
    /// Chunk.
    pub chunk: String,
    /// Generation it is in.
    pub generation: String,
    /// Model of its vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Key of its document's chunks (layer three).
    pub chunks: String,
    /// Digest of the cleaned document (layer two).
    pub cleaned: String,
    /// Key of the extracted text (layer two).
    pub extracted: String,
    /// Digest of the bytes as fetched (layer one).
    pub bytes: String,
    /// Document.
    pub document: String,
    /// Source.
    pub source: String,
    /// Where it was fetched from.
    pub uri: String,
    /// When, in milliseconds since 1970.
    pub fetched_ms: u64,
}

impl ChunkLineage {
    /// Follows a chunk of a document back.
    pub fn of(chunk: &str, document: &DocumentRecord, manifest: &Manifest) -> Self {
        Self {
            chunk: chunk.to_owned(),
            generation: manifest.digest.clone(),
            model: manifest.model.as_ref().map(|model| model.model.clone()),
            chunks: document.chunks.clone().unwrap_or_default(),
            cleaned: document.cleaned.clone().unwrap_or_default(),
            extracted: document.extracted.clone(),
            bytes: document.bytes.clone(),
            document: document.entry.name.clone(),
            source: document.entry.source.clone(),
            uri: document.entry.uri.clone(),
            fetched_ms: document.fetched_ms,
        }
    }
}

fn facet(schema: &str, content: Value) -> Value {
    let mut facet = content;
    if let Some(map) = facet.as_object_mut() {
        map.insert("_producer".to_owned(), json!(PRODUCER));
        map.insert("_schemaURL".to_owned(), json!(format!("{FACETS}/{schema}")));
    }
    facet
}

/// A data set with its facets; those that tell of input or output data go where the specification wants them.
fn data_set(name: &str, facets: &[(&str, Value)]) -> Value {
    let (mut plain, mut input, mut output) = (Map::new(), Map::new(), Map::new());
    for (name, facet) in facets {
        let place = match *name {
            "dataQualityAssertions" => &mut input,
            "outputStatistics" => &mut output,
            _ => &mut plain,
        };
        if !facet.is_null() {
            place.insert((*name).to_owned(), facet.clone());
        }
    }
    let mut set = json!({"namespace": NAMESPACE, "name": name, "facets": plain});
    if let Some(map) = set.as_object_mut() {
        for (key, facets) in [("inputFacets", input), ("outputFacets", output)] {
            if !facets.is_empty() {
                map.insert(key.to_owned(), Value::Object(facets));
            }
        }
    }
    set
}

fn source_facet(place: &str) -> (&'static str, Value) {
    let content = json!({"name": place, "uri": place});
    ("dataSource", facet("1-0-1/DatasourceDatasetFacet.json", content))
}

fn version_facet(digest: &str) -> (&'static str, Value) {
    ("version", facet("1-0-1/DatasetVersionDatasetFacet.json", json!({"datasetVersion": digest})))
}

fn statistics(name: &'static str, rows: usize, size: Option<u64>) -> (&'static str, Value) {
    let mut content = json!({"rowCount": rows});
    if let (Some(size), Some(map)) = (size, content.as_object_mut()) {
        map.insert("size".to_owned(), json!(size));
    }
    (name, facet("1-0-2/OutputStatisticsOutputDatasetFacet.json", content))
}

fn assertions(quality: &[Value]) -> (&'static str, Value) {
    if quality.is_empty() {
        return ("dataQualityAssertions", Value::Null);
    }
    let assertions: Vec<Value> = quality
        .iter()
        .map(|result| {
            json!({
                "assertion": result.get("name").cloned().unwrap_or_default(),
                "success": result.get("outcome").and_then(Value::as_str) == Some("holds"),
                "severity": result.get("severity").cloned().unwrap_or(json!("error")),
            })
        })
        .collect();
    let content = json!({"assertions": assertions});
    ("dataQualityAssertions", facet("1-1-0/DataQualityAssertionsDatasetFacet.json", content))
}

/// Which document of the snapshot came from which bytes: a facet of our own, as the specification allows by prefix.
fn document_facet(documents: &[DocumentRecord]) -> (&'static str, Value) {
    let edges: Vec<Value> = documents
        .iter()
        .map(|document| {
            json!({
                "document": document.entry.name, "source": document.entry.source, "uri": document.entry.uri,
                "bytes": document.bytes, "cleaned": document.cleaned, "chunks": document.chunks,
            })
        })
        .collect();
    let mut content = json!({"documents": edges});
    if let Some(map) = content.as_object_mut() {
        map.insert("_producer".to_owned(), json!(PRODUCER));
        map.insert("_schemaURL".to_owned(), json!(format!("{PRODUCER}:documents")));
    }
    ("flowbench_documents", content)
}

fn source_digest(documents: &[DocumentRecord], source: &str) -> String {
    let of_source = documents.iter().filter(|document| document.entry.source == source);
    digest_of(of_source.map(|document| document.bytes.as_str()))
}

/// Digest over a list of digests, in order.
pub fn digest_of<'d>(digests: impl Iterator<Item = &'d str>) -> String {
    let mut hasher = blake3::Hasher::new();
    for digest in digests {
        hasher.update(&(digest.len() as u64).to_le_bytes());
        hasher.update(digest.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// ISO 8601 in UTC with milliseconds.
fn time_text(ms: u64) -> String {
    let timestamp = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", timestamp.unwrap_or(jiff::Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowbench_corpus::source::Entry;

    use crate::manifest::{ModelRecord, SourceRecord};

    #[test]
    fn a_build_is_told_from_source_to_snapshot() {
        let lineage = BuildLineage { index: "docs", build: "b1", started_ms: 1_700_000_000_000 };
        let manifest = Manifest {
            digest: "d1".to_owned(),
            chunks: 3,
            sources: vec![SourceRecord { name: "guides".to_owned(), ..SourceRecord::default() }],
            model: Some(ModelRecord::default()),
            ..Manifest::default()
        };
        let document = DocumentRecord {
            entry: Entry { name: "a.md".to_owned(), source: "guides".to_owned(), ..Entry::default() },
            bytes: "b0".to_owned(),
            ..DocumentRecord::default()
        };
        let start = lineage.start(&[("guides".to_owned(), "../guides".to_owned())]);
        let mut events = vec![start];
        events.extend(lineage.complete(&manifest, std::slice::from_ref(&document), 1_700_000_001_000));
        let mut jobs: Vec<(&str, &str)> = events
            .iter()
            .map(|event| (event["job"]["name"].as_str().unwrap(), event["eventType"].as_str().unwrap()))
            .collect();
        jobs.sort_unstable();
        // Every run is opened once and closed once.
        for stage in
            ["index.docs", "index.docs.ingest", "index.docs.clean", "index.docs.chunk", "index.docs.embed"]
        {
            let of_stage: Vec<&str> =
                jobs.iter().filter(|(name, _)| *name == stage).map(|(_, kind)| *kind).collect();
            assert_eq!(of_stage, ["COMPLETE", "START"], "{stage}");
        }
        let last = events.last().unwrap();
        assert_eq!(last["eventTime"], "2023-11-14T22:13:21.000Z");
        assert_eq!(last["outputs"][0]["facets"]["flowbench_documents"]["documents"][0]["bytes"], "b0");
        let run = last["run"]["runId"].as_str().unwrap();
        assert_eq!((run.len(), &run[14..15]), (36, "7"));
        assert_eq!(events[1]["run"]["facets"]["parent"]["run"]["runId"], run);
    }

    #[test]
    fn a_failed_build_says_why() {
        let lineage = BuildLineage { index: "docs", build: "b1", started_ms: 0 };
        let event = lineage.ended(Ended::Fail("the disk is full"), 5);
        assert_eq!(event["eventType"], "FAIL");
        assert_eq!(event["run"]["facets"]["errorMessage"]["message"], "the disk is full");
    }
}
