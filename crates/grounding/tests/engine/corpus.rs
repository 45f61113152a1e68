//! Chunks for tests, and what all engines are asked.

use std::path::Path;

use flowbench_corpus::chunk::Chunk;
use flowbench_grounding::engine::{
    Engine, EngineWriter, Filter, Passage, Quantization, Scored, VectorSettings, embedded,
};
use serde_json::{Map, Value, json};

/// Numbers that look random and are the same in every run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    pub fn vector(&mut self, dimensions: usize) -> Vec<f32> {
        (0..dimensions).map(|_| self.roll(2001) as f32 / 1000.0 - 1.0).collect()
    }
}

pub fn id(number: usize) -> String {
    format!("{:032x}", (number as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

pub fn passage(number: usize, document: &str, ordinal: u32, text: &str) -> Passage {
    let mut chunk = Chunk {
        id: id(number),
        ordinal,
        text: text.to_owned(),
        origin: "docs".to_owned(),
        language: "en".to_owned(),
        ..Chunk::default()
    };
    chunk.source.document = document.to_owned();
    Passage { chunk, vector: None }
}

/// Documents of four chunks of common and rare words; every seventh chunk is a copy of another, so that there are ties.
pub fn passages(count: usize, dimensions: usize) -> Vec<Passage> {
    let mut dice = Dice::new(7);
    let mut made: Vec<Passage> = Vec::new();
    for number in 0..count {
        let (text, vector) = match number % 7 {
            6 => {
                let twin = &made[dice.roll(made.len())];
                (twin.chunk.text.clone(), twin.vector.clone().unwrap())
            }
            _ => {
                let words: Vec<String> = (0..5 + dice.roll(60))
                    .map(|_| {
                        let kinds = [8, 40, 400][dice.roll(3)];
                        format!("word{}", dice.roll(kinds))
                    })
                    .collect();
                (words.join(" "), dice.vector(dimensions))
            }
        };
        let document = format!("guides/part{}/page{}.md", number / 40, number / 4);
        let mut passage = passage(number, &document, (number % 4) as u32, &text);
        passage.vector = Some(vector);
        passage.chunk.metadata = metadata(number / 4);
        made.push(passage);
    }
    made
}

fn metadata(document: usize) -> Map<String, Value> {
    let team = ["ops", "dev", "law"][document % 3];
    let Value::Object(metadata) = json!({"team": team, "year": 2018 + document % 8}) else {
        unreachable!("an object")
    };
    metadata
}

pub fn settings(dimensions: usize) -> VectorSettings {
    VectorSettings { dimensions, quantization: Quantization::None }
}

pub async fn fill(mut writer: impl EngineWriter + 'static, passages: Vec<Passage>) {
    for batch in passages.chunks(500) {
        writer.add(batch.to_vec()).await.unwrap();
    }
    Box::new(writer).finish().await.unwrap();
}

pub async fn build(folder: &Path, passages: Vec<Passage>, settings: VectorSettings) -> embedded::Opened {
    fill(embedded::Writer::create(folder, Some(settings)).unwrap(), passages).await;
    embedded::Opened::open(folder).unwrap()
}

pub fn terms(question: &str) -> Vec<(String, f32)> {
    question.split(' ').map(|word| (word.to_owned(), 1.0)).collect()
}

/// Questions with common, rare, repeated and unknown words.
pub fn questions() -> Vec<Vec<(String, f32)>> {
    let mut questions: Vec<_> =
        ["word1", "word1 word2", "word3 word3 word17", "word200 word5 word39", "nothing word7"]
            .map(terms)
            .to_vec();
    questions.push(vec![("word2".to_owned(), 0.4), ("word11".to_owned(), 2.5)]);
    questions
}

/// All answers of an engine to the questions and to some vectors, scores included.
pub async fn answers(engine: &dyn Engine, dimensions: usize) -> Vec<Vec<Scored>> {
    let mut answers = Vec::new();
    let everything = Filter::default();
    for limit in [1, 3, 10, 100] {
        for question in questions() {
            answers.push(engine.keyword(&question, &everything, limit).await.unwrap());
        }
        let mut dice = Dice::new(99);
        for _ in 0..5 {
            let vector = dice.vector(dimensions);
            answers.push(engine.vector(&vector, &everything, limit, true).await.unwrap());
        }
    }
    answers
}
