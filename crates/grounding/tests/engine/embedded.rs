//! The engine in a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use flowbench_grounding::engine::embedded::{GRAPH_FROM, Opened, Writer};
use flowbench_grounding::engine::{
    Engine, EngineError, EngineWriter, Filter, Passage, Quantization, VectorSettings,
};

use crate::corpus::{Dice, answers, build, fill, id, passage, passages, questions, settings, terms};

fn everything() -> Filter {
    Filter::default()
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => {
                    files.insert(entry.path(), std::fs::read(entry.path()).unwrap());
                }
            }
        }
    }
    files
}

#[tokio::test]
async fn scores_are_bm25_as_tantivy_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let texts = ["red fox", "red red dog and a cat", "green fox", "blue"];
    let passages: Vec<Passage> =
        texts.iter().enumerate().map(|(number, text)| passage(number, "a.md", number as u32, text)).collect();
    fill(Writer::create(folder.path(), None).unwrap(), passages).await;
    let engine = Opened::open(folder.path()).unwrap();
    let bm25 = |times: f64, words: f64, with: f64| {
        let idf = (1.0 + (4.0 - with + 0.5) / (with + 0.5)).ln();
        let average = (2.0 + 6.0 + 2.0 + 1.0) / 4.0;
        idf * 2.2 * times / (times + 1.2 * (0.25 + 0.75 * words / average))
    };
    let found = engine.keyword(&terms("red fox"), &everything(), 10).await.unwrap();
    let expected =
        [(id(0), bm25(1.0, 2.0, 2.0) * 2.0), (id(1), bm25(2.0, 6.0, 2.0)), (id(2), bm25(1.0, 2.0, 2.0))];
    let mut expected = expected.to_vec();
    expected.sort_by(|left, right| right.1.total_cmp(&left.1));
    for (found, (id, score)) in found.iter().zip(&expected) {
        assert_eq!(&found.id, id);
        assert!((f64::from(found.score) - score).abs() < 1e-6, "{} {score}", found.score);
    }
    assert_eq!(found.len(), 3);
    let twice = engine.keyword(&terms("red red"), &everything(), 1).await.unwrap();
    let once = engine.keyword(&terms("red"), &everything(), 1).await.unwrap();
    assert!((twice[0].score - 2.0 * once[0].score).abs() < 1e-6, "repeated words count");
}

#[tokio::test]
async fn parts_of_a_score_add_up_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let engine = build(folder.path(), passages(300, 4), settings(4)).await;
    for question in questions() {
        let found = engine.keyword(&question, &everything(), 20).await.unwrap();
        let ids: Vec<String> = found.iter().map(|scored| scored.id.clone()).collect();
        let parts = engine.keyword_parts(&question, &ids).await.unwrap();
        for (scored, parts) in found.iter().zip(parts) {
            let sum: f32 = parts.iter().map(|(_, part)| part).sum();
            assert!(!parts.is_empty() && (sum - scored.score).abs() < 1e-4, "{sum} {}", scored.score);
        }
    }
    let unknown = engine.keyword_parts(&terms("word1"), &[id(5_000)]).await.unwrap();
    assert_eq!(unknown, [vec![]]);
}

#[tokio::test]
async fn answers_do_not_depend_on_how_the_index_came_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let all = passages(1_200, 8);
    let expected = answers(&build(&folder.path().join("fresh"), all.clone(), settings(8)).await, 8).await;

    let mut shuffled = all.clone();
    let mut dice = Dice::new(1);
    for place in 1..shuffled.len() {
        shuffled.swap(place, dice.roll(place + 1));
    }
    let engine = build(&folder.path().join("shuffled"), shuffled, settings(8)).await;
    assert_eq!(answers(&engine, 8).await, expected);

    // An earlier generation with other texts in ten documents, and two documents that went away.
    let changed = |passage: &Passage| {
        let page = passage.chunk.source.document.rsplit("page").next().unwrap();
        page.trim_end_matches(".md").parse::<usize>().unwrap() < 10
    };
    let mut earlier: Vec<Passage> = all
        .iter()
        .cloned()
        .map(|mut passage| {
            if changed(&passage) {
                passage.chunk.id =
                    id(100_000 + passage.chunk.ordinal as usize * 1000 + passage.chunk.text.len());
                passage.chunk.text.push_str(" old words of word1");
            }
            passage
        })
        .collect();
    for number in 0..8 {
        let mut gone =
            passage(200_000 + number, ["gone.md", "lost.md"][number % 2], number as u32, "word1 lost");
        gone.vector = Some(vec![0.5; 8]);
        gone.chunk.metadata.insert("author".to_owned(), "Somebody Forgotten".into());
        earlier.push(gone);
    }
    drop(build(&folder.path().join("earlier"), earlier, settings(8)).await);
    let before = files(&folder.path().join("earlier"));
    let mut writer =
        Writer::from_earlier(&folder.path().join("earlier"), &folder.path().join("later")).unwrap();
    let mut documents: Vec<String> = all
        .iter()
        .filter(|passage| changed(passage))
        .map(|passage| passage.chunk.source.document.clone())
        .collect();
    documents.dedup();
    documents.extend(["gone.md".to_owned(), "lost.md".to_owned()]);
    writer.remove_documents(&documents).await.unwrap();
    fill(writer, all.iter().filter(|passage| changed(passage)).cloned().collect()).await;
    let engine = Opened::open(&folder.path().join("later")).unwrap();
    assert_eq!(answers(&engine, 8).await, expected);
    assert_eq!(engine.len(), 1_200);
    assert_eq!(files(&folder.path().join("earlier")), before, "the earlier generation stays as it is");
    let tables = std::fs::read_to_string(folder.path().join("later/documents.jsonl")).unwrap();
    assert!(!tables.contains("Forgotten"), "deleted documents vanish");
}

#[tokio::test]
async fn chunks_come_back_as_they_were_and_parents_are_never_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut added = passages(40, 4);
    let mut parent = passage(900, "guides/part0/page0.md", 0, "word1 word1 parent");
    parent.chunk.is_parent = true;
    parent.vector = Some(vec![1.0; 4]);
    added.push(parent.clone());
    added[3].vector = None;
    added[4].vector = Some(vec![0.0; 4]);
    // Added again, it is there once.
    added.push(added[5].clone());
    let engine = build(folder.path(), added.clone(), settings(4)).await;
    assert_eq!(engine.len(), 40);
    let ids = [id(900), id(12), id(77), id(0), id(12)];
    let found = engine.chunks(&ids).await.unwrap();
    assert_eq!(found[0].as_ref(), Some(&parent.chunk));
    assert_eq!(found[1].as_ref(), Some(&added[12].chunk));
    assert_eq!(found[2], None);
    assert_eq!(found[4], found[1]);
    let near = engine.neighbours("guides/part0/page1.md", 1..=2).await.unwrap();
    assert_eq!(near, [added[5].chunk.clone(), added[6].chunk.clone()]);
    assert!(engine.keyword(&terms("parent"), &everything(), 5).await.unwrap().is_empty());
    let found = engine.vector(&[1.0; 4], &everything(), 100, true).await.unwrap();
    assert_eq!(found.len(), 38, "no parent, none without a vector, none that points nowhere");
    let vectors = engine.vectors_of(&[id(1), id(3), id(77)]).await.unwrap();
    let length = vectors[0].as_ref().unwrap().iter().map(|number| number * number).sum::<f32>();
    assert!((length - 1.0).abs() < 1e-5, "vectors come back with length one");
    assert_eq!(vectors[1..], [None, None]);
}

#[tokio::test]
async fn vectors_of_another_length_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(folder.path(), Some(settings(4))).unwrap();
    let mut added = passages(10, 4);
    added[9].vector = Some(vec![1.0; 5]);
    let error = writer.add(added.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), "a vector has 5 dimensions, and the index has 4");
    added.truncate(9);
    writer.add(added).await.unwrap();
    Box::new(writer).finish().await.unwrap();
    let engine = Opened::open(folder.path()).unwrap();
    assert_eq!(engine.len(), 9);
    let error = engine.vector(&[1.0; 3], &everything(), 5, false).await.unwrap_err();
    assert_eq!(error.to_string(), "a vector has 3 dimensions, and the index has 4");

    let bare = folder.path().join("bare");
    let mut writer = Writer::create(&bare, None).unwrap();
    assert!(matches!(writer.add(passages(1, 4)).await, Err(EngineError::NoVectors)));
    fill(writer, vec![passage(1, "a.md", 0, "fox")]).await;
    let engine = Opened::open(&bare).unwrap();
    assert!(matches!(engine.vector(&[1.0], &everything(), 5, true).await, Err(EngineError::NoVectors)));
    assert_eq!(engine.keyword(&terms("fox"), &everything(), 5).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_index_of_nothing_answers_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let engine = build(folder.path(), Vec::new(), settings(4)).await;
    assert!(engine.is_empty());
    assert!(engine.keyword(&terms("fox"), &everything(), 5).await.unwrap().is_empty());
    assert!(engine.vector(&[1.0; 4], &everything(), 5, false).await.unwrap().is_empty());
    assert_eq!(engine.chunks(&[id(1)]).await.unwrap(), [None]);
    assert!(engine.neighbours("a.md", 0..=9).await.unwrap().is_empty());
    engine.verify().await.unwrap();
    drop(engine);
    // And grows.
    let later = folder.path().join("later");
    fill(Writer::from_earlier(folder.path(), &later).unwrap(), passages(20, 4)).await;
    assert_eq!(Opened::open(&later).unwrap().len(), 20);
}

#[tokio::test]
async fn a_changed_byte_or_a_missing_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    drop(build(folder.path(), passages(200, 8), settings(8)).await);
    let written = files(folder.path());
    for (path, bytes) in &written {
        let name = path.strip_prefix(folder.path()).unwrap().display().to_string();
        if name == "engine.json" || name.starts_with("readers") {
            continue;
        }
        std::fs::remove_file(path).unwrap();
        let error = Opened::open(folder.path()).err().expect("a missing file").to_string();
        assert!(error.contains(&format!("`{name}` is missing")), "{error}");
        std::fs::write(path, bytes).unwrap();
    }
    let big = |part: &str| {
        let of_part =
            written.iter().filter(|(path, _)| path.strip_prefix(folder.path()).unwrap().starts_with(part));
        of_part.max_by_key(|(_, bytes)| bytes.len()).unwrap()
    };
    for part in ["keywords", "vectors", "documents.jsonl"] {
        let (path, bytes) = big(part);
        let engine = Opened::open(folder.path()).unwrap();
        engine.verify().await.unwrap();
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        std::fs::write(path, &flipped).unwrap();
        let error = engine.verify().await.unwrap_err();
        let name = path.strip_prefix(folder.path()).unwrap().display().to_string();
        assert!(error.to_string().ends_with(&format!("`{name}` is not what was written")), "{error}");
        std::fs::write(path, bytes).unwrap();
    }
}

#[tokio::test]
async fn what_was_not_finished_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(folder.path(), Some(settings(4))).unwrap();
    writer.add(passages(50, 4)).await.unwrap();
    drop(writer);
    let error = Opened::open(folder.path()).err().expect("half an index");
    assert!(matches!(error, EngineError::Damaged { .. }), "{error}");
    let error = Opened::open(&folder.path().join("nowhere")).err().expect("no index");
    assert!(matches!(error, EngineError::File { .. }), "{error}");
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = Writer::create(&folder.path().join("file/index"), None).err().expect("a file in the way");
    assert!(error.to_string().contains("file/index`: "), "{error}");
}

/// Large enough for a graph.
async fn large(folder: &Path, quantization: Quantization) -> Opened {
    let mut dice = Dice::new(5);
    let added = (0..GRAPH_FROM + 200)
        .map(|number| {
            let mut passage = passage(number, &format!("{}.md", number / 100), (number % 100) as u32, "fox");
            passage.vector = Some(dice.vector(8));
            passage
        })
        .collect();
    build(folder, added, VectorSettings { dimensions: 8, quantization }).await
}

#[tokio::test]
async fn readers_change_nothing_in_a_generation() {
    for quantization in [Quantization::None, Quantization::Int8] {
        let folder = tempfile::tempdir().unwrap();
        let first = large(folder.path(), quantization).await;
        let before: BTreeMap<_, _> = files(folder.path())
            .into_iter()
            .filter(|(path, _)| !path.starts_with(folder.path().join("readers")))
            .collect();
        let second = Opened::open(folder.path()).unwrap();
        let vector = [0.1, -0.4, 0.3, 0.9, -0.2, 0.5, 0.6, -0.7];
        let right = first.vector(&vector, &everything(), 10, true).await.unwrap();
        let quick = second.vector(&vector, &everything(), 10, false).await.unwrap();
        let both = quick.iter().filter(|scored| right.iter().any(|right| right.id == scored.id)).count();
        assert!(both >= 8, "the graph finds what comparing with everything finds: {both} of 10");
        assert_eq!(right, second.vector(&vector, &everything(), 10, true).await.unwrap());
        drop(second);
        first.verify().await.unwrap();
        drop(first);
        let after = files(folder.path());
        assert_eq!(
            after.keys().collect::<Vec<_>>(),
            before.keys().collect::<Vec<_>>(),
            "readers leave nothing"
        );
        assert!(after == before, "readers write nothing");
    }
}

#[tokio::test]
async fn what_dead_readers_left_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    drop(build(folder.path(), passages(20, 4), settings(4)).await);
    let left = folder.path().join("readers/1-0");
    std::fs::create_dir_all(left.join("segments")).unwrap();
    std::fs::write(folder.path().join("readers/1-0.lock"), "").unwrap();
    let living = Opened::open(folder.path()).unwrap();
    assert!(!left.exists());
    let also = Opened::open(folder.path()).unwrap();
    assert_eq!(living.vector(&[1.0; 4], &everything(), 5, true).await.unwrap().len(), 5);
    drop(also);
    assert_eq!(living.vector(&[1.0; 4], &everything(), 5, true).await.unwrap().len(), 5);
}

const SHARED: &str = "FLOWBENCH_TEST_SHARED_INDEX";

/// Not a test of its own: the other process of `two_processes_search_one_generation`.
#[tokio::test]
async fn another_process() {
    let Some(folder) = std::env::var_os(SHARED) else { return };
    let found = answers(&Opened::open(Path::new(&folder)).unwrap(), 8).await;
    std::fs::write(Path::new(&folder).join("../answers"), format!("{found:?}")).unwrap();
}

#[tokio::test]
async fn two_processes_search_one_generation() {
    let folder = tempfile::tempdir().unwrap();
    let generation = folder.path().join("generation");
    let engine = build(&generation, passages(400, 8), settings(8)).await;
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::another_process"])
        .env(SHARED, &generation)
        .status()
        .unwrap();
    assert!(status.success());
    let there = std::fs::read_to_string(folder.path().join("answers")).unwrap();
    assert_eq!(there, format!("{:?}", answers(&engine, 8).await));
}
