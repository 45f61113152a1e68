//! Measures what the store promises: `cargo run -p flowbench-store --example measure [LINES]`.
//! Prints one JSON object: appends a second, resume and output times, memory, and the cost of opening the history.
#![allow(clippy::print_stdout, reason = "an example that prints its result")]

use std::error::Error;
use std::time::Instant;

use flowbench_core::event::Status;
use flowbench_core::ids::RunId;
use flowbench_store::{
    CacheStore, JournalHeader, LineRecord, ResumePolicy, RunJournal, RunKind, RunRecord, RunState, RunStore,
    StateFolder,
};
use serde_json::{Map, json};

fn record(number: u64) -> LineRecord {
    let text = "An answer of some sixty words stands here in place of a real one. ".repeat(5);
    LineRecord {
        inputs: Map::from_iter([("question".to_owned(), json!(format!("question {number}")))]),
        outputs: Map::from_iter([("answer".to_owned(), json!(text))]),
        duration_ms: 200,
        ..LineRecord::new(number, Status::Completed)
    }
}

/// Resident memory in KiB, where the system tells it.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn main() -> Result<(), Box<dyn Error>> {
    let lines: u64 = std::env::args().nth(1).map_or(Ok(100_000), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let state = StateFolder::new(folder.path());
    let path = state.journal(&RunId::from("measure"))?;
    let header = JournalHeader::new("measure", "flow");

    let journal = RunJournal::create(&path, &header)?;
    let first = record(0);
    let start = Instant::now();
    let mut at_thousand = None;
    for number in 0..lines {
        // Only the number changes: the making of records is not what is measured.
        let line = LineRecord { line_number: number ^ 7, ..first.clone() };
        journal.append(&line)?;
        if number == 1000 {
            at_thousand = resident_kib();
        }
    }
    let appended = start.elapsed();
    let at_end = resident_kib();
    let reader = journal.finish(None)?;
    let finished = start.elapsed();

    let start = Instant::now();
    let journal = RunJournal::resume(&path, &header)?;
    let resumed = start.elapsed();
    let done = journal.before().finished_lines(ResumePolicy::RedoFailed).count();
    drop(journal);
    let start = Instant::now();
    reader.write_outputs_in_order(&mut std::io::sink())?;
    let written = start.elapsed();

    let mut run = RunRecord::started(RunId::from("r"), RunKind::Single, "flow", "flows/flow", 1);
    run.status = RunState::Completed;
    let start = Instant::now();
    RunStore::open(&state)?.put(&run)?;
    let first_open = start.elapsed();
    let mut opens = Vec::new();
    for number in 0..50 {
        run.id = RunId::from(format!("r{number}"));
        let start = Instant::now();
        RunStore::open(&state)?.put(&run)?;
        opens.push(start.elapsed());
    }
    opens.sort();
    drop(CacheStore::open(&state, 1 << 30)?);
    let start = Instant::now();
    let cache = CacheStore::open(&state, 1 << 30)?;
    cache.get("none", 1)?;
    let cache_open = start.elapsed();
    let start = Instant::now();
    for number in 0..10_000u64 {
        cache.put(
            "flow",
            "node",
            &format!("key {number}"),
            &json!({}),
            &json!("some text for a value"),
            number,
        )?;
    }
    cache.flush()?;
    let cached = start.elapsed();

    let report = json!({
        "lines": lines,
        "appends_per_s": (lines as f64 / appended.as_secs_f64()) as u64,
        "appends_per_s_with_final_sync": (lines as f64 / finished.as_secs_f64()) as u64,
        "resident_kib_at_1000": at_thousand,
        "resident_kib_at_end": at_end,
        "resume_ms": resumed.as_secs_f64() * 1e3,
        "lines_found": done,
        "outputs_in_order_ms": written.as_secs_f64() * 1e3,
        "history_create_and_put_ms": first_open.as_secs_f64() * 1e3,
        "history_open_and_put_ms_median": opens[opens.len() / 2].as_secs_f64() * 1e3,
        "cache_open_and_get_ms": cache_open.as_secs_f64() * 1e3,
        "cache_puts_per_s": (10_000.0 / cached.as_secs_f64()) as u64,
    });
    println!("{report:#}");
    Ok(())
}
