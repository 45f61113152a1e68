//! A worker that can be told to misbehave, by documents that begin with a command. Only for the tests beside it.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use flowbench_extract::{ExtractError, ExtractRequest, Extracted, Limits, extract, isolated};

fn main() -> ExitCode {
    match isolated::serve_with(io::stdin(), io::stdout(), obey) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn obey(request: &ExtractRequest, limits: &Limits) -> Result<Extracted, ExtractError> {
    let text = String::from_utf8_lossy(&request.bytes);
    // The zero byte keeps such documents from being read by the host itself.
    let Some(command) = text.strip_prefix("\0test ") else { return extract(request, limits) };
    let said = |text: String| Ok(Extracted { text, ..Extracted::default() });
    match command.trim_end_matches('x') {
        "hang" => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        "panic" => panic!("told to panic"),
        "abort" => std::process::abort(),
        "overflow" => said(deeper(0).to_string()),
        "hunger" => {
            let mut held = Vec::new();
            loop {
                held.push(vec![1_u8; 8 << 20]);
            }
        }
        "environment" => {
            let mut names: Vec<String> =
                std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
            names.sort();
            said(names.join(" "))
        }
        "network" => said(
            std::net::UdpSocket::bind("127.0.0.1:0")
                .map_or_else(|error| error.to_string(), |_| "open".to_owned()),
        ),
        "file" => said(
            std::fs::File::open(file!())
                .or_else(|_| std::fs::File::open("/"))
                .map_or_else(|error| error.to_string(), |_| "open".to_owned()),
        ),
        "process" => said(std::process::id().to_string()),
        other => said(format!("no command `{other}`")),
    }
}

/// Calls itself until the stack ends.
fn deeper(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 512]);
    if depth == u64::MAX { 0 } else { deeper(depth + 1).wrapping_add(frame[511]) }
}
