//! `engine`: how fast the engine starts, how many lines it runs, what it holds in memory, what refusals cost.

use std::path::Path;

use flowbench_testkit::model_server::ModelServer;
use serde_json::{Value, json};

use crate::process::{Taken, run as run_process};

/// Rounds of the cold start.
const STARTS: usize = 20;
/// Seeds of the refusals.
const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

const FLOW: &str = "inputs:
  question: {type: string, default: Who?}
outputs:
  answer: {type: string, reference: '${answer.output}'}
nodes:
- name: ask
  type: prompt
  source: {type: code, path: ask.jinja2}
  inputs: {question: '${inputs.question}'}
- name: answer
  type: llm
  source: {type: code, path: answer.jinja2}
  inputs: {model: echo, temperature: 0, text: '${ask.output}'}
  connection: builtin
  api: chat
";

struct Bench<'a> {
    binary: &'a Path,
    folder: &'a Path,
    is_json: bool,
}

/// Runs all parts; gives the figures.
pub fn run(binary: &Path, is_json: bool) -> Result<Value, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let flow = folder.path().join("flow");
    std::fs::create_dir_all(&flow).map_err(|error| error.to_string())?;
    let write = |path: &Path, text: &str| std::fs::write(path, text).map_err(|error| error.to_string());
    write(&flow.join("flow.dag.yaml"), FLOW)?;
    write(&flow.join("ask.jinja2"), "Question: {{ question }}")?;
    write(&flow.join("answer.jinja2"), "# system:\nAnswer.\n\n# user:\n{{ text }}\n")?;
    for (name, lines) in [("1k.jsonl", 1_000), ("100k.jsonl", 100_000)] {
        let rows: String =
            (0..lines).map(|line| format!("{{\"question\": \"What is number {line}?\"}}\n")).collect();
        write(&folder.path().join(name), &rows)?;
    }
    let bench = Bench { binary, folder: folder.path(), is_json };
    let mut figures =
        json!({"benchmark": "engine", "cores": std::thread::available_parallelism().map_or(0, usize::from)});
    let mut put = |name: &str, value: Value| {
        if !is_json {
            println!("{name}: {value}");
        }
        figures[name] = value;
    };
    put("start", bench.starts()?);
    put("in_process", bench.throughput(&[])?);
    put("waiting", bench.waiting()?);
    put("memory", bench.memory()?);
    put("refusals", bench.refusals()?);
    put("loopback", bench.loopback()?);
    Ok(figures)
}

impl Bench<'_> {
    fn call(&self, arguments: &[&str]) -> Result<Taken, String> {
        let taken = run_process(self.binary, arguments, self.folder)?;
        match taken.code {
            0 => Ok(taken),
            code => Err(format!("`flowbench {}` ended with {code}: {}", arguments.join(" "), taken.stderr)),
        }
    }

    fn note(&self, text: &str) {
        if !self.is_json {
            eprintln!("{text}");
        }
    }

    /// A two-node flow in a new process with a warm file cache.
    fn starts(&self) -> Result<Value, String> {
        self.note("cold starts of a two-node flow");
        self.call(&["run", "flow", "--quiet"])?;
        let mut walls = Vec::new();
        for _ in 0..STARTS {
            walls.push(self.call(&["run", "flow", "--quiet"])?.wall.as_secs_f64() * 1000.0);
        }
        Ok(
            json!({"rounds": STARTS, "median_ms": median(&mut walls), "most_ms": walls.last(), "target_ms": 50}),
        )
    }

    fn batch(&self, data: &str, more: &[&str]) -> Result<Taken, String> {
        let mut arguments =
            vec!["batch", "flow", "--data", data, "--quiet", "--out", "out.jsonl", "--no-cache"];
        arguments.extend(more);
        self.call(&arguments)
    }

    fn throughput(&self, more: &[&str]) -> Result<Value, String> {
        self.note("1,000 lines that cost nothing");
        let mut walls = Vec::new();
        for _ in 0..5 {
            walls.push(self.batch("1k.jsonl", more)?.wall.as_secs_f64());
        }
        let wall = median(&mut walls);
        Ok(json!({"lines": 1000, "median_s": wall, "lines_per_s": 1000.0 / wall, "target_lines_per_s": 2000}))
    }

    /// 1,000 answers of 200 ms, 16 at a time: 63 rounds, 12.6 s if nothing is lost.
    fn waiting(&self) -> Result<Value, String> {
        self.note("1,000 lines at 200 ms, 16 in flight");
        let taken = self.batch("1k.jsonl", &["--set", "answer.model=echo-200ms", "--parallel", "16"])?;
        let wall = taken.wall.as_secs_f64();
        Ok(json!({"seconds": wall, "ideal_s": 12.6, "ratio": wall / 12.6, "target_ratio": 1.03}))
    }

    fn memory(&self) -> Result<Value, String> {
        self.note("memory at 1,000 and at 100,000 lines");
        let few = self.batch("1k.jsonl", &[])?;
        let many = self.batch("100k.jsonl", &[])?;
        let ratio = few.peak_mb.zip(many.peak_mb).map(|(few, many)| many / few);
        Ok(json!({
            "peak_1k_mb": few.peak_mb, "peak_100k_mb": many.peak_mb, "ratio": ratio,
            "lines_per_s_100k": 100_000.0 / many.wall.as_secs_f64(),
            "target_mb": 100, "target_ratio": 1.1,
        }))
    }

    /// A tenth of the answers refused without `Retry-After`, against none, for each seed.
    fn refusals(&self) -> Result<Value, String> {
        self.note("a tenth of the answers refused");
        let mut ratios = Vec::new();
        for seed in SEEDS {
            // Which attempts are refused depends on the question, so that other questions are another seed.
            let data = format!("seed-{seed}.jsonl");
            let rows: String = (0..1000)
                .map(|line| format!("{{\"question\": \"Seed {seed}, number {line}?\"}}\n"))
                .collect();
            std::fs::write(self.folder.join(&data), rows).map_err(|error| error.to_string())?;
            let without = self.batch(&data, &["--set", "answer.model=echo-200ms"])?.wall.as_secs_f64();
            let refused = ["--set", "answer.model=rate-limited-10pct-200ms"];
            let with = self.batch(&data, &refused)?.wall.as_secs_f64();
            ratios.push(with / without);
        }
        let median = median(&mut ratios);
        Ok(json!({"ratios": ratios, "median_ratio": median, "target_ratio": 1.3}))
    }

    /// The same lines over HTTP on loopback.
    fn loopback(&self) -> Result<Value, String> {
        self.note("1,000 lines over loopback HTTP");
        let server = ModelServer::start();
        let connections = format!(
            "connections:\n  - {{name: stand_in, type: open_ai, base_url: \"{}\", api_key: none}}\n",
            server.base_url()
        );
        std::fs::write(self.folder.join("connections-bench.yaml"), connections)
            .map_err(|error| error.to_string())?;
        let over_http = ["--connections", "connections-bench.yaml", "--set", "answer.connection=stand_in"];
        let quick = self.throughput(&over_http)?;
        let mut slow = over_http.to_vec();
        slow.extend(["--set", "answer.model=echo-200ms"]);
        let wall = self.batch("1k.jsonl", &slow)?.wall.as_secs_f64();
        Ok(json!({"at_0_ms": quick, "at_200_ms_s": wall, "ratio": wall / 12.6, "target_ratio": 1.03}))
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 if middle > 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values.get(middle).copied().unwrap_or_default(),
    }
}
