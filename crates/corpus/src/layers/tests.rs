//! Layers against kills, flipped bytes and full disks.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::*;

fn numbered(number: u32) -> (Digest, Vec<u8>) {
    let text = format!("text number {number}, {}", "and more ".repeat(number as usize % 7));
    (key(&[b"text", &number.to_le_bytes()]), text.into_bytes())
}

fn fill(layers: &Layers, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let (digest, bytes) = numbered(number);
        layers.texts().put(&digest, &bytes).unwrap();
    }
}

#[track_caller]
fn check_held(layers: &Layers, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let (digest, bytes) = numbered(number);
        assert_eq!(layers.texts().get(&digest).unwrap(), Some(bytes), "of number {number}");
    }
}

fn flip(path: &Path, at: u64) {
    let mut file = fs::File::options().read(true).write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    let mut byte = [0];
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 0x10]).unwrap();
}

#[test]
fn what_was_put_is_found_at_once_and_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let layers = Layers::open(folder.path()).unwrap();
    fill(&layers, 0..500);
    let digest = layers.put_fetched(b"bytes of a document").unwrap();
    assert_eq!(digest, Digest::of(b"bytes of a document"));
    check_held(&layers, 0..500);
    drop(layers);

    let layers = Layers::open(folder.path()).unwrap();
    check_held(&layers, 0..500);
    assert_eq!(layers.fetched().get(&digest).unwrap().unwrap(), b"bytes of a document");
    assert_eq!(layers.texts().get(&Digest::of(b"unknown")).unwrap(), None);
    assert_eq!(layers.texts().len(), 500);
    assert!(layers.vectors().is_empty());
}

#[test]
fn keys_tell_where_their_parts_end() {
    assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
    assert_ne!(key(&[b"a", b""]), key(&[b"a"]));
    let digest = key(&[b"a"]);
    assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
    assert_eq!(
        "xyz".parse::<Digest>().unwrap_err().to_string(),
        "`xyz` is no digest of 64 hexadecimal digits"
    );
    assert_eq!(serde_json::from_str::<Digest>(&serde_json::to_string(&digest).unwrap()).unwrap(), digest);
}

#[test]
fn the_first_value_of_a_key_stays() {
    let folder = tempfile::tempdir().unwrap();
    let layers = Layers::open(folder.path()).unwrap();
    let digest = Digest::of(b"key");
    layers.chunks().put(&digest, b"first").unwrap();
    layers.chunks().put(&digest, b"second").unwrap();
    assert_eq!(layers.chunks().get(&digest).unwrap().unwrap(), b"first");
}

#[test]
fn a_pack_without_its_side_file_is_read_from_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let layers = Layers::open(folder.path()).unwrap();
    fill(&layers, 0..300);
    drop(layers);
    let side = folder.path().join("texts.places");
    for damage in ["missing", "flipped", "cut", "of another pack"] {
        match damage {
            "missing" => fs::remove_file(&side).unwrap(),
            "flipped" => flip(&side, 100),
            "cut" => fs::File::options().write(true).open(&side).unwrap().set_len(77).unwrap(),
            _ => {
                let other = tempfile::tempdir().unwrap();
                fill(&Layers::open(other.path()).unwrap(), 900..950);
                fs::copy(other.path().join("texts.places"), &side).unwrap();
            }
        }
        let layers = Layers::open(folder.path()).unwrap();
        check_held(&layers, 0..300);
        assert_eq!(layers.texts().len(), 300, "side file {damage}");
        fill(&layers, 300..301);
        drop(layers);
        let layers = Layers::open(folder.path()).unwrap();
        check_held(&layers, 0..301);
        layers.sweep(|_, digest| *digest != numbered(300).0).unwrap();
    }
}

#[test]
fn a_kill_at_any_byte_costs_at_most_the_last_record() {
    let folder = tempfile::tempdir().unwrap();
    let layers = Layers::open(folder.path()).unwrap();
    fill(&layers, 0..20);
    drop(layers);
    let pack = folder.path().join("texts.pack");
    let whole = fs::read(&pack).unwrap();
    let record = 60 + numbered(19).1.len();
    for cut in (1..=record).step_by(5) {
        for has_side_file in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("texts.pack"), &whole[..whole.len() - cut]).unwrap();
            if has_side_file {
                fs::copy(pack.with_extension("places"), folder.path().join("texts.places")).unwrap();
            }
            let layers = Layers::open(folder.path()).unwrap();
            check_held(&layers, 0..19);
            assert_eq!(layers.texts().len(), 19, "{cut} bytes missing");
            fill(&layers, 0..25);
            drop(layers);
            check_held(&Layers::open(folder.path()).unwrap(), 0..25);
        }
    }
}

#[test]
fn a_kill_during_the_very_first_write_leaves_an_empty_pack() {
    for length in 0..16 {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("texts.pack"), &b"FBPACK01\0\0\0\0\0\0\0\0"[..length]).unwrap();
        let layers = Layers::open(folder.path()).unwrap();
        fill(&layers, 0..3);
        drop(layers);
        check_held(&Layers::open_to_read(folder.path()).unwrap(), 0..3);
    }
}

#[test]
fn a_flipped_byte_anywhere_costs_one_record_and_is_mended_by_putting_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let layers = Layers::open(folder.path()).unwrap();
    fill(&layers, 0..3);
    drop(layers);
    let whole = fs::read(folder.path().join("texts.pack")).unwrap();
    let side = fs::read(folder.path().join("texts.places")).unwrap();
    for at in (16..whole.len() as u64).step_by(7) {
        for has_side_file in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let pack = folder.path().join("texts.pack");
            fs::write(&pack, &whole).unwrap();
            flip(&pack, at);
            if has_side_file {
                fs::write(folder.path().join("texts.places"), &side).unwrap();
            }
            let layers = Layers::open(folder.path()).unwrap();
            let lost: Vec<u32> = (0..3)
                .filter(|number| layers.texts().get_or_absent(&numbered(*number).0).unwrap().is_none())
                .collect();
            assert_eq!(lost.len(), 1, "byte {at} flipped");
            assert!(!layers.texts().contains(&numbered(lost[0]).0));
            fill(&layers, 0..3);
            check_held(&layers, 0..3);
            drop(layers);
            check_held(&Layers::open(folder.path()).unwrap(), 0..3);
        }
    }
}

#[test]
fn damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let layers = Layers::open(folder.path()).unwrap();
    let digest = layers.put_fetched(b"some bytes").unwrap();
    layers.sync().unwrap();
    flip(&folder.path().join("fetched.pack"), 16 + 60 + 3);
    for _ in 0..2 {
        let error = layers.fetched().get(&digest).unwrap_err();
        assert_eq!(error.to_string(), format!("a kept record is damaged: `{digest}` in layer `fetched`"));
    }
    assert_eq!(layers.verify().unwrap().damaged, [(Layer::Fetched, digest)]);
    assert_eq!(layers.fetched().get_or_absent(&digest).unwrap(), None);
    layers.put_fetched(b"some bytes").unwrap();
    assert_eq!(layers.fetched().get(&digest).unwrap().unwrap(), b"some bytes");
    assert!(layers.verify().unwrap().damaged.is_empty());
}

#[test]
fn large_values_have_files_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let layers = Layers::open(folder.path()).unwrap();
    let large = vec![7; (1 << 20) + 1];
    let digest = layers.put_fetched(&large).unwrap();
    layers.sync().unwrap();
    assert!(fs::metadata(folder.path().join("fetched.pack")).unwrap().len() < 100);
    assert_eq!(layers.fetched().get(&digest).unwrap().unwrap(), large);
    drop(layers);

    let name = digest.to_string();
    let object = folder.path().join("objects/fetched").join(&name[..2]).join(&name[2..]);
    fs::write(object.with_extension("aside"), "half").unwrap();
    let layers = Layers::open(folder.path()).unwrap();
    assert_eq!(layers.fetched().len(), 1, "what a killed process left is no record");
    assert!(!object.with_extension("aside").exists());
    flip(&object, 5000);
    assert!(matches!(layers.fetched().get(&digest), Err(LayerError::Corrupt { .. })));
    layers.put_fetched(&large).unwrap();
    assert_eq!(layers.fetched().get(&digest).unwrap().unwrap(), large);
    let swept = layers.sweep(|_, _| false).unwrap();
    assert_eq!(swept, Swept { records: 1, bytes: large.len() as u64 });
    assert!(!object.exists());
}

#[test]
fn sweeping_keeps_what_is_wanted_and_frees_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let layers = Layers::open(folder.path()).unwrap();
    fill(&layers, 0..100);
    layers.sync().unwrap();
    let before = fs::metadata(folder.path().join("texts.pack")).unwrap().len();
    let reader = Layers::open_to_read(folder.path()).unwrap();
    let kept: std::collections::HashSet<Digest> = (0..50).map(|number| numbered(number).0).collect();
    let swept = layers.sweep(|_, digest| kept.contains(digest)).unwrap();
    let after = fs::metadata(folder.path().join("texts.pack")).unwrap().len();
    assert_eq!((swept.records, swept.bytes), (50, before - after));
    check_held(&layers, 0..50);
    assert_eq!(layers.texts().get(&numbered(70).0).unwrap(), None);
    check_held(&reader, 0..100);
    fill(&layers, 200..210);
    drop(layers);
    let layers = Layers::open(folder.path()).unwrap();
    check_held(&layers, 0..50);
    check_held(&layers, 200..210);
    assert_eq!(layers.sweep(|_, _| true).unwrap(), Swept::default());
}

#[test]
fn one_writes_and_others_read() {
    let folder = tempfile::tempdir().unwrap();
    let layers = Layers::open(folder.path()).unwrap();
    fill(&layers, 0..10);
    layers.sync().unwrap();
    let error = Layers::open(folder.path()).unwrap_err();
    assert_eq!(error.to_string(), format!("`{}` is being written by another build", folder.path().display()));
    let reader = Layers::open_to_read(folder.path()).unwrap();
    check_held(&reader, 0..10);
    assert!(matches!(reader.put_fetched(b"x"), Err(LayerError::ReadOnly { .. })));
    drop(layers);
    Layers::open(folder.path()).unwrap();
}

#[test]
fn reading_where_nothing_was_built_finds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let reader = Layers::open_to_read(&folder.path().join("none")).unwrap();
    assert!(reader.texts().is_empty());
    assert_eq!(reader.texts().get(&Digest::of(b"a")).unwrap(), None);
    assert!(!folder.path().join("none").exists());
}

#[test]
fn a_foreign_file_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("chunks.pack");
    fs::write(&pack, "somebody's own file of another kind").unwrap();
    let error = Layers::open(folder.path()).unwrap_err();
    assert_eq!(error.to_string(), format!("`{}` is no pack that this version reads", pack.display()));
    assert_eq!(fs::read(&pack).unwrap(), b"somebody's own file of another kind");
}

#[test]
fn many_threads_put_and_get() {
    let folder = tempfile::tempdir().unwrap();
    let layers = Layers::open(folder.path()).unwrap();
    std::thread::scope(|scope| {
        for part in 0..4 {
            let layers = &layers;
            scope.spawn(move || {
                for number in 0..2000 {
                    let (digest, bytes) = numbered(number);
                    layers.texts().put(&digest, &bytes).unwrap();
                    let earlier = numbered(number.saturating_sub(part * 100));
                    if let Some(found) = layers.texts().get(&earlier.0).unwrap() {
                        assert_eq!(found, earlier.1);
                    }
                }
            });
        }
    });
    assert_eq!(layers.texts().len(), 2000);
    drop(layers);
    check_held(&Layers::open(folder.path()).unwrap(), 0..2000);
}
