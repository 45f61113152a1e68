//! `cargo xtask demo`: from a bare machine to an answer over real documents.
//!
//! Only the command line is built, in a profile made for build time. The flow answers with `builtin/extractive`,
//! so that no model has to be downloaded.

use std::time::Instant;

use serde_json::Value;

use crate::Outcome;
use crate::setup::{self, Need};
use crate::shell::{Call, root, target_dir};

const FLOW: &str = "flows/ask-docs";
const QUESTION: &str = "What happens to finished lines when a batch is killed?";

/// `cargo xtask demo [QUESTION]`
pub fn run(args: &[String]) -> Outcome {
    let question = args.first().map_or(QUESTION, String::as_str);
    let started = Instant::now();
    setup::ensure(&[Need::Compiler])?;
    Call::words("cargo build --profile demo -p flowbench-cli").run()?;
    println!("built in {:.0} s\n", started.elapsed().as_secs_f64());

    let binary = target_dir().join("demo").join(format!("flowbench{}", std::env::consts::EXE_SUFFIX));
    let input = format!("question={question}");
    let reply = Call::new(&binary, ["run", FLOW, "--input", &input, "--format", "json"]).output()?;
    let reply: Value = serde_json::from_str(&reply)
        .map_err(|error| format!("`flowbench run` wrote something that is not JSON: {error}\n{reply}"))?;
    let run_id = reply["run_id"].as_str().ok_or("`flowbench run` named no run")?;
    let answer = reply["outputs"]["answer"].as_str().filter(|answer| !answer.trim().is_empty());
    let answer = answer.ok_or_else(|| format!("the flow gave no answer: {reply}"))?;
    println!("question  {question}\nanswer    {}\n", answer.trim().replace('\n', "\n          "));

    println!("trace of run {run_id}");
    Call::new(&binary, ["runs", "trace", run_id]).run()?;

    let shown = binary.strip_prefix(root()).unwrap_or(&binary).display();
    println!("\nagain, or with a question of your own:");
    println!("  {shown} run {FLOW} --input question='{}'", question.replace('\'', "'\\''"));
    println!("  {shown} runs trace {run_id}");
    println!("  {shown} check .");
    println!("\nfrom start to answer: {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}
