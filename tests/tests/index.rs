//! Indexes: built, asked, changed, broken and mended through the command line.

use flowbench_testkit::{Output, Sandbox};
use serde_json::Value;

/// A workspace with four small documents and an index over them.
fn workspace() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("docs/batches.md", "# Batches\n\nA batch runs a flow on every line of a data file.\n\n## Stopping\n\nStop a batch with Ctrl-C; finished lines are kept and resumed later.\n");
    sandbox.write("docs/budget.md", "# Budget\n\nA budget bounds money, tokens and time. When it is spent the run ends with exit code 6.\n");
    sandbox.write("docs/trust.md", "# Trust\n\nCode of a folder runs only after its owner approved it. Approvals are bound to a digest.\n");
    sandbox.write("docs/deutsch.md", "# Verträge\n\nDie Kündigungsfristen der Verträge stehen im Anhang. Der Vertrag endet mit dem Quartal.\n");
    write_spec(&sandbox, "");
    sandbox
}

fn write_spec(sandbox: &Sandbox, more: &str) {
    let spec = format!(
        "sources: [{{path: ../docs}}]\nchunk: {{by: headings, max_tokens: 64, overlap: 8}}\nembed: {{model: static-minilm}}\n{more}"
    );
    sandbox.write("indexes/manual.yaml", spec);
}

#[track_caller]
fn build(sandbox: &Sandbox) -> Value {
    sandbox.flowbench(["index", "build", "manual", "--format", "json"]).run().succeeds().json()
}

#[track_caller]
fn search(sandbox: &Sandbox, query: &str, more: &[&str]) -> Output {
    let arguments = ["index", "search", "manual", query, "--format", "json"];
    sandbox.flowbench(arguments.iter().chain(more)).run()
}

#[track_caller]
fn first_document(answer: &Output) -> String {
    answer.json()["hits"][0]["source"]["document"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn an_index_is_built_and_tells_why_each_hit_is_there() {
    let sandbox = workspace();
    let report = build(&sandbox);
    assert_eq!(report["documents"], 4, "{report}");
    assert_eq!(report["chunks"], report["vectors"], "{report}");
    let found = search(&sandbox, "how do I stop a batch", &[]).succeeds();
    assert_eq!(first_document(&found), "batches.md");
    let hit = &found.json()["hits"][0];
    for key in ["id", "text", "score", "source", "stages"] {
        assert!(hit.get(key).is_some(), "a hit has `{key}`: {hit}");
    }
    for stage in ["keyword", "vector", "fusion"] {
        assert!(hit["stages"][stage]["rank"].is_number(), "stage {stage} has a rank: {hit}");
        assert!(hit["stages"][stage]["score"].is_number(), "stage {stage} has a score: {hit}");
    }
    assert_eq!(
        found.stdout,
        search(&sandbox, "how do I stop a batch", &[]).stdout,
        "the same question, the same answer"
    );
}

#[test]
fn stems_are_those_of_the_documents_language() {
    let sandbox = workspace();
    build(&sandbox);
    let found = search(&sandbox, "Kündigungsfrist", &["--mode", "keyword"]).succeeds();
    assert_eq!(first_document(&found), "deutsch.md");
}

#[test]
fn only_what_changed_is_read_and_embedded_again() {
    let sandbox = workspace();
    let first = build(&sandbox);
    let second = build(&sandbox);
    assert_eq!(second["is_unchanged"], true, "{second}");
    assert_eq!((&second["fetched"], &second["embedded"]), (&0.into(), &0.into()), "{second}");
    assert_eq!(first["generation"], second["generation"]);

    let same = sandbox.read("docs/trust.md");
    std::fs::remove_file(sandbox.path("docs/trust.md")).expect("a document can be removed");
    sandbox.write("docs/trust.md", same);
    let touched = build(&sandbox);
    assert_eq!((&touched["is_unchanged"], &touched["changed"]), (&true.into(), &0.into()), "{touched}");

    let _ = sandbox
        .write("docs/trust.md", "# Trust\n\nNothing of a folder starts before its owner said yes to it.\n");
    let third = build(&sandbox);
    assert_eq!(third["embedded_documents"], 1, "{third}");
    assert_eq!((&third["fetched"], &third["changed"]), (&1.into(), &1.into()), "{third}");
    assert_eq!(first_document(&search(&sandbox, "owner said yes", &[])), "trust.md");

    std::fs::remove_file(sandbox.path("docs/budget.md")).expect("a document can be removed");
    let fourth = build(&sandbox);
    assert_eq!((&fourth["removed"], &fourth["documents"]), (&1.into(), &3.into()), "{fourth}");
    let left = search(&sandbox, "budget exit code", &["--mode", "keyword"]).succeeds().json();
    assert!(
        left["hits"]
            .as_array()
            .is_some_and(|hits| hits.iter().all(|hit| hit["source"]["document"] != "budget.md"))
    );

    // The way there does not matter: a fresh build gives the same generation and the same answers.
    let hits = search(&sandbox, "how do I stop a batch", &[]).stdout;
    let fresh = sandbox
        .flowbench(["index", "build", "manual", "--fresh", "--format", "json"])
        .run()
        .succeeds()
        .json();
    assert_eq!(fresh["generation"], fourth["generation"]);
    assert_eq!(search(&sandbox, "how do I stop a batch", &[]).stdout, hits);
}

#[test]
fn a_killed_build_goes_on_to_the_same_generation() {
    let whole = build(&workspace())["generation"].clone();
    for line in ["listing", "reading", "cleaning", "cutting", "embedding", "writing", "probing"] {
        let sandbox = workspace();
        let running = sandbox.flowbench(["index", "build", "manual", "-v"]).spawn();
        running.wait_for_stderr(line);
        running.kill();
        let resumed = build(&sandbox);
        assert_eq!(resumed["generation"], whole, "killed while {line}");
        let check =
            sandbox.flowbench(["index", "verify", "manual", "--format", "json"]).run().succeeds().json();
        assert_eq!(check["is_whole"], true, "killed while {line}: {check}");
    }
}

#[test]
fn a_document_that_cannot_be_read_costs_itself_only() {
    let sandbox = workspace();
    sandbox.write("docs/broken.pdf", b"%PDF-1.7\nnothing of a PDF follows");
    sandbox.write("docs/broken.docx", b"PK\x03\x04 no archive");
    let report = build(&sandbox);
    assert_eq!(report["documents"], 4, "{report}");
    let failed: Vec<&str> = report["failed"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|failed| failed["place"].as_str())
        .collect();
    assert_eq!(failed, ["broken.docx", "broken.pdf"], "{report}");
}

#[test]
fn readers_and_a_build_do_not_disturb_each_other() {
    let sandbox = workspace();
    build(&sandbox);
    let arguments = ["index", "search", "manual", "budget", "--format", "json"];
    let readers: Vec<_> = (0..3).map(|_| sandbox.flowbench(arguments).spawn()).collect();
    sandbox.write("docs/more.md", "# More\n\nAnother page about the weather.\n");
    let building = sandbox.flowbench(["index", "build", "manual"]).spawn();
    for reader in readers {
        assert_eq!(first_document(&reader.finish().succeeds()), "budget.md");
    }
    let _ = building.finish().succeeds();
    assert_eq!(first_document(&search(&sandbox, "weather", &[]).succeeds()), "more.md");
}

#[test]
fn a_corpus_below_its_bar_changes_nothing() {
    let sandbox = workspace();
    build(&sandbox);
    write_spec(&sandbox, "quality: [{expect: documents, at_least: 100}]\n");
    sandbox.write("docs/new.md", "# New\n\nA page about penguins.\n");
    let refused = sandbox.flowbench(["index", "build", "manual"]).run().exits(3);
    let _ = refused.tells("the documents are below the bar: `documents` is 5");
    let found = search(&sandbox, "budget", &["--no-build"]).succeeds();
    assert_eq!(first_document(&found), "budget.md", "the earlier generation keeps serving");
}

#[test]
fn a_written_probe_must_find_its_document() {
    let sandbox = workspace();
    write_spec(&sandbox, "probes: [{query: how do I stop a batch, expect: [batches.md]}]\n");
    build(&sandbox);
    write_spec(&sandbox, "probes: [{query: how do I stop a batch, expect: [nowhere.md]}]\n");
    sandbox.write("docs/new.md", "# New\n\nA page about penguins.\n");
    let _ = sandbox
        .flowbench(["index", "build", "manual"])
        .run()
        .exits(3)
        .tells("1 of 1 probes do not find their documents, first `how do I stop a batch`");
}

#[test]
fn a_flipped_byte_is_found_and_mended() {
    let sandbox = workspace();
    build(&sandbox);
    let generations = sandbox.path(".flowbench/indexes/manual/generations");
    let largest = sandbox
        .files()
        .into_iter()
        .filter(|(path, _)| path.contains("/generations/") && path.contains("/engine/"))
        .max_by_key(|(_, bytes)| bytes.len())
        .expect("a generation has files");
    let path = generations.join(largest.0.split("/generations/").nth(1).unwrap_or_default());
    let mut bytes = largest.1;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::remove_file(&path).expect("a file of the engine can be replaced");
    std::fs::write(&path, bytes).expect("a file of the engine can be replaced");
    let _ = sandbox.flowbench(["index", "verify", "manual"]).run().exits(5).prints("damaged");
    let _ = sandbox.flowbench(["index", "build", "manual", "--fresh"]).run().succeeds();
    let _ = sandbox.flowbench(["index", "verify", "manual"]).run().succeeds().prints("whole");
}

#[test]
fn what_lies_outside_the_workspace_needs_the_users_word() {
    let sandbox = workspace();
    std::fs::create_dir_all(sandbox.home("elsewhere")).expect("a home has folders");
    std::fs::write(sandbox.home("elsewhere/far.md"), "# Far\n\nfar away").expect("a home has files");
    let far = sandbox.home("elsewhere");
    sandbox.write("indexes/manual.yaml", format!("sources: [{{path: {}}}]\n", far.display()));
    let _ = sandbox
        .flowbench(["index", "build", "manual"])
        .run()
        .exits(2)
        .tells("which is outside the workspace")
        .tells("hint: allow it with `--trust`");
    let _ = sandbox.flowbench(["index", "build", "manual", "--trust"]).run().succeeds();
    sandbox.write("indexes/manual.yaml", "sources: [{site: [\"http://127.0.0.1:9/\"]}]\n");
    let _ = sandbox
        .flowbench(["index", "build", "manual"])
        .run()
        .exits(2)
        .tells("which only this workspace names");
}

#[test]
fn wrong_specs_and_questions_say_what_to_do() {
    let sandbox = workspace();
    let _ = sandbox
        .flowbench(["index", "build", "manul"])
        .run()
        .exits(2)
        .tells("index `manul` does not exist")
        .tells("hint: known indexes: manual");
    let _ = search(&sandbox, "x", &["--no-build"]).exits(1).prints("has not been built");
    write_spec(&sandbox, "retrieve: {mode: magic}\n");
    let _ = sandbox
        .flowbench(["index", "search", "manual", "x"])
        .run()
        .exits(2)
        .tells("`magic` is no mode of retrieval");
    write_spec(&sandbox, "");
    build(&sandbox);
    let _ = sandbox.flowbench(["index", "search", "manual", "  "]).run().exits(2).tells("the query is empty");
    let _ = sandbox
        .flowbench(["index", "search", "manual", "x", "--mode", "hybrid+rerank"])
        .run()
        .exits(2)
        .tells("needs a reranker");
    sandbox.write("indexes/broken.yaml", "sources: [\n");
    let _ = sandbox.flowbench(["index", "build", "broken"]).run().exits(2);
    sandbox.write("docs-empty/readme.txt", "");
    sandbox.write("indexes/empty.yaml", "sources: [{path: ../docs-empty}]\n");
    let _ = sandbox
        .flowbench(["index", "build", "empty"])
        .run()
        .exits(2)
        .tells("its sources hold no document with text");
}

#[test]
fn filters_hold_and_why_tells_what_would_help() {
    let sandbox = workspace();
    build(&sandbox);
    let only = search(&sandbox, "budget", &["--filter", "document=trust.md"]).succeeds().json();
    assert!(
        only["hits"].as_array().is_some_and(
            |hits| !hits.is_empty() && hits.iter().all(|hit| hit["source"]["document"] == "trust.md")
        ),
        "{only}"
    );
    let all = search(&sandbox, "budget", &["-k", "10"]).succeeds().json();
    let last = all["hits"].as_array().and_then(|hits| hits.last()).map(|hit| hit["id"].clone());
    let last = last.as_ref().and_then(Value::as_str).expect("a hit has an id");
    let why = sandbox
        .flowbench(["index", "search", "manual", "budget", "-k", "1", "--why", last, "--format", "json"])
        .run()
        .succeeds()
        .json();
    assert!(why["remedies"].as_array().is_some_and(|remedies| !remedies.is_empty()), "{why}");
}

#[test]
fn labelled_queries_measure_an_index() {
    let sandbox = workspace();
    sandbox.write(
        "queries.jsonl",
        "{\"query\": \"how do I stop a batch\", \"expect\": [\"batches.md\"]}\n{\"query\": \"what is exit code 6\", \"expect\": [\"budget.md\"]}\n",
    );
    let measured = sandbox
        .flowbench([
            "index",
            "eval",
            "manual",
            "--queries",
            "queries.jsonl",
            "--modes",
            "keyword,hybrid",
            "--format",
            "json",
        ])
        .run()
        .succeeds()
        .json();
    assert_eq!(measured["modes"]["keyword"]["metrics"]["ndcg@10"]["mean"], 1.0, "{measured}");
    assert_eq!(measured["modes"]["hybrid"]["metrics"]["recall@100"]["mean"], 1.0, "{measured}");
}

#[test]
fn a_preview_embeds_and_writes_nothing() {
    let sandbox = workspace();
    let shown = sandbox.flowbench(["index", "build", "manual", "--preview"]).run().succeeds();
    let _ = shown.prints("4 documents would be");
    assert!(!sandbox.path(".flowbench/indexes/manual/current").exists());
}

#[test]
fn a_hit_leads_back_to_the_bytes_it_came_from() {
    let sandbox = workspace();
    build(&sandbox);
    let hit = search(&sandbox, "budget", &[]).succeeds().json()["hits"][0]["id"].clone();
    let hit = hit.as_str().expect("a hit has an id");
    let told = sandbox
        .flowbench(["index", "inspect", "manual", "--chunk", hit, "--format", "json"])
        .run()
        .succeeds()
        .json();
    assert_eq!(told["lineage"]["document"], "budget.md", "{told}");
    let events = sandbox.read(".flowbench/indexes/manual/openlineage.jsonl");
    assert!(
        events.contains(told["lineage"]["bytes"].as_str().unwrap_or("absent")),
        "the events name the bytes"
    );
}

#[test]
fn texts_become_vectors_as_json_lines() {
    let sandbox = Sandbox::new();
    let texts = "{\"id\": \"a\", \"text\": \"a small dog\"}\n{\"id\": 2, \"text\": \"ein Haus\"}\n";
    let rows = sandbox
        .flowbench(["models", "embed", "static-minilm", "--file", "-"])
        .stdin(texts)
        .run()
        .succeeds()
        .json_lines();
    assert_eq!((&rows[0]["id"], &rows[1]["id"]), (&"a".into(), &2.into()));
    assert_eq!(rows[0]["embedding"].as_array().map(Vec::len), Some(256));
    let broken =
        sandbox.flowbench(["models", "embed", "static-minilm", "--file", "-"]).stdin("{\"id\": 1}\n").run();
    let _ = broken.exits(2).tells("line 1: it has no `text`");
}
