//! Documents are read in other processes, and what they do there costs nobody but themselves.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flowbench_extract::isolated::{IsolatedExtractor, WorkerCommand};
use flowbench_extract::{ExtractError, ExtractRequest, Extracted, Extractor, Limits};

fn worker() -> WorkerCommand {
    WorkerCommand { program: PathBuf::from(env!("CARGO_BIN_EXE_extract-test-worker")), args: Vec::new() }
}

fn extractor(limits: Limits) -> IsolatedExtractor {
    IsolatedExtractor::new(worker(), limits, 1)
}

fn command(text: &str) -> ExtractRequest {
    ExtractRequest {
        name: "document".to_owned(),
        bytes: format!("\0test {text}").into_bytes(),
        ..ExtractRequest::default()
    }
}

fn tell(extractor: &IsolatedExtractor, text: &str) -> Result<String, ExtractError> {
    extractor.extract(&command(text)).map(|found| found.text)
}

/// The extractor still reads, in a process other than `before` when that is given.
#[track_caller]
fn still_works(extractor: &IsolatedExtractor, before: Option<&str>) {
    let process = tell(extractor, "process").expect("the extractor reads on");
    assert!(process.parse::<u32>().is_ok(), "{process}");
    assert_ne!(Some(process.as_str()), before, "the worker should have been replaced");
}

#[test]
fn one_worker_reads_many_documents() {
    let extractor = extractor(Limits::default());
    let first = tell(&extractor, "process").unwrap();
    assert_eq!(tell(&extractor, "process").unwrap(), first, "the worker is kept warm");
    let page = ExtractRequest {
        name: "page.html".to_owned(),
        bytes: b"<html><body><p>Words of a page that a reader would want to see.</p></body></html>".to_vec(),
        ..ExtractRequest::default()
    };
    let Extracted { text, .. } = extractor.extract(&page).unwrap();
    assert!(text.contains("Words of a page"), "{text}");
}

#[test]
fn a_document_that_hangs_is_given_up_in_time() {
    let extractor = extractor(Limits { max_millis: 300, ..Limits::default() });
    let before = tell(&extractor, "process").unwrap();
    let start = Instant::now();
    let error = tell(&extractor, "hang").unwrap_err();
    assert_eq!(error, ExtractError::TimedOut { seconds: 1 });
    assert!(start.elapsed() < Duration::from_secs(20), "the time limit holds");
    still_works(&extractor, Some(&before));
}

#[test]
fn a_panic_names_what_went_wrong() {
    let extractor = extractor(Limits::default());
    let before = tell(&extractor, "process").unwrap();
    let error = tell(&extractor, "panic").unwrap_err();
    assert_eq!(error.to_string(), "its reader crashed: told to panic");
    still_works(&extractor, Some(&before));
}

#[test]
#[cfg(unix)]
fn a_crash_names_its_signal() {
    let extractor = extractor(Limits::default());
    let before = tell(&extractor, "process").unwrap();
    let error = tell(&extractor, "abort").unwrap_err().to_string();
    assert!(error.contains("SIGABRT"), "{error}");
    let error = tell(&extractor, "overflow").unwrap_err().to_string();
    assert!(error.contains("stack overflow"), "{error}");
    still_works(&extractor, Some(&before));
}

#[test]
#[cfg(target_os = "linux")]
fn a_document_that_eats_memory_is_named_as_such() {
    let extractor = extractor(Limits { max_memory_bytes: 256 << 20, ..Limits::default() });
    let before = tell(&extractor, "process").unwrap();
    let error = tell(&extractor, "hunger").unwrap_err();
    assert_eq!(
        error.to_string(),
        "it is larger than allowed: the memory that reading it takes is above 256 MiB"
    );
    still_works(&extractor, Some(&before));
}

#[test]
#[cfg(unix)]
fn workers_have_no_secrets_no_files_and_no_network() {
    let extractor = extractor(Limits::default());
    let names = tell(&extractor, "environment").unwrap();
    assert!(names.split(' ').all(|name| ["PATH", "LANG", ""].contains(&name)), "{names}");
    for what in ["network", "file"] {
        let answer = tell(&extractor, what).unwrap();
        assert!(answer.contains("Too many open files"), "{what}: {answer}");
    }
}

#[test]
fn a_large_document_that_nobody_reads_does_not_block_its_sender() {
    let extractor = extractor(Limits { max_millis: 300, ..Limits::default() });
    // Longer than any pipe, so that the rest of it waits until the worker is ended.
    let request = command(&format!("hang{}", "x".repeat(4 << 20)));
    let error = extractor.extract(&request).unwrap_err();
    assert_eq!(error, ExtractError::TimedOut { seconds: 1 });
    still_works(&extractor, None);
}

#[test]
fn workers_end_with_their_host() {
    // What the host says first, and a document that hangs; then the host is gone.
    let frame = |bytes: &[u8]| {
        let mut frame = (bytes.len() as u64).to_le_bytes().to_vec();
        frame.extend_from_slice(bytes);
        frame
    };
    let limits = serde_json::to_vec(&Limits::default()).unwrap();
    let header = br#"{"name":"a","media_type":null,"password":null}"#;
    for messages in [vec![], vec![limits.clone()], vec![limits, header.to_vec(), b"\0test hang".to_vec()]] {
        let mut child = Command::new(worker().program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        for message in &messages {
            input.write_all(&frame(message)).unwrap();
        }
        drop(input);
        // Ends when the worker does, without looking at a clock.
        child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.success(), messages.len() < 3, "{status}");
    }
}

#[test]
fn a_program_that_is_no_worker_is_named() {
    let missing =
        WorkerCommand { program: PathBuf::from("/no/such/program"), args: vec![OsString::from("x")] };
    let error =
        IsolatedExtractor::new(missing, Limits::default(), 1).extract(&command("process")).unwrap_err();
    let ExtractError::NoReader { reason } = error else { panic!("{error:?}") };
    assert!(reason.contains("/no/such/program"), "{reason}");

    let other =
        WorkerCommand { program: std::env::current_exe().unwrap(), args: vec![OsString::from("--list")] };
    let error = IsolatedExtractor::new(other, Limits::default(), 1).extract(&command("process")).unwrap_err();
    assert!(matches!(error, ExtractError::NoReader { .. }), "{error:?}");
}

#[test]
fn small_texts_need_no_worker() {
    let nobody = WorkerCommand { program: PathBuf::from("/no/such/program"), args: Vec::new() };
    let extractor = IsolatedExtractor::new(nobody, Limits::default(), 1);
    for (name, text) in [("a.txt", "Plain words."), ("a.md", "# Head\n\nWords.")] {
        let request =
            ExtractRequest { name: name.to_owned(), bytes: text.into(), ..ExtractRequest::default() };
        assert!(!extractor.extract(&request).unwrap().text.is_empty(), "{name}");
    }
}

#[test]
fn threads_share_the_workers() {
    let extractor = IsolatedExtractor::new(worker(), Limits::default(), 2);
    let mut processes: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| tell(&extractor, "process").unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    processes.sort();
    processes.dedup();
    assert!(processes.len() <= 2, "{processes:?}");
}
