//! The only place that prints: results to stdout, findings, progress and errors to stderr.
#![expect(clippy::print_stderr, reason = "this is the printer")]

use std::io::{IsTerminal, Write};

use flowbench_api::error::ApiError;
use flowbench_core::event::{Cost, RunEvent, RunEventKind, Status};
use serde_json::{Value, json};

use crate::arguments::{Format, Global};

/// Prints as the global flags say.
#[derive(Clone)]
pub struct Printer {
    format: Format,
    is_quiet: bool,
    verbosity: u8,
    is_terminal: bool,
}

impl Printer {
    /// A printer for these flags.
    pub fn new(global: &Global) -> Self {
        Self {
            format: global.format,
            is_quiet: global.quiet,
            verbosity: global.verbose,
            is_terminal: std::io::stderr().is_terminal(),
        }
    }

    /// True if results are to be JSON.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// True if progress can be redrawn.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal && !self.is_quiet
    }

    /// True if `-v` was given.
    pub fn is_verbose(&self) -> bool {
        self.verbosity > 0
    }

    /// A line of results.
    pub fn line(&self, text: &str) {
        self.raw(&format!("{text}\n"));
    }

    /// Result text as it is. A reader that went away (`| head`) is no error.
    pub fn raw(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// A result as JSON, on one line.
    pub fn json(&self, value: &Value) {
        self.line(&value.to_string());
    }

    /// A note for the user, unless quiet.
    pub fn note(&self, text: &str) {
        if !self.is_quiet {
            eprintln!("{text}");
        }
    }

    /// A prompt for the user, without a line end.
    pub fn note_inline(&self, text: &str) {
        if !self.is_quiet {
            eprint!("{text}");
            let _ = std::io::stderr().flush();
        }
    }

    /// A warning, unless quiet.
    pub fn warning(&self, text: &str) {
        self.note(&format!("warning: {text}"));
    }

    /// Progress in place of the last one; only on a terminal.
    pub fn progress(&self, text: &str) {
        if self.is_terminal() {
            eprint!("\r\x1b[2K{text}");
            let _ = std::io::stderr().flush();
        }
    }

    /// Ends the line of progress.
    pub fn end_progress(&self) {
        if self.is_terminal() {
            eprint!("\r\x1b[2K");
        }
    }

    /// An error; gives the exit code to end with.
    pub fn error(&self, error: &ApiError) -> u8 {
        self.end_progress();
        if self.is_json() {
            self.json(&json!({"error": error}));
        } else {
            let place = error.place.as_ref().and_then(|place| {
                let file = place.file.as_deref()?;
                Some(match (place.line, place.column) {
                    (Some(line), Some(column)) => format!("{file}:{line}:{column}: "),
                    (Some(line), None) => format!("{file}:{line}: "),
                    _ => format!("{file}: "),
                })
            });
            eprintln!("error: {}{}", place.unwrap_or_default(), error.message);
            if let Some(traceback) =
                error.details.as_ref().and_then(|details| details.get("traceback")).and_then(Value::as_str)
            {
                eprintln!("{}", traceback.trim_end());
            }
            for hint in &error.hints {
                eprintln!("hint: {hint}");
            }
        }
        error.exit
    }

    /// Said when the user stopped the command.
    pub fn interrupted(&self) {
        self.end_progress();
        if self.is_json() {
            self.json(&json!({"error": {"code": "interrupted", "message": "interrupted"}}));
        } else {
            eprintln!("interrupted");
        }
    }

    /// One event of a run, as a line of its trace.
    pub fn trace_line(&self, event: &RunEvent) -> Option<String> {
        let line = event.line.map(|line| format!("line {line}  ")).unwrap_or_default();
        let text = match &event.kind {
            RunEventKind::RunStarted { flow, .. } => format!("run `{flow}` as {}", event.run),
            RunEventKind::NodeStarted { .. } | RunEventKind::NodeChunk { .. } => return None,
            RunEventKind::NodeLog { node, stream, text } => {
                format!("  {node}  {stream}: {}", text.trim_end().replace('\n', "\n      "))
            }
            RunEventKind::ModelCalled { node, call } => {
                let tokens = call.reply.as_ref().and_then(|reply| reply.usage).map_or_else(
                    || "tokens not told".to_owned(),
                    |usage| format!("{} + {} tokens", usage.input, usage.output),
                );
                let cost = call.cost.as_ref().map(|cost| format!(", {}", money(cost))).unwrap_or_default();
                let attempts =
                    if call.attempts > 1 { format!(", {} attempts", call.attempts) } else { String::new() };
                format!("  {node}  asked {}: {tokens}{cost}, {} ms{attempts}", call.model, call.duration_ms)
            }
            RunEventKind::NodeRetried { node, attempt, reason, wait_ms } => {
                format!("  {node}  attempt {attempt} failed, next in {wait_ms} ms: {reason}")
            }
            RunEventKind::NodeFinished { node, status, output, error, duration_ms, reuse } => {
                let what = match status {
                    Status::Completed => shorten(output),
                    Status::Bypassed => "bypassed".to_owned(),
                    Status::Canceled => "canceled".to_owned(),
                    Status::Failed => {
                        format!("failed: {}", error.as_ref().map_or("", |error| error.message.as_str()))
                    }
                };
                let reuse = match reuse {
                    Some(reuse) if reuse.is_reused => format!(" (reused: {})", reuse.reason),
                    Some(reuse) if self.is_verbose() => format!(" (not reused: {})", reuse.reason),
                    _ => String::new(),
                };
                format!("  {node}  {duration_ms} ms  {what}{reuse}")
            }
            RunEventKind::Metric { node, name, value } => format!("  {node}  metric {name} = {value}"),
            RunEventKind::Warning { message, node, .. } => {
                let node = node.as_ref().map(|node| format!("{node}  ")).unwrap_or_default();
                format!("  {node}warning: {message}")
            }
            RunEventKind::RunFinished { status, usage, cost, duration_ms, .. } => {
                let tokens = usage.map(|usage| format!(", {} tokens", usage.total())).unwrap_or_default();
                let cost = cost.as_ref().map(|cost| format!(", {}", money(cost))).unwrap_or_default();
                format!("{} in {duration_ms} ms{tokens}{cost}", status_word(*status))
            }
        };
        Some(format!("{line}{text}"))
    }
}

/// A status in one word.
pub fn status_word(status: Status) -> &'static str {
    match status {
        Status::Completed => "completed",
        Status::Failed => "failed",
        Status::Bypassed => "bypassed",
        Status::Canceled => "canceled",
    }
}

/// A cost with its currency.
pub fn money(cost: &Cost) -> String {
    format!("{:.6} {}", cost.micros as f64 / 1e6, cost.currency)
}

/// A value on one line, cut at 120 characters.
pub fn shorten(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let flat = text.replace(['\n', '\r'], " ");
    match flat.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &flat[..end]),
        None => flat,
    }
}

/// A value as a person wants to read it: text as it is, everything else as indented JSON.
pub fn readable(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}
