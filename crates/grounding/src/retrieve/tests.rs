//! Tests of `retrieve` in its own words: small cases, and properties over made-up input.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use flowbench_core::chat::ModelIdentity;
use flowbench_core::ports::{Embedder, EmbedderProfile, EmbeddingPurpose, Embeddings, ModelError, Reranker};
use flowbench_text::analysis::Analyzer;
use serde_json::json;

use super::*;
use crate::engine::{Engine, EngineError, Filter, Scored};

/// Chunks in memory: a word counts how often it is there, and a vector is what the chunk says it is.
#[derive(Default)]
struct Shelf {
    chunks: Vec<(Chunk, Vec<f32>)>,
}

impl Shelf {
    /// `id language | text | x y`.
    fn of(lines: &[&str]) -> Self {
        let mut shelf = Self::default();
        for (ordinal, line) in lines.iter().enumerate() {
            let parts: Vec<&str> = line.split('|').map(str::trim).collect();
            let (id, language) = parts[0].split_once(' ').unwrap_or((parts[0], "en"));
            let mut chunk = Chunk {
                id: id.to_owned(),
                ordinal: ordinal as u32,
                text: parts[1].to_owned(),
                language: language.to_owned(),
                ..Chunk::default()
            };
            chunk.source.document = format!("{}.md", &id[..1]);
            chunk.source.start = ordinal * 100;
            chunk.source.end = ordinal * 100 + parts[1].chars().count();
            let vector = parts[2].split(' ').map(|number| number.parse().unwrap()).collect();
            shelf.chunks.push((chunk, vector));
        }
        shelf
    }

    fn chunk(&mut self, id: &str) -> &mut Chunk {
        self.chunks.iter_mut().map(|(chunk, _)| chunk).find(|chunk| chunk.id == id).unwrap()
    }

    fn best(mut hits: Vec<Scored>, limit: usize) -> Vec<Scored> {
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
        hits.truncate(limit);
        hits
    }

    fn parts(&self, chunk: &Chunk, terms: &[(String, f32)]) -> Vec<(String, f32)> {
        let words = Analyzer::new().document_terms(&chunk.searched_text(), &chunk.language);
        terms
            .iter()
            .map(|(term, weight)| {
                let times = words.iter().filter(|word| word.text == *term).count();
                (term.clone(), times as f32 * weight)
            })
            .filter(|(_, score)| *score > 0.0)
            .collect()
    }

    fn searched(&self, filter: &Filter) -> impl Iterator<Item = &(Chunk, Vec<f32>)> {
        self.chunks.iter().filter(|(chunk, _)| !chunk.is_parent && filter.holds(chunk))
    }
}

#[async_trait]
impl Engine for Shelf {
    async fn keyword(
        &self,
        terms: &[(String, f32)],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Scored>, EngineError> {
        let score = |chunk: &Chunk| self.parts(chunk, terms).iter().map(|(_, score)| score).sum::<f32>();
        let hits =
            self.searched(filter).map(|(chunk, _)| Scored { id: chunk.id.clone(), score: score(chunk) });
        Ok(Self::best(hits.filter(|hit| hit.score > 0.0).collect(), limit))
    }

    async fn vector(
        &self,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
        _: bool,
    ) -> Result<Vec<Scored>, EngineError> {
        let dot = |other: &[f32]| vector.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
        let hits =
            self.searched(filter).map(|(chunk, other)| Scored { id: chunk.id.clone(), score: dot(other) });
        Ok(Self::best(hits.collect(), limit))
    }

    async fn keyword_parts(
        &self,
        terms: &[(String, f32)],
        ids: &[String],
    ) -> Result<Vec<Vec<(String, f32)>>, EngineError> {
        let chunks = self.chunks(ids).await?;
        Ok(chunks
            .iter()
            .map(|chunk| chunk.as_ref().map(|chunk| self.parts(chunk, terms)).unwrap_or_default())
            .collect())
    }

    async fn chunks(&self, ids: &[String]) -> Result<Vec<Option<Chunk>>, EngineError> {
        let find =
            |id: &String| self.chunks.iter().map(|(chunk, _)| chunk).find(|chunk| chunk.id == *id).cloned();
        Ok(ids.iter().map(find).collect())
    }

    async fn neighbours(
        &self,
        document: &str,
        ordinals: RangeInclusive<u32>,
    ) -> Result<Vec<Chunk>, EngineError> {
        let chunks = self.chunks.iter().map(|(chunk, _)| chunk);
        Ok(chunks
            .filter(|one| one.source.document == document && ordinals.contains(&one.ordinal))
            .cloned()
            .collect())
    }

    async fn vectors_of(&self, ids: &[String]) -> Result<Vec<Option<Vec<f32>>>, EngineError> {
        let find = |id: &String| {
            self.chunks.iter().find(|(chunk, _)| chunk.id == *id).map(|(_, vector)| vector.clone())
        };
        Ok(ids.iter().map(find).collect())
    }

    fn len(&self) -> usize {
        self.chunks.len()
    }

    async fn verify(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

/// Gives every question this vector, and every passage its length as score.
struct Model {
    vector: Vec<f32>,
    languages: Vec<String>,
}

#[async_trait]
impl Embedder for Model {
    fn identity(&self) -> ModelIdentity {
        ModelIdentity {
            provider: "test".to_owned(),
            connection: "test".to_owned(),
            model: "two-numbers".to_owned(),
            version: None,
            endpoint: "local".to_owned(),
        }
    }

    fn profile(&self) -> EmbedderProfile {
        EmbedderProfile { languages: self.languages.clone(), ..EmbedderProfile::default() }
    }

    async fn embed(
        &self,
        texts: &[String],
        purpose: EmbeddingPurpose,
        _: Option<u32>,
    ) -> Result<Embeddings, ModelError> {
        assert_eq!(purpose, EmbeddingPurpose::Query, "questions are encoded as questions");
        let vectors = texts.iter().map(|_| self.vector.clone()).collect();
        Ok(Embeddings { vectors, usage: None, limits: Default::default() })
    }
}

#[async_trait]
impl Reranker for Model {
    fn identity(&self) -> ModelIdentity {
        Embedder::identity(self)
    }

    async fn rerank(&self, _: &str, passages: &[String]) -> Result<Vec<f32>, ModelError> {
        Ok(passages.iter().map(|passage| passage.len() as f32).collect())
    }
}

#[async_trait]
impl Rewriter for Model {
    async fn rewrite(&self, _: &str) -> Result<Vec<String>, ModelError> {
        Ok(vec!["card".to_owned(), " ".to_owned()])
    }
}

const LINES: &[&str] = &[
    "a1 | the parcel is late | 0.1 0.9",
    "a2 | a late parcel is paid back, the whole parcel | 0.2 0.8",
    "b1 | lost cards are blocked | 0.9 0.1",
    "b2 | a new card comes by parcel | 0.8 0.3",
    "c1 | opening hours | 0.5 0.5",
];

struct Setup {
    shelf: Shelf,
    model: Model,
    languages: Vec<(String, f64)>,
    settings: Settings,
    request: SearchRequest,
}

impl Setup {
    fn new(query: &str) -> Self {
        let model = Model { vector: vec![1.0, 0.0], languages: Vec::new() };
        let settings = Settings::of(&RetrieveSpec::default(), Some(&model)).unwrap();
        Self {
            shelf: Shelf::of(LINES),
            languages: vec![("en".to_owned(), 1.0)],
            settings: Settings { top_k: 3, ..settings },
            request: SearchRequest { query: query.to_owned(), ..SearchRequest::default() },
            model,
        }
    }

    fn around(&self) -> Surroundings<'_> {
        Surroundings {
            engine: &self.shelf,
            embedder: Some(&self.model),
            dimensions: None,
            reranker: Some(&self.model),
            rewriter: None,
            languages: &self.languages,
        }
    }

    fn mode(mut self, mode: Mode) -> Self {
        self.settings.mode = mode;
        self
    }

    async fn answer(&self) -> Answer {
        retrieve(self.around(), &self.request, &self.settings).await.unwrap()
    }

    async fn hits(&self) -> String {
        ids(&self.answer().await)
    }

    async fn why_not(&self, id: &str) -> WhyNot {
        explain(self.around(), &self.request, &self.settings, id).await.unwrap()
    }
}

fn ids(answer: &Answer) -> String {
    answer.hits.iter().map(|hit| hit.id.as_str()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn every_mode_answers_with_its_own_list() {
    assert_eq!(Setup::new("parcel").mode(Mode::Keyword).hits().await, "a2 a1 b2");
    assert_eq!(Setup::new("parcel").mode(Mode::Vector).hits().await, "b1 b2 c1");
    assert_eq!(Setup::new("parcel").mode(Mode::Hybrid).hits().await, "a2 b2 b1");
    // The longest text first, as the reranker has it.
    assert_eq!(Setup::new("parcel").mode(Mode::HybridRerank).hits().await, "a2 b2 b1");
}

#[tokio::test]
async fn hits_say_what_every_stage_made_of_them() {
    let answer = Setup::new("parcel card").mode(Mode::HybridRerank).answer().await;
    let hit = answer.hits.iter().find(|hit| hit.id == "b2").unwrap();
    assert_eq!(hit.stages["keyword"]["words"], json!({"card": 1.0, "parcel": 1.0}));
    assert_eq!(hit.stages["vector"]["rank"], json!(2));
    assert_eq!(hit.stages["fusion"]["method"], json!("score"));
    assert_eq!(hit.stages["rerank"]["rank"], json!(2));
    let why = hit.stages["why"].as_str().unwrap();
    assert_eq!(
        why,
        "2nd by keywords (most for `card`, `parcel`); 2nd by meaning (cosine 0.800); 1st after fusion by score with \
         50 % vectors; 2nd after reranking"
    );
    let left = answer.candidates.iter().find(|one| one.id == "c1").unwrap();
    assert!(left.rank.is_none() && left.left.as_ref().unwrap().stage == "top_k", "{left:?}");
    assert_eq!(answer.candidates.len(), 5);
}

#[tokio::test]
async fn a_question_must_say_something() {
    for query in ["", " \n\t", "\u{3000}"] {
        let setup = Setup::new(query);
        let error = retrieve(setup.around(), &setup.request, &setup.settings).await.unwrap_err();
        assert_eq!(error.to_string(), "the query is empty");
    }
    let answer = Setup::new("?!").mode(Mode::Keyword).answer().await;
    assert!(answer.hits.is_empty());
    assert_eq!(answer.notes, ["it has no words to look up"]);
}

#[tokio::test]
async fn a_blank_vector_leaves_the_keywords() {
    for mode in [Mode::Hybrid, Mode::Vector] {
        let mut setup = Setup::new("parcel").mode(mode);
        setup.model.vector = vec![0.0, 0.0];
        let answer = setup.answer().await;
        assert_eq!(ids(&answer), "a2 a1 b2", "{mode}");
        assert_eq!(answer.notes, ["`test/two-numbers` gives no vector for it; keywords alone answer"]);
    }
}

#[tokio::test]
async fn modes_without_their_model_say_what_is_missing() {
    let setup = Setup::new("parcel").mode(Mode::HybridRerank);
    let bare = Surroundings { embedder: None, reranker: None, ..setup.around() };
    let error = retrieve(bare, &setup.request, &setup.settings).await.unwrap_err();
    assert_eq!(error.to_string(), "mode `hybrid+rerank` needs an embedding model, and the index has none");
    let bare = Surroundings { reranker: None, ..setup.around() };
    let error = retrieve(bare, &setup.request, &setup.settings).await.unwrap_err();
    assert_eq!(error.to_string(), "mode `hybrid+rerank` needs a reranker, and the index names none");
}

#[tokio::test]
async fn a_model_that_does_not_speak_the_language_makes_nothing_worse() {
    let mut setup = Setup::new("parcel");
    setup.model.languages = vec!["fr".to_owned()];
    assert_eq!(setup.hits().await, "a2 a1 b2");
    // Empty places are filled.
    setup.settings.top_k = 5;
    assert_eq!(setup.hits().await, "a2 a1 b2 b1 c1");
    // A chunk of no known language is taken to be in that of most others.
    for (chunk, _) in &mut setup.shelf.chunks {
        chunk.language.clear();
    }
    assert_eq!(setup.hits().await, "a2 a1 b2 b1 c1");
    // In a mixed corpus the model has its say where it speaks.
    setup.settings.top_k = 3;
    for (chunk, _) in &mut setup.shelf.chunks {
        chunk.language = "en".to_owned();
    }
    setup.shelf.chunk("b1").language = "fr".to_owned();
    setup.shelf.chunk("b2").language = "fr".to_owned();
    setup.languages = vec![("en".to_owned(), 0.6), ("fr".to_owned(), 0.4)];
    assert_eq!(setup.hits().await, "a2 a1 b2");
    let answer = setup.answer().await;
    assert_eq!(answer.hits[0].stages["fusion"]["is_unspoken"], json!(true));
    assert_eq!(answer.hits[2].stages["fusion"]["is_unspoken"], Value::Null);
}

#[tokio::test]
async fn filters_hold_in_both_lists() {
    let mut setup = Setup::new("parcel");
    let written = json!({"document": "b.md"});
    setup.request.filter = Filter::parse(written.as_object().unwrap()).unwrap();
    assert_eq!(setup.hits().await, "b2 b1");
}

#[tokio::test]
async fn other_wordings_are_asked_too() {
    let setup = Setup::new("parcel").mode(Mode::Keyword);
    let around = Surroundings { rewriter: Some(&setup.model), ..setup.around() };
    let answer = retrieve(around, &setup.request, &setup.settings).await.unwrap();
    assert_eq!(answer.notes, ["also asked as `card`"]);
    assert!(ids(&answer).contains("b1"), "{}", ids(&answer));
}

#[tokio::test]
async fn neighbours_and_larger_pieces_are_read() {
    let mut setup = Setup::new("blocked").mode(Mode::Keyword);
    setup.settings.neighbours = 1;
    let answer = setup.answer().await;
    assert_eq!(answer.hits[0].text, "lost cards are blocked\n\na new card comes by parcel");
    let mut setup = Setup::new("parcel").mode(Mode::Keyword);
    let parent =
        Chunk { id: "p".to_owned(), text: "all of a".to_owned(), is_parent: true, ..Chunk::default() };
    setup.shelf.chunks.push((parent, Vec::new()));
    for id in ["a1", "a2"] {
        setup.shelf.chunk(id).parent = Some("p".to_owned());
    }
    let answer = setup.answer().await;
    assert_eq!(ids(&answer), "a2 b2");
    assert_eq!(answer.hits[0].text, "all of a");
    assert_eq!(setup.why_not("p").await.remedies, []);
}

#[tokio::test]
async fn a_chunk_that_is_no_hit_learns_what_would_change_that() {
    let setup = Setup::new("parcel");
    let why = setup.why_not("c1").await;
    assert_eq!(why.reason, "it is 5th, and 3 hits are given");
    let told: Vec<&str> = why.remedies.iter().map(|remedy| remedy.text.as_str()).collect();
    assert_eq!(told[0], "with `top_k` 5 it is the 5th hit");
    assert!(told.contains(&"with `mode` `vector` it is the 3rd hit"), "{told:?}");
    assert!(why.remedies.iter().any(|remedy| remedy.setting == "fusion.weight"), "{told:?}");
    let why = setup.why_not("b2").await;
    assert_eq!((why.rank, why.reason.as_str()), (Some(2), "it is the 2nd hit"));
}

#[tokio::test]
async fn every_remedy_works() {
    for (query, id) in [("parcel", "c1"), ("late", "b1"), ("hours", "a2"), ("cards", "a1")] {
        for mode in Mode::ALL {
            let mut setup = Setup::new(query).mode(mode);
            setup.settings = Settings { top_k: 1, candidates: 2, rerank_top: 1, ..setup.settings };
            let why = setup.why_not(id).await;
            assert!(!why.reason.is_empty());
            for remedy in &why.remedies {
                let settings = &mut setup.settings;
                let number = |value: &Value| value.as_u64().unwrap() as usize;
                match remedy.setting {
                    "top_k" => settings.top_k = number(&remedy.value),
                    "candidates" => settings.candidates = number(&remedy.value),
                    "candidates, top_k" => {
                        settings.candidates = number(&remedy.value["candidates"]);
                        settings.top_k = number(&remedy.value["top_k"]);
                    }
                    "rerank.top" => settings.rerank_top = number(&remedy.value),
                    "fusion.weight" => settings.fusion.weight = remedy.value["to"].as_f64().unwrap(),
                    "fusion.by" => settings.fusion.by = settings::FusionBy::Rank,
                    "mode" => settings.mode = remedy.value.as_str().unwrap().parse().unwrap(),
                    other => panic!("{other}"),
                }
                let found = setup.hits().await.split(' ').any(|hit| hit == id);
                assert!(found, "{query} {id} {mode}: {}", remedy.text);
                setup = Setup::new(query).mode(mode);
                setup.settings = Settings { top_k: 1, candidates: 2, rerank_top: 1, ..setup.settings };
            }
        }
    }
}

#[tokio::test]
async fn a_filter_that_leaves_a_chunk_out_is_named() {
    let mut setup = Setup::new("parcel").mode(Mode::Keyword);
    let written = json!({"document": "b.md"});
    setup.request.filter = Filter::parse(written.as_object().unwrap()).unwrap();
    let why = setup.why_not("a1").await;
    assert_eq!(why.reason, "the filter on `document` leaves it out");
    assert_eq!(why.remedies[0].text, "without the filter on `document` it is the 2nd hit");
    let error = explain(setup.around(), &setup.request, &setup.settings, "zz").await.unwrap_err();
    assert_eq!(error.to_string(), "the index has no chunk `zz`");
}

#[tokio::test]
async fn low_scores_and_more_of_the_same_are_explained() {
    let mut setup = Setup::new("parcel").mode(Mode::Keyword);
    setup.settings.min_score = Some(1.5);
    assert_eq!(setup.hits().await, "a2");
    let why = setup.why_not("a1").await;
    assert_eq!(why.reason, "its score is 1.0000, and `min_score` is 1.5");
    assert_eq!(why.remedies[0].text, "with `min_score` 1.0000 it is the 2nd hit");
    let mut setup = Setup::new("parcel").mode(Mode::Keyword);
    setup.settings.diversify.per_document = Some(1);
    assert_eq!(setup.hits().await, "a2 b2");
    let why = setup.why_not("a1").await;
    assert_eq!(why.remedies[0].text, "with `diversify.per_document` 2 it is the 2nd hit");
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let check = |spec: RetrieveSpec, expected: &str| {
        assert_eq!(Settings::of(&spec, None).unwrap_err().to_string(), expected);
    };
    check(
        RetrieveSpec { top_k: Some(0), ..RetrieveSpec::default() },
        "`top_k` is 0, and must be from 1 to 10000",
    );
    check(
        RetrieveSpec { mode: Some("fuzzy".to_owned()), ..RetrieveSpec::default() },
        "`fuzzy` is no mode of retrieval; known are `keyword`, `vector`, `hybrid` and `hybrid+rerank`",
    );
    let mut spec = RetrieveSpec::default();
    spec.fusion.weight = Some(1.5);
    check(spec, "`fusion.weight` is 1.5, and must be a number from 0 to 1");
}
