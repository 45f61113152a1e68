//! Texts a second of a static model: `cargo run --release --example static_speed -- FOLDER TEXTS`, where TEXTS has
//! one text a line. Prints a line of JSON.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use flowbench_inference::StaticModel;

/// The fastest of these counts: the others were disturbed.
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, texts] = arguments.as_slice() else { return Err("static_speed FOLDER TEXTS".into()) };
    let started = Instant::now();
    let model = StaticModel::load(Path::new(folder))?;
    let load = started.elapsed();
    let texts = std::fs::read_to_string(texts)?;
    let texts: Vec<&str> = texts.lines().collect();
    let mut fastest = f64::INFINITY;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        model.embed_all(&texts, None)?;
        fastest = fastest.min(started.elapsed().as_secs_f64());
    }
    let words: usize = texts.iter().map(|text| text.split_whitespace().count()).sum();
    println!(
        "{{\"texts\": {}, \"words_a_text\": {:.0}, \"load_ms\": {}, \"seconds\": {fastest:.4}, \"texts_a_second\": {:.0}}}",
        texts.len(),
        words as f64 / texts.len().max(1) as f64,
        load.as_millis(),
        texts.len() as f64 / fastest,
    );
    Ok(())
}
