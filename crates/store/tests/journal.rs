//! The journal of a batch under the things that happen to it: kills, cuts, damage, full disks, two at once.
#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use flowbench_core::event::{Failure, Status};
use flowbench_store::{
    JournalEnd, JournalError, JournalHeader, JournalReader, LineRecord, Redactor, ResumePolicy, RunJournal,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn header() -> JournalHeader {
    JournalHeader {
        flow_digest: "f".to_owned(),
        data_digest: "d".to_owned(),
        line_count: 4,
        ..JournalHeader::new("run-1", "flows/ask-docs")
    }
}

fn line(number: u64, answer: &str) -> LineRecord {
    let Value::Object(outputs) = json!({"answer": answer}) else { unreachable!() };
    LineRecord { outputs, duration_ms: number, ..LineRecord::new(number, Status::Completed) }
}

fn failed(number: u64) -> LineRecord {
    let error = Failure {
        code: "model/timeout".to_owned(),
        message: "no answer within 30 s".to_owned(),
        hints: Vec::new(),
        node: None,
        details: None,
    };
    LineRecord { error: Some(error), ..LineRecord::new(number, Status::Failed) }
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs/run-1/journal.jsonl");
    (folder, path)
}

fn outputs(reader: &JournalReader) -> String {
    let mut bytes = Vec::new();
    reader.write_outputs_in_order(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn finished(path: &Path) -> Vec<u64> {
    JournalReader::open(path).unwrap().finished_lines(ResumePolicy::RedoFailed).collect()
}

#[test]
fn outputs_come_in_line_order_whatever_ended_first() {
    let expected = "{\"line_number\":0,\"status\":\"completed\",\"outputs\":{\"answer\":\"é \\\"a\\\"\"},\"error\":null}\n\
                    {\"line_number\":1,\"status\":\"failed\",\"outputs\":{},\"error\":{\"code\":\"model/timeout\",\"message\":\"no answer within 30 s\"}}\n\
                    {\"line_number\":7,\"status\":\"completed\",\"outputs\":{\"answer\":\"c\"},\"error\":null}\n";
    let records = [line(0, "é \"a\""), failed(1), line(7, "c")];
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let (_folder, path) = place();
        let journal = RunJournal::create(&path, &header()).unwrap();
        for index in order {
            journal.append(&records[index]).unwrap();
        }
        let reader = journal.finish(None).unwrap();
        assert_eq!(outputs(&reader), expected);
        let read: Vec<LineRecord> = reader.records().unwrap().map(Result::unwrap).collect();
        assert_eq!(read, records, "the records come back whole");
        assert_eq!(reader.record(7).unwrap().unwrap(), records[2]);
        assert_eq!(reader.record(3).unwrap(), None);
    }
}

#[test]
fn a_resumed_batch_ends_like_an_undisturbed_one() {
    let (_folder, whole) = place();
    let journal = RunJournal::create(&whole, &header()).unwrap();
    for number in 0..4 {
        journal.append(&line(number, "x")).unwrap();
    }
    let expected = outputs(&journal.finish(None).unwrap());

    let (_folder, path) = place();
    let journal = RunJournal::create(&path, &header()).unwrap();
    journal.append(&line(2, "x")).unwrap();
    journal.append(&failed(0)).unwrap();
    drop(journal);
    let journal = RunJournal::resume(&path, &header()).unwrap();
    assert!(journal.is_finished(2, ResumePolicy::RedoFailed));
    assert!(!journal.is_finished(0, ResumePolicy::RedoFailed), "a failed line is tried again");
    assert!(journal.is_finished(0, ResumePolicy::KeepFailed));
    for number in [3, 0, 1] {
        journal.append(&line(number, "x")).unwrap();
    }
    let end = JournalEnd {
        status: Status::Completed,
        finished_ms: 5,
        metrics: Map::from_iter([("f1".to_owned(), json!(0.5))]),
        nodes: Vec::new(),
        error: None,
    };
    let reader = journal.finish(Some(&end)).unwrap();
    assert_eq!(outputs(&reader), expected);
    let again = JournalReader::open(&path).unwrap();
    assert_eq!(outputs(&again), expected);
    assert_eq!(again.end(), Some(&end));
    assert_eq!((again.line_count(), again.count(Status::Failed)), (4, 0), "the repeated line counts once");
}

#[test]
fn a_journal_cut_at_any_byte_opens_with_all_whole_lines() {
    let (_folder, path) = place();
    let journal = RunJournal::create(&path, &header()).unwrap();
    let mut ends = vec![fs::metadata(&path).unwrap().len()];
    for number in 0..3 {
        journal.append(&line(number, "answer with \n and é")).unwrap();
        ends.push(fs::metadata(&path).unwrap().len());
    }
    drop(journal);
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() as u64 {
        fs::write(&path, &whole[..cut as usize]).unwrap();
        if cut < ends[0] {
            let error = RunJournal::resume(&path, &header()).err().unwrap();
            assert!(matches!(error, JournalError::NoHeader { .. }), "cut at {cut}: {error}");
            continue;
        }
        let lines = ends.iter().skip(1).filter(|end| **end <= cut).count() as u64;
        let kept: Vec<u64> = (0..lines).collect();
        assert_eq!(finished(&path), kept, "read only, cut at {cut}");
        let journal = RunJournal::resume(&path, &header()).unwrap();
        assert_eq!(journal.before().torn_bytes(), cut - ends[lines as usize]);
        journal.append(&line(9, "after")).unwrap();
        drop(journal);
        assert_eq!(finished(&path), [kept, vec![9]].concat(), "cut at {cut}");
    }
}

#[test]
fn zero_bytes_that_a_power_failure_left_are_taken_off() {
    let (_folder, path) = place();
    let journal = RunJournal::create(&path, &header()).unwrap();
    journal.append(&line(0, "x")).unwrap();
    drop(journal);
    let sound = fs::metadata(&path).unwrap().len();
    for zeros in [vec![0; 4096], [vec![0; 10], vec![b'\n']].concat()] {
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(sound).unwrap();
        std::io::Write::write_all(&mut fs::OpenOptions::new().append(true).open(&path).unwrap(), &zeros)
            .unwrap();
        let journal = RunJournal::resume(&path, &header()).unwrap();
        assert_eq!(journal.before().torn_bytes(), zeros.len() as u64);
    }
    assert_eq!(finished(&path), [0]);
}

#[track_caller]
fn check_damage(damage: impl FnOnce(&mut Vec<u8>) -> usize, reason: &str) {
    let (_folder, path) = place();
    let journal = RunJournal::create(&path, &header()).unwrap();
    for number in 0..3 {
        journal.append(&line(number, "x")).unwrap();
    }
    drop(journal);
    let mut bytes = fs::read(&path).unwrap();
    let offset = damage(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    let error = RunJournal::resume(&path, &header()).err().expect("damage is no crash");
    assert_eq!(
        error.to_string(),
        format!("journal `{}` is damaged at byte {offset}: {reason}", path.display())
    );
    assert!(error.hint().unwrap().contains(&format!("cut `{}` off at byte {offset}", path.display())));
    assert_eq!(fs::read(&path).unwrap(), bytes, "nothing is changed");
}

/// Where line `index` of the file begins.
fn start(bytes: &[u8], index: usize) -> usize {
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(index - 1).unwrap().0 + 1
}

#[test]
fn damage_in_the_middle_is_named_by_its_byte() {
    check_damage(
        |bytes| {
            let at = start(bytes, 2);
            bytes.splice(at..at, *b"garbage\n");
            at
        },
        "expected value",
    );
    check_damage(
        |bytes| {
            let at = start(bytes, 1);
            bytes.splice(at..at, *b"{\"other\": 1}\n");
            at
        },
        "neither a line's record nor the end of a batch",
    );
    check_damage(
        |bytes| {
            let at = start(bytes, 3);
            bytes[at] = 0;
            at
        },
        "expected value",
    );
    check_damage(
        |bytes| {
            bytes.drain(..start(bytes, 1));
            0
        },
        "the first line is no journal header",
    );
}

#[test]
fn a_changed_flow_is_not_resumed() {
    let (_folder, path) = place();
    drop(RunJournal::create(&path, &header()).unwrap());
    let mut now = header();
    now.flow_digest = "other".to_owned();
    now.mapping = Map::from_iter([("a".to_owned(), json!("${data.b}"))]);
    let error = RunJournal::resume(&path, &now).err().unwrap();
    assert_eq!(
        error.to_string(),
        "batch `run-1` cannot be resumed: the flow and the mapping changed since it began"
    );
    let error = RunJournal::create(&path, &header()).err().unwrap();
    assert!(matches!(error, JournalError::Exists { .. }), "{error}");
    fs::write(&path, "{\"journal_version\":2}\n").unwrap();
    let error = RunJournal::resume(&path, &header()).err().unwrap();
    assert!(error.to_string().ends_with("has version 2, and this program reads up to 1"), "{error}");
    let nowhere = path.with_file_name("none/journal.jsonl");
    assert!(matches!(RunJournal::resume(&nowhere, &header()), Err(JournalError::Io { .. })));
    assert!(!nowhere.parent().unwrap().exists(), "asking leaves nothing behind");
}

#[test]
fn two_processes_cannot_run_the_same_batch() {
    let (_folder, path) = place();
    let journal = RunJournal::create(&path, &header()).unwrap();
    let error = RunJournal::resume(&path, &header()).err().unwrap();
    assert!(error.to_string().ends_with("runs/run-1` is being run by another process"), "{error}");
    journal.append(&line(0, "x")).unwrap();
    assert_eq!(finished(&path), [0], "reading is always possible");
    assert!(RunJournal::is_running(&path));
    drop(journal);
    assert!(!RunJournal::is_running(&path) && !RunJournal::is_running(&path.with_file_name("none")));
    RunJournal::resume(&path, &header()).unwrap();
}

#[test]
fn secrets_do_not_reach_the_journal() {
    let (_folder, path) = place();
    let redactor = Arc::new(Redactor::new(["sk-secret-123"]));
    let journal = RunJournal::create(&path, &header()).unwrap().with_redactor(redactor);
    journal.append(&line(0, "the key is sk-secret-123")).unwrap();
    journal.append(&line(1, "fine")).unwrap();
    let reader = journal.finish(None).unwrap();
    assert!(!fs::read_to_string(&path).unwrap().contains("sk-secret"));
    assert_eq!(reader.record(0).unwrap().unwrap().outputs["answer"], "the key is ••••");
    assert_eq!(reader.record(1).unwrap().unwrap(), line(1, "fine"));
}

#[test]
fn many_threads_append_without_mixing_lines() {
    let (_folder, path) = place();
    let journal = RunJournal::create(&path, &header()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let journal = &journal;
            scope.spawn(move || {
                for number in 0..200 {
                    journal.append(&line(number * 4 + thread, &"x".repeat(number as usize * 7))).unwrap();
                }
            });
        }
    });
    let reader = journal.finish(None).unwrap();
    assert!(reader.records().unwrap().map(|record| record.unwrap().line_number).eq(0..800));
    assert_eq!(outputs(&reader), outputs(&JournalReader::open(&path).unwrap()));
}

/// Set in the child process that is to be killed: where its journal is.
const CHILD: &str = "FLOWBENCH_TEST_JOURNAL_CHILD";

/// Not a test of its own: what the killed child runs. Writes line after line, and says each one's number after it
/// was counted.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let journal = RunJournal::resume(Path::new(&path), &header()).unwrap();
    let counted =
        fs::OpenOptions::new().append(true).open(Path::new(&path).with_extension("counted")).unwrap();
    let first = journal.before().line_count();
    for number in first..u64::MAX {
        journal.append(&line(number, &"long answer ".repeat(number as usize % 50))).unwrap();
        std::io::Write::write_all(&mut &counted, format!("{number}\n").as_bytes()).unwrap();
    }
}

#[test]
fn a_killed_batch_loses_no_line_that_was_counted() {
    let (_folder, path) = place();
    drop(RunJournal::create(&path, &header()).unwrap());
    let counted_path = path.with_extension("counted");
    fs::write(&counted_path, "").unwrap();
    let counted = || -> u64 { fs::read_to_string(&counted_path).unwrap().lines().count() as u64 };
    for round in 1..=5u64 {
        let before = counted();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_appends_until_it_is_killed"])
            .env(CHILD, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Somewhere in the middle of its appends, later each time.
        while counted() < before + 37 * round {
            assert!(child.try_wait().unwrap().is_none(), "the child must not end by itself");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let reader = JournalReader::open(&path).unwrap();
        let kept: Vec<u64> = reader.finished_lines(ResumePolicy::RedoFailed).collect();
        assert!(kept.iter().copied().eq(0..kept.len() as u64), "no gap, none twice");
        assert!(kept.len() as u64 >= counted(), "round {round}: {} kept, {} counted", kept.len(), counted());
        for record in reader.records().unwrap() {
            let record = record.unwrap();
            let expected = "long answer ".repeat(record.line_number as usize % 50);
            assert_eq!(record.outputs["answer"], expected.as_str());
        }
        // What was written and not yet counted when the kill came is counted now, as a resumed batch does.
        fs::write(&counted_path, (0..kept.len()).map(|number| format!("{number}\n")).collect::<String>())
            .unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any interleaving of failures, repetitions and interruptions leaves the outputs of the last attempts.
    #[test]
    fn the_last_attempt_of_each_line_counts(
        attempts in proptest::collection::vec((0u64..6, any::<bool>(), ".{0,8}", 0u8..8), 0..24)
    ) {
        let (_folder, path) = place();
        let mut journal = RunJournal::create(&path, &header()).unwrap();
        let mut expected = std::collections::BTreeMap::new();
        for (number, is_failed, answer, interruption) in attempts {
            let record = if is_failed { failed(number) } else { line(number, &answer) };
            journal.append(&record).unwrap();
            expected.insert(number, record);
            if interruption == 0 {
                drop(journal);
                let torn = fs::read(&path).unwrap();
                fs::write(&path, [&torn[..], b"{\"line_number\":9,\"sta"].concat()).unwrap();
                journal = RunJournal::resume(&path, &header()).unwrap();
            }
        }
        let reader = journal.finish(None).unwrap();
        let read: Vec<LineRecord> = reader.records().unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(read, expected.into_values().collect::<Vec<_>>());
    }
}

#[test]
fn keys_that_are_words_of_the_journal_do_no_harm() {
    let (_folder, path) = place();
    let redactor = Arc::new(Redactor::new(["line", "status", "completed", "model/timeout"]));
    let journal = RunJournal::create(&path, &header()).unwrap().with_redactor(redactor);
    journal.append(&line(0, "the status of a line is completed")).unwrap();
    journal.append(&failed(1)).unwrap();
    drop(journal);
    let reader = JournalReader::open(&path).unwrap();
    let records: Vec<LineRecord> = reader.records().unwrap().map(Result::unwrap).collect();
    assert_eq!(records, [line(0, "the status of a line is completed"), failed(1)]);
}
