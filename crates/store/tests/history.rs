//! Run records and the cache of node results, under use by several processes and with broken files.
#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::fs;

use flowbench_core::event::{RunEvent, RunEventKind};
use flowbench_core::ids::RunId;
use flowbench_store::{
    CacheStore, EventLog, JournalHeader, RunFilter, RunJournal, RunKind, RunRecord, RunState, RunStore,
    StateFolder, StoreError,
};
use serde_json::{Map, Value, json};

fn state() -> (tempfile::TempDir, StateFolder) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateFolder::new(folder.path().join(".flowbench"));
    (folder, state)
}

fn run(id: &str, flow: &str, started_ms: u64) -> RunRecord {
    RunRecord::started(RunId::from(id), RunKind::Single, flow, "flows/x", started_ms)
}

fn ids(runs: Vec<RunRecord>) -> Vec<String> {
    runs.into_iter().map(|run| run.id.0).collect()
}

#[test]
fn runs_come_back_as_they_were_kept() {
    let (_folder, state) = state();
    let mut record = run("a1", "ask-docs", 5);
    record.outputs = Map::from_iter([("answer".to_owned(), json!({"é": [1.5, null]}))]);
    record.status = RunState::Failed;
    record.finished_ms = Some(9);
    record.usage = Some(flowbench_core::chat::Usage { input: 3, output: 4, ..Default::default() });
    record.error = Some(serde_json::from_value(json!({"code": "c", "message": "m"})).unwrap());
    record.lines_total = Some(u64::MAX);
    {
        let store = RunStore::open(&state).unwrap();
        store.put(&run("a1", "ask-docs", 5)).unwrap();
        store.put(&record).unwrap();
    }
    let store = RunStore::open_existing(&state).unwrap().unwrap();
    record.lines_total = Some(i64::MAX as u64);
    assert_eq!(store.get(&RunId::from("a1")).unwrap(), Some(record));
    assert_eq!(store.get(&RunId::from("a")).unwrap(), None);
}

#[test]
fn runs_are_listed_newest_first_and_found_by_their_first_letters() {
    let (_folder, state) = state();
    assert!(RunStore::open_existing(&state).unwrap().is_none());
    assert!(!state.root().exists(), "asking leaves nothing behind");
    let store = RunStore::open(&state).unwrap();
    for (id, flow, time) in [("aa", "x", 1), ("ab", "y", 3), ("b%", "x", 2)] {
        store.put(&run(id, flow, time)).unwrap();
    }
    assert_eq!(ids(store.list(&RunFilter::default(), 10).unwrap()), ["ab", "b%", "aa"]);
    assert_eq!(ids(store.list(&RunFilter::default(), 1).unwrap()), ["ab"]);
    let of_x = RunFilter { flow: Some("x".to_owned()), before_ms: Some(2), ..Default::default() };
    assert_eq!(ids(store.list(&of_x, 10).unwrap()), ["aa"]);
    let failed =
        RunFilter { status: Some(RunState::Failed), kind: Some(RunKind::Single), ..Default::default() };
    assert!(store.list(&failed, 10).unwrap().is_empty());
    assert_eq!(store.find("a", 10).unwrap(), [RunId::from("ab"), RunId::from("aa")]);
    assert!(store.find("%", 10).unwrap().is_empty(), "no wildcard");
}

#[test]
fn events_are_told_from_any_number_on() {
    let (_folder, state) = state();
    let id = RunId::from("r");
    let event = |sequence| RunEvent {
        sequence,
        run: id.clone(),
        line: None,
        at_ms: 1,
        kind: RunEventKind::Warning { rule: "r".to_owned(), message: "m".to_owned(), node: None },
    };
    let path = state.events(&id).unwrap();
    let mut log = EventLog::create(&path).unwrap();
    for sequence in 1..=4 {
        log.append(&event(sequence)).unwrap();
    }
    log.finish().unwrap();
    let store = RunStore::open(&state).unwrap();
    assert_eq!(store.trace(&id, 1, 2).unwrap(), [event(2), event(3)]);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    assert_eq!(store.trace(&id, 0, 99).unwrap().len(), 3, "a torn last event is passed over");
    assert!(store.trace(&RunId::from("none"), 0, 9).unwrap().is_empty());
    assert!(matches!(store.trace(&RunId::from("../r"), 0, 9), Err(StoreError::BadId { .. })));
    store.put(&run("r", "x", 1)).unwrap();
    assert!(store.delete(&id).unwrap());
    assert!(!path.exists() && !store.delete(&id).unwrap());
}

#[test]
fn secrets_do_not_reach_the_history() {
    let (_folder, state) = state();
    let redactor = std::sync::Arc::new(flowbench_store::Redactor::new(["sk-secret-123"]));
    let store = RunStore::open(&state).unwrap().with_redactor(redactor);
    let mut record = run("a", "x", 1);
    record.inputs = Map::from_iter([("q".to_owned(), json!("my key is sk-secret-123"))]);
    store.put(&record).unwrap();
    assert_eq!(store.get(&RunId::from("a")).unwrap().unwrap().inputs["q"], "my key is ••••");
}

#[test]
fn the_state_folder_stays_out_of_version_control() {
    let (_folder, state) = state();
    drop(RunStore::open(&state).unwrap());
    assert_eq!(fs::read_to_string(state.root().join(".gitignore")).unwrap(), "*\n");
}

#[test]
fn a_newer_history_is_left_alone() {
    let (_folder, state) = state();
    drop(RunStore::open(&state).unwrap());
    let connection = rusqlite::Connection::open(state.runs_database()).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = RunStore::open_or_set_aside(&state).err().unwrap();
    assert!(error.to_string().ends_with("has version 99, and this program knows up to 1"), "{error}");
}

#[test]
fn a_broken_history_is_moved_aside_and_kept() {
    for content in [b"this is no database, and was never one".repeat(40), {
        let (_folder, state) = state();
        drop(RunStore::open(&state).unwrap());
        let mut bytes = fs::read(state.runs_database()).unwrap();
        bytes[100..].fill(0x5a);
        bytes
    }] {
        let (_folder, state) = state();
        fs::create_dir_all(state.root()).unwrap();
        fs::write(state.runs_database(), &content).unwrap();
        let (store, finding) = match RunStore::open_or_set_aside(&state) {
            Ok(opened) => opened,
            Err(error) => panic!("{error}"),
        };
        let finding = finding.expect("it must be told");
        assert_eq!(finding.rule, "history-damaged");
        store.put(&run("a", "x", 1)).unwrap();
        let aside = state.root().join("flowbench.db.broken-1");
        assert!(finding.suggestion.unwrap().contains(&*aside.to_string_lossy()));
        assert_eq!(fs::read(aside).unwrap(), content, "nothing of it is lost");
    }
}

#[test]
fn a_history_without_its_tables_is_broken() {
    let (_folder, state) = state();
    fs::create_dir_all(state.root()).unwrap();
    let connection = rusqlite::Connection::open(state.runs_database()).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    drop(connection);
    let store = RunStore::open(&state).unwrap();
    let error = store.put(&run("a", "x", 1)).unwrap_err();
    assert!(error.to_string().contains("is damaged: no such table"), "{error}");
}

#[test]
fn many_can_start_and_write_at_once() {
    let (_folder, state) = state();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let state = &state;
            scope.spawn(move || {
                let store = RunStore::open(state).unwrap();
                for number in 0..10 {
                    store.put(&run(&format!("{writer}-{number}"), "x", number)).unwrap();
                }
            });
        }
    });
    assert_eq!(RunStore::open(&state).unwrap().list(&RunFilter::default(), 1000).unwrap().len(), 80);
}

#[test]
fn results_of_nodes_are_found_again() {
    let (_folder, state) = state();
    let parts = json!({"definition": "d", "inputs": "i"});
    {
        let cache = CacheStore::open(&state, 1 << 20).unwrap();
        assert_eq!(cache.get("k", 1).unwrap(), None);
        assert_eq!(cache.latest_parts("f", "n").unwrap(), None);
        cache.put("f", "n", "k", &parts, &json!({"é": null}), 1).unwrap();
        assert_eq!(cache.get("k", 1).unwrap(), Some(json!({"é": null})), "also before it is stored");
        assert_eq!(cache.latest_parts("f", "n").unwrap(), Some(parts.clone()));
    }
    let cache = CacheStore::open(&state, 1 << 20).unwrap();
    assert_eq!(cache.get("k", 2).unwrap(), Some(json!({"é": null})));
    assert_eq!(cache.latest_parts("f", "n").unwrap(), Some(parts));
    cache.clear().unwrap();
    assert_eq!(cache.get("k", 3).unwrap(), None);
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    let (_folder, state) = state();
    let cache = CacheStore::open(&state, 20_000).unwrap();
    let value = Value::String("x".repeat(1000));
    for number in 0..40u64 {
        cache.put("f", "n", &format!("k{number}"), &json!({}), &value, number).unwrap();
        cache.flush().unwrap();
        assert!(cache.get("k0", number).unwrap().is_some(), "what is in use stays ({number})");
    }
    cache.put("f", "n", "huge", &json!({}), &Value::String("x".repeat(10_000)), 50).unwrap();
    cache.flush().unwrap();
    assert_eq!(cache.get("huge", 50).unwrap(), None, "one result may not push out everything");
    let kept: Vec<u64> =
        (0..40).filter(|number| cache.get(&format!("k{number}"), 50).unwrap().is_some()).collect();
    assert!(kept.len() >= 10 && kept.len() <= 20, "{kept:?}");
    assert_eq!(kept[0], 0);
    assert!(kept[1..].windows(2).all(|pair| pair[1] == pair[0] + 1) && kept.last() == Some(&39), "{kept:?}");
}

#[test]
fn a_broken_cache_is_replaced() {
    let (_folder, state) = state();
    fs::create_dir_all(state.root()).unwrap();
    fs::write(state.cache_database(), "no database".repeat(100)).unwrap();
    let cache = CacheStore::open(&state, 1 << 20).unwrap();
    cache.put("f", "n", "k", &json!({}), &json!(1), 1).unwrap();
    cache.flush().unwrap();
    assert_eq!(cache.get("k", 1).unwrap(), Some(json!(1)));
}

#[test]
fn a_batch_whose_process_is_gone_reads_as_interrupted() {
    let (_folder, state) = state();
    let store = RunStore::open(&state).unwrap();
    let id = RunId::from("b1");
    let batch = RunRecord::started(id.clone(), RunKind::Batch, "x", "flows/x", 1);
    store.put(&batch).unwrap();
    let of = |status| RunFilter { status: Some(status), ..Default::default() };
    let journal =
        RunJournal::create(&state.journal(&id).unwrap(), &JournalHeader::new("b1", "flows/x")).unwrap();
    assert_eq!(store.get(&id).unwrap().unwrap().status, RunState::Running);
    assert_eq!(ids(store.list(&of(RunState::Running), 9).unwrap()), ["b1"]);
    assert!(store.list(&of(RunState::Interrupted), 9).unwrap().is_empty());
    drop(journal);
    assert_eq!(store.get(&id).unwrap().unwrap().status, RunState::Interrupted);
    assert_eq!(store.list(&RunFilter::default(), 9).unwrap()[0].status, RunState::Interrupted);
    assert!(store.list(&of(RunState::Running), 9).unwrap().is_empty());
    assert_eq!(ids(store.list(&of(RunState::Interrupted), 9).unwrap()), ["b1"]);
    store.put(&RunRecord { status: RunState::Completed, ..batch }).unwrap();
    assert_eq!(store.get(&id).unwrap().unwrap().status, RunState::Completed);
}

#[test]
fn a_whole_id_is_found_before_longer_ones() {
    let (_folder, state) = state();
    let store = RunStore::open(&state).unwrap();
    for (id, time) in [("eval", 1), ("eval-1", 2), ("eval-2", 3), ("eval-3", 4)] {
        store.put(&run(id, "x", time)).unwrap();
    }
    assert_eq!(store.find("eval", 2).unwrap(), [RunId::from("eval"), RunId::from("eval-3")]);
}
