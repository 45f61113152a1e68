//! Texts a second of an encoder, on the texts and in the way of the peers' script: 256 texts of 180 words from the
//! GPL, cut to each length.
//!
//! `cargo run --release -p flowbench-inference --example encoder_speed -- MODEL_FOLDER [LENGTH…]`

#![expect(clippy::print_stdout, reason = "it tells what it measured")]

use std::path::Path;
use std::time::Instant;

use flowbench_core::ports::EmbeddingPurpose;
use flowbench_inference::{EncoderOptions, LocalEncoder};

const TEXTS: usize = 256;
const ROUNDS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("which folder?")?;
    let mut lengths: Vec<usize> = arguments.map(|length| length.parse()).collect::<Result<_, _>>()?;
    if lengths.is_empty() {
        lengths = vec![128, 256];
    }
    let gpl = std::fs::read_to_string("/usr/share/common-licenses/GPL-3")?;
    let words: Vec<&str> = gpl.split_whitespace().collect();
    let texts: Vec<String> = (0..TEXTS)
        .map(|index| {
            let start = index * 17 % (words.len() - 200);
            words[start..start + 180].join(" ")
        })
        .collect();
    for length in lengths {
        let options = EncoderOptions { max_tokens: Some(length), ..EncoderOptions::default() };
        let encoder = LocalEncoder::load(Path::new(&folder), options)?;
        encoder.embed_batch(&texts[..32], EmbeddingPurpose::Document)?;
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            encoder.embed_batch(&texts, EmbeddingPurpose::Document)?;
            rates.push(TEXTS as f64 / start.elapsed().as_secs_f64());
        }
        rates.sort_by(f64::total_cmp);
        let tokens: usize = texts
            .iter()
            .map(|text| encoder.ids(text, EmbeddingPurpose::Document).map(|ids| ids.len()))
            .sum::<Result<usize, _>>()?;
        println!(
            "flowbench, length {length}: {:.1} texts/s ({:.1} tokens a text)",
            rates[ROUNDS / 2],
            tokens as f64 / TEXTS as f64
        );
        let query = vec!["How do I apply these terms to my programs?".to_owned()];
        let start = Instant::now();
        for _ in 0..20 {
            encoder.embed_batch(&query, EmbeddingPurpose::Query)?;
        }
        println!("flowbench, one short query: {:.2} ms", start.elapsed().as_secs_f64() * 1e3 / 20.0);
    }
    Ok(())
}
